//! Parquet: rows gathered by columns, a group of them at a time, and read back.
//!
//! The types are few, and those that every reader knows: what JSON, ids and all other texts are, is `STRING`; times are
//! `TIMESTAMP(MICROS, UTC)`; exact numbers without fraction are `DECIMAL(38, 0)`.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use eventstore::proof::{StoredEvent, StoredTime};
use parquet::basic::{Compression, Type as Physical};
use parquet::column::reader::get_typed_column_reader;
use parquet::data_type::{
    BoolType, ByteArray, ByteArrayType, DataType, DoubleType, FixedLenByteArray, FixedLenByteArrayType, Int32Type,
    Int64Type,
};
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use uuid::Uuid;

use super::files::{Draft, FileNote, Folder};
use super::{ExportError, Format};

/// The most rows of a group.
const GROUP_ROWS: usize = 20_000;
/// The most bytes of texts of a group: what has to be in memory at once.
const GROUP_BYTES: usize = 32 << 20;
/// A number of 38 digits in 16 bytes.
const DECIMAL_BYTES: usize = 16;

/// What a column holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    /// True or false.
    Bool,
    /// A number of 32 bits.
    Int,
    /// A number of 64 bits.
    Long,
    /// A fraction.
    Double,
    /// An exact number of up to 38 digits.
    Decimal,
    /// Microseconds since 1970-01-01T00:00:00Z.
    Time,
    /// Days since 1970-01-01.
    Date,
    /// A text.
    Text,
    /// The text of a JSON value.
    Json,
}

/// A column.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// Whether every row has it.
    pub(crate) required: bool,
}

/// What a row has in a column.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    /// Nothing.
    Null,
    /// For [`Kind::Bool`].
    Bool(bool),
    /// For [`Kind::Int`] and [`Kind::Date`].
    Int(i32),
    /// For [`Kind::Long`] and [`Kind::Time`].
    Long(i64),
    /// For [`Kind::Double`].
    Double(f64),
    /// For [`Kind::Decimal`].
    Decimal(i128),
    /// For [`Kind::Text`] and [`Kind::Json`].
    Text(String),
}

impl Value {
    /// About how many bytes it takes.
    fn bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Null | Self::Bool(_) | Self::Int(_) | Self::Long(_) | Self::Double(_) => 8,
            Self::Decimal(_) => DECIMAL_BYTES,
        }
    }
}

/// A table on its way into a file.
pub(crate) struct TableWriter<W: Write + Send> {
    writer: SerializedFileWriter<W>,
    columns: Vec<Column>,
    /// The rows of the next group.
    rows: Vec<Vec<Value>>,
    bytes: usize,
}

impl<W: Write + Send> TableWriter<W> {
    /// A table of these columns, by this name.
    pub(crate) fn new(sink: W, name: &str, columns: Vec<Column>) -> Result<Self, ExportError> {
        let schema = Arc::new(parse_message_type(&message(name, &columns))?);
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_created_by(concat!("tradepost ", env!("CARGO_PKG_VERSION")).to_owned())
            .build();
        let writer = SerializedFileWriter::new(sink, schema, Arc::new(properties))?;
        Ok(Self { writer, columns, rows: Vec::new(), bytes: 0 })
    }

    /// One more row: a value for each column.
    pub(crate) fn push(&mut self, row: Vec<Value>) -> Result<(), ExportError> {
        self.bytes += row.iter().map(Value::bytes).sum::<usize>();
        self.rows.push(row);
        if self.rows.len() >= GROUP_ROWS || self.bytes >= GROUP_BYTES {
            self.write_group()?;
        }
        Ok(())
    }

    /// What it is written into, with all of it.
    pub(crate) fn finish(mut self) -> Result<W, ExportError> {
        self.write_group()?;
        // Writes what stands at the end of the file.
        Ok(self.writer.into_inner()?)
    }

    fn write_group(&mut self) -> Result<(), ExportError> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let mut columns: Vec<Vec<Value>> = self.columns.iter().map(|_| Vec::with_capacity(self.rows.len())).collect();
        for row in self.rows.drain(..) {
            for (column, value) in columns.iter_mut().zip(row) {
                column.push(value);
            }
        }
        self.bytes = 0;
        let mut group = self.writer.next_row_group()?;
        for (column, values) in self.columns.iter().zip(columns) {
            write_column(&mut group, column, values)?;
        }
        group.close()?;
        Ok(())
    }
}

/// A file of rows on its way to be whole, in either format.
pub(crate) struct Sink {
    path: PathBuf,
    rows: Rows,
}

enum Rows {
    Ndjson(Box<Draft>),
    Parquet(Box<TableWriter<Draft>>),
}

impl Sink {
    /// Begins a file of this name, which lacks its ending; for Parquet, its table has a name and columns.
    pub(crate) fn begin(
        folder: &Folder,
        name: &str,
        format: Format,
        (table, columns): (&str, Vec<Column>),
    ) -> Result<Self, ExportError> {
        let name = format!("{name}.{}", format.ending());
        let (path, draft) = (folder.place(&name)?, folder.begin(&name)?);
        let rows = match format {
            Format::Ndjson => Rows::Ndjson(Box::new(draft)),
            Format::Parquet => {
                let table = TableWriter::new(draft, table, columns).map_err(|error| error.of(&path))?;
                Rows::Parquet(Box::new(table))
            }
        };
        Ok(Self { path, rows })
    }

    /// One more row, as the text of a JSON object or as a value for each column.
    pub(crate) fn push<T>(
        &mut self,
        row: T,
        line: impl FnOnce(T) -> Result<String, ExportError>,
        values: impl FnOnce(T) -> Result<Vec<Value>, ExportError>,
    ) -> Result<(), ExportError> {
        match &mut self.rows {
            Rows::Ndjson(draft) => {
                let line = line(row)?;
                writeln!(draft, "{line}").map_err(|error| draft.failed(error))
            }
            Rows::Parquet(table) => table.push(values(row)?).map_err(|error| error.of(&self.path)),
        }
    }

    /// Puts it in its place.
    pub(crate) fn finish(self, rows: u64) -> Result<FileNote, ExportError> {
        match self.rows {
            Rows::Ndjson(draft) => draft.finish(rows),
            Rows::Parquet(table) => table.finish().map_err(|error| error.of(&self.path))?.finish(rows),
        }
    }
}

/// The schema in the language of Parquet.
fn message(name: &str, columns: &[Column]) -> String {
    let mut message = format!("message {name} {{\n");
    for Column { name, kind, required } in columns {
        let repetition = if *required { "required" } else { "optional" };
        let (before, after) = match kind {
            Kind::Bool => ("boolean", ""),
            Kind::Int => ("int32", ""),
            Kind::Long => ("int64", ""),
            Kind::Double => ("double", ""),
            Kind::Decimal => ("fixed_len_byte_array(16)", " (DECIMAL(38,0))"),
            Kind::Time => ("int64", " (TIMESTAMP(MICROS,true))"),
            Kind::Date => ("int32", " (DATE)"),
            Kind::Text | Kind::Json => ("byte_array", " (STRING)"),
        };
        // Into a string, which takes everything.
        let _ = writeln!(message, "  {repetition} {before} {name}{after};");
    }
    message.push('}');
    message
}

fn write_column<W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    column: &Column,
    values: Vec<Value>,
) -> Result<(), ExportError> {
    let of = |value: Value| -> Option<Value> { (value != Value::Null).then_some(value) };
    let levels: Vec<i16> = values.iter().map(|value| i16::from(*value != Value::Null)).collect();
    let levels = (!column.required).then_some(levels);
    let present = values.into_iter().filter_map(of);
    let wrong = || ExportError::Unfit(format!("the column `{}` has a value of another kind", column.name));
    macro_rules! write_as {
        ($type:ty, $($pattern:pat => $value:expr),+) => {{
            let typed = present.map(|value| match value { $($pattern => Ok($value),)+ _ => Err(wrong()) });
            write_typed::<$type, W>(group, &typed.collect::<Result<Vec<_>, _>>()?, levels.as_deref())
        }};
    }
    match column.kind {
        Kind::Bool => write_as!(BoolType, Value::Bool(value) => value),
        Kind::Int | Kind::Date => write_as!(Int32Type, Value::Int(value) => value),
        Kind::Long | Kind::Time => write_as!(Int64Type, Value::Long(value) => value),
        Kind::Double => write_as!(DoubleType, Value::Double(value) => value),
        Kind::Text | Kind::Json => {
            write_as!(ByteArrayType, Value::Text(value) => ByteArray::from(value.into_bytes()))
        }
        Kind::Decimal => write_as!(
            FixedLenByteArrayType,
            Value::Decimal(value) => FixedLenByteArray::from(value.to_be_bytes().to_vec())
        ),
    }
}

fn write_typed<T: DataType, W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    values: &[T::T],
    levels: Option<&[i16]>,
) -> Result<(), ExportError> {
    let column = group.next_column()?;
    let mut column = column.ok_or_else(|| ExportError::Unfit("a column is missing".to_owned()))?;
    column.typed::<T>().write_batch(values, levels, None)?;
    Ok(column.close()?)
}

/// The columns of the log, in their order: every one of the table `events`. They only ever become more.
pub(crate) fn event_columns() -> Vec<Column> {
    let column = |(name, kind): (&str, Kind)| Column { name: name.to_owned(), kind, required: true };
    EVENT_COLUMNS.map(column).to_vec()
}

const EVENT_COLUMNS: [(&str, Kind); 11] = [
    ("position", Kind::Long),
    ("commit_position", Kind::Long),
    ("recorded_at", Kind::Time),
    ("sequence", Kind::Long),
    ("event_id", Kind::Text),
    ("aggregate_type", Kind::Text),
    ("aggregate_id", Kind::Text),
    ("event_type", Kind::Text),
    ("event_version", Kind::Text),
    ("payload", Kind::Json),
    ("metadata", Kind::Json),
];

/// An event as a row of these columns; nothing if no calendar has its time.
pub(crate) fn event_row(event: StoredEvent) -> Option<Vec<Value>> {
    Some(vec![
        Value::Long(event.position),
        Value::Long(event.commit_position),
        Value::Long(event.recorded_at.unix_us()?),
        Value::Long(event.sequence),
        Value::Text(event.event_id.to_string()),
        Value::Text(event.aggregate_type),
        Value::Text(event.aggregate_id),
        Value::Text(event.event_type),
        Value::Text(event.event_version),
        Value::Text(event.payload),
        Value::Text(event.metadata),
    ])
}

/// A file of events that is being read, a group of rows at a time.
pub(crate) struct EventFile {
    path: PathBuf,
    reader: SerializedFileReader<File>,
    next: usize,
}

impl EventFile {
    /// Opens a file; refuses one with other columns.
    pub(crate) fn open(path: &Path) -> Result<Self, ExportError> {
        let altered = |what: String| ExportError::Altered { path: path.to_owned(), what };
        let file = File::open(path).map_err(|error| ExportError::File { path: path.to_owned(), error })?;
        let reader = SerializedFileReader::new(file).map_err(|error| altered(error.to_string()))?;
        let schema = reader.metadata().file_metadata().schema_descr();
        let found: Vec<_> = schema.columns().iter().map(|column| (column.name(), column.physical_type())).collect();
        let physical = |kind| match kind {
            Kind::Long | Kind::Time => Physical::INT64,
            Kind::Int | Kind::Date => Physical::INT32,
            Kind::Bool => Physical::BOOLEAN,
            Kind::Double => Physical::DOUBLE,
            Kind::Decimal => Physical::FIXED_LEN_BYTE_ARRAY,
            Kind::Text | Kind::Json => Physical::BYTE_ARRAY,
        };
        let required = schema.columns().iter().all(|column| column.max_def_level() == 0 && column.max_rep_level() == 0);
        if !required || found != EVENT_COLUMNS.map(|(name, kind)| (name, physical(kind))) {
            return Err(altered("its columns are not those of the log".to_owned()));
        }
        Ok(Self { path: path.to_owned(), reader, next: 0 })
    }

    /// The next group of events; nothing at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Vec<StoredEvent>>, ExportError> {
        self.next_group().map_err(|error| error.of(&self.path))
    }

    fn next_group(&mut self) -> Result<Option<Vec<StoredEvent>>, ExportError> {
        if self.next >= self.reader.num_row_groups() {
            return Ok(None);
        }
        let group = self.reader.get_row_group(self.next)?;
        self.next += 1;
        let rows = usize::try_from(group.metadata().num_rows()).unwrap_or_default();
        let group: &dyn RowGroupReader = &*group;
        let mut numbers = Vec::new();
        for index in 0..4 {
            numbers.push(column::<Int64Type>(group, index, rows)?.into_iter());
        }
        let mut texts = Vec::new();
        for index in 4..EVENT_COLUMNS.len() {
            texts.push(column::<ByteArrayType>(group, index, rows)?.into_iter());
        }
        let mut events = Vec::with_capacity(rows);
        for _ in 0..rows {
            let mut number = |index: usize| numbers[index].next().ok_or_else(short);
            let (position, commit_position) = (number(0)?, number(1)?);
            let (recorded_at, sequence) = (number(2)?, number(3)?);
            let mut text = |index: usize| -> Result<String, ExportError> {
                let bytes = texts[index].next().ok_or_else(short)?;
                String::from_utf8(bytes.data().to_vec())
                    .map_err(|_| ExportError::Unfit("a text is no UTF-8".to_owned()))
            };
            let id = text(0)?;
            let event_id = Uuid::parse_str(&id).map_err(|_| ExportError::Unfit(format!("`{id}` is no id")))?;
            let recorded_at = StoredTime::from_unix_us(recorded_at).ok_or_else(|| {
                ExportError::Unfit(format!("the time of the event at position {position} is out of range"))
            })?;
            let (aggregate_type, aggregate_id) = (text(1)?, text(2)?);
            let (event_type, event_version) = (text(3)?, text(4)?);
            let (payload, metadata) = (text(5)?, text(6)?);
            events.push(StoredEvent {
                position,
                commit_position,
                recorded_at,
                sequence,
                event_id,
                aggregate_type,
                aggregate_id,
                event_type,
                event_version,
                payload,
                metadata,
            });
        }
        Ok(Some(events))
    }
}

fn short() -> ExportError {
    ExportError::Unfit("it has fewer values than rows".to_owned())
}

fn column<T: DataType>(group: &dyn RowGroupReader, index: usize, rows: usize) -> Result<Vec<T::T>, ExportError> {
    let mut reader = get_typed_column_reader::<T>(group.get_column_reader(index)?);
    let mut values = Vec::new();
    reader.read_records(rows, None, None, &mut values)?;
    Ok(values)
}

#[cfg(test)]
mod tests {
    use parquet::record::RowAccessor as _;

    use super::*;

    fn event(position: i64) -> StoredEvent {
        StoredEvent {
            position,
            commit_position: position,
            recorded_at: StoredTime(-position),
            sequence: 1,
            event_id: Uuid::from_u128(position.unsigned_abs().into()),
            aggregate_type: "wallet".to_owned(),
            aggregate_id: "é".to_owned(),
            event_type: "HoldPlaced".to_owned(),
            event_version: "1".to_owned(),
            payload: " {\n}".to_owned(),
            metadata: String::new(),
        }
    }

    #[test]
    fn events_come_back_byte_for_byte_also_over_several_groups() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let events: Vec<_> = (1..=20_003).map(event).collect();
        let mut table = TableWriter::new(file.reopen().unwrap(), "event", event_columns()).unwrap();
        for event in &events {
            table.push(event_row(event.clone()).unwrap()).unwrap();
        }
        table.finish().unwrap();
        let mut read = EventFile::open(file.path()).unwrap();
        let (mut back, mut groups) = (Vec::new(), 0);
        while let Some(group) = read.next().unwrap() {
            groups += 1;
            back.extend(group);
        }
        assert_eq!(groups, 2);
        assert!(back == events);
    }

    #[test]
    fn every_kind_of_value_is_written_and_nothing_too() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let kinds = [
            Kind::Bool,
            Kind::Int,
            Kind::Long,
            Kind::Double,
            Kind::Decimal,
            Kind::Time,
            Kind::Date,
            Kind::Text,
            Kind::Json,
        ];
        let column = |(index, kind): (usize, &Kind)| Column { name: format!("c{index}"), kind: *kind, required: false };
        let columns: Vec<_> = kinds.iter().enumerate().map(column).collect();
        let mut table = TableWriter::new(file.reopen().unwrap(), "things", columns).unwrap();
        let row = [
            Value::Bool(true),
            Value::Int(-1),
            Value::Long(i64::MAX),
            Value::Double(0.5),
            Value::Decimal(-12_345_678_901_234_567_890),
            Value::Long(0),
            Value::Int(1),
            Value::Text("é".to_owned()),
            Value::Text("{}".to_owned()),
        ];
        table.push(row.to_vec()).unwrap();
        table.push(row.iter().map(|_| Value::Null).collect()).unwrap();
        table.finish().unwrap();
        let reader = SerializedFileReader::new(file.reopen().unwrap()).unwrap();
        let rows: Vec<_> = reader.get_row_iter(None).unwrap().map(Result::unwrap).collect();
        assert_eq!(rows.len(), 2);
        assert_eq!((rows[0].get_bool(0).unwrap(), rows[0].get_long(2).unwrap()), (true, i64::MAX));
        assert_eq!(rows[0].get_string(7).unwrap(), "é");
        assert!(rows[0].to_string().contains("-12345678901234567890"), "{}", rows[0]);
        assert!(rows[1].get_column_iter().all(|(_, field)| matches!(field, parquet::record::Field::Null)));
    }

    #[test]
    fn a_value_of_another_kind_and_a_file_of_other_columns_are_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let columns = vec![Column { name: "position".to_owned(), kind: Kind::Long, required: true }];
        let mut table = TableWriter::new(file.reopen().unwrap(), "event", columns).unwrap();
        table.push(vec![Value::Long(1)]).unwrap();
        table.finish().unwrap();
        assert!(matches!(EventFile::open(file.path()), Err(ExportError::Altered { .. })));
        let columns = vec![Column { name: "a".to_owned(), kind: Kind::Int, required: false }];
        let mut table = TableWriter::new(Vec::new(), "things", columns).unwrap();
        table.push(vec![Value::Text("1".to_owned())]).unwrap();
        assert!(table.finish().is_err());
    }
}
