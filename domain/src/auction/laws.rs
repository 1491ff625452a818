//! What holds for every auction, whoever bids what and when.

use chrono::{TimeDelta, TimeZone, Utc};
use proptest::prelude::*;
use serde_json::Value;
use uuid::Uuid;

use super::oracle::{Oracle, TOP};
use super::*;

const SELLER: AccountId = AccountId(Uuid::from_u128(100));
const STAFF: AccountId = AccountId(Uuid::from_u128(101));

// Random auctions.

/// The terms of an auction and what is offered in it.
#[derive(Clone, Debug)]
struct Scenario {
    currency: Currency,
    start: i64,
    /// Reserve and buy-now price, as what they are above the start.
    reserve_above: Option<i64>,
    buy_now_above: Option<i64>,
    window_ms: u32,
    offers: Vec<Offer>,
}

/// Somebody offers something, some time after the offer before.
#[derive(Clone, Debug)]
struct Offer {
    bidder: u128,
    amount: Amount,
    pause_ms: i64,
}

/// What is offered, seen from where the auction stands: random amounts alone would hardly ever meet a boundary.
#[derive(Clone, Debug)]
enum Amount {
    AboveMinimum(i64),
    AboveLeader(i64),
    AboveReserve(i64),
    Exactly(i64),
}

impl Scenario {
    fn money(&self, minor: i64) -> Money {
        Money::new(minor.clamp(-TOP, TOP), self.currency).unwrap()
    }

    fn reserve(&self) -> Option<i64> {
        self.reserve_above.map(|above| (self.start + above).min(TOP))
    }

    fn oracle<'a>(&self, accepted: &'a [(AccountId, i64)]) -> Oracle<'a> {
        Oracle { currency: self.currency, start: self.start, reserve: self.reserve(), accepted }
    }

    fn terms(&self) -> Terms {
        Terms {
            seller: SELLER,
            start_price: self.money(self.start),
            reserve_price: self.reserve().map(|reserve| self.money(reserve)),
            buy_now_price: self.buy_now_above.map(|above| self.money(self.reserve().unwrap_or(self.start) + above)),
            starts_at: start(),
            ends_at: start() + TimeDelta::hours(1),
            soft_close_window_ms: self.window_ms,
            increments: Increments::standard(self.currency),
        }
    }

    fn amount(&self, amount: &Amount, oracle: &Oracle<'_>, bidder: AccountId) -> Money {
        let leader_maximum = || oracle.leader().map_or(self.start, |(_, maximum)| maximum);
        self.money(match amount {
            Amount::AboveMinimum(more) => oracle.minimum(bidder) + more,
            Amount::AboveLeader(more) => leader_maximum() + more,
            Amount::AboveReserve(more) => self.reserve().unwrap_or_else(leader_maximum) + more,
            Amount::Exactly(minor) => *minor,
        })
    }
}

fn start() -> Timestamp {
    Utc.timestamp_opt(1_700_000_000, 0).unwrap()
}

fn any_amount() -> impl Strategy<Value = Amount> {
    let near = prop_oneof![3 => -3..4_i64, 1 => -500..5_000_i64];
    prop_oneof![
        4 => near.clone().prop_map(Amount::AboveMinimum),
        3 => near.clone().prop_map(Amount::AboveLeader),
        1 => near.prop_map(Amount::AboveReserve),
        1 => (-100..1_000_000_i64).prop_map(Amount::Exactly),
    ]
}

fn any_offer() -> impl Strategy<Value = Offer> {
    let pause_ms = prop_oneof![4 => 0..60_000_i64, 1 => 0..900_000_i64];
    (0..4_u128, any_amount(), pause_ms).prop_map(|(bidder, amount, pause_ms)| Offer { bidder, amount, pause_ms })
}

prop_compose! {
    fn any_scenario()(
        currency in prop::sample::select(vec![Currency::USD, Currency::JPY, Currency::KWD]),
        start in prop_oneof![6 => 1..20_000_i64, 3 => 1..2_000_000_i64, 1 => TOP - 20_000..=TOP],
        reserve_above in prop::option::of(0..20_000_i64),
        buy_now_above in prop::option::of(0..20_000_i64),
        window_ms in prop_oneof![3 => Just(120_000_u32), 1 => 0..4_000_000_u32],
        offers in prop::collection::vec(any_offer(), 0..40),
    ) -> Scenario {
        Scenario { currency, start, reserve_above, buy_now_above, window_ms, offers }
    }
}

// Their course.

/// One offer and what came of it.
struct Step {
    before: Auction,
    bidder: AccountId,
    maximum: Money,
    now: Timestamp,
    answer: Result<Vec<Event>, Error>,
    after: Auction,
    /// All maxima accepted before.
    accepted_before: Vec<(AccountId, i64)>,
}

/// The course of an auction up to its last offer, from its scheduling on.
struct Course {
    scheduled: Vec<Event>,
    steps: Vec<Step>,
    last: Auction,
    accepted: Vec<(AccountId, i64)>,
}

impl Course {
    fn of(scenario: &Scenario) -> Self {
        let terms = scenario.terms();
        let scheduled = Auction::default().decide(Command::Schedule { terms, now: start() }).unwrap();
        let (mut last, mut now) = (folded(&scheduled), start());
        let (mut steps, mut accepted) = (Vec::new(), Vec::new());
        for offer in &scenario.offers {
            let bidder = AccountId(Uuid::from_u128(offer.bidder));
            let oracle = scenario.oracle(&accepted);
            let maximum = scenario.amount(&offer.amount, &oracle, bidder);
            now += TimeDelta::milliseconds(offer.pause_ms);
            let (before, accepted_before) = (last.clone(), accepted.clone());
            let answer = last.decide(Command::PlaceBid { bidder, maximum, now });
            for event in answer.iter().flatten() {
                last.evolve(event);
            }
            if answer.is_ok() {
                accepted.push((bidder, maximum.minor()));
            }
            steps.push(Step { before, bidder, maximum, now, answer, after: last.clone(), accepted_before });
        }
        Self { scheduled, steps, last, accepted }
    }

    fn events(&self) -> impl Iterator<Item = &Event> {
        self.scheduled.iter().chain(self.steps.iter().flat_map(|step| step.answer.iter().flatten()))
    }

    /// The answer to closing it at its end.
    fn outcome(&self) -> (Outcome, Timestamp) {
        let end = live(&self.last).ends_at;
        match self.last.decide(Command::Close { now: end }).unwrap()[..] {
            [Event::AuctionClosed { outcome, ended_at }] => (outcome, ended_at),
            ref other => panic!("not an end: {other:?}"),
        }
    }
}

fn folded<'a>(events: impl IntoIterator<Item = &'a Event>) -> Auction {
    events.into_iter().fold(Auction::default(), |mut auction, event| {
        auction.evolve(event);
        auction
    })
}

fn live(auction: &Auction) -> &Live {
    match auction {
        Auction::Live(live) => live,
        other => panic!("not live: {other:?}"),
    }
}

fn json(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap()
}

/// Commands that would each be accepted by a live auction at some time.
fn any_command() -> impl Strategy<Value = Command> {
    (0..6_u8, 0..4_u128, 1..1_000_000_i64, 0..10_000_000_i64).prop_map(|(kind, who, minor, ms)| {
        let (account, now) = (AccountId(Uuid::from_u128(who)), start() + TimeDelta::milliseconds(ms));
        let maximum = Money::new(minor, Currency::USD).unwrap();
        match kind {
            0 => Command::Open { now },
            1 => Command::PlaceBid { bidder: account, maximum, now },
            2 => Command::BuyNow { buyer: account, now },
            3 => Command::Close { now },
            4 => Command::Cancel { by: Canceller::Seller, reason: String::new(), now },
            _ => Command::Cancel { by: Canceller::Staff(STAFF), reason: String::new(), now },
        }
    })
}

proptest! {
    #[test]
    fn the_standing_is_what_all_accepted_maxima_say(scenario in any_scenario()) {
        let course = Course::of(&scenario);
        let oracle = scenario.oracle(&course.accepted);
        let live = live(&course.last);
        let standing = live.standing.map(|it| {
            prop_assert_eq!(it.price, scenario.money(oracle.price()));
            prop_assert_eq!(it.runner_up_maximum.map(Money::minor), oracle.second());
            Ok((it.leader, it.leader_maximum.minor()))
        });
        prop_assert_eq!(standing.transpose()?, oracle.leader());
        prop_assert_eq!(live.bids as usize, course.accepted.len());
        prop_assert_eq!(live.reserve_met(), oracle.reserve_met());
    }

    #[test]
    fn an_event_tells_the_public_what_stands_after_it(scenario in any_scenario()) {
        for step in Course::of(&scenario).steps {
            for event in step.answer.iter().flatten() {
                if let Event::BidPlaced { bidder, maximum, standing, reserve_met, buy_now_available } = event {
                    let after = live(&step.after);
                    prop_assert_eq!((*bidder, *maximum), (step.bidder, step.maximum));
                    prop_assert_eq!(Some(*standing), after.standing);
                    prop_assert_eq!(*reserve_met, after.reserve_met());
                    prop_assert_eq!(*buy_now_available, after.buy_now_available());
                    let gone = scenario.reserve_above.is_none() || *reserve_met;
                    prop_assert_eq!(*buy_now_available, scenario.buy_now_above.is_some() && !gone);
                }
            }
        }
    }

    #[test]
    fn the_price_never_falls_and_never_passes_the_leaders_maximum(scenario in any_scenario()) {
        let mut price = scenario.start;
        for step in Course::of(&scenario).steps {
            if let Some(standing) = live(&step.after).standing {
                prop_assert!(standing.price.minor() >= price);
                prop_assert!(standing.price.minor() <= standing.leader_maximum.minor());
                price = standing.price.minor();
            }
        }
    }

    #[test]
    fn nobody_who_was_accepted_offered_more_than_the_leader_or_as_much_before(scenario in any_scenario()) {
        let course = Course::of(&scenario);
        if let Some(standing) = live(&course.last).standing {
            let leading = (standing.leader, standing.leader_maximum.minor());
            let first = course.accepted.iter().position(|&bid| bid == leading).unwrap();
            for (order, &(_, maximum)) in course.accepted.iter().enumerate() {
                prop_assert!(maximum < leading.1 || (maximum == leading.1 && order >= first));
            }
        }
    }

    #[test]
    fn a_refusal_changes_nothing_and_names_the_least_that_would_do(scenario in any_scenario()) {
        for step in Course::of(&scenario).steps {
            let Err(Error::BidTooLow { minimum, offered }) = step.answer else { continue };
            prop_assert_eq!(json(&step.before), json(&step.after));
            prop_assert_eq!(offered, step.maximum);
            let bid = |minor| Command::PlaceBid { bidder: step.bidder, maximum: scenario.money(minor), now: step.now };
            prop_assert!(step.before.decide(bid(minimum.minor())).is_ok());
            let below = scenario.money(minimum.minor() - 1);
            prop_assert_eq!(step.before.decide(bid(below.minor())), Err(Error::BidTooLow { minimum, offered: below }));
        }
    }

    #[test]
    fn a_bid_in_time_is_refused_exactly_below_the_minimum(scenario in any_scenario()) {
        for step in Course::of(&scenario).steps {
            let oracle = scenario.oracle(&step.accepted_before);
            let (minimum, ended_at) = (scenario.money(oracle.minimum(step.bidder)), live(&step.before).ends_at);
            let refusal = step.answer.err();
            if step.now >= ended_at {
                prop_assert_eq!(refusal, Some(Error::Ended { ended_at }));
            } else if step.maximum.minor() < minimum.minor() {
                prop_assert_eq!(refusal, Some(Error::BidTooLow { minimum, offered: step.maximum }));
            } else {
                prop_assert_eq!(refusal, None);
            }
        }
    }

    #[test]
    fn the_winner_is_the_highest_valid_bid_at_the_price_or_nobody_below_the_reserve(scenario in any_scenario()) {
        let course = Course::of(&scenario);
        let oracle = scenario.oracle(&course.accepted);
        let expected = match oracle.leader() {
            Some((winner, _)) if oracle.reserve_met() => Outcome::Won { winner, price: scenario.money(oracle.price()) },
            leader => Outcome::Unsold { reserve_missed: leader.is_some() },
        };
        prop_assert_eq!(course.outcome(), (expected, live(&course.last).ends_at));
    }

    #[test]
    fn the_end_only_moves_forward_and_only_to_one_window_from_an_accepted_bid(scenario in any_scenario()) {
        let window = TimeDelta::milliseconds(i64::from(scenario.window_ms));
        for step in Course::of(&scenario).steps {
            let (before, after) = (live(&step.before).ends_at, live(&step.after).ends_at);
            let late = before < step.now + window;
            prop_assert!(after >= before);
            prop_assert_eq!(after, if step.answer.is_ok() && late { step.now + window } else { before });
        }
    }

    #[test]
    fn forgotten_bids_leave_no_trace(scenario in any_scenario()) {
        let course = Course::of(&scenario);
        let mut without_refusals = folded(&course.scheduled);
        for Step { bidder, maximum, now, answer, .. } in &course.steps {
            if answer.is_ok() {
                let command = Command::PlaceBid { bidder: *bidder, maximum: *maximum, now: *now };
                let again = without_refusals.decide(command);
                prop_assert_eq!(&again, answer);
                for event in again.iter().flatten() {
                    without_refusals.evolve(event);
                }
            }
        }
        prop_assert_eq!(json(&without_refusals), json(&course.last));
    }

    #[test]
    fn nothing_happens_after_the_end(scenario in any_scenario(), commands in prop::collection::vec(any_command(), 12)) {
        let course = Course::of(&scenario);
        let end = live(&course.last).ends_at;
        let staff = Canceller::Staff(STAFF);
        let called_off = Command::Cancel { by: staff, reason: String::new(), now: end - TimeDelta::milliseconds(1) };
        for last in [Command::Close { now: end }, called_off] {
            let mut over = course.last.clone();
            for event in over.decide(last).unwrap() {
                over.evolve(&event);
            }
            for command in &commands {
                prop_assert!(over.decide(command.clone()).unwrap_or_default().is_empty(), "{command:?}");
            }
        }
    }

    #[test]
    fn events_and_states_survive_json_and_tell_the_same_story(scenario in any_scenario()) {
        let course = Course::of(&scenario);
        let (outcome, ended_at) = course.outcome();
        let mut live_state = course.last.clone();
        live_state.evolve(&Event::AuctionClosed { outcome, ended_at });
        let stored: Vec<String> = course
            .events()
            .chain([&Event::AuctionClosed { outcome, ended_at }])
            .map(|event| serde_json::to_string(event).unwrap())
            .collect();
        let read: Vec<Event> = stored.iter().map(|text| serde_json::from_str(text).unwrap()).collect();
        prop_assert!(read[..read.len() - 1].iter().eq(course.events()));
        prop_assert_eq!(json(&folded(&read)), json(&live_state));
        for state in course.steps.iter().map(|step| &step.after).chain([&live_state]) {
            let text = serde_json::to_string(state).unwrap();
            prop_assert_eq!(json(&serde_json::from_str::<Auction>(&text).unwrap()), json(state));
        }
    }
}
