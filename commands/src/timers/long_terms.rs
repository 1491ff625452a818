//! Timers that let go what is of no use any more: what was sold, read or said long ago, and accounts that nobody has
//! come back to.
//!
//! An account whose address nobody has verified goes after a time, with its names, unless it has done anything that
//! concerns others or money: whatever does so takes the timer off.

use std::fmt;

use chrono::TimeDelta;
use domain::account::{Account, Capability};
use domain::claim::Kind as Name;
use domain::notice::Addressee;
use domain::order::Origin;
use domain::{AccountId, account, affiliate, auction, broadcast, chat, inbox, listing, order, stock, store, wallet};
use eventstore::event::DomainEvent;
use eventstore::follower::Recorded;
use eventstore::sealing::PersonKey;
use eventstore::secrets::RootSecret;
use eventstore::wrapping::Wrapping;
use sqlx::PgPool;
use uuid::Uuid;

use super::{Changes, Decide, Kind};
use crate::accounts::{self, Estate};
use crate::engine::{CommandError, Engine};

/// So long after its last piece was sold a listing is shown.
pub const SOLD_SHOWN_FOR: TimeDelta = TimeDelta::days(30);
/// So long an account is kept whose address nobody verifies.
pub const UNVERIFIED_FOR: TimeDelta = TimeDelta::days(30);

impl Changes {
    /// Takes in what an event means for what goes some day.
    pub(super) fn take_long_terms(&mut self, recorded: &Recorded) {
        let (now, set_by) = (recorded.recorded_at, recorded.event_id);
        match &recorded.event {
            DomainEvent::Account(id, event) => self.take_account(id.0, event, now + UNVERIFIED_FOR, set_by),
            DomainEvent::Auction(_, auction::Event::BidPlaced { bidder, .. }) => self.stays(bidder.0),
            DomainEvent::Broadcast(id, event) => self.take_broadcast(id.0, event, set_by),
            DomainEvent::Chat(_, chat::Event::ChatOpened { by, .. }) => self.stays(by.0),
            DomainEvent::Inbox(id, event) => self.take_inbox(id.0, event, set_by),
            DomainEvent::Listing(id, event) => self.take_end(id.0, event),
            DomainEvent::Order(_, order::Event::OrderPlaced { terms }) => {
                self.stays(terms.seller.0);
                if terms.origin != Origin::Storefront {
                    self.stays(terms.buyer.0);
                }
            }
            DomainEvent::Stock(id, event) => self.take_stock(id.0, event, now + SOLD_SHOWN_FOR, set_by),
            DomainEvent::Affiliate(id, affiliate::Event::AffiliateEnrolled { .. })
            | DomainEvent::Store(id, store::Event::StoreOpened { .. }) => self.stays(id.0),
            DomainEvent::Wallet(_, wallet::Event::WalletOpened { owner, .. }) => self.stays(owner.0),
            // Nothing else goes by itself after a long time.
            _ => {}
        }
    }

    /// An account has done something for which it stays.
    fn stays(&mut self, account: Uuid) {
        self.off((Kind::UnverifiedEnd, account, account));
    }

    fn take_account(&mut self, id: Uuid, event: &account::Event, ends_at: domain::Timestamp, set_by: Uuid) {
        match event {
            account::Event::AccountRegistered { capabilities, .. } => {
                // Whoever works here was let in by somebody.
                if capabilities.iter().all(|may| matches!(may, Capability::Buy | Capability::Sell)) {
                    self.set((Kind::UnverifiedEnd, id, id), ends_at, set_by);
                }
            }
            account::Event::AccountErased {} => {
                self.stays(id);
                self.off((Kind::ReadCleanUp, id, id));
            }
            account::Event::EmailVerified { .. }
            | account::Event::IdentityLinked { .. }
            | account::Event::CapabilitiesGranted { .. } => self.stays(id),
            account::Event::ProfileChanged { .. }
            | account::Event::EmailChallenged { .. }
            | account::Event::PasswordChallenged { .. }
            | account::Event::PasswordChanged { .. }
            | account::Event::CapabilitiesRevoked { .. }
            | account::Event::ViolationRecorded { .. }
            | account::Event::ViolationsPardoned { .. }
            | account::Event::AccountBlocked { .. }
            | account::Event::AccountSuspended { .. }
            | account::Event::AccountWarned { .. }
            | account::Event::AccountReinstated { .. }
            | account::Event::SessionsRevoked { .. } => {}
        }
    }

    fn take_broadcast(&mut self, id: Uuid, event: &broadcast::Event, set_by: Uuid) {
        let end = (Kind::BroadcastEnd, id, id);
        match event {
            // What is for one is theirs.
            broadcast::Event::BroadcastSent { to: Addressee::Account(_), .. } => {}
            broadcast::Event::BroadcastSent { until, .. } => self.set(end, *until, set_by),
            broadcast::Event::BroadcastWithdrawn {} => self.off(end),
        }
    }

    fn take_inbox(&mut self, id: Uuid, event: &inbox::Event, set_by: Uuid) {
        let clean_up = (Kind::ReadCleanUp, id, id);
        match event {
            inbox::Event::NotificationRead { clean_up_at: Some(at), .. }
            | inbox::Event::AllRead { clean_up_at: Some(at), .. }
            | inbox::Event::ReadCleanedUp { clean_up_at: Some(at), .. } => self.set(clean_up, *at, set_by),
            inbox::Event::ReadCleanedUp { clean_up_at: None, .. } => self.off(clean_up),
            inbox::Event::NotificationRead { clean_up_at: None, .. }
            | inbox::Event::AllRead { clean_up_at: None, .. }
            | inbox::Event::PreferencesChanged { .. } => {}
        }
    }

    fn take_end(&mut self, id: Uuid, event: &listing::Event) {
        match event {
            listing::Event::ListingDrafted { seller, .. } => self.stays(seller.0),
            listing::Event::ListingArchived { .. } | listing::Event::ListingRemoved { .. } => {
                self.off((Kind::SoldEnd, id, id));
            }
            listing::Event::ListingRevised { .. }
            | listing::Event::ListingSubmitted { .. }
            | listing::Event::ListingApproved { .. }
            | listing::Event::ListingRejected { .. }
            | listing::Event::ListingReturned {}
            | listing::Event::ListingPublished {}
            | listing::Event::ListingPaused {}
            | listing::Event::ListingResumed {}
            | listing::Event::ListingFeatured { .. }
            | listing::Event::ListingUnfeatured { .. }
            | listing::Event::DiscountSet { .. }
            | listing::Event::DiscountOpened { .. }
            | listing::Event::DiscountClosed {}
            | listing::Event::ImageAttached { .. }
            | listing::Event::ImageDetached { .. } => {}
        }
    }

    fn take_stock(&mut self, id: Uuid, event: &stock::Event, ends_at: domain::Timestamp, set_by: Uuid) {
        let end = (Kind::SoldEnd, id, id);
        match event {
            stock::Event::StockSoldOut {} => self.set(end, ends_at, set_by),
            // There may be something again, or nobody waits for it.
            stock::Event::StockCounted { .. } | stock::Event::StockReturned { .. } | stock::Event::StockPutAway {} => {
                self.off(end);
            }
            stock::Event::StockReserved { .. }
            | stock::Event::StockHeld { .. }
            | stock::Event::StockReleased { .. }
            | stock::Event::StockTaken { .. } => {}
        }
    }
}

/// Knows what goes with accounts whose address nobody has verified: claims on names are keyed hashes, so the names have
/// to be opened first.
#[derive(Clone)]
pub struct Leaving {
    /// Where the keys of people are.
    pub pool: PgPool,
    /// How they are stored.
    pub wrapping: Wrapping,
    /// By which claims are named.
    pub secret: RootSecret,
    /// Where accounts are.
    pub engine: Engine,
}

impl fmt::Debug for Leaving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Leaving")
    }
}

impl Leaving {
    /// The command that lets an account go.
    pub(super) async fn decision(&self, account: AccountId) -> Result<Decide, CommandError> {
        let known =
            self.engine.read(move |world| Ok(world.get::<Account>(account)?.registered().ok().cloned())).await?;
        let key = PersonKey::load(&self.pool, &self.wrapping, account).await.map_err(|error| {
            tracing::warn!(%account, %error, "the key of an account that is to go could not be read");
            CommandError::Unavailable
        })?;
        let (Some(known), Some(key)) = (known, key) else { return Ok(Box::new(|_| Ok(()))) };
        let (email, user_name) = (known.identity.email, known.identity.user_name);
        let named = |kind, field| self.secret.claim(kind, &key.open(field).unwrap_or_default());
        let claims = vec![named(Name::Email, &email), named(Name::UserName, &user_name)];
        let estate = Estate { email, user_name, claims, wallets: vec![], other_admins: vec![] };
        Ok(Box::new(move |world| accounts::leave_unverified(world, account, &estate)))
    }
}
