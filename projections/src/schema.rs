//! The schemas of read models: made in an empty marketplace, compared with the versions of the code.

use eventstore::database::SERVICE_ROLE;
use eventstore::follower::Follower;
use eventstore::{Position, log, parking};
use sqlx::{Connection, Executor, FromRow, PgConnection};

use crate::{ALL, ReadModel, analytics};

/// Makes the tables and checkpoints that an empty log is shown by, and names the read models that have to be built from
/// the log before they can be asked: those that are not there, or not in the version of this code. `owner` may create
/// schemas.
pub(crate) async fn ensure(owner: &mut PgConnection) -> Result<Vec<ReadModel>, sqlx::Error> {
    let mut outdated = Vec::new();
    for model in ALL {
        if !ensure_model(owner, &model).await? {
            outdated.push(model);
        }
    }
    Ok(outdated)
}

/// Whether a read model is there in this version, which an empty log makes easy.
async fn ensure_model(owner: &mut PgConnection, model: &ReadModel) -> Result<bool, sqlx::Error> {
    let mut transaction = owner.begin().await?;
    lock(&mut transaction).await?;
    let version = lock_checkpoint(&mut transaction, model.name).await?.map(|checkpoint| checkpoint.version);
    let is_there = version == Some(model.version) && exists(&mut transaction, model.name).await?;
    if is_there || log::head(&mut *transaction).await? > 0 {
        transaction.rollback().await?;
        return Ok(is_there);
    }
    drop_if_exists(&mut transaction, model.name).await?;
    parking::clear(&mut transaction, model.name).await?;
    create(&mut transaction, model).await?;
    move_checkpoint(&mut transaction, model, 0).await?;
    transaction.commit().await?;
    Ok(true)
}

/// The tables of a read model, in its version, show the log up to `position`.
pub(crate) async fn move_checkpoint(
    transaction: &mut PgConnection,
    model: &ReadModel,
    position: Position,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into public.followers (name, version, position) values ($1, $2, $3)
         on conflict on constraint followers_name
         do update set (version, position) = row (excluded.version, excluded.position)",
    )
    .bind(model.name)
    .bind(model.version)
    .bind(position)
    .execute(transaction)
    .await?;
    Ok(())
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

/// The checkpoint, which may move on meanwhile.
pub(crate) async fn checkpoint(connection: &mut PgConnection, name: &str) -> Result<Option<Checkpoint>, sqlx::Error> {
    sqlx::query_as("select version, position from public.followers where name = $1")
        .bind(name)
        .fetch_optional(connection)
        .await
}

pub(crate) async fn exists(connection: &mut PgConnection, schema: &str) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("select exists (select from pg_namespace where nspname = $1)")
        .bind(schema)
        .fetch_one(connection)
        .await
}

/// What the schemas begin with that live tables of a read model have had, until they are dropped.
pub(crate) fn former(model: &ReadModel) -> String {
    format!("{}_former", model.name)
}

/// The schemas that live tables of a read model have had and that are not dropped yet: somebody may still read them.
pub(crate) async fn formers(connection: &mut PgConnection, model: &ReadModel) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar("select nspname::text from pg_namespace where starts_with(nspname, $1) order by nspname")
        .bind(former(model))
        .fetch_all(connection)
        .await
}

/// A name that no schema has, for the live tables of a read model to be put aside under.
pub(crate) async fn free_former(connection: &mut PgConnection, model: &ReadModel) -> Result<String, sqlx::Error> {
    let taken = formers(connection, model).await?;
    let (mut name, mut number) = (former(model), 1);
    while taken.contains(&name) {
        number += 1;
        name = format!("{}_{number}", former(model));
    }
    Ok(name)
}

/// The read models of which rebuilds have left something, or are under way.
pub(crate) async fn left_over(connection: &mut PgConnection) -> Result<Vec<ReadModel>, sqlx::Error> {
    let mut left_over = Vec::new();
    for model in ALL {
        if exists(connection, model.next).await? || !formers(connection, &model).await?.is_empty() {
            left_over.push(model);
        }
    }
    Ok(left_over)
}

/// Creates the schema of a read model with its tables, for the service to work on, and with what analysts see of them.
/// Leaves the schema on the search path of the transaction.
pub(crate) async fn create(transaction: &mut PgConnection, model: &ReadModel) -> Result<(), sqlx::Error> {
    run(transaction, "create schema %I", &[model.name]).await?;
    sqlx::query("select set_config('search_path', quote_ident($1), true)")
        .bind(model.name)
        .execute(&mut *transaction)
        .await?;
    transaction.execute(sqlx::raw_sql(model.ddl)).await?;
    let grant = "grant usage on schema %1$I to %2$I;
                 grant select, insert, update, delete on all tables in schema %1$I to %2$I";
    run(transaction, grant, &[model.name, SERVICE_ROLE]).await?;
    if model.stands_for() == analytics::MODEL.name {
        analytics::show(transaction).await?;
    }
    if model.name == analytics::MODEL.name {
        analytics::open(transaction).await?;
    }
    Ok(())
}

/// Takes those indexes off the tables of a schema that no constraint stands on, and answers with how each is made: a
/// table is filled far faster without.
pub(crate) async fn take_off_indexes(connection: &mut PgConnection, schema: &str) -> Result<Vec<String>, sqlx::Error> {
    let indexes: Vec<(String, String)> = sqlx::query_as(
        "select relname::text, pg_get_indexdef(indexrelid)
         from pg_index join pg_class on pg_class.oid = indexrelid
         where relnamespace = (select oid from pg_namespace where nspname = $1)
            and not exists (select from pg_constraint where conindid = indexrelid)
         order by relname",
    )
    .bind(schema)
    .fetch_all(&mut *connection)
    .await?;
    for (name, _) in &indexes {
        run(connection, "drop index %I.%I", &[schema, name]).await?;
    }
    Ok(indexes.into_iter().map(|(_, definition)| definition).collect())
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
