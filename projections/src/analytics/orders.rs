//! What was bought, line by line, and when it came to which state.

use std::collections::BTreeMap;

use domain::listing::Delivery;
use domain::order::{CancelCause, Event, Origin, Stage, Terms};
use domain::{Currency, Money, Timestamp};
use eventstore::event::DomainEvent;
use eventstore::follower::Recorded;
use serde::Serialize;
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use super::escrows::Movement;
use crate::{Text, rows};

#[derive(Debug, FromRow, Serialize)]
struct OrderRow {
    order_id: Uuid,
    buyer_id: Uuid,
    guest: bool,
    seller_id: Uuid,
    origin: String,
    auction_id: Option<Uuid>,
    payment: String,
    delivery: Text<Delivery>,
    currency: Text<Currency>,
    pieces: i64,
    gross: i64,
    status: Text<Stage>,
    placed_at: Timestamp,
    paid_at: Option<Timestamp>,
    confirmed_at: Option<Timestamp>,
    shipped_at: Option<Timestamp>,
    delivered_at: Option<Timestamp>,
    ended_at: Option<Timestamp>,
    cancelled_by: Option<String>,
}

#[derive(Debug, Serialize)]
struct LineRow {
    order_id: Uuid,
    line: usize,
    listing_id: Uuid,
    pieces: u32,
    unit_price: i64,
    shipping: i64,
    gross: i64,
    fee_bps: u32,
}

#[derive(Debug, Serialize)]
struct StateRow {
    order_id: Uuid,
    sequence: i64,
    state: Text<Stage>,
    entered_at: Timestamp,
}

/// The orders that a batch is about, the lines of new ones, and the states that they have come to.
#[derive(Debug, Default)]
pub(super) struct Orders {
    placed: BTreeMap<Uuid, OrderRow>,
    lines: Vec<LineRow>,
    states: Vec<StateRow>,
}

impl Orders {
    pub(super) fn take(&mut self, order_id: Uuid, event: &Event, recorded: &Recorded) {
        let at = recorded.recorded_at;
        if let Event::OrderPlaced { terms } = event
            && let Some(order) = OrderRow::placed(order_id, terms, at)
        {
            self.placed.insert(order_id, order);
            self.lines.extend((1..).zip(&terms.lines).map(|(line, it)| LineRow {
                order_id,
                line,
                listing_id: it.listing.0,
                pieces: it.quantity,
                unit_price: it.unit_price.minor(),
                shipping: it.shipping.minor(),
                gross: it.gross().map_or(0, Money::minor),
                fee_bps: it.fee_bps,
            }));
        }
        let Some(order) = self.placed.get_mut(&order_id) else { return };
        let Some(state) = stage_after(event) else { return };
        order.status = Text(state);
        match state {
            Stage::Placed => {}
            Stage::Paid => order.paid_at = Some(at),
            Stage::Confirmed => order.confirmed_at = Some(at),
            Stage::Shipped => order.shipped_at = Some(at),
            Stage::Delivered => order.delivered_at = Some(at),
            Stage::Completed | Stage::Cancelled | Stage::Refunded => order.ended_at = Some(at),
        }
        if let Event::OrderCancelled { cause } = event {
            order.cancelled_by = Some(canceller(cause).to_owned());
        }
        self.states.push(StateRow { order_id, sequence: recorded.sequence, state: Text(state), entered_at: at });
    }

    /// What a guest has paid at the door, which no escrow tells.
    pub(super) fn paid_at_the_door(&self, order_id: Uuid, event: &Event, recorded: &Recorded) -> Option<Movement> {
        let order = self.placed.get(&order_id)?;
        if !matches!(event, Event::OrderCompleted {}) || order.payment == ESCROW {
            return None;
        }
        Some(Movement::at_the_door(recorded, order_id, order.seller_id, order.currency, order.gross))
    }

    pub(super) async fn load(connection: &mut PgConnection, events: &[Recorded]) -> Result<Self, sqlx::Error> {
        let ids = rows::touched(events, |event| match event {
            DomainEvent::Order(id, _) => Some(id.0),
            _ => None,
        });
        if ids.is_empty() {
            return Ok(Self::default());
        }
        let placed: Vec<OrderRow> = sqlx::query_as("select * from order_facts where order_id = any($1)")
            .bind(ids)
            .fetch_all(connection)
            .await?;
        let placed = placed.into_iter().map(|order| (order.order_id, order)).collect();
        Ok(Self { placed, ..Self::default() })
    }

    pub(super) async fn store(self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        let statement = "
            insert into order_facts select * from json_populate_recordset(null::order_facts, $1::json)
            on conflict on constraint order_facts_order do update set
                (status, paid_at, confirmed_at, shipped_at, delivered_at, ended_at, cancelled_by)
                = row (excluded.status, excluded.paid_at, excluded.confirmed_at, excluded.shipped_at,
                    excluded.delivered_at, excluded.ended_at, excluded.cancelled_by)";
        rows::write(connection, statement, self.placed.into_values()).await?;
        let statement = "insert into line_facts select * from json_populate_recordset(null::line_facts, $1::json)";
        rows::write(connection, statement, self.lines).await?;
        let statement = "insert into state_facts select * from json_populate_recordset(null::state_facts, $1::json)";
        rows::write(connection, statement, self.states).await
    }
}

const ESCROW: &str = "escrow";

impl OrderRow {
    /// A new order; nothing if it has no lines, which no order has.
    fn placed(order_id: Uuid, terms: &Terms, placed_at: Timestamp) -> Option<Self> {
        let currency = terms.lines.first()?.unit_price.currency();
        let gross = |sum: i64, line: &domain::order::Line| sum.saturating_add(line.gross().map_or(0, Money::minor));
        Some(Self {
            order_id,
            buyer_id: terms.buyer.0,
            guest: terms.guest.is_some(),
            seller_id: terms.seller.0,
            origin: origin(terms.origin).to_owned(),
            auction_id: terms.origin.auction().map(|auction| auction.0),
            payment: if terms.payment.is_escrow() { ESCROW } else { "cash_on_delivery" }.to_owned(),
            delivery: Text(terms.delivery),
            currency: Text(currency),
            pieces: terms.lines.iter().map(|line| i64::from(line.quantity)).sum(),
            gross: terms.lines.iter().fold(0, gross),
            status: Text(Stage::Placed),
            placed_at,
            paid_at: None,
            confirmed_at: None,
            shipped_at: None,
            delivered_at: None,
            ended_at: None,
            cancelled_by: None,
        })
    }
}

/// The state that an order has come to; nothing where it stays where it is.
fn stage_after(event: &Event) -> Option<Stage> {
    match event {
        Event::OrderPlaced { .. } => Some(Stage::Placed),
        Event::OrderPaid {} => Some(Stage::Paid),
        Event::OrderConfirmed {} => Some(Stage::Confirmed),
        Event::OrderShipped { .. } => Some(Stage::Shipped),
        Event::OrderDelivered { .. } => Some(Stage::Delivered),
        Event::OrderCompleted {} => Some(Stage::Completed),
        Event::OrderCancelled { .. } => Some(Stage::Cancelled),
        Event::OrderRefunded {} => Some(Stage::Refunded),
        Event::GuestDismissed { .. } | Event::GuestForgotten {} | Event::DeliveryQuestioned {} => None,
    }
}

fn origin(origin: Origin) -> &'static str {
    match origin {
        Origin::Checkout => "checkout",
        Origin::Storefront => "storefront",
        Origin::AuctionWon(_) => "auction_won",
        Origin::BoughtNow(_) => "bought_now",
        Origin::SecondChance(_) => "second_chance",
    }
}

/// Who has called it off, or what was not done in time. Their words are not kept.
fn canceller(cause: &CancelCause) -> &'static str {
    match cause {
        CancelCause::Buyer { .. } => "buyer",
        CancelCause::Seller { .. } => "seller",
        CancelCause::Staff { .. } => "staff",
        CancelCause::NotPaid => "not_paid",
        CancelCause::NotConfirmed => "not_confirmed",
        CancelCause::NotShipped => "not_shipped",
        CancelCause::NotDelivered => "not_delivered",
    }
}
