//! Use cases of accounts. What is asked of a mailbox is sent by [`crate::mail`].

use std::collections::BTreeSet;

use domain::account::{self, Account, Capability, Challenge, Command, Granter, Identity, ProfileChanges};
use domain::affiliate::Affiliate;
use domain::claim::{self, Claim};
use domain::contacts::Contacts;
use domain::referral::Referral;
use domain::seller::Seller;
use domain::session;
use domain::store::Store;
use domain::subscription::Subscription;
use domain::wallet::Wallet;
use domain::{AccountId, ChallengeId, ClaimId, Sealed, SessionId, Timestamp, WalletId};
use eventstore::wrapping::StoredKey;

use crate::engine::{Halt, World};
use crate::{payouts, sessions};

/// Somebody who wants to join, with everything that took time already done.
#[derive(Clone, Debug)]
pub struct Newcomer {
    /// The id minted for the account.
    pub account: AccountId,
    /// The key that seals the identity, as it is stored; committed with it.
    pub key: StoredKey,
    /// Who it is.
    pub identity: Identity,
    /// The claim on the e-mail address.
    pub email: ClaimId,
    /// The claim on the public name.
    pub user_name: ClaimId,
    /// What the account may do.
    pub capabilities: BTreeSet<Capability>,
}

/// Registers somebody: the account and the claims on what must be unique, or nothing.
pub fn register(world: &mut World<'_>, newcomer: &Newcomer) -> Result<(), Halt> {
    let account = newcomer.account;
    for (kind, id) in [(claim::Kind::Email, newcomer.email), (claim::Kind::UserName, newcomer.user_name)] {
        world.execute::<Claim>(id, claim::Command::Claim { kind, owner: account })?;
    }
    world.fresh::<Account>(account);
    world.fresh::<Store>(account);
    world.fresh::<Referral>(account);
    let (identity, capabilities) = (newcomer.identity.clone(), newcomer.capabilities.clone());
    world.execute::<Account>(account, Command::Register { account, identity, capabilities })?;
    world.introduce(newcomer.key.clone());
    Ok(())
}

/// The account that has a claim: on an e-mail address, or on who somebody is elsewhere.
pub fn holder_of(world: &mut World<'_>, claim: ClaimId) -> Result<Option<(AccountId, Account)>, Halt> {
    let Some(owner) = world.get::<Claim>(claim)?.owner() else { return Ok(None) };
    Ok(Some((owner, world.get::<Account>(owner)?.clone())))
}

/// An account as it is.
pub fn get(world: &mut World<'_>, account: AccountId) -> Result<account::Registered, Halt> {
    Ok(world.get::<Account>(account)?.registered()?.clone())
}

/// Another public name for an account, which must not be somebody else's.
#[derive(Clone, Debug)]
pub struct Rename {
    /// The name until now, to which the first of the claims belongs.
    pub from: Sealed<String>,
    /// The claim on it.
    pub former: ClaimId,
    /// The claim on the new name.
    pub next: ClaimId,
}

/// Changes what others see of an account. Whoever changes the public name gives the former one up.
pub fn change_profile(
    world: &mut World<'_>,
    account: AccountId,
    changes: ProfileChanges,
    rename: Option<&Rename>,
) -> Result<(), Halt> {
    if let Some(Rename { from, former, next }) = rename {
        let known = get(world, account)?;
        // Names that are blocked stay with whom they are blocked for.
        known.unblocked()?;
        if known.identity.user_name != *from {
            return Err(account::Error::UserNameChangedMeanwhile.into());
        }
        // Names that differ in nothing but their case are the same claim.
        if former != next {
            world.execute::<Claim>(*next, claim::Command::Claim { kind: claim::Kind::UserName, owner: account })?;
            world.execute::<Claim>(*former, claim::Command::Release { owner: account })?;
        }
    }
    world.execute::<Account>(account, Command::ChangeProfile { changes })?;
    Ok(())
}

/// Asks a mailbox whether somebody reads it. `claim` is the one on its address, which must not be somebody else's.
pub fn challenge_email(
    world: &mut World<'_>,
    account: AccountId,
    challenge: Challenge,
    claim: ClaimId,
) -> Result<(), Halt> {
    let kind = claim::Kind::Email;
    if world.get::<Claim>(claim)?.owner().is_some_and(|owner| owner != account) {
        return Err(claim::Error::Taken { kind }.into());
    }
    world.execute::<Account>(account, Command::ChallengeEmail { challenge })?;
    Ok(())
}

/// The answer to the question whether somebody reads a mailbox.
#[derive(Clone, Copy, Debug)]
pub struct EmailAnswer {
    /// Which question.
    pub challenge: ChallengeId,
    /// The claim on the account's address until now.
    pub former: ClaimId,
    /// The claim on the address that was asked.
    pub answering: ClaimId,
    /// Real time.
    pub now: Timestamp,
}

/// Takes an address as verified. If it is a new one, it becomes the account's and the former one is free.
pub fn verify_email(world: &mut World<'_>, account: AccountId, answer: EmailAnswer) -> Result<(), Halt> {
    let EmailAnswer { challenge, former, answering, now } = answer;
    world.execute::<Account>(account, Command::VerifyEmail { challenge, now })?;
    if former != answering {
        let kind = claim::Kind::Email;
        world.execute::<Claim>(answering, claim::Command::Claim { kind, owner: account })?;
        world.execute::<Claim>(former, claim::Command::Release { owner: account })?;
        payouts::note_access_change(world, account)?;
    }
    Ok(())
}

/// Takes an account's address as verified because somebody vouches for it who knows.
pub fn trust_email(world: &mut World<'_>, account: AccountId) -> Result<(), Halt> {
    world.execute::<Account>(account, Command::TrustEmail {})?;
    Ok(())
}

/// Asks an account's mailbox for a new password; nothing if it was asked a moment ago.
pub fn challenge_password(world: &mut World<'_>, account: AccountId, challenge: Challenge) -> Result<(), Halt> {
    world.execute::<Account>(account, Command::ChallengePassword { challenge })?;
    Ok(())
}

/// Sets the password that the mailbox has answered with, and ends every session.
pub fn reset_password(
    world: &mut World<'_>,
    account: AccountId,
    challenge: ChallengeId,
    password_hash: Sealed<String>,
    now: Timestamp,
) -> Result<(), Halt> {
    world.execute::<Account>(account, Command::ResetPassword { challenge, password_hash, now })?;
    payouts::note_access_change(world, account)
}

/// Replaces a password and ends every session but one.
pub fn change_password(
    world: &mut World<'_>,
    account: AccountId,
    replacing: Option<Sealed<String>>,
    password_hash: Sealed<String>,
    session: SessionId,
) -> Result<(), Halt> {
    // Or it would be spared although it has ended.
    if !sessions::stands(world, account, session)? {
        return Err(session::Error::Ended.into());
    }
    world.execute::<Account>(account, Command::ChangePassword { replacing, password_hash, session })?;
    payouts::note_access_change(world, account)
}

/// Lets an account log in through somebody who knows who it is elsewhere and has verified its address there. Whoever
/// had joined with that address without reading its mailbox loses the account.
pub fn link(world: &mut World<'_>, account: AccountId, claim: ClaimId) -> Result<(), Halt> {
    world.execute::<Claim>(claim, claim::Command::Claim { kind: claim::Kind::Identity, owner: account })?;
    if !world.get::<Account>(account)?.registered()?.email_verified {
        world.execute::<Account>(account, Command::TakeOver {})?;
    }
    world.execute::<Account>(account, Command::Link { claim })?;
    payouts::note_access_change(world, account)
}

/// Allows an account more.
pub fn grant(
    world: &mut World<'_>,
    account: AccountId,
    capabilities: BTreeSet<Capability>,
    by: Granter,
) -> Result<(), Halt> {
    world.execute::<Account>(account, Command::Grant { capabilities, by, reason: None })?;
    Ok(())
}

/// Allows an account less.
pub fn revoke(
    world: &mut World<'_>,
    account: AccountId,
    capabilities: BTreeSet<Capability>,
    by: Granter,
) -> Result<(), Halt> {
    world.execute::<Account>(account, Command::Revoke { capabilities, by, reason: None })?;
    Ok(())
}

/// Lets an account trade no more for now.
pub fn suspend(world: &mut World<'_>, account: AccountId, reason: Sealed<String>, by: Granter) -> Result<(), Halt> {
    world.execute::<Account>(account, Command::Suspend { reason, by })?;
    Ok(())
}

/// Tells an account that something must not happen again, as somebody of the staff. Whether there was anybody to tell:
/// guests have no account, and whoever is forgotten has none any more.
pub(crate) fn warn(world: &mut World<'_>, account: AccountId, by: AccountId) -> Result<bool, Halt> {
    if world.get::<Account>(account)?.registered().is_err() {
        return Ok(false);
    }
    world.execute::<Account>(account, Command::Warn { by })?;
    Ok(true)
}

/// Lets an account trade again.
pub fn reinstate(world: &mut World<'_>, account: AccountId, by: Granter) -> Result<(), Halt> {
    world.execute::<Account>(account, Command::Reinstate { by, reason: None })?;
    Ok(())
}

/// Whether an account trades.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Trade {
    /// It does.
    Allowed,
    /// Not for now.
    Suspended,
    /// Not any more.
    Blocked,
}

/// What somebody of the staff decides about an account. What is not named stays.
#[derive(Clone, Debug)]
pub struct Ruling {
    /// Who.
    pub by: AccountId,
    /// Why, sealed for whom it is about.
    pub reason: Sealed<String>,
    /// Whether it trades from now on.
    pub trade: Option<Trade>,
    /// What it may do from now on.
    pub grant: BTreeSet<Capability>,
    /// What it may not do any more.
    pub revoke: BTreeSet<Capability>,
    /// Whether what counts of violations is forgotten.
    pub pardon: bool,
    /// Accounts that may be administrators beside whoever decides: one must be left.
    pub other_admins: Vec<AccountId>,
}

/// What takes an administrator to grant, to take away, or to rule on whoever has it.
const OF_ADMINS: [Capability; 3] = [Capability::Staff, Capability::Admin, Capability::Audit];

/// Decides something about an account, as staff. Whoever works here is ruled on by an administrator. Nobody rules on
/// themselves, but an administrator may give up what they may do themselves while another is left.
pub fn rule(world: &mut World<'_>, account: AccountId, ruling: &Ruling) -> Result<(), Halt> {
    let Ruling { by, reason, trade, grant, revoke, pardon, other_admins } = ruling.clone();
    require(world, by, Capability::Staff)?;
    let registered = world.get::<Account>(account)?.registered().map_err(|_| account::Error::NotFound)?;
    let (has, is_admin) = (registered.capabilities.clone(), registered.capabilities.contains(&Capability::Admin));
    let touched = || has.iter().chain(&grant).chain(&revoke);
    if touched().any(|capability| OF_ADMINS.contains(capability)) {
        require(world, by, Capability::Admin)?;
    }
    if account == by && (trade.is_some() || pardon || !grant.is_empty()) {
        return Err(account::Error::OwnAccount.into());
    }
    // Whoever decides about somebody else's is one, and stays one.
    if account == by && is_admin && revoke.contains(&Capability::Admin) {
        require_admin_among(world, account, &other_admins)?;
    }
    let (granter, why) = (Granter::Account(by), Some(reason.clone()));
    let trade = trade.map(|trade| match trade {
        Trade::Allowed => Command::Reinstate { by: granter, reason: why.clone() },
        Trade::Suspended => Command::Suspend { reason: reason.clone(), by: granter },
        Trade::Blocked => Command::Block { reason, by: granter },
    });
    let pardon = pardon.then(|| Command::Pardon { by: granter, reason: why.clone() });
    let revoke = Command::Revoke { capabilities: revoke, by: granter, reason: why.clone() };
    let grant = Command::Grant { capabilities: grant, by: granter, reason: why };
    for command in trade.into_iter().chain(pardon).chain([revoke, grant]) {
        world.execute::<Account>(account, command)?;
    }
    Ok(())
}

/// Refuses unless somebody else of `others` is an administrator now.
fn require_admin_among(world: &mut World<'_>, account: AccountId, others: &[AccountId]) -> Result<(), Halt> {
    for other in others.iter().filter(|other| **other != account) {
        if world.get::<Account>(*other)?.require(Capability::Admin).is_ok() {
            return Ok(());
        }
    }
    Err(account::Error::LastAdmin.into())
}

/// Ends all sessions of an account.
pub fn revoke_sessions(world: &mut World<'_>, account: AccountId) -> Result<(), Halt> {
    world.execute::<Account>(account, Command::RevokeSessions { spared: None })?;
    Ok(())
}

/// What goes with an account that is erased.
#[derive(Clone, Debug)]
pub struct Estate {
    /// The address to which the first of the claims belongs.
    pub email: Sealed<String>,
    /// The public name to which the second belongs.
    pub user_name: Sealed<String>,
    /// The claims on its e-mail address and its public name.
    pub claims: Vec<ClaimId>,
    /// Its wallets, which must be empty.
    pub wallets: Vec<WalletId>,
    /// Accounts that may be administrators as well: if it is one, another must be left.
    pub other_admins: Vec<AccountId>,
}

/// Forgets who an account is: its key goes, so that nobody can read what was sealed with it, and its names are free.
/// Nobody can buy of it any more; what it offered is taken off afterwards ([`crate::clearing`]), and its pictures go
/// ([`crate::media`]). Money would be lost with it, so there must be none. Whoever is blocked stays so: the names are not
/// free, and nobody can join with them again.
pub fn erase(world: &mut World<'_>, account: AccountId, estate: &Estate) -> Result<(), Halt> {
    for wallet in &estate.wallets {
        if let Wallet::Open(balance) = world.get::<Wallet>(*wallet)?
            && !balance.is_settled()
        {
            let (available, held, owed) = (balance.available, balance.held, balance.owed);
            return Err(account::Error::NotSettled { available, held, owed }.into());
        }
    }
    let registered = get(world, account)?;
    if registered.identity.email != estate.email {
        return Err(account::Error::EmailChangedMeanwhile.into());
    }
    if registered.identity.user_name != estate.user_name {
        return Err(account::Error::UserNameChangedMeanwhile.into());
    }
    if registered.capabilities.contains(&Capability::Admin) {
        require_admin_among(world, account, &estate.other_admins)?;
    }
    if registered.unblocked().is_ok() {
        for claim in estate.claims.iter().copied().chain(registered.links) {
            world.execute::<Claim>(claim, claim::Command::Release { owner: account })?;
        }
        // Nor does a store come back under its name that staff have closed.
        if let Store::Open(shop) = world.get::<Store>(account)? {
            let claim = shop.about.claim;
            world.execute::<Claim>(claim, claim::Command::Release { owner: account })?;
        }
        if let Affiliate::Enrolled { claim, .. } = *world.get::<Affiliate>(account)? {
            world.execute::<Claim>(claim, claim::Command::Release { owner: account })?;
        }
    }
    payouts::close(world, account)?;
    world.execute::<Account>(account, Command::Erase {})?;
    world.forget(account);
    Ok(())
}

/// Lets an account go whose address nobody has verified in time. Whatever would keep it takes its timer off, so there is
/// nothing that could be lost with it; what began a moment ago is looked at here, as far as it is known by the account.
pub(crate) fn leave_unverified(world: &mut World<'_>, account: AccountId, estate: &Estate) -> Result<(), Halt> {
    let stays = get(world, account)?.email_verified
        || matches!(world.get::<Store>(account)?, Store::Open(_))
        || matches!(world.get::<Affiliate>(account)?, Affiliate::Enrolled { .. })
        || world.get::<Seller>(account)?.offers > 0
        || world.version::<Contacts>(account)? > 0
        || world.version::<Subscription>(account)? > 0;
    if stays { Ok(()) } else { erase(world, account, estate) }
}

/// Refuses unless the account may do what `needed` names. What takes somebody of the staff is done in that capacity, and
/// found in the record of what staff have done.
pub fn require(world: &mut World<'_>, account: AccountId, needed: Capability) -> Result<(), Halt> {
    world.get::<Account>(account)?.require(needed)?;
    match needed {
        Capability::Staff | Capability::Admin | Capability::Audit => world.act_as(needed),
        Capability::Buy | Capability::Sell => {}
    }
    Ok(())
}

/// Whether an account may trade. Whoever is forgotten, or never had an account, may not.
pub(crate) fn may_trade(world: &mut World<'_>, account: AccountId) -> Result<bool, Halt> {
    Ok(world.get::<Account>(account)?.registered().is_ok_and(|registered| registered.unblocked().is_ok()))
}

/// Whether an account is there and may not trade.
pub(crate) fn is_barred(world: &mut World<'_>, account: AccountId) -> Result<bool, Halt> {
    Ok(world.get::<Account>(account)?.registered().is_ok_and(|registered| registered.unblocked().is_err()))
}
