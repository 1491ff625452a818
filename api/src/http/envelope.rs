//! What every request gets: a sender, an id, a span, a time limit; and every error, whoever made it, becomes a problem.

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{ConnectInfo, MatchedPath, Request};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use eventstore::event::Metadata;
use eventstore::mint;
use eventstore::trace::Traced;
use futures::FutureExt;
use metrics::{counter, histogram};
use opentelemetry::KeyValue;
use opentelemetry::context::FutureExt as _;
use tracing::Instrument;

use super::problem::Problem;
use super::routes::no_such_route;
use super::sender::Sender;
use crate::app::App;
use crate::observe::metrics::{HTTP_REQUESTS, HTTP_SECONDS};

/// The id of a request: `instance` of a problem, `correlation` of its events, `x-request-id` of its answer. It knows who
/// sends the request, which its events tell too.
#[derive(Clone, Debug, Default)]
pub(crate) struct RequestId {
    id: String,
    /// Unknown of what came over no connection.
    sender: Option<Sender>,
}

/// The place in a trace that a request is at.
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Marks an answer that another node has given: it is passed on as it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rendered;

impl RequestId {
    /// The id that another node has given a request, and who sent it there.
    pub(crate) fn named(id: &str, sender: Option<Sender>) -> Self {
        Self { id: id.to_owned(), sender }
    }

    /// An id for what somebody asks now.
    pub(crate) fn anew(sender: Option<Sender>) -> Self {
        Self { id: mint::id().to_string(), sender }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.id
    }

    pub(crate) fn sender(&self) -> Option<Sender> {
        self.sender
    }

    /// Says of a command's events which request they come from and, as far as that may be kept, who sent it.
    pub(crate) fn stamp(self, metadata: Metadata) -> Metadata {
        let metadata = metadata.with("correlation", self.id);
        match self.sender {
            Some(sender) => metadata.with("ip", sender.prefix()).with("agent", sender.agent().to_string()),
            None => metadata,
        }
    }
}

pub(super) async fn wrap(app: &App, mut request: Request, next: impl AsyncFnOnce(Request) -> Response) -> Response {
    let RequestId { id, .. } = identify(app, &mut request);
    let uri = request.uri().clone();
    let (method, route) = (known(request.method()), route(&request));
    let traced = begin_trace(&request, method, &route, &id);
    let trace_id = traced.as_ref().map(Traced::trace_id);
    // Another node to which it is handed on goes on from here.
    if let Some(place) = traced.as_ref().and_then(|traced| HeaderValue::from_str(&traced.traceparent()).ok()) {
        request.headers_mut().insert(TRACEPARENT, place);
    }
    let span = tracing::info_span!("request", id, method = %request.method(), path = told(uri.path()), trace_id);
    let (request, awaited) = Awaited::of(request);
    let began = Instant::now();
    let limit = Duration::from_millis(app.settings.http.request_timeout_ms);
    let context = traced.as_ref().map(Traced::context).unwrap_or_default();
    let answer = AssertUnwindSafe(next(request)).catch_unwind().with_context(context);
    let answer = tokio::time::timeout(limit, answer).instrument(span.clone());
    let response = match answer.await {
        Ok(Ok(response)) => response,
        Ok(Err(_)) => {
            tracing::error!(parent: &span, "a handler panicked");
            Problem::internal().into_response()
        }
        Err(_) if awaited.load(Ordering::Relaxed) => body_too_slow().into_response(),
        Err(_) => Problem::unavailable("The answer took too long.").into_response(),
    };
    let mut response = as_problem(response, &uri, &id);
    if let Some(traced) = traced {
        traced.note(KeyValue::new("http.response.status_code", i64::from(response.status().as_u16())));
    }
    count(method, route, response.status(), began.elapsed());
    tracing::debug!(parent: &span, status = response.status().as_u16(), took_us = began.elapsed().as_micros(), "answered");
    response.headers_mut().extend(HeaderValue::from_str(&id).map(|id| (HeaderName::from_static("x-request-id"), id)));
    response
}

/// The body of a request, and whether more of it is waited for just now.
struct Awaited {
    body: Body,
    awaited: Arc<AtomicBool>,
}

impl Awaited {
    fn of(request: Request) -> (Request, Arc<AtomicBool>) {
        let awaited = Arc::<AtomicBool>::default();
        let told = awaited.clone();
        (request.map(|body| Body::new(Self { body, awaited })), told)
    }
}

impl HttpBody for Awaited {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        self.awaited.store(polled.is_pending(), Ordering::Relaxed);
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

fn body_too_slow() -> Problem {
    let detail = "The rest of the body has not come in time.";
    Problem::new(StatusCode::REQUEST_TIMEOUT, "body-too-slow", "Too slow", detail)
}

/// Gives a request an id and finds out who sends it, unless another node has done that.
fn identify(app: &App, request: &mut Request) -> RequestId {
    if let Some(known) = request.extensions().get::<RequestId>() {
        return known.clone();
    }
    let trusted = &app.settings.http.trusted_proxies;
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let sender = peer.map(|ConnectInfo(peer)| Sender::of(peer.ip(), request.headers(), trusted));
    let id = RequestId::anew(sender);
    if let Some(sender) = sender {
        request.extensions_mut().insert(sender);
    }
    request.extensions_mut().insert(id.clone());
    id
}

/// The method, if it is one that some route could have: whatever else a client makes up is one label.
fn known(method: &Method) -> &'static str {
    let methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    methods.into_iter().find(|known| *known == method.as_str()).unwrap_or("other")
}

/// A path as logs have it: without the token that shows a guest's order.
fn told(path: &str) -> &str {
    const SHOWN_BY_TOKEN: &str = "/guest/orders/";
    path.find(SHOWN_BY_TOKEN).map_or(path, |start| &path[..start + SHOWN_BY_TOKEN.len()])
}

/// The template of the route, without the ids in the path; `none` where nothing is served.
fn route(request: &Request) -> String {
    request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned()
}

/// Traces the request, as a part of the trace that its sender names.
fn begin_trace(request: &Request, method: &'static str, route: &str, id: &str) -> Option<Traced> {
    let traceparent = request.headers().get(TRACEPARENT).and_then(|value| value.to_str().ok());
    let traced = Traced::request(format!("{method} {route}"), traceparent)?;
    traced.note(KeyValue::new("http.request.method", method));
    traced.note(KeyValue::new("http.route", route.to_owned()));
    traced.note(KeyValue::new("tradepost.request_id", id.to_owned()));
    Some(traced)
}

fn count(method: &'static str, route: String, status: StatusCode, took: Duration) {
    counter!(HTTP_REQUESTS, "method" => method, "route" => route.clone(), "status" => status.as_str().to_owned())
        .increment(1);
    histogram!(HTTP_SECONDS, "method" => method, "route" => route).record(took);
}

/// Renders a problem, and makes one of an error that some library answered: the documentation, about a file that it has
/// not.
fn as_problem(mut response: Response, uri: &Uri, id: &str) -> Response {
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
    if response.extensions().get::<Rendered>().is_some() || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let problem = if status == StatusCode::NOT_FOUND { no_such_route(uri) } else { Problem::internal() };
    problem.render(id)
}
