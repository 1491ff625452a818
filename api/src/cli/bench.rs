//! `tradepost bench`: measure this machine.

use std::fmt::Display;
use std::path::PathBuf;

use clap::{Parser, Subcommand};

use super::{Failure, stop_signals};
use crate::bench::{self, Servers};
use crate::config::Config;
use crate::embedded::{EmbeddedPostgres, EmbeddedSettings};

#[derive(Debug, Subcommand)]
pub(super) enum Bench {
    /// The write path beside plain cqrs-es and postgres-es, interleaved in one run.
    Write(bench::BenchWrite),
    /// Rebuilds of read models beside a plain projection, the relay, and how late read models are.
    Project(bench::BenchProject),
    /// Queries of read models beside an empty one, and loads of aggregates.
    Read(bench::BenchRead),
    /// The API beside its own health check, and the memory that it takes.
    Http(bench::BenchHttp),
    /// Open sockets on one node: memory, how late news come, and what becomes of those who do not read.
    Live(bench::BenchLive),
    /// Whether the time of a refused log-in tells if an address has an account.
    Login(bench::BenchLogin),
    /// What a second API node costs or brings, through HTTP.
    Nodes(bench::BenchNodes),
    /// Whether a command or a query costs more when there is more history.
    Grow(bench::BenchGrow),
    /// What more machines would bring, simulated from what a commit costs here.
    Scale(bench::BenchScale),
    /// All of these, one after another, as they are without options: half an hour.
    All {
        /// One short repetition of everything: to see that it runs, not to quote.
        #[arg(long)]
        quick: bool,
        /// Also write the reports as JSON into this folder, a file each.
        #[arg(long, value_name = "FOLDER")]
        json: Option<PathBuf>,
    },
}

/// What `all` is made of.
const ALL: [&str; 9] = ["write", "project", "read", "http", "live", "login", "nodes", "grow", "scale"];

/// The options of a measurement, as they are without any.
#[derive(Parser)]
struct Usual {
    #[command(subcommand)]
    bench: Bench,
}

impl Bench {
    /// Works on databases of its own, on the server of the settings or else on a private one that is thrown away.
    pub(super) async fn run(self, config: &Config) -> Result<(), Failure> {
        // Before anything is started: what cannot be measured is refused at once.
        let measurings = self.plan()?;
        let stop = stop_signals()?;
        let nats_url = config.nats.url.as_ref().map(|url| url.expose().as_str());
        if let Some(url) = &config.database.url {
            let servers = Servers { database_url: url.expose(), nats_url, stop: &stop };
            return all(measurings, &servers).await;
        }
        let folder = std::env::temp_dir().join(format!("tradepost-bench-{}", std::process::id()));
        let settings = EmbeddedSettings { dir: folder.clone(), durable: true, max_connections: 400 };
        let postgres = EmbeddedPostgres::start(settings).await?;
        let home = postgres.home().to_owned();
        let measured = all(measurings, &Servers { database_url: postgres.url(), nats_url, stop: &stop }).await;
        let ended = postgres.stop().await.map_err(Failure::from).and_then(|()| Ok(std::fs::remove_dir_all(home)?));
        measured?;
        ended
    }

    fn plan(self) -> Result<Vec<Measuring>, Failure> {
        Ok(vec![match self {
            Self::Write(options) => Measuring::Write(options.plan()?, options),
            Self::Project(options) => Measuring::Project(options.plan()?, options),
            Self::Read(options) => Measuring::Read(options.plan()?, options),
            Self::Http(options) => Measuring::Http(options.plan()?, options),
            Self::Live(options) => Measuring::Live(options.plan()?, options),
            Self::Login(options) => Measuring::Login(options.plan()?, options),
            Self::Nodes(options) => Measuring::Nodes(options.plan()?, options),
            Self::Grow(options) => Measuring::Grow(options.plan()?, options),
            Self::Scale(options) => Measuring::Scale(options.plan()?, options),
            Self::All { quick, json } => {
                if let Some(folder) = &json {
                    std::fs::create_dir_all(folder)?;
                }
                let mut measurings = Vec::new();
                for name in ALL {
                    let mut arguments = vec!["bench".into(), name.into()];
                    arguments.extend(quick.then(|| "--quick".into()));
                    if let Some(folder) = &json {
                        arguments.extend(["--json".into(), folder.join(format!("{name}.json")).into_os_string()]);
                    }
                    measurings.extend(Usual::try_parse_from(arguments)?.bench.plan()?);
                }
                return Ok(measurings);
            }
        }])
    }
}

/// Something that can be measured.
enum Measuring {
    Write(bench::Plan, bench::BenchWrite),
    Project(bench::ProjectPlan, bench::BenchProject),
    Read(bench::ReadPlan, bench::BenchRead),
    Http(bench::HttpPlan, bench::BenchHttp),
    Live(bench::LivePlan, bench::BenchLive),
    Login(bench::LoginPlan, bench::BenchLogin),
    Nodes(bench::NodesPlan, bench::BenchNodes),
    Grow(bench::GrowPlan, bench::BenchGrow),
    Scale(bench::ScalePlan, bench::BenchScale),
}

/// Measures one after another. What was measured is told even if the next one fails.
async fn all(measurings: Vec<Measuring>, servers: &Servers<'_>) -> Result<(), Failure> {
    for measuring in &measurings {
        let report: Box<dyn Display> = match measuring {
            Measuring::Write(plan, options) => Box::new(bench::write(options, plan, servers).await?),
            Measuring::Project(plan, options) => Box::new(bench::project(options, plan, servers).await?),
            Measuring::Read(plan, options) => Box::new(bench::read(options, plan, servers).await?),
            Measuring::Http(plan, options) => Box::new(bench::http(options, plan, servers).await?),
            Measuring::Live(plan, options) => Box::new(bench::live(options, plan, servers).await?),
            Measuring::Login(plan, options) => Box::new(bench::login(options, *plan, servers).await?),
            Measuring::Nodes(plan, options) => Box::new(bench::nodes(options, plan, servers).await?),
            Measuring::Grow(plan, options) => Box::new(bench::grow(options, plan, servers).await?),
            Measuring::Scale(plan, options) => Box::new(bench::scale(options, plan, servers).await?),
        };
        println!("{report}");
    }
    Ok(())
}
