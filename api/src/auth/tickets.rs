//! Tickets for sockets: a browser cannot send a bearer header when it opens one, and a token in an address ends up in
//! logs. A ticket is good once, for 30 seconds, on any node.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use domain::{AccountId, SessionId, Timestamp};
use eventstore::clock::Clock;
use eventstore::mint;
use sha2::{Digest, Sha256};
use sqlx::PgPool;
use uuid::Uuid;

use super::sessions::Caller;

/// How long a ticket is good.
pub const LIFETIME: Duration = Duration::from_secs(30);

/// Makes a ticket for a socket of this caller. Sweeps out those that nobody used.
pub async fn issue(pool: &PgPool, caller: Caller) -> Result<String, sqlx::Error> {
    let ticket = URL_SAFE_NO_PAD.encode(mint::secret::<32>());
    let now = Clock::real_now();
    sqlx::query(
        "with swept as (delete from socket_tickets where expires_at <= $3)
         insert into socket_tickets (ticket_hash, account_id, session_id, session_until, expires_at)
         values ($1, $2, $4, $5, $6)",
    )
    .bind(hash(&ticket))
    .bind(caller.account.0)
    .bind(now)
    .bind(caller.session.0)
    .bind(caller.until)
    .bind(now + TimeDelta::from_std(LIFETIME).unwrap_or_default())
    .execute(pool)
    .await?;
    Ok(ticket)
}

/// Uses a ticket up: tells whose it was, if it was good.
pub async fn redeem(pool: &PgPool, ticket: &str) -> Result<Option<Caller>, sqlx::Error> {
    let holder: Option<(Uuid, Option<Uuid>, Option<Timestamp>)> = sqlx::query_as(
        "delete from socket_tickets where ticket_hash = $1 and expires_at > $2
         returning account_id, session_id, session_until",
    )
    .bind(hash(ticket))
    .bind(Clock::real_now())
    .fetch_optional(pool)
    .await?;
    Ok(holder.and_then(|(account, session, until)| {
        Some(Caller { account: AccountId(account), session: SessionId(session?), until: until? })
    }))
}

fn hash(ticket: &str) -> Vec<u8> {
    Sha256::digest(ticket).to_vec()
}
