-- What staff were told should not be here, what parties of orders complain of, and what came of it.
-- Serves: queues of both by status, the oldest or the newest first; what somebody has reported; what has been reported of
-- somebody; one complaint, and those about somebody's orders.
create table reports (
    id uuid not null,
    reporter_id uuid not null,
    -- listing, user, message or review.
    target_kind text not null,
    target_id uuid not null,
    -- In which chat a message is.
    chat_id uuid,
    -- Whose it is.
    about_id uuid not null,
    reason text not null,
    -- Null once the reporter is forgotten.
    text text,
    filed_at timestamptz not null,
    status text not null,
    outcome text,
    -- Why; null once whoever has decided is forgotten.
    resolution text,
    resolved_by uuid,
    resolved_at timestamptz,
    version bigint not null,
    position bigint not null,
    constraint reports_id primary key (id),
    -- By these `apply` finds what somebody has written who is forgotten.
    constraint reports_of_reporter unique (reporter_id, filed_at, id),
    constraint reports_resolved_by unique (resolved_by, id)
);

create index reports_newest on reports (filed_at, id);
create index reports_by_status on reports (status, filed_at, id);
create index reports_about on reports (about_id, filed_at, id);

create table complaints (
    id uuid not null,
    order_id uuid not null,
    complainant_id uuid not null,
    -- The other party.
    against_id uuid not null,
    subject text not null,
    -- Null once the complainant is forgotten.
    text text,
    filed_at timestamptz not null,
    status text not null,
    outcome text,
    -- Why; null once whoever has decided is forgotten.
    resolution text,
    resolved_by uuid,
    resolved_at timestamptz,
    version bigint not null,
    position bigint not null,
    constraint complaints_id primary key (id),
    constraint complaints_of_complainant unique (complainant_id, filed_at, id),
    constraint complaints_resolved_by unique (resolved_by, id)
);

create index complaints_newest on complaints (filed_at, id);
create index complaints_by_status on complaints (status, filed_at, id);
create index complaints_against on complaints (against_id, filed_at, id);
