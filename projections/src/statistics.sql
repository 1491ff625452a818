-- How the marketplace does: what there is in each status, and what happened on each day.
-- Serves: all counts; the days from one until another; sums over all days.
create table counts (
    -- Of accounts, listings, orders, escrows and stores.
    kind text not null,
    status text not null,
    things bigint not null,
    constraint counts_status primary key (kind, status),
    constraint counts_not_negative check (things >= 0)
);

-- What each thing is counted as.
create table things (
    kind text not null,
    id uuid not null,
    status text not null,
    constraint things_id primary key (kind, id)
);

create table days (
    -- In UTC.
    day date not null,
    signups bigint not null,
    -- Written down on that day, whatever became of them.
    listings bigint not null,
    orders bigint not null,
    disputes bigint not null,
    violations bigint not null,
    constraint days_day primary key (day)
);

create table takings (
    day date not null,
    currency text not null,
    -- Orders that were paid on that day, and what was in them. Sums that 64 bits need not hold.
    orders bigint not null,
    pieces bigint not null,
    gross numeric(38) not null,
    -- Given back, kept and paid out on that day, whenever it was paid in.
    refunded numeric(38) not null,
    fees numeric(38) not null,
    paid_out numeric(38) not null,
    -- Paid at the door on that day, which is in none of the sums above.
    cash_orders bigint not null,
    cash_pieces bigint not null,
    cash_gross numeric(38) not null,
    constraint takings_day primary key (day, currency)
);

-- What events of an escrow do not repeat of their order.
create table orders (
    order_id uuid not null,
    currency text not null,
    pieces bigint not null,
    gross bigint not null,
    -- Whether it is paid at the door, and has no escrow.
    in_cash boolean not null,
    constraint orders_order primary key (order_id)
);
