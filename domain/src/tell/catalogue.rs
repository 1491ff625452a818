//! What is offered, where, and who looks at it.

use super::{Tell, at, count, percent};
use crate::auction::{Canceller, Outcome};
use crate::listing::{Approver, ArchiveCause, Off, Sale};
use crate::stock::Pieces;
use crate::store::Kyc;
use crate::{
    auction, category, category_tree, favorite, fee_rule, listing, page, plan, seller, stock, store, view, vote,
};

impl Tell for auction::Event {
    fn tell(&self) -> String {
        match self {
            Self::AuctionScheduled { terms } => format!(
                "The auction was offered from {} to {}, starting at {}.",
                at(terms.starts_at),
                at(terms.ends_at),
                terms.start_price
            ),
            Self::AuctionOpened {} => "The auction has started.".to_owned(),
            Self::BidPlaced { bidder: _, maximum: _, standing, reserve_met, buy_now_available: _ } => {
                let reserve = if *reserve_met { "" } else { ", below the reserve" };
                format!("A bid was accepted: the price stands at {}{reserve}.", standing.price)
            }
            Self::AuctionExtended { ends_at } => format!("A late bid moved the end to {}.", at(*ends_at)),
            Self::AuctionClosed { outcome, ended_at } => {
                let end = at(*ended_at);
                match outcome {
                    Outcome::Won { winner: _, price } => format!("The auction ended at {end}, won at {price}."),
                    Outcome::BoughtNow { winner: _, price } => {
                        format!("The auction ended at {end}: somebody bought it at once at {price}.")
                    }
                    Outcome::Unsold { reserve_missed: true } => {
                        format!("The auction ended at {end} without a sale: the reserve was not met.")
                    }
                    Outcome::Unsold { reserve_missed: false } => {
                        format!("The auction ended at {end} without a bid.")
                    }
                }
            }
            Self::AuctionCancelled { by, reason: _ } => match by {
                Canceller::Seller => "The auction was called off by its seller.".to_owned(),
                Canceller::Staff(_) => "The auction was called off by the staff.".to_owned(),
            },
            Self::SaleForfeited { .. } => "Whoever had it did not take it, and has it no more.".to_owned(),
            // An underbidder is offered it at their own highest bid, which concerns nobody else.
            Self::SecondChanceOffered { bidder: _, price: _, until } => {
                format!("It was offered to an underbidder until {}.", at(*until))
            }
            Self::SecondChanceAccepted { .. } => "An underbidder has taken it.".to_owned(),
        }
    }
}

impl Tell for category::Event {
    fn tell(&self) -> String {
        match self {
            Self::CategoryDefined { .. } => "The category was defined by the staff.",
            Self::CategoryRevised { .. } => "The category was changed by the staff.",
            Self::CategoryClosed { .. } => "The category takes no more listings.",
        }
        .to_owned()
    }
}

impl Tell for category_tree::Event {
    fn tell(&self) -> String {
        match self {
            Self::CategoryPlaced { slug, parent: Some(parent) } => format!("Category {slug} is a part of {parent}."),
            Self::CategoryPlaced { slug, parent: None } => format!("Category {slug} is at the top."),
        }
    }
}

impl Tell for favorite::Event {
    fn tell(&self) -> String {
        match self {
            Self::FavoriteAdded { .. } => "A listing was remembered as a favourite.",
            Self::FavoriteRemoved { .. } => "A listing is no favourite any more.",
        }
        .to_owned()
    }
}

impl Tell for fee_rule::Event {
    fn tell(&self) -> String {
        match self {
            Self::FeeSet { fee_bps, .. } => charged(*fee_bps, "The fee of sales"),
        }
    }
}

fn charged(fee_bps: Option<u32>, what: &str) -> String {
    match fee_bps {
        Some(fee) => format!("{what} is {} from now on.", percent(fee)),
        None => format!("{what} is the usual one from now on."),
    }
}

impl Tell for listing::Event {
    fn tell(&self) -> String {
        match self {
            Self::ListingDrafted { seller: _, details: _, sale } => match sale {
                Sale::FixedPrice { price, variants: _ } => format!("It was drafted, at {price}."),
                Sale::Auction(plan) => format!("It was drafted, to be sold by auction from {} on.", plan.start_price),
            },
            Self::ListingRevised { .. } => "It was changed.".to_owned(),
            Self::ListingSubmitted { review_until } => {
                format!("It waits for the staff, and is offered at {} unless they say no.", at(*review_until))
            }
            Self::ListingApproved { by } => match by {
                Approver::Staff(_) => "It was approved by the staff.".to_owned(),
                Approver::Time => "It was approved: the staff had nothing against it in time.".to_owned(),
            },
            Self::ListingRejected { .. } => "It was given back by the staff, and is a draft again.".to_owned(),
            Self::ListingReturned {} => "It is a draft again: its seller may not offer anything now.".to_owned(),
            Self::ListingPublished {} => "It was published.".to_owned(),
            Self::ListingPaused {} => "It was paused.".to_owned(),
            Self::ListingResumed {} => "It is offered again.".to_owned(),
            Self::ListingArchived { cause } => match cause {
                ArchiveCause::Seller(_) => "It was archived by its seller.",
                ArchiveCause::AuctionEnded => "It was archived: its auction has ended.",
                ArchiveCause::AuctionCancelled => "It was archived: its auction was called off.",
                ArchiveCause::SoldOut => "It was archived: the last of it was sold long ago.",
            }
            .to_owned(),
            Self::ListingRemoved { .. } => "It was taken away by the staff.".to_owned(),
            Self::ListingFeatured { .. } => "It is featured.".to_owned(),
            Self::ListingUnfeatured { .. } => "It is not featured any more.".to_owned(),
            Self::DiscountSet { discount: None } => "Its discount was taken back.".to_owned(),
            Self::DiscountSet { discount: Some(discount) } => {
                let off = match discount.off {
                    Off::Price(price) => format!("to {price}"),
                    Off::Bps(bps) => format!("by {}", percent(bps)),
                };
                let from = discount.from.map_or_else(String::new, |from| format!(" from {}", at(from)));
                let until = discount.until.map_or_else(String::new, |until| format!(" until {}", at(until)));
                format!("Its price is to go down {off}{from}{until}.")
            }
            Self::DiscountOpened { until: None } => "Its discount has begun.".to_owned(),
            Self::DiscountOpened { until: Some(until) } => format!("Its discount has begun, until {}.", at(*until)),
            Self::DiscountClosed {} => "Its discount is over.".to_owned(),
            Self::ImageAttached { .. } => "It is shown with one more picture.".to_owned(),
            Self::ImageDetached { .. } => "It is shown with one picture less.".to_owned(),
        }
    }
}

impl Tell for page::Event {
    fn tell(&self) -> String {
        match self {
            Self::PagePublished { .. } => "A version of the page was published.".to_owned(),
        }
    }
}

impl Tell for plan::Event {
    fn tell(&self) -> String {
        match self {
            Self::PlanDefined { .. } => "The plan was defined by the staff.",
            Self::PlanRevised { .. } => "The plan was changed by the staff.",
        }
        .to_owned()
    }
}

impl Tell for seller::Event {
    fn tell(&self) -> String {
        match self {
            Self::OfferAdded { .. } => "One listing more is on offer.".to_owned(),
            Self::OfferWithdrawn { .. } => "One listing less is on offer.".to_owned(),
            Self::FeeAgreed { fee_bps, .. } => charged(*fee_bps, "The fee of this seller's sales"),
        }
    }
}

fn pieces(pieces: &Pieces) -> String {
    count(pieces.values().map(|number| u64::from(*number)).sum(), "piece", "pieces")
}

impl Tell for stock::Event {
    fn tell(&self) -> String {
        match self {
            Self::StockCounted { free } => format!("The stock was counted: {} free.", pieces(free)),
            Self::StockReserved { pieces: kept, until, .. } => {
                format!("{} kept for an order until {}.", pieces(kept), at(*until))
            }
            Self::StockHeld { pieces: kept, until, .. } => {
                format!("{} kept for a guest's order until {}.", pieces(kept), at(*until))
            }
            Self::StockReleased { .. } => "What was kept for an order is free again.".to_owned(),
            Self::StockTaken { .. } => "What was kept for an order is sold.".to_owned(),
            Self::StockSoldOut {} => "Nothing is left.".to_owned(),
            Self::StockPutAway {} => "Nothing is left, and it is not offered any more.".to_owned(),
            Self::StockReturned { pieces: back, .. } => format!("{} came back.", pieces(back)),
        }
    }
}

impl Tell for store::Event {
    fn tell(&self) -> String {
        let kyc = |kyc: &Kyc| match kyc {
            Kyc::Unverified => "not verified",
            Kyc::Pending => "waiting to be verified",
            Kyc::Verified => "verified",
        };
        match self {
            Self::StoreOpened { about: _, kyc: state } => format!("The store was opened, {}.", kyc(state)),
            Self::StoreChanged { about: _, kyc: state } => {
                format!("The store says something else of itself; it is {}.", kyc(state))
            }
            Self::StoreVerified { .. } => "The store was verified by the staff.".to_owned(),
            Self::StoreUnverified { .. } => "The store is not verified any more.".to_owned(),
            Self::StoreSuspended { .. } => "The store was suspended by the staff.".to_owned(),
            Self::StoreReinstated { .. } => "The store was reinstated by the staff.".to_owned(),
            Self::StoreRemoved { .. } => "The store was closed for good by the staff.".to_owned(),
        }
    }
}

impl Tell for view::Event {
    fn tell(&self) -> String {
        match self {
            Self::ListingViewed { .. } => "Somebody has looked at a listing.".to_owned(),
        }
    }
}

impl Tell for vote::Event {
    fn tell(&self) -> String {
        match self {
            Self::VoteCast { .. } => "Somebody finds a review helpful.",
            Self::VoteWithdrawn { .. } => "Somebody finds a review helpful no more.",
        }
        .to_owned()
    }
}
