-- Where people have things sent, and how far each address book has come. Nothing of whoever is forgotten.
-- Serves: the addresses of one account.
create table addresses (
    id uuid not null,
    owner_id uuid not null,
    -- Personal fields are null where they cannot be opened.
    recipient text,
    phone text,
    line1 text,
    line2 text,
    postal_code text,
    province_id uuid,
    city_id uuid,
    is_default boolean not null,
    added_at timestamptz not null,
    -- In the order in which they came into the book.
    added bigint not null,
    constraint addresses_id primary key (id)
);

create index addresses_of_owner on addresses (owner_id, added);

create table books (
    owner_id uuid not null,
    version bigint not null,
    position bigint not null,
    constraint books_owner primary key (owner_id)
);
