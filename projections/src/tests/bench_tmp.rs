
use super::database::TestDatabase;
use super::history::History;
use crate::{ALL};
use crate::rebuild::rebuild;
#[tokio::test]
async fn bench_tmp() {
    let history = History::random(99, 40_000);
    let mut test = TestDatabase::create().await;
    for chunk in history.units.chunks(500) { test.append(chunk).await; }
    for batch in [64, 512] {
    test.start_afresh().await;
    for model in ALL {
        let start = std::time::Instant::now();
        test.follow(model, batch).await;
        eprintln!("{} live {batch}: {:?}", model.name, start.elapsed());
    }}
    for model in ALL {
        let start = std::time::Instant::now();
        let n = rebuild(&test.database, model.name, |_, _| {}).await.unwrap();
        eprintln!("{} {n} events {:?}", model.name, start.elapsed());
    }
}
