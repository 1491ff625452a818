//! The rules of the architecture, as a test over the source tree. Needs no server.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The members of the workspace and which others each may use: `domain ← eventstore ← commands, projections ← api ←
/// tests`. Commands and projections never know of each other.
const LAYERS: [(&str, &[&str]); 7] = [
    ("domain", &[]),
    ("eventstore", &["domain"]),
    ("commands", &["domain", "eventstore"]),
    ("projections", &["domain", "eventstore"]),
    ("api", &["domain", "eventstore", "commands", "projections"]),
    ("tests", &["domain", "eventstore", "commands", "projections", "api"]),
    ("tests/faults", &["domain", "eventstore", "commands", "projections", "api"]),
];
/// What must not appear in the domain, as whole words.
const BANNED_IN_DOMAIN: [&str; 13] = [
    "Utc::now",
    "SystemTime",
    "Instant",
    "rand",
    "now_v7",
    "new_v4",
    "f32",
    "f64",
    "std::fs",
    "std::net",
    "std::env",
    "tokio",
    "sqlx",
];
const LONGEST_FILE_LINES: usize = 1_000;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every file under `folder` with this ending.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == ending) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn sources() -> Vec<PathBuf> {
    LAYERS.iter().flat_map(|(member, _)| files(&root().join(member), "rs")).collect()
}

/// The path under the root, as messages show it.
fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

/// The first thing in the file is a module comment.
fn opens_with_its_purpose(text: &str) -> bool {
    text.lines().next().is_some_and(|line| line.strip_prefix("//! ").is_some_and(|purpose| !purpose.trim().is_empty()))
}

/// Whether `word` stands in `line` by itself, not as part of another word.
fn has_word(line: &str, word: &str) -> bool {
    let of_word = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let (before, after) = (&line[..at], &line[at + word.len()..]);
        !before.ends_with(of_word) && !after.starts_with(of_word)
    })
}

/// The part of a line before a comment.
fn code(line: &str) -> &str {
    line.split("//").next().unwrap_or(line)
}

#[test]
fn crates_depend_only_on_the_layers_below_them() {
    let manifest: toml::Table = read(&root().join("Cargo.toml")).parse().unwrap();
    let members = manifest["workspace"]["members"].as_array().unwrap().iter().map(|member| member.as_str().unwrap());
    assert_eq!(members.collect::<BTreeSet<_>>(), LAYERS.map(|(member, _)| member).into_iter().collect());
    for (member, allowed) in LAYERS {
        let manifest: toml::Table = read(&root().join(member).join("Cargo.toml")).parse().unwrap();
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let names = manifest.get(section).and_then(toml::Value::as_table).into_iter().flat_map(toml::Table::keys);
            for name in names.filter(|name| LAYERS.iter().any(|(member, _)| member == name)) {
                assert!(allowed.contains(&name.as_str()), "{member} must not depend on {name} ({section})");
            }
        }
    }
}

#[test]
fn commands_and_projections_do_not_name_each_other() {
    for (member, other) in [("commands", "projections"), ("projections", "commands")] {
        for file in files(&root().join(member).join("src"), "rs") {
            let named = read(&file).lines().any(|line| has_word(code(line), &format!("{other}::")));
            assert!(!named, "{} uses {other}", shown(&file));
        }
    }
}

#[test]
fn the_domain_is_pure() {
    let mut impure = Vec::new();
    for file in files(&root().join("domain/src"), "rs") {
        let text = read(&file);
        // Test modules end a file, or are files of their own that are named by `#[cfg(test)] mod`.
        let own = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        if is_test_file(&file) {
            continue;
        }
        for (number, line) in own.lines().enumerate() {
            let banned = BANNED_IN_DOMAIN.iter().find(|word| has_word(code(line), word));
            impure.extend(banned.map(|word| format!("{}:{}: {word}", shown(&file), number + 1)));
        }
    }
    assert!(impure.is_empty(), "the domain performs no IO and knows no clock, chance or float: {impure:#?}");
}

/// Whether the module is declared under `#[cfg(test)]` by the one above it.
fn is_test_file(file: &Path) -> bool {
    let name = file.file_stem().unwrap().to_string_lossy();
    let folder = file.parent().unwrap();
    let above = [folder.with_extension("rs"), folder.join("lib.rs"), folder.join("mod.rs")];
    let declarations = above.iter().filter(|path| path.is_file()).map(|path| read(path));
    declarations
        .into_iter()
        .any(|text| ["", "pub(crate) "].iter().any(|how| text.contains(&format!("#[cfg(test)]\n{how}mod {name};"))))
}

#[test]
fn routes_read_paths_and_queries_by_our_extractors() {
    // Their refusals are not ours: whatever is in a path and cannot be a name, names nothing.
    let named = |text: &str| {
        let mut imports = text.split("axum::extract::").skip(1).filter_map(|rest| rest.split([';', '<', '(']).next());
        imports.any(|names| ["Path", "Query", "RawPathParams"].iter().any(|bare| has_word(names, bare)))
    };
    assert!(named("use axum::extract::{Path, State};") && !named("use axum::extract::State;\nstruct Path;"));
    let routes = files(&root().join("api/src/http/routes"), "rs");
    let bare: Vec<_> = routes.iter().filter(|file| named(&read(file))).map(|file| shown(file)).collect();
    assert!(bare.is_empty(), "take `Id<…>` of a path, and `Read<…>` of a query: {bare:#?}");
}

#[test]
fn every_module_opens_with_its_purpose() {
    let silent: Vec<_> =
        sources().iter().filter(|file| !opens_with_its_purpose(&read(file))).map(|f| shown(f)).collect();
    assert!(silent.is_empty(), "a file begins with `//!` and what it is for: {silent:#?}");
}

#[test]
fn every_migration_opens_with_its_purpose() {
    let migrations = files(&root().join("migrations"), "sql");
    assert!(!migrations.is_empty());
    let tables = files(&root().join("projections/src"), "sql");
    for file in migrations.iter().chain(&tables) {
        let text = read(file);
        let purpose = text.lines().next().unwrap_or_default().strip_prefix("-- ").unwrap_or_default();
        assert!(!purpose.is_empty(), "{} begins with `-- ` and what it is for", shown(file));
    }
}

#[test]
fn what_read_models_must_not_have_twice_is_a_constraint() {
    // They are filled without any other index.
    for file in files(&root().join("projections/src"), "sql") {
        let text = read(&file).to_lowercase();
        assert!(!text.contains("create unique index"), "{}: make it a constraint", shown(&file));
    }
}

#[test]
fn migrations_are_numbered_without_gaps() {
    let migrations = files(&root().join("migrations"), "sql");
    let numbers = migrations.iter().map(|file| file.file_name().unwrap().to_string_lossy()[..4].parse().unwrap());
    assert_eq!(numbers.collect::<Vec<usize>>(), (1..=migrations.len()).collect::<Vec<_>>());
}

#[test]
fn no_file_is_too_long_to_be_read() {
    let long: BTreeMap<_, _> = sources()
        .iter()
        .map(|file| (shown(file), read(file).lines().count()))
        .filter(|(_, lines)| *lines > LONGEST_FILE_LINES)
        .collect();
    assert!(long.is_empty(), "no file has more than {LONGEST_FILE_LINES} lines: {long:#?}");
}

#[test]
fn nothing_is_left_for_later() {
    // Written in halves, so that this file does not find itself.
    let marks = [["#[ig", "nore"], ["to", "do!"], ["TO", "DO"], ["FIX", "ME"], ["unimple", "mented!"], ["todo", "_"]];
    let marks = marks.map(|halves| halves.concat());
    let mut left = Vec::new();
    let sql = files(&root().join("migrations"), "sql");
    for file in sources().iter().chain(&sql) {
        for (number, line) in read(file).lines().enumerate() {
            let mark = marks.iter().find(|mark| line.contains(mark.as_str()));
            left.extend(mark.map(|mark| format!("{}:{}: {mark}", shown(file), number + 1)));
        }
    }
    assert!(left.is_empty(), "left for later: {left:#?}");
}

#[test]
fn no_build_but_that_of_the_selftest_has_planted_bugs() {
    let gate = "#[cfg(feature = \"planted-bugs\")]";
    for (member, _) in LAYERS {
        let text = read(&root().join(member).join("Cargo.toml"));
        let manifest: toml::Table = text.parse().unwrap();
        let features = manifest.get("features").and_then(toml::Value::as_table).cloned().unwrap_or_default();
        assert!(!features.contains_key("default"), "{member} has features by default");
        for (name, wanted) in features.iter().filter(|(name, _)| *name != "planted-bugs") {
            assert!(!wanted.to_string().contains("planted-bugs"), "{name} of {member} plants bugs");
        }
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let wanted = manifest.get(section).map(ToString::to_string).unwrap_or_default();
            assert!(!wanted.contains("planted-bugs"), "{member} asks for planted bugs ({section})");
        }
    }
    let workspace: toml::Table = read(&root().join("Cargo.toml")).parse().unwrap();
    assert!(!workspace["workspace"].to_string().contains("planted-bugs"), "the workspace asks for planted bugs");
    // What names them is behind the feature, or within a statement that is.
    for file in sources().iter().filter(|file| !file.ends_with("tidy.rs") && !file.ends_with("planted.rs")) {
        let text = read(file);
        let lines: Vec<&str> = text.lines().collect();
        for (number, _) in lines.iter().enumerate().filter(|(_, line)| code(line).contains("planted::")) {
            let gated = lines[number.saturating_sub(4)..=number].iter().any(|line| line.trim() == gate);
            assert!(gated, "{}:{}: a bug is planted in every build", shown(file), number + 1);
        }
    }
}

#[test]
fn the_readme_lists_every_setting() {
    let text = read(&root().join("README.md"));
    let settings = api::config::describe();
    let missing: Vec<_> =
        settings.iter().map(|(key, ..)| *key).filter(|key| !text.contains(&format!("`{key}`"))).collect();
    assert!(missing.is_empty(), "README.md does not list these settings: {missing:?}");
    let wrong = |(key, default, _): &(&str, &str, &str)| {
        let row = text.lines().find(|line| line.starts_with(&format!("| `{key}`"))).unwrap_or_default();
        !default.is_empty() && !row.contains(*default)
    };
    let wrong: Vec<_> = settings.into_iter().filter(wrong).map(|(key, ..)| key).collect();
    assert!(wrong.is_empty(), "README.md tells another default for these settings: {wrong:?}");
}

/// For form only: no engine here can run it.
#[test]
fn the_compose_file_is_well_formed() {
    let text = read(&root().join("docker-compose.yml"));
    let mut sections = BTreeSet::new();
    for (number, line) in text.lines().enumerate() {
        let content = line.trim_start();
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        let indent = line.len() - content.len();
        assert!(!line.contains('\t') && indent % 2 == 0, "docker-compose.yml:{}: indentation", number + 1);
        let entry = content.starts_with("- ") || content.contains(": ") || content.ends_with(':');
        assert!(entry, "docker-compose.yml:{}: neither a key nor an item: {content}", number + 1);
        if indent == 0 {
            sections.insert(content.trim_end_matches(':').to_owned());
        }
    }
    assert!(sections.contains("services"), "{sections:?}");
}
