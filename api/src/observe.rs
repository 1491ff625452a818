//! What operators see of a running node.
//!
//! [`metrics`] counts and times what passes and shows it as Prometheus reads it; [`health`] says in words what is not
//! well; [`traces`] sends what was traced to a collector. What lies in the database, and not in this process, is looked
//! at here whenever somebody asks.

use commands::mail::{self, Unsent};
use commands::timers::{self, Overdue};
use domain::Timestamp;
use eventstore::follower::{self, Status};

use crate::app::{Parts, followers};

pub mod health;
pub mod metrics;
pub mod traces;

/// What the database shows at one moment, whichever nodes do the work.
#[derive(Clone, Debug)]
pub struct Observation {
    /// When it was looked at, on the marketplace's clock.
    pub at: Timestamp,
    /// How far each follower is.
    pub followers: Vec<Status>,
    /// Timers that should have fired.
    pub overdue: Overdue,
    /// Letters that are not sent.
    pub letters: Unsent,
}

impl Observation {
    /// For how many seconds the oldest timer that should have fired has been due.
    pub fn overdue_seconds(&self) -> f64 {
        self.overdue.since.map_or(0.0, |since| (self.at - since).as_seconds_f64().max(0.0))
    }
}

/// Looks at the database.
pub async fn observe(app: &Parts) -> Result<Observation, sqlx::Error> {
    let at = app.clock.now();
    let names: Vec<_> = followers().collect();
    let followers = follower::statuses(&app.pool, &names, at).await?;
    let overdue = timers::overdue(&app.pool, at).await?;
    let letters = mail::unsent(&app.pool).await?;
    Ok(Observation { at, followers, overdue, letters })
}
