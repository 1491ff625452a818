//! One open socket, from its state to its end.

use std::future;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, close_code};
use domain::AccountId;
use eventstore::mint;
use metrics::counter;
use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;

use super::holder::end_of;
use super::hub::{Channel, News, PAGE};
use super::visit::Visitor;
use crate::http::problem::Problem;
use crate::observe::metrics::SOCKETS_CUT;

/// How long a socket may take to accept a message before it is cut.
const SEND_PATIENCE: Duration = Duration::from_secs(10);
/// How often an idle socket is pinged, so that dead ones are noticed.
const PING_EVERY: Duration = Duration::from_secs(30);

/// What a kind of socket shows, and what may be asked over it.
pub(super) trait Show: Send + 'static {
    /// Where its messages come from.
    type Channel: Channel;

    /// The largest message that a client may send, in bytes.
    const LARGEST_MESSAGE: usize;

    /// Which of them it shows.
    fn topic(&self) -> <Self::Channel as Channel>::Topic;

    /// Whose it is, where not everybody may see it for ever.
    fn owner(&self) -> Option<AccountId> {
        None
    }

    /// Whether whoever has opened the socket may still see it: [`Ended::Hidden`] if not.
    fn look(&mut self, _visitor: &Visitor) -> impl Future<Output = Result<(), Ended>> + Send {
        future::ready(Ok(()))
    }

    /// The first message, and the last sequence that it takes in.
    fn state(&mut self, visitor: &Visitor) -> impl Future<Output = Result<(i64, Value), Ended>> + Send;

    /// Does what the client asks for, and tells what has come of it, if there is anything to say.
    fn answer(&mut self, visitor: &Visitor, asked: &str) -> impl Future<Output = Option<Value>> + Send;
}

/// Why a socket ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    /// By itself.
    #[error("the client has gone: {0}")]
    Gone(#[from] axum::Error),
    /// A message could not be sent in time.
    #[error("the client does not read")]
    TooSlow,
    /// It is not shown any more.
    #[error("whoever has opened it may not see it any more")]
    Hidden,
    /// The database is away.
    #[error("the table cannot be read: {0}")]
    Sql(#[from] sqlx::Error),
    /// A defect.
    #[error("the state cannot be shown")]
    Defect,
}

/// One socket.
pub(super) struct Watcher<S> {
    visitor: Visitor,
    shows: S,
    socket: WebSocket,
    /// The last sequence that was sent.
    shown: i64,
}

impl<S: Show> Watcher<S> {
    pub(super) fn new(visitor: Visitor, shows: S, socket: WebSocket) -> Self {
        Self { visitor, shows, socket, shown: 0 }
    }

    /// Shows it until its end, from the sequence `after` on.
    pub(super) async fn run(mut self, after: Option<i64>) -> Result<(), Ended> {
        match self.watch(after).await {
            Err(Ended::Hidden) => self.close(close_code::POLICY, "this is not shown any more").await,
            ended => ended,
        }
    }

    async fn watch(&mut self, after: Option<i64>) -> Result<(), Ended> {
        // Before the state is read, so that nothing can happen between the two.
        let mut news = S::Channel::hub(&self.visitor.app).subscribe(self.shows.topic());
        let stop = self.visitor.app.closing.clone();
        self.send_state(after).await?;
        let mut ping = tokio::time::interval(PING_EVERY);
        loop {
            tokio::select! {
                () = stop.cancelled() => return self.close(close_code::AWAY, "the server stops").await,
                reason = end_of(self.visitor.holder.as_mut(), &self.visitor.app) => {
                    return self.close(close_code::POLICY, reason).await;
                }
                _ = ping.tick() => self.send(Message::Ping(Vec::new().into())).await?,
                news = news.recv() => match news {
                    Ok(News::Told(sequence, text)) => self.show(sequence, text).await?,
                    Ok(News::Passing(by, _)) if self.visitor.account() == Some(by) => {}
                    Ok(News::Passing(_, text)) => self.send(Message::Text(text)).await?,
                    Ok(News::Look) => self.send_missed().await?,
                    Ok(News::Withdrawn(whose)) => {
                        if self.shows.owner().is_some_and(|owner| whose.contains(&owner)) {
                            self.shows.look(&self.visitor).await?;
                        }
                    }
                    Err(RecvError::Lagged(_)) => {
                        // That it is not shown any more may be what was missed.
                        self.shows.look(&self.visitor).await?;
                        self.send_missed().await?;
                    }
                    Err(RecvError::Closed) => return Ok(()),
                },
                message = self.socket.recv() => match message {
                    None | Some(Ok(Message::Close(_))) => return Ok(()),
                    Some(Ok(Message::Text(asked))) => {
                        if let Some(answer) = self.shows.answer(&self.visitor, &asked).await {
                            self.send_json(&answer).await?;
                        }
                    }
                    Some(Ok(Message::Binary(_))) => {
                        return self.close(close_code::UNSUPPORTED, "messages are JSON text").await;
                    }
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    Some(Err(error)) => return Err(error.into()),
                }
            }
        }
    }

    /// The state, and everything after `after` that the client has not seen.
    async fn send_state(&mut self, after: Option<i64>) -> Result<(), Ended> {
        let (sequence, state) = self.shows.state(&self.visitor).await?;
        self.send_json(&state).await?;
        // The client may have seen more on another node than this one's table shows: that is not sent again.
        self.shown = after.unwrap_or(sequence).max(0);
        self.send_missed().await
    }

    /// What is in the table after the last message that was sent.
    async fn send_missed(&mut self) -> Result<(), Ended> {
        loop {
            let rows = S::Channel::after(&self.visitor.app.pool, self.shows.topic(), self.shown, PAGE).await?;
            if rows.is_empty() {
                return Ok(());
            }
            for row in rows {
                if let News::Told(sequence, text) = News::of::<S::Channel>(&row) {
                    self.tell(sequence, text).await?;
                }
            }
        }
    }

    /// Sends a message, unless it was sent before. After a gap the table is read.
    async fn show(&mut self, sequence: i64, text: Utf8Bytes) -> Result<(), Ended> {
        if sequence <= self.shown {
            return Ok(());
        }
        if S::Channel::GAPLESS && sequence > self.shown + 1 {
            return self.send_missed().await;
        }
        self.tell(sequence, text).await
    }

    async fn tell(&mut self, sequence: i64, text: Utf8Bytes) -> Result<(), Ended> {
        self.shown = sequence;
        // PLANTED: and once more.
        #[cfg(feature = "planted-bugs")]
        if domain::planted::is(domain::planted::Bug::ShownTwice) {
            self.send(Message::Text(text.clone())).await?;
        }
        self.send(Message::Text(text)).await
    }

    async fn send_json(&mut self, value: &Value) -> Result<(), Ended> {
        self.send(Message::Text(value.to_string().into())).await
    }

    async fn send(&mut self, message: Message) -> Result<(), Ended> {
        let Ok(sent) = tokio::time::timeout(SEND_PATIENCE, self.socket.send(message)).await else {
            counter!(SOCKETS_CUT).increment(1);
            return Err(Ended::TooSlow);
        };
        Ok(sent?)
    }

    async fn close(&mut self, code: u16, reason: &'static str) -> Result<(), Ended> {
        self.send(Message::Close(Some(CloseFrame { code, reason: reason.into() }))).await
    }
}

/// Tells that what was asked is refused. `id` is what the client calls it, if that can be read.
pub(super) fn refused(id: Option<&str>, problem: &Problem) -> Value {
    json!({ "type": "refused", "id": id, "problem": problem.document(&mint::id().to_string()) })
}

/// Tells that what was asked cannot be read.
pub(super) fn unreadable(error: &serde_json::Error) -> Value {
    refused(None, &Problem::bad_request("malformed-message", error.to_string()))
}
