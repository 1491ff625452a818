//! Fuzz targets of the log: stored events, and what is signed about them.
//!
//! As tests they try some inputs each time; `make fuzz TARGET=… INPUTS=…` tries as many as one likes.

use std::fs;
use std::path::Path;

use bolero::{TypeGenerator, check};
use domain::{Aggregate, Event as _, Timestamp};
use serde_json::Value;
use uuid::Uuid;

use crate::event::{RecordedEvent, StreamId};
use crate::proof::head::{HeadFault, follows};
use crate::proof::keys::{ProofKey, PublicKey, open_note};
use crate::proof::receipt::{Deed, Inclusion, Receipt, Statement};
use crate::proof::{Hash, TreeHead, tree};
use crate::testing::damage::{self, Change};

/// How many inputs a target tries as a test.
const TRIES: usize = 1_000;

// Events.

/// Every (aggregate type, event type, version) that can be read, with an event that was written in it.
fn golden() -> Vec<(RecordedEvent, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../domain/golden");
    let known = domain::formats::known_types();
    let read = |(aggregate, event_type, version): (&str, &str, &str)| {
        let path = folder.join(aggregate).join(format!("{event_type}.v{version}.json"));
        let payload = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let value = serde_json::from_str(&payload).unwrap();
        let event = RecordedEvent {
            position: 1,
            commit_position: 1,
            event_id: Uuid::nil(),
            aggregate_type: aggregate.to_owned(),
            aggregate_id: StreamId(Uuid::nil()),
            sequence: 1,
            event_type: event_type.to_owned(),
            event_version: version.to_owned(),
            payload,
            recorded_at: Timestamp::UNIX_EPOCH,
            act: None,
        };
        (event, value)
    };
    known.into_iter().map(read).collect()
}

/// What is done to a stored event.
#[derive(Clone, Debug, TypeGenerator)]
struct Stored {
    /// Which event.
    number: u16,
    values: Vec<Change>,
    bytes: Vec<Change>,
    /// The event of the same kind of aggregate that comes after it.
    next: u16,
}

#[test]
fn events() {
    let golden = golden();
    check!().with_iterations(TRIES).with_type::<Stored>().for_each(|stored: &Stored| {
        let (event, value) = &golden[usize::from(stored.number) % golden.len()];
        let payload = damage::of_json(value, damage::few(&stored.values)).to_string();
        let payload = damage::of_text(&payload, damage::few(&stored.bytes));
        let siblings: Vec<&str> = golden
            .iter()
            .filter(|(other, _)| other.aggregate_type == event.aggregate_type)
            .map(|(other, _)| other.payload.as_str())
            .collect();
        let next = siblings[usize::from(stored.next) % siblings.len()];
        let damaged = RecordedEvent { payload, ..event.clone() };
        match damaged.decode() {
            Ok(decoded) => {
                assert_eq!(decoded.subject(), (domain_type(&event.aggregate_type), Uuid::nil()));
                assert!(!decoded.tell().is_empty());
                reread(&damaged, next);
            }
            // It names the event, and stored JSON is not in it.
            Err(error) => {
                assert!(error.to_string().contains(&event.event_type));
                assert_ne!(damaged.payload, value.to_string(), "what is whole is read");
            }
        }
    });
}

fn domain_type(aggregate_type: &str) -> &'static str {
    crate::event::known_type(aggregate_type).unwrap()
}

/// What was read is written in one way only, and folds with whatever else happens to such an aggregate.
fn reread(event: &RecordedEvent, next: &str) {
    fn of<A: Aggregate>(payload: &str, next: &str) {
        let event: A::Event = serde_json::from_str(payload).unwrap();
        let written = serde_json::to_string(&event).unwrap();
        let again: A::Event = serde_json::from_str(&written).unwrap_or_else(|error| panic!("{written}: {error}"));
        assert_eq!(again, event, "{written}");
        assert_eq!((again.event_type(), again.event_version()), (event.event_type(), event.event_version()));
        assert!(A::Event::TYPES.contains(&(event.event_type(), event.event_version())));
        let next: A::Event = serde_json::from_str(next).unwrap();
        for events in [[&event, &next], [&next, &event]] {
            let mut state = A::default();
            for event in events {
                state.evolve(event);
            }
            let kept = serde_json::to_string(&state).unwrap();
            serde_json::from_str::<A>(&kept)
                .unwrap_or_else(|error| panic!("a snapshot cannot be read: {kept}: {error}"));
        }
    }
    macro_rules! of {
        ($($aggregate:ident in $module:ident by $id:ident),+ $(,)?) => {
            match event.aggregate_type.as_str() {
                $(domain::$module::$aggregate::TYPE => of::<domain::$module::$aggregate>(&event.payload, next),)+
                other => panic!("{other} is no aggregate"),
            }
        };
    }
    domain::every_aggregate!(of);
}

// What is signed.

fn key() -> ProofKey {
    ProofKey::from_seed("shop.example/log", &[7; 32]).unwrap()
}

/// What is done to a signed note, and texts of nobody's.
#[derive(Clone, Debug, TypeGenerator)]
struct Note {
    changes: Vec<Change>,
    text: String,
}

#[test]
fn notes() {
    let believed = [key().public()];
    let head = TreeHead { size: 9, root: Hash::of_leaf(b"x"), at: Timestamp::UNIX_EPOCH };
    let note = head.sign(&key());
    let (text, _) = open_note(&note, &believed).unwrap();
    check!().with_iterations(TRIES).with_type::<Note>().for_each(|drawn: &Note| {
        let damaged = damage::of_text(&note, damage::few(&drawn.changes));
        // Signatures of others may stand beside ours; what is signed is what was signed.
        if let Ok((opened, by)) = open_note(&damaged, &believed) {
            assert_eq!((opened, by), (text, &believed[0]));
        }
        match TreeHead::open(&damaged, &believed) {
            Ok((opened, _)) => assert_eq!(opened, head),
            Err(HeadFault::Note(_) | HeadFault::NotAHead) => {}
        }
        // Of what we sign ourselves only a head is a head.
        let ours = key().sign_note(&format!("{}\n", drawn.text));
        assert!(open_note(&ours, &believed).is_ok(), "{ours:?}");
        if let Ok((opened, _)) = TreeHead::open(&ours, &believed) {
            let (again, _) = TreeHead::open(&opened.sign(&key()), &believed).unwrap();
            assert_eq!((again.size, again.root), (opened.size, opened.root));
        }
        let _ = Statement::open(&ours, &believed);
        for text in [&damaged, &drawn.text] {
            if let Ok(key) = text.parse::<PublicKey>() {
                assert_eq!(key.to_string().parse(), Ok(key));
            }
            let _ = ProofKey::parse(text);
        }
    });
}

/// What is done to a receipt.
#[derive(Clone, Debug, TypeGenerator)]
struct Paper {
    values: Vec<Change>,
    bytes: Vec<Change>,
}

#[test]
fn receipts() {
    let believed = [key().public()];
    let good = receipt();
    let stated = good.check(&believed).unwrap();
    let paper = serde_json::to_value(&good).unwrap();
    check!().with_iterations(TRIES).with_type::<Paper>().for_each(|drawn: &Paper| {
        let text = damage::of_json(&paper, damage::few(&drawn.values)).to_string();
        let Ok(read) = serde_json::from_str::<Receipt>(&damage::of_text(&text, damage::few(&drawn.bytes))) else {
            return;
        };
        if let Ok(shown) = read.check(&believed) {
            assert_eq!(shown, stated);
            assert_eq!(
                (read.inclusion.position, &read.inclusion.proof),
                (good.inclusion.position, &good.inclusion.proof)
            );
        }
        assert!(read.check(&[]).is_err());
        // The same hashes as a proof that the log grew.
        let (_, head) = &stated;
        let former = TreeHead { size: read.inclusion.size, root: read.inclusion.root_hash, at: head.at };
        if former.size < head.size {
            assert!(follows(&former, head, &read.inclusion.proof).is_err());
        }
    });
}

/// A receipt of the third of four events.
fn receipt() -> Receipt {
    let leaves = [0_u8, 1, 2, 3].map(|leaf| Hash::of_leaf(&[leaf]));
    let (left, right) = (Hash::of_node(leaves[0], leaves[1]), Hash::of_node(leaves[2], leaves[3]));
    let root = Hash::of_node(left, right);
    let proof = vec![leaves[3], left];
    assert!(tree::includes(root, 4, 2, leaves[2], &proof));
    let head = TreeHead { size: 4, root, at: Timestamp::UNIX_EPOCH };
    let statement = Statement {
        deed: Deed::Bid,
        account: Uuid::from_u128(1),
        subject: Uuid::from_u128(2),
        amount: 1_999,
        currency: "USD".to_owned(),
        at: Timestamp::UNIX_EPOCH,
        event_id: Uuid::from_u128(3),
        position: 3,
        leaf_hash: leaves[2],
    };
    let inclusion =
        Inclusion { position: 3, leaf_hash: leaves[2], proof, size: 4, root_hash: root, head: head.sign(&key()) };
    Receipt { statement: statement.sign(&key()).unwrap(), inclusion }
}
