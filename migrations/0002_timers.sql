-- What is due when: derived from the log, fired by the timers process.
-- Serves: the nearest timer, and moving or removing the timer of one aggregate.
create table timers (
    kind text not null,
    aggregate_id uuid not null,
    -- What the timer is about within the aggregate, such as one deposit of a wallet; the aggregate itself otherwise.
    subject uuid not null,
    due_at timestamptz not null,
    -- The event that set it: with kind and subject, the name under which it fires once.
    set_by uuid not null,
    constraint timers_subject primary key (kind, aggregate_id, subject)
);

create index timers_due on timers (due_at, kind, aggregate_id, subject);

grant select, insert, update, delete on timers to tradepost_service;
