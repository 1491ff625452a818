//! The orders of one checkout, which are paid together or not at all.
//!
//! `Unplaced → AwaitingPayment → Paid | Expired`. Invariants: it is paid once, and only before its deadline; after the
//! deadline it expires and never comes back. An order may leave by its own cancellation; whoever pays, pays for those
//! that still wait.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::Timestamp;
use crate::aggregate::{Aggregate, event_versions};
use crate::ids::{AccountId, OrderGroupId, OrderId};

/// What is asked of a group of orders.
#[derive(Clone, Debug)]
pub enum Command {
    /// Come into being.
    Place {
        /// Who pays.
        buyer: AccountId,
        /// The orders, one per seller.
        orders: Vec<OrderId>,
        /// By when.
        pay_by: Timestamp,
    },
    /// Note that it is paid.
    Pay {
        /// The time of the decision.
        now: Timestamp,
    },
    /// Give it up, once its deadline has passed.
    Expire {
        /// The time of the decision.
        now: Timestamp,
    },
}

/// What happens to a group of orders. This is the storage format.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub enum Event {
    /// It came into being.
    OrderGroupPlaced {
        /// Who pays.
        buyer: AccountId,
        /// The orders, one per seller.
        orders: Vec<OrderId>,
        /// By when.
        pay_by: Timestamp,
    },
    /// It is paid.
    OrderGroupPaid {},
    /// Its deadline has passed.
    OrderGroupExpired {},
}

event_versions!(Event { OrderGroupPlaced = "1", OrderGroupPaid = "1", OrderGroupExpired = "1" });

/// Why a group of orders refuses, with the rule's numbers.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Error {
    /// There is no such group, or it is somebody else's.
    #[error("there is no such group of orders")]
    NotFound,
    /// One id, one group.
    #[error("the group of orders exists already")]
    AlreadyPlaced,
    /// It is paid once.
    #[error("this has been paid already")]
    AlreadyPaid,
    /// It can be paid only before its deadline.
    #[error("this had to be paid by {pay_by}")]
    PaymentOverdue {
        /// The deadline.
        pay_by: Timestamp,
    },
    /// It does not expire before its deadline.
    #[error("this may be paid until {pay_by}")]
    NotOverdue {
        /// The deadline.
        pay_by: Timestamp,
    },
}

/// A group of orders.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub enum OrderGroup {
    /// Never placed.
    #[default]
    Unplaced,
    /// To be paid by its deadline.
    AwaitingPayment(Placed),
    /// Paid.
    Paid(Placed),
    /// Not paid in time.
    Expired(Placed),
}

/// A group that came into being.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Placed {
    /// Who pays.
    pub buyer: AccountId,
    /// The orders, one per seller.
    pub orders: Vec<OrderId>,
    /// By when.
    pub pay_by: Timestamp,
}

impl OrderGroup {
    /// The group, if it ever came into being.
    pub fn placed(&self) -> Result<&Placed, Error> {
        match self {
            Self::Unplaced => Err(Error::NotFound),
            Self::AwaitingPayment(placed) | Self::Paid(placed) | Self::Expired(placed) => Ok(placed),
        }
    }
}

impl Aggregate for OrderGroup {
    const TYPE: &'static str = "order_group";
    type Id = OrderGroupId;
    type Command = Command;
    type Event = Event;
    type Error = Error;

    fn decide(&self, command: Command) -> Result<Vec<Event>, Error> {
        match (self, command) {
            (Self::Unplaced, Command::Place { buyer, orders, pay_by }) => {
                Ok(vec![Event::OrderGroupPlaced { buyer, orders, pay_by }])
            }
            (_, Command::Place { .. }) => Err(Error::AlreadyPlaced),
            (Self::Unplaced, Command::Pay { .. } | Command::Expire { .. }) => Err(Error::NotFound),
            (Self::AwaitingPayment(Placed { pay_by, .. }), Command::Pay { now }) if now < *pay_by => {
                Ok(vec![Event::OrderGroupPaid {}])
            }
            (
                Self::AwaitingPayment(Placed { pay_by, .. }) | Self::Expired(Placed { pay_by, .. }),
                Command::Pay { .. },
            ) => Err(Error::PaymentOverdue { pay_by: *pay_by }),
            (Self::Paid(_), Command::Pay { .. }) => Err(Error::AlreadyPaid),
            (Self::AwaitingPayment(Placed { pay_by, .. }), Command::Expire { now }) if now < *pay_by => {
                Err(Error::NotOverdue { pay_by: *pay_by })
            }
            (Self::AwaitingPayment(_), Command::Expire { .. }) => Ok(vec![Event::OrderGroupExpired {}]),
            (Self::Paid(_) | Self::Expired(_), Command::Expire { .. }) => Ok(vec![]),
        }
    }

    fn evolve(&mut self, event: &Event) {
        *self = match (std::mem::take(self), event) {
            (Self::Unplaced, Event::OrderGroupPlaced { buyer, orders, pay_by }) => {
                Self::AwaitingPayment(Placed { buyer: *buyer, orders: orders.clone(), pay_by: *pay_by })
            }
            (Self::AwaitingPayment(placed), Event::OrderGroupPaid {}) => Self::Paid(placed),
            (Self::AwaitingPayment(placed), Event::OrderGroupExpired {}) => Self::Expired(placed),
            // No decision leads here; a fold never fails.
            (state, Event::OrderGroupPlaced { .. } | Event::OrderGroupPaid {} | Event::OrderGroupExpired {}) => state,
        };
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use uuid::Uuid;

    use super::*;
    use crate::testing::{Given, given};

    fn pay_by() -> Timestamp {
        Timestamp::default() + TimeDelta::minutes(15)
    }

    fn placed() -> Given<OrderGroup> {
        let (buyer, orders) = (AccountId(Uuid::from_u128(1)), vec![OrderId(Uuid::from_u128(2))]);
        given::<OrderGroup>([Event::OrderGroupPlaced { buyer, orders, pay_by: pay_by() }])
    }

    #[test]
    fn it_is_paid_up_to_the_last_moment_before_its_deadline() {
        let before = pay_by() - TimeDelta::milliseconds(1);
        placed().when(Command::Pay { now: before }).then([Event::OrderGroupPaid {}]);
        placed().when(Command::Expire { now: before }).then_refused(Error::NotOverdue { pay_by: pay_by() });
        placed().when(Command::Pay { now: pay_by() }).then_refused(Error::PaymentOverdue { pay_by: pay_by() });
        placed().when(Command::Expire { now: pay_by() }).then([Event::OrderGroupExpired {}]);
    }

    #[test]
    fn what_is_paid_does_not_expire_and_what_has_expired_is_not_paid() {
        let paid = || placed().and(Command::Pay { now: Timestamp::default() });
        paid().when(Command::Expire { now: pay_by() }).then_nothing();
        paid().when(Command::Pay { now: Timestamp::default() }).then_refused(Error::AlreadyPaid);
        let expired = placed().and(Command::Expire { now: pay_by() });
        expired.when(Command::Pay { now: pay_by() }).then_refused(Error::PaymentOverdue { pay_by: pay_by() });
    }
}
