//! The folder of the private Postgres: where it is, what is in it, and that one process at a time uses it.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown},
    path::{Path, PathBuf},
};

use nix::fcntl::OFlag;
use sha2::{Digest as _, Sha256};

use super::{EmbeddedError, account::Account};
use crate::config::random_hex;

/// Where clusters are kept that the unprivileged user could not reach in the folder asked for.
const SUBSTITUTES: &str = "/var/lib/tradepost";

/// A Unix socket's path is at most 103 bytes long on macOS (107 on Linux), and `/.s.PGSQL.65535` follows the folder.
const SOCKET_DIR_MAX_BYTES: usize = 85;

/// Beyond this size the log is set aside (once, as `postgres.log.1`) when Postgres starts.
const LOG_MAX_BYTES: u64 = 16 * 1024 * 1024;

/// How much of the end of the log an error shows.
const LOG_TAIL_BYTES: u64 = 4096;
const LOG_TAIL_LINES: usize = 15;

/// The name of a cluster that is being made starts with this.
const DRAFT: &str = "data.draft-";

/// The folder, locked for as long as this value lives.
#[derive(Debug)]
pub(super) struct Home {
    dir: PathBuf,
    account: Option<Account>,
    /// Only held: closing it lets go of the folder. Children do not inherit it.
    _lock: File,
}

impl Home {
    /// Finds or makes the folder and locks it.
    pub(super) fn open(wanted: &Path) -> Result<Self, EmbeddedError> {
        let (dir, account) = settle(wanted, Path::new(SUBSTITUTES))?;
        let lock = lock(&dir, account)?;
        Ok(Self { dir, account, _lock: lock })
    }

    /// The folder itself, absolute and without symbolic links.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Whom Postgres runs as, if not as ourselves.
    pub(super) fn account(&self) -> Option<Account> {
        self.account
    }

    /// The cluster.
    pub(super) fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// The file with the password.
    pub(super) fn password(&self) -> PathBuf {
        self.dir.join("password")
    }

    /// The folder for the Unix socket, or `None` if the path would be too long for one.
    pub(super) fn socket(&self) -> Option<PathBuf> {
        let socket = self.dir.join("socket");
        let fits = socket.to_str().is_some_and(|path| path.len() <= SOCKET_DIR_MAX_BYTES);
        fits.then_some(socket)
    }

    /// The major version that made the cluster; `None` if there is no cluster yet.
    pub(super) fn cluster_version(&self) -> Result<Option<u32>, EmbeddedError> {
        let data = self.data();
        if !data.exists() {
            return Ok(None);
        }
        let version = fs::read_to_string(data.join("PG_VERSION")).ok().and_then(|text| text.trim().parse().ok());
        version.map(Some).ok_or(EmbeddedError::NotACluster { data })
    }

    /// An empty folder to make the cluster in. It has a name of its own each time, because an `initdb` whose parent
    /// was killed may still be writing to the last one.
    pub(super) fn draft(&self) -> Result<PathBuf, EmbeddedError> {
        self.sweep_drafts();
        let name = random_hex().map_err(EmbeddedError::io("name a new folder in", &self.dir))?;
        let draft = self.dir.join(format!("{DRAFT}{}", &name[..16]));
        self.make_private_folder(&draft)?;
        Ok(draft)
    }

    fn sweep_drafts(&self) {
        for entry in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(DRAFT) {
                // Not needed for going on; what resists now is swept the next time.
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }

    /// Puts a finished draft into its place, for good.
    pub(super) fn keep(&self, draft: &Path) -> Result<(), EmbeddedError> {
        fs::rename(draft, self.data())
            .and_then(|()| File::open(&self.dir)?.sync_all())
            .map_err(EmbeddedError::io("move the new database into its place", draft))
    }

    /// Makes a folder that only Postgres can enter, unless it is there.
    pub(super) fn make_private_folder(&self, path: &Path) -> Result<(), EmbeddedError> {
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(EmbeddedError::io("make", path)(error)),
            _ => File::open(path)
                .and_then(|folder| hand_over(&folder, self.account))
                .map_err(EmbeddedError::io("hand over to the user of PostgreSQL", path)),
        }
    }

    /// Makes a new password and keeps it where `initdb` can read it.
    pub(super) fn make_password(&self) -> Result<(), EmbeddedError> {
        let path = self.password();
        let write = || {
            let mut file = open_private(&path, self.account)?;
            file.set_len(0)?;
            file.write_all(random_hex()?.as_bytes())?;
            file.sync_all()
        };
        write().map_err(EmbeddedError::io("write the password of the private database", &path))
    }

    /// The password made before.
    pub(super) fn read_password(&self) -> Result<String, EmbeddedError> {
        let path = self.password();
        let text =
            fs::read_to_string(&path).map_err(EmbeddedError::io("read the password of the private database", &path))?;
        Ok(text.trim().to_owned())
    }

    /// Where Postgres writes its log.
    pub(super) fn log(&self) -> Result<File, EmbeddedError> {
        let path = self.dir.join("postgres.log");
        let open = || {
            if fs::metadata(&path).is_ok_and(|log| log.len() > LOG_MAX_BYTES) {
                fs::rename(&path, self.dir.join("postgres.log.1"))?;
            }
            open_private(&path, self.account)
        };
        open().map_err(EmbeddedError::io("open the log of the private database", &path))
    }

    /// The last lines of the log, for an error.
    pub(super) fn log_tail(&self) -> String {
        let read = || -> Result<Vec<u8>, io::Error> {
            let mut log = open_private(&self.dir.join("postgres.log"), self.account)?;
            let from = log.metadata()?.len().saturating_sub(LOG_TAIL_BYTES);
            log.seek(SeekFrom::Start(from))?;
            let mut tail = Vec::new();
            log.read_to_end(&mut tail)?;
            Ok(tail)
        };
        read().map_or_else(|error| format!("(it cannot be read: {error})"), |tail| last_lines(&tail))
    }
}

/// The last lines of what a program has said.
pub(super) fn last_lines(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n")
}

/// Decides for a folder that Postgres's user can enter, and makes it.
fn settle(wanted: &Path, substitutes: &Path) -> Result<(PathBuf, Option<Account>), EmbeddedError> {
    let account = Account::for_cluster(&wanted.join("data"))?;
    let (dir, made) = make_folder(wanted, account)?;
    let Some(shut_out) = account.filter(|account| !account.can_enter(&dir)) else { return Ok((dir, account)) };
    if made {
        // Empty and unused: better not to leave it.
        let _ = fs::remove_dir(&dir);
    }
    make_folder(substitutes, Some(shut_out))?;
    let substitute = substitute_for(&dir, substitutes);
    let account = Account::for_cluster(&substitute.join("data"))?.unwrap_or(shut_out);
    let (substitute, _) = make_folder(&substitute, Some(account))?;
    if !account.can_enter(&substitute) {
        return Err(EmbeddedError::OutOfReach { dir: substitute, uid: account.uid });
    }
    tracing::info!(
        wanted = %dir.display(), used = %substitute.display(), uid = account.uid,
        "the unprivileged user of the private PostgreSQL cannot reach the folder wanted, so another is used"
    );
    Ok((substitute, Some(account)))
}

fn substitute_for(dir: &Path, substitutes: &Path) -> PathBuf {
    let hash = format!("{:x}", Sha256::digest(dir.as_os_str().as_encoded_bytes()));
    substitutes.join(&hash[..16])
}

/// Makes a folder unless it is there; tells its real path and whether it is new. For an unprivileged user it can be
/// passed through, but it stays ours: a folder of theirs could be given links that we would follow as root.
fn make_folder(path: &Path, account: Option<Account>) -> Result<(PathBuf, bool), EmbeddedError> {
    let make = || {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let made = match DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
            Err(error) => return Err(error),
        };
        if made && account.is_some() {
            fs::set_permissions(path, Permissions::from_mode(0o711))?;
        }
        Ok((path.canonicalize()?, made))
    };
    make().map_err(EmbeddedError::io("make the folder of the private database", path))
}

fn lock(dir: &Path, account: Option<Account>) -> Result<File, EmbeddedError> {
    let path = dir.join("lock");
    let mut file = open_private(&path, account).map_err(EmbeddedError::io("open", &path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(EmbeddedError::InUse { dir: dir.to_owned(), holder: holder(file) });
        }
        Err(TryLockError::Error(error)) => return Err(EmbeddedError::io("lock", &path)(error)),
    }
    let sign = file.set_len(0).and_then(|()| write!(file, "process {}", std::process::id()));
    sign.map_err(EmbeddedError::io("write", &path))?;
    Ok(file)
}

/// What the holder of a lock has written into it.
fn holder(mut lock: File) -> String {
    let mut text = String::new();
    match lock.read_to_string(&mut text) {
        Ok(_) if !text.is_empty() => text,
        _ => "process unknown".to_owned(),
    }
}

/// Opens a file that is closed to others, for reading and for writing at its end, and never through a link.
fn open_private(path: &Path, account: Option<Account>) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let file =
        options.read(true).append(true).create(true).mode(0o600).custom_flags(OFlag::O_NOFOLLOW.bits()).open(path)?;
    hand_over(&file, account)?;
    Ok(file)
}

/// Gives what is open to the account, if there is one.
fn hand_over(file: &File, account: Option<Account>) -> io::Result<()> {
    account.map_or(Ok(()), |Account { uid, gid }| fchown(file, Some(uid), Some(gid)))
}

#[cfg(test)]
mod tests {
    use tempfile::{Builder, TempDir};

    use super::*;

    fn folder(mode: u32) -> TempDir {
        Builder::new().permissions(Permissions::from_mode(mode)).tempdir().unwrap()
    }

    fn is_root() -> bool {
        nix::unistd::Uid::effective().is_root()
    }

    #[test]
    fn a_folder_that_can_be_entered_is_used() {
        let (above, substitutes) = (folder(0o711), folder(0o711));
        let (dir, _) = settle(&above.path().join("a/b"), substitutes.path()).unwrap();
        assert_eq!(dir, above.path().canonicalize().unwrap().join("a/b"));
    }

    #[test]
    fn as_root_a_folder_behind_a_closed_one_is_substituted() {
        if !is_root() {
            return;
        }
        let (closed, substitutes) = (folder(0o700), folder(0o711));
        let wanted = closed.path().join("postgres");
        let (first, account) = settle(&wanted, substitutes.path()).unwrap();
        assert!(first.starts_with(substitutes.path()), "{}", first.display());
        assert_eq!(first.file_name().unwrap().len(), 16);
        assert!(account.unwrap().can_enter(&first));
        assert!(!wanted.exists(), "the folder that is not used is not left there");
        assert_eq!(settle(&wanted, substitutes.path()).unwrap().0, first, "always the same one");
        assert_ne!(settle(&closed.path().join("other"), substitutes.path()).unwrap().0, first, "for this folder alone");
    }

    #[test]
    fn as_root_nothing_is_substituted_by_a_folder_that_is_closed_too() {
        if !is_root() {
            return;
        }
        let (closed, substitutes) = (folder(0o700), folder(0o700));
        let refused = settle(&closed.path().join("postgres"), substitutes.path());
        assert!(matches!(refused, Err(EmbeddedError::OutOfReach { .. })));
    }

    #[test]
    fn a_locked_folder_is_refused_and_its_holder_named() {
        let folder = folder(0o711);
        let first = Home::open(folder.path()).unwrap();
        let sentence = Home::open(folder.path()).unwrap_err().to_string();
        let expected = format!("is in use by another Tradepost (process {}): stop that one first", std::process::id());
        assert!(sentence.contains(&expected), "{sentence}");
        drop(first);
        Home::open(folder.path()).unwrap();
    }

    #[test]
    fn a_long_path_has_no_socket() {
        let folder = folder(0o711);
        assert!(Home::open(folder.path()).unwrap().socket().is_some());
        assert!(Home::open(&folder.path().join("x".repeat(100))).unwrap().socket().is_none());
    }

    #[test]
    fn what_is_no_cluster_is_refused() {
        let folder = folder(0o711);
        let home = Home::open(folder.path()).unwrap();
        assert_eq!(home.cluster_version().unwrap(), None);
        fs::create_dir(home.data()).unwrap();
        assert!(matches!(home.cluster_version(), Err(EmbeddedError::NotACluster { .. })));
    }

    #[test]
    fn a_draft_sweeps_the_ones_before() {
        let folder = folder(0o711);
        let home = Home::open(folder.path()).unwrap();
        let cut_short = home.draft().unwrap();
        fs::write(cut_short.join("PG_VERSION"), "15").unwrap();
        let next = home.draft().unwrap();
        assert!(!cut_short.exists() && next.exists());
    }

    #[test]
    fn the_password_is_for_its_owner_alone() {
        let folder = folder(0o711);
        let home = Home::open(folder.path()).unwrap();
        home.make_password().unwrap();
        let first = home.read_password().unwrap();
        home.make_password().unwrap();
        let second = home.read_password().unwrap();
        assert!(first != second && second.len() == 64);
        assert_eq!(fs::metadata(home.password()).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
