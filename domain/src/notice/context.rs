//! Whom the events of one thing concern.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Addressee, Notice, Side, Told};
use crate::account::{Capability, Challenge, MOST_VIOLATIONS};
use crate::broadcast;
use crate::chat::Subject;
use crate::escrow::{self, Disputant, ReleaseCause};
use crate::ids::{AccountId, AuctionId, BroadcastId, ChatId, ListingId, OrderGroupId, OrderId, WithdrawalId};
use crate::listing::Approver;
use crate::money::Money;
use crate::order::{CancelCause, Origin, Witness};
use crate::sealed::Sealed;
use crate::{account, auction, chat, listing, order, payee, subscription, wallet};

/// So many bidders of an auction are told that they have not won. It is kept for each auction and written with each bid.
pub const MOST_BIDDERS: usize = 1_000;

/// What has to be remembered of one thing to tell of what happens to it. Things that share an id share one.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Context {
    /// Nothing is known of it.
    #[default]
    Nothing,
    /// An account that is not erased.
    Account {
        /// Its address.
        email: Sealed<String>,
        /// Whether somebody has shown to read that mailbox.
        verified: bool,
    },
    /// A listing, and its auction.
    Sale(Sale),
    /// An order, and its escrow.
    Order(Parties),
    /// A chat.
    Chat {
        /// About what.
        about: Subject,
        /// Who was told that there is something to read, and has not looked since.
        told: BTreeSet<AccountId>,
    },
    /// Money of somebody.
    Wallet {
        /// Whose.
        owner: AccountId,
        /// What is on its way out.
        leaving: Vec<(WithdrawalId, Money)>,
    },
}

/// Whom a listing or an auction concerns.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Sale {
    /// Who sells.
    pub seller: AccountId,
    /// What.
    pub title: String,
    /// Who leads, if it is an auction and somebody does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<AccountId>,
    /// Who has bid.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub bidders: BTreeSet<AccountId>,
}

/// Whom an order concerns.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Parties {
    /// Who buys; nothing of a guest, who has no account.
    pub buyer: Option<AccountId>,
    /// Who sells.
    pub seller: AccountId,
    /// What was ordered, in a few words.
    pub title: String,
}

impl Parties {
    fn tell(&self, side: Side, notice: impl FnOnce(String) -> Notice) -> Option<Told> {
        let to = match side {
            Side::Buyer => self.buyer?,
            Side::Seller => self.seller,
        };
        Some(Told::to(to, notice(self.title.clone())))
    }

    fn tell_both(&self, notice: impl Fn(String, Side) -> Notice) -> Vec<Told> {
        let told = |side| self.tell(side, |title| notice(title, side));
        [Side::Buyer, Side::Seller].into_iter().filter_map(told).collect()
    }
}

impl Context {
    /// Takes what happens to an account in.
    pub fn take_account(&mut self, id: AccountId, event: &account::Event) -> Vec<Told> {
        let to = |notice| vec![Told::to(id, notice)];
        match event {
            account::Event::AccountRegistered { identity, .. } => {
                *self = Self::Account { email: identity.email.clone(), verified: false };
                vec![]
            }
            account::Event::EmailChallenged { challenge } => {
                let Challenge { id: challenge, email, expires_at, .. } = challenge.clone();
                let notice = Notice::Verify { challenge, expires_at };
                vec![Told { mailbox: Some(email), ..Told::to(id, notice) }]
            }
            account::Event::PasswordChallenged { challenge } => {
                let Challenge { id: challenge, email, expires_at, .. } = challenge.clone();
                let notice = Notice::Reset { challenge, expires_at };
                vec![Told { mailbox: Some(email), ..Told::to(id, notice) }]
            }
            account::Event::EmailVerified { email } => {
                let Self::Account { email: known, verified } = self else { return vec![] };
                let first = !std::mem::replace(verified, true);
                let former = (known != email).then(|| std::mem::replace(known, email.clone()));
                match former {
                    Some(former) => vec![Told { mailbox: Some(former), ..Told::to(id, Notice::EmailChanged {}) }],
                    None if first => to(Notice::Welcome {}),
                    None => vec![],
                }
            }
            account::Event::PasswordChanged { .. } => to(Notice::PasswordChanged {}),
            account::Event::IdentityLinked { .. } => to(Notice::LoginLinked {}),
            account::Event::ViolationRecorded { order, violations } => {
                let (order, violations) = (*order, *violations);
                to(Notice::Violation { order, violations, maximum: MOST_VIOLATIONS })
            }
            account::Event::AccountBlocked { .. } => to(Notice::Blocked {}),
            account::Event::AccountSuspended { .. } => to(Notice::Suspended {}),
            account::Event::AccountWarned { .. } => to(Notice::Warned {}),
            account::Event::AccountReinstated { .. } => to(Notice::Reinstated {}),
            account::Event::AccountErased {} => {
                *self = Self::Nothing;
                vec![]
            }
            account::Event::ProfileChanged { .. }
            | account::Event::CapabilitiesGranted { .. }
            | account::Event::CapabilitiesRevoked { .. }
            | account::Event::ViolationsPardoned { .. }
            | account::Event::SessionsRevoked { .. } => vec![],
        }
    }

    /// Takes what happens to a listing in.
    pub fn take_listing(&mut self, id: ListingId, event: &listing::Event) -> Vec<Told> {
        if let listing::Event::ListingDrafted { seller, details, .. } = event {
            let (seller, title) = (*seller, details.title.clone());
            *self = Self::Sale(Sale { seller, title, leader: None, bidders: BTreeSet::new() });
        }
        let Self::Sale(sale) = self else { return vec![] };
        let (listing, seller) = (id, sale.seller);
        let title = || sale.title.clone();
        match event {
            listing::Event::ListingRevised { changes } => {
                if let Some(title) = &changes.title {
                    sale.title.clone_from(title);
                }
                vec![]
            }
            listing::Event::ListingSubmitted { review_until } => {
                let notice = Notice::ListingReview { listing, title: title(), until: *review_until };
                vec![Told { to: Addressee::Holders(Capability::Staff), mailbox: None, notice }]
            }
            // Where nobody of the staff has looked, its seller sees it offered.
            listing::Event::ListingApproved { by: Approver::Staff(_) } => {
                vec![Told::to(seller, Notice::ListingApproved { listing, title: title() })]
            }
            listing::Event::ListingRejected { .. } => {
                vec![Told::to(seller, Notice::ListingRejected { listing, title: title() })]
            }
            listing::Event::ListingRemoved { .. } => {
                vec![Told::to(seller, Notice::ListingRemoved { listing, title: title() })]
            }
            listing::Event::ListingDrafted { .. }
            | listing::Event::ListingApproved { by: Approver::Time }
            | listing::Event::ListingReturned {}
            | listing::Event::ListingPublished {}
            | listing::Event::ListingPaused {}
            | listing::Event::ListingResumed {}
            | listing::Event::ListingArchived { .. }
            | listing::Event::ListingFeatured { .. }
            | listing::Event::ListingUnfeatured { .. }
            | listing::Event::DiscountSet { .. }
            | listing::Event::DiscountOpened { .. }
            | listing::Event::DiscountClosed {}
            | listing::Event::ImageAttached { .. }
            | listing::Event::ImageDetached { .. } => vec![],
        }
    }

    /// Takes what happens to an auction in.
    pub fn take_auction(&mut self, id: AuctionId, event: &auction::Event) -> Vec<Told> {
        let Self::Sale(sale) = self else { return vec![] };
        let (auction, title) = (id, sale.title.clone());
        match event {
            auction::Event::BidPlaced { bidder, standing, .. } => {
                let price = standing.price;
                let before = sale.leader.replace(standing.leader);
                if sale.bidders.len() < MOST_BIDDERS {
                    sale.bidders.insert(*bidder);
                }
                let seller = Told::to(sale.seller, Notice::BidPlaced { auction, title: title.clone(), price });
                // Whoever bids too little for the lead is told so at once.
                let outbid = before.filter(|before| *before != standing.leader);
                let outbid = outbid.map(|before| Told::to(before, Notice::Outbid { auction, title, price }));
                [seller].into_iter().chain(outbid).collect()
            }
            // The winner is told of the order that it leads to, which can be paid.
            auction::Event::AuctionClosed { outcome, .. } => {
                let (winner, reserve_missed) = match outcome {
                    auction::Outcome::Won { winner, .. } | auction::Outcome::BoughtNow { winner, .. } => {
                        (Some(*winner), false)
                    }
                    auction::Outcome::Unsold { reserve_missed } => (None, *reserve_missed),
                };
                let losers = sale.bidders.iter().filter(|bidder| Some(**bidder) != winner);
                let mut told: Vec<Told> =
                    losers.map(|loser| Told::to(*loser, Notice::Lost { auction, title: title.clone() })).collect();
                if winner.is_none() {
                    told.push(Told::to(sale.seller, Notice::Unsold { auction, title, reserve_missed }));
                }
                told
            }
            auction::Event::AuctionCancelled { by, .. } => {
                let seller = match by {
                    auction::Canceller::Seller => None,
                    auction::Canceller::Staff(_) => Some(sale.seller),
                };
                let concerned = sale.bidders.iter().copied().chain(seller);
                let notice = || Notice::AuctionCancelled { auction, title: title.clone() };
                concerned.map(|account| Told::to(account, notice())).collect()
            }
            auction::Event::SecondChanceOffered { bidder, price, until } => {
                vec![Told::to(*bidder, Notice::SecondChance { auction, title, price: *price, until: *until })]
            }
            auction::Event::AuctionScheduled { .. }
            | auction::Event::AuctionOpened {}
            | auction::Event::AuctionExtended { .. }
            | auction::Event::SaleForfeited { .. }
            | auction::Event::SecondChanceAccepted { .. } => vec![],
        }
    }

    /// Takes what happens to an order in.
    pub fn take_order(&mut self, id: OrderId, event: &order::Event) -> Vec<Told> {
        if let order::Event::OrderPlaced { terms } = event {
            return self.place(id, terms);
        }
        let Self::Order(parties) = self else { return vec![] };
        let (order, both) = (id, [Side::Buyer, Side::Seller]);
        match event {
            order::Event::OrderPaid {} => parties.tell_both(|title, side| Notice::OrderPaid { order, title, side }),
            order::Event::OrderShipped { carrier, tracking, .. } => {
                let (carrier, tracking) = (carrier.clone(), tracking.clone());
                let notice = |title| Notice::OrderShipped { order, title, carrier, tracking };
                parties.tell(Side::Buyer, notice).into_iter().collect()
            }
            order::Event::DeliveryQuestioned {} => {
                let notice = |title| Notice::DeliveryQuestioned { order, title };
                parties.tell(Side::Buyer, notice).into_iter().collect()
            }
            order::Event::OrderDelivered { by } => {
                // Whoever says so knows it.
                let others = both.into_iter().filter(|side| match by {
                    Witness::Buyer => *side == Side::Seller,
                    Witness::Seller => *side == Side::Buyer,
                    Witness::Staff(_) => true,
                });
                let told = |side| parties.tell(side, |title| Notice::OrderDelivered { order, title, side });
                others.filter_map(told).collect()
            }
            order::Event::OrderCompleted {} => {
                let notice = |title| Notice::FeedbackRequest { order, title };
                parties.tell(Side::Buyer, notice).into_iter().collect()
            }
            order::Event::OrderCancelled { cause } => {
                let others = both.into_iter().filter(|side| match cause {
                    CancelCause::Buyer { .. } => *side == Side::Seller,
                    CancelCause::Seller { .. } => *side == Side::Buyer,
                    CancelCause::Staff { .. }
                    | CancelCause::NotPaid
                    | CancelCause::NotConfirmed
                    | CancelCause::NotShipped
                    | CancelCause::NotDelivered => true,
                });
                let told = |side| parties.tell(side, |title| Notice::OrderCancelled { order, title, side });
                others.filter_map(told).collect()
            }
            order::Event::OrderPlaced { .. }
            | order::Event::OrderConfirmed {}
            | order::Event::GuestDismissed { .. }
            | order::Event::GuestForgotten {}
            | order::Event::OrderRefunded {} => vec![],
        }
    }

    fn place(&mut self, order: OrderId, terms: &order::Terms) -> Vec<Told> {
        let group: OrderGroupId = terms.group;
        let buyer = terms.guest.is_none().then_some(terms.buyer);
        let first = terms.lines.first();
        let title = first.map(|line| line.title.clone()).unwrap_or_default();
        let parties = Parties { buyer, seller: terms.seller, title };
        let price = first.map(|line| line.unit_price);
        let told = |side| match (terms.origin, side, price) {
            (Origin::AuctionWon(auction), Side::Buyer, Some(price)) => {
                parties.tell(side, |title| Notice::Won { auction, title, price, order, group })
            }
            (_, side, _) => parties.tell(side, |title| Notice::OrderPlaced { order, group, title, side }),
        };
        let told = [Side::Buyer, Side::Seller].into_iter().filter_map(told).collect();
        *self = Self::Order(parties);
        told
    }

    /// Takes what happens to an escrow in.
    pub fn take_escrow(&mut self, id: OrderId, event: &escrow::Event) -> Vec<Told> {
        let Self::Order(parties) = self else { return vec![] };
        let order = id;
        let released = |title, amount, side| Notice::EscrowReleased { order, title, amount, side };
        let refunded = |title, amount, side| Notice::EscrowRefunded { order, title, amount, side };
        // What the seller keeps is never less than the fee on it.
        let net = |kept: Money, fee: Money| kept.minus(fee).unwrap_or(kept);
        match event {
            escrow::Event::InspectionReminded { .. } => {
                let notice = |title| Notice::InspectionReminded { order, title };
                parties.tell(Side::Buyer, notice).into_iter().collect()
            }
            escrow::Event::EscrowDisputed { by, .. } => parties.tell_both(|title, side| {
                let own = match by {
                    Disputant::Buyer => side == Side::Buyer,
                    Disputant::Seller => side == Side::Seller,
                    Disputant::Marketplace => false,
                };
                Notice::Dispute { order, title, side, own }
            }),
            escrow::Event::EscrowReleased { cause, kept, fee, .. } => {
                let amount = net(*kept, *fee);
                match cause {
                    // The buyer has said so, or has said nothing.
                    ReleaseCause::Confirmed | ReleaseCause::InspectionOver => {
                        let notice = |title| released(title, amount, Side::Seller);
                        parties.tell(Side::Seller, notice).into_iter().collect()
                    }
                    ReleaseCause::Resolved(_) => parties.tell_both(|title, side| released(title, amount, side)),
                }
            }
            escrow::Event::EscrowPartlyRefunded { amount, .. }
            | escrow::Event::EscrowRefunded { amount, .. }
            | escrow::Event::ReleaseRefunded { amount, .. } => {
                parties.tell_both(|title, side| refunded(title, *amount, side))
            }
            escrow::Event::EscrowSplit { to_buyer, kept, fee, .. } => {
                let seller = parties.tell(Side::Seller, |title| released(title, net(*kept, *fee), Side::Seller));
                let buyer = parties.tell(Side::Buyer, |title| refunded(title, *to_buyer, Side::Buyer));
                buyer.into_iter().chain(seller).collect()
            }
            // The buyer hears of it from their bank.
            escrow::Event::ChargebackSettled { amount, .. } => {
                let notice = |title| refunded(title, *amount, Side::Seller);
                parties.tell(Side::Seller, notice).into_iter().collect()
            }
            escrow::Event::EscrowChargedBack { .. } => {
                let notice = |title| Notice::Dispute { order, title, side: Side::Seller, own: false };
                parties.tell(Side::Seller, notice).into_iter().collect()
            }
            escrow::Event::EscrowOpened { .. }
            | escrow::Event::EscrowFunded { .. }
            | escrow::Event::EscrowVoided {}
            | escrow::Event::InspectionStarted { .. }
            | escrow::Event::ChargebackReturned { .. } => vec![],
        }
    }

    /// Takes what happens to a wallet in.
    pub fn take_wallet(&mut self, event: &wallet::Event) -> Vec<Told> {
        if let wallet::Event::WalletOpened { owner, .. } = event {
            *self = Self::Wallet { owner: *owner, leaving: vec![] };
        }
        let Self::Wallet { owner, leaving } = self else { return vec![] };
        let mut left = |withdrawal: &WithdrawalId| {
            let index = leaving.iter().position(|(known, _)| known == withdrawal)?;
            Some(leaving.swap_remove(index).1)
        };
        let told = match event {
            wallet::Event::WithdrawalRequested { withdrawal, amount, .. } => {
                leaving.push((*withdrawal, *amount));
                None
            }
            wallet::Event::WithdrawalPaid { withdrawal, .. } => {
                left(withdrawal).map(|amount| Notice::PayoutPaid { amount })
            }
            wallet::Event::WithdrawalFailed { withdrawal, .. } => {
                left(withdrawal).map(|amount| Notice::PayoutFailed { amount })
            }
            wallet::Event::WithdrawalReturned { amount, .. } => Some(Notice::PayoutFailed { amount: *amount }),
            wallet::Event::WalletOpened { .. }
            | wallet::Event::DepositRequested { .. }
            | wallet::Event::DepositDelayed { .. }
            | wallet::Event::DepositSettled { .. }
            | wallet::Event::DepositFailed { .. }
            | wallet::Event::WithdrawalDelayed { .. }
            | wallet::Event::HoldPlaced { .. }
            | wallet::Event::HoldReleased { .. }
            | wallet::Event::PaymentMade { .. }
            | wallet::Event::SubscriptionPaid { .. }
            | wallet::Event::SaleReceived { .. }
            | wallet::Event::RefundReceived { .. }
            | wallet::Event::RefundGiven { .. }
            | wallet::Event::CommissionReceived { .. }
            | wallet::Event::CommissionGiven { .. }
            | wallet::Event::ReceivableRecovered { .. }
            | wallet::Event::ChargebackGiven { .. }
            | wallet::Event::ChargebackRegained { .. } => None,
        };
        told.map(|notice| Told::to(*owner, notice)).into_iter().collect()
    }

    /// Takes what happens to a chat in. Whoever was told that there is something to read is told again once they have
    /// looked.
    pub fn take_chat(&mut self, chat: ChatId, event: &chat::Event) -> Vec<Told> {
        if let chat::Event::ChatOpened { terms, .. } = event {
            *self = Self::Chat { about: terms.about, told: BTreeSet::new() };
        }
        let Self::Chat { about, told } = self else { return vec![] };
        match event {
            chat::Event::MessageSent { author, recipient, .. } => {
                told.remove(author);
                if !told.insert(*recipient) {
                    return vec![];
                }
                let (listing, order) = match *about {
                    Subject::Listing(listing) => (Some(listing), None),
                    Subject::Order(order) => (None, Some(order)),
                };
                vec![Told::to(*recipient, Notice::Message { chat, listing, order })]
            }
            chat::Event::ChatRead { reader, .. } => {
                told.remove(reader);
                vec![]
            }
            chat::Event::ChatOpened { .. } => vec![],
        }
    }

    /// What happens to a payee tells. It needs no context: it is its account's.
    pub fn of_payee(owner: AccountId, event: &payee::Event) -> Vec<Told> {
        use payee::Event as E;
        match event {
            // Who has stolen a way into an account adds a bank of their own, and waits until money may go there.
            E::MethodAdded { label: Some(_), .. } => vec![Told::to(owner, Notice::MethodAdded {})],
            // A merchant of the provider's nobody has added.
            E::MethodAdded { label: None, .. }
            // Money goes nowhere by these that it might not have gone before.
            | E::MethodRemoved { .. }
            | E::MethodPaused { .. }
            | E::MethodResumed { .. }
            | E::AccessChanged { .. }
            | E::OutgoingCounted { .. }
            | E::PlanSet { .. }
            | E::PlanEnded { .. }
            | E::PayoutDue { .. }
            | E::PayoutDone { .. }
            | E::MerchantLinked { .. } => vec![],
        }
    }

    /// What happens to a subscription tells. It needs no context: it is its subscriber's.
    pub fn of_subscription(owner: AccountId, event: &subscription::Event) -> Vec<Told> {
        use subscription::Event as E;
        let notice = match event {
            E::SubscriptionPurchased { period, .. } | E::SubscriptionUpgraded { period, .. } => {
                Notice::SubscriptionBegun { ends_at: period.ends_at }
            }
            E::SubscriptionRenewed { period, .. } => Notice::SubscriptionRenewed { ends_at: period.ends_at },
            E::RenewalReminded { ends_at, charges, .. } => {
                Notice::SubscriptionEndsSoon { ends_at: *ends_at, charges: *charges }
            }
            E::RenewalFailed { requested, until, .. } => Notice::RenewalFailed { price: *requested, until: *until },
            E::SubscriptionEnded { .. } => Notice::SubscriptionEnded {},
            // What somebody does themselves they need not be told.
            E::PlanChangeScheduled { .. }
            | E::SubscriptionCancelled { .. }
            | E::SubscriptionContinued { .. }
            | E::PeriodRecognised { .. } => return vec![],
        };
        vec![Told::to(owner, notice)]
    }

    /// What a broadcast tells. It needs no context.
    pub fn of_broadcast(id: BroadcastId, event: &broadcast::Event) -> Vec<Told> {
        match event {
            broadcast::Event::BroadcastSent { to, words, .. } => {
                let notice = Notice::Announcement { broadcast: id, words: words.clone() };
                vec![Told { to: *to, mailbox: None, notice }]
            }
            broadcast::Event::BroadcastWithdrawn {} => vec![],
        }
    }
}
