//! What `tradepost verify` says of a marketplace.

use serde_json::Value;

use crate::database::TestDatabase;
use crate::fail::OrFail;
use crate::server::tradepost;

/// How many things `tradepost verify` looks at, and what it finds.
///
/// # Panics
/// If its exit code says something else than its report.
pub async fn verify(database: &TestDatabase, options: &[&str]) -> (usize, Vec<(String, String)>) {
    let command = [&["verify", "--json"], options].concat();
    let output = tradepost(database.url(), &command).output().await.or_fail("run `tradepost verify`");
    let report: Value = serde_json::from_slice(&output.stdout)
        .or_fail(&format!("read what it says: {}", String::from_utf8_lossy(&output.stderr)));
    let mut found = Vec::new();
    for check in report["checks"].as_array().or_fail("find the checks") {
        for finding in check["findings"].as_array().or_fail("find what was found") {
            found.push((text(&check["subject"]), text(finding)));
        }
    }
    assert_eq!(output.status.success(), found.is_empty(), "the exit code tells too");
    assert_eq!(report["sound"], found.is_empty());
    (report["checks"].as_array().or_fail("find the checks").len(), found)
}

fn text(value: &Value) -> String {
    value.as_str().or_fail("read a text").to_owned()
}
