//! Schemas are made once, and made anew for another version of the code.

use eventstore::database::SERVICE_ROLE;
use futures::future::join_all;

use super::database::TestDatabase;
use super::history::History;
use crate::schema::{self, Status};
use crate::{ALL, ReadModel, catalogue, find};

#[tokio::test]
async fn another_version_empties_the_tables_and_resets_the_checkpoint_and_nothing_else() {
    let history = History::random(3, 200);
    let mut test = TestDatabase::showing(&history.units).await;
    let before = test.digests().await;
    schema::ensure(&mut test.owner).await.unwrap();
    assert_eq!(test.digests().await, before, "the same version changes nothing");

    let newer = ReadModel { version: catalogue::MODEL.version + 1, ..catalogue::MODEL };
    schema::ensure_model(&mut test.owner, &newer).await.unwrap();
    let head = i64::try_from(history.recorded().len()).unwrap();
    for status in schema::list(&test.pool).await.unwrap() {
        let live = find(&status.name).unwrap().version;
        let (version, position) = if status.name == "catalogue" { (live + 1, 0) } else { (live, head) };
        let expected =
            Status { name: status.name.clone(), version: Some(version), position, head, lag: head - position };
        assert_eq!(status, expected);
    }
    test.follow(newer, 100).await;
    assert_eq!(test.digests().await, before, "the version alone makes no other rows");
}

#[tokio::test]
async fn missing_schemas_are_made_again() {
    let history = History::random(3, 100);
    let mut test = TestDatabase::showing(&history.units).await;
    let before = test.digests().await;
    sqlx::raw_sql("drop schema ledger cascade").execute(&mut test.owner).await.unwrap();
    schema::ensure(&mut test.owner).await.unwrap();
    test.follow_all(1_000).await;
    assert_eq!(test.digests().await, before);
}

#[tokio::test]
async fn many_nodes_may_start_at_once() {
    let mut test = TestDatabase::create().await;
    for model in ALL {
        sqlx::raw_sql(&format!("drop schema {} cascade", model.name)).execute(&mut test.owner).await.unwrap();
    }
    sqlx::query("delete from followers").execute(&mut test.owner).await.unwrap();
    let nodes = (0..8).map(|_| async {
        let mut owner = test.database.connect_as_owner().await.unwrap();
        schema::ensure(&mut owner).await.unwrap();
    });
    join_all(nodes).await;
    let names: Vec<_> = schema::list(&test.pool).await.unwrap().into_iter().map(|status| status.name).collect();
    assert_eq!(names, ALL.map(|model| model.name));
}

#[tokio::test]
async fn the_list_names_read_models_that_have_no_tables_yet() {
    let mut test = TestDatabase::create().await;
    sqlx::query("delete from followers where name = 'ledger'").execute(&mut test.owner).await.unwrap();
    let listed = schema::list(&test.pool).await.unwrap();
    let ledger = listed.iter().find(|status| status.name == "ledger").unwrap();
    assert_eq!((ledger.version, ledger.position, ledger.lag), (None, 0, 0));
}

#[tokio::test]
async fn the_service_may_use_the_tables_and_not_alter_them() {
    let test = TestDatabase::create().await;
    let role: String = sqlx::query_scalar("select current_user::text").fetch_one(&test.pool).await.unwrap();
    assert_eq!(role, SERVICE_ROLE);
    sqlx::query("delete from ledger.postings").execute(&test.pool).await.unwrap();
    assert!(sqlx::query("drop table ledger.postings").execute(&test.pool).await.is_err());
    assert!(sqlx::query("truncate ledger.postings").execute(&test.pool).await.is_err());
}
