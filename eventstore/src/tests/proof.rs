//! That the log is what it was: nobody changes it without being named, whoever they are.

use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use sqlx::Row;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::clock::Clock;
use crate::lease::Lease;
use crate::log::Head;
use crate::proof::audit::{self, Finding, ProofAudit};
use crate::proof::head::{self, TreeHead};
use crate::proof::keys::{KeyRing, ProofKey, PublicKey};
use crate::proof::leaf::Blinding;
use crate::proof::notary::{self, Notary, NotaryError, NotaryRules, Standing};
use crate::proof::receipt::{self, Deed, ProofError, ReceiptFault, Statement};
use crate::proof::tree::Plan;
use crate::proof::{Hash, store};
use crate::secrets::RootSecret;

mod tampering;

/// How many events the log of these tests has: more than two whole blocks of 256, and a part of a third.
const EVENTS: i64 = 700;

fn ring(seed: u8) -> KeyRing {
    KeyRing::new(ProofKey::from_seed("test", &[seed; 32]).unwrap(), Vec::new(), blinding())
}

fn blinding() -> Blinding {
    Blinding::of(&RootSecret::new(b"secret"))
}

fn believed() -> Vec<PublicKey> {
    ring(1).public()
}

/// Appends wallets of 20 events each until the log has `until` events or a few more.
async fn grow(connection: &mut PgConnection, until: i64) -> i64 {
    let mut head = log::head(&mut *connection).await.unwrap();
    while head < until {
        let (_, _, events) = history(18);
        let count = i64::try_from(events.len()).unwrap();
        let batch = if head % 3 == 0 { together(events) } else { singly(events) };
        assert_eq!(log::append(connection, head, &batch).await.unwrap(), Appended::Committed);
        head += count;
    }
    head
}

/// A log that was hashed as it grew, with a head every now and then.
async fn hashed_log(database: &Database) -> i64 {
    let mut connection = service(database).await;
    let mut head = 0;
    for until in [1, 100, 256, 500, EVENTS] {
        head = grow(&mut connection, until).await;
        assert_eq!(notary::catch_up(&mut connection, &ring(1), &Clock::new()).await.unwrap(), head);
    }
    head
}

async fn audited(connection: &mut PgConnection, outside: &[String]) -> ProofAudit {
    audit::look(connection, &ring(1), outside, |_, _| {}).await.unwrap()
}

#[tokio::test]
async fn a_log_that_was_left_alone_is_what_it_was() {
    let database = database().await;
    let head = hashed_log(&database).await;
    let mut connection = service(&database).await;
    let (mut told, keys) = (Vec::new(), ring(1));
    let audit = audit::audit(&mut connection, &keys, &[], |done, all| told.push((done, all))).await.unwrap();
    assert_eq!(audit.findings, []);
    assert_eq!((audit.log, audit.hashed, audit.signed, audit.heads), (head, head, head, 5));
    assert_eq!(told, [(head, head)]);
    // What is not hashed yet is not taken for altered.
    grow(&mut connection, head + 1).await;
    let audit = audited(&mut connection, &[]).await;
    assert_eq!((audit.findings.as_slice(), audit.hashed), (&[][..], head));
    assert!(audit.log > head);
}

#[tokio::test]
async fn every_event_is_proven_under_every_head_that_covers_it() {
    let database = database().await;
    let end = hashed_log(&database).await;
    let mut connection = service(&database).await;
    let keys = ring(1);
    let sizes: Vec<i64> =
        sqlx::query_scalar("select size from proof_heads order by size").fetch_all(&mut connection).await.unwrap();
    for position in (1..=end).step_by(37) {
        for size in sizes.iter().filter(|size| **size >= position) {
            let receipt = receipt_of(&mut connection, position, Some(*size)).await;
            let (statement, head) = receipt.check(&believed()).unwrap();
            assert_eq!((statement.position, head.size), (position, size.cast_unsigned()));
            // On paper and back again.
            let paper = serde_json::to_string(&receipt).unwrap();
            assert_eq!(serde_json::from_str::<receipt::Receipt>(&paper).unwrap(), receipt);
        }
    }
    let newest = receipt::inclusion(&mut connection, &keys, 1, None).await.unwrap();
    assert_eq!(newest.size, end.cast_unsigned());
    let too_early = receipt::inclusion(&mut connection, &keys, end + 1, None).await;
    assert!(matches!(too_early, Err(ProofError::NotYet(_))), "{too_early:?}");
    for size in [sizes[0] - 1, sizes[0] + 1, end + 1] {
        let none = receipt::inclusion(&mut connection, &keys, sizes[0], Some(size)).await;
        assert!(matches!(none, Err(ProofError::NoSuchHead(_))), "{none:?}");
    }
    let heads = store_heads(&mut connection).await;
    for (one, former) in heads.iter().enumerate() {
        for head in &heads[one..] {
            let proof = receipt::consistency(&mut connection, former.size, head).await.unwrap().unwrap();
            assert_eq!(head::follows(former, head, &proof), Ok(()));
            let other = TreeHead { root: Hash::of_leaf(b"another"), ..*former };
            assert!(head::follows(&other, head, &proof).is_err());
        }
    }
}

type Change = fn(&mut receipt::Receipt);
/// Whether a fault is the one that is expected.
type Expected<F> = fn(&F) -> bool;

/// A receipt that says something of the event at a position.
async fn receipt_of(connection: &mut PgConnection, position: i64, size: Option<i64>) -> receipt::Receipt {
    let keys = ring(1);
    let inclusion = receipt::inclusion(connection, &keys, position, size).await.unwrap();
    let event = store::stored_at(connection, position).await.unwrap().unwrap();
    let statement = Statement {
        deed: Deed::Deposit,
        account: ANN.0,
        subject: event.event_id,
        amount: 1999,
        currency: "USD".to_owned(),
        at: Utc.timestamp_opt(1_700_000_000, 0).unwrap(),
        event_id: event.event_id,
        position,
        leaf_hash: inclusion.leaf_hash,
    };
    receipt::Receipt { statement: statement.sign(keys.current()).unwrap(), inclusion }
}

async fn store_heads(connection: &mut PgConnection) -> Vec<TreeHead> {
    let notes: Vec<String> =
        sqlx::query_scalar("select note from proof_heads order by size").fetch_all(connection).await.unwrap();
    notes.iter().map(|note| TreeHead::open(note, &believed()).unwrap().0).collect()
}

#[tokio::test]
async fn a_receipt_that_was_altered_is_refused_and_told_why() {
    let database = database().await;
    hashed_log(&database).await;
    let mut connection = service(&database).await;
    let (keys, good) = (believed(), receipt_of(&mut connection, 5, None).await);
    let changes: [(Change, Expected<ReceiptFault>); 7] = [
        (
            |receipt| receipt.statement = receipt.statement.replacen("1999", "9999", 1),
            |fault| matches!(fault, ReceiptFault::Statement(_)),
        ),
        (
            |receipt| receipt.statement = receipt.inclusion.head.clone(),
            |fault| matches!(fault, ReceiptFault::NotAStatement),
        ),
        (
            |receipt| receipt.inclusion.position += 1,
            |fault| matches!(fault, ReceiptFault::OtherLeaf { stated: 5, proof: 6 }),
        ),
        (
            |receipt| receipt.inclusion.leaf_hash.0[0] ^= 1,
            |fault| matches!(fault, ReceiptFault::OtherLeaf { stated: 5, proof: 5 }),
        ),
        (|receipt| receipt.inclusion.proof[2].0[7] ^= 1, |fault| matches!(fault, ReceiptFault::NotIncluded(5))),
        (|receipt| receipt.inclusion.size += 1, |fault| matches!(fault, ReceiptFault::NotOfItsHead)),
        (
            |receipt| receipt.inclusion.head = receipt.inclusion.head.replacen("test\n7", "test\n8", 1),
            |fault| matches!(fault, ReceiptFault::Head(_)),
        ),
    ];
    for (number, (change, expected)) in (1..).zip(changes) {
        let mut altered = good.clone();
        change(&mut altered);
        let fault = altered.check(&keys).unwrap_err();
        assert!(expected(&fault), "change {number}: {fault}");
    }
    assert!(matches!(good.check(&ring(2).public()), Err(ReceiptFault::Statement(_))));
    assert!(matches!(good.inclusion.check(&ring(2).public()), Err(ReceiptFault::Head(_))));
}

#[tokio::test]
async fn the_service_can_add_to_the_proof_and_rewrite_none_of_it() {
    let database = database().await;
    hashed_log(&database).await;
    let mut connection = service(&database).await;
    for statement in [
        "update proof_leaves set hashes = hashes",
        "delete from proof_leaves",
        "update proof_nodes set hash = hash",
        "delete from proof_nodes",
        "update proof_heads set note = note",
        "delete from proof_heads",
        "truncate proof_heads",
    ] {
        let refused = connection.execute(statement).await.unwrap_err();
        assert!(refused.to_string().contains("permission denied"), "{statement}: {refused}");
    }
}

/// A notary and the lease that it waits for.
fn notary(
    database: &Database,
    pool: &sqlx::PgPool,
    head: &Head,
    stop: &CancellationToken,
) -> watch::Receiver<Standing> {
    let wanted = Lease { name: notary::LEASE, node: mint::id(), priority: 0, ttl: Duration::from_secs(2) };
    let (turn, keeping) = wanted.keep(pool.clone(), stop.clone());
    let (standing, seen) = watch::channel(Standing::default());
    let rules = NotaryRules { head_every: Duration::from_millis(50), head_events: 1_000, share_percent: 50 };
    let (database, head, keys, clock) = (database.clone(), head.clone(), ring(1), Clock::new());
    tokio::spawn(keeping);
    let asked = watch::channel(0).1;
    tokio::spawn(Notary { database, head, turn, clock, keys, rules, asked, standing }.run(stop.clone()));
    seen
}

#[tokio::test]
async fn notaries_follow_the_log_one_at_a_time_and_another_goes_on_where_one_has_ended() {
    let database = database().await;
    let (pool, head) = (database.pool(4), Head::at(0));
    let mut connection = service(&database).await;
    let first_stop = CancellationToken::new();
    let mut first = notary(&database, &pool, &head, &first_stop);
    for until in [30, 90, 300] {
        let grown = grow(&mut connection, until).await;
        head.seen_at(grown);
        first.wait_for(|standing| standing.hashed == Some(grown)).await.unwrap();
    }
    let second_stop = CancellationToken::new();
    let mut second = notary(&database, &pool, &head, &second_stop);
    let grown = grow(&mut connection, 400).await;
    head.seen_at(grown);
    first.wait_for(|standing| standing.hashed == Some(grown)).await.unwrap();
    assert_eq!(second.borrow().hashed, None, "it is not its turn");
    first_stop.cancel();
    let grown = grow(&mut connection, 600).await;
    head.seen_at(grown);
    let signed = |standing: &Standing| {
        let head = standing.head.as_deref().map(|note| TreeHead::open(note, &believed()).unwrap().0);
        head.is_some_and(|head| head.size == grown.cast_unsigned())
    };
    second.wait_for(signed).await.unwrap();
    assert_eq!(audited(&mut connection, &[]).await.findings, []);
    second_stop.cancel();
}

#[tokio::test]
async fn two_that_hash_at_once_do_no_harm() {
    let database = database().await;
    let mut connection = service(&database).await;
    let grown = grow(&mut connection, 5_000).await;
    let each = (0..4).map(|_| async {
        let mut connection = service(&database).await;
        // Refused as often as the others are ahead.
        while notary::catch_up(&mut connection, &ring(1), &Clock::new()).await.is_err() {}
    });
    futures::future::join_all(each).await;
    let audit = audited(&mut connection, &[]).await;
    assert_eq!((audit.findings.as_slice(), audit.hashed, audit.signed), (&[][..], grown, grown));
    let plan = Plan::root(grown.cast_unsigned());
    let root = plan.make(&store::hashes(&mut connection, &[&plan]).await.unwrap()).unwrap();
    assert_eq!(store_heads(&mut connection).await.last().unwrap().root, root[0]);
}

#[tokio::test]
async fn a_notary_signs_nothing_more_once_somebody_was_at_its_tables() {
    let database = database().await;
    let end = hashed_log(&database).await;
    let mut owner = database.connect_as_owner().await.unwrap();
    let refusals: [(&str, Expected<NotaryError>); 5] = [
        (
            "update proof_leaves set hashes = set_byte(hashes, 9, get_byte(hashes, 9) # 1) where first = 1",
            // Only what the newest head is made of is looked at: here a whole block stands for them.
            |error| matches!(error, NotaryError::NotAsSigned(_)),
        ),
        ("update proof_nodes set hash = sha256('x')", |error| matches!(error, NotaryError::NotAsSigned(_))),
        ("delete from proof_nodes", |error| matches!(error, NotaryError::NotAsSigned(_))),
        ("delete from proof_leaves where first > 300", |error| matches!(error, NotaryError::Lengths { .. })),
        ("update log_head set position = 5", |error| matches!(error, NotaryError::Lengths { .. })),
    ];
    for (number, (statement, expected)) in (0..).zip(refusals) {
        let mut transaction = owner.begin().await.unwrap();
        transaction.execute(statement).await.unwrap();
        let caught_up = notary::catch_up(&mut transaction, &ring(1), &Clock::new()).await;
        if number == 0 {
            // The first block has its own node, so the notary need not look below; the audit does.
            assert_eq!(caught_up.unwrap(), end);
            let found = audited(&mut transaction, &[]).await.findings;
            assert_eq!(found, [Finding::RecordAltered { at: 1 }]);
        } else {
            let error = caught_up.unwrap_err();
            assert!(expected(&error), "{statement}: {error}");
        }
        transaction.rollback().await.unwrap();
    }
    let other = notary::catch_up(&mut owner, &ring(2), &Clock::new()).await.unwrap_err();
    assert!(matches!(other, NotaryError::Head(_)), "{other}");
    let former = KeyRing::new(ring(2).current().clone(), believed(), blinding());
    let grown = grow(&mut owner, end + 1).await;
    notary::catch_up(&mut owner, &former, &Clock::new()).await.unwrap();
    let audit = audit::audit(&mut owner, &former, &[], |_, _| {}).await.unwrap();
    assert_eq!((audit.findings.as_slice(), audit.signed), (&[][..], grown));
}
