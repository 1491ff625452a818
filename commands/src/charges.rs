//! Use cases of charges: what is asked of payment providers, and what comes of what they say. The escrows and wallets
//! that a charge pays move in the same commit.
//!
//! Answers, webhooks and later checks all come here. Each is decided on what is known by then, so that it does not matter
//! which of them comes first, or how often.

use chrono::TimeDelta;
use domain::account::Account;
use domain::charge::{Charge, Command, Error, Event, MOST_CHARGES, Part, Phase, Purpose, Refunding, Requested, Terms};
use domain::correlation::Subject;
use domain::escrow::{CardPayment, Source};
use domain::order::{Order, Placed};
use domain::wallet::{self, PaymentMethod, Wallet};
use domain::{AccountId, ChargeId, DepositId, Money, OrderGroupId, OrderId, RefundId, WalletId};
use uuid::Uuid;

use crate::correlations;
use crate::engine::{Halt, World};
use crate::orders;
use crate::payments::Outcome;

mod disputes;

pub(crate) use disputes::{Disputed, borne_by_seller, lose_dispute, open_dispute, win_dispute};

/// The soonest that a provider is asked again.
pub(crate) const SHORTEST_DELAY: TimeDelta = TimeDelta::seconds(1);
/// How long a payer has for what a webhook says they have to do, until the provider is asked again.
const ACTION_CHECKED_AFTER: TimeDelta = TimeDelta::minutes(10);

/// Asks a provider for money for a wallet. It is in once the provider says so.
pub fn request_deposit(
    world: &mut World<'_>,
    owner: AccountId,
    deposit: DepositId,
    amount: Money,
    source: PaymentMethod,
) -> Result<(), Halt> {
    world.get::<Account>(owner)?.registered()?;
    let wallet = WalletId::of(owner, amount.currency());
    let (method, purpose) = (source.clone(), Purpose::Deposit(wallet));
    let request = wallet::Command::RequestDeposit { deposit, owner, amount, source };
    world.execute::<Wallet>(wallet, request)?;
    let charge = ChargeId::from(deposit);
    world.fresh::<Charge>(charge);
    let terms = Terms { charge, payer: owner, guest: false, purpose, amount, method, requested_at: world.now() };
    world.execute::<Charge>(charge, Command::Request { terms })?;
    Ok(())
}

/// A checkout that a provider is asked to pay.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// The attempt.
    pub charge: ChargeId,
    /// What is paid.
    pub group: OrderGroupId,
    /// How much.
    pub amount: Money,
}

/// Asks a provider for what an order and those placed with it cost. They are paid once the provider says so, if that is
/// in time; otherwise the money goes back to where it came from.
pub fn request_payment(
    world: &mut World<'_>,
    payer: AccountId,
    order: OrderId,
    method: PaymentMethod,
) -> Result<Asked, Halt> {
    let (group, amount) = orders::payable(world, order, payer)?;
    let Placed { terms, .. } = world.get::<Order>(order)?.placed()?;
    let guest = terms.guest.is_some();
    let charge = next_attempt(world, group)?;
    let terms =
        Terms { charge, payer, guest, purpose: Purpose::Orders(group), amount, method, requested_at: world.now() };
    world.execute::<Charge>(charge, Command::Request { terms })?;
    Ok(Asked { charge, group, amount })
}

/// The id of the next attempt to pay a checkout. While a provider is asked about one, there is no other; a payer who has
/// something to do may rather try another card.
fn next_attempt(world: &mut World<'_>, group: OrderGroupId) -> Result<ChargeId, Halt> {
    for attempt in 1..=MOST_CHARGES {
        let charge = ChargeId::of_group(group, attempt);
        match world.get::<Charge>(charge)? {
            Charge::Unrequested => return Ok(charge),
            Charge::Requested(requested) if requested.is_with_provider() => return Err(Error::UnderWay.into()),
            Charge::Requested(_) => {}
        }
    }
    Err(Error::TooManyAttempts { maximum: MOST_CHARGES }.into())
}

/// Takes in what a provider says about a charge.
pub fn report(world: &mut World<'_>, charge: ChargeId, outcome: Outcome) -> Result<(), Halt> {
    match outcome.not_before(world.now() + SHORTEST_DELAY) {
        Outcome::Succeeded { reference, fee } => succeed(world, charge, reference, fee),
        Outcome::Declined { reason } => fail(world, charge, reason),
        Outcome::ActionRequired { reference, check_at, .. } => {
            note_charge(world, charge, &reference)?;
            world.execute::<Charge>(charge, Command::AwaitAction { reference, check_at }).map(drop)
        }
        Outcome::Pending { reference, check_at } => {
            if let Some(reference) = &reference {
                note_charge(world, charge, reference)?;
            }
            world.execute::<Charge>(charge, Command::Delay { reference, check_at }).map(drop)
        }
    }
}

fn note_charge(world: &mut World<'_>, charge: ChargeId, reference: &str) -> Result<(), Halt> {
    let provider = world.get::<Charge>(charge)?.requested()?.terms.method.provider.clone();
    correlations::note(world, &provider, reference, Subject::Charge(charge))
}

/// The money is in. It pays what it was for, if that still waits; what it does not pay goes back.
pub(crate) fn succeed(
    world: &mut World<'_>,
    charge: ChargeId,
    reference: String,
    fee: Option<Money>,
) -> Result<(), Halt> {
    let Requested { terms, phase, .. } = world.get::<Charge>(charge)?.requested()?.clone();
    if let Phase::Succeeded { .. } = phase {
        let applied = vec![];
        world.execute::<Charge>(charge, Command::Succeed { reference, fee, applied })?;
        return Ok(());
    }
    note_charge(world, charge, &reference)?;
    let applied = payable_with(world, &terms)?;
    let pays = !applied.is_empty();
    let succeed = Command::Succeed { reference: reference.clone(), fee, applied };
    for event in world.execute::<Charge>(charge, succeed)? {
        if let Event::ChargeRefundRequested { refund, .. } = event {
            note_refund(world, charge, refund, 1)?;
        }
    }
    match terms.purpose {
        Purpose::Deposit(wallet) if pays => {
            let deposit = DepositId::from(charge);
            let settle = wallet::Command::SettleDeposit { deposit, provider_reference: reference };
            world.execute::<Wallet>(wallet, settle).map(drop)
        }
        Purpose::Orders(group) if pays => {
            let card = CardPayment { charge, provider: terms.method.provider, refunded_to_card: terms.guest };
            orders::pay_group(world, group, None, &Source::Card(card))
        }
        Purpose::Deposit(_) | Purpose::Orders(_) => Ok(()),
    }
}

/// What a charge can pay of what it was for: all that still waits of it, or nothing.
fn payable_with(world: &mut World<'_>, terms: &Terms) -> Result<Vec<Part>, Halt> {
    match terms.purpose {
        Purpose::Deposit(wallet) => {
            let deposit = DepositId::from(terms.charge);
            let waits = match world.get::<Wallet>(wallet)? {
                Wallet::Open(balance) => balance.pending_deposit(deposit).is_some(),
                Wallet::Unopened => false,
            };
            Ok(waits.then_some(Part { order: None, amount: terms.amount }).into_iter().collect())
        }
        Purpose::Orders(group) => {
            let waiting = orders::waiting(world, group)?;
            let mut left = terms.amount;
            for (_, amount) in &waiting {
                left = left.minus(*amount)?;
            }
            let parts = waiting.into_iter().map(|(order, amount)| Part { order: Some(order), amount });
            let enough = left.minor() >= 0;
            Ok(parts.filter(|part| enough && part.amount.is_positive()).collect())
        }
    }
}

/// The money will not come, as far as the provider knows.
pub(crate) fn fail(world: &mut World<'_>, charge: ChargeId, reason: String) -> Result<(), Halt> {
    let purpose = world.get::<Charge>(charge)?.requested()?.terms.purpose;
    if world.execute::<Charge>(charge, Command::Fail { reason: reason.clone() })?.is_empty() {
        return Ok(());
    }
    match purpose {
        Purpose::Deposit(wallet) => {
            let deposit = DepositId::from(charge);
            world.execute::<Wallet>(wallet, wallet::Command::FailDeposit { deposit, reason }).map(drop)
        }
        Purpose::Orders(_) => Ok(()),
    }
}

/// A webhook says that the payer has something to do. What it is, only the provider's answer to a question tells.
pub(crate) fn await_action(world: &mut World<'_>, charge: ChargeId, reference: String) -> Result<(), Halt> {
    if !world.get::<Charge>(charge)?.requested()?.is_with_provider() {
        return Ok(());
    }
    let check_at = world.now() + ACTION_CHECKED_AFTER;
    note_charge(world, charge, &reference)?;
    world.execute::<Charge>(charge, Command::AwaitAction { reference, check_at }).map(drop)
}

/// Sends back to where it was charged what an escrow has given back to somebody who has no wallet.
pub(crate) fn refund(
    world: &mut World<'_>,
    charge: ChargeId,
    refund: RefundId,
    order: OrderId,
    amount: Money,
) -> Result<(), Halt> {
    world.execute::<Charge>(charge, Command::Refund { refund, order, amount })?;
    note_refund(world, charge, refund, 1)
}

fn note_refund(world: &mut World<'_>, charge: ChargeId, refund: RefundId, attempt: u32) -> Result<(), Halt> {
    let provider = world.get::<Charge>(charge)?.requested()?.terms.method.provider.clone();
    let operation = refund.operation(attempt).to_string();
    correlations::note(world, &provider, &operation, Subject::Refund { charge, refund })
}

/// Takes in what a provider says about a refund, as an answer to the question about this operation: a late answer about an
/// attempt that has failed says nothing of the next.
pub fn report_refund(
    world: &mut World<'_>,
    charge: ChargeId,
    refund: RefundId,
    operation: Uuid,
    outcome: Outcome,
) -> Result<(), Halt> {
    if is_last_attempt(world, charge, refund, Some(operation), "")? {
        take_refund(world, charge, refund, outcome)
    } else {
        Ok(())
    }
}

/// Takes in how the last attempt of a refund is.
pub(crate) fn take_refund(
    world: &mut World<'_>,
    charge: ChargeId,
    refund: RefundId,
    outcome: Outcome,
) -> Result<(), Halt> {
    let now = world.now();
    let reference = match &outcome {
        Outcome::Succeeded { reference, .. } | Outcome::ActionRequired { reference, .. } => Some(reference.clone()),
        Outcome::Pending { reference, .. } => reference.clone(),
        Outcome::Declined { .. } => None,
    };
    if let Some(reference) = reference {
        let provider = world.get::<Charge>(charge)?.requested()?.terms.method.provider.clone();
        correlations::note(world, &provider, &reference, Subject::Refund { charge, refund })?;
    }
    let command = match outcome.not_before(now + SHORTEST_DELAY) {
        Outcome::Succeeded { reference, .. } => Command::ConfirmRefund { refund, reference },
        Outcome::Declined { reason } => Command::FailRefund { refund, reason, now },
        Outcome::ActionRequired { reference, check_at, .. } => {
            Command::DelayRefund { refund, reference: Some(reference), check_at }
        }
        Outcome::Pending { reference, check_at } => Command::DelayRefund { refund, reference, check_at },
    };
    world.execute::<Charge>(charge, command).map(drop)
}

/// Asks once more for a refund that has failed.
pub fn retry_refund(world: &mut World<'_>, charge: ChargeId, refund: RefundId) -> Result<(), Halt> {
    let now = world.now();
    for event in world.execute::<Charge>(charge, Command::RetryRefund { refund, now })? {
        if let Event::ChargeRefundRetried { attempt, .. } = event {
            note_refund(world, charge, refund, attempt)?;
        }
    }
    Ok(())
}

/// Whether what a provider tells of a refund by this operation or this name is about the attempt that is the last.
pub(crate) fn is_last_attempt(
    world: &mut World<'_>,
    charge: ChargeId,
    refund: RefundId,
    operation: Option<Uuid>,
    reference: &str,
) -> Result<bool, Halt> {
    let requested = world.get::<Charge>(charge)?.requested()?;
    let Some(known) = requested.refunds.get(&refund) else { return Ok(false) };
    if let Some(operation) = operation {
        return Ok(operation == refund.operation(known.attempt));
    }
    Ok(match &known.state {
        Refunding::Asked { reference: Some(known), .. } | Refunding::Refunded { reference: known } => {
            known == reference
        }
        Refunding::Asked { reference: None, .. } | Refunding::Failed { .. } | Refunding::TakenBack => {
            known.attempt == 1
        }
    })
}
