-- What sellers have sold, and what became of the money: per day, per listing, and what escrow still holds.
-- Serves: the days of one seller, sums over them, what is held for one seller, and the listings of one seller that sold
-- most.
create table days (
    seller_id uuid not null,
    currency text not null,
    -- In UTC.
    day date not null,
    -- Paid on that day.
    orders bigint not null,
    pieces bigint not null,
    -- Sums that 64 bits need not hold: whoever plays may be paid and give back without end.
    gross numeric(38) not null,
    -- Given back, kept and paid out on that day, whenever it was paid in. What is given back after the payout lessens
    -- fees and payouts of its day.
    refunded numeric(38) not null,
    fees numeric(38) not null,
    paid_out numeric(38) not null,
    -- Paid at the door on that day, which is in none of the sums above.
    cash_orders bigint not null,
    cash_pieces bigint not null,
    cash_gross numeric(38) not null,
    constraint days_day primary key (seller_id, currency, day),
    constraint days_count_up check (
        orders >= 0 and pieces >= 0 and gross >= 0 and refunded >= 0
        and cash_orders >= 0 and cash_pieces >= 0 and cash_gross >= 0)
);

create table listings (
    listing_id uuid not null,
    currency text not null,
    seller_id uuid not null,
    -- As it was called when it sold last.
    title text not null,
    orders bigint not null,
    pieces bigint not null,
    gross numeric(38) not null,
    constraint listings_listing primary key (listing_id, currency)
);

create index listings_of_seller on listings (seller_id, pieces, listing_id, currency);

-- What events of an escrow do not repeat of their order.
create table orders (
    order_id uuid not null,
    seller_id uuid not null,
    currency text not null,
    pieces bigint not null,
    -- What was sold of each listing.
    lots json not null,
    -- Minor units that are neither the buyer's nor the seller's yet.
    held bigint not null,
    -- Whether it is paid at the door, and has no escrow.
    in_cash boolean not null,
    constraint orders_order primary key (order_id),
    constraint orders_held_not_negative check (held >= 0)
);

create index orders_held on orders (seller_id, currency) where held > 0;
