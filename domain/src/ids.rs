//! Names of streams and operations. All are UUIDs, minted outside the domain (version 7) or derived from what they
//! name (version 5), so that a retry names the same thing.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::money::Currency;
use crate::notice::{Addressee, Kind};
use crate::stock::Sku;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::parse_str(text).map(Self)
            }
        }

        impl From<$name> for Uuid {
            fn from(id: $name) -> Self {
                id.0
            }
        }
    };
}

id!(
    /// A person or firm that buys, sells or works here.
    AccountId
);
id!(
    /// Something offered for sale.
    ListingId
);
id!(
    /// The sale of a listing by auction; the same value as its [`ListingId`].
    AuctionId
);
id!(
    /// The money of one account in one currency.
    WalletId
);
id!(
    /// One log-in: a family of refresh tokens.
    SessionId
);
id!(
    /// One value that only one owner may have, such as an e-mail address, by its keyed hash.
    ClaimId
);
id!(
    /// One attempt to bring money in.
    DepositId
);
id!(
    /// One attempt to take money out.
    WithdrawalId
);
id!(
    /// A payment method that an account keeps.
    MethodId
);
id!(
    /// A seller at a payment provider; from the provider and its name for the seller by [`MerchantId::of`].
    MerchantId
);
id!(
    /// One question sent to a mailbox.
    ChallengeId
);
id!(
    /// Money set aside for a second step.
    HoldId
);
id!(
    /// What one buyer gets from one seller; its escrow has the same id.
    OrderId
);
id!(
    /// The orders of one checkout, which are paid together.
    OrderGroupId
);
id!(
    /// One movement of money back to a buyer.
    RefundId
);
id!(
    /// One attempt to bring money in from a payment method: of a deposit the same value as its [`DepositId`], of a checkout
    /// by [`ChargeId::of_group`].
    ChargeId
);
id!(
    /// A payer's dispute of a charge at the provider; from the provider's name for it by [`DisputeId::of`].
    DisputeId
);
id!(
    /// What a provider's name for something stands for here; from both names by [`CorrelationId::of`].
    CorrelationId
);

id!(
    /// One address in somebody's address book.
    AddressId
);
id!(
    /// A picture that somebody has uploaded.
    ImageId
);
id!(
    /// A page of content, by its slug.
    PageId
);
id!(
    /// A province, state or territory of a country.
    ProvinceId
);
id!(
    /// A city, town or district of a province.
    CityId
);
id!(
    /// What an affiliate earns with an order; from the order by [`CommissionId::of`].
    CommissionId
);
id!(
    /// A plan that sellers may subscribe to; from its slug by [`PlanId::of`].
    PlanId
);
id!(
    /// One time that somebody subscribes to a plan, until that ends.
    SubscriptionId
);
id!(
    /// One period of a subscription, and what is charged for it; from both by [`PeriodId::of`].
    PeriodId
);
id!(
    /// The clicks of a visitor on an affiliate's links on a day, by a keyed hash of these.
    ReferralClickId
);
id!(
    /// A category of goods; from its slug by [`CategoryId::of`].
    CategoryId
);

/// The name space of [`CategoryId`]s. Part of the storage format.
const CATEGORIES: Uuid = Uuid::from_u128(0x2c9b_8f57_41a6_5d0e_9a3d_c07e_55f1_8b62);

impl CategoryId {
    /// The one category that this slug names.
    pub fn of(slug: &str) -> Self {
        Self(Uuid::new_v5(&CATEGORIES, slug.as_bytes()))
    }
}

id!(
    /// The tree of all categories.
    CategoryTreeId
);

impl CategoryTreeId {
    /// The only one there is. Part of the storage format.
    pub const ONLY: Self = Self(Uuid::from_u128(0x7d35_1c9a_08e4_5b6f_b2d1_6e4a_93f8_205c));
}

id!(
    /// What a sale is charged where nothing else says so.
    FeeRuleId
);

impl FeeRuleId {
    /// The only one there is. Part of the storage format.
    pub const DEFAULT: Self = Self(Uuid::from_u128(0x1f6b_84d2_7c90_5e3a_a5c8_20d7_6be1_f493));
}

id!(
    /// What an account wants to find again; from the account and the listing by [`FavoriteId::of`].
    FavoriteId
);
id!(
    /// The first look of a viewer at a listing on a day, by a keyed hash of these.
    ViewId
);

/// The name space of [`FavoriteId`]s. Part of the storage format.
const FAVORITES: Uuid = Uuid::from_u128(0x91d4_0a6e_77c3_5b28_8e15_2f9b_64d0_a7c3);

impl FavoriteId {
    /// What `listing` is to `account`.
    pub fn of(account: AccountId, listing: ListingId) -> Self {
        let name = [account.0.into_bytes(), listing.0.into_bytes()].concat();
        Self(Uuid::new_v5(&FAVORITES, &name))
    }
}

/// The name space of [`CommissionId`]s. Part of the storage format.
const COMMISSIONS: Uuid = Uuid::from_u128(0x5a0e_93d1_7b64_5f2a_8c17_d86b_30e4_f95c);

impl CommissionId {
    /// The one commission that an order may bring.
    pub fn of(order: OrderId) -> Self {
        Self(Uuid::new_v5(&COMMISSIONS, order.0.as_bytes()))
    }
}

id!(
    /// What somebody was told; from whom it is for, its kind and the event that it tells of by [`NotificationId::of`],
    /// and what staff have said by [`NotificationId::announcing`].
    NotificationId
);
id!(
    /// What the staff has said to several at once, or to one.
    BroadcastId
);

/// The name space of [`NotificationId`]s. Part of the storage format.
const NOTIFICATIONS: Uuid = Uuid::from_u128(0x7e83_d2a0_1c5f_5b94_8d60_93ae_f217_4c5b);

impl NotificationId {
    /// What an event has to tell to somebody.
    pub fn of(to: Addressee, kind: Kind, event: Uuid) -> Self {
        let to = match to {
            Addressee::Account(account) => account.to_string(),
            Addressee::Everybody => "everybody".to_owned(),
            Addressee::Holders(capability) => capability.name().to_owned(),
        };
        Self(Uuid::new_v5(&NOTIFICATIONS, format!("{to} {kind} {event}").as_bytes()))
    }

    /// What staff have said.
    pub fn announcing(broadcast: BroadcastId) -> Self {
        Self(Uuid::new_v5(&NOTIFICATIONS, broadcast.0.as_bytes()))
    }
}

impl From<ListingId> for AuctionId {
    fn from(id: ListingId) -> Self {
        Self(id.0)
    }
}

impl From<AuctionId> for ListingId {
    fn from(id: AuctionId) -> Self {
        Self(id.0)
    }
}

/// The name space of [`WalletId`]s. Part of the storage format.
const WALLETS: Uuid = Uuid::from_u128(0x6f0c_62f1_9d0b_5c57_8f0e_3f5d_7a61_2b44);

impl WalletId {
    /// The one wallet that `owner` has in `currency`.
    pub fn of(owner: AccountId, currency: Currency) -> Self {
        let mut name = owner.0.as_bytes().to_vec();
        name.extend_from_slice(currency.code().as_bytes());
        Self(Uuid::new_v5(&WALLETS, &name))
    }
}

/// The name space of [`MerchantId`]s. Part of the storage format.
const MERCHANTS: Uuid = Uuid::from_u128(0x47f0_8d1e_c629_5ab3_8b7c_e503_9ad4_16f2);

impl MerchantId {
    /// The one merchant that `provider` calls so.
    pub fn of(provider: &str, reference: &str) -> Self {
        Self(Uuid::new_v5(&MERCHANTS, format!("{provider} {reference}").as_bytes()))
    }
}

impl From<MerchantId> for MethodId {
    fn from(id: MerchantId) -> Self {
        Self(id.0)
    }
}

impl ChargeId {
    /// The attempt with this number, from 1, to pay a checkout.
    pub fn of_group(group: OrderGroupId, attempt: u32) -> Self {
        Self(Uuid::new_v5(&group.0, &attempt.to_be_bytes()))
    }
}

impl From<DepositId> for ChargeId {
    fn from(id: DepositId) -> Self {
        Self(id.0)
    }
}

impl From<ChargeId> for DepositId {
    fn from(id: ChargeId) -> Self {
        Self(id.0)
    }
}

impl RefundId {
    /// What of a charge came too late to pay anything, on its way back.
    pub fn of_unapplied(charge: ChargeId) -> Self {
        Self(Uuid::new_v5(&charge.0, b"unapplied"))
    }

    /// What a provider is asked under at the attempt with this number, from 1, to send it back to where it was charged.
    pub fn operation(self, attempt: u32) -> Uuid {
        if attempt <= 1 { self.0 } else { Uuid::new_v5(&self.0, &attempt.to_be_bytes()) }
    }
}

/// The name space of [`DisputeId`]s. Part of the storage format.
const DISPUTES: Uuid = Uuid::from_u128(0xb7e2_64a9_0d13_5f87_91cc_5e08_d4f6_3a70);

impl DisputeId {
    /// The dispute that a provider calls so.
    pub fn of(provider: &str, dispute: &str) -> Self {
        Self(Uuid::new_v5(&DISPUTES, format!("{provider} {dispute}").as_bytes()))
    }

    /// Names the movement of the escrow of one of the orders that it is about.
    pub fn operation(self, order: OrderId) -> Uuid {
        Uuid::new_v5(&self.0, order.0.as_bytes())
    }
}

/// The name space of [`CorrelationId`]s. Part of the storage format.
const CORRELATIONS: Uuid = Uuid::from_u128(0x4a19_c0d7_82f5_5b3e_a6f1_77b9_0e2d_c864);

impl CorrelationId {
    /// What a provider calls so.
    pub fn of(provider: &str, name: &str) -> Self {
        Self(Uuid::new_v5(&CORRELATIONS, format!("{provider} {name}").as_bytes()))
    }
}

/// The name space of [`ProvinceId`]s and [`CityId`]s. Part of the storage format.
const PLACES: Uuid = Uuid::from_u128(0x2b1f_7c04_5a6d_5e0b_9c3e_41d2_88a7_60f5);

impl ProvinceId {
    /// The province that has this code in its country, both as ISO 3166 writes them.
    pub fn of(country: &str, code: &str) -> Self {
        Self(Uuid::new_v5(&PLACES, format!("{country}-{code}").as_bytes()))
    }
}

impl CityId {
    /// The city that has this code in its province.
    pub fn of(province: ProvinceId, code: &str) -> Self {
        Self(Uuid::new_v5(&province.0, code.as_bytes()))
    }
}

/// The name space of [`PageId`]s. Part of the storage format.
const PAGES: Uuid = Uuid::from_u128(0x94b3_1a7e_6f02_5c8d_a1d5_7be0_33c9_08f6);

impl PageId {
    /// The page with this slug.
    pub fn of(slug: &str) -> Self {
        Self(Uuid::new_v5(&PAGES, slug.as_bytes()))
    }
}

id!(
    /// What a buyer says of a line of an order; from these by [`ReviewId::of`].
    ReviewId
);
id!(
    /// That somebody finds a review helpful; from these by [`VoteId::of`].
    VoteId
);
id!(
    /// What somebody tells staff of something; from these by [`ReportId::of`].
    ReportId
);
id!(
    /// What a party of an order tells staff of it; from these by [`ComplaintId::of`].
    ComplaintId
);

/// The name space of [`ReviewId`]s. Part of the storage format.
const REVIEWS: Uuid = Uuid::from_u128(0xc41d_6b0f_2e97_5a83_b5f6_08d3_7ac1_94e2);

impl ReviewId {
    /// The one review of this form of a listing in an order, whose lines are all of other listings or other forms.
    pub fn of(order: OrderId, listing: ListingId, sku: &Sku) -> Self {
        let mut name = [order.0.into_bytes(), listing.0.into_bytes()].concat();
        name.extend_from_slice(sku.to_string().as_bytes());
        Self(Uuid::new_v5(&REVIEWS, &name))
    }
}

/// The name space of [`VoteId`]s. Part of the storage format.
const VOTES: Uuid = Uuid::from_u128(0x17e8_3c52_b4d0_5f69_8a2b_c6f1_0d95_73ae);

impl VoteId {
    /// What `account` finds of `review`.
    pub fn of(account: AccountId, review: ReviewId) -> Self {
        let name = [account.0.into_bytes(), review.0.into_bytes()].concat();
        Self(Uuid::new_v5(&VOTES, &name))
    }
}

/// The name space of [`ReportId`]s. Part of the storage format.
const REPORTS: Uuid = Uuid::from_u128(0x8e05_f9a7_61c3_5d24_97b8_4b1e_f260_d83c);

impl ReportId {
    /// What `reporter` tells of the thing of this kind and id.
    pub fn of(reporter: AccountId, kind: &str, thing: Uuid) -> Self {
        let mut name = [reporter.0.into_bytes(), thing.into_bytes()].concat();
        name.extend_from_slice(kind.as_bytes());
        Self(Uuid::new_v5(&REPORTS, &name))
    }
}

/// The name space of [`ComplaintId`]s. Part of the storage format.
const COMPLAINTS: Uuid = Uuid::from_u128(0x53b2_07dc_ea48_5196_a07d_9f34_c85e_216b);

impl ComplaintId {
    /// What `complainant` tells of `order`.
    pub fn of(order: OrderId, complainant: AccountId) -> Self {
        let name = [order.0.into_bytes(), complainant.0.into_bytes()].concat();
        Self(Uuid::new_v5(&COMPLAINTS, &name))
    }
}

id!(
    /// What two people write to each other about something; from these by [`ChatId::of`].
    ChatId
);
id!(
    /// One message of a chat.
    MessageId
);

/// The name space of [`ChatId`]s. Part of the storage format.
const CHATS: Uuid = Uuid::from_u128(0x3d7c_21f8_94ab_5e60_b1c9_6a04_de83_57f2);

impl ChatId {
    /// The one chat of a buyer and a seller about the thing of this kind and id.
    pub fn of(buyer: AccountId, seller: AccountId, kind: &str, thing: Uuid) -> Self {
        let mut name = [buyer.0, seller.0, thing].map(Uuid::into_bytes).concat();
        name.extend_from_slice(kind.as_bytes());
        Self(Uuid::new_v5(&CHATS, &name))
    }
}

/// The name space of [`PlanId`]s. Part of the storage format.
const PLANS: Uuid = Uuid::from_u128(0xd3f7_1b52_8e0c_5a94_b6e1_09c4_7d38_f21a);

impl PlanId {
    /// The plan with this slug.
    pub fn of(slug: &str) -> Self {
        Self(Uuid::new_v5(&PLANS, slug.as_bytes()))
    }
}

impl PeriodId {
    /// The period of a subscription that has this number, from 1.
    pub fn of(subscription: SubscriptionId, number: u32) -> Self {
        Self(Uuid::new_v5(&subscription.0, &number.to_be_bytes()))
    }
}
