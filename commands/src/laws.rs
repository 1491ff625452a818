//! What holds of orders, escrows, commissions, stock and wallets together, whatever is asked in whatever order while time
//! goes on.
//!
//! The use cases run over a [`World`] whose log is in memory, and timers fire at their times.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use chrono::TimeDelta;
use domain::account::{self, Account, Capability, Granter, Identity};
use domain::commission::Commission;
use domain::escrow::{Escrow, Phase, Status};
use domain::listing::{Condition, Delivery, Details, Sale};
use domain::order::{Order, Stage};
use domain::points::Points;
use domain::stock::{Sku, Stock};
use domain::wallet::{self, PaymentMethod, Wallet};
use domain::{
    AccountId, Aggregate, CommissionId, Currency, DepositId, HoldId, LedgerAccount, ListingId, Money, OrderGroupId,
    OrderId, Posting, ReferralClickId, RefundId, Refusal, Sealed, Timestamp, WalletId,
};
use eventstore::event::{DomainEvent, NewEvent, RecordedEvent, known_type};
use eventstore::follower::Recorded;
use proptest::prelude::*;
use uuid::Uuid;

use crate::accounts;
use crate::affiliates;
use crate::charges;
use crate::commissions::CommissionRules;
use crate::engine::{Halt, World, cache};
use crate::escrows::{self, Resolution};
use crate::listings::{self, ListingRules, NewListing};
use crate::orders::{self, CartLine, Checkout, SaleRules};
use crate::payments::Outcome;
use crate::payouts::PayoutRules;
use crate::timers::{Change, Changes, Decide, Name, Rules};
use crate::wallets;

mod cancelling;
mod money;
mod payouts;
mod second_chances;
mod simulation;
mod subscriptions;

/// So many points that they pay for much, and of a worth that divides no price.
const RULES: SaleRules = SaleRules {
    fee_bps: 250,
    points_per_unit: 10,
    point_worth_minor: 7,
    commission: CommissionRules { rate_bps: 500, within_fee: false, attributed_for: TimeDelta::days(30) },
    inspection_physical_s: 1_209_600,
    inspection_digital_s: 172_800,
};

fn timer_rules() -> Rules {
    Rules { sales: RULES, listings: ListingRules::default(), payouts: payouts::rules() }
}

const SELLERS: [AccountId; 2] = [AccountId(Uuid::from_u128(1)), AccountId(Uuid::from_u128(2))];
const BUYERS: [AccountId; 2] = [AccountId(Uuid::from_u128(3)), AccountId(Uuid::from_u128(4))];
const CLERK: AccountId = AccountId(Uuid::from_u128(5));
const AFFILIATE: AccountId = AccountId(Uuid::from_u128(6));
/// The kind of an act that brings money in.
const FUND: u8 = 4;
/// Everybody with a wallet.
const OWNERS: [AccountId; 5] = [SELLERS[0], SELLERS[1], BUYERS[0], BUYERS[1], AFFILIATE];
/// Pieces of each of the four listings: one is unique, one is digital.
const STOCK: [u32; 4] = [1, 3, 5, 2];

fn usd(minor: i64) -> Money {
    Money::new(minor, Currency::USD).unwrap()
}

fn listing_id(number: usize) -> ListingId {
    ListingId(Uuid::from_u128(100 + number as u128))
}

/// A marketplace in memory.
struct Market {
    now: Timestamp,
    cache: cache::Cache,
    minted: u128,
    positions: i64,
    timers: BTreeMap<Name, Timestamp>,
    orders: Vec<OrderId>,
    books: HashMap<LedgerAccount, i64>,
    /// How many pieces of each listing were ever put up for sale.
    offered: BTreeMap<ListingId, u32>,
    charges: subscriptions::Charges,
    /// What has happened, for whoever reads it.
    news: Vec<DomainEvent>,
    seen: payouts::Seen,
}

/// Something that is not on offer yet.
fn new_listing(number: usize, seller: AccountId) -> NewListing {
    let details = Details {
        title: format!("Thing {number}"),
        description: String::new(),
        category: "things".to_owned(),
        brand: None,
        condition: Condition::New,
        delivery: if number == 3 { Delivery::Digital } else { Delivery::Physical },
        shipping: (number == 1).then(|| usd(333)),
        attributes: BTreeMap::new(),
    };
    let price = usd(1_001 + 500 * i64::try_from(number).unwrap());
    let sale = Sale::FixedPrice { price, variants: vec![] };
    NewListing { listing: listing_id(number), seller, details, sale, stock: BTreeMap::new(), discount: None }
}

/// Makes somebody known, at an address that is trusted.
fn registration(who: AccountId, capabilities: BTreeSet<Capability>) -> Decide {
    let sealed = || Sealed::from_ciphertext(who, "sealed".to_owned());
    let identity = Identity { email: sealed(), user_name: sealed(), password_hash: None };
    let register = account::Command::Register { account: who, identity, capabilities };
    Box::new(move |world| {
        world.execute::<Account>(who, register.clone())?;
        world.execute::<Account>(who, account::Command::TrustEmail {}).map(drop)
    })
}

/// Everybody here, and what they may do.
fn everybody() -> Vec<(AccountId, BTreeSet<Capability>)> {
    let traders = SELLERS.into_iter().chain(BUYERS);
    let traders = traders.map(|who| (who, BTreeSet::from([Capability::Buy, Capability::Sell])));
    let others = [(AFFILIATE, BTreeSet::from([Capability::Buy])), (CLERK, BTreeSet::from([Capability::Staff]))];
    traders.chain(others).collect()
}

/// Puts pieces up for sale.
fn offering(number: usize, stock: u32) -> Decide {
    let (listing, seller) = (listing_id(number), SELLERS[number % 2]);
    let new = NewListing { stock: BTreeMap::from([(Sku::default(), stock)]), ..new_listing(number, seller) };
    Box::new(move |world| {
        listings::draft(world, &new)?;
        listings::publish(world, listing, seller, &ListingRules::default())
    })
}

/// Reads an event that was recorded.
fn read(stored: &RecordedEvent) -> Recorded {
    let event = stored.decode().unwrap();
    let RecordedEvent { position, commit_position, event_id, sequence, recorded_at, act, .. } = stored.clone();
    Recorded { position, commit_position, event_id, sequence, recorded_at, act: act.map(|act| act.0), event }
}

impl Market {
    /// One in which nothing has happened.
    fn empty() -> Self {
        Self {
            now: Timestamp::default(),
            cache: cache::cache(10_000),
            minted: 1_000,
            positions: 0,
            timers: BTreeMap::new(),
            orders: Vec::new(),
            books: HashMap::new(),
            offered: BTreeMap::new(),
            charges: subscriptions::Charges::default(),
            news: Vec::new(),
            seen: payouts::Seen::default(),
        }
    }

    fn open() -> Self {
        let mut market = Self::empty();
        for (who, capabilities) in everybody() {
            market.submit(registration(who, capabilities)).unwrap();
        }
        for (number, stock) in STOCK.into_iter().enumerate() {
            market.offer(number, stock);
        }
        for buyer in BUYERS {
            market.fund(buyer, 20_000);
        }
        market
    }

    fn mint(&mut self) -> Uuid {
        self.minted += 1;
        Uuid::from_u128(self.minted)
    }

    fn offer(&mut self, number: usize, stock: u32) {
        self.submit(offering(number, stock)).unwrap();
        self.offered.insert(listing_id(number), stock);
    }

    fn fund(&mut self, owner: AccountId, minor: i64) {
        let deposit = DepositId(self.mint());
        let method = PaymentMethod { provider: "sandbox".to_owned(), token: "any".to_owned() };
        self.submit(|world| charges::request_deposit(world, owner, deposit, usd(minor), method.clone())).unwrap();
        let settled = Outcome::Succeeded { reference: format!("ch_{deposit}"), fee: None };
        self.submit(|world| charges::report(world, deposit.into(), settled.clone())).unwrap();
    }

    /// Carries a use case out, all of it or nothing, and looks at the books.
    fn submit(&mut self, mut decide: impl FnMut(&mut World<'_>) -> Result<(), Halt>) -> Result<(), Refusal> {
        loop {
            let batch = HashMap::new();
            let below = HashMap::new();
            let mut world = World::new(self.now, "{}", &mut self.cache, [&batch, &below]);
            match decide(&mut world) {
                Ok(()) => {
                    let changes = world.into_changes();
                    for (key, entry) in changes.states {
                        self.cache.put(key, entry);
                    }
                    self.take(&changes.events);
                    return Ok(());
                }
                Err(Halt::Refused(refusal)) => return Err(refusal),
                Err(Halt::Missing(missing)) => {
                    drop(world);
                    self.cache.put(missing.key, blank(missing.key.aggregate_type));
                }
            }
        }
    }

    fn take(&mut self, events: &[NewEvent]) {
        let recorded = events.iter().map(|event| self.recorded(event)).collect();
        self.note(recorded);
    }

    /// Follows the log: takes in a unit of work that was recorded, each event once and in order.
    fn hear(&mut self, unit: &[Arc<RecordedEvent>]) {
        for event in unit {
            self.positions += 1;
            assert_eq!(event.position, self.positions, "the positions of the log");
            let aggregate_type = known_type(&event.aggregate_type).unwrap();
            let key = cache::StreamKey { aggregate_type, id: event.aggregate_id.0 };
            let mut entry = self.cache.pop(&key).unwrap_or_else(|| blank(aggregate_type));
            assert_eq!(event.sequence.unsigned_abs(), entry.version + 1, "the sequences of a stream: {event:?}");
            assert!(entry.catch_up(event), "an event that cannot be read: {event:?}");
            self.cache.put(key, entry);
        }
        self.note(unit.iter().map(|event| read(event)).collect());
    }

    fn note(&mut self, recorded: Vec<Recorded>) {
        for (name, change) in Changes::of(&recorded).0 {
            match change {
                Change::Set(due_at, _) => drop(self.timers.insert(name, due_at)),
                Change::Hastened(due_at, _) => {
                    self.timers.entry(name).and_modify(|before| *before = due_at.min(*before));
                }
                Change::Off => drop(self.timers.remove(&name)),
            }
        }
        for event in recorded {
            self.charges.take(&event.event);
            self.seen.take(&event);
            match &event.event {
                DomainEvent::Order(id, domain::order::Event::OrderPlaced { .. }) => self.orders.push(*id),
                DomainEvent::Charge(_, event) => self.post(event.postings()),
                DomainEvent::Commission(_, event) => self.post(event.postings()),
                DomainEvent::Escrow(_, event) => self.post(event.postings()),
                DomainEvent::Subscription(_, event) => self.post(event.postings()),
                DomainEvent::Wallet(_, event) => self.post(event.postings()),
                _ => {}
            }
            self.news.push(event.event);
        }
    }

    fn recorded(&mut self, event: &NewEvent) -> Recorded {
        self.positions += 1;
        read(&RecordedEvent::committed(event.clone(), self.positions, self.positions))
    }

    fn post(&mut self, postings: &[Posting]) {
        for posting in postings {
            assert!(posting.amount.is_positive());
            *self.books.entry(posting.debit.clone()).or_default() -= posting.amount.minor();
            *self.books.entry(posting.credit.clone()).or_default() += posting.amount.minor();
        }
    }

    fn book(&self, account: &LedgerAccount) -> i64 {
        self.books.get(account).copied().unwrap_or(0)
    }

    fn state<A: Aggregate>(&mut self, id: A::Id) -> A {
        let key = crate::engine::cache::StreamKey::of::<A>(id);
        self.cache.get(&key).and_then(|entry| entry.state::<A>().cloned()).unwrap_or_default()
    }

    /// Lets time pass; every timer fires at its own time.
    fn advance(&mut self, to: Timestamp) {
        while let Some((name, due_at)) = self.next_due(to) {
            self.now = self.now.max(due_at);
            let (kind, id, subject) = name;
            let decide = kind.decision(id, subject, &timer_rules());
            let outcome = self.submit(decide);
            assert!(outcome.is_ok(), "{name:?} is refused at its time: {outcome:?}");
            assert_ne!(self.timers.get(&name), Some(&due_at), "{name:?} has fired and is still due");
            self.check();
        }
        self.now = to;
    }

    fn next_due(&self, until: Timestamp) -> Option<(Name, Timestamp)> {
        let due = self.timers.iter().filter(|(_, due_at)| **due_at <= until);
        due.min_by_key(|(_, due_at)| **due_at).map(|(name, due_at)| (*name, *due_at))
    }

    /// What must hold after every commit.
    fn check(&mut self) {
        assert_eq!(self.books.values().sum::<i64>(), 0, "the trial balance");
        for who in OWNERS {
            let (available, owed) = match self.state::<Wallet>(WalletId::of(who, Currency::USD)) {
                Wallet::Open(balance) => (balance.available.minor(), balance.owed.minor()),
                Wallet::Unopened => (0, 0),
            };
            assert!(available >= 0 && owed >= 0);
            assert_eq!(available, self.book(&LedgerAccount::Available(who)), "the wallet and the books");
            assert_eq!(-owed, self.book(&LedgerAccount::Receivable(who)), "the wallet and the books");
        }
        let mut earned = BTreeMap::<AccountId, i64>::new();
        let (mut pending, mut commissions) = (BTreeMap::<AccountId, i64>::new(), 0);
        let mut spent = 0;
        // The pieces of orders that stand, and of those that were given back, which may have been sent before.
        let (mut kept, mut refunded) = (BTreeMap::<ListingId, u32>::new(), BTreeMap::<ListingId, u32>::new());
        for order in self.orders.clone() {
            let placed = self.state::<Order>(order).placed().unwrap().clone();
            let escrow = self.state::<Escrow>(order).opened().unwrap().clone();
            let held = self.book(&LedgerAccount::Escrow(order));
            let (holds, taken) = match &escrow.phase {
                Phase::Funded { .. } | Phase::Inspection { .. } | Phase::Disputed { .. } => (true, 0),
                Phase::ChargedBack { amount, .. } => (true, amount.minor()),
                Phase::AwaitingPayment | Phase::Voided | Phase::Released { .. } | Phase::Refunded | Phase::Split => {
                    (false, 0)
                }
            };
            assert_eq!(held, if holds { escrow.remaining().minor() - taken } else { 0 });
            assert_eq!(placed.stage.has_ended() || placed.stage == Stage::Placed, !holds, "{placed:?} {escrow:?}");
            self.check_clock(order, placed.stage, escrow.status(), placed.terms.group);
            // What points have paid and has not come back, the marketplace has paid.
            let left = if matches!(escrow.status(), Status::Voided) {
                0
            } else {
                escrow.terms.points_part().minor() - escrow.refunded_from_points.minor()
            };
            // Whole points come back, and nothing of one that does not.
            let worth = i64::from(RULES.point_worth_minor);
            assert_eq!(left % worth, 0, "{left} of points worth {worth}");
            *earned.entry(placed.terms.buyer).or_default() -= left / worth;
            spent += if escrow.status() == Status::AwaitingPayment { 0 } else { left };
            if matches!(escrow.status(), Status::Released | Status::Split) {
                let points = i64::try_from(escrow.points_earned()).unwrap();
                *earned.entry(placed.terms.buyer).or_default() += points;
            }
            if let Some((affiliate, amount, waits)) = self.commission_of(order) {
                *pending.entry(affiliate).or_default() += if waits { amount } else { 0 };
                commissions += amount;
            }
            for line in &placed.terms.lines {
                let pieces = match placed.stage {
                    Stage::Cancelled => continue,
                    Stage::Refunded => &mut refunded,
                    Stage::Placed
                    | Stage::Paid
                    | Stage::Confirmed
                    | Stage::Shipped
                    | Stage::Delivered
                    | Stage::Completed => &mut kept,
                };
                *pieces.entry(line.listing).or_default() += line.quantity;
            }
        }
        assert_eq!(-commissions, self.book(&LedgerAccount::AffiliateExpense), "commissions and what they have cost");
        for affiliate in OWNERS {
            let amount = pending.get(&affiliate).copied().unwrap_or(0);
            assert_eq!(amount, self.book(&LedgerAccount::AffiliatePending(affiliate)), "commissions of {affiliate}");
        }
        assert_eq!(-spent, self.book(&LedgerAccount::MarketingExpense), "points and what they have cost");
        for buyer in BUYERS {
            let points = self.state::<Points>(buyer).counts.get(&Currency::USD).copied().unwrap_or(0);
            assert_eq!(points, earned.get(&buyer).copied().unwrap_or(0), "points are earned with what sellers keep");
        }
        for (listing, offered) in self.offered.clone() {
            let of = |pieces: &BTreeMap<ListingId, u32>| pieces.get(&listing).copied().unwrap_or(0);
            let there = self.state::<Stock>(listing).free_of(&Sku::default()) + of(&kept);
            assert!((offered.saturating_sub(of(&refunded))..=offered).contains(&there), "{there} of {offered} pieces");
        }
    }

    /// Who earns how much with an order, and whether it waits: nobody with a trade of their own, and the share of what the
    /// seller keeps, if anything at all.
    fn commission_of(&mut self, order: OrderId) -> Option<(AccountId, i64, bool)> {
        let commission = self.state::<Commission>(CommissionId::of(order));
        let escrow = self.state::<Escrow>(order).opened().unwrap().clone();
        let earned = *commission.earned()?;
        let affiliate = earned.promise.affiliate;
        assert_eq!(escrow.terms.commission, Some(earned.promise));
        assert!(![escrow.terms.buyer, escrow.terms.seller].contains(&affiliate));
        let (amount, due) = (earned.amount, escrow.remaining().share_bps(500).unwrap().minor());
        let waits = matches!(commission, Commission::Pending(_));
        // Whoever is forgotten owes nothing of what was paid out.
        let owes = waits || self.state::<Account>(affiliate).registered().is_ok();
        let is_due = (due..=if owes { due } else { i64::MAX }).contains(&amount.minor());
        match escrow.status() {
            Status::Funded | Status::Inspection | Status::Disputed | Status::ChargedBack => {
                assert!(waits && is_due, "{earned:?}");
            }
            // Unless nobody was left to be paid.
            Status::Released | Status::Split if waits => assert_eq!(amount, usd(0)),
            Status::Released | Status::Split | Status::Refunded => assert!(is_due, "{earned:?}"),
            Status::AwaitingPayment | Status::Voided => panic!("{earned:?} with what was never paid"),
        }
        Some((affiliate, amount.minor(), waits))
    }

    /// Nothing is stuck: whatever has not ended has a clock that runs.
    fn check_clock(&self, order: OrderId, stage: Stage, status: Status, group: OrderGroupId) {
        use crate::timers::Kind as K;
        let clock = match (stage, status) {
            (Stage::Placed, _) => Some((K::PaymentDeadline, group.0)),
            (Stage::Paid, Status::Funded) => Some((K::ShippingDeadline, order.0)),
            (Stage::Shipped, Status::Funded) => Some((K::DeliveryDispute, order.0)),
            (_, Status::Inspection) => Some((K::InspectionEnd, order.0)),
            (_, Status::Disputed) => Some((K::DisputeDeadline, order.0)),
            _ => None,
        };
        if let Some((kind, id)) = clock {
            let due_at = self.timers.get(&(kind, id, id));
            assert!(due_at.is_some_and(|due_at| *due_at >= self.now), "{stage} {status} without a clock: {due_at:?}");
        }
    }
}

/// A stream that nothing has happened to.
fn blank(aggregate_type: &str) -> cache::Entry {
    fn of<A: Aggregate>() -> cache::Entry {
        cache::Entry::new(A::default(), 0)
    }
    macro_rules! blanks {
        ($($aggregate:ident in $module:ident by $id:ident),+ $(,)?) => {
            match aggregate_type {
                $(domain::$module::$aggregate::TYPE => of::<domain::$module::$aggregate>(),)+
                unknown => panic!("{unknown} is no aggregate"),
            }
        };
    }
    domain::every_aggregate!(blanks)
}

/// Something that somebody does, after some time.
#[derive(Clone, Debug)]
struct Act {
    kind: u8,
    who: usize,
    order: prop::sample::Index,
    lines: Vec<(usize, u32)>,
    permille: i64,
    wait_hours: i64,
}

fn any_act() -> impl Strategy<Value = Act> {
    let lines = prop::collection::vec((0..STOCK.len(), 1..4_u32), 1..4);
    // Mostly little time passes; now and then more than any deadline.
    let wait_hours = prop_oneof![6 => 0..1_i64, 4 => 1..30_i64, 2 => 30..400_i64, 1 => 400..1_600_i64];
    (0..19_u8, 0..2_usize, any::<prop::sample::Index>(), lines, 0..=1_000_i64, wait_hours).prop_map(
        |(kind, who, order, lines, permille, wait_hours)| Act { kind, who, order, lines, permille, wait_hours },
    )
}

impl Act {
    /// Does it. What the rules refuse is not done.
    fn perform(&self, market: &mut Market) -> Result<(), Refusal> {
        if self.kind == FUND && !market.orders.is_empty() {
            market.fund(BUYERS[self.who], 1 + self.permille * 20);
            return Ok(());
        }
        let command = self.command(market);
        market.submit(command)
    }

    /// What is to be decided, by what is known of the market; nothing for [`FUND`].
    fn command(&self, market: &mut Market) -> Decide {
        let (buyer, permille) = (BUYERS[self.who], self.permille);
        if self.kind > 14 {
            return self.refer(market, buyer);
        }
        if self.kind < FUND || market.orders.is_empty() {
            return self.check_out(market, buyer);
        }
        let order = *self.order.get(&market.orders);
        let placed = market.state::<Order>(order).placed().unwrap().clone();
        let remaining = market.state::<Escrow>(order).opened().unwrap().remaining();
        let (buyer, seller) = (placed.terms.buyer, placed.terms.seller);
        let part = usd(remaining.minor() * permille / 1_000);
        let refund = RefundId(market.mint());
        let parties = [buyer, seller];
        let (party, anybody) = (parties[self.who], [buyer, seller, CLERK][self.who]);
        let giver = [seller, CLERK][self.who];
        match self.kind {
            FUND => Box::new(|_| Ok(())),
            5 | 6 => Box::new(move |world| orders::pay(world, order, buyer)),
            7 => Box::new(move |world| orders::ship(world, order, seller, "Post", None)),
            8 => Box::new(move |world| orders::deliver(world, order, anybody)),
            9 => Box::new(move |world| escrows::confirm(world, order, buyer)),
            10 => Box::new(move |world| escrows::dispute(world, order, party, "No.")),
            11 => Box::new(move |world| {
                let resolution = match permille {
                    0..300 => Resolution::Release,
                    300..600 => Resolution::Refund,
                    _ => Resolution::Split { to_buyer: part },
                };
                escrows::resolve(world, order, CLERK, resolution, refund)
            }),
            12 => {
                let amount = (permille < 700).then_some(part);
                Box::new(move |world| escrows::refund(world, order, giver, amount, refund))
            }
            13 => Box::new(move |world| orders::cancel(world, order, party, "No.", refund)),
            // A seller who has spent the money has nothing to give back.
            _ => Box::new(move |world| spend(world, seller, HoldId(refund.0))),
        }
    }

    /// A buyer follows somebody's link, or something happens to an affiliate.
    fn refer(&self, market: &mut Market, buyer: AccountId) -> Decide {
        let (click, by) = (ReferralClickId(market.mint()), Granter::Operator);
        let affiliate = match self.permille {
            0..700 => AFFILIATE,
            700..850 => SELLERS[0],
            _ => BUYERS[1],
        };
        let reason = Sealed::from_ciphertext(AFFILIATE, "sealed".to_owned());
        match (self.kind, self.permille) {
            (15 | 16, _) => Box::new(move |world| affiliates::click(world, click, affiliate, Some(buyer)).map(drop)),
            (17, 0..300) => Box::new(move |world| accounts::suspend(world, AFFILIATE, reason.clone(), by)),
            (17, 300..900) => Box::new(move |world| accounts::reinstate(world, AFFILIATE, by)),
            (17, _) => Box::new(|world| world.execute::<Account>(AFFILIATE, account::Command::Erase {}).map(drop)),
            // An affiliate who has spent the money has nothing to give back.
            _ => Box::new(move |world| spend(world, affiliate, HoldId(click.0))),
        }
    }

    fn check_out(&self, market: &mut Market, buyer: AccountId) -> Decide {
        let line = |(number, quantity): &(usize, u32)| CartLine {
            listing: listing_id(*number),
            sku: Sku::default(),
            quantity: *quantity,
        };
        let there = market.state::<Points>(buyer).counts.get(&Currency::USD).copied().unwrap_or(0).max(0);
        // Mostly some of what is there, now and then more; often more than the price, of which all is paid then.
        let points =
            if self.kind == 0 { 0 } else { there.unsigned_abs() * (self.permille.unsigned_abs() + 100) / 1_000 };
        let cart = Checkout {
            points,
            buyer,
            lines: self.lines.iter().map(line).collect(),
            ship_to: None,
            group: OrderGroupId(market.mint()),
            orders: self.lines.iter().map(|_| OrderId(market.mint())).collect(),
        };
        let now = self.permille < 400;
        Box::new(move |world| {
            let placed = orders::checkout(world, &cart, RULES)?;
            // Points may have paid for all of it.
            let waits = !orders::outstanding(world, cart.group)?.is_empty();
            match placed.first() {
                Some(first) if now && waits => orders::pay(world, *first, buyer),
                _ => Ok(()),
            }
        })
    }
}

/// Puts all that somebody has aside.
fn spend(world: &mut World<'_>, owner: AccountId, hold: HoldId) -> Result<(), Halt> {
    let available = wallets::available(world, owner, Currency::USD)?;
    let hold = wallet::Command::PlaceHold { hold, amount: available };
    world.execute::<Wallet>(WalletId::of(owner, Currency::USD), hold).map(drop)
}

proptest! {
    #[test]
    fn money_and_goods_are_always_somewhere_and_nothing_is_stuck_past_its_time(
        acts in prop::collection::vec(any_act(), 1..60),
    ) {
        let mut market = Market::open();
        for act in acts {
            market.advance(market.now + TimeDelta::hours(act.wait_hours));
            // What the rules refuse leaves no trace, which the next look shows.
            let _ = act.perform(&mut market);
            market.check();
        }
        // Left alone, everything comes to its end by itself.
        market.advance(market.now + TimeDelta::days(200));
        prop_assert!(market.timers.is_empty(), "{:?}", market.timers);
        for order in market.orders.clone() {
            prop_assert!(market.state::<Order>(order).placed().unwrap().stage.has_ended());
            prop_assert_eq!(market.book(&LedgerAccount::Escrow(order)), 0);
        }
    }
}
