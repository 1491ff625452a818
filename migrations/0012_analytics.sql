-- Analysts: whom they are, what hides people from them, and what nobody has found.
-- Serves: views of the schema `analytics`, which the read model of that name makes; counting searches in batches.

-- Whoever analyses logs in as a member of this role, which may read the views of `analytics` and nothing else.
do $$
begin
    -- Somebody else may have made it for whoever may not.
    if not exists (select from pg_roles where rolname = 'tradepost_analyst') then
        create role tradepost_analyst nologin;
    end if;
exception
    when duplicate_object or unique_violation then null;
end
$$;

-- What pseudonyms are made with. Whoever has it, and an account, can tell which pseudonym that has, so nobody has it but
-- the owner. Another database has another, and other pseudonyms.
create table analytics_secret (
    only_row boolean not null default true,
    -- From Postgres's own source of strong random numbers: 244 bits of it.
    secret bytea not null default uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()),
    constraint analytics_secret_only_row primary key (only_row),
    constraint analytics_secret_only_one check (only_row)
);

insert into analytics_secret default values;

-- Somebody, the same everywhere in the views, and nobody whom a reader of them could name.
create function pseudonym(secret bytea, person uuid) returns text
    language sql immutable strict parallel safe
    as $$ select encode(substr(sha256(secret || uuid_send(person)), 1, 8), 'hex') $$;

-- What was searched for and not found, by nobody in particular: not in the log, and not made anew from it.
create table search_misses (
    -- In UTC, by the marketplace's clock.
    day date not null,
    -- In lower case; empty for all that there was no more room for on that day.
    term text not null,
    searches bigint not null,
    constraint search_misses_term primary key (day, term),
    constraint search_misses_counted check (searches > 0),
    constraint search_misses_short check (char_length(term) <= 80)
);

grant select, insert, update, delete on search_misses to tradepost_service;
