//! Money from outside: the interface to payment providers, and the process that asks them.
//!
//! A request is an event first; the process reads it from the log, asks the provider, and sends what the provider says
//! as a command with a key derived from the operation. A crash at any point repeats the question under the same
//! operation id, which the provider answers as before, and the report, which the key makes harmless. A provider that is
//! away or takes its time is asked again by a timer.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use domain::wallet::{Event, PaymentMethod, Wallet};
use domain::{Aggregate, Money, Timestamp, WalletId};
use eventstore::clock::Clock;
use eventstore::event::{DomainEvent, Metadata};
use eventstore::follower::{FollowError, Recorded};
use eventstore::sealing::PersonKeys;
use futures::future::BoxFuture;
use thiserror::Error;
use uuid::Uuid;

use crate::engine::{CommandError, CommandKey, Engine, Request};
use crate::process::{Process, failed};
use crate::wallets;

pub mod sandbox;
#[cfg(test)]
mod tests;

/// The name of the process, and of its checkpoint.
pub const NAME: &str = "payments";
/// How many questions to providers are under way at once.
const CONCURRENT: usize = 32;
/// How long a provider may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// A provider that could not be asked is asked again after so long.
const ASKED_AGAIN_AFTER: TimeDelta = TimeDelta::seconds(30);
/// The soonest that a provider is asked again.
const SHORTEST_DELAY: TimeDelta = TimeDelta::seconds(1);

/// What a provider is asked to move.
#[derive(Clone, Debug)]
pub struct Order {
    /// Names the movement: asking twice moves it once.
    pub operation: Uuid,
    /// How much.
    pub amount: Money,
    /// The provider's token for the payment method.
    pub token: String,
    /// The marketplace's time of the question.
    pub now: Timestamp,
    /// When the provider has asked to be asked again, if this is that second question.
    pub check_at: Option<Timestamp>,
}

/// What a provider says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// The money has moved.
    Succeeded {
        /// The provider's name for the movement.
        reference: String,
    },
    /// It will not move.
    Declined {
        /// Why, in words for the user.
        reason: String,
    },
    /// Not known yet.
    Pending {
        /// When to ask again.
        check_at: Timestamp,
    },
}

impl Outcome {
    /// Not asked again before `soonest`, whatever the provider wishes, and however long its answer was on its way.
    fn not_before(self, soonest: Timestamp) -> Self {
        match self {
            Self::Pending { check_at } => Self::Pending { check_at: check_at.max(soonest) },
            ended @ (Self::Succeeded { .. } | Self::Declined { .. }) => ended,
        }
    }
}

/// The provider could not be asked; the question is asked again.
#[derive(Debug, Error)]
#[error("the payment provider cannot be reached: {0}")]
pub struct ProviderUnreachable(pub String);

/// A payment provider. Every method may be called again for the same operation and then moves nothing again.
pub trait PaymentProvider: Send + Sync {
    /// The name in [`PaymentMethod::provider`].
    fn name(&self) -> &'static str;

    /// Whether a token names a payment method here; asked before a request is accepted.
    fn knows(&self, token: &str) -> bool;

    /// Brings money in.
    fn charge<'a>(&'a self, order: &'a Order) -> BoxFuture<'a, Result<Outcome, ProviderUnreachable>>;

    /// Sends money out.
    fn payout<'a>(&'a self, order: &'a Order) -> BoxFuture<'a, Result<Outcome, ProviderUnreachable>>;
}

/// The providers of this deployment, by name.
#[derive(Clone)]
pub struct Providers(Arc<HashMap<&'static str, Arc<dyn PaymentProvider>>>);

impl fmt::Debug for Providers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Providers {
    /// These providers.
    pub fn new(providers: impl IntoIterator<Item = Arc<dyn PaymentProvider>>) -> Self {
        Self(Arc::new(providers.into_iter().map(|provider| (provider.name(), provider)).collect()))
    }

    /// Whether a payment method can be used here.
    pub fn knows(&self, method: &PaymentMethod) -> bool {
        self.0.get(method.provider.as_str()).is_some_and(|provider| provider.knows(&method.token))
    }

    async fn ask(
        &self,
        direction: Direction,
        method: &PaymentMethod,
        order: &Order,
    ) -> Result<Outcome, ProviderUnreachable> {
        // Not a refusal: it may have moved the money before it was taken out of use.
        let Some(provider) = self.0.get(method.provider.as_str()) else {
            return Err(ProviderUnreachable(format!("`{}` is not in use here", method.provider)));
        };
        let asked = match direction {
            Direction::In => provider.charge(order),
            Direction::Out => provider.payout(order),
        };
        let outcome = tokio::time::timeout(PATIENCE, asked).await;
        outcome.unwrap_or_else(|_| Err(ProviderUnreachable(format!("no answer within {} s", PATIENCE.as_secs()))))
    }
}

/// Where money is to go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Direction {
    /// To us: a deposit.
    In,
    /// From us: a withdrawal.
    Out,
}

/// The process: asks providers what the log says is to be asked, and reports what they say.
#[derive(Clone, Debug)]
pub struct Payments {
    /// Where it reports.
    pub engine: Engine,
    /// Whom it asks.
    pub providers: Providers,
    /// The marketplace's clock.
    pub clock: Clock,
}

impl Process for Payments {
    const NAME: &'static str = NAME;
    const ABOUT: &'static [&'static str] = &[Wallet::TYPE];
    const AT_ONCE: usize = CONCURRENT;

    fn react<'a>(&'a self, recorded: &'a Recorded, _: &'a PersonKeys) -> BoxFuture<'a, Result<(), FollowError>> {
        Box::pin(self.react_to(recorded))
    }
}

impl Payments {
    async fn react_to(&self, recorded: &Recorded) -> Result<(), FollowError> {
        let DomainEvent::Wallet(wallet, event) = &recorded.event else { return Ok(()) };
        let cause = recorded.event_id.to_string();
        match event {
            Event::DepositRequested { deposit, amount, source, .. } => {
                let order = order(deposit.0, *amount, source, recorded.recorded_at);
                self.ask_and_report(Direction::In, *wallet, source, &order, &cause).await
            }
            Event::WithdrawalRequested { withdrawal, amount, destination, .. } => {
                let order = order(withdrawal.0, *amount, destination, recorded.recorded_at);
                self.ask_and_report(Direction::Out, *wallet, destination, &order, &cause).await
            }
            Event::WalletOpened { .. }
            | Event::DepositDelayed { .. }
            | Event::DepositSettled { .. }
            | Event::DepositFailed { .. }
            | Event::WithdrawalDelayed { .. }
            | Event::WithdrawalPaid { .. }
            | Event::WithdrawalFailed { .. }
            | Event::HoldPlaced { .. }
            | Event::HoldReleased { .. }
            | Event::PaymentMade { .. }
            | Event::SubscriptionPaid { .. }
            | Event::SaleReceived { .. }
            | Event::RefundReceived { .. }
            | Event::RefundGiven { .. }
            | Event::CommissionReceived { .. }
            | Event::CommissionGiven { .. }
            | Event::ReceivableRecovered { .. } => Ok(()),
        }
    }

    /// Asks again about something that was delayed until now.
    pub(crate) async fn check(
        &self,
        direction: Direction,
        wallet: WalletId,
        operation: Uuid,
        cause: &str,
    ) -> Result<(), FollowError> {
        let look = move |world: &mut crate::World<'_>| {
            let pending = match (world.get::<Wallet>(wallet)?, direction) {
                (Wallet::Open(balance), Direction::In) => {
                    balance.pending_deposit(domain::DepositId(operation)).cloned()
                }
                (Wallet::Open(balance), Direction::Out) => {
                    balance.pending_withdrawal(domain::WithdrawalId(operation)).cloned()
                }
                (Wallet::Unopened, _) => None,
            };
            Ok(pending)
        };
        let pending = self.engine.read(look).await.map_err(failed)?;
        let Some(pending) = pending else { return Ok(()) };
        let order =
            Order { check_at: pending.check_at, ..order(operation, pending.amount, &pending.method, self.clock.now()) };
        let outcome = self.providers.ask(direction, &pending.method, &order).await;
        let outcome = outcome.map_err(|error| FollowError::Command(error.to_string()))?;
        self.report(direction, wallet, operation, outcome, cause).await
    }

    /// Asks for the first time. A provider that cannot be asked now is asked again by a timer, and holds up no other.
    async fn ask_and_report(
        &self,
        direction: Direction,
        wallet: WalletId,
        method: &PaymentMethod,
        order: &Order,
        cause: &str,
    ) -> Result<(), FollowError> {
        let outcome = self.providers.ask(direction, method, order).await.unwrap_or_else(|error| {
            tracing::warn!(operation = %order.operation, %error, "asked again later");
            Outcome::Pending { check_at: self.clock.now() + ASKED_AGAIN_AFTER }
        });
        self.report(direction, wallet, order.operation, outcome, cause).await
    }

    /// Reports what a provider says. How it ends is reported once; that it takes longer, as often as it is said.
    async fn report(
        &self,
        direction: Direction,
        wallet: WalletId,
        operation: Uuid,
        outcome: Outcome,
        cause: &str,
    ) -> Result<(), FollowError> {
        let metadata = Metadata::by_process(NAME).with("causation", cause.to_owned());
        let request = match outcome {
            Outcome::Pending { .. } => Request::once(metadata),
            Outcome::Succeeded { .. } | Outcome::Declined { .. } => {
                Request::keyed(metadata, CommandKey::of_process(NAME, &operation.to_string(), "report"))
            }
        };
        let report = move |world: &mut crate::World<'_>| {
            let outcome = outcome.clone().not_before(world.now() + SHORTEST_DELAY);
            match direction {
                Direction::In => wallets::report_deposit(world, wallet, domain::DepositId(operation), outcome),
                Direction::Out => wallets::report_withdrawal(world, wallet, domain::WithdrawalId(operation), outcome),
            }
        };
        match self.engine.submit(request, report).await {
            Ok(_) => Ok(()),
            Err(CommandError::Refused { refusal, .. }) => {
                tracing::warn!(%operation, %refusal, "a provider's report came too late");
                Ok(())
            }
            Err(error) => Err(failed(error)),
        }
    }
}

fn order(operation: Uuid, amount: Money, method: &PaymentMethod, now: Timestamp) -> Order {
    Order { operation, amount, token: method.token.clone(), now, check_at: None }
}
