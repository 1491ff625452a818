-- What was done in a capacity, as staff, as an administrator or at the command line: a row for each event.
-- Serves: pages of acts (the events of one unit of work), the newest first: all of them, or those of an actor, about
-- something, of a kind, or within a time. What was before and after, the log itself tells.
create table steps (
    position bigint not null,
    -- The last position of the same unit of work: the act's name.
    unit bigint not null,
    -- Null for an operator at the command line.
    actor uuid,
    capacity text not null,
    aggregate_type text not null,
    aggregate_id uuid not null,
    -- Its place in the stream of that.
    sequence bigint not null,
    event_type text not null,
    recorded_at timestamptz not null,
    constraint steps_position primary key (position)
);

create index steps_newest on steps (unit);
create index steps_of_actor on steps (actor, unit);
create index steps_about on steps (aggregate_id, unit);
create index steps_of_type on steps (event_type, unit);
create index steps_at on steps (recorded_at);
