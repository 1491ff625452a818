-- Affiliates: their codes, who has come by them, and what that has earned.
-- Serves: what one affiliate has, and pages of its commissions, newest first.
create table affiliates (
    -- The account.
    id uuid not null,
    -- Null once the person is forgotten.
    code text,
    enrolled_at timestamptz not null,
    position bigint not null,
    constraint affiliates_id primary key (id)
);

-- A click is a stream of its own, so it is counted here whatever has become of its affiliate.
create table clicks (
    affiliate_id uuid not null,
    clicks bigint not null,
    constraint clicks_affiliate primary key (affiliate_id)
);

-- Who has ever come by a link of whom.
create table referred (
    affiliate_id uuid not null,
    account_id uuid not null,
    constraint referred_account primary key (affiliate_id, account_id)
);

create table commissions (
    id uuid not null,
    affiliate_id uuid not null,
    state text not null,
    -- All amounts are minor units of it.
    currency text not null,
    -- The order's fee base.
    base bigint not null,
    rate_bps integer not null,
    accrued bigint not null,
    reversed bigint not null,
    accrued_at timestamptz not null,
    vested_at timestamptz,
    position bigint not null,
    constraint commissions_id primary key (id),
    constraint commissions_reversed_at_most_accrued check (reversed between 0 and accrued)
);

create index commissions_newest on commissions (affiliate_id, accrued_at, id);
