//! The other side: cqrs-es and postgres-es as they come, over the same aggregates.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use cqrs_es::AggregateError;
use domain::auction::{self, Auction};
use domain::wallet::{self, Wallet};
use domain::{AccountId, AuctionId, Money, Refusal, WalletId};
use eventstore::clock::Clock;
use eventstore::cqrs::{Cqrs, CqrsRefusal};
use postgres_es::{PostgresCqrs, postgres_cqrs, postgres_snapshot_cqrs};
use sqlx::{PgConnection, PgPool};

use super::BenchError;
use super::decision_loop::streams_with_a_gap;
use super::workload::Offer;
use crate::bench::scratch::Scratch;

/// The tables of postgres-es 0.5, as its `db/init.sql` creates them.
const STOCK_TABLES: &str = "
create table events (
    aggregate_type text not null,
    aggregate_id text not null,
    sequence bigint check (sequence >= 0) not null,
    event_type text not null,
    event_version text not null,
    payload json not null,
    metadata json not null,
    primary key (aggregate_type, aggregate_id, sequence)
);
create table snapshots (
    aggregate_type text not null,
    aggregate_id text not null,
    last_sequence bigint check (last_sequence >= 0) not null,
    current_snapshot bigint check (current_snapshot >= 0) not null,
    payload json not null,
    primary key (aggregate_type, aggregate_id, last_sequence)
);";

/// Whether the pair loads whole streams or from snapshots.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Loading {
    /// `postgres_cqrs`.
    Streams,
    /// `postgres_snapshot_cqrs` with a snapshot every [`SNAPSHOT_EVERY`] events.
    Snapshots,
}

/// Events between two snapshots; of 1, 10, 20, 50 and 100 the one at which the pair is fastest on a hot auction.
pub(super) const SNAPSHOT_EVERY: usize = 20;

impl Loading {
    /// The schema of its tables.
    pub(super) fn schema(self) -> &'static str {
        match self {
            Self::Streams => "plain",
            Self::Snapshots => "plain_snapshots",
        }
    }
}

/// The pair. Clones share it.
#[derive(Clone)]
pub(super) struct Plain(Arc<Frameworks>);

struct Frameworks {
    wallets: PostgresCqrs<Cqrs<Wallet>>,
    auctions: PostgresCqrs<Cqrs<Auction>>,
}

impl fmt::Debug for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Plain")
    }
}

/// Creates the schema and tables for one way of loading.
pub(super) async fn create_tables(scratch: &Scratch, loading: Loading) -> Result<(), BenchError> {
    let mut connection = scratch.connect().await?;
    let schema = loading.schema();
    // A schema's name cannot be bound; these are ours.
    sqlx::raw_sql(&format!("create schema {schema}; set search_path to {schema}; {STOCK_TABLES}"))
        .execute(&mut connection)
        .await?;
    Ok(())
}

impl Plain {
    /// The pair over a pool whose connections find its tables.
    pub(super) fn new(pool: &PgPool, loading: Loading) -> Self {
        let frameworks = match loading {
            Loading::Streams => Frameworks {
                wallets: postgres_cqrs(pool.clone(), vec![], ()),
                auctions: postgres_cqrs(pool.clone(), vec![], ()),
            },
            Loading::Snapshots => Frameworks {
                wallets: postgres_snapshot_cqrs(pool.clone(), vec![], SNAPSHOT_EVERY, ()),
                auctions: postgres_snapshot_cqrs(pool.clone(), vec![], SNAPSHOT_EVERY, ()),
            },
        };
        Self(Arc::new(frameworks))
    }

    /// Carries out one command of a wallet, which must be accepted.
    pub(super) async fn wallet(
        &self,
        owner: AccountId,
        wallet: WalletId,
        command: wallet::Command,
    ) -> Result<(), BenchError> {
        let done = self.0.wallets.execute_with_metadata(&wallet.to_string(), command, metadata(owner)).await;
        done.map_err(|error| BenchError::Plain(error.to_string()))
    }

    /// Carries out one command of an auction, which must be accepted.
    pub(super) async fn auction(
        &self,
        seller: AccountId,
        auction: AuctionId,
        command: auction::Command,
    ) -> Result<(), BenchError> {
        let done = self.0.auctions.execute_with_metadata(&auction.to_string(), command, metadata(seller)).await;
        done.map_err(|error| BenchError::Plain(error.to_string()))
    }

    /// Bids. A bid that loses the race for the next sequence conflicts.
    pub(super) async fn bid(&self, auction: AuctionId, bidder: AccountId, maximum: Money) -> Result<Offer, BenchError> {
        let command = auction::Command::PlaceBid { bidder, maximum, now: Clock::real_now() };
        match self.0.auctions.execute_with_metadata(&auction.to_string(), command, metadata(bidder)).await {
            Ok(()) => Ok(Offer::Accepted),
            Err(AggregateError::AggregateConflict) => Ok(Offer::Outrun),
            Err(AggregateError::UserError(CqrsRefusal(Refusal::Auction(auction::Error::BidTooLow { .. })))) => {
                Ok(Offer::Outrun)
            }
            Err(error) => Err(BenchError::Plain(error.to_string())),
        }
    }
}

/// The same as the decision loop stores.
fn metadata(actor: AccountId) -> HashMap<String, String> {
    HashMap::from([("actor".to_owned(), format!("account:{actor}"))])
}

/// Compares the tables with what was acknowledged. Answers with the events that were stored although the pair reported
/// a conflict, which it is known to do with snapshots.
pub(super) async fn check(connection: &mut PgConnection, loading: Loading, expected: i64) -> Result<i64, BenchError> {
    let side = match loading {
        Loading::Streams => "plain",
        Loading::Snapshots => "plain, snapshots",
    };
    let schema = loading.schema();
    let found: i64 =
        sqlx::query_scalar(&format!("select count(*) from {schema}.events")).fetch_one(&mut *connection).await?;
    let unacknowledged = found - expected;
    let tolerated = loading == Loading::Snapshots && unacknowledged > 0;
    if unacknowledged != 0 && !tolerated {
        return Err(BenchError::Wrong { side, what: "the number of events", expected, found });
    }
    let gaps = streams_with_a_gap(connection, schema).await?;
    if gaps != 0 {
        return Err(BenchError::Wrong { side, what: "the number of streams with a gap", expected: 0, found: gaps });
    }
    Ok(unacknowledged)
}
