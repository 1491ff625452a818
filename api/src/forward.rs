//! Commands on their way to the node that decides.
//!
//! Any node may decide, and every outcome is right whoever does; but nodes that decide at the same time get into each
//! other's way. So with NATS one of them holds the deciding lease, and the others hand it whole requests, as they came,
//! several in a message, and pass its answers on. Where that cannot be done, because NATS is away, the lease moves, or a
//! request is too large for a message, a node decides by itself. So it does with what arrives over a socket, a
//! bid or a message, which is no request.
//!
//! A request whose answer is lost is carried out here if it has an idempotency key: either it is found to have been
//! carried out, or it is now; and if it is refused now, that is stored under the key, since the message may still be on
//! its way. Without a key nobody can tell, and the client is told so.

use std::time::Duration;

use async_nats::{Client, Message};
use axum::body::Body;
use axum::extract::Request;
use axum::http::Method;
use axum::response::{IntoResponse, Response};
use eventstore::lease::Holder;
use futures::StreamExt;
use futures::future::join_all;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;
use uuid::Uuid;

use crate::app::App;
use crate::http::Api;
use crate::http::extract::read_bytes;
use crate::http::problem::Problem;
use crate::http::routes;
use crate::http::upload::is_multipart;

mod outbox;
mod wire;

use outbox::{Handed, Outbox};

/// The lease of the node that decides.
pub const LEASE: &str = "deciding";
/// How long it is good: killing the node that decides costs no longer than this.
pub const LEASE_TTL: Duration = Duration::from_millis(1_500);
/// Where a node takes requests of others: followed by its name.
const SUBJECT: &str = "tradepost.commands";

/// How a node reaches the one that decides.
#[derive(Clone, Debug)]
pub struct Forwarding {
    /// Who decides.
    pub deciding: Holder,
    outbox: Outbox,
}

/// Hands a command to the node that decides, if that is another, and answers what it answers.
pub(crate) async fn forward(app: &App, request: Request, next: impl AsyncFnOnce(Request) -> Response) -> Response {
    let Some((forwarding, node)) = app.forwarding.as_ref().and_then(|to| Some((to, to.deciding.other()?))) else {
        return next(request).await;
    };
    // Files are too large for a message.
    if !is_command(&request) || is_multipart(request.headers()) || request.extensions().get::<Forwarded>().is_some() {
        return next(request).await;
    }
    let (parts, body) = request.into_parts();
    let bytes = match read_bytes(Request::from_parts(parts.clone(), body), app).await {
        Ok(bytes) => bytes,
        Err(problem) => return problem.into_response(),
    };
    let mut here = Request::from_parts(parts, Body::from(bytes.clone()));
    let keyed = here.headers().contains_key("idempotency-key");
    match forwarding.outbox.hand_on(node, &here, &bytes).await {
        Handed::Answered(response) => response,
        Handed::NotSent => next(here).await,
        Handed::Lost if keyed => {
            here.extensions_mut().insert(InDoubt);
            next(here).await
        }
        Handed::Lost => Problem::unavailable(
            "The node that decides is gone. Whether this was carried out, only a retry with an Idempotency-Key could tell.",
        )
        .into_response(),
    }
}

/// Whether a request changes something, other than the clock of one node.
fn is_command(request: &Request) -> bool {
    !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS)
        && !request.uri().path().starts_with(routes::sandbox::PATH)
}

/// Marks a request that another node has handed on: it goes no further.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Forwarded;

/// Marks a request that another node may still carry out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InDoubt;

impl Forwarding {
    /// The way there, which is open as long as the future runs that comes with it.
    pub fn new(client: Client, deciding: Holder) -> (Self, impl Future<Output = ()> + Send) {
        let (outbox, sending) = Outbox::new(client, deciding.clone());
        (Self { deciding, outbox }, sending)
    }
}

/// Carries out what other nodes hand on to `node` until `stop`, and ends what has begun.
pub async fn serve(client: Client, node: Uuid, api: Api, stop: CancellationToken) {
    let requests = TaskTracker::new();
    stop.run_until_cancelled(async {
        loop {
            match client.subscribe(format!("{SUBJECT}.{node}")).await {
                Ok(mut messages) => {
                    while let Some(message) = messages.next().await {
                        requests.spawn(carry_out(client.clone(), api.clone(), message));
                    }
                }
                Err(error) => tracing::warn!(%error, "other nodes' commands cannot be taken"),
            }
            tokio::time::sleep(LEASE_TTL).await;
        }
    })
    .await;
    requests.close();
    requests.wait().await;
}

/// Carries out the requests of a message, all at once. One without requests asks whether this node is still there.
async fn carry_out(client: Client, api: Api, message: Message) {
    let Some(reply) = message.reply else { return };
    let mut answers = join_all(wire::parts(&message.payload).map(|request| answer(&api, request))).await;
    if wire::length(&answers) > client.max_payload() {
        tracing::warn!("the answers to another node's requests are too large for a message");
        answers.iter_mut().for_each(Vec::clear);
    }
    let published = client.publish(reply, wire::together(&answers).into());
    match tokio::time::timeout(LEASE_TTL, published).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "an answer could not be given to the node that asked"),
        Err(_) => tracing::warn!("an answer could not be given to the node that asked: NATS takes nothing"),
    }
}

/// The answer to a request; nothing if it is none, or has no answer.
async fn answer(api: &Api, request: &[u8]) -> Vec<u8> {
    let Some(request) = wire::read_request(request) else { return Vec::new() };
    let Ok(response) = api.clone().oneshot(request).await;
    let (parts, body) = response.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await;
    body.map_or(Vec::new(), |body| wire::response(&parts, &body))
}
