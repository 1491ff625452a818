//! A log on its way into an empty database: all of it in one transaction, or nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat};
use domain::AccountId;
use sqlx::{Connection, Executor, PgConnection, Postgres, Transaction};
use thiserror::Error;
use tokio::time::Instant;
use uuid::Uuid;

use super::Flaw;
use super::beside::{self, Checkpoint, KeptAnswer, Skipped};
use super::gate::{Forgotten, Gate};
use crate::event::{DomainEvent, RecordedEvent};
use crate::proof::leaf::Blinding;
use crate::proof::tree::Edge;
use crate::proof::{Hash, StoredEvent};
use crate::sealing::{PersonKey, people_in};
use crate::wrapping::Wrapping;
use crate::{Position, audit, log};

/// How long sessions may take to end whose clients have gone.
const LEAVING: Duration = Duration::from_secs(1);
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Why a log was not taken. Nothing of it is there.
#[derive(Debug, Error)]
pub enum IntakeError {
    /// There is a log already.
    #[error("the log of this database is not empty: its head is at {0}")]
    NotEmpty(Position),
    /// Somebody is at work there.
    #[error("something of Tradepost is connected to this database (sessions: {0}): stop every node first")]
    InUse(i64),
    /// An event cannot come next.
    #[error(transparent)]
    Flaw(#[from] Flaw),
    /// It ends within a unit of work.
    #[error("the log ends at position {0}, within a unit of work")]
    Cut(Position),
    /// It has events of a newer version.
    #[error("the log holds events that this version cannot read: {0}; import it with a newer version")]
    Unknown(String),
    /// Sealed fields of so many people could never be read again.
    #[error(
        "{0} people of whom there are sealed fields have no key here and are not forgotten: take keys that are not older \
         than the log; with --keys-may-lack, nobody can ever read what is sealed of these people"
    )]
    WithoutKey(u64),
    /// What was put there is not whole.
    #[error("{}", .0.join("; "))]
    NotWhole(Vec<String>),
    /// The database refused it.
    #[error("the database refused the log: {0}")]
    Sql(#[from] sqlx::Error),
}

/// What was taken.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Taken {
    /// How many events: the head is there.
    pub head: Position,
    /// The root of the tree over them.
    pub root: Hash,
    /// Keys of people.
    pub keys: u64,
    /// Keys that were left out, because the log says that these people are forgotten.
    pub forgotten: u64,
    /// People of whom there are sealed fields and no key, and whom the log does not say to be forgotten.
    pub without_key: u64,
}

/// A transaction that fills an empty database.
#[derive(Debug)]
pub struct Intake<'c> {
    transaction: Transaction<'c, Postgres>,
    gate: Gate,
    edge: Edge,
    blinding: Blinding,
    /// What there is of each kind.
    kinds: BTreeSet<(String, String, String)>,
    people: BTreeSet<AccountId>,
    erased: BTreeSet<AccountId>,
    /// The orders whose guests are forgotten.
    orders: BTreeSet<Uuid>,
    keys: BTreeMap<AccountId, Vec<u8>>,
}

impl<'c> Intake<'c> {
    /// Begins, as the owner of the database, which nobody else may be at and whose log must be empty. In the tree over the
    /// log, leaves are blinded in this way.
    pub async fn begin(owner: &'c mut PgConnection, blinding: Blinding) -> Result<Self, IntakeError> {
        let mut transaction = owner.begin().await?;
        // Who comes later waits here, and finds that the log is no longer empty.
        let head = log::lock_head(&mut transaction).await?;
        let is_empty = "select not exists (select from public.events) and not exists (select from public.command_keys)";
        if head != 0 || !sqlx::query_scalar::<_, bool>(is_empty).fetch_one(&mut *transaction).await? {
            return Err(IntakeError::NotEmpty(head));
        }
        wait_until_alone(&mut transaction).await?;
        Ok(Self {
            transaction,
            gate: Gate::default(),
            edge: Edge::default(),
            blinding,
            kinds: BTreeSet::new(),
            people: BTreeSet::new(),
            erased: BTreeSet::new(),
            orders: BTreeSet::new(),
            keys: BTreeMap::new(),
        })
    }

    /// The events that come next.
    pub async fn events(&mut self, events: &[StoredEvent]) -> Result<(), IntakeError> {
        let mut lines = String::new();
        for event in events {
            match self.gate.take(event)? {
                Some(Forgotten::Account(account)) => drop(self.erased.insert(account)),
                Some(Forgotten::GuestOf(order)) => drop(self.orders.insert(order)),
                None => {}
            }
            self.edge.push(event.blinded(&self.blinding), |_, _| {});
            self.people.extend(people_in(&event.payload));
            let StoredEvent { aggregate_type, event_type, event_version, .. } = event;
            let kind = (aggregate_type.clone(), event_type.clone(), event_version.clone());
            if !self.kinds.contains(&kind) {
                self.kinds.insert(kind);
            }
            write_line(&mut lines, event).ok_or(Flaw::Time(event.position))?;
        }
        let mut copy = self
            .transaction
            .copy_in_raw(
                "copy public.events (position, commit_position, recorded_at, sequence, event_id, aggregate_type,
                    aggregate_id, event_type, event_version, payload, metadata) from stdin",
            )
            .await?;
        copy.send(lines.as_bytes()).await?;
        copy.finish().await?;
        Ok(())
    }

    /// Up to where the log is there.
    pub fn reached(&self) -> Position {
        self.gate.reached
    }

    /// The root of the tree over what is there.
    pub fn root(&self) -> Hash {
        self.edge.root()
    }

    /// Answers to commands.
    pub async fn answers(&mut self, answers: &[KeptAnswer]) -> Result<(), IntakeError> {
        Ok(beside::put_answers(&mut self.transaction, answers).await?)
    }

    /// What was left out of read models for good.
    pub async fn skipped(&mut self, skipped: &[Skipped]) -> Result<(), IntakeError> {
        Ok(beside::put_skipped(&mut self.transaction, skipped).await?)
    }

    /// The key of somebody, which is stored as `wrapping` has it.
    pub fn key(&mut self, key: &PersonKey, wrapping: &Wrapping) {
        self.keys.insert(key.account, wrapping.wrap(key).row().to_vec());
    }

    /// Looks at all of it once more as it is stored, and commits. Processes go on from where they were; `mailed` says how
    /// far letters were called for, so that none is sent twice; `keys_may_lack`, whether somebody may have sealed fields and
    /// no key.
    pub async fn complete(
        mut self,
        processes: &[Checkpoint],
        mailed: Position,
        readable: &[(&'static str, &'static str, &'static str)],
        keys_may_lack: bool,
    ) -> Result<Taken, IntakeError> {
        let head = self.gate.reached;
        if !self.gate.is_between_units() {
            return Err(IntakeError::Cut(head));
        }
        self.check_kinds(readable).await?;
        sqlx::query("update public.log_head set position = $1").bind(head).execute(&mut *self.transaction).await?;
        beside::move_checkpoints(&mut self.transaction, processes, head).await?;
        sqlx::query("update public.mail_quiet set upto = greatest(upto, $1)")
            .bind(mailed.min(head))
            .execute(&mut *self.transaction)
            .await?;
        let (keys, forgotten) = self.put_keys().await?;
        let without_key = self.people.iter().filter(|person| !self.keys.contains_key(person)).count();
        let without_key = u64::try_from(without_key).unwrap_or(u64::MAX);
        if without_key > 0 && !keys_may_lack {
            return Err(IntakeError::WithoutKey(without_key));
        }
        let flaws = audit::gaps(&mut self.transaction).await?;
        if !flaws.is_empty() {
            return Err(IntakeError::NotWhole(flaws));
        }
        self.transaction.execute("analyze public.events").await?;
        self.transaction.commit().await?;
        Ok(Taken { head, root: self.edge.root(), keys, forgotten, without_key })
    }

    /// Registers the kinds of events that there are; refuses if this version cannot read one of them.
    async fn check_kinds(&mut self, readable: &[(&str, &str, &str)]) -> Result<(), IntakeError> {
        let unknown = self.kinds.iter().filter(|(a, e, v)| !readable.contains(&(a, e, v)));
        let unknown: Vec<_> =
            unknown.map(|(aggregate, event, version)| format!("{aggregate} {event} v{version}")).collect();
        if !unknown.is_empty() {
            return Err(IntakeError::Unknown(unknown.join(", ")));
        }
        for (aggregate, event, version) in &self.kinds {
            sqlx::query(
                "insert into public.event_types (aggregate_type, event_type, event_version) values ($1, $2, $3)
                 on conflict do nothing",
            )
            .bind(aggregate)
            .bind(event)
            .bind(version)
            .execute(&mut *self.transaction)
            .await?;
        }
        Ok(())
    }

    /// Puts the keys of people there, but for those of whom the log says that they are forgotten: the keys may be older
    /// than it. Tells how many came, and how many were left out.
    async fn put_keys(&mut self) -> Result<(u64, u64), IntakeError> {
        for order in std::mem::take(&mut self.orders) {
            let guest = guest_of(&mut self.transaction, order).await?;
            self.erased.extend(guest);
        }
        let all = self.keys.len();
        let Self { transaction, keys, people, erased, .. } = self;
        keys.retain(|person, _| !erased.contains(person));
        people.retain(|person| !erased.contains(person));
        let (accounts, rows): (Vec<Uuid>, Vec<&[u8]>) =
            keys.iter().map(|(person, row)| (person.0, row.as_slice())).unzip();
        sqlx::query("insert into public.person_keys (account_id, key) select * from unnest($1::uuid[], $2::bytea[])")
            .bind(accounts)
            .bind(rows)
            .execute(&mut **transaction)
            .await?;
        let count = |keys: usize| u64::try_from(keys).unwrap_or(u64::MAX);
        Ok((count(keys.len()), count(all - keys.len())))
    }
}

/// Who has placed an order.
async fn guest_of(connection: &mut PgConnection, order: Uuid) -> Result<Option<AccountId>, IntakeError> {
    let placed: Option<RecordedEvent> = sqlx::query_as(
        "select position, commit_position, event_id, aggregate_type, aggregate_id, sequence, event_type, event_version,
            payload::text as payload, recorded_at
         from public.events where aggregate_type = 'order' and aggregate_id = $1 and sequence = 1",
    )
    .bind(order.to_string())
    .fetch_optional(connection)
    .await?;
    let placed = placed.map(|placed| placed.decode()).transpose().map_err(Flaw::from)?;
    Ok(match placed {
        Some(DomainEvent::Order(_, domain::order::Event::OrderPlaced { terms })) => Some(terms.buyer),
        Some(_) | None => None,
    })
}

/// A row as `copy` takes it; nothing if no calendar has its time.
fn write_line(lines: &mut String, event: &StoredEvent) -> Option<()> {
    let time = DateTime::from_timestamp_micros(event.recorded_at.unix_us()?)?;
    let StoredEvent { position, commit_position, sequence, event_id, .. } = event;
    let time = time.to_rfc3339_opts(SecondsFormat::Micros, true);
    // Into a string, which takes everything.
    let _ = write!(lines, "{position}\t{commit_position}\t{time}\t{sequence}\t{event_id}");
    let texts = [
        &event.aggregate_type,
        &event.aggregate_id,
        &event.event_type,
        &event.event_version,
        &event.payload,
        &event.metadata,
    ];
    for text in texts {
        lines.push('\t');
        for letter in text.chars() {
            match letter {
                '\\' => lines.push_str("\\\\"),
                '\t' => lines.push_str("\\t"),
                '\n' => lines.push_str("\\n"),
                '\r' => lines.push_str("\\r"),
                other => lines.push(other),
            }
        }
    }
    lines.push('\n');
    Some(())
}

/// Waits a moment for sessions that are about to end, and refuses where others stay.
async fn wait_until_alone(transaction: &mut PgConnection) -> Result<(), IntakeError> {
    let others = "select count(*) from pg_stat_activity
        where datname = current_database() and application_name = 'tradepost' and pid <> pg_backend_pid()";
    let until = Instant::now() + LEAVING;
    loop {
        // A transaction goes on seeing the sessions that it has seen.
        transaction.execute("select pg_stat_clear_snapshot()").await?;
        match sqlx::query_scalar(others).fetch_one(&mut *transaction).await? {
            0 => return Ok(()),
            sessions if Instant::now() >= until => return Err(IntakeError::InUse(sessions)),
            _ => tokio::time::sleep(LOOK_AGAIN).await,
        }
    }
}
