//! Many at once on one thing: exactly what the rules allow comes of it.

use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};
use domain::{Currency, Money};
use futures::future;
use serde_json::json;
use tradepost_tests::bazaar::{Bazaar, DAY_MS, order_of};
use tradepost_tests::checker::{Log, assert_kept};
use tradepost_tests::client::Answer;
use tradepost_tests::history::{Change, Command, History, Intent, Outcome, Wanted};
use tradepost_tests::server::InProcess;

/// The kind of problem that a command was refused with; nothing if it was accepted.
fn slug(command: &Command) -> Option<&str> {
    match &command.attempts[0].outcome {
        Outcome::Accepted { .. } => None,
        Outcome::Refused { problem, .. } => problem["type"].as_str()?.strip_prefix("/problems/"),
        other => panic!("{} was answered {other:?}", command.key),
    }
}

fn cart(lines: &[(&str, u32)]) -> Intent {
    let wanted = |(id, quantity): &(&str, u32)| Wanted { listing: id.parse().unwrap(), quantity: *quantity };
    Intent::Checkout { lines: lines.iter().map(wanted).collect(), pay_now: false, points: 0 }
}

fn change(order: &str, what: Change) -> Intent {
    Intent::Change { order: order.parse().unwrap(), what }
}

async fn stock(bazaar: &Bazaar, listing: &str) -> i64 {
    let now = bazaar.wait(0).await;
    let shown = bazaar.buyer.get(&format!("/listings/{listing}")).since(now).send().await.expect(200).body;
    shown["stock"].as_i64().unwrap()
}

async fn log_of(server: &InProcess) -> Log {
    Log::read(&mut server.database.connect().await).await
}

#[tokio::test]
async fn of_fifty_withdrawals_at_once_exactly_those_that_are_covered_are_paid() {
    let server = InProcess::start().await;
    let ann = server.client().register("ann").await;
    ann.fund(10_000).await;
    let epoch = Instant::now();
    let withdraw = |number: usize| {
        let amount = Money::new(1_000, Currency::USD).unwrap();
        let method = "sandbox-succeeds".to_owned();
        Command::asked_once(&ann, format!("withdrawal-{number}"), Intent::Withdraw { amount, method }, epoch)
    };
    let history = History { commands: future::join_all((0..50).map(withdraw)).await };
    let counts = history.counts(None);
    assert_eq!((counts.accepted, counts.refused, counts.unknown_attempts), (10, 40, 0));
    let position = ann.advance(0).await;
    assert_eq!(ann.available(position).await, 0);
    // The deposit was made before, and has no key.
    assert_kept(&log_of(&server).await, &history);
}

#[tokio::test]
async fn of_two_carts_that_share_a_last_piece_one_is_bought_whole_and_the_other_not_at_all() {
    let bazaar = Bazaar::open().await;
    let other = bazaar.server.client().register("other").await;
    let epoch = Instant::now();
    let mut history = History::default();
    for round in 0..20 {
        // In both orders of the lines.
        let (mine, shared, theirs) = (bazaar.offer(1).await, bazaar.offer(1).await, bazaar.offer(1).await);
        let first = cart(&[(&mine, 1), (&shared, 1)]);
        let second = cart(&[(&shared, 1), (&theirs, 1)]);
        let (first, second) = future::join(
            Command::asked_once(&bazaar.buyer, format!("first-{round}"), first, epoch),
            Command::asked_once(&other, format!("second-{round}"), second, epoch),
        )
        .await;
        let (lost, kept) = match (slug(&first), slug(&second)) {
            (None, Some("out-of-stock")) => (&theirs, &mine),
            (Some("out-of-stock"), None) => (&mine, &theirs),
            neither => panic!("{neither:?}"),
        };
        assert_eq!((stock(&bazaar, lost).await, stock(&bazaar, kept).await, stock(&bazaar, &shared).await), (1, 0, 0));
        history.commands.extend([first, second]);
    }
    assert_kept(&log_of(&bazaar.server).await, &history);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_that_is_paid_at_the_instant_of_its_deadline_is_paid_or_expired_and_never_both() {
    const AT_ONCE: u32 = 12;
    let bazaar = Bazaar::open().await;
    bazaar.buyer.fund(100_000).await;
    let epoch = Instant::now();
    let goods = bazaar.offer(AT_ONCE).await;
    let (mut history, mut late) = (History::default(), 0);
    for round in 0..5 {
        let mut placed = Vec::new();
        for _ in 0..AT_ONCE {
            placed.push(bazaar.buyer.check_out(&[(&goods, 1)], "later").await.expect(201));
        }
        let deadline = |placed: &Answer| -> DateTime<Utc> { placed.body["pay_by"].as_str().unwrap().parse().unwrap() };
        let almost = deadline(&placed[0]) - TimeDelta::milliseconds(30);
        bazaar.staff.post("/sandbox/clock", &json!({ "set": almost })).send().await.expect(200);
        // The clock goes on by itself. Each is paid some milliseconds before or after its own deadline.
        let pay = placed.iter().zip(-6..).map(|(placed, offset_ms)| {
            let (order, clock) = (order_of(placed), &bazaar.server.app.clock);
            let moment = deadline(placed) + TimeDelta::milliseconds(offset_ms);
            let intent = Intent::Pay { order: order.parse().unwrap(), method: None };
            let paid = Command::asked_once(&bazaar.buyer, format!("pay-{round}-{order}"), intent, epoch);
            async move {
                while clock.now() < moment {
                    tokio::task::yield_now().await;
                }
                (order, paid.await)
            }
        });
        let paid = future::join_all(pay).await;
        bazaar.wait(1_000).await;
        for (order, paid) in paid {
            let expected = match slug(&paid) {
                None => ("paid".to_owned(), "funded".to_owned()),
                Some("payment-overdue") => ("cancelled".to_owned(), "voided".to_owned()),
                Some(other) => panic!("refused with {other}"),
            };
            assert_eq!(bazaar.statuses(&order).await, expected);
            late += i64::from(slug(&paid).is_some());
            if slug(&paid).is_none() {
                let path = format!("/orders/{order}/cancel");
                bazaar.buyer.post(&path, &json!({ "reason": "Once more." })).send().await.expect(200);
            }
            history.commands.push(paid);
        }
        assert_eq!((stock(&bazaar, &goods).await, bazaar.purses().await), (i64::from(AT_ONCE), (200_000, 0)));
    }
    eprintln!("{late} of {} payments were too late", history.commands.len());
    assert!(late > 0 && late < i64::try_from(history.commands.len()).unwrap(), "one side has never won");
    assert_kept(&log_of(&bazaar.server).await, &history);
}

#[tokio::test]
async fn of_a_release_and_a_dispute_at_the_same_instant_exactly_one_wins() {
    let bazaar = Bazaar::open().await;
    bazaar.buyer.fund(1_000_000).await;
    let epoch = Instant::now();
    let (mut history, mut released) = (History::default(), 0);
    for round in 0..20 {
        let order = bazaar.deliver().await;
        let confirm =
            Command::asked_once(&bazaar.buyer, format!("confirm-{round}"), change(&order, Change::Confirm), epoch);
        let dispute =
            Command::asked_once(&bazaar.seller, format!("dispute-{round}"), change(&order, Change::Dispute), epoch);
        // In every other round the dispute has a little head start.
        let confirm = async {
            if round % 2 == 1 {
                tokio::task::yield_now().await;
            }
            confirm.await
        };
        let (confirm, dispute) = future::join(confirm, dispute).await;
        let expected = match (slug(&confirm), slug(&dispute)) {
            (None, Some("wrong-escrow-status")) => ("completed".to_owned(), "released".to_owned()),
            (Some("wrong-escrow-status"), None) => ("disputed".to_owned(), "disputed".to_owned()),
            neither => panic!("{neither:?}"),
        };
        released += i64::from(slug(&confirm).is_none());
        assert_eq!(bazaar.statuses(&order).await, expected);
        history.commands.extend([confirm, dispute]);
    }
    eprintln!("{released} of 20 were released, the others disputed");
    assert!((1..20).contains(&released), "one side has never won");
    assert_eq!(bazaar.purses().await.1, 10_290 * released);
    assert_eq!(bazaar.book("escrow").await, 10_500 * (20 - released));
    assert_kept(&log_of(&bazaar.server).await, &history);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_dispute_and_the_end_of_the_inspection_at_the_same_instant_exactly_one_wins() {
    let bazaar = Bazaar::open().await;
    bazaar.buyer.fund(1_000_000).await;
    let epoch = Instant::now();
    let (mut history, mut released) = (History::default(), 0);
    for round in 0..12 {
        let order = bazaar.deliver().await;
        bazaar.wait(14 * DAY_MS - 60_000).await;
        let now = bazaar.wait(0).await;
        let escrow = bazaar.buyer.get(&format!("/escrow/{order}")).since(now).send().await.expect(200).body;
        let end: DateTime<Utc> = escrow["inspection_ends_at"].as_str().unwrap().parse().unwrap();
        let almost = end - TimeDelta::milliseconds(15);
        bazaar.staff.post("/sandbox/clock", &json!({ "set": almost })).send().await.expect(200);
        // The clock goes on by itself, to some milliseconds before the end or after it.
        while bazaar.server.app.clock.now() < end + TimeDelta::milliseconds(round - 8) {
            tokio::task::yield_now().await;
        }
        let dispute =
            Command::asked_once(&bazaar.buyer, format!("dispute-{round}"), change(&order, Change::Dispute), epoch)
                .await;
        let expected = match slug(&dispute) {
            None => ("disputed".to_owned(), "disputed".to_owned()),
            Some("wrong-escrow-status" | "inspection-over") => ("completed".to_owned(), "released".to_owned()),
            Some(other) => panic!("refused with {other}"),
        };
        released += i64::from(slug(&dispute).is_some());
        assert_eq!(bazaar.statuses(&order).await, expected);
        if slug(&dispute).is_none() {
            bazaar.resolve(&order, &json!({ "outcome": "refund" })).await.expect(200);
        }
        history.commands.push(dispute);
    }
    eprintln!("{released} of 12 disputes were too late");
    assert!((1..12).contains(&released), "one side has never won");
    assert_eq!((bazaar.purses().await.1, bazaar.book("escrow").await), (10_290 * released, 0));
    assert_kept(&log_of(&bazaar.server).await, &history);
}
