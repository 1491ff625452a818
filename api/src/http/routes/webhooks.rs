//! What payment providers say by themselves.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use commands::payments::{BadWebhook, Headers};
use eventstore::clock::Clock;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::http::extract::{Id, Slug, read_bytes};
use crate::http::problem::Problem;

const TAG: &str = "Payments";

/// The routes of this file.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(take))
}

/// A webhook that was taken in, now or before.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct WebhookTaken {
    /// Of how many things it tells.
    #[schema(example = 1)]
    notices: usize,
}

/// Takes in what a payment provider says: signed over the body as it came, with the time, which may be 300 s from now at
/// the most. Sent again it is answered as before and does nothing; in whichever order they come, the same comes of them.
#[utoipa::path(post, path = "/payments/webhooks/{provider}", tag = TAG,
    params(("provider" = String, Path, pattern = "^[a-z0-9-]{1,64}$"),
        ("Tradepost-Signature" = Option<String>, Header, description = "Of the sandbox: `t=<unix seconds>,v1=<hex>`"),
        ("Stripe-Signature" = Option<String>, Header, description = "Of Stripe, the same")),
    request_body(content = serde_json::Value, content_type = "application/json"),
    responses((status = OK, body = WebhookTaken, description = "Taken in"),
        (status = FORBIDDEN, description = "It is not signed as it must be, or not now"),
        (status = CONFLICT, description = "The same is being taken in")))]
async fn take(
    State(app): State<App>,
    Id(Slug(provider)): Id<Slug>,
    request: Request,
) -> Result<Json<WebhookTaken>, Problem> {
    let absent = || Problem::not_found("payment provider");
    let provider = app.providers.named(&provider).ok_or_else(absent)?.clone();
    let headers: Headers =
        request.headers().iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?))).collect();
    let body = read_bytes(request, &app).await?;
    let read = provider.read_webhook(&headers, &body, Clock::real_now());
    let notices = read.map_err(|bad| {
        tracing::warn!(provider = provider.name(), %bad, "a webhook is not listened to");
        match bad {
            BadWebhook::NotTaken => absent(),
            BadWebhook::Unsigned
            | BadWebhook::WrongSignature
            | BadWebhook::Stale { .. }
            | BadWebhook::Unreadable(_) => not_accepted(),
        }
    })?;
    let taken = WebhookTaken { notices: notices.len() };
    let payments = app.payments();
    for notice in notices {
        payments.take(provider.name(), notice).await?;
    }
    Ok(Json(taken))
}

/// Whoever forges one is told no more.
fn not_accepted() -> Problem {
    let detail = "The webhook is not signed as it must be, or not now, or cannot be read.";
    Problem::new(StatusCode::FORBIDDEN, "webhook-not-accepted", "Webhook not accepted", detail)
}
