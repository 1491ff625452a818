//! The way of a query to the tables that it means: the live ones, or temporary ones that stand for them.
//!
//! Every query names `schema.table`, and the schema of a read model is its name. In the past, `orders.orders` is written
//! `pg_temp.orders`, so that everything else in the query means the same. For that to be sure, no table that is called
//! like its schema has a column that is called like a table beside it; a test sees to it.

use std::fmt;

use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use sqlx::postgres::{PgArguments, PgQueryResult, PgRow, PgStatement, PgTypeInfo};
use sqlx::{Connection, Describe, Either, Execute, Executor, PgConnection, Postgres};
use tokio::runtime::Handle;

use super::{Seen, TEMPORARY, View};
use crate::ReadModel;

/// How a table begins in the SQL beside a read model.
const CREATE_TABLE: &str = "create table ";

/// The temporary tables of a read model.
pub(super) struct Shadow {
    schema: &'static str,
    tables: Vec<&'static str>,
    /// There until the end.
    connection: Option<PgConnection>,
}

/// Takes its leave, so that the server need not find out that nobody is there any more.
impl Drop for Shadow {
    fn drop(&mut self) {
        if let (Some(connection), Ok(runtime)) = (self.connection.take(), Handle::try_current()) {
            runtime.spawn(connection.close());
        }
    }
}

impl fmt::Debug for Shadow {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Shadow").field("schema", &self.schema).finish_non_exhaustive()
    }
}

impl Shadow {
    pub(super) fn of(model: &ReadModel, connection: PgConnection) -> Self {
        Self { schema: model.name, tables: tables_in(model.ddl).collect(), connection: Some(connection) }
    }
}

/// The tables that the SQL of a read model makes.
pub(super) fn tables_in(ddl: &'static str) -> impl Iterator<Item = &'static str> {
    let named = ddl.lines().filter_map(|line| line.strip_prefix(CREATE_TABLE));
    named.filter_map(|rest| rest.split([' ', '(']).next())
}

/// The query with every table of `schema` in its temporary form; nothing if it names none.
fn shadowed(schema: &str, tables: &[&str], sql: &str) -> Option<String> {
    let of_a_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut shadowed = String::with_capacity(sql.len());
    let mut found = false;
    let mut rest = sql;
    while let Some(at) = rest.find(schema) {
        let (before, after) = (&rest[..at], &rest[at + schema.len()..]);
        let previous = before.chars().next_back().or_else(|| shadowed.chars().next_back());
        let begins = !previous.is_some_and(|c| of_a_name(c) || c == '.');
        let table = after.strip_prefix('.').map(|name| name.split(|c| !of_a_name(c)).next().unwrap_or_default());
        shadowed.push_str(before);
        if begins && table.is_some_and(|table| tables.contains(&table)) {
            found = true;
            shadowed.push_str(TEMPORARY);
        } else {
            shadowed.push_str(schema);
        }
        rest = after;
    }
    shadowed.push_str(rest);
    found.then_some(shadowed)
}

/// The connection that has the tables of a query, and the query for it.
fn led<'c>(shadows: &'c mut [Shadow], sql: &str) -> Result<(&'c mut PgConnection, String), sqlx::Error> {
    for shadow in shadows {
        if let Some(sql) = shadowed(shadow.schema, &shadow.tables, sql) {
            let connection = shadow.connection.as_mut().ok_or(sqlx::Error::WorkerCrashed)?;
            return Ok((connection, sql));
        }
    }
    // Nothing must be told of now as if it were of then.
    Err(sqlx::Error::Protocol(format!("of the past of these tables nothing is here: {sql}")))
}

/// What a query is made of.
type Parts<'q> = (&'q str, Result<Option<PgArguments>, sqlx::Error>);

fn parts<'q>(mut query: impl Execute<'q, Postgres>) -> Parts<'q> {
    (query.sql(), query.take_arguments().map_err(sqlx::Error::Encode))
}

impl<'c> Executor<'c> for &'c mut View {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Result<Either<PgQueryResult, PgRow>, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let shadows = match &mut self.0 {
            Seen::Now(pool) => return (&*pool).fetch_many(query),
            Seen::Then(shadows) => shadows,
        };
        let (sql, arguments) = parts(query);
        let results = async move {
            let (connection, sql) = led(shadows, sql)?;
            // All at once: answers are pages, or single things.
            let results: Vec<_> = connection.fetch_many((sql.as_str(), arguments?)).collect().await;
            Ok::<_, sqlx::Error>(stream::iter(results))
        };
        stream::once(results).try_flatten().boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<PgRow>, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let shadows = match &mut self.0 {
            Seen::Now(pool) => return (&*pool).fetch_optional(query),
            Seen::Then(shadows) => shadows,
        };
        let (sql, arguments) = parts(query);
        Box::pin(async move {
            let (connection, sql) = led(shadows, sql)?;
            connection.fetch_optional((sql.as_str(), arguments?)).await
        })
    }

    fn prepare_with<'e, 'q: 'e>(
        self,
        sql: &'q str,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, Result<PgStatement<'q>, sqlx::Error>>
    where
        'c: 'e,
    {
        match &mut self.0 {
            Seen::Now(pool) => (&*pool).prepare_with(sql, parameters),
            Seen::Then(_) => Box::pin(async { Err(sqlx::Error::Protocol("the past is asked once".to_owned())) }),
        }
    }

    fn describe<'e, 'q: 'e>(self, sql: &'q str) -> BoxFuture<'e, Result<Describe<Postgres>, sqlx::Error>>
    where
        'c: 'e,
    {
        match &mut self.0 {
            Seen::Now(pool) => (&*pool).describe(sql),
            Seen::Then(_) => Box::pin(async { Err(sqlx::Error::Protocol("the past is asked once".to_owned())) }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::ALL;

    #[test]
    fn tables_are_shadowed_and_nothing_else_is() {
        let tables = ["orders", "groups"];
        let shadow = |sql| shadowed("orders", &tables, sql);
        for (sql, expected) in [
            ("select * from orders.orders where id = $1", Some("select * from pg_temp.orders where id = $1")),
            (
                "select orders.*, orders.id from orders.orders join orders.groups on groups.id = orders.group_id",
                Some(
                    "select orders.*, orders.id from pg_temp.orders join pg_temp.groups on groups.id = orders.group_id",
                ),
            ),
            ("orders.orders", Some("pg_temp.orders")),
            ("select * from my_orders.orders, x.orders.orders, orders.orders_of", None),
            ("select orders, ordersorders.orders from sales.orders", None),
        ] {
            assert_eq!(shadow(sql).as_deref(), expected, "{sql}");
        }
    }

    #[test]
    fn what_looks_like_a_table_of_a_schema_is_one() {
        for model in ALL {
            let tables: BTreeSet<&str> = tables_in(model.ddl).collect();
            assert!(!tables.is_empty(), "{}", model.name);
            let Some(own) = model.ddl.split_once(&format!("{CREATE_TABLE}{} (", model.name)) else { continue };
            let (columns, _) = own.1.split_once("\n);").unwrap();
            let columns = columns.lines().filter_map(|line| line.split_whitespace().next());
            let doubtful: Vec<&str> = columns.filter(|column| tables.contains(column)).collect();
            assert!(doubtful.is_empty(), "{}: {doubtful:?} may be columns or tables", model.name);
        }
    }
}
