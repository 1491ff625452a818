-- The log: every change that ever happened, in commit order, and what must be written in the same commit as an event.
-- Serves: append under the head, reading on from a position, reading one stream in order.

-- Nodes act as this role: it adds to the history and reads it, and cannot rewrite it.
do $$
begin
    create role tradepost_service nologin;
exception
    when duplicate_object or unique_violation then null;
end
$$;

-- The role that migrates must be able to act as the service; a superuser already is.
do $$
begin
    if not pg_has_role(current_user, 'tradepost_service', 'member') then
        execute format('grant tradepost_service to %I', current_user);
    end if;
end
$$;

-- A superset of the table of postgres-es, whose repository reads streams from it.
create table events (
    aggregate_type text not null,
    aggregate_id text not null,
    sequence bigint not null,
    event_type text not null,
    event_version text not null,
    payload json not null,
    metadata json not null,
    -- Gapless, in commit order.
    position bigint not null,
    -- The last position of the same unit of work; feeds and batches never split one.
    commit_position bigint not null,
    event_id uuid not null,
    recorded_at timestamptz not null,
    constraint events_stream primary key (aggregate_type, aggregate_id, sequence),
    constraint events_position unique (position),
    constraint events_sequence_from_one check (sequence >= 1),
    constraint events_position_from_one check (position >= 1),
    constraint events_commit_ahead check (commit_position >= position)
);

-- postgres-es reads this table whenever it loads with snapshots.
create table snapshots (
    aggregate_type text not null,
    aggregate_id text not null,
    last_sequence bigint not null,
    current_snapshot bigint not null,
    payload json not null,
    constraint snapshots_stream primary key (aggregate_type, aggregate_id, last_sequence)
);

-- The last position of the log. Whoever moves it from where they believed it was, owns the next positions.
create table log_head (
    only_row boolean primary key default true,
    position bigint not null,
    constraint log_head_only_row check (only_row)
) with (fillfactor = 10);

insert into log_head (position) values (0);

-- The commands that were accepted under an Idempotency-Key, with their answers. Keys and fingerprints are the first
-- 16 bytes of a SHA-256: small rows, since writing one is the dearest part of an append.
create table command_keys (
    key bytea not null,
    fingerprint bytea not null,
    position bigint not null,
    answer json not null,
    recorded_at timestamptz not null,
    constraint command_keys_key primary key (key)
);

-- One key per person; deleting it makes every sealed field of that person unreadable for ever.
create table person_keys (
    account_id uuid not null,
    key bytea not null,
    constraint person_keys_account primary key (account_id)
);

-- Every kind of event that some node may have written. A node that cannot read one of them does not start.
create table event_types (
    aggregate_type text not null,
    event_type text not null,
    event_version text not null,
    constraint event_types_kind primary key (aggregate_type, event_type, event_version)
);

-- How far each read model, process and timer has followed the log. A follower's rows change in the same transaction.
create table followers (
    name text not null,
    version integer not null,
    position bigint not null,
    constraint followers_name primary key (name)
);

grant usage on schema public to tradepost_service;
grant select, insert on events, command_keys, event_types to tradepost_service;
grant select, insert, update, delete on snapshots, followers to tradepost_service;
grant select, update on log_head to tradepost_service;
grant select, insert, delete on person_keys to tradepost_service;
