//! What a schema holds, in a few bytes: so that "rebuilt from the log it is the same" can be shown, byte for byte.

use std::collections::BTreeMap;
use std::fmt;

use futures::TryStreamExt;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use sqlx::PgConnection;

/// What a table holds.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct TableDigest {
    /// The table.
    pub table: String,
    /// How many rows it has.
    pub rows: u64,
    /// SHA-256, in hex, of its rows in the order of the primary key, as `copy … to stdout` writes them.
    pub sha256: String,
}

/// What the tables of a schema hold, by table name. Run it in a transaction that sees one snapshot (repeatable read), or
/// under the checkpoint's lock, if the schema is in use.
pub async fn digest(connection: &mut PgConnection, schema: &str) -> Result<Vec<TableDigest>, sqlx::Error> {
    let tables: Vec<(String, String)> = sqlx::query_as(
        "select relname::text, format('copy (select * from %I.%I order by %s) to stdout', nspname, relname, columns)
         from pg_class join pg_namespace on pg_namespace.oid = relnamespace
         join pg_index on indrelid = pg_class.oid and indisprimary
         cross join lateral (
            select string_agg(quote_ident(attname), ', ' order by place) as columns
            from unnest(indkey) with ordinality as key (attnum, place)
            join pg_attribute on attrelid = indrelid and pg_attribute.attnum = key.attnum
         ) as primary_key
         where nspname = $1 order by 1",
    )
    .bind(schema)
    .fetch_all(&mut *connection)
    .await?;
    let mut digests = Vec::with_capacity(tables.len());
    for (table, copy) in tables {
        let mut hash = Sha256::new();
        let mut rows = 0;
        let mut bytes = connection.copy_out_raw(&copy).await?;
        while let Some(chunk) = bytes.try_next().await? {
            // A line break within a value is written as `\n`, so every real one ends a row.
            rows += chunk.iter().map(|byte| u64::from(*byte == b'\n')).sum::<u64>();
            hash.update(&chunk);
        }
        digests.push(TableDigest { table, rows, sha256: format!("{:x}", hash.finalize()) });
    }
    Ok(digests)
}

/// A table that does not hold what it should.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Difference {
    /// The table.
    pub table: String,
    /// What the live one holds, if there is one.
    pub live: Option<TableDigest>,
    /// What the rebuilt one holds, if there is one.
    pub rebuilt: Option<TableDigest>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = |side: &Option<TableDigest>| match side {
            Some(digest) => format!("{} rows, sha256 {:.12}…", digest.rows, digest.sha256),
            None => "no such table".to_owned(),
        };
        let (live, rebuilt) = (told(&self.live), told(&self.rebuilt));
        write!(f, "table `{}` differs: live {live}; rebuilt from the log {rebuilt}", self.table)
    }
}

/// The tables in which two schemas differ; none if they hold the same, byte for byte.
pub fn compare(live: &[TableDigest], rebuilt: &[TableDigest]) -> Vec<Difference> {
    let mut tables: BTreeMap<&str, (Option<&TableDigest>, Option<&TableDigest>)> = BTreeMap::new();
    for digest in live {
        tables.entry(&digest.table).or_default().0 = Some(digest);
    }
    for digest in rebuilt {
        tables.entry(&digest.table).or_default().1 = Some(digest);
    }
    let different = tables.into_iter().filter(|(_, (live, rebuilt))| live != rebuilt);
    different
        .map(|(table, (live, rebuilt))| Difference {
            table: table.to_owned(),
            live: live.cloned(),
            rebuilt: rebuilt.cloned(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(name: &str, sha256: &str) -> TableDigest {
        TableDigest { table: name.to_owned(), rows: 1, sha256: sha256.to_owned() }
    }

    #[test]
    fn a_table_that_is_missing_or_different_is_named() {
        let live = [table("a", "1"), table("b", "1"), table("c", "1")];
        let rebuilt = [table("a", "1"), table("b", "2"), table("d", "1")];
        let different: Vec<_> = compare(&live, &rebuilt).into_iter().map(|difference| difference.table).collect();
        assert_eq!(different, ["b", "c", "d"]);
        assert_eq!(compare(&live, &live), []);
    }
}
