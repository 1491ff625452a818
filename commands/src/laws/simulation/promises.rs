//! What is promised, held against the log and what callers were answered.

use std::sync::{Arc, Mutex, PoisonError};

use domain::auction::{Event, Outcome as Closing};
use domain::{AuctionId, ChargeId};
use eventstore::Position;
use eventstore::log::Digest;

use super::super::money::effect;
use super::super::*;
use super::log::{Log, Stored};
use crate::timers::{Change, Changes};

/// Something that was asked for.
#[derive(Debug, Default)]
pub(super) struct Call {
    /// The key under which it was asked for; none of a message of the provider, whose events do not tell of it.
    pub(super) key: Option<Digest>,
    /// To how many events it was decided, each time that it was.
    pub(super) decided: Arc<Mutex<BTreeSet<usize>>>,
    /// What came of it, once that is known.
    pub(super) ended: Option<Ended>,
}

/// A definite answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended {
    /// What it rests on.
    pub(super) position: Position,
    /// Where the head was when it was asked for, this time.
    pub(super) asked_at: Position,
    /// Where the head was when the answer came.
    pub(super) head: Position,
    pub(super) refused: bool,
    pub(super) replayed: bool,
}

/// What has been seen so far.
#[derive(Debug, Default)]
pub(super) struct Promises {
    /// How many calls, and keys, have been looked at.
    answered: BTreeSet<usize>,
    seen_keys: usize,
    keys: BTreeSet<Digest>,
    /// From when on an event lets a timer fire: the earliest that it has set.
    due: BTreeMap<String, Timestamp>,
    /// What timers have done: because of which event, what, to whom.
    fired: BTreeSet<(String, String, Uuid)>,
    /// Everything that has had an effect: what kind, of which operation.
    effects: BTreeSet<(&'static str, Uuid)>,
    auctions: BTreeMap<AuctionId, Bidding>,
}

/// What was bid, in order, and when that ends.
#[derive(Debug, Default)]
struct Bidding {
    bids: Vec<(AccountId, i64)>,
    ends_at: Timestamp,
}

impl Bidding {
    /// The highest bid, the earlier one on a tie.
    fn highest(&self) -> Option<(AccountId, i64)> {
        self.bids.iter().copied().reduce(|best, bid| if bid.1 > best.1 { bid } else { best })
    }

    /// The highest bid of anybody else.
    fn second(&self, winner: AccountId) -> Option<i64> {
        self.bids.iter().filter(|(bidder, _)| *bidder != winner).map(|(_, minor)| *minor).max()
    }
}

impl Promises {
    /// P1, P7: a command with a key is carried out once.
    pub(super) fn keys(&mut self, log: &Log) {
        for key in log.accepted(self.seen_keys) {
            self.seen_keys += 1;
            assert!(self.keys.insert(key), "P1: a key is accepted twice");
        }
    }

    /// Looks at a unit of work that was committed.
    pub(super) fn unit(&mut self, unit: &[Stored]) {
        let first = &unit[0];
        if first.metadata.get("actor").is_some_and(|actor| actor == "process:timers") {
            let cause = first.metadata["causation"].clone();
            let due_at = self.due.get(&cause).expect("P7: a timer that nothing has set");
            assert!(first.event.recorded_at >= *due_at, "P7: a timer fires early: {cause} is due at {due_at}");
            let what = (cause, first.event.event_type.clone(), first.event.aggregate_id.0);
            assert!(self.fired.insert(what.clone()), "P7: a timer has fired twice: {what:?}");
        }
        let recorded: Vec<_> = unit.iter().map(|stored| read(&stored.event)).collect();
        for change in Changes::of(&recorded).0.into_values() {
            if let Change::Set(due_at, set_by) | Change::Hastened(due_at, set_by) = change {
                let earliest = self.due.entry(set_by.to_string()).or_insert(due_at);
                *earliest = due_at.min(*earliest);
            }
        }
        for recorded in recorded {
            if let Some((what, operation)) = effect(&recorded.event) {
                assert!(self.effects.insert((what, operation)), "P1: {what} twice: {operation}");
            }
            if let DomainEvent::Auction(auction, event) = &recorded.event {
                self.bidding(*auction, event, recorded.recorded_at);
            }
        }
    }

    /// P4: the winner is the highest bid that was accepted before the close.
    fn bidding(&mut self, auction: AuctionId, event: &Event, now: Timestamp) {
        let bidding = self.auctions.entry(auction).or_default();
        match event {
            Event::AuctionScheduled { terms } => bidding.ends_at = terms.ends_at,
            Event::AuctionExtended { ends_at } => bidding.ends_at = *ends_at,
            Event::BidPlaced { bidder, maximum, .. } => {
                assert!(now < bidding.ends_at, "P4: a bid after the close");
                bidding.bids.push((*bidder, maximum.minor()));
            }
            Event::AuctionClosed { outcome: Closing::Won { winner, price }, .. } => {
                assert!(now >= bidding.ends_at, "P4: closed before its end");
                let (highest, maximum) = bidding.highest().expect("a bid");
                assert_eq!(*winner, highest, "P4: the highest bid wins");
                let least = bidding.second(highest).unwrap_or(0);
                assert!((least..=maximum).contains(&price.minor()), "P4: {price} of {least} to {maximum}");
            }
            Event::AuctionClosed { outcome: Closing::Unsold { .. }, .. } => {
                assert!(now >= bidding.ends_at, "P4: closed before its end");
                assert_eq!(bidding.highest(), None, "P4: a bid has lost against nobody");
            }
            _ => {}
        }
    }

    /// P0: nobody is answered before what the answer rests on is committed, and it rests on everything before the question.
    pub(super) fn answers(&mut self, calls: &[Call]) {
        for (number, call) in calls.iter().enumerate() {
            let Some(ended) = call.ended else { continue };
            if !self.answered.insert(number) {
                continue;
            }
            assert!(ended.position <= ended.head, "P0: call {number} was answered before its commit: {ended:?}");
            assert!(
                ended.replayed || ended.position >= ended.asked_at,
                "P0: call {number} has not seen all: {ended:?}"
            );
        }
    }

    /// Every charge that was asked for.
    pub(super) fn charges(&self) -> Vec<ChargeId> {
        let requested = self.effects.iter().filter(|(what, _)| *what == "charge requested");
        requested.map(|(_, charge)| ChargeId(*charge)).collect()
    }
}

/// P1: what was accepted is in the log once, whole, under its key and where its answer says, and what was refused is not.
pub(super) fn kept(calls: &[Call], log: &Log) {
    let mut units: BTreeMap<usize, Vec<Position>> = BTreeMap::new();
    for stored in log.after(0) {
        if let Some(call) = stored.metadata.get("correlation") {
            units.entry(call.parse().unwrap()).or_default().push(stored.event.commit_position);
        }
    }
    for (number, call) in calls.iter().enumerate() {
        let Some(key) = call.key else { continue };
        let mut there = units.remove(&number).unwrap_or_default();
        let (events, known) = (there.len(), log.accepted_at(&key));
        there.dedup();
        let ended = call.ended.expect("an answer");
        if ended.refused {
            assert!(there.is_empty(), "P1: call {number} was refused and is there: {there:?}");
            assert_eq!(known, None, "P1: call {number} was refused, and its key is known");
        } else {
            assert!(there.is_empty() || there == [ended.position], "P1: call {number} is at {there:?}: {ended:?}");
            assert_eq!(known, Some(ended.position), "P1: call {number} is known as another: {ended:?}");
            let decided = call.decided.lock().unwrap_or_else(PoisonError::into_inner);
            assert!(decided.contains(&events), "P1: of call {number} there are {events} events: {decided:?}");
        }
    }
    assert!(units.is_empty(), "P1: of calls that nobody made: {units:?}");
}
