-- What a wallet holds, and what its owner has done with it.
-- Serves: the balances of one account; pages of its transactions, newest first.
create table balances (
    wallet_id uuid not null,
    account_id uuid not null,
    -- All amounts are minor units of it.
    currency text not null,
    available bigint not null,
    held bigint not null,
    payout_pending bigint not null,
    owed bigint not null,
    version bigint not null,
    position bigint not null,
    constraint balances_wallet primary key (wallet_id),
    constraint balances_account unique (account_id, currency),
    constraint balances_available_not_negative check (available >= 0),
    constraint balances_held_not_negative check (held >= 0),
    constraint balances_payout_pending_not_negative check (payout_pending >= 0),
    constraint balances_owed_not_negative check (owed >= 0)
);

create table transactions (
    id uuid not null,
    account_id uuid not null,
    currency text not null,
    kind text not null,
    status text not null,
    -- What it adds to the available balance, or would have added.
    amount bigint not null,
    -- The available balance after its last movement there; null before the first.
    balance_after bigint,
    order_id uuid,
    provider text,
    reference text,
    failure_reason text,
    requested_at timestamptz not null,
    settled_at timestamptz,
    sequence bigint not null,
    position bigint not null,
    -- What was recovered of a sale or a deposit has the id of that.
    constraint transactions_operation primary key (account_id, kind, id),
    constraint transactions_balance_not_negative check (balance_after >= 0)
);

-- The sequence tells what one commit did to one wallet apart, the currency the wallets of one account.
create index transactions_newest on transactions (account_id, requested_at, sequence, currency);
