//! Orders, escrows and stock: the rows agree with the domain, and every page is found from both sides.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;
use domain::escrow::{Escrow, Phase, Station};
use domain::listing::Listing;
use domain::order::Order;
use domain::order_group::OrderGroup;
use domain::{AccountId, ListingId, OrderGroupId, OrderId};
use uuid::Uuid;

use super::database::TestDatabase;
use super::history::{History, TEXTS};
use super::questions::walk;
use crate::catalogue::{self, Viewer};
use crate::escrows;
use crate::ledger;
use crate::orders::{self, Canceller, Filter, GroupStatus, Side, Status};
use crate::sales;

#[tokio::test]
async fn an_order_shows_what_the_domain_says_of_it_and_of_its_money() {
    let (mut told, mut causes) = (BTreeSet::new(), Vec::new());
    for seed in 31..=33 {
        let history = History::random(seed, 2_500);
        let test = TestDatabase::showing(&history.units).await;
        for (id, (order, version)) in &history.orders.0 {
            let Order::Placed(placed) = order else { continue };
            if !placed.terms.payment.is_escrow() {
                let shown = orders::get(&test.pool, OrderId(*id)).await.unwrap().unwrap();
                assert_eq!(serde_json::to_value(shown.status).unwrap(), placed.stage.name(), "{placed:?}");
                assert_eq!(shown.contact.is_some(), !placed.guest_forgotten);
                continue;
            }
            let Escrow::Opened(money) = history.escrows.state(OrderId(*id)) else { panic!("{id} has no escrow") };
            let shown = orders::get(&test.pool, OrderId(*id)).await.unwrap().unwrap();
            let status = match money.phase {
                Phase::Disputed { .. } | Phase::ChargedBack { from: Station::Disputed, .. } => "disputed",
                Phase::AwaitingPayment
                | Phase::Funded { .. }
                | Phase::Inspection { .. }
                | Phase::ChargedBack { .. }
                | Phase::Voided
                | Phase::Released { .. }
                | Phase::Refunded
                | Phase::Split => placed.stage.name(),
            };
            assert_eq!(serde_json::to_value(shown.status).unwrap(), status, "{placed:?}");
            told.insert(status);
            assert_eq!(shown.version, version.cast_signed());
            assert_eq!((shown.total, shown.refunded), (money.terms.amount.minor(), money.refunded.minor()));
            assert_eq!(shown.from_points, money.terms.points_part().minor());
            assert_eq!((shown.buyer_id, shown.seller_id), (placed.terms.buyer.0, placed.terms.seller.0));
            assert_eq!(shown.lines.iter().map(|line| line.total).sum::<i64>(), shown.total);
            assert_eq!(shown.ended_at.is_some(), placed.stage.has_ended());
            assert_eq!(shown.cancelled_by.is_some(), shown.status == Status::Cancelled);
            let remembered = history.accounts.state(placed.terms.buyer).registered().is_ok();
            assert_eq!(shown.ship_to.is_some(), remembered && placed.terms.ship_to.is_some());
            assert!(
                shown.ship_to.is_none_or(|ship_to| TEXTS.iter().any(|text| text.replace('\0', "\u{fffd}") == ship_to))
            );
            let group = history.groups.state(placed.terms.group);
            assert_eq!(shown.pay_by, group.placed().unwrap().pay_by);
        }
        let of_one: Vec<Option<Canceller>> =
            sqlx::query_scalar("select distinct cancelled_by from orders.orders").fetch_all(&test.pool).await.unwrap();
        causes.extend(of_one);
    }
    let everywhere =
        ["placed", "paid", "shipped", "delivered", "disputed", "completed", "cancelled", "refunded"].into();
    assert_eq!(told, everywhere);
    for cause in [Canceller::Buyer, Canceller::Seller, Canceller::Staff, Canceller::NotPaid, Canceller::NotShipped] {
        assert!(causes.contains(&Some(cause)), "{cause:?}");
    }
}

#[tokio::test]
async fn a_group_shows_whether_it_is_paid_and_has_its_orders() {
    let history = History::random(32, 2_000);
    let test = TestDatabase::showing(&history.units).await;
    let mut several = 0;
    for (id, (group, version)) in &history.groups.0 {
        let (placed, status) = match group {
            OrderGroup::Unplaced => continue,
            OrderGroup::AwaitingPayment(placed) => (placed, GroupStatus::AwaitingPayment),
            OrderGroup::Paid(placed) => (placed, GroupStatus::Paid),
            OrderGroup::Expired(placed) => (placed, GroupStatus::Expired),
        };
        let shown = orders::group(&test.pool, OrderGroupId(*id)).await.unwrap().unwrap();
        assert_eq!((shown.status, shown.version), (status, version.cast_signed()));
        assert_eq!((shown.buyer_id, shown.pay_by), (placed.buyer.0, placed.pay_by));
        assert_eq!(shown.paid_at.is_some(), status == GroupStatus::Paid);
        let members = orders::orders_of(&test.pool, OrderGroupId(*id)).await.unwrap();
        let ids: BTreeSet<Uuid> = members.iter().map(|order| order.id).collect();
        assert_eq!(ids, placed.orders.iter().map(|order| order.0).collect());
        assert_eq!(shown.total, members.iter().map(|order| order.total).sum::<i64>());
        several += usize::from(members.len() > 1);
    }
    assert!(several > 0);
    assert_eq!(orders::group(&test.pool, OrderGroupId(Uuid::nil())).await.unwrap(), None);
}

#[tokio::test]
async fn every_order_of_an_account_is_on_exactly_one_page_from_each_side() {
    let history = History::random(33, 2_000);
    let test = TestDatabase::showing(&history.units).await;
    let pool = &test.pool;
    let all: Vec<orders::Order> = sqlx::query_as("select * from orders.orders").fetch_all(pool).await.unwrap();
    let mut counted = BTreeMap::<String, i64>::new();
    for order in &all {
        *counted.entry(format!("{:?}", order.status)).or_default() += 1;
    }
    let counts = orders::counts(pool).await.unwrap();
    assert_eq!(
        counts.into_iter().map(|(status, count)| (format!("{status:?}"), count)).collect::<BTreeMap<_, _>>(),
        counted
    );
    for party in history.accounts.0.keys().copied().map(AccountId) {
        for side in [None, Some(Side::Buyer), Some(Side::Seller)] {
            for status in [None, Some(Status::Cancelled)] {
                let filter = &Filter { party, side, status };
                let walked = walk(|cursor| orders::page(pool, filter, cursor, 3)).await;
                let is_shown = |order: &&orders::Order| {
                    let on_side = match side {
                        None => order.buyer_id == party.0 || order.seller_id == party.0,
                        Some(Side::Buyer) => order.buyer_id == party.0,
                        Some(Side::Seller) => order.seller_id == party.0,
                    };
                    on_side && status.is_none_or(|status| order.status == status)
                };
                let mut expected: Vec<_> = all.iter().filter(is_shown).collect();
                expected.sort_by_key(|order| std::cmp::Reverse((order.placed_at, order.id)));
                assert!(walked.iter().eq(expected), "{filter:?}");
            }
        }
    }
}

#[tokio::test]
async fn an_escrow_shows_what_the_domain_says_of_it_and_holds_what_the_books_say() {
    let mut told = BTreeSet::new();
    for seed in 34..=38 {
        let history = History::random(seed, 2_500);
        let test = TestDatabase::showing(&history.units).await;
        for (id, (escrow, version)) in &history.escrows.0 {
            let Escrow::Opened(opened) = escrow else { continue };
            let shown = escrows::get(&test.pool, OrderId(*id)).await.unwrap().unwrap();
            told.insert(opened.status().name());
            assert_eq!((shown.status.0, shown.version), (opened.status(), version.cast_signed()));
            assert_eq!(shown.refunded, opened.refunded.minor());
            if let Phase::Released { fee } = opened.phase {
                assert_eq!(shown.fee, Some(fee.minor()));
            }
            let (holds, over) = match opened.phase {
                Phase::AwaitingPayment => (0, false),
                Phase::Funded { .. } | Phase::Inspection { .. } | Phase::Disputed { .. } => {
                    (opened.remaining().minor(), false)
                }
                Phase::ChargedBack { amount, .. } => (opened.remaining().minor() - amount.minor(), false),
                Phase::Voided | Phase::Released { .. } | Phase::Refunded | Phase::Split => (0, true),
            };
            assert_eq!(shown.ended_at.is_some(), over);
            assert_eq!(shown.resolution.is_some(), over && opened.phase != Phase::Voided);
            let account = domain::LedgerAccount::Escrow(OrderId(*id));
            let booked = ledger::balance(&test.pool, &account, shown.currency.0).await.unwrap();
            assert_eq!(booked.map_or(0, |booked| booked.credits.0 - booked.debits.0), i128::from(holds));
        }
    }
    let everywhere =
        ["awaiting_payment", "funded", "inspection", "disputed", "voided", "released", "refunded", "split"].into();
    assert_eq!(told, everywhere);
}

#[tokio::test]
async fn the_escrows_of_an_account_are_those_that_hold_money_and_staff_see_all() {
    let history = History::random(31, 2_500);
    let test = TestDatabase::showing(&history.units).await;
    let pool = &test.pool;
    let all = walk(|cursor| escrows::page(pool, None, cursor, 7)).await;
    let opened = history.escrows.0.values().filter(|(_, version)| *version > 0).count();
    assert_eq!(all.len(), opened + history.escrows_for_cards());
    assert!(all.is_sorted_by_key(|escrow| std::cmp::Reverse((escrow.opened_at, escrow.order_id))));
    let disputed = walk(|cursor| escrows::page(pool, Some(domain::escrow::Status::Disputed), cursor, 2)).await;
    assert!(disputed.iter().eq(all.iter().filter(|escrow| escrow.status.0 == domain::escrow::Status::Disputed)));
    assert!(!disputed.is_empty());
    let holds = |escrow: &escrows::Escrow| {
        ["funded", "inspection", "disputed", "charged_back"].contains(&escrow.status.0.name())
    };
    let mut open = 0;
    for party in history.accounts.0.keys().copied().map(AccountId) {
        let own = walk(|cursor| escrows::open_of(pool, party, cursor, 2)).await;
        let is_own = |escrow: &&escrows::Escrow| escrow.buyer_id == party.0 || escrow.seller_id == party.0;
        assert!(own.iter().eq(all.iter().filter(is_own).filter(|escrow| holds(escrow))));
        open += own.len();
    }
    // A guest has no account.
    let sides = |escrow: &escrows::Escrow| {
        let parties = [escrow.buyer_id, escrow.seller_id];
        parties.iter().filter(|party| history.accounts.0.contains_key(*party)).count()
    };
    assert_eq!(open, all.iter().filter(|escrow| holds(escrow)).map(sides).sum::<usize>(), "once for each side");
}

#[tokio::test]
async fn a_listing_shows_the_pieces_that_the_domain_says_are_free() {
    let history = History::of_catalogue(35, 2_500);
    let test = TestDatabase::showing(&history.units).await;
    let (mut sold_out, mut forms, mut on_sale) = (0, 0, 0);
    for (id, (listing, _)) in &history.listings.0 {
        let Ok(offer) = listing.offer() else { continue };
        let stock = history.stocks.state(ListingId(*id));
        let shown =
            catalogue::get(&test.pool, ListingId(*id), Viewer::Account(offer.seller)).await.unwrap().unwrap().listing;
        let free: u32 = stock.free.values().sum();
        match shown.kind {
            catalogue::Kind::Auction => assert_eq!(shown.stock, None),
            catalogue::Kind::FixedPrice => assert_eq!(shown.stock, Some(i64::from(free))),
        }
        for form in &*shown.variants {
            assert_eq!(form.free, i64::from(stock.free_of(&form.sku)));
            let price = offer.price_of(&form.sku).unwrap().minor();
            assert_eq!(form.price.unwrap_or(shown.price_minor), price);
            forms += 1;
        }
        assert_eq!(shown.delivery.0, offer.delivery);
        assert_eq!(shown.shipping, offer.shipping.map(domain::Money::minor));
        let status = match listing {
            Listing::Absent => unreachable!("it has an offer"),
            Listing::Draft(_) => catalogue::Status::Draft,
            Listing::Pending { .. } => catalogue::Status::Pending,
            Listing::Paused(_) => catalogue::Status::Paused,
            Listing::Removed(_) => catalogue::Status::Removed,
            Listing::Active(_) if shown.stock == Some(0) => catalogue::Status::SoldOut,
            Listing::Active(_) => catalogue::Status::Active,
            Listing::Archived(_) => catalogue::Status::Archived,
        };
        assert_eq!(shown.status, status);
        let json = serde_json::to_string(&offer.attributes).unwrap().replace("\\u0000", "\u{fffd}");
        assert_eq!(serde_json::to_string(&shown.attributes).unwrap(), json);
        assert_eq!((shown.images.0, shown.featured), (offer.images.clone(), offer.featured));
        assert_eq!(shown.discount.map(|discount| discount.0), offer.discount);
        let reduced = offer.discount.filter(|_| offer.on_sale);
        let price = domain::Money::new(shown.price_minor, shown.currency.0).unwrap();
        assert_eq!(shown.sale_minor, reduced.map(|discount| discount.applied_to(price).minor()));
        on_sale += usize::from(shown.sale_minor.is_some());
        sold_out += usize::from(status == catalogue::Status::SoldOut);
    }
    assert!(sold_out > 0 && forms > 0 && on_sale > 0);
}

/// What the seller, in one currency, has sold, by one way to count it: orders, gross, refunded, fees, paid out, held.
type Counted = BTreeMap<(Uuid, String), [i128; 6]>;

/// A row of such a count, its sums as texts.
type Row = (Uuid, String, i64, String, String, String, String, String);

fn counted(rows: Vec<Row>) -> Counted {
    let number = |text: String| text.parse::<i128>().unwrap();
    let row = |(seller, currency, orders, gross, refunded, fees, paid_out, held)| {
        let sums = [gross, refunded, fees, paid_out, held].map(number);
        let [gross, refunded, fees, paid_out, held] = sums;
        ((seller, currency), [i128::from(orders), gross, refunded, fees, paid_out, held])
    };
    rows.into_iter().map(row).collect()
}

#[tokio::test]
async fn what_sellers_have_sold_is_what_escrows_say_and_all_of_it_is_somewhere() {
    let (mut seen, mut brought) = ([0; 6], 0);
    for seed in 34..=36 {
        let history = History::random(seed, 2_500);
        let test = TestDatabase::showing(&history.units).await;
        let plain = sqlx::query_as(
            "select seller_id, currency, count(*), sum(amount)::text, sum(refunded)::text, sum(coalesce(fee, 0))::text,
                sum(coalesce(paid_out, 0))::text,
                sum(case when ended_at is null then amount - refunded else 0 end)::text
             from escrows.escrows where funded_at is not null group by seller_id, currency",
        );
        let plain = counted(plain.fetch_all(&test.pool).await.unwrap());
        let summed = sqlx::query_as(
            "select seller_id, currency, sum(orders)::bigint, sum(gross)::text, sum(refunded)::text, sum(fees)::text,
                sum(paid_out)::text,
                (select coalesce(sum(held), 0)::text from sales.orders
                 where orders.seller_id = days.seller_id and orders.currency = days.currency)
             from sales.days group by seller_id, currency",
        );
        assert_eq!(counted(summed.fetch_all(&test.pool).await.unwrap()), plain);
        for ((seller, currency), sums) in &plain {
            assert_eq!(sums[1], sums[2..].iter().sum::<i128>(), "{seller} {currency}");
            let totals = sales::totals(&test.pool, AccountId(*seller)).await.unwrap();
            let totals = totals.iter().find(|totals| totals.currency.0.code() == currency).unwrap();
            let sales::Totals { sums: all, held, .. } = totals;
            let shown = [all.gross, all.refunded, all.fees, all.paid_out, *held].map(|sum| sum.0);
            assert_eq!((i128::from(all.orders), &shown[..]), (sums[0], &sums[1..]));
            for (seen, sum) in seen.iter_mut().zip(sums) {
                *seen += sum;
            }
        }
        let by_day: Vec<(Uuid, String, NaiveDate, i64)> = sqlx::query_as(
            "select seller_id, currency, (funded_at at time zone 'UTC')::date as day, count(*)
             from escrows.escrows where funded_at is not null group by 1, 2, 3 order by 1, 2, 3",
        )
        .fetch_all(&test.pool)
        .await
        .unwrap();
        let days = "select seller_id, currency, day, orders from sales.days where orders > 0 order by 1, 2, 3";
        let days: Vec<(Uuid, String, NaiveDate, i64)> = sqlx::query_as(days).fetch_all(&test.pool).await.unwrap();
        assert_eq!(days, by_day);
        let of_listings: (String, i64) = sqlx::query_as(
            "select coalesce(sum(gross), 0)::text, coalesce(sum(pieces), 0)::bigint from sales.listings",
        )
        .fetch_one(&test.pool)
        .await
        .unwrap();
        let of_days: (String, i64) = sqlx::query_as(
            "select coalesce(sum(gross + cash_gross), 0)::text, coalesce(sum(pieces + cash_pieces), 0)::bigint
             from sales.days",
        )
        .fetch_one(&test.pool)
        .await
        .unwrap();
        assert_eq!(of_listings, of_days);
        let completed: (i64, String) = sqlx::query_as(
            "select count(*), coalesce(sum(total), 0)::text from orders.orders
             where payment = 'cash_on_delivery' and status = 'completed'",
        )
        .fetch_one(&test.pool)
        .await
        .unwrap();
        let in_cash: (i64, String) = sqlx::query_as(
            "select coalesce(sum(cash_orders), 0)::bigint, coalesce(sum(cash_gross), 0)::text from sales.days",
        )
        .fetch_one(&test.pool)
        .await
        .unwrap();
        assert_eq!(in_cash, completed);
        brought += completed.0;
    }
    assert!(brought > 0 && seen.iter().all(|sum| *sum > 0), "{brought} {seen:?}");
}
