//! What providers' names for things stand for here.

use domain::charge::Charge;
use domain::correlation::{Command, Correlation, Subject};
use domain::payout::Payout;
use domain::{ChargeId, CorrelationId, WithdrawalId};

use crate::engine::{Halt, World};
use crate::payments::Notice;

/// Remembers what a provider's name, or an operation of ours that it knows, stands for.
pub fn note(world: &mut World<'_>, provider: &str, name: &str, subject: Subject) -> Result<(), Halt> {
    world.execute::<Correlation>(CorrelationId::of(provider, name), Command::Note { subject })?;
    Ok(())
}

/// What a provider's name stands for, if that is known.
pub fn named(world: &mut World<'_>, provider: &str, name: &str) -> Result<Option<Subject>, Halt> {
    Ok(world.get::<Correlation>(CorrelationId::of(provider, name))?.subject())
}

/// What a provider tells of: by our own operation if it says which, else by its own name for it.
pub fn subject_of(world: &mut World<'_>, provider: &str, notice: &Notice) -> Result<Option<Subject>, Halt> {
    if let Some(operation) = notice.operation {
        // A charge is asked for under its own id.
        let charge = ChargeId(operation);
        if let Charge::Requested(requested) = world.get::<Charge>(charge)?
            && requested.terms.method.provider == provider
        {
            return Ok(Some(Subject::Charge(charge)));
        }
        // So is a payout.
        let withdrawal = WithdrawalId(operation);
        if let Ok(sending) = world.get::<Payout>(withdrawal)?.sending()
            && sending.to.provider == provider
        {
            let wallet = sending.wallet;
            return Ok(Some(Subject::Withdrawal { wallet, withdrawal }));
        }
        let subject = named(world, provider, &operation.to_string())?;
        if subject.is_some() {
            return Ok(subject);
        }
    }
    named(world, provider, &notice.reference)
}
