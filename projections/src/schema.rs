//! The schemas of read models: made when they are missing, made anew when the code has another version, listed.

use eventstore::database::SERVICE_ROLE;
use eventstore::{Position, parking};
use serde::Serialize;
use sqlx::{Connection, Executor, FromRow, PgConnection, PgExecutor};

use crate::{ALL, ReadModel};

/// Makes sure that every read model has its tables and its checkpoint in the version of this code. `owner` may create
/// schemas. A read model of another version is emptied, and filled again by following the log from its start; to
/// change versions without a gap, [`crate::rebuild::rebuild`] it before the new nodes start.
///
/// Safe to run on several nodes at once.
pub async fn ensure(owner: &mut PgConnection) -> Result<(), sqlx::Error> {
    for model in ALL {
        ensure_model(owner, &model).await?;
    }
    Ok(())
}

pub(crate) async fn ensure_model(owner: &mut PgConnection, model: &ReadModel) -> Result<(), sqlx::Error> {
    let mut transaction = owner.begin().await?;
    lock(&mut transaction).await?;
    let version = lock_checkpoint(&mut transaction, model.name).await?.map(|checkpoint| checkpoint.version);
    if version == Some(model.version) && exists(&mut transaction, model.name).await? {
        return transaction.rollback().await;
    }
    tracing::info!(read_model = model.name, was = version, version = model.version, "a read model starts afresh");
    drop_if_exists(&mut transaction, model.name).await?;
    parking::clear(&mut transaction, model.name).await?;
    create(&mut transaction, model).await?;
    sqlx::query(
        "insert into public.followers (name, version, position) values ($1, $2, 0)
         on conflict on constraint followers_name do update set (version, position) = row (excluded.version, 0)",
    )
    .bind(model.name)
    .bind(model.version)
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await
}

/// One at a time changes schemas; until the transaction ends, it is this one. Taken before any other lock.
pub(crate) async fn lock(transaction: &mut PgConnection) -> Result<(), sqlx::Error> {
    transaction.execute("select pg_advisory_xact_lock(hashtextextended('tradepost read models', 0))").await?;
    Ok(())
}

/// How far a follower is.
#[derive(Clone, Copy, Debug, FromRow)]
pub(crate) struct Checkpoint {
    pub(crate) version: i32,
    pub(crate) position: Position,
}

/// The checkpoint, which nobody moves until the transaction ends: the read model stands still.
pub(crate) async fn lock_checkpoint(
    transaction: &mut PgConnection,
    name: &str,
) -> Result<Option<Checkpoint>, sqlx::Error> {
    sqlx::query_as("select version, position from public.followers where name = $1 for update")
        .bind(name)
        .fetch_optional(transaction)
        .await
}

async fn exists(connection: &mut PgConnection, schema: &str) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("select exists (select from pg_namespace where nspname = $1)")
        .bind(schema)
        .fetch_one(connection)
        .await
}

/// Creates the schema of a read model with its tables, for the service to work on. Leaves the schema on the search path
/// of the transaction.
pub(crate) async fn create(transaction: &mut PgConnection, model: &ReadModel) -> Result<(), sqlx::Error> {
    run(transaction, "create schema %I", &[model.name]).await?;
    sqlx::query("select set_config('search_path', quote_ident($1), true)")
        .bind(model.name)
        .execute(&mut *transaction)
        .await?;
    transaction.execute(sqlx::raw_sql(model.ddl)).await?;
    let grant = "grant usage on schema %1$I to %2$I;
                 grant select, insert, update, delete on all tables in schema %1$I to %2$I";
    run(transaction, grant, &[model.name, SERVICE_ROLE]).await
}

pub(crate) async fn drop_if_exists(connection: &mut PgConnection, schema: &str) -> Result<(), sqlx::Error> {
    run(connection, "drop schema if exists %I cascade", &[schema]).await
}

pub(crate) async fn rename(connection: &mut PgConnection, from: &str, to: &str) -> Result<(), sqlx::Error> {
    run(connection, "alter schema %I rename to %I", &[from, to]).await
}

/// Lets Postgres look at what the tables of a schema hold, so that it chooses the right indexes from the start.
pub(crate) async fn analyze(connection: &mut PgConnection, schema: &str) -> Result<(), sqlx::Error> {
    let tables: Vec<String> = sqlx::query_scalar("select tablename::text from pg_tables where schemaname = $1")
        .bind(schema)
        .fetch_all(&mut *connection)
        .await?;
    for table in tables {
        run(connection, "analyze %I.%I", &[schema, &table]).await?;
    }
    Ok(())
}

/// Runs statements about names, which cannot be parameters: Postgres itself quotes them into the template.
async fn run(connection: &mut PgConnection, template: &str, names: &[&str]) -> Result<(), sqlx::Error> {
    let statements: String = sqlx::query_scalar("select format($1, variadic $2::text[])")
        .bind(template)
        .bind(names)
        .fetch_one(&mut *connection)
        .await?;
    connection.execute(sqlx::raw_sql(&statements)).await?;
    Ok(())
}

/// How far a read model is.
#[derive(Clone, Debug, FromRow, PartialEq, Serialize)]
pub struct Status {
    /// The read model.
    pub name: String,
    /// The version of its tables; `None` before they are made.
    pub version: Option<i32>,
    /// How far it has followed the log.
    pub position: Position,
    /// How long the log is.
    pub head: Position,
    /// How many events it has not taken yet.
    pub lag: i64,
}

/// How far each read model is.
pub async fn list(executor: impl PgExecutor<'_>) -> Result<Vec<Status>, sqlx::Error> {
    sqlx::query_as(
        "select m.name, f.version, coalesce(f.position, 0) as position, h.position as head,
            h.position - coalesce(f.position, 0) as lag
         from unnest($1::text[]) with ordinality as m (name, place)
         cross join public.log_head as h
         left join public.followers as f on f.name = m.name
         order by m.place",
    )
    .bind(ALL.map(|model| model.name))
    .fetch_all(executor)
    .await
}
