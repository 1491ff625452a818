//! `tradepost serve` and `tradepost demo`.

use std::net::SocketAddr;
use std::time::Duration;

use eventstore::clock::Clock;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::output::tell;
use super::{Failure, Place, secret, stop_signals};
use crate::app::{App, Node};
use crate::config::Config;
use crate::http::serving;
use crate::observe::metrics;
use crate::observe::traces::Traces;
use crate::{demo, http};

/// How long requests that have begun may take once the server is told to stop.
const DRAIN_PATIENCE: Duration = Duration::from_secs(5);

pub(super) async fn run(config: Config, demo: bool) -> Result<(), Failure> {
    // Before anything is started: an occupied port is found out at once.
    let doors = Doors::open(&config).await?;
    let stop = stop_signals()?;
    let secret = secret(&config)?;
    let traces = Traces::start(&config.traces)?;
    // Not to be interrupted: a private Postgres that has begun to start is ended only once it runs.
    let place = Place::own(&config).await?;
    let served = Box::pin(serve(config, &place, secret, doors, &stop, demo)).await;
    let left = place.leave(served).await;
    traces.stop().await;
    left
}

/// Starts, serves until `stop`, and ends. `stop` ends a start too.
async fn serve(
    config: Config,
    place: &Place,
    secret: eventstore::secrets::RootSecret,
    doors: Doors,
    stop: &CancellationToken,
    demo: bool,
) -> Result<(), Failure> {
    let Some(node) = stop.run_until_cancelled(Box::pin(start(config, place, secret, demo))).await else {
        return Ok(());
    };
    let node = node?;
    let served = open(&node.app, doors, stop, demo).await;
    node.stop().await;
    served
}

async fn start(
    config: Config,
    place: &Place,
    secret: eventstore::secrets::RootSecret,
    demo: bool,
) -> Result<Node, Failure> {
    let clock = if demo { demo::clock(&place.database).await? } else { Clock::new() };
    if !config.sandbox.enabled && demo::is_in(&place.database).await? {
        let sentence = "this database holds the marketplace of `tradepost demo`, whose admin has a password that everybody \
            knows: serve it with `tradepost demo` or with --sandbox, or give `tradepost serve` a database of its own";
        return Err(sentence.into());
    }
    Ok(Node::start(config, &place.database, secret, clock).await?)
}

/// Says where it listens, once there is something to show, and answers.
async fn open(app: &App, doors: Doors, stop: &CancellationToken, demo: bool) -> Result<(), Failure> {
    let address = doors.main.local_addr()?;
    let logins = if demo {
        let mut say = |line: &str| tell(line);
        let Some(filled) = stop.run_until_cancelled(demo::fill(app, &mut say)).await else { return Ok(()) };
        Some(filled?)
    } else {
        None
    };
    tell(format_args!("tradepost listens on http://{address}"));
    tell(format_args!("documentation at http://{address}/api/docs/"));
    if let Some(metrics) = &doors.metrics {
        tell(format_args!("metrics at http://{}/metrics", metrics.local_addr()?));
    }
    if let Some(logins) = logins {
        tell(logins);
    }
    Ok(answer(app.clone(), doors, stop.clone()).await?)
}

/// Answers requests until `stop`, then lets those that have begun end.
async fn answer(app: App, doors: Doors, stop: CancellationToken) -> Result<(), std::io::Error> {
    let closing = app.closing.clone();
    let told = closing.clone();
    let stopped = async move {
        stop.cancelled().await;
        told.cancel();
    };
    let routes = if app.settings.node.roles.api { http::api(app.clone()) } else { http::health_only(app.clone()) };
    let until = closing.clone();
    let metrics = async {
        match doors.metrics {
            Some(listener) => metrics::serve(app.clone(), listener, until).await,
            None => Ok(()),
        }
    };
    let server = async {
        serving::serve(doors.main, routes, &app.settings.http, stopped).await;
        Ok(())
    };
    let deadline = async move {
        closing.cancelled().await;
        tokio::time::sleep(DRAIN_PATIENCE).await;
    };
    tokio::select! {
        ended = async { tokio::try_join!(server, metrics) } => ended.map(drop),
        () = deadline => {
            tracing::warn!("some connections did not end in time");
            Ok(())
        }
    }
}

/// Where the server listens.
struct Doors {
    main: TcpListener,
    /// For Prometheus alone.
    metrics: Option<TcpListener>,
}

impl Doors {
    async fn open(config: &Config) -> Result<Self, Failure> {
        let main = listen(config.http.bind, "--bind or http.bind").await?;
        let metrics = match config.metrics.bind {
            Some(address) => Some(listen(address, "metrics.bind").await?),
            None => None,
        };
        Ok(Self { main, metrics })
    }
}

async fn listen(address: SocketAddr, setting: &str) -> Result<TcpListener, Failure> {
    TcpListener::bind(address)
        .await
        .map_err(|error| format!("cannot listen on {address}: {error}; choose another address with {setting}").into())
}
