//! What does this page say, and what did it say before?

use domain::page::{Event, Page};
use domain::{Aggregate, Timestamp};
use eventstore::Position;
use eventstore::event::DomainEvent;
use eventstore::follower::{Batch, FollowError, Recorded};
use serde::Serialize;
use sqlx::{FromRow, PgConnection, PgExecutor};
use uuid::Uuid;

use crate::{ReadModel, rows};

/// The read model.
pub const MODEL: ReadModel = ReadModel {
    name: "pages",
    next: "pages_next",
    version: 1,
    about: &[Page::TYPE],
    ddl: include_str!("pages.sql"),
    apply: |connection, batch| Box::pin(apply(connection, batch)),
};

/// A version of a page.
#[derive(Clone, Debug, FromRow, PartialEq, Serialize)]
pub struct Version {
    /// The name of the page in addresses.
    pub slug: String,
    /// Which version, from 1.
    pub version: i64,
    /// Its title.
    pub title: String,
    /// What it says, in Markdown.
    pub body: String,
    /// Who has published it.
    pub published_by: Uuid,
    /// When.
    pub published_at: Timestamp,
    /// Where it is in the log.
    pub position: Position,
}

async fn apply(connection: &mut PgConnection, batch: &Batch) -> Result<(), FollowError> {
    // A version never changes: there is nothing to load.
    let statement = "insert into versions select * from json_populate_recordset(null::versions, $1::json)";
    Ok(rows::write(connection, statement, batch.events.iter().filter_map(version)).await?)
}

fn version(recorded: &Recorded) -> Option<Version> {
    let DomainEvent::Page(_, Event::PagePublished { content, by }) = &recorded.event else { return None };
    Some(Version {
        slug: content.slug.clone(),
        version: recorded.sequence,
        title: content.title.clone(),
        body: content.body.clone(),
        published_by: by.0,
        published_at: recorded.recorded_at,
        position: recorded.position,
    })
}

/// A version of a page; the last one unless told.
pub async fn get(
    executor: impl PgExecutor<'_>,
    slug: &str,
    version: Option<i64>,
) -> Result<Option<Version>, sqlx::Error> {
    sqlx::query_as(
        "select * from pages.versions where slug = $1 and ($2::bigint is null or version = $2)
         order by version desc limit 1",
    )
    .bind(rows::stored(slug))
    .bind(version)
    .fetch_optional(executor)
    .await
}

#[cfg(test)]
mod tests {
    use domain::page::Content;
    use domain::{AccountId, PageId};

    use super::*;
    use crate::tests::history::recorded;

    #[test]
    fn the_place_of_an_event_in_its_stream_is_the_version() {
        let content = Content { slug: "terms".to_owned(), title: "Terms".to_owned(), body: "*kind*".to_owned() };
        let event = Event::PagePublished { content, by: AccountId(Uuid::from_u128(1)) };
        let shown = version(&recorded(3, DomainEvent::Page(PageId::of("terms"), event))).unwrap();
        assert_eq!((&*shown.slug, shown.version, shown.position, &*shown.body), ("terms", 3, 3, "*kind*"));
    }
}
