-- The last state of each aggregate with a long stream, so that loading it does not read the stream from its beginning.
-- Nothing rests on them: they may be deleted at any time. The table before this one was never written.

drop table snapshots;

create table snapshots (
    aggregate_type text not null,
    aggregate_id text not null,
    -- How many events of the stream are in it.
    version bigint not null,
    -- By which rules the events were folded; under others it does not count.
    rules text not null,
    state json not null,
    constraint snapshots_stream primary key (aggregate_type, aggregate_id),
    constraint snapshots_version_from_one check (version >= 1)
);

grant select, insert, update, delete on snapshots to tradepost_service;
