//! How fast the log gets into NATS.

use std::time::{Duration, Instant};

use eventstore::lease::Lease;
use eventstore::log::{self, Head};
use eventstore::relay::{self, Relay};
use eventstore::{Position, mint, nats};
use sqlx::PgPool;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::rebuilding::Taken;
use crate::bench::BenchError;
use crate::bench::scratch::Scratch;

/// How long the whole log may take.
const PATIENCE: Duration = Duration::from_mins(10);

/// Relays, and waits until the stream has the log up to `at`.
pub(super) async fn begin(
    url: &str,
    pool: &PgPool,
    head: &Head,
    at: Position,
    (tasks, stop): (&TaskTracker, &CancellationToken),
) -> Result<(), BenchError> {
    let context = nats::jetstream(&nats::connect(url).await?);
    let lease = Lease { name: relay::LEASE, node: mint::id(), priority: 0, ttl: relay::LEASE_TTL };
    let (turn, keeping) = lease.keep(pool.clone(), stop.clone());
    tasks.spawn(keeping);
    let (reached, mut relayed) = watch::channel(None);
    let relay = Relay { pool: pool.clone(), context, replicas: 1, head: head.clone(), turn, reached };
    tasks.spawn(relay.run(stop.clone()));
    let there = relayed.wait_for(|reached| reached.is_some_and(|reached| reached >= at));
    match tokio::time::timeout(PATIENCE, there).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(BenchError::Material("copy of the log in NATS")),
    }
}

/// Takes the stream away, and publishes the whole log again.
pub(super) async fn relayed_anew(market: &Scratch, url: &str) -> Result<Taken, BenchError> {
    let pool = market.database().pool(4);
    let at = log::head(&pool).await?;
    let context = nats::jetstream(&nats::connect(url).await?);
    // There is none the first time.
    let _ = context.delete_stream(nats::STREAM).await;
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let began = Instant::now();
    begin(url, &pool, &Head::at(at), at, (&tasks, &stop)).await?;
    let elapsed = began.elapsed();
    stop.cancel();
    tasks.close();
    tasks.wait().await;
    pool.close().await;
    Ok(Taken { events: at, elapsed })
}
