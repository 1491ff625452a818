//! What holds of subscriptions and wallets together, whatever is bought, cancelled and earned in whatever order, and
//! however often timers run: the books balance, what is deferred is what goes on, a period is charged once, and when all
//! of it is over nothing is deferred and all that was charged is earned.

use std::collections::BTreeSet;

use domain::category;
use domain::fee_rule;
use domain::plan::{self, Definition};
use domain::seller::{self, Seller};
use domain::subscription::Subscription;
use domain::{PeriodId, SubscriptionId};

use super::*;
use crate::categories;
use crate::fees::{self, FeeRules, Scope};
use crate::plans::{self, PlanRules};
use crate::sellers;
use crate::subscriptions::{self, Order as Wanted};
use crate::timers::Kind;

const ANN: AccountId = SELLERS[0];
/// So many listings on offer at once.
const FREE_LISTINGS: u32 = 2;
const PLAN_RULES: PlanRules = PlanRules { free_listings: Some(FREE_LISTINGS) };
const FEE_RULES: FeeRules = FeeRules { usual: RULES.fee_bps, plans: PLAN_RULES };
/// Slug, price in cents, days of a period.
const PLANS: [(&str, i64, u32); 4] =
    [("bronze", 333, 7), ("silver", 1_000, 30), ("gold", 3_001, 31), ("year", 9_999, 366)];

impl Market {
    pub(super) fn with_plans() -> Self {
        let mut market = Self::open();
        for (slug, _, _) in PLANS {
            market.define(slug, false).unwrap();
        }
        market
    }

    fn define(&mut self, slug: &str, retired: bool) -> Result<(), Refusal> {
        let (_, price, period_days) = PLANS.into_iter().find(|(known, ..)| *known == slug).unwrap();
        let definition = Definition {
            slug: slug.to_owned(),
            name: slug.to_owned(),
            prices: vec![usd(price)],
            period_days,
            fee_bps: Some(100),
            listings: Some(4),
            features: vec![],
            sort_order: 0,
            retired,
        };
        let reason = Sealed::from_ciphertext(CLERK, "why".to_owned());
        self.submit(|world| plans::define(world, &definition, CLERK, &reason, PLAN_RULES).map(drop))
    }

    pub(super) fn buy(&mut self, plan: &str) -> Result<(), Refusal> {
        let subscription = SubscriptionId(self.mint());
        let wanted = Wanted { owner: ANN, plan: plan.to_owned(), currency: Currency::USD, subscription };
        self.submit(|world| subscriptions::purchase(world, &wanted, PLAN_RULES).map(drop))
    }

    /// Every timer of the subscription once more, whether it is due or not: nothing happens that is not due.
    fn fire_again(&mut self) {
        let due: BTreeSet<Kind> =
            self.timers.iter().filter(|(_, at)| **at <= self.now).map(|((kind, ..), _)| *kind).collect();
        for kind in [Kind::SubscriptionReminder, Kind::SubscriptionRenewal] {
            let before = self.positions;
            let outcome = self.submit(kind.decision(ANN.0, ANN.0, &timer_rules()));
            assert!(due.contains(&kind) || self.positions == before, "{kind:?} has fired twice: {outcome:?}");
        }
    }

    /// What must hold of the subscription after every commit.
    fn check_subscription(&mut self) {
        self.check();
        let subscription = self.state::<Subscription>(ANN);
        let deferred: i64 = self
            .books
            .iter()
            .filter(|(account, _)| matches!(account, LedgerAccount::DeferredRevenue(_)))
            .map(|(_, minor)| *minor)
            .sum();
        let paid = match &subscription {
            Subscription::Active(running) => running.terms.price.minor(),
            Subscription::None | Subscription::InGrace { .. } => 0,
        };
        assert_eq!(deferred, paid, "what is deferred is what the period has cost that goes on");
        if let Some(running) = subscription.running() {
            let own = self.book(&LedgerAccount::DeferredRevenue(running.subscription));
            assert_eq!(own, paid, "nothing is deferred for what has ended");
            let at = self.timers.get(&(Kind::SubscriptionRenewal, ANN.0, ANN.0));
            assert!(at.is_some_and(|at| *at >= self.now), "a subscription without a clock: {at:?}");
        } else {
            assert!(!self.timers.keys().any(|(_, id, _)| *id == ANN.0), "{:?}", self.timers);
        }
    }
}

/// Everything that was charged: by period, and all of it.
#[derive(Debug, Default)]
pub(super) struct Charges {
    periods: BTreeSet<PeriodId>,
    minor: i64,
}

impl Charges {
    pub(super) fn take(&mut self, event: &DomainEvent) {
        if let DomainEvent::Wallet(_, wallet::Event::SubscriptionPaid { period, amount, .. }) = event {
            assert!(self.periods.insert(*period), "{period} is charged twice");
            self.minor += amount.minor();
        }
    }
}

#[derive(Clone, Debug)]
enum Act {
    Buy(usize),
    Cancel,
    Fund(i64),
    Spend,
    Retire(usize, bool),
    Suspend(bool),
}

fn any_act() -> impl Strategy<Value = (Act, i64)> {
    let act = prop_oneof![
        6 => (0..PLANS.len()).prop_map(Act::Buy),
        2 => Just(Act::Cancel),
        3 => (1..6_000_i64).prop_map(Act::Fund),
        2 => Just(Act::Spend),
        1 => (0..PLANS.len(), any::<bool>()).prop_map(|(plan, retired)| Act::Retire(plan, retired)),
        1 => any::<bool>().prop_map(Act::Suspend),
    ];
    // Mostly hours or days pass, now and then more than any grace.
    let wait_hours = prop_oneof![3 => 0..2_i64, 4 => 2..200_i64, 2 => 200..900_i64, 1 => 900..9_000_i64];
    (act, wait_hours)
}

fn perform(market: &mut Market, act: &Act) -> Result<(), Refusal> {
    match act {
        Act::Buy(plan) => market.buy(PLANS[*plan].0),
        Act::Cancel => market.submit(|world| subscriptions::cancel(world, ANN, None).map(drop)),
        Act::Fund(minor) => {
            market.fund(ANN, *minor);
            Ok(())
        }
        Act::Spend => {
            let hold = HoldId(market.mint());
            market.submit(|world| {
                let amount = wallets::available(world, ANN, Currency::USD)?;
                let spend = wallet::Command::PlaceHold { hold, amount };
                world.execute::<Wallet>(WalletId::of(ANN, Currency::USD), spend).map(drop)
            })
        }
        Act::Retire(plan, retired) => market.define(PLANS[*plan].0, *retired),
        Act::Suspend(true) => {
            let reason = Sealed::from_ciphertext(ANN, "why".to_owned());
            market.submit(|world| accounts::suspend(world, ANN, reason.clone(), Granter::Operator))
        }
        Act::Suspend(false) => market.submit(|world| accounts::reinstate(world, ANN, Granter::Operator)),
    }
}

proptest! {
    #[test]
    fn every_period_is_charged_once_and_earned_once(acts in prop::collection::vec(any_act(), 1..40)) {
        let mut market = Market::with_plans();
        for (act, wait_hours) in acts {
            market.advance(market.now + TimeDelta::hours(wait_hours));
            market.check_subscription();
            // What the rules refuse leaves no trace, which the next look shows.
            let _ = perform(&mut market, &act);
            market.check_subscription();
            market.fire_again();
            market.check_subscription();
        }
        // Without money, all of it comes to its end by itself.
        let _ = perform(&mut market, &Act::Spend);
        market.advance(market.now + TimeDelta::days(400));
        market.check_subscription();
        prop_assert!(matches!(market.state::<Subscription>(ANN), Subscription::None));
        prop_assert!(market.timers.is_empty(), "{:?}", market.timers);
        let earned = market.book(&LedgerAccount::SubscriptionIncome);
        prop_assert_eq!(earned, market.charges.minor, "all that was charged is earned");
        for (account, minor) in &market.books {
            prop_assert!(!matches!(account, LedgerAccount::DeferredRevenue(_)) || *minor == 0, "{} is {}", account, minor);
        }
    }
}

/// What the staff charge from now on.
fn charge(market: &mut Market, scope: &Scope, fee_bps: Option<u32>) -> Result<(), Refusal> {
    let reason = Sealed::from_ciphertext(CLERK, "why".to_owned());
    market.submit(|world| fees::set(world, scope, fee_bps, CLERK, &reason, FEE_RULES))
}

/// What Ann is charged in a category.
fn charged(market: &mut Market) -> u32 {
    let mut fee_bps = 0;
    let look = |world: &mut World<'_>| {
        fee_bps = sellers::fee_bps(world, ANN, "things", FEE_RULES.usual)?;
        Ok(())
    };
    market.submit(look).unwrap();
    fee_bps
}

#[test]
fn a_fee_is_that_of_the_seller_or_the_plan_or_the_category_or_every_sale() {
    let mut market = Market::with_plans();
    assert_eq!(charged(&mut market), 250);
    charge(&mut market, &Scope::Default, Some(310)).unwrap();
    assert_eq!(charged(&mut market), 310);
    let definition = |slug: &str, parent: Option<&str>| category::Definition {
        slug: slug.to_owned(),
        name: slug.to_owned(),
        parent: parent.map(str::to_owned),
        sort_order: 0,
        attributes: vec![],
        fee_bps: None,
    };
    for (slug, parent) in [("goods", None), ("things", Some("goods"))] {
        market.submit(|world| categories::define(world, &definition(slug, parent), CLERK)).unwrap();
    }
    charge(&mut market, &Scope::Category("goods".to_owned()), Some(400)).unwrap();
    assert_eq!(charged(&mut market), 400, "of the category above it");
    charge(&mut market, &Scope::Category("things".to_owned()), Some(0)).unwrap();
    assert_eq!(charged(&mut market), 0);
    charge(&mut market, &Scope::Plan("free".to_owned()), Some(120)).unwrap();
    assert_eq!(charged(&mut market), 120);
    charge(&mut market, &Scope::Seller(ANN), Some(30)).unwrap();
    assert_eq!(charged(&mut market), 30);
    // Taken back one after the other, the next one counts again.
    charge(&mut market, &Scope::Seller(ANN), None).unwrap();
    assert_eq!(charged(&mut market), 120);
    charge(&mut market, &Scope::Plan("free".to_owned()), None).unwrap();
    charge(&mut market, &Scope::Category("things".to_owned()), None).unwrap();
    assert_eq!(charged(&mut market), 400);
    charge(&mut market, &Scope::Category("goods".to_owned()), None).unwrap();
    assert_eq!(charged(&mut market), 310);
    charge(&mut market, &Scope::Default, None).unwrap();
    assert_eq!(charged(&mut market), 250);
}

#[test]
fn a_fee_can_only_be_said_of_what_is_there() {
    let mut market = Market::with_plans();
    let nobody = Scope::Seller(AccountId(Uuid::from_u128(404)));
    assert_eq!(charge(&mut market, &nobody, Some(1)), Err(account::Error::NotFound.into()));
    assert_eq!(charge(&mut market, &Scope::Plan("lead".to_owned()), Some(1)), Err(plan::Error::NotFound.into()));
    assert_eq!(charge(&mut market, &Scope::Seller(CLERK), Some(1)), Err(account::Error::OwnAccount.into()));
    let unknown = Scope::Category("lead".to_owned());
    assert_eq!(charge(&mut market, &unknown, Some(1)), Err(category::Error::NotFound.into()));
    let wrong = fee_rule::Error::FeeOutOfRange { maximum: 10_000, offered: 10_001 };
    assert_eq!(charge(&mut market, &Scope::Default, Some(10_001)), Err(wrong.into()));
}

#[test]
fn a_plan_is_bought_with_its_fee_and_a_sale_keeps_that_of_its_day() {
    let mut market = Market::with_plans();
    market.fund(ANN, 5_000);
    market.buy("silver").unwrap();
    assert_eq!(charged(&mut market), 100);
    // Whoever has it keeps what it was bought with.
    charge(&mut market, &Scope::Plan("silver".to_owned()), Some(900)).unwrap();
    assert_eq!(charged(&mut market), 100);
    charge(&mut market, &Scope::Seller(ANN), Some(30)).unwrap();
    // What is sold now keeps it whatever is said later.
    let bought = Checkout {
        buyer: BUYERS[0],
        lines: vec![CartLine { listing: listing_id(2), sku: Sku::default(), quantity: 1 }],
        ship_to: None,
        points: 0,
        group: OrderGroupId(market.mint()),
        orders: vec![OrderId(market.mint())],
    };
    market.submit(|world| orders::checkout(world, &bought, RULES).map(drop)).unwrap();
    charge(&mut market, &Scope::Seller(ANN), None).unwrap();
    charge(&mut market, &Scope::Default, Some(5_000)).unwrap();
    assert_eq!(charged(&mut market), 100);
    let placed = market.state::<Order>(bought.orders[0]).placed().unwrap().clone();
    assert_eq!(placed.terms.lines[0].fee_bps, 30);
}

#[test]
fn no_more_listings_are_on_offer_than_the_plan_allows() {
    let rules = ListingRules { plans: PLAN_RULES, ..ListingRules::default() };
    let mut market = Market::with_plans();
    // Two of the four are Ann's.
    assert_eq!(market.state::<Seller>(ANN).offers, 2);
    let draft = |market: &mut Market, number| {
        let new = new_listing(number, ANN);
        market.submit(|world| listings::draft(world, &new)).unwrap();
        new.listing
    };
    let third = draft(&mut market, 10);
    let publish = |market: &mut Market, listing| market.submit(|world| listings::publish(world, listing, ANN, &rules));
    let full = |most, there| Refusal::from(seller::Error::TooManyOffers { most, there });
    assert_eq!(publish(&mut market, third), Err(full(2, 2)));
    // What is off makes room, and what is paused does not.
    market.submit(|world| listings::pause(world, listing_id(0), ANN)).unwrap();
    assert_eq!(publish(&mut market, third), Err(full(2, 2)));
    market.submit(|world| listings::archive(world, listing_id(0), ANN)).unwrap();
    assert_eq!(publish(&mut market, third), Ok(()));
    assert_eq!(publish(&mut market, third), Ok(()), "it is published already");
    let fourth = draft(&mut market, 11);
    assert_eq!(publish(&mut market, fourth), Err(full(2, 2)));
    // A plan brings more.
    market.fund(ANN, 5_000);
    market.buy("silver").unwrap();
    for number in 11..13 {
        let listing = if number == 11 { fourth } else { draft(&mut market, number) };
        assert_eq!(publish(&mut market, listing), Ok(()));
    }
    let fifth = draft(&mut market, 13);
    assert_eq!(publish(&mut market, fifth), Err(full(4, 4)));
    // When it has ended, everything stays and nothing comes.
    market.submit(|world| subscriptions::cancel(world, ANN, None).map(drop)).unwrap();
    market.advance(market.now + TimeDelta::days(31));
    market.submit(|world| listings::archive(world, fourth, ANN)).unwrap();
    assert_eq!(publish(&mut market, fifth), Err(full(2, 3)));
}
