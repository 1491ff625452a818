//! The user that Postgres runs as: ourselves, or an unprivileged one when we are root, as whom it refuses to run.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

use nix::unistd::{Uid, User};
use tokio::process::Command;

use super::EmbeddedError;

/// An unprivileged user. It has no supplementary groups: the standard library drops them along with root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl Account {
    /// Whom to become for the cluster at `data`: nobody else unless we are root; then the owner of the cluster if there
    /// is one already (a developer who once used sudo keeps their database), else `postgres`, else `nobody`.
    pub(super) fn for_cluster(data: &Path) -> Result<Option<Self>, EmbeddedError> {
        if !Uid::effective().is_root() {
            return Ok(None);
        }
        let owner = fs::metadata(data).ok().map(|owner| Self { uid: owner.uid(), gid: owner.gid() });
        let account =
            owner.filter(|owner| owner.uid != 0).or_else(|| Self::named("postgres")).or_else(|| Self::named("nobody"));
        account.map(Some).ok_or(EmbeddedError::NoAccount)
    }

    fn named(name: &str) -> Option<Self> {
        let user = User::from_name(name).ok().flatten()?;
        Some(Self { uid: user.uid.as_raw(), gid: user.gid.as_raw() })
    }

    /// Whether this user can enter the folder: it and all above it must be open. `folder` has no symbolic links in it.
    pub(super) fn can_enter(self, folder: &Path) -> bool {
        folder.ancestors().all(|folder| {
            fs::metadata(folder).is_ok_and(|folder| {
                let execute = if folder.uid() == self.uid {
                    0o100
                } else if folder.gid() == self.gid {
                    0o010
                } else {
                    0o001
                };
                folder.mode() & execute != 0
            })
        })
    }
}

/// A command that runs as the account, knows nothing of our environment (which may hold secrets, and variables that
/// change what Postgres does), and is out of reach of a Ctrl-C on our terminal: it has a process group of its own.
pub(super) fn command(program: &Path, account: Option<Account>) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("LC_ALL", "C")
        .current_dir("/")
        .process_group(0);
    if let Some(Account { uid, gid }) = account {
        command.uid(uid).gid(gid);
    }
    command
}
