//! `tradepost projections`: look at the read models, make one anew.

use clap::Subcommand;

use super::{Failure, Place};
use crate::config::Config;

mod rebuild;

#[derive(Debug, Subcommand)]
pub(super) enum Projections {
    /// List the read models and how far each has followed the log.
    List,
    Rebuild(rebuild::Rebuild),
}

impl Projections {
    pub(super) async fn run(self, config: &Config) -> Result<(), Failure> {
        let place = Place::beside(config).await?;
        let done = self.run_at(&place).await;
        place.leave(done).await
    }

    async fn run_at(self, place: &Place) -> Result<(), Failure> {
        match self {
            Self::List => list(place).await,
            Self::Rebuild(rebuild) => rebuild.run(place).await,
        }
    }
}

async fn list(place: &Place) -> Result<(), Failure> {
    place.database.migrate().await?;
    let pool = place.database.pool(1);
    println!("{:<18} {:>7} {:>12} {:>12} {:>8}", "name", "version", "position", "head", "lag");
    for row in projections::schema::list(&pool).await? {
        let version = row.version.map_or("none".to_owned(), |version| version.to_string());
        println!("{:<18} {version:>7} {:>12} {:>12} {:>8}", row.name, row.position, row.head, row.lag);
    }
    pool.close().await;
    Ok(())
}
