//! What was searched for and not found, for analysts: counted here, written down in batches, and never waited for.
//!
//! Who has searched is not known here. What looks like an e-mail address or a number of somebody is not counted, and what
//! a day has no room for is counted together. A crash loses the counts of the last seconds: they are not worth a write each.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{NaiveDate, TimeDelta};
use eventstore::clock::Clock;
use sqlx::PgPool;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// How many searches may wait to be counted; more are not.
const WAITING: usize = 1_024;
/// How many different terms one batch counts by themselves.
const TERMS_PER_BATCH: usize = 1_000;
/// How many different terms a day has room for, of all nodes together.
const TERMS_PER_DAY: i64 = 1_000;
/// How often a batch is written.
const EVERY: Duration = Duration::from_secs(5);
/// For how long days are kept.
const KEPT_FOR: TimeDelta = TimeDelta::days(400);
/// How long a term may be, in characters, as the table has it.
const LONGEST: usize = 80;
/// Who types as many digits is looking for somebody's number.
const DIGITS_OF_A_NUMBER: usize = 7;

/// Takes what was not found. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Unfound(mpsc::Sender<String>);

/// What is to be counted, and where.
#[derive(Debug)]
pub(crate) struct Counting {
    waiting: mpsc::Receiver<String>,
    pool: PgPool,
    clock: Clock,
    /// By day and term; what there is no room for is under the empty one.
    counts: BTreeMap<(NaiveDate, String), i64>,
    /// The last day on which days were swept out.
    swept: Option<NaiveDate>,
}

impl Unfound {
    /// Both ends of the way.
    pub(crate) fn new(pool: PgPool, clock: Clock) -> (Self, Counting) {
        let (sender, waiting) = mpsc::channel(WAITING);
        (Self(sender), Counting { waiting, pool, clock, counts: BTreeMap::new(), swept: None })
    }

    /// Notes that somebody has searched for these words, and found nothing.
    pub fn note(&self, words: &str) {
        if let Some(term) = term(words) {
            // More than can be counted is not worth waiting for.
            let _ = self.0.try_send(term);
        }
    }
}

impl Counting {
    /// Counts until the node stops, and writes what is left then.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut time = tokio::time::interval(EVERY);
        time.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                Some(term) = self.waiting.recv() => self.count(term),
                _ = time.tick() => self.write().await,
            }
        }
        while let Ok(term) = self.waiting.try_recv() {
            self.count(term);
        }
        self.write().await;
    }

    fn count(&mut self, term: String) {
        let key = (self.clock.now().date_naive(), term);
        let has_room = self.counts.len() < TERMS_PER_BATCH || self.counts.contains_key(&key);
        let key = if has_room { key } else { (key.0, String::new()) };
        *self.counts.entry(key).or_default() += 1;
    }

    /// Writes what was counted. What cannot be written now is kept for the next time; it counts twice if it was written
    /// and only the answer was lost.
    async fn write(&mut self) {
        let Some(((last, _), _)) = self.counts.last_key_value() else { return };
        let last = *last;
        if let Err(error) = add(&self.pool, &self.counts).await {
            tracing::warn!(%error, "what was not found cannot be written down yet");
            return;
        }
        self.counts.clear();
        if self.swept == Some(last) {
            return;
        }
        let sweep = sqlx::query("delete from search_misses where day < $1").bind(last - KEPT_FOR);
        match sweep.execute(&self.pool).await {
            Ok(_) => self.swept = Some(last),
            Err(error) => tracing::warn!(%error, "old days of what was not found cannot be swept out yet"),
        }
    }
}

/// Adds counts, as far as a day has room for new terms. Two nodes at once may each take the last places.
async fn add(pool: &PgPool, counts: &BTreeMap<(NaiveDate, String), i64>) -> Result<(), sqlx::Error> {
    let mut rows: (Vec<NaiveDate>, Vec<&str>, Vec<i64>) = (Vec::new(), Vec::new(), Vec::new());
    for ((day, term), searches) in counts {
        rows.0.push(*day);
        rows.1.push(term);
        rows.2.push(*searches);
    }
    sqlx::query(
        "with counted as (
            select * from unnest($1::date[], $2::text[], $3::bigint[]) as counted (day, term, searches)
         ), placed as (
            select counted.*, known.term is not null or counted.term = '' as is_known,
                row_number() over (partition by counted.day, known.term is not null or counted.term = ''
                    order by counted.searches desc, counted.term) as place
            from counted left join search_misses as known using (day, term)
         ), room as (
            select day, $4 - count(*) as places from search_misses where day = any($1) and term <> '' group by day
         )
         insert into search_misses as known (day, term, searches)
         select day, case when is_known or place <= coalesce(places, $4) then term else '' end as kept, sum(searches)
         from placed left join room using (day) group by 1, 2 order by 1, 2
         on conflict on constraint search_misses_term do update set searches = known.searches + excluded.searches",
    )
    .bind(rows.0)
    .bind(rows.1)
    .bind(rows.2)
    .bind(TERMS_PER_DAY)
    .execute(pool)
    .await?;
    Ok(())
}

/// What is counted of what was typed; nothing if it is nothing, or somebody's e-mail address or number.
fn term(words: &str) -> Option<String> {
    let digits = words.chars().filter(|c| c.is_numeric()).count();
    if words.contains('@') || digits >= DIGITS_OF_A_NUMBER {
        return None;
    }
    let plain: String = words.chars().map(|c| if c.is_control() { ' ' } else { c }).take(4 * LONGEST).collect();
    let words: Vec<String> = plain.split_whitespace().map(str::to_lowercase).collect();
    let term: String = words.join(" ").chars().take(LONGEST).collect();
    let term = term.trim_end().to_owned();
    (!term.is_empty()).then_some(term)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_term_is_what_was_typed_in_its_plainest_form() {
        assert_eq!(term("  Roman\tCOIN \0 "), Some("roman coin".to_owned()));
        assert_eq!(term("ΖENITH 時計 ⌚"), Some("ζenith 時計 ⌚".to_owned()));
        let long = term(&"ab ".repeat(1_000_000)).unwrap();
        assert!(long.chars().count() <= LONGEST && long.ends_with('b'), "{long}");
        // The capital has one character, its small letter two.
        assert_eq!(term(&"İ".repeat(200)).unwrap().chars().count(), LONGEST);
        assert_eq!(term(" \n\0 "), None);
    }

    #[test]
    fn what_looks_like_somebodys_address_or_number_is_not_counted() {
        for personal in ["ann@example.com", "+92 300 1234567", "call ٠٣٠٠١٢٣"] {
            assert_eq!(term(personal), None, "{personal}");
        }
        assert!(term("canon eos 5d 2008").is_some());
    }
}
