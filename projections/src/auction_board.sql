-- How auctions stand, who has bid (under pseudonyms), and what happened, message by message.
-- Serves: one auction by its id; pages of auctions by end or novelty, of one status or one seller.
create table auctions (
    id uuid not null,
    seller_id uuid not null,
    -- All amounts are minor units of it.
    currency text not null,
    start_price bigint not null,
    price bigint not null,
    -- The reserve itself is secret.
    has_reserve boolean not null,
    reserve_met boolean not null,
    buy_now_price bigint,
    increments json not null,
    leader_id uuid,
    leader_alias integer,
    bids integer not null,
    bidders integer not null,
    minimum_bid bigint not null,
    scheduled_at timestamptz not null,
    starts_at timestamptz not null,
    ends_at timestamptz not null,
    status text not null,
    result text,
    reserve_missed boolean not null,
    closing_price bigint,
    winner_id uuid,
    winner_alias integer,
    ended_at timestamptz,
    forfeited boolean not null,
    -- Of the second chance that was offered last.
    second_chance_id uuid,
    second_chance_alias integer,
    second_chance_price bigint,
    second_chance_until timestamptz,
    second_chance_order uuid,
    version bigint not null,
    position bigint not null,
    constraint auctions_id primary key (id)
);

create index auctions_ending_soon on auctions (ends_at, id);
create index auctions_ending_soon_by_status on auctions (status, ends_at, id);
create index auctions_newest on auctions (scheduled_at, id);
create index auctions_newest_by_status on auctions (status, scheduled_at, id);
create index auctions_of_seller on auctions (seller_id, scheduled_at, id);

-- Who stands behind a pseudonym. Serves: the pseudonym of an account in an auction, and the account of a pseudonym.
create table bidders (
    auction_id uuid not null,
    account_id uuid not null,
    -- 1, 2, 3 … in the order of their first bids.
    alias integer not null,
    constraint bidders_account primary key (auction_id, account_id),
    constraint bidders_alias unique (auction_id, alias)
);

-- The public history of bids. Serves: pages of one auction's bids.
create table bids (
    auction_id uuid not null,
    sequence bigint not null,
    alias integer not null,
    price bigint not null,
    leading_alias integer not null,
    placed_at timestamptz not null,
    constraint bids_sequence primary key (auction_id, sequence)
);

-- One public message per event. Serves: what came after a message of one auction, and after a position of the log.
create table activity (
    auction_id uuid not null,
    sequence bigint not null,
    position bigint not null,
    at timestamptz not null,
    kind text not null,
    data json not null,
    constraint activity_sequence primary key (auction_id, sequence),
    constraint activity_position unique (position)
);

-- Whose stores staff have closed at some time. Serves: leaving their auctions out of pages.
create table sellers (
    seller_id uuid not null,
    closed boolean not null,
    constraint sellers_id primary key (seller_id)
);

create index sellers_closed on sellers (seller_id) where closed;
