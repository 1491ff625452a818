//! Live auctions over a WebSocket.
//!
//! A socket gets the state first, then one message per event of the auction, each with its `sequence`: once, in order,
//! without gaps. Messages are rows of the `auction_board` projection, so a socket on any node shows what any node has
//! accepted. One task per node reads new rows and hands them to the sockets of their auction; a socket that falls
//! behind reads what it has missed from the table, and one that does not read at all is cut. Where the store of a seller
//! is closed, the task tells the sockets of its auctions, and those end whose holders may not see them any more.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use commands::Request;
use domain::store::Store;
use domain::{AccountId, Aggregate, AuctionId, Money};
use eventstore::event::{DomainEvent, Interest, Metadata, RecordedEvent};
use eventstore::progress::Progress;
use eventstore::{Position, log, mint};
use metrics::gauge;
use projections::auction_board::{self, Activity};
use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use utoipa::IntoParams;

use super::envelope::RequestId;
use super::extract::{Id, Read, account_key, checked_key};
use super::openapi::Waits;
use super::origins;
use super::problem::Problem;
use super::routes::auctions::{Viewer, alias, auction_body, bid, visible};
use super::sender::Sender;
use crate::app::App;
use crate::observe::metrics::SOCKETS;

mod holder;

use holder::{Holder, end_of};

/// Messages that may wait for one socket before it has to read them from the table.
const BACKLOG: usize = 256;
/// Rows read at once.
const PAGE: u32 = 500;
/// How long a socket may take to accept a message before it is cut.
const SEND_PATIENCE: Duration = Duration::from_secs(10);
/// The largest message that a client may send.
const LARGEST_MESSAGE: usize = 4_096;
/// How often an idle socket is pinged, so that dead ones are noticed.
const PING_EVERY: Duration = Duration::from_secs(30);
/// After a failed query, how long until the next.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

type Topics = HashMap<AuctionId, Topic>;

/// The sockets that watch one auction.
#[derive(Debug)]
struct Topic {
    /// Who sells.
    seller: AccountId,
    news: broadcast::Sender<News>,
}

/// What sockets are told.
#[derive(Clone, Debug)]
enum News {
    /// Something has happened in the auction.
    Row(Arc<Activity>),
    /// The store of its seller was closed: not everybody may see it any more.
    StoreClosed,
}

/// The auctions that sockets of this node are watching. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct LiveAuctions(Arc<Mutex<Topics>>);

impl LiveAuctions {
    /// Hands new rows to the sockets that watch, until the task is aborted.
    pub async fn watch(self, pool: PgPool, progress: Progress) {
        let mut moved = progress.subscribe(auction_board::MODEL.name);
        let mut shown = *moved.borrow_and_update();
        loop {
            let reached = *moved.borrow_and_update();
            match self.publish_up_to(&pool, shown, reached).await {
                Ok(()) => shown = reached,
                Err(error) => {
                    tracing::warn!(%error, "live auctions could not be read");
                    tokio::time::sleep(RETRY_PAUSE).await;
                    continue;
                }
            }
            if moved.changed().await.is_err() {
                return;
            }
        }
    }

    async fn publish_up_to(&self, pool: &PgPool, from: i64, to: i64) -> Result<(), sqlx::Error> {
        if self.is_idle() {
            return Ok(());
        }
        // Before the rows: what comes after the closing is none of a stranger's.
        self.tell_of_closed_stores(pool, from, to).await?;
        let mut from = from;
        while from < to {
            let rows = auction_board::activity_since(pool, from, PAGE).await?;
            let Some(last) = rows.last() else { return Ok(()) };
            from = last.position;
            let topics = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            for row in rows {
                if let Some(topic) = topics.get(&AuctionId(row.auction_id)) {
                    // Nobody listens if the last socket has just gone.
                    let _ = topic.news.send(News::Row(Arc::new(row)));
                }
            }
        }
        Ok(())
    }

    async fn tell_of_closed_stores(&self, pool: &PgPool, from: Position, to: Position) -> Result<(), sqlx::Error> {
        let mut connection = pool.acquire().await?;
        let events = log::read_range(&mut connection, from, to, Interest::In(&[Store::TYPE])).await?;
        drop(connection);
        let closed: HashSet<AccountId> = events.iter().filter_map(|event| closed_store(event)).collect();
        if !closed.is_empty() {
            let topics = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            for topic in topics.values().filter(|topic| closed.contains(&topic.seller)) {
                let _ = topic.news.send(News::StoreClosed);
            }
        }
        Ok(())
    }

    fn is_idle(&self) -> bool {
        let mut topics = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        topics.retain(|_, topic| topic.news.receiver_count() > 0);
        topics.is_empty()
    }

    fn subscribe(&self, auction: AuctionId, seller: AccountId) -> broadcast::Receiver<News> {
        let mut topics = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let topic = topics.entry(auction).or_insert_with(|| Topic { seller, news: broadcast::Sender::new(BACKLOG) });
        topic.news.subscribe()
    }
}

/// Whose store an event closes, if it does.
fn closed_store(event: &RecordedEvent) -> Option<AccountId> {
    match event.decode() {
        Ok(DomainEvent::Store(seller, event)) => (event.closes() == Some(true)).then_some(seller),
        Ok(_) => None,
        // Better looked at anew than shown to others.
        Err(_) => Some(AccountId(event.aggregate_id.0)),
    }
}

/// How a socket is opened.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct Opening {
    /// From `/auth/ws-ticket`: who opens the socket. Without one it can only watch.
    ticket: Option<String>,
    /// The last sequence that the client has seen: the socket goes on after it, instead of from now.
    after: Option<i64>,
}

/// Watch an auction live, and bid on it. Opens a WebSocket.
///
/// The first message is `{"type": "state", "sequence", "auction"}`. Then comes one message per event, each with `type`
/// (`scheduled`, `opened`, `bid`, `extended`, `closed`, `cancelled`, `forfeited`, `second_chance_accepted`, and
/// `undisclosed`, which is none of the public's), `sequence` and `at`. A socket with a ticket may send
/// `{"type": "bid", "id", "maximum", "idempotency_key"}` and gets `{"type": "accepted" | "refused", "id"}` back. It is
/// closed with 1008 when the session is over, or when the auction is not shown any more to whoever has opened it.
#[utoipa::path(get, path = "/ws/auctions/{id}", tag = "Auctions", params(("id" = uuid::Uuid, Path), Opening, Waits),
    responses((status = SWITCHING_PROTOCOLS, description = "The socket is open"),
        (status = UNAUTHORIZED, description = "The ticket is not good"),
        (status = FORBIDDEN, description = "Pages of this origin may not open it"),
        (status = UPGRADE_REQUIRED, description = "Not a WebSocket")))]
pub(crate) async fn auction(
    State(app): State<App>,
    Extension(request): Extension<RequestId>,
    Id(id): Id<AuctionId>,
    read: Read<Opening>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let upgrade = upgrade.map_err(|_| {
        let detail = "This address opens a WebSocket.";
        Problem::new(StatusCode::UPGRADE_REQUIRED, "upgrade-required", "Not a WebSocket", detail)
            .with_header(axum::http::header::UPGRADE, "websocket")
    })?;
    if !origins::admits(&app.settings.http.origins, &headers) {
        let detail = "Pages of this origin may not open sockets here.";
        return Err(Problem::new(StatusCode::FORBIDDEN, "origin-not-allowed", "Origin not allowed", detail));
    }
    read.wait_for(&app, auction_board::MODEL.name).await?;
    let Opening { ticket, after } = read.query;
    let holder = match ticket {
        None => None,
        Some(ticket) => Some(Holder::of(&app, &ticket).await?),
    };
    let (row, _) = visible(&app, id, holder.as_ref().map(Holder::caller)).await?;
    let (seller, sender) = (AccountId(row.seller_id), request.sender());
    let watch = move |socket| async move {
        let _counted = Counted::begin();
        let watcher = Watcher { app, auction: id, seller, holder, sender, socket, shown: 0 };
        if let Err(error) = watcher.run(after).await {
            tracing::debug!(%error, "a socket ended");
        }
    };
    // The size of a frame too: a whole frame is read before the size of its message is looked at.
    Ok(upgrade.max_message_size(LARGEST_MESSAGE).max_frame_size(LARGEST_MESSAGE).on_upgrade(watch))
}

/// Counts one open socket until it is dropped.
struct Counted;

impl Counted {
    fn begin() -> Self {
        gauge!(SOCKETS).increment(1);
        Self
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        gauge!(SOCKETS).decrement(1);
    }
}

/// Why a socket ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("the client has gone: {0}")]
    Gone(#[from] axum::Error),
    #[error("the client does not read")]
    TooSlow,
    #[error("whoever has opened it may not see the auction any more")]
    Hidden,
    #[error("the table cannot be read: {0}")]
    Sql(#[from] sqlx::Error),
    #[error("the state cannot be shown")]
    Defect,
}

/// One socket.
struct Watcher {
    app: App,
    auction: AuctionId,
    /// Who sells there.
    seller: AccountId,
    /// In whose session it was opened, if they have said so.
    holder: Option<Holder>,
    /// Who has opened it, as far as the network tells.
    sender: Option<Sender>,
    socket: WebSocket,
    /// The last sequence that was sent.
    shown: i64,
}

impl Watcher {
    async fn run(mut self, after: Option<i64>) -> Result<(), Ended> {
        match self.watch(after).await {
            Err(Ended::Hidden) => self.close(close_code::POLICY, "the auction is not shown any more").await,
            ended => ended,
        }
    }

    async fn watch(&mut self, after: Option<i64>) -> Result<(), Ended> {
        // Before the state is read, so that nothing can happen between the two.
        let mut news = self.app.live.subscribe(self.auction, self.seller);
        let stop = self.app.closing.clone();
        self.send_state(after).await?;
        let mut ping = tokio::time::interval(PING_EVERY);
        loop {
            tokio::select! {
                () = stop.cancelled() => return self.close(close_code::AWAY, "the server stops").await,
                reason = end_of(self.holder.as_mut(), &self.app) => return self.close(close_code::POLICY, reason).await,
                _ = ping.tick() => self.send(Message::Ping(Vec::new().into())).await?,
                news = news.recv() => match news {
                    Ok(News::Row(row)) => self.show(&row).await?,
                    Ok(News::StoreClosed) => {
                        self.look().await?;
                    }
                    Err(RecvError::Lagged(_)) => {
                        // It may be that which was missed.
                        self.look().await?;
                        self.send_missed().await?;
                    }
                    Err(RecvError::Closed) => return Ok(()),
                },
                message = self.socket.recv() => match message {
                    None | Some(Ok(Message::Close(_))) => return Ok(()),
                    Some(Ok(Message::Text(text))) => self.answer(&text).await?,
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
        let (row, viewer) = self.look().await?;
        let sequence = row.version;
        let body = auction_body(&row, viewer, self.app.clock.now()).map_err(|_| Ended::Defect)?;
        self.send_json(&json!({ "type": "state", "sequence": sequence, "auction": body })).await?;
        // The client may have seen more on another node than this one's table shows: that is not sent again.
        self.shown = after.unwrap_or(sequence).max(0);
        self.send_missed().await
    }

    /// The auction, if whoever has opened the socket may still see it.
    async fn look(&mut self) -> Result<(auction_board::Auction, Option<Viewer>), Ended> {
        let seen = visible(&self.app, self.auction, self.holder.as_ref().map(Holder::caller)).await;
        seen.map_err(|problem| if problem.status() == StatusCode::NOT_FOUND { Ended::Hidden } else { Ended::Defect })
    }

    /// What is in the table after the last message that was sent.
    async fn send_missed(&mut self) -> Result<(), Ended> {
        loop {
            let rows = auction_board::activity_after(&self.app.pool, self.auction, self.shown, PAGE).await?;
            if rows.is_empty() {
                return Ok(());
            }
            for row in rows {
                self.show(&row).await?;
            }
        }
    }

    /// Sends the message of a row, unless it was sent before. After a gap the table is read.
    async fn show(&mut self, row: &Activity) -> Result<(), Ended> {
        if row.sequence <= self.shown {
            return Ok(());
        }
        if row.sequence > self.shown + 1 {
            return Box::pin(self.send_missed()).await;
        }
        self.shown = row.sequence;
        self.send_json(&message(row)).await
    }

    /// Does what the client asks for.
    async fn answer(&mut self, text: &str) -> Result<(), Ended> {
        let answer = match serde_json::from_str::<Asked>(text) {
            Ok(Asked::Bid { id, maximum, idempotency_key }) => {
                let request = RequestId::anew(self.sender);
                match place(&self.app, self.auction, self.account(), request, maximum, idempotency_key).await {
                    Ok(body) => json!({ "type": "accepted", "id": id, "bid": body }),
                    Err(problem) => refused(Some(&id), &problem),
                }
            }
            Err(error) => refused(None, &Problem::bad_request("malformed-message", error.to_string())),
        };
        self.send_json(&answer).await
    }

    fn account(&self) -> Option<AccountId> {
        self.holder.as_ref().map(Holder::account)
    }

    async fn send_json(&mut self, value: &Value) -> Result<(), Ended> {
        self.send(Message::Text(value.to_string().into())).await
    }

    async fn send(&mut self, message: Message) -> Result<(), Ended> {
        match tokio::time::timeout(SEND_PATIENCE, self.socket.send(message)).await {
            Ok(sent) => Ok(sent?),
            Err(_) => Err(Ended::TooSlow),
        }
    }

    async fn close(&mut self, code: u16, reason: &'static str) -> Result<(), Ended> {
        self.send(Message::Close(Some(CloseFrame { code, reason: reason.into() }))).await
    }
}

/// Places a bid that has arrived over a socket.
async fn place(
    app: &App,
    auction: AuctionId,
    account: Option<AccountId>,
    request: RequestId,
    maximum: Money,
    key: Option<String>,
) -> Result<Value, Problem> {
    let account = account
        .ok_or_else(|| Problem::unauthenticated("This socket was opened without a ticket, and can only watch."))?;
    app.limits.account(account)?;
    let metadata = request.stamp(Metadata::by_account(account));
    let request = match key {
        None => Request::once(metadata),
        Some(text) => {
            let text = checked_key(&text)?.to_owned();
            let asked = ["BID", &auction.to_string(), &json!(maximum).to_string()];
            let key = account_key(app, account, &text, &asked);
            Request::keyed(metadata.with("command_key", text), key)
        }
    };
    let accepted = bid(app, auction, account, maximum, None, request).await?;
    let mut body = json!(accepted.value);
    body["position"] = accepted.position.into();
    Ok(body)
}

/// What a client may ask over the socket.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
enum Asked {
    /// A bid. `id` comes back with the answer.
    Bid { id: String, maximum: Money, idempotency_key: Option<String> },
}

fn refused(id: Option<&str>, problem: &Problem) -> Value {
    json!({ "type": "refused", "id": id, "problem": problem.document(&mint::id().to_string()) })
}

/// The public message of an event: what the projection tells, with names for pseudonyms.
fn message(row: &Activity) -> Value {
    let told = json!(row.message.0);
    let mut message = told["data"].clone();
    message["type"] = told["kind"].clone();
    message["sequence"] = json!(row.sequence);
    message["at"] = json!(row.at);
    for role in ["bidder", "leader", "outbid", "winner"] {
        if let Some(number) = message.get(role).and_then(Value::as_i64) {
            message[role] = json!(alias(number));
        }
    }
    message
}
