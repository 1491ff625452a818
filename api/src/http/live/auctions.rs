//! Auctions as they go, and bidding over a socket.

use std::collections::HashSet;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use domain::store::Store;
use domain::{AccountId, Aggregate, AuctionId, Money};
use eventstore::event::{DomainEvent, Interest, RecordedEvent};
use eventstore::{Position, log};
use projections::auction_board::{self, Activity};
use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::PgPool;

use super::hub::{Channel, Hub, Place};
use super::socket::{Ended, Show, refused, unreadable};
use super::visit::{Opening, Visit, Visitor};
use crate::app::App;
use crate::http::extract::Id;
use crate::http::openapi::Waits;
use crate::http::problem::Problem;
use crate::http::routes::auctions::{Viewer, alias, auction_body, bid, visible};

/// The messages of auctions.
pub(super) struct Auctions;

impl Channel for Auctions {
    type Topic = AuctionId;
    type Row = Activity;

    const MODEL: &'static str = auction_board::MODEL.name;
    const BACKLOG: usize = 256;
    const GAPLESS: bool = true;

    fn hub(app: &App) -> &Hub<Self> {
        &app.live.auctions
    }

    async fn since(pool: &PgPool, position: Position, limit: u32) -> Result<Vec<Activity>, sqlx::Error> {
        auction_board::activity_since(pool, position, limit).await
    }

    async fn after(pool: &PgPool, id: AuctionId, sequence: i64, limit: u32) -> Result<Vec<Activity>, sqlx::Error> {
        auction_board::activity_after(pool, id, sequence, limit).await
    }

    /// What is the stores' that were closed.
    async fn withdrawn(pool: &PgPool, from: Position, to: Position) -> Result<HashSet<AccountId>, sqlx::Error> {
        let mut connection = pool.acquire().await?;
        let events = log::read_range(&mut connection, from, to, Interest::In(&[Store::TYPE])).await?;
        Ok(events.iter().filter_map(|event| closed_store(event)).collect())
    }

    fn place(row: &Activity) -> Place<AuctionId> {
        Place { topic: AuctionId(row.auction_id), sequence: row.sequence, position: row.position }
    }

    /// What the projection tells, with names for pseudonyms.
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
pub(crate) async fn auction(State(app): State<App>, Id(id): Id<AuctionId>, visit: Visit) -> Result<Response, Problem> {
    let identified = visit.identify::<Auctions>(app.clone()).await?;
    let (row, _) = visible(&app, id, identified.visitor.caller()).await?;
    Ok(identified.show(OneAuction { id, seller: AccountId(row.seller_id) }))
}

/// What a socket of one auction shows.
struct OneAuction {
    id: AuctionId,
    seller: AccountId,
}

impl OneAuction {
    /// The auction, if whoever has opened the socket may still see it.
    async fn seen(&self, visitor: &Visitor) -> Result<(auction_board::Auction, Option<Viewer>), Ended> {
        let seen = visible(&visitor.app, self.id, visitor.caller()).await;
        seen.map_err(|problem| if problem.status() == StatusCode::NOT_FOUND { Ended::Hidden } else { Ended::Defect })
    }
}

impl Show for OneAuction {
    type Channel = Auctions;

    const LARGEST_MESSAGE: usize = 4_096;

    fn topic(&self) -> AuctionId {
        self.id
    }

    fn owner(&self) -> Option<AccountId> {
        Some(self.seller)
    }

    async fn look(&mut self, visitor: &Visitor) -> Result<(), Ended> {
        self.seen(visitor).await.map(drop)
    }

    async fn state(&mut self, visitor: &Visitor) -> Result<(i64, Value), Ended> {
        let (row, viewer) = self.seen(visitor).await?;
        let body = auction_body(&row, viewer, visitor.app.clock.now()).map_err(|_| Ended::Defect)?;
        Ok((row.version, json!({ "type": "state", "sequence": row.version, "auction": body })))
    }

    async fn answer(&mut self, visitor: &Visitor, asked: &str) -> Option<Value> {
        Some(match serde_json::from_str(asked) {
            Ok(Asked::Bid { id, maximum, idempotency_key }) => {
                match place(visitor, self.id, maximum, idempotency_key).await {
                    Ok(body) => json!({ "type": "accepted", "id": id, "bid": body }),
                    Err(problem) => refused(Some(&id), &problem),
                }
            }
            Err(error) => unreadable(&error),
        })
    }
}

/// What a client may ask over the socket.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
enum Asked {
    /// A bid. `id` comes back with the answer.
    Bid { id: String, maximum: Money, idempotency_key: Option<String> },
}

/// Places a bid that has arrived over a socket.
async fn place(visitor: &Visitor, auction: AuctionId, maximum: Money, key: Option<String>) -> Result<Value, Problem> {
    let account = visitor
        .account()
        .ok_or_else(|| Problem::unauthenticated("This socket was opened without a ticket, and can only watch."))?;
    let asked = ["BID", &auction.to_string(), &json!(maximum).to_string()];
    let request = visitor.request(account, key, &asked)?;
    let accepted = bid(&visitor.app, auction, account, maximum, None, request).await?;
    let mut body = json!(accepted.value);
    body["position"] = accepted.position.into();
    Ok(body)
}
