//! A command in the loop: its function, and whom to answer.

use std::fmt;
use std::sync::Arc;

use eventstore::Position;
use eventstore::log::StoredAnswer;
use eventstore::trace::Traced;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::measures::Results;
use super::world::{Halt, World};
use super::{Accepted, CommandError, CommandKey, InFlight, Request};

/// What is stored under a key instead of an answer, where a command was refused that was in doubt.
const REFUSED: &str = r#""refused in doubt""#;

/// A command whose answer's type the loop need not know.
pub(crate) trait Job: Send + fmt::Debug {
    fn key(&self) -> Option<CommandKey>;
    /// [`Request::in_doubt`], of one that has a key: the key, and what is stored under it if the command is refused.
    fn in_doubt(&self) -> Option<(CommandKey, &'static str)>;
    fn metadata(&self) -> &str;
    fn traced(&self) -> Option<&Traced>;
    /// Runs the function. A decision that succeeds is kept until the job is accepted or decided again.
    fn decide(&mut self, world: &mut World<'_>) -> Result<(), Halt>;
    /// What was decided, as JSON, to be stored under the key.
    fn answer(&self) -> String;
    fn accept(self: Box<Self>, position: Position);
    fn replay(self: Box<Self>, stored: &StoredAnswer);
    fn fail(self: Box<Self>, error: CommandError);
}

pub(crate) struct TypedJob<T, F> {
    key: Option<CommandKey>,
    in_doubt: bool,
    metadata: String,
    decide: F,
    decided: Option<T>,
    answering: Answering<T>,
}

/// Whom to answer, and what ends with the answer.
pub(crate) struct Answering<T> {
    pub(crate) reply: oneshot::Sender<Result<Accepted<T>, CommandError>>,
    /// Given up before the answer, so that whoever has the answer can send the key again.
    pub(crate) in_flight: Option<InFlight>,
    /// Given up before the answer, so that whoever has the answer can send the next command.
    pub(crate) place: OwnedSemaphorePermit,
    /// Ends with the answer.
    pub(crate) traced: Option<Traced>,
    pub(crate) results: Arc<Results>,
}

impl<T, F> fmt::Debug for TypedJob<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").field("key", &self.key).field("metadata", &self.metadata).finish_non_exhaustive()
    }
}

impl<T, F> TypedJob<T, F> {
    pub(crate) fn new(request: &Request, decide: F, answering: Answering<T>) -> Self {
        let (key, in_doubt, metadata) = (request.key, request.in_doubt, request.metadata.to_json());
        Self { key, in_doubt, metadata, decide, decided: None, answering }
    }

    fn reply(self, answer: Result<Accepted<T>, CommandError>) {
        let Answering { reply, in_flight, place, traced, results } = self.answering;
        drop((in_flight, place, traced));
        results.count(&answer);
        // The caller may have gone away, which is its right.
        let _ = reply.send(answer);
    }
}

impl<T, F> Job for TypedJob<T, F>
where
    T: Serialize + DeserializeOwned + Send,
    F: FnMut(&mut World<'_>) -> Result<T, Halt> + Send,
{
    fn key(&self) -> Option<CommandKey> {
        self.key
    }

    fn in_doubt(&self) -> Option<(CommandKey, &'static str)> {
        self.key.filter(|_| self.in_doubt).map(|key| (key, REFUSED))
    }

    fn metadata(&self) -> &str {
        &self.metadata
    }

    fn traced(&self) -> Option<&Traced> {
        self.answering.traced.as_ref()
    }

    fn decide(&mut self, world: &mut World<'_>) -> Result<(), Halt> {
        self.decided = Some((self.decide)(world)?);
        Ok(())
    }

    fn answer(&self) -> String {
        // Answers are plain data with string keys, which always serialise.
        self.decided.as_ref().and_then(|value| serde_json::to_string(value).ok()).unwrap_or_else(|| "null".to_owned())
    }

    fn accept(mut self: Box<Self>, position: Position) {
        let value = self.decided.take().ok_or(CommandError::Defect);
        self.reply(value.map(|value| Accepted { value, position, replayed: false }));
    }

    fn replay(self: Box<Self>, stored: &StoredAnswer) {
        if self.key.is_none_or(|key| key.fingerprint != stored.fingerprint) {
            return self.reply(Err(CommandError::KeyReused));
        }
        if stored.answer == REFUSED {
            return self.reply(Err(CommandError::RefusedBefore { position: stored.position }));
        }
        let value = serde_json::from_str(&stored.answer).map_err(|error| {
            tracing::error!(position = stored.position, %error, "a stored answer cannot be read");
            CommandError::Defect
        });
        self.reply(value.map(|value| Accepted { value, position: stored.position, replayed: true }));
    }

    fn fail(self: Box<Self>, error: CommandError) {
        self.reply(Err(error));
    }
}
