//! What every fault ends with: the marketplace settles, and each promise is looked at. It is told from the database and
//! the log of clients alone; P5 by rebuilding the read models, P8 by reading the stream.

use std::time::{Duration, Instant};

use eventstore::event::Interest;
use eventstore::nats::{STREAM, jetstream, read};
use serde_json::json;
use sqlx::{Connection, PgConnection};
use tradepost_tests::checker::{self, Log};
use tradepost_tests::database::TestDatabase;
use tradepost_tests::models;
use tradepost_tests::nats::NatsServer;

use crate::results::Figures;
use crate::scene::{LOOK_AGAIN, PATIENCE, Scene, Trade};

/// Until then every auction of the load has ended, and every order.
const BIDS_OVER_MS: i64 = 25 * 3_600 * 1_000;
const ORDERS_OVER_MS: i64 = 130 * 86_400 * 1_000;
/// What the stream lacks it has this soon.
const CONVERGES_WITHIN: Duration = Duration::from_secs(10);

/// Ends a scene and tells what was counted and what was broken.
pub(crate) async fn close(mut scene: Scene) -> Figures {
    if let Some(load) = scene.load.take() {
        load.stop().await;
    }
    if let Err(why) = settle(&scene).await {
        scene.found.push(format!("target: {why}"));
    }
    scene.look_away().await;
    if let Some((nats, _)) = &scene.nats
        && let Err(why) = copied(&scene.database, nats).await
    {
        scene.found.push(format!("P8: {why}"));
    }
    for node in &mut scene.nodes {
        if let Some(mut server) = node.server.take() {
            let status = if server.is_running() { server.terminate().await.status.success() } else { false };
            if !status {
                scene.found.push("target: a server did not end as it should".to_owned());
            }
        }
    }
    let (lines, history) = (scene.journal.lines(), scene.journal.history());
    let mut figures = Figures::of(scene.figures(&history));
    match PgConnection::connect(scene.database.url()).await {
        Ok(mut connection) => {
            let log = Log::read(&mut connection).await;
            figures.count("events", log.events.len());
            figures.broken.extend(checker::check(&log, &history).iter().map(ToString::to_string));
            figures.broken.extend(checker::check_timers(&log, scene.unwell).iter().map(ToString::to_string));
            figures.broken.extend(left(&mut connection).await);
            figures.broken.extend(held(&mut connection).await);
            let different = models::differences(&scene.database).await;
            figures.broken.extend(different.into_iter().map(|what| format!("P5: {what}")));
        }
        Err(error) => figures.broken.push(format!("target: the database cannot be reached: {error}")),
    }
    figures.broken.extend(checker::check_lines(&lines).iter().map(ToString::to_string));
    figures.broken.append(&mut scene.found);
    if !figures.broken.is_empty() {
        let kept = std::env::temp_dir().join(format!("tradepost-journal-{}.jsonl", scene.setup.seed));
        if std::fs::copy(scene.journal.path(), &kept).is_ok() {
            figures.broken.push(format!("the log of clients is kept in {}", kept.display()));
        }
    }
    scene.cluster.stop().await;
    figures
}

/// Has everything come to its end that is due at some time, and waits until it shows.
async fn settle(scene: &Scene) -> Result<(), String> {
    let over = match scene.setup.trade {
        Trade::Bids => BIDS_OVER_MS,
        Trade::Orders => ORDERS_OVER_MS,
    };
    let began = Instant::now();
    loop {
        let advanced = scene.client(0).post("/sandbox/clock", &json!({ "advance_ms": over })).attempt().await;
        match advanced {
            Ok(answer) if answer.status == 200 => break,
            _ if began.elapsed() > PATIENCE => return Err("the clock could not be set to the end".to_owned()),
            _ => tokio::time::sleep(LOOK_AGAIN).await,
        }
    }
    let head = scene.database.log_head().await;
    let shown = scene.traders[0].at(scene.client(0).address());
    while began.elapsed() < 2 * PATIENCE {
        if shown.get("/wallet").since(head).attempt().await.is_ok_and(|answer| answer.status == 200) {
            return Ok(());
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    Err("read models did not follow the log to its end".to_owned())
}

/// P7: nothing that is due is left in the table of timers.
async fn left(connection: &mut PgConnection) -> Vec<String> {
    let look = "select kind, count(*) from timers where due_at <= (select max(recorded_at) from events) group by kind";
    let left: Vec<(String, i64)> = sqlx::query_as(look).fetch_all(connection).await.unwrap_or_default();
    left.into_iter().map(|(kind, count)| format!("P7: {count} timers are due and have not fired: {kind}")).collect()
}

/// P9: nothing of ours is at work, or in the midst of a transaction, once every server has ended.
async fn held(connection: &mut PgConnection) -> Option<String> {
    let look = "select count(*) from pg_stat_activity where application_name = 'tradepost' and state <> 'idle'";
    let began = Instant::now();
    loop {
        let busy: Result<i64, _> = sqlx::query_scalar(look).fetch_one(&mut *connection).await;
        match busy {
            Ok(0) => return None,
            Ok(busy) if began.elapsed() > CONVERGES_WITHIN => {
                return Some(format!("P9: {busy} sessions are at work after all servers have ended"));
            }
            Err(error) => return Some(format!("P9: the sessions cannot be looked at: {error}")),
            Ok(_) => tokio::time::sleep(LOOK_AGAIN).await,
        }
    }
}

/// P8: the stream holds the log, message for message.
async fn copied(database: &TestDatabase, nats: &NatsServer) -> Result<(), String> {
    let context = jetstream(&nats.client().await);
    let began = Instant::now();
    let (stream, head) = loop {
        // Processes go on writing, so the head is looked up each time.
        let head = database.log_head().await;
        let last = match context.get_stream(STREAM).await {
            Ok(stream) if stream.cached_info().state.last_sequence == head.unsigned_abs() => break (stream, head),
            Ok(stream) => stream.cached_info().state.last_sequence,
            Err(_) => 0,
        };
        if began.elapsed() > CONVERGES_WITHIN {
            return Err(format!("the stream ends at {last} and the log at {head}"));
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    };
    let mut connection = database.connect().await;
    let log = eventstore::log::read_range(&mut connection, 0, head, Interest::Everything).await;
    for event in log.map_err(|error| error.to_string())? {
        let position = event.position;
        let message = stream.get_raw_message(position.unsigned_abs()).await;
        let message = message.map_err(|error| format!("message {position}: {error}"))?;
        let relayed = read(Some(&message.headers), &message.payload).map_err(|error| error.to_string())?;
        if relayed.event_id != event.event_id || relayed.payload != event.payload {
            return Err(format!("message {position} is not the event at {position}"));
        }
    }
    Ok(())
}
