//! The auctions through HTTP: sellers and bidders are accounts, time is the sandbox's clock.
//!
//! All auctions start at the same time. The clock is set to each time at which somebody bids, and goes on by itself
//! while the bids are on their way; so that this cannot carry a bid beyond the end, every auction lasts a minute longer
//! than recorded, and what was recorded at or after its end is sent after that minute.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use api::config::Config;
use chrono::{DateTime, TimeDelta, Utc};
use futures::future::try_join_all;
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::json;

use super::{Bid, Sale};
use crate::client::Client;
use crate::database::TestDatabase;
use crate::market::usd;
use crate::real::{Failure, bar, unexpected};
use crate::server::InProcess;

/// How much longer than recorded an auction lasts.
const GRACE_MS: i64 = 60_000;
/// From now until the common start: time to write the auctions down.
const LEAD: TimeDelta = TimeDelta::hours(1);
/// Requests under way at once. The server turns away whoever makes it hash too many passwords.
const AT_ONCE: usize = 16;

/// What came of a sale.
#[derive(Clone, Debug)]
pub struct Played {
    /// The sale.
    pub sale: Sale,
    /// The id of its auction.
    pub id: String,
    /// The places of the accepted bids.
    pub accepted: Vec<usize>,
    /// The bids that the rules refused.
    pub refused: Vec<Refused>,
    /// How it ended.
    pub result: Closing,
}

/// How an auction ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Closing {
    /// Who won, if anybody did.
    pub winner: Option<String>,
    /// The closing price.
    pub price_cents: i64,
}

/// A bid that the rules refused.
#[derive(Clone, Debug)]
pub struct Refused {
    /// The bid.
    pub bid: Bid,
    /// Which rule: the kind of problem.
    pub rule: String,
    /// The rule's own words, with its numbers.
    pub detail: String,
}

/// Replays sales on a database of its own on the server at `server`, which it leaves there.
pub(super) async fn play(sales: Vec<Sale>, server: &str) -> Result<(Vec<Played>, TestDatabase), Failure> {
    let mut settings = Config::default();
    // They ended on the second.
    settings.auctions.soft_close_window_s = 0;
    // Tokens follow real time, and a long replay must not outlive them.
    settings.auth.access_token_ttl_s = 86_400;
    let marketplace = InProcess::start_on(TestDatabase::fresh_on(server).await, settings).await;
    let played = on(&marketplace.client(), sales).await;
    let database = marketplace.stop().await;
    Ok((played?, database))
}

async fn on(anonymous: &Client, sales: Vec<Sale>) -> Result<Vec<Played>, Failure> {
    let seller = anonymous.register_seller("the-seller").await;
    let bidders = register(anonymous, &sales).await;
    let starts_at = seller.now().await + LEAD;
    let ids = schedule(&seller, &sales, starts_at).await?;
    let mut played: Vec<Playing> = sales.into_iter().zip(ids).map(|(sale, id)| Playing::new(sale, id)).collect();

    let mut times = BTreeMap::<i64, Vec<usize>>::new();
    for (index, playing) in played.iter().enumerate() {
        for bid in &playing.sale.bids {
            times.entry(playing.time_of(bid)).or_default().push(index);
        }
    }
    let bar = bar("bids", times.values().map(Vec::len).sum());
    for (t_ms, mut sales) in times {
        set_clock(&seller, starts_at + TimeDelta::milliseconds(t_ms)).await?;
        bar.inc(sales.len() as u64);
        sales.dedup();
        let due = played.iter_mut().enumerate().filter(|(index, _)| sales.contains(index));
        try_join_all(due.map(|(_, playing)| playing.bid_until(t_ms, &bidders))).await?;
    }
    bar.finish_and_clear();
    let last = played.iter().map(Playing::ends_ms).max().unwrap_or_default();
    let position = set_clock(&seller, starts_at + TimeDelta::milliseconds(last)).await?;
    let results = stream::iter(played.iter().map(|playing| playing.result(&bidders, position)));
    let results: Vec<Closing> = results.buffered(AT_ONCE).try_collect().await?;
    let played = played.into_iter().zip(results);
    Ok(played
        .map(|(Playing { sale, id, accepted, refused, .. }, result)| Played { sale, id, accepted, refused, result })
        .collect())
}

/// One account for every bidder of all sales.
async fn register(anonymous: &Client, sales: &[Sale]) -> HashMap<String, Client> {
    let names: BTreeSet<String> =
        sales.iter().flat_map(|sale| sale.bids.iter().map(|bid| bid.bidder.clone())).collect();
    let bar = bar("bidders", names.len());
    let registered = stream::iter(names).map(|name| {
        let bar = bar.clone();
        async move {
            let client = anonymous.register(&format!("bidder-{name}")).await;
            bar.inc(1);
            (name, client)
        }
    });
    let registered = registered.buffer_unordered(AT_ONCE).collect().await;
    bar.finish_and_clear();
    registered
}

async fn schedule(seller: &Client, sales: &[Sale], starts_at: DateTime<Utc>) -> Result<Vec<String>, Failure> {
    let bar = bar("auctions", sales.len());
    let scheduled = stream::iter(sales).map(|sale| {
        let record = &sale.record;
        let auction = json!({
            "title": format!("{} ({})", record.item, record.id), "category": "records", "condition": "good",
            "start_price": usd(record.start_cents), "starts_at": starts_at,
            "duration_s": (record.lasts_ms() + GRACE_MS) / 1_000,
        });
        let bar = bar.clone();
        async move {
            let answer = seller.post("/auctions", &auction).attempt().await?;
            bar.inc(1);
            let id = answer.body["id"].as_str().filter(|_| answer.status == 201);
            Ok::<_, Failure>(id.ok_or_else(|| unexpected(&sale.record.id, &answer))?.to_owned())
        }
    });
    let ids = scheduled.buffered(AT_ONCE).try_collect().await;
    bar.finish_and_clear();
    ids
}

/// Sets the clock, and tells the log's head. A clock that is there already has gone on by itself.
async fn set_clock(client: &Client, time: DateTime<Utc>) -> Result<i64, Failure> {
    let answer = client.post("/sandbox/clock", &json!({ "set": time })).attempt().await?;
    let went_on = answer.status == 422 && answer.body["errors"][0]["code"] == "in-past";
    if answer.status != 200 && !went_on {
        return Err(unexpected("the clock", &answer));
    }
    Ok(answer.body["position"].as_i64().unwrap_or_default())
}

/// A sale while it goes on.
struct Playing {
    sale: Sale,
    id: String,
    next: usize,
    accepted: Vec<usize>,
    refused: Vec<Refused>,
}

impl Playing {
    fn new(sale: Sale, id: String) -> Self {
        Self { sale, id, next: 0, accepted: Vec::new(), refused: Vec::new() }
    }

    fn ends_ms(&self) -> i64 {
        self.sale.record.lasts_ms() + GRACE_MS
    }

    /// When a bid is sent, in milliseconds after the start.
    fn time_of(&self, bid: &Bid) -> i64 {
        if bid.t_ms < self.sale.record.lasts_ms() { bid.t_ms } else { bid.t_ms + GRACE_MS }
    }

    /// Places the bids of this time, one after another.
    async fn bid_until(&mut self, t_ms: i64, bidders: &HashMap<String, Client>) -> Result<(), Failure> {
        while let Some(bid) = self.sale.bids.get(self.next).filter(|bid| self.time_of(bid) <= t_ms).cloned() {
            let client = client_of(&bid.bidder, bidders)?;
            let path = format!("/auctions/{}/bids", self.id);
            let answer = client.post(&path, &json!({ "maximum": usd(bid.cents) })).attempt().await?;
            match (answer.status, answer.slug(), answer.position) {
                (201, ..) => self.accepted.push(self.next),
                (409 | 422, Some(rule), Some(_)) => {
                    let detail = answer.body["detail"].as_str().unwrap_or_default().to_owned();
                    self.refused.push(Refused { bid, rule: rule.to_owned(), detail });
                }
                _ => return Err(unexpected(&self.sale.record.id, &answer)),
            }
            self.next += 1;
        }
        Ok(())
    }

    /// How it has ended. Winners are pseudonyms to everybody but themselves, so the bidders are asked, the expected
    /// winner first.
    async fn result(&self, bidders: &HashMap<String, Client>, since: i64) -> Result<Closing, Failure> {
        let expected = &self.sale.record.winner;
        let others: BTreeSet<&String> =
            self.sale.bids.iter().map(|bid| &bid.bidder).filter(|name| *name != expected).collect();
        for name in std::iter::once(expected).chain(others) {
            let client = client_of(name, bidders)?;
            let answer = client.get(&format!("/auctions/{}", self.id)).since(since).attempt().await?;
            let auction = &answer.body;
            let price = auction["price"]["amount"].as_i64();
            let (Some(price_cents), Some("closed")) = (price, auction["status"].as_str()) else {
                return Err(unexpected(&self.sale.record.id, &answer));
            };
            if auction["winner"].is_null() {
                return Ok(Closing { winner: None, price_cents });
            }
            if auction["winner"] == auction["you"] {
                return Ok(Closing { winner: Some(name.clone()), price_cents });
            }
        }
        Err(format!("nobody who bid on {} has won it", self.sale.record.id).into())
    }
}

fn client_of<'a>(name: &str, bidders: &'a HashMap<String, Client>) -> Result<&'a Client, Failure> {
    bidders.get(name).ok_or_else(|| format!("{name} has won or bid, and no row of bids.csv is theirs").into())
}
