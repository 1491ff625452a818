//! What callers do, and how it is timed.
//!
//! Every caller is a task that sends its next command when the answer to the last has come. The latency of a command
//! runs from its first attempt to its acceptance.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use domain::auction::{self, Terms};
use domain::increments::{Band, Increments};
use domain::wallet::{self, PaymentMethod};
use domain::{AccountId, AuctionId, Currency, DepositId, HoldId, Money, WalletId};
use eventstore::clock::Clock;
use eventstore::mint;
use futures::{StreamExt, TryStreamExt, stream};
use hdrhistogram::Histogram;
use tokio::task::JoinSet;

use super::BenchError;
use super::decision_loop::Door;
use super::plain::Plain;
use crate::bench::market::usd;

/// Commands under way at once while wallets are opened.
const OPENING: usize = 64;
/// Digits that the histograms keep.
const PRECISION: u8 = 3;
/// What is in each wallet, and what each hold takes, in cents.
const FUNDS: i64 = 1_000_000;
const HELD: i64 = 1_999;
/// By how much a bid tops the one before, in cents; the increment of the auction is one cent.
const RAISE: i64 = 10;
/// Events that opening a wallet takes: opened, deposit requested, deposit settled.
const OPENING_EVENTS: i64 = 3;
/// Events that opening an auction takes: scheduled, opened.
const AUCTION_EVENTS: i64 = 2;

/// Whom the commands go to.
#[derive(Clone, Debug)]
pub(super) enum Subject {
    /// The decision loop.
    Loop(Door),
    /// cqrs-es and postgres-es.
    Plain(Plain),
}

/// What came of a bid.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Offer {
    /// It stands.
    Accepted,
    /// Another bid was faster: a conflict, or the price has passed this one. The caller bids again, higher.
    Outrun,
}

/// What has been acknowledged on one log.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ledger {
    pub(super) events: i64,
    pub(super) keys: i64,
}

/// A wallet with money, and whether some of it is held.
#[derive(Debug)]
pub(super) struct Purse {
    owner: AccountId,
    wallet: WalletId,
    hold: Option<HoldId>,
}

/// Wallets in the order in which they have their turn.
pub(super) type Purses = VecDeque<Purse>;

/// What callers did.
#[derive(Debug)]
pub(in crate::bench) struct Tally {
    latencies: Histogram<u64>,
    /// Commands accepted; each is one event.
    pub(in crate::bench) accepted: u64,
    /// Commands sent, including bids that were outrun.
    pub(in crate::bench) attempts: u64,
    /// How long all of it took.
    pub(in crate::bench) elapsed: Duration,
}

impl Subject {
    async fn wallet(&self, owner: AccountId, id: WalletId, command: wallet::Command) -> Result<(), BenchError> {
        match self {
            Self::Loop(door) => door.wallet(owner, id, command).await,
            Self::Plain(plain) => plain.wallet(owner, id, command).await,
        }
    }

    async fn auction(&self, seller: AccountId, id: AuctionId, command: auction::Command) -> Result<(), BenchError> {
        match self {
            Self::Loop(door) => door.auction(seller, id, command).await,
            Self::Plain(plain) => plain.auction(seller, id, command).await,
        }
    }

    async fn bid(&self, auction: AuctionId, bidder: AccountId, maximum: Money) -> Result<Offer, BenchError> {
        match self {
            Self::Loop(door) => door.bid(auction, bidder, maximum).await,
            Self::Plain(plain) => plain.bid(auction, bidder, maximum).await,
        }
    }
}

impl Tally {
    pub(in crate::bench) fn new() -> Result<Self, BenchError> {
        let latencies = Histogram::new(PRECISION).map_err(|_| BenchError::Material("histogram"))?;
        Ok(Self { latencies, accepted: 0, attempts: 0, elapsed: Duration::ZERO })
    }

    pub(in crate::bench) fn accepted_after(&mut self, latency: Duration) {
        self.accepted += 1;
        // The histogram grows as needed, so recording fails for no latency below centuries.
        let _ = self.latencies.record(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
    }

    pub(in crate::bench) fn add(&mut self, other: &Self) -> Result<(), BenchError> {
        self.accepted += other.accepted;
        self.attempts += other.attempts;
        self.latencies.add(&other.latencies).map_err(|_| BenchError::Material("histogram"))
    }

    /// Accepted commands per second.
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
    pub(super) fn per_second(&self) -> f64 {
        self.accepted as f64 / self.elapsed.as_secs_f64().max(f64::EPSILON)
    }

    /// The latency, in milliseconds, that this share of the commands did not exceed.
    #[expect(clippy::cast_precision_loss, reason = "latencies are far below 2^53 ns")]
    pub(in crate::bench) fn quantile_ms(&self, share: f64) -> f64 {
        self.latencies.value_at_quantile(share) as f64 / 1e6
    }
}

/// Opens wallets with money in them.
pub(super) async fn open_wallets(subject: &Subject, wallets: usize, ledger: &mut Ledger) -> Result<Purses, BenchError> {
    let open = async |_| {
        let owner = AccountId(mint::id());
        let wallet = WalletId::of(owner, Currency::USD);
        let (deposit, amount) = (DepositId(mint::id()), usd(FUNDS)?);
        let source = PaymentMethod { provider: "bench".to_owned(), token: "bench".to_owned() };
        let request = wallet::Command::RequestDeposit { deposit, owner, amount, source };
        subject.wallet(owner, wallet, request).await?;
        let settle = wallet::Command::SettleDeposit { deposit, provider_reference: format!("ch_{deposit}") };
        subject.wallet(owner, wallet, settle).await?;
        Ok::<_, BenchError>(Purse { owner, wallet, hold: None })
    };
    let purses: Purses = stream::iter(0..wallets).map(open).buffer_unordered(OPENING).try_collect().await?;
    ledger.events += OPENING_EVENTS * i64::try_from(wallets).unwrap_or(i64::MAX);
    Ok(purses)
}

/// Lets `callers` place and release holds for `limit`. Each has wallets of its own, and goes round them.
pub(super) async fn hold_and_release(
    subject: &Subject,
    purses: &mut Purses,
    callers: usize,
    limit: Duration,
) -> Result<Tally, BenchError> {
    let mut shares: Vec<Purses> = (0..callers).map(|_| Purses::new()).collect();
    for (index, purse) in purses.drain(..).enumerate() {
        shares[index % callers].push_back(purse);
    }
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for share in shares {
        tasks.spawn(go_round(subject.clone(), share, began + limit));
    }
    let mut tally = Tally::new()?;
    while let Some(done) = tasks.join_next().await {
        let (share, own) = done??;
        tally.add(&own)?;
        purses.extend(share);
    }
    tally.elapsed = began.elapsed();
    Ok(tally)
}

async fn go_round(subject: Subject, mut purses: Purses, until: Instant) -> Result<(Purses, Tally), BenchError> {
    let mut tally = Tally::new()?;
    let amount = usd(HELD)?;
    while Instant::now() < until
        && let Some(mut purse) = purses.pop_front()
    {
        let began = Instant::now();
        let (command, hold) = if let Some(hold) = purse.hold {
            (wallet::Command::ReleaseHold { hold }, None)
        } else {
            let hold = HoldId(mint::id());
            (wallet::Command::PlaceHold { hold, amount }, Some(hold))
        };
        tally.attempts += 1;
        subject.wallet(purse.owner, purse.wallet, command).await?;
        tally.accepted_after(began.elapsed());
        purse.hold = hold;
        purses.push_back(purse);
    }
    Ok((purses, tally))
}

/// How long a hot auction may take.
#[derive(Clone, Copy, Debug)]
pub(super) enum Span {
    /// As many auctions, one after another, as it takes to fill this time; the last one is cut.
    Filled(Duration),
    /// One auction, cut after this time.
    Cut(Duration),
    /// One auction, until all bids are in.
    Whole,
}

impl Span {
    fn remaining(self, elapsed: Duration) -> Option<Duration> {
        match self {
            Self::Filled(limit) | Self::Cut(limit) => Some(limit.saturating_sub(elapsed)),
            Self::Whole => None,
        }
    }

    fn is_over(self, elapsed: Duration) -> bool {
        match self {
            Self::Filled(limit) => elapsed >= limit,
            Self::Cut(_) | Self::Whole => true,
        }
    }
}

/// Lets `bidders` bid on one auction until it has `bids`, then on the next, as `span` tells. The time that opening an
/// auction takes does not count.
pub(super) async fn bid_on_hot_auctions(
    subject: &Subject,
    bidders: &[AccountId],
    bids: u64,
    span: Span,
    ledger: &mut Ledger,
) -> Result<Tally, BenchError> {
    let mut tally = Tally::new()?;
    loop {
        let auction = open_auction(subject, ledger).await?;
        let began = Instant::now();
        let until = span.remaining(tally.elapsed).map(|remaining| began + remaining);
        let race = Race {
            auction,
            until,
            open: Arc::new(AtomicI64::new(i64::try_from(bids).unwrap_or(i64::MAX))),
            next: Arc::new(AtomicI64::new(1)),
        };
        let mut tasks = JoinSet::new();
        for &bidder in bidders {
            tasks.spawn(race.clone().run(subject.clone(), bidder));
        }
        while let Some(done) = tasks.join_next().await {
            tally.add(&done??)?;
        }
        tally.elapsed += began.elapsed();
        if span.is_over(tally.elapsed) {
            return Ok(tally);
        }
    }
}

async fn open_auction(subject: &Subject, ledger: &mut Ledger) -> Result<AuctionId, BenchError> {
    let (auction, seller, now) = (AuctionId(mint::id()), AccountId(mint::id()), Clock::real_now());
    let cent = Band { below: None, step: 1 };
    let terms = Terms {
        seller,
        start_price: usd(1)?,
        reserve_price: None,
        buy_now_price: None,
        starts_at: now,
        ends_at: now + TimeDelta::days(1),
        soft_close_window_ms: 120_000,
        increments: Increments::try_from(vec![cent]).map_err(|_| BenchError::Material("increments"))?,
    };
    subject.auction(seller, auction, auction::Command::Schedule { terms, now }).await?;
    subject.auction(seller, auction, auction::Command::Open { now }).await?;
    ledger.events += AUCTION_EVENTS;
    Ok(auction)
}

/// Callers who bid on one auction.
#[derive(Clone)]
struct Race {
    auction: AuctionId,
    until: Option<Instant>,
    /// Bids that nobody has begun.
    open: Arc<AtomicI64>,
    /// The next maximum, in raises.
    next: Arc<AtomicI64>,
}

impl Race {
    async fn run(self, subject: Subject, bidder: AccountId) -> Result<Tally, BenchError> {
        let mut tally = Tally::new()?;
        while self.open.fetch_sub(1, Ordering::Relaxed) > 0 {
            let began = Instant::now();
            loop {
                if self.until.is_some_and(|until| Instant::now() >= until) {
                    return Ok(tally);
                }
                let maximum = usd(self.next.fetch_add(1, Ordering::Relaxed).saturating_mul(RAISE))?;
                tally.attempts += 1;
                if subject.bid(self.auction, bidder, maximum).await? == Offer::Accepted {
                    break;
                }
            }
            tally.accepted_after(began.elapsed());
        }
        Ok(tally)
    }
}
