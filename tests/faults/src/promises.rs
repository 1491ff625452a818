//! What every fault ends with: the marketplace settles, and each promise is looked at. It is told from the database and
//! the log of clients alone; P5 by rebuilding the read models, P8 by reading the stream.

use std::time::{Duration, Instant};

use eventstore::event::{Interest, RecordedEvent};
use eventstore::nats::{STREAM, jetstream, read};
use serde_json::json;
use sqlx::{Connection, PgConnection};
use tradepost_tests::checker::{self, Log};
use tradepost_tests::database::TestDatabase;
use tradepost_tests::fail::OrFail;
use tradepost_tests::history::History;
use tradepost_tests::journal::Line;
use tradepost_tests::models;
use tradepost_tests::nats::NatsServer;

use crate::results::Figures;
use crate::scene::{ALL, LOOK_AGAIN, Scene};

/// Until then every auction of the load has ended, and every order.
const OVER_MS: i64 = 130 * 86_400 * 1_000;
/// What the stream lacks it has this soon.
pub(crate) const CONVERGES_WITHIN: Duration = Duration::from_secs(10);

/// Ends a scene and tells what was counted and what was broken.
pub(crate) async fn close(mut scene: Scene) -> Figures {
    if let Some(load) = scene.load.take() {
        load.stop().await;
    }
    if scene.nodes.iter().any(|node| node.roles != ALL) {
        // Only they have a clock that can be set to the end.
        scene.divide(&[ALL]).await;
    }
    match settle(&scene).await {
        Ok(()) => {
            let unseen = shown(&scene).await;
            scene.found.extend(unseen);
        }
        Err(why) => scene.found.push(why),
    }
    scene.found.extend(rested(&scene.database, "have not been given back although nobody asks anything").await);
    scene.look_away().await;
    if let Some(nats) = &scene.nats
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
    let mut figures = counted(&history);
    match PgConnection::connect(scene.database.url()).await {
        Ok(mut connection) => {
            let log = Log::read(&mut connection).await;
            figures.count("events", log.events.len());
            figures.broken.extend(checker::check(&log, &history).iter().map(ToString::to_string));
            figures.broken.extend(checker::check_timers(&log, &scene.outages()).iter().map(ToString::to_string));
            figures.broken.extend(checker::check_ended(&log).iter().map(ToString::to_string));
            figures.broken.extend(left(&mut connection).await);
            figures.broken.extend(parked(&mut connection).await);
            figures.broken.extend(rested(&scene.database, "are at work after all servers have ended").await);
            let different = models::differences(&scene.database).await;
            figures.broken.extend(different.into_iter().map(|what| format!("P5: {what}")));
        }
        Err(error) => figures.broken.push(format!("target: the database cannot be reached: {error}")),
    }
    figures.broken.extend(checker::check_lines(&lines).iter().map(ToString::to_string));
    figures.broken.append(&mut scene.found);
    if !figures.broken.is_empty() {
        let kept = std::env::temp_dir().join(format!("tradepost-journal-{}-{}.jsonl", scene.setup.seed, scene.name));
        if std::fs::copy(scene.journal.path(), &kept).is_ok() {
            figures.broken.push(format!("the log of clients is kept in {}", kept.display()));
        }
    }
    scene.cluster.stop().await;
    figures
}

fn counted(history: &History) -> Figures {
    let (mut figures, counts) = (Figures::default(), history.counts(None));
    figures.count("commands", history.commands.len());
    figures.count("accepted", counts.accepted);
    figures.count("refused", counts.refused);
    figures.count("unknown_attempts", counts.unknown_attempts);
    figures.count("answers_lost", history.lost_answers());
    figures.count("settled_by_retry", history.settled_by_retry());
    figures
}

/// Has everything come to its end that is due at some time, and waits until it shows.
async fn settle(scene: &Scene) -> Result<(), String> {
    let began = Instant::now();
    loop {
        let advanced = scene.client(0).post("/sandbox/clock", &json!({ "advance_ms": OVER_MS })).attempt().await;
        match advanced {
            Ok(answer) if answer.status == 200 => break,
            // What is due in months takes its time, longer than a client waits.
            _ if began.elapsed() > crate::selftest::patience_of_months() => {
                return Err("target: the clock could not be set to the end".to_owned());
            }
            _ => tokio::time::sleep(LOOK_AGAIN).await,
        }
    }
    scene
        .shows_everything()
        .await
        .map(|_| ())
        .ok_or_else(|| "P5: read models did not follow the log to its end".to_owned())
}

/// P7: nothing that is due is left in the table of timers.
async fn left(connection: &mut PgConnection) -> Vec<String> {
    let look = "select kind, count(*) from timers where due_at <= (select max(recorded_at) from events) group by kind";
    let left: Vec<(String, i64)> =
        sqlx::query_as(look).fetch_all(connection).await.or_fail("look for timers that are due");
    left.into_iter().map(|(kind, count)| format!("P7: {count} timers are due and have not fired: {kind}")).collect()
}

/// P5: nothing waits to be taken.
async fn parked(connection: &mut PgConnection) -> Option<String> {
    let look = "select count(*) from parked_events";
    let parked: i64 = sqlx::query_scalar(look).fetch_one(connection).await.or_fail("look for parked events");
    (parked > 0).then(|| format!("P5: {parked} events are parked"))
}

/// P6: sockets have shown the auctions that are watched to their ends.
async fn shown(scene: &Scene) -> Vec<String> {
    let (began, mut connection) = (Instant::now(), scene.database.connect().await);
    let mut broken = Vec::new();
    for auction in scene.watched() {
        let look = "select max(sequence) from events where aggregate_type = 'auction' and aggregate_id = $1";
        let last: Option<i64> = sqlx::query_scalar(look)
            .bind(auction.to_string())
            .fetch_one(&mut connection)
            .await
            .or_fail("look where an auction has ended");
        loop {
            let seen = scene.journal.lines().into_iter().filter_map(|line| match line {
                Line::Seen { auction: shown, sequence, .. } if shown == *auction => Some(sequence),
                _ => None,
            });
            let seen = seen.max();
            if seen == last {
                break;
            }
            if began.elapsed() > CONVERGES_WITHIN {
                broken.push(format!("P6: auction {auction} was shown up to {seen:?}, and ends at {last:?}"));
                break;
            }
            tokio::time::sleep(LOOK_AGAIN * 10).await;
        }
    }
    broken
}

/// P9: soon there is a moment at which every session of ours is idle, and in no transaction.
async fn rested(database: &TestDatabase, told: &str) -> Option<String> {
    let look = "select count(*) from pg_stat_activity where application_name = 'tradepost' and state <> 'idle'";
    let (began, mut connection) = (Instant::now(), database.connect().await);
    loop {
        let sessions: i64 = sqlx::query_scalar(look).fetch_one(&mut connection).await.or_fail("look at the sessions");
        match sessions {
            0 => return None,
            sessions if began.elapsed() > CONVERGES_WITHIN => return Some(format!("P9: {sessions} sessions {told}")),
            _ => tokio::time::sleep(LOOK_AGAIN).await,
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
        if fields(&relayed) != fields(&event) {
            return Err(format!("message {position} is not the event at {position}"));
        }
    }
    Ok(())
}

/// All of an event that a message has to say.
fn fields(event: &RecordedEvent) -> impl PartialEq + use<'_> {
    let RecordedEvent { position, commit_position, event_id, aggregate_type, aggregate_id, .. } = event;
    let RecordedEvent { sequence, event_type, event_version, payload, recorded_at, .. } = event;
    let place = (position, commit_position, event_id, aggregate_type, aggregate_id, sequence);
    (place, event_type, event_version, payload, recorded_at)
}
