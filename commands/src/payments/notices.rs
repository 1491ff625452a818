//! What providers say by themselves, by webhooks.
//!
//! A verified webhook is a claim that something has happened. It is taken in once, by the provider's name for it, in the
//! commit that does what it calls for; what that is, is decided on what is known by then, so that it may come late, twice
//! or before what it follows. It ends where an answer of the provider ends, in the same use cases.

use domain::charge::{self, Charge};
use domain::correlation::Subject;
use domain::{ChargeId, MerchantId, Money, RefundId};

use super::provider::{Notice, Outcome, What};
use crate::charges::{self, Disputed};
use crate::correlations;
use crate::engine::{Halt, World};
use crate::payouts;

/// Takes in what a provider says by itself. What it tells of something that is not ours is nothing to us, but for a
/// dispute: that is refused, and comes again, since what it is about may not have been heard of yet.
pub fn take(world: &mut World<'_>, provider: &str, notice: &Notice) -> Result<(), Halt> {
    let subject = correlations::subject_of(world, provider, notice)?;
    let reference = notice.reference.clone();
    match (&notice.what, subject) {
        (What::ChargeSucceeded { amount, fee }, Some(Subject::Charge(charge))) => {
            expect_amount(world, charge, *amount)?;
            charges::succeed(world, charge, reference, *fee)
        }
        (What::ChargeFailed { reason }, Some(Subject::Charge(charge))) => charges::fail(world, charge, reason.clone()),
        (What::ChargeActionRequired, Some(Subject::Charge(charge))) => charges::await_action(world, charge, reference),
        (What::RefundSucceeded, Some(Subject::Refund { charge, refund })) => {
            let outcome = Outcome::Succeeded { reference, fee: None };
            report_refund(world, charge, refund, notice, outcome)
        }
        (What::RefundFailed { reason }, Some(Subject::Refund { charge, refund })) => {
            let outcome = Outcome::Declined { reason: reason.clone() };
            report_refund(world, charge, refund, notice, outcome)
        }
        (What::PayoutPaid, Some(Subject::Withdrawal { wallet, withdrawal })) => {
            payouts::arrive(world, wallet, withdrawal, reference)
        }
        (What::PayoutFailed { reason }, Some(Subject::Withdrawal { wallet, withdrawal })) => {
            payouts::come_back(world, wallet, withdrawal, reason.clone())
        }
        // It is named as the provider names it, and known by that if it is ours.
        (What::MerchantChanged { payouts }, _) => {
            payouts::notice_merchant(world, MerchantId::of(provider, &reference), *payouts)
        }
        (What::DisputeOpened { dispute: name, amount, reason }, Some(Subject::Charge(charge))) => {
            let (name, amount, reason) = (name.clone(), *amount, reason.clone());
            charges::open_dispute(world, charge, Disputed { reference, name, amount, reason })
        }
        (What::DisputeWon { dispute }, Some(Subject::Charge(charge))) => charges::win_dispute(world, charge, dispute),
        (What::DisputeLost { dispute }, Some(Subject::Charge(charge))) => charges::lose_dispute(world, charge, dispute),
        (What::DisputeOpened { .. } | What::DisputeWon { .. } | What::DisputeLost { .. }, None) => {
            Err(charge::Error::NotFound.into())
        }
        // A provider that tells of something else by our names for it, or of what is not ours.
        (
            What::ChargeSucceeded { .. }
            | What::ChargeFailed { .. }
            | What::ChargeActionRequired
            | What::RefundSucceeded
            | What::RefundFailed { .. }
            | What::PayoutPaid
            | What::PayoutFailed { .. }
            | What::DisputeOpened { .. }
            | What::DisputeWon { .. }
            | What::DisputeLost { .. }
            | What::Other,
            _,
        ) => Ok(()),
    }
}

/// Another amount than was asked for is refused: whoever sends it is told so, and nothing moves.
fn expect_amount(world: &mut World<'_>, charge: ChargeId, offered: Money) -> Result<(), Halt> {
    let expected = world.get::<Charge>(charge)?.requested()?.terms.amount;
    if offered == expected { Ok(()) } else { Err(charge::Error::AmountDiffers { expected, offered }.into()) }
}

/// What is said of an earlier attempt does not count for the one that has followed it.
fn report_refund(
    world: &mut World<'_>,
    charge: ChargeId,
    refund: RefundId,
    notice: &Notice,
    outcome: Outcome,
) -> Result<(), Halt> {
    if !charges::is_last_attempt(world, charge, refund, notice.operation, &notice.reference)? {
        return Ok(());
    }
    charges::take_refund(world, charge, refund, outcome)
}
