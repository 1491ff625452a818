-- Pictures that were uploaded and are still there.
-- Serves: the pictures of one account.
create table images (
    id uuid not null,
    owner_id uuid not null,
    -- What its files are called, without their endings.
    name text not null,
    format text not null,
    width bigint not null,
    height bigint not null,
    bytes bigint not null,
    stored_at timestamptz not null,
    constraint images_id primary key (id)
);

create index images_of_owner on images (owner_id);
