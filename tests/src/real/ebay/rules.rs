//! The same auctions by the pure rules alone.

use chrono::{TimeDelta, TimeZone, Utc};
use domain::auction::{Auction, Command, Error, Outcome, Terms};
use domain::increments::Increments;
use domain::{AccountId, Aggregate, Currency, Money};
use uuid::Uuid;

use super::{Bid, Closing, Record};

/// Who wins, and at which price, if these bids and no others are made. A bid that the rules refuse changes nothing.
pub(super) fn outcome<'a>(record: &Record, bids: impl Iterator<Item = &'a Bid>) -> Option<Closing> {
    let usd = |cents| Money::new(cents, Currency::USD).ok();
    let starts_at = Utc.timestamp_opt(1_000_000_000, 0).single()?;
    let ends_at = starts_at + TimeDelta::milliseconds(record.lasts_ms());
    let terms = Terms {
        seller: AccountId(Uuid::nil()),
        start_price: usd(record.start_cents)?,
        reserve_price: None,
        buy_now_price: None,
        starts_at,
        ends_at,
        soft_close_window_ms: 0,
        increments: Increments::standard(Currency::USD),
    };
    let mut bidders: Vec<&str> = Vec::new();
    let mut auction = Auction::default();
    take(&mut auction, Command::Schedule { terms, now: starts_at }).ok()?;
    for bid in bids {
        let number = bidders.iter().position(|known| *known == bid.bidder).unwrap_or_else(|| {
            bidders.push(&bid.bidder);
            bidders.len() - 1
        });
        // Numbers from one: zero is the seller.
        let bidder = AccountId(Uuid::from_u128(number as u128 + 1));
        let now = starts_at + TimeDelta::milliseconds(bid.t_ms);
        // A refused bid is forgotten.
        let _ = take(&mut auction, Command::PlaceBid { bidder, maximum: usd(bid.cents)?, now });
    }
    take(&mut auction, Command::Close { now: ends_at }).ok()?;
    match auction {
        Auction::Closed { outcome: Outcome::Won { winner, price }, .. } => {
            let number = usize::try_from(winner.0.as_u128()).ok()?;
            let winner = bidders.get(number.checked_sub(1)?).map(|winner| (*winner).to_owned());
            Some(Closing { winner, price_cents: price.minor() })
        }
        Auction::Closed { .. } => Some(Closing { winner: None, price_cents: record.start_cents }),
        Auction::Unscheduled | Auction::Live(_) | Auction::Cancelled { .. } => None,
    }
}

fn take(auction: &mut Auction, command: Command) -> Result<(), Error> {
    auction.decide(command)?.iter().for_each(|event| auction.evolve(event));
    Ok(())
}
