//! A TCP proxy that does what networks do: delays, keeps silent, cuts; and that knows enough of what it carries to do so
//! at one exact moment, such as between a commit and its reply.

use std::future::pending;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncWriteExt, BufReader, BufWriter};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tradepost_tests::fail::OrFail;

mod nats;
mod postgres;
mod spoil;

pub(crate) use spoil::{Deliveries, Spoil};

/// Whose words are carried.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Protocol {
    Postgres,
    Nats,
}

/// What somebody asks for, or is told, that a moment can be named after.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Step {
    /// A transaction begins.
    Begin,
    /// Events are appended.
    Append,
    /// A transaction is committed.
    Commit,
    /// A checkpoint moves.
    Checkpoint,
    /// An event is published.
    Publish,
    /// The stream says that it has taken an event.
    Ack,
}

/// Before a step has been asked for, or after it was done and before whoever asked knows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Moment {
    Before(Step),
    After(Step),
}

/// What a connection does now.
#[derive(Clone, Copy, Debug)]
struct Line {
    upstream: SocketAddr,
    open: bool,
    /// Nothing is passed on, and nobody is told.
    silent: bool,
    delay: Duration,
    /// Each ends the connections that there are.
    cuts: u64,
}

/// The next moment of a kind, and who waits for it.
#[derive(Debug)]
struct Trap {
    at: Moment,
    /// How often the moment passes before it counts.
    passes: usize,
    tell: oneshot::Sender<()>,
}

#[derive(Debug)]
struct Shared {
    protocol: Protocol,
    line: watch::Sender<Line>,
    trap: Mutex<Option<Trap>>,
    spoil: Mutex<Option<Spoil>>,
}

/// A proxy on a port of its own, of one address of this machine. Ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    listening: JoinHandle<()>,
}

impl Proxy {
    pub(crate) async fn start(here: Ipv4Addr, protocol: Protocol, upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind((here, 0)).await.or_fail("listen as a proxy");
        let address = listener.local_addr().or_fail("tell the port of a proxy");
        let line = Line { upstream, open: true, silent: false, delay: Duration::ZERO, cuts: 0 };
        let line = watch::Sender::new(line);
        let shared = Arc::new(Shared { protocol, line, trap: Mutex::default(), spoil: Mutex::default() });
        let carried = shared.clone();
        let listening = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let line = *carried.line.borrow();
                if line.open {
                    tokio::spawn(carry(client, carried.clone(), line));
                }
            }
        });
        Self { address, shared, listening }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// New connections lead there.
    pub(crate) fn lead_to(&self, upstream: SocketAddr) {
        self.shared.line.send_modify(|line| line.upstream = upstream);
    }

    /// Ends every connection; `open` says whether there may be new ones.
    pub(crate) fn cut(&self, open: bool) {
        self.shared.line.send_modify(|line| (line.open, line.cuts) = (open, line.cuts + 1));
    }

    /// Connections stay, and nothing arrives.
    pub(crate) fn keep_silent(&self) {
        self.shared.line.send_modify(|line| line.silent = true);
    }

    /// Everything takes so much longer in either direction.
    pub(crate) fn delay(&self, delay: Duration) {
        self.shared.line.send_modify(|line| line.delay = delay);
    }

    /// Everything is well again.
    pub(crate) fn mend(&self) {
        self.shared.line.send_modify(|line| (line.open, line.silent, line.delay) = (true, false, Duration::ZERO));
    }

    /// Holds its connection still at this moment, once it has passed so often, and tells. It stays so until the next
    /// [`Self::cut`].
    pub(crate) fn trap(&self, at: Moment, passes: usize) -> oneshot::Receiver<()> {
        let (tell, told) = oneshot::channel();
        *locked(&self.shared.trap) = Some(Trap { at, passes, tell });
        told
    }

    /// Nothing is held still any more that was not yet.
    pub(crate) fn disarm(&self) {
        *locked(&self.shared.trap) = None;
    }

    /// From now on deliveries are spoilt in this way, or no more.
    pub(crate) fn spoil(&self, spoil: Option<Spoil>) {
        *locked(&self.shared.spoil) = spoil;
    }

    /// How many were spoilt so far, and how.
    pub(crate) fn deliveries(&self) -> Deliveries {
        locked(&self.shared.spoil).as_ref().map(Spoil::deliveries).unwrap_or_default()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listening.abort();
        self.cut(false);
    }
}

fn locked<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Whether this is where the connection is to be held. Whoever waits for that is told.
    fn springs(&self, at: Moment) -> bool {
        let mut trap = locked(&self.trap);
        match trap.as_mut() {
            Some(set) if set.at == at && set.passes > 0 => set.passes -= 1,
            Some(set) if set.at == at => {
                if let Some(sprung) = trap.take() {
                    // Nobody may wait any more.
                    let _ = sprung.tell.send(());
                }
                return true;
            }
            _ => {}
        }
        false
    }
}

/// What is on its way over a connection.
trait Talk: Send {
    /// What a message of the client is about, and when it is to be held.
    fn asks(&mut self, message: &[u8]) -> Passing;

    /// The same of a message of the server.
    fn answers(&mut self, message: &[u8]) -> Passing;
}

/// The moments just before and just after a message is passed on.
#[derive(Clone, Copy, Debug, Default)]
struct Passing {
    before: Option<Moment>,
    after: Option<Moment>,
}

/// How many messages are on their way over a slow line at a time, in one direction.
const ON_THE_WAY: usize = 4_096;

/// How many connections there were so far.
static CONNECTIONS: AtomicU64 = AtomicU64::new(0);

/// Carries a connection that has come while the line was like this.
async fn carry(client: TcpStream, shared: Arc<Shared>, line: Line) {
    let connection = CONNECTIONS.fetch_add(1, Ordering::Relaxed);
    let Line { upstream, cuts, .. } = line;
    let mut line = shared.line.subscribe();
    let Ok(server) = TcpStream::connect(upstream).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let talk: Arc<Mutex<dyn Talk>> = match shared.protocol {
        Protocol::Postgres => Arc::new(Mutex::new(postgres::Session::default())),
        Protocol::Nats => Arc::new(Mutex::new(nats::Connection)),
    };
    let cut = line.wait_for(|line| line.cuts != cuts);
    tokio::select! {
        _ = cut => {}
        _ = pump(from_client, to_server, &shared, &talk, None) => {}
        _ = pump(from_server, to_client, &shared, &talk, Some(connection)) => {}
    }
}

/// What has arrived, and when.
struct Arrived {
    message: Vec<u8>,
    at: Instant,
    /// How a session begins says nothing.
    opens: bool,
}

/// Carries one direction until its end: that of the questions, or that of the answers of a connection, which has a number.
async fn pump(
    from: OwnedReadHalf,
    to: OwnedWriteHalf,
    shared: &Arc<Shared>,
    talk: &Arc<Mutex<dyn Talk>>,
    answers: Option<u64>,
) -> io::Result<()> {
    let (arrive, arrived) = mpsc::channel(ON_THE_WAY);
    let opens = answers.is_none() && shared.protocol == Protocol::Postgres;
    let take = async {
        // At its end, what has arrived is passed on.
        let _ = take(from, shared.protocol, opens, arrive).await;
        Ok(())
    };
    tokio::try_join!(take, pass(arrived, to, shared, talk, answers)).map(drop)
}

/// Takes messages from a connection, while others are still on their way.
async fn take(from: OwnedReadHalf, protocol: Protocol, opens: bool, arrive: mpsc::Sender<Arrived>) -> io::Result<()> {
    let (mut from, mut opens) = (BufReader::new(from), opens);
    loop {
        let message = match protocol {
            Protocol::Postgres => postgres::read(&mut from, opens).await?,
            Protocol::Nats => nats::read(&mut from).await?,
        };
        if arrive.send(Arrived { message, at: Instant::now(), opens }).await.is_err() {
            return Ok(());
        }
        opens = false;
    }
}

/// Passes on what has arrived, each message so long after its arrival as the line is slow.
async fn pass(
    mut arrived: mpsc::Receiver<Arrived>,
    to: OwnedWriteHalf,
    shared: &Arc<Shared>,
    talk: &Arc<Mutex<dyn Talk>>,
    answers: Option<u64>,
) -> io::Result<()> {
    let (mut to, mut line) = (BufWriter::new(to), shared.line.subscribe());
    while let Some(Arrived { message, at, opens }) = arrived.recv().await {
        let passing = match (opens, answers) {
            (true, _) => Passing::default(),
            (false, None) => locked(talk).asks(&message),
            (false, Some(_)) => locked(talk).answers(&message),
        };
        if passing.before.is_some_and(|moment| shared.springs(moment)) {
            return pending().await;
        }
        let delay = line.borrow().delay;
        if delay > at.elapsed() {
            to.flush().await?;
            tokio::time::sleep_until((at + delay).into()).await;
        }
        if line.wait_for(|line| !line.silent).await.is_err() {
            return Ok(());
        }
        let spoilt = match (&mut *locked(&shared.spoil), answers) {
            (Some(spoil), Some(connection)) => spoil.pass(connection, message),
            _ => vec![message],
        };
        for message in spoilt {
            to.write_all(&message).await?;
        }
        let holds = passing.after.is_some_and(|moment| shared.springs(moment));
        if holds || arrived.is_empty() {
            to.flush().await?;
        }
        if holds {
            return pending().await;
        }
    }
    Ok(())
}
