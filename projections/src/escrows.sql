-- Where the money of each order is.
-- Serves: one escrow by its order, pages of what an account has under way, and pages by status for staff, newest first.
create table escrows (
    order_id uuid not null,
    buyer_id uuid not null,
    seller_id uuid not null,
    status text not null,
    -- All amounts are minor units of it.
    currency text not null,
    amount bigint not null,
    refunded bigint not null,
    -- Both null until the seller is paid.
    fee bigint,
    paid_out bigint,
    opened_at timestamptz not null,
    funded_at timestamptz,
    ship_by timestamptz,
    inspection_ends_at timestamptz,
    disputed_by text,
    dispute_reason text,
    disputed_at timestamptz,
    dispute_expires_at timestamptz,
    resolution text,
    ended_at timestamptz,
    version bigint not null,
    position bigint not null,
    constraint escrows_order primary key (order_id),
    constraint escrows_refunded_at_most_amount check (refunded between 0 and amount),
    constraint escrows_paid_out_with_fee check ((fee is null) = (paid_out is null)),
    -- What was paid in has gone to the buyer, the seller and the marketplace, to the cent.
    constraint escrows_add_up check (refunded + fee + paid_out = amount)
);

create index escrows_open_of_buyer on escrows (buyer_id, opened_at, order_id)
    where status in ('funded', 'inspection', 'disputed', 'charged_back');
create index escrows_open_of_seller on escrows (seller_id, opened_at, order_id)
    where status in ('funded', 'inspection', 'disputed', 'charged_back');
create index escrows_newest on escrows (opened_at, order_id);
create index escrows_by_status on escrows (status, opened_at, order_id);
