//! Something offered for sale, at a fixed price or by auction.
//!
//! `Absent → Draft → (Pending →) Active ⇄ Paused → Archived`, where `Pending` waits for a look of the staff if the
//! marketplace wants one; a draft may be archived unpublished, and the staff may remove anything. The sale of an auction
//! listing is the [`crate::auction`] of the same id; its terms rest here until the listing is published. Invariants:
//! what is archived or removed never comes back, and what is removed has no images; the terms of an auction cannot
//! change once it is published; a discount is one of what is sold at a fixed price, and makes it cheaper; where the
//! staff look first, nobody sees words that they have had no time to look at, and what was paused before they look is
//! paused afterwards.

mod details;
mod discount;
#[cfg(test)]
mod tests;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::Timestamp;
use crate::aggregate::{Aggregate, event_versions};
use crate::category::Attributes;
use crate::ids::{AccountId, ListingId};
use crate::money::{Currency, Money};
use crate::stock::Sku;

pub use details::{AuctionPlan, Changes, Condition, Delivery, Details, Sale, Variant};
pub use discount::{Discount, Off};

/// The most images of one listing.
pub const MOST_IMAGES: usize = 10;

/// What is asked of a listing.
#[derive(Clone, Debug)]
pub enum Command {
    /// Write it down.
    Draft {
        /// Who sells.
        seller: AccountId,
        /// What it is.
        details: Details,
        /// How it is sold.
        sale: Sale,
    },
    /// Change what it is, or its price. A field that is `None` stays as it is.
    Revise {
        /// Who asks.
        by: AccountId,
        /// The new values.
        changes: Changes,
        /// When it is offered again at the latest, if the staff is to look at new words first.
        review_until: Option<Timestamp>,
    },
    /// Offer it, or ask the staff to let it be offered.
    Publish {
        /// Who asks.
        by: AccountId,
        /// When it is offered at the latest, if the staff is to look at it first.
        review_until: Option<Timestamp>,
    },
    /// Offer what waits for it; what was paused stays so.
    Approve {
        /// Who says so.
        by: Approver,
        /// The time.
        now: Timestamp,
    },
    /// Give back what nobody of the staff has looked at in time, because its seller may not offer anything now.
    Return {
        /// The time.
        now: Timestamp,
    },
    /// Give back what waits to be offered.
    Reject {
        /// Who of the staff.
        by: AccountId,
        /// Why.
        reason: String,
    },
    /// Offer it no more for a while.
    Pause {
        /// Who asks.
        by: AccountId,
    },
    /// Offer it again.
    Resume {
        /// Who asks.
        by: AccountId,
    },
    /// Take it off, for good.
    Archive {
        /// Why.
        cause: ArchiveCause,
    },
    /// Take it away, so that nobody but its seller sees it, and its images with it.
    Remove {
        /// Who of the staff.
        by: AccountId,
        /// Why.
        reason: String,
    },
    /// Feature it, or no longer.
    Feature {
        /// Who of the staff.
        by: AccountId,
        /// Whether.
        featured: bool,
    },
    /// Ask less for it for a while, or no longer.
    SetDiscount {
        /// Who asks.
        by: AccountId,
        /// How much less, and when.
        discount: Option<Discount>,
        /// The time.
        now: Timestamp,
    },
    /// Note that the window of its discount has opened or closed.
    TurnDiscount {
        /// The time.
        now: Timestamp,
    },
    /// Show it with one more image.
    AttachImage {
        /// Who asks.
        by: AccountId,
        /// The name of the image.
        image: String,
        /// When it is offered again at the latest, if the staff is to look at the image first.
        review_until: Option<Timestamp>,
    },
    /// Show it without an image.
    DetachImage {
        /// Who asks.
        by: AccountId,
        /// The name of the image.
        image: String,
    },
}

/// Why a listing was taken off. Part of the storage format.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ArchiveCause {
    /// Its seller took it off.
    Seller(AccountId),
    /// Its auction ended, with a winner or without.
    AuctionEnded,
    /// Its auction was called off.
    AuctionCancelled,
    /// The last of it was sold long ago.
    SoldOut,
}

/// Who lets a listing be offered. Part of the storage format.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Approver {
    /// Somebody of the staff.
    Staff(AccountId),
    /// The time within which the staff could have said no.
    Time,
}

/// What happens to a listing. This is the storage format.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub enum Event {
    /// It was written down.
    ListingDrafted {
        /// Who sells.
        seller: AccountId,
        /// What it is.
        details: Details,
        /// How it is sold.
        sale: Sale,
    },
    /// It was changed.
    ListingRevised {
        /// The new values.
        changes: Changes,
    },
    /// It waits for the staff.
    ListingSubmitted {
        /// When it is offered unless the staff says no.
        review_until: Timestamp,
    },
    /// It may be offered: from the next event on it is, or is paused as it was before.
    ListingApproved {
        /// Who said so.
        by: Approver,
    },
    /// It was given back, and is a draft again.
    ListingRejected {
        /// Who of the staff.
        by: AccountId,
        /// Why.
        reason: String,
    },
    /// It was given back, and is a draft again: when it would have been offered, its seller might not offer anything.
    ListingReturned {},
    /// It is offered.
    ListingPublished {},
    /// It is not offered for a while.
    ListingPaused {},
    /// It is offered again.
    ListingResumed {},
    /// It is offered no more.
    ListingArchived {
        /// Why.
        cause: ArchiveCause,
    },
    /// It was taken away.
    ListingRemoved {
        /// Who of the staff.
        by: AccountId,
        /// Why.
        reason: String,
    },
    /// It is featured.
    ListingFeatured {
        /// Who of the staff.
        by: AccountId,
    },
    /// It is shown like any other.
    ListingUnfeatured {
        /// Who of the staff.
        by: AccountId,
    },
    /// Less is asked for it for a while, or no longer.
    DiscountSet {
        /// How much less, and when.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        discount: Option<Discount>,
    },
    /// From now on less is asked for it.
    DiscountOpened {
        /// Until when.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<Timestamp>,
    },
    /// The discount is over and gone.
    DiscountClosed {},
    /// It is shown with one more image, after those that it has.
    ImageAttached {
        /// The name of the image.
        image: String,
    },
    /// It is shown without an image.
    ImageDetached {
        /// The name of the image.
        image: String,
    },
}

event_versions!(Event {
    ListingDrafted = "3" | "2" | "1",
    ListingRevised = "3" | "2" | "1",
    ListingSubmitted = "1",
    ListingApproved = "1",
    ListingRejected = "1",
    ListingReturned = "1",
    ListingPublished = "1",
    ListingPaused = "1",
    ListingResumed = "1",
    ListingArchived = "2" | "1",
    ListingRemoved = "1",
    ListingFeatured = "1",
    ListingUnfeatured = "1",
    DiscountSet = "1",
    DiscountOpened = "1",
    DiscountClosed = "1",
    ImageAttached = "1",
    ImageDetached = "1",
});

/// Why a listing refuses.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Error {
    /// There is no such listing, or it is somebody else's.
    #[error("there is no such listing")]
    NotFound,
    /// One id, one listing.
    #[error("the listing exists already")]
    AlreadyDrafted,
    /// A price is above zero.
    #[error("the price must be above zero; {offered} was offered")]
    PriceNotPositive {
        /// What was asked.
        offered: Money,
    },
    /// Sending something costs nothing, or more.
    #[error("the shipping charge must not be negative; {offered} was offered")]
    ShippingNegative {
        /// What was asked.
        offered: Money,
    },
    /// All amounts of a listing are in one currency.
    #[error("this listing is in {expected}, the amount is in {offered}")]
    WrongCurrency {
        /// The currency of the price.
        expected: Currency,
        /// The currency of the amount.
        offered: Currency,
    },
    /// Each variant has a name of its own.
    #[error("{variants} variants have {skus} different SKUs")]
    SkuRepeated {
        /// How many variants there are.
        variants: usize,
        /// How many names they have.
        skus: usize,
    },
    /// What is bought must exist in the form that is named.
    #[error("the listing does not come in this form: it has {variants} variants")]
    NoSuchVariant {
        /// How many variants there are.
        variants: usize,
    },
    /// It can be bought only while it is offered.
    #[error("the listing is not offered")]
    NotOffered,
    /// An auction is won, not bought, and has neither discounts nor pauses.
    #[error("the listing is sold by auction")]
    SoldByAuction,
    /// It is off for good.
    #[error("the listing is archived")]
    Archived,
    /// The staff has taken it away.
    #[error("the listing was removed by the staff")]
    Removed,
    /// Bidders rely on the terms.
    #[error("how a published auction is sold, sent and delivered cannot change")]
    AuctionPublished,
    /// Bidders have seen what it says of itself, and no staff would look at what it says instead.
    #[error("what a published auction says and shows of itself cannot change where the staff look first")]
    AuctionReviewed,
    /// An auction is called off, not archived.
    #[error("the auction of this listing must be cancelled first")]
    AuctionRunning,
    /// Only what waits can be let through or given back.
    #[error("the listing does not wait for a review")]
    NotPending,
    /// Nobody of the staff rules on what is theirs.
    #[error("nobody rules on a listing of their own")]
    OwnListing,
    /// The staff still have time to look.
    #[error("the review goes on until {review_until}")]
    ReviewOpen {
        /// Until when.
        review_until: Timestamp,
    },
    /// The window of its discount neither opens nor closes yet.
    #[error("the discount turns at {at}")]
    DiscountNotTurning {
        /// When it does.
        at: Timestamp,
    },
    /// A discount makes something cheaper.
    #[error("a discount must be below the price {price}; {offered} was offered")]
    NoDiscount {
        /// The price.
        price: Money,
        /// What was asked.
        offered: Money,
    },
    /// A discount is part of the price.
    #[error("a discount is 1 to {maximum} basis points; {offered} were offered")]
    DiscountOutOfRange {
        /// Almost all of it.
        maximum: u32,
        /// What was asked.
        offered: u32,
    },
    /// A discount ends after it begins, and not before it is set.
    #[error("the discount would be over at {until}")]
    DiscountOver {
        /// Its end.
        until: Timestamp,
        /// The time.
        now: Timestamp,
    },
    /// A listing has so many images.
    #[error("a listing has at most {maximum} images")]
    TooManyImages {
        /// How many.
        maximum: usize,
    },
    /// It has no such image.
    #[error("the listing has no such image")]
    NoSuchImage,
}

/// A listing.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub enum Listing {
    /// Never written down.
    #[default]
    Absent,
    /// Written down, not offered.
    Draft(Offer),
    /// Waits for the staff.
    Pending {
        /// What is to be offered.
        offer: Offer,
        /// When it is offered unless the staff says no.
        review_until: Timestamp,
        /// Whether its seller had paused it: then it is paused again afterwards, and not offered.
        paused: bool,
    },
    /// Offered.
    Active(Offer),
    /// Not offered for a while.
    Paused(Offer),
    /// Off for good.
    Archived(Offer),
    /// Taken away by the staff.
    Removed(Offer),
}

/// What a listing decides by, and what an order freezes of it. The rest is shown by read models and decides nothing.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Offer {
    /// Who sells.
    pub seller: AccountId,
    /// How it is sold.
    pub sale: Sale,
    /// What it is, in a few words.
    pub title: String,
    /// The slug of its category.
    pub category: String,
    /// What it says of itself.
    pub attributes: Attributes,
    /// How it reaches its buyer.
    pub delivery: Delivery,
    /// What sending one piece costs.
    pub shipping: Option<Money>,
    /// What is asked less for it, and when.
    pub discount: Option<Discount>,
    /// Whether the window of the discount was noted to be open. What a buyer pays goes by the time alone.
    pub on_sale: bool,
    /// Whether the staff features it.
    pub featured: bool,
    /// The names of its images, in the order in which they are shown.
    pub images: Vec<String>,
    /// Whether it was ever offered.
    pub published: bool,
}

impl Listing {
    /// The offer, if the listing was ever written down.
    pub fn offer(&self) -> Result<&Offer, Error> {
        match self {
            Self::Absent => Err(Error::NotFound),
            Self::Draft(offer)
            | Self::Pending { offer, .. }
            | Self::Active(offer)
            | Self::Paused(offer)
            | Self::Archived(offer)
            | Self::Removed(offer) => Ok(offer),
        }
    }

    /// The offer, if `viewer` may see it: what was never published, waits for the staff, was given back or taken away by
    /// them is there for its seller alone.
    pub fn shown_to(&self, viewer: Option<AccountId>) -> Result<&Offer, Error> {
        let offer = self.offer()?;
        let is_hidden = matches!(self, Self::Draft(_) | Self::Pending { .. } | Self::Removed(_));
        let is_public = offer.published && !is_hidden;
        if is_public || viewer == Some(offer.seller) { Ok(offer) } else { Err(Error::NotFound) }
    }

    /// The offer, if the listing can be bought now.
    pub fn offered_to(&self, buyer: AccountId) -> Result<&Offer, Error> {
        let offer = self.shown_to(Some(buyer))?;
        if matches!(self, Self::Active(_)) { Ok(offer) } else { Err(Error::NotOffered) }
    }

    /// Whose it is, if it counts among what they have on offer: it is offered, waits for the staff to be, or is paused.
    pub fn on_offer_of(&self) -> Option<AccountId> {
        match self {
            Self::Pending { offer, .. } | Self::Active(offer) | Self::Paused(offer) => Some(offer.seller),
            Self::Absent | Self::Draft(_) | Self::Archived(_) | Self::Removed(_) => None,
        }
    }

    /// The offer, if the listing is `account`'s; somebody else's is as good as absent.
    pub fn owned_by(&self, account: AccountId) -> Result<&Offer, Error> {
        self.offer().and_then(|offer| if offer.seller == account { Ok(offer) } else { Err(Error::NotFound) })
    }

    /// The offer, if it can still change.
    fn changeable(&self) -> Result<&Offer, Error> {
        match self {
            Self::Archived(_) => Err(Error::Archived),
            Self::Removed(_) => Err(Error::Removed),
            Self::Absent | Self::Draft(_) | Self::Pending { .. } | Self::Active(_) | Self::Paused(_) => self.offer(),
        }
    }

    fn offer_mut(&mut self) -> Option<&mut Offer> {
        match self {
            Self::Absent => None,
            Self::Draft(offer)
            | Self::Pending { offer, .. }
            | Self::Active(offer)
            | Self::Paused(offer)
            | Self::Archived(offer)
            | Self::Removed(offer) => Some(offer),
        }
    }
}

impl Aggregate for Listing {
    const TYPE: &'static str = "listing";
    type Id = ListingId;
    type Command = Command;
    type Event = Event;
    type Error = Error;

    fn decide(&self, command: Command) -> Result<Vec<Event>, Error> {
        match command {
            Command::Draft { seller, details, sale } => match self {
                Self::Absent => {
                    check_amounts(&sale, details.shipping)?;
                    Ok(vec![Event::ListingDrafted { seller, details, sale }])
                }
                _ => Err(Error::AlreadyDrafted),
            },
            Command::Revise { by, changes, review_until } => {
                self.owned_by(by)?;
                self.revise(changes, review_until)
            }
            Command::Publish { by, review_until } => {
                self.owned_by(by)?;
                self.publish(review_until)
            }
            Command::Approve { by, now } => self.approve(by, now),
            Command::Return { now } => self.waits(now, Approver::Time).map(|()| vec![Event::ListingReturned {}]),
            Command::Reject { by, reason } => match self {
                Self::Pending { .. } => Ok(vec![Event::ListingRejected { by, reason }]),
                _ => self.changeable().and(Err(Error::NotPending)),
            },
            Command::Pause { by } => {
                self.owned_by(by)?;
                match self {
                    Self::Active(Offer { sale: Sale::Auction(_), .. }) => Err(Error::SoldByAuction),
                    Self::Active(_) => Ok(vec![Event::ListingPaused {}]),
                    Self::Paused(_) => Ok(vec![]),
                    _ => self.changeable().and(Err(Error::NotOffered)),
                }
            }
            Command::Resume { by } => {
                self.owned_by(by)?;
                match self {
                    Self::Paused(_) => Ok(vec![Event::ListingResumed {}]),
                    Self::Active(_) => Ok(vec![]),
                    _ => self.changeable().and(Err(Error::NotOffered)),
                }
            }
            Command::Archive { cause } => self.archive(cause),
            Command::Remove { by, reason } => self.remove(by, reason),
            Command::Feature { by, featured } => Ok(match (self.changeable()?.featured, featured) {
                (false, true) => vec![Event::ListingFeatured { by }],
                (true, false) => vec![Event::ListingUnfeatured { by }],
                (true, true) | (false, false) => vec![],
            }),
            Command::SetDiscount { by, discount, now } => {
                self.owned_by(by)?;
                set_discount(self.changeable()?, discount, now)
            }
            Command::TurnDiscount { now } => self.turn_discount(now),
            Command::AttachImage { by, image, review_until } => {
                self.owned_by(by)?;
                let images = &self.changeable()?.images;
                match images.contains(&image) {
                    true => Ok(vec![]),
                    false if images.len() >= MOST_IMAGES => Err(Error::TooManyImages { maximum: MOST_IMAGES }),
                    false => {
                        let submitted = self.looked_at_anew(review_until)?;
                        Ok([Event::ImageAttached { image }].into_iter().chain(submitted).collect())
                    }
                }
            }
            Command::DetachImage { by, image } => {
                self.owned_by(by)?;
                let there = self.changeable()?.images.contains(&image);
                if there { Ok(vec![Event::ImageDetached { image }]) } else { Err(Error::NoSuchImage) }
            }
        }
    }

    fn evolve(&mut self, event: &Event) {
        if let Some(offer) = self.offer_mut() {
            offer.take(event);
        }
        *self = match (std::mem::take(self), event) {
            (Self::Absent, Event::ListingDrafted { seller, details, sale }) => {
                Self::Draft(Offer::drafted(*seller, details, sale))
            }
            (Self::Draft(offer) | Self::Active(offer), Event::ListingSubmitted { review_until }) => {
                Self::Pending { offer, review_until: *review_until, paused: false }
            }
            (Self::Paused(offer), Event::ListingSubmitted { review_until }) => {
                Self::Pending { offer, review_until: *review_until, paused: true }
            }
            (Self::Pending { offer, paused, .. }, Event::ListingSubmitted { review_until }) => {
                Self::Pending { offer, review_until: *review_until, paused }
            }
            (Self::Pending { offer, .. }, Event::ListingRejected { .. } | Event::ListingReturned {}) => {
                Self::Draft(offer)
            }
            (Self::Draft(offer) | Self::Pending { offer, .. }, Event::ListingPublished {})
            | (Self::Paused(offer), Event::ListingResumed {}) => Self::Active(offer),
            (Self::Pending { offer, .. } | Self::Active(offer), Event::ListingPaused {}) => Self::Paused(offer),
            (
                Self::Draft(offer) | Self::Pending { offer, .. } | Self::Active(offer) | Self::Paused(offer),
                Event::ListingArchived { .. },
            ) => Self::Archived(offer),
            (
                Self::Draft(offer)
                | Self::Pending { offer, .. }
                | Self::Active(offer)
                | Self::Paused(offer)
                | Self::Archived(offer),
                Event::ListingRemoved { .. },
            ) => Self::Removed(offer),
            // Either the offer has taken it, or no decision leads here; a fold never fails.
            (
                state,
                Event::ListingDrafted { .. }
                | Event::ListingRevised { .. }
                | Event::ListingSubmitted { .. }
                | Event::ListingApproved { .. }
                | Event::ListingRejected { .. }
                | Event::ListingReturned {}
                | Event::ListingPublished {}
                | Event::ListingPaused {}
                | Event::ListingResumed {}
                | Event::ListingArchived { .. }
                | Event::ListingRemoved { .. }
                | Event::ListingFeatured { .. }
                | Event::ListingUnfeatured { .. }
                | Event::DiscountSet { .. }
                | Event::DiscountOpened { .. }
                | Event::DiscountClosed {}
                | Event::ImageAttached { .. }
                | Event::ImageDetached { .. },
            ) => state,
        };
    }
}

impl Listing {
    fn revise(&self, changes: Changes, review_until: Option<Timestamp>) -> Result<Vec<Event>, Error> {
        let offer = self.changeable()?;
        // Where it was offered once, it may have been bid for, or pieces of it may be kept for somebody.
        let published = offer.published;
        let auction = |sale: &Sale| matches!(sale, Sale::Auction(_));
        if published
            && (auction(&offer.sale) && offer.is_resold_by(&changes) || changes.sale.as_ref().is_some_and(auction))
        {
            return Err(Error::AuctionPublished);
        }
        let sale = changes.sale.as_ref().unwrap_or(&offer.sale);
        check_amounts(sale, changes.shipping.or(offer.shipping))?;
        if changes == Changes::default() {
            return Ok(vec![]);
        }
        let other_forms = changes.sale.as_ref().is_some_and(|sale| !sale.describes_like(&offer.sale));
        let looked_at_anew = matches!(self, Self::Pending { .. }) || changes.are_of_words() || other_forms;
        let submitted = self.looked_at_anew(review_until.filter(|_| looked_at_anew))?;
        // A discount that the new way of sale cannot have goes with the old one.
        let kept = offer.discount.is_none_or(|discount| discount.fits(sale));
        let lost = (!kept).then_some(Event::DiscountSet { discount: None });
        Ok([Event::ListingRevised { changes }].into_iter().chain(lost).chain(submitted).collect())
    }

    /// What submits it anew that shows something else from now on; nothing if nobody looks, or nobody has seen it yet.
    fn looked_at_anew(&self, review_until: Option<Timestamp>) -> Result<Option<Event>, Error> {
        let Some(review_until) = review_until else { return Ok(None) };
        match self {
            Self::Active(Offer { sale: Sale::Auction(_), .. }) => Err(Error::AuctionReviewed),
            Self::Pending { .. } | Self::Active(_) | Self::Paused(_) => {
                Ok(Some(Event::ListingSubmitted { review_until }))
            }
            Self::Absent | Self::Draft(_) | Self::Archived(_) | Self::Removed(_) => Ok(None),
        }
    }

    fn publish(&self, review_until: Option<Timestamp>) -> Result<Vec<Event>, Error> {
        match (self, review_until) {
            (Self::Draft(_), None) => Ok(vec![Event::ListingPublished {}]),
            (Self::Draft(_), Some(review_until)) => Ok(vec![Event::ListingSubmitted { review_until }]),
            (Self::Paused(_), _) => Ok(vec![Event::ListingResumed {}]),
            (Self::Absent | Self::Pending { .. } | Self::Active(_) | Self::Archived(_) | Self::Removed(_), _) => {
                self.changeable().map(|_| vec![])
            }
        }
    }

    fn approve(&self, by: Approver, now: Timestamp) -> Result<Vec<Event>, Error> {
        self.waits(now, by)?;
        let paused = matches!(self, Self::Pending { paused: true, .. });
        let then = if paused { Event::ListingPaused {} } else { Event::ListingPublished {} };
        Ok(vec![Event::ListingApproved { by }, then])
    }

    /// Refuses unless it waits to be offered, and may wait no longer if nobody of the staff is asked.
    fn waits(&self, now: Timestamp, by: Approver) -> Result<(), Error> {
        match *self {
            // What is accepted is not done again, so a clock that is early is refused.
            Self::Pending { review_until, .. } if by == Approver::Time && now < review_until => {
                Err(Error::ReviewOpen { review_until })
            }
            Self::Pending { .. } => Ok(()),
            _ => self.changeable().and(Err(Error::NotPending)),
        }
    }

    fn archive(&self, cause: ArchiveCause) -> Result<Vec<Event>, Error> {
        if let ArchiveCause::Seller(by) = cause {
            self.owned_by(by)?;
        }
        match (self, cause) {
            (Self::Absent, _) => Err(Error::NotFound),
            (Self::Active(Offer { sale: Sale::Auction(_), .. }), ArchiveCause::Seller(_)) => Err(Error::AuctionRunning),
            (Self::Draft(_) | Self::Pending { .. } | Self::Active(_) | Self::Paused(_), _) => {
                Ok(vec![Event::ListingArchived { cause }])
            }
            (Self::Archived(_) | Self::Removed(_), _) => Ok(vec![]),
        }
    }

    /// What is taken away is shown no more, so its images are not kept either.
    fn remove(&self, by: AccountId, reason: String) -> Result<Vec<Event>, Error> {
        let removed = match self {
            Self::Active(Offer { sale: Sale::Auction(_), .. }) => return Err(Error::AuctionRunning),
            // It may have been taken away when images were still kept.
            Self::Removed(_) => None,
            _ => Some(Event::ListingRemoved { by, reason }),
        };
        let detached = self.offer()?.images.iter().map(|image| Event::ImageDetached { image: image.clone() });
        Ok(removed.into_iter().chain(detached).collect())
    }

    fn turn_discount(&self, now: Timestamp) -> Result<Vec<Event>, Error> {
        let Ok(Offer { discount: Some(discount), on_sale, .. }) = self.changeable() else { return Ok(vec![]) };
        if discount.is_over(now) {
            return Ok(vec![Event::DiscountClosed {}]);
        }
        if discount.is_open(now) && !on_sale {
            return Ok(vec![Event::DiscountOpened { until: discount.until }]);
        }
        // What is accepted is not done again, so a clock that is early is refused.
        let next = if *on_sale { discount.until } else { discount.from };
        next.map_or(Ok(vec![]), |at| Err(Error::DiscountNotTurning { at }))
    }
}

fn set_discount(offer: &Offer, discount: Option<Discount>, now: Timestamp) -> Result<Vec<Event>, Error> {
    if discount == offer.discount {
        return Ok(vec![]);
    }
    let Some(new) = discount else { return Ok(vec![Event::DiscountSet { discount }]) };
    new.check(&offer.sale, now)?;
    let opened = new.is_open(now).then_some(Event::DiscountOpened { until: new.until });
    Ok([Event::DiscountSet { discount }].into_iter().chain(opened).collect())
}

impl Offer {
    fn drafted(seller: AccountId, details: &Details, sale: &Sale) -> Self {
        Self {
            seller,
            sale: sale.clone(),
            title: details.title.clone(),
            category: details.category.clone(),
            attributes: details.attributes.clone(),
            delivery: details.delivery,
            shipping: details.shipping,
            discount: None,
            on_sale: false,
            featured: false,
            images: vec![],
            published: false,
        }
    }

    /// Takes in what an event changes of the offer itself.
    fn take(&mut self, event: &Event) {
        match event {
            Event::ListingRevised { changes } => self.revise(changes),
            Event::ListingFeatured { .. } => self.featured = true,
            Event::ListingUnfeatured { .. } => self.featured = false,
            Event::DiscountSet { discount } => (self.discount, self.on_sale) = (*discount, false),
            Event::DiscountOpened { .. } => self.on_sale = true,
            Event::DiscountClosed {} => (self.discount, self.on_sale) = (None, false),
            Event::ImageAttached { image } => self.images.push(image.clone()),
            Event::ImageDetached { image } => self.images.retain(|known| known != image),
            Event::ListingPublished {} => self.published = true,
            Event::ListingDrafted { .. }
            | Event::ListingSubmitted { .. }
            | Event::ListingApproved { .. }
            | Event::ListingRejected { .. }
            | Event::ListingReturned {}
            | Event::ListingPaused {}
            | Event::ListingResumed {}
            | Event::ListingArchived { .. }
            | Event::ListingRemoved { .. } => {}
        }
    }

    /// Whether something changes that a buyer agrees to: how it is sold, sent and delivered.
    fn is_resold_by(&self, changes: &Changes) -> bool {
        let Changes { sale, shipping, delivery, .. } = changes;
        sale.is_some()
            || shipping.is_some_and(|shipping| Some(shipping) != self.shipping)
            || delivery.is_some_and(|delivery| delivery != self.delivery)
    }

    /// The price of one piece in the form that `sku` names, as it is without a discount.
    pub fn price_of(&self, sku: &Sku) -> Result<Money, Error> {
        match &self.sale {
            Sale::Auction(_) => Err(Error::SoldByAuction),
            Sale::FixedPrice { price, variants } if variants.is_empty() && *sku == Sku::default() => Ok(*price),
            Sale::FixedPrice { price, variants } => {
                let variant = variants.iter().find(|variant| variant.sku == *sku);
                let variant = variant.ok_or(Error::NoSuchVariant { variants: variants.len() })?;
                Ok(variant.price.unwrap_or(*price))
            }
        }
    }

    /// What one piece in the form that `sku` names costs at `now`.
    pub fn price_at(&self, sku: &Sku, now: Timestamp) -> Result<Money, Error> {
        let price = self.price_of(sku)?;
        let discount = self.discount.filter(|discount| discount.is_open(now));
        Ok(discount.map_or(price, |discount| discount.applied_to(price)))
    }

    fn revise(&mut self, changes: &Changes) {
        fn set<T: Clone>(field: &mut T, change: Option<&T>) {
            if let Some(change) = change {
                field.clone_from(change);
            }
        }
        let Changes { title, category, delivery, shipping, sale, attributes, .. } = changes;
        set(&mut self.sale, sale.as_ref());
        set(&mut self.title, title.as_ref());
        set(&mut self.category, category.as_ref());
        set(&mut self.attributes, attributes.as_ref());
        set(&mut self.delivery, delivery.as_ref());
        self.shipping = shipping.or(self.shipping);
    }
}

fn check_amounts(sale: &Sale, shipping: Option<Money>) -> Result<(), Error> {
    let expected = sale.currency();
    let in_currency = |amount: Money| match amount.minor_in(expected) {
        Ok(_) => Ok(amount),
        Err(_) => Err(Error::WrongCurrency { expected, offered: amount.currency() }),
    };
    if let Some(offered) = shipping.map(in_currency).transpose()?
        && offered.minor() < 0
    {
        return Err(Error::ShippingNegative { offered });
    }
    match sale {
        // The prices of an auction are its own business, checked when it is scheduled.
        Sale::Auction(_) => Ok(()),
        Sale::FixedPrice { price, variants } => {
            for offered in variants.iter().filter_map(|variant| variant.price).chain([*price]) {
                if !in_currency(offered)?.is_positive() {
                    return Err(Error::PriceNotPositive { offered });
                }
            }
            let (variants, skus) = (variants.len(), sale.skus().len());
            if variants > skus { Err(Error::SkuRepeated { variants, skus }) } else { Ok(()) }
        }
    }
}
