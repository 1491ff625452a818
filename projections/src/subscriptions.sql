-- Who subscribes to what, and how many listings sellers have on offer.
-- Serves: pages of the subscriptions of one account, newest first; what one seller has on offer; sellers with a fee of
-- their own, by their ids.
create table subscriptions (
    id uuid not null,
    account_id uuid not null,
    state text not null,
    -- What it was bought under.
    plan text not null,
    name text not null,
    price bigint not null,
    currency text not null,
    period_days bigint not null,
    fee_bps bigint,
    listings bigint,
    features json not null,
    -- The period that was paid last, from 1.
    period bigint not null,
    period_starts_at timestamptz not null,
    period_ends_at timestamptz not null,
    -- Whether another period follows, and of which plan if it is another.
    renews boolean not null,
    next_plan text,
    next_name text,
    next_price bigint,
    next_currency text,
    -- While it is not paid.
    retry_at timestamptz,
    grace_until timestamptz,
    -- When its subscriber was told that the period ends.
    reminded_at timestamptz,
    purchased_at timestamptz not null,
    ended_at timestamptz,
    end_cause text,
    version bigint not null,
    position bigint not null,
    constraint subscriptions_id primary key (id),
    constraint subscriptions_price_positive check (price > 0),
    constraint subscriptions_ended_for_a_cause
        check ((state = 'ended') = (ended_at is not null) and (ended_at is null) = (end_cause is null)),
    constraint subscriptions_grace_while_past_due check ((state = 'past_due') = (grace_until is not null))
);

create index subscriptions_newest on subscriptions (account_id, purchased_at, id);

create table sellers (
    account_id uuid not null,
    -- How many listings are on offer.
    offers bigint not null,
    -- A fee of the seller's own, in basis points.
    fee_bps bigint,
    position bigint not null,
    constraint sellers_account primary key (account_id),
    constraint sellers_offers_not_negative check (offers >= 0)
);

create index sellers_with_fee on sellers (account_id) where fee_bps is not null;
