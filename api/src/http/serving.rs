//! Connections: who may hold how many, and how long a client may take.
//!
//! The main listener speaks HTTP/1.1, with upgrades for sockets, and nothing else: a proxy in front speaks whatever
//! browsers like. A connection is closed if a head does not come in time, also while it is idle; if nothing of an answer
//! is taken for too long; and at once if there are too many. How long a request may take as a whole is limited in
//! [`super::envelope`]. A head that is too large, or has too many headers, is 431.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use ipnet::IpNet;
use metrics::{counter, gauge};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::Api;
use super::sender::counted;
use crate::config;
use crate::observe::metrics::{CONNECTIONS, CONNECTIONS_REFUSED};

/// More than any client of ours sends; what [`crate::forward`] hands on has room for them.
const MOST_HEADERS: usize = 100;
/// The largest head of a request.
const LARGEST_HEAD_BYTES: usize = 64 * 1_024;
/// So much the system keeps for a client beyond what is on its way to it.
const UNSENT_BYTES: u32 = 128 * 1_024;
/// How long to wait after the system could not give a connection, such as for want of files: some end meanwhile.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Answers the requests of all connections until `stop`, then lets those that have begun end. Sockets are no requests any
/// more: they end by themselves.
pub async fn serve(listener: TcpListener, api: Api, settings: &config::Http, stop: impl Future<Output = ()>) {
    let door = Arc::new(Door::new(settings));
    let patience = Duration::from_millis(settings.write_timeout_ms);
    let mut http = Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(settings.header_timeout_ms))
        .max_headers(MOST_HEADERS)
        .max_header_size(LARGEST_HEAD_BYTES);
    let (connections, stopping) = (TaskTracker::new(), CancellationToken::new());
    let accepting = async {
        loop {
            let (stream, peer) = accept(&listener).await;
            let Some(place) = door.admit(peer.ip()) else { continue };
            if let Err(error) = prepare(&stream) {
                tracing::debug!(%error, "a connection is as the system has made it");
            }
            let stream = Connection { stream, patience, stalled: None, _place: place };
            connections.spawn(answer(stream, peer, api.clone(), http.clone(), stopping.clone()));
        }
    };
    tokio::select! {
        () = accepting => {}
        () = stop => {}
    }
    // Whoever comes now is to find another node.
    drop(listener);
    stopping.cancel();
    connections.close();
    connections.wait().await;
}

/// Answers are small and whole: waiting to fill a segment only delays them. And what somebody does not read is to wait here,
/// where it is noticed, and not by the megabyte in the system.
fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    SockRef::from(stream).set_tcp_notsent_lowat(UNSENT_BYTES)
}

async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    use io::ErrorKind as E;
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            // The client has gone already.
            Err(error) if matches!(error.kind(), E::ConnectionAborted | E::ConnectionRefused | E::ConnectionReset) => {}
            Err(error) => {
                tracing::error!(%error, "no connection can be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Answers the requests of one connection; told to stop, the one that has begun.
async fn answer(stream: Connection, peer: SocketAddr, api: Api, http: Builder, stopping: CancellationToken) {
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        api.clone().oneshot(request)
    });
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service).with_upgrades());
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopping.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke");
    }
}

/// Lets so many connections in.
#[derive(Debug)]
struct Door {
    all: Arc<Semaphore>,
    most_per_sender: usize,
    trusted: config::Networks,
    /// How many each sender holds that holds any.
    held: Mutex<HashMap<IpNet, usize>>,
}

impl Door {
    fn new(settings: &config::Http) -> Self {
        Self {
            all: Arc::new(Semaphore::new(settings.connections)),
            most_per_sender: settings.connections_per_sender,
            trusted: settings.trusted_proxies.clone(),
            held: Mutex::default(),
        }
    }

    /// A place for a connection, if there is one. All of a proxy's clients come from its address, so that is not counted.
    fn admit(self: &Arc<Self>, peer: IpAddr) -> Option<Place> {
        let Ok(permit) = self.all.clone().try_acquire_owned() else { return refuse("all") };
        let sender = (!self.trusted.contain(peer)).then(|| counted(peer));
        if let Some(sender) = sender {
            let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
            let held = held.entry(sender).or_default();
            if *held >= self.most_per_sender {
                return refuse("sender");
            }
            *held += 1;
        }
        gauge!(CONNECTIONS).increment(1);
        Some(Place { door: self.clone(), sender, _permit: permit })
    }
}

fn refuse(limit: &'static str) -> Option<Place> {
    counter!(CONNECTIONS_REFUSED, "limit" => limit).increment(1);
    None
}

/// The place of an open connection, until it is dropped.
#[derive(Debug)]
struct Place {
    door: Arc<Door>,
    sender: Option<IpNet>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Place {
    fn drop(&mut self) {
        gauge!(CONNECTIONS).decrement(1);
        let Some(sender) = self.sender else { return };
        let mut held = self.door.held.lock().unwrap_or_else(PoisonError::into_inner);
        match held.get_mut(&sender) {
            Some(left) if *left > 1 => *left -= 1,
            _ => drop(held.remove(&sender)),
        }
    }
}

/// A connection that breaks if the client takes nothing for too long of what is to be written. One to which nothing is to
/// be written, such as an idle socket, may last. Its place goes with it, and so stays with a socket that it has become.
#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    patience: Duration,
    /// Since when nothing is taken.
    stalled: Option<Pin<Box<Sleep>>>,
    _place: Place,
}

impl Connection {
    /// What has come of writing, unless that has taken too long.
    fn patiently<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let patience = self.patience;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read")))
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.patiently(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.patiently(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn door(connections: usize, connections_per_sender: usize) -> Arc<Door> {
        let trusted_proxies = "10.0.0.1".parse().unwrap();
        let settings = config::Http { connections, connections_per_sender, trusted_proxies, ..config::Http::default() };
        Arc::new(Door::new(&settings))
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_sender_gets_so_many_places_and_a_proxy_all_that_there_are() {
        let door = door(6, 2);
        let mut places: Vec<_> = (0..2).map(|_| door.admit(ip("192.0.2.1")).unwrap()).collect();
        assert!(door.admit(ip("192.0.2.1")).is_none());
        places.extend(["2001:db8::1", "2001:db8::2"].map(|address| door.admit(ip(address)).unwrap()));
        assert!(door.admit(ip("2001:db8::3")).is_none(), "a /64 is one sender");
        places.extend((0..2).map(|_| door.admit(ip("10.0.0.1")).unwrap()));
        assert!(door.admit(ip("10.0.0.1")).is_none(), "there are no more");
        drop(places);
        assert!(door.held.lock().unwrap().is_empty(), "whoever holds none is forgotten");
        assert!(door.admit(ip("192.0.2.1")).is_some());
    }

    #[test]
    fn a_refused_connection_takes_no_place() {
        let door = door(2, 1);
        let first = door.admit(ip("192.0.2.1")).unwrap();
        assert!(door.admit(ip("192.0.2.1")).is_none());
        assert!(door.admit(ip("192.0.2.2")).is_some());
        drop(first);
        assert!(door.admit(ip("192.0.2.1")).is_some());
    }
}
