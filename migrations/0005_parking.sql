-- What followers of the log could not take in, what waits behind it, and what was left out for good; who stands still.
-- Serves: which aggregates of a batch a follower leaves alone, what is parked of one aggregate in order, what is
-- skipped within a stretch of the log.

create table parked_events (
    follower text not null,
    position bigint not null,
    -- What it happened to: whatever happens to that later waits too.
    aggregate_id uuid not null,
    -- Why it could not be taken; null if it waits behind one that could not.
    error text,
    -- How often it was tried.
    attempts integer not null,
    parked_at timestamptz not null,
    constraint parked_events_position primary key (follower, position),
    constraint parked_events_tried_or_waiting check ((error is null) = (attempts = 0))
);

create index parked_events_aggregate on parked_events (follower, aggregate_id, position);

-- Kept, so that it can be told later why something is missing, and so that a rebuild leaves out the same.
create table skipped_events (
    follower text not null,
    -- Of the follower: another version takes the event anew.
    version integer not null,
    position bigint not null,
    aggregate_id uuid not null,
    error text not null,
    reason text not null,
    skipped_by text not null,
    skipped_at timestamptz not null,
    constraint skipped_events_position primary key (follower, version, position),
    constraint skipped_events_with_reason check (reason <> '')
);

alter table followers
    -- Takes nothing until it is resumed, on whichever node.
    add column paused boolean not null default false,
    add column last_error text,
    add column last_error_at timestamptz;

grant select, insert, update, delete on parked_events to tradepost_service;
grant select, insert on skipped_events to tradepost_service;
