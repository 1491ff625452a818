//! Tickets for sockets: a browser cannot send a bearer header when it opens one, and a token in an address ends up in
//! logs. A ticket is good once, for 30 seconds, on any node.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use domain::AccountId;
use eventstore::clock::Clock;
use eventstore::mint;
use sha2::{Digest, Sha256};
use sqlx::PgPool;

/// How long a ticket is good.
pub const LIFETIME: Duration = Duration::from_secs(30);

/// Makes a ticket for an account. Sweeps out those that nobody used.
pub async fn issue(pool: &PgPool, account: AccountId) -> Result<String, sqlx::Error> {
    let ticket = URL_SAFE_NO_PAD.encode(mint::secret::<32>());
    let now = Clock::real_now();
    sqlx::query(
        "with swept as (delete from socket_tickets where expires_at <= $3)
         insert into socket_tickets (ticket_hash, account_id, expires_at) values ($1, $2, $4)",
    )
    .bind(hash(&ticket))
    .bind(account.0)
    .bind(now)
    .bind(now + TimeDelta::from_std(LIFETIME).unwrap_or_default())
    .execute(pool)
    .await?;
    Ok(ticket)
}

/// Uses a ticket up: tells whose it was, if it was good.
pub async fn redeem(pool: &PgPool, ticket: &str) -> Result<Option<AccountId>, sqlx::Error> {
    let account: Option<uuid::Uuid> = sqlx::query_scalar(
        "delete from socket_tickets where ticket_hash = $1 and expires_at > $2 returning account_id",
    )
    .bind(hash(ticket))
    .bind(Clock::real_now())
    .fetch_optional(pool)
    .await?;
    Ok(account.map(AccountId))
}

fn hash(ticket: &str) -> Vec<u8> {
    Sha256::digest(ticket).to_vec()
}
