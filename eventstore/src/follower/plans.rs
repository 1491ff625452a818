//! How long the plans of a follower's statements are kept.
//!
//! Statements are planned while tables are small and kept prepared while they grow. Until somebody analyses the tables,
//! a plan that was right for a hundred rows may read a million. So all of them are planned anew each time as many
//! events again have been taken as before.

use sqlx::{Connection, PgConnection};

/// After how many events the first plans are too old.
const FIRST: i64 = 250;

/// How many events have been taken over a connection, and at how many all is planned anew.
#[derive(Clone, Copy, Debug)]
pub struct Plans {
    taken: i64,
    good_until: i64,
}

impl Default for Plans {
    fn default() -> Self {
        Self { taken: 0, good_until: FIRST }
    }
}

impl Plans {
    /// So many events more have been taken over `connection`, which is in no transaction.
    pub async fn taken(&mut self, connection: &mut PgConnection, events: i64) -> Result<(), sqlx::Error> {
        self.taken += events;
        if self.taken >= self.good_until {
            self.good_until = self.taken * 2;
            connection.clear_cached_statements().await?;
        }
        Ok(())
    }
}
