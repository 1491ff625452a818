//! What an answer rests on: which read models give it, and what must have happened to which aggregates for their rows to
//! be what they were.

use domain::{
    AccountId, Aggregate, AuctionId, ChatId, ComplaintId, Currency, ListingId, OrderGroupId, OrderId, PageId, ReviewId,
    WalletId, account, charge, commission, favorite, listing, merchant, order, referral, referral_click, review, stock,
    store, view, vote, wallet,
};
use uuid::Uuid;

use crate::{
    ReadModel, accounts, addresses, affiliates, auction_board, catalogue, categories, chats, escrows, notifications,
    order_money, orders, pages, payees, plans, points, reports, reviews, sales, stores, subscriptions,
    wallet_statement,
};

/// The streams that the rows of an answer rest on. Only those of kinds that the read model looks at
/// count; several of them may have the same id, as a listing, its auction and its stock do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Grounds {
    /// All that there are of these kinds.
    Everything {
        /// The kinds.
        of: &'static [&'static str],
    },
    /// Those with these ids, and with those that are found from there on.
    Of {
        /// The ids to begin with.
        ids: Vec<Uuid>,
        /// How to go on, in this order; each step looks at all that was found before.
        steps: &'static [Step],
    },
}

/// How to find further streams.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// Those whose ids stand in events that were found.
    Mentioned,
    /// Those of this kind that mention an id that was found, as [`crate::mentions`] keeps it.
    Mentioning(&'static str),
    /// Of those no more than the very events.
    Moments(&'static str),
}

impl Grounds {
    fn of(id: Uuid, steps: &'static [Step]) -> Self {
        Self::Of { ids: vec![id], steps }
    }
}

/// What somebody asks for of which there may be a past.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Question<'a> {
    /// An account, as it sees itself and staff see it.
    Account(AccountId),
    /// Somebody's addresses.
    Addresses(AccountId),
    /// What somebody earns as an affiliate.
    Affiliate(AccountId),
    /// An auction, for whoever may have bid.
    Auction(AuctionId),
    /// The categories, with what is on offer in them.
    Categories,
    /// A chat.
    Chat(ChatId),
    /// A complaint.
    Complaint(ComplaintId),
    /// How a seller's business goes.
    Dashboard(AccountId),
    /// The escrow of an order.
    Escrow(OrderId),
    /// A listing.
    Listing(ListingId),
    /// An order.
    Order(OrderId),
    /// The orders of one checkout.
    OrderGroup(OrderGroupId),
    /// Where the money of an order is.
    OrderMoney(OrderId),
    /// A content page.
    Page(&'a str),
    /// Where somebody's money may go.
    Payee(AccountId),
    /// Somebody's bonus points.
    Points(AccountId),
    /// How somebody wants to be told of what.
    Preferences(AccountId),
    /// What everybody may know of somebody.
    PublicProfile(AccountId),
    /// A review.
    Review(ReviewId),
    /// A store, as its owner sees it.
    Store(AccountId),
    /// A store and what it offers.
    StorePage(AccountId),
    /// Somebody's subscriptions.
    Subscriptions(AccountId),
    /// What somebody has in their wallets.
    Wallet(AccountId),
}

/// What a listing on offer is on offer by: of a category only their number is told.
const OFFERED: &[&str] = &[account::Account::TYPE, listing::Listing::TYPE, stock::Stock::TYPE, store::Store::TYPE];

/// What is said of a listing by others, and of whom that is forgotten when they are.
const INTEREST: &[Step] = &[
    Step::Mentioned,
    Step::Mentioning(favorite::Favorite::TYPE),
    Step::Mentioning(view::View::TYPE),
    Step::Mentioning(review::Review::TYPE),
    Step::Mentioned,
];
/// The same of all listings of a seller.
const INTEREST_IN_ALL: &[Step] = &[
    Step::Mentioning(listing::Listing::TYPE),
    Step::Mentioning(favorite::Favorite::TYPE),
    Step::Mentioning(view::View::TYPE),
    Step::Mentioning(review::Review::TYPE),
    Step::Mentioned,
];

/// What a seller has sold, with the groups of it and all that was bought together with it.
const ORDERS_OF_SELLER: &[Step] = &[Step::Mentioning(order::Order::TYPE), Step::Mentioned, Step::Mentioned];

impl Question<'_> {
    /// The names of the read models that answer.
    pub fn models(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.rests_on().into_iter().map(|(model, _)| model.name)
    }

    /// The read models that answer, each once, with what the answer rests on.
    pub(crate) fn rests_on(&self) -> Vec<(ReadModel, Grounds)> {
        let of_account = |AccountId(id): AccountId| Grounds::of(id, &[]);
        match *self {
            Self::Account(id) => vec![(accounts::MODEL, of_account(id))],
            Self::Addresses(id) => vec![(addresses::MODEL, of_account(id))],
            Self::Affiliate(id) => {
                let steps = &[
                    Step::Mentioning(commission::Commission::TYPE),
                    Step::Mentioning(referral::Referral::TYPE),
                    Step::Mentioning(referral_click::ReferralClick::TYPE),
                ];
                vec![(affiliates::MODEL, Grounds::of(id.0, steps))]
            }
            // Its seller, whose store may be closed.
            Self::Auction(id) => vec![(auction_board::MODEL, Grounds::of(id.0, &[Step::Mentioned]))],
            Self::Categories => {
                let of = categories::MODEL.about;
                vec![
                    (categories::MODEL, Grounds::Everything { of }),
                    (catalogue::MODEL, Grounds::Everything { of: OFFERED }),
                ]
            }
            // Who takes part, and may be forgotten.
            Self::Chat(id) => vec![(chats::MODEL, Grounds::of(id.0, &[Step::Mentioned]))],
            Self::Complaint(id) => vec![(reports::MODEL, Grounds::of(id.0, &[Step::Mentioned]))],
            Self::Dashboard(seller) => {
                vec![
                    (sales::MODEL, Grounds::of(seller.0, &[Step::Mentioning(order::Order::TYPE)])),
                    (orders::MODEL, Grounds::of(seller.0, ORDERS_OF_SELLER)),
                    (catalogue::MODEL, Grounds::of(seller.0, &[Step::Mentioning(listing::Listing::TYPE)])),
                ]
            }
            Self::Escrow(id) => vec![(escrows::MODEL, Grounds::of(id.0, &[]))],
            Self::Listing(id) => vec![(catalogue::MODEL, Grounds::of(id.0, INTEREST))],
            // Its group, which is not without all its orders; and its buyer, who may be forgotten.
            Self::Order(id) => vec![(orders::MODEL, Grounds::of(id.0, &[Step::Mentioned, Step::Mentioned]))],
            Self::OrderGroup(id) => vec![(orders::MODEL, Grounds::of(id.0, &[Step::Mentioned, Step::Mentioned]))],
            Self::OrderMoney(id) => {
                let steps = &[
                    Step::Mentioned,
                    Step::Mentioned,
                    Step::Mentioning(charge::Charge::TYPE),
                    // What the seller has owed and paid with the sale.
                    Step::Moments(wallet::Wallet::TYPE),
                ];
                vec![(order_money::MODEL, Grounds::of(id.0, steps))]
            }
            Self::Page(slug) => vec![(pages::MODEL, Grounds::of(PageId::of(slug).0, &[]))],
            Self::Payee(id) => {
                let steps = &[Step::Mentioning(merchant::Merchant::TYPE)];
                vec![(payees::MODEL, Grounds::of(id.0, steps))]
            }
            Self::Points(id) => vec![(points::MODEL, of_account(id))],
            Self::Preferences(id) => vec![(notifications::MODEL, of_account(id))],
            Self::PublicProfile(id) => vec![
                (accounts::MODEL, of_account(id)),
                (stores::MODEL, of_account(id)),
                (catalogue::MODEL, Grounds::of(id.0, &[Step::Mentioning(listing::Listing::TYPE)])),
                (reviews::MODEL, Grounds::of(id.0, &[Step::Mentioning(review::Review::TYPE)])),
            ],
            // Who has written it, who has answered, and who finds it helpful.
            Self::Review(id) => {
                let steps = &[Step::Mentioned, Step::Mentioning(vote::Vote::TYPE)];
                vec![(reviews::MODEL, Grounds::of(id.0, steps))]
            }
            Self::Store(id) => vec![(stores::MODEL, of_account(id))],
            Self::StorePage(id) => vec![
                (stores::MODEL, of_account(id)),
                (catalogue::MODEL, Grounds::of(id.0, INTEREST_IN_ALL)),
                (reviews::MODEL, Grounds::of(id.0, &[Step::Mentioning(review::Review::TYPE)])),
            ],
            // Who has none has the plan `free`.
            Self::Subscriptions(id) => {
                vec![
                    (subscriptions::MODEL, of_account(id)),
                    (plans::MODEL, Grounds::Everything { of: plans::MODEL.about }),
                ]
            }
            Self::Wallet(owner) => {
                let ids = Currency::all().map(|currency| WalletId::of(owner, currency).0).collect();
                vec![(wallet_statement::MODEL, Grounds::Of { ids, steps: &[] })]
            }
        }
    }
}
