//! What the payer's bank takes back out of an escrow, until it has decided who is right.
//!
//! While it decides, nothing else moves: the clock that was running stops, nothing is released, refunded or resolved. Won
//! by us, the money is back and the escrow goes on where it was, with as much time as at the beginning; lost, what was
//! taken counts as gone back to the buyer, and the escrow goes on with what is left, or has ended.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Error, Event, Opened, Phase, RESOLVED_WITHIN, SHIPPED_WITHIN, next_reminder};
use crate::Timestamp;
use crate::ids::DisputeId;
use crate::ledger::{LedgerAccount, Posting};
use crate::money::Money;
use crate::order::DISPUTED_AFTER;

/// Where an escrow was when a part of it was charged back.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Station {
    /// It held the money.
    Funded,
    /// The buyer inspected what had arrived.
    Inspection,
    /// It waited for a decision of the staff.
    Disputed,
}

/// Where an escrow goes on. Part of the storage format.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Course {
    /// It holds the money.
    Funded {
        /// Refunded then, unless it is shipped; if it is on its way already, whether it has arrived is in dispute then.
        ship_by: Timestamp,
        /// Whether it is on its way already.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        sent: bool,
    },
    /// The buyer inspects what has arrived.
    Inspection {
        /// Released then.
        ends_at: Timestamp,
        /// When the buyer is reminded.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        remind_at: Option<Timestamp>,
    },
    /// It waits for a decision of the staff.
    Disputed {
        /// Refunded then, unless it is resolved.
        expires_at: Timestamp,
    },
}

impl Opened {
    pub(super) fn charge_back(&self, dispute: DisputeId, amount: Money) -> Result<Vec<Event>, Error> {
        if self.station().is_none() {
            return Err(self.wrong_status());
        }
        let provider = self.card.as_ref().map(|card| card.provider.clone()).ok_or_else(|| self.wrong_status())?;
        let amount = self.part(Some(amount))?;
        let postings = vec![Posting::new(self.account(), LedgerAccount::ProviderClearing(provider), amount)];
        Ok(vec![Event::EscrowChargedBack { dispute, amount, postings }])
    }

    pub(super) fn return_chargeback(
        &self,
        dispute: DisputeId,
        sent: bool,
        now: Timestamp,
    ) -> Result<Vec<Event>, Error> {
        let Some((amount, from)) = self.charged_back(dispute) else { return Ok(vec![]) };
        let provider = self.card.as_ref().map(|card| card.provider.clone()).ok_or_else(|| self.wrong_status())?;
        let postings = vec![Posting::new(LedgerAccount::ProviderClearing(provider), self.account(), amount)];
        let course = self.course_from(from, sent, now);
        Ok(vec![Event::ChargebackReturned { dispute, amount, course, postings }])
    }

    pub(super) fn settle_chargeback(
        &self,
        dispute: DisputeId,
        sent: bool,
        now: Timestamp,
    ) -> Result<Vec<Event>, Error> {
        let Some((amount, from)) = self.charged_back(dispute) else { return Ok(vec![]) };
        let left = self.remaining().minus(amount)?;
        let course = left.is_positive().then(|| self.course_from(from, sent, now));
        Ok(vec![Event::ChargebackSettled { dispute, amount, course }])
    }

    /// What can be taken back of it: what the card has paid of what is left.
    pub fn held(&self) -> Money {
        match self.station() {
            Some(_) => self.left_of_card(),
            None => Money::zero(self.refunded.currency()),
        }
    }

    /// What the card has paid and is not given back.
    pub fn left_of_card(&self) -> Money {
        let given = self.refunded.minus(self.refunded_from_points);
        let left = given.and_then(|given| self.terms.due().minus(given)).unwrap_or(self.remaining());
        left.min(self.remaining()).unwrap_or(left)
    }

    fn charged_back(&self, wanted: DisputeId) -> Option<(Money, Station)> {
        match self.phase {
            Phase::ChargedBack { dispute, amount, from } if dispute == wanted => Some((amount, from)),
            Phase::ChargedBack { .. }
            | Phase::AwaitingPayment
            | Phase::Funded { .. }
            | Phase::Inspection { .. }
            | Phase::Disputed { .. }
            | Phase::Voided
            | Phase::Released { .. }
            | Phase::Refunded
            | Phase::Split => None,
        }
    }

    pub(super) fn station(&self) -> Option<Station> {
        match self.phase {
            Phase::Funded { .. } => Some(Station::Funded),
            Phase::Inspection { .. } => Some(Station::Inspection),
            Phase::Disputed { .. } => Some(Station::Disputed),
            Phase::AwaitingPayment
            | Phase::ChargedBack { .. }
            | Phase::Voided
            | Phase::Released { .. }
            | Phase::Refunded
            | Phase::Split => None,
        }
    }

    fn course_from(&self, from: Station, sent: bool, now: Timestamp) -> Course {
        match from {
            Station::Funded if sent => Course::Funded { ship_by: now + DISPUTED_AFTER, sent },
            Station::Funded => Course::Funded { ship_by: now + SHIPPED_WITHIN, sent },
            Station::Inspection => {
                let ends_at = now + self.inspection();
                Course::Inspection { ends_at, remind_at: next_reminder(now, now, ends_at) }
            }
            Station::Disputed => Course::Disputed { expires_at: now + RESOLVED_WITHIN },
        }
    }

    pub(super) fn go_on(&mut self, course: Course) {
        self.phase = match course {
            Course::Funded { ship_by, .. } => Phase::Funded { ship_by },
            Course::Inspection { ends_at, remind_at } => {
                Phase::Inspection { began_at: ends_at - self.inspection(), ends_at, remind_at }
            }
            Course::Disputed { expires_at } => Phase::Disputed { expires_at },
        };
    }
}
