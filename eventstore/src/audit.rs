//! Whether the log is whole: no gap, no repeat, no unit of work cut, the head where it ends, and nothing in it that
//! cannot be read as what it says it is.

use serde::Serialize;
use sqlx::{Connection, Executor, PgConnection};

use crate::event::{Interest, RecordedEvent};
use crate::{Position, log};

/// How many places each question names; one is enough to know that something is wrong.
pub(crate) const NAMED: usize = 10;
/// About how many events are read at a time.
const BATCH_EVENTS: i64 = 2_000;

/// What was found in the log.
#[derive(Clone, Debug, Serialize)]
pub struct LogAudit {
    /// Where the head was.
    pub head: Position,
    /// What is wrong, a sentence each.
    pub findings: Vec<String>,
}

/// The questions. Each answers with a sentence per place that is wrong, at most `$1` of them.
const QUESTIONS: [&str; 5] = [
    "select format('the log ends at position %s, and its head says %s', last, head.position)
     from (select coalesce(max(position), 0) as last from events) as e, log_head as head
     where last <> head.position limit $1",
    "select format('after position %s comes %s', before, position)
     from (select position, lag(position, 1, 0::bigint) over (order by position) as before from events) as e
     where position <> before + 1 order by position limit $1",
    "select format('the event at position %s has sequence %s in its stream (%s %s), where %s comes next',
        position, sequence, aggregate_type, aggregate_id, place)
     from (
        select position, sequence, aggregate_type, aggregate_id,
            row_number() over (partition by aggregate_type, aggregate_id order by position) as place
        from events
     ) as e
     where sequence <> place order by position limit $1",
    "select format('the unit of work of the event at position %s ends at %s, but the log does not say so there',
        position, commit_position)
     from (select position, commit_position, lead(commit_position) over (order by position) as next from events) as e
     where commit_position <> position and (commit_position < position or next is distinct from commit_position)
     order by position limit $1",
    "select format('`%s` has come to position %s, beyond the end of the log', f.name, f.position)
     from followers as f, log_head as head where f.position > head.position order by f.name limit $1",
];

/// The question that comes before reading events: what belongs to no stream cannot be read.
const STRAYS: &str = "select format('the event at position %s belongs to `%s`, which is no id', position, aggregate_id)
    from events where aggregate_id !~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' order by position limit $1";

/// Looks at the log and its checkpoints as they are in one snapshot.
pub async fn audit(connection: &mut PgConnection) -> Result<LogAudit, sqlx::Error> {
    let mut transaction = connection.begin().await?;
    transaction.execute("set transaction isolation level repeatable read").await?;
    let head = log::head(&mut *transaction).await?;
    let mut findings = gaps(&mut transaction).await?;
    let strays = ask(&mut transaction, STRAYS).await?;
    findings.extend(if strays.is_empty() { misread(&mut transaction, head).await? } else { strays });
    transaction.rollback().await?;
    Ok(LogAudit { head, findings })
}

/// What of a log is not whole that stands still for this transaction: gaps, repeats, units of work that are cut, a head
/// elsewhere.
pub(crate) async fn gaps(transaction: &mut PgConnection) -> Result<Vec<String>, sqlx::Error> {
    let mut findings = Vec::new();
    for question in QUESTIONS {
        findings.extend(ask(transaction, question).await?);
    }
    Ok(findings)
}

async fn ask(connection: &mut PgConnection, question: &'static str) -> Result<Vec<String>, sqlx::Error> {
    let named = i64::try_from(NAMED).unwrap_or(i64::MAX);
    sqlx::query_scalar(question).bind(named).fetch_all(connection).await
}

/// Reads every event, and names those that cannot be read as what they say they are.
async fn misread(connection: &mut PgConnection, head: Position) -> Result<Vec<String>, sqlx::Error> {
    let (mut found, mut reached) = (Vec::new(), 0);
    while reached < head && found.len() < NAMED {
        let next = head.min(reached + BATCH_EVENTS);
        let events = log::read_range(connection, reached, next, Interest::Everything).await?;
        found.extend(events.iter().filter_map(|event| flaw(event)));
        reached = next;
    }
    found.truncate(NAMED);
    Ok(found)
}

/// What is wrong with an event by itself.
fn flaw(recorded: &RecordedEvent) -> Option<String> {
    let RecordedEvent { position, event_type, .. } = recorded;
    match recorded.decode() {
        Ok(event) if event.event_type() == event_type => None,
        Ok(event) => {
            Some(format!("the event at position {position} says `{event_type}` and is `{}`", event.event_type()))
        }
        Err(error) => Some(error.to_string()),
    }
}
