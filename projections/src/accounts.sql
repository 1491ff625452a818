-- What an account shows. Personal fields are null once the person is forgotten.
-- Serves: one profile by its account; pages of profiles, the newest first, by standing and by what they may do; the
-- violations of one account.
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
    -- How many orders count that it had won and not paid.
    violations integer not null,
    blocked boolean not null,
    suspended boolean not null,
    -- Who of the staff has last said whether it trades, when, and why. Nobody if it was the last of its violations.
    ruled_by uuid,
    ruled_at timestamptz,
    reason text,
    erased_at timestamptz,
    registered_at timestamptz not null,
    version bigint not null,
    position bigint not null,
    constraint profiles_id primary key (id)
);

create index profiles_newest on profiles (registered_at, id);
create index profiles_not_trading on profiles (registered_at, id) where blocked or suspended;
create index profiles_staff on profiles using gin (capabilities);

-- The orders that were won and not paid.
create table violations (
    account_id uuid not null,
    order_id uuid not null,
    recorded_at timestamptz not null,
    -- Since when it counts no more.
    pardoned_at timestamptz,
    position bigint not null,
    constraint violations_order primary key (account_id, order_id)
);

create index violations_newest on violations (account_id, position);
