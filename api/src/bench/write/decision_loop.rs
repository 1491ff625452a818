//! Our side: the engine of `tradepost serve`, on its own schema.

use std::collections::BTreeSet;

use commands::accounts::{self, Newcomer};
use commands::{CommandError, CommandKey, Engine, EngineSettings, Halt, Request, World, auctions};
use domain::account::{Capability, Identity};
use domain::auction::{self, Auction};
use domain::wallet::{self, Wallet};
use domain::{AccountId, AuctionId, ClaimId, Money, Refusal, WalletId};
use eventstore::clock::Clock;
use eventstore::event::Metadata;
use eventstore::feed::Feed;
use eventstore::lease::Lease;
use eventstore::log::Head;
use eventstore::mint;
use eventstore::proof::keys::{KeyRing, ProofKey};
use eventstore::proof::leaf::Blinding;
use eventstore::proof::notary::{self, Notary, NotaryRules, Standing};
use eventstore::sealing::PersonKey;
use eventstore::secrets::RootSecret;
use eventstore::wrapping::Wrapping;
use sqlx::PgConnection;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::BenchError;
use super::workload::{Ledger, Offer};
use crate::bench::scratch::Scratch;
use crate::config::Proof;
use crate::observe::metrics;

/// The side's name in messages.
const SIDE: &str = "decision loop";

/// A running engine.
#[derive(Debug)]
pub(super) struct DecisionLoop {
    engine: Engine,
    task: JoinHandle<()>,
    head: Head,
    /// It counts as in production: what that costs is part of what is measured.
    _counting: AbortOnDropHandle<()>,
}

/// How much of its time the notary works here, in per cent: as it does unless set otherwise.
pub(super) const SHARE_PERCENT: u32 = 3;

/// A notary at work.
#[derive(Debug)]
pub(super) struct Notarizing {
    stop: CancellationToken,
    tasks: [JoinHandle<()>; 2],
}

impl Notarizing {
    /// Ends it, and gives its lease back.
    pub(super) async fn stop(self) {
        self.stop.cancel();
        for task in self.tasks {
            if let Err(error) = task.await {
                tracing::warn!(%error, "the notary did not end well");
            }
        }
    }
}

/// A way to it: commands with or without an idempotency key.
#[derive(Clone, Debug)]
pub(super) struct Door {
    engine: Engine,
    keyed: bool,
}

impl DecisionLoop {
    /// Migrates the database and starts the engine on it.
    pub(super) async fn start(scratch: &Scratch, batch_max: usize) -> Result<Self, BenchError> {
        let database = scratch.database();
        database.migrate().await?;
        let counting = AbortOnDropHandle::new(tokio::spawn(metrics::keep_up(metrics::install())));
        let settings = EngineSettings { batch_max, ..EngineSettings::default() };
        let head = Head::at(0);
        let (engine, task) = Engine::start(&database, settings, Clock::new(), head.clone(), Feed::default()).await?;
        Ok(Self { engine, task, head, _counting: counting })
    }

    /// Hashes the log beside the engine, as a node does.
    pub(super) async fn notarize(&self, scratch: &Scratch) -> Result<Notarizing, BenchError> {
        let (database, stop) = (scratch.database(), CancellationToken::new());
        let pool = database.pool(1);
        let wanted = Lease { name: notary::LEASE, node: mint::id(), priority: 0, ttl: notary::LEASE_TTL };
        let (mut turn, keeping) = wanted.keep(pool, stop.clone());
        let secret = RootSecret::new(b"of this run");
        let key = ProofKey::from_seed("bench", &secret.key("proof key"))?;
        let keys = KeyRing::new(key, Vec::new(), Blinding::of(&secret));
        let rules = NotaryRules { share_percent: SHARE_PERCENT, ..Proof::default().rules() };
        let keeping = tokio::spawn(keeping);
        turn.until_mine().await;
        let (head, clock, standing) = (self.head.clone(), Clock::new(), watch::channel(Standing::default()).0);
        let asked = watch::channel(0).1;
        let notary = Notary { database, head, turn, clock, keys, rules, known: None, asked, standing };
        Ok(Notarizing { tasks: [keeping, tokio::spawn(notary.run(stop.clone()))], stop })
    }

    pub(super) fn door(&self, keyed: bool) -> Door {
        Door { engine: self.engine.clone(), keyed }
    }

    /// Ends the engine. Every [`Door`] must have been dropped.
    pub(super) async fn stop(self) -> Result<(), BenchError> {
        drop(self.engine);
        Ok(self.task.await?)
    }
}

impl Door {
    /// Registers somebody who may bid; answers with the number of events that this took.
    pub(super) async fn join(&self, account: AccountId) -> Result<i64, BenchError> {
        let key = PersonKey::mint(account);
        let identity = Identity { email: key.seal("@"), user_name: key.seal("bidder"), password_hash: None };
        let (email, user_name) = (ClaimId(mint::id()), ClaimId(mint::id()));
        let capabilities = BTreeSet::from([Capability::Buy]);
        let key = Wrapping::default().wrap(&key);
        let newcomer = Newcomer { account, key, identity, email, user_name, capabilities };
        let request = Request::once(Metadata::by_account(account));
        self.engine.submit(request, move |world| accounts::register(world, &newcomer)).await?;
        // The account and its two claims.
        Ok(3)
    }

    /// Carries out one command of a wallet, which must be accepted.
    pub(super) async fn wallet(
        &self,
        owner: AccountId,
        wallet: WalletId,
        command: wallet::Command,
    ) -> Result<(), BenchError> {
        let execute = move |world: &mut World<'_>| version_after::<Wallet>(world, wallet, command.clone());
        self.engine.submit(self.request(owner, "wallet"), execute).await?;
        Ok(())
    }

    /// Carries out one command of an auction, which must be accepted.
    pub(super) async fn auction(
        &self,
        seller: AccountId,
        auction: AuctionId,
        command: auction::Command,
    ) -> Result<(), BenchError> {
        let execute = move |world: &mut World<'_>| version_after::<Auction>(world, auction, command.clone());
        self.engine.submit(Request::once(Metadata::by_account(seller)), execute).await?;
        Ok(())
    }

    /// Bids by the use case of the API, which also looks at the bidder's account.
    pub(super) async fn bid(&self, auction: AuctionId, bidder: AccountId, maximum: Money) -> Result<Offer, BenchError> {
        let bid = move |world: &mut World<'_>| {
            let live = auctions::place_bid(world, auction, bidder, maximum)?;
            Ok(live.bids)
        };
        match self.engine.submit(self.request(bidder, "bid"), bid).await {
            Ok(_) => Ok(Offer::Accepted),
            Err(CommandError::Refused { refusal: Refusal::Auction(auction::Error::BidTooLow { .. }), .. }) => {
                Ok(Offer::Outrun)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn request(&self, by: AccountId, what: &str) -> Request {
        let metadata = Metadata::by_account(by);
        if self.keyed {
            let (scope, key) = (by.to_string(), mint::id().to_string());
            // As the API does it: the fingerprint is of method, path and body.
            let asked = ["POST", what, key.as_str()];
            Request::keyed(metadata, CommandKey::from_client(&scope, &key, &asked))
        } else {
            Request::once(metadata)
        }
    }
}

/// Lets an aggregate decide, and answers with its version, as the API's handlers do.
fn version_after<A: domain::Aggregate>(world: &mut World<'_>, id: A::Id, command: A::Command) -> Result<u64, Halt> {
    world.execute::<A>(id, command)?;
    world.version::<A>(id)
}

/// Compares the log with what was acknowledged, and looks for gaps (P1 and P2 of the promises).
pub(super) async fn check(connection: &mut PgConnection, expected: &Ledger) -> Result<(), BenchError> {
    let counted = |what, expected, found| {
        if expected == found { Ok(()) } else { Err(BenchError::Wrong { side: SIDE, what, expected, found }) }
    };
    let (events, first, last, head): (i64, i64, i64, i64) = sqlx::query_as(
        "select count(*), min(position), max(position), (select position from log_head) from public.events",
    )
    .fetch_one(&mut *connection)
    .await?;
    counted("the number of events", expected.events, events)?;
    counted("the first position", 1, first)?;
    counted("the last position", events, last)?;
    counted("the head", events, head)?;
    let keys: i64 = sqlx::query_scalar("select count(*) from public.command_keys").fetch_one(&mut *connection).await?;
    counted("the number of idempotency keys", expected.keys, keys)?;
    counted("the number of streams with a gap", 0, streams_with_a_gap(connection, "public").await?)
}

/// How many streams in `schema` do not run from 1 without a gap.
pub(super) async fn streams_with_a_gap(connection: &mut PgConnection, schema: &str) -> Result<i64, BenchError> {
    // A schema's name cannot be bound; these are ours.
    let query = format!(
        "select count(*) from (
            select from {schema}.events group by aggregate_type, aggregate_id
            having min(sequence) <> 1 or max(sequence) <> count(*)
        ) as gaps"
    );
    Ok(sqlx::query_scalar(&query).fetch_one(connection).await?)
}
