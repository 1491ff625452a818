//! Metrics as Prometheus reads them.
//!
//! What passes through this process is counted where it passes, over handles made once. What lies in the database is
//! read when somebody asks: [`show`] is the one place where that is turned into gauges. While the database is away
//! those gauges are NaN, which no alarm takes for a number.

use std::sync::OnceLock;
use std::time::Duration;

use async_nats::connection::State as Connection;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderName, header};
use axum::routing::get;
use eventstore::follower::Status;
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{Observation, observe};
use crate::app::{App, Parts, followers};

/// What the metrics are written in.
pub const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
/// Requests by route, method and status.
pub const HTTP_REQUESTS: &str = "tradepost_http_requests_total";
/// How long requests take, by route and method.
pub const HTTP_SECONDS: &str = "tradepost_http_request_duration_seconds";
/// Requests that were refused because somebody asked too much, by limit.
pub const REQUESTS_REFUSED: &str = "tradepost_http_requests_limited_total";
/// Open connections.
pub const CONNECTIONS: &str = "tradepost_http_connections_open";
/// Connections that were closed at once because there were too many, by limit.
pub const CONNECTIONS_REFUSED: &str = "tradepost_http_connections_refused_total";
/// Open sockets.
pub const SOCKETS: &str = "tradepost_sockets_open";
/// Sockets that were cut because their clients did not read.
pub const SOCKETS_CUT: &str = "tradepost_sockets_cut_total";

/// From 50 µs, which is a small batch, to 10 s, when everybody has given up.
const SECONDS: [f64; 17] = [
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];
/// Commands in a batch, up to the most that can be set.
const COMMANDS: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 4_096.0];
/// How often samples that nobody has asked for are put together, so that they do not pile up.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();

/// Makes this process count. Whatever is to be counted takes its handles afterwards.
pub fn install() -> PrometheusHandle {
    HANDLE.get_or_init(start_counting).clone()
}

fn start_counting() -> PrometheusHandle {
    let builder = PrometheusBuilder::new();
    let with_seconds = builder.set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS);
    // Only a list without any bucket is refused.
    let builder = with_seconds
        .and_then(|builder| builder.set_buckets_for_metric(Matcher::Suffix("_commands".to_owned()), &COMMANDS))
        .unwrap_or_else(|_| PrometheusBuilder::new());
    let recorder = builder.build_recorder();
    let handle = recorder.handle();
    if metrics::set_global_recorder(recorder).is_err() {
        tracing::warn!("this process counts for somebody else already; /metrics stays empty");
    }
    describe();
    gauge!(SOCKETS).set(0.0);
    counter!(SOCKETS_CUT).absolute(0);
    gauge!(CONNECTIONS).set(0.0);
    // There from the start, so that the first refusal is seen as a growth.
    for limit in ["sender", "guesses", "account"] {
        counter!(REQUESTS_REFUSED, "limit" => limit).absolute(0);
    }
    for limit in ["all", "sender"] {
        counter!(CONNECTIONS_REFUSED, "limit" => limit).absolute(0);
    }
    gauge!("tradepost_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    handle
}

/// Says what everything means that is counted in this crate.
fn describe() {
    describe_counter!(HTTP_REQUESTS, "HTTP requests that were answered, by route, method and status.");
    describe_histogram!(HTTP_SECONDS, "Time to answer HTTP requests, by route and method.");
    describe_counter!(REQUESTS_REFUSED, "Requests that were refused because somebody asked too much, by limit.");
    describe_counter!(
        CONNECTIONS_REFUSED,
        "Connections that were closed at once because there were too many, by limit."
    );
    describe_counter!(SOCKETS_CUT, "WebSockets that were cut because their clients did not read.");
    for (name, what) in [
        (CONNECTIONS, "Connections to this node, WebSockets included."),
        (SOCKETS, "WebSockets that are open on this node."),
        ("tradepost_build_info", "Always 1; the label names the version."),
        ("tradepost_database_up", "Whether the database answers."),
        ("tradepost_decider_available", "Whether this node reaches its database and can decide."),
        ("tradepost_log_position", "The position of the last event in the log."),
        ("tradepost_follower_lag_events", "Events that a read model or process has yet to take."),
        ("tradepost_follower_lag_seconds", "For how long the first of these events has waited."),
        ("tradepost_follower_parked", "Events that a read model or process could not take, and those behind them."),
        ("tradepost_nats_up", "Whether this node is connected to NATS; NaN without any."),
        (
            "tradepost_relay_lag_events",
            "Events that the stream in NATS has yet to get; NaN on nodes that do not relay now.",
        ),
        (
            "tradepost_proof_lag_events",
            "Events that are not hashed yet; NaN on nodes that do not hash now, and while nothing can be hashed.",
        ),
        ("tradepost_timers_due", "Timers whose time has come and that have not fired."),
        ("tradepost_timers_overdue_seconds", "For how long the oldest of these timers has been due."),
        ("tradepost_mail_letters", "Letters that are not sent, by state."),
        ("tradepost_pool_connections", "Connections for queries to the database, by state."),
        ("tradepost_pool_connections_max", "The most connections for queries."),
    ] {
        describe_gauge!(name, what);
    }
}

/// Puts samples together, until the task is aborted, also while nobody asks for them.
pub async fn keep_up(handle: PrometheusHandle) {
    loop {
        tokio::time::sleep(UPKEEP_EVERY).await;
        handle.run_upkeep();
    }
}

/// Everything that there is to see, as Prometheus reads it.
pub async fn render(app: &Parts) -> String {
    let observed = observe(app).await;
    let decides = if app.engine.is_available() { 1.0 } else { 0.0 };
    gauge!("tradepost_decider_available").set(decides);
    show_pool(app);
    show_nats(app, observed.as_ref().ok());
    show_proof(app, observed.as_ref().ok());
    show(observed.ok().as_ref());
    install().render()
}

fn show_pool(app: &Parts) {
    let (open, idle) = (app.pool.size(), u32::try_from(app.pool.num_idle()).unwrap_or(u32::MAX));
    gauge!("tradepost_pool_connections", "state" => "idle").set(idle);
    gauge!("tradepost_pool_connections", "state" => "in_use").set(open.saturating_sub(idle));
    gauge!("tradepost_pool_connections_max").set(app.pool.options().get_max_connections());
}

fn show_nats(app: &Parts, observed: Option<&Observation>) {
    let connected = app.nats.as_ref().map(|client| client.connection_state() == Connection::Connected);
    gauge!("tradepost_nats_up").set(connected.map_or(f64::NAN, |connected| if connected { 1.0 } else { 0.0 }));
    let relayed = app.relayed.as_ref().and_then(|relayed| *relayed.borrow());
    let head = observed.and_then(|observed| observed.followers.first()).map(|follower| follower.head);
    let lag = head.zip(relayed).map(|(head, relayed)| (head - relayed).max(0));
    gauge!("tradepost_relay_lag_events").set(number(lag));
}

fn show_proof(app: &Parts, observed: Option<&Observation>) {
    let hashed = app.notary.as_ref().and_then(|notary| notary.standing.borrow().hashed);
    let head = observed.and_then(|observed| observed.followers.first()).map(|follower| follower.head);
    gauge!("tradepost_proof_lag_events").set(number(head.zip(hashed).map(|(head, hashed)| (head - hashed).max(0))));
}

/// Shows what the database has told; nothing, if it has not answered.
fn show(observed: Option<&Observation>) {
    gauge!("tradepost_database_up").set(if observed.is_some() { 1.0 } else { 0.0 });
    let log_position = observed.and_then(|observed| observed.followers.first()).map(|follower| follower.head);
    gauge!("tradepost_log_position").set(number(log_position));
    for (place, name) in followers().enumerate() {
        let follower = observed.and_then(|observed| observed.followers.get(place));
        let events = number(follower.map(|follower| follower.lag_events));
        let seconds = follower.map_or(f64::NAN, Status::lag_s);
        let parked = number(follower.map(|follower| follower.parked + follower.waiting));
        gauge!("tradepost_follower_parked", "follower" => name).set(parked);
        gauge!("tradepost_follower_lag_events", "follower" => name).set(events);
        gauge!("tradepost_follower_lag_seconds", "follower" => name).set(seconds);
    }
    let due = number(observed.map(|observed| observed.overdue.timers));
    let overdue = observed.map_or(f64::NAN, Observation::overdue_seconds);
    gauge!("tradepost_timers_due").set(due);
    let letters = observed.map(|observed| observed.letters);
    for (state, count) in [
        ("fresh", letters.map(|letters| letters.fresh)),
        ("failed", letters.map(|letters| letters.failed)),
        ("parked", letters.map(|letters| letters.parked)),
    ] {
        gauge!("tradepost_mail_letters", "state" => state).set(number(count));
    }
    gauge!("tradepost_timers_overdue_seconds").set(overdue);
}

/// A count as Prometheus has numbers: exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "every number of Prometheus is a float")]
fn number(count: Option<i64>) -> f64 {
    count.map_or(f64::NAN, |count| count as f64)
}

/// Answers `/metrics`, to whoever reaches `listener`, until `stop`.
pub async fn serve(app: App, listener: TcpListener, stop: CancellationToken) -> Result<(), std::io::Error> {
    let page = async |State(app): State<App>| text(render(&app).await);
    let router = Router::new().route("/metrics", get(page)).with_state(app);
    axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await
}

/// The answer with the metrics.
pub fn text(metrics: String) -> ([(HeaderName, &'static str); 1], String) {
    ([(header::CONTENT_TYPE, MEDIA_TYPE)], metrics)
}
