//! Use cases of sessions.

use domain::account::Account;
use domain::session::{self, Command, EndReason, Event, Session, TokenHash};
use domain::{AccountId, SessionId, Timestamp};

use crate::engine::{Halt, World};

/// A log-in whose token has been minted.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// The id minted for the session.
    pub session: SessionId,
    /// Who logs in.
    pub account: AccountId,
    /// The hash of the first refresh token.
    pub token_hash: TokenHash,
    /// Until when, in real time, that token is good.
    pub expires_at: Timestamp,
}

/// Opens a session.
pub fn open(world: &mut World<'_>, new: &NewSession) -> Result<(), Halt> {
    world.fresh::<Session>(new.session);
    let (account, token_hash, expires_at) = (new.account, new.token_hash.clone(), new.expires_at);
    let revocations = world.get::<Account>(account)?.registered()?.revocations;
    world.execute::<Session>(new.session, Command::Open { account, token_hash, expires_at, revocations })?;
    Ok(())
}

/// Whether a session of this account stands: opened, not ended, and not revoked with all others.
pub fn stands(world: &mut World<'_>, account: AccountId, session: SessionId) -> Result<bool, Halt> {
    match world.get::<Session>(session)?.opened() {
        Some((owner, revocations)) if owner == account => {
            let account = world.get::<Account>(account)?.registered();
            Ok(account.is_ok_and(|account| account.stands(session, revocations)))
        }
        _ => Ok(false),
    }
}

/// A refresh token that was shown, and the next one.
#[derive(Clone, Debug)]
pub struct Trade {
    /// The session that the token names.
    pub session: SessionId,
    /// The hash of the token that was shown.
    pub presented: TokenHash,
    /// The hash of the next token.
    pub next: TokenHash,
    /// Until when, in real time, the next token is good.
    pub expires_at: Timestamp,
    /// Real time: tokens do not follow the marketplace's clock.
    pub now: Timestamp,
}

/// What came of a trade.
#[derive(Clone, Copy, Debug, serde::Deserialize, Eq, PartialEq, serde::Serialize)]
pub enum Traded {
    /// The next token is good, for this account.
    Refreshed(AccountId),
    /// The token had been traded before: the whole family has ended.
    Reused,
}

/// Trades a refresh token for the next.
pub fn refresh(world: &mut World<'_>, trade: &Trade) -> Result<Traded, Halt> {
    let account = world.get::<Session>(trade.session)?.account();
    if let Some(account) = account
        && !stands(world, account, trade.session)?
    {
        return Err(session::Error::Ended.into());
    }
    let events = world.execute::<Session>(
        trade.session,
        Command::Refresh {
            presented: trade.presented.clone(),
            next: trade.next.clone(),
            expires_at: trade.expires_at,
            now: trade.now,
        },
    )?;
    let refreshed = events.iter().any(|event| matches!(event, Event::SessionRefreshed { .. }));
    Ok(account.filter(|_| refreshed).map_or(Traded::Reused, Traded::Refreshed))
}

/// Ends a session of this account; somebody else's is none of its business.
pub fn log_out(world: &mut World<'_>, account: AccountId, session: SessionId) -> Result<(), Halt> {
    if world.get::<Session>(session)?.account() == Some(account) {
        world.execute::<Session>(session, Command::End { reason: EndReason::LoggedOut })?;
    }
    Ok(())
}
