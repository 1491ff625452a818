//! That others can trust the log: signed heads that only grow, receipts that anybody can check, and nobody changes an event
//! without being named.

use api::config::{Config, Proof};
use eventstore::proof::head::{Published, follows};
use eventstore::proof::keys::PublicKey;
use eventstore::proof::receipt::Receipt;
use eventstore::proof::{Hash, TreeHead};
use serde_json::{Value, json};
use sqlx::Executor;
use tradepost_tests::bazaar::{Bazaar, auditor};
use tradepost_tests::client::{Answer, Client};
use tradepost_tests::database::TestDatabase;
use tradepost_tests::market::auction;
use tradepost_tests::server::{InProcess, tradepost};
use tradepost_tests::verifying::verify;

/// A marketplace that signs often, and hands each head on to a file if there is one.
async fn bazaar(anchors: Option<&std::path::Path>) -> Bazaar {
    let proof = Proof {
        head_every_ms: 50,
        anchor_file: anchors.map(Into::into),
        anchor_every_s: 1,
        share_percent: 100,
        ..Proof::default()
    };
    Bazaar::at(InProcess::start_with(Config { proof, ..Config::default() }).await).await
}

/// The newest position of a kind of event.
async fn last(bazaar: &Bazaar, event_type: &str) -> i64 {
    sqlx::query_scalar("select max(position) from events where event_type = $1")
        .bind(event_type)
        .fetch_one(&mut bazaar.server.database.connect().await)
        .await
        .unwrap()
}

/// A head that covers everything so far, and the keys to believe.
async fn head(bazaar: &Bazaar, from: Option<u64>) -> (TreeHead, Vec<Hash>, Vec<PublicKey>) {
    let query = from.map_or_else(String::new, |from| format!("?from={from}"));
    let anybody = bazaar.server.client();
    let now = bazaar.server.database.log_head().await;
    let shown = anybody.get(&format!("/events/head{query}")).since(now).send().await.expect(200).body;
    let keys: Vec<PublicKey> = serde_json::from_value(shown["keys"].clone()).unwrap();
    let published: Published = serde_json::from_value(shown.clone()).unwrap();
    let (head, _) = TreeHead::open(&published.note, &keys).unwrap();
    assert_eq!((json!(head.size), json!(head.root)), (shown["size"].clone(), shown["root_hash"].clone()));
    assert!(head.size.cast_signed() >= now);
    (head, published.consistency, keys)
}

/// What `tradepost verify-receipt` says of a receipt, and whether it is content.
async fn checked(receipt: &Value, key: &str, head: Option<&str>) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("receipt.json");
    std::fs::write(&file, receipt.to_string()).unwrap();
    let file = file.display().to_string();
    let options = head.map(|head| ["--head", head]);
    let arguments = [&["verify-receipt", &file, "--public-key", key][..], options.as_ref().map_or(&[][..], |two| two)];
    // Somewhere without a database: it needs none.
    let output = tradepost("postgres://localhost:1/none", &arguments.concat()).output().await.unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

async fn receipt(client: &Client, position: i64) -> Answer {
    client.get(&format!("/events/receipts/{position}")).send().await
}

#[tokio::test]
async fn heads_are_signed_for_anybody_and_each_grows_out_of_the_one_before() {
    let bazaar = bazaar(None).await;
    let (first, none, _) = head(&bazaar, None).await;
    assert_eq!(none, [] as [Hash; 0]);
    bazaar.sell().await;
    let (second, proof, _) = head(&bazaar, Some(first.size)).await;
    assert!(second.size > first.size);
    assert_eq!(follows(&first, &second, &proof), Ok(()));
    let forged = TreeHead { root: Hash::of_leaf(b"another"), ..first };
    assert!(follows(&forged, &second, &proof).is_err());
    let anybody = bazaar.server.client();
    anybody.get("/events/head?from=0").send().await.problem(422, "invalid-field");
    anybody.get("/events/head?from=999999999").send().await.problem(422, "invalid-field");
    let behind = anybody.get("/events/head").since(999_999_999).send().await.problem(503, "projection-behind");
    assert_eq!(behind.body["projection"], "proof");
}

#[tokio::test]
async fn every_bid_and_payment_has_a_receipt_that_its_owner_can_check_anywhere() {
    let bazaar = bazaar(None).await;
    let rival = bazaar.server.join("rival").await;
    let id = bazaar.seller.schedule(&auction(1_000)).await;
    bazaar.buyer.bid(&id, 54_321).await.expect(201);
    let bid = rival.bid(&id, 2_000).await.expect(201);
    let (_, _, keys) = head(&bazaar, None).await;
    let key = keys[0].to_string();

    let given = receipt(&rival, bid.at()).await.expect(200).body;
    assert_eq!((&given["states"]["deed"], &given["states"]["subject"]), (&json!("bid"), &json!(id)));
    assert_eq!((&given["states"]["amount"], &given["states"]["account"]), (&json!(2_000), &json!(rival.account())));
    // The event holds what the leader would pay; the receipt does not.
    let stored: String = sqlx::query_scalar("select payload::text from events where position = $1")
        .bind(given["states"]["position"].as_i64())
        .fetch_one(&mut bazaar.server.database.connect().await)
        .await
        .unwrap();
    assert!(stored.contains("54321") && !given.to_string().contains("54321"), "{given}");
    let (good, said) = checked(&given, &key, None).await;
    assert!(good && said.contains(&format!("the bid in auction {id} of 20.00 USD")), "{said}");
    // Against the head that everybody sees, which has grown meanwhile.
    bazaar.sell().await;
    head(&bazaar, None).await;
    let published = format!("{}/api/v1/events/head", bazaar.server.address());
    let (good, said) = checked(&given, &key, Some(&published)).await;
    assert!(good && said.contains("has grown out of it"), "{said}");

    for (kind, deed) in [("DepositSettled", "deposit"), ("EscrowFunded", "payment")] {
        let position = last(&bazaar, kind).await;
        let given = receipt(&bazaar.buyer, position).await.expect(200).body;
        assert_eq!((&given["states"]["deed"], &given["states"]["position"]), (&json!(deed), &json!(position)));
        assert!(checked(&given, &key, None).await.0);
        receipt(&rival, position).await.problem(404, "not-found");
        receipt(&bazaar.seller, position).await.problem(404, "not-found");
    }

    // Whoever changes anything in it is found out.
    let mut altered = given.clone();
    altered["statement"] = json!(given["statement"].as_str().unwrap().replacen("2000", "9000", 1));
    let (good, said) = checked(&altered, &key, None).await;
    assert!(!good && said.contains("signature"), "{said}");
    let mut altered = given.clone();
    altered["inclusion"]["proof"][0] = json!("0".repeat(64));
    let (good, said) = checked(&altered, &key, None).await;
    assert!(!good && said.contains("does not lead from the event"), "{said}");
    let other = eventstore::proof::keys::ProofKey::mint("tradepost").unwrap().public().to_string();
    assert!(!checked(&given, &other, None).await.0);
}

#[tokio::test]
async fn what_is_in_the_log_is_proven_to_auditors_and_to_whom_it_concerns() {
    let bazaar = bazaar(None).await;
    let auditor = auditor(&bazaar.server, "auditor").await;
    let stranger = bazaar.server.client().register("stranger").await;
    bazaar.sell().await;
    let position = last(&bazaar, "EscrowFunded").await;
    let path = format!("/events/{position}/proof");
    let (head, _, keys) = head(&bazaar, None).await;
    for reader in [&auditor, &bazaar.buyer, &bazaar.seller] {
        let shown = reader.get(&path).send().await.expect(200).body;
        let inclusion: eventstore::proof::receipt::Inclusion = serde_json::from_value(shown).unwrap();
        assert_eq!(inclusion.check(&keys).unwrap().size, head.size);
    }
    for nothing in [path.as_str(), "/events/999999999/proof", "/events/0/proof", "/events/-1/proof", "/events/x/proof"]
    {
        stranger.get(nothing).send().await.problem(404, "not-found");
    }
    let sized = auditor.get(&format!("{path}?size={}", head.size)).send().await.expect(200).body;
    assert_eq!(sized["size"], json!(head.size));
    auditor.get(&format!("{path}?size={}", position - 1)).send().await.problem(422, "invalid-field");
    auditor.get(&format!("{path}?size=0")).send().await.problem(422, "invalid-field");
    // Nobody has heads signed for what is not there.
    let (head, ask) = (bazaar.server.database.log_head().await, &bazaar.server.app.notary.as_ref().unwrap().ask);
    auditor.get(&path).since(999_999_999).send().await.problem(503, "projection-behind");
    assert!(*ask.borrow() <= head);
    for nothing in ["0", "999999999", "x"] {
        bazaar.buyer.get(&format!("/events/receipts/{nothing}")).send().await.problem(404, "not-found");
    }
}

/// What `tradepost verify --full` finds of the proof.
async fn proof_of(database: &TestDatabase, options: &[&str]) -> Vec<String> {
    let (_, found) = verify(database, &[&["--full"], options].concat()).await;
    let of_proof = found.into_iter().filter(|(subject, _)| subject == "the proof");
    of_proof.map(|(_, finding)| finding).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verify_names_every_event_that_was_changed_and_a_head_outside_cannot_be_deceived() {
    let folder = tempfile::tempdir().unwrap();
    let anchors = folder.path().join("heads");
    let bazaar = bazaar(Some(&anchors)).await;
    bazaar.complete().await;
    bazaar.wait(0).await;
    let (newest, ..) = head(&bazaar, None).await;
    // Until it is kept outside too.
    let newest_outside = |size: u64| {
        let kept = api::anchors::read(&anchors).unwrap_or_default();
        kept.iter().any(|note| note.lines().nth(1).and_then(|line| line.parse().ok()) >= Some(size))
    };
    while !newest_outside(newest.size) {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let database = bazaar.server.stop().await;
    let outside = ["--head", anchors.to_str().unwrap()];
    assert_eq!(proof_of(&database, &outside).await, [] as [&str; 0]);
    // That heads which should be outside are not, is told too.
    let settings = folder.path().join("tradepost.toml");
    std::fs::write(&settings, "[proof]\nanchor_file = '/nowhere/heads'\n").unwrap();
    let found = proof_of(&database, &["--config", settings.to_str().unwrap()]).await;
    assert!(
        matches!(found.as_slice(), [missing] if missing.starts_with("the file of tree heads /nowhere/heads: ")),
        "{found:?}"
    );

    let mut owner = database.connect().await;
    owner.execute("create table kept as select * from events").await.unwrap();
    for (change, named) in [
        ("update events set payload = (payload::text || ' ')::json where position = 7", "the event at position 7 (id "),
        ("update events set metadata = '{}' where position = 8", "the event at position 8 (id "),
        // What no calendar and no type of ours has, the proof names all the same.
        ("update events set recorded_at = 'infinity' where position = 4", "the event at position 4 (id "),
        (r#"update events set metadata = '{"capacity":1}' where position = 4"#, "the event at position 4 (id "),
        ("delete from events where position = 9", "the event at position 9 (id "),
        (
            "update events as e set payload = o.payload from events as o
             where e.position in (10, 11) and o.position = 21 - e.position",
            "the event at position 10 (id ",
        ),
    ] {
        owner.execute(change).await.unwrap();
        let found = proof_of(&database, &[]).await;
        assert!(found.iter().any(|finding| finding.starts_with(named)), "{change}: {found:?}");
        owner.execute("delete from events; insert into events select * from kept").await.unwrap();
    }
    owner
        .execute(
            "truncate proof_leaves, proof_nodes, proof_heads; update events set metadata = '{}' where position = 8",
        )
        .await
        .unwrap();
    // A node that knows what was kept outside signs nothing of it ...
    let proof = Proof { head_every_ms: 50, anchor_file: Some(anchors.clone()), ..Proof::default() };
    let server = InProcess::start_on(database, Config { proof: proof.clone(), ..Config::default() }).await;
    let mut standing = server.app.notary.as_ref().unwrap().standing.clone();
    standing.wait_for(|standing| standing.in_doubt).await.unwrap();
    let heads = "select count(*) from proof_heads";
    let heads: i64 = sqlx::query_scalar(heads).fetch_one(&mut server.database.connect().await).await.unwrap();
    assert_eq!(heads, 0);
    let database = server.stop().await;
    // ... and one that knows nothing but the database cannot know better.
    let proof = Proof { anchor_file: None, ..proof };
    let server = InProcess::start_on(database, Config { proof, ..Config::default() }).await;
    let now = server.database.log_head().await;
    server.client().get("/events/head").since(now).send().await.expect(200);
    let database = server.stop().await;
    assert_eq!(proof_of(&database, &[]).await, [] as [&str; 0], "it was signed anew");
    let found = proof_of(&database, &outside).await;
    assert!(found.iter().any(|finding| finding.contains("kept outside, was signed over another log")), "{found:?}");
}

#[tokio::test]
async fn the_key_that_signs_is_shown_made_and_replaced_at_the_command_line() {
    let bazaar = bazaar(None).await;
    let (shown, _, keys) = head(&bazaar, None).await;
    let database = bazaar.server.stop().await;
    let run = async |arguments: &[&str], settings: &[(&str, &str)]| {
        let output = tradepost(database.url(), arguments).envs(settings.iter().copied()).output().await.unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().trim().to_owned();
        (output.status.success(), text(output.stdout), text(output.stderr))
    };
    let (_, key, _) = run(&["proof", "key"], &[]).await;
    assert_eq!(key, keys[0].to_string());
    let (_, printed, _) = run(&["proof", "head", "--json"], &[]).await;
    let printed: Value = serde_json::from_str(&printed).unwrap();
    assert!(printed["size"].as_u64().unwrap() >= shown.size);

    // An auditor opens a leaf.
    let (_, opened, _) = run(&["proof", "open", "3", "--json"], &[]).await;
    let opened: Value = serde_json::from_str(&opened).unwrap();
    let digits = [&opened["blind"], &opened["leaf"]].map(|part| part.as_str().unwrap().to_owned()).concat();
    let bytes =
        digits.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap());
    let hash = Hash::of_leaf(&bytes.collect::<Vec<_>>()).to_string();
    let rows = eventstore::proof::store::leaf_rows(&mut database.connect().await, 2, 3).await.unwrap();
    let recorded = (rows[0].first..).zip(rows[0].hashes()).find(|(position, _)| *position == 3).unwrap().1;
    assert_eq!((opened["leaf_hash"].as_str(), &hash), (Some(hash.as_str()), &recorded.to_string()));

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key").display().to_string();
    let (made, public, _) = run(&["proof", "mint-key", &file], &[]).await;
    assert!(made && public.starts_with("tradepost+") && public != key, "{public}");
    assert!(!run(&["proof", "mint-key", &file], &[]).await.0, "no key is ever written over");
    let (_, shown, _) = run(&["proof", "key"], &[("TRADEPOST_PROOF__KEY_FILE", &file)]).await;
    assert_eq!(shown, public);
    let new = [("TRADEPOST_PROOF__KEY_FILE", file.as_str()), ("TRADEPOST_PROOF__FORMER_KEYS", key.as_str())];
    assert!(run(&["proof", "head"], &new).await.0, "what the former key has signed is believed");
    let (good, _, said) = run(&["proof", "head"], &new[..1]).await;
    assert!(!good && said.contains("none of the known keys has signed it"), "{said}");
}

#[tokio::test]
async fn a_receipt_is_checked_as_it_is_given_out() {
    // The answer is the file: what is in it beside, for reading, does no harm.
    let bazaar = bazaar(None).await;
    let position = last(&bazaar, "DepositSettled").await;
    let given = receipt(&bazaar.buyer, position).await.expect(200).body;
    let read: Receipt = serde_json::from_value(given).unwrap();
    let (_, _, keys) = head(&bazaar, None).await;
    assert_eq!(read.check(&keys).unwrap().0.position, position);
}
