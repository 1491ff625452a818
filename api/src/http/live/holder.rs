//! Whoever has opened a socket, if they have said so: until when they may, and what ends it before.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use eventstore::clock::Clock;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::app::App;
use crate::auth::sessions::{Caller, Change, Standing};
use crate::auth::tickets;
use crate::http::access;
use crate::http::problem::Problem;

/// Whoever has opened a socket in a session of theirs: it closes with the session, and when they may do something else.
pub(super) struct Holder {
    caller: Caller,
    standing: Arc<Standing>,
    changes: broadcast::Receiver<Change>,
    /// Something has happened since the standing was looked at.
    doubtful: bool,
}

impl Holder {
    /// Whose ticket it is, if it is good.
    pub(super) async fn of(app: &App, ticket: &str) -> Result<Self, Problem> {
        // Before the session is looked at, so that nothing can happen between the two.
        let changes = app.sessions.subscribe();
        let caller = tickets::redeem(&app.pool, ticket).await?;
        let caller = caller.ok_or_else(|| Problem::unauthenticated("The ticket is not good."))?;
        let standing = access::standing(app, caller).await?;
        if standing.blocked {
            let detail = "The account is blocked; what everybody may see can be watched without a ticket.";
            return Err(Problem::new(StatusCode::FORBIDDEN, "account-blocked", "Account blocked", detail));
        }
        Ok(Self { caller, standing, changes, doubtful: false })
    }

    /// Who it is, in their session.
    pub(super) fn caller(&self) -> Caller {
        self.caller
    }

    /// How long the access token is good that the ticket was given for.
    fn left(&self) -> Duration {
        (self.caller.until - Clock::real_now()).to_std().unwrap_or_default()
    }

    /// Until this holder may do something else than before, or nothing at all; tells which. Asked again after it was
    /// given up halfway, it has missed nothing.
    async fn changed(&mut self, app: &App) -> &'static str {
        loop {
            if !self.doubtful {
                match self.changes.recv().await {
                    Ok(change) => self.doubtful = change.concerns(self.caller),
                    Err(RecvError::Lagged(_)) => self.doubtful = true,
                    Err(RecvError::Closed) => std::future::pending().await,
                }
                continue;
            }
            match app.sessions.admit(&app.engine, self.caller).await {
                Ok(standing) if *standing == *self.standing => self.doubtful = false,
                Ok(standing) if standing.blocked => return "the account is blocked",
                Ok(_) => return "what the account may do has changed",
                Err(_) => return "the session is over",
            }
        }
    }
}

/// Waits for the end of what `holder` may do on a socket; for ever, if nobody has said who they are.
pub(super) async fn end_of(holder: Option<&mut Holder>, app: &App) -> &'static str {
    let Some(holder) = holder else { return std::future::pending().await };
    let expiry = tokio::time::sleep(holder.left());
    tokio::select! {
        () = expiry => "the access token has expired",
        reason = holder.changed(app) => reason,
    }
}
