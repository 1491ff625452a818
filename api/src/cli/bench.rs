//! `tradepost bench`: measure this machine.

use clap::Subcommand;

use super::Failure;
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
        if let Some(url) = &config.database.url {
            return measure(options, url.expose()).await;
        }
        let folder = std::env::temp_dir().join(format!("tradepost-bench-{}", std::process::id()));
        let settings = EmbeddedSettings { dir: folder.clone(), durable: true, max_connections: 400 };
        let postgres = EmbeddedPostgres::start(settings).await?;
        let home = postgres.home().to_owned();
        let measured = measure(options, postgres.url()).await;
        postgres.stop().await?;
        std::fs::remove_dir_all(home)?;
        measured
    }
}

async fn measure(options: bench::BenchWrite, url: &str) -> Result<(), Failure> {
    let report = bench::write(options, url).await?;
    println!("{report}");
    Ok(())
}
