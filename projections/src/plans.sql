-- The plans that the staff have defined. Those that are shipped and that nobody has touched are not here.
-- Serves: all of them at once, since they are few.
create table plans (
    id uuid not null,
    slug text not null,
    name text not null,
    -- What a period costs: amount and currency of each.
    prices json not null,
    period_days bigint not null,
    -- Basis points; null where it is the usual one.
    fee_bps bigint,
    -- Null where there may be as many as one likes.
    listings bigint,
    features json not null,
    sort_order integer not null,
    retired boolean not null,
    version bigint not null,
    position bigint not null,
    constraint plans_id primary key (id)
);
