//! What has this seller sold, and what became of the money?
//!
//! A sale counts on the day on which it was paid; what is given back, kept as a fee and paid out counts on the day on
//! which that happens. So, in each currency and at any time, what a seller has sold is what was given back, kept, paid
//! out, and is still held in escrow, to the cent. What guests have paid at the door is counted beside it, on the day on
//! which it was brought: the marketplace neither held it nor kept a fee. Days are those of UTC.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use domain::order::{self, Terms};
use domain::{AccountId, Aggregate, Currency, Money, Timestamp, escrow};
use eventstore::event::DomainEvent;
use eventstore::follower::{Batch, FollowError, Recorded};
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use sqlx::{FromRow, PgConnection, PgExecutor};
use uuid::Uuid;

use crate::ledger::Total;
use crate::{ReadModel, Text, rows};

/// The read model.
pub const MODEL: ReadModel = ReadModel {
    name: "sales",
    next: "sales_next",
    version: 3,
    about: &[escrow::Escrow::TYPE, order::Order::TYPE],
    ddl: include_str!("sales.sql"),
    apply: |connection, batch| Box::pin(apply(connection, batch)),
};

/// What a seller has sold in one currency, and what became of money. Amounts are minor units.
#[derive(Clone, Copy, Debug, Default, Eq, FromRow, PartialEq, Serialize)]
pub struct Sums {
    /// How many orders were paid.
    pub orders: i64,
    /// How many pieces were in them.
    pub pieces: i64,
    /// What was paid for them.
    #[sqlx(try_from = "String")]
    pub gross: Total,
    /// What went back to buyers.
    #[sqlx(try_from = "String")]
    pub refunded: Total,
    /// What the marketplace kept, less what it gave back.
    #[sqlx(try_from = "String")]
    pub fees: Total,
    /// What the seller got, less what they gave back.
    #[sqlx(try_from = "String")]
    pub paid_out: Total,
    /// How many orders were paid in cash.
    pub cash_orders: i64,
    /// How many pieces were in those.
    pub cash_pieces: i64,
    /// What was paid for those.
    #[sqlx(try_from = "String")]
    pub cash_gross: Total,
}

/// The sums of one day.
#[derive(Clone, Debug, FromRow, PartialEq, Serialize)]
pub struct Day {
    /// Who sells.
    pub seller_id: Uuid,
    /// In which currency.
    pub currency: Text<Currency>,
    /// On which day, in UTC.
    pub day: NaiveDate,
    /// What.
    #[serde(flatten)]
    #[sqlx(flatten)]
    pub sums: Sums,
}

/// What was sold of one listing in one currency.
#[derive(Clone, Debug, FromRow, PartialEq, Serialize)]
pub struct Sold {
    /// Which listing.
    pub listing_id: Uuid,
    /// In which currency.
    pub currency: Text<Currency>,
    /// Who sells.
    pub seller_id: Uuid,
    /// As it was called when it sold last.
    pub title: String,
    /// How many orders were paid that it is in, in cash too.
    pub orders: i64,
    /// How many pieces.
    pub pieces: i64,
    /// What was paid for them, in minor units.
    #[sqlx(try_from = "String")]
    pub gross: Total,
}

/// An order, as far as its escrow does not tell.
#[derive(Clone, Debug, FromRow, Serialize)]
struct Purchase {
    order_id: Uuid,
    seller_id: Uuid,
    currency: Text<Currency>,
    pieces: i64,
    lots: Json<Vec<Lot>>,
    held: i64,
    in_cash: bool,
}

/// What an order has of one listing.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Lot {
    listing_id: Uuid,
    title: String,
    pieces: i64,
    gross: i64,
}

/// The orders that a batch is about, and what it adds to days and listings.
#[derive(Debug, Default)]
struct Sales {
    orders: BTreeMap<Uuid, Purchase>,
    days: BTreeMap<(Uuid, Text<Currency>, NaiveDate), Day>,
    listings: BTreeMap<(Uuid, Text<Currency>), Sold>,
}

async fn apply(connection: &mut PgConnection, batch: &Batch) -> Result<(), FollowError> {
    let mut sales = Sales::load(connection, &batch.events).await?;
    for recorded in &batch.events {
        sales.take(recorded);
    }
    sales.store(connection).await
}

impl Sales {
    /// Takes one event in.
    fn take(&mut self, recorded: &Recorded) {
        match &recorded.event {
            DomainEvent::Order(order, order::Event::OrderPlaced { terms }) => {
                self.orders.extend(Purchase::placed(order.0, terms).map(|placed| (order.0, placed)));
            }
            DomainEvent::Order(order, order::Event::OrderCompleted {}) => {
                self.take_cash(order.0, recorded.recorded_at);
            }
            DomainEvent::Escrow(order, event) => self.take_escrow(order.0, event, recorded.recorded_at),
            // Nothing else concerns it: see `about`.
            _ => {}
        }
    }

    /// An order has ended well: what its escrow does not tell of it was paid in cash.
    fn take_cash(&mut self, order: Uuid, at: Timestamp) {
        let Some(order) = self.orders.get(&order).filter(|order| order.in_cash) else { return };
        let key = (order.seller_id, order.currency, at.date_naive());
        let day = &mut self.days.entry(key).or_insert_with(|| Day::empty(key)).sums;
        day.cash_orders += 1;
        day.cash_pieces += order.pieces;
        day.cash_gross.0 += order.lots.iter().map(|lot| i128::from(lot.gross)).sum::<i128>();
        count_lots(&mut self.listings, order);
    }

    fn take_escrow(&mut self, order: Uuid, event: &escrow::Event, at: Timestamp) {
        use escrow::Event as E;
        let Some(order) = self.orders.get_mut(&order) else { return };
        let key = (order.seller_id, order.currency, at.date_naive());
        let day = &mut self.days.entry(key).or_insert_with(|| Day::empty(key)).sums;
        let minor = |amount: &Money| i128::from(amount.minor());
        match event {
            E::EscrowFunded { amount, .. } => {
                order.held = amount.minor();
                day.orders += 1;
                day.pieces += order.pieces;
                day.gross.0 += minor(amount);
                count_lots(&mut self.listings, order);
            }
            E::EscrowPartlyRefunded { amount, .. }
            | E::EscrowRefunded { amount, .. }
            | E::ChargebackSettled { amount, .. } => {
                order.held -= amount.minor();
                day.refunded.0 += minor(amount);
            }
            E::EscrowReleased { kept, fee, .. } => {
                order.held = 0;
                day.pay_out(*kept, *fee);
            }
            E::EscrowSplit { to_buyer, kept, fee, .. } => {
                order.held = 0;
                day.refunded.0 += minor(to_buyer);
                day.pay_out(*kept, *fee);
            }
            E::ReleaseRefunded { amount, from_available, owed, fee_share, .. } => {
                day.refunded.0 += minor(amount);
                day.fees.0 -= minor(fee_share);
                day.paid_out.0 -= minor(from_available) + minor(owed);
            }
            E::EscrowOpened { .. }
            | E::EscrowVoided {}
            | E::InspectionStarted { .. }
            | E::InspectionReminded { .. }
            | E::EscrowDisputed { .. }
            // Not gone before it is decided.
            | E::EscrowChargedBack { .. }
            | E::ChargebackReturned { .. } => {}
        }
    }

    async fn load(connection: &mut PgConnection, events: &[Recorded]) -> Result<Self, FollowError> {
        let ids = rows::touched(events, |event| match event {
            DomainEvent::Escrow(id, _) | DomainEvent::Order(id, order::Event::OrderCompleted {}) => Some(id.0),
            _ => None,
        });
        if ids.is_empty() {
            return Ok(Self::default());
        }
        let orders: Vec<Purchase> =
            sqlx::query_as("select * from orders where order_id = any($1)").bind(ids).fetch_all(connection).await?;
        let orders = orders.into_iter().map(|order| (order.order_id, order)).collect();
        Ok(Self { orders, ..Self::default() })
    }

    async fn store(self, connection: &mut PgConnection) -> Result<(), FollowError> {
        let statement = "
            insert into orders select * from json_populate_recordset(null::orders, $1::json)
            on conflict on constraint orders_order do update set held = excluded.held";
        rows::write(connection, statement, self.orders.into_values()).await?;
        let statement = "
            insert into days as known select * from json_populate_recordset(null::days, $1::json)
            on conflict on constraint days_day do update set
                (orders, pieces, gross, refunded, fees, paid_out, cash_orders, cash_pieces, cash_gross)
                = row (known.orders + excluded.orders, known.pieces + excluded.pieces, known.gross + excluded.gross,
                    known.refunded + excluded.refunded, known.fees + excluded.fees,
                    known.paid_out + excluded.paid_out, known.cash_orders + excluded.cash_orders,
                    known.cash_pieces + excluded.cash_pieces, known.cash_gross + excluded.cash_gross)";
        rows::write(connection, statement, self.days.into_values().filter(|day| !day.is_empty())).await?;
        let statement = "
            insert into listings as known select * from json_populate_recordset(null::listings, $1::json)
            on conflict on constraint listings_listing do update set
                (title, orders, pieces, gross)
                = row (excluded.title, known.orders + excluded.orders, known.pieces + excluded.pieces,
                    known.gross + excluded.gross)";
        Ok(rows::write(connection, statement, self.listings.into_values()).await?)
    }
}

fn count_lots(listings: &mut BTreeMap<(Uuid, Text<Currency>), Sold>, order: &Purchase) {
    for lot in &*order.lots {
        let key = (lot.listing_id, order.currency);
        let sold = listings.entry(key).or_insert_with(|| Sold::none(order, lot));
        sold.title.clone_from(&lot.title);
        sold.orders += 1;
        sold.pieces += lot.pieces;
        sold.gross.0 += i128::from(lot.gross);
    }
}

impl Purchase {
    /// A new order; nothing if it has no lines, which no order has.
    fn placed(id: Uuid, terms: &Terms) -> Option<Self> {
        let currency = terms.lines.first()?.unit_price.currency();
        let mut lots = BTreeMap::<Uuid, Lot>::new();
        for line in &terms.lines {
            let lot = lots.entry(line.listing.0).or_insert_with(|| Lot {
                listing_id: line.listing.0,
                title: line.title.clone(),
                pieces: 0,
                gross: 0,
            });
            lot.pieces += i64::from(line.quantity);
            lot.gross = lot.gross.saturating_add(line.gross().map_or(0, Money::minor));
        }
        let lots: Vec<Lot> = lots.into_values().collect();
        Some(Self {
            order_id: id,
            seller_id: terms.seller.0,
            currency: Text(currency),
            pieces: lots.iter().map(|lot| lot.pieces).sum(),
            lots: Json(lots),
            held: 0,
            in_cash: !terms.payment.is_escrow(),
        })
    }
}

impl Day {
    fn empty((seller_id, currency, day): (Uuid, Text<Currency>, NaiveDate)) -> Self {
        Self { seller_id, currency, day, sums: Sums::default() }
    }

    fn is_empty(&self) -> bool {
        self.sums == Sums::default()
    }
}

impl Sums {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        let sum = |one: Total, another: Total| Total(one.0 + another.0);
        Self {
            orders: self.orders + other.orders,
            pieces: self.pieces + other.pieces,
            gross: sum(self.gross, other.gross),
            refunded: sum(self.refunded, other.refunded),
            fees: sum(self.fees, other.fees),
            paid_out: sum(self.paid_out, other.paid_out),
            cash_orders: self.cash_orders + other.cash_orders,
            cash_pieces: self.cash_pieces + other.cash_pieces,
            cash_gross: sum(self.cash_gross, other.cash_gross),
        }
    }

    /// What was paid for goods, through escrow and at the door.
    pub fn traded(&self) -> Total {
        Total(self.gross.0 + self.cash_gross.0)
    }

    /// Takes in that a seller gets this, less the fee.
    pub(crate) fn pay_out(&mut self, kept: Money, fee: Money) {
        self.fees.0 += i128::from(fee.minor());
        self.paid_out.0 += i128::from(kept.minor()) - i128::from(fee.minor());
    }
}

impl Sold {
    fn none(order: &Purchase, lot: &Lot) -> Self {
        Self {
            listing_id: lot.listing_id,
            currency: order.currency,
            seller_id: order.seller_id,
            title: lot.title.clone(),
            orders: 0,
            pieces: 0,
            gross: Total::default(),
        }
    }
}

/// What a seller has sold from one day on until another, both included; days without anything are left out.
pub async fn days(
    executor: impl PgExecutor<'_>,
    seller: AccountId,
    from: NaiveDate,
    to: NaiveDate,
) -> Result<Vec<Day>, sqlx::Error> {
    sqlx::query_as(
        "select seller_id, currency, day, orders, pieces, gross::text, refunded::text, fees::text, paid_out::text,
            cash_orders, cash_pieces, cash_gross::text
         from sales.days where seller_id = $1 and day between $2 and $3 order by currency, day",
    )
    .bind(seller.0)
    .bind(from)
    .bind(to)
    .fetch_all(executor)
    .await
}

/// What a seller has ever sold in one currency, and where the money is.
#[derive(Clone, Debug, FromRow, PartialEq)]
pub struct Totals {
    /// In which currency.
    pub currency: Text<Currency>,
    /// What.
    #[sqlx(flatten)]
    pub sums: Sums,
    /// What escrow holds.
    #[sqlx(try_from = "String")]
    pub held: Total,
    /// For how many orders.
    pub held_orders: i64,
}

/// What a seller has ever sold, a row per currency.
pub async fn totals(executor: impl PgExecutor<'_>, seller: AccountId) -> Result<Vec<Totals>, sqlx::Error> {
    Ok(totals_of(executor, &[seller.0]).await?.remove(&seller.0).unwrap_or_default())
}

/// What sellers have ever sold, a row per seller and currency.
pub async fn totals_of(
    executor: impl PgExecutor<'_>,
    sellers: &[Uuid],
) -> Result<BTreeMap<Uuid, Vec<Totals>>, sqlx::Error> {
    #[derive(FromRow)]
    struct Row {
        seller_id: Uuid,
        #[sqlx(flatten)]
        totals: Totals,
    }
    let rows: Vec<Row> = sqlx::query_as(
        "with escrow as (
            select seller_id, currency, sum(held) as held, count(*) as held_orders
            from sales.orders where seller_id = any($1) and held > 0 group by seller_id, currency)
         select days.seller_id, days.currency, sum(orders)::bigint as orders, sum(pieces)::bigint as pieces,
            sum(gross)::text as gross, sum(refunded)::text as refunded, sum(fees)::text as fees,
            sum(paid_out)::text as paid_out, sum(cash_orders)::bigint as cash_orders,
            sum(cash_pieces)::bigint as cash_pieces, sum(cash_gross)::text as cash_gross,
            coalesce(max(held), 0)::text as held, coalesce(max(held_orders), 0) as held_orders
         from sales.days
            left join escrow on escrow.currency = days.currency and escrow.seller_id = days.seller_id
         where days.seller_id = any($1) group by days.seller_id, days.currency
         order by days.seller_id, days.currency",
    )
    .bind(sellers)
    .fetch_all(executor)
    .await?;
    let mut totals: BTreeMap<Uuid, Vec<Totals>> = BTreeMap::new();
    for row in rows {
        totals.entry(row.seller_id).or_default().push(row.totals);
    }
    Ok(totals)
}

/// The listings of which a seller has sold most pieces.
pub async fn best(executor: impl PgExecutor<'_>, seller: AccountId, limit: i64) -> Result<Vec<Sold>, sqlx::Error> {
    sqlx::query_as(
        "select listing_id, currency, seller_id, title, orders, pieces, gross::text from sales.listings
         where seller_id = $1 order by pieces desc, listing_id desc, currency desc limit $2",
    )
    .bind(seller.0)
    .bind(limit)
    .fetch_all(executor)
    .await
}

#[cfg(test)]
mod tests {
    use domain::escrow::{Command, Escrow, RefundCause, ReleaseCause, Source};
    use domain::fees::FeeLine;
    use domain::listing::Delivery;
    use domain::order::{Line, Origin};
    use domain::stock::Sku;
    use domain::{ListingId, OrderGroupId, OrderId, RefundId};

    use super::*;
    use crate::tests::history::recorded;

    const ANN: AccountId = AccountId(Uuid::from_u128(1));
    const BOB: AccountId = AccountId(Uuid::from_u128(2));
    const ORDER: OrderId = OrderId(Uuid::from_u128(7));
    const REFUND: RefundId = RefundId(Uuid::from_u128(9));

    fn usd(minor: i64) -> Money {
        Money::new(minor, Currency::USD).unwrap()
    }

    fn now() -> Timestamp {
        Timestamp::default()
    }

    /// An order of two forms of one listing and one of another, for 10.00 together, and what happened to its escrow.
    fn sold(commands: impl IntoIterator<Item = Command>) -> Sales {
        let line = |listing, sku: &str, quantity, price| Line {
            listing: ListingId(Uuid::from_u128(listing)),
            sku: sku.parse::<Sku>().unwrap(),
            title: "Coin".to_owned(),
            quantity,
            unit_price: usd(price),
            shipping: usd(0),
            fee_bps: 1_000,
        };
        let lines = vec![line(3, "s", 2, 100), line(3, "m", 1, 300), line(4, "default", 1, 500)];
        let (group, origin, delivery) = (OrderGroupId(Uuid::from_u128(8)), Origin::Checkout, Delivery::Physical);
        let (ship_to, payment, guest) = (None, order::Payment::Escrow, None);
        let terms = Terms { group, buyer: ANN, seller: BOB, origin, lines, delivery, ship_to, payment, guest };
        let mut sales = Sales::default();
        sales.take(&recorded(1, DomainEvent::Order(ORDER, order::Event::OrderPlaced { terms })));
        let lines = vec![FeeLine { gross: usd(1_000), fee_bps: 1_000 }];
        let terms = escrow::Terms {
            order: ORDER,
            buyer: ANN,
            seller: BOB,
            lines,
            amount: usd(1_000),
            inspection_s: 60,
            points_per_unit: 0,
            redeemed: None,
            commission: None,
        };
        let (mut state, mut position) = (Escrow::default(), 1);
        for command in [Command::Open { terms }].into_iter().chain(commands) {
            for event in state.decide(command).unwrap() {
                state.evolve(&event);
                position += 1;
                sales.take(&recorded(position, DomainEvent::Escrow(ORDER, event)));
            }
        }
        sales
    }

    fn fund() -> Command {
        Command::Fund { source: Source::Wallet, now: now() }
    }

    fn release() -> Command {
        Command::Release { cause: ReleaseCause::Confirmed, now: now() }
    }

    /// What was sold, given back, kept, paid out, and what is held.
    fn money(sales: &Sales) -> [i128; 5] {
        let day = sales.days.values().next().unwrap().sums;
        [day.gross.0, day.refunded.0, day.fees.0, day.paid_out.0, i128::from(sales.orders[&ORDER.0].held)]
    }

    #[test]
    fn what_was_never_paid_was_never_sold() {
        for sales in [sold([]), sold([Command::Void {}])] {
            assert!(sales.days.values().all(Day::is_empty) && sales.listings.is_empty());
        }
    }

    #[test]
    fn a_listing_counts_an_order_once_however_many_of_its_forms_are_in_it() {
        let sales = sold([fund()]);
        let counts: Vec<_> = sales.listings.values().map(|sold| (sold.orders, sold.pieces, sold.gross.0)).collect();
        assert_eq!(counts, [(1, 3, 500), (1, 1, 500)]);
        let day = sales.days.values().next().unwrap().sums;
        assert_eq!((day.orders, day.pieces), (1, 4));
    }

    #[test]
    fn what_is_paid_at_the_door_counts_beside_it_once_it_was_brought() {
        let mut sales = sold([]);
        let completed = |position| recorded(position, DomainEvent::Order(ORDER, order::Event::OrderCompleted {}));
        // Of an order with an escrow, that tells all.
        sales.take(&completed(9));
        assert!(sales.days.is_empty() || sales.days.values().all(Day::is_empty));
        sales.orders.get_mut(&ORDER.0).unwrap().in_cash = true;
        sales.take(&completed(10));
        let day = sales.days.values().next().unwrap().sums;
        assert_eq!((day.cash_orders, day.cash_pieces, day.cash_gross.0), (1, 4, 1_000));
        assert_eq!((day.orders, money(&sales)), (0, [0; 5]));
        assert_eq!(sales.listings.values().map(|sold| sold.pieces).sum::<i64>(), 4);
    }

    #[test]
    fn the_money_of_a_sale_is_always_somewhere() {
        let inspect = || Command::Inspect { now: now() };
        let part =
            || Command::Refund { refund: REFUND, amount: Some(usd(200)), cause: RefundCause::Seller, now: now() };
        let rest = || Command::Refund { refund: REFUND, amount: None, cause: RefundCause::Seller, now: now() };
        let back = Command::RefundReleased {
            refund: RefundId(Uuid::from_u128(10)),
            amount: Some(usd(100)),
            seller_available: usd(20),
            cause: RefundCause::Seller,
        };
        let dispute = Command::Dispute { by: escrow::Disputant::Buyer, reason: "broken".to_owned(), now: now() };
        let split = Command::Split { to_buyer: usd(400), by: ANN };
        for (sales, expected) in [
            (sold([fund()]), [1_000, 0, 0, 0, 1_000]),
            (sold([fund(), part()]), [1_000, 200, 0, 0, 800]),
            (sold([fund(), rest()]), [1_000, 1_000, 0, 0, 0]),
            (sold([fund(), part(), inspect(), release()]), [1_000, 200, 80, 720, 0]),
            (sold([fund(), inspect(), release(), back]), [1_000, 100, 90, 810, 0]),
            (sold([fund(), dispute, split]), [1_000, 400, 60, 540, 0]),
        ] {
            let shown = money(&sales);
            assert_eq!(shown, expected);
            assert_eq!(shown[0], shown[1..].iter().sum::<i128>());
        }
    }
}
