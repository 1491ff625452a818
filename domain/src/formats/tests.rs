//! The storage format is what the committed files say.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use schemars::schema_for;
use serde_json::Value;

use super::*;

/// What the tests need to know of one aggregate.
struct Format {
    aggregate: &'static str,
    schema: Value,
    /// Reads a stored event and tells its type, its version and what would be written today.
    reread: fn(Value) -> serde_json::Result<(&'static str, &'static str, Value)>,
}

fn format_of<A: Aggregate>() -> Format {
    Format {
        aggregate: A::TYPE,
        schema: schema_for!(A::Event).to_value(),
        reread: |stored| {
            let event: A::Event = serde_json::from_value(stored)?;
            Ok((event.event_type(), event.event_version(), serde_json::to_value(&event)?))
        },
    }
}

fn formats() -> BTreeMap<&'static str, Format> {
    macro_rules! formats {
        ($($aggregate:ident in $module:ident by $id:ident),+ $(,)?) => {
            [$(format_of::<crate::$module::$aggregate>()),+]
        };
    }
    crate::every_aggregate!(formats).into_iter().map(|format| (format.aggregate, format)).collect()
}

fn crate_folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn files_under(folder: &Path) -> BTreeSet<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files_under(&path) } else { BTreeSet::from([path]) }).collect()
}

fn golden_path((aggregate, event_type, version): (&str, &str, &str)) -> PathBuf {
    crate_folder("golden").join(aggregate).join(format!("{event_type}.v{version}.json"))
}

/// By name, whichever order `serde_json` was built to keep: that depends on what else is in the build.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let by_name: BTreeMap<String, Value> = fields.into_iter().map(|(name, it)| (name, sorted(it))).collect();
            by_name.into_iter().collect()
        }
        Value::Array(items) => items.into_iter().map(sorted).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value,
    }
}

fn pretty(value: Value) -> String {
    format!("{:#}\n", sorted(value))
}

#[test]
fn committed_schemas_are_those_of_the_code() {
    let folder = crate_folder("schemas");
    let expected: BTreeMap<PathBuf, String> = formats()
        .into_values()
        .map(|format| (folder.join(format!("{}.json", format.aggregate)), pretty(format.schema)))
        .collect();
    if std::env::var_os("UPDATE_SCHEMAS").is_some_and(|value| value == "1") {
        if folder.exists() {
            fs::remove_dir_all(&folder).unwrap();
        }
        fs::create_dir(&folder).unwrap();
        for (path, schema) in &expected {
            fs::write(path, schema).unwrap();
        }
    }
    assert!(files_under(&folder).iter().eq(expected.keys()), "one schema for each aggregate, in {}", folder.display());
    for (path, schema) in expected {
        let committed = fs::read_to_string(&path).unwrap();
        let path = path.display();
        assert!(committed == schema, "{path} is not the format of the code; if it is meant to be: UPDATE_SCHEMAS=1");
    }
}

#[test]
fn there_is_a_golden_file_for_every_known_type_and_for_no_other() {
    let expected: BTreeSet<PathBuf> = known_types().into_iter().map(golden_path).collect();
    let found = files_under(&crate_folder("golden"));
    assert_eq!(expected.difference(&found).collect::<Vec<_>>(), Vec::<&PathBuf>::new(), "these are missing");
    assert_eq!(
        found.difference(&expected).collect::<Vec<_>>(),
        Vec::<&PathBuf>::new(),
        "these cannot be read any more"
    );
}

#[test]
fn every_golden_file_is_read_and_those_of_today_would_be_written_in_the_same_way() {
    let formats = formats();
    for known in known_types() {
        let (aggregate, event_type, version) = known;
        let path = golden_path(known);
        let text = fs::read_to_string(&path).unwrap();
        let stored: Value = serde_json::from_str(&text).unwrap();
        let reread = (formats[aggregate].reread)(stored.clone()).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert_eq!(reread.0, event_type, "{}", path.display());
        if reread.1 == version {
            assert_eq!(reread.2, stored, "{}", path.display());
        }
    }
}

#[test]
fn no_type_is_known_twice() {
    let types = known_types();
    assert_eq!(types.iter().collect::<BTreeSet<_>>().len(), types.len());
}

/// An aggregate that is missing from the list would be found out by the first start of a server over its events.
#[test]
fn every_aggregate_of_the_source_is_in_the_list() {
    let sources = files_under(&crate_folder("src"));
    let implementations = |path: &PathBuf| {
        let text = fs::read_to_string(path).unwrap();
        text.lines().filter(|line| line.starts_with("impl Aggregate for ")).count()
    };
    assert_eq!(formats().len(), sources.iter().map(implementations).sum::<usize>());
}
