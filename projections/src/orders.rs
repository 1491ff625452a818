//! What was bought, and where is it?
//!
//! Orders and the groups in which they are paid. Where an order is follows from its own events, and from those of its
//! escrow, which has the same id: while that is disputed the order shows it, and what went back to the buyer is summed
//! up here. The [`crate::escrows`] tell where the money is.

use std::collections::{BTreeMap, BTreeSet};

use domain::listing::Delivery;
use domain::order::{self, CancelCause, Confirmation, Event, Terms};
use domain::stock::Sku;
use domain::{
    AccountId, Aggregate, AuctionId, Currency, Money, OrderGroupId, OrderId, Timestamp, account, escrow, order_group,
};
use eventstore::Position;
use eventstore::event::DomainEvent;
use eventstore::follower::{Batch, FollowError, Recorded};
use eventstore::sealing::PersonKeys;
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use sqlx::{FromRow, PgConnection, PgExecutor, Postgres, QueryBuilder};
use uuid::Uuid;

use crate::{Page, ReadModel, Text, rows};

/// The read model.
pub const MODEL: ReadModel = ReadModel {
    name: "orders",
    next: "orders_next",
    version: 4,
    about: &[account::Account::TYPE, escrow::Escrow::TYPE, order::Order::TYPE, order_group::OrderGroup::TYPE],
    ddl: include_str!("orders.sql"),
    apply: |connection, batch| Box::pin(apply(connection, batch)),
};

/// What one buyer gets from one seller.
#[derive(Clone, Debug, FromRow, PartialEq, Serialize)]
pub struct Order {
    /// The order; its escrow has the same id.
    pub id: Uuid,
    /// The orders that are paid together with it.
    pub group_id: Uuid,
    /// Who buys.
    pub buyer_id: Uuid,
    /// Who sells.
    pub seller_id: Uuid,
    /// How it came about.
    pub origin: Origin,
    /// Which auction was won or bought out, if it was one.
    pub auction_id: Option<Uuid>,
    /// How it is paid.
    pub payment: Payment,
    /// How it reaches its buyer.
    pub delivery: Text<Delivery>,
    /// Where it is.
    pub status: Status,
    /// The currency of all its amounts, which are minor units.
    pub currency: Text<Currency>,
    /// What the buyer pays.
    pub total: i64,
    /// What of it bonus points have paid.
    pub from_points: i64,
    /// What has gone back to the buyer.
    pub refunded: i64,
    /// What is bought.
    pub lines: Json<Vec<Line>>,
    /// Where to send it, as JSON; `None` if it need not be sent, or once the buyer is forgotten.
    pub ship_to: Option<String>,
    /// Name, phone and address for mail of a guest, as JSON; `None` of accounts, or once the guest is forgotten.
    pub contact: Option<String>,
    /// How the seller asks a guest; `None` of accounts.
    pub confirmation: Option<Text<Confirmation>>,
    /// By when it is to be paid, or confirmed if it is paid in cash.
    pub pay_by: Timestamp,
    /// When it came into being.
    pub placed_at: Timestamp,
    /// When it was paid.
    pub paid_at: Option<Timestamp>,
    /// When its seller has confirmed it, if it is paid in cash.
    pub confirmed_at: Option<Timestamp>,
    /// When it was sent.
    pub shipped_at: Option<Timestamp>,
    /// Who brings it.
    pub carrier: Option<String>,
    /// The carrier's name for it.
    pub tracking: Option<String>,
    /// When the buyer was asked whether it has arrived, since nobody had said so.
    pub questioned_at: Option<Timestamp>,
    /// When somebody said that it has arrived.
    pub delivered_at: Option<Timestamp>,
    /// When it came to the end that its status names: completed, cancelled or refunded.
    pub ended_at: Option<Timestamp>,
    /// Who called it off, or what did.
    pub cancelled_by: Option<Canceller>,
    /// Why, in their words.
    pub cancel_reason: Option<String>,
    /// How many events its own stream has; its escrow has a stream and a version of its own.
    pub version: i64,
    /// Where the last event is that changed this row, its escrow's and its group's included.
    pub position: Position,
}

/// A number of equal pieces. Amounts are minor units of the order's currency.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Line {
    /// Of which listing.
    pub listing_id: Uuid,
    /// In which form.
    pub sku: Sku,
    /// What it is, in a few words.
    pub title: String,
    /// How many.
    pub quantity: u32,
    /// The price of a piece.
    pub unit_price: i64,
    /// What sending all of them costs.
    pub shipping: i64,
    /// What the buyer pays for it: price × quantity + shipping.
    pub total: i64,
}

/// How an order is paid.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Payment {
    /// Into its escrow.
    Escrow,
    /// In cash when it is delivered, without the marketplace.
    CashOnDelivery,
}

impl Payment {
    fn of(payment: order::Payment) -> Self {
        match payment {
            order::Payment::Escrow => Self::Escrow,
            order::Payment::CashOnDelivery { .. } => Self::CashOnDelivery,
        }
    }
}

/// How an order came about.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Origin {
    /// Out of a cart.
    Checkout,
    /// By a guest at a store.
    Storefront,
    /// By winning an auction.
    AuctionWon,
    /// By buying out of an auction at once.
    BoughtNow,
    /// By taking what the winner of an auction did not pay.
    SecondChance,
}

impl Origin {
    fn of(origin: order::Origin) -> (Self, Option<AuctionId>) {
        match origin {
            order::Origin::Checkout => (Self::Checkout, None),
            order::Origin::Storefront => (Self::Storefront, None),
            order::Origin::AuctionWon(auction) => (Self::AuctionWon, Some(auction)),
            order::Origin::BoughtNow(auction) => (Self::BoughtNow, Some(auction)),
            order::Origin::SecondChance(auction) => (Self::SecondChance, Some(auction)),
        }
    }
}

/// Where an order is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Status {
    /// To be paid.
    Placed,
    /// Paid.
    Paid,
    /// To be sent, and paid in cash.
    Confirmed,
    /// On its way.
    Shipped,
    /// With the buyer.
    Delivered,
    /// Its money waits for a decision.
    Disputed,
    /// Its money is with the seller, less what has gone back to the buyer.
    Completed,
    /// Called off; what was paid has gone back.
    Cancelled,
    /// All its money has gone back to the buyer.
    Refunded,
}

/// Who has called an order off, or what.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Canceller {
    /// The buyer.
    Buyer,
    /// The seller.
    Seller,
    /// Staff.
    Staff,
    /// It was not paid in time.
    NotPaid,
    /// It was not confirmed in time.
    NotConfirmed,
    /// It was not shipped in time.
    NotShipped,
    /// In time nobody has said that it was brought.
    NotDelivered,
}

impl Canceller {
    fn of(cause: &CancelCause) -> (Self, Option<String>) {
        match cause {
            CancelCause::Buyer { reason } => (Self::Buyer, Some(reason.clone())),
            CancelCause::Seller { reason } => (Self::Seller, Some(reason.clone())),
            CancelCause::Staff { by: _, reason } => (Self::Staff, Some(reason.clone())),
            CancelCause::NotPaid => (Self::NotPaid, None),
            CancelCause::NotConfirmed => (Self::NotConfirmed, None),
            CancelCause::NotShipped => (Self::NotShipped, None),
            CancelCause::NotDelivered => (Self::NotDelivered, None),
        }
    }
}

/// The orders of one checkout, which are paid together.
#[derive(Clone, Copy, Debug, FromRow, PartialEq, Serialize)]
pub struct Group {
    /// The group.
    pub id: Uuid,
    /// Who pays.
    pub buyer_id: Uuid,
    /// Whether it is paid.
    pub status: GroupStatus,
    /// In which currency.
    pub currency: Text<Currency>,
    /// What its orders came to when they were placed, in minor units. Whoever pays later pays for those that still wait.
    pub total: i64,
    /// By when it is to be paid.
    pub pay_by: Timestamp,
    /// When it came into being.
    pub placed_at: Timestamp,
    /// When it was paid.
    pub paid_at: Option<Timestamp>,
    /// How many events its stream has.
    pub version: i64,
    /// Where the last of them is.
    pub position: Position,
}

/// Whether a group of orders is paid.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum GroupStatus {
    /// Not yet.
    AwaitingPayment,
    /// It is.
    Paid,
    /// It was not, by its deadline.
    Expired,
}

/// The orders and groups that a batch is about.
#[derive(Debug, Default)]
struct Changes {
    orders: BTreeMap<Uuid, Order>,
    groups: BTreeMap<Uuid, Group>,
    /// Buyers who are forgotten.
    forgotten: BTreeSet<Uuid>,
}

async fn apply(connection: &mut PgConnection, batch: &Batch) -> Result<(), FollowError> {
    let mut changes = Changes::load(connection, &batch.events).await?;
    for recorded in &batch.events {
        changes.take(recorded, &batch.people)?;
    }
    changes.store(connection).await
}

impl Changes {
    /// Takes one event in.
    fn take(&mut self, recorded: &Recorded, people: &PersonKeys) -> Result<(), FollowError> {
        match &recorded.event {
            DomainEvent::Order(order, event) => self.take_order(order.0, event, recorded, people),
            DomainEvent::Escrow(order, event) => {
                if let Some(order) = self.orders.get_mut(&order.0)
                    && order.take_escrow(event)
                {
                    // What was parked comes late.
                    order.position = order.position.max(recorded.position);
                }
            }
            DomainEvent::OrderGroup(group, event) => self.take_group(group.0, event, recorded)?,
            DomainEvent::Account(account, account::Event::AccountErased {}) => {
                self.forgotten.insert(account.0);
            }
            // Nothing else concerns it: see `about`.
            _ => {}
        }
        Ok(())
    }

    fn take_order(&mut self, id: Uuid, event: &Event, recorded: &Recorded, people: &PersonKeys) {
        if let Event::OrderPlaced { terms } = event
            && let Some(order) = Order::placed(id, terms, recorded.recorded_at, people)
        {
            self.orders.insert(id, order);
        }
        let Some(order) = self.orders.get_mut(&id) else { return };
        let at = Some(recorded.recorded_at);
        match event {
            Event::OrderPlaced { .. } | Event::GuestDismissed { .. } => {}
            Event::OrderPaid {} => (order.status, order.paid_at) = (Status::Paid, at),
            Event::OrderConfirmed {} => (order.status, order.confirmed_at) = (Status::Confirmed, at),
            Event::GuestForgotten {} => (order.contact, order.ship_to) = (None, None),
            Event::OrderShipped { carrier, tracking, ask_at: _, dispute_at: _ } => {
                (order.status, order.shipped_at) = (Status::Shipped, at);
                (order.carrier, order.tracking) = (Some(carrier.clone()), tracking.clone());
            }
            Event::DeliveryQuestioned {} => order.questioned_at = at,
            Event::OrderDelivered { by: _ } => (order.status, order.delivered_at) = (Status::Delivered, at),
            Event::OrderCompleted {} => (order.status, order.ended_at) = (Status::Completed, at),
            Event::OrderCancelled { cause } => {
                (order.status, order.ended_at) = (Status::Cancelled, at);
                let (by, reason) = Canceller::of(cause);
                (order.cancelled_by, order.cancel_reason) = (Some(by), reason);
            }
            Event::OrderRefunded {} => (order.status, order.ended_at) = (Status::Refunded, at),
        }
        (order.version, order.position) = (recorded.sequence, order.position.max(recorded.position));
    }

    fn take_group(&mut self, id: Uuid, event: &order_group::Event, recorded: &Recorded) -> Result<(), FollowError> {
        if let order_group::Event::OrderGroupPlaced { buyer, orders, pay_by } = event {
            self.place_group(id, *buyer, orders, *pay_by, recorded)?;
        }
        let Some(group) = self.groups.get_mut(&id) else { return Ok(()) };
        match event {
            order_group::Event::OrderGroupPlaced { .. } => {}
            order_group::Event::OrderGroupPaid {} => {
                (group.status, group.paid_at) = (GroupStatus::Paid, Some(recorded.recorded_at));
            }
            order_group::Event::OrderGroupExpired {} => group.status = GroupStatus::Expired,
        }
        (group.version, group.position) = (recorded.sequence, recorded.position);
        Ok(())
    }

    /// The orders are there before their group, in the same commit; unless one of them could not be taken.
    fn place_group(
        &mut self,
        id: Uuid,
        buyer: AccountId,
        orders: &[OrderId],
        pay_by: Timestamp,
        recorded: &Recorded,
    ) -> Result<(), FollowError> {
        let mut total = 0_i64;
        let mut currency = None;
        for order in orders {
            let absent = || FollowError::Absent(format!("order {order}"));
            let order = self.orders.get_mut(&order.0).ok_or_else(absent)?;
            (order.pay_by, order.position) = (pay_by, order.position.max(recorded.position));
            total = total.saturating_add(order.total);
            currency = Some(order.currency);
        }
        // There is no group without an order.
        let Some(currency) = currency else { return Ok(()) };
        let group = Group {
            id,
            buyer_id: buyer.0,
            status: GroupStatus::AwaitingPayment,
            currency,
            total,
            pay_by,
            placed_at: recorded.recorded_at,
            paid_at: None,
            version: 0,
            position: 0,
        };
        self.groups.insert(id, group);
        Ok(())
    }

    async fn load(connection: &mut PgConnection, events: &[Recorded]) -> Result<Self, FollowError> {
        let orders = rows::touched(events, |event| match event {
            DomainEvent::Order(id, _) | DomainEvent::Escrow(id, _) => vec![id.0],
            DomainEvent::OrderGroup(_, order_group::Event::OrderGroupPlaced { orders, .. }) => {
                orders.iter().map(|order| order.0).collect()
            }
            _ => vec![],
        });
        let groups = rows::touched(events, |event| match event {
            DomainEvent::OrderGroup(id, _) => Some(id.0),
            _ => None,
        });
        if orders.is_empty() && groups.is_empty() {
            return Ok(Self::default());
        }
        let orders: Vec<Order> =
            sqlx::query_as("select * from orders where id = any($1)").bind(orders).fetch_all(&mut *connection).await?;
        let groups: Vec<Group> =
            sqlx::query_as("select * from groups where id = any($1)").bind(groups).fetch_all(connection).await?;
        Ok(Self {
            orders: orders.into_iter().map(|order| (order.id, order)).collect(),
            groups: groups.into_iter().map(|group| (group.id, group)).collect(),
            forgotten: BTreeSet::new(),
        })
    }

    async fn store(self, connection: &mut PgConnection) -> Result<(), FollowError> {
        let statement = "
            insert into orders select * from json_populate_recordset(null::orders, $1::json)
            on conflict on constraint orders_id do update set
                (status, from_points, refunded, ship_to, contact, pay_by, paid_at, confirmed_at, shipped_at, carrier,
                    tracking, questioned_at, delivered_at, ended_at, cancelled_by, cancel_reason, version, position)
                = row (excluded.status, excluded.from_points, excluded.refunded, excluded.ship_to, excluded.contact,
                    excluded.pay_by, excluded.paid_at, excluded.confirmed_at, excluded.shipped_at, excluded.carrier,
                    excluded.tracking, excluded.questioned_at, excluded.delivered_at, excluded.ended_at,
                    excluded.cancelled_by, excluded.cancel_reason, excluded.version, excluded.position)";
        rows::write(connection, statement, self.orders.into_values()).await?;
        let statement = "
            insert into groups select * from json_populate_recordset(null::groups, $1::json)
            on conflict on constraint groups_id do update set
                (status, paid_at, version, position)
                = row (excluded.status, excluded.paid_at, excluded.version, excluded.position)";
        rows::write(connection, statement, self.groups.into_values()).await?;
        if !self.forgotten.is_empty() {
            // What a rebuild shows, which finds no key.
            let forgotten: Vec<_> = self.forgotten.into_iter().collect();
            sqlx::query("update orders set ship_to = null where buyer_id = any($1) and ship_to is not null")
                .bind(forgotten)
                .execute(connection)
                .await?;
        }
        Ok(())
    }
}

impl Order {
    /// A new order; nothing if it has no lines, which no order has.
    fn placed(id: Uuid, terms: &Terms, placed_at: Timestamp, people: &PersonKeys) -> Option<Self> {
        let currency = terms.lines.first()?.unit_price.currency();
        let lines: Vec<Line> = terms.lines.iter().map(Line::of).collect();
        let (origin, auction) = Origin::of(terms.origin);
        Some(Self {
            id,
            group_id: terms.group.0,
            buyer_id: terms.buyer.0,
            seller_id: terms.seller.0,
            origin,
            auction_id: auction.map(|auction| auction.0),
            payment: Payment::of(terms.payment),
            delivery: Text(terms.delivery),
            status: Status::Placed,
            currency: Text(currency),
            total: lines.iter().fold(0, |total, line| total.saturating_add(line.total)),
            from_points: 0,
            refunded: 0,
            lines: Json(lines),
            ship_to: terms.ship_to.as_ref().and_then(|ship_to| people.open(ship_to)),
            contact: terms.guest.as_ref().and_then(|guest| people.open(&guest.contact)),
            confirmation: terms.guest.as_ref().map(|guest| Text(guest.confirmation)),
            pay_by: match terms.payment {
                order::Payment::CashOnDelivery { confirm_by, .. } => confirm_by,
                // Until the same commit's group tells.
                order::Payment::Escrow => placed_at,
            },
            placed_at,
            paid_at: None,
            confirmed_at: None,
            shipped_at: None,
            carrier: None,
            tracking: None,
            questioned_at: None,
            delivered_at: None,
            ended_at: None,
            cancelled_by: None,
            cancel_reason: None,
            version: 0,
            position: 0,
        })
    }

    /// Takes an event of its escrow in, and tells whether the order shows something else from now on. The order's own
    /// event of the same commit tells how a dispute or a refund has left it.
    fn take_escrow(&mut self, event: &escrow::Event) -> bool {
        match event {
            escrow::Event::EscrowDisputed { .. } => self.status = Status::Disputed,
            escrow::Event::EscrowPartlyRefunded { amount, .. }
            | escrow::Event::EscrowRefunded { amount, .. }
            | escrow::Event::ReleaseRefunded { amount, .. }
            | escrow::Event::ChargebackSettled { amount, .. }
            | escrow::Event::EscrowSplit { to_buyer: amount, .. } => self.give_back(*amount),
            // In the commit of the order itself.
            escrow::Event::EscrowOpened { terms } => self.from_points = terms.points_part().minor(),
            escrow::Event::EscrowFunded { .. }
            | escrow::Event::EscrowVoided {}
            | escrow::Event::InspectionStarted { .. }
            | escrow::Event::InspectionReminded { .. }
            | escrow::Event::EscrowReleased { .. }
            | escrow::Event::EscrowChargedBack { .. }
            | escrow::Event::ChargebackReturned { .. } => return false,
        }
        true
    }

    fn give_back(&mut self, amount: Money) {
        self.refunded += amount.minor();
    }
}

impl Line {
    fn of(line: &order::Line) -> Self {
        let (unit_price, shipping) = (line.unit_price.minor(), line.shipping.minor());
        Self {
            listing_id: line.listing.0,
            sku: line.sku.clone(),
            title: line.title.clone(),
            quantity: line.quantity,
            unit_price,
            shipping,
            total: unit_price.saturating_mul(i64::from(line.quantity)).saturating_add(shipping),
        }
    }
}

/// One order. Who may see it, the reader decides.
pub async fn get(executor: impl PgExecutor<'_>, order: OrderId) -> Result<Option<Order>, sqlx::Error> {
    sqlx::query_as("select * from orders.orders where id = $1").bind(order.0).fetch_optional(executor).await
}

/// What an account is to an order.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Who buys.
    Buyer,
    /// Who sells.
    Seller,
}

/// Which orders to show.
#[derive(Clone, Copy, Debug)]
pub struct Filter {
    /// Whose, bought or sold.
    pub party: AccountId,
    /// On which side; `None` for both.
    pub side: Option<Side>,
    /// Where they are; `None` for anywhere.
    pub status: Option<Status>,
}

/// Where a page ends: the sort key of its last row.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Cursor {
    /// When it was placed.
    pub placed_at: Timestamp,
    /// The order.
    pub id: Uuid,
}

/// The orders of an account, newest first, after a cursor, at most `limit`.
pub async fn page(
    executor: impl PgExecutor<'_>,
    filter: &Filter,
    after: Option<Cursor>,
    limit: u32,
) -> Result<Page<Order, Cursor>, sqlx::Error> {
    let mut query = QueryBuilder::new("");
    match filter.side {
        Some(Side::Buyer) => push_side(&mut query, "buyer_id = ", filter, after, limit),
        Some(Side::Seller) => push_side(&mut query, "seller_id = ", filter, after, limit),
        // Nobody buys from themselves, so no order is on both sides.
        None => {
            query.push("(");
            push_side(&mut query, "buyer_id = ", filter, after, limit);
            query.push(") union all (");
            push_side(&mut query, "seller_id = ", filter, after, limit);
            query.push(") order by placed_at desc, id desc limit ");
            query.push_bind(Page::<Order, Cursor>::rows_to_fetch(limit));
        }
    }
    let orders: Vec<Order> = query.build_query_as().fetch_all(executor).await?;
    Ok(Page::of(orders, limit, |&Order { placed_at, id, .. }| Cursor { placed_at, id }))
}

/// The first orders of one side, found by its index.
fn push_side(
    query: &mut QueryBuilder<'_, Postgres>,
    side: &'static str,
    filter: &Filter,
    after: Option<Cursor>,
    limit: u32,
) {
    query.push("select * from orders.orders where ").push(side).push_bind(filter.party.0);
    if let Some(status) = filter.status {
        query.push(" and status = ").push_bind(status);
    }
    if let Some(Cursor { placed_at, id }) = after {
        query.push(" and (placed_at, id) < (").push_bind(placed_at).push(", ").push_bind(id).push(")");
    }
    query.push(" order by placed_at desc, id desc limit ");
    query.push_bind(Page::<Order, Cursor>::rows_to_fetch(limit));
}

/// A group of orders.
pub async fn group(executor: impl PgExecutor<'_>, group: OrderGroupId) -> Result<Option<Group>, sqlx::Error> {
    sqlx::query_as("select * from orders.groups where id = $1").bind(group.0).fetch_optional(executor).await
}

/// The orders of a group, one per seller.
pub async fn orders_of(executor: impl PgExecutor<'_>, group: OrderGroupId) -> Result<Vec<Order>, sqlx::Error> {
    sqlx::query_as("select * from orders.orders where group_id = $1 order by id")
        .bind(group.0)
        .fetch_all(executor)
        .await
}

/// How many of an account's purchases and sales are not over.
pub async fn open_of(executor: impl PgExecutor<'_>, account: AccountId) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(
        "select count(*) from orders.orders where (buyer_id = $1 or seller_id = $1) and ended_at is null",
    )
    .bind(account.0)
    .fetch_one(executor)
    .await
}

/// How many orders a seller has in each status; nothing of a status in which there is none.
pub async fn sold_counts(executor: impl PgExecutor<'_>, seller: AccountId) -> Result<Vec<(Status, i64)>, sqlx::Error> {
    sqlx::query_as("select status, count(*) from orders.orders where seller_id = $1 group by status order by status")
        .bind(seller.0)
        .fetch_all(executor)
        .await
}

/// How many orders there are in each status; nothing of a status in which there is none.
pub async fn counts(executor: impl PgExecutor<'_>) -> Result<Vec<(Status, i64)>, sqlx::Error> {
    sqlx::query_as("select status, count(*) from orders.orders group by status order by status")
        .fetch_all(executor)
        .await
}

#[cfg(test)]
mod tests {
    use domain::Aggregate;
    use domain::escrow::{Disputant, Escrow, RefundCause, ReleaseCause};
    use domain::order::{Command, Witness};
    use domain::{ListingId, RefundId, Sealed};

    use super::*;
    use crate::tests::history::recorded;

    const ANN: AccountId = AccountId(Uuid::from_u128(1));
    const BOB: AccountId = AccountId(Uuid::from_u128(2));
    const ORDER: OrderId = OrderId(Uuid::from_u128(7));
    const GROUP: OrderGroupId = OrderGroupId(Uuid::from_u128(8));
    const REFUND: RefundId = RefundId(Uuid::from_u128(9));

    fn usd(minor: i64) -> Money {
        Money::new(minor, Currency::USD).unwrap()
    }

    fn later() -> Timestamp {
        Timestamp::default() + chrono::TimeDelta::days(365)
    }

    fn terms() -> Terms {
        let line = |price, quantity| order::Line {
            listing: ListingId(Uuid::from_u128(3)),
            sku: Sku::default(),
            title: "Coin".to_owned(),
            quantity,
            unit_price: usd(price),
            shipping: usd(10),
            fee_bps: 200,
        };
        Terms {
            group: GROUP,
            buyer: ANN,
            seller: BOB,
            origin: order::Origin::Checkout,
            lines: vec![line(100, 2), line(80, 1)],
            delivery: Delivery::Physical,
            ship_to: Some(Sealed::from_ciphertext(ANN, "unreadable".to_owned())),
            payment: order::Payment::Escrow,
            guest: None,
        }
    }

    /// An order, its escrow and its group, and what is shown of them.
    struct Sale {
        order: order::Order,
        escrow: Escrow,
        shown: Changes,
        position: i64,
    }

    impl Sale {
        fn placed() -> Self {
            let (order, escrow) = (order::Order::default(), Escrow::default());
            let sale = Self { order, escrow, shown: Changes::default(), position: 0 };
            let lines = terms().lines.iter().map(|line| line.fee_line().unwrap()).collect();
            let open = escrow::Terms {
                order: ORDER,
                buyer: ANN,
                seller: BOB,
                lines,
                amount: usd(300),
                inspection_s: 60,
                points_per_unit: 0,
                redeemed: None,
                commission: None,
            };
            sale.order(Command::Place { terms: terms() })
                .escrow(escrow::Command::Open { terms: open })
                .group(order_group::Event::OrderGroupPlaced { buyer: ANN, orders: vec![ORDER], pay_by: later() })
        }

        fn paid() -> Self {
            let now = Timestamp::default();
            Self::placed().escrow(escrow::Command::Fund { source: escrow::Source::Wallet, now }).order(Command::Pay {})
        }

        fn delivered() -> Self {
            let now = Timestamp::default();
            let ship = Command::Ship { carrier: "Post".to_owned(), tracking: None, now };
            let deliver = Command::Deliver { by: Witness::Buyer, now: Timestamp::default() };
            Self::paid().order(ship).order(deliver).escrow(escrow::Command::Inspect { now })
        }

        fn order(mut self, command: Command) -> Self {
            for event in self.order.decide(command).unwrap() {
                self.order.evolve(&event);
                self.take(DomainEvent::Order(ORDER, event));
            }
            self
        }

        fn escrow(mut self, command: escrow::Command) -> Self {
            for event in self.escrow.decide(command).unwrap() {
                self.escrow.evolve(&event);
                self.take(DomainEvent::Escrow(ORDER, event));
            }
            self
        }

        fn dispute(self) -> Self {
            let (by, reason, now) = (Disputant::Buyer, "broken".to_owned(), Timestamp::default());
            self.escrow(escrow::Command::Dispute { by, reason, now })
        }

        fn refund(self, amount: Option<Money>, cause: RefundCause) -> Self {
            self.escrow(escrow::Command::Refund { refund: REFUND, amount, cause, now: later() })
        }

        fn group(mut self, event: order_group::Event) -> Self {
            self.take(DomainEvent::OrderGroup(GROUP, event));
            self
        }

        fn take(&mut self, event: DomainEvent) {
            self.position += 1;
            self.shown.take(&recorded(self.position, event), &PersonKeys::default()).unwrap();
        }

        fn shown(&self) -> &Order {
            &self.shown.orders[&ORDER.0]
        }

        fn state(&self) -> (Status, i64) {
            (self.shown().status, self.shown().refunded)
        }
    }

    #[test]
    fn an_order_shows_its_lines_its_total_and_the_deadline_of_its_group() {
        let sale = Sale::placed();
        let order = sale.shown();
        assert_eq!(order.lines.iter().map(|line| line.total).collect::<Vec<_>>(), [210, 90]);
        assert_eq!((order.total, order.pay_by), (300, later()));
        assert_eq!(order.ship_to, None, "nobody can read it");
        assert_eq!((order.version, order.position), (1, 3), "the group is the last that changed it");
        let group = sale.shown.groups[&GROUP.0];
        assert_eq!((group.status, group.total, group.pay_by), (GroupStatus::AwaitingPayment, 300, later()));
    }

    #[test]
    fn a_group_is_paid_or_expires() {
        let paid = Sale::paid().group(order_group::Event::OrderGroupPaid {});
        let group = paid.shown.groups[&GROUP.0];
        assert_eq!((group.status, group.paid_at.is_some()), (GroupStatus::Paid, true));
        let expired = Sale::placed().group(order_group::Event::OrderGroupExpired {});
        let group = expired.shown.groups[&GROUP.0];
        assert_eq!((group.status, group.paid_at), (GroupStatus::Expired, None));
    }

    #[test]
    fn an_order_goes_from_step_to_step_and_tells_when() {
        assert_eq!(Sale::placed().state(), (Status::Placed, 0));
        assert_eq!(Sale::paid().state(), (Status::Paid, 0));
        let delivered = Sale::delivered();
        assert_eq!(delivered.state(), (Status::Delivered, 0));
        let order = delivered.shown();
        let times = [order.paid_at, order.shipped_at, order.delivered_at];
        assert!(times.is_sorted() && times.iter().all(Option::is_some));
        assert_eq!((order.carrier.as_deref(), order.ended_at), (Some("Post"), None));
        let release = escrow::Command::Release { cause: ReleaseCause::Confirmed, now: later() };
        let completed = delivered.escrow(release).order(Command::Complete { now: Timestamp::default() });
        assert_eq!(completed.state(), (Status::Completed, 0));
        assert!(completed.shown().ended_at.is_some());
    }

    #[test]
    fn a_dispute_shows_until_it_is_resolved() {
        assert_eq!(Sale::delivered().dispute().state(), (Status::Disputed, 0));
        let resolved = RefundCause::Resolved(BOB);
        let refunded =
            Sale::paid().dispute().refund(None, resolved).order(Command::Refund { now: Timestamp::default() });
        assert_eq!(refunded.state(), (Status::Refunded, 300));
        let split = escrow::Command::Split { to_buyer: usd(100), by: BOB };
        let split = Sale::delivered().dispute().escrow(split).order(Command::Complete { now: Timestamp::default() });
        assert_eq!(split.state(), (Status::Completed, 100));
    }

    #[test]
    fn what_went_back_in_parts_is_summed_up() {
        let part = Sale::delivered().refund(Some(usd(50)), RefundCause::Seller);
        assert_eq!(part.state(), (Status::Delivered, 50));
        let release = escrow::Command::Release { cause: ReleaseCause::Confirmed, now: later() };
        let rest = escrow::Command::RefundReleased {
            refund: REFUND,
            amount: None,
            seller_available: usd(0),
            cause: RefundCause::Seller,
        };
        let all = part
            .escrow(release)
            .order(Command::Complete { now: Timestamp::default() })
            .escrow(rest)
            .order(Command::Refund { now: Timestamp::default() });
        assert_eq!(all.state(), (Status::Refunded, 300));
    }

    #[test]
    fn what_was_cancelled_stays_so_though_its_money_went_back() {
        let cause = CancelCause::Buyer { reason: "too late".to_owned() };
        let cancelled = Sale::paid()
            .order(Command::Cancel { cause, now: Timestamp::default() })
            .refund(None, RefundCause::Cancelled);
        assert_eq!(cancelled.state(), (Status::Cancelled, 300));
        let order = cancelled.shown();
        assert_eq!((order.cancelled_by, order.cancel_reason.as_deref()), (Some(Canceller::Buyer), Some("too late")));
    }

    #[test]
    fn only_what_changes_the_row_moves_its_position() {
        let funded =
            Sale::placed().escrow(escrow::Command::Fund { source: escrow::Source::Wallet, now: Timestamp::default() });
        assert_eq!((funded.shown().position, funded.position), (3, 4));
        let part = funded.order(Command::Pay {}).refund(Some(usd(50)), RefundCause::Seller);
        assert_eq!((part.shown().version, part.shown().position), (5, part.position));
    }
}
