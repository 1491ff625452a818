//! Which rate a sale would have had: what was said at the time, with what the other rules say over it.
//!
//! The settings are in no log; but the rate of a sale of which nothing nearer was said is the usual one of its day, and
//! every line of an order keeps its rate. So the usual rate is known wherever it counts.

use std::collections::{BTreeMap, BTreeSet};

use super::policy;
use crate::aggregate::Aggregate;
use crate::fees::{Rates, Said};
use crate::ids::{AccountId, CategoryId, ListingId, PlanId};
use crate::order::{Line, Terms};
use crate::plan::FREE;
use crate::subscription::Subscription;
use crate::{category, listing, plan, seller, subscription};

/// A place in the log.
type Place = i64;

/// The longest way up from a category. The tree is not as deep; a circle, which nobody can make, ends here.
const MOST_ABOVE: usize = 32;

/// What was said over time of what others go by, the first thing first.
#[derive(Clone, Debug)]
struct Timeline<T>(Vec<(Place, T)>);

impl<T> Default for Timeline<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Timeline<T> {
    fn say(&mut self, from: Place, what: T) {
        self.0.push((from, what));
    }

    /// What counted before that place.
    fn before(&self, place: Place) -> Option<&T> {
        let later = self.0.partition_point(|(from, _)| *from < place);
        Some(&self.0.get(later.checked_sub(1)?)?.1)
    }

    fn last(&self) -> Option<&T> {
        self.0.last().map(|(_, what)| what)
    }
}

/// What a category says.
#[derive(Clone, Debug)]
struct OfCategory {
    fee_bps: Option<u32>,
    /// The one above it.
    parent: Option<String>,
}

/// The plan that somebody has, and what it says.
#[derive(Clone, Debug, Eq, PartialEq)]
struct OfPlan {
    slug: String,
    fee_bps: Option<u32>,
}

/// What was said of fees, as far as it has been read. Events of one stream are taken in their order.
#[derive(Clone, Debug, Default)]
pub struct RateBook {
    /// What each category says, and which is above it.
    categories: BTreeMap<CategoryId, Timeline<OfCategory>>,
    /// The plans that somebody has defined.
    defined: BTreeSet<PlanId>,
    /// What the plan of whoever has no other says.
    free: Timeline<Option<u32>>,
    /// What was agreed with a seller.
    sellers: BTreeMap<AccountId, Timeline<Option<u32>>>,
    /// Which plan a seller has, and what it says.
    plans: BTreeMap<AccountId, Timeline<Option<OfPlan>>>,
    subscriptions: BTreeMap<AccountId, Subscription>,
    /// The category of a listing.
    listings: BTreeMap<ListingId, Timeline<String>>,
}

impl RateBook {
    /// Forgets what was said of single listings and sellers, so that it stays as small as what is looked at.
    pub fn turn_page(&mut self) {
        let Self { categories: _, defined: _, free: _, sellers, plans, subscriptions, listings } = self;
        sellers.clear();
        plans.clear();
        subscriptions.clear();
        listings.clear();
    }

    /// Takes in what became of a category.
    pub fn take_category(&mut self, place: Place, id: CategoryId, event: &category::Event) {
        match event {
            category::Event::CategoryDefined { definition, .. }
            | category::Event::CategoryRevised { definition, .. } => {
                let said = OfCategory { fee_bps: definition.fee_bps, parent: definition.parent.clone() };
                self.categories.entry(id).or_default().say(place, said);
            }
            // Its listings go on being charged what it says.
            category::Event::CategoryClosed { .. } => {}
        }
    }

    /// Takes in what became of a plan. Plans that are bought keep what they were bought with.
    pub fn take_plan(&mut self, place: Place, id: PlanId, event: &plan::Event) {
        self.defined.insert(id);
        if id != PlanId::of(FREE) {
            return;
        }
        match event {
            plan::Event::PlanDefined { definition, .. } | plan::Event::PlanRevised { definition, .. } => {
                self.free.say(place, definition.fee_bps);
            }
        }
    }

    /// Takes in what became of a seller.
    pub fn take_seller(&mut self, place: Place, id: AccountId, event: &seller::Event) {
        match event {
            seller::Event::FeeAgreed { fee_bps, .. } => self.sellers.entry(id).or_default().say(place, *fee_bps),
            seller::Event::OfferAdded { .. } | seller::Event::OfferWithdrawn { .. } => {}
        }
    }

    /// Takes in what became of a seller's subscription.
    pub fn take_subscription(&mut self, place: Place, id: AccountId, event: &subscription::Event) {
        let subscription = self.subscriptions.entry(id).or_default();
        subscription.evolve(event);
        let plan = subscription.running().map(|running| {
            let terms = &running.terms;
            OfPlan { slug: terms.plan.clone(), fee_bps: terms.fee_bps }
        });
        let said = self.plans.entry(id).or_default();
        if said.last() != Some(&plan) {
            said.say(place, plan);
        }
    }

    /// Takes in what became of a listing.
    pub fn take_listing(&mut self, place: Place, id: ListingId, event: &listing::Event) {
        let category = match event {
            listing::Event::ListingDrafted { details, .. } => Some(&details.category),
            listing::Event::ListingRevised { changes } => changes.category.as_ref(),
            listing::Event::ListingSubmitted { .. }
            | listing::Event::ListingApproved { .. }
            | listing::Event::ListingRejected { .. }
            | listing::Event::ListingReturned {}
            | listing::Event::ListingPublished {}
            | listing::Event::ListingPaused {}
            | listing::Event::ListingResumed {}
            | listing::Event::ListingArchived { .. }
            | listing::Event::ListingRemoved { .. }
            | listing::Event::ListingFeatured { .. }
            | listing::Event::ListingUnfeatured { .. }
            | listing::Event::DiscountSet { .. }
            | listing::Event::DiscountOpened { .. }
            | listing::Event::DiscountClosed {}
            | listing::Event::ImageAttached { .. }
            | listing::Event::ImageDetached { .. } => None,
        };
        if let Some(category) = category {
            self.listings.entry(id).or_default().say(place, category.clone());
        }
    }

    /// A category or a plan that these rules name, by their key, and that there never was.
    pub fn undefined(&self, fees: &policy::Fees) -> Option<String> {
        let category = fees.categories.keys().find(|slug| !self.categories.contains_key(&CategoryId::of(slug)));
        let is_shipped = |slug: &str| plan::shipped(None).iter().any(|plan| plan.slug == slug);
        let is_plan = |slug: &str| is_shipped(slug) || self.defined.contains(&PlanId::of(slug));
        let plan = || fees.plans.keys().find(|slug| !is_plan(slug)).map(|slug| format!("fees.plans.{slug}"));
        category.map(|slug| format!("fees.categories.{slug}")).or_else(plan)
    }

    /// The rates of the lines of an order that was placed there, under these rules.
    pub fn rates(&self, fees: &policy::Fees, place: Place, terms: &Terms) -> Vec<u32> {
        terms.lines.iter().map(|line| self.rate(fees, place, terms.seller, line)).collect()
    }

    fn rate(&self, fees: &policy::Fees, place: Place, seller: AccountId, line: &Line) -> u32 {
        let was = line.fee_bps;
        if let Some(flat) = fees.flat_bps {
            return flat;
        }
        // Whether it is another than it was, beside the rate: what was said and is not said otherwise is what the line has.
        let over = |other: Option<&u32>, said: Option<u32>| match other {
            Some(bps) => Some((true, *bps)),
            None => said.map(|bps| (false, bps)),
        };
        let agreed = over(fees.sellers.get(&seller), self.sellers.get(&seller).and_then(|said| *said.before(place)?));
        let plan = match self.plans.get(&seller).and_then(|said| said.before(place)?.as_ref()) {
            Some(OfPlan { slug, fee_bps }) => over(fees.plans.get(slug), *fee_bps),
            None => over(fees.plans.get(FREE), self.free.before(place).copied().flatten()),
        };
        let category = self.listings.get(&line.listing).and_then(|said| said.before(place));
        let category = category.and_then(|slug| self.category(fees, place, slug));
        let usual = over(fees.usual_bps.as_ref(), Some(was)).unwrap_or((false, was));
        let bps = |of: Option<(bool, u32)>| of.map(|(_, bps)| bps);
        let rates = Rates { usual: usual.1, category: bps(category), plan: bps(plan), seller: bps(agreed) };
        let (said, counting) = rates.said();
        let is_other = match said {
            Said::Usually => Some(usual),
            Said::ByCategory => category,
            Said::ByPlan => plan,
            Said::WithSeller => agreed,
        };
        if is_other.is_some_and(|(is_other, _)| is_other) { counting } else { was }
    }

    /// What a category says, or the nearest above it that says something.
    fn category(&self, fees: &policy::Fees, place: Place, slug: &str) -> Option<(bool, u32)> {
        let mut next = Some(slug);
        for _ in 0..MOST_ABOVE {
            let slug = next?;
            if let Some(bps) = fees.categories.get(slug) {
                return Some((true, *bps));
            }
            let OfCategory { fee_bps, parent } = self.categories.get(&CategoryId::of(slug))?.before(place)?;
            if let Some(bps) = fee_bps {
                return Some((false, *bps));
            }
            next = parent.as_deref();
        }
        None
    }
}

#[cfg(test)]
mod tests;
