//! Whether the server is alive, and how its parts are.

use axum::Json;
use axum::extract::State;
use eventstore::Position;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::http::problem::Problem;

const TAG: &str = "Health";

/// The routes of this file.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(health)).routes(routes!(detailed))
}

/// The server is alive.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct Health {
    #[schema(example = "ok")]
    status: &'static str,
}

/// Whether the server is alive. Says nothing about its database.
#[utoipa::path(get, path = "/health", tag = TAG, responses((status = OK, body = Health, description = "Alive")))]
async fn health() -> Json<Health> {
    Json(Health { status: "ok" })
}

/// How the parts are.
#[derive(Debug, Serialize, ToSchema)]
pub struct Details {
    #[schema(example = "ok")]
    status: &'static str,
    /// `ok`; otherwise the answer is a problem.
    #[schema(example = "ok")]
    database: &'static str,
    /// The position of the last event.
    head: Option<Position>,
    /// How far each read model and process has followed.
    followers: Vec<FollowerHealth>,
}

/// How far one follower is.
#[derive(Debug, Serialize, ToSchema)]
pub struct FollowerHealth {
    name: &'static str,
    position: Position,
    /// Events that it has yet to take in.
    lag: Position,
}

/// A lag of more events than this is not just the moment between a command and its projection.
const LAG_LIMIT: Position = 10_000;

/// How the database and the followers are. 503 when something is wrong.
#[utoipa::path(get, path = "/health/detailed", tag = TAG,
    responses((status = OK, body = Details, description = "All is well")))]
async fn detailed(State(app): State<App>) -> Result<Json<Details>, Problem> {
    let head = eventstore::log::head(&app.pool).await.ok();
    let reachable = head.is_some() && app.engine.is_available();
    let followers: Vec<_> = crate::app::followers()
        .map(|name| {
            let position = app.progress.position(name);
            FollowerHealth { name, position, lag: head.map_or(0, |head| (head - position).max(0)) }
        })
        .collect();
    let well = reachable && followers.iter().all(|follower| follower.lag <= LAG_LIMIT);
    let database = if reachable { "ok" } else { "unavailable" };
    if well {
        return Ok(Json(Details { status: "ok", database, head, followers }));
    }
    let problem = Problem::unavailable("The database is away, or a follower is far behind.");
    Err(problem.with("database", database).with("head", head).with("followers", json!(followers)))
}
