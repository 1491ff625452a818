//! P7: a timer fires once, not before its time and not much later.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use chrono::TimeDelta;
use commands::timers::{SOLD_SHOWN_FOR, UNVERIFIED_FOR};
use domain::order::{CancelCause, Deadlines};
use domain::{
    Timestamp, account, auction, broadcast, charge, escrow, inbox, listing, order, order_group, payee, stock,
    subscription, wallet,
};
use eventstore::event::DomainEvent;

use super::{Log, Logged};

/// No timer fires later than this, while the system is healthy.
const PUNCTUAL: TimeDelta = TimeDelta::seconds(10);

/// When a marketplace was not well, so that timers may be late.
#[derive(Clone, Debug, Default)]
pub struct Outages {
    /// From when to when, one after another.
    pub spans: Vec<(Timestamp, Timestamp)>,
    /// How long at the most at times that nobody can tell, because the marketplace's clock was another.
    pub untimed: Duration,
}

impl Outages {
    /// When all was well that was needed at `due_at`: an outage that begins before a timer had its time to fire counts too.
    fn well(&self, due_at: Timestamp) -> Timestamp {
        self.spans.iter().fold(due_at, |well, (from, to)| if *from <= well + PUNCTUAL { well.max(*to) } else { well })
    }
}

/// What a timer has done: the first event of its unit of work, and the event that had set it.
struct Fired<'a> {
    set_by: &'a Logged,
    first: &'a Logged,
}

pub(super) fn check(log: &Log, outages: &Outages) -> Vec<String> {
    let latest = PUNCTUAL + TimeDelta::from_std(outages.untimed).unwrap_or_default();
    let mut broken = Vec::new();
    let mut seen = HashMap::new();
    let known = log.events.iter().map(|logged| logged.event.event_id.to_string()).collect::<HashSet<_>>();
    for first in log.units().filter_map(<[Logged]>::first).filter(|first| by_timer(first)) {
        if first.metadata.get("causation").is_none_or(|cause| !known.contains(cause)) {
            broken.push(format!("{} at {} was set by nothing", first.event.event_type, first.event.position));
        }
    }
    for Fired { set_by, first } in all(log) {
        let (cause, position) = (set_by.event.position, first.event.position);
        let what = first.event.event_type.as_str();
        if let Some(before) = seen.insert((cause, what), position) {
            broken.push(format!("{what} at {position} repeats what {before} has done because of {cause}"));
        }
        let due_at = match (set_by.event.decode(), first.event.decode()) {
            (Ok(event), Ok(first)) => due_at(&event, set_by.event.recorded_at, &first),
            _ => None,
        };
        let late =
            due_at.map(|due_at| (first.event.recorded_at - due_at, first.event.recorded_at - outages.well(due_at)));
        match late {
            Some((late, _)) if late < TimeDelta::zero() => {
                broken.push(format!("{what} at {position} is early by {}", -late));
            }
            Some((late, since)) if since > latest => {
                broken.push(format!("{what} at {position} is late by {late}, of which all was well for {since}"));
            }
            Some(_) => {}
            None => broken.push(format!("{what} at {position} is not what {cause} has set a timer for")),
        }
    }
    broken
}

/// How often timers have led to what.
pub(super) fn fired(log: &Log) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for fired in all(log) {
        *counts.entry(fired.first.event.event_type.clone()).or_default() += 1;
    }
    counts
}

fn all(log: &Log) -> impl Iterator<Item = Fired<'_>> {
    let by_id: HashMap<String, &Logged> =
        log.events.iter().map(|logged| (logged.event.event_id.to_string(), logged)).collect();
    log.units().filter_map(move |unit| {
        let first = unit.first()?;
        let set_by = first.metadata.get("causation").and_then(|cause| by_id.get(cause)).copied()?;
        // A provider that is asked again answers through the payments.
        let asked_again = || {
            let set_by = set_by.event.event_type.as_str();
            is_by(first, "process:payments") && (set_by.ends_with("Delayed") || set_by == "ChargeActionRequired")
        };
        (by_timer(first) || asked_again()).then_some(Fired { set_by, first })
    })
}

fn by_timer(first: &Logged) -> bool {
    is_by(first, "process:timers")
}

fn is_by(first: &Logged, actor: &str) -> bool {
    first.metadata.get("actor").is_some_and(|by| by == actor)
}

/// When a timer was due that this event had set, at that time, and that has led to that one.
fn due_at(set_by: &DomainEvent, set_at: Timestamp, first: &DomainEvent) -> Option<Timestamp> {
    use DomainEvent as D;
    use account::Event as P;
    use auction::Event as A;
    use broadcast::Event as B;
    use charge::Event as C;
    use escrow::Event as E;
    use inbox::Event as I;
    use listing::Event as L;
    use order::Event as O;
    use order_group::Event as G;
    use payee::Event as Y;
    use stock::Event as K;
    use subscription::Event as S;
    use wallet::Event as W;
    let due_at = match (set_by, first) {
        (D::Auction(_, A::AuctionScheduled { terms }), D::Auction(_, A::AuctionOpened {})) => terms.starts_at,
        (D::Auction(_, A::AuctionScheduled { terms }), D::Auction(_, A::AuctionClosed { .. })) => terms.ends_at,
        (D::Auction(_, A::AuctionExtended { ends_at }), D::Auction(_, A::AuctionClosed { .. }))
        | (D::Escrow(_, E::InspectionStarted { ends_at, .. }), D::Escrow(_, E::EscrowReleased { .. })) => *ends_at,
        (D::OrderGroup(_, G::OrderGroupPlaced { pay_by, .. }), D::OrderGroup(_, G::OrderGroupExpired {})) => *pay_by,
        (D::Escrow(_, E::EscrowFunded { ship_by, .. }), D::Order(_, O::OrderCancelled { .. })) => *ship_by,
        (D::Order(_, O::OrderShipped { ask_at, .. }), D::Order(_, O::DeliveryQuestioned {})) => (*ask_at)?,
        (D::Order(_, O::OrderShipped { dispute_at, .. }), D::Escrow(_, E::EscrowDisputed { .. })) => (*dispute_at)?,
        (D::Order(_, O::OrderPlaced { terms }), D::Order(_, O::OrderCancelled { cause })) => {
            let Deadlines { confirm_by, ship_by, deliver_by } = terms.payment.deadlines()?;
            match cause {
                CancelCause::NotConfirmed => confirm_by,
                CancelCause::NotShipped => ship_by,
                CancelCause::NotDelivered => deliver_by,
                _ => return None,
            }
        }
        (D::Order(_, O::GuestDismissed { forget_at }), D::Order(_, O::GuestForgotten {})) => *forget_at,
        (
            D::Escrow(_, E::InspectionStarted { remind_at, .. } | E::InspectionReminded { remind_at }),
            D::Escrow(_, E::InspectionReminded { .. }),
        ) => (*remind_at)?,
        (D::Escrow(_, E::EscrowDisputed { expires_at, .. }), D::Escrow(_, E::EscrowRefunded { .. })) => *expires_at,
        (
            D::Inbox(_, I::NotificationRead { clean_up_at, .. } | I::AllRead { clean_up_at, .. }),
            D::Inbox(_, I::ReadCleanedUp { .. }),
        )
        | (D::Inbox(_, I::ReadCleanedUp { clean_up_at, .. }), D::Inbox(_, I::ReadCleanedUp { .. })) => (*clean_up_at)?,
        (D::Broadcast(_, B::BroadcastSent { until, .. }), D::Broadcast(_, B::BroadcastWithdrawn {})) => *until,
        (D::Account(_, P::AccountRegistered { .. }), D::Claim(..)) => set_at + UNVERIFIED_FOR,
        (
            D::Stock(_, K::StockSoldOut {}),
            D::Listing(_, L::ListingArchived { .. }) | D::Stock(_, K::StockPutAway {}),
        ) => set_at + SOLD_SHOWN_FOR,
        (D::Wallet(_, W::WithdrawalDelayed { check_at, .. }), D::Wallet(..))
        // What the provider calls it may be noted first.
        | (
            D::Charge(
                _,
                C::ChargeDelayed { check_at, .. }
                | C::ChargeActionRequired { check_at, .. }
                | C::ChargeRefundDelayed { check_at, .. },
            ),
            D::Charge(..) | D::Correlation(..),
        ) => *check_at,
        (D::Charge(_, C::ChargeRefundFailed { retry_at, .. }), D::Charge(_, C::ChargeRefundRetried { .. })) => {
            (*retry_at)?
        }
        // Whatever its bank has decided, an order goes on with time of its own.
        (
            D::Escrow(_, E::ChargebackReturned { course, .. } | E::ChargebackSettled { course: Some(course), .. }),
            D::Order(..) | D::Escrow(..),
        ) => match course {
            escrow::Course::Funded { ship_by, .. } => *ship_by,
            escrow::Course::Inspection { ends_at, remind_at } => match first {
                D::Escrow(_, E::InspectionReminded { .. }) => (*remind_at)?,
                _ => *ends_at,
            },
            escrow::Course::Disputed { expires_at } => *expires_at,
        },
        (
            D::Subscription(
                _,
                S::SubscriptionPurchased { period, .. }
                | S::SubscriptionUpgraded { period, .. }
                | S::SubscriptionRenewed { period, .. },
            ),
            D::Subscription(_, first),
        ) => match first {
            S::PeriodRecognised { .. } => period.ends_at,
            S::RenewalReminded { .. } => period.remind_at(),
            _ => return None,
        },
        (D::Subscription(_, S::RenewalFailed { retry_at, .. }), D::Subscription(..)) => *retry_at,
        (D::Payee(_, Y::PlanSet { due_at, .. } | Y::PayoutDone { due_at, .. }), D::Wallet(..) | D::Payee(..)) => {
            (*due_at)?
        }
        (D::Payee(_, Y::PayoutDue { at, .. }), D::Wallet(..) | D::Payee(..)) => *at,
        _ => return None,
    };
    Some(due_at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outages_that_leave_a_timer_no_time_between_them_count_as_one() {
        let at = |second: i64| Timestamp::default() + TimeDelta::seconds(second);
        let outages =
            Outages { spans: vec![(at(0), at(20)), (at(25), at(40)), (at(60), at(70))], ..Outages::default() };
        assert_eq!([5, 22, 45, 55, 65].map(|second| outages.well(at(second))), [40, 40, 45, 70, 70].map(at));
    }
}
