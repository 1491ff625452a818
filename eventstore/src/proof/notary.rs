//! The notary: hashes what the log gains, off the write path, and signs what the tree has become.
//!
//! One node at a time does it, under a lease. Two that both believe to hold it do no harm: both would write the hashes
//! that come next, whoever is second is refused by the key of the row, looks where hashing has come to, and goes on from
//! there. It goes on only from what it can vouch for: hashes that lead to the newest head, with its signature. Otherwise
//! somebody has been at the tables, and it signs nothing more until `tradepost verify --full` has told what and it was
//! put right.
//!
//! While the log grows it works for a small share of the time only, so writers lose no more than that; what has piled up
//! it takes in when they rest.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::PgConnection;
use thiserror::Error;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::head::{HeadFault, TreeHead};
use super::keys::KeyRing;
use super::leaf::{Hash, StoredEvent};
use super::store::{self, LeafRow, ROW_LEAVES};
use super::tree::{Edge, Node, Plan};
use crate::Position;
use crate::clock::Clock;
use crate::database::{Database, DatabaseError};
use crate::lease::Holder;
use crate::log::{self, Head};

/// The name of its lease.
pub const LEASE: &str = "notary";
/// How long its lease is good.
pub const LEASE_TTL: Duration = Duration::from_secs(6);
/// How many events it takes in at a time.
const BATCH: i64 = 2_048;
/// It rests no longer than this at once.
const LONGEST_REST: Duration = Duration::from_secs(2);
/// How often a notary that has nothing to do looks whether it is still its turn.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// A head that somebody waits for is signed no sooner than this after the one before.
const ASKED_PAUSE: Duration = Duration::from_millis(100);
/// After a failure, how long until the next attempt.
const RETRY_PAUSE: Duration = Duration::from_millis(250);
/// And if it cannot vouch for what is there: that does not get better by itself.
const DOUBT_PAUSE: Duration = Duration::from_secs(10);

/// How often heads are signed, and what the notary may take of a busy machine.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NotaryRules {
    /// A head is signed when the newest is as old as this, and there are events that it does not cover; sooner if somebody
    /// asks for one.
    pub head_every: Duration,
    /// Or when it does not cover so many.
    pub head_events: u64,
    /// The part of its time that it works while the log grows, in per cent.
    pub share_percent: u32,
}

impl NotaryRules {
    /// How long to rest after so much work while the log grows.
    fn rest(&self, worked: Duration) -> Duration {
        let share = self.share_percent.clamp(1, 100);
        (worked * (100 - share) / share).min(LONGEST_REST)
    }
}

/// Why the notary does not go on.
#[derive(Debug, Error)]
pub enum NotaryError {
    /// The database.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// A query.
    #[error(transparent)]
    Sql(#[from] sqlx::Error),
    /// The newest head is none that it believes.
    #[error(
        "the newest tree head is not believed: {0}; a key that signed before belongs in `proof.former_keys`, otherwise \
         see `tradepost verify --full`"
    )]
    Head(#[from] HeadFault),
    /// The hashes do not lead to the newest head.
    #[error("the hashes of the first {0} events are not those that were signed; see `tradepost verify --full`")]
    NotAsSigned(u64),
    /// There are more hashes than events, or fewer than were signed.
    #[error("{hashed} events are hashed, {signed} are signed, and the log has {log}; see `tradepost verify --full`")]
    Lengths {
        /// How many hashes there are.
        hashed: u64,
        /// The size of the newest head.
        signed: u64,
        /// Where the log ends.
        log: Position,
    },
    /// The log has no event there, or two.
    #[error("the log does not have one event at position {0}; see `tradepost verify --full`")]
    Gap(Position),
}

impl NotaryError {
    fn pause(&self) -> Duration {
        match self {
            Self::Database(_) | Self::Sql(_) => RETRY_PAUSE,
            Self::Head(_) | Self::NotAsSigned(_) | Self::Lengths { .. } | Self::Gap(_) => DOUBT_PAUSE,
        }
    }
}

/// How far the notary of this node is; by default it is another's turn.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// Up to where events are hashed; nothing while it is not this node's turn.
    pub hashed: Option<Position>,
    /// The size of the newest head.
    pub signed: Position,
    /// The newest head, as a signed note.
    pub head: Option<Arc<str>>,
}

/// Hashes and signs.
#[derive(Debug)]
pub struct Notary {
    /// Where the log is.
    pub database: Database,
    /// Wakes it when the log grows.
    pub head: Head,
    /// Whether it is this node's turn.
    pub turn: Holder,
    /// When a head is signed.
    pub clock: Clock,
    /// What signs.
    pub keys: KeyRing,
    /// How often, and how much.
    pub rules: NotaryRules,
    /// A position that somebody waits to be covered by a head.
    pub asked: watch::Receiver<Position>,
    /// Tells how far it is.
    pub standing: watch::Sender<Standing>,
}

impl Notary {
    /// Works whenever it is this node's turn, until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        stop.run_until_cancelled(async {
            loop {
                self.turn.until_mine().await;
                let ended = self.work().await;
                self.standing.send_replace(Standing::default());
                if let Err(error) = ended {
                    tracing::warn!(%error, "the notary begins again");
                    tokio::time::sleep(error.pause()).await;
                }
            }
        })
        .await;
    }

    /// Hashes what is not, and what comes, as long as it is this node's turn.
    async fn work(&self) -> Result<(), NotaryError> {
        let mut connection = self.database.connect(None).await?;
        let mut book = Book::open(&mut connection, &self.keys).await?;
        tracing::info!(position = book.hashed(), "the notary goes on");
        let (mut heads, mut asked) = (self.head.subscribe(), self.asked.clone());
        while self.turn.is_mine() {
            let (began, known) = (Instant::now(), self.head.position());
            let wanted = *asked.borrow_and_update();
            let taken = book.take_in(&mut connection, &self.keys, (&self.rules, wanted), &self.clock).await?;
            let signed = book.signed.cast_signed();
            self.standing.send_replace(Standing { hashed: Some(book.hashed()), signed, head: book.note.clone() });
            if self.head.position() > known {
                // Others are at work.
                tokio::time::sleep(self.rules.rest(began.elapsed())).await;
            } else if taken < BATCH {
                let hashed = book.hashed();
                let grown = heads.wait_for(|head| *head > hashed);
                let patience = book.until_head(&self.rules, wanted).map_or(LOOK_EVERY, |due| due.min(LOOK_EVERY));
                // A head that is due or asked for is as good a reason to go on as an event.
                tokio::select! {
                    _ = grown => {}
                    Ok(()) = asked.changed() => {}
                    () = tokio::time::sleep(patience) => {}
                }
            }
        }
        Ok(())
    }
}

/// Takes in the whole log as it is, and signs a head over it: for a command, or a test. Whoever else does so meanwhile
/// makes this fail and does its work.
pub async fn catch_up(connection: &mut PgConnection, keys: &KeyRing, clock: &Clock) -> Result<Position, NotaryError> {
    let rules = NotaryRules { head_every: Duration::ZERO, head_events: 1, share_percent: 100 };
    let mut book = Book::open(connection, keys).await?;
    while book.take_in(connection, keys, (&rules, 0), clock).await? > 0 || book.until_head(&rules, 0).is_some() {}
    Ok(book.hashed())
}

/// The tree as far as it is written, and when it was signed last.
#[derive(Debug)]
struct Book {
    edge: Edge,
    /// The size of the newest head.
    signed: u64,
    note: Option<Arc<str>>,
    signed_at: Option<Instant>,
}

impl Book {
    /// Opens it where it ends, if what is in it is what was signed.
    async fn open(connection: &mut PgConnection, keys: &KeyRing) -> Result<Self, NotaryError> {
        let log = log::head(&mut *connection).await?;
        let hashed = store::size(&mut *connection).await?.cast_unsigned();
        let (note, believed) = (store::newest_head(&mut *connection).await?, keys.public());
        let head = note.as_deref().map(|note| TreeHead::open(note, &believed)).transpose()?.map(|(head, _)| head);
        let signed = head.map_or(0, |head| head.size);
        if signed > hashed || hashed > log.cast_unsigned() {
            return Err(NotaryError::Lengths { hashed, signed, log });
        }
        let plans = [Plan::root(hashed), Plan::root(signed)];
        let nodes = store::hashes(connection, &[&plans[0], &plans[1]]).await?;
        let root = plans[1].make(&nodes).and_then(|roots| roots.first().copied());
        let as_signed = head.is_none_or(|head| root == Some(head.root));
        let edge = Edge::of(hashed, &nodes).filter(|_| as_signed).ok_or(NotaryError::NotAsSigned(signed))?;
        Ok(Self { edge, signed, note: note.map(Arc::from), signed_at: None })
    }

    /// Up to where events are hashed.
    fn hashed(&self) -> Position {
        self.edge.size().cast_signed()
    }

    /// How long until a head is to be signed because of the time, or because somebody waits for this position; nothing if
    /// the newest covers everything.
    fn until_head(&self, rules: &NotaryRules, wanted: Position) -> Option<Duration> {
        let every =
            if wanted > self.signed.cast_signed() { rules.head_every.min(ASKED_PAUSE) } else { rules.head_every };
        let since = self.signed_at.map_or(every, |at| at.elapsed());
        (self.edge.size() > self.signed).then(|| every.saturating_sub(since))
    }

    /// Hashes the next events, and signs a head if one is due. Tells how many events there were.
    async fn take_in(
        &mut self,
        connection: &mut PgConnection,
        keys: &KeyRing,
        (rules, wanted): (&NotaryRules, Position),
        clock: &Clock,
    ) -> Result<i64, NotaryError> {
        let from = self.hashed();
        let events = store::stored(connection, from, from + BATCH).await?;
        for (expected, event) in (from + 1..).zip(&events) {
            if event.position != expected {
                return Err(NotaryError::Gap(expected));
            }
        }
        let (mut edge, mut nodes) = (self.edge.clone(), Vec::new());
        let hashes: Vec<Hash> = events.iter().map(|event| event.blinded(keys.blinding())).collect();
        for hash in &hashes {
            edge.push(*hash, |node: Node, hash| nodes.push((node, hash)));
        }
        let unsigned = edge.size() - self.signed;
        let grown = Self { edge: edge.clone(), note: None, ..*self };
        let due = grown.until_head(rules, wanted).is_some_and(|rest| rest.is_zero());
        let head = (due || unsigned >= rules.head_events.max(1)).then(|| {
            let head = TreeHead { size: edge.size(), root: edge.root(), at: clock.now() };
            (head.size, head.sign(keys.current()))
        });
        if events.is_empty() && head.is_none() {
            return Ok(0);
        }
        let signed = head.as_ref().map(|(size, note)| (*size, note.as_str()));
        store::add(connection, &rows(&events, &hashes), &nodes, signed).await?;
        self.edge = edge;
        if let Some((size, note)) = head {
            (self.signed, self.note, self.signed_at) = (size, Some(note.into()), Some(Instant::now()));
        }
        Ok(i64::try_from(events.len()).unwrap_or(i64::MAX))
    }
}

/// Hashes as rows, none of which crosses a multiple of [`ROW_LEAVES`].
fn rows(events: &[StoredEvent], hashes: &[Hash]) -> Vec<LeafRow> {
    let block = |event: &StoredEvent| (event.position - 1).cast_unsigned() / ROW_LEAVES;
    let mut hashes = hashes.iter();
    let blocks = events.chunk_by(|one, next| block(one) == block(next));
    let rows = blocks.map(|events| LeafRow {
        first: events.first().map_or(0, |event| event.position),
        event_ids: events.iter().flat_map(|event| *event.event_id.as_bytes()).collect(),
        hashes: hashes.by_ref().take(events.len()).flat_map(|hash| hash.0).collect(),
    });
    rows.collect()
}
