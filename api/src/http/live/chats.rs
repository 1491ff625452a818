//! Chats as they go, and writing over a socket.

use std::time::{Duration, Instant};

use async_nats::Client;
use axum::extract::State;
use axum::response::Response;
use domain::{AccountId, ChatId};
use eventstore::Position;
use futures::StreamExt;
use projections::chats::{self, Activity, Kind};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::PgPool;
use uuid::Uuid;

use super::hub::{Channel, Hub, Place};
use super::socket::{Ended, Show, refused, unreadable};
use super::visit::{Opening, Visit, Visitor};
use crate::app::App;
use crate::http::extract::Id;
use crate::http::openapi::Waits;
use crate::http::problem::Problem;
use crate::http::routes::chats::{mark, send, shown};

/// The other party is told no more often that somebody types.
const TYPING_APART: Duration = Duration::from_secs(1);
/// So long it may take to tell other nodes who types. While NATS is away, nobody waits for it: it is soon not true.
const TYPING_PATIENCE: Duration = Duration::from_millis(100);
/// Where nodes tell each other who types.
const TYPING: &str = "tradepost.typing";
/// After a failure, how long until the next attempt to hear what other nodes tell.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// The messages of chats.
pub(super) struct Chats;

impl Channel for Chats {
    type Topic = ChatId;
    type Row = Activity;

    const MODEL: &'static str = chats::MODEL.name;
    const BACKLOG: usize = 16;
    const GAPLESS: bool = true;

    fn hub(app: &App) -> &Hub<Self> {
        &app.live.chats
    }

    async fn since(pool: &PgPool, position: Position, limit: u32) -> Result<Vec<Activity>, sqlx::Error> {
        chats::activity_since(pool, position, limit).await
    }

    async fn after(pool: &PgPool, id: ChatId, sequence: i64, limit: u32) -> Result<Vec<Activity>, sqlx::Error> {
        chats::activity_after(pool, id, sequence, limit).await
    }

    fn place(row: &Activity) -> Place<ChatId> {
        Place { topic: ChatId(row.chat_id), sequence: row.sequence, position: row.position }
    }

    fn message(row: &Activity) -> Value {
        let Activity { sequence, at, account_id: by, .. } = row;
        match row.kind {
            Kind::Opened => json!({ "type": "opened", "sequence": sequence, "at": at, "by": by }),
            Kind::Message => json!({
                "type": "message", "sequence": sequence, "at": at,
                "id": row.message_id, "author_id": by, "text": row.body,
            }),
            Kind::Read => json!({ "type": "read", "sequence": sequence, "at": at, "by": by, "upto": row.upto }),
        }
    }
}

/// Talk live. Opens a WebSocket, which takes a ticket of one of the two parties.
///
/// The first message is `{"type": "state", "sequence", "chat"}`. Then comes one message per event, each with `type`
/// (`opened`, `message`, `read`), `sequence` and `at`; and `{"type": "typing", "by"}`, which has no sequence, while the
/// other party types. The client may send `{"type": "message", "id", "text", "idempotency_key"}` and
/// `{"type": "read", "id", "upto"}`, and gets `{"type": "accepted" | "refused", "id"}` back; and `{"type": "typing"}`, of
/// which it hears nothing.
#[utoipa::path(get, path = "/ws/chats/{id}", tag = "Chats", params(("id" = Uuid, Path), Opening, Waits),
    responses((status = SWITCHING_PROTOCOLS, description = "The socket is open"),
        (status = UNAUTHORIZED, description = "There is no ticket, or it is not good"),
        (status = FORBIDDEN, description = "Pages of this origin, or blocked accounts, may not open it"),
        (status = UPGRADE_REQUIRED, description = "Not a WebSocket")))]
pub(crate) async fn chat(State(app): State<App>, Id(id): Id<ChatId>, visit: Visit) -> Result<Response, Problem> {
    let identified = visit.identify::<Chats>(app.clone()).await?;
    let party = identified.visitor.known()?.account;
    if chats::get(&app.pool, id, party).await?.is_none() {
        return Err(Problem::not_found("chat"));
    }
    Ok(identified.show(OneChat { id, party, typed: None }))
}

/// What a socket of one chat shows.
struct OneChat {
    id: ChatId,
    party: AccountId,
    /// When the other was told last that this party types.
    typed: Option<Instant>,
}

impl Show for OneChat {
    type Channel = Chats;

    // The longest text, with every character of it escaped, and what stands around it.
    const LARGEST_MESSAGE: usize = 64 * 1_024;

    fn topic(&self) -> ChatId {
        self.id
    }

    async fn state(&mut self, visitor: &Visitor) -> Result<(i64, Value), Ended> {
        let shown = shown(&visitor.app, self.id, self.party).await.map_err(|_| Ended::Defect)?;
        let sequence = shown.version.cast_signed();
        Ok((sequence, json!({ "type": "state", "sequence": sequence, "chat": shown.body })))
    }

    async fn answer(&mut self, visitor: &Visitor, asked: &str) -> Option<Value> {
        let (id, done) = match serde_json::from_str(asked) {
            Ok(Asked::Message { id, text, idempotency_key }) => {
                (Some(id), self.send(visitor, &text, idempotency_key).await)
            }
            Ok(Asked::Read { id, upto }) => (id, self.mark(visitor, upto).await),
            Ok(Asked::Typing {}) => {
                self.type_on(visitor).await;
                return None;
            }
            Err(error) => return Some(unreadable(&error)),
        };
        Some(match done {
            Ok(mut body) => {
                body["type"] = json!("accepted");
                body["id"] = json!(id);
                body
            }
            Err(problem) => refused(id.as_deref(), &problem),
        })
    }
}

/// What a client may ask over the socket.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
enum Asked {
    /// Write. `id` comes back with the answer.
    Message { id: String, text: String, idempotency_key: Option<String> },
    /// Note how far was read; everything unless told.
    Read { id: Option<String>, upto: Option<u32> },
    /// Tell the other party that something is being written.
    Typing {},
}

impl OneChat {
    async fn send(&self, visitor: &Visitor, text: &str, key: Option<String>) -> Result<Value, Problem> {
        let request = visitor.request(self.party, key, &["MESSAGE", &self.id.to_string(), text])?;
        let accepted = send(&visitor.app, self.id, self.party, text, request).await?;
        Ok(json!({ "message": accepted.value, "position": accepted.position }))
    }

    async fn mark(&self, visitor: &Visitor, upto: Option<u32>) -> Result<Value, Problem> {
        let request = visitor.request(self.party, None, &[])?;
        let accepted = mark(&visitor.app, self.id, self.party, upto, request).await?;
        Ok(json!({ "read": accepted.value, "position": accepted.position }))
    }

    /// Tells the other party, whichever node they are at, unless they were told a moment ago.
    async fn type_on(&mut self, visitor: &Visitor) {
        if self.typed.is_some_and(|typed| typed.elapsed() < TYPING_APART) {
            return;
        }
        self.typed = Some(Instant::now());
        let app = &visitor.app;
        let typing = Typing { node: app.live.node, chat: self.id, by: self.party };
        typing.tell(&app.live.chats);
        let (Some(nats), Ok(message)) = (&app.nats, serde_json::to_vec(&typing)) else { return };
        match tokio::time::timeout(TYPING_PATIENCE, nats.publish(TYPING, message.into())).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "other nodes are not told who types"),
            Err(_) => tracing::debug!("other nodes are not told in time who types"),
        }
    }
}

/// Somebody types.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
struct Typing {
    /// At which node.
    node: Uuid,
    chat: ChatId,
    by: AccountId,
}

impl Typing {
    fn tell(&self, sockets: &Hub<Chats>) {
        sockets.pass(self.chat, self.by, || json!({ "type": "typing", "by": self.by }));
    }
}

/// Passes on what other nodes tell of who types, until the task is aborted. What is lost is not missed.
pub(super) async fn hear_typing(nats: Client, node: Uuid, sockets: &Hub<Chats>) {
    loop {
        match nats.subscribe(TYPING).await {
            Ok(mut told) => {
                while let Some(message) = told.next().await {
                    let typing = serde_json::from_slice::<Typing>(&message.payload).ok();
                    if let Some(typing) = typing.filter(|typing| typing.node != node) {
                        typing.tell(sockets);
                    }
                }
            }
            Err(error) => tracing::debug!(%error, "who types at other nodes cannot be heard"),
        }
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}
