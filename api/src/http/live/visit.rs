//! Opening a socket: from which pages, with which ticket, from where on.

use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{FromRef, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use domain::AccountId;
use eventstore::event::Metadata;
use metrics::gauge;
use serde::Deserialize;
use utoipa::IntoParams;

use super::holder::Holder;
use super::hub::Channel;
use super::socket::{Show, Watcher};
use crate::app::App;
use crate::http::envelope::RequestId;
use crate::http::extract::{Caller, Read, account_key, checked_key};
use crate::http::origins;
use crate::http::problem::Problem;
use crate::http::sender::Sender;
use crate::observe::metrics::SOCKETS;

/// What a socket keeps to read into. There are many sockets, and most messages of clients are small.
const READ_BUFFER_BYTES: usize = 1_024;
/// What waits to be written is written at once: messages are whole.
const WRITE_BUFFER_BYTES: usize = 0;

/// How a socket is opened.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Opening {
    /// From `/auth/ws-ticket`: who opens the socket. Where anybody may watch, whoever comes without one only watches.
    ticket: Option<String>,
    /// The last sequence that the client has seen: the socket goes on after it, instead of from now.
    after: Option<i64>,
}

/// Somebody who wants to open a socket.
#[derive(Debug)]
pub(crate) struct Visit {
    read: Read<Opening>,
    upgrade: WebSocketUpgrade,
    sender: Option<Sender>,
}

impl<S: Send + Sync> FromRequestParts<S> for Visit
where
    App: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let read = Read::from_request_parts(parts, state).await?;
        let upgrade = WebSocketUpgrade::from_request_parts(parts, state).await.map_err(|_| not_a_socket())?;
        admit(&App::from_ref(state), &parts.headers)?;
        let sender = parts.extensions.get().and_then(RequestId::sender);
        Ok(Self { read, upgrade, sender })
    }
}

fn not_a_socket() -> Problem {
    let detail = "This address opens a WebSocket.";
    Problem::new(StatusCode::UPGRADE_REQUIRED, "upgrade-required", "Not a WebSocket", detail)
        .with_header(header::UPGRADE, "websocket")
}

fn admit(app: &App, headers: &HeaderMap) -> Result<(), Problem> {
    if origins::admits(&app.settings.http.origins, headers) {
        return Ok(());
    }
    let detail = "Pages of this origin may not open sockets here.";
    Err(Problem::new(StatusCode::FORBIDDEN, "origin-not-allowed", "Origin not allowed", detail))
}

impl Visit {
    /// Uses the ticket up, once the read model of `C` shows what the client has seen.
    pub(super) async fn identify<C: Channel>(self, app: App) -> Result<Identified, Problem> {
        let Self { read, upgrade, sender } = self;
        read.wait_for(&app, C::MODEL).await?;
        let Opening { ticket, after } = read.query;
        let holder = match ticket {
            None => None,
            Some(ticket) => Some(Holder::of(&app, &ticket).await?),
        };
        Ok(Identified { visitor: Visitor { app, holder, sender }, after, upgrade })
    }
}

/// Somebody who wants to open a socket and has said who they are, if they want to.
pub(super) struct Identified {
    pub(super) visitor: Visitor,
    after: Option<i64>,
    upgrade: WebSocketUpgrade,
}

impl Identified {
    /// Opens the socket.
    pub(super) fn show<S: Show>(self, what: S) -> Response {
        let Self { visitor, after, upgrade } = self;
        let watch = move |socket| async move {
            let _counted = Counted::begin();
            if let Err(error) = Watcher::new(visitor, what, socket).run(after).await {
                tracing::debug!(%error, "a socket ended");
            }
        };
        // The size of a frame too: a whole frame is read before the size of its message is looked at.
        upgrade
            .max_message_size(S::LARGEST_MESSAGE)
            .max_frame_size(S::LARGEST_MESSAGE)
            .read_buffer_size(READ_BUFFER_BYTES)
            .write_buffer_size(WRITE_BUFFER_BYTES)
            .on_upgrade(watch)
    }
}

/// Whoever has opened a socket.
pub(super) struct Visitor {
    pub(super) app: App,
    /// In whose session it was opened, if they have said so.
    pub(super) holder: Option<Holder>,
    /// Who has opened it, as far as the network tells.
    sender: Option<Sender>,
}

impl Visitor {
    /// Who it is, if they have said so.
    pub(super) fn account(&self) -> Option<AccountId> {
        self.caller().map(|caller| caller.account)
    }

    /// Who it is, in their session.
    pub(super) fn caller(&self) -> Option<Caller> {
        self.holder.as_ref().map(Holder::caller)
    }

    /// Who it is, where a ticket is needed.
    pub(super) fn known(&self) -> Result<Caller, Problem> {
        self.caller().ok_or_else(|| Problem::unauthenticated("This takes a ticket: ask for one at /auth/ws-ticket."))
    }

    /// The request of a command that `account` has sent over the socket, counted. `asked` says what and about what.
    pub(super) fn request(
        &self,
        account: AccountId,
        key: Option<String>,
        asked: &[&str],
    ) -> Result<commands::Request, Problem> {
        self.app.limits.account(account)?;
        let metadata = RequestId::anew(self.sender).stamp(Metadata::by_account(account));
        let Some(text) = key else { return Ok(commands::Request::once(metadata)) };
        let key = account_key(&self.app, account, checked_key(&text)?, asked);
        Ok(commands::Request::keyed(metadata.with("command_key", text), key))
    }
}

/// Counts one open socket until it is dropped.
struct Counted;

impl Counted {
    fn begin() -> Self {
        gauge!(SOCKETS).increment(1);
        Self
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        gauge!(SOCKETS).decrement(1);
    }
}
