//! Use cases of reports: what should not be here, and what staff do about it, in one commit with what they say of it.

use domain::account::{Account, Capability};
use domain::chat::Chat;
use domain::listing::Listing;
use domain::report::{Command, Error, Filed, Outcome, Reason, Report, Target};
use domain::reporter::{self, Reporter};
use domain::review::Review;
use domain::ruling::Ruling;
use domain::{AccountId, ReportId, Sealed};

use crate::engine::{Halt, World};
use crate::{accounts, engagement, listings, reviews};

/// What somebody tells staff.
#[derive(Clone, Debug)]
pub struct Told {
    /// Of what.
    pub target: Target,
    /// What is wrong with it.
    pub reason: Reason,
    /// In words.
    pub text: Option<Sealed<String>>,
}

/// Tells staff of something. Nobody does so more than `most` times a day.
pub fn file(world: &mut World<'_>, reporter: AccountId, told: &Told, most: u32) -> Result<ReportId, Halt> {
    accounts::get(world, reporter)?.unblocked()?;
    let Told { target, reason, text } = told.clone();
    let hidden = Error::NoSuchTarget { kind: target.kind() };
    let about = owner_of(world, &target, reporter).map_err(|halt| halt.hidden_as(hidden))?;
    let report = target.report_by(reporter);
    world.execute::<Report>(report, Command::File { reporter, target, about, reason, text })?;
    let today = world.now().date_naive();
    world.execute::<Reporter>(reporter, reporter::Command::Count { today, most })?;
    Ok(report)
}

/// Whose something is, if `viewer` may see it.
fn owner_of(world: &mut World<'_>, target: &Target, viewer: AccountId) -> Result<AccountId, Halt> {
    match *target {
        Target::Listing(listing) => engagement::require_shown(world, listing, Some(viewer)),
        Target::User(account) => Ok(world.get::<Account>(account)?.registered().map(|_| account)?),
        // What was written decides nothing, so a chat does not know its messages: whoever asks sees to it that there is one.
        Target::Message { chat, .. } => Ok(world.get::<Chat>(chat)?.of_party(viewer)?.other(viewer)),
        Target::Review(review) => Ok(world.get::<Review>(review)?.shown()?.author),
    }
}

/// Decides on a report, as staff, and does what the outcome says, or sees to it that it was done. `reason` is what the
/// seller of a listing is told that is taken away.
pub fn resolve(
    world: &mut World<'_>,
    report: ReportId,
    outcome: Outcome,
    ruling: &Ruling,
    reason: &str,
) -> Result<(), Halt> {
    accounts::require(world, ruling.by, Capability::Staff)?;
    let known = world.get::<Report>(report)?;
    let (Filed { target, about, .. }, before) = (*known.filed()?, known.outcome());
    // First, since it says who may decide and what can come of it.
    world.execute::<Report>(report, Command::Resolve { ruling: ruling.clone(), outcome })?;
    match (outcome, target) {
        (Outcome::ListingRemoved, Target::Listing(listing)) => {
            if !matches!(world.get::<Listing>(listing)?, Listing::Removed(_)) {
                listings::remove(world, listing, ruling.by, reason)?;
            }
        }
        (Outcome::ReviewHidden, Target::Review(review)) => reviews::hide(world, review, ruling)?,
        (Outcome::AccountBlocked, _) if !accounts::is_barred(world, about)? => {
            return Err(Error::NotDone { outcome }.into());
        }
        (Outcome::AccountWarned, _) if before != Some(outcome) => {
            if !accounts::warn(world, about, ruling.by)? {
                return Err(Error::NotDone { outcome }.into());
            }
        }
        (
            Outcome::Dismissed
            | Outcome::AccountWarned
            | Outcome::AccountBlocked
            | Outcome::ListingRemoved
            | Outcome::ReviewHidden,
            _,
        ) => {}
    }
    // Who decides otherwise takes back what was done.
    if let (Some(Outcome::ReviewHidden), Target::Review(review)) = (before, target)
        && outcome != Outcome::ReviewHidden
    {
        reviews::restore(world, review, ruling)?;
    }
    Ok(())
}
