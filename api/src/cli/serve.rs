//! `tradepost serve` and `tradepost demo`.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use axum::ServiceExt;
use axum::extract::Request;
use axum::serve::ListenerExt;
use eventstore::clock::Clock;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use super::{Failure, Place, secret};
use crate::app::{App, Node};
use crate::config::Config;
use crate::{demo, http};

/// How long requests that have begun may take once the server is told to stop.
const DRAIN_PATIENCE: Duration = Duration::from_secs(5);

pub(super) async fn run(config: Config, demo: bool) -> Result<(), Failure> {
    // Before anything is started: an occupied port is found out at once.
    let listener = listen(config.http.bind).await?;
    let signals = stop_signals()?;
    let secret = secret(&config)?;
    let place = Place::own(&config).await?;
    let served = serve(config, &place, secret, listener, signals, demo).await;
    place.leave().await?;
    served
}

async fn serve(
    config: Config,
    place: &Place,
    secret: eventstore::secrets::RootSecret,
    listener: TcpListener,
    stop: impl Future<Output = ()> + Send + 'static,
    demo: bool,
) -> Result<(), Failure> {
    let address = listener.local_addr()?;
    let clock = if demo { demo::clock(&place.database).await? } else { Clock::new() };
    let node = Node::start(config, &place.database, secret, clock).await?;
    let logins = if demo { Some(demo::fill(&node.app, &mut |line| println!("{line}")).await?) } else { None };
    println!("tradepost listens on http://{address}");
    println!("documentation at http://{address}/api/docs/");
    if let Some(logins) = logins {
        println!("{logins}");
    }
    answer(node.app.clone(), listener, stop).await?;
    node.stop().await;
    Ok(())
}

/// Answers requests until `stop`, then lets those that have begun end.
pub(crate) async fn answer(
    app: App,
    listener: TcpListener,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), std::io::Error> {
    let closing = app.closing.clone();
    let told = closing.clone();
    let stopped = async move {
        stop.await;
        tracing::info!("stopping");
        told.cancel();
    };
    let listener = listener.tap_io(|stream| {
        // Answers are small and whole; waiting to fill a segment only delays them.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "nodelay");
        }
    });
    let service = ServiceExt::<Request>::into_make_service(http::api(app));
    let server = axum::serve(listener, service).with_graceful_shutdown(stopped);
    let deadline = async move {
        closing.cancelled().await;
        tokio::time::sleep(DRAIN_PATIENCE).await;
    };
    tokio::select! {
        ended = server.into_future() => ended,
        () = deadline => {
            tracing::warn!("some connections did not end in time");
            Ok(())
        }
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| {
        format!("cannot listen on {address}: {error}; choose another address with --bind or http.bind").into()
    })
}

fn stop_signals() -> Result<impl Future<Output = ()> + Send + 'static, Failure> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}
