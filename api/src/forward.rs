//! Commands on their way to the node that decides.
//!
//! Any node may decide, and every outcome is right whoever does; but nodes that decide at the same time get into each
//! other's way. So with NATS one of them holds the deciding lease, and the others hand it whole requests, as they came,
//! and pass its answers on. Where that cannot be done, because NATS is away, the lease moves, or a request is too large
//! for a message, a node decides by itself. So it does with a bid that arrives over a socket, which is no request.
//!
//! A request whose answer is lost is carried out here if it has an idempotency key: either it is found to have been
//! carried out, or it is now. Without a key nobody can tell, and the client is told so.

use std::time::Duration;

use async_nats::client::{Request as NatsRequest, RequestErrorKind};
use async_nats::{Client, Message};
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use eventstore::lease::Holder;
use futures::StreamExt;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;
use uuid::Uuid;

use crate::app::App;
use crate::http::Api;
use crate::http::extract::read_bytes;
use crate::http::problem::Problem;
use crate::http::routes;

mod wire;

/// The lease of the node that decides.
pub const LEASE: &str = "deciding";
/// How long it is good: killing the node that decides costs no longer than this.
pub const LEASE_TTL: Duration = Duration::from_millis(1_500);
/// How long a node that has lost the lease may take to end what it has begun.
const LAST_WORDS: Duration = Duration::from_millis(400);
/// How long an answer may take before it is asked whether the node is still there.
const LOOK_AFTER: Duration = Duration::from_millis(200);
/// Where a node takes requests of others: followed by its name.
const SUBJECT: &str = "tradepost.commands";

/// How a node reaches the one that decides.
#[derive(Clone, Debug)]
pub struct Forwarding {
    /// The way there.
    pub client: Client,
    /// Who decides.
    pub deciding: Holder,
}

/// What came of handing a request on.
enum Handed {
    /// This is the answer.
    Answered(Response),
    /// The other node has not had it.
    NotSent,
    /// The other node may have carried it out.
    Lost,
}

/// Hands a command to the node that decides, if that is another, and answers what it answers.
pub(crate) async fn forward(State(app): State<App>, request: Request, next: Next) -> Response {
    let Some((forwarding, node)) = app.forwarding.as_ref().and_then(|to| Some((to, to.deciding.other()?))) else {
        return next.run(request).await;
    };
    if !is_command(&request) || request.extensions().get::<Forwarded>().is_some() {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    let bytes = match read_bytes(Request::from_parts(parts.clone(), body), &app).await {
        Ok(bytes) => bytes,
        Err(problem) => return problem.into_response(),
    };
    let here = Request::from_parts(parts, Body::from(bytes.clone()));
    let keyed = here.headers().contains_key("idempotency-key");
    match forwarding.ask(node, wire::request(&here, &bytes).into()).await {
        Handed::Answered(response) => response,
        Handed::NotSent => next.run(here).await,
        Handed::Lost if keyed => next.run(here).await,
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

impl Forwarding {
    async fn ask(&self, node: Uuid, request: Bytes) -> Handed {
        if request.len() > self.client.max_payload() {
            return Handed::NotSent;
        }
        // The envelope of the request limits how long this may take.
        let message = NatsRequest::new().payload(request).timeout(None);
        let answer = tokio::select! {
            answer = self.client.send_request(format!("{SUBJECT}.{node}"), message) => answer,
            () = self.until_gone(node) => return Handed::Lost,
        };
        match answer {
            Ok(message) => wire::read_response(&message.payload).map_or(Handed::Lost, Handed::Answered),
            Err(error) => match error.kind() {
                RequestErrorKind::NoResponders
                | RequestErrorKind::InvalidSubject
                | RequestErrorKind::MaxPayloadExceeded => Handed::NotSent,
                RequestErrorKind::TimedOut | RequestErrorKind::Other => Handed::Lost,
            },
        }
    }

    /// Waits until nobody listens as `node` any more, or it has kept silent since it lost the lease: NATS knows at once
    /// of a node that was killed, and never of one that is frozen.
    async fn until_gone(&self, node: Uuid) {
        let mut deciding = self.deciding.clone();
        let silent = async {
            deciding.until_not(node).await;
            tokio::time::sleep(LAST_WORDS).await;
        };
        let unheard = async {
            loop {
                tokio::time::sleep(LOOK_AFTER).await;
                let asked = self.client.request(format!("{SUBJECT}.{node}"), Bytes::new()).await;
                if asked.is_err_and(|error| error.kind() == RequestErrorKind::NoResponders) {
                    return;
                }
            }
        };
        tokio::select! {
            () = silent => {}
            () = unheard => {}
        }
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

async fn carry_out(client: Client, api: Api, message: Message) {
    let Some(reply) = message.reply.clone() else { return };
    let answer = match wire::read_request(&message.payload) {
        Some(request) => {
            let Ok(response) = api.oneshot(request).await;
            let (parts, body) = response.into_parts();
            let Ok(body) = axum::body::to_bytes(body, usize::MAX).await else { return };
            wire::response(&parts, &body)
        }
        // Whoever waits for an answer asks whether this node is still there.
        None => Vec::new(),
    };
    if let Err(error) = client.publish(reply, answer.into()).await {
        tracing::warn!(%error, "an answer could not be given to the node that asked");
    }
}
