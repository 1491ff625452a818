-- What an account shows. Personal fields are null once the person is forgotten.
-- Serves: one profile by its account.
create table profiles (
    id uuid not null,
    email text,
    email_verified boolean not null,
    user_name text,
    display_name text,
    phone text,
    biography text,
    avatar_url text,
    language text,
    capabilities text[] not null,
    -- How many orders it had won and not paid.
    violations integer not null,
    blocked boolean not null,
    suspended boolean not null,
    erased_at timestamptz,
    registered_at timestamptz not null,
    version bigint not null,
    position bigint not null,
    constraint profiles_id primary key (id)
);
