//! `tradepost bench`: what this machine does, beside what people would otherwise pick, measured in one run.
//!
//! | module | what it is |
//! | --- | --- |
//! | `write` | the decision loop beside plain cqrs-es and postgres-es, and beside inserts without anything that decides |
//! | `project` | rebuilds beside a projection of one event per transaction, the relay, and how late read models are |
//! | `read` | queries of read models beside an empty one, searches beside `ILIKE`, and loads of aggregates |
//! | `grow` | whether a command or a query costs more when there is more history |
//! | `http` | the API beside its own health check, and the memory that it takes |
//! | `live` | open sockets: memory, how late news come, and what becomes of those who do not read |
//! | `login` | whether the time of a refused log-in tells if an address has an account |
//! | `nodes` | what a second API node costs writes |
//! | `scale` | what more machines would bring, by simulation |
//! | `raw` | what the tables bear without anything that decides |
//! | `market`, `wallets` | people who trade by the use cases of the API, and wallets with streams of a certain length |
//! | `questions`, `searching` | what readers ask, and how they search |
//! | `goods` | what is on the shelves of a large catalogue |
//! | `slots` | how often and how long, and the databases of a run |
//! | `sample` | what is measured in a slot, and tables of it |
//! | `site`, `load` | nodes as processes, and callers over HTTP |
//! | `cores` | two machines on one |
//! | `scratch`, `machine` | a database of a run, and what is told of the machine |

use std::path::PathBuf;

use commands::CommandError;
use eventstore::database::DatabaseError;
use eventstore::follower::FollowError;
use eventstore::nats::NatsError;
use eventstore::progress::Behind;
use eventstore::streams::LoadError;
use indicatif::{ProgressBar, ProgressStyle};
use projections::page::PageError;
use projections::rebuild::RebuildError;
use thiserror::Error;

mod cores;
mod goods;
mod grow;
mod http;
mod live;
mod load;
mod login;
pub mod machine;
mod market;
mod nats_server;
mod nodes;
mod project;
mod questions;
mod raw;
mod read;
mod sample;
mod scale;
mod scratch;
mod searching;
mod site;
mod slots;
mod wallets;
mod write;

pub use grow::{BenchGrow, GrowPlan, grow};
pub use http::{BenchHttp, HttpPlan, http};
pub use live::{BenchLive, LivePlan, live};
pub use login::{BenchLogin, LoginPlan, login};
pub use nodes::{BenchNodes, NodesPlan, nodes};
pub use project::{BenchProject, ProjectPlan, project};
pub use read::{BenchRead, ReadPlan, read};
pub use scale::{BenchScale, ScalePlan, scale};
pub use slots::Servers;
pub use write::{BenchWrite, Plan, write};

/// Why there is no report.
#[derive(Debug, Error)]
pub enum BenchError {
    /// Figures of a debug build mislead.
    #[error("this is a debug build, whose figures say nothing: run `cargo run --release -- bench …`")]
    DebugBuild,
    /// An option that cannot be meant.
    #[error("{option} must be {expected}")]
    Option {
        /// Which one.
        option: &'static str,
        /// What it must be.
        expected: &'static str,
    },
    /// The database could not be reached or prepared.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// A query of the bench itself failed.
    #[error("the bench's database could not be used: {0}")]
    Sql(#[from] sqlx::Error),
    /// A command that must succeed did not.
    #[error("the decision loop did not carry out a command: {0}")]
    Loop(#[from] CommandError),
    /// A command that must succeed did not.
    #[error("the plain pair did not carry out a command: {0}")]
    Plain(String),
    /// What is in a log is not what was acknowledged.
    #[error("{side}: {what} should be {expected} and is {found}; these figures are worth nothing")]
    Wrong {
        /// Whose log.
        side: &'static str,
        /// What was counted.
        what: &'static str,
        /// What the answers say.
        expected: i64,
        /// What the log says.
        found: i64,
    },
    /// The notary has no key.
    #[error("there is no key to sign with: {0}")]
    Proof(#[from] eventstore::proof::keys::KeyFault),
    /// A task of the bench ended without a result.
    #[error("a caller of the bench is gone: {0}")]
    Caller(#[from] tokio::task::JoinError),
    /// The read models could not be prepared.
    #[error("the bench's database could not be prepared: {0}")]
    Prepare(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// An aggregate that must be there could not be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A page of a read model could not be had.
    #[error(transparent)]
    Page(#[from] PageError),
    /// A read model was not rebuilt.
    #[error(transparent)]
    Rebuild(#[from] RebuildError),
    /// A batch could not be taken.
    #[error(transparent)]
    Follow(#[from] FollowError),
    /// A read model did not catch up.
    #[error(transparent)]
    Behind(#[from] Behind),
    /// NATS cannot be used.
    #[error(transparent)]
    Nats(#[from] NatsError),
    /// A node did not answer as it should.
    #[error("a node could not be used: {0}")]
    Http(#[from] reqwest::Error),
    /// A node refused what it should not.
    #[error("a node answered {count} times with status {status}; these figures are worth nothing")]
    Answers {
        /// The status.
        status: u16,
        /// How often.
        count: u64,
    },
    /// Files or processes could not be made.
    #[error("the bench could not start what it measures: {0}")]
    System(#[from] std::io::Error),
    /// SIGTERM or Ctrl-C.
    #[error("the bench was interrupted; what it has made is dropped")]
    Interrupted,
    /// The bench's own material could not be made.
    #[error("the bench cannot make its {0}")]
    Material(&'static str),
    /// The JSON file could not be written.
    #[error("could not write {}: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Shows which of so many slots it is at. Hidden unless standard error is a terminal.
fn progress_bar(slots: usize) -> Result<ProgressBar, BenchError> {
    let style = ProgressStyle::with_template("[{bar:30}] {pos}/{len} slots, {elapsed}: {msg}");
    let style = style.map_err(|_| BenchError::Material("progress bar"))?;
    Ok(ProgressBar::new(u64::try_from(slots).unwrap_or(u64::MAX)).with_style(style))
}

/// The figure in the middle.
fn median(figures: impl IntoIterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.into_iter().collect();
    figures.sort_by(f64::total_cmp);
    let (low, high) = (figures.get(figures.len().saturating_sub(1) / 2), figures.get(figures.len() / 2));
    low.zip(high).map_or(f64::NAN, |(low, high)| f64::midpoint(*low, *high))
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn the_median_of_an_even_number_lies_between_the_two_in_the_middle() {
        assert!((median([9.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median([9.0, 1.0, 2.0, 4.0]) - 3.0).abs() < 1e-9);
    }
}
