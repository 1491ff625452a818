//! Requests on their way out: those that come while others are under way travel together.
//!
//! What a message costs three processes, it costs once for all of them. They are answered together too, which costs
//! little: the node that decides commits them together. Log-ins, which take their time, travel alone.

use std::sync::Arc;
use std::time::Duration;

use async_nats::Client;
use async_nats::client::{Request as NatsRequest, RequestErrorKind};
use axum::body::Bytes;
use axum::extract::Request;
use axum::response::Response;
use eventstore::lease::Holder;
use eventstore::nats::is_connected;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use uuid::Uuid;

use super::{SUBJECT, wire};

/// The most requests in a message.
const MOST_REQUESTS: usize = 128;
/// The most messages whose answers are waited for, besides those that carry one request alone.
const MESSAGES_UNDER_WAY: usize = 4;
/// What takes its time begins with this.
const SLOW: &str = "/api/v1/auth/";
/// How long a node that has lost the lease may take to end what it has begun.
const LAST_WORDS: Duration = Duration::from_millis(400);
/// How long an answer may take before it is asked whether the node is still there.
const LOOK_AFTER: Duration = Duration::from_millis(200);

/// What came of handing a request on.
#[derive(Debug)]
pub(super) enum Handed {
    /// This is the answer.
    Answered(Response),
    /// The other node has not had it.
    NotSent,
    /// The other node may have carried it out.
    Lost,
}

/// Sends requests to other nodes. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Outbox(UnboundedSender<Letter>);

/// A request, and who waits for its answer.
#[derive(Debug)]
struct Letter {
    to: Uuid,
    request: Vec<u8>,
    alone: bool,
    answer: oneshot::Sender<Handed>,
}

impl Outbox {
    /// An outbox, which is emptied as long as the future runs that comes with it.
    pub(super) fn new(client: Client, deciding: Holder) -> (Self, impl Future<Output = ()> + Send) {
        let (outbox, letters) = mpsc::unbounded_channel();
        (Self(outbox), empty(Post { client, deciding }, letters))
    }

    /// Hands a request on to another node. The envelope of the request limits how long this may take.
    pub(super) fn hand_on(
        &self,
        to: Uuid,
        request: &Request,
        body: &[u8],
    ) -> impl Future<Output = Handed> + Send + use<> {
        let alone = request.uri().path().starts_with(SLOW);
        let (answer, answered) = oneshot::channel();
        let letter = Letter { to, request: wire::request(request, body), alone, answer };
        let sent = self.0.send(letter).is_ok();
        async move { if sent { answered.await.unwrap_or(Handed::Lost) } else { Handed::NotSent } }
    }
}

/// Sends letters as long as there may be more.
async fn empty(post: Post, mut letters: UnboundedReceiver<Letter>) {
    let places = Arc::new(Semaphore::new(MESSAGES_UNDER_WAY));
    let mut bag = Vec::new();
    while letters.recv_many(&mut bag, MOST_REQUESTS).await > 0 {
        for letter in bag.extract_if(.., |letter| letter.alone) {
            tokio::spawn(post.clone().deliver(vec![letter], None));
        }
        if bag.is_empty() {
            continue;
        }
        // Whoever is about to write a letter does it now.
        tokio::task::yield_now().await;
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let mut place = Some(place);
        while let Some(together) = next_message(&mut bag, post.client.max_payload()) {
            tokio::spawn(post.clone().deliver(together, place.take()));
        }
    }
}

/// The next letters to the same node that fit into a message of so many bytes. One that fits into none is not sent.
fn next_message(bag: &mut Vec<Letter>, mut room: usize) -> Option<Vec<Letter>> {
    for letter in bag.extract_if(.., |letter| wire::length([&letter.request]) > room) {
        // Whoever has waited may be gone.
        let _ = letter.answer.send(Handed::NotSent);
    }
    let to = bag.first()?.to;
    let fits = |letter: &mut Letter| {
        let length = wire::length([&letter.request]);
        let fits = letter.to == to && length <= room;
        room -= if fits { length } else { 0 };
        fits
    };
    Some(bag.extract_if(.., fits).collect())
}

/// Carries messages to other nodes.
#[derive(Clone, Debug)]
struct Post {
    client: Client,
    deciding: Holder,
}

impl Post {
    /// Delivers letters to the same node in one message, and hands out what comes back.
    async fn deliver(self, letters: Vec<Letter>, place: Option<OwnedSemaphorePermit>) {
        let Some(to) = letters.first().map(|letter| letter.to) else { return };
        let (requests, waiting): (Vec<_>, Vec<_>) =
            letters.into_iter().map(|letter| (letter.request, letter.answer)).unzip();
        let answered = self.ask(to, wire::together(&requests).into()).await;
        drop(place);
        let mut answers = wire::parts(answered.as_deref().unwrap_or_default());
        for waiter in waiting {
            let answer = match &answered {
                // Without an answer of its own nobody knows what has become of a request.
                Ok(_) => answers.next().and_then(wire::read_response).map_or(Handed::Lost, Handed::Answered),
                Err(Undelivered::NotSent) => Handed::NotSent,
                Err(Undelivered::Lost) => Handed::Lost,
            };
            let _ = waiter.send(answer);
        }
    }

    async fn ask(&self, node: Uuid, requests: Bytes) -> Result<Bytes, Undelivered> {
        if !is_connected(&self.client) {
            return Err(Undelivered::NotSent);
        }
        let message = NatsRequest::new().payload(requests).timeout(None);
        let answer = tokio::select! {
            answer = self.client.send_request(format!("{SUBJECT}.{node}"), message) => answer,
            () = self.until_gone(node) => return Err(Undelivered::Lost),
        };
        answer.map(|message| message.payload).map_err(|error| match error.kind() {
            RequestErrorKind::NoResponders
            | RequestErrorKind::InvalidSubject
            | RequestErrorKind::MaxPayloadExceeded => Undelivered::NotSent,
            RequestErrorKind::TimedOut | RequestErrorKind::Other => Undelivered::Lost,
        })
    }

    /// Waits until NATS is away, nobody listens as `node` any more, it does not say that it does, or it has kept silent
    /// since it lost the lease: NATS knows at once of a node that was killed, and never of one that is frozen.
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
                if asked.is_err() || !is_connected(&self.client) {
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

/// Why there are no answers.
#[derive(Clone, Copy, Debug)]
enum Undelivered {
    /// The other node has not had the requests.
    NotSent,
    /// The other node may have carried them out.
    Lost,
}
