//! P5: every read model equals its rebuild from the log, byte for byte.

use std::collections::BTreeMap;

use eventstore::database::Database;
use projections::digest::{TableDigest, digest};

use crate::database::TestDatabase;
use crate::fail::{OrFail, fail};

/// What every read model holds, by name.
pub async fn digests(database: &TestDatabase) -> BTreeMap<&'static str, Vec<TableDigest>> {
    let mut connection = database.connect().await;
    let mut digests = BTreeMap::new();
    for model in projections::ALL {
        let tables = digest(&mut connection, model.name).await.or_fail("read a read model");
        digests.insert(model.name, tables);
    }
    digests
}

/// Makes every read model anew from the log and puts it in the place of the live one.
pub async fn rebuild(database: &TestDatabase) {
    for model in projections::ALL {
        let reached = projections::rebuild::rebuild(&reach(database), model.name, |_, _| {}).await;
        reached.or_fail("rebuild a read model");
    }
}

/// Where a read model is not what its rebuild is. The server may be running.
pub async fn differences(database: &TestDatabase) -> Vec<String> {
    let mut found = Vec::new();
    for model in projections::ALL {
        match projections::rebuild::verify(&reach(database), model.name, |_, _| {}).await {
            Ok(comparison) => found.extend(
                comparison
                    .differences
                    .iter()
                    .map(|what| format!("the read model `{}` is not what the log says: {what}", model.name)),
            ),
            Err(error) => found.push(format!("the read model `{}` cannot be rebuilt: {error}", model.name)),
        }
    }
    found
}

/// Ends the test unless every read model equals its rebuild. The server may be running.
pub async fn assert_equal_their_rebuild(database: &TestDatabase) {
    if let Some(difference) = differences(database).await.first() {
        fail(difference);
    }
}

fn reach(database: &TestDatabase) -> Database {
    Database::at(database.url()).or_fail("read the address of the database")
}
