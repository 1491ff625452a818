//! The log of clients: what was asked and what came of it, a line of JSON for each as it happens. A file of its own, so
//! that what was known is known after a crash too. With the database, and the times at which all was not well, it is all
//! that the [`checker`](crate::checker) reads.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use domain::{AccountId, AuctionId, Timestamp};
use serde::{Deserialize, Serialize};
use tempfile::{NamedTempFile, TempPath};

use crate::fail::OrFail;
use crate::history::{Attempt, Command, History, Intent, Outcome};

/// A log of clients that is being written.
#[derive(Debug)]
pub struct Journal {
    file: Mutex<File>,
    path: PathBuf,
    attempts: AtomicU64,
    /// Goes with the journal, unless its file was named by somebody.
    _temporary: TempPath,
}

/// One line.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "line", rename_all = "snake_case")]
pub enum Line {
    /// A request was sent.
    Invoke {
        /// The number of the attempt.
        attempt: u64,
        /// Who wanted it; a guest has no account.
        actor: Option<AccountId>,
        /// The `Idempotency-Key`.
        key: String,
        /// What was wanted.
        intent: Intent,
        /// Which server was asked.
        node: usize,
        /// When, counted from the beginning of the run.
        began: Duration,
    },
    /// It was carried out.
    Ok(Answered),
    /// A rule said no.
    Fail(Answered),
    /// Nobody knows, or the answer must never be given.
    Unknown(Answered),
    /// A socket has shown an event of an auction.
    Seen {
        /// Which of the sockets that were opened one after another.
        socket: u64,
        /// Which auction.
        auction: AuctionId,
        /// After which event it was opened.
        after: i64,
        /// Which event.
        sequence: i64,
    },
    /// How the sessions of the database were.
    Sessions {
        /// How long a transaction has said nothing, at the most, in milliseconds.
        idle_ms: i64,
    },
}

/// What came of a request.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Answered {
    /// The number of the attempt.
    pub attempt: u64,
    /// When it was known, counted from the beginning of the run.
    pub ended: Duration,
    /// The same, by the clock on the wall.
    pub ended_at: Timestamp,
    /// What it was.
    pub outcome: Outcome,
}

impl Journal {
    /// One that goes when it is dropped.
    pub fn temporary() -> Self {
        let (file, path) = NamedTempFile::new().or_fail("make a journal").into_parts();
        Self { file: Mutex::new(file), path: path.to_path_buf(), attempts: AtomicU64::new(0), _temporary: path }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The number of the next attempt.
    pub fn attempt(&self) -> u64 {
        self.attempts.fetch_add(1, Ordering::Relaxed)
    }

    /// Writes a line; it is with the system when this returns.
    pub fn write(&self, line: &Line) {
        let mut text = serde_json::to_string(line).or_fail("write a line of the journal");
        text.push('\n');
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(text.as_bytes()).or_fail("write a line of the journal");
    }

    /// What came of an attempt.
    pub fn answered(&self, attempt: u64, ended: Duration, ended_at: Timestamp, outcome: Outcome) {
        let kind = match &outcome {
            Outcome::Accepted { .. } => Line::Ok,
            Outcome::Refused { .. } => Line::Fail,
            Outcome::Unknown { .. } | Outcome::Improper { .. } => Line::Unknown,
        };
        self.write(&kind(Answered { attempt, ended, ended_at, outcome }));
    }

    /// Everything that was written so far.
    pub fn lines(&self) -> Vec<Line> {
        let file = File::open(&self.path).or_fail("open the journal");
        let lines = BufReader::new(file).lines().map(|line| line.or_fail("read the journal"));
        lines.map(|line| serde_json::from_str(&line).or_fail("read a line of the journal")).collect()
    }

    /// What clients have asked and were told, as far as it is written down.
    pub fn history(&self) -> History {
        read(self.lines())
    }
}

/// A command that was asked for, and each attempt at it: its number, which server was asked, and when.
struct Asked {
    intent: Intent,
    attempts: Vec<(u64, usize, Duration)>,
}

/// Puts the attempts together that belong to one command. Of what never came to an answer nobody knows.
fn read(lines: Vec<Line>) -> History {
    let mut answers = HashMap::new();
    let mut commands = BTreeMap::<(Option<AccountId>, String), Asked>::new();
    for line in lines {
        match line {
            Line::Invoke { attempt, actor, key, intent, node, began } => {
                let asked = commands.entry((actor, key)).or_insert_with(|| Asked { intent, attempts: Vec::new() });
                asked.attempts.push((attempt, node, began));
            }
            Line::Ok(answered) | Line::Fail(answered) | Line::Unknown(answered) => {
                answers.insert(answered.attempt, answered);
            }
            Line::Seen { .. } | Line::Sessions { .. } => {}
        }
    }
    let mut finish = |(attempt, node, began): (u64, usize, Duration)| {
        if let Some(Answered { ended, ended_at, outcome, .. }) = answers.remove(&attempt) {
            return Attempt { node, began, ended, ended_at, outcome };
        }
        let outcome = Outcome::Unknown { why: "the run ended before".to_owned() };
        Attempt { node, began, ended: Duration::MAX, ended_at: Timestamp::default(), outcome }
    };
    let mut history = History::default();
    for ((actor, key), Asked { intent, attempts }) in commands {
        let attempts = attempts.into_iter().map(&mut finish).collect();
        history.commands.push(Command { actor, key, intent, attempts });
    }
    history
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn attempts_under_one_key_are_one_command_and_what_was_never_answered_is_unknown() {
        let journal = Journal::temporary();
        let actor = Some(AccountId(Uuid::from_u128(1)));
        let auction = AuctionId(Uuid::from_u128(2));
        for key in ["a", "a", "b"] {
            let intent = Intent::OfferSecondChance { auction };
            let (attempt, began) = (journal.attempt(), Duration::from_millis(7));
            journal.write(&Line::Invoke { attempt, actor, key: key.to_owned(), intent, node: 1, began });
        }
        let accepted = Outcome::Accepted { position: 9, replayed: true, body: json!({ "position": 9 }) };
        journal.answered(1, Duration::from_millis(8), Timestamp::default(), accepted);
        let history = journal.history();
        let told = history.commands.iter().map(|command| {
            (command.key.as_str(), command.attempts.iter().map(|attempt| attempt.outcome.is_definite()).collect())
        });
        assert_eq!(told.collect::<Vec<(&str, Vec<bool>)>>(), [("a", vec![false, true]), ("b", vec![false])]);
    }
}
