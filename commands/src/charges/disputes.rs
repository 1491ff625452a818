//! Chargebacks: who bears what a payer has got back of their bank.
//!
//! What still is in the escrow of an order comes out of it; what the seller has of it, the seller owes; what went back to
//! the buyer's wallet before, comes out of that, as what a deposit has brought does; what was on its way back to the card
//! has come by the bank. What is left, and what would be owed by somebody who is gone, is the marketplace's.

use std::collections::BTreeMap;

use domain::account::Account;
use domain::charge::{Bearer, Charge, Command, Event, Part, Phase, Requested, Share};
use domain::escrow::{Escrow, Status};
use domain::wallet::{self, Wallet};
use domain::{AccountId, ChargeId, Currency, DisputeId, Money, OrderId, WalletId};

use crate::engine::{Halt, World};
use crate::{escrows, wallets};

/// What a provider says of a dispute that a payer has opened.
#[derive(Clone, Debug)]
pub(crate) struct Disputed {
    /// The provider's name for the charge.
    pub(crate) reference: String,
    /// The provider's name for the dispute.
    pub(crate) name: String,
    /// How much it has taken back.
    pub(crate) amount: Money,
    /// Its word for why.
    pub(crate) reason: String,
}

/// Books what a provider has taken back. Only what has come in is disputed: whoever has not heard of that yet, has now.
pub(crate) fn open_dispute(world: &mut World<'_>, charge: ChargeId, disputed: Disputed) -> Result<(), Halt> {
    let Disputed { reference, name, amount, reason } = disputed;
    super::succeed(world, charge, reference, None)?;
    let requested = world.get::<Charge>(charge)?.requested()?.clone();
    let dispute = DisputeId::of(&requested.terms.method.provider, &name);
    let charged = requested.terms.amount;
    let amount = if amount.currency() == charged.currency() {
        amount
    } else {
        // Nothing is converted here: all of it stands still, and a reconciliation tells what was really taken.
        tracing::error!(%charge, %name, %amount, "disputed in another currency than charged");
        charged
    };
    let shares = shares(world, &requested, amount)?;
    for event in world.execute::<Charge>(charge, Command::OpenDispute { dispute, name, amount, reason, shares })? {
        if let Event::ChargeDisputed { shares, .. } = event {
            bear(world, dispute, &shares)?;
        } else {
            // Its end was heard of before.
            settle_lost(world, charge, dispute)?;
        }
    }
    Ok(())
}

/// Books what has come back, to whoever has borne it.
pub(crate) fn win_dispute(world: &mut World<'_>, charge: ChargeId, name: &str) -> Result<(), Halt> {
    let requested = world.get::<Charge>(charge)?.requested()?.clone();
    let dispute = DisputeId::of(&requested.terms.method.provider, name);
    let currency = requested.terms.amount.currency();
    let mut owing = BTreeMap::new();
    if let Some(domain::charge::Dispute::Open { shares }) = requested.disputes.get(&dispute) {
        for share in shares {
            if let Bearer::Account { owner, .. } = share.bearer {
                owing.insert(owner, owed(world, owner, currency)?);
            }
        }
    }
    for event in world.execute::<Charge>(charge, Command::WinDispute { dispute, owing })? {
        match event {
            Event::ChargeDisputeWon { shares, .. } => regain(world, dispute, &shares)?,
            Event::ChargeRefundRetried { refund, attempt } => super::note_refund(world, charge, refund, attempt)?,
            // Nothing else comes of it.
            _ => {}
        }
    }
    Ok(())
}

/// What was taken is gone.
pub(crate) fn lose_dispute(world: &mut World<'_>, charge: ChargeId, name: &str) -> Result<(), Halt> {
    let provider = &world.get::<Charge>(charge)?.requested()?.terms.method.provider;
    let dispute = DisputeId::of(provider, name);
    if world.execute::<Charge>(charge, Command::LoseDispute { dispute })?.is_empty() {
        return Ok(());
    }
    settle_lost(world, charge, dispute)
}

fn settle_lost(world: &mut World<'_>, charge: ChargeId, dispute: DisputeId) -> Result<(), Halt> {
    for part in applied(world.get::<Charge>(charge)?.requested()?) {
        if let Some(order) = part.order {
            escrows::settle_chargeback(world, order, dispute)?;
        }
    }
    Ok(())
}

fn applied(requested: &Requested) -> Vec<Part> {
    match &requested.phase {
        Phase::Succeeded { applied, .. } => applied.clone(),
        Phase::Open { .. } | Phase::Failed { .. } => Vec::new(),
    }
}

fn owed(world: &mut World<'_>, owner: AccountId, currency: Currency) -> Result<Money, Halt> {
    Ok(match world.get::<Wallet>(WalletId::of(owner, currency))? {
        Wallet::Open(balance) => balance.owed,
        Wallet::Unopened => Money::zero(currency),
    })
}

/// What a seller has borne of chargebacks of an order, and cannot give back to its buyer once more.
pub(crate) fn borne_by_seller(world: &mut World<'_>, order: OrderId) -> Result<Option<Money>, Halt> {
    let escrow = world.get::<Escrow>(order)?.opened()?;
    let (card, seller) = (escrow.card.clone(), escrow.terms.seller);
    let Some(card) = card else { return Ok(None) };
    let borne = world.get::<Charge>(card.charge)?.requested()?.borne_by(seller, order)?;
    Ok(Some(borne).filter(|borne| borne.is_positive()))
}

/// What bearers still have, so that nobody gives the same money twice.
type Purses = BTreeMap<AccountId, Money>;

/// Who bears how much: first what the charge has paid, of every part as large a share as of the whole, then what it has
/// paid nothing with. Banks may take more than was charged.
fn shares(world: &mut World<'_>, requested: &Requested, amount: Money) -> Result<Vec<Share>, Halt> {
    let parts = applied(requested);
    let zero = Money::zero(amount.currency());
    let all = parts.iter().try_fold(zero, |sum, part| sum.plus(part.amount))?;
    let of_parts = amount.min(all)?;
    let weights: Vec<u64> = parts.iter().map(|part| part.amount.minor().unsigned_abs()).collect();
    let mut purses = Purses::new();
    let mut shares = Vec::new();
    for (part, share) in parts.iter().zip(of_parts.split(&weights)) {
        if let Some(order) = part.order {
            shares.extend(shares_of_order(world, requested, order, share, &mut purses)?);
        } else {
            let bearer = from_wallet(world, requested.terms.payer, share, &mut purses)?;
            shares.push(Share { order: None, amount: share, bearer });
        }
    }
    shares.extend(on_their_way(requested, None, amount.minus(of_parts)?)?);
    Ok(shares.into_iter().filter(|share| share.amount.is_positive()).collect())
}

/// Refunds that the payer has from the bank instead, and what is left, which is the marketplace's.
fn on_their_way(requested: &Requested, order: Option<OrderId>, amount: Money) -> Result<Vec<Share>, Halt> {
    let (mut shares, mut left) = (Vec::new(), amount);
    for (refund, amount) in requested.refunds_on_their_way(order) {
        // Of a refund all is taken back, or nothing.
        if amount.minor() <= left.minor() {
            left = left.minus(amount)?;
            shares.push(Share { order, amount, bearer: Bearer::Refund { refund } });
        }
    }
    shares.push(Share { order, amount: left, bearer: Bearer::Marketplace });
    Ok(shares)
}

fn shares_of_order(
    world: &mut World<'_>,
    requested: &Requested,
    order: OrderId,
    amount: Money,
    purses: &mut Purses,
) -> Result<Vec<Share>, Halt> {
    let escrow = world.get::<Escrow>(order)?.opened()?.clone();
    let (buyer, seller) = (escrow.terms.buyer, escrow.terms.seller);
    let held = escrow.held().min(amount)?;
    let kept = match escrow.status() {
        // What another dispute has taken of it is not there to be taken again.
        Status::Released | Status::Split => {
            let left = escrow.left_of_card().minus(requested.borne_by(seller, order)?)?;
            left.max(Money::zero(amount.currency()))?
        }
        Status::AwaitingPayment
        | Status::Funded
        | Status::Inspection
        | Status::Disputed
        | Status::ChargedBack
        | Status::Voided
        | Status::Refunded => Money::zero(amount.currency()),
    };
    let of_seller = amount.minus(held)?.min(kept)?;
    let rest = amount.minus(held)?.minus(of_seller)?;
    let seller_bears = match world.get::<Account>(seller)?.registered() {
        Ok(_) => Bearer::Account { owner: seller, available: Money::zero(amount.currency()), owed: of_seller },
        Err(_) => Bearer::Marketplace,
    };
    let of_rest = if requested.terms.guest {
        on_their_way(requested, Some(order), rest)?
    } else if rest.is_positive() {
        vec![Share { order: Some(order), amount: rest, bearer: from_wallet(world, buyer, rest, purses)? }]
    } else {
        vec![]
    };
    let shares = [(held, Bearer::Escrow), (of_seller, seller_bears)];
    let shares = shares.map(|(amount, bearer)| Share { order: Some(order), amount, bearer });
    Ok(shares.into_iter().chain(of_rest).collect())
}

/// Out of what is available, and the rest is owed; whoever is gone owes nothing.
fn from_wallet(world: &mut World<'_>, owner: AccountId, amount: Money, purses: &mut Purses) -> Result<Bearer, Halt> {
    if world.get::<Account>(owner)?.registered().is_err() {
        return Ok(Bearer::Marketplace);
    }
    let has = match purses.get(&owner) {
        Some(has) => *has,
        None => wallets::available(world, owner, amount.currency())?,
    };
    let available = has.min(amount)?;
    purses.insert(owner, has.minus(available)?);
    Ok(Bearer::Account { owner, available, owed: amount.minus(available)? })
}

/// Lets the escrows and the wallets follow what was taken back.
fn bear(world: &mut World<'_>, dispute: DisputeId, shares: &[Share]) -> Result<(), Halt> {
    for (order, amount) in of_escrows(shares) {
        escrows::charge_back(world, order, dispute, amount)?;
    }
    for (owner, [amount, owed]) in of_accounts(shares)? {
        let give = wallet::Command::GiveChargeback { owner, dispute, amount, owed };
        world.execute::<Wallet>(WalletId::of(owner, amount.currency()), give)?;
    }
    Ok(())
}

/// Lets the escrows and the wallets follow what has come back.
fn regain(world: &mut World<'_>, dispute: DisputeId, shares: &[Share]) -> Result<(), Halt> {
    for (order, _) in of_escrows(shares) {
        escrows::return_chargeback(world, order, dispute)?;
    }
    for (owner, [amount, forgiven]) in of_accounts(shares)? {
        let regain = wallet::Command::RegainChargeback { owner, dispute, amount, forgiven };
        world.execute::<Wallet>(WalletId::of(owner, amount.currency()), regain)?;
    }
    Ok(())
}

fn of_escrows(shares: &[Share]) -> impl Iterator<Item = (OrderId, Money)> {
    let in_escrow = shares.iter().filter(|share| share.bearer == Bearer::Escrow);
    in_escrow.filter_map(|share| Some((share.order?, share.amount)))
}

/// What each account has borne of all orders together, of what is available and of what is owed: a wallet moves once.
fn of_accounts(shares: &[Share]) -> Result<BTreeMap<AccountId, [Money; 2]>, Halt> {
    let mut accounts = BTreeMap::<AccountId, [Money; 2]>::new();
    for share in shares {
        let Bearer::Account { owner, available, owed } = share.bearer else { continue };
        let [before, owed_before] = accounts.remove(&owner).unwrap_or([Money::zero(available.currency()); 2]);
        accounts.insert(owner, [before.plus(available)?, owed_before.plus(owed)?]);
    }
    Ok(accounts)
}
