//! The marketplace as pure functions.
//!
//! Every noun is an [`Aggregate`]: commands go into [`Aggregate::decide`], which answers with events or with a
//! refusal that carries its numbers; events go into [`Aggregate::evolve`], which never fails. Time, actors and ids
//! arrive inside commands.
//!
//! **Architecture invariant:** nothing here performs IO, reads a clock, draws a random number or uses a float; the
//! tidy test of the workspace fails on the first one.

pub mod account;
pub mod address_book;
pub mod affiliate;
pub mod aggregate;
pub mod album;
pub mod auction;
pub mod broadcast;
pub mod category;
pub mod category_tree;
pub mod charge;
pub mod chat;
pub mod claim;
pub mod commission;
pub mod complaint;
pub mod contacts;
pub mod correlation;
pub mod escrow;
pub mod favorite;
pub mod fee_rule;
pub mod feedback;
pub mod fees;
pub mod formats;
pub mod ids;
pub mod image;
pub mod inbox;
pub mod increments;
pub mod ledger;
pub mod listing;
pub mod merchant;
pub mod money;
pub mod notice;
pub mod order;
pub mod order_group;
pub mod page;
pub mod payee;
pub mod payout;
pub mod plan;
#[cfg(feature = "planted-bugs")]
pub mod planted;
pub mod points;
pub mod rating;
pub mod referral;
pub mod referral_click;
pub mod refusal;
pub mod report;
pub mod reporter;
pub mod review;
pub mod ruling;
pub mod sealed;
pub mod seller;
pub mod session;
pub mod stock;
pub mod store;
pub mod subscription;
pub mod tell;
pub mod view;
pub mod vote;
pub mod wallet;
pub mod what_if;

#[cfg(test)]
mod fuzz;
#[cfg(test)]
pub(crate) mod testing;

pub use aggregate::{Aggregate, Event};
pub use ids::{
    AccountId, AddressId, AuctionId, BroadcastId, CategoryId, CategoryTreeId, ChallengeId, ChargeId, ChatId, CityId,
    ClaimId, CommissionId, ComplaintId, CorrelationId, DepositId, DisputeId, FavoriteId, FeeRuleId, HoldId, ImageId,
    ListingId, MerchantId, MessageId, MethodId, NotificationId, OrderGroupId, OrderId, PageId, PeriodId, PlanId,
    ProvinceId, ReferralClickId, RefundId, ReportId, ReviewId, SessionId, SubscriptionId, ViewId, VoteId, WalletId,
    WithdrawalId,
};
pub use ledger::{LedgerAccount, Posting};
pub use money::{Currency, Money};
pub use refusal::Refusal;
pub use sealed::{OnceClear, Sealed};
pub use tell::Tell;

/// An instant of the marketplace's one clock, in UTC.
pub type Timestamp = chrono::DateTime<chrono::Utc>;

/// Names the rules by what they are: another name after every change of this crate. Whatever was computed by them and
/// kept, as a snapshot is, counts only under the same name.
pub const RULES: &str = env!("TRADEPOST_RULES");
