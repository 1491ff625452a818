//! How auctions came to their prices, bid by bid, and how they ended. Of maxima and reserves nothing is kept, of an
//! auction that is over neither.

use std::collections::BTreeMap;

use domain::auction::{Event, Outcome, Terms};
use domain::{Currency, Money, Timestamp};
use eventstore::event::DomainEvent;
use eventstore::follower::Recorded;
use serde::Serialize;
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use crate::{Text, rows};

#[derive(Debug, FromRow, Serialize)]
struct AuctionRow {
    auction_id: Uuid,
    seller_id: Uuid,
    currency: Text<Currency>,
    start_price: i64,
    has_reserve: bool,
    buy_now_price: Option<i64>,
    scheduled_at: Timestamp,
    starts_at: Timestamp,
    planned_end_at: Timestamp,
    ends_at: Timestamp,
    extensions: i64,
    bids: i64,
    price: Option<i64>,
    reserve_met: bool,
    result: Option<String>,
    reserve_missed: bool,
    closing_price: Option<i64>,
    winner_id: Option<Uuid>,
    ended_at: Option<Timestamp>,
    forfeits: i64,
    second_chances: i64,
    second_chances_taken: i64,
}

#[derive(Debug, Serialize)]
struct Bid {
    auction_id: Uuid,
    sequence: i64,
    bidder_id: Uuid,
    leader_id: Uuid,
    price: i64,
    reserve_met: bool,
    placed_at: Timestamp,
}

/// The auctions that a batch is about, and the bids in it.
#[derive(Debug, Default)]
pub(super) struct Auctions {
    auctions: BTreeMap<Uuid, AuctionRow>,
    bids: Vec<Bid>,
}

impl Auctions {
    pub(super) fn take(&mut self, auction_id: Uuid, event: &Event, recorded: &Recorded) {
        let at = recorded.recorded_at;
        if let Event::AuctionScheduled { terms } = event {
            self.auctions.insert(auction_id, AuctionRow::scheduled(auction_id, terms, at));
        }
        let Some(auction) = self.auctions.get_mut(&auction_id) else { return };
        match event {
            Event::AuctionScheduled { .. } | Event::AuctionOpened {} => {}
            Event::BidPlaced { bidder, maximum: _, standing, reserve_met, buy_now_available: _ } => {
                auction.bids += 1;
                (auction.price, auction.reserve_met) = (Some(standing.price.minor()), *reserve_met);
                self.bids.push(Bid {
                    auction_id,
                    sequence: recorded.sequence,
                    bidder_id: bidder.0,
                    leader_id: standing.leader.0,
                    price: standing.price.minor(),
                    reserve_met: *reserve_met,
                    placed_at: at,
                });
            }
            Event::AuctionExtended { ends_at } => {
                auction.extensions += 1;
                auction.ends_at = *ends_at;
            }
            Event::AuctionClosed { outcome, ended_at } => auction.close(outcome, *ended_at),
            Event::AuctionCancelled { .. } => auction.end("cancelled", at),
            Event::SaleForfeited { .. } => auction.forfeits += 1,
            Event::SecondChanceOffered { .. } => auction.second_chances += 1,
            Event::SecondChanceAccepted { .. } => auction.second_chances_taken += 1,
        }
    }

    pub(super) async fn load(connection: &mut PgConnection, events: &[Recorded]) -> Result<Self, sqlx::Error> {
        let ids = rows::touched(events, |event| match event {
            DomainEvent::Auction(id, _) => Some(id.0),
            _ => None,
        });
        if ids.is_empty() {
            return Ok(Self::default());
        }
        let auctions: Vec<AuctionRow> = sqlx::query_as("select * from auction_facts where auction_id = any($1)")
            .bind(ids)
            .fetch_all(connection)
            .await?;
        let auctions = auctions.into_iter().map(|auction| (auction.auction_id, auction)).collect();
        Ok(Self { auctions, bids: Vec::new() })
    }

    pub(super) async fn store(self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        let statement = "
            insert into auction_facts select * from json_populate_recordset(null::auction_facts, $1::json)
            on conflict on constraint auction_facts_auction do update set
                (ends_at, extensions, bids, price, reserve_met, result, reserve_missed, closing_price, winner_id,
                    ended_at, forfeits, second_chances, second_chances_taken)
                = row (excluded.ends_at, excluded.extensions, excluded.bids, excluded.price, excluded.reserve_met,
                    excluded.result, excluded.reserve_missed, excluded.closing_price, excluded.winner_id,
                    excluded.ended_at, excluded.forfeits, excluded.second_chances, excluded.second_chances_taken)";
        rows::write(connection, statement, self.auctions.into_values()).await?;
        let statement = "insert into bid_facts select * from json_populate_recordset(null::bid_facts, $1::json)";
        rows::write(connection, statement, self.bids).await
    }
}

impl AuctionRow {
    fn scheduled(auction_id: Uuid, terms: &Terms, scheduled_at: Timestamp) -> Self {
        Self {
            auction_id,
            seller_id: terms.seller.0,
            currency: Text(terms.start_price.currency()),
            start_price: terms.start_price.minor(),
            has_reserve: terms.reserve_price.is_some(),
            buy_now_price: terms.buy_now_price.map(Money::minor),
            scheduled_at,
            starts_at: terms.starts_at,
            planned_end_at: terms.ends_at,
            ends_at: terms.ends_at,
            extensions: 0,
            bids: 0,
            price: None,
            reserve_met: terms.reserve_price.is_none(),
            result: None,
            reserve_missed: false,
            closing_price: None,
            winner_id: None,
            ended_at: None,
            forfeits: 0,
            second_chances: 0,
            second_chances_taken: 0,
        }
    }

    fn close(&mut self, outcome: &Outcome, at: Timestamp) {
        let (result, sold) = match outcome {
            Outcome::Won { winner, price } => ("won", Some((winner, price))),
            Outcome::BoughtNow { winner, price } => ("bought_now", Some((winner, price))),
            Outcome::Unsold { reserve_missed } => {
                self.reserve_missed = *reserve_missed;
                ("unsold", None)
            }
        };
        self.end(result, at);
        (self.winner_id, self.closing_price) = (sold.map(|(who, _)| who.0), sold.map(|(_, price)| price.minor()));
    }

    fn end(&mut self, result: &str, at: Timestamp) {
        (self.result, self.ended_at) = (Some(result.to_owned()), Some(at));
    }
}
