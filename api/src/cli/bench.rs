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
    /// Rebuilds of read models beside a plain projection, and how late read models are.
    Project(bench::BenchProject),
    /// What a second API node costs or brings, through HTTP.
    Nodes(bench::BenchNodes),
    /// The API beside its own health check, and the memory that it takes.
    Http(bench::BenchHttp),
}

impl Bench {
    /// Works on databases of its own, on the server of the settings or else on a private one that is thrown away.
    pub(super) async fn run(self, config: &Config) -> Result<(), Failure> {
        // Before anything is started: what cannot be measured is refused at once.
        let measuring = self.plan()?;
        let stop = stop_signals()?;
        if let Some(url) = &config.database.url {
            return measuring.measure(config, url.expose(), &stop).await;
        }
        let folder = std::env::temp_dir().join(format!("tradepost-bench-{}", std::process::id()));
        let settings = EmbeddedSettings { dir: folder.clone(), durable: true, max_connections: 400 };
        let postgres = EmbeddedPostgres::start(settings).await?;
        let home = postgres.home().to_owned();
        let measured = measuring.measure(config, postgres.url(), &stop).await;
        let ended = postgres.stop().await.map_err(Failure::from).and_then(|()| Ok(std::fs::remove_dir_all(home)?));
        measured?;
        ended
    }

    fn plan(self) -> Result<Measuring, Failure> {
        Ok(match self {
            Self::Write(options) => Measuring::Write(options.plan()?, options),
            Self::Project(options) => Measuring::Project(options.plan()?, options),
            Self::Nodes(options) => Measuring::Nodes(options.plan()?, options),
            Self::Http(options) => Measuring::Http(options.plan()?, options),
        })
    }
}

/// Something that can be measured.
enum Measuring {
    Write(bench::Plan, bench::BenchWrite),
    Project(bench::ProjectPlan, bench::BenchProject),
    Nodes(bench::NodesPlan, bench::BenchNodes),
    Http(bench::HttpPlan, bench::BenchHttp),
}

impl Measuring {
    async fn measure(&self, config: &Config, url: &str, stop: &CancellationToken) -> Result<(), Failure> {
        let nats = config.nats.url.as_ref().map(|url| url.expose().as_str());
        match self {
            Self::Write(plan, options) => println!("{}", bench::write(options, plan, url, stop).await?),
            Self::Project(plan, options) => {
                print!("{}", bench::project(options, plan, url, nats, stop).await?);
            }
            Self::Nodes(plan, options) => print!("{}", bench::nodes(options, plan, url, nats, stop).await?),
            Self::Http(plan, options) => print!("{}", bench::http(options, plan, url, stop).await?),
        }
        Ok(())
    }
}
