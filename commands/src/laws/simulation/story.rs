//! What happens in a simulated marketplace: what people ask for, what the provider does, and what goes wrong.

use chrono::TimeDelta;
use domain::listing::{AuctionPlan, Sale};
use domain::wallet::{self, Wallet};
use domain::{AuctionId, DepositId, HoldId, ListingId, WalletId, WithdrawalId};
use prop::sample::Index;

use super::super::money::provider::{Line, Provider};
use super::super::money::{any_line, card};
use super::super::*;
use super::Stage;
use super::chaos::{Delivery, Fate, NODES, Point};
use crate::auctions;
use crate::payouts as sending;

/// Of those who bid.
const BIDDERS: [AccountId; 3] = [BUYERS[0], BUYERS[1], AFFILIATE];

/// Something that happens.
#[derive(Clone, Debug)]
pub(super) enum Deed {
    /// What is bought and sold, paid from wallets, given back and disputed among the parties.
    Trade(Act),
    /// Who, how much.
    Deposit(usize, i64),
    /// Who, and how much of a thousand of what there is.
    Withdraw(usize, i64),
    /// Somebody puts one cent aside: a command that would count twice if it were carried out twice.
    PutAside(usize),
    /// Which order is paid by card.
    PayByCard(Index),
    /// Who sells by auction, for how many minutes.
    Auction(usize, u32),
    /// On which auction, who, up to how much.
    Bid(Index, usize, i64),
    /// Which message of the provider is heard.
    Hear(Index),
    /// Which movement ends, and whether well.
    GoOn(Index, bool),
    SendBack(Index),
    Dispute(Index),
    /// Of which movement the dispute ends, and whether it is won.
    Decide(Index, bool),
    /// How the next question to the provider fares.
    Line(Line),
    /// How the next append of the node fares.
    Append(Fate),
    /// The node ends where it comes next.
    Crash(Point),
    /// The node ends now.
    Kill,
    /// The database ends now, for so many milliseconds.
    Outage(u64),
    /// How the next messages to the node fare, and how many.
    Deliveries(Delivery, usize),
    /// The clock of the node goes ahead, by so many minutes.
    Ahead(i64),
    /// Every clock jumps, by so many hours.
    Jump(i64),
    /// The clock of the node is set forward by so many hours, and stops at each time at which something is due.
    Travel(i64),
}

/// Something that happens on a node, or is asked of it, and how many milliseconds pass until the next.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) deed: Deed,
    pub(super) node: usize,
    pub(super) wait_ms: u64,
}

/// A story.
pub(super) fn any_story() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(any_step(), 20..200)
}

fn any_step() -> impl Strategy<Value = Step> {
    // Mostly several things are under way at once; now and then everything comes to rest.
    let wait_ms = prop_oneof![6 => 0..6_u64, 4 => 6..60_u64, 1 => 500..3_000_u64];
    (any_deed(), 0..NODES, wait_ms).prop_map(|(deed, node, wait_ms)| Step { deed, node, wait_ms })
}

fn any_deed() -> impl Strategy<Value = Deed> {
    let which = any::<Index>;
    let people = prop_oneof![
        16 => any_act().prop_filter("it is a deposit", |act| act.kind != FUND).prop_map(Deed::Trade),
        3 => (0..BUYERS.len(), 1..20_000_i64).prop_map(|(who, minor)| Deed::Deposit(who, minor)),
        2 => (0..OWNERS.len(), 1..=1_000_i64).prop_map(|(who, permille)| Deed::Withdraw(who, permille)),
        4 => (0..BUYERS.len()).prop_map(Deed::PutAside),
        3 => which().prop_map(Deed::PayByCard),
        2 => (0..SELLERS.len(), 1..120_u32).prop_map(|(who, minutes)| Deed::Auction(who, minutes)),
        8 => (which(), 0..BIDDERS.len(), 1..20_i64).prop_map(|(which, who, hundreds)| Deed::Bid(which, who, hundreds * 100)),
    ];
    let bank = prop_oneof![
        4 => which().prop_map(Deed::Hear),
        2 => (which(), any::<bool>()).prop_map(|(which, well)| Deed::GoOn(which, well)),
        1 => which().prop_map(Deed::SendBack),
        1 => which().prop_map(Deed::Dispute),
        1 => (which(), any::<bool>()).prop_map(|(which, won)| Deed::Decide(which, won)),
        2 => any_line().prop_map(Deed::Line),
    ];
    let late = 1..40_u64;
    let append = prop_oneof![
        late.clone().prop_map(Fate::Slow),
        Just(Fate::Unsent),
        late.clone().prop_map(Fate::Cut),
        Just(Fate::AnswerLost),
        Just(Fate::CrashUnsent),
        late.clone().prop_map(Fate::CrashSent),
        Just(Fate::CrashCommitted),
    ];
    let points =
        [Point::BeforeRows, Point::AfterRows, Point::BeforeEffects, Point::BeforeCheckpoint, Point::AfterCheckpoint];
    let delivery = prop_oneof![Just(Delivery::Lost), Just(Delivery::Twice), late.prop_map(Delivery::Late)];
    let faults = prop_oneof![
        6 => append.prop_map(Deed::Append),
        6 => prop::sample::select(points.to_vec()).prop_map(Deed::Crash),
        2 => Just(Deed::Kill),
        1 => (1..4_000_u64).prop_map(Deed::Outage),
        5 => (delivery, 1..6_usize).prop_map(|(delivery, count)| Deed::Deliveries(delivery, count)),
        1 => (1..60_i64).prop_map(Deed::Ahead),
    ];
    let time = prop_oneof![
        4 => (1..30_i64).prop_map(Deed::Jump),
        1 => (30..400_i64).prop_map(Deed::Jump),
        2 => (1..100_i64).prop_map(Deed::Travel),
    ];
    prop_oneof![20 => people, 5 => bank, 7 => faults, 4 => time]
}

fn one_of(count: usize, which: Index) -> Option<usize> {
    (count > 0).then(|| which.index(count))
}

impl Step {
    /// Lets it happen, or begin.
    pub(super) async fn perform(&self, stage: &mut Stage) {
        let Self { deed, node, .. } = self;
        let node = *node;
        match deed {
            Deed::Trade(act) => {
                let decide = act.command(&mut stage.market);
                stage.call(node, decide);
            }
            Deed::Deposit(who, minor) => {
                let (owner, deposit, minor) = (BUYERS[*who], DepositId(stage.market.mint()), *minor);
                let ask =
                    move |world: &mut World<'_>| charges::request_deposit(world, owner, deposit, usd(minor), card());
                stage.call(node, Box::new(ask));
            }
            Deed::Withdraw(who, permille) => {
                let (owner, withdrawal, permille) = (OWNERS[*who], WithdrawalId(stage.market.mint()), *permille);
                let ask = move |world: &mut World<'_>| {
                    let available = wallets::available(world, owner, Currency::USD)?.minor();
                    let amount = usd((available * permille / 1_000).clamp(1, 2_500));
                    sending::request(world, owner, withdrawal, amount, &card(), &payouts::rules())
                };
                stage.call(node, Box::new(ask));
            }
            Deed::PutAside(who) => {
                let wallet = WalletId::of(BUYERS[*who], Currency::USD);
                let ask = move |world: &mut World<'_>| {
                    let hold = HoldId(Uuid::from_u128(world.version::<Wallet>(wallet)?.into()));
                    let command = wallet::Command::PlaceHold { hold, amount: usd(1) };
                    world.execute::<Wallet>(wallet, command).map(drop)
                };
                stage.call(node, Box::new(ask));
            }
            Deed::PayByCard(which) => {
                let Some(at) = one_of(stage.market.orders.len(), *which) else { return };
                let order = stage.market.orders[at];
                let payer = stage.market.state::<Order>(order).placed().unwrap().terms.buyer;
                let ask = move |world: &mut World<'_>| charges::request_payment(world, payer, order, card()).map(drop);
                stage.call(node, Box::new(ask));
            }
            Deed::Auction(seller, minutes) => stage.auction(node, SELLERS[*seller], minutes * 60),
            Deed::Bid(which, who, minor) => {
                let Some(at) = one_of(stage.auctions.len(), *which) else { return };
                let (auction, bidder, maximum) = (stage.auctions[at], BIDDERS[*who], usd(*minor));
                let ask = move |world: &mut World<'_>| auctions::place_bid(world, auction, bidder, maximum).map(drop);
                stage.call(node, Box::new(ask));
            }
            Deed::Hear(which) => {
                let said = stage.cluster.bank.books().said.len();
                if let Some(at) = one_of(said, *which) {
                    stage.hear(node, at);
                }
            }
            Deed::GoOn(which, well) => stage.at_bank(*which, |books, of, now| books.go_on(of, *well, now)),
            Deed::SendBack(which) => stage.at_bank(*which, Provider::send_back),
            Deed::Dispute(which) => stage.at_bank(*which, Provider::dispute),
            Deed::Decide(which, won) => stage.at_bank(*which, |books, of, now| books.decide(of, *won, now)),
            Deed::Line(line) => stage.cluster.bank.arm(*line),
            Deed::Append(fate) => stage.cluster.chaos.arm_append(node, *fate),
            Deed::Crash(point) => stage.cluster.chaos.arm_crash(node, *point),
            Deed::Kill => stage.cluster.chaos.kill(node),
            Deed::Outage(ms) => stage.outage(*ms),
            Deed::Deliveries(delivery, count) => stage.cluster.chaos.arm_deliveries(node, *delivery, *count),
            Deed::Ahead(minutes) => {
                if let Some(node) = stage.cluster.node(node) {
                    node.clock.set_forward(stage.cluster.now() + TimeDelta::minutes(*minutes));
                }
            }
            Deed::Jump(hours) => stage.cluster.jump(TimeDelta::hours(*hours)),
            Deed::Travel(hours) => stage.travel(node, TimeDelta::hours(*hours)).await,
        }
    }
}

impl Stage {
    /// Somebody sells by auction what only they have.
    fn auction(&mut self, node: usize, seller: AccountId, duration_s: u32) {
        let listing = ListingId(self.market.mint());
        let plan = AuctionPlan {
            start_price: usd(100),
            reserve_price: None,
            buy_now_price: None,
            starts_at: None,
            duration_s,
        };
        let new = NewListing { listing, sale: Sale::Auction(plan), ..new_listing(0, seller) };
        let offer = move |world: &mut World<'_>| {
            listings::draft(world, &new)?;
            listings::publish(world, listing, seller, &ListingRules::default())
        };
        self.call(node, Box::new(offer));
        self.auctions.push(AuctionId::from(listing));
    }

    /// Something happens to a movement at the provider.
    fn at_bank(&mut self, which: Index, act: impl FnOnce(&mut Provider, Uuid, Timestamp)) {
        let now = self.cluster.now();
        let mut books = self.cluster.bank.books();
        let there: Vec<Uuid> = books.movements.keys().copied().collect();
        if let Some(at) = one_of(there.len(), which) {
            act(&mut books, there[at], now);
        }
    }
}
