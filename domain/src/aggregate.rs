//! What every noun of the marketplace has in common.

use std::fmt::Debug;

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::refusal::Refusal;

/// A consistency boundary: a state that is the fold of its events, and a decision over it.
///
/// The state serialises because long streams are snapshotted; the events serialise because they are the truth.
pub trait Aggregate: Clone + Debug + Default + DeserializeOwned + Serialize + Send + Sync + 'static {
    /// The name under which its streams are stored (`events.aggregate_type`). Never changes.
    const TYPE: &'static str;
    /// The name of one stream.
    type Id: Copy + Into<Uuid> + Send;
    /// What may be asked of it. Carries the time, the actor and every id that the decision may need.
    type Command: Debug + Send;
    /// What may happen to it: the storage format.
    type Event: Event;
    /// Why it may refuse, with the numbers of the rule.
    type Error: Debug + Into<Refusal> + Send;

    /// Answers `command` with the events that it causes. No events means: nothing left to do, the command has been
    /// carried out before.
    fn decide(&self, command: Self::Command) -> Result<Vec<Self::Event>, Self::Error>;

    /// Takes one event in. Total: whatever was once decided can always be folded.
    fn evolve(&mut self, event: &Self::Event);
}

/// A fact in the past tense, in its storage format.
pub trait Event: Clone + Debug + DeserializeOwned + JsonSchema + PartialEq + Serialize + Send + Sync + 'static {
    /// Every event type that can be read, in each version that was ever written.
    const TYPES: &'static [(&'static str, &'static str)];

    /// The name under which it is stored (`events.event_type`).
    fn event_type(&self) -> &'static str;

    /// The version of its payload (`events.event_version`).
    fn event_version(&self) -> &'static str;
}

/// Implements [`Event`] for an enum: one line per variant with the version that is written today, and after it the
/// older ones that can still be read (`ListingDrafted = "2" | "1"`).
///
/// The variant's name is its stored name, so a golden file breaks when a variant is renamed.
macro_rules! event_versions {
    ($enum:ident { $($variant:ident = $version:literal $(| $older:literal)*),+ $(,)? }) => {
        impl $crate::aggregate::Event for $enum {
            const TYPES: &'static [(&'static str, &'static str)] =
                &[$((stringify!($variant), $version) $(, (stringify!($variant), $older))*),+];

            fn event_type(&self) -> &'static str {
                match self { $(Self::$variant { .. } => stringify!($variant)),+ }
            }

            fn event_version(&self) -> &'static str {
                match self { $(Self::$variant { .. } => $version),+ }
            }
        }
    };
}
pub(crate) use event_versions;

/// The one list of all aggregates, handed to a macro: of each its type, its module and the type of its ids.
#[macro_export]
macro_rules! every_aggregate {
    ($then:ident) => {
        $then! {
            Account in account by AccountId,
            AddressBook in address_book by AccountId,
            Affiliate in affiliate by AccountId,
            Album in album by AccountId,
            Auction in auction by AuctionId,
            Broadcast in broadcast by BroadcastId,
            Category in category by CategoryId,
            CategoryTree in category_tree by CategoryTreeId,
            Charge in charge by ChargeId,
            Chat in chat by ChatId,
            Claim in claim by ClaimId,
            Commission in commission by CommissionId,
            Complaint in complaint by ComplaintId,
            Contacts in contacts by AccountId,
            Correlation in correlation by CorrelationId,
            Escrow in escrow by OrderId,
            Favorite in favorite by FavoriteId,
            FeeRule in fee_rule by FeeRuleId,
            Feedback in feedback by OrderId,
            Image in image by ImageId,
            Inbox in inbox by AccountId,
            Listing in listing by ListingId,
            Merchant in merchant by MerchantId,
            Order in order by OrderId,
            OrderGroup in order_group by OrderGroupId,
            Page in page by PageId,
            Payee in payee by AccountId,
            Payout in payout by WithdrawalId,
            Plan in plan by PlanId,
            Points in points by AccountId,
            Referral in referral by AccountId,
            ReferralClick in referral_click by ReferralClickId,
            Report in report by ReportId,
            Reporter in reporter by AccountId,
            Review in review by ReviewId,
            Seller in seller by AccountId,
            Session in session by SessionId,
            Stock in stock by ListingId,
            Store in store by AccountId,
            Subscription in subscription by AccountId,
            View in view by ViewId,
            Vote in vote by VoteId,
            Wallet in wallet by WalletId,
        }
    };
}
