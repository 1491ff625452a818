-- What was bought, by whom from whom, and where it is.
-- Serves: one order by its id, the orders of a group, pages of an account's purchases and sales, newest first, and how
-- many orders there are in each status.
create table orders (
    id uuid not null,
    group_id uuid not null,
    buyer_id uuid not null,
    seller_id uuid not null,
    origin text not null,
    auction_id uuid,
    payment text not null,
    delivery text not null,
    status text not null,
    -- All amounts are minor units of it.
    currency text not null,
    total bigint not null,
    from_points bigint not null,
    refunded bigint not null,
    lines json not null,
    -- Null once the buyer is forgotten.
    ship_to text,
    -- Of a guest; null of accounts, and once the guest is forgotten.
    contact text,
    confirmation text,
    pay_by timestamptz not null,
    placed_at timestamptz not null,
    paid_at timestamptz,
    confirmed_at timestamptz,
    shipped_at timestamptz,
    carrier text,
    tracking text,
    questioned_at timestamptz,
    delivered_at timestamptz,
    ended_at timestamptz,
    cancelled_by text,
    cancel_reason text,
    version bigint not null,
    position bigint not null,
    constraint orders_id primary key (id),
    constraint orders_refunded_at_most_total check (refunded between 0 and total)
);

create index orders_of_group on orders (group_id, id);
create index orders_of_buyer on orders (buyer_id, placed_at, id);
create index orders_of_seller on orders (seller_id, placed_at, id);
-- What a seller has to send is little of what was ever sold.
create index orders_of_seller_by_status on orders (seller_id, status, placed_at, id);
-- Counts need not look at the rows.
create index orders_by_status on orders (status);

create table groups (
    id uuid not null,
    buyer_id uuid not null,
    status text not null,
    currency text not null,
    -- Minor units: what its orders came to when they were placed.
    total bigint not null,
    pay_by timestamptz not null,
    placed_at timestamptz not null,
    paid_at timestamptz,
    version bigint not null,
    position bigint not null,
    constraint groups_id primary key (id)
);
