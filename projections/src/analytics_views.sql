-- What analysts see of the facts: stable names, no names of people, every column with what it means. Columns are added at
-- the end, and none is taken away or changes its meaning without another name.
-- Serves: BI tools, notebooks and the examples of docs/analytics.md, which lists all of this.

create view orders as
    select order_id, public.pseudonym(secret, buyer_id) as buyer, guest, order_facts.seller_id, origin, auction_id, payment,
        delivery, order_facts.currency, pieces, gross, order_facts.status, placed_at, paid_at, confirmed_at, shipped_at,
        delivered_at, order_facts.ended_at, cancelled_by, coalesce(refunded, 0) as refunded, coalesce(fee, 0) as fee,
        coalesce(paid_out, 0) as paid_out, coalesce(held, 0) as held, coalesce(disputes, 0) as disputes
    from order_facts left join escrow_facts using (order_id) cross join public.analytics_secret;
comment on view orders is 'What one buyer has bought from one seller, and what became of it: a row for each order.';
comment on column orders.order_id is 'The order.';
comment on column orders.buyer is 'Pseudonym of who buys; each guest order has one of its own.';
comment on column orders.guest is 'Whether it is somebody without an account who buys.';
comment on column orders.seller_id is 'Who sells, under the id that everybody sees.';
comment on column orders.origin is 'checkout, storefront (a guest''s), auction_won, bought_now or second_chance.';
comment on column orders.auction_id is 'The auction that it came out of.';
comment on column orders.payment is 'escrow, or cash_on_delivery, which the marketplace neither holds nor charges for.';
comment on column orders.delivery is 'physical or digital.';
comment on column orders.currency is 'Of all amounts, which are minor units of it (ISO 4217).';
comment on column orders.pieces is 'How many pieces are in it.';
comment on column orders.gross is 'Minor units: prices, less discounts, and shipping charges, as they were frozen at the sale.';
comment on column orders.status is 'placed, paid, confirmed (cash only), shipped, delivered, completed, cancelled or refunded.';
comment on column orders.placed_at is 'When it was placed.';
comment on column orders.paid_at is 'When it was paid into escrow.';
comment on column orders.confirmed_at is 'When the seller has confirmed an order in cash.';
comment on column orders.shipped_at is 'When it was sent.';
comment on column orders.delivered_at is 'When it has arrived.';
comment on column orders.ended_at is 'When it was completed, cancelled or refunded.';
comment on column orders.cancelled_by is 'buyer, seller or staff; or what was not done in time: not_paid, not_confirmed, not_shipped, not_delivered.';
comment on column orders.refunded is 'Minor units that went back to the buyer, also by their bank while escrow held them.';
comment on column orders.fee is 'Minor units that the marketplace has kept, less what it gave back.';
comment on column orders.paid_out is 'Minor units that the seller got, less what they gave back; what a bank took back later is still in it.';
comment on column orders.held is 'Minor units that are neither the buyer''s nor the seller''s yet.';
comment on column orders.disputes is 'How often it was disputed.';

create view order_lines as
    select order_id, line, line_facts.listing_id, category, order_facts.seller_id, line_facts.pieces, unit_price, shipping,
        line_facts.gross, order_facts.currency, fee_bps, placed_at, paid_at, order_facts.status
    from line_facts join order_facts using (order_id) left join listing_facts using (listing_id);
comment on view order_lines is 'A row for each form of each listing in an order.';
comment on column order_lines.order_id is 'The order.';
comment on column order_lines.line is 'Its place in the order, from 1.';
comment on column order_lines.listing_id is 'What is bought.';
comment on column order_lines.category is 'Slug of the category that the listing is in now.';
comment on column order_lines.seller_id is 'Who sells.';
comment on column order_lines.pieces is 'How many pieces.';
comment on column order_lines.unit_price is 'Minor units for a piece.';
comment on column order_lines.shipping is 'Minor units for sending all of them.';
comment on column order_lines.gross is 'Minor units: price × pieces + shipping.';
comment on column order_lines.currency is 'Of all amounts.';
comment on column order_lines.fee_bps is 'The marketplace''s share, in basis points (1/100 of a per cent), frozen at the sale.';
comment on column order_lines.placed_at is 'When the order was placed.';
comment on column order_lines.paid_at is 'When it was paid into escrow.';
comment on column order_lines.status is 'The order''s status, as in orders.';

create view order_states as
    select order_id, row_number() over steps as step, state, entered_at, lead(entered_at) over steps as left_at,
        lead(state) over steps as next_state, extract(epoch from lead(entered_at) over steps - entered_at)::bigint as seconds
    from state_facts window steps as (partition by order_id order by sequence);
comment on view order_states is 'The way of each order: a row for each state that it has come to.';
comment on column order_states.order_id is 'The order.';
comment on column order_states.step is 'From 1.';
comment on column order_states.state is 'As orders.status.';
comment on column order_states.entered_at is 'When it came to this state.';
comment on column order_states.left_at is 'When it left it; null while it is there, and at the end.';
comment on column order_states.next_state is 'What it came to next.';
comment on column order_states.seconds is 'Seconds that it was in this state.';

create view order_funnel as
    select date_trunc('month', placed_at at time zone 'UTC')::date as month, payment, origin, count(*) as placed,
        count(coalesce(paid_at, confirmed_at)) as secured, count(shipped_at) as shipped,
        count(delivered_at) as delivered, count(*) filter (where order_facts.status = 'completed') as completed,
        count(*) filter (where order_facts.status = 'cancelled') as cancelled,
        count(*) filter (where order_facts.status = 'refunded') as refunded,
        count(*) filter (where disputes > 0) as disputed,
        (percentile_cont(0.5) within group (order by extract(epoch from coalesce(paid_at, confirmed_at) - placed_at)))::bigint
            as secured_median_s,
        (percentile_cont(0.9) within group (order by extract(epoch from coalesce(paid_at, confirmed_at) - placed_at)))::bigint
            as secured_p90_s,
        (percentile_cont(0.5) within group (order by extract(epoch from shipped_at - coalesce(paid_at, confirmed_at))))::bigint
            as shipped_median_s,
        (percentile_cont(0.9) within group (order by extract(epoch from shipped_at - coalesce(paid_at, confirmed_at))))::bigint
            as shipped_p90_s,
        (percentile_cont(0.5) within group (order by extract(epoch from delivered_at - shipped_at)))::bigint
            as delivered_median_s,
        (percentile_cont(0.9) within group (order by extract(epoch from delivered_at - shipped_at)))::bigint
            as delivered_p90_s,
        (percentile_cont(0.5) within group (order by extract(epoch from order_facts.ended_at - placed_at))
            filter (where order_facts.status = 'completed'))::bigint as completed_median_s,
        (percentile_cont(0.9) within group (order by extract(epoch from order_facts.ended_at - placed_at))
            filter (where order_facts.status = 'completed'))::bigint as completed_p90_s
    from order_facts left join escrow_facts using (order_id) group by 1, 2, 3;
comment on view order_funnel is 'How many of the orders of a month came how far until now, and how long each step took.';
comment on column order_funnel.month is 'The first day of the month (UTC) in which they were placed.';
comment on column order_funnel.payment is 'escrow or cash_on_delivery.';
comment on column order_funnel.origin is 'As orders.origin.';
comment on column order_funnel.placed is 'How many orders were placed.';
comment on column order_funnel.secured is 'Of these, how many were paid into escrow, or confirmed by the seller if paid in cash.';
comment on column order_funnel.shipped is 'How many were sent; what is digital never is.';
comment on column order_funnel.delivered is 'How many have arrived; an order in cash is completed instead.';
comment on column order_funnel.completed is 'How many ended well.';
comment on column order_funnel.cancelled is 'How many were called off.';
comment on column order_funnel.refunded is 'How many ended with all the money back with the buyer.';
comment on column order_funnel.disputed is 'How many were ever disputed, however they ended.';
comment on column order_funnel.secured_median_s is 'Median of the seconds from placed to secured, of those that came so far.';
comment on column order_funnel.secured_p90_s is '90th percentile of the same.';
comment on column order_funnel.shipped_median_s is 'Median of the seconds from secured to shipped.';
comment on column order_funnel.shipped_p90_s is '90th percentile of the same.';
comment on column order_funnel.delivered_median_s is 'Median of the seconds from shipped to delivered.';
comment on column order_funnel.delivered_p90_s is '90th percentile of the same.';
comment on column order_funnel.completed_median_s is 'Median of the seconds from placed to completed.';
comment on column order_funnel.completed_p90_s is '90th percentile of the same.';

create view sales_per_day as
    select (moved_at at time zone 'UTC')::date as day, money_facts.currency,
        count(*) filter (where kind = 'paid') as orders,
        coalesce(sum(pieces) filter (where kind = 'paid'), 0) as pieces,
        sum(paid) as gross, sum(refunded) as refunded, sum(fee) as fees, sum(paid_out) as paid_out,
        count(*) filter (where kind = 'cash') as cash_orders,
        coalesce(sum(pieces) filter (where kind = 'cash'), 0) as cash_pieces, sum(cash) as cash_gross
    from money_facts left join order_facts using (order_id) group by 1, 2;
comment on view sales_per_day is 'What was sold on each day, and what became of money on that day, whenever it was paid in.';
comment on column sales_per_day.day is 'In UTC; days on which nothing moved are left out.';
comment on column sales_per_day.currency is 'Of all amounts, which are minor units of it (ISO 4217).';
comment on column sales_per_day.orders is 'How many orders were paid into escrow.';
comment on column sales_per_day.pieces is 'How many pieces were in them.';
comment on column sales_per_day.gross is 'Minor units that were paid for them.';
comment on column sales_per_day.refunded is 'Minor units that went back to buyers.';
comment on column sales_per_day.fees is 'Minor units that the marketplace has kept, less what it gave back.';
comment on column sales_per_day.paid_out is 'Minor units that sellers got, less what they gave back; what banks took back later is still in it.';
comment on column sales_per_day.cash_orders is 'How many orders were paid at the door, which are in none of the others.';
comment on column sales_per_day.cash_pieces is 'How many pieces were in those.';
comment on column sales_per_day.cash_gross is 'Minor units that were paid for those.';

create view sellers as
    select seller_id, currency, first_sale_at, last_sale_at, coalesce(placed, 0) as placed,
        coalesce(cancelled, 0) as cancelled, coalesce(disputed, 0) as disputed, coalesce(orders, 0) as orders,
        coalesce(pieces, 0) as pieces, coalesce(gross, 0) as gross, coalesce(refunded, 0) as refunded,
        coalesce(fees, 0) as fees, coalesce(paid_out, 0) as paid_out, coalesce(held, 0) as held,
        coalesce(cash_orders, 0) as cash_orders, coalesce(cash_gross, 0) as cash_gross, shipped_median_s
    from (
        select order_facts.seller_id, order_facts.currency, count(*) as placed,
            count(*) filter (where order_facts.status = 'cancelled') as cancelled,
            count(*) filter (where disputes > 0) as disputed, sum(held) as held,
            (percentile_cont(0.5) within group (order by extract(epoch from shipped_at - coalesce(paid_at, confirmed_at))))::bigint
                as shipped_median_s
        from order_facts left join escrow_facts using (order_id) group by 1, 2
    ) as placed
    full join (
        select money_facts.seller_id, money_facts.currency,
            min(moved_at) filter (where kind in ('paid', 'cash')) as first_sale_at,
            max(moved_at) filter (where kind in ('paid', 'cash')) as last_sale_at,
            count(*) filter (where kind = 'paid') as orders,
            sum(pieces) filter (where kind = 'paid') as pieces,
            sum(paid) as gross, sum(refunded) as refunded, sum(fee) as fees, sum(paid_out) as paid_out,
            count(*) filter (where kind = 'cash') as cash_orders, sum(cash) as cash_gross
        from money_facts left join order_facts using (order_id) group by 1, 2
    ) as sold using (seller_id, currency);
comment on view sellers is 'What each seller has ever sold in each currency, and how they serve.';
comment on column sellers.seller_id is 'Who sells, under the id that everybody sees.';
comment on column sellers.currency is 'Of all amounts, which are minor units of it (ISO 4217).';
comment on column sellers.first_sale_at is 'When an order of theirs was paid for the first time.';
comment on column sellers.last_sale_at is 'When one was paid last.';
comment on column sellers.placed is 'How many orders were placed with them.';
comment on column sellers.cancelled is 'How many of these were called off, unpaid ones included.';
comment on column sellers.disputed is 'How many were ever disputed.';
comment on column sellers.orders is 'How many were paid into escrow.';
comment on column sellers.pieces is 'How many pieces were in those.';
comment on column sellers.gross is 'Minor units that were paid for those.';
comment on column sellers.refunded is 'Minor units that went back to buyers.';
comment on column sellers.fees is 'Minor units that the marketplace has kept, less what it gave back.';
comment on column sellers.paid_out is 'Minor units that the seller got, less what they gave back; what banks took back later is still in it.';
comment on column sellers.held is 'Minor units that escrow holds: gross = refunded + fees + paid_out + held.';
comment on column sellers.cash_orders is 'How many orders were paid at the door, which are in none of the amounts above.';
comment on column sellers.cash_gross is 'Minor units that were paid for those.';
comment on column sellers.shipped_median_s is 'Median of the seconds from when an order was paid or confirmed until it was sent.';

create view fees_per_day as
    select (moved_at at time zone 'UTC')::date as day, currency,
        count(*) filter (where kind in ('released', 'split')) as sales,
        coalesce(sum(fee + paid_out) filter (where kind in ('released', 'split')), 0) as kept,
        coalesce(sum(fee) filter (where kind in ('released', 'split')), 0) as charged,
        coalesce(-sum(fee) filter (where kind = 'refunded_after_release'), 0) as given_back,
        sum(fee) as fees,
        round(10000 * sum(fee) filter (where kind in ('released', 'split'))
            / nullif(sum(fee + paid_out) filter (where kind in ('released', 'split')), 0), 2) as effective_bps
    from money_facts where kind in ('released', 'split', 'refunded_after_release') group by 1, 2;
comment on view fees_per_day is 'What the marketplace has earned with sales, on the day on which it was earned.';
comment on column fees_per_day.day is 'In UTC.';
comment on column fees_per_day.currency is 'Of all amounts, which are minor units of it (ISO 4217).';
comment on column fees_per_day.sales is 'How many escrows were released or split.';
comment on column fees_per_day.kept is 'Minor units of these that did not go back to buyers, on which fees are charged.';
comment on column fees_per_day.charged is 'Minor units of that which the marketplace has kept.';
comment on column fees_per_day.given_back is 'Minor units of fees, whenever charged, that went back with refunds after a release.';
comment on column fees_per_day.fees is 'charged − given_back.';
comment on column fees_per_day.effective_bps is 'charged of kept, in basis points (1/100 of a per cent).';

create view escrows as
    select escrow_facts.order_id, escrow_facts.seller_id, escrow_facts.currency, amount, held, refunded, fee, paid_out,
        escrow_facts.status, opened_at, funded_at,
        -- What was sent waits for its delivery, and longer once its bank has decided.
        case when escrow_facts.status <> 'funded' or shipped_at is null then due_at
            when dispute_at is not null then greatest(due_at, dispute_at) end as due_at,
        disputes, escrow_facts.ended_at,
        case when held > 0 then greatest(extract(epoch from now() - funded_at)::bigint, 0) end as age_s
    from escrow_facts left join order_facts using (order_id);
comment on view escrows is 'Where the money of each order is: a row for each escrow.';
comment on column escrows.order_id is 'The order.';
comment on column escrows.seller_id is 'Who sells.';
comment on column escrows.currency is 'Of all amounts, which are minor units of it (ISO 4217).';
comment on column escrows.amount is 'Minor units to be paid in.';
comment on column escrows.held is 'Minor units that are neither the buyer''s nor the seller''s yet, also while a bank decides.';
comment on column escrows.refunded is 'Minor units that went back to the buyer, also by their bank while they were held.';
comment on column escrows.fee is 'Minor units that the marketplace has kept, less what it gave back.';
comment on column escrows.paid_out is 'Minor units that the seller got, less what they gave back; what a bank took back later is still in it.';
comment on column escrows.status is 'awaiting_payment, funded, inspection, disputed, charged_back, voided, released, refunded or split.';
comment on column escrows.opened_at is 'When the order was placed.';
comment on column escrows.funded_at is 'When it was paid in.';
comment on column escrows.due_at is 'When the marketplace acts by itself if nobody else does: refunds what was not sent or decided, disputes what did not arrive, releases what was inspected.';
comment on column escrows.disputes is 'How often it was disputed.';
comment on column escrows.ended_at is 'When all of it had gone to whom it belongs.';
comment on column escrows.age_s is 'Seconds since it was paid in, while it holds anything; by the real time, not by the clock of a sandbox.';

create view escrow_ageing as
    select currency, status,
        case when age_s < 86400 then '0-1 d' when age_s < 259200 then '1-3 d' when age_s < 604800 then '3-7 d'
            when age_s < 1209600 then '7-14 d' when age_s < 2592000 then '14-30 d' when age_s < 5184000 then '30-60 d'
            else '60 d or more' end as age,
        min(age_s) as youngest_s, max(age_s) as oldest_s, count(*) as orders, sum(held) as held,
        count(*) filter (where due_at < now()) as overdue
    from escrows where held > 0 group by 1, 2, 3;
comment on view escrow_ageing is 'What escrow holds now, by how long it has held it.';
comment on column escrow_ageing.currency is 'Of the amounts.';
comment on column escrow_ageing.status is 'funded, inspection, disputed or charged_back.';
comment on column escrow_ageing.age is '0-1 d, 1-3 d, 3-7 d, 7-14 d, 14-30 d, 30-60 d or 60 d or more, since it was paid in; order by youngest_s.';
comment on column escrow_ageing.youngest_s is 'Seconds since the last of them was paid in.';
comment on column escrow_ageing.oldest_s is 'Seconds since the first of them was paid in.';
comment on column escrow_ageing.orders is 'How many orders.';
comment on column escrow_ageing.held is 'Minor units that it holds for them.';
comment on column escrow_ageing.overdue is 'How many of them should have moved by themselves: other than none is a matter for the operator.';

create view auctions as
    select auction_id, auction_facts.seller_id, category, auction_facts.currency, start_price, buy_now_price, has_reserve,
        reserve_met, scheduled_at, starts_at, planned_end_at, ends_at, auction_facts.ended_at, extensions, bids,
        (select count(distinct bidder_id) from bid_facts where bid_facts.auction_id = auction_facts.auction_id) as bidders,
        price, coalesce(result, 'running') as result, reserve_missed, closing_price,
        public.pseudonym(secret, winner_id) as winner, forfeits, second_chances, second_chances_taken,
        round(10000 * closing_price::numeric / start_price, 2) as closing_bps_of_start
    from auction_facts left join listing_facts on listing_id = auction_id cross join public.analytics_secret;
comment on view auctions is 'How each auction went and ended. Of reserves it tells no more than the price does.';
comment on column auctions.auction_id is 'The auction; its listing has the same id.';
comment on column auctions.seller_id is 'Who sells.';
comment on column auctions.category is 'Slug of the category that the listing is in now.';
comment on column auctions.currency is 'Of all amounts, which are minor units of it (ISO 4217).';
comment on column auctions.start_price is 'Minor units: the lowest first bid.';
comment on column auctions.buy_now_price is 'Minor units for which it could be had at once, at first.';
comment on column auctions.has_reserve is 'Whether there is a price below which it is not sold.';
comment on column auctions.reserve_met is 'Whether the price satisfies it; true without one.';
comment on column auctions.scheduled_at is 'Since when it was announced.';
comment on column auctions.starts_at is 'From when bids are taken.';
comment on column auctions.planned_end_at is 'When it was to end, had no late bid moved that.';
comment on column auctions.ends_at is 'When it ends as it stands.';
comment on column auctions.ended_at is 'When it was over, closed or cancelled.';
comment on column auctions.extensions is 'How often a late bid has moved the end.';
comment on column auctions.bids is 'How many bids were accepted.';
comment on column auctions.bidders is 'How many have bid.';
comment on column auctions.price is 'Minor units: the visible price; null before the first bid.';
comment on column auctions.result is 'running, won, bought_now, unsold or cancelled.';
comment on column auctions.reserve_missed is 'Whether it is unsold because the reserve was not met.';
comment on column auctions.closing_price is 'Minor units that it was sold for.';
comment on column auctions.winner is 'Pseudonym of who won or bought it at once.';
comment on column auctions.forfeits is 'How often whoever had it did not pay.';
comment on column auctions.second_chances is 'How often an underbidder was offered it after that.';
comment on column auctions.second_chances_taken is 'How often one has taken it.';
comment on column auctions.closing_bps_of_start is 'The closing price in basis points of the start price: 10000 where nobody drove it up.';

create view bids as
    select auction_id, bid, public.pseudonym(secret, bidder_id) as bidder, auction_facts.currency, steps.price,
        steps.price - coalesce(price_before, start_price) as rise, leader_id = bidder_id as leads,
        leader_id is distinct from leader_before as took_lead, steps.reserve_met, placed_at,
        round(greatest(extract(epoch from placed_at - starts_at), 0), 3) as since_start_s,
        round(extract(epoch from planned_end_at - placed_at), 3) as before_planned_end_s,
        round(10000 * steps.price::numeric / nullif(closing_price, 0), 2) as bps_of_closing
    from (
        select *, row_number() over so_far as bid, lag(price) over so_far as price_before,
            lag(leader_id) over so_far as leader_before
        from bid_facts window so_far as (partition by auction_id order by sequence)
    ) as steps join auction_facts using (auction_id) cross join public.analytics_secret;
comment on view bids is 'How auctions came to their prices: a row for each accepted bid. Of what somebody would have paid at most it tells no more than the price does.';
comment on column bids.auction_id is 'The auction.';
comment on column bids.bid is 'Its place in the auction, from 1.';
comment on column bids.bidder is 'Pseudonym of who bid, the same in every auction.';
comment on column bids.currency is 'Of the amounts, which are minor units of it (ISO 4217).';
comment on column bids.price is 'Minor units: the visible price after it.';
comment on column bids.rise is 'Minor units by which it has moved the price; of a first bid, above the start price.';
comment on column bids.leads is 'Whether who bid led after it.';
comment on column bids.took_lead is 'Whether somebody else led before, or nobody.';
comment on column bids.reserve_met is 'Whether the price then satisfied the reserve.';
comment on column bids.placed_at is 'When.';
comment on column bids.since_start_s is 'Seconds after the start.';
comment on column bids.before_planned_end_s is 'Seconds before the planned end; below zero once late bids have moved the end.';
comment on column bids.bps_of_closing is 'The price after it in basis points of the closing price; null unless it was sold.';

create view listings as
    select listing_id, seller_id, kind, category, condition, currency, drafted_at, published_at, ended_at,
        coalesce(orders, 0) as orders, coalesce(pieces, 0) as pieces, coalesce(gross, 0) as gross, first_sold_at,
        extract(epoch from first_sold_at - published_at)::bigint as first_sold_after_s
    from listing_facts left join (
        select listing_id, count(distinct order_id) as orders, sum(line_facts.pieces) as pieces,
            sum(line_facts.gross) filter (where money_facts.currency = offered.currency) as gross,
            min(moved_at) as first_sold_at
        from line_facts join money_facts using (order_id) join listing_facts as offered using (listing_id)
        where money_facts.kind in ('paid', 'cash') group by listing_id
    ) as sold using (listing_id);
comment on view listings is 'What was offered, and what was sold of it.';
comment on column listings.listing_id is 'The listing.';
comment on column listings.seller_id is 'Who sells.';
comment on column listings.kind is 'fixed_price or auction.';
comment on column listings.category is 'Slug of its category, as it is now.';
comment on column listings.condition is 'new, like_new, good, fair or for_parts.';
comment on column listings.currency is 'Of its prices now, and of gross.';
comment on column listings.drafted_at is 'When it was written down.';
comment on column listings.published_at is 'When it was offered first.';
comment on column listings.ended_at is 'When it was archived or removed.';
comment on column listings.orders is 'How many orders with it were paid, in cash too.';
comment on column listings.pieces is 'How many pieces were in those, also what was given back later.';
comment on column listings.gross is 'Minor units of its currency that were paid for those; what was paid in another one, before it was changed, is not in it.';
comment on column listings.first_sold_at is 'When it was paid for the first time.';
comment on column listings.first_sold_after_s is 'Seconds from its publication until then.';

create view cohort_retention as
    with bought as (
        select distinct buyer_id, date_trunc('month', paid_at at time zone 'UTC') as month
        from order_facts where paid_at is not null and not guest
    ), counted as (
        select buyer_id, date_trunc('month', paid_at at time zone 'UTC') as month, count(*) as orders
        from order_facts where paid_at is not null and not guest group by 1, 2
    ), began as (
        select buyer_id, min(month) as cohort from bought group by 1
    ), sizes as (
        select cohort, count(*) as buyers from began group by 1
    )
    select cohort::date as cohort,
        (12 * (extract(year from month) - extract(year from cohort)) + extract(month from month) - extract(month from cohort))::integer
            as months_later,
        max(buyers) as buyers, count(*) as active, sum(orders) as orders,
        round(10000 * count(*)::numeric / max(buyers), 2) as retained_bps
    from counted join began using (buyer_id) join sizes using (cohort) group by cohort, month;
comment on view cohort_retention is 'Of those who bought first in some month, how many bought again in later ones. Guests are not known again, and not counted.';
comment on column cohort_retention.cohort is 'The first day of the month (UTC) in which they first paid for an order into escrow.';
comment on column cohort_retention.months_later is 'Months after that: 0 is the first.';
comment on column cohort_retention.buyers is 'How many buyers the cohort has.';
comment on column cohort_retention.active is 'How many of them paid for an order in that later month; months without any are left out.';
comment on column cohort_retention.orders is 'How many orders that were.';
comment on column cohort_retention.retained_bps is 'active of buyers, in basis points (1/100 of a per cent).';

create view signups_per_day as
    select (registered_at at time zone 'UTC')::date as day, count(*) as signups, count(erased_at) as erased,
        count(buyer_id) as bought, count(seller_id) as offered
    from account_facts
        left join (select distinct buyer_id from order_facts where paid_at is not null) as bought
            on buyer_id = account_id
        left join (select distinct seller_id from listing_facts where published_at is not null) as offered
            on seller_id = account_id
    group by 1;
comment on view signups_per_day is 'Who has come on each day, and how many of them have done something since.';
comment on column signups_per_day.day is 'In UTC; days on which nobody came are left out.';
comment on column signups_per_day.signups is 'How many accounts were opened.';
comment on column signups_per_day.erased is 'How many of these are deleted by now.';
comment on column signups_per_day.bought is 'How many of these have paid for an order by now.';
comment on column signups_per_day.offered is 'How many of these have published a listing by now.';

create view searches_without_results as
    select day, case when is_common then term end as term, sum(searches)::bigint as searches
    from (
        select day, nullif(term, '') as term, searches, sum(searches) over (partition by term) >= 3 as is_common
        from public.search_misses
    ) as counted group by 1, 2;
comment on view searches_without_results is 'What was searched for among what is offered, with nothing but words, and not found. Nobody is kept with it.';
comment on column searches_without_results.day is 'In UTC, by the marketplace''s clock. Days are kept for 400 days.';
comment on column searches_without_results.term is 'What was typed, in lower case, cut to 80 characters, if it was searched for three times or more over all days; null for all the rest of the day.';
comment on column searches_without_results.searches is 'How often.';

create view freshness as
    select followers.position, log_head.position as head, log_head.position - followers.position as behind,
        recorded_at as shown_until
    from public.followers cross join public.log_head left join public.events on events.position = followers.position
    where followers.name = 'analytics';
comment on view freshness is 'Up to where in the log all of this goes. One row.';
comment on column freshness.position is 'The position of the last event that is in the views.';
comment on column freshness.head is 'The position of the last event that has happened.';
comment on column freshness.behind is 'head − position: 0 while nothing happens, and mostly some milliseconds of work otherwise.';
comment on column freshness.shown_until is 'When the last event that is in the views has happened.';
