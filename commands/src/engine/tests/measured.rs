//! What is counted of the loop is what it has done.

use metrics_exporter_prometheus::PrometheusBuilder;

use super::*;

#[tokio::test]
async fn what_the_loop_has_done_is_counted() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let _here = metrics::set_default_local_recorder(&recorder);
    let database = database().await;
    let (engine, other) = (plain_node(&database).await, plain_node(&database).await);
    let ann = somebody();
    // Her wallet is not in memory; then it is looked up three times.
    fund(&engine, ann, 10).await;
    // Twice each, where it is decided: it is not where it is remembered.
    for _ in 0..2 {
        hold(&engine, keyed("a"), ann, 1).await.unwrap();
    }
    // Once.
    assert!(hold(&engine, once(), ann, 10).await.is_err());
    let counted = |name: &str| {
        let text = recorder.handle().render();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or("0").to_owned()
    };
    let results = ["accepted", "replayed", "refused", "unavailable"]
        .map(|result| counted(&format!("tradepost_commands_total{{result=\"{result}\"}}")));
    assert_eq!(results, ["2", "1", "1", "0"]);
    assert_eq!(counted("tradepost_cache_misses_total"), "1");
    assert_eq!(counted("tradepost_cache_hits_total"), "6");
    assert_eq!(counted("tradepost_events_appended_total"), "4");
    assert_eq!(counted("tradepost_batch_commands_sum"), "3");
    assert_eq!(counted("tradepost_batch_commands_count"), "3");
    assert_eq!(counted("tradepost_head_conflicts_total"), "0");
    hold(&other, once(), ann, 1).await.unwrap();
    assert_eq!(counted("tradepost_head_conflicts_total"), "1");
}
