//! Loading the state of one aggregate: its last snapshot, if there is a good one, and the events after it, in one query.
//!
//! A snapshot saves reading a long stream from its beginning; the truth it never is. It counts only for the rules that
//! made it ([`domain::RULES`]): after a change of them streams are read whole, and their snapshots taken anew.

use std::collections::BTreeMap;

use domain::Aggregate;
use futures::TryStreamExt;
use futures::stream::BoxStream;
use sqlx::{FromRow, PgConnection, PgExecutor, PgPool};
use thiserror::Error;
use uuid::Uuid;

use crate::audit::NAMED;

/// Why a stream could not be loaded.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The database could not be read.
    #[error("the stream could not be read: {0}")]
    Unreachable(#[from] sqlx::Error),
    /// The snapshot is no state.
    #[error("the snapshot at version {version} cannot be read: {reason}")]
    Snapshot {
        /// How many events are in it.
        version: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// An event of the stream cannot be read, or one is missing.
    #[error("event {sequence} of the stream cannot be read: {reason}")]
    Unreadable {
        /// Its place in the stream.
        sequence: u64,
        /// What is wrong with it.
        reason: String,
    },
}

/// An aggregate as the log has it.
#[derive(Clone, Debug)]
pub struct Loaded<A> {
    /// The fold of its events.
    pub state: A,
    /// How many there are.
    pub version: u64,
    /// How many of them the snapshot spared reading.
    pub in_snapshot: u64,
    /// The last that was read; nil if none was.
    pub last_event: Uuid,
}

/// The state of an aggregate at a version.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Of which type.
    pub aggregate_type: &'static str,
    /// Which one.
    pub id: Uuid,
    /// How many of its events are in it.
    pub version: u64,
    /// The last of them.
    pub last_event: Uuid,
    /// The state as JSON.
    pub state: String,
}

/// Reads streams.
#[derive(Clone, Debug)]
pub struct Streams {
    pool: PgPool,
}

/// A snapshot, or an event after it.
#[derive(Debug, FromRow)]
pub struct Step {
    /// How many events of the stream there are up to here.
    pub sequence: i64,
    /// Nothing for a snapshot.
    pub event_id: Option<Uuid>,
    /// The event as JSON, or the state.
    pub payload: String,
}

/// Where streams are read from.
pub trait Steps: Send + Sync {
    /// The snapshot of a stream by these rules, if there is one, and the events after it, in order.
    fn steps<'a>(
        &'a self,
        aggregate_type: &'static str,
        id: Uuid,
        rules: &'static str,
    ) -> BoxStream<'a, Result<Step, sqlx::Error>>;
}

impl Steps for PgPool {
    fn steps<'a>(
        &'a self,
        aggregate_type: &'static str,
        id: Uuid,
        rules: &'static str,
    ) -> BoxStream<'a, Result<Step, sqlx::Error>> {
        sqlx::query_as::<_, Step>(LOAD).bind(aggregate_type).bind(id.to_string()).bind(rules).fetch(self)
    }
}

/// Rules by which there is no snapshot.
const NO_RULES: &str = "";

/// The snapshot by the rules `$3`, and the events after it.
const LOAD: &str = "
with snapshot as materialized (
    select version, state::text as state from snapshots where aggregate_type = $1 and aggregate_id = $2 and rules = $3
)
select version as sequence, null::uuid as event_id, state as payload from snapshot
union all
(select sequence, event_id, payload::text from events
 where aggregate_type = $1 and aggregate_id = $2 and sequence > coalesce((select version from snapshot), 0)
 order by sequence)";

impl Streams {
    /// The streams of the log that `pool` reaches.
    pub fn new(pool: PgPool) -> Self {
        Self { pool }
    }

    /// Where they are.
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// The state of one stream. One without events has version 0.
    pub async fn load<A: Aggregate>(&self, id: Uuid) -> Result<Loaded<A>, LoadError> {
        load(&self.pool, id).await
    }
}

/// The state of one stream, wherever it is read from. One without events has version 0.
pub async fn load<A: Aggregate>(source: &dyn Steps, id: Uuid) -> Result<Loaded<A>, LoadError> {
    match load_upon(source, id, domain::RULES).await {
        Err(LoadError::Snapshot { version, reason }) => {
            tracing::error!(aggregate_type = A::TYPE, %id, version, reason, "a snapshot cannot be read");
            load_upon(source, id, NO_RULES).await
        }
        loaded => loaded,
    }
}

/// The state of one stream, upon a snapshot by these rules.
async fn load_upon<A: Aggregate>(source: &dyn Steps, id: Uuid, rules: &'static str) -> Result<Loaded<A>, LoadError> {
    let mut loaded = Loaded { state: A::default(), version: 0, in_snapshot: 0, last_event: Uuid::nil() };
    let mut steps = source.steps(A::TYPE, id, rules);
    while let Some(Step { sequence, event_id, payload }) = steps.try_next().await? {
        let sequence = sequence.unsigned_abs();
        let Some(event_id) = event_id else {
            let state = serde_json::from_str(&payload);
            let state = state.map_err(|error| LoadError::Snapshot { version: sequence, reason: error.to_string() })?;
            loaded = Loaded { state, version: sequence, in_snapshot: sequence, ..loaded };
            continue;
        };
        let unreadable = |reason| LoadError::Unreadable { sequence, reason };
        loaded.version += 1;
        if sequence != loaded.version {
            return Err(unreadable(format!("event {} is missing before it", loaded.version)));
        }
        let event: A::Event = serde_json::from_str(&payload).map_err(|error| unreadable(error.to_string()))?;
        loaded.state.evolve(&event);
        loaded.last_event = event_id;
    }
    Ok(loaded)
}

/// Keeps snapshots, each in the place of an older one of the same aggregate or one by other rules. One whose last event the
/// log does not have is not kept: the log may have lost it since.
pub async fn keep(executor: impl PgExecutor<'_>, snapshots: &[Snapshot]) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into snapshots (aggregate_type, aggregate_id, version, rules, state)
         select s.aggregate_type, s.aggregate_id, s.version, $5, s.state::json
         from unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $6::uuid[])
                as s (aggregate_type, aggregate_id, version, state, last_event)
            join events on events.aggregate_type = s.aggregate_type and events.aggregate_id = s.aggregate_id
                and events.sequence = s.version and events.event_id = s.last_event
         on conflict (aggregate_type, aggregate_id) do update
            set version = excluded.version, rules = excluded.rules, state = excluded.state
            where snapshots.version < excluded.version or snapshots.rules <> excluded.rules",
    )
    .bind(snapshots.iter().map(|snapshot| snapshot.aggregate_type).collect::<Vec<_>>())
    .bind(snapshots.iter().map(|snapshot| snapshot.id.to_string()).collect::<Vec<_>>())
    .bind(snapshots.iter().map(|snapshot| snapshot.version.cast_signed()).collect::<Vec<_>>())
    .bind(snapshots.iter().map(|snapshot| snapshot.state.as_str()).collect::<Vec<_>>())
    .bind(domain::RULES)
    .bind(snapshots.iter().map(|snapshot| snapshot.last_event).collect::<Vec<_>>())
    .execute(executor)
    .await?;
    Ok(())
}

/// Compares every snapshot that counts with the fold of the events that are in it. Tells what differs, a sentence each.
pub async fn audit(pool: &PgPool) -> Result<Vec<String>, sqlx::Error> {
    let kept: Vec<(String, String, i64, String)> = sqlx::query_as(
        "select aggregate_type, aggregate_id, version, state::text from snapshots where rules = $1
         order by aggregate_type, aggregate_id",
    )
    .bind(domain::RULES)
    .fetch_all(pool)
    .await?;
    let mut findings = Vec::new();
    for (aggregate_type, id, version, state) in kept {
        let payloads: Vec<String> = sqlx::query_scalar(
            "select payload::text from events where aggregate_type = $1 and aggregate_id = $2 and sequence <= $3
             order by sequence",
        )
        .bind(&aggregate_type)
        .bind(&id)
        .bind(version)
        .fetch_all(pool)
        .await?;
        let holds = i64::try_from(payloads.len()) == Ok(version) && is_fold(&aggregate_type, &payloads, &state);
        if !holds {
            findings.push(format!("that of {aggregate_type} {id} at version {version} is not what its events come to"));
        }
        if findings.len() >= NAMED {
            break;
        }
    }
    Ok(findings)
}

/// Some events of a stream, one after another.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Turn {
    /// The kind of aggregate.
    pub aggregate_type: String,
    /// The aggregate.
    pub aggregate_id: Uuid,
    /// The place of the first of them.
    pub first: i64,
    /// The place of the last.
    pub last: i64,
}

/// A state before some events and after them, as JSON.
pub type Turned = (serde_json::Value, serde_json::Value);

/// What aggregates were before and after each turn, by the rules of today; nothing where that cannot be told. Reads every
/// stream whole up to there.
pub async fn turns(connection: &mut PgConnection, turns: &[Turn]) -> Result<Vec<Option<Turned>>, sqlx::Error> {
    if turns.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Vec<(i64, String)> = sqlx::query_as(
        "select turn, payload::text
         from unnest($1::text[], $2::text[], $3::bigint[]) with ordinality as t (type, id, last, turn)
            join public.events on aggregate_type = type and aggregate_id = id and sequence <= last
         order by turn, sequence",
    )
    .bind(turns.iter().map(|turn| turn.aggregate_type.as_str()).collect::<Vec<_>>())
    .bind(turns.iter().map(|turn| turn.aggregate_id.to_string()).collect::<Vec<_>>())
    .bind(turns.iter().map(|turn| turn.last).collect::<Vec<_>>())
    .fetch_all(connection)
    .await?;
    let mut payloads: BTreeMap<i64, Vec<String>> = BTreeMap::new();
    for (turn, payload) in rows {
        payloads.entry(turn).or_default().push(payload);
    }
    let turned = (1..).zip(turns).map(|(number, turn)| {
        let payloads = payloads.remove(&number).unwrap_or_default();
        let (fold, before) = (fold_of(&turn.aggregate_type)?, usize::try_from(turn.first - 1).ok()?);
        Some((fold(payloads.get(..before)?).ok()?, fold(&payloads).ok()?))
    });
    Ok(turned.collect())
}

/// Makes the state of one kind of aggregate out of its events, both as JSON.
type Fold = fn(&[String]) -> Result<serde_json::Value, serde_json::Error>;

/// The fold of a kind of aggregate that this binary knows.
fn fold_of(aggregate_type: &str) -> Option<Fold> {
    macro_rules! folds {
        ($($aggregate:ident in $module:ident by $id:ident),+ $(,)?) => {
            match aggregate_type {
                $(domain::$module::$aggregate::TYPE => Some(fold::<domain::$module::$aggregate>),)+
                _ => None,
            }
        };
    }
    domain::every_aggregate!(folds)
}

/// Whether a state, as JSON, is the fold of these events.
fn is_fold(aggregate_type: &str, payloads: &[String], state: &str) -> bool {
    let fold = fold_of(aggregate_type).and_then(|fold| fold(payloads).ok());
    let state: Option<serde_json::Value> = serde_json::from_str(state).ok();
    fold.is_some() && fold == state
}

fn fold<A: Aggregate>(payloads: &[String]) -> Result<serde_json::Value, serde_json::Error> {
    let mut state = A::default();
    for payload in payloads {
        state.evolve(&serde_json::from_str(payload)?);
    }
    serde_json::to_value(state)
}
