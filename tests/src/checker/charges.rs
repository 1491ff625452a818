//! What is asked of payment providers, and what comes of what they say: what a client's own words lead to, and the commands
//! that events imply.

use std::collections::BTreeMap;

use domain::charge::{self, Bearer, Charge, Purpose, Share, Terms};
use domain::correlation::{self, Correlation};
use domain::wallet::{self, PaymentMethod, Wallet};
use domain::{AccountId, ChargeId, DepositId, Money, OrderGroupId, Refusal, WalletId};
use eventstore::event::DomainEvent;

use super::replica::Draft;

fn at_sandbox(token: &str) -> PaymentMethod {
    PaymentMethod { provider: "sandbox".to_owned(), token: token.to_owned() }
}

/// Asks the sandbox for money for a wallet.
pub(super) fn request_deposit(
    draft: &mut Draft<'_>,
    owner: AccountId,
    deposit: DepositId,
    amount: Money,
    token: &str,
) -> Result<(), Refusal> {
    let wallet = WalletId::of(owner, amount.currency());
    let command = wallet::Command::RequestDeposit { deposit, owner, amount, source: at_sandbox(token) };
    draft.execute::<Wallet>(wallet, command)?;
    request(draft, ChargeId::from(deposit), owner, Purpose::Deposit(wallet), amount, token)
}

/// Asks the sandbox for what a checkout costs. Tells the attempt.
pub(super) fn request_payment(
    draft: &mut Draft<'_>,
    payer: AccountId,
    group: OrderGroupId,
    amount: Money,
    token: &str,
) -> Result<ChargeId, Refusal> {
    for attempt in 1..=charge::MOST_CHARGES {
        let id = ChargeId::of_group(group, attempt);
        match draft.get::<Charge>(id) {
            Charge::Unrequested => {
                request(draft, id, payer, Purpose::Orders(group), amount, token)?;
                return Ok(id);
            }
            Charge::Requested(asked) if asked.is_with_provider() => return Err(charge::Error::UnderWay.into()),
            Charge::Requested(_) => {}
        }
    }
    Err(charge::Error::TooManyAttempts { maximum: charge::MOST_CHARGES }.into())
}

/// No client of a load is a guest who pays by card.
fn request(
    draft: &mut Draft<'_>,
    charge: ChargeId,
    payer: AccountId,
    purpose: Purpose,
    amount: Money,
    token: &str,
) -> Result<(), Refusal> {
    let terms =
        Terms { charge, payer, guest: false, purpose, amount, method: at_sandbox(token), requested_at: draft.now() };
    draft.execute::<Charge>(charge, charge::Command::Request { terms }).map(drop)
}

/// Carries the command out that has caused this event.
pub(super) fn carry_out_cause(draft: &mut Draft<'_>, event: &DomainEvent) -> Result<(), Refusal> {
    match event {
        DomainEvent::Charge(id, event) => {
            let command = of_charge(draft, event.clone());
            draft.execute::<Charge>(*id, command).map(drop)
        }
        DomainEvent::Correlation(id, correlation::Event::Correlated { subject }) => {
            let note = correlation::Command::Note { subject: *subject };
            draft.execute::<Correlation>(*id, note).map(drop)
        }
        // Nothing else is asked here.
        _ => Ok(()),
    }
}

fn of_charge(draft: &Draft<'_>, event: charge::Event) -> charge::Command {
    use charge::{Command as C, Event as E};
    let now = draft.now();
    match event {
        E::ChargeRequested { terms } => C::Request { terms },
        E::ChargeDelayed { reference, check_at } => C::Delay { reference, check_at },
        E::ChargeActionRequired { reference, check_at } => C::AwaitAction { reference, check_at },
        E::ChargeSucceeded { reference, applied, fee, .. } => C::Succeed { reference, fee, applied },
        E::ChargeFailed { reason } => C::Fail { reason },
        E::ProviderFeeCharged { fee, .. } => C::NoteFee { fee },
        E::ChargeRefundRequested { refund, order: Some(order), amount } => C::Refund { refund, order, amount },
        E::ChargeRefundDelayed { refund, reference, check_at } => C::DelayRefund { refund, reference, check_at },
        E::ChargeRefunded { refund, reference, .. } => C::ConfirmRefund { refund, reference },
        E::ChargeRefundFailed { refund, reason, .. } => C::FailRefund { refund, reason, now },
        // What goes back of no order is requested with the success of what it goes back from: nothing leads here.
        E::ChargeRefundRetried { refund, .. } | E::ChargeRefundRequested { refund, order: None, .. } => {
            C::RetryRefund { refund, now }
        }
        E::ChargeDisputed { dispute, name, amount, reason, shares, .. } => {
            C::OpenDispute { dispute, name, amount, reason, shares }
        }
        E::ChargeDisputeWon { dispute, shares, .. } => C::WinDispute { dispute, owing: owing(draft, &shares) },
        E::ChargeDisputeLost { dispute } => C::LoseDispute { dispute },
    }
}

/// What those owe who have a part of something back.
fn owing(draft: &Draft<'_>, shares: &[Share]) -> BTreeMap<AccountId, Money> {
    let owners = shares.iter().filter_map(|share| match share.bearer {
        Bearer::Account { owner, .. } => Some((owner, share.amount.currency())),
        Bearer::Escrow | Bearer::Refund { .. } | Bearer::Marketplace => None,
    });
    let owed = owners.map(|(owner, currency)| match draft.get::<Wallet>(WalletId::of(owner, currency)) {
        Wallet::Open(balance) => (owner, balance.owed),
        Wallet::Unopened => (owner, Money::zero(currency)),
    });
    owed.collect()
}
