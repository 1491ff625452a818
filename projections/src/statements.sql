-- What has moved in the wallets of an account, month by month, and what the marketplace has kept of its sales.
-- Serves: the movements of an account in one currency within some time, the oldest first, and what it had before and after
-- them; what they come to; the fees within that time.
create table wallets (
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
    constraint wallets_wallet primary key (wallet_id),
    constraint wallets_account unique (account_id, currency)
);

-- One for each event of a wallet that changes any of its balances.
create table movements (
    account_id uuid not null,
    currency text not null,
    -- Its place in the wallet's stream.
    sequence bigint not null,
    position bigint not null,
    step text not null,
    operation uuid not null,
    order_id uuid,
    -- What it adds to what is available.
    amount bigint not null,
    -- What the wallet had right after it.
    available bigint not null,
    held bigint not null,
    payout_pending bigint not null,
    owed bigint not null,
    recorded_at timestamptz not null,
    constraint movements_of_wallet primary key (account_id, currency, sequence),
    constraint movements_available_not_negative check (available >= 0),
    constraint movements_held_not_negative check (held >= 0),
    constraint movements_payout_pending_not_negative check (payout_pending >= 0),
    constraint movements_owed_not_negative check (owed >= 0)
);

create index movements_by_time on movements (account_id, currency, recorded_at, sequence);

-- Whose sales the fees of an escrow are taken from.
create table sellers (
    order_id uuid not null,
    account_id uuid not null,
    constraint sellers_order primary key (order_id)
);

-- What the marketplace has kept of a sale; below zero what it gave back with a refund.
create table fees (
    order_id uuid not null,
    -- The order, or the refund.
    operation uuid not null,
    account_id uuid not null,
    currency text not null,
    -- What it was taken of; below zero what of that was given back.
    gross bigint not null,
    amount bigint not null,
    position bigint not null,
    recorded_at timestamptz not null,
    constraint fees_operation primary key (order_id, operation),
    constraint fees_of_the_gross check (abs(amount) <= abs(gross) and amount::numeric * gross >= 0)
);

create index fees_by_time on fees (account_id, currency, recorded_at);
