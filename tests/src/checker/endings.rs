//! P7 from the other side: what a clock, a provider or a process brings to its end has come to it once the times of all of
//! it are over. Told from the log alone, where whatever was forgotten on the way is still seen to be missing.

use std::collections::BTreeMap;

use domain::{auction, charge, order, wallet};
use eventstore::Position;
use eventstore::event::DomainEvent;

use super::Log;

pub(super) fn check(log: &Log) -> Vec<String> {
    let mut open = BTreeMap::new();
    for logged in &log.events {
        // An event that cannot be read is reported where it is decided again.
        match logged.event.decode().ok().and_then(|event| step(&event)) {
            Some(Step::Begins(what)) => drop(open.insert(what, logged.event.position)),
            Some(Step::Ends(what)) => drop(open.remove(&what)),
            None => {}
        }
    }
    open.into_iter().map(|(what, since): (String, Position)| format!("{what} is open since {since}")).collect()
}

/// What an event does to something that must end.
enum Step {
    Begins(String),
    Ends(String),
}

fn step(event: &DomainEvent) -> Option<Step> {
    use Step::{Begins, Ends};
    use auction::Event as A;
    use charge::Event as C;
    use order::Event as O;
    use wallet::Event as W;
    let step = match event {
        DomainEvent::Auction(id, A::AuctionScheduled { .. }) => Begins(format!("auction {id}")),
        DomainEvent::Auction(id, A::AuctionClosed { .. } | A::AuctionCancelled { .. }) => Ends(format!("auction {id}")),
        DomainEvent::Order(id, O::OrderPlaced { .. }) => Begins(format!("order {id}")),
        // What a guest has confirmed waits for its seller, who alone knows whether it was sent and paid at the door.
        DomainEvent::Order(
            id,
            O::OrderCompleted { .. } | O::OrderCancelled { .. } | O::OrderRefunded { .. } | O::OrderConfirmed { .. },
        ) => Ends(format!("order {id}")),
        DomainEvent::Wallet(_, W::DepositRequested { deposit, .. }) => Begins(format!("deposit {deposit}")),
        DomainEvent::Wallet(_, W::DepositSettled { deposit, .. } | W::DepositFailed { deposit, .. }) => {
            Ends(format!("deposit {deposit}"))
        }
        DomainEvent::Wallet(_, W::WithdrawalRequested { withdrawal, .. }) => Begins(format!("withdrawal {withdrawal}")),
        DomainEvent::Wallet(_, W::WithdrawalPaid { withdrawal, .. } | W::WithdrawalFailed { withdrawal, .. }) => {
            Ends(format!("withdrawal {withdrawal}"))
        }
        DomainEvent::Charge(id, C::ChargeRequested { .. }) => Begins(format!("charge {id}")),
        DomainEvent::Charge(id, C::ChargeSucceeded { .. } | C::ChargeFailed { .. }) => Ends(format!("charge {id}")),
        DomainEvent::Charge(
            _,
            C::ChargeRefundRequested { refund, .. }
            // It had been there, and has come back.
            | C::ChargeRefundFailed { refund, retry_at: Some(_), .. },
        ) => Begins(format!("refund {refund}")),
        DomainEvent::Charge(_, C::ChargeRefunded { refund, .. } | C::ChargeRefundFailed { refund, .. }) => {
            Ends(format!("refund {refund}"))
        }
        _ => return None,
    };
    Some(step)
}
