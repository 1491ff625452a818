//! Who looks on while faults happen, and writes down what they see: somebody at a socket, and somebody at the database.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use domain::AuctionId;
use sqlx::{Connection, PgConnection};
use tokio::sync::watch;
use tradepost_tests::database::TestDatabase;
use tradepost_tests::journal::{Journal, Line};
use tradepost_tests::socket::Socket;

/// How soon a socket is opened again that has ended.
const OPEN_AGAIN: Duration = Duration::from_millis(100);
/// How often sessions are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

static SOCKETS: AtomicU64 = AtomicU64::new(0);

/// Follows an auction over sockets, one after another, each from where the one before has ended.
pub(crate) async fn sockets(address: watch::Receiver<String>, auction: AuctionId, journal: Arc<Journal>) {
    let mut after = 0;
    loop {
        let here = address.borrow().clone();
        if let Some(mut open) = Socket::reach(&here, &format!("/api/v1/ws/auctions/{auction}?after={after}")).await {
            let (socket, from) = (SOCKETS.fetch_add(1, Ordering::Relaxed), after);
            while let Some(message) = open.listen().await {
                // The state that a socket begins with tells where the auction is, not what has happened.
                if message["type"] != "state"
                    && let Some(sequence) = message["sequence"].as_i64()
                {
                    journal.write(&Line::Seen { socket, auction, after: from, sequence });
                    after = sequence;
                }
            }
        }
        tokio::time::sleep(OPEN_AGAIN).await;
    }
}

/// Looks how long transactions say nothing. While the database is away there is nothing to see.
pub(crate) async fn sessions(database: TestDatabase, journal: Arc<Journal>) {
    let mut connection: Option<PgConnection> = None;
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let connected = match connection.take() {
            Some(connected) => Some(connected),
            None => PgConnection::connect(database.url()).await.ok(),
        };
        let Some(mut connected) = connected else { continue };
        let look = "select coalesce(max(extract(epoch from clock_timestamp() - state_change) * 1000)
                filter (where state like 'idle in transaction%'), 0)::bigint
            from pg_stat_activity where application_name = 'tradepost'";
        let seen: Result<i64, _> = sqlx::query_scalar(look).fetch_one(&mut connected).await;
        if let Ok(idle_ms) = seen {
            journal.write(&Line::Sessions { idle_ms });
            connection = Some(connected);
        }
    }
}
