//! What every request gets: an id, a span, a time limit; and every error, whoever made it, becomes a problem.

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use eventstore::mint;
use futures::FutureExt;
use tracing::Instrument;

use super::problem::Problem;
use crate::app::App;

/// The id of a request: `instance` of a problem, `correlation` of its events, `x-request-id` of its answer.
#[derive(Clone, Debug)]
pub(super) struct RequestId(pub(super) String);

pub(super) async fn wrap(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let id = mint::id().to_string();
    request.extensions_mut().insert(RequestId(id.clone()));
    let span = tracing::info_span!("request", id, method = %request.method(), path = request.uri().path());
    let began = Instant::now();
    let limit = Duration::from_millis(app.settings.http.request_timeout_ms);
    let answer =
        tokio::time::timeout(limit, AssertUnwindSafe(next.run(request)).catch_unwind()).instrument(span.clone());
    let response = match answer.await {
        Ok(Ok(response)) => response,
        Ok(Err(_)) => {
            tracing::error!(parent: &span, "a handler panicked");
            Problem::internal().into_response()
        }
        Err(_) => Problem::unavailable("The answer took too long.").into_response(),
    };
    let mut response = as_problem(response, &id);
    tracing::debug!(parent: &span, status = response.status().as_u16(), took_us = began.elapsed().as_micros(), "answered");
    let headers = response.headers_mut();
    headers.extend(HeaderValue::from_str(&id).map(|id| (header::HeaderName::from_static("x-request-id"), id)));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Renders a problem, and makes one of an error that some library answered.
fn as_problem(mut response: Response, id: &str) -> Response {
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        let mut rendered = problem.render(id);
        // What a library has added, such as `Allow`, stays.
        for (name, value) in response.headers() {
            if name != header::CONTENT_LENGTH && name != header::CONTENT_TYPE {
                rendered.headers_mut().insert(name, value.clone());
            }
        }
        return rendered;
    }
    let status = response.status();
    if !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let problem = match status {
        StatusCode::PAYLOAD_TOO_LARGE => Problem::new(status, "too-large", "Too large", "The body is too large."),
        StatusCode::UPGRADE_REQUIRED | StatusCode::BAD_REQUEST => {
            Problem::new(status, "bad-request", "The request cannot be read", "This is not what was expected here.")
        }
        status if status.is_client_error() => Problem::new(
            status,
            "client-error",
            "The request cannot be answered",
            "This is not what was expected here.",
        ),
        _ => Problem::internal(),
    };
    problem.render(id)
}
