//! What a guest orders, without an account: by card, or paid at the door.
//!
//! What is paid by card goes its way like everybody's. An order in cash has no escrow: `Placed → Confirmed → Shipped → Completed`, the last once the seller has brought it and
//! taken the money. What is not confirmed, sent or brought in time is called off: each has its last moment, all of them
//! frozen when it is ordered, so that nobody's goods and nobody's name are kept for an order that goes on for ever. That
//! something was sold, only a seller says who has brought it. A guest is somebody without an account, whom an id of
//! their own names in this one order; what they said of themselves is sealed with a key that lives while the order is
//! open, and for a time after its end that is longer if something was sold.

use chrono::TimeDelta;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{CancelCause, Error, Event, Placed, Stage, Terms, Witness};
use crate::Timestamp;
use crate::sealed::Sealed;

/// So long after a guest's order was completed, what the guest said of themselves is forgotten.
pub const GUEST_KNOWN_FOR: TimeDelta = TimeDelta::days(180);
/// So long after a guest's order was called off, what the guest said of themselves is forgotten.
pub const GUEST_KNOWN_IN_VAIN_FOR: TimeDelta = TimeDelta::days(7);
/// The most lines of a guest's order.
pub const MOST_GUEST_LINES: usize = 20;
/// The most pieces of a guest's order, all lines together.
pub const MOST_GUEST_PIECES: u32 = 20;

/// Orders that do not say by when they must be sent had so long after the time to confirm them.
const SHIPPED_WITHIN: TimeDelta = TimeDelta::days(14);
/// And those that do not say by when they must be brought, so long after that.
const DELIVERED_WITHIN: TimeDelta = TimeDelta::days(45);

/// How an order is paid. Part of the storage format.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Payment {
    /// Into its escrow.
    #[default]
    Escrow,
    /// In cash when it is delivered, without the marketplace, which charges nothing for it.
    CashOnDelivery {
        /// Called off then, unless the seller has confirmed it.
        confirm_by: Timestamp,
        /// Called off then, unless the seller has sent it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ship_by: Option<Timestamp>,
        /// Called off then, unless the seller says that it was brought.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        deliver_by: Option<Timestamp>,
    },
}

/// The last moments of an order in cash.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Deadlines {
    /// To confirm it.
    pub confirm_by: Timestamp,
    /// To send it.
    pub ship_by: Timestamp,
    /// To say that it was brought.
    pub deliver_by: Timestamp,
}

impl Payment {
    /// In cash, by these deadlines.
    pub fn in_cash(Deadlines { confirm_by, ship_by, deliver_by }: Deadlines) -> Self {
        Self::CashOnDelivery { confirm_by, ship_by: Some(ship_by), deliver_by: Some(deliver_by) }
    }

    /// When what is paid in cash is called off.
    pub fn deadlines(&self) -> Option<Deadlines> {
        match *self {
            Self::Escrow => None,
            Self::CashOnDelivery { confirm_by, ship_by, deliver_by } => {
                let ship_by = ship_by.unwrap_or(confirm_by + SHIPPED_WITHIN);
                let deliver_by = deliver_by.unwrap_or(ship_by + DELIVERED_WITHIN);
                Some(Deadlines { confirm_by, ship_by, deliver_by })
            }
        }
    }

    /// Whether the money goes through the marketplace.
    pub fn is_escrow(&self) -> bool {
        match self {
            Self::Escrow => true,
            Self::CashOnDelivery { .. } => false,
        }
    }
}

/// Somebody who buys without an account. Part of the storage format.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Guest {
    /// Name, phone and address for mail, as JSON.
    pub contact: Sealed<String>,
    /// How the seller asks whether they mean it.
    pub confirmation: Confirmation,
}

/// How a seller asks a guest. Part of the storage format.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Confirmation {
    /// By a message to their phone.
    Whatsapp,
    /// By a call.
    Phone,
    /// By mail.
    Email,
}

/// Refuses what a guest cannot order, and cash of anybody else.
pub(super) fn check(terms: &Terms) -> Result<(), Error> {
    let Some(guest) = &terms.guest else {
        return if terms.payment.is_escrow() { Ok(()) } else { Err(Error::CashIsForGuests) };
    };
    if !terms.payment.is_escrow() && !terms.delivery.is_physical() {
        return Err(Error::CashNeedsDelivery);
    }
    let mut sealed = [Some(&guest.contact), terms.ship_to.as_ref()].into_iter().flatten();
    if sealed.all(|field| field.of == terms.buyer) { Ok(()) } else { Err(Error::SealedForAnother) }
}

impl Placed {
    pub(super) fn confirm(&self, now: Timestamp) -> Result<Vec<Event>, Error> {
        match (self.terms.payment, self.stage) {
            (Payment::Escrow, _) => Err(Error::NeedsNoConfirmation),
            (Payment::CashOnDelivery { .. }, Stage::Confirmed) => Ok(vec![]),
            (Payment::CashOnDelivery { confirm_by, .. }, Stage::Placed) if now >= confirm_by => {
                Err(Error::ConfirmationOverdue { confirm_by })
            }
            (Payment::CashOnDelivery { .. }, _) => {
                self.expect(Stage::Placed)?;
                Ok(vec![Event::OrderConfirmed {}])
            }
        }
    }

    pub(super) fn lapse(&self, now: Timestamp) -> Result<Vec<Event>, Error> {
        let Some(Deadlines { confirm_by, ship_by, deliver_by }) = self.terms.payment.deadlines() else {
            return Ok(vec![]);
        };
        let (until, cause) = match self.stage {
            Stage::Placed => (confirm_by, CancelCause::NotConfirmed),
            Stage::Confirmed => (ship_by, CancelCause::NotShipped),
            Stage::Shipped => (deliver_by, CancelCause::NotDelivered),
            Stage::Paid | Stage::Delivered | Stage::Completed | Stage::Cancelled | Stage::Refunded => {
                return Ok(vec![]);
            }
        };
        if now < until { Err(Error::NotOverdue { until }) } else { Ok(self.called_off(cause, now)) }
    }

    /// Whoever brings it takes the money, and that is all.
    pub(super) fn hand_over(&self, by: Witness, now: Timestamp) -> Result<Vec<Event>, Error> {
        self.expect(Stage::Shipped)?;
        let guest = self.dismissed(now, GUEST_KNOWN_FOR);
        Ok([Event::OrderDelivered { by }, Event::OrderCompleted {}].into_iter().chain(guest).collect())
    }

    pub(super) fn forget_guest(&self, now: Timestamp) -> Result<Vec<Event>, Error> {
        if self.terms.guest.is_none() || self.guest_forgotten {
            return Ok(vec![]);
        }
        match self.forget_at {
            // From before ends said until when: the timer knows when that end was.
            None if self.stage.has_ended() => Ok(vec![Event::GuestForgotten {}]),
            None => Err(Error::WrongStage { status: self.stage, needed: Stage::Completed }),
            Some(forget_at) if now < forget_at => Err(Error::TooEarlyToForget { forget_at }),
            Some(_) => Ok(vec![Event::GuestForgotten {}]),
        }
    }

    /// What the end of the order means for its guest, who is known for so long after it.
    pub(super) fn dismissed(&self, now: Timestamp, known_for: TimeDelta) -> Option<Event> {
        self.terms.guest.as_ref().map(|_| Event::GuestDismissed { forget_at: now + known_for })
    }
}
