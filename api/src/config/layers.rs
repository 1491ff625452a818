//! The layers a configuration is read from, and the refusal of keys that nobody knows.

use std::{
    collections::BTreeSet,
    env,
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

use figment::{
    Figment, Metadata, Profile, Provider,
    error::Kind,
    value::{Dict, Map, Value},
};

use super::settings::{SECRETS, SETTINGS};
use super::{Config, ConfigError};
use crate::embedded::PG_BIN_VARIABLE;

/// The file that is read when it is there and no other is named.
pub const DEFAULT_FILE: &str = "tradepost.toml";

/// Every environment variable that starts with this is a setting.
pub const PREFIX: &str = "TRADEPOST_";

/// Variables with our prefix that are no settings.
const NOT_SETTINGS: [&str; 3] = [PG_BIN_VARIABLE, "TRADEPOST_DATA", "TRADEPOST_SEED"];

/// The default of a setting that is a table.
const TABLE: &str = "{}";

/// Names of layers, as errors show them.
const DATABASE_URL: &str = "environment variable DATABASE_URL";
const ENVIRONMENT: &str = "environment";
const FLAGS: &str = "command line";

/// Where values come from besides the command line. Plain data, so that tests need not touch the process.
#[derive(Debug, Clone)]
pub struct Sources {
    /// The configuration file.
    pub file: ConfigFile,
    /// The environment as (name, value). Empty values count as not set, as `NAME=` in a compose file means it.
    pub env: Vec<(String, String)>,
}

/// A configuration file, and whether it may be absent.
#[derive(Debug, Clone)]
pub enum ConfigFile {
    /// Named by the operator: it must be there.
    Required(PathBuf),
    /// Read if it is there.
    Optional(PathBuf),
}

impl Sources {
    /// The real environment, and `config` (from `--config`) or else `tradepost.toml` of the working directory.
    pub fn of_process(config: Option<PathBuf>) -> Self {
        let file = config.map_or_else(|| ConfigFile::Optional(DEFAULT_FILE.into()), ConfigFile::Required);
        let text = |part: OsString| part.to_string_lossy().into_owned();
        let env = env::vars_os().map(|(name, value)| (text(name), text(value))).collect();
        Self { file, env }
    }
}

impl Config {
    /// Reads and checks the configuration. `flags` is the last word: usually `Serialized::defaults` over a struct of
    /// the command line's options, nested as [`Config`] is; its `None`s count as not given.
    pub fn load(sources: &Sources, flags: impl Provider) -> Result<Self, ConfigError> {
        let layers = [
            Layer::of_file(&sources.file)?,
            Layer::of_database_url(&sources.env),
            Layer::of_environment(&sources.env),
            Layer::of_flags(&flags)?,
        ];
        let mut figment = Figment::new();
        for layer in layers {
            layer.refuse_unknown_keys()?;
            figment = figment.merge(layer);
        }
        let config: Self = figment.extract().map_err(unusable)?;
        config.check(&figment)?;
        Ok(config)
    }
}

/// One source of values, with the name that errors call it by.
struct Layer {
    name: String,
    values: Dict,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Profile::Default.collect(self.values.clone()))
    }
}

impl Layer {
    fn of_file(file: &ConfigFile) -> Result<Self, ConfigError> {
        let (ConfigFile::Required(path) | ConfigFile::Optional(path)) = file;
        let name = format!("in {}", path.display());
        let text = match (fs::read_to_string(path), file) {
            (Ok(text), _) => text,
            (Err(error), ConfigFile::Optional(_)) if error.kind() == io::ErrorKind::NotFound => String::new(),
            (Err(error), ConfigFile::Required(_)) if error.kind() == io::ErrorKind::NotFound => {
                return Err(ConfigError::NoFile { path: path.clone() });
            }
            (Err(error), _) => return Err(ConfigError::file("read the configuration file", path)(error)),
        };
        let values = toml::from_str(&text).map_err(|error| syntax(path, &text, &error))?;
        Ok(Self { name, values })
    }

    /// The variable that every hosting service sets. The one with our own prefix is more specific and goes over it.
    fn of_database_url(env: &[(String, String)]) -> Self {
        let mut values = Dict::new();
        if let Some((_, url)) = env.iter().find(|(name, value)| name == "DATABASE_URL" && !value.is_empty()) {
            put(&mut values, &["database", "url"], Value::from(url.clone()));
        }
        Self { name: DATABASE_URL.to_owned(), values }
    }

    fn of_environment(env: &[(String, String)]) -> Self {
        let mut values = Dict::new();
        let given = env.iter().filter(|(name, value)| !value.is_empty() && !NOT_SETTINGS.contains(&name.as_str()));
        for (name, text) in given {
            let Some(name) = name.strip_prefix(PREFIX) else { continue };
            let key = name.to_lowercase().replace("__", ".");
            put(&mut values, &key.split('.').collect::<Vec<_>>(), from_text(&key, text));
        }
        Self { name: ENVIRONMENT.to_owned(), values }
    }

    fn of_flags(flags: &impl Provider) -> Result<Self, ConfigError> {
        let mut data = flags.data().map_err(|error| ConfigError::Provider(Box::new(error)))?;
        let mut values = data.remove(&Profile::Default).unwrap_or_default();
        drop_absent(&mut values);
        Ok(Self { name: FLAGS.to_owned(), values })
    }

    fn refuse_unknown_keys(&self) -> Result<(), ConfigError> {
        let unknown = keys(&self.values, "").into_iter().find(|key| !is_known(key));
        unknown.map_or(Ok(()), |key| {
            let allowed = allowed_beside(&key, self.name == ENVIRONMENT);
            Err(ConfigError::UnknownKey { origin: origin(Some(&self.metadata()), &key), allowed, key })
        })
    }
}

/// Where a value stands, as an operator would look for it.
pub(super) fn origin(layer: Option<&Metadata>, key: &str) -> String {
    match layer.map(|layer| layer.name.as_ref()) {
        Some(ENVIRONMENT) => format!("environment variable {}", variable(key)),
        Some(name) => name.to_owned(),
        None => "default".to_owned(),
    }
}

/// The environment variable that sets `key`.
fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "__").to_uppercase())
}

/// An environment variable is only text; what it must become is told by the default of its key, so that a secret made
/// of digits stays text. What cannot be converted stays text too, and is refused when the configuration is read.
fn from_text(key: &str, text: &str) -> Value {
    let default = SETTINGS.iter().find(|(known, ..)| *known == key).map_or("", |(_, default, _)| default);
    let as_number = default.parse::<u64>().and_then(|_| text.trim().parse::<u64>()).map(Value::from);
    let as_flag = default.parse::<bool>().and_then(|_| text.trim().parse::<bool>()).map(Value::from);
    if default == TABLE {
        // Never fails: what is no table stays text.
        return text.parse().unwrap_or_else(|_: std::convert::Infallible| Value::from(text));
    }
    as_number.ok().or(as_flag.ok()).unwrap_or_else(|| Value::from(text))
}

/// Puts a value at a path of keys. A path through something that is not a section replaces it: the unknown key that
/// this makes is refused afterwards.
fn put(values: &mut Dict, path: &[&str], value: Value) {
    let [first, rest @ ..] = path else { return };
    if rest.is_empty() {
        values.insert((*first).to_owned(), value);
        return;
    }
    let mut section = match values.remove(*first) {
        Some(Value::Dict(_, section)) => section,
        _ => Dict::new(),
    };
    put(&mut section, rest, value);
    values.insert((*first).to_owned(), Value::from(section));
}

/// Takes out what an option that was not given serialises to.
fn drop_absent(values: &mut Dict) {
    values.retain(|_, value| match value {
        Value::Empty(..) => false,
        Value::Dict(_, section) => {
            drop_absent(section);
            true
        }
        _ => true,
    });
}

/// The keys that hold something, with dots between the levels. An empty section is a key too: it may be misspelt.
fn keys(values: &Dict, prefix: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (name, value) in values {
        let key = format!("{prefix}{name}");
        match value {
            Value::Dict(_, section) if !section.is_empty() && !is_setting(&key) => {
                found.extend(keys(section, &format!("{key}.")));
            }
            _ => found.push(key),
        }
    }
    found
}

fn sections() -> BTreeSet<&'static str> {
    SETTINGS.iter().filter_map(|(key, ..)| key.split_once('.')).map(|(section, _)| section).collect()
}

fn is_setting(key: &str) -> bool {
    SETTINGS.iter().any(|(known, ..)| *known == key)
}

fn is_known(key: &str) -> bool {
    is_setting(key) || sections().contains(key)
}

/// What could be written in the place of an unknown key.
fn allowed_beside(key: &str, in_environment: bool) -> String {
    let section = key.split_once('.').map(|(section, _)| section);
    let known = |section: &str| {
        let names = SETTINGS.iter().filter_map(|(key, ..)| key.strip_prefix(section)?.strip_prefix('.'));
        names.collect::<Vec<_>>().join(", ")
    };
    match section.filter(|section| sections().contains(section)) {
        Some(section) => format!("`{section}` has {}", known(section)),
        None if in_environment => format!("the sections are {}, followed by two underscores", list_of_sections()),
        None => format!("the sections are {}", list_of_sections()),
    }
}

fn list_of_sections() -> String {
    sections().into_iter().collect::<Vec<_>>().join(", ")
}

/// The parser's own rendering quotes the line, which may hold a secret: only its message and the line number are kept.
fn syntax(path: &Path, text: &str, error: &toml::de::Error) -> ConfigError {
    let before = error.span().map_or(0, |span| span.start);
    let line = text.bytes().take(before).filter(|byte| *byte == b'\n').count() + 1;
    ConfigError::Syntax { path: path.to_owned(), line, message: error.message().to_owned() }
}

/// figment's own rendering shows the value, which for a secret must not be.
fn unusable(error: figment::Error) -> ConfigError {
    let key = error.path.join(".");
    if key.is_empty() {
        return ConfigError::Provider(Box::new(error));
    }
    let origin = origin(error.metadata.as_ref(), &key);
    let reason = match &error.kind {
        _ if SECRETS.contains(&key.as_str()) => "it must be text".to_owned(),
        Kind::InvalidType(found, wanted) | Kind::InvalidValue(found, wanted) => format!("it is {found}, not {wanted}"),
        other => other.to_string(),
    };
    ConfigError::Unusable { key, origin, reason }
}
