//! The log as the database has it, with what the reader of the product leaves out.

use std::collections::BTreeMap;

use eventstore::Position;
use eventstore::event::RecordedEvent;
use eventstore::log::Digest;
use sqlx::types::Json;
use sqlx::{FromRow, PgConnection};

use crate::fail::OrFail;
use crate::history::NOBODY;

/// What is stored under a key in place of an answer if the command was refused while an earlier attempt was in doubt.
const REFUSED: &str = r#""refused in doubt""#;

/// Everything that was ever written.
#[derive(Clone, Debug, Default)]
pub struct Log {
    /// In the order of their positions.
    pub events: Vec<Logged>,
    /// What `log_head` says.
    pub head: Position,
    /// The commands that were accepted under a key.
    pub keys: Vec<StoredKey>,
}

/// An event and who caused it.
#[derive(Clone, Debug, FromRow)]
pub struct Logged {
    /// The event.
    #[sqlx(flatten)]
    pub event: RecordedEvent,
    /// Actor, cause, key.
    pub metadata: Json<BTreeMap<String, String>>,
}

/// An accepted key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct StoredKey {
    /// The hash of scope and key.
    pub key: Digest,
    /// The position of its answer.
    pub position: Position,
}

impl Log {
    /// Reads all of it.
    pub async fn read(connection: &mut PgConnection) -> Self {
        let events = sqlx::query_as(
            "select position, commit_position, event_id, aggregate_type, aggregate_id, sequence, event_type,
                event_version, payload::text as payload, recorded_at, metadata
             from events order by position",
        );
        let events = events.fetch_all(&mut *connection).await.or_fail("read the log");
        let keys: Vec<(Vec<u8>, i64)> =
            sqlx::query_as("select key, position from command_keys where answer::text <> $1")
                .bind(REFUSED)
                .fetch_all(&mut *connection)
                .await
                .or_fail("read the keys");
        let key = |(key, position): (Vec<u8>, i64)| {
            let key = Digest::try_from(key.as_slice()).or_fail("read a key");
            StoredKey { key, position }
        };
        let head = eventstore::log::head(connection).await.or_fail("read the head of the log");
        Self { events, head, keys: keys.into_iter().map(key).collect() }
    }

    /// The units of work, in order: what one command caused.
    pub(super) fn units(&self) -> impl Iterator<Item = &[Logged]> {
        self.events.chunk_by(|one, next| one.event.commit_position == next.event.commit_position)
    }
}

impl Logged {
    /// Who caused it and under which key, if it was a client's command with one.
    pub(super) fn command(&self) -> Option<(&str, &str)> {
        let actor = self.metadata.get("actor").map(String::as_str)?;
        let actor = if actor == NOBODY { actor } else { actor.strip_prefix("account:")? };
        Some((actor, self.metadata.get("command_key")?))
    }
}
