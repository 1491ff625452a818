//! Auctions as they go, and bidding over a socket.

use axum::extract::State;
use axum::response::Response;
use domain::{AuctionId, Money};
use eventstore::Position;
use projections::auction_board::{self, Activity, Seen};
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

/// Watch an auction live, and bid on it. Opens a WebSocket.
///
/// The first message is `{"type": "state", "sequence", "auction"}`. Then comes one message per event, each with `type`
/// (`scheduled`, `opened`, `bid`, `extended`, `closed`, `cancelled`, `forfeited`, `second_chance_accepted`, and
/// `undisclosed`, which is none of the public's), `sequence` and `at`. A socket with a ticket may send
/// `{"type": "bid", "id", "maximum", "idempotency_key"}` and gets `{"type": "accepted" | "refused", "id"}` back.
#[utoipa::path(get, path = "/ws/auctions/{id}", tag = "Auctions", params(("id" = uuid::Uuid, Path), Opening, Waits),
    responses((status = SWITCHING_PROTOCOLS, description = "The socket is open"),
        (status = UNAUTHORIZED, description = "The ticket is not good"),
        (status = FORBIDDEN, description = "Pages of this origin may not open it"),
        (status = UPGRADE_REQUIRED, description = "Not a WebSocket")))]
pub(crate) async fn auction(State(app): State<App>, Id(id): Id<AuctionId>, visit: Visit) -> Result<Response, Problem> {
    let identified = visit.identify::<Auctions>(app.clone()).await?;
    visible(&app, id, identified.visitor.caller()).await?;
    Ok(identified.show(OneAuction(id)))
}

/// What a socket of one auction shows.
struct OneAuction(AuctionId);

impl Show for OneAuction {
    type Channel = Auctions;

    const LARGEST_MESSAGE: usize = 4_096;

    fn topic(&self) -> AuctionId {
        self.0
    }

    async fn state(&mut self, visitor: &Visitor) -> Result<(i64, Value), Ended> {
        let (app, account) = (&visitor.app, visitor.account());
        let seen = auction_board::seen_by(&app.pool, self.0, account).await?;
        let Seen { auction: row, alias, .. } = seen.ok_or(Ended::Defect)?;
        let viewer = account.map(|account| Viewer { account, alias });
        let body = auction_body(&row, viewer, app.clock.now()).map_err(|_| Ended::Defect)?;
        Ok((row.version, json!({ "type": "state", "sequence": row.version, "auction": body })))
    }

    async fn answer(&mut self, visitor: &Visitor, asked: &str) -> Option<Value> {
        Some(match serde_json::from_str(asked) {
            Ok(Asked::Bid { id, maximum, idempotency_key }) => {
                match place(visitor, self.0, maximum, idempotency_key).await {
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
