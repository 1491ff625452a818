//! Metrics on the main address, for staff. Prometheus itself has an address of its own, `metrics.bind`.

use axum::extract::State;
use axum::http::HeaderName;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::http::problem::Problem;
use crate::observe::metrics;

/// The route of this file.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(show))
}

/// The metrics of this node, in the text format of Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "Administration", security(("bearer" = ["staff"])),
    responses((status = OK, body = String, content_type = "text/plain", description = "The metrics")))]
async fn show(State(app): State<App>) -> Result<([(HeaderName, &'static str); 1], String), Problem> {
    Ok(metrics::text(metrics::render(&app).await))
}
