-- Where the money of each order is, how it came there, and what comes next.
-- Serves: the money of one order, and what has happened to it, the newest first.
create table orders (
    order_id uuid not null,
    buyer_id uuid not null,
    seller_id uuid not null,
    -- Whether it is somebody without an account who buys.
    guest boolean not null,
    place text not null,
    -- All amounts are minor units of it.
    currency text not null,
    total bigint not null,
    from_points bigint not null,
    -- What was paid in, points included, and what has become of that.
    paid bigint not null,
    held bigint not null,
    at_bank bigint not null,
    refunded bigint not null,
    paid_out bigint not null,
    fee bigint not null,
    -- Whether a card has paid it, and whether what goes back goes there.
    by_card boolean not null,
    to_card boolean not null,
    next text,
    next_at timestamptz,
    -- What comes after what comes next, as far as it is known: an order in cash must be sent and brought by then, and a
    -- dispute opens by itself.
    ship_by timestamptz,
    deliver_by timestamptz,
    dispute_at timestamptz,
    position bigint not null,
    constraint orders_order primary key (order_id),
    -- Where is my money? All of it is somewhere, to the last minor unit.
    constraint orders_add_up check (paid = held + at_bank + refunded + paid_out + fee),
    constraint orders_amounts_not_negative
        check (total >= 0 and paid >= 0 and held >= 0 and at_bank >= 0 and refunded >= 0 and paid_out >= 0 and fee >= 0),
    constraint orders_hold_nothing_elsewhere check (held = 0 or place in ('escrow', 'frozen', 'bank')),
    constraint orders_at_bank_while_it_decides check (at_bank = 0 or place = 'bank'),
    constraint orders_next_at_some_time check (next is not null or next_at is null)
);

create table steps (
    order_id uuid not null,
    -- The event's.
    position bigint not null,
    kind text not null,
    amount bigint,
    from_points bigint,
    fee bigint,
    to_seller bigint,
    owed bigint,
    cause text,
    until timestamptz,
    -- Ledger accounts and amounts, for staff.
    postings json not null,
    recorded_at timestamptz not null,
    constraint steps_of_order primary key (order_id, position)
);

-- Which orders are paid together.
create table groups (
    group_id uuid not null,
    order_ids json not null,
    constraint groups_group primary key (group_id)
);

-- What a card is charged for, and what of that goes back there or was disputed.
create table charges (
    id uuid not null,
    order_ids json not null,
    -- By refund: of which order, and how much.
    refunds json not null,
    -- By dispute: of which orders its bank has taken back what was in no escrow any more.
    disputes json not null,
    constraint charges_charge primary key (id)
);
