//! Where the programs of Postgres are on this machine.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use tokio::process::Command;

use super::EmbeddedError;

/// The environment variable with the folder of Postgres's programs. It goes over everything found elsewhere.
pub const PG_BIN_VARIABLE: &str = "TRADEPOST_PG_BIN";

/// The command that installs Postgres here.
pub const HOW_TO_INSTALL: &str =
    if cfg!(target_os = "macos") { "brew install postgresql" } else { "apt-get install postgresql" };

/// Where packages put one folder per version: (parent, what precedes the version, what follows it).
const VERSIONED: [(&str, &str, &str); 7] = [
    ("/usr/lib/postgresql", "", "bin"),          // Debian, Ubuntu
    ("/usr", "pgsql-", "bin"),                   // RHEL and its kin
    ("/usr/lib", "postgresql", "bin"),           // SUSE
    ("/opt/homebrew/opt", "postgresql@", "bin"), // Homebrew
    ("/usr/local/opt", "postgresql@", "bin"),    // Homebrew on Intel
    ("/opt/local/lib", "postgresql", "bin"),     // MacPorts
    ("/Applications/Postgres.app/Contents/Versions", "", "bin"),
];

/// The programs of one installed version.
#[derive(Debug, Clone)]
pub(super) struct Binaries {
    folder: PathBuf,
    major: u32,
}

impl Binaries {
    pub(super) fn postgres(&self) -> PathBuf {
        self.folder.join("postgres")
    }

    pub(super) fn initdb(&self) -> PathBuf {
        self.folder.join("initdb")
    }

    /// The programs in `folder`, if they are there and run.
    async fn in_folder(folder: PathBuf) -> Option<Self> {
        if !folder.join("initdb").is_file() {
            return None;
        }
        let output = Command::new(folder.join("postgres")).arg("--version").output().await.ok()?;
        let major = major_of(&String::from_utf8_lossy(&output.stdout))?;
        Some(Self { folder, major })
    }
}

/// Where to look for the programs.
#[derive(Debug)]
pub(super) struct Places {
    /// Named by the operator: nowhere else is looked.
    pub(super) named: Option<PathBuf>,
    /// In the order in which they are tried.
    pub(super) folders: Vec<PathBuf>,
    /// Whether `pg_config` is asked in the end.
    pub(super) ask_pg_config: bool,
}

impl Places {
    /// The search path, then where packages put them, the newest version first.
    pub(super) fn of_this_machine() -> Self {
        let named = env::var_os(PG_BIN_VARIABLE).filter(|folder| !folder.is_empty()).map(PathBuf::from);
        let mut folders: Vec<PathBuf> =
            env::var_os("PATH").map(|path| env::split_paths(&path).collect()).unwrap_or_default();
        folders
            .extend(VERSIONED.iter().flat_map(|(parent, before, after)| versions_in(Path::new(parent), before, after)));
        folders.push(PathBuf::from("/usr/local/pgsql/bin"));
        Self { named, folders, ask_pg_config: true }
    }

    /// The first programs that there are; with `major`, the first of that version, because a cluster can only be run
    /// by the version that made it.
    pub(super) async fn find(&self, major: Option<u32>) -> Result<Binaries, EmbeddedError> {
        let folders = match &self.named {
            Some(folder) => vec![folder.clone()],
            None => self.folders.clone(),
        };
        let mut others = Vec::new();
        for folder in folders {
            let Some(found) = Binaries::in_folder(folder).await else { continue };
            if major.is_none_or(|wanted| wanted == found.major) {
                return Ok(found);
            }
            others.push(found.major);
        }
        if let Some(found) = self.told_by_pg_config().await {
            if major.is_none_or(|wanted| wanted == found.major) {
                return Ok(found);
            }
            others.push(found.major);
        }
        Err(self.not_found(major, others))
    }

    async fn told_by_pg_config(&self) -> Option<Binaries> {
        if !self.ask_pg_config || self.named.is_some() {
            return None;
        }
        let output = Command::new("pg_config").arg("--bindir").output().await.ok()?;
        Binaries::in_folder(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())).await
    }

    fn not_found(&self, major: Option<u32>, mut others: Vec<u32>) -> EmbeddedError {
        others.sort_unstable();
        others.dedup();
        match (major, &self.named) {
            (Some(wanted), _) if !others.is_empty() => {
                let found = others.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
                EmbeddedError::OtherVersion { wanted, found }
            }
            (_, Some(folder)) => EmbeddedError::BinariesNotThere { folder: folder.clone() },
            _ => EmbeddedError::BinariesMissing,
        }
    }
}

/// `postgres (Postgres) 15.13 (Debian 15.13-0+deb12u1)` gives 15.
fn major_of(version: &str) -> Option<u32> {
    let number = version.split_whitespace().find(|word| word.starts_with(|first: char| first.is_ascii_digit()))?;
    number.split(|end: char| !end.is_ascii_digit()).next()?.parse().ok()
}

fn versions_in(parent: &Path, before: &str, after: &str) -> Vec<PathBuf> {
    let names =
        fs::read_dir(parent).into_iter().flatten().flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut versions: Vec<(u32, String)> =
        names.filter_map(|name| Some((name.strip_prefix(before)?.parse().ok()?, name))).collect();
    versions.sort_unstable();
    versions.into_iter().rev().map(|(_, name)| parent.join(name).join(after)).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use tempfile::TempDir;

    use super::*;

    /// Programs that only know to tell their version.
    fn fake(folder: &Path, version: &str) -> PathBuf {
        fs::create_dir_all(folder).unwrap();
        for name in ["initdb", "postgres"] {
            fs::write(folder.join(name), format!("#!/bin/sh\necho 'postgres (PostgreSQL) {version} (Debian)'\n"))
                .unwrap();
            fs::set_permissions(folder.join(name), fs::Permissions::from_mode(0o755)).unwrap();
        }
        folder.to_owned()
    }

    fn places(folders: Vec<PathBuf>) -> Places {
        Places { named: None, folders, ask_pg_config: false }
    }

    #[tokio::test]
    async fn without_postgresql_the_error_says_how_to_install_it() {
        let sentence = places(vec!["/nonexistent".into()]).find(None).await.unwrap_err().to_string();
        assert!(sentence.starts_with("PostgreSQL is not installed on this machine: install it with `"), "{sentence}");
        assert!(sentence.contains(HOW_TO_INSTALL) && !sentence.contains('\n'), "{sentence}");
    }

    #[tokio::test]
    async fn a_folder_named_by_the_operator_is_the_only_one_looked_at() {
        let folder = TempDir::new().unwrap();
        let elsewhere = Places { named: Some("/nonexistent".into()), ..places(vec![fake(folder.path(), "15.1")]) };
        let sentence = elsewhere.find(None).await.unwrap_err().to_string();
        assert!(sentence.starts_with("TRADEPOST_PG_BIN is set to /nonexistent"), "{sentence}");
    }

    #[tokio::test]
    async fn an_existing_cluster_gets_the_version_that_made_it() {
        let folder = TempDir::new().unwrap();
        let both = places(vec![fake(&folder.path().join("17"), "17.2"), fake(&folder.path().join("15"), "15.13")]);
        assert_eq!(both.find(None).await.unwrap().major, 17);
        assert_eq!(both.find(Some(15)).await.unwrap().major, 15);
        let sentence = both.find(Some(16)).await.unwrap_err().to_string();
        assert!(sentence.contains("made by PostgreSQL 16, and only 15, 17 is installed"), "{sentence}");
    }

    #[test]
    fn newer_versions_come_first() {
        let folder = TempDir::new().unwrap();
        for version in ["pg-9", "pg-16", "pg-15", "other"] {
            fs::create_dir(folder.path().join(version)).unwrap();
        }
        let found = versions_in(folder.path(), "pg-", "bin");
        assert_eq!(found, ["pg-16/bin", "pg-15/bin", "pg-9/bin"].map(|path| folder.path().join(path)));
    }

    #[test]
    fn versions_are_read_in_every_form_they_are_told() {
        assert_eq!(major_of("postgres (PostgreSQL) 15.13 (Debian 15.13-0+deb12u1)\n"), Some(15));
        assert_eq!(major_of("postgres (PostgreSQL) 18beta1\n"), Some(18));
        assert_eq!(major_of("no such thing"), None);
    }
}
