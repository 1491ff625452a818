//! Whether the log is whole: no gap, no repeat, no unit of work cut, the head where it ends, and nothing in it that
//! cannot be read as what it says it is.

use futures::TryStreamExt;
use serde::Serialize;
use sqlx::{Connection, Executor, PgConnection};

use crate::event::RecordedEvent;
use crate::{Position, log};

/// How many places each question names; one is enough to know that something is wrong.
const NAMED: usize = 10;
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
const QUESTIONS: [&str; 6] = [
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
    "select format('the event at position %s belongs to `%s`, which is no id', position, aggregate_id)
     from events where aggregate_id !~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' order by position limit $1",
    "select format('`%s` has come to position %s, beyond the end of the log', f.name, f.position)
     from followers as f, log_head as head where f.position > head.position order by f.name limit $1",
];

/// Looks at the log and its checkpoints as they are in one snapshot.
pub async fn audit(connection: &mut PgConnection) -> Result<LogAudit, sqlx::Error> {
    let mut transaction = connection.begin().await?;
    transaction.execute("set transaction isolation level repeatable read").await?;
    let head = log::head(&mut *transaction).await?;
    let mut findings = Vec::new();
    for question in QUESTIONS {
        let sentences = sqlx::query_scalar::<_, String>(question)
            .bind(i64::try_from(NAMED).unwrap_or(i64::MAX))
            .fetch(&mut *transaction);
        findings.extend(sentences.try_collect::<Vec<_>>().await?);
    }
    let mut reached = 0;
    let mut unreadable = Vec::new();
    // What belongs to no stream cannot be read at all, and has been named.
    while findings.iter().all(|finding: &String| !finding.contains("which is no id"))
        && reached < head
        && unreadable.len() < NAMED
    {
        let next = head.min(reached + BATCH_EVENTS);
        let events = log::read_range(&mut transaction, reached, next).await?;
        unreadable.extend(events.iter().filter_map(misread));
        reached = next;
    }
    unreadable.truncate(NAMED);
    findings.extend(unreadable);
    transaction.rollback().await?;
    Ok(LogAudit { head, findings })
}

/// What is wrong with an event by itself.
fn misread(recorded: &RecordedEvent) -> Option<String> {
    let RecordedEvent { position, event_type, .. } = recorded;
    match recorded.decode() {
        Ok(event) if event.event_type() == event_type => None,
        Ok(event) => {
            Some(format!("the event at position {position} says `{event_type}` and is `{}`", event.event_type()))
        }
        Err(error) => Some(error.to_string()),
    }
}
