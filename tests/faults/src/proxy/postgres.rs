//! The messages of Postgres, as far as it takes to know what is asked and which answer is about what.
//!
//! A client asks in rounds, each of which ends with `Sync` or is one `Query`, and for each of which the server says once
//! that it is ready: so what is ready belongs to the oldest round. The server commits what a round has done on its own
//! before it sends any of its answers, unless it has failed or is part of an open transaction: then nothing is appended yet.

use std::collections::{HashMap, VecDeque};
use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

use super::{Moment, Passing, Step, Talk};

/// What a client has prepared, and asked and not been told.
#[derive(Debug, Default)]
pub(super) struct Session {
    prepared: HashMap<Vec<u8>, Option<Step>>,
    /// Of the round that has not ended.
    bound: Option<Step>,
    rounds: VecDeque<Option<Step>>,
    /// Whether the oldest round has failed.
    failed: bool,
    /// Whether a transaction is open, so that nothing is committed before it ends.
    open: bool,
}

/// One message with its head. The `first` of a client has no type.
pub(super) async fn read(from: &mut (impl AsyncRead + Unpin), first: bool) -> io::Result<Vec<u8>> {
    let head = if first { 4 } else { 5 };
    let mut message = vec![0; head];
    from.read_exact(&mut message).await?;
    let length = message.last_chunk::<4>().map_or(4, |length| u32::from_be_bytes(*length)) as usize;
    let rest = length.checked_sub(4).ok_or(io::ErrorKind::InvalidData)?;
    message.resize(head + rest, 0);
    from.read_exact(&mut message[head..]).await?;
    Ok(message)
}

/// The two texts that a message begins with, each ended by a zero.
fn texts(body: &[u8]) -> (&[u8], &[u8]) {
    let mut texts = body.split(|byte| *byte == 0);
    (texts.next().unwrap_or_default(), texts.next().unwrap_or_default())
}

fn step(statement: &[u8]) -> Option<Step> {
    let statement = String::from_utf8_lossy(statement).to_lowercase();
    let statement = statement.trim_start();
    match statement {
        _ if statement.starts_with("begin") => Some(Step::Begin),
        _ if statement.starts_with("commit") => Some(Step::Commit),
        _ if statement.contains("insert into events") && statement.contains("update log_head") => Some(Step::Append),
        _ if statement.starts_with("update public.followers set position") => Some(Step::Checkpoint),
        _ => None,
    }
}

impl Talk for Session {
    fn asks(&mut self, message: &[u8]) -> Passing {
        let (kind, body) = (message[0], &message[5..]);
        let mut before = None;
        match kind {
            b'P' => {
                let (name, statement) = texts(body);
                self.prepared.insert(name.to_vec(), step(statement));
            }
            b'B' => {
                let (_, name) = texts(body);
                self.bound = self.prepared.get(name).copied().flatten();
                before = self.bound;
            }
            b'Q' => {
                before = step(body);
                self.rounds.push_back(before);
            }
            b'S' => self.rounds.push_back(self.bound.take()),
            _ => {}
        }
        Passing { before: before.map(Moment::Before), after: None }
    }

    fn answers(&mut self, message: &[u8]) -> Passing {
        let done = match message[0] {
            b'E' => {
                self.failed = true;
                None
            }
            b'D' | b'C' => self.rounds.front().copied().flatten(),
            b'Z' => self.rounds.pop_front().flatten().filter(|_| !self.failed),
            _ => None,
        };
        let done = done.filter(|step| *step != Step::Append || !self.open);
        if let [b'Z', _, _, _, _, state] = message {
            (self.failed, self.open) = (false, *state != b'I');
        }
        Passing { before: done.map(Moment::After), after: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap_or(0).to_be_bytes();
        [&[kind], &length[..], body].concat()
    }

    #[test]
    fn what_is_ready_belongs_to_the_oldest_round() {
        let mut session = Session::default();
        let append = b"s1\0 with head as (update log_head ...) insert into events\0\0\0";
        session.asks(&message(b'P', append));
        session.asks(&message(b'S', b""));
        assert_eq!(session.asks(&message(b'B', b"\0s1\0")).before, Some(Moment::Before(Step::Append)));
        session.asks(&message(b'S', b""));
        assert_eq!(session.asks(&message(b'Q', b"COMMIT\0")).before, Some(Moment::Before(Step::Commit)));
        let ready = |session: &mut Session| session.answers(&message(b'Z', b"I")).before;
        assert_eq!(ready(&mut session), None);
        assert_eq!(session.answers(&message(b'D', b"")).before, Some(Moment::After(Step::Append)));
        assert_eq!(ready(&mut session), Some(Moment::After(Step::Append)));
        assert_eq!(ready(&mut session), Some(Moment::After(Step::Commit)));
    }

    #[test]
    fn what_has_failed_or_waits_for_the_end_of_a_transaction_is_not_appended() {
        let mut session = Session::default();
        let append = b"update log_head ... insert into events\0";
        let asked = |session: &mut Session, body: &[u8]| session.asks(&message(b'Q', body)).before;
        let told = |session: &mut Session, kind, body: &[u8]| session.answers(&message(kind, body)).before;
        asked(&mut session, append);
        assert_eq!((told(&mut session, b'E', b""), told(&mut session, b'Z', b"I")), (None, None));
        asked(&mut session, b"begin\0");
        assert_eq!(told(&mut session, b'Z', b"T"), Some(Moment::After(Step::Begin)));
        asked(&mut session, append);
        assert_eq!((told(&mut session, b'C', b""), told(&mut session, b'Z', b"T")), (None, None));
        asked(&mut session, b"commit\0");
        assert_eq!(told(&mut session, b'Z', b"I"), Some(Moment::After(Step::Commit)));
        asked(&mut session, append);
        assert_eq!(told(&mut session, b'Z', b"I"), Some(Moment::After(Step::Append)));
    }
}
