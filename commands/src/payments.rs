//! Money from outside: the interface to payment providers, and the process that asks them.
//!
//! A request is an event first; the process reads it from the log, asks the provider, and sends what the provider says
//! as a command. A crash at any point repeats the question under the same operation id, which the provider answers as
//! before, and the report, which is decided on what is known by then and so is harmless. A provider that is away or takes
//! its time is asked again by a timer. What a provider says by itself, it says by webhooks: see [`notices`].

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use domain::charge::{self, Phase, Refunding, Requested};
use domain::merchant::Merchant;
use domain::wallet::{self, PaymentMethod, Wallet};
use domain::{AccountId, Aggregate, ChargeId, MerchantId, RefundId, WalletId, WithdrawalId};
use eventstore::clock::Clock;
use eventstore::event::{DomainEvent, Metadata};
use eventstore::follower::{FollowError, Recorded};
use eventstore::sealing::PersonKeys;
use futures::future::BoxFuture;
use uuid::Uuid;

use crate::charges;
use crate::engine::{Accepted, CommandError, CommandKey, Engine, Halt, Request, World};
use crate::payouts;
use crate::process::{Process, failed};

pub mod notices;
pub mod provider;
pub mod sandbox;
pub mod signature;
pub mod stripe;
#[cfg(test)]
mod tests;

pub use provider::{
    Action, Asked, BadWebhook, Charge, Headers, Keeping, Link, MerchantStatus, Notice, Onboarding, Outcome,
    PaymentProvider, Payout, ProviderUnreachable, Record, RecordKind, Refund, Secret, What,
};

/// The name of the process, and of its checkpoint.
pub const NAME: &str = "payments";
/// How many questions to providers are under way at once.
pub(crate) const CONCURRENT: usize = 32;
/// How long a provider may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// A provider that could not be asked is asked again after so long.
const ASKED_AGAIN_AFTER: TimeDelta = TimeDelta::seconds(30);

/// The providers of this deployment. The first that knows a token is asked about it.
#[derive(Clone)]
pub struct Providers(Arc<[Arc<dyn PaymentProvider>]>);

impl fmt::Debug for Providers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.iter().map(|provider| provider.name())).finish()
    }
}

impl Providers {
    /// These providers, the preferred one first.
    pub fn new(providers: impl IntoIterator<Item = Arc<dyn PaymentProvider>>) -> Self {
        Self(providers.into_iter().collect())
    }

    /// A provider by its name.
    pub fn named(&self, name: &str) -> Option<&Arc<dyn PaymentProvider>> {
        self.0.iter().find(|provider| provider.name() == name)
    }

    /// The provider that is preferred, if there is any.
    pub fn preferred(&self) -> Option<&Arc<dyn PaymentProvider>> {
        self.0.first()
    }

    /// The payment method that a token names, if it names one here.
    pub fn method(&self, token: &str) -> Option<PaymentMethod> {
        let provider = self.0.iter().find(|provider| provider.knows(token))?;
        Some(PaymentMethod { provider: provider.name().to_owned(), token: token.to_owned() })
    }

    /// Brings money in.
    pub async fn charge(&self, provider: &str, charge: &Charge) -> Result<Outcome, ProviderUnreachable> {
        patiently(self.in_use(provider)?.charge(charge)).await
    }

    /// Sends money back to where it was charged.
    pub async fn refund(&self, provider: &str, refund: &Refund) -> Result<Outcome, ProviderUnreachable> {
        patiently(self.in_use(provider)?.refund(refund)).await
    }

    /// Sends money out.
    pub async fn payout(&self, provider: &str, payout: &Payout) -> Result<Outcome, ProviderUnreachable> {
        patiently(self.in_use(provider)?.payout(payout)).await
    }

    /// Makes a payment method one that can be charged more than once.
    pub async fn keep(&self, owner: AccountId, method: &PaymentMethod) -> Result<Keeping, ProviderUnreachable> {
        patiently(self.in_use(&method.provider)?.keep(owner, &method.token)).await
    }

    /// Looks at what a message of a provider is about before it is taken in.
    async fn complete(&self, provider: &str, notice: Notice) -> Result<Notice, ProviderUnreachable> {
        patiently(self.in_use(provider)?.complete(notice)).await
    }

    /// Begins or continues to make a merchant of a seller.
    pub async fn onboard(&self, provider: &str, onboarding: &Onboarding) -> Result<Link, ProviderUnreachable> {
        patiently(self.in_use(provider)?.onboard(onboarding)).await
    }

    /// How far a merchant is.
    pub async fn merchant(&self, provider: &str, reference: &str) -> Result<MerchantStatus, ProviderUnreachable> {
        patiently(self.in_use(provider)?.merchant(reference)).await
    }

    /// Not there is not a refusal: it may have moved the money before it was taken out of use.
    fn in_use(&self, provider: &str) -> Result<&Arc<dyn PaymentProvider>, ProviderUnreachable> {
        let missing = || ProviderUnreachable(format!("`{provider}` is not in use here"));
        self.named(provider).ok_or_else(missing)
    }
}

/// Waits for a provider, and not for ever.
async fn patiently<T>(asked: Asked<'_, T>) -> Result<T, ProviderUnreachable> {
    let answer = tokio::time::timeout(PATIENCE, asked).await;
    answer.unwrap_or_else(|_| Err(ProviderUnreachable(format!("no answer within {} s", PATIENCE.as_secs()))))
}

/// What a provider is asked again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Question {
    /// Whether a charge has succeeded.
    Charge,
    /// Whether a refund has arrived.
    Refund,
    /// Whether a withdrawal has.
    Withdrawal,
    /// How far a merchant is.
    Merchant,
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
    const ABOUT: &'static [&'static str] = &[charge::Charge::TYPE, Wallet::TYPE];
    const AT_ONCE: usize = CONCURRENT;

    fn react<'a>(&'a self, recorded: &'a Recorded, _: &'a PersonKeys) -> BoxFuture<'a, Result<(), FollowError>> {
        Box::pin(self.react_to(recorded))
    }
}

impl Payments {
    async fn react_to(&self, recorded: &Recorded) -> Result<(), FollowError> {
        let cause = recorded.event_id.to_string();
        match &recorded.event {
            DomainEvent::Charge(charge, event) => self.react_to_charge(*charge, event, &cause).await,
            DomainEvent::Wallet(wallet, event) => self.react_to_wallet(*wallet, event, &cause).await,
            _ => Ok(()),
        }
    }

    async fn react_to_charge(&self, charge: ChargeId, event: &charge::Event, cause: &str) -> Result<(), FollowError> {
        use charge::Event as E;
        match event {
            E::ChargeRequested { .. } => self.begin_charge(charge, cause).await,
            E::ChargeRefundRequested { refund, .. } | E::ChargeRefundRetried { refund, .. } => {
                self.begin_refund(charge, *refund, cause).await
            }
            E::ChargeSucceeded { fee, .. } => {
                if fee.is_none() {
                    self.look_for_fee(charge, cause).await?;
                }
                self.follow_charge(charge).await
            }
            E::ChargeDelayed { .. }
            | E::ChargeActionRequired { .. }
            | E::ChargeFailed { .. }
            | E::ProviderFeeCharged { .. }
            | E::ChargeRefundDelayed { .. }
            | E::ChargeRefunded { .. }
            | E::ChargeRefundFailed { .. }
            | E::ChargeDisputed { .. }
            | E::ChargeDisputeWon { .. }
            | E::ChargeDisputeLost { .. } => Ok(()),
        }
    }

    async fn react_to_wallet(&self, wallet: WalletId, event: &wallet::Event, cause: &str) -> Result<(), FollowError> {
        use wallet::Event as E;
        match event {
            E::WithdrawalRequested { withdrawal, .. } => self.begin_withdrawal(wallet, *withdrawal, cause).await,
            E::WalletOpened { .. }
            | E::DepositRequested { .. }
            | E::DepositDelayed { .. }
            | E::DepositSettled { .. }
            | E::DepositFailed { .. }
            | E::WithdrawalDelayed { .. }
            | E::WithdrawalPaid { .. }
            | E::WithdrawalFailed { .. }
            | E::WithdrawalReturned { .. }
            | E::HoldPlaced { .. }
            | E::HoldReleased { .. }
            | E::PaymentMade { .. }
            | E::SubscriptionPaid { .. }
            | E::SaleReceived { .. }
            | E::RefundReceived { .. }
            | E::RefundGiven { .. }
            | E::CommissionReceived { .. }
            | E::CommissionGiven { .. }
            | E::ReceivableRecovered { .. }
            | E::ChargebackGiven { .. }
            | E::ChargebackRegained { .. } => Ok(()),
        }
    }

    /// Asks again about something that was delayed until now.
    pub(crate) async fn check(
        &self,
        question: Question,
        aggregate: Uuid,
        subject: Uuid,
        cause: &str,
    ) -> Result<(), FollowError> {
        let unreachable = |error: ProviderUnreachable| FollowError::Command(error.to_string());
        match question {
            Question::Charge => {
                let Some(asked) = self.open_charge(ChargeId(aggregate)).await? else { return Ok(()) };
                let outcome = self.ask_charge(&asked).await.map_err(unreachable)?;
                self.report_charge(&asked, outcome, cause).await
            }
            Question::Refund => {
                let (charge, refund) = (ChargeId(aggregate), RefundId(subject));
                let Some((provider, asked)) = self.open_refund(charge, refund).await? else { return Ok(()) };
                let outcome = self.providers.refund(&provider, &asked).await.map_err(unreachable)?;
                self.report_refund(charge, refund, &asked, outcome, cause).await
            }
            Question::Withdrawal => {
                let (wallet, withdrawal) = (WalletId(aggregate), WithdrawalId(subject));
                let Some((provider, asked)) = self.open_withdrawal(wallet, withdrawal).await? else { return Ok(()) };
                let outcome = self.providers.payout(&provider, &asked).await.map_err(unreachable)?;
                self.report_withdrawal(wallet, &provider, &asked, outcome, cause).await
            }
            Question::Merchant => {
                let merchant = MerchantId(aggregate);
                let look = move |world: &mut World<'_>| Ok(world.get::<Merchant>(merchant)?.known().ok().cloned());
                let Some(known) = self.engine.read(look).await.map_err(failed)? else { return Ok(()) };
                let status = self.providers.merchant(&known.provider, &known.reference).await.map_err(unreachable)?;
                let report = move |world: &mut World<'_>| payouts::report_merchant(world, merchant, &status);
                self.report(aggregate, cause, None, report).await
            }
        }
    }

    /// A provider that cannot be asked now is asked again by a timer, and holds up no other.
    fn or_later(&self, operation: Uuid, asked: Result<Outcome, ProviderUnreachable>) -> Outcome {
        asked.unwrap_or_else(|error| {
            tracing::warn!(%operation, %error, "asked again later");
            Outcome::Pending { reference: None, check_at: self.clock.now() + ASKED_AGAIN_AFTER }
        })
    }

    /// Asks for the first time; what has been answered before is not asked again.
    async fn begin_charge(&self, charge: ChargeId, cause: &str) -> Result<(), FollowError> {
        let Some(asked) = self.open_charge(charge).await? else { return Ok(()) };
        if asked.phase.check_at().is_some() {
            return Ok(());
        }
        let outcome = self.or_later(charge.0, self.ask_charge(&asked).await);
        self.report_charge(&asked, outcome, cause).await
    }

    /// How far a charge is, for its payer, who may have something to do: what that is, only the provider's answer to a
    /// question tells, as often as it is asked.
    pub async fn progress(&self, charge: ChargeId) -> Result<Progress, CommandError> {
        let known = self.engine.read(move |world| charge_state(world, charge)).await?;
        if !matches!(known.phase, Phase::Open { action: true, .. }) {
            return Ok(Progress { phase: known.phase, action: None });
        }
        match self.ask_charge(&known).await {
            Ok(Outcome::ActionRequired { action, .. }) => Ok(Progress { phase: known.phase, action: Some(action) }),
            // It has moved on meanwhile, which whoever asks next is told.
            Ok(Outcome::Succeeded { .. } | Outcome::Declined { .. } | Outcome::Pending { .. }) => {
                Ok(Progress { phase: known.phase, action: None })
            }
            Err(error) => {
                tracing::warn!(%charge, %error, "what a payer has to do is not known");
                Ok(Progress { phase: known.phase, action: None })
            }
        }
    }

    async fn ask_charge(&self, asked: &Requested) -> Result<Outcome, ProviderUnreachable> {
        let charge::Terms { charge, amount, method, requested_at, .. } = asked.terms.clone();
        let (reference, check_at) = (asked.phase.reference().map(str::to_owned), asked.phase.check_at());
        let (operation, token, now) = (charge.0, method.token, self.clock.now());
        let charge = Charge { operation, amount, token, reference, requested_at, now, check_at };
        self.providers.charge(&method.provider, &charge).await
    }

    /// A charge whose end is not known.
    async fn open_charge(&self, charge: ChargeId) -> Result<Option<Requested>, FollowError> {
        let state = self.engine.read(move |world| charge_state(world, charge)).await.map_err(failed)?;
        Ok(Some(state).filter(|state| matches!(state.phase, Phase::Open { .. })))
    }

    async fn report_charge(&self, asked: &Requested, outcome: Outcome, cause: &str) -> Result<(), FollowError> {
        let (charge, check_at) = (asked.terms.charge, asked.phase.check_at());
        let report = move |world: &mut World<'_>| {
            let known = charge_state(world, charge)?.phase.check_at();
            if outcome.is_news(check_at, known) { charges::report(world, charge, outcome.clone()) } else { Ok(()) }
        };
        self.report(charge.0, cause, None, report).await
    }

    /// Asks once for what a provider has kept, if it was not told with the success: as when a dispute was heard of first. A
    /// provider that cannot be asked now may still say so by itself.
    async fn look_for_fee(&self, charge: ChargeId, cause: &str) -> Result<(), FollowError> {
        let known = self.engine.read(move |world| charge_state(world, charge)).await.map_err(failed)?;
        match self.ask_charge(&known).await {
            Ok(outcome @ Outcome::Succeeded { fee: Some(_), .. }) => self.report_charge(&known, outcome, cause).await,
            Ok(_) => Ok(()),
            Err(error) => {
                tracing::warn!(%charge, %error, "what a provider has kept is not known");
                Ok(())
            }
        }
    }

    /// What becomes of a charge at a provider that sends no webhooks.
    async fn follow_charge(&self, charge: ChargeId) -> Result<(), FollowError> {
        let Requested { terms, .. } =
            self.engine.read(move |world| charge_state(world, charge)).await.map_err(failed)?;
        self.follow(&terms.method.provider, charge.0, &terms.method.token, terms.amount).await
    }

    async fn follow(
        &self,
        provider: &str,
        operation: Uuid,
        token: &str,
        amount: domain::Money,
    ) -> Result<(), FollowError> {
        let Some(provider) = self.providers.named(provider) else { return Ok(()) };
        for notice in provider.aftermath(operation, token, amount, self.clock.now()) {
            match self.take(provider.name(), notice).await {
                Ok(_) | Err(CommandError::Refused { .. }) => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(())
    }

    async fn begin_refund(&self, charge: ChargeId, refund: RefundId, cause: &str) -> Result<(), FollowError> {
        let Some((provider, asked)) = self.open_refund(charge, refund).await? else { return Ok(()) };
        if asked.check_at.is_some() {
            return Ok(());
        }
        let outcome = self.or_later(asked.operation, self.providers.refund(&provider, &asked).await);
        self.report_refund(charge, refund, &asked, outcome, cause).await
    }

    /// A refund whose end is not known, as it is asked for, and of whom.
    async fn open_refund(&self, charge: ChargeId, refund: RefundId) -> Result<Option<(String, Refund)>, FollowError> {
        let Requested { terms, phase, refunds, .. } =
            self.engine.read(move |world| charge_state(world, charge)).await.map_err(failed)?;
        let Some(known) = refunds.get(&refund) else { return Ok(None) };
        let (Refunding::Asked { reference, check_at }, Some(charge)) = (&known.state, phase.reference()) else {
            return Ok(None);
        };
        let asked = Refund {
            operation: refund.operation(known.attempt),
            amount: known.amount,
            charge: charge.to_owned(),
            token: terms.method.token,
            reference: reference.clone(),
            now: self.clock.now(),
            check_at: *check_at,
        };
        Ok(Some((terms.method.provider, asked)))
    }

    async fn report_refund(
        &self,
        charge: ChargeId,
        refund: RefundId,
        asked: &Refund,
        outcome: Outcome,
        cause: &str,
    ) -> Result<(), FollowError> {
        let (operation, check_at) = (asked.operation, asked.check_at);
        let report = move |world: &mut World<'_>| {
            let known = charge_state(world, charge)?.refunds.get(&refund).and_then(|refund| refund.state.check_at());
            if outcome.is_news(check_at, known) {
                charges::report_refund(world, charge, refund, operation, outcome.clone())
            } else {
                Ok(())
            }
        };
        self.report(refund.0, cause, None, report).await
    }

    async fn begin_withdrawal(
        &self,
        wallet: WalletId,
        withdrawal: WithdrawalId,
        cause: &str,
    ) -> Result<(), FollowError> {
        let Some((provider, asked)) = self.open_withdrawal(wallet, withdrawal).await? else { return Ok(()) };
        if asked.check_at.is_some() {
            return Ok(());
        }
        let outcome = self.or_later(asked.operation, self.providers.payout(&provider, &asked).await);
        self.report_withdrawal(wallet, &provider, &asked, outcome, cause).await
    }

    /// A withdrawal whose end is not known, as it is asked for, and of whom.
    async fn open_withdrawal(
        &self,
        wallet: WalletId,
        withdrawal: WithdrawalId,
    ) -> Result<Option<(String, Payout)>, FollowError> {
        let look = move |world: &mut World<'_>| pending_withdrawal(world, wallet, withdrawal);
        let pending = self.engine.read(look).await.map_err(failed)?;
        Ok(pending.map(|pending| {
            let (amount, PaymentMethod { provider, token }) = (pending.amount, pending.method);
            let (operation, now, check_at) = (withdrawal.0, self.clock.now(), pending.check_at);
            (provider, Payout { operation, amount, destination: token, reference: pending.reference, now, check_at })
        }))
    }

    /// Reports what a provider says. How it ends is reported once; that it takes longer, once for each time it is asked.
    async fn report_withdrawal(
        &self,
        wallet: WalletId,
        provider: &str,
        asked: &Payout,
        outcome: Outcome,
        cause: &str,
    ) -> Result<(), FollowError> {
        let (operation, check_at) = (asked.operation, asked.check_at);
        let succeeded = matches!(outcome, Outcome::Succeeded { .. });
        let key = outcome.is_final().then(|| CommandKey::of_process(NAME, &operation.to_string(), "report"));
        let report = move |world: &mut World<'_>| {
            let withdrawal = WithdrawalId(operation);
            let known = pending_withdrawal(world, wallet, withdrawal)?.and_then(|pending| pending.check_at);
            if outcome.is_news(check_at, known) {
                let outcome = outcome.clone().not_before(world.now() + charges::SHORTEST_DELAY);
                payouts::report(world, wallet, withdrawal, outcome)
            } else {
                Ok(())
            }
        };
        self.report(operation, cause, key, report).await?;
        if succeeded { self.follow(provider, operation, &asked.destination, asked.amount).await } else { Ok(()) }
    }

    async fn report(
        &self,
        operation: Uuid,
        cause: &str,
        key: Option<CommandKey>,
        report: impl FnMut(&mut World<'_>) -> Result<(), Halt> + Send + 'static,
    ) -> Result<(), FollowError> {
        let metadata = Metadata::by_process(NAME).with("causation", cause.to_owned());
        match self.engine.submit(Request { metadata, key, in_doubt: false }, report).await {
            Ok(_) => Ok(()),
            Err(CommandError::Refused { refusal, .. }) => {
                tracing::warn!(%operation, %refusal, "a provider's report came too late");
                Ok(())
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// Takes in what a provider says by itself, once by its name for the message.
    pub async fn take(&self, provider: &str, notice: Notice) -> Result<Accepted<()>, CommandError> {
        let key = CommandKey::of_process(NAME, provider, &format!("notice {}", notice.id));
        let notice = self.providers.complete(provider, notice).await.map_err(|error| {
            tracing::warn!(%error, "a provider's message has to come again");
            CommandError::Unavailable
        })?;
        let provider = provider.to_owned();
        let take = move |world: &mut World<'_>| notices::take(world, &provider, &notice);
        self.engine.submit(Request::keyed(Metadata::by_process(NAME), key), take).await
    }
}

/// How far a charge is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Progress {
    /// What is known of it.
    pub phase: Phase,
    /// What the payer has to do, if that was told.
    pub action: Option<Action>,
}

fn charge_state(world: &mut World<'_>, charge: ChargeId) -> Result<Requested, Halt> {
    Ok(world.get::<charge::Charge>(charge)?.requested()?.clone())
}

fn pending_withdrawal(
    world: &mut World<'_>,
    wallet: WalletId,
    withdrawal: WithdrawalId,
) -> Result<Option<wallet::Pending>, Halt> {
    Ok(match world.get::<Wallet>(wallet)? {
        Wallet::Open(balance) => balance.pending_withdrawal(withdrawal).cloned(),
        Wallet::Unopened => None,
    })
}
