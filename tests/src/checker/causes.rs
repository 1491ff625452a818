//! The commands that events imply: what nobody in the history has asked for, processes above all, is decided again by
//! what came of it.

use domain::account::{self, Account, Challenge, SetBy, Words};
use domain::album::{self, Album};
use domain::auction::{self, Auction};
use domain::category::{self, Category};
use domain::category_tree::{self, CategoryTree};
use domain::claim::{self, Claim};
use domain::commission::{self, Commission, ReversalCause};
use domain::escrow::{self, Escrow};
use domain::image::{self, Image};
use domain::listing::{self, Listing};
use domain::order::{self, Order, Stage};
use domain::order_group::{self, OrderGroup};
use domain::page::{self, Page};
use domain::points::{self, Points};
use domain::session::{self, Session};
use domain::stock::{self, Stock};
use domain::store::{self, Store};
use domain::wallet::{self, Wallet};
use domain::{AccountId, CommissionId, HoldId, LedgerAccount, ListingId, Money, OrderId, Refusal, Timestamp};
use eventstore::event::DomainEvent;
use uuid::Uuid;

use super::intents::available;
use super::replica::{Draft, Replica, Step};
use super::{charges, payouts, people, plans, reputation};

/// What the commands lead to that these events imply. A unit of work may be several decisions, each on the state that
/// the ones before have left.
pub(super) fn carry_out_causes(
    replica: &Replica,
    events: &[DomainEvent],
    now: Timestamp,
) -> Result<Vec<Step>, Refusal> {
    let mut draft = replica.draft(now);
    while draft.steps().len() < events.len() {
        let before = draft.steps().len();
        carry_out_cause(&mut draft, &events[before..])?;
        if draft.steps().len() == before {
            break;
        }
    }
    Ok(draft.into_steps())
}

/// Carries the command out that has caused the first of these events, as far as they tell which it was.
fn carry_out_cause(draft: &mut Draft<'_>, events: &[DomainEvent]) -> Result<(), Refusal> {
    let now = draft.now();
    match events {
        [DomainEvent::Account(id, event), rest @ ..] => {
            let next = rest.first().and_then(|next| match next {
                DomainEvent::Account(_, event) => Some(event),
                _ => None,
            });
            let command = of_account(*id, event, next, &draft.get::<Account>(*id));
            draft.execute::<Account>(*id, command).map(drop)
        }
        [DomainEvent::Auction(id, event), rest @ ..] => {
            let next = rest.first().and_then(|next| match next {
                DomainEvent::Auction(_, event) => Some(event),
                _ => None,
            });
            draft.execute::<Auction>(*id, of_auction(event, next, now)).map(drop)
        }
        [
            DomainEvent::Complaint(..)
            | DomainEvent::Feedback(..)
            | DomainEvent::Report(..)
            | DomainEvent::Reporter(..)
            | DomainEvent::Review(..)
            | DomainEvent::Vote(..),
            ..,
        ] => reputation::carry_out_cause(draft, &events[0]),
        [DomainEvent::Category(id, event), ..] => draft.execute::<Category>(*id, of_category(event.clone())).map(drop),
        [DomainEvent::CategoryTree(id, category_tree::Event::CategoryPlaced { slug, parent }), ..] => {
            let (slug, parent) = (slug.clone(), parent.clone());
            draft.execute::<CategoryTree>(*id, category_tree::Command::Place { slug, parent }).map(drop)
        }
        [DomainEvent::Charge(..) | DomainEvent::Correlation(..), ..] => charges::carry_out_cause(draft, &events[0]),
        [DomainEvent::Claim(id, event), ..] => draft.execute::<Claim>(*id, of_claim(*event)).map(drop),
        [DomainEvent::Commission(id, event), ..] => {
            let command = of_commission(draft, *id, event);
            draft.execute::<Commission>(*id, command).map(drop)
        }
        [DomainEvent::Escrow(id, event), ..] => {
            let sent = draft.get::<Order>(*id).placed().is_ok_and(|placed| placed.stage != Stage::Paid);
            let command = of_escrow(
                event,
                (now, sent),
                |terms| available(draft, terms.seller, terms.amount.currency()),
                &draft.get::<Escrow>(*id),
            );
            draft.execute::<Escrow>(*id, command).map(drop)
        }
        [DomainEvent::Album(id, event), ..] => draft.execute::<Album>(*id, of_album(event.clone())).map(drop),
        [DomainEvent::Image(id, event), ..] => draft.execute::<Image>(*id, of_image(event.clone())).map(drop),
        [DomainEvent::Listing(id, event), ..] => {
            let listing = draft.get::<Listing>(*id);
            let seller = listing.offer().map_or(AccountId(Uuid::nil()), |offer| offer.seller);
            draft.execute::<Listing>(*id, of_listing(event, &listing, seller, now)).map(drop)
        }
        [DomainEvent::Order(id, event), ..] => draft.execute::<Order>(*id, of_order(event, now)).map(drop),
        [DomainEvent::OrderGroup(id, event), ..] => draft.execute::<OrderGroup>(*id, of_group(event, now)).map(drop),
        [DomainEvent::Page(id, event), ..] => {
            let page::Event::PagePublished { content, by } = event.clone();
            draft.execute::<Page>(*id, page::Command::Publish { content, by }).map(drop)
        }
        [DomainEvent::Points(id, event), ..] => draft.execute::<Points>(*id, of_points(*event)).map(drop),
        [DomainEvent::Session(id, event), ..] => {
            let command = of_session(event, &draft.get::<Session>(*id), now);
            draft.execute::<Session>(*id, command).map(drop)
        }
        [DomainEvent::Stock(id, event), ..] => draft.execute::<Stock>(*id, of_stock(*id, event)).map(drop),
        [DomainEvent::Store(id, event), ..] => draft.execute::<Store>(*id, of_store(*id, event)).map(drop),
        [DomainEvent::Wallet(id, event), rest @ ..] => {
            let (event, owner) = match (event, rest.first()) {
                (wallet::Event::WalletOpened { owner, .. }, Some(DomainEvent::Wallet(_, next))) => (next, *owner),
                _ => match draft.get::<Wallet>(*id) {
                    Wallet::Open(balance) => (event, balance.owner),
                    Wallet::Unopened => (event, AccountId(Uuid::nil())),
                },
            };
            draft.execute::<Wallet>(*id, of_wallet(event.clone(), owner)).map(drop)
        }
        [
            DomainEvent::AddressBook(..)
            | DomainEvent::Affiliate(..)
            | DomainEvent::Broadcast(..)
            | DomainEvent::Chat(..)
            | DomainEvent::Contacts(..)
            | DomainEvent::Favorite(..)
            | DomainEvent::Inbox(..)
            | DomainEvent::Referral(..)
            | DomainEvent::ReferralClick(..)
            | DomainEvent::View(..),
            ..,
        ] => people::carry_out_cause(draft, &events[0]),
        [DomainEvent::Merchant(..) | DomainEvent::Payee(..) | DomainEvent::Payout(..), ..] => {
            payouts::carry_out_cause(draft, events)
        }
        [
            DomainEvent::FeeRule(..) | DomainEvent::Plan(..) | DomainEvent::Seller(..) | DomainEvent::Subscription(..),
            ..,
        ] => plans::carry_out_cause(draft, events),
        [] => Ok(()),
    }
}

fn of_album(event: album::Event) -> album::Command {
    match event {
        album::Event::ImagesAdded { images } => album::Command::Add { images, most: u32::MAX },
        album::Event::ImagesDropped { images } => album::Command::Drop { images },
    }
}

fn of_image(event: image::Event) -> image::Command {
    match event {
        image::Event::ImageStored { owner, stored } => image::Command::Store { owner, stored },
        image::Event::ImageRemoved { stored: _, cause } => image::Command::Remove { cause },
    }
}

/// What an answer to a mailbox leads to begins with the address, if that was not verified before; the event after it
/// tells. Whatever was answered was answered in time.
fn of_account(
    id: AccountId,
    event: &account::Event,
    next: Option<&account::Event>,
    state: &Account,
) -> account::Command {
    use account::{Command as C, Event as E};
    let known = state.registered().ok();
    match (event.clone(), next.cloned()) {
        (E::AccountRegistered { identity, capabilities }, _) => C::Register { account: id, identity, capabilities },
        (E::ProfileChanged { changes }, _) => C::ChangeProfile { changes },
        (E::EmailChallenged { challenge }, _) => C::ChallengeEmail { challenge },
        (E::PasswordChallenged { challenge }, _) => C::ChallengePassword { challenge },
        (E::EmailVerified { .. }, Some(E::PasswordChanged { by: SetBy::Takeover, .. }))
        | (E::PasswordChanged { by: SetBy::Takeover, .. }, _) => C::TakeOver {},
        (E::EmailVerified { .. }, Some(E::PasswordChanged { password_hash: Some(hash), by: SetBy::Mailbox }))
        | (E::PasswordChanged { password_hash: Some(hash), by: SetBy::Mailbox }, _) => {
            match known.and_then(|known| known.password_challenge.clone()) {
                Some(Challenge { id, asked_at, .. }) => {
                    C::ResetPassword { challenge: id, password_hash: hash, now: asked_at }
                }
                None => nothing(),
            }
        }
        (E::EmailVerified { email }, _) => {
            match known.and_then(|known| known.email_challenge.clone()).filter(|asked| asked.email == email) {
                Some(Challenge { id, asked_at, .. }) => C::VerifyEmail { challenge: id, now: asked_at },
                None => C::TrustEmail {},
            }
        }
        (
            E::PasswordChanged { password_hash: Some(password_hash), by: SetBy::Owner },
            Some(E::SessionsRevoked { spared: Some(session) }),
        ) => {
            let replacing = known.and_then(|known| known.identity.password_hash.clone());
            C::ChangePassword { replacing, password_hash, session }
        }
        (E::IdentityLinked { claim }, _) => C::Link { claim },
        (E::CapabilitiesGranted { capabilities, by, reason }, _) => C::Grant { capabilities, by, reason },
        (E::CapabilitiesRevoked { capabilities, by, reason }, _) => C::Revoke { capabilities, by, reason },
        (E::ViolationRecorded { order, .. }, _) => C::RecordViolation { order },
        (E::ViolationsPardoned { orders: _, by, reason }, _) => C::Pardon { by, reason },
        (E::AccountBlocked { violations: _, by: Some(by), reason: Some(reason) }, _) => C::Block { reason, by },
        (E::AccountSuspended { reason: Words::Sealed(reason), by }, _) => C::Suspend { reason, by },
        (E::AccountWarned { by }, _) => C::Warn { by },
        (E::AccountReinstated { by, reason }, _) => C::Reinstate { by, reason },
        (E::SessionsRevoked { spared }, _) => C::RevokeSessions { spared },
        (E::AccountErased {}, _) => C::Erase {},
        // Where nobody says so, only a violation blocks, and its event comes first; what staff write is sealed; a password
        // is set by somebody: nothing leads to the rest.
        (E::AccountBlocked { .. } | E::AccountSuspended { .. } | E::PasswordChanged { .. }, _) => nothing(),
    }
}

/// A command that leads to nothing.
fn nothing() -> account::Command {
    account::Command::ChangeProfile { changes: account::ProfileChanges::default() }
}

/// A bid may announce the start first, so the event after it tells.
fn of_auction(event: &auction::Event, next: Option<&auction::Event>, now: Timestamp) -> auction::Command {
    match (event.clone(), next) {
        (auction::Event::AuctionScheduled { terms }, _) => auction::Command::Schedule { terms, now },
        (auction::Event::AuctionOpened {}, Some(&auction::Event::BidPlaced { bidder, maximum, .. }))
        | (auction::Event::BidPlaced { bidder, maximum, .. }, _) => auction::Command::PlaceBid { bidder, maximum, now },
        // Only a bid moves the end, and its event comes first: nothing leads to the second.
        (auction::Event::AuctionOpened {} | auction::Event::AuctionExtended { .. }, _) => {
            auction::Command::Open { now }
        }
        (auction::Event::AuctionClosed { outcome: auction::Outcome::BoughtNow { winner, .. }, .. }, _) => {
            auction::Command::BuyNow { buyer: winner, now }
        }
        (auction::Event::AuctionClosed { .. }, _) => auction::Command::Close { now },
        (auction::Event::AuctionCancelled { by, reason }, _) => auction::Command::Cancel { by, reason, now },
        (auction::Event::SaleForfeited { buyer, order }, _) => auction::Command::Forfeit { buyer, order },
        (auction::Event::SecondChanceOffered { bidder, until, .. }, _) => {
            auction::Command::OfferSecondChance { bidder: Some(bidder), until, now }
        }
        (auction::Event::SecondChanceAccepted { bidder, order, .. }, _) => {
            auction::Command::AcceptSecondChance { bidder, order, now }
        }
    }
}

fn of_claim(event: claim::Event) -> claim::Command {
    match event {
        claim::Event::ValueClaimed { kind, owner } => claim::Command::Claim { kind, owner },
        claim::Event::ValueReleased { owner } => claim::Command::Release { owner },
    }
}

/// What is reversed is what was left too much, and of that what was available.
fn of_commission(draft: &Draft<'_>, id: CommissionId, event: &commission::Event) -> commission::Command {
    use commission::{Command as C, Event as E};
    let available = |left: Money| {
        let affiliate = draft.get::<Commission>(id).earned().map(|earned| earned.promise.affiliate);
        affiliate.map_or(Money::zero(left.currency()), |affiliate| available(draft, affiliate, left.currency()))
    };
    match *event {
        E::CommissionAccrued { order, promise, base, fee, .. } => {
            C::Accrue { order, promise, base, fee: fee.unwrap_or(base) }
        }
        E::CommissionVested { .. } => C::Vest {},
        E::CommissionReversed { cause: ReversalCause::CannotBePaid, .. } => C::Forgo {},
        E::CommissionReversed { cause: ReversalCause::Refunded { refund, left }, .. }
        | E::VestedCommissionReversed { refund, left, .. } => {
            let earned = draft.get::<Commission>(id).earned().copied();
            let escrow = earned.map(|earned| draft.get::<Escrow>(earned.order));
            let fee = escrow.and_then(|escrow| escrow.opened().ok()?.fee().ok());
            let can_owe =
                earned.is_some_and(|earned| draft.get::<Account>(earned.promise.affiliate).registered().is_ok());
            let fee = fee.unwrap_or(Money::zero(left.currency()));
            C::Reverse { refund, left, fee, available: available(left), can_owe }
        }
    }
}

fn of_escrow(
    event: &escrow::Event,
    (now, sent): (Timestamp, bool),
    seller_available: impl FnOnce(&escrow::Terms) -> Money,
    escrow: &Escrow,
) -> escrow::Command {
    use escrow::{Command as C, Event as E};
    match event.clone() {
        E::EscrowOpened { terms } => C::Open { terms },
        E::EscrowFunded { card, .. } => {
            let source = card.map_or(escrow::Source::Wallet, escrow::Source::Card);
            C::Fund { source, now }
        }
        E::EscrowVoided {} => C::Void {},
        E::InspectionStarted { .. } => C::Inspect { now },
        E::InspectionReminded { .. } => C::Remind { now },
        E::EscrowDisputed { by, reason, .. } => C::Dispute { by, reason, now },
        E::EscrowReleased { cause, .. } => C::Release { cause, now },
        E::EscrowPartlyRefunded { refund, amount, cause, .. } | E::EscrowRefunded { refund, amount, cause, .. } => {
            C::Refund { refund, amount: Some(amount), cause, now }
        }
        E::EscrowSplit { to_buyer, by, .. } => C::Split { to_buyer, by },
        E::ReleaseRefunded { refund, amount, cause, .. } => {
            let nothing = Money::zero(amount.currency());
            let seller_available = escrow.opened().map_or(nothing, |opened| seller_available(&opened.terms));
            C::RefundReleased { refund, amount: Some(amount), seller_available, cause }
        }
        E::EscrowChargedBack { dispute, amount, .. } => C::ChargeBack { dispute, amount },
        E::ChargebackReturned { dispute, .. } => C::ReturnChargeback { dispute, sent, now },
        E::ChargebackSettled { dispute, .. } => C::SettleChargeback { dispute, sent, now },
    }
}

/// A discount that counts at once says so in a second event, what is approved is published or paused by a second, and
/// what is said anew is submitted by a second: nothing leads to those.
fn of_listing(event: &listing::Event, listing: &Listing, seller: AccountId, now: Timestamp) -> listing::Command {
    use listing::{Command as C, Event as E};
    let by = seller;
    match event.clone() {
        E::ListingDrafted { seller, details, sale } => C::Draft { seller, details, sale },
        E::ListingRevised { changes } => C::Revise { by, changes, review_until: None },
        E::ListingSubmitted { .. } if !matches!(listing, Listing::Draft(_)) => C::TurnDiscount { now },
        E::ListingSubmitted { review_until } => C::Publish { by, review_until: Some(review_until) },
        E::ListingPublished {} | E::ListingPaused {} if matches!(listing, Listing::Pending { .. }) => {
            C::TurnDiscount { now }
        }
        E::ListingPublished {} => C::Publish { by, review_until: None },
        E::ListingApproved { by } => C::Approve { by, now },
        E::ListingRejected { by, reason } => C::Reject { by, reason },
        E::ListingReturned {} => C::Return { now },
        E::ListingPaused {} => C::Pause { by },
        E::ListingResumed {} => C::Resume { by },
        E::ListingArchived { cause } => C::Archive { cause },
        E::ListingRemoved { by, reason } => C::Remove { by, reason },
        E::ListingFeatured { by } => C::Feature { by, featured: true },
        E::ListingUnfeatured { by } => C::Feature { by, featured: false },
        E::DiscountSet { discount } => C::SetDiscount { by, discount, now },
        E::DiscountOpened { .. } | E::DiscountClosed {} => C::TurnDiscount { now },
        E::ImageAttached { image } => C::AttachImage { by, image, review_until: None },
        E::ImageDetached { image } => C::DetachImage { by, image },
    }
}

fn of_category(event: category::Event) -> category::Command {
    match event {
        category::Event::CategoryDefined { definition, by } => category::Command::Define { definition, by },
        category::Event::CategoryRevised { definition, by } => category::Command::Revise { definition, by },
        category::Event::CategoryClosed { by } => category::Command::Close { by },
    }
}

fn of_order(event: &order::Event, now: Timestamp) -> order::Command {
    match event.clone() {
        order::Event::OrderPlaced { terms } => order::Command::Place { terms },
        order::Event::OrderPaid {} => order::Command::Pay {},
        order::Event::OrderConfirmed {} => order::Command::Confirm { now },
        // The first is of the end of the order, which comes before it: nothing leads here.
        order::Event::GuestDismissed { .. } | order::Event::GuestForgotten {} => order::Command::ForgetGuest { now },
        order::Event::OrderShipped { carrier, tracking, .. } => order::Command::Ship { carrier, tracking, now },
        order::Event::DeliveryQuestioned {} => order::Command::AskForDelivery { now },
        order::Event::OrderDelivered { by } => order::Command::Deliver { by, now },
        order::Event::OrderCompleted {} => order::Command::Complete { now },
        order::Event::OrderCancelled { cause: order::CancelCause::NotConfirmed } => order::Command::Lapse { now },
        order::Event::OrderCancelled { cause } => order::Command::Cancel { cause, now },
        order::Event::OrderRefunded {} => order::Command::Refund { now },
    }
}

fn of_group(event: &order_group::Event, now: Timestamp) -> order_group::Command {
    match event.clone() {
        order_group::Event::OrderGroupPlaced { buyer, orders, pay_by } => {
            order_group::Command::Place { buyer, orders, pay_by }
        }
        order_group::Event::OrderGroupPaid {} => order_group::Command::Pay { now },
        order_group::Event::OrderGroupExpired {} => order_group::Command::Expire { now },
    }
}

fn of_points(event: points::Event) -> points::Command {
    match event {
        points::Event::PointsEarned { order, currency, points } => points::Command::Earn { order, currency, points },
        points::Event::PointsRedeemed { order, currency, points } => {
            points::Command::Redeem { order, currency, points }
        }
        points::Event::PointsGivenBack { order, refund, currency, points } => {
            points::Command::GiveBack { order, refund, currency, points }
        }
        points::Event::PointsTakenBack { order, refund, currency, points } => {
            points::Command::TakeBack { order, refund, currency, points }
        }
    }
}

fn of_session(event: &session::Event, session: &Session, now: Timestamp) -> session::Command {
    let current = match session {
        Session::Open { token_hash, .. } => token_hash.clone(),
        Session::Closed | Session::Ended { .. } => session::TokenHash(String::new()),
    };
    match event.clone() {
        session::Event::SessionOpened { account, token_hash, expires_at, revocations } => {
            session::Command::Open { account, token_hash, expires_at, revocations }
        }
        session::Event::SessionRefreshed { token_hash, expires_at } => {
            session::Command::Refresh { presented: current, next: token_hash, expires_at, now }
        }
        session::Event::SessionEnded { reason } => session::Command::End { reason },
    }
}

fn of_stock(listing: ListingId, event: &stock::Event) -> stock::Command {
    match event.clone() {
        stock::Event::StockCounted { free } => stock::Command::Count { free },
        stock::Event::StockReserved { order, pieces, until } => {
            stock::Command::Reserve { listing, order, pieces, until }
        }
        stock::Event::StockHeld { order, pieces, until } => stock::Command::Hold { listing, order, pieces, until },
        stock::Event::StockReleased { order } => stock::Command::Release { order },
        stock::Event::StockTaken { order } => stock::Command::Take { order },
        // Only what is taken sells out, and its event comes first: nothing leads to the second.
        stock::Event::StockSoldOut {} => stock::Command::Release { order: OrderId(Uuid::nil()) },
        stock::Event::StockPutAway {} => stock::Command::PutAway {},
        stock::Event::StockReturned { order, pieces } => stock::Command::Return { order, pieces },
    }
}

fn of_store(owner: AccountId, event: &store::Event) -> store::Command {
    use store::{Command as C, Event as E};
    match event.clone() {
        E::StoreOpened { about, .. } => C::Open { owner, about },
        E::StoreChanged { about, .. } => C::Change { about },
        E::StoreVerified { ruling } => C::Verify { ruling },
        E::StoreUnverified { ruling } => C::Unverify { ruling },
        E::StoreSuspended { ruling } => C::Suspend { ruling },
        E::StoreReinstated { ruling } => C::Reinstate { ruling },
        E::StoreRemoved { ruling } => C::Remove { ruling },
    }
}

fn of_wallet(event: wallet::Event, owner: AccountId) -> wallet::Command {
    use wallet::{Command as C, Event as E};
    match event {
        // A wallet is opened by what comes in first, whose event comes next, and what is owed is recovered after what
        // has come in: nothing leads here.
        // Nor to what only older logs hold.
        E::WalletOpened { .. } | E::ReceivableRecovered { .. } | E::DepositDelayed { .. } => {
            C::ReleaseHold { hold: HoldId(Uuid::nil()) }
        }
        E::DepositRequested { deposit, owner, amount, source, pays: _ } => {
            C::RequestDeposit { deposit, owner, amount, source }
        }
        E::DepositSettled { deposit, provider_reference, .. } => C::SettleDeposit { deposit, provider_reference },
        E::DepositFailed { deposit, reason } => C::FailDeposit { deposit, reason },
        E::WithdrawalRequested { withdrawal, amount, destination, .. } => {
            C::RequestWithdrawal { withdrawal, amount, destination }
        }
        E::WithdrawalDelayed { withdrawal, provider_reference, check_at } => {
            C::DelayWithdrawal { withdrawal, provider_reference, check_at }
        }
        E::WithdrawalPaid { withdrawal, provider_reference, fee, .. } => {
            C::ConfirmWithdrawal { withdrawal, provider_reference, fee }
        }
        E::WithdrawalFailed { withdrawal, reason, .. } => C::FailWithdrawal { withdrawal, reason },
        E::WithdrawalReturned { withdrawal, amount, reason, postings } => {
            let clearing = postings.first().map(|posting| posting.debit.clone());
            let provider = match clearing {
                Some(LedgerAccount::ProviderClearing(provider)) => provider,
                _ => String::new(),
            };
            C::ReturnWithdrawal { withdrawal, amount, provider, reason }
        }
        E::HoldPlaced { hold, amount, .. } => C::PlaceHold { hold, amount },
        E::HoldReleased { hold, .. } => C::ReleaseHold { hold },
        E::PaymentMade { order, amount } => C::Pay { order, amount },
        E::SubscriptionPaid { subscription, period, amount } => C::PaySubscription { subscription, period, amount },
        E::SaleReceived { order, amount } => C::ReceiveSale { owner, order, amount },
        E::RefundReceived { order, refund, amount } => C::ReceiveRefund { owner, order, refund, amount },
        E::RefundGiven { order, refund, amount, owed } => C::GiveRefund { owner, order, refund, amount, owed },
        E::CommissionReceived { commission, amount } => C::ReceiveCommission { owner, commission, amount },
        E::CommissionGiven { commission, refund, amount, owed } => {
            C::GiveCommission { owner, commission, refund, amount, owed }
        }
        E::ChargebackGiven { dispute, amount, owed } => C::GiveChargeback { owner, dispute, amount, owed },
        E::ChargebackRegained { dispute, amount, forgiven } => C::RegainChargeback { owner, dispute, amount, forgiven },
    }
}
