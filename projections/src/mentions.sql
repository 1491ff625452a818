-- Which aggregates have to do with something without being named by its own events: its views, its reviews, what a seller
-- has offered and sold.
-- Serves: the aggregates of one kind that mention any of some ids, by some position; the events themselves.
create table mentions (
    mentioned uuid not null,
    aggregate_type text not null,
    aggregate_id uuid not null,
    position bigint not null,
    constraint mentions_once primary key (mentioned, aggregate_type, position)
);
