//! Tables of read models into files: all tables of one read model as they are at one position of the log.
//!
//! A read model is written in one transaction, so its tables agree with each other; each at its own position, so nothing
//! has to stand still. The folder of a day holds the state of that day; of several calls on one day, that of the last.

use std::collections::BTreeMap;
use std::io::Write as _;

use domain::Timestamp;
use eventstore::Position;
use futures::TryStreamExt;
use projections::ReadModel;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use sqlx::postgres::PgRow;
use sqlx::{Connection, Executor, PgConnection, Row};

use super::files::{Draft, FileNote, Folder};
use super::table::{Column, Kind, TableWriter, Value};
use super::{ExportError, Format, columns, day};

/// How often a read model is looked at anew that is rebuilt meanwhile.
const ATTEMPTS: usize = 3;

/// What is said of a read model.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ModelFiles {
    pub(crate) model: String,
    pub(crate) version: i32,
    pub(crate) day: String,
    /// Up to where it shows the log.
    pub(crate) position: Position,
    pub(crate) tables: Vec<TableFile>,
}

/// What is said of a table.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TableFile {
    pub(crate) table: String,
    pub(crate) file: FileNote,
    pub(crate) columns: Vec<String>,
    /// What the table has and the file has not, since it may be about persons.
    pub(crate) left_out: Vec<String>,
}

/// A call that is not finished.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Run {
    day: String,
    format: Format,
}

const RUN: &str = "parts/run.json";

/// Begins, or goes on with what was interrupted on the same day. Answers with the day, and the read models that are
/// written already.
pub(crate) fn begin(folder: &Folder, format: Format, now: Timestamp) -> Result<(String, Vec<String>), ExportError> {
    let today = day(now);
    let run: Option<Run> = folder.text(RUN)?.and_then(|text| serde_json::from_str(&text).ok());
    if run.is_some_and(|run| run.day == today && run.format == format) {
        let done = found(folder)?.into_iter().filter(|model| model.day == today).map(|model| model.model).collect();
        return Ok((today, done));
    }
    for model in found(folder)?.into_iter().filter(|model| model.day == today) {
        folder.remove(&part(&model.day, &model.model))?;
    }
    folder.write(RUN, &serde_json::to_vec(&Run { day: today.clone(), format })?)?;
    Ok((today, Vec::new()))
}

/// The call is finished: the next one begins anew.
pub(crate) fn end(folder: &Folder) -> Result<(), ExportError> {
    folder.remove(RUN)
}

/// The read models that are in a folder, by day. What somebody has deleted is not.
pub(crate) fn found(folder: &Folder) -> Result<Vec<ModelFiles>, ExportError> {
    let mut there = Vec::new();
    for model in folder.parts::<ModelFiles>("models-")? {
        let mut whole = true;
        for table in &model.tables {
            whole &= folder.has(&table.file)?;
        }
        if whole {
            there.push(model);
        }
    }
    Ok(there)
}

fn part(day: &str, model: &str) -> String {
    format!("parts/models-{day}-{model}.json")
}

/// Writes the tables of a read model; nothing if it is not there.
pub(crate) async fn write(
    connection: &mut PgConnection,
    folder: &Folder,
    format: Format,
    (model, day): (&ReadModel, &str),
) -> Result<Option<ModelFiles>, ExportError> {
    for _ in 0..ATTEMPTS {
        let Some((written, is_live)) = snapshot(connection, folder, format, (model.name, day)).await? else {
            return Ok(None);
        };
        if is_live {
            folder.write(&part(day, model.name), &serde_json::to_vec(&written)?)?;
            return Ok(Some(written));
        }
    }
    Err(ExportError::Unfit(format!("`{}` is rebuilt again and again; export it once that is over", model.name)))
}

/// Writes the tables of a read model as one snapshot has them, and tells whether they were the live ones all the time: a
/// rebuild puts others under their names, whose rows this snapshot would not see.
async fn snapshot(
    connection: &mut PgConnection,
    folder: &Folder,
    format: Format,
    (model, day): (&str, &str),
) -> Result<Option<(ModelFiles, bool)>, ExportError> {
    let mut snapshot = connection.begin().await?;
    snapshot.execute("set transaction isolation level repeatable read, read only").await?;
    let checkpoint: Option<(i32, Position)> =
        sqlx::query_as("select version, position from public.followers where name = $1")
            .bind(model)
            .fetch_optional(&mut *snapshot)
            .await?;
    let Some((version, position)) = checkpoint else { return Ok(None) };
    let mut tables = Vec::new();
    for (table, fields) in fields(&mut snapshot, model).await? {
        tables.push(write_table(&mut snapshot, folder, format, (model, &table, day), &fields).await?);
    }
    // A look at the catalogue as of the snapshot, beside one that Postgres itself takes now.
    let is_live: Option<bool> = sqlx::query_scalar(
        "select (select oid from pg_namespace where nspname = $1) = to_regnamespace(quote_ident($1))::oid",
    )
    .bind(model)
    .fetch_one(&mut *snapshot)
    .await?;
    snapshot.rollback().await?;
    let written = ModelFiles { model: model.to_owned(), version, day: day.to_owned(), position, tables };
    Ok(Some((written, is_live == Some(true))))
}

/// A column as Postgres has it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Field {
    name: String,
    kind: Kind,
    required: bool,
    exported: bool,
}

/// The tables of a schema with their columns, in their order.
async fn fields(connection: &mut PgConnection, schema: &str) -> Result<BTreeMap<String, Vec<Field>>, sqlx::Error> {
    let rows: Vec<(String, String, String, bool)> = sqlx::query_as(
        "select relname::text, attname::text, format_type(atttypid, atttypmod), attnotnull
         from pg_attribute
         join pg_class on pg_class.oid = attrelid
         join pg_namespace on pg_namespace.oid = relnamespace
         where nspname = $1 and relkind = 'r' and attnum > 0 and not attisdropped
         order by relname, attnum",
    )
    .bind(schema)
    .fetch_all(connection)
    .await?;
    let mut tables: BTreeMap<String, Vec<Field>> = BTreeMap::new();
    for (table, name, type_name, required) in rows {
        let (kind, is_plain) = kind(&type_name);
        let exported = columns::is_exported(schema, &table, &name).unwrap_or(is_plain);
        tables.entry(table).or_default().push(Field { name, kind, required, exported });
    }
    Ok(tables)
}

/// What a column of this type holds, and whether it can say nothing of a person but numbers, times and ids.
fn kind(type_name: &str) -> (Kind, bool) {
    match type_name {
        "boolean" => (Kind::Bool, true),
        "smallint" | "integer" => (Kind::Int, true),
        "bigint" => (Kind::Long, true),
        "real" | "double precision" => (Kind::Double, true),
        "timestamp with time zone" => (Kind::Time, true),
        "date" => (Kind::Date, true),
        "uuid" => (Kind::Text, true),
        "json" | "jsonb" => (Kind::Json, false),
        array if array.ends_with("[]") => (Kind::Json, false),
        // Of 38 digits at most, and none behind the point.
        numeric if numeric.starts_with("numeric(") && numeric.ends_with(",0)") => (Kind::Decimal, true),
        numeric if numeric.starts_with("numeric") => (Kind::Text, true),
        _ => (Kind::Text, false),
    }
}

/// How a column is asked for: `%1$I` is its name.
fn question(kind: Kind) -> &'static str {
    match kind {
        Kind::Bool => "%1$I",
        Kind::Int => "%1$I::integer",
        Kind::Long => "%1$I::bigint",
        Kind::Double => "%1$I::double precision",
        Kind::Time => "(extract(epoch from %1$I) * 1000000)::bigint",
        Kind::Date => "(%1$I - date '1970-01-01')::integer",
        Kind::Decimal | Kind::Text => "%1$I::text",
        Kind::Json => "to_json(%1$I)::text",
    }
}

/// The statement that reads a table, in the order of its primary key; Postgres itself quotes the names.
async fn statement(
    connection: &mut PgConnection,
    (schema, table): (&str, &str),
    fields: &[&Field],
) -> Result<String, sqlx::Error> {
    sqlx::query_scalar(
        "select format('select %s from %I.%I order by %s',
            (select string_agg(format(question, name), ', ' order by place)
             from unnest($3::text[], $4::text[]) with ordinality as field (name, question, place)),
            nspname, relname,
            (select string_agg(quote_ident(attname), ', ' order by place)
             from unnest(indkey) with ordinality as key (attnum, place)
             join pg_attribute on attrelid = indrelid and pg_attribute.attnum = key.attnum))
         from pg_class join pg_namespace on pg_namespace.oid = relnamespace
         join pg_index on indrelid = pg_class.oid and indisprimary
         where nspname = $1 and relname = $2",
    )
    .bind(schema)
    .bind(table)
    .bind(fields.iter().map(|field| field.name.as_str()).collect::<Vec<_>>())
    .bind(fields.iter().map(|field| question(field.kind)).collect::<Vec<_>>())
    .fetch_one(connection)
    .await
}

async fn write_table(
    connection: &mut PgConnection,
    folder: &Folder,
    format: Format,
    (model, table, day): (&str, &str, &str),
    fields: &[Field],
) -> Result<TableFile, ExportError> {
    let (exported, left_out): (Vec<&Field>, Vec<&Field>) = fields.iter().partition(|field| field.exported);
    let statement = statement(&mut *connection, (model, table), &exported).await?;
    let draft = folder.begin(&format!("models/{model}/{table}/date={day}/rows.{}", format.ending()))?;
    let mut sink = Sink::new(draft, format, table, &exported)?;
    let (mut rows, mut count) = (sqlx::query(&statement).fetch(connection), 0);
    while let Some(row) = rows.try_next().await? {
        let values = exported.iter().enumerate().map(|(index, field)| value(&row, index, field.kind));
        sink.push(values.collect::<Result<_, _>>()?, &exported)?;
        count += 1;
    }
    drop(rows);
    let names = |fields: Vec<&Field>| fields.into_iter().map(|field| field.name.clone()).collect();
    Ok(TableFile {
        table: table.to_owned(),
        file: sink.finish(count)?,
        columns: names(exported),
        left_out: names(left_out),
    })
}

fn value(row: &PgRow, index: usize, kind: Kind) -> Result<Value, ExportError> {
    Ok(match kind {
        Kind::Bool => row.try_get::<Option<bool>, _>(index)?.map_or(Value::Null, Value::Bool),
        Kind::Int | Kind::Date => row.try_get::<Option<i32>, _>(index)?.map_or(Value::Null, Value::Int),
        Kind::Long | Kind::Time => row.try_get::<Option<i64>, _>(index)?.map_or(Value::Null, Value::Long),
        Kind::Double => row.try_get::<Option<f64>, _>(index)?.map_or(Value::Null, Value::Double),
        Kind::Text | Kind::Json => row.try_get::<Option<String>, _>(index)?.map_or(Value::Null, Value::Text),
        Kind::Decimal => match row.try_get::<Option<String>, _>(index)? {
            Some(digits) => {
                let number = digits.parse().map_err(|_| ExportError::Unfit(format!("`{digits}` is not exact")))?;
                Value::Decimal(number)
            }
            None => Value::Null,
        },
    })
}

enum Sink {
    Ndjson(Box<Draft>),
    Parquet(Box<TableWriter<Draft>>),
}

impl Sink {
    fn new(draft: Draft, format: Format, table: &str, fields: &[&Field]) -> Result<Self, ExportError> {
        let column = |field: &&Field| Column { name: field.name.clone(), kind: field.kind, required: field.required };
        Ok(match format {
            Format::Ndjson => Self::Ndjson(Box::new(draft)),
            Format::Parquet => {
                Self::Parquet(Box::new(TableWriter::new(draft, table, fields.iter().map(column).collect())?))
            }
        })
    }

    fn push(&mut self, row: Vec<Value>, fields: &[&Field]) -> Result<(), ExportError> {
        match self {
            Self::Ndjson(draft) => {
                let line = line(row, fields)?;
                writeln!(draft, "{line}").map_err(|error| draft.failed(error))
            }
            Self::Parquet(table) => table.push(row),
        }
    }

    fn finish(self, rows: u64) -> Result<FileNote, ExportError> {
        match self {
            Self::Ndjson(draft) => draft.finish(rows),
            Self::Parquet(table) => table.finish()?.finish(rows),
        }
    }
}

/// A row as a JSON object, in the order of the columns.
fn line(row: Vec<Value>, fields: &[&Field]) -> Result<String, ExportError> {
    let mut line = String::from("{");
    for (value, field) in row.into_iter().zip(fields) {
        if line.len() > 1 {
            line.push(',');
        }
        line.push_str(&serde_json::to_string(&field.name)?);
        line.push(':');
        line.push_str(json(value, field.kind)?.get());
    }
    line.push('}');
    Ok(line)
}

/// A value as JSON. Numbers of more than 64 bits are texts.
fn json(value: Value, kind: Kind) -> Result<Box<RawValue>, ExportError> {
    let out_of_range = || ExportError::Unfit("a time is in no calendar".to_owned());
    Ok(match (value, kind) {
        (Value::Null, _) => to_raw_value(&())?,
        (Value::Long(us), Kind::Time) => {
            to_raw_value(&chrono::DateTime::from_timestamp_micros(us).ok_or_else(out_of_range)?)?
        }
        (Value::Int(days), Kind::Date) => {
            let at = chrono::DateTime::from_timestamp(i64::from(days) * 86_400, 0).ok_or_else(out_of_range)?;
            to_raw_value(&day(at))?
        }
        // What Postgres has read as JSON may have line breaks between its tokens.
        (Value::Text(text), Kind::Json) if text.contains(['\n', '\r']) => {
            to_raw_value(&serde_json::from_str::<serde_json::Value>(&text)?)?
        }
        (Value::Text(text), Kind::Json) => RawValue::from_string(text)?,
        (Value::Bool(value), _) => to_raw_value(&value)?,
        (Value::Int(value), _) => to_raw_value(&value)?,
        (Value::Long(value), _) => to_raw_value(&value)?,
        (Value::Double(value), _) => to_raw_value(&value)?,
        (Value::Decimal(value), _) => to_raw_value(&value.to_string())?,
        (Value::Text(value), _) => to_raw_value(&value)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbers_times_and_ids_are_exported_unasked() {
        for (type_name, expected) in [
            ("bigint", (Kind::Long, true)),
            ("numeric(38,0)", (Kind::Decimal, true)),
            ("numeric", (Kind::Text, true)),
            ("numeric(10,2)", (Kind::Text, true)),
            ("timestamp with time zone", (Kind::Time, true)),
            ("uuid", (Kind::Text, true)),
            ("text", (Kind::Text, false)),
            ("text[]", (Kind::Json, false)),
            ("uuid[]", (Kind::Json, false)),
            ("bytea", (Kind::Text, false)),
            ("tsvector", (Kind::Text, false)),
            ("json", (Kind::Json, false)),
        ] {
            assert_eq!(kind(type_name), expected, "{type_name}");
        }
    }

    #[test]
    fn a_row_is_a_json_object_in_one_line() {
        let field = |name: &str, kind| Field { name: name.to_owned(), kind, required: false, exported: true };
        let fields = [
            field("at", Kind::Time),
            field("day", Kind::Date),
            field("sum", Kind::Decimal),
            field("lines", Kind::Json),
            field("broken", Kind::Json),
            field("status", Kind::Text),
            field("none", Kind::Long),
        ];
        let row = vec![
            Value::Long(1_500_000),
            Value::Int(-1),
            Value::Decimal(1 << 70),
            Value::Text(r#"{"b":1.0,"a":2}"#.to_owned()),
            Value::Text("[1,\n2]".to_owned()),
            Value::Text("a\"b".to_owned()),
            Value::Null,
        ];
        let line = line(row, &fields.iter().collect::<Vec<_>>()).unwrap();
        let expected = r#"{"at":"1970-01-01T00:00:01.500Z","day":"1969-12-31","sum":"1180591620717411303424",
"lines":{"b":1.0,"a":2},"broken":[1,2],"status":"a\"b","none":null}"#;
        assert_eq!(line, expected.replace('\n', ""));
    }
}
