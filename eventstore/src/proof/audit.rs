//! Whether the log is what it was when it was hashed, and the hashes are what was signed.
//!
//! Every event is hashed anew, and compared with what is recorded of it; the tree over what is recorded is built anew, and
//! compared with every node that is kept and every head that was signed, here or kept outside. So it is told which event
//! is not what it was, and also whether it is the event or its record that somebody has altered. If both were altered to
//! fit each other, the nodes above name a range of 256, and if those were too, the heads name what lies between two.

mod compare;
mod findings;

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use sqlx::{Connection, Executor, PgConnection};
use uuid::Uuid;

pub use findings::Finding;

use self::compare::Suspects;
use super::head::TreeHead;
use super::keys::{KeyRing, PublicKey};
use super::leaf::{Hash, StoredEvent};
use super::store::{self, LeafRow, ROW_LEAVES};
use super::tree::{Edge, KEPT_EVERY, Node};
use crate::{Position, log};

/// How many events are read at a time.
const BATCH: i64 = 2_048;
/// The most findings that are told.
pub const MOST_FINDINGS: usize = 1_000;

/// What was found.
#[derive(Clone, Debug, Serialize)]
pub struct ProofAudit {
    /// Where the log ends.
    pub log: Position,
    /// Up to where events are hashed; what comes after, no hash vouches for yet.
    pub hashed: Position,
    /// The size of the newest head that is believed.
    pub signed: Position,
    /// How many heads were compared, those from outside too.
    pub heads: usize,
    /// What is not as it was.
    pub findings: Vec<Finding>,
}

/// Looks at everything as it is in one snapshot. `outside` are heads that were kept elsewhere, as notes; `tell` is told how
/// many events of how many were looked at.
pub async fn audit(
    connection: &mut PgConnection,
    keys: &KeyRing,
    outside: &[String],
    tell: impl FnMut(Position, Position) + Send,
) -> Result<ProofAudit, sqlx::Error> {
    let mut transaction = connection.begin().await?;
    transaction.execute("set transaction isolation level repeatable read, read only").await?;
    let audit = look(&mut transaction, keys, outside, tell).await;
    transaction.rollback().await?;
    audit
}

/// [`audit`] within a transaction.
pub(crate) async fn look(
    connection: &mut PgConnection,
    keys: &KeyRing,
    outside: &[String],
    mut tell: impl FnMut(Position, Position) + Send,
) -> Result<ProofAudit, sqlx::Error> {
    let (log, end) = (log::head(&mut *connection).await?, store::size(&mut *connection).await?);
    let believed = keys.public();
    let mut walk = Walk::new(store::every_node(connection).await?);
    walk.keep(outside, &believed, end);
    // What stands before the first position, nobody has written there.
    for event in store::stored(connection, Position::MIN, 0).await? {
        walk.suspects.event(&event);
    }
    let mut from = 0;
    while from < end {
        let to = end.min(from + BATCH);
        let events = store::stored(connection, from, to).await?;
        let rows = store::leaf_rows(connection, from, to).await?;
        walk.sign(&store::heads(connection, from, to).await?, &believed, end);
        let records = recorded(&rows, from, to, &mut walk.findings);
        let hashes: Vec<Hash> = events.iter().map(|event| event.blinded(keys.blinding())).collect();
        walk.take(from, to, (&events, &hashes), &records);
        from = to;
        tell(from, end);
    }
    // Those that cover more than there is: how many does not matter.
    let beyond = store::heads(connection, end, i64::MAX).await?;
    walk.sign(beyond.get(..beyond.len().min(MOST_FINDINGS)).unwrap_or_default(), &believed, end);
    let elsewhere = elsewhere(connection, end, &walk.suspects).await?;
    Ok(walk.end(log, end, &elsewhere))
}

/// Where, beyond what is hashed, there are events of these that are missed.
async fn elsewhere(
    connection: &mut PgConnection,
    hashed: Position,
    suspects: &Suspects,
) -> Result<Vec<(Position, Uuid)>, sqlx::Error> {
    sqlx::query_as("select position, event_id from public.events where position > $1 and event_id = any($2)")
        .bind(hashed)
        .bind(suspects.recorded().collect::<Vec<_>>())
        .fetch_all(connection)
        .await
}

/// What is recorded of the events after `from` up to `to`: the first record of each position.
fn recorded(
    rows: &[LeafRow],
    from: Position,
    to: Position,
    findings: &mut Vec<Finding>,
) -> BTreeMap<Position, (Uuid, Hash)> {
    let mut records = BTreeMap::new();
    for row in rows {
        let ids = row.event_ids.as_chunks().0.iter().map(|bytes| Uuid::from_bytes(*bytes));
        for (position, (id, hash)) in (row.first..).zip(ids.zip(row.hashes())) {
            if position <= from || position > to {
                continue;
            }
            if records.insert(position, (id, hash)).is_some() {
                findings.push(Finding::RecordedTwice { at: position });
            }
        }
    }
    records
}

/// The heads that are still to be reached, by their sizes.
#[derive(Default)]
struct Heads {
    by_size: BTreeMap<u64, Vec<(Hash, bool)>>,
    newest: u64,
    count: usize,
}

/// Which of two trees has the hash that is kept or signed: that over the events, or that over what is recorded of them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Vouched {
    Record,
    Event,
    Neither,
}

impl Vouched {
    fn of(kept: Option<Hash>, record: Hash, event: Hash) -> Self {
        match kept {
            Some(kept) if kept == record => Self::Record,
            Some(kept) if kept == event => Self::Event,
            // Of what was taken away nothing can be said: the record stands.
            None => Self::Record,
            Some(_) => Self::Neither,
        }
    }
}

/// The way through the log, from its first event on.
struct Walk {
    suspects: Suspects,
    /// The tree over what is recorded.
    records: Edge,
    /// The tree over what is there.
    events: Edge,
    kept: HashMap<Node, Hash>,
    heads: Heads,
    /// Blocks of events by their number, as far as something differs there.
    blocks: BTreeMap<u64, Vouched>,
    /// The largest head that what is recorded leads to, or what is there.
    good: u64,
    /// The first that neither leads to, whether it was kept outside, and how many more.
    bad: Option<(u64, bool, usize)>,
    /// What vouches for the events after the last whole block.
    rest: Option<Vouched>,
    findings: Vec<Finding>,
}

impl Walk {
    fn new(nodes: Vec<(Node, Hash)>) -> Self {
        Self {
            suspects: Suspects::default(),
            records: Edge::default(),
            events: Edge::default(),
            kept: nodes.into_iter().collect(),
            findings: Vec::new(),
            heads: Heads::default(),
            blocks: BTreeMap::new(),
            good: 0,
            bad: None,
            rest: None,
        }
    }

    /// Takes heads that were kept outside.
    fn keep(&mut self, outside: &[String], believed: &[PublicKey], hashed: Position) {
        for (number, note) in (1..).zip(outside) {
            match TreeHead::open(note, believed) {
                Ok((head, _)) => self.expect(&head, true, hashed),
                Err(fault) => self.findings.push(Finding::KeptNotBelieved { number, why: fault.to_string() }),
            }
        }
    }

    /// Takes heads that are kept here, each with the size that it is kept under.
    fn sign(&mut self, heads: &[(i64, String)], believed: &[PublicKey], hashed: Position) {
        for (size, note) in heads {
            let size = *size;
            match TreeHead::open(note, believed) {
                Ok((head, _)) if head.size == size.cast_unsigned() => {
                    self.heads.newest = self.heads.newest.max(head.size);
                    self.expect(&head, false, hashed);
                }
                Ok((head, _)) => self.findings.push(Finding::HeadOfOtherSize { size, says: head.size }),
                Err(fault) => self.findings.push(Finding::HeadNotBelieved { size, why: fault.to_string() }),
            }
        }
    }

    fn expect(&mut self, head: &TreeHead, outside: bool, hashed: Position) {
        self.heads.count += 1;
        if head.size > hashed.cast_unsigned() {
            self.findings.push(Finding::HeadBeyond { size: head.size, hashed, outside });
        } else {
            self.heads.by_size.entry(head.size).or_default().push((head.root, outside));
        }
    }

    /// Goes from behind `from` to `to`.
    fn take(
        &mut self,
        from: Position,
        to: Position,
        (mut events, mut hashes): (&[StoredEvent], &[Hash]),
        records: &BTreeMap<Position, (Uuid, Hash)>,
    ) {
        for position in from + 1..=to {
            let count = events.iter().take_while(|event| event.position == position).count();
            let ((here, later), (theirs, hashes_later)) = (events.split_at(count), hashes.split_at(count));
            (events, hashes) = (later, hashes_later);
            let record = records.get(&position);
            let right = record.and_then(|(_, recorded)| theirs.iter().position(|hash| hash == recorded));
            for (index, event) in here.iter().enumerate() {
                if Some(index) != right {
                    self.suspects.event(event);
                }
            }
            match record {
                Some((id, _)) if right.is_none() => self.suspects.record(position, *id),
                Some(_) => {}
                None => self.findings.push(Finding::NotRecorded { at: position }),
            }
            let there = theirs.first().copied();
            let recorded = record.map(|(_, hash)| *hash);
            self.step(recorded.or(there), if right.is_some() { recorded } else { there.or(recorded) });
        }
    }

    /// Adds the next event to both trees.
    fn step(&mut self, record: Option<Hash>, event: Option<Hash>) {
        // Where there is neither, both have the same hole.
        let [record, event] = [record, event].map(|hash| hash.unwrap_or(Hash::of_nothing()));
        let (mut recorded, mut there) = (Vec::new(), Vec::new());
        self.records.push(record, |node, hash| recorded.push((node, hash)));
        self.events.push(event, |_, hash| there.push(hash));
        for ((node, record), event) in recorded.into_iter().zip(there) {
            let kept = self.kept.remove(&node);
            let vouched = Vouched::of(kept, record, event);
            if kept.is_none() {
                self.findings.push(Finding::NodeMissing { first: node.first() + 1, last: node.end() });
            }
            if node.level == KEPT_EVERY {
                self.blocks.insert(node.index, vouched);
            } else if vouched == Vouched::Neither {
                self.findings.push(Finding::NodeAltered { first: node.first() + 1, last: node.end() });
            }
        }
        let size = self.records.size();
        for (root, outside) in self.heads.by_size.remove(&size).unwrap_or_default() {
            let vouched = Vouched::of(Some(root), self.records.root(), self.events.root());
            if !size.is_multiple_of(ROW_LEAVES) {
                self.rest = Some(vouched);
            }
            match (vouched, &mut self.bad) {
                // Where the events are as signed, whichever records are not are named.
                (Vouched::Record | Vouched::Event, _) => self.good = size,
                (_, Some((_, _, more))) => *more += 1,
                (_, bad @ None) => *bad = Some((size, outside, 0)),
            }
        }
    }

    /// Says what came of it.
    fn end(mut self, log: Position, hashed: Position, elsewhere: &[(Position, Uuid)]) -> ProofAudit {
        let whole = hashed.cast_unsigned() / ROW_LEAVES;
        let vouched = |position: Position| {
            let block = (position - 1).cast_unsigned() / ROW_LEAVES;
            if block < whole { self.blocks.get(&block).copied() } else { self.rest }
        };
        // Whoever altered a record only has not altered the event that still is what was signed.
        let forged = |position| vouched(position) == Some(Vouched::Event);
        let suspected = self.suspects.any_at(|position| (position - 1).cast_unsigned() / ROW_LEAVES);
        self.findings.extend(self.suspects.findings(elsewhere, forged));
        for (block, vouched) in &self.blocks {
            if *vouched == Vouched::Neither && !suspected.contains(block) {
                let first = block * ROW_LEAVES + 1;
                self.findings.push(Finding::BlockAltered { first, last: first + ROW_LEAVES - 1 });
            }
        }
        for node in self.kept.keys() {
            self.findings.push(Finding::NodeTooMany { level: node.level, index: node.index });
        }
        if let Some((size, outside, more)) = self.bad {
            let after = self.good.min(size - 1);
            self.findings.push(Finding::NotAsSigned { size, outside, more, first: after + 1 });
        }
        self.findings.truncate(MOST_FINDINGS);
        let (signed, heads) = (self.heads.newest.cast_signed(), self.heads.count);
        ProofAudit { log, hashed, signed, heads, findings: self.findings }
    }
}
