//! Use cases of payouts: where money may go, how it goes out, by itself too, and what becomes of it.
//!
//! The wallet moves the money, the payee guards it, and the payout, named as the provider is told, remembers whose it is:
//! all three in one commit.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{NaiveTime, TimeDelta};
use domain::account::{Account, Capability};
use domain::correlation::Subject;
use domain::merchant::{self, Merchant};
use domain::payee::{Command, Error, Limits, Payee, Plan};
use domain::payout::{self, Payout, Sending};
use domain::wallet::{self, PaymentMethod, Wallet};
use domain::{AccountId, Currency, MerchantId, MethodId, Money, Sealed, Timestamp, WalletId, WithdrawalId};

use crate::engine::{Halt, World};
use crate::payments::{MerchantStatus, Outcome};
use crate::{accounts, correlations};

/// How soon a plan is tried again whose provider pays nothing out for now.
const TRIED_AGAIN_AFTER: TimeDelta = TimeDelta::days(1);

/// What guards money that goes out.
#[derive(Clone, Debug, Default)]
pub struct PayoutRules {
    /// How long a payment method must have been kept, and the way into the account the same.
    pub cooling: TimeDelta,
    /// How much at least and at most, in the currencies in which that is bounded.
    pub bounds: Arc<BTreeMap<Currency, Bounds>>,
}

/// How much goes out at least and at most, in minor units.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Bounds {
    /// The least at once; whatever there is unless told.
    pub least: Option<i64>,
    /// The most on a day (UTC); whatever there is unless told.
    pub most_per_day: Option<i64>,
}

impl PayoutRules {
    /// What counts in a currency.
    pub fn limits(&self, currency: Currency) -> Limits {
        let bounds = self.bounds.get(&currency).copied().unwrap_or_default();
        let money = |minor: Option<i64>| minor.and_then(|minor| Money::new(minor, currency).ok());
        Limits { least: money(bounds.least), most_per_day: money(bounds.most_per_day), cooling: self.cooling }
    }
}

/// Keeps one more payment method of an account.
pub fn add_method(
    world: &mut World<'_>,
    owner: AccountId,
    method: MethodId,
    at: &PaymentMethod,
    label: &Sealed<String>,
) -> Result<(), Halt> {
    world.get::<Account>(owner)?.registered()?;
    let (at, label, now) = (at.clone(), label.clone(), world.now());
    world.execute::<Payee>(owner, Command::Add { owner, method, at, label, now })?;
    Ok(())
}

/// Keeps a payment method no more. What is under way goes on.
pub fn remove_method(world: &mut World<'_>, owner: AccountId, method: MethodId) -> Result<(), Halt> {
    world.execute::<Payee>(owner, Command::Remove { method })?;
    Ok(())
}

/// Pays a seller out by itself in a currency from now on, or no more.
pub fn set_plan(world: &mut World<'_>, seller: AccountId, currency: Currency, plan: Option<Plan>) -> Result<(), Halt> {
    let now = world.now();
    let command = match plan {
        Some(plan) => {
            accounts::require(world, seller, Capability::Sell)?;
            Command::Plan { currency, plan, now }
        }
        None => Command::EndPlan { currency },
    };
    world.execute::<Payee>(seller, command)?;
    Ok(())
}

/// Keeps no payment method any more of an account that goes, nor pays it out by itself.
pub(crate) fn close(world: &mut World<'_>, account: AccountId) -> Result<(), Halt> {
    world.execute::<Payee>(account, Command::Close {})?;
    Ok(())
}

/// Notes that somebody gets into an account in another way than before: money waits a while before it goes out.
pub(crate) fn note_access_change(world: &mut World<'_>, account: AccountId) -> Result<(), Halt> {
    let now = world.now();
    world.execute::<Payee>(account, Command::NoteAccessChange { now })?;
    Ok(())
}

/// Notes that a sale has brought money.
pub(crate) fn note_sale(world: &mut World<'_>, seller: AccountId, currency: Currency) -> Result<(), Halt> {
    let now = world.now();
    world.execute::<Payee>(seller, Command::NoteSale { currency, now })?;
    Ok(())
}

/// Sends money out, as its owner. It leaves the balance now, and comes back if the provider refuses. Who is blocked sends
/// nothing.
pub fn request(
    world: &mut World<'_>,
    owner: AccountId,
    withdrawal: WithdrawalId,
    amount: Money,
    to: &PaymentMethod,
    rules: &PayoutRules,
) -> Result<(), Halt> {
    world.get::<Account>(owner)?.registered()?.unblocked()?;
    send_out(world, owner, withdrawal, amount, to, rules)
}

fn send_out(
    world: &mut World<'_>,
    owner: AccountId,
    withdrawal: WithdrawalId,
    amount: Money,
    to: &PaymentMethod,
    rules: &PayoutRules,
) -> Result<(), Halt> {
    let (now, wallet) = (world.now(), WalletId::of(owner, amount.currency()));
    let request = wallet::Command::RequestWithdrawal { withdrawal, amount, destination: to.clone() };
    world.execute::<Wallet>(wallet, request)?;
    let limits = rules.limits(amount.currency());
    world.execute::<Payee>(owner, Command::SendOut { amount, to: to.clone(), now, limits })?;
    world.execute::<Payout>(withdrawal, payout::Command::Send { wallet, amount, to: to.clone() })?;
    Ok(())
}

/// Pays out what is due of a seller's plan: all that is available, as far as the rules allow. What they do not allow now
/// is due again as soon as they do. Too early it is refused.
pub fn pay_due(
    world: &mut World<'_>,
    owner: AccountId,
    wallet: WalletId,
    withdrawal: WithdrawalId,
    rules: &PayoutRules,
) -> Result<(), Halt> {
    let now = world.now();
    let planned = world.get::<Payee>(owner)?.planned();
    let Some(currency) = planned.into_iter().find(|currency| WalletId::of(owner, *currency) == wallet) else {
        return Ok(());
    };
    let available = match world.get::<Wallet>(wallet)? {
        Wallet::Open(balance) => balance.available,
        // Nothing was ever sold in that currency.
        Wallet::Unopened => Money::zero(currency),
    };
    let payee = world.get::<Payee>(owner)?;
    let Some(followed) = payee.plan(currency) else { return Ok(()) };
    let Some(due_at) = followed.due_at else { return Ok(()) };
    if now < due_at {
        return Err(Error::NotDue { at: due_at }.into());
    }
    let (limits, to) = (rules.limits(currency), payee.method(followed.plan.method)?.at.clone());
    let amount = payee.left_today(currency, limits, now).map_or(Ok(available), |left| left.min(available))?;
    let may = payee.may_send(amount, &to, now, limits);
    let rest = amount.minor() < available.minor();
    let again_at = match may {
        _ if !available.is_positive() || !accounts::may_trade(world, owner)? => None,
        Ok(()) if amount.is_positive() => {
            send_out(world, owner, withdrawal, amount, &to, rules)?;
            rest.then(|| tomorrow(now))
        }
        Ok(()) | Err(Error::DayLimit { .. }) => Some(tomorrow(now)),
        // As soon as there is more, or as more may go out.
        Err(Error::BelowLeast { .. }) => rest.then(|| tomorrow(now)),
        Err(Error::Cooling { until }) => Some(until),
        Err(Error::Paused) => Some(now + TRIED_AGAIN_AFTER),
        Err(
            Error::NotFound
            | Error::AlreadyKept
            | Error::Full { .. }
            | Error::SealedForAnother
            | Error::NotKept { .. }
            | Error::NotDue { .. },
        ) => None,
    };
    world.execute::<Payee>(owner, Command::NotePayout { currency, again_at, now })?;
    Ok(())
}

/// When the next day begins (UTC).
fn tomorrow(now: Timestamp) -> Timestamp {
    (now + TimeDelta::days(1)).date_naive().and_time(NaiveTime::MIN).and_utc()
}

/// Takes in what a provider answers about a payout that is under way.
pub fn report(world: &mut World<'_>, wallet: WalletId, withdrawal: WithdrawalId, outcome: Outcome) -> Result<(), Halt> {
    use wallet::Command as C;
    let (command, reference, end) = match outcome {
        Outcome::Succeeded { reference, fee } => {
            let confirm = C::ConfirmWithdrawal { withdrawal, provider_reference: reference.clone(), fee };
            (confirm, Some(reference), Some(payout::Command::Pay {}))
        }
        Outcome::Declined { reason } => {
            (C::FailWithdrawal { withdrawal, reason }, None, Some(payout::Command::Fail {}))
        }
        Outcome::Pending { reference, check_at } => {
            (C::DelayWithdrawal { withdrawal, provider_reference: reference.clone(), check_at }, reference, None)
        }
        // Only charges wait for somebody.
        Outcome::ActionRequired { reference, check_at, .. } => {
            let provider_reference = Some(reference.clone());
            (C::DelayWithdrawal { withdrawal, provider_reference, check_at }, Some(reference), None)
        }
    };
    world.execute::<Wallet>(wallet, command)?;
    // So that it is known whenever the provider calls it so.
    if let Some(reference) = reference {
        let provider = world.get::<Payout>(withdrawal)?.sending()?.to.provider.clone();
        correlations::note(world, &provider, &reference, Subject::Withdrawal { wallet, withdrawal })?;
    }
    match end {
        Some(end) => world.execute::<Payout>(withdrawal, end).map(drop),
        None => Ok(()),
    }
}

/// Takes in that a provider says by itself that a payout has arrived. That it was said before changes nothing.
pub(crate) fn arrive(
    world: &mut World<'_>,
    wallet: WalletId,
    withdrawal: WithdrawalId,
    reference: String,
) -> Result<(), Halt> {
    match world.get::<Payout>(withdrawal)? {
        Payout::Sent(_) => report(world, wallet, withdrawal, Outcome::Succeeded { reference, fee: None }),
        Payout::Failed(_) => {
            tracing::error!(%withdrawal, "a provider has paid out what it had said it would not");
            Ok(())
        }
        Payout::Unknown | Payout::Paid(_) | Payout::Returned(_) => Ok(()),
    }
}

/// Gives back what has not arrived, or has come back after it had, as a provider says by itself. That it was said before
/// changes nothing.
pub(crate) fn come_back(
    world: &mut World<'_>,
    wallet: WalletId,
    withdrawal: WithdrawalId,
    reason: String,
) -> Result<(), Halt> {
    match world.get::<Payout>(withdrawal)?.clone() {
        Payout::Sent(_) => report(world, wallet, withdrawal, Outcome::Declined { reason }),
        Payout::Paid(Sending { amount, to: PaymentMethod { provider, .. }, .. }) => {
            let back = wallet::Command::ReturnWithdrawal { withdrawal, amount, provider, reason };
            world.execute::<Wallet>(wallet, back)?;
            world.execute::<Payout>(withdrawal, payout::Command::Return {}).map(drop)
        }
        Payout::Unknown | Payout::Failed(_) | Payout::Returned(_) => Ok(()),
    }
}

/// Makes a seller a merchant of a provider's, who may be paid out there as soon as the provider says so.
pub fn connect(
    world: &mut World<'_>,
    seller: AccountId,
    provider: &str,
    reference: &str,
    status: &MerchantStatus,
) -> Result<(), Halt> {
    accounts::require(world, seller, Capability::Sell)?;
    world.get::<Account>(seller)?.registered()?.unblocked()?;
    let (merchant, now) = (MerchantId::of(provider, reference), world.now());
    let (provider, reference) = (provider.to_owned(), reference.to_owned());
    let onboard =
        merchant::Command::Onboard { account: seller, provider: provider.clone(), reference: reference.clone(), now };
    world.execute::<Merchant>(merchant, onboard)?;
    world.execute::<Payee>(seller, Command::Link { provider, reference })?;
    report_merchant(world, merchant, status)
}

/// Takes in what a provider answers about a merchant.
pub fn report_merchant(world: &mut World<'_>, merchant: MerchantId, status: &MerchantStatus) -> Result<(), Halt> {
    let now = world.now();
    let MerchantStatus { payouts, due } = status.clone();
    world.execute::<Merchant>(merchant, merchant::Command::Report { payouts, due, now })?;
    follow_merchant(world, merchant)
}

/// Takes in what a provider says of a merchant by itself. Of one that is nobody's nothing is kept.
pub(crate) fn notice_merchant(world: &mut World<'_>, merchant: MerchantId, payouts: bool) -> Result<(), Halt> {
    let now = world.now();
    if world.get::<Merchant>(merchant)?.known().is_err() {
        return Ok(());
    }
    world.execute::<Merchant>(merchant, merchant::Command::Notice { payouts, now })?;
    follow_merchant(world, merchant)
}

/// Lets the payee follow what is known of its merchant.
fn follow_merchant(world: &mut World<'_>, id: MerchantId) -> Result<(), Halt> {
    let now = world.now();
    let known = world.get::<Merchant>(id)?.known()?.clone();
    let merchant::Known { account, provider, reference: token, payouts, .. } = known;
    // Nothing is said any more of whoever is forgotten.
    if world.get::<Account>(account)?.registered().is_err() {
        return Ok(());
    }
    let at = PaymentMethod { provider, token };
    world.execute::<Payee>(account, Command::SetMerchant { merchant: id, at, payouts, now })?;
    Ok(())
}
