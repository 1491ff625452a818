//! Whether the server is alive, and how its parts are.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::http::problem::Problem;
use crate::observe::health::{self, Details, Status};

const TAG: &str = "Health";

/// The routes of this file.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(alive)).routes(routes!(detailed))
}

/// The server is alive.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct Health {
    #[schema(example = "ok")]
    status: &'static str,
}

/// Whether the server is alive. Says nothing about its database.
#[utoipa::path(get, path = "/health", tag = TAG, responses((status = OK, body = Health, description = "Alive")))]
async fn alive() -> Json<Health> {
    Json(Health { status: "ok" })
}

/// How the parts are, and since when. 503 when one is failing, with the same `parts`.
#[utoipa::path(get, path = "/health/detailed", tag = TAG,
    responses((status = OK, body = Details, description = "All is well, or something is late")))]
async fn detailed(State(app): State<App>) -> Result<Json<Details>, Problem> {
    let details = health::look(&app).await;
    if details.status < Status::Failing {
        return Ok(Json(details));
    }
    let failing = details.parts.iter().filter(|part| part.status == Status::Failing).map(|part| part.part);
    let detail = format!("Failing: {}.", failing.collect::<Vec<_>>().join(", "));
    let Details { parts, head, followers, .. } = details;
    Err(Problem::unavailable(detail).with("parts", json!(parts)).with("head", head).with("followers", json!(followers)))
}
