-- The bonus points of accounts. Serves: how many an account has of each currency, and pages of what they came from,
-- newest first.
create table balances (
    account_id uuid not null,
    currency text not null,
    -- Below zero is owed.
    points bigint not null,
    position bigint not null,
    constraint balances_account primary key (account_id, currency)
);

create table entries (
    account_id uuid not null,
    sequence bigint not null,
    kind text not null,
    currency text not null,
    -- What was added.
    points bigint not null,
    order_id uuid not null,
    at timestamptz not null,
    position bigint not null,
    constraint entries_sequence primary key (account_id, sequence)
);
