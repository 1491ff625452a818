//! The history as somebody may read it: what happened, in words and as it is stored, without what is others' alone.
//!
//! There are two kinds of readers. **Auditors** see everything but what would betray somebody: sealed fields, which open
//! for nobody but whom they are about; hashes and tokens, which nobody is shown; and what bidders and sellers keep secret
//! in an auction, while it goes on. **Parties** see what they have to do with ([`parties`]), with other people's secrets
//! taken out, and with other accounts under names that mean nothing elsewhere ([`redaction`]).
//!
//! This is no read model: it reads the log when it is asked, so there is nothing that could fall behind, and what is
//! forgotten in the log is forgotten here.

use std::collections::BTreeSet;

use domain::{AccountId, Aggregate, Timestamp, auction};
use eventstore::Position;
use eventstore::records::Record;
use eventstore::sealing::PersonKeys;
use eventstore::secrets::RootSecret;
use eventstore::wrapping::{KeyError, Wrapping};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

pub mod deeds;
pub mod difference;
pub mod parties;
pub mod redaction;

use redaction::{Redacted, ids_in};

/// Who reads.
#[derive(Clone, Debug)]
pub struct Reader {
    /// The account; none for an operator at the command line.
    pub account: Option<AccountId>,
    /// What it may see.
    pub eyes: Eyes,
}

/// What somebody may see.
#[derive(Clone, Debug)]
pub enum Eyes {
    /// Everything that betrays nobody.
    Auditor,
    /// What concerns them.
    Party {
        /// The accounts that it knows by their ids.
        circle: BTreeSet<AccountId>,
        /// Whether it is who sells.
        sells: bool,
    },
}

/// What is needed to show something to a reader.
#[derive(Debug)]
pub struct Lens<'a> {
    reader: &'a Reader,
    secret: Option<&'a RootSecret>,
    /// The key of the reader, if they have one.
    keys: PersonKeys,
    /// Which of the ids in what is shown are accounts that the reader does not know.
    strangers: BTreeSet<Uuid>,
    /// The auctions that are over.
    over: BTreeSet<Uuid>,
}

/// Who did something, as far as the reader may know.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Actor {
    /// An account.
    Account(Uuid),
    /// An account under a name that means nothing elsewhere.
    Somebody(String),
    /// Somebody of the staff.
    Staff,
    /// The marketplace itself: one of its processes.
    Process(String),
    /// An operator at the command line.
    Operator,
    /// Somebody who had not logged in.
    Anonymous,
}

/// An event as a reader may see it.
#[derive(Clone, Debug)]
pub struct Told {
    /// Its place in the log.
    pub position: Position,
    /// The last position of the same unit of work.
    pub commit_position: Position,
    /// Its name.
    pub event_id: Uuid,
    /// The kind of aggregate.
    pub aggregate_type: String,
    /// The aggregate.
    pub aggregate_id: Uuid,
    /// Its place in the stream.
    pub sequence: i64,
    /// What happened.
    pub event_type: String,
    /// In which version of its format.
    pub event_version: String,
    /// When.
    pub recorded_at: Timestamp,
    /// Who did it.
    pub actor: Actor,
    /// In which capacity, if it was no business of their own.
    pub capacity: Option<String>,
    /// The event that led to it.
    pub causation: Option<String>,
    /// The request that it was.
    pub correlation: Option<String>,
    /// What happened, in a sentence.
    pub change: String,
    /// What is stored of it.
    pub payload: Redacted,
}

/// The events as a reader may see them.
pub async fn tell(
    connection: &mut PgConnection,
    wrapping: &Wrapping,
    secret: Option<&RootSecret>,
    reader: &Reader,
    records: &[Record],
) -> Result<Vec<Told>, KeyError> {
    // What we have stored is JSON.
    let parse = |text: &str| serde_json::from_str(text).unwrap_or(Value::Null);
    let payloads: Vec<Value> = records.iter().map(|record| parse(record.payload.get())).collect();
    let metadata: Vec<Value> = records.iter().map(|record| parse(record.metadata.get())).collect();
    let subjects: Vec<Uuid> = records.iter().map(id_of).collect();
    let values: Vec<&Value> = payloads.iter().chain(&metadata).collect();
    let lens = Lens::upon(connection, wrapping, secret, reader, &subjects, &values).await?;
    let told = records.iter().zip(payloads).zip(&metadata);
    Ok(told.map(|((record, payload), metadata)| lens.tell(record, payload, metadata)).collect())
}

fn id_of(record: &Record) -> Uuid {
    record.aggregate_id.parse().unwrap_or_default()
}

impl<'a> Lens<'a> {
    /// A lens for looking at `values`, which are of these things.
    pub async fn upon(
        connection: &mut PgConnection,
        wrapping: &Wrapping,
        secret: Option<&'a RootSecret>,
        reader: &'a Reader,
        subjects: &[Uuid],
        values: &[&Value],
    ) -> Result<Self, KeyError> {
        let own: BTreeSet<AccountId> = reader.account.into_iter().collect();
        let keys = PersonKeys::load(&mut *connection, wrapping, &own).await?;
        let strangers = match &reader.eyes {
            Eyes::Auditor => BTreeSet::new(),
            Eyes::Party { circle, .. } => strangers(&mut *connection, circle, values).await?,
        };
        let over = over(connection, subjects).await?;
        Ok(Self { reader, secret, keys, strangers, over })
    }

    fn tell(&self, record: &Record, payload: Value, metadata: &Value) -> Told {
        let entry = |name: &str| metadata.get(name).and_then(Value::as_str).map(str::to_owned);
        let capacity = entry("capacity");
        let id = id_of(record);
        Told {
            position: record.position,
            commit_position: record.commit_position,
            event_id: record.event_id,
            aggregate_type: record.aggregate_type.clone(),
            aggregate_id: id,
            sequence: record.sequence,
            event_type: record.event_type.clone(),
            event_version: record.event_version.clone(),
            recorded_at: record.recorded_at,
            actor: self.actor(&record.aggregate_type, id, entry("actor").as_deref(), capacity.is_some()),
            capacity,
            causation: entry("causation"),
            correlation: entry("correlation"),
            change: match record.decode() {
                Ok(event) => event.tell(),
                Err(_) => "What happened cannot be read by this version.".to_owned(),
            },
            payload: self.redact(&record.aggregate_type, id, payload),
        }
    }

    fn actor(&self, aggregate_type: &str, id: Uuid, stored: Option<&str>, in_capacity: bool) -> Actor {
        let stored = stored.unwrap_or("anonymous");
        if let Some(account) = stored.strip_prefix("account:").and_then(|account| account.parse().ok()) {
            return match (self.strangers.contains(&account), in_capacity) {
                (false, _) => Actor::Account(account),
                (true, true) => Actor::Staff,
                (true, false) => Actor::Somebody(self.pseudonym(aggregate_type, id, account)),
            };
        }
        match stored.strip_prefix("process:") {
            Some(process) => Actor::Process(process.to_owned()),
            None if stored == "operator" => Actor::Operator,
            None => Actor::Anonymous,
        }
    }

    /// What stands for an account in what happened to one thing, and tells nothing about any other.
    fn pseudonym(&self, aggregate_type: &str, id: Uuid, account: Uuid) -> String {
        let name = self.secret.map(|secret| secret.pseudonym("history", &format!("{aggregate_type}:{id}:{account}")));
        match name {
            Some(name) => format!("someone-{}", &name.simple().to_string()[..8]),
            None => "someone".to_owned(),
        }
    }
}

/// Which of the ids in `values` are accounts outside of a circle.
async fn strangers(
    connection: &mut PgConnection,
    circle: &BTreeSet<AccountId>,
    values: &[&Value],
) -> Result<BTreeSet<Uuid>, sqlx::Error> {
    let mut ids = BTreeSet::new();
    for value in values {
        ids_in(value, &mut ids);
    }
    ids.retain(|id| !circle.contains(&AccountId(*id)));
    if ids.is_empty() {
        return Ok(ids);
    }
    let found: Vec<String> = sqlx::query_scalar(
        "select aggregate_id from public.events
         where aggregate_type = $1 and aggregate_id = any($2) and sequence = 1",
    )
    .bind(domain::account::Account::TYPE)
    .bind(ids.iter().map(Uuid::to_string).collect::<Vec<_>>())
    .fetch_all(connection)
    .await?;
    Ok(found.iter().filter_map(|id| id.parse().ok()).collect())
}

/// Which of these are auctions that have ended, or were called off: nobody can bid there any more.
async fn over(connection: &mut PgConnection, subjects: &[Uuid]) -> Result<BTreeSet<Uuid>, sqlx::Error> {
    let found: Vec<String> = sqlx::query_scalar(
        "select aggregate_id from public.events
         where aggregate_type = $1 and aggregate_id = any($2)
            and event_type in ('AuctionClosed', 'AuctionCancelled')",
    )
    .bind(auction::Auction::TYPE)
    .bind(subjects.iter().map(Uuid::to_string).collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>())
    .fetch_all(connection)
    .await?;
    Ok(found.iter().filter_map(|id| id.parse().ok()).collect())
}
