//! One log-in: a family of refresh tokens, each good for one use.
//!
//! `Closed → Open → Ended`. A refresh trades the current token for the next. A token that was traded before shows
//! that somebody else has it, so its reuse ends the whole family. Tokens are known by their hash only.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::Timestamp;
use crate::aggregate::{Aggregate, event_versions};
use crate::ids::{AccountId, SessionId};

/// What is asked of a session.
#[derive(Clone, Debug)]
pub enum Command {
    /// Log in.
    Open {
        /// Who logs in.
        account: AccountId,
        /// The hash of the first refresh token.
        token_hash: TokenHash,
        /// Until when that token is good.
        expires_at: Timestamp,
        /// How often all sessions of the account had been ended by then.
        revocations: u32,
    },
    /// Trade the current token for the next.
    Refresh {
        /// The hash of the token that was shown.
        presented: TokenHash,
        /// The hash of the next token.
        next: TokenHash,
        /// Until when the next token is good.
        expires_at: Timestamp,
        /// The time of the decision.
        now: Timestamp,
    },
    /// End the session.
    End {
        /// Why.
        reason: EndReason,
    },
}

/// SHA-256 of a token, in hex. Tokens are random and long, so a fast hash is enough.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(transparent)]
pub struct TokenHash(pub String);

/// Why a session ended. Part of the storage format.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// The account logged out.
    LoggedOut,
    /// A token was shown that had been traded before.
    TokenReused,
}

/// What happens to a session. This is the storage format.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub enum Event {
    /// Somebody logged in.
    SessionOpened {
        /// Who.
        account: AccountId,
        /// The hash of the first refresh token.
        token_hash: TokenHash,
        /// Until when it is good.
        expires_at: Timestamp,
        /// How often all sessions of the account had been ended by then: if it is more, this one has ended too.
        #[serde(default)]
        revocations: u32,
    },
    /// The current token was traded for the next.
    SessionRefreshed {
        /// The hash of the next token.
        token_hash: TokenHash,
        /// Until when it is good.
        expires_at: Timestamp,
    },
    /// No token of the family is good any more.
    SessionEnded {
        /// Why.
        reason: EndReason,
    },
}

event_versions!(Event { SessionOpened = "2" | "1", SessionRefreshed = "1", SessionEnded = "1" });

/// Why a session refuses.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Error {
    /// Never opened, or ended.
    #[error("the session has ended")]
    Ended,
    /// The current token was not used in time.
    #[error("the session expired at {expired_at}")]
    Expired {
        /// When.
        expired_at: Timestamp,
    },
    /// The stream is in use.
    #[error("the session is open already")]
    AlreadyOpen,
}

/// A session.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub enum Session {
    /// Nobody has logged in.
    #[default]
    Closed,
    /// One token is good.
    Open {
        /// Who is logged in.
        account: AccountId,
        /// The hash of the token that is good.
        token_hash: TokenHash,
        /// Until when.
        expires_at: Timestamp,
        /// How often all sessions of the account had been ended when it was opened.
        revocations: u32,
    },
    /// No token is good.
    Ended {
        /// Who was logged in.
        account: AccountId,
    },
}

impl Session {
    /// Who is logged in.
    pub fn account(&self) -> Option<AccountId> {
        self.opened().map(|(account, _)| account)
    }

    /// Who is logged in, and how often all their sessions had been ended by then.
    pub fn opened(&self) -> Option<(AccountId, u32)> {
        match self {
            Self::Closed | Self::Ended { .. } => None,
            Self::Open { account, revocations, .. } => Some((*account, *revocations)),
        }
    }
}

impl Aggregate for Session {
    const TYPE: &'static str = "session";
    type Id = SessionId;
    type Command = Command;
    type Event = Event;
    type Error = Error;

    fn decide(&self, command: Command) -> Result<Vec<Event>, Error> {
        match (self, command) {
            (Self::Closed, Command::Open { account, token_hash, expires_at, revocations }) => {
                Ok(vec![Event::SessionOpened { account, token_hash, expires_at, revocations }])
            }
            (Self::Open { .. } | Self::Ended { .. }, Command::Open { .. }) => Err(Error::AlreadyOpen),
            (Self::Open { token_hash, .. }, Command::Refresh { presented, .. }) if presented != *token_hash => {
                // An event, not a refusal: the family must end although the caller gets nothing.
                Ok(vec![Event::SessionEnded { reason: EndReason::TokenReused }])
            }
            (&Self::Open { expires_at, .. }, Command::Refresh { now, .. }) if now >= expires_at => {
                Err(Error::Expired { expired_at: expires_at })
            }
            (Self::Open { .. }, Command::Refresh { next, expires_at, .. }) => {
                Ok(vec![Event::SessionRefreshed { token_hash: next, expires_at }])
            }
            (Self::Closed | Self::Ended { .. }, Command::Refresh { .. }) => Err(Error::Ended),
            (Self::Open { .. }, Command::End { reason }) => Ok(vec![Event::SessionEnded { reason }]),
            (Self::Closed | Self::Ended { .. }, Command::End { .. }) => Ok(vec![]),
        }
    }

    fn evolve(&mut self, event: &Event) {
        *self = match (std::mem::take(self), event.clone()) {
            (Self::Closed, Event::SessionOpened { account, token_hash, expires_at, revocations })
            | (Self::Open { account, revocations, .. }, Event::SessionRefreshed { token_hash, expires_at }) => {
                Self::Open { account, token_hash, expires_at, revocations }
            }
            (Self::Open { account, .. }, Event::SessionEnded { .. }) => Self::Ended { account },
            // No decision leads here; a fold never fails.
            (state, Event::SessionOpened { .. } | Event::SessionRefreshed { .. } | Event::SessionEnded { .. }) => state,
        };
    }
}

#[cfg(test)]
mod tests {
    use chrono::{TimeDelta, TimeZone, Utc};
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::testing::given;

    const ANN: AccountId = AccountId(Uuid::from_u128(1));

    fn at(second: i64) -> Timestamp {
        Utc.timestamp_opt(1_700_000_000, 0).unwrap() + TimeDelta::seconds(second)
    }

    fn hash(text: &str) -> TokenHash {
        TokenHash(text.to_owned())
    }

    fn opened() -> Event {
        Event::SessionOpened { account: ANN, token_hash: hash("first"), expires_at: at(100), revocations: 0 }
    }

    fn refresh(presented: &str, second: i64) -> Command {
        Command::Refresh { presented: hash(presented), next: hash("next"), expires_at: at(200), now: at(second) }
    }

    #[test]
    fn a_refresh_trades_the_token_for_the_next() {
        given::<Session>([opened()])
            .when(refresh("first", 99))
            .then([Event::SessionRefreshed { token_hash: hash("next"), expires_at: at(200) }]);
    }

    #[test]
    fn a_token_is_good_until_it_expires() {
        given::<Session>([opened()]).when(refresh("first", 100)).then_refused(Error::Expired { expired_at: at(100) });
    }

    #[test]
    fn the_reuse_of_a_traded_token_ends_the_family() {
        let reused = given::<Session>([opened()]).and(refresh("first", 1));
        reused.when(refresh("first", 2)).then([Event::SessionEnded { reason: EndReason::TokenReused }]);
        let ended = given::<Session>([opened()]).and(refresh("first", 1)).and(refresh("first", 2));
        ended.when(refresh("next", 3)).then_refused(Error::Ended);
    }

    #[test]
    fn logging_out_twice_is_nothing_new() {
        let logout = || Command::End { reason: EndReason::LoggedOut };
        given::<Session>([opened()]).when(logout()).then([Event::SessionEnded { reason: EndReason::LoggedOut }]);
        given::<Session>([opened()]).and(logout()).when(logout()).then_nothing();
    }

    proptest! {
        /// Every caller shows the newest token or, at times, one from `back` trades ago.
        #[test]
        fn every_token_is_good_for_one_use_and_none_after_a_reuse(
            shown in prop::collection::vec(prop_oneof![5 => Just(0), 1 => 1..4_usize], 1..20),
        ) {
            let token = |number: usize| hash(&number.to_string());
            let mut session = Session::default();
            session.evolve(&Event::SessionOpened {
                account: ANN,
                token_hash: token(0),
                expires_at: at(100),
                revocations: 0,
            });
            let mut newest = 0_usize;
            for back in shown {
                let was_open = session.account().is_some();
                let presented = newest.checked_sub(back).map_or_else(|| hash("never issued"), token);
                let next = token(newest + 1);
                let answer =
                    session.decide(Command::Refresh { presented, next: next.clone(), expires_at: at(100), now: at(0) });
                for event in answer.iter().flatten() {
                    session.evolve(event);
                }
                if !was_open {
                    prop_assert_eq!(answer, Err(Error::Ended));
                } else if back == 0 {
                    prop_assert_eq!(answer, Ok(vec![Event::SessionRefreshed { token_hash: next, expires_at: at(100) }]));
                    newest += 1;
                } else {
                    prop_assert_eq!(session.account(), None);
                }
            }
        }
    }
}
