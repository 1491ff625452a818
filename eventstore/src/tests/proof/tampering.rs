//! Somebody who may do everything in the database changes it, and is found out.

use rand::Rng as _;

use super::*;

/// How often.
const CHANGES: usize = 200;

/// What was done, and the positions that must be named for it.
struct Change {
    what: String,
    at: Vec<Position>,
}

/// Drops whatever would stand in the way of somebody who owns the table.
async fn unlock(connection: &mut PgConnection) {
    connection
        .execute(
            "alter table events drop constraint events_stream, drop constraint events_position,
                drop constraint events_sequence_from_one, drop constraint events_position_from_one,
                drop constraint events_commit_ahead",
        )
        .await
        .unwrap();
}

/// Another letter or digit in the place of one of `text`, such that it stays JSON if it was.
fn altered(text: &str, rng: &mut StdRng) -> String {
    let is_json = serde_json::from_str::<serde_json::Value>(text).is_ok();
    loop {
        let mut bytes = text.as_bytes().to_vec();
        let place = rng.random_range(0..bytes.len());
        bytes[place] = *b"0123456789abcdefXYZ ".get(rng.random_range(0..20)).unwrap();
        let changed = String::from_utf8_lossy(&bytes).into_owned();
        if changed != text && (!is_json || serde_json::from_str::<serde_json::Value>(&changed).is_ok()) {
            return changed;
        }
    }
}

/// One byte of one column of one event.
async fn alter_a_byte(connection: &mut PgConnection, rng: &mut StdRng, end: i64) -> Change {
    const TEXTS: [&str; 6] = ["payload", "metadata", "aggregate_type", "aggregate_id", "event_type", "event_version"];
    const NUMBERS: [&str; 4] = ["position", "commit_position", "sequence", "recorded_at"];
    let at = rng.random_range(1..=end);
    let column = rng.random_range(0..11);
    let statement = match column {
        0..6 => {
            let column = TEXTS[column];
            let row = sqlx::query(&format!("select {column}::text from events where position = $1"))
                .bind(at)
                .fetch_one(&mut *connection)
                .await
                .unwrap();
            let text = altered(row.get(0), rng).replace('\'', "''");
            let kind = if column == "payload" || column == "metadata" { "json" } else { "text" };
            format!("update events set {column} = '{text}'::{kind} where position = {at}")
        }
        6..10 => {
            let column = NUMBERS[column - 6];
            // The highest byte would leave the range of times; a position stays one.
            let bit = 1_i64 << rng.random_range(0..40);
            if column == "recorded_at" {
                format!("update events set recorded_at = recorded_at + {bit} * interval '1 us' where position = {at}")
            } else {
                format!("update events set {column} = {column} # {bit} where position = {at}")
            }
        }
        _ => {
            let (byte, bit) = (rng.random_range(0..16), 1 << rng.random_range(0..8));
            format!(
                "update events set event_id = encode(set_byte(uuid_send(event_id), {byte}, get_byte(uuid_send(event_id), \
                 {byte}) # {bit}), 'hex')::uuid where position = {at}"
            )
        }
    };
    let altered = connection.execute(statement.as_str()).await.unwrap();
    assert_eq!(altered.rows_affected(), 1, "{statement}");
    Change { what: statement, at: vec![at] }
}

/// An event less, with the gap closed or not.
async fn delete(connection: &mut PgConnection, rng: &mut StdRng, end: i64) -> Change {
    let (at, closed) = (rng.random_range(1..=end), rng.random_bool(0.5));
    let mut statement = format!("delete from events where position = {at};");
    if closed {
        statement.push_str(&format!(
            "update events set position = position - 1, commit_position = commit_position - 1 where position > {at};
             update log_head set position = position - 1;"
        ));
    }
    connection.execute(sqlx::raw_sql(&statement)).await.unwrap();
    Change { what: statement, at: vec![at] }
}

/// An event more: a copy of one, in the place of another, beside it or with all that follow moved up.
async fn insert(connection: &mut PgConnection, rng: &mut StdRng, end: i64) -> Change {
    let (at, of, moved) = (rng.random_range(1..=end), rng.random_range(1..=end), rng.random_bool(0.5));
    let id = mint::id();
    let mut statement = String::new();
    let source = if moved {
        statement.push_str(&format!(
            "update events set position = position + 1, commit_position = commit_position + 1 where position >= {at};
             update log_head set position = position + 1;"
        ));
        if of >= at { of + 1 } else { of }
    } else {
        of
    };
    statement.push_str(&format!(
        "insert into events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata,
            position, commit_position, event_id, recorded_at)
         select aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata, {at}, {at},
            '{id}', recorded_at from events where position = {source};"
    ));
    connection.execute(sqlx::raw_sql(&statement)).await.unwrap();
    Change { what: statement, at: vec![at] }
}

/// Two events in each other's places: all of them, or only what they say.
async fn swap(connection: &mut PgConnection, rng: &mut StdRng, end: i64) -> Change {
    loop {
        let (one, other, whole) = (rng.random_range(1..=end), rng.random_range(1..=end), rng.random_bool(0.5));
        let statement = if whole {
            format!(
                "update events set position = {one} + {other} - position where position in ({one}, {other}) \
                 and {one} <> {other}"
            )
        } else {
            format!(
                "update events as e set payload = o.payload from events as o where e.position in ({one}, {other})
                    and o.position = {one} + {other} - e.position and e.payload::text <> o.payload::text"
            )
        };
        if connection.execute(statement.as_str()).await.unwrap().rows_affected() == 2 {
            return Change { what: statement, at: vec![one, other] };
        }
    }
}

#[tokio::test]
async fn of_two_hundred_changes_every_one_is_found_and_named() {
    let database = database().await;
    let end = hashed_log(&database).await;
    let mut owner = database.connect_as_owner().await.unwrap();
    let mut rng = StdRng::seed_from_u64(20_261_122);
    for number in 0..CHANGES {
        let mut transaction = owner.begin().await.unwrap();
        unlock(&mut transaction).await;
        let Change { what, at } = match number % 4 {
            0 => alter_a_byte(&mut transaction, &mut rng, end).await,
            1 => delete(&mut transaction, &mut rng, end).await,
            2 => insert(&mut transaction, &mut rng, end).await,
            _ => swap(&mut transaction, &mut rng, end).await,
        };
        let findings = audited(&mut transaction, &[]).await.findings;
        for position in at {
            let named = findings.iter().filter(|finding| {
                let names = finding.names();
                names == Some((position, position))
                    || matches!(finding, Finding::Swapped { one, other } if [*one, *other].contains(&position))
            });
            assert!(named.count() > 0, "change {number}: {what}\n{findings:#?}");
        }
        // Each is told by what it is, and not as if half of the log had changed.
        assert!(findings.len() <= 3, "change {number}: {what}\n{findings:#?}");
        transaction.rollback().await.unwrap();
    }
    assert_eq!(audited(&mut owner, &[]).await.findings, []);
}

/// What a change is told as.
async fn found(owner: &mut PgConnection, statement: &str, outside: &[String]) -> Vec<Finding> {
    let mut transaction = owner.begin().await.unwrap();
    unlock(&mut transaction).await;
    transaction.execute(sqlx::raw_sql(statement)).await.unwrap();
    let found = audited(&mut transaction, outside).await.findings;
    transaction.rollback().await.unwrap();
    found
}

#[tokio::test]
async fn what_was_done_is_told_for_what_it_is() {
    let database = database().await;
    let end = hashed_log(&database).await;
    let mut owner = database.connect_as_owner().await.unwrap();
    let sentences = async |owner: &mut PgConnection, statement: &str| {
        let found = found(owner, statement, &[]).await;
        found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    let altered = sentences(&mut owner, "update events set event_type = 'Nothing' where position = 9").await;
    assert!(altered.contains("the event at position 9 (id "), "{altered}");
    assert!(altered.contains("was altered; it is now Nothing as number 9 of wallet "), "{altered}");
    let removed = sentences(&mut owner, "delete from events where position = 300").await;
    assert!(removed.starts_with("the event at position 300 (id ") && removed.ends_with("was removed"), "{removed}");
    let swapped = sentences(&mut owner, "update events set position = 17 - position where position in (8, 9)").await;
    assert_eq!(swapped, "the events at positions 8 and 9 were put in each other's place");
    let shifted =
        "update events set position = position - 1, commit_position = commit_position - 1 where position > 600;
         delete from events where position = 600 and sequence <> 1000";
    // Of the two that are at 600 now, both go.
    let closed = sentences(&mut owner, shifted).await;
    assert!(closed.contains("the event at position 600 (id "), "{closed}");
    assert!(closed.contains(&format!("the events of positions 602 to {end} were moved by -1")), "{closed}");
    let replaced = sentences(&mut owner, "update events set event_id = gen_random_uuid() where position = 4").await;
    assert!(replaced.contains("was replaced by another"), "{replaced}");
    let infinite = sentences(&mut owner, "update events set recorded_at = 'infinity' where position = 4").await;
    assert!(infinite.contains("the event at position 4") && infinite.contains("was altered"), "{infinite}");
    let far = sentences(&mut owner, &format!("update events set position = {end} + 5 where position = 4")).await;
    assert_eq!(far, format!("the event of position 4 was moved to position {}", end + 5));
    let before = sentences(&mut owner, "update events set position = -3 where position = 4").await;
    assert_eq!(before, "the event of position 4 was moved to position -3");
}

#[tokio::test]
async fn who_alters_an_event_and_what_is_recorded_of_it_is_found_by_what_stands_above() {
    let database = database().await;
    let end = hashed_log(&database).await;
    let mut owner = database.connect_as_owner().await.unwrap();
    let record = |at: i64| {
        let mut record = String::from("update proof_leaves set hashes = overlay(hashes placing ");
        record.push_str(&format!(
            "sha256('forged'::bytea) from ({at} - first::int) * 32 + 1) where first <= {at} and first + length(hashes) / 32 > {at};"
        ));
        record
    };
    // The record alone, in a whole block and after the last one.
    for at in [5, end - 1] {
        assert_eq!(found(&mut owner, &record(at), &[]).await, [Finding::RecordAltered { at }]);
    }
    // Both: somebody who computes leaves as we do. The node above tells the block, the heads the rest.
    let mut transaction = owner.begin().await.unwrap();
    forge(&mut transaction, 260).await;
    let findings = audited(&mut transaction, &[]).await.findings;
    assert!(findings.contains(&Finding::BlockAltered { first: 257, last: 512 }), "{findings:#?}");
    assert!(
        findings.iter().any(|finding| matches!(finding, Finding::NotAsSigned { first: 257..=260, .. })),
        "{findings:#?}"
    );
    // And the node too.
    let hashes = store::leaf_rows(&mut transaction, 256, 512).await.unwrap();
    let leaves: Vec<Hash> = hashes.iter().flat_map(store::LeafRow::hashes).collect();
    let node = crate::proof::tree::fold(leaves).unwrap();
    sqlx::query("update proof_nodes set hash = $1 where level = 8 and index = 1")
        .bind(node.0.as_slice())
        .execute(&mut *transaction)
        .await
        .unwrap();
    let findings = audited(&mut transaction, &[]).await.findings;
    assert!(
        matches!(findings.as_slice(), [Finding::NotAsSigned { first: 257..=260, outside: false, .. }]),
        "{findings:#?}"
    );
    transaction.rollback().await.unwrap();
}

/// Alters an event and its record so that they fit each other.
async fn forge(connection: &mut PgConnection, at: Position) {
    connection.execute(format!("update events set event_version = '9' where position = {at}").as_str()).await.unwrap();
    let event = store::stored_at(&mut *connection, at).await.unwrap().unwrap();
    sqlx::query(
        "update proof_leaves set hashes = overlay(hashes placing $2 from ($1 - first)::int * 32 + 1)
         where first <= $1 and first + length(hashes) / 32 > $1",
    )
    .bind(at)
    .bind(event.blinded(&blinding()).0.as_slice())
    .execute(connection)
    .await
    .unwrap();
}

#[tokio::test]
async fn who_makes_all_of_it_anew_is_found_by_a_head_that_was_kept_outside() {
    let database = database().await;
    hashed_log(&database).await;
    let mut owner = database.connect_as_owner().await.unwrap();
    let kept = [store::newest_head(&mut owner).await.unwrap().unwrap()];
    assert_eq!(audited(&mut owner, &kept).await.findings, []);
    let mut transaction = owner.begin().await.unwrap();
    let anew = "update events set event_version = '9' where position = 260;
        truncate proof_leaves, proof_nodes, proof_heads";
    transaction.execute(sqlx::raw_sql(anew)).await.unwrap();
    // Whoever has our key can sign what they like ...
    notary::catch_up(&mut transaction, &ring(1), &Clock::new()).await.unwrap();
    assert_eq!(audited(&mut transaction, &[]).await.findings, []);
    // ... but not make others forget.
    let findings = audited(&mut transaction, &kept).await.findings;
    assert!(matches!(findings.as_slice(), [Finding::NotAsSigned { outside: true, .. }]), "{findings:?}");
    transaction.rollback().await.unwrap();
    // Without our key their heads are not believed.
    let mut transaction = owner.begin().await.unwrap();
    transaction.execute(sqlx::raw_sql(anew)).await.unwrap();
    notary::catch_up(&mut transaction, &ring(2), &Clock::new()).await.unwrap();
    let findings = audited(&mut transaction, &[]).await.findings;
    assert!(matches!(findings.as_slice(), [Finding::HeadNotBelieved { .. }]), "{findings:?}");
    transaction.rollback().await.unwrap();
    // Nor does it help to cut the end off, or everything.
    for cut in [
        "delete from proof_heads where size > 300; delete from proof_leaves where first > 300;",
        "truncate proof_heads, proof_leaves, proof_nodes;",
    ] {
        let cut = format!("{cut} delete from events where position > 300; update log_head set position = 300;");
        let found = found(&mut owner, &cut, &kept).await;
        assert!(found.iter().any(|finding| matches!(finding, Finding::HeadBeyond { outside: true, .. })), "{found:?}");
    }
}

#[tokio::test]
async fn hashes_nodes_and_heads_that_are_gone_or_do_not_belong_are_named() {
    let database = database().await;
    hashed_log(&database).await;
    let mut owner = database.connect_as_owner().await.unwrap();
    let first: i64 = sqlx::query_scalar("select first from proof_leaves order by first offset 1 limit 1")
        .fetch_one(&mut owner)
        .await
        .unwrap();
    let gone = found(&mut owner, &format!("delete from proof_leaves where first = {first}"), &[]).await;
    assert!(gone.contains(&Finding::NotRecorded { at: first }), "{gone:?}");
    let gone = found(&mut owner, "delete from proof_nodes where index = 1", &[]).await;
    assert_eq!(gone, [Finding::NodeMissing { first: 257, last: 512 }]);
    let more = found(&mut owner, "insert into proof_nodes values (8, 77, sha256('x'))", &[]).await;
    assert_eq!(more, [Finding::NodeTooMany { level: 8, index: 77 }]);
    let twice = format!(
        "insert into proof_leaves select first + 1, substr(event_ids, 17, 16), substr(hashes, 33, 32) from proof_leaves where first = {first}"
    );
    let twice = found(&mut owner, &twice, &[]).await;
    assert_eq!(twice, [Finding::RecordedTwice { at: first + 1 }]);
    let size = found(&mut owner, "update proof_heads set size = size + 1 where size < 300", &[]).await;
    assert!(matches!(size.first(), Some(Finding::HeadOfOtherSize { .. })), "{size:?}");
    let note = found(&mut owner, "update proof_heads set note = replace(note, 'time 2', 'time 3')", &[]).await;
    assert_eq!(note.len(), 5, "{note:?}");
}
