//! Answering: a single thing with its ETag, a page, or what a command did with its position.

use axum::Json;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use commands::Accepted;
use eventstore::Position;
use serde::Serialize;
use serde_json::Value;

use super::problem::POSITION_HEADER;

/// Tells that an answer was given before under the same `Idempotency-Key`.
const REPLAYED_HEADER: HeaderName = HeaderName::from_static("idempotency-replayed");

/// The answer to an accepted command: its body with `position`, which is in a header too.
#[derive(Debug)]
pub struct Done<T> {
    status: StatusCode,
    accepted: Accepted<T>,
    version: Option<u64>,
    location: Option<String>,
}

impl<T> Done<T> {
    /// Carried out.
    pub fn ok(accepted: Accepted<T>) -> Self {
        Self { status: StatusCode::OK, accepted, version: None, location: None }
    }

    /// Something new is at `location`.
    pub fn created(accepted: Accepted<T>, location: String) -> Self {
        Self { status: StatusCode::CREATED, location: Some(location), ..Self::ok(accepted) }
    }

    /// Begun; how it ends is told elsewhere.
    pub fn begun(accepted: Accepted<T>) -> Self {
        Self { status: StatusCode::ACCEPTED, ..Self::ok(accepted) }
    }

    /// The same, with the version that the thing now has, as ETag. Only where the last event of the command is certain to
    /// be the thing's own: an ETag names the position of its last change.
    #[must_use]
    pub fn at_version(self, version: u64) -> Self {
        Self { version: Some(version), ..self }
    }
}

impl<T: Serialize> IntoResponse for Done<T> {
    fn into_response(self) -> Response {
        let Self { status, accepted, version, location } = self;
        let position = accepted.position;
        // Answers are plain structs, which always serialise.
        let mut body = serde_json::to_value(&accepted.value).unwrap_or_default();
        if let Value::Object(fields) = &mut body {
            fields.insert("position".to_owned(), position.into());
        }
        let mut response = (status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(POSITION_HEADER, position.into());
        headers.extend(version.and_then(|version| etag(version, position)));
        headers.extend(location.and_then(|path| Some((header::LOCATION, HeaderValue::from_str(&path).ok()?))));
        if accepted.replayed {
            headers.insert(REPLAYED_HEADER, HeaderValue::from_static("true"));
        }
        response
    }
}

/// A single thing, with its version and the position of its last change as ETag.
#[derive(Debug)]
pub struct One<T> {
    /// The thing.
    pub body: T,
    /// Its version.
    pub version: u64,
    /// The position of its last change.
    pub position: Position,
}

impl<T> One<T> {
    /// Word to a client that has this version of it already.
    pub fn unchanged(version: u64, position: Position) -> Response {
        let mut response = StatusCode::NOT_MODIFIED.into_response();
        response.headers_mut().extend(etag(version, position));
        kept_by_whoever_asks(response.headers_mut());
        response
    }
}

impl<T: Serialize> IntoResponse for One<T> {
    fn into_response(self) -> Response {
        let mut response = Json(self.body).into_response();
        response.headers_mut().extend(etag(self.version, self.position));
        kept_by_whoever_asks(response.headers_mut());
        response
    }
}

/// An answer to be kept by whoever asked for it, and asked about before it is shown again.
pub(super) fn kept_by_whoever_asks(headers: &mut HeaderMap) {
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    headers.insert(header::VARY, HeaderValue::from_static("Authorization"));
}

fn etag(version: u64, position: Position) -> Option<(HeaderName, HeaderValue)> {
    let value = HeaderValue::from_str(&format!("\"{version}.{position}\""));
    value.ok().map(|value| (header::ETAG, value))
}
