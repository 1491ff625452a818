//! Proof that the log is what it was: signed tree heads, that an event is in the log, and receipts of bids and payments.
//!
//! What is proven can be checked without us: `tradepost verify-receipt` does, and `docs/proof.md` says how.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use domain::account::Capability;
use eventstore::progress::Behind;
use eventstore::proof::TreeHead;
use eventstore::proof::leaf::Hash;
use eventstore::proof::receipt::{self, Inclusion, ProofError, Statement};
use eventstore::proof::store;
use eventstore::{Position, log};
use projections::history::{deeds, parties};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::app::App;
use crate::http::access;
use crate::http::extract::{Caller, Ids, READ_PATIENCE, Read};
use crate::http::openapi::{Waits, words};
use crate::http::problem::Problem;

const TAG: &str = "Proof";
/// What a reader waits for.
const FOLLOWER: &str = "proof";
/// How long between two looks whether a head is there that covers an event.
const LOOK_EVERY: std::time::Duration = std::time::Duration::from_millis(250);
/// The most hashes in a proof: more than the levels of any tree of 2^63 leaves, both ways.
const MOST_HASHES: usize = 128;

/// The routes of this file.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(head)).routes(routes!(receipt_of)).routes(routes!(proof_of))
}

/// Since which size to show that the log only grew.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct HeadQuery {
    /// The size of a head that you have: `consistency` then shows that the log begins with what it was.
    #[param(minimum = 1, maximum = 9_223_372_036_854_775_807_i64)]
    from: Option<i64>,
}

/// A signed tree head.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TreeHead)]
pub struct HeadBody {
    /// How many events it covers: those at positions 1 to this.
    size: i64,
    /// The root of the Merkle tree over them (RFC 6962).
    #[schema(pattern = "^[0-9a-f]{64}$")]
    root_hash: String,
    signed_at: DateTime<Utc>,
    /// The head itself: a checkpoint (<https://c2sp.org/tlog-checkpoint>) with its signature. Keep it, and nobody can change
    /// the log under it without your being able to show it.
    note: String,
    /// The keys that may have signed it, the current one first, as <https://c2sp.org/signed-note> writes them. Believe them
    /// because you got them elsewhere too.
    #[schema(min_items = 1)]
    keys: Vec<String>,
    /// The size that was asked about.
    from: Option<i64>,
    /// The consistency proof from there (RFC 6962, section 2.1.2).
    #[schema(max_items = 128)]
    consistency: Vec<HashText>,
}

/// A SHA-256 in hexadecimal.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Sha256, value_type = String, pattern = "^[0-9a-f]{64}$")]
pub struct HashText(String);

impl From<Hash> for HashText {
    fn from(hash: Hash) -> Self {
        Self(hash.to_string())
    }
}

/// The newest signed head of the log, and with `from` what shows that it grew out of an earlier one. For anybody.
#[utoipa::path(get, path = "/events/head", tag = TAG, params(HeadQuery, Waits),
    responses((status = OK, body = HeadBody, description = "The head"),
        (status = NOT_FOUND, description = "None was signed yet")))]
async fn head(State(app): State<App>, read: Read<HeadQuery>) -> Result<Json<HeadBody>, Problem> {
    let from = read.query.from;
    if from.is_some_and(|from| from < 1) {
        return Err(Problem::invalid_field("?from", "out-of-range", "must be 1 or more"));
    }
    if let Some(wanted) = read.min_position {
        until_covered(&app, wanted).await?;
    }
    let mut connection = app.pool.acquire().await?;
    let note = store::newest_head(&mut *connection).await?;
    let note = note.ok_or_else(|| Problem::not_found("tree head yet"))?;
    let believed = app.keys.public();
    let (head, _) = TreeHead::open(&note, &believed).map_err(|fault| broken(&fault))?;
    let consistency = match from {
        None => Vec::new(),
        Some(from) if from.cast_unsigned() > head.size => {
            let detail = format!("the newest tree head has size {}", head.size);
            return Err(Problem::invalid_field("?from", "too-far", detail));
        }
        Some(from) => {
            let proof = receipt::consistency(&mut connection, from.cast_unsigned(), &head).await?;
            proof.ok_or_else(|| broken(&"hashes are missing"))?
        }
    };
    debug_assert!(consistency.len() <= MOST_HASHES);
    Ok(Json(HeadBody {
        size: head.size.cast_signed(),
        root_hash: head.root.to_string(),
        signed_at: head.at,
        note,
        keys: believed.iter().map(ToString::to_string).collect(),
        from,
        consistency: consistency.into_iter().map(HashText::from).collect(),
    }))
}

/// Under which head.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ProofQuery {
    /// The size of a head that was signed and covers the event; the newest unless told.
    #[param(minimum = 1, maximum = 9_223_372_036_854_775_807_i64)]
    size: Option<i64>,
}

impl ProofQuery {
    fn checked(&self) -> Result<Option<i64>, Problem> {
        match self.size {
            Some(size) if size < 1 => Err(Problem::invalid_field("?size", "out-of-range", "must be 1 or more")),
            size => Ok(size),
        }
    }
}

/// What shows that an event is in the log.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = InclusionProof)]
pub struct InclusionBody {
    /// Where the event is; its leaf is the one before it, counted from 0.
    position: i64,
    /// The hash of its leaf. The leaf is blinded, so the hash tells nothing of what others keep secret.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    leaf_hash: String,
    /// The audit path (RFC 6962, section 2.1.1), from below.
    #[schema(max_items = 128)]
    proof: Vec<HashText>,
    /// The size of the head.
    size: i64,
    /// The root in it.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    root_hash: String,
    /// The head, with its signature.
    head: String,
}

impl From<Inclusion> for InclusionBody {
    fn from(inclusion: Inclusion) -> Self {
        let Inclusion { position, leaf_hash, proof, size, root_hash, head } = inclusion;
        Self {
            position,
            leaf_hash: leaf_hash.to_string(),
            proof: proof.into_iter().map(HashText::from).collect(),
            size: size.cast_signed(),
            root_hash: root_hash.to_string(),
            head,
        }
    }
}

/// What shows that an event is in the log, under a signed head. For auditors, and for whom the history of the thing
/// concerns that it has happened to.
#[utoipa::path(get, path = "/events/{position}/proof", tag = TAG, security(("bearer" = [])),
    params(("position" = i64, Path, minimum = 1, description = "Where it is in the log."), ProofQuery, Waits),
    responses((status = OK, body = InclusionBody, description = "The proof")))]
async fn proof_of(
    State(app): State<App>,
    caller: Caller,
    Ids(position): Ids<i64>,
    read: Read<ProofQuery>,
) -> Result<Json<InclusionBody>, Problem> {
    let size = read.query.checked()?;
    let nothing = || Problem::not_found("event");
    let is_auditor = access::may(&app, caller, Capability::Audit).await?;
    let mut connection = app.pool.acquire().await?;
    let event = store::stored_at(&mut *connection, position).await?.ok_or_else(nothing)?;
    if !is_auditor {
        let of = event.aggregate_id.parse().map_err(|_| nothing())?;
        let eyes = parties::eyes(&mut connection, &event.aggregate_type, of, caller.account).await?;
        eyes.ok_or_else(nothing)?;
    }
    drop(connection);
    once_covered(&app, position, read.min_position).await?;
    let mut connection = app.pool.acquire().await?;
    let inclusion = receipt::inclusion(&mut connection, &app.keys, position, size).await;
    Ok(Json(inclusion.map_err(unprovable)?.into()))
}

words!(DeedName: "bid", "payment", "deposit", "charge", "subscription");

/// What a receipt states, for reading: what counts is the signed text.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ReceiptStatement)]
pub struct StatementBody {
    /// `bid`, with its maximum; `payment`, of an order; `deposit`, into a wallet; `charge`, of a card; or `subscription`, a
    /// period of it paid from a wallet.
    #[schema(value_type = DeedName, example = "bid")]
    deed: receipt::Deed,
    account: Uuid,
    /// The auction, the order, the deposit, the charge or the subscription.
    subject: Uuid,
    /// In minor units.
    #[schema(example = 1050)]
    amount: i64,
    #[schema(example = "USD")]
    currency: String,
    at: DateTime<Utc>,
    event_id: Uuid,
    /// Where it is in the log.
    position: i64,
}

/// A receipt. Keep all of it in a file: `tradepost verify-receipt` checks it without asking anybody.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Receipt)]
pub struct ReceiptBody {
    /// What it states, signed: a signed note (<https://c2sp.org/signed-note>) with a line of JSON.
    statement: String,
    /// The same, for reading.
    states: StatementBody,
    /// That what it states is in the log.
    inclusion: InclusionBody,
}

/// The receipt of a bid or payment of one's own: its `id` is the `position` that the command was answered with, or that of
/// the event itself. It takes the last accepted bid or payment of the caller at that position or before it in the same
/// command. For whoever did it.
#[utoipa::path(get, path = "/events/receipts/{id}", tag = TAG, security(("bearer" = [])),
    params(("id" = i64, Path, minimum = 1, description = "A position: what the command answered."), ProofQuery, Waits),
    responses((status = OK, body = ReceiptBody, description = "The receipt")))]
async fn receipt_of(
    State(app): State<App>,
    caller: Caller,
    Ids(position): Ids<i64>,
    read: Read<ProofQuery>,
) -> Result<Json<ReceiptBody>, Problem> {
    let size = read.query.checked()?;
    let nothing = || Problem::not_found("receipt");
    let mut connection = app.pool.acquire().await?;
    if position < 1 || position > log::head(&mut *connection).await? {
        return Err(nothing());
    }
    let done = deeds::of(&mut connection, caller.account, position).await?.ok_or_else(nothing)?;
    drop(connection);
    once_covered(&app, done.position, read.min_position).await?;
    let mut connection = app.pool.acquire().await?;
    let inclusion = receipt::inclusion(&mut connection, &app.keys, done.position, size).await.map_err(unprovable)?;
    let statement = Statement {
        deed: done.deed,
        account: caller.account.0,
        subject: done.subject,
        amount: done.amount.minor(),
        currency: done.amount.currency().code().to_owned(),
        at: done.at,
        event_id: done.event_id,
        position: done.position,
        leaf_hash: inclusion.leaf_hash,
    };
    let signed = statement.sign(app.keys.current()).map_err(|error| broken(&error))?;
    Ok(Json(ReceiptBody { statement: signed, states: states(statement), inclusion: inclusion.into() }))
}

fn states(statement: Statement) -> StatementBody {
    let Statement { deed, account, subject, amount, currency, at, event_id, position, leaf_hash: _ } = statement;
    StatementBody { deed, account, subject, amount, currency, at, event_id, position }
}

/// Waits a moment until a head is signed that covers this position. Holds no connection meanwhile.
async fn until_covered(app: &App, wanted: Position) -> Result<(), Problem> {
    let until = Instant::now() + READ_PATIENCE;
    let mut notary = app.notary.clone();
    loop {
        let reached = store::signed(&app.pool).await?;
        if reached >= wanted {
            return Ok(());
        }
        if Instant::now() >= until || app.closing.is_cancelled() {
            return Err(Behind { follower: FOLLOWER, wanted, reached }.into());
        }
        // Where the notary is another node's, it is looked for in the database now and then.
        let signed = async {
            match &mut notary {
                Some(notary) => drop(notary.standing.wait_for(|standing| standing.signed >= wanted).await),
                None => std::future::pending().await,
            }
        };
        let _ = tokio::time::timeout(LOOK_EVERY, signed).await;
    }
}

/// Has a head signed that covers this position, if the notary is on this node, and waits for it. For those who have logged
/// in: every head is kept for ever. For what they wait besides, `min`, nobody signs sooner: it need not exist.
async fn once_covered(app: &App, wanted: Position, min: Option<Position>) -> Result<(), Problem> {
    if let Some(notary) = &app.notary {
        notary.ask.send_if_modified(|asked| std::mem::replace(asked, wanted.max(*asked)) < wanted);
    }
    until_covered(app, wanted.max(min.unwrap_or(0))).await
}

/// The answer when there is no proof.
fn unprovable(error: ProofError) -> Problem {
    match error {
        ProofError::Sql(error) => error.into(),
        ProofError::NotYet(position) => Behind { follower: FOLLOWER, wanted: position, reached: 0 }.into(),
        ProofError::NoSuchHead(_) => {
            Problem::invalid_field("?size", "unknown", "no tree head of this size was signed that covers the event")
        }
        ProofError::Broken(_) => broken(&error),
    }
}

/// Somebody has been at what the proof is made of, or this node lacks a key. That is no business of the caller's, and all of
/// the operator's.
fn broken(why: &dyn std::fmt::Display) -> Problem {
    tracing::error!(%why, "a proof cannot be given; see `tradepost verify --full`");
    Problem::internal()
}
