//! `tradepost relay`: how far the log is in NATS, and which nodes have which turn.

use std::fmt;

use clap::Subcommand;
use eventstore::lease::{self, Held};
use eventstore::relay::{self, Copied};
use eventstore::{log, nats};
use serde::Serialize;

use super::output::show;
use super::{Failure, Place};
use crate::config::Config;

#[derive(Debug, Subcommand)]
pub(super) enum Relay {
    /// Show how far the log is in NATS, and which node relays and which decides.
    ///
    /// Ends with an error if the stream is missing or does not hold this log; a running relay mends that by itself.
    ///
    /// Examples:
    ///   tradepost relay status
    ///   tradepost relay status --json
    #[command(verbatim_doc_comment)]
    Status {
        /// One JSON object instead of lines for people.
        #[arg(long)]
        json: bool,
    },
}

/// What is told.
#[derive(Debug, Serialize)]
struct Status {
    /// The last position of the log.
    head: i64,
    #[serde(flatten)]
    copied: Copied,
    /// Events that the stream has yet to get.
    lag: i64,
    leases: Vec<Held>,
}

impl Relay {
    pub(super) async fn run(self, config: &Config) -> Result<(), Failure> {
        let Some(url) = &config.nats.url else {
            return Err("there is no NATS: name one with nats.url or --nats-url".into());
        };
        let client = nats::connect_once(url.expose()).await?;
        let place = Place::beside(config).await?;
        let Self::Status { json } = self;
        let shown = status(&place, &client, json).await;
        place.leave(shown).await
    }
}

async fn status(place: &Place, client: &async_nats::Client, json: bool) -> Result<(), Failure> {
    let pool = place.database.pool(1);
    let copied = relay::look(&pool, &nats::jetstream(client)).await?;
    let head = log::head(&pool).await?;
    let status = Status { head, lag: head - copied.position, copied, leases: lease::list(&pool).await? };
    pool.close().await;
    show(json, &status, &status)?;
    if status.copied.holds_this_log { Ok(()) } else { Err("the stream does not hold this log".into()) }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { head, copied: Copied { position, messages, bytes, .. }, lag, leases } = self;
        writeln!(f, "log            {head} events")?;
        writeln!(f, "stream         {messages} events, {bytes} bytes, last at position {position}")?;
        write!(f, "lag            {lag} events")?;
        for Held { name, holder, good_for_ms } in leases {
            write!(f, "\n{name:<14} node {holder}, for another {good_for_ms} ms")?;
        }
        if leases.is_empty() {
            write!(f, "\nno node relays or decides for the others")?;
        }
        Ok(())
    }
}
