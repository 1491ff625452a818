//! What people offer, for the process that takes it off once they are forgotten.

use std::time::Duration;

use commands::clearing::{NotKnown, Offers};
use domain::{AccountId, ListingId};
use eventstore::Position;
use eventstore::progress::Progress;
use futures::future::BoxFuture;
use projections::catalogue;
use sqlx::PgPool;

/// How long the catalogue may take to show what the process has seen.
const PATIENCE: Duration = Duration::from_secs(10);

/// The catalogue, asked for what somebody has not taken off.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    /// Reads the catalogue.
    pub(crate) pool: PgPool,
    /// How far it has followed the log.
    pub(crate) progress: Progress,
}

impl Offers for Kept {
    fn of(&self, seller: AccountId, since: Position) -> BoxFuture<'_, Result<Vec<ListingId>, NotKnown>> {
        Box::pin(async move {
            let shown = self.progress.wait_for(catalogue::MODEL.name, since, PATIENCE).await;
            shown.map_err(|behind| NotKnown(behind.to_string()))?;
            catalogue::kept_by(&self.pool, seller).await.map_err(|error| NotKnown(error.to_string()))
        })
    }
}
