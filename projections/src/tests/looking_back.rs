//! What anything was, and who is told what of it: as of any moment of a random history.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use domain::{AccountId, Aggregate};
use eventstore::history::{self, Search, StateError};
use eventstore::past;
use eventstore::secrets::RootSecret;
use eventstore::streams::{self, Snapshot};
use serde_json::Value;
use uuid::Uuid;

use super::database::TestDatabase;
use super::history::{History, Streams};
use crate::history::redaction::{HIDDEN, SEALED};
use crate::history::{Eyes, Lens, Reader, parties, tell};

/// What was there at one moment, live.
struct Moment {
    position: i64,
    /// The states and versions, by kind and id.
    things: BTreeMap<(&'static str, Uuid), (Value, i64)>,
}

fn take<A: Aggregate>(things: &mut BTreeMap<(&'static str, Uuid), (Value, i64)>, streams: &Streams<A>) {
    for (id, (state, version)) in &streams.0 {
        if *version > 0 {
            things.insert((A::TYPE, *id), (serde_json::to_value(state).unwrap(), version.cast_signed()));
        }
    }
}

fn moment(history: &History) -> Moment {
    let mut things = BTreeMap::new();
    take(&mut things, &history.accounts);
    take(&mut things, &history.address_books);
    take(&mut things, &history.auctions);
    take(&mut things, &history.chats);
    take(&mut things, &history.escrows);
    take(&mut things, &history.listings);
    take(&mut things, &history.orders);
    take(&mut things, &history.reviews);
    take(&mut things, &history.stocks);
    take(&mut things, &history.stores);
    take(&mut things, &history.subscriptions);
    take(&mut things, &history.wallets);
    let position = history.units.iter().map(|unit| unit.events.len()).sum::<usize>();
    Moment { position: i64::try_from(position).unwrap(), things }
}

#[tokio::test]
async fn what_anything_was_is_what_it_was_live_at_that_moment() {
    let mut history = History::random(61, 0);
    let mut moments = Vec::new();
    for _ in 0..8 {
        for _ in 0..250 {
            history.go_on();
        }
        moments.push(moment(&history));
    }
    let mut test = TestDatabase::create().await;
    let head = test.append(&history.units).await;
    let mut connection = test.pool.acquire().await.unwrap();
    let mut looked_at = 0;
    for (before, now) in moments.iter().zip(&moments[1..]) {
        // What has changed meanwhile, and some of the rest.
        for (number, ((kind, id), (state, version))) in now.things.iter().enumerate() {
            if before.things.get(&(kind, *id)).is_some_and(|(_, then)| then == version) && number % 7 != 0 {
                continue;
            }
            let place = history::place_at(&mut connection, kind, *id, now.position).await.unwrap().unwrap();
            assert_eq!(place.sequence, *version, "{kind} {id} at {}", now.position);
            let told = history::state(&mut connection, kind, *id, place.sequence, i64::MAX).await.unwrap();
            assert_eq!(told, *state, "{kind} {id} at {}", now.position);
            // Both at once.
            if let Some((then, version_then)) = before.things.get(&(kind, *id)) {
                let versions = (*version_then, *version);
                let both = history::states(&mut connection, kind, *id, versions, i64::MAX).await.unwrap();
                assert_eq!(both, (then.clone(), state.clone()), "{kind} {id}");
            } else {
                let place = history::place_at(&mut connection, kind, *id, before.position).await.unwrap();
                assert_eq!(place, None, "{kind} {id} was not there at {}", before.position);
            }
            looked_at += 1;
        }
    }
    assert!(looked_at > 500, "{looked_at}");
    // By time it is the same as by position.
    let events: Vec<_> = history.units.iter().flat_map(|unit| &unit.events).collect();
    assert_eq!(events.len(), usize::try_from(head).unwrap());
    for event in events.iter().step_by(97) {
        for time in [event.recorded_at, event.recorded_at - TimeDelta::milliseconds(1)] {
            let expected = events.iter().filter(|event| event.recorded_at <= time).count();
            let position = past::reached_at(&mut connection, time).await.unwrap();
            assert_eq!(position, i64::try_from(expected).unwrap(), "{time}");
        }
    }
    // And nobody ever sees half of a unit of work.
    let (mut ends, mut end) = (vec![0], 0);
    for unit in &history.units {
        end += i64::try_from(unit.events.len()).unwrap();
        ends.push(end);
    }
    for position in (0..=head).step_by(13) {
        let expected = ends.iter().rev().find(|end| **end <= position).unwrap();
        assert_eq!(past::whole_at(&mut connection, position).await.unwrap(), *expected, "{position}");
    }
}

#[tokio::test]
async fn a_snapshot_spares_reading_and_changes_no_state_of_the_past() {
    let history = History::random(62, 1_500);
    let mut test = TestDatabase::create().await;
    test.append(&history.units).await;
    let (id, (_, version)) = history.wallets.0.iter().max_by_key(|(_, (_, version))| *version).unwrap();
    let last = version.cast_signed();
    assert!(last > 8, "{last}");
    let mut connection = test.pool.acquire().await.unwrap();
    let mut expected = Vec::new();
    for version in 1..=last {
        expected.push(history::state(&mut connection, "wallet", *id, version, i64::MAX).await.unwrap());
    }
    let middle = last / 2;
    let last_event = history.units.iter().flat_map(|unit| &unit.events);
    let last_event = last_event
        .filter(|event| event.aggregate_id == *id && event.sequence == middle.unsigned_abs())
        .map(|event| event.event_id)
        .next()
        .unwrap();
    let state = expected[usize::try_from(middle - 1).unwrap()].to_string();
    let version = middle.unsigned_abs();
    let snapshot = Snapshot { aggregate_type: "wallet", id: *id, version, last_event, state };
    streams::keep(&mut *connection, &[snapshot]).await.unwrap();
    for (version, expected) in (1..=last).zip(&expected) {
        let state = history::state(&mut connection, "wallet", *id, version, i64::MAX).await.unwrap();
        assert_eq!(state, *expected, "{version}");
        // Events before the snapshot are not read; without it they are too many.
        let few = history::state(&mut connection, "wallet", *id, version, 3).await;
        let too_long = if version < middle { version > 3 } else { version - middle > 3 };
        assert_eq!(matches!(few, Err(StateError::TooLong { .. })), too_long, "{version}");
    }
}

#[tokio::test]
async fn a_search_finds_what_it_is_for_in_both_orders() {
    let history = History::random(63, 1_000);
    let mut test = TestDatabase::create().await;
    let head = test.append(&history.units).await;
    let events: Vec<_> = (1..).zip(history.units.iter().flat_map(|unit| &unit.events)).collect();
    for (kind, event_type, actor) in [
        (Some("auction"), None, None),
        (None, Some("BidPlaced"), None),
        (Some("wallet"), Some("DepositSettled"), Some("anonymous")),
        (None, None, Some("operator")),
        (None, None, None),
    ] {
        let wanted: Vec<i64> = events
            .iter()
            .filter(|(_, event)| kind.is_none_or(|kind| event.aggregate_type == kind))
            .filter(|(_, event)| event_type.is_none_or(|wanted| event.event_type == wanted))
            .filter(|(_, event)| actor.is_none_or(|actor| event.metadata.contains(&format!("\"{actor}\""))))
            .filter(|(position, _)| (100..=head - 50).contains(position))
            .map(|(position, _)| *position)
            .collect();
        for newest_first in [false, true] {
            let mut search = Search {
                aggregate_type: kind.map(str::to_owned),
                event_type: event_type.map(str::to_owned),
                actor: actor.map(str::to_owned),
                correlation: None,
                after: 99,
                upto: head - 50,
                newest_first,
            };
            let mut found = Vec::new();
            loop {
                let page = history::search(&test.pool, &search, 7).await.unwrap();
                assert!(page.records.len() <= 7);
                found.extend(page.records.iter().map(|record| record.position));
                match page.next {
                    None => break,
                    Some(next) if newest_first => search.upto = next - 1,
                    Some(next) => search.after = next,
                }
            }
            if newest_first {
                found.reverse();
            }
            assert_eq!(found, wanted, "{kind:?} {event_type:?} {actor:?} {newest_first}");
        }
    }
}

#[tokio::test]
async fn a_thing_concerns_whom_it_names_and_nobody_else() {
    let history = History::of_catalogue(64, 1_500);
    let mut test = TestDatabase::create().await;
    test.append(&history.units).await;
    let mut connection = test.pool.acquire().await.unwrap();
    let accounts: Vec<AccountId> = history.accounts.0.keys().map(|id| AccountId(*id)).collect();
    let mut streams: BTreeMap<(&str, Uuid), String> = BTreeMap::new();
    for event in history.units.iter().flat_map(|unit| &unit.events) {
        streams.entry((event.aggregate_type, event.aggregate_id)).or_default().push_str(&event.payload);
    }
    let mut with_parties = BTreeSet::new();
    for ((kind, id), payloads) in streams.iter().step_by(7) {
        for account in &accounts {
            let eyes = parties::eyes(&mut connection, kind, *id, *account).await.unwrap();
            let Some(Eyes::Party { circle, .. }) = eyes else { continue };
            with_parties.insert(*kind);
            // A stock is its listing's, and a payout its wallet's.
            let names = *id == account.0 || payloads.contains(&account.to_string());
            assert!(names || ["stock", "payout"].contains(kind), "{account} of {kind} {id}");
            assert!(circle.contains(account) && circle.len() <= 3, "{circle:?}");
        }
    }
    for kind in ["account", "auction", "chat", "escrow", "listing", "order", "stock", "wallet"] {
        assert!(with_parties.contains(kind), "nobody is a party of any {kind}");
    }
    for kind in ["broadcast", "category", "claim", "page", "plan", "view"] {
        assert!(!with_parties.contains(kind), "{kind}");
    }
}

#[tokio::test]
async fn a_sealed_field_opens_for_whom_it_is_about_until_that_person_is_forgotten() {
    let mut history = History::new(65);
    let (ann, bob) = (history.register(), history.register());
    let mut test = TestDatabase::create().await;
    test.append(&history.units).await;
    let secret = RootSecret::new(b"a secret for tests");
    let mut connection = test.pool.acquire().await.unwrap();
    let wrapping = test.database.wrapping().clone();
    let events = history::of_stream(&mut *connection, "account", ann.0, 0, 1, 10).await.unwrap();
    let party = |account: AccountId| Reader {
        account: Some(account),
        eyes: Eyes::Party { circle: [account].into(), sells: false },
    };
    let auditor = Reader { account: Some(bob), eyes: Eyes::Auditor };
    for (reader, email) in [(party(ann), "0@example.com"), (party(bob), SEALED), (auditor, SEALED)] {
        let told = tell(&mut connection, &wrapping, Some(&secret), &reader, &events).await.unwrap();
        let identity = &told[0].payload.value["AccountRegistered"]["identity"];
        assert_eq!((&identity["email"], &identity["password_hash"]), (&email.into(), &HIDDEN.into()), "{reader:?}");
        assert_eq!(told[0].sequence, 1);
        assert!(told[0].payload.hidden.contains(&"/AccountRegistered/identity/password_hash".to_owned()));
        // What it was then reads the same.
        let state = history::state(&mut connection, "account", ann.0, 1, 1).await.unwrap();
        let lens = Lens::upon(&mut connection, &wrapping, Some(&secret), &reader, &[ann.0], &[&state]).await.unwrap();
        let state = lens.redact("account", ann.0, state).value;
        assert_eq!(state["Registered"]["identity"]["email"], email, "{state}");
        assert_eq!(state["Registered"]["passwords"], HIDDEN, "{state}");
    }
    sqlx::query("delete from person_keys where account_id = $1").bind(ann.0).execute(&mut *connection).await.unwrap();
    let told = tell(&mut connection, &wrapping, Some(&secret), &party(ann), &events).await.unwrap();
    assert_eq!(told[0].payload.value["AccountRegistered"]["identity"]["email"], SEALED);
}
