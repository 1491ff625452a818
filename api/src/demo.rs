//! `tradepost demo`: a sample marketplace, made through the engine's own commands.
//!
//! [`story`] tells two weeks of a marketplace beforehand, as a pure function of a seed; [`stage`] performs it, each act
//! a command under a key of its own. The node's clock starts two weeks back (see [`clock`]) and is set forward from stop
//! to stop, so listings, bids and closes bear believable times, auctions close by the same timers as ever, and the story
//! ends in the present.
//!
//! It is done once: a fill that was interrupted goes on where it was, because every act that was accepted is answered
//! from its key, and a marketplace that is complete is left as it is.

use std::fmt;
use std::time::{Duration, Instant};

use commands::{CommandError, Request, World};
use domain::Timestamp;
use eventstore::clock::Clock;
use eventstore::database::{Database, DatabaseError};
use eventstore::event::Metadata;
use eventstore::log;
use eventstore::progress::Behind;
use eventstore::wrapping::KeyError;
use sqlx::PgPool;
use thiserror::Error;

use crate::app::{self, App, StartError};
use crate::auth::passwords;
use crate::auth::passwords::PasswordError;
use crate::media::NotKept;

mod dice;
mod dressing;
mod goods;
mod people;
mod pictures;
mod sales;
mod stage;
mod story;

/// The password of everybody in the sample marketplace.
pub const PASSWORD: &str = "tradepost-demo";

/// The name in the keys and in the metadata of the story's commands.
const PROCESS: &str = "demo";
/// Part of every key: a story that is told differently is another one.
const STORY_VERSION: &str = "6";
/// The steps before the first and after the last act.
const BEGIN: &str = "begin";
const END: &str = "end";
/// Between two lines about how far the story has come.
const TOLD_EVERY_DAYS: i64 = 2;
/// How long the read models may take to show everything.
const FOLLOWERS_PATIENCE: Duration = Duration::from_mins(1);

/// Why there is no sample marketplace.
#[derive(Debug, Error)]
pub enum DemoError {
    /// The log belongs to somebody else.
    #[error(
        "this database holds a marketplace already ({events} events) that the demo did not make: serve it with `tradepost \
         serve`, or give the demo a database of its own"
    )]
    NotEmpty {
        /// The events in it.
        events: i64,
    },
    /// Somebody has joined under a name that the story needs.
    #[error(
        "the name or the e-mail address of `{0}` belongs to an account already, so the sample marketplace cannot be made"
    )]
    NameTaken(&'static str),
    /// The story lets somebody act who has not joined: a defect of the story.
    #[error("the sample marketplace cannot be made: somebody acts who is not there")]
    Absent,
    /// A command could not be carried out.
    #[error("the sample marketplace could not be made: {0}; start again to go on from there")]
    Command(#[from] CommandError),
    /// The timers did not come along.
    #[error(
        "the sample marketplace could not be made: the timers did not follow the clock; start again to go on from there"
    )]
    Clock,
    /// A picture could not be kept.
    #[error("the sample marketplace could not be made: {0}; start again to go on from there")]
    Picture(#[from] NotKept),
    /// The key of somebody could not be read.
    #[error("the sample marketplace could not be made: {0}; start again to go on from there")]
    Key(#[from] KeyError),
    /// The password.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The read models did not come along.
    #[error("the sample marketplace is made and not yet shown: {0}")]
    Behind(#[from] Behind),
    /// The database cannot be reached.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The database could not be prepared.
    #[error(transparent)]
    Prepare(Box<StartError>),
    /// A query failed.
    #[error("the log could not be read: {0}")]
    Sql(#[from] sqlx::Error),
}

/// The log-ins to print.
#[derive(Clone, Copy, Debug)]
pub struct DemoAccounts;

/// A log-in. The password is [`PASSWORD`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LogIn {
    /// `buyer`, `seller` or `admin`.
    pub role: &'static str,
    /// The address to log in with.
    pub email: String,
}

impl DemoAccounts {
    /// A buyer with money, bids and a purchase; a seller with listings and auctions; an admin who may do everything.
    pub fn log_ins(self) -> [LogIn; 3] {
        let log_in = |role: &'static str| LogIn { role, email: format!("{role}@{}", people::MAIL_DOMAIN) };
        ["buyer", "seller", "admin"].map(log_in)
    }
}

impl fmt::Display for DemoAccounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "log in with the password {PASSWORD} as")?;
        for LogIn { role, email } in self.log_ins() {
            write!(f, "\n  {role:<8}{email}")?;
        }
        Ok(())
    }
}

/// The clock to start the demo's node with: it begins where the story begins, or goes on where it was interrupted; once
/// the story is told it shows real time.
pub async fn clock(database: &Database) -> Result<Clock, DemoError> {
    app::prepare(database).await.map_err(|error| DemoError::Prepare(Box::new(error)))?;
    let pool = database.pool(1);
    let (begun, complete) = (is_done(&pool, BEGIN).await?, is_done(&pool, END).await?);
    let last = log::last_recorded_at(&pool).await?;
    pool.close().await;
    Ok(match (last, begun && !complete) {
        (None, _) => Clock::starting_at(Clock::real_now() - story::span()),
        (Some(last), true) => Clock::starting_at(last),
        (Some(_), false) => Clock::new(),
    })
}

/// Makes the sample marketplace, or what is missing of it, and says how far it has come. Answers once the read models
/// show it.
pub async fn fill(app: &App, say: &mut (dyn FnMut(&str) + Send)) -> Result<DemoAccounts, DemoError> {
    if is_done(&app.pool, END).await? {
        return Ok(DemoAccounts);
    }
    let begin = begin(app).await?;
    let started = Instant::now();
    say("making the sample marketplace (once; the next start keeps it)");
    let password_hash = passwords::hash(PASSWORD)?;
    let story = story::tell();
    let mut stage = stage::Stage::new(app, &story, begin, &password_hash);
    let mut told = 0;
    for stop in &story.stops {
        stage.advance(stop.at).await?;
        stage.perform(&stop.acts).await?;
        let day = stop.at.num_days();
        if day >= told + TOLD_EVERY_DAYS {
            told = day;
            let stage::Tally { people, listings, bids, orders, .. } = stage.tally;
            say(&format!("  day {day:>2}: {people} people, {listings} listings, {bids} bids, {orders} orders"));
        }
    }
    stage.advance(story::span()).await?;
    // What the telling itself took.
    stage.advance_to(Clock::real_now()).await?;
    app.clock.set_forward(Clock::real_now());
    let marker = Request::keyed(Metadata::by_process(PROCESS), stage::key(END));
    let end = app.engine.submit(marker, |_: &mut World<'_>| Ok(())).await?;
    for follower in app::followers() {
        app.progress.wait_for(follower, end.position, FOLLOWERS_PATIENCE).await?;
    }
    let stage::Tally { people, listings, bids, orders, transfers, missed } = stage.tally;
    let seconds = started.elapsed().as_secs_f64();
    say(&format!(
        "  done in {seconds:.1} s: {people} people, {listings} listings, {bids} bids, {orders} orders, {transfers} deposits \
         and withdrawals"
    ));
    if missed > 0 {
        say(&format!("  {missed} acts came too late, because the marketplace was interrupted while it was made"));
    }
    Ok(DemoAccounts)
}

/// When the story begins: now, or when it began before it was interrupted.
async fn begin(app: &App) -> Result<Timestamp, DemoError> {
    let events = log::head(&app.pool).await?;
    if events > 0 && !is_done(&app.pool, BEGIN).await? {
        return Err(DemoError::NotEmpty { events });
    }
    let request = Request::keyed(Metadata::by_process(PROCESS), stage::key(BEGIN));
    let begun = app.engine.submit(request, |world: &mut World<'_>| Ok(world.now())).await?;
    Ok(begun.value)
}

/// Whether a marketplace is the demo's, or half made by it, whichever story that was: each begins in an empty log.
pub async fn is_in(database: &Database) -> Result<bool, DemoError> {
    app::prepare(database).await.map_err(|error| DemoError::Prepare(Box::new(error)))?;
    let pool = database.pool(1);
    let told: bool = sqlx::query_scalar(
        "select exists (select from events where position <= 100 and metadata ->> 'correlation' = $1)",
    )
    .bind(PROCESS)
    .fetch_one(&pool)
    .await?;
    let begun = told || is_done(&pool, BEGIN).await?;
    pool.close().await;
    Ok(begun)
}

async fn is_done(pool: &PgPool, step: &str) -> Result<bool, sqlx::Error> {
    Ok(!log::answers(pool, &[stage::key(step).key]).await?.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_printed_log_ins_are_those_of_the_story() {
        let people = people::everybody();
        for (log_in, place) in DemoAccounts.log_ins().into_iter().zip([people::BUYER, people::SELLER, people::ADMIN]) {
            assert_eq!(log_in.email, people[place].email());
        }
        assert!(DemoAccounts.to_string().contains("seller@tradepost.example"));
    }
}
