//! How does this auction stand, and what has just happened in it?
//!
//! Bidders appear under pseudonyms, numbered in the order of their first bids: "Bidder 3". Neither a reserve nor
//! anybody's maximum is here at all. Every event of an auction is also one public message in `activity`, which a live
//! feed sends on as it is.

use std::collections::BTreeMap;

use domain::auction::{self, Event, Outcome, Terms};
use domain::increments::Increments;
use domain::{AccountId, Aggregate, AuctionId, Currency, Money, Timestamp, store};
use eventstore::Position;
use eventstore::event::DomainEvent;
use eventstore::follower::{Batch, FollowError, Recorded};
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use sqlx::{FromRow, PgConnection, PgExecutor, QueryBuilder};
use uuid::Uuid;

use crate::page::{Page, PageError};
use crate::{ReadModel, Text, rows};

/// The read model.
pub const MODEL: ReadModel = ReadModel {
    name: "auction_board",
    next: "auction_board_next",
    version: 4,
    about: &[auction::Auction::TYPE, store::Store::TYPE],
    ddl: include_str!("auction_board.sql"),
    apply: |connection, batch| Box::pin(apply(connection, batch)),
};

/// An auction as it stands. `leader_id` and `winner_id` are for their owners' eyes only.
#[derive(Clone, Debug, FromRow, PartialEq, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "a row of the table, whose questions are independent of each other")]
pub struct Auction {
    /// The auction; its listing has the same id.
    pub id: Uuid,
    /// Who sells.
    pub seller_id: Uuid,
    /// The currency of all its amounts, which are minor units.
    pub currency: Text<Currency>,
    /// The lowest first bid.
    pub start_price: i64,
    /// The visible price; before the first bid the start price.
    pub price: i64,
    /// Whether there is a secret reserve.
    pub has_reserve: bool,
    /// Whether the price satisfies it; true without one.
    pub reserve_met: bool,
    /// At which price it can be bought at once; `None` once it cannot.
    pub buy_now_price: Option<i64>,
    /// By how much a bid must top the price.
    pub increments: Json<Increments>,
    /// Who leads.
    pub leader_id: Option<Uuid>,
    /// The pseudonym of who leads.
    pub leader_alias: Option<i32>,
    /// How many bids were accepted.
    pub bids: i32,
    /// How many accounts have bid.
    pub bidders: i32,
    /// The lowest maximum that a rival of the leader may bid.
    pub minimum_bid: i64,
    /// Since when it is known.
    pub scheduled_at: Timestamp,
    /// From when bids are taken.
    pub starts_at: Timestamp,
    /// When it ends, as it stands.
    pub ends_at: Timestamp,
    /// Where it is in its life.
    pub status: Status,
    /// How it ended, if it was closed.
    pub result: Option<Ending>,
    /// Whether it is unsold because the reserve was not met.
    pub reserve_missed: bool,
    /// What the winner pays.
    pub closing_price: Option<i64>,
    /// Who won.
    pub winner_id: Option<Uuid>,
    /// The pseudonym of who won; `None` for who bought at once without a bid.
    pub winner_alias: Option<i32>,
    /// When it was over, closed or cancelled.
    pub ended_at: Option<Timestamp>,
    /// Whether whoever had it did not pay, and nobody else has it.
    pub forfeited: bool,
    /// Who was offered a second chance last, for their eyes and the seller's.
    pub second_chance_id: Option<Uuid>,
    /// The pseudonym of who was offered it.
    pub second_chance_alias: Option<i32>,
    /// At which price, which is their highest bid and so as secret as that.
    pub second_chance_price: Option<i64>,
    /// If they take it before then.
    pub second_chance_until: Option<Timestamp>,
    /// The order that it led to, if they have taken it.
    pub second_chance_order: Option<Uuid>,
    /// How many events its stream has.
    pub version: i64,
    /// Where the last of them is.
    pub position: Position,
}

/// Where an auction is in its life.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Status {
    /// Its start has not been announced.
    Scheduled,
    /// It takes bids.
    Open,
    /// It ended, with a winner or without.
    Closed,
    /// It was called off.
    Cancelled,
}

/// How an auction ended.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Ending {
    /// The leader won.
    Won,
    /// Somebody took it at the buy-now price.
    BoughtNow,
    /// Nobody bid, or the highest bid stayed below the reserve.
    Unsold,
}

/// Who stands behind a pseudonym.
#[derive(Clone, Copy, Debug, FromRow, PartialEq, Serialize)]
struct Bidder {
    auction_id: Uuid,
    account_id: Uuid,
    alias: i32,
}

/// An accepted bid, as the public sees it.
#[derive(Clone, Copy, Debug, FromRow, PartialEq, Serialize)]
pub struct Bid {
    /// The auction.
    pub auction_id: Uuid,
    /// Its place in the auction's stream.
    pub sequence: i64,
    /// The pseudonym of who bid.
    pub alias: i32,
    /// The price after it, in minor units.
    pub price: i64,
    /// The pseudonym of who led after it.
    pub leading_alias: i32,
    /// When.
    pub placed_at: Timestamp,
}

/// What the public is told of one event. Serialises as a live feed sends it: `kind` and `data` beside the rest.
#[derive(Clone, Debug, FromRow, PartialEq, Serialize)]
pub struct Activity {
    /// The auction.
    pub auction_id: Uuid,
    /// Its place in the auction's stream, from 1 without gaps.
    pub sequence: i64,
    /// Its place in the log.
    pub position: Position,
    /// When.
    pub at: Timestamp,
    /// What.
    #[serde(flatten)]
    pub message: Json<Message>,
}

/// A public message. Bidders are pseudonyms.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind", content = "data")]
pub enum Message {
    /// There will be an auction.
    Scheduled {
        /// The lowest first bid.
        start_price: Money,
        /// At which price it can be bought at once, if it can.
        buy_now_price: Option<Money>,
        /// Whether there is a secret reserve.
        has_reserve: bool,
        /// From when bids are taken.
        starts_at: Timestamp,
        /// When it ends.
        ends_at: Timestamp,
    },
    /// It takes bids.
    Opened {},
    /// A bid was accepted.
    Bid {
        /// The price after it.
        price: Money,
        /// Who bid.
        bidder: i32,
        /// Who leads now.
        leader: i32,
        /// Who was outbid: who lost the lead, or the bidder if the bid did not take it; nobody at a first bid and when
        /// the leader raised.
        outbid: Option<i32>,
        /// How many bids there are.
        bids: i32,
        /// The lowest maximum that a rival of the leader may bid.
        minimum_bid: Money,
        /// Whether the price satisfies the reserve; true without one.
        reserve_met: bool,
        /// At which price it can still be bought at once.
        buy_now_price: Option<Money>,
    },
    /// A late bid moved the end.
    Extended {
        /// The new end.
        ends_at: Timestamp,
    },
    /// It ended.
    Closed {
        /// How.
        result: Ending,
        /// Whether it is unsold because the reserve was not met.
        reserve_missed: bool,
        /// What the winner pays.
        price: Option<Money>,
        /// Who won; nobody for who bought at once without a bid.
        winner: Option<i32>,
        /// When.
        ended_at: Timestamp,
    },
    /// It was called off.
    Cancelled {
        /// Why.
        reason: String,
    },
    /// Whoever had it did not pay.
    Forfeited {},
    /// Something is between the seller and a bidder, and none of the public's. It stands for its place in the stream,
    /// which has no gaps.
    Undisclosed {},
    /// Somebody else has it than whoever did not pay.
    SecondChanceAccepted {},
}

/// The auctions that a batch is about, and what it adds to their histories.
#[derive(Debug, Default)]
struct Board {
    auctions: BTreeMap<Uuid, Auction>,
    bidders: Bidders,
    bids: Vec<Bid>,
    activity: Vec<Activity>,
    /// Whose stores were closed, or opened again.
    sellers: BTreeMap<Uuid, Seller>,
}

#[derive(Debug, Serialize)]
struct Seller {
    seller_id: Uuid,
    closed: bool,
}

/// The pseudonyms that the batch is about.
#[derive(Debug, Default)]
struct Bidders {
    known: BTreeMap<(Uuid, Uuid), i32>,
    new: Vec<Bidder>,
}

async fn apply(connection: &mut PgConnection, batch: &Batch) -> Result<(), FollowError> {
    let mut board = Board::load(connection, &batch.events).await?;
    for recorded in &batch.events {
        board.take(recorded);
    }
    board.store(connection).await
}

impl Board {
    /// Takes one event in.
    fn take(&mut self, recorded: &Recorded) {
        if let DomainEvent::Store(AccountId(seller_id), event) = &recorded.event {
            let seller = |closed| (*seller_id, Seller { seller_id: *seller_id, closed });
            self.sellers.extend(event.closes().map(seller));
        }
        let DomainEvent::Auction(AuctionId(id), event) = &recorded.event else { return };
        if let Event::AuctionScheduled { terms } = event {
            self.auctions.insert(*id, Auction::scheduled(*id, terms, recorded.recorded_at));
        }
        let Some(auction) = self.auctions.get_mut(id) else { return };
        let (sequence, position, at) = (recorded.sequence, recorded.position, recorded.recorded_at);
        (auction.version, auction.position) = (sequence, position);
        let message = match event {
            Event::AuctionScheduled { terms } => Message::Scheduled {
                start_price: terms.start_price,
                buy_now_price: terms.buy_now_price,
                has_reserve: auction.has_reserve,
                starts_at: terms.starts_at,
                ends_at: terms.ends_at,
            },
            Event::AuctionOpened {} => {
                auction.status = Status::Open;
                Message::Opened {}
            }
            Event::BidPlaced { bidder, maximum: _, standing, reserve_met, buy_now_available } => {
                let alias = self.bidders.alias_or_new(auction, *bidder);
                let (leader, outbid) = auction.pass_lead(*bidder, alias, standing.leader);
                auction.bids += 1;
                auction.set_price(standing.price);
                auction.reserve_met = *reserve_met;
                auction.buy_now_price = auction.buy_now_price.filter(|_| *buy_now_available);
                let price = auction.price;
                self.bids.push(Bid { auction_id: *id, sequence, alias, price, leading_alias: leader, placed_at: at });
                Message::Bid {
                    price: standing.price,
                    bidder: alias,
                    leader,
                    outbid,
                    bids: auction.bids,
                    minimum_bid: auction.increments.topped(standing.price),
                    reserve_met: *reserve_met,
                    buy_now_price: auction.buy_now_price.and_then(|minor| Money::new(minor, auction.currency.0).ok()),
                }
            }
            Event::AuctionExtended { ends_at } => {
                auction.ends_at = *ends_at;
                Message::Extended { ends_at: *ends_at }
            }
            Event::AuctionClosed { outcome, ended_at } => auction.close(*outcome, *ended_at, &self.bidders),
            Event::AuctionCancelled { by: _, reason } => {
                auction.end(Status::Cancelled, at);
                Message::Cancelled { reason: reason.clone() }
            }
            Event::SaleForfeited { .. } => {
                auction.forfeited = true;
                Message::Forfeited {}
            }
            Event::SecondChanceOffered { bidder, price, until } => {
                let alias = self.bidders.alias(*id, *bidder);
                auction.offer_second_chance(*bidder, alias, *price, *until);
                Message::Undisclosed {}
            }
            Event::SecondChanceAccepted { order, .. } => {
                (auction.forfeited, auction.second_chance_order) = (false, Some(order.0));
                Message::SecondChanceAccepted {}
            }
        };
        self.activity.push(Activity { auction_id: *id, sequence, position, at, message: Json(message) });
    }

    async fn load(connection: &mut PgConnection, events: &[Recorded]) -> Result<Self, FollowError> {
        let ids = rows::touched(events, |event| match event {
            DomainEvent::Auction(id, _) => Some(id.0),
            _ => None,
        });
        if ids.is_empty() {
            return Ok(Self::default());
        }
        let auctions: Vec<Auction> =
            sqlx::query_as("select * from auctions where id = any($1)").bind(ids).fetch_all(&mut *connection).await?;
        let auctions = auctions.into_iter().map(|auction| (auction.id, auction)).collect();
        let bidders = Bidders::load(connection, events).await?;
        Ok(Self { auctions, bidders, ..Self::default() })
    }

    async fn store(self, connection: &mut PgConnection) -> Result<(), FollowError> {
        let statement = "
            insert into auctions select * from json_populate_recordset(null::auctions, $1::json)
            on conflict on constraint auctions_id do update set
                (price, reserve_met, buy_now_price, leader_id, leader_alias, bids, bidders, minimum_bid, ends_at, status,
                    result, reserve_missed, closing_price, winner_id, winner_alias, ended_at, forfeited,
                    second_chance_id, second_chance_alias, second_chance_price, second_chance_until,
                    second_chance_order, version, position)
                = row (excluded.price, excluded.reserve_met, excluded.buy_now_price, excluded.leader_id,
                    excluded.leader_alias, excluded.bids, excluded.bidders, excluded.minimum_bid, excluded.ends_at,
                    excluded.status, excluded.result, excluded.reserve_missed, excluded.closing_price,
                    excluded.winner_id, excluded.winner_alias, excluded.ended_at, excluded.forfeited,
                    excluded.second_chance_id, excluded.second_chance_alias, excluded.second_chance_price,
                    excluded.second_chance_until, excluded.second_chance_order, excluded.version, excluded.position)";
        rows::write(connection, statement, self.auctions.into_values()).await?;
        let statement = "insert into bidders select * from json_populate_recordset(null::bidders, $1::json)";
        rows::write(connection, statement, self.bidders.new).await?;
        let statement = "insert into bids select * from json_populate_recordset(null::bids, $1::json)";
        rows::write(connection, statement, self.bids).await?;
        let statement = "insert into activity select * from json_populate_recordset(null::activity, $1::json)";
        rows::write(connection, statement, self.activity).await?;
        let statement = "
            insert into sellers select * from json_populate_recordset(null::sellers, $1::json)
            on conflict on constraint sellers_id do update set closed = excluded.closed";
        Ok(rows::write(connection, statement, self.sellers.into_values()).await?)
    }
}

impl Bidders {
    fn alias(&self, auction: Uuid, account: AccountId) -> Option<i32> {
        self.known.get(&(auction, account.0)).copied()
    }

    fn alias_or_new(&mut self, auction: &mut Auction, account: AccountId) -> i32 {
        self.alias(auction.id, account).unwrap_or_else(|| {
            auction.bidders += 1;
            let alias = auction.bidders;
            self.known.insert((auction.id, account.0), alias);
            self.new.push(Bidder { auction_id: auction.id, account_id: account.0, alias });
            alias
        })
    }

    /// The pseudonyms of everybody who bids, wins or is offered something in these events, as far as they have one.
    async fn load(connection: &mut PgConnection, events: &[Recorded]) -> Result<Self, FollowError> {
        let (auctions, accounts): (Vec<Uuid>, Vec<Uuid>) = events
            .iter()
            .filter_map(|recorded| match &recorded.event {
                DomainEvent::Auction(id, event) => active_account(event).map(|account| (id.0, account.0)),
                _ => None,
            })
            .unzip();
        let bidders: Vec<Bidder> = sqlx::query_as(
            "select bidders.* from bidders
             join (select distinct * from unnest($1::uuid[], $2::uuid[])) as wanted (auction_id, account_id)
                using (auction_id, account_id)",
        )
        .bind(auctions)
        .bind(accounts)
        .fetch_all(connection)
        .await?;
        let known = bidders.iter().map(|bidder| ((bidder.auction_id, bidder.account_id), bidder.alias));
        Ok(Self { known: known.collect(), new: Vec::new() })
    }
}

/// Who bids, wins or is offered something in an event.
fn active_account(event: &Event) -> Option<AccountId> {
    match event {
        Event::BidPlaced { bidder, .. } | Event::SecondChanceOffered { bidder, .. } => Some(*bidder),
        Event::AuctionClosed { outcome, .. } => match outcome {
            Outcome::Won { winner, .. } | Outcome::BoughtNow { winner, .. } => Some(*winner),
            Outcome::Unsold { .. } => None,
        },
        Event::AuctionScheduled { .. }
        | Event::AuctionOpened {}
        | Event::AuctionExtended { .. }
        | Event::AuctionCancelled { .. }
        | Event::SaleForfeited { .. }
        | Event::SecondChanceAccepted { .. } => None,
    }
}

impl Auction {
    fn scheduled(id: Uuid, terms: &Terms, scheduled_at: Timestamp) -> Self {
        let start_price = terms.start_price.minor();
        let has_reserve = terms.reserve_price.is_some();
        Self {
            id,
            seller_id: terms.seller.0,
            currency: Text(terms.start_price.currency()),
            start_price,
            price: start_price,
            has_reserve,
            reserve_met: !has_reserve,
            buy_now_price: terms.buy_now_price.map(Money::minor),
            increments: Json(terms.increments.clone()),
            leader_id: None,
            leader_alias: None,
            bids: 0,
            bidders: 0,
            minimum_bid: start_price,
            scheduled_at,
            starts_at: terms.starts_at,
            ends_at: terms.ends_at,
            status: Status::Scheduled,
            result: None,
            reserve_missed: false,
            closing_price: None,
            winner_id: None,
            winner_alias: None,
            ended_at: None,
            forfeited: false,
            second_chance_id: None,
            second_chance_alias: None,
            second_chance_price: None,
            second_chance_until: None,
            second_chance_order: None,
            version: 0,
            position: 0,
        }
    }

    /// Who leads after a bid, and who was outbid by it.
    fn pass_lead(&mut self, bidder: AccountId, alias: i32, leader: AccountId) -> (i32, Option<i32>) {
        let former = self.leader_alias;
        if leader != bidder {
            // Whoever led before still leads.
            return (former.unwrap_or(alias), Some(alias));
        }
        (self.leader_id, self.leader_alias) = (Some(leader.0), Some(alias));
        (alias, former.filter(|former| *former != alias))
    }

    fn set_price(&mut self, price: Money) {
        self.price = price.minor();
        self.minimum_bid = self.increments.topped(price).minor();
    }

    fn close(&mut self, outcome: Outcome, ended_at: Timestamp, bidders: &Bidders) -> Message {
        let (result, reserve_missed, sale) = match outcome {
            Outcome::Won { winner, price } => (Ending::Won, false, Some((winner, price))),
            Outcome::BoughtNow { winner, price } => (Ending::BoughtNow, false, Some((winner, price))),
            Outcome::Unsold { reserve_missed } => (Ending::Unsold, reserve_missed, None),
        };
        self.end(Status::Closed, ended_at);
        self.result = Some(result);
        self.reserve_missed = reserve_missed;
        self.closing_price = sale.map(|(_, price)| price.minor());
        self.winner_id = sale.map(|(winner, _)| winner.0);
        self.winner_alias = sale.and_then(|(winner, _)| bidders.alias(self.id, winner));
        let price = sale.map(|(_, price)| price);
        Message::Closed { result, reserve_missed, price, winner: self.winner_alias, ended_at }
    }

    fn offer_second_chance(&mut self, bidder: AccountId, alias: Option<i32>, price: Money, until: Timestamp) {
        (self.second_chance_id, self.second_chance_alias) = (Some(bidder.0), alias);
        (self.second_chance_price, self.second_chance_until) = (Some(price.minor()), Some(until));
        self.second_chance_order = None;
    }

    fn end(&mut self, status: Status, ended_at: Timestamp) {
        self.status = status;
        self.ended_at = Some(ended_at);
        self.buy_now_price = None;
    }
}

/// One auction.
pub async fn get(executor: impl PgExecutor<'_>, auction: AuctionId) -> Result<Option<Auction>, sqlx::Error> {
    sqlx::query_as("select * from auction_board.auctions where id = $1").bind(auction.0).fetch_optional(executor).await
}

/// An auction, and what it is to somebody.
#[derive(Clone, Debug, FromRow, PartialEq)]
pub struct Seen {
    /// The auction.
    #[sqlx(flatten)]
    pub auction: Auction,
    /// The pseudonym of whoever looks, once they have bid.
    pub alias: Option<i32>,
    /// Whether it is shown to its parties and to staff alone, because its seller's store is closed.
    pub hidden: bool,
}

/// One auction, as `viewer` may see it.
pub async fn seen_by(
    executor: impl PgExecutor<'_>,
    auction: AuctionId,
    viewer: Option<AccountId>,
) -> Result<Option<Seen>, sqlx::Error> {
    sqlx::query_as(
        "select auctions.*, alias,
            exists (select from auction_board.sellers where sellers.seller_id = auctions.seller_id and closed) as hidden
         from auction_board.auctions left join auction_board.bidders on auction_id = id and account_id = $2
         where id = $1",
    )
    .bind(auction.0)
    .bind(viewer.map(|viewer| viewer.0))
    .fetch_optional(executor)
    .await
}

/// Which auctions to show. The default is all of them, but those of closed stores, which whoever bids in them finds by
/// their ids.
#[derive(Clone, Copy, Debug, Default)]
pub struct Filter {
    /// Where in their life.
    pub status: Option<Status>,
    /// Whose.
    pub seller: Option<AccountId>,
}

/// In which order.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Sort {
    /// By their end.
    #[default]
    EndingSoon,
    /// What was scheduled last, first.
    Newest,
}

/// Where a page ends: the sort key of its last row.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields, tag = "sort")]
pub enum Cursor {
    /// In [`Sort::EndingSoon`].
    EndingSoon {
        /// When it ends.
        ends_at: Timestamp,
        /// The auction.
        id: Uuid,
    },
    /// In [`Sort::Newest`].
    Newest {
        /// Since when it is known.
        scheduled_at: Timestamp,
        /// The auction.
        id: Uuid,
    },
}

/// Auctions after a cursor, at most `limit`.
pub async fn page(
    executor: impl PgExecutor<'_>,
    filter: Filter,
    sort: Sort,
    after: Option<Cursor>,
    limit: u32,
) -> Result<Page<Auction, Cursor>, PageError> {
    let mut query = QueryBuilder::new(
        "select * from auction_board.auctions
         where not seller_id = any(array(select seller_id from auction_board.sellers where closed))",
    );
    if let Some(status) = filter.status {
        query.push(" and status = ").push_bind(status);
    }
    if let Some(seller) = filter.seller {
        query.push(" and seller_id = ").push_bind(seller.0);
    }
    match (sort, after) {
        (_, None) => {}
        (Sort::EndingSoon, Some(Cursor::EndingSoon { ends_at, id })) => {
            query.push(" and (ends_at, id) > (").push_bind(ends_at).push(", ").push_bind(id).push(")");
        }
        (Sort::Newest, Some(Cursor::Newest { scheduled_at, id })) => {
            query.push(" and (scheduled_at, id) < (").push_bind(scheduled_at).push(", ").push_bind(id).push(")");
        }
        (Sort::EndingSoon | Sort::Newest, Some(_)) => return Err(PageError::CursorOfAnotherSort),
    }
    query.push(match sort {
        Sort::EndingSoon => " order by ends_at, id",
        Sort::Newest => " order by scheduled_at desc, id desc",
    });
    query.push(" limit ").push_bind(Page::<Auction, Cursor>::rows_to_fetch(limit));
    let auctions: Vec<Auction> = query.build_query_as().fetch_all(executor).await?;
    Ok(Page::of(auctions, limit, |&Auction { id, ends_at, scheduled_at, .. }| match sort {
        Sort::EndingSoon => Cursor::EndingSoon { ends_at, id },
        Sort::Newest => Cursor::Newest { scheduled_at, id },
    }))
}

/// The bids of an auction, newest first, from before the bid with sequence `before` on, at most `limit`.
pub async fn bids_page(
    executor: impl PgExecutor<'_>,
    auction: AuctionId,
    before: Option<i64>,
    limit: u32,
) -> Result<Page<Bid, i64>, sqlx::Error> {
    let bids = sqlx::query_as(
        "select * from auction_board.bids where auction_id = $1 and sequence < $2 order by sequence desc limit $3",
    )
    .bind(auction.0)
    .bind(before.unwrap_or(i64::MAX))
    .bind(Page::<Bid, i64>::rows_to_fetch(limit))
    .fetch_all(executor)
    .await?;
    Ok(Page::of(bids, limit, |bid: &Bid| bid.sequence))
}

/// The messages of an auction after the one with sequence `after`, in order, at most `limit`.
pub async fn activity_after(
    executor: impl PgExecutor<'_>,
    auction: AuctionId,
    after: i64,
    limit: u32,
) -> Result<Vec<Activity>, sqlx::Error> {
    sqlx::query_as(
        "select auction_id, sequence, position, at, json_build_object('kind', kind, 'data', data) as message
         from auction_board.activity where auction_id = $1 and sequence > $2 order by sequence limit $3",
    )
    .bind(auction.0)
    .bind(after)
    .bind(i64::from(limit))
    .fetch_all(executor)
    .await
}

/// The messages of all auctions after a position of the log, in order, at most `limit`.
pub async fn activity_since(
    executor: impl PgExecutor<'_>,
    position: Position,
    limit: u32,
) -> Result<Vec<Activity>, sqlx::Error> {
    sqlx::query_as(
        "select auction_id, sequence, position, at, json_build_object('kind', kind, 'data', data) as message
         from auction_board.activity where position > $1 order by position limit $2",
    )
    .bind(position)
    .bind(i64::from(limit))
    .fetch_all(executor)
    .await
}

/// The pseudonym of an account in an auction, once it has bid.
pub async fn alias_of(
    executor: impl PgExecutor<'_>,
    auction: AuctionId,
    account: AccountId,
) -> Result<Option<i32>, sqlx::Error> {
    sqlx::query_scalar("select alias from auction_board.bidders where auction_id = $1 and account_id = $2")
        .bind(auction.0)
        .bind(account.0)
        .fetch_optional(executor)
        .await
}

/// The account behind a pseudonym of an auction.
pub async fn account_of(
    executor: impl PgExecutor<'_>,
    auction: AuctionId,
    alias: i32,
) -> Result<Option<AccountId>, sqlx::Error> {
    let account: Option<Uuid> =
        sqlx::query_scalar("select account_id from auction_board.bidders where auction_id = $1 and alias = $2")
            .bind(auction.0)
            .bind(alias)
            .fetch_optional(executor)
            .await?;
    Ok(account.map(AccountId))
}

/// How many auctions bind an account: it sells in them, or leads.
pub async fn binding(executor: impl PgExecutor<'_>, account: AccountId) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(
        "select count(*) from auction_board.auctions where ended_at is null and (seller_id = $1 or leader_id = $1)",
    )
    .bind(account.0)
    .fetch_one(executor)
    .await
}

/// How an account stands in an auction. Its maximum is not here.
#[derive(Clone, Copy, Debug, Eq, FromRow, PartialEq, Serialize)]
pub struct Standing {
    /// Its pseudonym, once it has bid.
    pub alias: Option<i32>,
    /// Whether it leads, or led when the auction was over.
    pub leading: bool,
    /// Whether it has won or bought the item.
    pub won: bool,
}

/// How an account stands in an auction; nothing if there is no such auction.
pub async fn standing(
    executor: impl PgExecutor<'_>,
    auction: AuctionId,
    account: AccountId,
) -> Result<Option<Standing>, sqlx::Error> {
    sqlx::query_as(
        "select alias, coalesce(leader_id = $2, false) as leading, coalesce(winner_id = $2, false) as won
         from auction_board.auctions left join auction_board.bidders on auction_id = id and account_id = $2
         where id = $1",
    )
    .bind(auction.0)
    .bind(account.0)
    .fetch_optional(executor)
    .await
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::tests::history::recorded;

    const ANN: AccountId = AccountId(Uuid::from_u128(1));
    const BOB: AccountId = AccountId(Uuid::from_u128(2));

    fn usd(minor: i64) -> Money {
        Money::new(minor, Currency::USD).unwrap()
    }

    /// A board after these commands, whose messages it shows; amounts start at 10.00.
    fn board(reserve: Option<i64>, bids: &[(AccountId, i64)]) -> Board {
        let now = Timestamp::default();
        let terms = Terms {
            seller: AccountId(Uuid::nil()),
            start_price: usd(1_000),
            reserve_price: reserve.map(usd),
            buy_now_price: Some(usd(9_000)),
            starts_at: now,
            ends_at: now + TimeDelta::hours(1),
            soft_close_window_ms: 0,
            increments: Increments::standard(Currency::USD),
        };
        let mut auction = domain::auction::Auction::default();
        let mut board = Board::default();
        let mut commands = vec![domain::auction::Command::Schedule { terms, now }];
        commands.extend(bids.iter().map(|&(bidder, maximum)| domain::auction::Command::PlaceBid {
            bidder,
            maximum: usd(maximum),
            now,
        }));
        for command in commands {
            for event in domain::Aggregate::decide(&auction, command).unwrap() {
                domain::Aggregate::evolve(&mut auction, &event);
                let sequence = i64::try_from(board.activity.len()).unwrap() + 1;
                board.take(&recorded(sequence, DomainEvent::Auction(AuctionId(Uuid::nil()), event)));
            }
        }
        board
    }

    /// Bidder, leader, outbid and price of each bid's message.
    fn told(board: &Board) -> Vec<(i32, i32, Option<i32>, i64)> {
        let messages = board.activity.iter().map(|activity| &activity.message.0);
        messages
            .filter_map(|message| match message {
                Message::Bid { bidder, leader, outbid, price, .. } => Some((*bidder, *leader, *outbid, price.minor())),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn whoever_loses_the_lead_is_outbid() {
        let board = board(None, &[(ANN, 2_000), (BOB, 3_000), (ANN, 4_000)]);
        assert_eq!(told(&board), [(1, 1, None, 1_000), (2, 2, Some(1), 2_050), (1, 1, Some(2), 3_100)]);
    }

    #[test]
    fn whoever_does_not_take_the_lead_is_outbid_at_once() {
        assert_eq!(told(&board(None, &[(ANN, 2_000), (BOB, 1_500)])), [(1, 1, None, 1_000), (2, 1, Some(2), 1_550)]);
    }

    #[test]
    fn a_leader_who_raises_outbids_nobody() {
        assert_eq!(told(&board(None, &[(ANN, 2_000), (ANN, 3_000)])), [(1, 1, None, 1_000), (1, 1, None, 1_000)]);
    }

    #[test]
    fn the_next_bid_must_top_the_price_by_an_increment() {
        assert_eq!(board(None, &[]).auctions[&Uuid::nil()].minimum_bid, 1_000);
        assert_eq!(board(None, &[(ANN, 9_000)]).auctions[&Uuid::nil()].minimum_bid, 1_050);
    }

    #[test]
    fn buy_now_disappears_with_the_first_bid_or_with_the_reserve() {
        let price = |board: Board| board.auctions[&Uuid::nil()].buy_now_price;
        assert_eq!(price(board(None, &[])), Some(9_000));
        assert_eq!(price(board(None, &[(ANN, 1_000)])), None);
        assert_eq!(price(board(Some(5_000), &[(ANN, 1_000)])), Some(9_000));
        assert_eq!(price(board(Some(5_000), &[(ANN, 5_000)])), None);
    }

    #[test]
    fn no_message_tells_a_reserve_or_a_maximum() {
        let board = board(Some(8_765), &[(ANN, 6_543), (BOB, 7_654)]);
        let public = serde_json::to_string(&(&board.activity, &board.bids)).unwrap();
        for secret in ["8765", "6543", "7654", &ANN.to_string(), &BOB.to_string()] {
            assert!(!public.contains(secret), "{public}");
        }
        let auction = serde_json::to_string(&board.auctions[&Uuid::nil()]).unwrap();
        assert!(["8765", "6543", "7654"].iter().all(|secret| !auction.contains(secret)), "{auction}");
    }

    #[test]
    fn a_message_serialises_as_a_live_feed_sends_it() {
        let board = board(None, &[(ANN, 2_000)]);
        let json = serde_json::to_value(&board.activity[2]).unwrap();
        assert_eq!(json["kind"], "bid");
        assert_eq!(json["data"]["price"], serde_json::json!({ "amount": 1_000, "currency": "USD" }));
        let (kind, data) = (&json["kind"], &json["data"]);
        let message: Message = serde_json::from_value(serde_json::json!({ "kind": kind, "data": data })).unwrap();
        assert_eq!(message, board.activity[2].message.0);
    }
}
