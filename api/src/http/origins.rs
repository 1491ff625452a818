//! What browsers are told: which other pages may use the API, and that nothing may be made of an answer but what it is.
//!
//! A page of another origin may use the API if its origin is listed, exactly. It sends the access token itself, never a
//! cookie, so no answer allows credentials. Sockets are not covered by that: a browser opens them for any page, and only
//! tells whose, so whoever opens one is asked [`admits`].

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use axum::response::{IntoResponse, Response};
use tower::{Layer, ServiceExt, service_fn};
use tower_http::cors::CorsLayer;

use super::paths::DOCS;
use super::problem::Problem;
use crate::config::Origins;
use crate::forward::Forwarded;

/// How long a browser may remember what it was told of an origin.
const REMEMBERED: Duration = Duration::from_hours(1);

/// Nothing may be loaded by what is an answer and no page.
const OF_ANSWERS: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
/// The documentation is files of ours; its program writes styles and pictures into the page.
const OF_DOCS: HeaderValue = HeaderValue::from_static(
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; base-uri 'none'; frame-ancestors 'none'",
);
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// What browsers are told here. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Browsers {
    /// Nothing if no origin is listed.
    sharing: Option<Arc<CorsLayer>>,
}

impl Browsers {
    pub(super) fn new(origins: &Origins) -> Self {
        let named: Vec<_> = origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok()).collect();
        let sharing = (!named.is_empty()).then(|| Arc::new(sharing(named)));
        Self { sharing }
    }
}

fn sharing(origins: Vec<HeaderValue>) -> CorsLayer {
    let named = |name| HeaderName::from_static(name);
    CorsLayer::new()
        .allow_origin(origins)
        .allow_methods([Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::IF_MATCH,
            header::IF_NONE_MATCH,
            named("idempotency-key"),
            named("tradepost-min-position"),
            named("traceparent"),
        ])
        .expose_headers([
            header::ETAG,
            header::LOCATION,
            header::RETRY_AFTER,
            header::WWW_AUTHENTICATE,
            named("idempotency-replayed"),
            named("tradepost-position"),
            named("x-request-id"),
        ])
        .max_age(REMEMBERED)
}

/// Answers what a browser asks before it sends a request of another page, and tells it of every answer what it may do
/// with it.
pub(super) async fn protect(
    browsers: &Browsers,
    request: Request,
    next: impl AsyncFnOnce(Request) -> Response,
) -> Response {
    if request.extensions().get::<Forwarded>().is_some() {
        // The node that has handed it on tells that itself.
        return next(request).await;
    }
    let is_docs = request.uri().path().strip_prefix(DOCS).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let is_personal = request.headers().contains_key(header::AUTHORIZATION);
    let mut response = match browsers.sharing.as_ref().filter(|_| is_shared(&request)) {
        None => next(request).await,
        Some(sharing) => share(sharing, request, next).await,
    };
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(header::CONTENT_SECURITY_POLICY, if is_docs { OF_DOCS } else { OF_ANSWERS });
    if is_personal {
        headers.entry(header::CACHE_CONTROL).or_insert(NO_STORE);
    }
    response
}

/// Answers a question for permission; whatever else is asked is answered behind, and its answer tells who may read it.
async fn share(sharing: &CorsLayer, request: Request, next: impl AsyncFnOnce(Request) -> Response) -> Response {
    let mut next = Some(next);
    let behind = service_fn(|request| {
        let next = next.take();
        async move {
            Ok::<_, Infallible>(match next {
                Some(next) => next(request).await,
                None => Problem::internal().into_response(), // One request, one question.
            })
        }
    });
    let Ok(response) = sharing.layer(behind).oneshot(request).await;
    response
}

/// All but an OPTIONS that no browser asks in advance: which methods a route has, the route tells itself.
fn is_shared(request: &Request) -> bool {
    let asked = [header::ORIGIN, header::ACCESS_CONTROL_REQUEST_METHOD];
    *request.method() != Method::OPTIONS || asked.iter().all(|name| request.headers().contains_key(name))
}

/// Whether a socket may be opened: by whatever is no browser, by our own pages, and by those of a listed origin.
pub(super) fn admits(origins: &Origins, headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let Ok(origin) = origin.to_str() else { return false };
    origins.contain(origin) || is_own(origin, headers)
}

/// Whether an origin is where the request went. Not told by the scheme: a proxy may have taken TLS off.
fn is_own(origin: &str, headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).and_then(|host| host.parse().ok());
    let uri = origin.parse::<Uri>().ok();
    let Some((host, uri)) = host.zip(uri) else { return false };
    let usual = if uri.scheme_str() == Some("https") { 443 } else { 80 };
    let place = |authority: &Authority| (authority.host().to_lowercase(), authority.port_u16().unwrap_or(usual));
    uri.authority().is_some_and(|origin| place(origin) == place(&host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_opened_by_no_browser_by_our_own_pages_and_by_listed_ones() {
        let origins = "https://shop.example".parse().unwrap();
        let admits = |host: &'static str, origin: Option<&'static str>| {
            let mut headers = HeaderMap::from_iter([(header::HOST, HeaderValue::from_static(host))]);
            headers.extend(origin.map(|origin| (header::ORIGIN, HeaderValue::from_static(origin))));
            admits(&origins, &headers)
        };
        for (host, origin, admitted) in [
            ("api.example", None, true),
            ("api.example", Some("https://shop.example"), true),
            ("api.example", Some("https://api.example"), true),
            ("api.example:443", Some("https://api.example"), true),
            ("API.example:8080", Some("http://api.example:8080"), true),
            ("[::1]:8080", Some("http://[::1]:8080"), true),
            ("api.example:8080", Some("http://api.example"), false),
            ("api.example", Some("http://shop.example"), false),
            ("api.example", Some("https://api.example.evil"), false),
            ("api.example", Some("https://evil"), false),
            ("api.example", Some("null"), false),
            ("api.example", Some(""), false),
            ("", Some("https://evil"), false),
        ] {
            assert_eq!(admits(host, origin), admitted, "{host} {origin:?}");
        }
    }
}
