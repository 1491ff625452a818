//! Use cases of affiliates: who has a referral code, who clicks on it, and whom it has brought here. What that earns is in
//! [`crate::commissions`].

use domain::account::Account;
use domain::affiliate::{self, Affiliate, Error};
use domain::claim::{self, Claim};
use domain::referral::{self, Referral, Source};
use domain::referral_click::{self, ReferralClick};
use domain::{AccountId, ClaimId, ReferralClickId, Sealed, Timestamp};

use crate::accounts;
use crate::engine::{Halt, World};

/// Gives an account a referral code, which nobody else has.
pub fn enrol(world: &mut World<'_>, owner: AccountId, code: &Sealed<String>, claim: ClaimId) -> Result<(), Halt> {
    accounts::get(world, owner)?.unblocked()?;
    let enrol = affiliate::Command::Enrol { owner, code: code.clone(), claim };
    world.execute::<Affiliate>(owner, enrol)?;
    let kind = claim::Kind::ReferralCode;
    world.execute::<Claim>(claim, claim::Command::Claim { kind, owner })?;
    Ok(())
}

/// The code of an account that has one.
pub fn code_of(world: &mut World<'_>, owner: AccountId) -> Result<Sealed<String>, Halt> {
    match world.get::<Affiliate>(owner)? {
        Affiliate::NotEnrolled => Err(Error::NoSuchCode.into()),
        Affiliate::Enrolled { code, .. } => Ok(code.clone()),
    }
}

/// Whose code it is. Whoever may not trade, or is forgotten, has none.
pub fn owner_of(world: &mut World<'_>, claim: ClaimId) -> Result<AccountId, Halt> {
    let owner = world.get::<Claim>(claim)?.owner().ok_or(Error::NoSuchCode)?;
    if may_earn(world, owner)? { Ok(owner) } else { Err(Error::NoSuchCode.into()) }
}

/// Whether an affiliate earns anything new.
pub(crate) fn may_earn(world: &mut World<'_>, affiliate: AccountId) -> Result<bool, Halt> {
    Ok(world.get::<Account>(affiliate)?.registered().is_ok_and(|account| account.unblocked().is_ok()))
}

/// A click that was noted.
#[derive(Clone, Copy, Debug)]
pub struct Clicked {
    /// Whether it was the first of its visitor on this day.
    pub counted: bool,
    /// When the last one was that is noted.
    pub at: Timestamp,
}

/// Notes a click on an affiliate's link, which counts if it is the first of its visitor on this day. Who is logged in came
/// by it.
pub fn click(
    world: &mut World<'_>,
    click: ReferralClickId,
    affiliate: AccountId,
    by: Option<AccountId>,
) -> Result<Clicked, Halt> {
    if by == Some(affiliate) {
        return Err(Error::OwnCode.into());
    }
    let now = world.now();
    let events = world.execute::<ReferralClick>(click, referral_click::Command::Count { affiliate, now })?;
    if let Some(by) = by {
        follow(world, by, click)?;
    }
    let at = match *world.get::<ReferralClick>(click)? {
        ReferralClick::Absent => now,
        ReferralClick::Counted { at, .. } => at,
    };
    let counted = events.iter().any(|event| matches!(event, referral_click::Event::ReferralClicked { .. }));
    Ok(Clicked { counted, at })
}

/// Notes by which click an account came. One that was never counted, or is on the account's own code, says nothing: it
/// keeps nobody from joining or buying.
pub fn follow(world: &mut World<'_>, account: AccountId, click: ReferralClickId) -> Result<(), Halt> {
    let ReferralClick::Counted { affiliate, at: clicked_at, .. } = *world.get::<ReferralClick>(click)? else {
        return Ok(());
    };
    if affiliate != account {
        let source = Source { affiliate, click, clicked_at };
        world.execute::<Referral>(account, referral::Command::Follow { source })?;
    }
    Ok(())
}
