//! What affiliates earn with the orders of whom they have sent here. A commission moves in the commits in which the
//! escrow of its order does, and the affiliate's wallet with it.

use chrono::TimeDelta;
use domain::account::Account;
use domain::commission::{Command, Commission, Event, Promise};
use domain::escrow::{self, Escrow, Opened};
use domain::referral::{Referral, Source};
use domain::wallet::{self, Wallet};
use domain::{AccountId, CommissionId, OrderId, RefundId, WalletId};

use crate::affiliates;
use crate::engine::{Halt, World};
use crate::wallets;

/// What a deployment decides about commissions. Frozen into every order when it is placed.
#[derive(Clone, Copy, Debug)]
pub struct CommissionRules {
    /// The affiliate's share of an order's fee base, in basis points; none at all if it is 0.
    pub rate_bps: u32,
    /// Whether it is never more than the marketplace's fee.
    pub within_fee: bool,
    /// How long a click counts.
    pub attributed_for: TimeDelta,
}

/// Who earns with what `buyer` buys now of `seller`: whose link the buyer has followed last, unless that is too long ago
/// or somebody would earn with a trade of their own.
pub(crate) fn promise(
    world: &mut World<'_>,
    buyer: AccountId,
    seller: AccountId,
    rules: CommissionRules,
) -> Result<Option<Promise>, Halt> {
    let CommissionRules { rate_bps, within_fee, attributed_for } = rules;
    if rate_bps == 0 {
        return Ok(None);
    }
    let Some(Source { affiliate, click, clicked_at }) = world.get::<Referral>(buyer)?.source() else {
        return Ok(None);
    };
    let in_time = world.now() < clicked_at + attributed_for;
    let own = [buyer, seller].contains(&affiliate);
    Ok((in_time && !own).then_some(Promise { affiliate, click, rate_bps, within_fee }))
}

/// Lets the commission of an order follow what its escrow has done.
pub(crate) fn settle(
    world: &mut World<'_>,
    escrow: &Opened,
    order: OrderId,
    event: &escrow::Event,
) -> Result<(), Halt> {
    use escrow::Event as E;
    let Some(promise) = escrow.terms.commission else { return Ok(()) };
    match event {
        E::EscrowReleased { .. } => vest(world, order, promise.affiliate),
        E::EscrowSplit { .. } => {
            reverse(world, escrow, promise.affiliate, RefundId(order.0))?;
            vest(world, order, promise.affiliate)
        }
        E::EscrowPartlyRefunded { refund, .. }
        | E::EscrowRefunded { refund, .. }
        | E::ReleaseRefunded { refund, .. } => reverse(world, escrow, promise.affiliate, *refund),
        E::ChargebackSettled { dispute, .. } => reverse(world, escrow, promise.affiliate, RefundId(dispute.0)),
        // It accrues with the payment.
        E::EscrowOpened { .. }
        | E::EscrowFunded { .. }
        | E::EscrowVoided {}
        | E::InspectionStarted { .. }
        | E::InspectionReminded { .. }
        | E::EscrowDisputed { .. }
        | E::EscrowChargedBack { .. }
        | E::ChargebackReturned { .. } => Ok(()),
    }
}

/// Lets somebody earn with an order that is paid. Who may not trade any more, or is forgotten, earns nothing new.
pub(crate) fn accrue(world: &mut World<'_>, order: OrderId) -> Result<(), Halt> {
    let escrow = world.get::<Escrow>(order)?.opened()?;
    let (Some(promise), base, fee) = (escrow.terms.commission, escrow.terms.amount, escrow.fee()?) else {
        return Ok(());
    };
    if affiliates::may_earn(world, promise.affiliate)? {
        world.execute::<Commission>(CommissionId::of(order), Command::Accrue { order, promise, base, fee })?;
    }
    Ok(())
}

/// What was earned before an account was suspended is its own; nobody is left to pay where it is forgotten, and no
/// affiliate's full wallet keeps a seller from being paid.
fn vest(world: &mut World<'_>, order: OrderId, affiliate: AccountId) -> Result<(), Halt> {
    let id = CommissionId::of(order);
    let Some(amount) = world.get::<Commission>(id)?.earned().map(|earned| earned.amount) else { return Ok(()) };
    let somebody = world.get::<Account>(affiliate)?.registered().is_ok();
    let has_room = match world.get::<Wallet>(WalletId::of(affiliate, amount.currency()))? {
        Wallet::Unopened => true,
        Wallet::Open(balance) => balance.has_room(amount),
    };
    let command = if somebody && has_room { Command::Vest {} } else { Command::Forgo {} };
    for event in world.execute::<Commission>(id, command)? {
        follow(world, id, affiliate, &event)?;
    }
    Ok(())
}

/// What has vested is given back, or owed, unless nobody is left to owe it.
fn reverse(world: &mut World<'_>, escrow: &Opened, affiliate: AccountId, refund: RefundId) -> Result<(), Halt> {
    let (id, left, fee) = (CommissionId::of(escrow.terms.order), escrow.remaining(), escrow.fee()?);
    let available = wallets::available(world, affiliate, left.currency())?;
    let can_owe = world.get::<Account>(affiliate)?.registered().is_ok();
    for event in world.execute::<Commission>(id, Command::Reverse { refund, left, fee, available, can_owe })? {
        follow(world, id, affiliate, &event)?;
    }
    Ok(())
}

/// Lets the affiliate's wallet follow what its commission has done.
fn follow(world: &mut World<'_>, commission: CommissionId, owner: AccountId, event: &Event) -> Result<(), Halt> {
    let (amount, command) = match *event {
        Event::CommissionVested { amount, .. } => {
            (amount, wallet::Command::ReceiveCommission { owner, commission, amount })
        }
        Event::VestedCommissionReversed { refund, from_available: amount, owed, .. } => {
            (amount, wallet::Command::GiveCommission { owner, commission, refund, amount, owed })
        }
        // What is pending is in no wallet.
        Event::CommissionAccrued { .. } | Event::CommissionReversed { .. } => return Ok(()),
    };
    world.execute::<Wallet>(WalletId::of(owner, amount.currency()), command)?;
    Ok(())
}
