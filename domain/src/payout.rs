//! Money on its way out to somebody's bank, by the name that its provider is told.
//!
//! `Unknown → Sent → Paid → Returned`, or `Sent → Failed`. A wallet forgets what has ended, and a provider knows nothing of
//! wallets: so each withdrawal has a stream of its own, which goes on in the commits in which the wallet moves the money.
//! It tells whose money it is whenever the provider speaks of it, weeks later too, when a bank sends it back. What it
//! moves, the wallet's event of the same commit posts. Invariant: what was sent ends once, and what was paid comes back
//! once at most.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::aggregate::{Aggregate, event_versions};
use crate::ids::{WalletId, WithdrawalId};
use crate::money::Money;
use crate::wallet::PaymentMethod;

/// What is asked of a payout.
#[derive(Clone, Debug)]
pub enum Command {
    /// Be on its way.
    Send {
        /// Out of which wallet.
        wallet: WalletId,
        /// How much.
        amount: Money,
        /// Where to.
        to: PaymentMethod,
    },
    /// Note that it has arrived.
    Pay {},
    /// Note that it will not.
    Fail {},
    /// Note that it has come back after it had arrived.
    Return {},
}

/// What happens to a payout. This is the storage format.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub enum Event {
    /// It is on its way.
    PayoutSent {
        /// Out of which wallet.
        wallet: WalletId,
        /// How much.
        amount: Money,
        /// Where to.
        to: PaymentMethod,
    },
    /// It has arrived, as far as the provider knows.
    PayoutPaid {},
    /// It has not, and is back.
    PayoutFailed {},
    /// It has come back after it had arrived.
    PayoutReturned {},
}

event_versions!(Event { PayoutSent = "1", PayoutPaid = "1", PayoutFailed = "1", PayoutReturned = "1" });

/// Why a payout refuses.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Error {
    /// There is no such payout.
    #[error("there is no such payout")]
    NotFound,
    /// The name is taken by another payout.
    #[error("a payout of this name is there already")]
    NameTaken,
    /// It has ended in another way.
    #[error("the payout has ended in another way")]
    Ended,
}

/// A payout.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum Payout {
    /// None of this name.
    #[default]
    Unknown,
    /// On its way.
    Sent(Sending),
    /// Arrived.
    Paid(Sending),
    /// Back, without having arrived.
    Failed(Sending),
    /// Back, after it had arrived.
    Returned(Sending),
}

/// What is sent.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Sending {
    /// Out of which wallet.
    pub wallet: WalletId,
    /// How much.
    pub amount: Money,
    /// Where to.
    pub to: PaymentMethod,
}

impl Payout {
    /// What is or was sent.
    pub fn sending(&self) -> Result<&Sending, Error> {
        match self {
            Self::Unknown => Err(Error::NotFound),
            Self::Sent(sending) | Self::Paid(sending) | Self::Failed(sending) | Self::Returned(sending) => Ok(sending),
        }
    }
}

impl Aggregate for Payout {
    const TYPE: &'static str = "payout";
    type Id = WithdrawalId;
    type Command = Command;
    type Event = Event;
    type Error = Error;

    fn decide(&self, command: Command) -> Result<Vec<Event>, Error> {
        use Command as C;
        match (self, command) {
            (Self::Unknown, C::Send { wallet, amount, to }) => Ok(vec![Event::PayoutSent { wallet, amount, to }]),
            (Self::Unknown, C::Pay {} | C::Fail {} | C::Return {}) => Err(Error::NotFound),
            (Self::Sent(sending), C::Send { wallet, amount, to })
                if sending.wallet == wallet && sending.amount == amount && sending.to == to =>
            {
                Ok(vec![])
            }
            (_, C::Send { .. }) => Err(Error::NameTaken),
            (Self::Sent(_), C::Pay {}) => Ok(vec![Event::PayoutPaid {}]),
            (Self::Sent(_), C::Fail {}) => Ok(vec![Event::PayoutFailed {}]),
            (Self::Paid(_), C::Return {}) => Ok(vec![Event::PayoutReturned {}]),
            // Told again, or late: it was there before it came back.
            (Self::Paid(_) | Self::Returned(_), C::Pay {})
            | (Self::Failed(_), C::Fail {})
            | (Self::Returned(_), C::Fail {} | C::Return {}) => Ok(vec![]),
            (Self::Failed(_), C::Pay {} | C::Return {})
            | (Self::Paid(_), C::Fail {})
            | (Self::Sent(_), C::Return {}) => Err(Error::Ended),
        }
    }

    fn evolve(&mut self, event: &Event) {
        *self = match (std::mem::take(self), event) {
            (Self::Unknown, Event::PayoutSent { wallet, amount, to }) => {
                Self::Sent(Sending { wallet: *wallet, amount: *amount, to: to.clone() })
            }
            (Self::Sent(sending), Event::PayoutPaid {}) => Self::Paid(sending),
            (Self::Sent(sending), Event::PayoutFailed {}) => Self::Failed(sending),
            (Self::Paid(sending), Event::PayoutReturned {}) => Self::Returned(sending),
            // No decision leads here; a fold never fails.
            (
                state,
                Event::PayoutSent { .. } | Event::PayoutPaid {} | Event::PayoutFailed {} | Event::PayoutReturned {},
            ) => state,
        };
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::money::Currency;
    use crate::testing::{Given, given};

    fn sending() -> Sending {
        let to = PaymentMethod { provider: "sandbox".to_owned(), token: "ba_1".to_owned() };
        Sending { wallet: WalletId(Uuid::from_u128(1)), amount: Money::new(500, Currency::USD).unwrap(), to }
    }

    fn send() -> Command {
        let Sending { wallet, amount, to } = sending();
        Command::Send { wallet, amount, to }
    }

    fn sent() -> Given<Payout> {
        given([]).and(send())
    }

    #[test]
    fn what_is_sent_arrives_or_is_back_and_ends_once() {
        sent().when(Command::Pay {}).then([Event::PayoutPaid {}]);
        sent().when(Command::Fail {}).then([Event::PayoutFailed {}]);
        sent().and(Command::Pay {}).when(Command::Pay {}).then_nothing();
        sent().and(Command::Fail {}).when(Command::Fail {}).then_nothing();
        sent().and(Command::Pay {}).when(Command::Fail {}).then_refused(Error::Ended);
        sent().and(Command::Fail {}).when(Command::Pay {}).then_refused(Error::Ended);
    }

    #[test]
    fn what_has_arrived_comes_back_once() {
        sent().when(Command::Return {}).then_refused(Error::Ended);
        let paid = || sent().and(Command::Pay {});
        paid().when(Command::Return {}).then([Event::PayoutReturned {}]);
        let returned = || paid().and(Command::Return {});
        for told_again in [Command::Return {}, Command::Fail {}, Command::Pay {}] {
            returned().when(told_again).then_nothing();
        }
    }

    #[test]
    fn a_name_stands_for_one_payout() {
        sent().when(send()).then_nothing();
        let Sending { wallet, to, .. } = sending();
        let other = Command::Send { wallet, amount: Money::new(501, Currency::USD).unwrap(), to };
        sent().when(other).then_refused(Error::NameTaken);
        sent().and(Command::Pay {}).when(send()).then_refused(Error::NameTaken);
        given::<Payout>([]).when(Command::Pay {}).then_refused(Error::NotFound);
        assert_eq!(sent().and(Command::Pay {}).state().sending(), Ok(&sending()));
    }
}
