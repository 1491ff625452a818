//! Rows on their way out of a table and back.

use std::collections::BTreeSet;
use std::io;

use eventstore::event::DomainEvent;
use eventstore::follower::Recorded;
use serde::Serialize;
use serde_json::ser::{CharEscape, CompactFormatter, Formatter, Serializer};
use sqlx::PgConnection;
use uuid::Uuid;

/// The ids that `of` finds in the events of a batch, each once.
pub(crate) fn touched<I: IntoIterator<Item = Uuid>>(events: &[Recorded], of: impl Fn(&DomainEvent) -> I) -> Vec<Uuid> {
    let ids: BTreeSet<Uuid> = events.iter().flat_map(|recorded| of(&recorded.event)).collect();
    ids.into_iter().collect()
}

/// Writes rows with one statement, which finds them in `$1` by `json_populate_recordset`.
pub(crate) async fn write<R: Serialize>(
    connection: &mut PgConnection,
    statement: &'static str,
    rows: impl IntoIterator<Item = R>,
) -> Result<(), sqlx::Error> {
    let rows: Vec<R> = rows.into_iter().collect();
    if !rows.is_empty() {
        sqlx::query(statement).bind(recordset(&rows)?).execute(connection).await?;
    }
    Ok(())
}

fn recordset<R: Serialize>(rows: &[R]) -> Result<String, sqlx::Error> {
    let mut json = Vec::new();
    let written = rows.serialize(&mut Serializer::with_formatter(&mut json, WithoutNul));
    written.map_err(|error| sqlx::Error::Encode(error.into()))?;
    String::from_utf8(json).map_err(|error| sqlx::Error::Encode(error.into()))
}

/// A text to look for, as it would have been written.
pub(crate) fn stored(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// Postgres has no NUL in texts. Whatever the log says must find its way into the tables, so one is shown as the
/// replacement character.
struct WithoutNul;

impl Formatter for WithoutNul {
    fn write_char_escape<W: io::Write + ?Sized>(&mut self, writer: &mut W, escape: CharEscape) -> io::Result<()> {
        match escape {
            CharEscape::AsciiControl(0) => writer.write_all("\u{fffd}".as_bytes()),
            other => CompactFormatter.write_char_escape(writer, other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nul_is_replaced_and_everything_else_stays() {
        let json = recordset(&["a\0b\n\\u0000"]).unwrap();
        assert_eq!(serde_json::from_str::<Vec<String>>(&json).unwrap(), [stored("a\0b\n\\u0000")]);
    }
}
