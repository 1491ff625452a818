//! What somebody is told, as it happens.

use axum::extract::State;
use axum::response::Response;
use domain::AccountId;
use eventstore::Position;
use projections::notifications::{self as told, New, Shown};
use serde_json::{Value, json};
use sqlx::PgPool;
use uuid::Uuid;

use super::hub::{Channel, Hub, Place, Reach};
use super::socket::{Ended, Show, refused};
use super::visit::{Opening, Visit, Visitor};
use crate::app::App;
use crate::http::openapi::Waits;
use crate::http::problem::Problem;
use crate::http::routes::notifications::body;

/// What is told.
pub(super) struct Notifications;

/// What of it a socket shows: its own, or several's, of which it looks up its own.
pub(super) enum Row {
    Own(AccountId, Shown),
    Shared { recipient: Uuid, reach: Reach, position: Position },
}

impl From<New> for Row {
    fn from(new: New) -> Self {
        let reach = if new.is_for_everybody() { Reach::All } else { Reach::Some };
        let New { recipient, shared, shown } = new;
        if shared {
            Self::Shared { recipient, reach, position: shown.position }
        } else {
            Self::Own(AccountId(recipient), shown)
        }
    }
}

impl Channel for Notifications {
    type Topic = AccountId;
    type Row = Row;

    const MODEL: &'static str = told::MODEL.name;
    const BACKLOG: usize = 16;
    const GAPLESS: bool = false;

    fn hub(app: &App) -> &Hub<Self> {
        &app.live.notifications
    }

    async fn since(pool: &PgPool, position: Position, limit: u32) -> Result<Vec<Row>, sqlx::Error> {
        Ok(told::since(pool, position, limit).await?.into_iter().map(Row::from).collect())
    }

    async fn after(pool: &PgPool, account: AccountId, sequence: i64, limit: u32) -> Result<Vec<Row>, sqlx::Error> {
        let shown = told::after(pool, account, sequence, limit).await?;
        Ok(shown.into_iter().map(|shown| Row::Own(account, shown)).collect())
    }

    fn place(row: &Row) -> Place<AccountId> {
        match row {
            Row::Own(topic, shown) => Place { topic: *topic, sequence: shown.position, position: shown.position },
            // Nobody's alone.
            Row::Shared { position, .. } => {
                Place { topic: AccountId(Uuid::nil()), sequence: *position, position: *position }
            }
        }
    }

    fn message(row: &Row) -> Value {
        match row {
            Row::Own(_, shown) => {
                let body = body(shown).map(|body| json!(body)).unwrap_or_default();
                json!({ "type": "notification", "sequence": shown.position, "notification": body })
            }
            Row::Shared { .. } => Value::Null,
        }
    }

    fn reach(row: &Row) -> Reach {
        match row {
            Row::Own(..) => Reach::Topic,
            Row::Shared { reach, .. } => *reach,
        }
    }

    async fn concerned(pool: &PgPool, row: &Row, accounts: Vec<AccountId>) -> Result<Vec<AccountId>, sqlx::Error> {
        match row {
            Row::Own(account, _) => Ok(vec![*account]),
            Row::Shared { recipient, .. } => told::holders(pool, *recipient, &accounts).await,
        }
    }
}

/// Be told at once. Opens a WebSocket, which takes a ticket.
///
/// The first message is `{"type": "state", "sequence", "unread"}`. Then comes `{"type": "notification", "sequence",
/// "notification"}` for everything that the account is told, unless it does not want to hear of it here. Sequences rise,
/// with gaps: `after` takes the last that was seen. Nothing can be sent but pings.
#[utoipa::path(get, path = "/ws/notifications", tag = "Notifications", params(Opening, Waits),
    responses((status = SWITCHING_PROTOCOLS, description = "The socket is open"),
        (status = UNAUTHORIZED, description = "There is no ticket, or it is not good"),
        (status = FORBIDDEN, description = "Pages of this origin, or blocked accounts, may not open it"),
        (status = UPGRADE_REQUIRED, description = "Not a WebSocket")))]
pub(crate) async fn notifications(State(app): State<App>, visit: Visit) -> Result<Response, Problem> {
    let identified = visit.identify::<Notifications>(app).await?;
    let account = identified.visitor.known()?.account;
    Ok(identified.show(OnesOwn(account)))
}

/// What a socket of one account shows.
struct OnesOwn(AccountId);

impl Show for OnesOwn {
    type Channel = Notifications;

    const LARGEST_MESSAGE: usize = 4_096;

    fn topic(&self) -> AccountId {
        self.0
    }

    async fn state(&mut self, visitor: &Visitor) -> Result<(i64, Value), Ended> {
        let pool = &visitor.app.pool;
        let (sequence, unread) = (told::newest(pool, self.0).await?, told::unread(pool, self.0).await?);
        Ok((sequence, json!({ "type": "state", "sequence": sequence, "unread": unread })))
    }

    async fn answer(&mut self, _: &Visitor, _: &str) -> Option<Value> {
        Some(refused(None, &Problem::bad_request("malformed-message", "Nothing is asked over this socket.")))
    }
}
