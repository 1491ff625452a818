//! Values that must not be printed, files that hold one, and the one secret that all other keys are derived from.

use std::{
    fmt::{self, Write as _},
    fs,
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use rand::{TryRngCore as _, rngs::OsRng};
use serde::{Deserialize, Serialize, Serializer};

use super::{Config, ConfigError, SECRET_MIN_CHARS};

/// What every way of printing a [`Secret`] shows instead of it.
const MASK: &str = "<secret>";

/// What is done with the root secret's file, as an error names it.
const ROOT: &str = "read the root secret";

/// How many hexadecimal characters a generated secret has: 256 bits.
const GENERATED_CHARS: usize = 64;

/// A value that `Debug`, `Display` and `Serialize` never show, so that logging or dumping a configuration is safe.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret<T>(T);

impl<T> Secret<T> {
    /// Wraps a value.
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself. The only way to it, so that a search for `expose` finds every use.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(MASK)
    }
}

impl<T> fmt::Display for Secret<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(MASK)
    }
}

impl<T> Serialize for Secret<T> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(MASK)
    }
}

/// The root secret: token signing, sealing and every other key is derived from it.
///
/// `auth.secret` if it is set. Without it, and with the private database, the file `secret` next to
/// `database.embedded_dir` (`.tradepost/secret`), made at the first call from the randomness of the operating system:
/// it lives and is backed up with the data it protects. With a database elsewhere there is no such place that all
/// nodes share, so it must be set.
pub fn root_secret(config: &Config) -> Result<Secret<String>, ConfigError> {
    if let Some(secret) = &config.auth.secret {
        return Ok(secret.clone());
    }
    if config.database.url.is_some() {
        return Err(ConfigError::SecretMissing);
    }
    let file = secret_file(&config.database.embedded_dir);
    match read(&file, ROOT) {
        Err(ConfigError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            create(&file)?;
            read(&file, ROOT)
        }
        other => other,
    }
}

fn secret_file(embedded_dir: &Path) -> PathBuf {
    embedded_dir.with_file_name("secret")
}

/// The secret in a file, without the space around it.
pub(super) fn read(file: &Path, doing: &'static str) -> Result<Secret<String>, ConfigError> {
    let text = fs::read_to_string(file).map_err(ConfigError::file(doing, file))?;
    let text = text.trim();
    if text.chars().count() < SECRET_MIN_CHARS {
        return Err(ConfigError::SecretFile { path: file.to_owned() });
    }
    warn_if_others_can_read(file, doing)?;
    Ok(Secret(text.to_owned()))
}

fn warn_if_others_can_read(file: &Path, doing: &'static str) -> Result<(), ConfigError> {
    let metadata = fs::metadata(file).map_err(ConfigError::file(doing, file))?;
    if metadata.permissions().mode() & 0o077 != 0 {
        tracing::warn!(file = %file.display(), "other users can read this secret; run `chmod 600` on this file");
    }
    Ok(())
}

/// Written beside its place and then linked to it: the file is whole or absent, and of several that make it at the same
/// time one wins and all read the same. The draft has a name of its own for that reason.
fn create(file: &Path) -> Result<(), ConfigError> {
    let folder = file.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(ConfigError::file("make the folder of the root secret", folder))?;
    let made = random_hex().and_then(|secret| {
        let draft = file.with_file_name(format!("secret.draft-{}", random_hex()?));
        let linked = write_private(&draft, &secret).and_then(|()| fs::hard_link(&draft, file));
        // Only a second name by now. One that a crash leaves behind is private and unused.
        let _ = fs::remove_file(&draft);
        linked
    });
    match made {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other.map_err(ConfigError::file("write the root secret", file)),
    }
}

/// Writes a file that only its owner can read, durably. Whatever was there is replaced.
fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    // The mode above holds only for a file that was not there before.
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// 256 bits from the operating system's randomness, as 64 hexadecimal characters.
pub(crate) fn random_hex() -> io::Result<String> {
    let mut hex = String::with_capacity(GENERATED_CHARS);
    while hex.len() < GENERATED_CHARS {
        let bits = OsRng.try_next_u64().map_err(io::Error::other)?;
        // Writing to a String does not fail.
        let _ = write!(hex, "{bits:016x}");
    }
    Ok(hex)
}
