//! Real records, replayed through HTTP and compared with what was recorded.
//!
//! A folder of records has one subfolder per source, named `<family>_<anything>`; each family has a module here that
//! replays it. [`ebay`] are auctions, [`olist`] are orders. A subfolder of a family that nobody replays yet is named in the report.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use api::embedded::{EmbeddedPostgres, EmbeddedSettings};
use indicatif::{ProgressBar, ProgressStyle};
use tempfile::TempDir;

use crate::client::Answer;
use crate::database::URL_VARIABLE;

pub mod ebay;
pub mod olist;
mod reading;

/// Why a replay could not be done at all.
pub type Failure = Box<dyn Error + Send + Sync>;

/// Enough for one node.
const MAX_CONNECTIONS: u32 = 100;

/// What there is to replay in a folder.
#[derive(Debug, Default)]
pub struct Sources {
    /// Folders of auctions.
    pub ebay: Vec<PathBuf>,
    /// Folders of orders.
    pub olist: Vec<PathBuf>,
    /// Folders of families that nobody replays yet.
    pub others: Vec<PathBuf>,
}

impl Sources {
    /// Looks into `folder`, which may also be a folder of one source itself.
    pub fn in_folder(folder: &Path) -> Result<Self, Failure> {
        if ebay::is_source(folder) {
            return Ok(Self { ebay: vec![folder.to_owned()], ..Self::default() });
        }
        if olist::is_source(folder) {
            return Ok(Self { olist: vec![folder.to_owned()], ..Self::default() });
        }
        let mut sources = Self::default();
        let mut entries = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, Failure>>()?;
        entries.sort();
        for path in entries.into_iter().filter(|path| path.is_dir()) {
            let family = path.file_name().and_then(|name| name.to_str()?.split('_').next()).unwrap_or_default();
            match family {
                "ebay" if ebay::is_source(&path) => sources.ebay.push(path),
                "olist" if olist::is_source(&path) => sources.olist.push(path),
                _ => sources.others.push(path),
            }
        }
        Ok(sources)
    }
}

fn unexpected(what: &str, answer: &Answer) -> Failure {
    format!("unexpected answer for {what}: {} {}", answer.status, answer.text).into()
}

/// Shown on a terminal only; elsewhere a line says what is begun.
fn bar(what: &'static str, length: usize) -> ProgressBar {
    let bar = ProgressBar::new(length as u64).with_prefix(what);
    if bar.is_hidden() {
        eprintln!("{length} {what} …");
    }
    match ProgressStyle::with_template("{prefix:<9} [{bar:30}] {pos}/{len}, {per_sec}, {eta} left") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// Where the records are unless somebody says otherwise: `shared/data` beside the workspace.
pub fn default_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data")
}

/// The Postgres server to replay on: that of the tests, or one of our own that is thrown away.
#[derive(Debug)]
pub struct Scratch {
    url: String,
    own: Option<(EmbeddedPostgres, TempDir)>,
}

impl Scratch {
    /// Takes or starts it.
    pub async fn provide() -> Result<Self, Failure> {
        if let Some(url) = std::env::var(URL_VARIABLE).ok().filter(|url| !url.is_empty()) {
            return Ok(Self { url, own: None });
        }
        let folder = open_folder("tradepost-real-")?;
        let dir = folder.path().join("postgres");
        let settings = EmbeddedSettings { dir, durable: false, max_connections: MAX_CONNECTIONS };
        let postgres = EmbeddedPostgres::start(settings).await?;
        Ok(Self { url: postgres.url().to_owned(), own: Some((postgres, folder)) })
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Ends and removes what was started.
    pub async fn remove(self) -> Result<(), Failure> {
        if let Some((postgres, folder)) = self.own {
            postgres.stop().await?;
            folder.close()?;
        }
        Ok(())
    }
}

/// A folder under `/tmp` that the unprivileged user can pass through as whom Postgres runs when we are root.
pub fn open_folder(prefix: &str) -> Result<TempDir, std::io::Error> {
    use std::os::unix::fs::PermissionsExt;
    tempfile::Builder::new().prefix(prefix).permissions(fs::Permissions::from_mode(0o711)).tempdir_in("/tmp")
}
