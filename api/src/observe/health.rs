//! How the parts of a node are, and since when.
//!
//! A part is `ok`, `degraded` (people trade, but something is late) or `failing` (commands are refused). What is not
//! known is not told: while the database is away, nothing is said of what lies in it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_nats::Client;
use async_nats::connection::State;
use chrono::{DateTime, Utc};
use domain::Timestamp;
use eventstore::Position;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Observation, observe};
use crate::app::{App, Parts};

/// A lag of more events than this is not just the moment between a command and its projection.
const LAG_LIMIT: i64 = 10_000;
/// Nor is a longer one than this, in seconds.
const LAG_SECONDS: f64 = 10.0;
/// A timer that is later than this is late, in seconds.
const TIMER_SECONDS: f64 = 10.0;
/// How often the parts are looked at when nobody asks.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// How something is.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// All is well.
    #[default]
    Ok,
    /// People trade, but something is late.
    Degraded,
    /// Commands are refused.
    Failing,
}

/// How one part is.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct PartHealth {
    /// `database`, `decisions`, `nats`, `followers` or `timers`.
    #[schema(example = "database")]
    pub part: &'static str,
    /// How it is.
    pub status: Status,
    /// Since when it has been so, as far as this process knows.
    pub since: DateTime<Utc>,
    /// What is wrong, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// How a follower is.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct FollowerHealth {
    /// A read model or a process.
    #[schema(example = "catalogue")]
    pub name: String,
    /// The last event that it has taken.
    pub position: Position,
    /// Events that it has yet to take.
    pub lag: i64,
    /// For how many seconds the first of them has waited.
    pub lag_s: f64,
    /// Whether an operator lets it stand still.
    pub paused: bool,
    /// Events that it could not take, and those that wait behind them.
    pub parked: i64,
}

/// How a node is.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Details {
    /// That of the worst part.
    pub status: Status,
    /// How the parts are.
    pub parts: Vec<PartHealth>,
    /// The last event of the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head: Option<Position>,
    /// How far each read model and process is.
    pub followers: Vec<FollowerHealth>,
}

/// Remembers since when each part has been as it is.
#[derive(Debug, Default)]
pub struct Health(Mutex<BTreeMap<&'static str, (Status, Timestamp)>>);

impl Health {
    fn note(&self, finding: Finding, at: Timestamp) -> PartHealth {
        let Finding { part, status, detail } = finding;
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (before, since) = known.entry(part).or_insert((Status::Ok, at));
        if *before != status {
            tell(part, status, detail.as_deref());
            (*before, *since) = (status, at);
        }
        PartHealth { part, status, since: *since, detail }
    }
}

fn tell(part: &str, status: Status, detail: Option<&str>) {
    match status {
        Status::Ok => tracing::info!(part, "well again"),
        Status::Degraded | Status::Failing => tracing::warn!(part, ?status, detail, "not well"),
    }
}

/// What was found about a part.
struct Finding {
    part: &'static str,
    status: Status,
    detail: Option<String>,
}

impl Finding {
    /// The part is `status` if something is wrong with it.
    fn new(part: &'static str, status: Status, wrong: Option<String>) -> Self {
        Self { part, status: if wrong.is_some() { status } else { Status::Ok }, detail: wrong }
    }
}

/// Looks at everything. A part that is new to a node gets its line here, or in [`in_the_database`].
pub async fn look(app: &Parts) -> Details {
    let observed = observe(app).await.ok();
    let away = observed.is_none().then(|| "It does not answer.".to_owned());
    let refuses = (!app.engine.is_available()).then(|| "This node cannot decide; every command gets 503.".to_owned());
    let mut findings =
        vec![Finding::new("database", Status::Failing, away), Finding::new("decisions", Status::Failing, refuses)];
    findings.extend(app.nats.as_ref().map(nats));
    findings.extend(observed.iter().flat_map(in_the_database));
    let at = app.clock.now();
    let parts: Vec<_> = findings.into_iter().map(|finding| app.health.note(finding, at)).collect();
    Details {
        status: parts.iter().map(|part| part.status).max().unwrap_or_default(),
        parts,
        head: observed.as_ref().and_then(|observed| observed.followers.first()).map(|follower| follower.head),
        followers: observed.iter().flat_map(followers).collect(),
    }
}

/// Without NATS every node decides by itself and reads the log: people trade, only slower.
fn nats(client: &Client) -> Finding {
    let connected = client.connection_state() == State::Connected;
    let away = (!connected).then(|| "It is not connected; nodes decide by themselves and read the log.".to_owned());
    Finding::new("nats", Status::Degraded, away)
}

/// What the database tells of the parts that live in it.
fn in_the_database(observed: &Observation) -> [Finding; 2] {
    let named = |what: &str, is_so: fn(&FollowerHealth) -> bool| {
        let names: Vec<_> = followers(observed).filter(is_so).map(|follower| follower.name).collect();
        (!names.is_empty()).then(|| format!("{what}: {}.", names.join(", ")))
    };
    let wrong = [
        named("Behind", |follower| follower.lag > LAG_LIMIT || follower.lag_s > LAG_SECONDS),
        named("Events are parked", |follower| follower.parked > 0),
    ];
    let wrong: Vec<_> = wrong.into_iter().flatten().collect();
    let wrong = (!wrong.is_empty()).then(|| wrong.join(" "));
    let late_s = observed.overdue_seconds();
    let late = (late_s > TIMER_SECONDS).then(|| format!("{} are due, for {late_s:.0} s.", observed.overdue.timers));
    [Finding::new("followers", Status::Degraded, wrong), Finding::new("timers", Status::Degraded, late)]
}

fn followers(observed: &Observation) -> impl Iterator<Item = FollowerHealth> {
    observed.followers.iter().map(|follower| FollowerHealth {
        name: follower.name.clone(),
        position: follower.position,
        lag: follower.lag_events,
        lag_s: follower.lag_s(),
        paused: follower.paused,
        parked: follower.parked + follower.waiting,
    })
}

/// Looks now and then, until the task is aborted, so that it is known since when a part has been as it is.
pub async fn watch(app: App) {
    loop {
        look(&app).await;
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
