//! `tradepost projections`: how what follows the log is, and what to do when something is wrong with it.

use clap::Subcommand;
use eventstore::follower;
use eventstore::parking::{self, ParkedEvent, Skip, SkippedEvent};
use serde::Serialize;
use uuid::Uuid;

use super::output::{Output, show};
use super::{Failure, Place};
use crate::app::followers;
use crate::config::Config;

pub(super) mod rebuild;
mod repair;
mod status;

#[derive(Debug, Subcommand)]
pub(super) enum Projections {
    /// List everything that follows the log, and how far it has come.
    ///
    /// These are the read models, the table of timers, and the processes.
    List {
        #[command(flatten)]
        output: Output,
    },
    /// Tell how followers are: version, position, lag, whether they are paused, what is parked, what last went wrong.
    Status {
        /// Which ones; all of them unless named.
        names: Vec<String>,
        #[command(flatten)]
        output: Output,
    },
    Rebuild(rebuild::Rebuild),
    /// Let followers stand still, on every node, until they are resumed.
    ///
    /// Each finishes the batch that it is at. What a paused read model shows grows old; commands go on.
    Pause {
        /// Which ones.
        #[arg(required = true)]
        names: Vec<String>,
        #[command(flatten)]
        output: Output,
    },
    /// Let paused followers go on from where they stopped.
    Resume {
        /// Which ones.
        #[arg(required = true)]
        names: Vec<String>,
        #[command(flatten)]
        output: Output,
    },
    /// List the events that could not be taken, and what waits behind them.
    ///
    /// An event that fails again and again although the database is well is parked, and so is whatever happens to the
    /// same aggregate later. Everything else goes on. See `retry` and `skip`.
    Parked {
        /// For which followers; for all of them unless named.
        names: Vec<String>,
        /// List what was skipped instead, by whom and why.
        #[arg(long)]
        skipped: bool,
        #[command(flatten)]
        output: Output,
    },
    /// Take parked events again, in order, once the cause is gone.
    ///
    /// Takes what is parked of each aggregate up to the first event that still cannot be taken, which stays parked with
    /// what is behind it; then the exit code is not 0. What `notifications` shows depends on the order of everything, so
    /// what is parked there is taken by `rebuild`.
    ///
    /// Examples:
    ///   tradepost projections retry catalogue
    ///   tradepost projections retry catalogue 0190b6c2-6a5e-7b1c-9e55-2f6f6f0f7d11
    #[command(verbatim_doc_comment)]
    Retry {
        /// For which follower.
        name: String,
        /// Of which aggregate; of all of them, in the order of the log, unless named.
        aggregate: Option<Uuid>,
        #[command(flatten)]
        output: Output,
    },
    /// Leave out for good the event of an aggregate that cannot be taken, and take what waits behind it.
    ///
    /// The read model then shows an aggregate to which this event has not happened, so `retry` and a repaired version
    /// come first. Who skips what and why is kept (`parked --skipped`). A rebuild leaves out the same; another version
    /// of the follower takes the event anew.
    ///
    /// Example:
    ///   tradepost projections skip catalogue 0190b6c2-6a5e-7b1c-9e55-2f6f6f0f7d11 --reason "damaged, see case 17"
    #[command(verbatim_doc_comment)]
    Skip {
        /// For which follower.
        name: String,
        /// Of which aggregate, as `parked` shows it.
        aggregate: Uuid,
        /// Why; it is kept.
        #[arg(long, value_parser = clap::builder::NonEmptyStringValueParser::new())]
        reason: String,
        /// Who says so; it is kept.
        #[arg(long, env = "USER", default_value = "operator")]
        by: String,
        #[command(flatten)]
        output: Output,
    },
}

impl Projections {
    pub(super) async fn run(self, config: &Config) -> Result<(), Failure> {
        let place = Place::beside(config).await?;
        let done = self.run_at(&place, config).await;
        place.leave(done).await
    }

    async fn run_at(self, place: &Place, config: &Config) -> Result<(), Failure> {
        place.database.migrate().await?;
        match self {
            Self::List { output } => status::list(place, output.json).await,
            Self::Status { names, output } => status::status(place, &chosen(&names)?, output.json).await,
            Self::Rebuild(rebuild) => rebuild.run(place).await,
            Self::Pause { names, output } => set_paused(place, &chosen(&names)?, true, output.json).await,
            Self::Resume { names, output } => set_paused(place, &chosen(&names)?, false, output.json).await,
            Self::Parked { names, skipped: false, output } => parked(place, &chosen(&names)?, output.json).await,
            Self::Parked { names, skipped: true, output } => skipped(place, &chosen(&names)?, output.json).await,
            Self::Retry { name, aggregate, output } => {
                repair::retry((place, config), one(&name)?, aggregate, output.json).await
            }
            Self::Skip { name, aggregate, reason, by, output } => {
                let skip = Skip { reason: &reason, by: &by };
                repair::skip((place, config), one(&name)?, aggregate, skip, output.json).await
            }
        }
    }
}

/// The followers of these names; all of them if there are none.
fn chosen(names: &[String]) -> Result<Vec<&'static str>, Failure> {
    if names.is_empty() { Ok(followers().collect()) } else { names.iter().map(|name| one(name)).collect() }
}

fn one(name: &str) -> Result<&'static str, Failure> {
    let known = followers().find(|known| *known == name);
    known.ok_or_else(|| {
        format!(
            "nothing of the name `{name}` follows the log; there are {}",
            followers().collect::<Vec<_>>().join(", ")
        )
        .into()
    })
}

async fn set_paused(place: &Place, names: &[&'static str], paused: bool, json: bool) -> Result<(), Failure> {
    /// What became of a follower.
    #[derive(Serialize)]
    struct Told {
        name: &'static str,
        paused: bool,
    }
    let pool = place.database.pool(1);
    for name in names {
        follower::set_paused(&pool, name, paused).await?;
    }
    pool.close().await;
    let told: Vec<_> = names.iter().map(|name| Told { name, paused }).collect();
    let state = if paused { "stands still until it is resumed" } else { "goes on" };
    let lines: Vec<_> = names.iter().map(|name| format!("{name} {state}.")).collect();
    show(json, &told, lines.join("\n"))
}

async fn parked(place: &Place, names: &[&'static str], json: bool) -> Result<(), Failure> {
    let pool = place.database.pool(1);
    let events = parking::list(&pool, names).await?;
    pool.close().await;
    let line = |event: &ParkedEvent| {
        let ParkedEvent { follower, position, aggregate_type, aggregate_id, event_type, .. } = event;
        let why = event.error.as_ref().map_or("waits behind it".to_owned(), |error| {
            format!("tried {} times, last at {}: {error}", event.attempts, event.parked_at)
        });
        format!("{follower} {aggregate_type} {aggregate_id}: {event_type} at {position}: {why}")
    };
    let lines: Vec<_> = events.iter().map(line).collect();
    show(json, &events, if lines.is_empty() { "Nothing is parked.".to_owned() } else { lines.join("\n") })
}

async fn skipped(place: &Place, names: &[&'static str], json: bool) -> Result<(), Failure> {
    let pool = place.database.pool(1);
    let events = parking::skipped(&pool, names).await?;
    pool.close().await;
    let line = |event: &SkippedEvent| {
        let SkippedEvent { follower, version, position, aggregate_id, error, reason, skipped_by, skipped_at } = event;
        format!(
            "{follower} (version {version}) {aggregate_id}: {position}, by {skipped_by} at {skipped_at}: {reason} \
             (could not be taken: {error})"
        )
    };
    let lines: Vec<_> = events.iter().map(line).collect();
    show(json, &events, if lines.is_empty() { "Nothing is skipped.".to_owned() } else { lines.join("\n") })
}
