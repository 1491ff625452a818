//! Who is logged in, as this node knows it.
//!
//! An access token tells who has logged in, not whether they still are. So a node asks the log once per session, and
//! remembers the answer until the log tells otherwise: it follows what happens to sessions and accounts, and forgets
//! what it knew of them. A log-out, a block, or a capability that is taken away counts on every node as soon as it has
//! seen that event, a fraction of a second later; sockets are told, and close.
//!
//! **Invariant:** nothing is remembered that was asked before the last event that has made the node forget.

use std::collections::BTreeSet;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use commands::{CommandError, Engine, World, sessions};
use domain::account::{self, Account, Capability};
use domain::session::{self, Session};
use domain::{AccountId, Aggregate, SessionId, Timestamp};
use eventstore::Position;
use eventstore::event::{DomainEvent, Interest, RecordedEvent};
use eventstore::log::{self, Head};
use lru::LruCache;
use sqlx::PgPool;
use tokio::sync::broadcast;

/// Sessions that a node remembers; an entry takes about a hundred bytes.
const REMEMBERED: usize = 100_000;
/// Changes that may wait for one socket before it asks anew.
const BACKLOG: usize = 256;
/// How long the node rests after a look at the log: many commits cost one look.
const REST: Duration = Duration::from_millis(25);
/// After a failed query, how long until the next.
const RETRY_PAUSE: Duration = Duration::from_millis(250);

/// Somebody who has logged in.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    /// Who.
    pub account: AccountId,
    /// In which session.
    pub session: SessionId,
    /// Until when, in real time, the access token is good that they have shown.
    pub until: Timestamp,
}

/// What an account with a session that stands may do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Standing {
    /// Its capabilities.
    pub capabilities: BTreeSet<Capability>,
    /// Whether it may not trade.
    pub blocked: bool,
}

/// Why somebody is not let in.
#[derive(Debug)]
pub enum NotAdmitted {
    /// The session is over, or never was.
    Ended,
    /// The log cannot be asked now.
    Unknown(CommandError),
}

/// Something has happened to a session or an account.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Change {
    /// To a session.
    Session(SessionId),
    /// To an account.
    Account(AccountId),
}

impl Change {
    /// Whether it may concern this caller.
    pub fn concerns(self, caller: Caller) -> bool {
        self == Self::Session(caller.session) || self == Self::Account(caller.account)
    }
}

/// Who is logged in. Clones share it.
#[derive(Clone)]
pub struct LiveSessions(Arc<Inner>);

struct Inner {
    known: Mutex<Known>,
    changes: broadcast::Sender<Change>,
}

struct Known {
    sessions: LruCache<SessionId, (AccountId, Arc<Standing>)>,
    /// The last event that was looked at.
    reached: Position,
    /// How often something was forgotten.
    forgotten: u64,
}

impl fmt::Debug for LiveSessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LiveSessions")
    }
}

impl LiveSessions {
    /// Nobody is known yet; the log is looked at from `reached` on.
    pub fn new(reached: Position) -> Self {
        let known = Known {
            sessions: LruCache::new(NonZeroUsize::new(REMEMBERED).unwrap_or(NonZeroUsize::MIN)),
            reached,
            forgotten: 0,
        };
        Self(Arc::new(Inner { known: Mutex::new(known), changes: broadcast::Sender::new(BACKLOG) }))
    }

    /// What the caller may do, if their session stands.
    pub async fn admit(&self, engine: &Engine, caller: Caller) -> Result<Arc<Standing>, NotAdmitted> {
        let Caller { account, session, .. } = caller;
        let forgotten = {
            let mut known = self.known();
            if let Some((owner, standing)) = known.sessions.get(&session)
                && *owner == account
            {
                return Ok(standing.clone());
            }
            known.forgotten
        };
        let look = move |world: &mut World<'_>| {
            if !sessions::stands(world, account, session)? {
                return Ok(None);
            }
            let account = world.get::<Account>(account)?.registered()?;
            let blocked = account.unblocked().is_err();
            Ok(Some(Standing { capabilities: account.capabilities.clone(), blocked }))
        };
        let standing = engine.read(look).await.map_err(NotAdmitted::Unknown)?;
        let standing = Arc::new(standing.ok_or(NotAdmitted::Ended)?);
        let mut known = self.known();
        if known.forgotten == forgotten {
            known.sessions.put(session, (account, standing.clone()));
        }
        Ok(standing)
    }

    /// Looks at a session anew when it is next asked for.
    pub fn forget(&self, session: SessionId) {
        let mut known = self.known();
        known.forgotten += 1;
        known.sessions.pop(&session);
    }

    /// To be told of what happens to sessions and accounts.
    pub fn subscribe(&self) -> broadcast::Receiver<Change> {
        self.0.changes.subscribe()
    }

    /// Follows the log until the task is aborted.
    pub async fn follow(self, pool: PgPool, head: Head) {
        let mut moved = head.subscribe();
        loop {
            let (from, to) = (self.known().reached, *moved.borrow_and_update());
            if to > from {
                match look(&pool, from, to).await {
                    Ok(events) => self.take(&events, to),
                    Err(error) => {
                        tracing::warn!(%error, "what has happened to sessions could not be read");
                        tokio::time::sleep(RETRY_PAUSE).await;
                        continue;
                    }
                }
            }
            tokio::time::sleep(REST).await;
            if moved.changed().await.is_err() {
                return;
            }
        }
    }

    fn take(&self, events: &[Arc<RecordedEvent>], to: Position) {
        let changes = events.iter().filter_map(|event| change(event));
        let changes: Vec<Change> = changes.collect();
        let mut known = self.known();
        known.reached = to;
        for change in &changes {
            known.forgotten += 1;
            known.forget(*change);
        }
        drop(known);
        for change in changes {
            // Nobody listens while no socket is open.
            let _ = self.0.changes.send(change);
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn forget(&mut self, change: Change) {
        match change {
            Change::Session(session) => drop(self.sessions.pop(&session)),
            Change::Account(account) => {
                let of_account = self.sessions.iter().filter(|(_, (owner, _))| *owner == account);
                let sessions: Vec<SessionId> = of_account.map(|(session, _)| *session).collect();
                for session in sessions {
                    self.sessions.pop(&session);
                }
            }
        }
    }
}

/// What an event means to whoever is logged in; nothing for one that neither ends nor changes anything for them.
fn change(event: &RecordedEvent) -> Option<Change> {
    let id = event.aggregate_id.0;
    match event.decode() {
        Ok(DomainEvent::Session(session, session::Event::SessionEnded { .. })) => Some(Change::Session(session)),
        Ok(DomainEvent::Account(account, event)) => changes_standing(&event).then_some(Change::Account(account)),
        Ok(_) => None,
        // Better asked anew than believed.
        Err(_) if event.aggregate_type == Account::TYPE => Some(Change::Account(AccountId(id))),
        Err(_) => Some(Change::Session(SessionId(id))),
    }
}

fn changes_standing(event: &account::Event) -> bool {
    use account::Event as E;
    match event {
        E::CapabilitiesGranted { .. }
        | E::CapabilitiesRevoked { .. }
        | E::AccountBlocked { .. }
        | E::AccountSuspended { .. }
        | E::AccountReinstated { .. }
        | E::SessionsRevoked { .. }
        | E::AccountErased {} => true,
        E::AccountRegistered { .. }
        | E::ProfileChanged { .. }
        | E::AccountWarned { .. }
        | E::EmailChallenged { .. }
        | E::EmailVerified { .. }
        | E::PasswordChallenged { .. }
        | E::PasswordChanged { .. }
        | E::IdentityLinked { .. }
        | E::ViolationRecorded { .. }
        | E::ViolationsPardoned { .. } => false,
    }
}

async fn look(pool: &PgPool, from: Position, to: Position) -> Result<Vec<Arc<RecordedEvent>>, sqlx::Error> {
    let mut connection = pool.acquire().await?;
    log::read_range(&mut connection, from, to, Interest::In(&[Account::TYPE, Session::TYPE])).await
}
