//! `tradepost mail`: what is to be sent, and what could not be.

use clap::{Subcommand, ValueEnum};
use commands::mail::{self, Listed, State};
use serde_json::json;
use uuid::Uuid;

use super::output::{Output, show};
use super::{Failure, Place};
use crate::config::Config;

/// Which letters.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Which {
    /// All of them; those that were sent for 30 days.
    All,
    /// Those that are to be sent, or sent again.
    Waiting,
    /// Those that were sent.
    Sent,
    /// Those that could not be sent.
    Parked,
}

#[derive(Debug, Subcommand)]
pub(super) enum MailCommand {
    /// List letters, oldest first: to which account, about what, and why they could not be sent.
    ///
    /// What cannot be sent now is tried again, each time later, for about half a day; then it is parked, as is what the
    /// server does not take at all.
    List {
        /// Which letters.
        #[arg(value_enum, default_value_t = Which::Parked)]
        which: Which,
        /// How many at most.
        #[arg(short = 'n', long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=100_000))]
        limit: i64,
        #[command(flatten)]
        output: Output,
    },
    /// Try letters again at once that could not be sent. Running nodes send them.
    Retry {
        /// This one; all unless named.
        letter: Option<Uuid>,
        #[command(flatten)]
        output: Output,
    },
}

impl MailCommand {
    pub(super) async fn run(self, config: &Config) -> Result<(), Failure> {
        let place = Place::beside(config).await?;
        let done = match self {
            Self::List { which, limit, output } => list(&place, which, limit, output).await,
            Self::Retry { letter, output } => retry(&place, letter, output).await,
        };
        place.leave(done).await
    }
}

async fn list(place: &Place, which: Which, limit: i64, output: Output) -> Result<(), Failure> {
    crate::app::prepare(&place.database).await?;
    let state = match which {
        Which::All => None,
        Which::Waiting => Some(State::Waiting),
        Which::Sent => Some(State::Sent),
        Which::Parked => Some(State::Parked),
    };
    let pool = place.database.pool(1);
    let letters = mail::list(&pool, state, limit).await;
    pool.close().await;
    let letters = letters?;
    let lines: Vec<String> = letters.iter().map(line).collect();
    let none = "There are no such letters.".to_owned();
    show(output.json, &letters, if lines.is_empty() { none } else { lines.join("\n") })
}

fn line(letter: &Listed) -> String {
    let Listed { id, account_id, kind, state, attempts, due_at, sent_at, error, position: _ } = letter;
    let at = match state {
        State::Sent => sent_at.unwrap_or(*due_at),
        State::Waiting | State::Parked => *due_at,
    };
    let state = match state {
        State::Waiting => "waits until",
        State::Sent => "sent at",
        State::Parked => "parked at",
    };
    let error = error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
    format!("{id} {kind} to {account_id}, {state} {}, {attempts} attempts{error}", at.format("%Y-%m-%dT%H:%M:%SZ"))
}

async fn retry(place: &Place, letter: Option<Uuid>, output: Output) -> Result<(), Failure> {
    crate::app::prepare(&place.database).await?;
    let pool = place.database.pool(1);
    let retried = mail::retry(&pool, letter).await;
    pool.close().await;
    let retried = retried?;
    if let Some(letter) = letter
        && retried == 0
    {
        return Err(format!("no letter {letter} waits or is parked").into());
    }
    show(output.json, &json!({ "letters": retried }), format!("{retried} letters are tried again."))
}
