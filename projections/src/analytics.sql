-- What the views for analysts are made of, which nobody reads but they: what was registered, listed, bid, ordered and
-- paid, a row for each, with the times of what became of it. No names, no texts that people write, no secrets.
-- Serves: the views in `analytics_views.sql`, which read all of a table or join two by their primary keys.
create table account_facts (
    account_id uuid not null,
    registered_at timestamptz not null,
    erased_at timestamptz,
    constraint account_facts_account primary key (account_id)
);

create table listing_facts (
    listing_id uuid not null,
    seller_id uuid not null,
    kind text not null,
    category text not null,
    condition text not null,
    currency text not null,
    drafted_at timestamptz not null,
    published_at timestamptz,
    ended_at timestamptz,
    constraint listing_facts_listing primary key (listing_id)
);

create table auction_facts (
    auction_id uuid not null,
    seller_id uuid not null,
    -- All amounts are minor units of it.
    currency text not null,
    start_price bigint not null,
    -- What the reserve is, is not here; once it is met, the price may be it.
    has_reserve boolean not null,
    buy_now_price bigint,
    scheduled_at timestamptz not null,
    starts_at timestamptz not null,
    planned_end_at timestamptz not null,
    ends_at timestamptz not null,
    extensions bigint not null,
    bids bigint not null,
    -- The visible one; null before the first bid.
    price bigint,
    reserve_met boolean not null,
    result text,
    reserve_missed boolean not null,
    closing_price bigint,
    winner_id uuid,
    ended_at timestamptz,
    -- How often whoever had it did not pay, and how often an underbidder was offered it and has taken it.
    forfeits bigint not null,
    second_chances bigint not null,
    second_chances_taken bigint not null,
    constraint auction_facts_auction primary key (auction_id)
);

-- No maximum is here beyond what the visible price tells.
create table bid_facts (
    auction_id uuid not null,
    sequence bigint not null,
    bidder_id uuid not null,
    leader_id uuid not null,
    price bigint not null,
    reserve_met boolean not null,
    placed_at timestamptz not null,
    constraint bid_facts_bid primary key (auction_id, sequence)
);

create table order_facts (
    order_id uuid not null,
    buyer_id uuid not null,
    guest boolean not null,
    seller_id uuid not null,
    origin text not null,
    auction_id uuid,
    payment text not null,
    delivery text not null,
    currency text not null,
    pieces bigint not null,
    gross bigint not null,
    status text not null,
    placed_at timestamptz not null,
    paid_at timestamptz,
    confirmed_at timestamptz,
    shipped_at timestamptz,
    -- When the marketplace disputes what was sent and of which nothing was heard.
    dispute_at timestamptz,
    delivered_at timestamptz,
    ended_at timestamptz,
    cancelled_by text,
    constraint order_facts_order primary key (order_id)
);

create table line_facts (
    order_id uuid not null,
    -- From 1.
    line bigint not null,
    listing_id uuid not null,
    pieces bigint not null,
    unit_price bigint not null,
    shipping bigint not null,
    gross bigint not null,
    fee_bps bigint not null,
    constraint line_facts_line primary key (order_id, line)
);

-- Each state that an order has come to.
create table state_facts (
    order_id uuid not null,
    -- Of the event that has brought it there, in the order's stream.
    sequence bigint not null,
    state text not null,
    entered_at timestamptz not null,
    constraint state_facts_state primary key (order_id, sequence)
);

create table escrow_facts (
    order_id uuid not null,
    seller_id uuid not null,
    currency text not null,
    amount bigint not null,
    -- What is neither the buyer's nor the seller's yet, also while a bank decides whose it is.
    held bigint not null,
    refunded bigint not null,
    fee bigint not null,
    paid_out bigint not null,
    status text not null,
    opened_at timestamptz not null,
    funded_at timestamptz,
    -- When the marketplace acts by itself if nobody else does.
    due_at timestamptz,
    disputes bigint not null,
    ended_at timestamptz,
    constraint escrow_facts_order primary key (order_id),
    constraint escrow_facts_held_not_negative check (held >= 0)
);

-- Each movement of the money of an order.
create table money_facts (
    -- Of the event in the log.
    position bigint not null,
    order_id uuid not null,
    seller_id uuid not null,
    currency text not null,
    kind text not null,
    paid bigint not null,
    refunded bigint not null,
    -- What the marketplace keeps, and what the seller gets of the rest; less than nothing where it is given back.
    fee bigint not null,
    paid_out bigint not null,
    -- What a guest has paid at the door, which is in none of the others.
    cash bigint not null,
    moved_at timestamptz not null,
    constraint money_facts_position primary key (position)
);
