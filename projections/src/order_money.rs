//! Where is the money of this order now, how did it come there, and what comes next and when?
//!
//! For who buys, who sells and staff. Of each order: in which place its money is and what of it has gone where, which
//! always adds up; what happens by itself if nobody does anything, and when; and a step for everything that has moved
//! its money or set one of its clocks. Which of that concerns whom, the reader decides. What a card is charged is for all
//! that was ordered together, so a step of a charge is one of each of these orders.

use std::collections::BTreeMap;

use domain::charge;
use domain::escrow::{self, Course, Disputant, RefundCause, ReleaseCause};
use domain::order::{self, CancelCause, Terms};
use domain::{AccountId, Aggregate, Currency, Money, OrderId, Posting, Timestamp, order_group, wallet};
use eventstore::Position;
use eventstore::event::DomainEvent;
use eventstore::follower::{Batch, FollowError, Recorded};
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use sqlx::{FromRow, PgConnection, PgExecutor};
use uuid::Uuid;

use crate::{ReadModel, Text, rows};

mod charges;
#[cfg(test)]
mod tests;

use charges::{Charge, Group};

/// The read model.
pub const MODEL: ReadModel = ReadModel {
    name: "order_money",
    next: "order_money_next",
    version: 1,
    about: &[
        charge::Charge::TYPE,
        escrow::Escrow::TYPE,
        order::Order::TYPE,
        order_group::OrderGroup::TYPE,
        wallet::Wallet::TYPE,
    ],
    ddl: include_str!("order_money.sql"),
    apply: |connection, batch| Box::pin(apply(connection, batch)),
};

/// The money of one order.
#[derive(Clone, Debug, FromRow, PartialEq, Serialize)]
pub struct OrderMoney {
    /// The order.
    pub order_id: Uuid,
    /// Who buys.
    pub buyer_id: Uuid,
    /// Who sells.
    pub seller_id: Uuid,
    /// Whether it is somebody without an account who buys.
    pub guest: bool,
    /// Where the money is.
    pub place: Place,
    /// The currency of all its amounts, which are minor units.
    pub currency: Text<Currency>,
    /// What the order comes to.
    pub total: i64,
    /// What of it is paid with bonus points.
    pub from_points: i64,
    /// What was paid in, points included.
    pub paid: i64,
    /// What of that is kept until the order is over.
    pub held: i64,
    /// What of that the bank of the payer's card has taken back until it has decided.
    pub at_bank: i64,
    /// What has gone back to the buyer.
    pub refunded: i64,
    /// What the seller has got and not given back.
    pub paid_out: i64,
    /// What the marketplace has kept and not given back.
    pub fee: i64,
    /// Whether a card has paid it.
    pub by_card: bool,
    /// Whether what goes back goes to that card.
    pub to_card: bool,
    /// What happens by itself if nobody does anything.
    pub next: Option<Next>,
    /// When.
    pub next_at: Option<Timestamp>,
    /// By when what is paid in cash must be sent.
    pub ship_by: Option<Timestamp>,
    /// By when it must be brought.
    pub deliver_by: Option<Timestamp>,
    /// When a dispute opens by itself.
    pub dispute_at: Option<Timestamp>,
    /// Where the last event is that has changed any of it.
    pub position: Position,
}

/// Where the money of an order is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Place {
    /// With the buyer, who has yet to pay.
    Unpaid,
    /// Nowhere: the order was called off before it was paid.
    CalledOff,
    /// Kept by the marketplace.
    Escrow,
    /// Kept by the marketplace until a dispute is decided.
    Frozen,
    /// Taken back by the bank of the payer's card, some of it at least, until that has decided.
    Bank,
    /// With the seller, less the fee and what went back.
    Seller,
    /// With the buyer again, all of it.
    Buyer,
    /// A part with the buyer, a part with the seller, as a dispute was decided.
    Divided,
    /// With the buyer, who pays the seller at the door.
    Door,
    /// With the seller, who was paid at the door.
    PaidAtDoor,
}

/// What happens by itself if nobody does anything.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Next {
    /// It is called off, unless it is paid.
    PaymentDue,
    /// It is called off, unless its seller confirms it.
    ConfirmationDue,
    /// All goes back to the buyer, or an order in cash is called off, unless it is sent.
    ShippingDue,
    /// The buyer is asked whether it has arrived.
    DeliveryAsked,
    /// A dispute opens, unless somebody says that it has arrived.
    DisputeOpens,
    /// An order in cash is called off, unless its seller says that it was brought.
    DeliveryDue,
    /// The seller is paid, unless it is disputed.
    Release,
    /// All goes back to the buyer, unless staff decides otherwise.
    DisputeRefunded,
}

/// Something that has moved the money of an order, or set one of its clocks.
#[derive(Clone, Debug, FromRow, PartialEq, Serialize)]
pub struct Step {
    /// The order.
    pub order_id: Uuid,
    /// Where its event is.
    pub position: Position,
    /// What has happened.
    pub kind: Kind,
    /// How much it is about, in minor units: of what is released, what the seller keeps of the price.
    pub amount: Option<i64>,
    /// What of that bonus points have paid, or came back as points.
    pub from_points: Option<i64>,
    /// What the marketplace has kept; of a refund, what it gave back.
    pub fee: Option<i64>,
    /// What the seller got; of a refund, what of it the seller had available.
    pub to_seller: Option<i64>,
    /// What the seller owes from now on.
    pub owed: Option<i64>,
    /// Who or what has caused it.
    pub cause: Option<Cause>,
    /// Until when whoever has to act may do so.
    pub until: Option<Timestamp>,
    /// The movements between ledger accounts.
    pub postings: Json<Vec<Posting>>,
    /// When.
    pub recorded_at: Timestamp,
}

/// What can happen to the money of an order.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Kind {
    /// It was ordered.
    Placed,
    /// Its seller has confirmed it, if it is paid in cash.
    Confirmed,
    /// It was called off.
    CalledOff,
    /// It was paid.
    Paid,
    /// It was sent.
    Shipped,
    /// The buyer was asked whether it has arrived.
    DeliveryAsked,
    /// It has arrived.
    Delivered,
    /// The time to look at it has begun.
    InspectionStarted,
    /// Somebody disputes it.
    Disputed,
    /// The seller was paid.
    Released,
    /// The seller was paid at the door.
    PaidAtDoor,
    /// A part went back to the buyer.
    PartlyRefunded,
    /// All that was left went back to the buyer.
    Refunded,
    /// A dispute was decided: each got a part.
    Divided,
    /// Something went back to the buyer after the seller was paid.
    RefundedAfterRelease,
    /// Something that the seller owed was paid with what the sale has brought.
    Recovered,
    /// A card is asked for the money, of all that was ordered together.
    CardAsked,
    /// The payer has to do something for that.
    CardActionNeeded,
    /// The card has not paid.
    CardDeclined,
    /// The card has paid too late, or too much: that goes back to it.
    CardTooLate,
    /// Something is on its way back to the card.
    CardRefundSent,
    /// It is there.
    CardRefunded,
    /// It is not, or has come back.
    CardRefundFailed,
    /// The bank of the payer's card has taken money back, until it has decided.
    ChargedBack,
    /// It gave it back.
    ChargebackReturned,
    /// It keeps it for the payer.
    ChargebackLost,
}

/// Who or what has caused something.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Cause {
    /// The buyer.
    Buyer,
    /// The seller.
    Seller,
    /// Staff.
    Staff,
    /// The marketplace, since nothing was heard of a delivery.
    Marketplace,
    /// The buyer was content.
    Confirmed,
    /// The time to inspect was over.
    InspectionOver,
    /// Staff has decided a dispute so.
    Resolved,
    /// The order was called off.
    Cancelled,
    /// Nobody has decided the dispute in time.
    DisputeExpired,
    /// It was not paid in time.
    NotPaid,
    /// It was not confirmed in time.
    NotConfirmed,
    /// It was not sent in time.
    NotShipped,
    /// In time nobody has said that it was brought.
    NotDelivered,
}

impl From<ReleaseCause> for Cause {
    fn from(cause: ReleaseCause) -> Self {
        match cause {
            ReleaseCause::Confirmed => Self::Confirmed,
            ReleaseCause::InspectionOver => Self::InspectionOver,
            ReleaseCause::Resolved(_) => Self::Resolved,
        }
    }
}

impl From<RefundCause> for Cause {
    fn from(cause: RefundCause) -> Self {
        match cause {
            RefundCause::Cancelled => Self::Cancelled,
            RefundCause::NotShipped => Self::NotShipped,
            RefundCause::Seller => Self::Seller,
            RefundCause::Staff(_) => Self::Staff,
            RefundCause::Resolved(_) => Self::Resolved,
            RefundCause::DisputeExpired => Self::DisputeExpired,
        }
    }
}

impl From<Disputant> for Cause {
    fn from(by: Disputant) -> Self {
        match by {
            Disputant::Buyer => Self::Buyer,
            Disputant::Seller => Self::Seller,
            Disputant::Marketplace => Self::Marketplace,
        }
    }
}

impl From<&CancelCause> for Cause {
    fn from(cause: &CancelCause) -> Self {
        match cause {
            CancelCause::Buyer { .. } => Self::Buyer,
            CancelCause::Seller { .. } => Self::Seller,
            CancelCause::Staff { .. } => Self::Staff,
            CancelCause::NotPaid => Self::NotPaid,
            CancelCause::NotConfirmed => Self::NotConfirmed,
            CancelCause::NotShipped => Self::NotShipped,
            CancelCause::NotDelivered => Self::NotDelivered,
        }
    }
}

/// The orders that a batch is about, and what has happened to their money.
#[derive(Debug, Default)]
struct Changes {
    orders: BTreeMap<Uuid, OrderMoney>,
    groups: BTreeMap<Uuid, Group>,
    charges: BTreeMap<Uuid, Charge>,
    steps: Vec<Step>,
}

async fn apply(connection: &mut PgConnection, batch: &Batch) -> Result<(), FollowError> {
    let mut changes = Changes::load(connection, &batch.events).await?;
    for recorded in &batch.events {
        changes.take(recorded)?;
    }
    changes.store(connection).await
}

impl Changes {
    /// Takes one event in.
    fn take(&mut self, recorded: &Recorded) -> Result<(), FollowError> {
        match &recorded.event {
            DomainEvent::Order(OrderId(id), event) => self.take_order(*id, event, recorded),
            DomainEvent::Escrow(OrderId(id), event) => self.take_escrow(*id, event, recorded),
            DomainEvent::OrderGroup(group, order_group::Event::OrderGroupPlaced { orders, pay_by, .. }) => {
                self.groups.insert(group.0, Group::of(group.0, orders));
                for order in orders {
                    // The orders are there before their group, in the same commit; unless one of them could not be taken.
                    let absent = || FollowError::Absent(format!("order {order}"));
                    let order = self.orders.get_mut(&order.0).ok_or_else(absent)?;
                    // What was parked comes late.
                    if order.place == Place::Unpaid {
                        order.comes(Next::PaymentDue, *pay_by);
                    }
                    order.position = order.position.max(recorded.position);
                }
            }
            DomainEvent::Charge(charge, event) => self.take_charge(charge.0, event, recorded)?,
            // Which of them names an order is not known here, and nobody asks for the others.
            DomainEvent::Wallet(_, wallet::Event::ReceivableRecovered { operation, amount, postings }) => {
                let mut step = Step::of(*operation, Kind::Recovered, recorded);
                (step.amount, step.postings) = (Some(amount.minor()), Json(postings.clone()));
                self.steps.push(step);
            }
            // Nothing else concerns it: see `about`.
            _ => {}
        }
        Ok(())
    }

    fn take_order(&mut self, id: Uuid, event: &order::Event, recorded: &Recorded) {
        use order::Event;
        if let Event::OrderPlaced { terms } = event
            && let Some(order) = OrderMoney::placed(id, terms)
        {
            self.orders.insert(id, order);
        }
        let Some(order) = self.orders.get_mut(&id) else { return };
        let step = |kind| Step::of(id, kind, recorded);
        let taken = match event {
            Event::OrderPlaced { .. } => {
                Some(Step { amount: Some(order.total), until: order.next_at, ..step(Kind::Placed) })
            }
            Event::OrderConfirmed {} => {
                order.comes_by(Next::ShippingDue, order.ship_by);
                Some(Step { until: order.ship_by, ..step(Kind::Confirmed) })
            }
            Event::OrderShipped { ask_at, dispute_at, .. } => {
                order.dispute_at = *dispute_at;
                match order.place {
                    Place::Door => order.comes_by(Next::DeliveryDue, order.deliver_by),
                    Place::Escrow => order.comes_by(Next::DeliveryAsked, *ask_at),
                    // A dispute has a clock of its own, and the rest is over.
                    Place::Unpaid
                    | Place::CalledOff
                    | Place::Frozen
                    | Place::Bank
                    | Place::Seller
                    | Place::Buyer
                    | Place::Divided
                    | Place::PaidAtDoor => {}
                }
                Some(step(Kind::Shipped))
            }
            Event::DeliveryQuestioned {} => {
                if order.place == Place::Escrow {
                    order.comes_by(Next::DisputeOpens, order.dispute_at);
                }
                Some(Step { until: order.dispute_at, ..step(Kind::DeliveryAsked) })
            }
            Event::OrderDelivered { .. } => Some(step(Kind::Delivered)),
            Event::OrderCompleted {} if order.place == Place::Door => {
                order.end(Place::PaidAtDoor);
                Some(Step { amount: Some(order.total), ..step(Kind::PaidAtDoor) })
            }
            Event::OrderCancelled { cause } => {
                if matches!(order.place, Place::Door | Place::Unpaid) {
                    order.end(Place::CalledOff);
                }
                Some(Step { cause: Some(cause.into()), ..step(Kind::CalledOff) })
            }
            // The escrow of the same commit tells what becomes of the money.
            Event::OrderPaid {} | Event::OrderCompleted {} | Event::OrderRefunded {} => None,
            Event::GuestDismissed { .. } | Event::GuestForgotten {} => return,
        };
        order.position = order.position.max(recorded.position);
        self.steps.extend(taken);
    }

    fn take_escrow(&mut self, id: Uuid, event: &escrow::Event, recorded: &Recorded) {
        let Some(order) = self.orders.get_mut(&id) else { return };
        let taken = order.take_escrow(event, |kind| Step {
            postings: Json(event.postings().to_vec()),
            ..Step::of(id, kind, recorded)
        });
        order.position = order.position.max(recorded.position);
        self.steps.extend(taken);
    }

    async fn load(connection: &mut PgConnection, events: &[Recorded]) -> Result<Self, FollowError> {
        let ids = rows::touched(events, |event| match event {
            DomainEvent::Order(id, _) | DomainEvent::Escrow(id, _) => vec![id.0],
            DomainEvent::OrderGroup(_, order_group::Event::OrderGroupPlaced { orders, .. }) => {
                orders.iter().map(|order| order.0).collect()
            }
            _ => vec![],
        });
        let mut changes = Self::default();
        if !ids.is_empty() {
            let orders: Vec<OrderMoney> = sqlx::query_as("select * from orders where order_id = any($1)")
                .bind(ids)
                .fetch_all(&mut *connection)
                .await?;
            changes.orders = orders.into_iter().map(|order| (order.order_id, order)).collect();
        }
        changes.load_charges(connection, events).await?;
        Ok(changes)
    }

    async fn store(self, connection: &mut PgConnection) -> Result<(), FollowError> {
        let statement = "
            insert into orders select * from json_populate_recordset(null::orders, $1::json)
            on conflict on constraint orders_order do update set
                (place, from_points, paid, held, at_bank, refunded, paid_out, fee, by_card, to_card, next, next_at,
                    dispute_at, position)
                = row (excluded.place, excluded.from_points, excluded.paid, excluded.held, excluded.at_bank,
                    excluded.refunded, excluded.paid_out, excluded.fee, excluded.by_card, excluded.to_card, excluded.next,
                    excluded.next_at, excluded.dispute_at, excluded.position)";
        rows::write(connection, statement, self.orders.into_values()).await?;
        charges::store(connection, self.groups, self.charges).await?;
        let statement = "insert into steps select * from json_populate_recordset(null::steps, $1::json)";
        Ok(rows::write(connection, statement, self.steps).await?)
    }
}

impl OrderMoney {
    /// A new order; nothing if it has no lines, which no order has.
    fn placed(order_id: Uuid, terms: &Terms) -> Option<Self> {
        let currency = terms.lines.first()?.unit_price.currency();
        let gross = |line: &order::Line| line.gross().map_or(0, Money::minor);
        let cash = terms.payment.deadlines();
        Some(Self {
            order_id,
            buyer_id: terms.buyer.0,
            seller_id: terms.seller.0,
            guest: terms.guest.is_some(),
            place: if cash.is_some() { Place::Door } else { Place::Unpaid },
            currency: Text(currency),
            total: terms.lines.iter().fold(0, |total, line| total.saturating_add(gross(line))),
            from_points: 0,
            paid: 0,
            held: 0,
            at_bank: 0,
            refunded: 0,
            paid_out: 0,
            fee: 0,
            by_card: false,
            to_card: false,
            // What is paid into its escrow is paid in a group, which tells by when.
            next: cash.map(|_| Next::ConfirmationDue),
            next_at: cash.map(|deadlines| deadlines.confirm_by),
            ship_by: cash.map(|deadlines| deadlines.ship_by),
            deliver_by: cash.map(|deadlines| deadlines.deliver_by),
            dispute_at: None,
            position: 0,
        })
    }

    /// Takes an event of its escrow in. Answers with the step that it is, if it is one.
    fn take_escrow(&mut self, event: &escrow::Event, step: impl Fn(Kind) -> Step) -> Option<Step> {
        use escrow::Event;
        let points = |points: &Option<Money>| points.map(Money::minor);
        Some(match event {
            Event::EscrowOpened { terms } => {
                self.from_points = terms.points_part().minor();
                return None;
            }
            Event::InspectionReminded { .. } => return None,
            Event::EscrowVoided {} => {
                self.end(Place::CalledOff);
                return None;
            }
            Event::EscrowFunded { amount, ship_by, card, .. } => {
                self.by_card = card.is_some();
                self.to_card = card.as_ref().is_some_and(|card| card.refunded_to_card);
                (self.paid, self.held, self.place) = (amount.minor(), amount.minor(), Place::Escrow);
                self.comes(Next::ShippingDue, *ship_by);
                let from_points = Some(self.from_points);
                Step { amount: Some(amount.minor()), from_points, until: Some(*ship_by), ..step(Kind::Paid) }
            }
            Event::InspectionStarted { ends_at, .. } => {
                self.comes(Next::Release, *ends_at);
                Step { until: Some(*ends_at), ..step(Kind::InspectionStarted) }
            }
            Event::EscrowDisputed { by, expires_at, .. } => {
                self.place = Place::Frozen;
                self.comes(Next::DisputeRefunded, *expires_at);
                Step { cause: Some((*by).into()), until: Some(*expires_at), ..step(Kind::Disputed) }
            }
            Event::EscrowReleased { cause, kept, fee, .. } => {
                self.pay_out(*kept, *fee);
                self.end(Place::Seller);
                Step { cause: Some((*cause).into()), ..step(Kind::Released).of_sale(*kept, *fee) }
            }
            Event::EscrowPartlyRefunded { amount, cause, from_points, .. } => {
                self.give_back(*amount);
                let (cause, from_points) = (Some((*cause).into()), points(from_points));
                Step { amount: Some(amount.minor()), cause, from_points, ..step(Kind::PartlyRefunded) }
            }
            Event::EscrowRefunded { amount, cause, from_points, .. } => {
                self.give_back(*amount);
                self.end(Place::Buyer);
                let (cause, from_points) = (Some((*cause).into()), points(from_points));
                Step { amount: Some(amount.minor()), cause, from_points, ..step(Kind::Refunded) }
            }
            Event::EscrowSplit { to_buyer, kept, fee, from_points, .. } => {
                self.give_back(*to_buyer);
                self.pay_out(*kept, *fee);
                self.end(Place::Divided);
                let step = step(Kind::Divided).of_sale(*kept, *fee);
                let (cause, from_points) = (Some(Cause::Resolved), points(from_points));
                Step { amount: Some(to_buyer.minor()), cause, from_points, ..step }
            }
            Event::ReleaseRefunded { amount, from_available, owed, fee_share, cause, from_points, .. } => {
                self.refunded += amount.minor();
                self.fee -= fee_share.minor();
                self.paid_out -= from_available.minor() + owed.minor();
                if self.refunded == self.paid {
                    self.place = Place::Buyer;
                }
                Step {
                    amount: Some(amount.minor()),
                    from_points: points(from_points),
                    fee: Some(fee_share.minor()),
                    to_seller: Some(from_available.minor()),
                    owed: Some(owed.minor()),
                    cause: Some((*cause).into()),
                    ..step(Kind::RefundedAfterRelease)
                }
            }
            Event::EscrowChargedBack { .. } | Event::ChargebackReturned { .. } | Event::ChargebackSettled { .. } => {
                return self.take_chargeback(event, step);
            }
        })
    }

    /// What the bank of the payer's card takes out of the escrow, and decides.
    fn take_chargeback(&mut self, event: &escrow::Event, step: impl Fn(Kind) -> Step) -> Option<Step> {
        use escrow::Event;
        let (kind, amount) = match event {
            Event::EscrowChargedBack { amount, .. } => {
                self.held -= amount.minor();
                self.at_bank += amount.minor();
                // Until it is decided, nothing comes by itself.
                self.end(Place::Bank);
                (Kind::ChargedBack, amount)
            }
            Event::ChargebackReturned { amount, course, .. } => {
                self.at_bank -= amount.minor();
                self.held += amount.minor();
                self.go_on(*course);
                (Kind::ChargebackReturned, amount)
            }
            Event::ChargebackSettled { amount, course, .. } => {
                self.at_bank -= amount.minor();
                self.refunded += amount.minor();
                match course {
                    Some(course) => self.go_on(*course),
                    None => self.end(Place::Buyer),
                }
                (Kind::ChargebackLost, amount)
            }
            Event::EscrowOpened { .. }
            | Event::EscrowFunded { .. }
            | Event::EscrowVoided {}
            | Event::InspectionStarted { .. }
            | Event::InspectionReminded { .. }
            | Event::EscrowDisputed { .. }
            | Event::EscrowReleased { .. }
            | Event::EscrowPartlyRefunded { .. }
            | Event::EscrowRefunded { .. }
            | Event::EscrowSplit { .. }
            | Event::ReleaseRefunded { .. } => return None,
        };
        Some(Step { amount: Some(amount.minor()), ..step(kind) })
    }

    /// Goes on where it was when the bank of the payer's card took something back.
    fn go_on(&mut self, course: Course) {
        self.place = match course {
            Course::Funded { .. } | Course::Inspection { .. } => Place::Escrow,
            Course::Disputed { .. } => Place::Frozen,
        };
        match course {
            // What is on its way need not be sent.
            Course::Funded { ship_by, sent: true } => self.comes(Next::DisputeOpens, ship_by),
            Course::Funded { ship_by, sent: false } => self.comes(Next::ShippingDue, ship_by),
            Course::Inspection { ends_at, .. } => self.comes(Next::Release, ends_at),
            Course::Disputed { expires_at } => self.comes(Next::DisputeRefunded, expires_at),
        }
    }

    fn comes(&mut self, next: Next, at: Timestamp) {
        self.comes_by(next, Some(at));
    }

    fn comes_by(&mut self, next: Next, at: Option<Timestamp>) {
        (self.next, self.next_at) = (Some(next), at);
    }

    fn end(&mut self, place: Place) {
        (self.place, self.next, self.next_at) = (place, None, None);
    }

    fn give_back(&mut self, amount: Money) {
        self.held -= amount.minor();
        self.refunded += amount.minor();
    }

    fn pay_out(&mut self, kept: Money, fee: Money) {
        self.held -= kept.minor();
        self.fee += fee.minor();
        self.paid_out += kept.minor() - fee.minor();
    }
}

impl Step {
    fn of(order_id: Uuid, kind: Kind, recorded: &Recorded) -> Self {
        Self {
            order_id,
            position: recorded.position,
            kind,
            amount: None,
            from_points: None,
            fee: None,
            to_seller: None,
            owed: None,
            cause: None,
            until: None,
            postings: Json(vec![]),
            recorded_at: recorded.recorded_at,
        }
    }

    /// With what a seller keeps of a price, and the fee on it.
    fn of_sale(self, kept: Money, fee: Money) -> Self {
        let (amount, fee) = (kept.minor(), fee.minor());
        Self { amount: Some(amount), fee: Some(fee), to_seller: Some(amount - fee), ..self }
    }
}

/// The money of an order. Who may see it, the reader decides.
pub async fn get(executor: impl PgExecutor<'_>, order: OrderId) -> Result<Option<OrderMoney>, sqlx::Error> {
    sqlx::query_as("select * from order_money.orders where order_id = $1").bind(order.0).fetch_optional(executor).await
}

/// What has happened to the money of an order, the oldest first; at most the last `limit` steps.
pub async fn steps(executor: impl PgExecutor<'_>, order: OrderId, limit: u32) -> Result<Vec<Step>, sqlx::Error> {
    let mut steps: Vec<Step> =
        sqlx::query_as("select * from order_money.steps where order_id = $1 order by position desc limit $2")
            .bind(order.0)
            .bind(i64::from(limit))
            .fetch_all(executor)
            .await?;
    steps.reverse();
    Ok(steps)
}

/// What an account is to an order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Party {
    /// Who buys, with an account or without.
    Buyer,
    /// Who sells.
    Seller,
}

impl OrderMoney {
    /// What an account is to it.
    pub fn party(&self, account: AccountId) -> Option<Party> {
        if self.buyer_id == account.0 {
            Some(Party::Buyer)
        } else {
            (self.seller_id == account.0).then_some(Party::Seller)
        }
    }
}
