//! `tradepost projections`: look at the read models, make one anew.

use clap::Subcommand;
use indicatif::{ProgressBar, ProgressStyle};

use super::{Failure, Place};
use crate::config::Config;

#[derive(Debug, Subcommand)]
pub(super) enum Projections {
    /// List the read models and how far each has followed the log.
    List,
    /// Make read models anew from the log, beside the live ones, and swap them in.
    ///
    /// Reads go on meanwhile. An interrupted rebuild leaves the live read model as it is.
    Rebuild {
        /// Which ones; all of them unless named.
        names: Vec<String>,
    },
}

impl Projections {
    pub(super) async fn run(self, config: &Config) -> Result<(), Failure> {
        let place = Place::beside(config).await?;
        let done = self.run_at(&place).await;
        place.leave(done).await
    }

    async fn run_at(self, place: &Place) -> Result<(), Failure> {
        crate::app::prepare(&place.database).await?;
        match self {
            Self::List => list(place).await,
            Self::Rebuild { names } => rebuild(place, &names).await,
        }
    }
}

async fn list(place: &Place) -> Result<(), Failure> {
    let pool = place.database.pool(1);
    println!("{:<18} {:>7} {:>12} {:>12} {:>8}", "name", "version", "position", "head", "lag");
    for row in projections::schema::list(&pool).await? {
        let version = row.version.map_or("none".to_owned(), |version| version.to_string());
        println!("{:<18} {version:>7} {:>12} {:>12} {:>8}", row.name, row.position, row.head, row.lag);
    }
    pool.close().await;
    Ok(())
}

async fn rebuild(place: &Place, names: &[String]) -> Result<(), Failure> {
    let known = projections::ALL.map(|model| model.name);
    for name in names {
        if !known.contains(&name.as_str()) {
            return Err(format!("there is no read model `{name}`; there are {}", known.join(", ")).into());
        }
    }
    for name in known.into_iter().filter(|name| names.is_empty() || names.iter().any(|wanted| wanted == name)) {
        let bar = ProgressBar::new(0).with_style(ProgressStyle::with_template(
            "{prefix:<18} [{bar:30}] {pos}/{len} events, {per_sec}, {eta} left",
        )?);
        bar.set_prefix(name);
        let progress = |position: i64, head: i64| {
            bar.set_length(head.unsigned_abs());
            bar.set_position(position.unsigned_abs());
        };
        projections::rebuild::rebuild(&place.database, name, progress).await?;
        bar.finish_and_clear();
        println!("{name}: rebuilt from {} events in {:.1} s", bar.length().unwrap_or(0), bar.elapsed().as_secs_f64());
    }
    Ok(())
}
