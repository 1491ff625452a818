//! Random histories from seeds. What happens is drawn; whether it may happen, the domain decides.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta};
use domain::account::{self, Account, Capability, Challenge, Granter, Identity, ProfileChanges};
use domain::address_book::AddressBook;
use domain::affiliate::Affiliate;
use domain::auction::{self, Auction, Canceller, Terms};
use domain::broadcast::Broadcast;
use domain::category::{self, Attribute, AttributeKind, AttributeValue, Attributes, Category, Definition};
use domain::chat::Chat;
use domain::commission::Commission;
use domain::complaint::Complaint;
use domain::contacts::Contacts;
use domain::escrow::Escrow;
use domain::favorite::Favorite;
use domain::feedback::Feedback;
use domain::image::Image;
use domain::inbox::Inbox;
use domain::increments::Increments;
use domain::listing::{
    self, Approver, ArchiveCause, AuctionPlan, Changes, Condition, Delivery, Details, Discount, Listing, Off, Offer,
    Sale, Variant,
};
use domain::merchant::Merchant;
use domain::order::Order;
use domain::order_group::OrderGroup;
use domain::page::Page;
use domain::payee::Payee;
use domain::plan::Plan;
use domain::points::Points;
use domain::referral::Referral;
use domain::referral_click::ReferralClick;
use domain::report::Report;
use domain::reporter::Reporter;
use domain::review::Review;
use domain::seller::Seller;
use domain::stock::{self, Pieces, Sku, Stock};
use domain::store::Store;
use domain::subscription::Subscription;
use domain::view::View;
use domain::vote::Vote;
use domain::wallet::{self, PaymentMethod, Wallet};
use domain::{
    AccountId, Aggregate, AuctionId, CategoryId, ChallengeId, ClaimId, Currency, DepositId, Event, HoldId, ListingId,
    Money, OrderId, SessionId, Timestamp, WalletId, WithdrawalId,
};
use eventstore::event::{DomainEvent, Metadata, NewEvent, RecordedEvent};
use eventstore::follower::Recorded;
use eventstore::log;
use eventstore::sealing::PersonKey;
use eventstore::wrapping::{StoredKey, Wrapping};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use uuid::Uuid;

mod addresses;
mod affiliates;
mod cards;
mod chats;
mod images;
mod inboxes;
mod interest;
mod orders;
mod pages;
mod payees;
mod reputation;
mod stores;
mod subscriptions;
mod wallets;

/// Texts that a seller may type, some of which no table would take as they are.
pub(crate) const TEXTS: [&str; 8] = [
    "Silver watch, running",
    "Roman coin",
    "a\0b",
    "tab\tline\nbackslash\\N",
    "\"quoted\" {\"json\": [1]}",
    "'; drop table listings; --",
    "時計 ⌚ Ζenith",
    "",
];
const CATEGORIES: [&str; 3] = ["watches", "coins", "books"];
const CURRENCIES: [Currency; 2] = [Currency::USD, Currency::JPY];

/// The events of one command.
#[derive(Clone, Debug, Default)]
pub(crate) struct Unit {
    pub(crate) events: Vec<NewEvent>,
    people: Vec<StoredKey>,
    forgotten: Vec<AccountId>,
}

impl Unit {
    /// The same, and whoever is forgotten in it leaves the key.
    pub(crate) fn keeping_keys(self) -> Self {
        Self { forgotten: Vec::new(), ..self }
    }
}

/// What an append takes: the events of some units, none of which may be split.
pub(crate) fn batch(units: &[Unit]) -> log::Batch {
    let mut batch = log::Batch::default();
    for unit in units {
        batch.events.extend(unit.events.iter().cloned());
        batch.unit_ends.resize(batch.events.len(), batch.events.len().saturating_sub(1));
        batch.people.extend(unit.people.iter().cloned());
        for person in &unit.forgotten {
            batch.forget(*person);
        }
    }
    batch
}

/// A history so far: its units, and the state of everything.
pub(crate) struct History {
    random: StdRng,
    /// Draws what happens to stores, so that everything else happens as if there were none.
    random_of_stores: StdRng,
    /// Draws what happens to affiliates, likewise.
    random_of_affiliates: StdRng,
    /// Draws what is done by staff, likewise.
    random_of_staff: StdRng,
    /// Who is an affiliate, and does nothing else.
    affiliated: BTreeSet<Uuid>,
    /// Draws what happens to subscriptions, likewise.
    random_of_subscriptions: StdRng,
    /// Who subscribes, and does nothing else.
    subscribing: BTreeSet<Uuid>,
    /// Draws what cards pay, likewise.
    random_of_cards: StdRng,
    cards: cards::Cards,
    now: Timestamp,
    pub(crate) units: Vec<Unit>,
    unit: Unit,
    people: BTreeMap<Uuid, PersonKey>,
    pub(crate) accounts: Streams<Account>,
    pub(crate) address_books: Streams<AddressBook>,
    pub(crate) affiliates: Streams<Affiliate>,
    pub(crate) clicks: Streams<ReferralClick>,
    pub(crate) referrals: Streams<Referral>,
    pub(crate) commissions: Streams<Commission>,
    pub(crate) categories: Streams<Category>,
    /// Draws what happens to categories, so that everything else happens as if there were none.
    random_of_categories: StdRng,
    /// Draws what points pay for, likewise.
    random_of_points: StdRng,
    /// Whether listings are reviewed, paused, removed, reduced and shown with images too.
    catalogue: bool,
    /// Draws who looks at what, so that everything else happens as if nobody did.
    random_of_interest: StdRng,
    /// Draws what people say of each other, likewise.
    random_of_reputation: StdRng,
    pub(crate) complaints: Streams<Complaint>,
    pub(crate) feedback: Streams<Feedback>,
    pub(crate) reports: Streams<Report>,
    pub(crate) reporters: Streams<Reporter>,
    pub(crate) reviews: Streams<Review>,
    pub(crate) votes: Streams<Vote>,
    /// Draws who talks to whom, likewise.
    random_of_chats: StdRng,
    pub(crate) chats: Streams<Chat>,
    pub(crate) contacts: Streams<Contacts>,
    pub(crate) favorites: Streams<Favorite>,
    /// Draws what people do about what they are told, likewise.
    random_of_inboxes: StdRng,
    heard: inboxes::Heard,
    pub(crate) broadcasts: Streams<Broadcast>,
    pub(crate) inboxes: Streams<Inbox>,
    pub(crate) views: Streams<View>,
    pub(crate) listings: Streams<Listing>,
    pub(crate) auctions: Streams<Auction>,
    pub(crate) wallets: Streams<Wallet>,
    pub(crate) stocks: Streams<Stock>,
    pub(crate) orders: Streams<Order>,
    pub(crate) groups: Streams<OrderGroup>,
    pub(crate) escrows: Streams<Escrow>,
    pub(crate) images: Streams<Image>,
    pub(crate) pages: Streams<Page>,
    /// Draws how people are paid out, likewise.
    random_of_payees: StdRng,
    pub(crate) merchants: Streams<Merchant>,
    pub(crate) payees: Streams<Payee>,
    pub(crate) points: Streams<Points>,
    pub(crate) stores: Streams<Store>,
    pub(crate) plans: Streams<Plan>,
    pub(crate) sellers: Streams<Seller>,
    pub(crate) subscriptions: Streams<Subscription>,
    deposits: Vec<(WalletId, DepositId)>,
    withdrawals: Vec<(WalletId, WithdrawalId)>,
    /// What has gone out, and may come back.
    paid_out: Vec<(WalletId, WithdrawalId, Money)>,
    holds: Vec<(WalletId, HoldId)>,
}

/// The states of all aggregates of one type, and how many events each has.
#[derive(Clone)]
pub(crate) struct Streams<A>(pub(crate) BTreeMap<Uuid, (A, u64)>);

impl<A: Aggregate> Streams<A> {
    pub(crate) fn state(&self, id: A::Id) -> A {
        self.0.get(&id.into()).map(|(state, _)| state.clone()).unwrap_or_default()
    }

    /// Decides, and takes the events in and down. What happened; `None` if it was refused.
    fn execute(
        &mut self,
        unit: &mut Unit,
        now: Timestamp,
        event_id: Uuid,
        id: A::Id,
        command: A::Command,
    ) -> Option<Vec<A::Event>> {
        let id = id.into();
        let (state, version) = self.0.entry(id).or_default();
        let events = state.decide(command).ok()?;
        for event in &events {
            state.evolve(event);
            *version += 1;
            unit.events.push(NewEvent {
                event_id: Uuid::from_u128(event_id.as_u128().wrapping_add(u128::from(*version))),
                aggregate_type: A::TYPE,
                aggregate_id: id,
                sequence: *version,
                event_type: event.event_type(),
                event_version: event.event_version(),
                payload: serde_json::to_string(event).unwrap(),
                metadata: Metadata::anonymous().to_json(),
                recorded_at: now,
            });
        }
        // As good as the history: a snapshot, taken after every command.
        let snapshot: A = serde_json::from_str(&serde_json::to_string(state).unwrap()).unwrap();
        assert_eq!(format!("{snapshot:?}"), format!("{state:?}"));
        Some(events)
    }
}

/// Whether a command was not refused and has changed anything.
fn happened<E>(events: Option<Vec<E>>) -> bool {
    events.is_some_and(|events| !events.is_empty())
}

impl History {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            random: StdRng::seed_from_u64(seed),
            random_of_stores: StdRng::seed_from_u64(seed + 1_000_000),
            random_of_affiliates: StdRng::seed_from_u64(seed + 3_000_000),
            random_of_staff: StdRng::seed_from_u64(seed + 4_000_000),
            affiliated: BTreeSet::new(),
            random_of_subscriptions: StdRng::seed_from_u64(seed + 4_000_000),
            subscribing: BTreeSet::new(),
            random_of_cards: StdRng::seed_from_u64(seed + 6_000_000),
            cards: cards::Cards::new(),
            now: DateTime::from_timestamp_millis(1_750_000_000_000).unwrap(),
            units: Vec::new(),
            unit: Unit::default(),
            people: BTreeMap::new(),
            accounts: Streams(BTreeMap::new()),
            address_books: Streams(BTreeMap::new()),
            affiliates: Streams(BTreeMap::new()),
            clicks: Streams(BTreeMap::new()),
            referrals: Streams(BTreeMap::new()),
            commissions: Streams(BTreeMap::new()),
            categories: Streams(BTreeMap::new()),
            random_of_categories: StdRng::seed_from_u64(seed + 2_000_000),
            random_of_points: StdRng::seed_from_u64(seed + 3_000_000),
            catalogue: false,
            random_of_interest: StdRng::seed_from_u64(seed + 3_000_000),
            random_of_reputation: StdRng::seed_from_u64(seed + 5_000_000),
            complaints: Streams(BTreeMap::new()),
            feedback: Streams(BTreeMap::new()),
            reports: Streams(BTreeMap::new()),
            reporters: Streams(BTreeMap::new()),
            reviews: Streams(BTreeMap::new()),
            votes: Streams(BTreeMap::new()),
            random_of_chats: StdRng::seed_from_u64(seed + 4_000_000),
            chats: Streams(BTreeMap::new()),
            contacts: Streams(BTreeMap::new()),
            favorites: Streams(BTreeMap::new()),
            random_of_inboxes: StdRng::seed_from_u64(seed + 4_000_000),
            heard: inboxes::Heard::default(),
            broadcasts: Streams(BTreeMap::new()),
            inboxes: Streams(BTreeMap::new()),
            views: Streams(BTreeMap::new()),
            listings: Streams(BTreeMap::new()),
            auctions: Streams(BTreeMap::new()),
            wallets: Streams(BTreeMap::new()),
            stocks: Streams(BTreeMap::new()),
            orders: Streams(BTreeMap::new()),
            groups: Streams(BTreeMap::new()),
            escrows: Streams(BTreeMap::new()),
            images: Streams(BTreeMap::new()),
            pages: Streams(BTreeMap::new()),
            random_of_payees: StdRng::seed_from_u64(seed + 6_000_000),
            merchants: Streams(BTreeMap::new()),
            payees: Streams(BTreeMap::new()),
            points: Streams(BTreeMap::new()),
            stores: Streams(BTreeMap::new()),
            plans: Streams(BTreeMap::new()),
            sellers: Streams(BTreeMap::new()),
            subscriptions: Streams(BTreeMap::new()),
            deposits: Vec::new(),
            withdrawals: Vec::new(),
            paid_out: Vec::new(),
            holds: Vec::new(),
        }
    }

    /// A history of some accounts and then `commands` commands, many of which are refused.
    pub(crate) fn random(seed: u64, commands: usize) -> Self {
        let mut history = Self::new(seed);
        for _ in 0..6 {
            history.register();
        }
        for _ in 0..commands {
            history.go_on();
        }
        history
    }

    /// The events as a read model gets them.
    pub(crate) fn recorded(&self) -> Vec<Recorded> {
        let events = self.units.iter().flat_map(|unit| &unit.events);
        (1..).zip(events).map(|(position, event)| read_back(position, event)).collect()
    }

    /// One more command.
    pub(crate) fn go_on(&mut self) {
        match self.random.random_range(0..154) {
            0 => drop(self.register()),
            1..6 => self.change_account(),
            6..12 => drop(self.draft()),
            12..20 => self.change_listing(),
            20..48 => self.bid(),
            48..60 => self.steer_auction(),
            60..66 => self.wait(),
            66..76 => drop(self.deposit()),
            76..86 => self.withdraw_or_hold(),
            86..100 => self.report(),
            140..148 => self.change_address_book(),
            148..150 => self.publish_page(),
            150..154 => self.upload_or_remove(),
            _ => self.trade(),
        }
        self.now += TimeDelta::milliseconds(self.random.random_range(0..2_000));
        self.keep_stores();
        self.keep_payees();
        self.keep_categories();
        self.look_around();
        self.talk();
        self.keep_affiliates();
        self.tell_people();
        self.keep_subscriptions();
        self.keep_cards();
        self.speak_of_each_other();
        if self.catalogue && self.random.random_bool(0.1) {
            self.show_any_otherwise();
        }
    }

    pub(crate) fn register(&mut self) -> AccountId {
        let account = AccountId(self.id());
        let key = PersonKey::mint(account);
        let seal = |text: &str| key.seal(text);
        let number = self.accounts.0.len();
        let identity = Identity {
            email: seal(&format!("{number}@example.com")),
            user_name: seal(&format!("user {number} {}", self.text())),
            password_hash: Some(seal("hash")),
        };
        let capabilities = [Capability::Sell, Capability::Buy].into();
        self.keep(account, &key);
        self.account(account, account::Command::Register { account, identity, capabilities });
        self.commit();
        account
    }

    /// The key of somebody new.
    fn introduce(&mut self, person: AccountId) -> PersonKey {
        let key = PersonKey::mint(person);
        self.keep(person, &key);
        key
    }

    fn keep(&mut self, person: AccountId, key: &PersonKey) {
        self.people.insert(person.0, key.clone());
        self.unit.people.push(Wrapping::default().wrap(key));
    }

    fn forget(&mut self, person: AccountId) {
        self.unit.forgotten.push(person);
    }

    fn change_account(&mut self) {
        let account = self.anybody();
        match self.random.random_range(0..50) {
            0..8 => {
                // Somebody who often wins and never pays.
                let account = self.traders().next().unwrap();
                let order = OrderId(self.id());
                self.account(account, account::Command::RecordViolation { order });
            }
            8..21 => self.change_standing(account),
            21..36 => self.prove_identity(account),
            36..38 => {
                self.erase(account);
                return;
            }
            _ => {
                let changes = self.profile_changes(account);
                self.account(account, account::Command::ChangeProfile { changes });
            }
        }
        self.commit();
    }

    pub(crate) fn erase(&mut self, account: AccountId) {
        if happened(self.account(account, account::Command::Erase {})) {
            self.unit.forgotten.push(account);
        }
        self.commit();
    }

    fn profile_changes(&mut self, account: AccountId) -> ProfileChanges {
        let text = self.text();
        let sealed = Some(self.people[&account.0].seal(text));
        let mut changes = ProfileChanges::default();
        match self.random.random_range(0..6) {
            0 => changes.display_name = sealed,
            1 => changes.phone = sealed,
            2 => changes.biography = sealed,
            3 => changes.avatar_url = sealed,
            4 => changes.user_name = sealed,
            _ => changes.language = Some(text.to_owned()),
        }
        changes
    }

    fn change_standing(&mut self, account: AccountId) {
        let by = Granter::Operator;
        let capabilities = [*Capability::ALL.choose(&mut self.random).unwrap()].into();
        let which = self.random.random_range(0..5);
        let text = if which == 1 { self.text() } else { "why" };
        let key = &self.people[&account.0];
        let reason = Some(key.seal(text));
        let command = match which {
            0 => account::Command::Revoke { capabilities, by, reason },
            1 => account::Command::Suspend { reason: key.seal(text), by },
            2 => account::Command::Reinstate { by, reason },
            _ => account::Command::Grant { capabilities, by, reason: None },
        };
        self.account(account, command);
        std::mem::swap(&mut self.random, &mut self.random_of_staff);
        if self.random.random_bool(0.2) {
            let (by, reason) = (Granter::Account(account), self.people[&account.0].seal("why"));
            let command = if self.random.random() {
                account::Command::Block { reason, by }
            } else {
                account::Command::Pardon { by, reason: Some(reason) }
            };
            self.account(account, command);
        }
        std::mem::swap(&mut self.random, &mut self.random_of_staff);
    }

    fn prove_identity(&mut self, account: AccountId) {
        let known = self.accounts.state(account);
        let Ok(known) = known.registered() else { return };
        let seal = |text: &str| self.people[&account.0].seal(text);
        let (email, password_hash) = (seal("other@example.com"), seal("other hash"));
        let (asked_at, expires_at) = (self.now, self.now + TimeDelta::hours(1));
        let challenge = Challenge { id: ChallengeId(self.id()), email, asked_at, expires_at };
        let command = match (self.random.random_range(0..7), &known.email_challenge) {
            (0, _) => account::Command::ChallengePassword { challenge },
            (1, _) => account::Command::TakeOver {},
            (2, _) => account::Command::Link { claim: ClaimId(self.id()) },
            (3, _) => {
                let (replacing, session) = (known.identity.password_hash.clone(), SessionId(self.id()));
                account::Command::ChangePassword { replacing, password_hash, session }
            }
            (_, Some(asked)) => account::Command::VerifyEmail { challenge: asked.id, now: asked.asked_at },
            (_, None) => account::Command::ChallengeEmail { challenge },
        };
        self.account(account, command);
    }

    pub(crate) fn draft(&mut self) -> ListingId {
        let listing = ListingId(self.id());
        let (seller, sale) = (self.anybody(), self.sale());
        let details = self.details(sale.currency());
        self.listing(listing, listing::Command::Draft { seller, details, sale });
        self.count(listing);
        if self.random.random_bool(0.7) {
            self.publish(listing);
        }
        self.commit();
        listing
    }

    fn change_listing(&mut self) {
        let Some(listing) = self.any_listing() else { return };
        let Ok(by) = self.listings.state(listing).offer().map(|offer| offer.seller) else { return };
        match self.random.random_range(0..4) {
            0 => self.publish(listing),
            1 => drop(self.listing(listing, listing::Command::Archive { cause: ArchiveCause::Seller(by) })),
            _ => {
                let currency = self.amount().currency();
                let Details { title, description, category, brand, condition, delivery, shipping, attributes: _ } =
                    self.details(currency);
                let mut changes = Changes::default();
                match self.random.random_range(0..7) {
                    0 => changes.title = Some(title),
                    1 => changes.description = Some(description),
                    2 => changes.category = Some(category),
                    3 => (changes.brand, changes.condition) = (brand, Some(condition)),
                    4 => (changes.delivery, changes.shipping) = (Some(delivery), shipping),
                    _ => changes.sale = Some(self.sale()),
                }
                if self.listing(listing, listing::Command::Revise { by, changes, review_until: None }).is_some() {
                    self.count(listing);
                }
            }
        }
        self.commit();
    }

    /// A history in which listings are reviewed, paused, removed, reduced, featured and shown with images too.
    pub(crate) fn of_catalogue(seed: u64, commands: usize) -> Self {
        let mut history = Self { catalogue: true, ..Self::new(seed) };
        for _ in 0..6 {
            history.register();
        }
        for _ in 0..commands {
            history.go_on();
        }
        history
    }

    fn keep_categories(&mut self) {
        std::mem::swap(&mut self.random, &mut self.random_of_categories);
        if self.random.random_bool(0.03) {
            self.change_category();
        }
        std::mem::swap(&mut self.random, &mut self.random_of_categories);
    }

    fn show_any_otherwise(&mut self) {
        let Some(listing) = self.any_listing() else { return };
        let Ok(by) = self.listings.state(listing).offer().map(|offer| offer.seller) else { return };
        if self.random.random_bool(0.2) {
            let changes = Changes { attributes: Some(self.attributes()), ..Changes::default() };
            let is_reviewed = listing.0.as_u128().is_multiple_of(2);
            let review_until = is_reviewed.then(|| self.now + TimeDelta::days(1));
            self.listing(listing, listing::Command::Revise { by, changes, review_until });
        } else {
            self.show_otherwise(listing, by);
        }
        self.commit();
    }

    /// Everything about a listing that is neither what it is nor how it is sold.
    fn show_otherwise(&mut self, listing: ListingId, by: AccountId) {
        use listing::Command as C;
        let (now, reason, featured) = (self.now, self.text().to_owned(), self.random.random_bool(0.7));
        let image = self.random.random_range(0..4).to_string();
        let pending = self.any_listing_that(|listing| matches!(listing, Listing::Pending { .. }));
        let command = match self.random.random_range(0..14) {
            0 => C::Publish { by, review_until: Some(now + TimeDelta::seconds(60)) },
            1 | 2 => return self.approve(pending.unwrap_or(listing)),
            3 => {
                let listing = pending.unwrap_or(listing);
                // As at the end of its review.
                let give_back = C::Return { now: now + TimeDelta::days(1) };
                let is_late = listing.0.as_u128().is_multiple_of(2);
                return drop(self.listing(listing, if is_late { give_back } else { C::Reject { by, reason } }));
            }
            4 => return self.pause_any(),
            5 => C::Resume { by },
            6 if self.random.random_bool(0.2) => C::Remove { by, reason },
            6 | 7 => return self.feature_any(featured),
            8 | 9 => {
                let discount = self.random.random_bool(0.8).then(|| self.discount());
                C::SetDiscount { by, discount, now }
            }
            10 | 11 => {
                let reduced = |listing: &Listing| listing.offer().is_ok_and(|offer| offer.discount.is_some());
                let listing = self.any_listing_that(reduced).unwrap_or(listing);
                return drop(self.listing(listing, C::TurnDiscount { now }));
            }
            12 => C::AttachImage { by, image, review_until: None },
            _ => C::DetachImage { by, image },
        };
        self.listing(listing, command);
    }

    fn pause_any(&mut self) {
        let offered = self.any_listing_that(|listing| match listing {
            Listing::Active(offer) => matches!(offer.sale, Sale::FixedPrice { .. }),
            _ => false,
        });
        let Some(listing) = offered else { return };
        let Ok(by) = self.listings.state(listing).offer().map(|offer| offer.seller) else { return };
        self.listing(listing, listing::Command::Pause { by });
    }

    fn feature_any(&mut self, featured: bool) {
        let by = self.anybody();
        let shown = |listing: &Listing| matches!(listing, Listing::Active(offer) if offer.featured != featured);
        if let Some(listing) = self.any_listing_that(shown) {
            self.listing(listing, listing::Command::Feature { by, featured });
        }
    }

    fn discount(&mut self) -> Discount {
        let now = self.now;
        let off = if self.random.random() {
            Off::Price(self.amount())
        } else {
            Off::Bps(self.random.random_range(1..10_000))
        };
        let from = self.random.random_bool(0.5).then(|| now + TimeDelta::seconds(self.random.random_range(-60..600)));
        let until = self.random.random_bool(0.5).then(|| now + TimeDelta::seconds(self.random.random_range(0..600)));
        Discount { off, from, until }
    }

    fn change_category(&mut self) {
        let slug = *CATEGORIES.choose(&mut self.random).unwrap();
        let parent =
            CATEGORIES.choose(&mut self.random).filter(|parent| **parent < slug).map(|parent| (*parent).to_owned());
        let kind = if self.random.random() { AttributeKind::Integer } else { AttributeKind::Text };
        let attribute = Attribute {
            name: "year".parse().unwrap(),
            label: self.text().to_owned(),
            kind,
            unit: None,
            required: false,
            filterable: true,
        };
        let definition = Definition {
            slug: slug.to_owned(),
            name: self.text().to_owned(),
            parent,
            sort_order: self.random.random_range(-2..3),
            attributes: if self.random.random() { vec![attribute] } else { vec![] },
            fee_bps: self.random.random_bool(0.5).then(|| self.random.random_range(0..1_000)),
        };
        let by = self.anybody();
        let command = match self.random.random_range(0..4) {
            0 | 1 => category::Command::Define { definition, by },
            2 => category::Command::Revise { definition, by },
            _ => category::Command::Close { by },
        };
        let event_id = self.id();
        self.categories.execute(&mut self.unit, self.now, event_id, CategoryId::of(slug), command);
        self.commit();
    }

    /// As the write side does it: whenever the forms may have changed, the free pieces of each are stated again.
    fn count(&mut self, listing: ListingId) {
        let Ok(offer) = self.listings.state(listing).offer().cloned() else { return };
        let known = self.stocks.state(listing).free;
        let mut free = Pieces::new();
        for sku in offer.sale.skus() {
            let restocked = self.random.random_range(0..8);
            let keeps = self.random.random_bool(0.7);
            free.insert(sku.clone(), known.get(&sku).copied().filter(|_| keeps).unwrap_or(restocked));
        }
        self.stock(listing, stock::Command::Count { free });
    }

    /// As the write side does it: the auction is scheduled in the same commit.
    pub(crate) fn publish(&mut self, listing: ListingId) {
        let Ok(offer) = self.listings.state(listing).offer().cloned() else { return };
        let publish = listing::Command::Publish { by: offer.seller, review_until: None };
        let published = self.listing(listing, publish);
        self.schedule(listing, &offer, published);
    }

    fn approve(&mut self, listing: ListingId) {
        let Ok(offer) = self.listings.state(listing).offer().cloned() else { return };
        let by = if self.random.random() { Approver::Time } else { Approver::Staff(self.anybody()) };
        let approved = self.listing(listing, listing::Command::Approve { by, now: self.now });
        self.schedule(listing, &offer, approved);
    }

    fn schedule(&mut self, listing: ListingId, offer: &Offer, events: Option<Vec<listing::Event>>) {
        if let Sale::Auction(plan) = &offer.sale
            && events.is_some_and(|events| events.contains(&listing::Event::ListingPublished {}))
        {
            let mut plan = plan.clone();
            plan.starts_at = plan.starts_at.map(|starts_at| starts_at.max(self.now));
            let (starts_at, ends_at) = plan.times(self.now);
            let terms = Terms {
                seller: offer.seller,
                start_price: plan.start_price,
                reserve_price: plan.reserve_price,
                buy_now_price: plan.buy_now_price,
                starts_at,
                ends_at,
                soft_close_window_ms: 120_000,
                increments: Increments::standard(plan.start_price.currency()),
            };
            let now = self.now;
            self.auction(listing.into(), auction::Command::Schedule { terms, now });
        }
    }

    fn bid(&mut self) {
        let Some(auction) = self.any_live_auction() else { return };
        let bidder = self.anybody();
        let Auction::Live(live) = self.auctions.state(auction) else { return };
        let minimum = live.minimum_bid();
        let more = self.random.random_range(-20..3_000);
        let maximum = Money::new(minimum.minor() + more, minimum.currency()).unwrap();
        self.place_bid(auction, bidder, maximum);
    }

    pub(crate) fn place_bid(&mut self, auction: AuctionId, bidder: AccountId, maximum: Money) {
        let now = self.now;
        self.auction(auction, auction::Command::PlaceBid { bidder, maximum, now });
        self.commit();
    }

    /// As the write side does it: whatever ends an auction archives its listing in the same commit, and a sale places
    /// its order.
    fn steer_auction(&mut self) {
        if self.random.random_bool(0.3) {
            self.attempt(Self::give_second_chance);
        }
        let Some(auction) = self.any_live_auction() else { return };
        let now = self.now;
        let (command, cause) = match self.random.random_range(0..10) {
            0..3 => {
                self.auction(auction, auction::Command::Open { now });
                return self.commit();
            }
            3..8 => (auction::Command::Close { now }, ArchiveCause::AuctionEnded),
            8 => (auction::Command::BuyNow { buyer: self.anybody(), now }, ArchiveCause::AuctionEnded),
            _ => {
                let by =
                    if self.random.random_bool(0.7) { Canceller::Seller } else { Canceller::Staff(self.anybody()) };
                let reason = self.text().to_owned();
                (auction::Command::Cancel { by, reason, now }, ArchiveCause::AuctionCancelled)
            }
        };
        let events = self.auction(auction, command).unwrap_or_default();
        if !events.is_empty() {
            self.listing(auction.into(), listing::Command::Archive { cause });
        }
        for event in events {
            if let auction::Event::AuctionClosed { outcome, .. } = event {
                self.place_won(auction, outcome);
            }
        }
        self.commit();
    }

    fn account(&mut self, id: AccountId, command: account::Command) -> Option<Vec<account::Event>> {
        let event_id = self.id();
        self.accounts.execute(&mut self.unit, self.now, event_id, id, command)
    }

    fn listing(&mut self, id: ListingId, command: listing::Command) -> Option<Vec<listing::Event>> {
        let event_id = self.id();
        self.listings.execute(&mut self.unit, self.now, event_id, id, command)
    }

    fn auction(&mut self, id: AuctionId, command: auction::Command) -> Option<Vec<auction::Event>> {
        let event_id = self.id();
        self.auctions.execute(&mut self.unit, self.now, event_id, id, command)
    }

    fn wallet(&mut self, id: WalletId, command: wallet::Command) -> Option<Vec<wallet::Event>> {
        let event_id = self.id();
        self.wallets.execute(&mut self.unit, self.now, event_id, id, command)
    }

    fn stock(&mut self, id: ListingId, command: stock::Command) -> Option<Vec<stock::Event>> {
        let event_id = self.id();
        self.stocks.execute(&mut self.unit, self.now, event_id, id, command)
    }

    /// Ends the unit of work, if anything has happened in it. Some are done by staff.
    pub(crate) fn commit(&mut self) {
        let mut unit = std::mem::take(&mut self.unit);
        if unit.events.is_empty() {
            return;
        }
        if self.random_of_staff.random_bool(0.2) {
            let clerk = AccountId(Uuid::from_u128(self.random_of_staff.random_range(1..4)));
            let capability = if self.random_of_staff.random() { Capability::Staff } else { Capability::Admin };
            let metadata = Metadata::by_account(clerk).in_capacity(capability).to_json();
            unit.events.iter_mut().for_each(|event| event.metadata.clone_from(&metadata));
        }
        self.units.push(unit);
    }

    fn id(&mut self) -> Uuid {
        Uuid::from_u128(self.random.random())
    }

    fn text(&mut self) -> &'static str {
        TEXTS.choose(&mut self.random).unwrap()
    }

    fn anybody(&mut self) -> AccountId {
        let accounts: Vec<AccountId> = self.traders().collect();
        *accounts.choose(&mut self.random).unwrap()
    }

    fn traders(&self) -> impl Iterator<Item = AccountId> {
        let others =
            |id: &&Uuid| !self.affiliated.contains(*id) && !self.subscribing.contains(*id) && !self.cards.knows(id);
        self.accounts.0.keys().filter(others).map(|id| AccountId(*id))
    }

    fn any_listing(&mut self) -> Option<ListingId> {
        let listings: Vec<Uuid> = self.listings.0.keys().copied().collect();
        listings.choose(&mut self.random).copied().map(ListingId)
    }

    fn any_listing_that(&mut self, is_such: impl Fn(&Listing) -> bool) -> Option<ListingId> {
        let such: Vec<Uuid> =
            self.listings.0.iter().filter(|(_, (listing, _))| is_such(listing)).map(|(id, _)| *id).collect();
        such.choose(&mut self.random).copied().map(ListingId)
    }

    fn any_live_auction(&mut self) -> Option<AuctionId> {
        let live = self.auctions.0.iter().filter(|(_, (auction, _))| matches!(auction, Auction::Live(_)));
        let live: Vec<Uuid> = live.map(|(id, _)| *id).collect();
        live.choose(&mut self.random).copied().map(AuctionId)
    }

    fn amount(&mut self) -> Money {
        let currency = *CURRENCIES.choose(&mut self.random).unwrap();
        Money::new(self.random.random_range(1..20_000), currency).unwrap()
    }

    fn details(&mut self, currency: Currency) -> Details {
        Details {
            title: self.text().to_owned(),
            description: self.text().to_owned(),
            category: (*CATEGORIES.choose(&mut self.random).unwrap()).to_owned(),
            brand: self.random.random_bool(0.5).then(|| "Zenith".to_owned()),
            condition: *[Condition::New, Condition::LikeNew, Condition::ForParts].choose(&mut self.random).unwrap(),
            delivery: if self.random.random_bool(0.3) { Delivery::Digital } else { Delivery::Physical },
            shipping: self
                .random
                .random_bool(0.5)
                .then(|| Money::new(self.random.random_range(0..500), currency).unwrap()),
            attributes: if self.catalogue { self.attributes() } else { Attributes::new() },
        }
    }

    fn attributes(&mut self) -> Attributes {
        let mut attributes = Attributes::new();
        if self.random.random_bool(0.5) {
            let year = AttributeValue::Integer(self.random.random_range(1_990..1_993));
            attributes.insert("year".parse().unwrap(), year);
        }
        if self.random.random_bool(0.3) {
            attributes.insert("runs".parse().unwrap(), AttributeValue::Boolean(self.random.random()));
        }
        if self.random.random_bool(0.3) {
            attributes.insert("said".parse().unwrap(), AttributeValue::Text(self.text().to_owned()));
        }
        attributes
    }

    fn sale(&mut self) -> Sale {
        let price = self.amount();
        if self.random.random_bool(0.4) {
            let sizes = ["s", "m", "l"];
            let forms = if self.random.random_bool(0.4) { self.random.random_range(1..=sizes.len()) } else { 0 };
            let variants = sizes[..forms].iter().map(|size| Variant {
                sku: size.parse::<Sku>().unwrap(),
                options: BTreeMap::from([("size".to_owned(), self.text().to_owned())]),
                price: self
                    .random
                    .random_bool(0.5)
                    .then(|| Money::new(self.random.random_range(1..20_000), price.currency()).unwrap()),
            });
            return Sale::FixedPrice { price, variants: variants.collect() };
        }
        let over = |factor: i64| Money::new(price.minor() * factor, price.currency()).unwrap();
        Sale::Auction(AuctionPlan {
            start_price: price,
            reserve_price: self.random.random_bool(0.4).then(|| over(2)),
            buy_now_price: self.random.random_bool(0.4).then(|| over(3)),
            starts_at: self.random.random_bool(0.2).then(|| self.now + TimeDelta::seconds(60)),
            duration_s: self.random.random_range(60..4_000),
        })
    }
}

/// A payment method of the sandbox.
pub(crate) fn method() -> PaymentMethod {
    PaymentMethod { provider: "sandbox".to_owned(), token: "tok_1".to_owned() }
}

/// An event as a read model gets it, the `sequence`-th of its stream and of the log.
pub(crate) fn recorded(sequence: i64, event: DomainEvent) -> Recorded {
    let recorded_at = DateTime::from_timestamp_millis(sequence).unwrap();
    let (position, commit_position) = (sequence, sequence);
    Recorded { position, commit_position, event_id: Uuid::nil(), sequence, recorded_at, act: None, event }
}

fn read_back(position: i64, event: &NewEvent) -> Recorded {
    let stored = RecordedEvent::committed(event.clone(), position, position);
    let event = stored.decode().unwrap();
    let RecordedEvent { commit_position, event_id, sequence, recorded_at, act, .. } = stored;
    Recorded { position, commit_position, event_id, sequence, recorded_at, act: act.map(|act| act.0), event }
}
