//! What people are told of what happens.
//!
//! No aggregate, but a fold over the events of all of them: a [`Context`] remembers of one sale, order, wallet or account
//! whom its events concern, and says of each event who is told what. The list in the application and the messages to
//! mailboxes are both made of it, so they tell the same; neither needs an event of its own, so nothing can be told twice.
//! A notice has an id that follows from whom it is for, its kind and the event that it tells of.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Timestamp;
use crate::account::Capability;
use crate::ids::{
    AccountId, AuctionId, BroadcastId, ChallengeId, ChatId, ListingId, NotificationId, OrderGroupId, OrderId,
};
use crate::money::Money;
use crate::sealed::Sealed;

mod context;
#[cfg(test)]
mod tests;

pub use context::{Context, MOST_BIDDERS};

/// What a notice is about, which is what somebody may want to hear of or not. Part of the storage format.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// They have joined.
    Welcome,
    /// They are to show that they read a mailbox.
    Verify,
    /// Somebody wants to set a new password.
    Reset,
    /// How they log in has changed, or where their money may go.
    Security,
    /// There is a bid for what they sell.
    BidPlaced,
    /// They do not lead any more.
    Outbid,
    /// They have won.
    Won,
    /// Somebody else has won, or nobody.
    Lost,
    /// Nobody has bought what they sell.
    Unsold,
    /// They may have what the winner did not pay.
    SecondChance,
    /// An order came into being.
    OrderPlaced,
    /// It is paid.
    OrderPaid,
    /// It is on its way.
    OrderShipped,
    /// It has arrived, or should have.
    OrderDelivered,
    /// It was called off.
    OrderCancelled,
    /// Money has gone to the seller.
    EscrowReleased,
    /// Money has gone back to the buyer.
    EscrowRefunded,
    /// The staff is to decide about an order.
    Dispute,
    /// Money has left the marketplace.
    Payout,
    /// Somebody has written to them.
    Message,
    /// What they subscribe to.
    Subscription,
    /// They may not trade any more, or again.
    AccountBlocked,
    /// They are asked how it was.
    FeedbackRequest,
    /// What the staff thinks of a listing of theirs.
    ListingReviewed,
    /// To the staff: a listing waits to be looked at.
    ListingReview,
    /// The staff has something to say.
    Announcement,
}

/// Where something is told. Part of the storage format.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Channels {
    /// In the list of the application.
    pub in_app: bool,
    /// At once, to whoever has it open.
    pub live: bool,
    /// By mail.
    pub email: bool,
}

impl Channels {
    /// Everywhere.
    pub const ALL: Self = Self { in_app: true, live: true, email: true };

    /// Whether it is told at all.
    pub fn any(self) -> bool {
        self.in_app || self.live || self.email
    }

    fn at_least(self, other: Self) -> Self {
        Self { in_app: self.in_app || other.in_app, live: self.live || other.live, email: self.email || other.email }
    }
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 26] = [
        Self::Welcome,
        Self::Verify,
        Self::Reset,
        Self::Security,
        Self::BidPlaced,
        Self::Outbid,
        Self::Won,
        Self::Lost,
        Self::Unsold,
        Self::SecondChance,
        Self::OrderPlaced,
        Self::OrderPaid,
        Self::OrderShipped,
        Self::OrderDelivered,
        Self::OrderCancelled,
        Self::EscrowReleased,
        Self::EscrowRefunded,
        Self::Dispute,
        Self::Payout,
        Self::Message,
        Self::Subscription,
        Self::AccountBlocked,
        Self::FeedbackRequest,
        Self::ListingReviewed,
        Self::ListingReview,
        Self::Announcement,
    ];

    /// The name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Welcome => "welcome",
            Self::Verify => "verify",
            Self::Reset => "reset",
            Self::Security => "security",
            Self::BidPlaced => "bid_placed",
            Self::Outbid => "outbid",
            Self::Won => "won",
            Self::Lost => "lost",
            Self::Unsold => "unsold",
            Self::SecondChance => "second_chance",
            Self::OrderPlaced => "order_placed",
            Self::OrderPaid => "order_paid",
            Self::OrderShipped => "order_shipped",
            Self::OrderDelivered => "order_delivered",
            Self::OrderCancelled => "order_cancelled",
            Self::EscrowReleased => "escrow_released",
            Self::EscrowRefunded => "escrow_refunded",
            Self::Dispute => "dispute",
            Self::Payout => "payout",
            Self::Message => "message",
            Self::Subscription => "subscription",
            Self::AccountBlocked => "account_blocked",
            Self::FeedbackRequest => "feedback_request",
            Self::ListingReviewed => "listing_reviewed",
            Self::ListingReview => "listing_review",
            Self::Announcement => "announcement",
        }
    }

    /// Where it is told unless somebody wants otherwise.
    pub fn usual(self) -> Channels {
        // A war of bids would fill a mailbox, and the queue of the staff is looked at where it is.
        let email = !matches!(self, Self::BidPlaced | Self::ListingReview);
        Channels { email, ..Channels::ALL }
    }

    /// Where it is told whatever somebody wants: what keeps an account safe reaches its mailbox, and what the staff says
    /// can be looked up.
    pub fn fixed(self) -> Channels {
        let none = Channels { in_app: false, live: false, email: false };
        match self {
            Self::Verify | Self::Reset | Self::Security | Self::AccountBlocked => {
                Channels { in_app: true, email: true, ..none }
            }
            Self::Announcement | Self::ListingReview => Channels { in_app: true, ..none },
            Self::Welcome
            | Self::BidPlaced
            | Self::Outbid
            | Self::Won
            | Self::Lost
            | Self::Unsold
            | Self::SecondChance
            | Self::OrderPlaced
            | Self::OrderPaid
            | Self::OrderShipped
            | Self::OrderDelivered
            | Self::OrderCancelled
            | Self::EscrowReleased
            | Self::EscrowRefunded
            | Self::Dispute
            | Self::Payout
            | Self::Message
            | Self::Subscription
            | Self::FeedbackRequest
            | Self::ListingReviewed => none,
        }
    }

    /// Where it is told to somebody who wants it so.
    pub fn told(self, wanted: Channels) -> Channels {
        wanted.at_least(self.fixed())
    }

    /// Whether its message goes to a mailbox that nobody has shown to read yet, and before all others.
    pub fn is_urgent(self) -> bool {
        matches!(self, Self::Verify | Self::Reset | Self::Security)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// No kind has this name.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("there is no such kind of notification")]
pub struct UnknownKind;

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(name: &str) -> Result<Self, UnknownKind> {
        Self::ALL.into_iter().find(|kind| kind.name() == name).ok_or(UnknownKind)
    }
}

/// For whom something is meant. Part of the storage format.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Addressee {
    /// One account.
    Account(AccountId),
    /// Every account that there is at that time.
    Everybody,
    /// Every account that has this capability, then and when it looks.
    Holders(Capability),
}

/// What the staff says, as it is stored. What is meant for one person is sealed with their key. Part of the storage
/// format.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Words {
    /// For everybody to read.
    Open {
        /// In a few words.
        title: String,
        /// In many.
        body: String,
    },
    /// For one.
    Sealed {
        /// In a few words.
        title: Sealed<String>,
        /// In many.
        body: Sealed<String>,
    },
}

/// On which side of an order somebody is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// They buy.
    Buyer,
    /// They sell.
    Seller,
}

/// What somebody is told, with the facts of it. Read models and messages keep it as JSON.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "notice", rename_all = "snake_case")]
pub enum Notice {
    /// They have joined, and read the mailbox of their address.
    Welcome {},
    /// A mailbox was asked whether somebody reads it.
    Verify {
        /// Which question.
        challenge: ChallengeId,
        /// Until when, in real time, an answer is taken.
        expires_at: Timestamp,
    },
    /// The mailbox was asked for a new password.
    Reset {
        /// Which question.
        challenge: ChallengeId,
        /// Until when, in real time, an answer is taken.
        expires_at: Timestamp,
    },
    /// The account has another address. Goes to the former one too.
    EmailChanged {},
    /// The account has another password, or none any more.
    PasswordChanged {},
    /// The account logs in through somebody else too.
    LoginLinked {},
    /// Money may go out to one more payment method, which somebody has added.
    MethodAdded {},
    /// There is a bid for what they sell.
    BidPlaced {
        /// In which auction.
        auction: AuctionId,
        /// Of what.
        title: String,
        /// The visible price after it.
        price: Money,
    },
    /// They do not lead any more.
    Outbid {
        /// In which auction.
        auction: AuctionId,
        /// Of what.
        title: String,
        /// The visible price now.
        price: Money,
    },
    /// They have won, and are to pay.
    Won {
        /// In which auction.
        auction: AuctionId,
        /// What.
        title: String,
        /// What they pay.
        price: Money,
        /// The order that it led to.
        order: OrderId,
        /// What is paid.
        group: OrderGroupId,
    },
    /// Somebody else has won, or nobody.
    Lost {
        /// In which auction.
        auction: AuctionId,
        /// Of what.
        title: String,
    },
    /// It was called off.
    AuctionCancelled {
        /// Which.
        auction: AuctionId,
        /// Of what.
        title: String,
    },
    /// Nobody has bought what they sell.
    Unsold {
        /// In which auction.
        auction: AuctionId,
        /// What.
        title: String,
        /// Whether there were bids, all of them below the reserve.
        reserve_missed: bool,
    },
    /// They may have what the winner did not pay.
    SecondChance {
        /// In which auction.
        auction: AuctionId,
        /// What.
        title: String,
        /// At their highest bid.
        price: Money,
        /// If they take it before then.
        until: Timestamp,
    },
    /// An order came into being.
    OrderPlaced {
        /// Which.
        order: OrderId,
        /// What is paid.
        group: OrderGroupId,
        /// What was ordered.
        title: String,
        /// To whom this is said.
        side: Side,
    },
    /// It is paid.
    OrderPaid {
        /// Which.
        order: OrderId,
        /// What was ordered.
        title: String,
        /// To whom this is said.
        side: Side,
    },
    /// It is on its way.
    OrderShipped {
        /// Which.
        order: OrderId,
        /// What was ordered.
        title: String,
        /// Who brings it.
        carrier: String,
        /// The carrier's name for it.
        tracking: Option<String>,
    },
    /// Nothing was heard of its delivery.
    DeliveryQuestioned {
        /// Which.
        order: OrderId,
        /// What was ordered.
        title: String,
    },
    /// It has arrived.
    OrderDelivered {
        /// Which.
        order: OrderId,
        /// What was ordered.
        title: String,
        /// To whom this is said.
        side: Side,
    },
    /// The time to look at it runs.
    InspectionReminded {
        /// Which.
        order: OrderId,
        /// What was ordered.
        title: String,
    },
    /// It was called off.
    OrderCancelled {
        /// Which.
        order: OrderId,
        /// What was ordered.
        title: String,
        /// To whom this is said.
        side: Side,
    },
    /// Money has gone to the seller.
    EscrowReleased {
        /// Of which order.
        order: OrderId,
        /// What was ordered.
        title: String,
        /// What the seller has got of it.
        amount: Money,
        /// To whom this is said.
        side: Side,
    },
    /// Money has gone back to the buyer.
    EscrowRefunded {
        /// Of which order.
        order: OrderId,
        /// What was ordered.
        title: String,
        /// How much.
        amount: Money,
        /// To whom this is said.
        side: Side,
    },
    /// The staff is to decide about an order.
    Dispute {
        /// Which.
        order: OrderId,
        /// What was ordered.
        title: String,
        /// To whom this is said.
        side: Side,
        /// Whether it is they who dispute.
        own: bool,
    },
    /// Money has left the marketplace.
    PayoutPaid {
        /// How much.
        amount: Money,
    },
    /// Money could not leave the marketplace, and is back.
    PayoutFailed {
        /// How much.
        amount: Money,
    },
    /// They had won something and not paid.
    Violation {
        /// The order.
        order: OrderId,
        /// How many such orders there are now.
        violations: usize,
        /// How many block an account.
        maximum: usize,
    },
    /// Somebody has written to them, for the first time since they have looked.
    Message {
        /// Where.
        chat: ChatId,
        /// About what, if it is a listing.
        listing: Option<ListingId>,
        /// About what, if it is an order.
        order: Option<OrderId>,
    },
    /// The period of a subscription ends soon.
    SubscriptionEndsSoon {
        /// When.
        ends_at: Timestamp,
        /// What is charged then; nothing if it is not renewed.
        charges: Option<Money>,
    },
    /// The next period of a subscription is paid.
    SubscriptionRenewed {
        /// Until when.
        ends_at: Timestamp,
    },
    /// There was too little in the wallet for the next period.
    RenewalFailed {
        /// What it costs.
        price: Money,
        /// When the subscription ends unless it is paid.
        until: Timestamp,
    },
    /// A subscription began, or goes on as another.
    SubscriptionBegun {
        /// Until when it is paid.
        ends_at: Timestamp,
    },
    /// A subscription is over.
    SubscriptionEnded {},
    /// They may not trade any more.
    Blocked {},
    /// They may not trade for now.
    Suspended {},
    /// Something must not happen again.
    Warned {},
    /// They may trade again.
    Reinstated {},
    /// They are asked how it was.
    FeedbackRequest {
        /// Of which order.
        order: OrderId,
        /// What was ordered.
        title: String,
    },
    /// A listing of theirs may be offered.
    ListingApproved {
        /// Which.
        listing: ListingId,
        /// What it is.
        title: String,
    },
    /// A listing of theirs was given back.
    ListingRejected {
        /// Which.
        listing: ListingId,
        /// What it is.
        title: String,
    },
    /// A listing of theirs was taken away.
    ListingRemoved {
        /// Which.
        listing: ListingId,
        /// What it is.
        title: String,
    },
    /// To the staff: a listing waits to be looked at.
    ListingReview {
        /// Which.
        listing: ListingId,
        /// What it is.
        title: String,
        /// When it is offered unless somebody says no.
        until: Timestamp,
    },
    /// The staff has something to say.
    Announcement {
        /// Names it.
        broadcast: BroadcastId,
        /// What.
        words: Words,
    },
}

impl Notice {
    /// What it is about.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Welcome {} => Kind::Welcome,
            Self::Verify { .. } => Kind::Verify,
            Self::Reset { .. } => Kind::Reset,
            Self::EmailChanged {} | Self::PasswordChanged {} | Self::LoginLinked {} | Self::MethodAdded {} => {
                Kind::Security
            }
            Self::BidPlaced { .. } => Kind::BidPlaced,
            Self::Outbid { .. } => Kind::Outbid,
            Self::Won { .. } => Kind::Won,
            Self::Lost { .. } | Self::AuctionCancelled { .. } => Kind::Lost,
            Self::Unsold { .. } => Kind::Unsold,
            Self::SecondChance { .. } => Kind::SecondChance,
            Self::OrderPlaced { .. } => Kind::OrderPlaced,
            Self::OrderPaid { .. } => Kind::OrderPaid,
            Self::OrderShipped { .. } => Kind::OrderShipped,
            Self::DeliveryQuestioned { .. } | Self::OrderDelivered { .. } | Self::InspectionReminded { .. } => {
                Kind::OrderDelivered
            }
            Self::OrderCancelled { .. } => Kind::OrderCancelled,
            Self::EscrowReleased { .. } => Kind::EscrowReleased,
            Self::EscrowRefunded { .. } => Kind::EscrowRefunded,
            Self::Dispute { .. } => Kind::Dispute,
            Self::PayoutPaid { .. } | Self::PayoutFailed { .. } => Kind::Payout,
            Self::Message { .. } => Kind::Message,
            Self::SubscriptionEndsSoon { .. }
            | Self::SubscriptionRenewed { .. }
            | Self::RenewalFailed { .. }
            | Self::SubscriptionBegun { .. }
            | Self::SubscriptionEnded {} => Kind::Subscription,
            Self::Violation { .. } | Self::Warned {} | Self::Blocked {} | Self::Suspended {} | Self::Reinstated {} => {
                Kind::AccountBlocked
            }
            Self::FeedbackRequest { .. } => Kind::FeedbackRequest,
            Self::ListingApproved { .. } | Self::ListingRejected { .. } | Self::ListingRemoved { .. } => {
                Kind::ListingReviewed
            }
            Self::ListingReview { .. } => Kind::ListingReview,
            Self::Announcement { .. } => Kind::Announcement,
        }
    }
}

/// Who is told what of an event.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Told {
    /// For whom it is.
    pub to: Addressee,
    /// The mailbox that a message goes to, if it is another than that of the account.
    pub mailbox: Option<Sealed<String>>,
    /// What they are told.
    pub notice: Notice,
}

impl Told {
    /// One account is told.
    pub fn to(account: AccountId, notice: Notice) -> Self {
        Self { to: Addressee::Account(account), mailbox: None, notice }
    }

    /// The id of the notice of this event: the same however often it is made.
    pub fn id(&self, event: Uuid) -> NotificationId {
        match self.notice {
            Notice::Announcement { broadcast, .. } => NotificationId::announcing(broadcast),
            _ => NotificationId::of(self.to, self.notice.kind(), event),
        }
    }
}
