//! What has somebody done here who did not act for themselves: which act, when, in which capacity, to what?
//!
//! Every event tells in its metadata in which capacity its actor has acted, so whatever staff can do is found here
//! without being listed. The events of one unit of work are one act. The rows name the events alone; why it was done and
//! what was before and after is read in the log when it is asked for ([`told`]), so that nothing personal is kept here
//! and what is told of an act never goes stale.

use domain::Timestamp;
use eventstore::Position;
use eventstore::follower::{Batch, FollowError, Recorded};
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgConnection, PgExecutor, QueryBuilder};
use uuid::Uuid;

use crate::read_model::ACTS;
use crate::{Page, ReadModel, rows};

mod told;

pub use told::{Change, Told, tell};

/// The read model.
pub const MODEL: ReadModel = ReadModel {
    name: "staff_acts",
    next: "staff_acts_next",
    version: 1,
    about: ACTS,
    ddl: include_str!("staff_acts.sql"),
    apply: |connection, batch| Box::pin(apply(connection, batch)),
};

/// An event of an act.
#[derive(Clone, Debug, FromRow, PartialEq, Serialize)]
pub struct Step {
    /// Where it is in the log.
    pub position: Position,
    /// The last position of the same unit of work.
    pub unit: Position,
    /// Who has acted; nobody for an operator at the command line.
    pub actor: Option<Uuid>,
    /// In which capacity: the name of a capability, or `operator`.
    pub capacity: String,
    /// The kind of aggregate that it happened to.
    pub aggregate_type: String,
    /// The aggregate.
    pub aggregate_id: Uuid,
    /// Its place in the stream of that.
    pub sequence: i64,
    /// What happened.
    pub event_type: String,
    /// When.
    pub recorded_at: Timestamp,
}

async fn apply(connection: &mut PgConnection, batch: &Batch) -> Result<(), FollowError> {
    let statement = "insert into steps select * from json_populate_recordset(null::steps, $1::json)";
    Ok(rows::write(connection, statement, batch.events.iter().filter_map(step)).await?)
}

/// The row of an event; nothing for one that is nobody's in a capacity.
fn step(recorded: &Recorded) -> Option<Step> {
    let act = recorded.act.as_ref()?;
    let (aggregate_type, aggregate_id) = recorded.event.subject();
    Some(Step {
        position: recorded.position,
        unit: recorded.commit_position,
        actor: act.account().map(|account| account.0),
        capacity: act.capacity.clone(),
        aggregate_type: aggregate_type.to_owned(),
        aggregate_id,
        sequence: recorded.sequence,
        event_type: recorded.event.event_type().to_owned(),
        recorded_at: recorded.recorded_at,
    })
}

/// Which acts to show: those with a step that is all of this.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// By this account.
    pub actor: Option<Uuid>,
    /// In this capacity.
    pub capacity: Option<String>,
    /// Which happened to this.
    pub subject: Option<Uuid>,
    /// Which happened to something of this kind.
    pub subject_type: Option<String>,
    /// In which this happened.
    pub event_type: Option<String>,
    /// Not before then.
    pub from: Option<Timestamp>,
    /// Before then.
    pub until: Option<Timestamp>,
}

/// Where a page ends.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Cursor {
    /// The last act.
    pub unit: Position,
}

/// Acts after a cursor, the newest first, at most `limit`. Of each all its steps, in order.
pub async fn page(
    connection: &mut PgConnection,
    filter: &Filter,
    after: Option<Cursor>,
    limit: u32,
) -> Result<Page<Vec<Step>, Cursor>, sqlx::Error> {
    let mut query = QueryBuilder::new("select unit from staff_acts.steps where true");
    if let Some(actor) = filter.actor {
        query.push(" and actor = ").push_bind(actor);
    }
    if let Some(capacity) = &filter.capacity {
        query.push(" and capacity = ").push_bind(rows::stored(capacity));
    }
    if let Some(subject) = filter.subject {
        query.push(" and aggregate_id = ").push_bind(subject);
    }
    if let Some(subject_type) = &filter.subject_type {
        query.push(" and aggregate_type = ").push_bind(rows::stored(subject_type));
    }
    if let Some(event_type) = &filter.event_type {
        query.push(" and event_type = ").push_bind(rows::stored(event_type));
    }
    if let Some(from) = filter.from {
        query.push(" and recorded_at >= ").push_bind(from);
    }
    if let Some(until) = filter.until {
        query.push(" and recorded_at < ").push_bind(until);
    }
    if let Some(Cursor { unit }) = after {
        query.push(" and unit < ").push_bind(unit);
    }
    query.push(" group by unit order by unit desc limit ").push_bind(Page::<Position, Cursor>::rows_to_fetch(limit));
    let units: Vec<Position> = query.build_query_scalar().fetch_all(&mut *connection).await?;
    let Page { items: units, next } = Page::of(units, limit, |unit| Cursor { unit: *unit });
    let steps = steps_of(connection, &units).await?;
    let of = |unit: &Position| steps.iter().filter(|step| step.unit == *unit).cloned().collect();
    Ok(Page { items: units.iter().map(of).collect(), next })
}

async fn steps_of(executor: impl PgExecutor<'_>, units: &[Position]) -> Result<Vec<Step>, sqlx::Error> {
    sqlx::query_as("select * from staff_acts.steps where unit = any($1) order by position")
        .bind(units)
        .fetch_all(executor)
        .await
}

#[cfg(test)]
mod tests {
    use domain::page::{self, Content};
    use domain::{AccountId, PageId};
    use eventstore::event::{Act, DomainEvent};

    use super::*;
    use crate::tests::history::recorded;

    #[test]
    fn what_somebody_does_for_themselves_is_no_act() {
        let clerk = AccountId(Uuid::from_u128(1));
        let content = Content { slug: "terms".to_owned(), title: "Terms".to_owned(), body: "*kind*".to_owned() };
        let event = page::Event::PagePublished { content, by: clerk };
        let mut published = recorded(3, DomainEvent::Page(PageId::of("terms"), event));
        assert_eq!(step(&published), None);
        published.act = Some(Act { actor: format!("account:{clerk}"), capacity: "staff".to_owned() });
        let shown = step(&published).unwrap();
        assert_eq!((shown.actor, &*shown.capacity, shown.unit), (Some(clerk.0), "staff", 3));
        assert_eq!((&*shown.aggregate_type, shown.aggregate_id), ("page", PageId::of("terms").0));
        assert_eq!((&*shown.event_type, shown.sequence), ("PagePublished", 3));
        published.act = Some(Act { actor: "operator".to_owned(), capacity: "operator".to_owned() });
        assert_eq!(step(&published).unwrap().actor, None);
    }
}
