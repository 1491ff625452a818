//! `tradepost timers`: what is due, and when.

use clap::Subcommand;
use commands::timers::{self, Timer};

use super::output::show;
use super::{Failure, Place};
use crate::config::Config;

#[derive(Debug, Subcommand)]
pub(super) enum Timers {
    /// List what is due, nearest first: auctions that start and end, deadlines, questions to payment providers.
    ///
    /// A timer leaves the list when the event that it has caused is in the log. One that stays there after its time is
    /// tried again and again; the log of the service tells why.
    List {
        /// How many at most.
        #[arg(short = 'n', long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=100_000))]
        limit: i64,
        /// Answer in JSON.
        #[arg(long)]
        json: bool,
    },
}

impl Timers {
    pub(super) async fn run(self, config: &Config) -> Result<(), Failure> {
        let Self::List { limit, json } = self;
        let place = Place::beside(config).await?;
        let listed = list(&place, limit, json).await;
        place.leave(listed).await
    }
}

async fn list(place: &Place, limit: i64, json: bool) -> Result<(), Failure> {
    crate::app::prepare(&place.database).await?;
    let pool = place.database.pool(1);
    let timers = timers::nearest(&pool, limit).await?;
    pool.close().await;
    let line = |Timer { kind, aggregate_id, subject, due_at, .. }: &Timer| {
        let about = if subject == aggregate_id { String::new() } else { format!(" about {subject}") };
        format!("{} {kind} of {aggregate_id}{about}", due_at.format("%Y-%m-%dT%H:%M:%S%.3fZ"))
    };
    let lines: Vec<_> = timers.iter().map(line).collect();
    show(json, &timers, if lines.is_empty() { "Nothing is due.".to_owned() } else { lines.join("\n") })
}
