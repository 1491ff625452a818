//! P4: an auction's winner is the highest valid bid accepted before its close. Told from what bidders were told, without
//! the rules of the domain: whoever was told that their bid counts, and has offered the most, wins; and no bid counts that
//! was placed at its end or later.

use std::collections::HashMap;

use domain::{AccountId, AuctionId, Money, auction};
use eventstore::event::DomainEvent;

use super::Log;
use crate::history::{History, Intent, Outcome};

pub(super) fn check(log: &Log, history: &History) -> Vec<String> {
    let mut highest = HashMap::<AuctionId, (i64, i64, Option<AccountId>)>::new();
    for command in &history.commands {
        let Intent::Bid { auction, maximum } = &command.intent else { continue };
        let accepted = command.attempts.iter().find_map(|attempt| match attempt.outcome {
            Outcome::Accepted { position, .. } => Some(position),
            _ => None,
        });
        let Some(position) = accepted else { continue };
        // Of equal ones the first counts.
        let bid = (maximum.minor(), -position, command.actor);
        let best = highest.entry(*auction).or_insert(bid);
        if (bid.0, bid.1) > (best.0, best.1) {
            *best = bid;
        }
    }
    let (mut broken, mut reserves, mut ends) = (Vec::new(), HashMap::new(), HashMap::new());
    for logged in &log.events {
        let (auction, outcome) = match logged.event.decode() {
            Ok(DomainEvent::Auction(id, auction::Event::AuctionScheduled { terms })) => {
                reserves.insert(id, terms.reserve_price.map_or(0, Money::minor));
                ends.insert(id, terms.ends_at);
                continue;
            }
            Ok(DomainEvent::Auction(id, auction::Event::AuctionExtended { ends_at })) => {
                ends.insert(id, ends_at);
                continue;
            }
            Ok(DomainEvent::Auction(id, auction::Event::BidPlaced { .. })) => {
                let (position, placed_at) = (logged.event.position, logged.event.recorded_at);
                if let Some(ended_at) = ends.get(&id).filter(|ends_at| placed_at >= **ends_at) {
                    broken
                        .push(format!("the bid at {position} was placed at {placed_at}, and {id} ended at {ended_at}"));
                }
                continue;
            }
            Ok(DomainEvent::Auction(id, auction::Event::AuctionClosed { outcome, .. })) => (id, outcome),
            _ => continue,
        };
        // What was bid before the load began is not written down; nor is anything that is lower then.
        let Some((maximum, _, Some(bidder))) = highest.get(&auction) else { continue };
        match outcome {
            auction::Outcome::Won { winner, .. } if *bidder != winner && !bid_more(log, auction, winner, *maximum) => {
                broken.push(format!("auction {auction} went to {winner}, and {bidder} had bid up to {maximum}"));
            }
            auction::Outcome::Unsold { .. } if *maximum >= reserves.get(&auction).copied().unwrap_or_default() => {
                broken.push(format!("auction {auction} went to nobody, and {bidder} had bid up to {maximum}"));
            }
            // Whoever buys it now has bid nothing.
            _ => {}
        }
    }
    broken
}

/// Whether somebody has bid at least as much without its being written down.
fn bid_more(log: &Log, auction: AuctionId, winner: AccountId, least: i64) -> bool {
    log.events.iter().filter(|logged| logged.event.aggregate_id.0 == auction.0).any(|logged| {
        matches!(
            logged.event.decode(),
            Ok(DomainEvent::Auction(_, auction::Event::BidPlaced { bidder, maximum, .. }))
                if bidder == winner && maximum.minor() >= least && logged.command().is_none_or(|(_, key)| key.is_empty())
        )
    })
}
