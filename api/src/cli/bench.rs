//! `tradepost bench`: measure this machine.

use clap::Subcommand;
use tokio_util::sync::CancellationToken;

use super::{Failure, stop_signals};
use crate::bench;
use crate::config::Config;
use crate::embedded::{EmbeddedPostgres, EmbeddedSettings};

#[derive(Debug, Subcommand)]
pub(super) enum Bench {
    /// The write path beside plain cqrs-es and postgres-es, interleaved in one run.
    Write(bench::BenchWrite),
}

impl Bench {
    /// Works on databases of its own, on the server of the settings or else on a private one that is thrown away.
    pub(super) async fn run(self, config: &Config) -> Result<(), Failure> {
        let Self::Write(options) = self;
        // Before anything is started: what cannot be measured is refused at once.
        let plan = options.plan()?;
        let stop = stop_signals()?;
        if let Some(url) = &config.database.url {
            return measure(&options, &plan, url.expose(), &stop).await;
        }
        let folder = std::env::temp_dir().join(format!("tradepost-bench-{}", std::process::id()));
        let settings = EmbeddedSettings { dir: folder.clone(), durable: true, max_connections: 400 };
        let postgres = EmbeddedPostgres::start(settings).await?;
        let home = postgres.home().to_owned();
        let measured = measure(&options, &plan, postgres.url(), &stop).await;
        let ended = postgres.stop().await.map_err(Failure::from).and_then(|()| Ok(std::fs::remove_dir_all(home)?));
        measured?;
        ended
    }
}

async fn measure(
    options: &bench::BenchWrite,
    plan: &bench::Plan,
    url: &str,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    let report = bench::write(options, plan, url, stop).await?;
    println!("{report}");
    Ok(())
}
