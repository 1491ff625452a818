//! What nobody should send, drawn from a seed: bytes that are hardly HTTP, frames that are hardly a socket's, files that
//! are hardly pictures, and commands in an order that makes little sense, by people whom they do not concern.
//!
//! Whatever is sent, the server answers or closes within [`PATIENCE`], never fails, tells of refusals as problems without
//! what is behind them, and what it has refused has left no event. In the end the read models are what the log makes of
//! them. `TRADEPOST_HOSTILE` says how many cases there are of each kind, `TRADEPOST_SEED` repeats a run.

use std::time::Duration;

use api::config::Config;
use eventstore::testing::damage::Change;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tradepost_tests::bazaar::Bazaar;
use tradepost_tests::fail::OrFail;
use tradepost_tests::load;
use tradepost_tests::models::assert_equal_their_rebuild;
use tradepost_tests::server::InProcess;

mod bytes;
mod commands;
mod frames;
mod uploads;

/// Who has no answer by then, and whose connection is still open, is left hanging.
const PATIENCE: Duration = Duration::from_secs(5);

/// A marketplace, and what is sent to it.
struct Hostile {
    bazaar: Bazaar,
    rng: StdRng,
    cases: u32,
}

impl Hostile {
    /// A marketplace.
    async fn open() -> Self {
        Self::open_with(Config::default()).await
    }

    /// A marketplace that gives whoever does not finish a request less time than [`PATIENCE`].
    async fn open_impatient() -> Self {
        let mut settings = Config::default();
        (settings.http.header_timeout_ms, settings.http.request_timeout_ms) = (1_000, 2_000);
        Self::open_with(settings).await
    }

    async fn open_with(settings: Config) -> Self {
        let named = std::env::var("TRADEPOST_HOSTILE").ok();
        let cases = named.map_or(150, |cases| cases.parse().or_fail("read TRADEPOST_HOSTILE"));
        let bazaar = Bazaar::at(InProcess::start_with(settings).await).await;
        Self { bazaar, rng: StdRng::seed_from_u64(load::seed()), cases }
    }

    /// At most so many changes of something.
    fn changes(&mut self, most: usize) -> Vec<Change> {
        let count = self.rng.random_range(0..=most);
        (0..count).map(|_| self.rng.random()).collect()
    }

    fn one_of<'a, T: ?Sized>(&mut self, choices: &[&'a T]) -> &'a T {
        choices[self.rng.random_range(0..choices.len())]
    }

    /// The log's head, once everything that is due has happened.
    async fn settled(&self) -> i64 {
        self.bazaar.wait(0).await
    }

    /// Nothing has been written since.
    async fn is_at(&self, head: i64, what: &str) {
        assert_eq!(self.bazaar.server.database.log_head().await, head, "refused, and moved the log: {what}");
    }

    /// Everybody else is served, and what they see is what the log says.
    async fn is_sound(&self) {
        self.bazaar.server.client().get("/health").send().await.expect(200);
        self.bazaar.book("escrow").await;
        assert_equal_their_rebuild(&self.bazaar.server.database).await;
    }
}
