//! What shows somebody that their bid or payment is in the log, without asking us again: a file that needs nothing but a
//! key.
//!
//! A receipt is a [`Statement`], signed, and the [`Inclusion`] of the leaf that it names in the tree of a signed head. The
//! statement says what concerns its owner; the event itself may hold what others keep secret, and its leaf is blinded
//! ([`super::leaf`]). Whoever gave out a statement that the leaf does not say is convicted by an auditor, who can open it.

use domain::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use thiserror::Error;
use uuid::Uuid;

use super::head::{HeadFault, TreeHead};
use super::keys::{KeyRing, NoteFault, ProofKey, PublicKey, open_note};
use super::leaf::Hash;
use super::store;
use super::tree::{self, Plan};
use crate::Position;

/// That an event is in the tree of a signed head.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Inclusion {
    /// Where the event is.
    pub position: Position,
    /// The hash of its leaf.
    pub leaf_hash: Hash,
    /// The hashes beside the way from the leaf to the root, from below.
    pub proof: Vec<Hash>,
    /// The size of the head.
    pub size: u64,
    /// The root in it.
    pub root_hash: Hash,
    /// The head, as a signed note.
    pub head: String,
}

/// What somebody did that counts.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Deed {
    /// A bid was accepted, with this maximum.
    Bid,
    /// An order was paid.
    Payment,
    /// Money came into a wallet.
    Deposit,
    /// A card was charged.
    Charge,
    /// A period of a subscription was paid from a wallet.
    Subscription,
}

/// What a receipt says: an accepted bid or payment, and which leaf it is.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// What was done.
    pub deed: Deed,
    /// By whom.
    pub account: Uuid,
    /// To what: the auction, the order, the deposit, the charge, the subscription.
    pub subject: Uuid,
    /// How much, in minor units.
    pub amount: i64,
    /// Of which currency.
    pub currency: String,
    /// When.
    pub at: Timestamp,
    /// The event.
    pub event_id: Uuid,
    /// Where it is in the log.
    pub position: Position,
    /// Its leaf in the tree.
    pub leaf_hash: Hash,
}

impl Statement {
    /// The statement, signed: a note of two lines. The first has a space, which no name of a log has, so it can be taken for
    /// no head.
    pub fn sign(&self, key: &ProofKey) -> Result<String, serde_json::Error> {
        Ok(key.sign_note(&format!("{OF}{}\n{}\n", key.public().name(), serde_json::to_string(self)?)))
    }

    /// What a note states, if one of the `believed` keys has signed it.
    pub fn open(note: &str, believed: &[PublicKey]) -> Result<Self, ReceiptFault> {
        let (text, key) = open_note(note, believed).map_err(ReceiptFault::Statement)?;
        let (name, statement) = text.split_once('\n').ok_or(ReceiptFault::NotAStatement)?;
        if name.strip_prefix(OF) != Some(key.name()) {
            return Err(ReceiptFault::NotAStatement);
        }
        serde_json::from_str(statement).map_err(|_| ReceiptFault::NotAStatement)
    }
}

/// How a statement begins.
const OF: &str = "receipt of ";

/// What somebody takes home.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Receipt {
    /// What is stated, as a signed note.
    pub statement: String,
    /// That its leaf is in the tree.
    pub inclusion: Inclusion,
}

/// Why there is no proof.
#[derive(Debug, Error)]
pub enum ProofError {
    /// The database.
    #[error(transparent)]
    Sql(#[from] sqlx::Error),
    /// No head covers it yet.
    #[error("no tree head covers the event at position {0} yet")]
    NotYet(Position),
    /// There is no head of that size, or it does not cover the event.
    #[error("no tree head of size {0} was signed that covers the event")]
    NoSuchHead(i64),
    /// The head is none that we believe, or hashes are missing: somebody has been at the tables.
    #[error("the proof of the event at position {0} cannot be given: what is kept for it was altered")]
    Broken(Position),
}

/// What shows that the event at `position` is in the log: under the newest head, or under that of `size`.
pub async fn inclusion(
    connection: &mut PgConnection,
    keys: &KeyRing,
    position: Position,
    size: Option<i64>,
) -> Result<Inclusion, ProofError> {
    let note = match size {
        Some(size) if size < position => return Err(ProofError::NoSuchHead(size)),
        Some(size) => store::head_of_size(&mut *connection, size).await?.ok_or(ProofError::NoSuchHead(size))?,
        None => store::newest_head(&mut *connection).await?.ok_or(ProofError::NotYet(position))?,
    };
    let (head, _) = TreeHead::open(&note, &keys.public()).map_err(|_| ProofError::Broken(position))?;
    let index = (position - 1).cast_unsigned();
    let plan = Plan::inclusion(index, head.size).ok_or(ProofError::NotYet(position))?;
    let event = store::stored_at(&mut *connection, position).await?.ok_or(ProofError::Broken(position))?;
    let leaf_hash = event.blinded(keys.blinding());
    let proof = plan.make(&store::hashes(connection, &[&plan]).await?).ok_or(ProofError::Broken(position))?;
    if !tree::includes(head.root, head.size, index, leaf_hash, &proof) {
        return Err(ProofError::Broken(position));
    }
    Ok(Inclusion { position, leaf_hash, proof, size: head.size, root_hash: head.root, head: note })
}

/// What shows that the tree of `head` begins with that of size `from`.
pub async fn consistency(
    connection: &mut PgConnection,
    from: u64,
    head: &TreeHead,
) -> Result<Option<Vec<Hash>>, sqlx::Error> {
    let Some(plan) = Plan::consistency(from, head.size) else { return Ok(None) };
    Ok(plan.make(&store::hashes(connection, &[&plan]).await?))
}

/// What is wrong with a receipt.
#[derive(Debug, Error, Eq, PartialEq)]
pub enum ReceiptFault {
    /// Its head.
    #[error("the head in it: {0}")]
    Head(#[from] HeadFault),
    /// What it says beside the head is not what the head says.
    #[error("size or root are not those of the head that is in it")]
    NotOfItsHead,
    /// Its statement.
    #[error("the statement in it: {0}")]
    Statement(NoteFault),
    /// It was signed, but is not a statement.
    #[error("what was signed is not the statement of a receipt")]
    NotAStatement,
    /// The proof is about another leaf.
    #[error(
        "the proof is about the leaf at position {proof}, and the statement about that at {stated}, or its hash differs"
    )]
    OtherLeaf {
        /// What the statement says.
        stated: Position,
        /// What the proof says.
        proof: Position,
    },
    /// The way from the leaf does not lead to the root.
    #[error("the proof does not lead from the event at position {0} to the root of the head")]
    NotIncluded(Position),
}

impl Inclusion {
    /// Checks it against nothing but the keys, and tells under which head the event is.
    pub fn check(&self, believed: &[PublicKey]) -> Result<TreeHead, ReceiptFault> {
        let (head, _) = TreeHead::open(&self.head, believed)?;
        if (head.size, head.root) != (self.size, self.root_hash) {
            return Err(ReceiptFault::NotOfItsHead);
        }
        let index = self.position.checked_sub(1).and_then(|index| u64::try_from(index).ok());
        let shown = index.is_some_and(|index| tree::includes(head.root, head.size, index, self.leaf_hash, &self.proof));
        shown.then_some(head).ok_or(ReceiptFault::NotIncluded(self.position))
    }
}

impl Receipt {
    /// Checks it against nothing but the keys, and tells what it states and under which head the event is.
    pub fn check(&self, believed: &[PublicKey]) -> Result<(Statement, TreeHead), ReceiptFault> {
        let statement = Statement::open(&self.statement, believed)?;
        let (stated, proof) = (statement.position, self.inclusion.position);
        if stated != proof || statement.leaf_hash != self.inclusion.leaf_hash {
            return Err(ReceiptFault::OtherLeaf { stated, proof });
        }
        Ok((statement, self.inclusion.check(believed)?))
    }
}
