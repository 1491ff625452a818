//! What one buyer gets from one seller.
//!
//! `Unplaced → Placed → Paid → Shipped → Delivered`, and from any of them to one end: completed, cancelled or refunded.
//! What is digital is delivered without being shipped. The money is in the [`crate::escrow`] of the same id, which
//! moves in the same commits; here is what was bought, at which prices, and where it is. Invariants: prices, charges,
//! fee rates and the address are those of the purchase for ever; nothing is shipped before it is paid; what has ended
//! stays so.
//!
//! Guests, who have no account, pay by card like everybody, or in cash on delivery, which has no escrow: see [`Payment`]
//! and the file `cash` beside this one.

use chrono::TimeDelta;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::Timestamp;
use crate::aggregate::{Aggregate, event_versions};
use crate::fees::FeeLine;
use crate::ids::{AccountId, AuctionId, ListingId, OrderGroupId, OrderId};
use crate::listing::Delivery;
use crate::money::{Money, MoneyError};
use crate::sealed::Sealed;
use crate::stock::Sku;

mod cash;
#[cfg(test)]
mod tests;

pub use cash::{
    Confirmation, Deadlines, GUEST_KNOWN_FOR, GUEST_KNOWN_IN_VAIN_FOR, Guest, MOST_GUEST_LINES, MOST_GUEST_PIECES,
    Payment,
};

/// So long after shipping without word of a delivery the buyer is asked.
pub const ASKED_AFTER: TimeDelta = TimeDelta::days(30);
/// So long after shipping without word of a delivery a dispute opens by itself.
pub const DISPUTED_AFTER: TimeDelta = TimeDelta::days(45);

/// What is asked of an order.
#[derive(Clone, Debug)]
pub enum Command {
    /// Come into being.
    Place {
        /// What was agreed.
        terms: Terms,
    },
    /// Note that it is paid.
    Pay {},
    /// Confirm an order in cash: the guest was asked, and means it.
    Confirm {
        /// The time of the decision.
        now: Timestamp,
    },
    /// Give up what a guest has ordered and what was not confirmed, sent or brought in time.
    Lapse {
        /// The time of the decision.
        now: Timestamp,
    },
    /// Forget who the guest was.
    ForgetGuest {
        /// The time of the decision.
        now: Timestamp,
    },
    /// Note that it is on its way.
    Ship {
        /// Who brings it.
        carrier: String,
        /// The carrier's name for it.
        tracking: Option<String>,
        /// The time of the decision.
        now: Timestamp,
    },
    /// Ask the buyer whether it has arrived.
    AskForDelivery {
        /// The time of the decision.
        now: Timestamp,
    },
    /// Note that it has arrived.
    Deliver {
        /// Who says so.
        by: Witness,
        /// The time of the decision.
        now: Timestamp,
    },
    /// Note that its money is with the seller.
    Complete {
        /// The time of the decision.
        now: Timestamp,
    },
    /// Call it off.
    Cancel {
        /// Why.
        cause: CancelCause,
        /// The time of the decision.
        now: Timestamp,
    },
    /// Note that all its money went back.
    Refund {
        /// The time of the decision.
        now: Timestamp,
    },
}

/// What buyer and seller agreed on, frozen at the purchase. Part of the storage format.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    /// The orders that are paid together with it.
    pub group: OrderGroupId,
    /// Who buys.
    pub buyer: AccountId,
    /// Who sells.
    pub seller: AccountId,
    /// How it came about.
    pub origin: Origin,
    /// What is bought.
    pub lines: Vec<Line>,
    /// How it reaches its buyer.
    pub delivery: Delivery,
    /// Where to send it, as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ship_to: Option<Sealed<String>>,
    /// How it is paid.
    #[serde(default, skip_serializing_if = "Payment::is_escrow")]
    pub payment: Payment,
    /// Who buys, if it is somebody without an account: `buyer` then names the guest of this one order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guest: Option<Guest>,
}

/// How an order came about. Part of the storage format.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Out of a cart.
    Checkout,
    /// By a guest at a store.
    Storefront,
    /// By winning an auction.
    AuctionWon(AuctionId),
    /// By buying out of an auction at once.
    BoughtNow(AuctionId),
    /// By taking what the winner of an auction did not pay.
    SecondChance(AuctionId),
}

impl Origin {
    /// Whether the buyer is bound to it: not paying counts as a violation.
    pub fn is_binding(self) -> bool {
        match self {
            // Nobody has to take a second chance, nor is anybody punished for having taken one.
            Self::Checkout | Self::Storefront | Self::SecondChance(_) => false,
            Self::AuctionWon(_) | Self::BoughtNow(_) => true,
        }
    }

    /// The auction that it came out of. Its one piece is not counted as stock.
    pub fn auction(self) -> Option<AuctionId> {
        match self {
            Self::Checkout | Self::Storefront => None,
            Self::AuctionWon(auction) | Self::BoughtNow(auction) | Self::SecondChance(auction) => Some(auction),
        }
    }
}

/// A number of equal pieces. Part of the storage format.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// Of which listing.
    pub listing: ListingId,
    /// In which form.
    pub sku: Sku,
    /// What it is, in a few words.
    pub title: String,
    /// How many, at least one.
    pub quantity: u32,
    /// The price of a piece.
    pub unit_price: Money,
    /// What sending all of them costs.
    pub shipping: Money,
    /// The marketplace's share, in basis points.
    pub fee_bps: u32,
}

impl Line {
    /// What the buyer pays for it: price × quantity + shipping.
    pub fn gross(&self) -> Result<Money, MoneyError> {
        self.unit_price.times(self.quantity)?.plus(self.shipping)
    }

    /// The line as fees see it.
    pub fn fee_line(&self) -> Result<FeeLine, MoneyError> {
        Ok(FeeLine { gross: self.gross()?, fee_bps: self.fee_bps })
    }
}

/// Who says that something has arrived. Part of the storage format.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Witness {
    /// The buyer.
    Buyer,
    /// The seller, of digital goods and where they take the money at the door.
    Seller,
    /// Staff.
    Staff(AccountId),
}

/// Why an order was called off. Part of the storage format.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CancelCause {
    /// The buyer changed their mind.
    Buyer {
        /// In the buyer's words.
        reason: String,
    },
    /// The seller cannot or will not sell.
    Seller {
        /// In the seller's words.
        reason: String,
    },
    /// Staff decided so.
    Staff {
        /// Who.
        by: AccountId,
        /// In their words.
        reason: String,
    },
    /// It was not paid in time.
    NotPaid,
    /// It was not confirmed in time.
    NotConfirmed,
    /// It was not shipped in time.
    NotShipped,
    /// In time nobody has said that it was brought.
    NotDelivered,
}

impl CancelCause {
    /// Whether it is the buyer who calls it off.
    fn is_of_buyer(&self) -> bool {
        match self {
            Self::Buyer { .. } => true,
            Self::Seller { .. }
            | Self::Staff { .. }
            | Self::NotPaid
            | Self::NotConfirmed
            | Self::NotShipped
            | Self::NotDelivered => false,
        }
    }
}

/// What happens to an order. This is the storage format.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub enum Event {
    /// It came into being.
    OrderPlaced {
        /// What was agreed.
        terms: Terms,
    },
    /// It is paid.
    OrderPaid {},
    /// Its seller has asked the guest, who means it.
    OrderConfirmed {},
    /// The order has ended, and needs its guest no more.
    GuestDismissed {
        /// Who they were is forgotten then.
        forget_at: Timestamp,
    },
    /// Who the guest was is forgotten.
    GuestForgotten {},
    /// It is on its way.
    OrderShipped {
        /// Who brings it.
        carrier: String,
        /// The carrier's name for it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tracking: Option<String>,
        /// When the buyer is asked, if nobody has said that it arrived; a guest who pays at the door is not.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ask_at: Option<Timestamp>,
        /// When a dispute opens, if nobody has said so by then either.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        dispute_at: Option<Timestamp>,
    },
    /// The buyer was asked whether it has arrived.
    DeliveryQuestioned {},
    /// It has arrived.
    OrderDelivered {
        /// Who says so.
        by: Witness,
    },
    /// Its money is with the seller.
    OrderCompleted {},
    /// It was called off.
    OrderCancelled {
        /// Why.
        cause: CancelCause,
    },
    /// All its money went back.
    OrderRefunded {},
}

event_versions!(Event {
    OrderPlaced = "3" | "2" | "1",
    OrderPaid = "1",
    OrderConfirmed = "1",
    GuestDismissed = "1",
    GuestForgotten = "1",
    OrderShipped = "2" | "1",
    DeliveryQuestioned = "1",
    OrderDelivered = "1",
    OrderCompleted = "1",
    OrderCancelled = "3" | "2" | "1",
    OrderRefunded = "1",
});

/// Why an order refuses, with the rule's numbers.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Error {
    /// There is no such order, or it is somebody else's.
    #[error("there is no such order")]
    NotFound,
    /// One id, one order.
    #[error("the order exists already")]
    AlreadyPlaced,
    /// An order has lines, and not too many.
    #[error("an order has 1 to {maximum} lines; this one has {offered}")]
    LinesOutOfRange {
        /// The most.
        maximum: usize,
        /// How many there are.
        offered: usize,
    },
    /// A line has pieces, and not too many.
    #[error("a line has 1 to {maximum} pieces; this one has {offered}")]
    QuantityOutOfRange {
        /// The most.
        maximum: u32,
        /// How many there are.
        offered: u32,
    },
    /// One checkout, one currency.
    #[error("a checkout is in one currency, not in {first} and {other}")]
    SeveralCurrencies {
        /// The currency of the first line.
        first: crate::Currency,
        /// That of another.
        other: crate::Currency,
    },
    /// Nobody buys from themselves.
    #[error("a seller cannot buy their own item")]
    OwnItem,
    /// This is for the other side.
    #[error("this is for the {} of the order", .needed.name())]
    WrongParty {
        /// Who may do it.
        needed: Role,
    },
    /// It is not where it would have to be.
    #[error("the order is {status} and would have to be {needed}")]
    WrongStage {
        /// Where it is.
        status: Stage,
        /// Where it would have to be.
        needed: Stage,
    },
    /// What is digital is not shipped.
    #[error("the order is digital and needs no shipping")]
    NeedsNoShipping,
    /// What is digital is not handed over for cash.
    #[error("what is digital cannot be paid on delivery")]
    CashNeedsDelivery,
    /// What is paid in cash is a guest's.
    #[error("only guests pay on delivery")]
    CashIsForGuests,
    /// The store wants another payment.
    #[error("this store takes no cash on delivery")]
    NoCash,
    /// The store wants another payment.
    #[error("this store takes no cards of guests")]
    NoCard,
    /// Nobody sells under this name.
    #[error("there is no such store")]
    NoStore,
    /// A field was sealed with somebody else's key, and would be forgotten with the wrong person.
    #[error("a field of the order is sealed for somebody else")]
    SealedForAnother,
    /// Only what is paid in cash has to be confirmed.
    #[error("this order is paid through escrow, and needs no confirmation")]
    NeedsNoConfirmation,
    /// The money of this order is between its seller and the guest.
    #[error("this order is paid in cash on delivery")]
    PaidInCash,
    /// It was not confirmed in time.
    #[error("this had to be confirmed by {confirm_by}")]
    ConfirmationOverdue {
        /// The deadline.
        confirm_by: Timestamp,
    },
    /// There is still time for what comes next: to confirm it, to send it or to bring it.
    #[error("there is time for this until {until}")]
    NotOverdue {
        /// The deadline.
        until: Timestamp,
    },
    /// The seller may still have to ask the guest something.
    #[error("who the guest is is kept until {forget_at}")]
    TooEarlyToForget {
        /// Until when.
        forget_at: Timestamp,
    },
    /// A seller cannot say that what was shipped has arrived.
    #[error("only the buyer or staff can say that something shipped has arrived")]
    SellerIsNoWitness,
    /// Whoever wins an auction is bound to buy.
    #[error("an auction win is binding: only the seller or staff can call it off")]
    Binding,
    /// What is on its way is not called off, but refunded.
    #[error("the order is {status}: it can be refunded or disputed, not cancelled")]
    TooLateToCancel {
        /// Where it is.
        status: Stage,
    },
    /// It is not yet time to ask.
    #[error("the buyer is asked at {ask_at}")]
    TooEarlyToAsk {
        /// When.
        ask_at: Timestamp,
    },
    /// What was shipped may still arrive.
    #[error("whether it has arrived is in dispute from {dispute_at} on")]
    TooEarlyToDispute {
        /// When.
        dispute_at: Timestamp,
    },
}

/// What somebody is to an order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    /// Who buys.
    Buyer,
    /// Who sells.
    Seller,
    /// Staff, and neither of the two.
    Staff,
}

impl Role {
    /// The name in JSON and in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Buyer => "buyer",
            Self::Seller => "seller",
            Self::Staff => "staff",
        }
    }
}

/// Where an order is. Part of the storage format of snapshots and of refusals.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
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
    /// Its money is with the seller.
    Completed,
    /// Called off.
    Cancelled,
    /// Its money is with the buyer.
    Refunded,
}

impl Stage {
    /// The name in JSON and in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Placed => "placed",
            Self::Paid => "paid",
            Self::Confirmed => "confirmed",
            Self::Shipped => "shipped",
            Self::Delivered => "delivered",
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
            Self::Refunded => "refunded",
        }
    }

    /// Whether nothing more happens to the goods.
    pub fn has_ended(self) -> bool {
        match self {
            Self::Placed | Self::Paid | Self::Confirmed | Self::Shipped | Self::Delivered => false,
            Self::Completed | Self::Cancelled | Self::Refunded => true,
        }
    }
}

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// An order.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[expect(clippy::large_enum_variant, reason = "hardly any order was never placed")]
pub enum Order {
    /// Never placed.
    #[default]
    Unplaced,
    /// Placed, and what has become of it.
    Placed(Placed),
}

/// An order that came into being.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Placed {
    /// What was agreed.
    pub terms: Terms,
    /// Where it is.
    pub stage: Stage,
    /// When the buyer is asked whether it has arrived, if it was shipped and the buyer was not asked yet.
    pub ask_at: Option<Timestamp>,
    /// When a dispute opens by itself, if it was shipped.
    pub dispute_at: Option<Timestamp>,
    /// When it is forgotten who the guest was, if the order has ended.
    pub forget_at: Option<Timestamp>,
    /// Whether it is forgotten who the guest was.
    pub guest_forgotten: bool,
}

/// The most lines of one order.
pub const MOST_LINES: usize = 100;
/// The most pieces of one line.
pub const MOST_QUANTITY: u32 = 10_000;

impl Order {
    /// The order, if it ever came into being.
    pub fn placed(&self) -> Result<&Placed, Error> {
        match self {
            Self::Unplaced => Err(Error::NotFound),
            Self::Placed(placed) => Ok(placed),
        }
    }
}

impl Aggregate for Order {
    const TYPE: &'static str = "order";
    type Id = OrderId;
    type Command = Command;
    type Event = Event;
    type Error = Error;

    fn decide(&self, command: Command) -> Result<Vec<Event>, Error> {
        match (self, command) {
            (Self::Unplaced, Command::Place { terms }) => place(terms),
            (Self::Placed(_), Command::Place { .. }) => Err(Error::AlreadyPlaced),
            (Self::Unplaced, _) => Err(Error::NotFound),
            (Self::Placed(order), command) => order.decide(command),
        }
    }

    fn evolve(&mut self, event: &Event) {
        match (&mut *self, event) {
            (Self::Unplaced, Event::OrderPlaced { terms }) => {
                let terms = terms.clone();
                *self = Self::Placed(Placed {
                    terms,
                    stage: Stage::Placed,
                    ask_at: None,
                    dispute_at: None,
                    forget_at: None,
                    guest_forgotten: false,
                });
            }
            (Self::Placed(order), event) => order.evolve(event),
            // No decision leads here; a fold never fails.
            (Self::Unplaced, _) => {}
        }
    }
}

fn place(terms: Terms) -> Result<Vec<Event>, Error> {
    if terms.buyer == terms.seller {
        return Err(Error::OwnItem);
    }
    cash::check(&terms)?;
    let (offered, maximum) = (terms.lines.len(), if terms.guest.is_some() { MOST_GUEST_LINES } else { MOST_LINES });
    if !(1..=maximum).contains(&offered) {
        return Err(Error::LinesOutOfRange { maximum, offered });
    }
    for line in &terms.lines {
        if !(1..=MOST_QUANTITY).contains(&line.quantity) {
            return Err(Error::QuantityOutOfRange { maximum: MOST_QUANTITY, offered: line.quantity });
        }
        let (first, other) = (terms.lines[0].unit_price.currency(), line.unit_price.currency());
        if first != other {
            return Err(Error::SeveralCurrencies { first, other });
        }
    }
    let pieces = terms.lines.iter().map(|line| line.quantity).sum();
    if terms.guest.is_some() && pieces > MOST_GUEST_PIECES {
        return Err(Error::QuantityOutOfRange { maximum: MOST_GUEST_PIECES, offered: pieces });
    }
    Ok(vec![Event::OrderPlaced { terms }])
}

impl Placed {
    fn decide(&self, command: Command) -> Result<Vec<Event>, Error> {
        match command {
            // Answered above: it is there already.
            Command::Place { .. } => Err(Error::AlreadyPlaced),
            Command::Pay {} | Command::Refund { .. } if !self.terms.payment.is_escrow() => Err(Error::PaidInCash),
            Command::Pay {} => {
                self.expect(Stage::Placed)?;
                Ok(vec![Event::OrderPaid {}])
            }
            Command::Confirm { now } => self.confirm(now),
            Command::Lapse { now } => self.lapse(now),
            Command::ForgetGuest { now } => self.forget_guest(now),
            Command::Ship { carrier, tracking, now } => self.ship(carrier, tracking, now),
            Command::AskForDelivery { now } => match (self.stage, self.ask_at) {
                (Stage::Shipped, Some(ask_at)) if now < ask_at => Err(Error::TooEarlyToAsk { ask_at }),
                (Stage::Shipped, Some(_)) => Ok(vec![Event::DeliveryQuestioned {}]),
                _ => Ok(vec![]),
            },
            Command::Deliver { by, now } => self.deliver(by, now),
            // Where the goods are does not matter: staff may decide a dispute for the seller before a delivery.
            Command::Complete { now } => match self.stage {
                Stage::Paid | Stage::Shipped | Stage::Delivered => {
                    Ok(self.ended(Event::OrderCompleted {}, now, GUEST_KNOWN_FOR))
                }
                Stage::Completed => Ok(vec![]),
                status @ (Stage::Placed | Stage::Confirmed | Stage::Cancelled | Stage::Refunded) => {
                    Err(Error::WrongStage { status, needed: Stage::Delivered })
                }
            },
            Command::Cancel { cause, now } => self.cancel(cause, now),
            Command::Refund { now } => match self.stage {
                Stage::Placed | Stage::Confirmed | Stage::Cancelled => self.expect(Stage::Paid).map(|()| vec![]),
                Stage::Refunded => Ok(vec![]),
                Stage::Paid | Stage::Shipped | Stage::Delivered | Stage::Completed => {
                    Ok(self.ended(Event::OrderRefunded {}, now, GUEST_KNOWN_FOR))
                }
            },
        }
    }

    fn evolve(&mut self, event: &Event) {
        match event {
            Event::OrderPlaced { .. } => {}
            Event::OrderPaid {} => self.stage = Stage::Paid,
            Event::OrderConfirmed {} => self.stage = Stage::Confirmed,
            Event::GuestDismissed { forget_at } => self.forget_at = Some(*forget_at),
            Event::GuestForgotten {} => self.guest_forgotten = true,
            Event::OrderShipped { ask_at, dispute_at, .. } => {
                self.stage = Stage::Shipped;
                (self.ask_at, self.dispute_at) = (*ask_at, *dispute_at);
            }
            Event::DeliveryQuestioned {} => self.ask_at = None,
            Event::OrderDelivered { .. } => self.stage = Stage::Delivered,
            Event::OrderCompleted {} => self.stage = Stage::Completed,
            Event::OrderCancelled { .. } => self.stage = Stage::Cancelled,
            Event::OrderRefunded {} => self.stage = Stage::Refunded,
        }
    }

    fn expect(&self, needed: Stage) -> Result<(), Error> {
        let status = self.stage;
        if status == needed { Ok(()) } else { Err(Error::WrongStage { status, needed }) }
    }

    fn ship(&self, carrier: String, tracking: Option<String>, now: Timestamp) -> Result<Vec<Event>, Error> {
        if !self.terms.delivery.is_physical() {
            return Err(Error::NeedsNoShipping);
        }
        let (needed, ask_at, dispute_at) = match self.terms.payment {
            Payment::Escrow => (Stage::Paid, Some(now + ASKED_AFTER), Some(now + DISPUTED_AFTER)),
            // Whoever pays at the door has nothing to dispute, and nobody to ask.
            Payment::CashOnDelivery { .. } => (Stage::Confirmed, None, None),
        };
        self.expect(needed)?;
        Ok(vec![Event::OrderShipped { carrier, tracking, ask_at, dispute_at }])
    }

    fn called_off(&self, cause: CancelCause, now: Timestamp) -> Vec<Event> {
        // What was paid may still be disputed.
        let known_for = if self.stage == Stage::Paid { GUEST_KNOWN_FOR } else { GUEST_KNOWN_IN_VAIN_FOR };
        self.ended(Event::OrderCancelled { cause }, now, known_for)
    }

    fn ended(&self, end: Event, now: Timestamp, known_for: TimeDelta) -> Vec<Event> {
        [end].into_iter().chain(self.dismissed(now, known_for)).collect()
    }

    fn deliver(&self, by: Witness, now: Timestamp) -> Result<Vec<Event>, Error> {
        if !self.terms.payment.is_escrow() {
            return self.hand_over(by, now);
        }
        if self.terms.delivery.is_physical() {
            if by == Witness::Seller {
                return Err(Error::SellerIsNoWitness);
            }
            self.expect(Stage::Shipped)?;
        } else {
            self.expect(Stage::Paid)?;
        }
        Ok(vec![Event::OrderDelivered { by }])
    }

    fn cancel(&self, cause: CancelCause, now: Timestamp) -> Result<Vec<Event>, Error> {
        match self.stage {
            Stage::Placed | Stage::Paid if cause.is_of_buyer() && self.terms.origin.is_binding() => Err(Error::Binding),
            Stage::Placed | Stage::Paid | Stage::Confirmed => Ok(self.called_off(cause, now)),
            // What nobody wanted at the door comes back.
            Stage::Shipped if !self.terms.payment.is_escrow() => Ok(self.called_off(cause, now)),
            Stage::Cancelled => Ok(vec![]),
            status @ (Stage::Shipped | Stage::Delivered | Stage::Completed | Stage::Refunded) => {
                Err(Error::TooLateToCancel { status })
            }
        }
    }
}
