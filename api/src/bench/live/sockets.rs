//! The other ends of sockets. There are many of them beside what they measure, so they do as little as can be: of a
//! message only its number is looked for.

use std::io::{Error, ErrorKind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::PATIENCE;
use crate::bench::BenchError;
use crate::bench::sample::{Measured, Sample};
use crate::bench::site::Node;

/// How many are opened at a time.
const AT_ONCE: usize = 32;
/// Parts of what is measured, so that not everybody waits for the same lock.
const PARTS: usize = 16;
/// How many numbers are told apart: more than are on their way at a time.
const NUMBERS: usize = 4_096;
/// Nothing is on its way any more if nothing has come for so long.
const QUIET: Duration = Duration::from_millis(500);
/// What the system keeps for somebody who does not read.
const IDLE_BUFFER_BYTES: u32 = 4_096;
/// How often somebody who does not read finds out whether they are cut.
const PROBE_EVERY: Duration = Duration::from_millis(100);
/// An empty pong, masked with zeros: a client may send one at any time.
const PONG: [u8; 6] = [0x8a, 0x80, 0, 0, 0, 0];
/// Codes of frames.
const TEXT: u8 = 1;
const CLOSE: u8 = 8;

/// When what was sent, and how late it came.
pub(super) struct Board {
    /// What stands before the number in a message.
    marker: &'static [u8],
    base: Instant,
    /// In microseconds since `base`, by number.
    sent: Vec<AtomicU64>,
    /// From when deliveries count, in microseconds since `base`.
    since: AtomicU64,
    delivered: AtomicU64,
    parts: Vec<Mutex<Measured>>,
}

impl Board {
    pub(super) fn new(marker: &'static str) -> Result<Arc<Self>, BenchError> {
        let parts = (0..PARTS).map(|_| Measured::new().map(Mutex::new)).collect::<Result<_, _>>()?;
        Ok(Arc::new(Self {
            marker: marker.as_bytes(),
            base: Instant::now(),
            sent: (0..NUMBERS).map(|_| AtomicU64::new(u64::MAX)).collect(),
            since: AtomicU64::new(u64::MAX),
            delivered: AtomicU64::new(0),
            parts,
        }))
    }

    fn micros(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.base).as_micros()).unwrap_or(u64::MAX)
    }

    fn slot(&self, number: u64) -> &AtomicU64 {
        &self.sent[usize::try_from(number).unwrap_or_default() % NUMBERS]
    }

    /// Notes that what has this number is sent now.
    pub(super) fn sent(&self, number: u64) {
        self.slot(number).store(self.micros(Instant::now()), Ordering::Relaxed);
    }

    pub(super) fn count_since(&self, began: Instant) {
        self.since.store(self.micros(began), Ordering::Relaxed);
    }

    /// Notes that a message has come to the socket in this place.
    fn came(&self, place: usize, message: &[u8]) {
        let Some(number) = number_after(message, self.marker) else { return };
        let (now, sent) = (self.micros(Instant::now()), self.slot(number).load(Ordering::Relaxed));
        self.delivered.fetch_add(1, Ordering::Relaxed);
        if sent >= self.since.load(Ordering::Relaxed) && sent <= now {
            let mut part = self.parts[place % PARTS].lock().unwrap_or_else(PoisonError::into_inner);
            part.accepted(Duration::from_micros(now - sent));
        }
    }

    /// Waits until nothing comes any more.
    pub(super) async fn quiet(&self) {
        loop {
            let before = self.delivered.load(Ordering::Relaxed);
            tokio::time::sleep(QUIET).await;
            if self.delivered.load(Ordering::Relaxed) == before {
                return;
            }
        }
    }

    /// What has come since it was counted; from now on it is counted anew.
    pub(super) fn taken(&self, elapsed: Duration) -> Result<Sample, BenchError> {
        self.since.store(u64::MAX, Ordering::Relaxed);
        let mut all = Measured::new()?;
        for part in &self.parts {
            let mut part = part.lock().unwrap_or_else(PoisonError::into_inner);
            all.add(std::mem::replace(&mut *part, Measured::new()?))?;
        }
        Ok(all.over(elapsed).sample())
    }
}

/// The number that comes after a marker.
fn number_after(message: &[u8], marker: &[u8]) -> Option<u64> {
    let at = message.windows(marker.len()).position(|window| window == marker)? + marker.len();
    let digits = message[at..].iter().take_while(|byte| byte.is_ascii_digit());
    let text: Vec<u8> = digits.copied().collect();
    std::str::from_utf8(&text).ok()?.parse().ok()
}

/// Sockets that read all that comes. Dropped, they are closed.
pub(super) struct Sockets {
    _reading: JoinSet<()>,
    count: usize,
    ended: Arc<AtomicUsize>,
}

impl Sockets {
    /// Opens a socket at each of these paths.
    pub(super) async fn open(
        node: &Node,
        board: &Arc<Board>,
        paths: impl IntoIterator<Item = String>,
    ) -> Result<Self, BenchError> {
        let opening = paths.into_iter().map(|path| async move { open(node, TcpSocket::new_v4()?, &path).await });
        let open: Vec<(TcpStream, Vec<u8>)> = futures::stream::iter(opening).buffered(AT_ONCE).try_collect().await?;
        let (count, ended) = (open.len(), Arc::new(AtomicUsize::new(0)));
        let mut reading = JoinSet::new();
        for (place, (stream, rest)) in open.into_iter().enumerate() {
            let (board, ended) = (board.clone(), ended.clone());
            reading.spawn(async move {
                // However it ends, it should not have.
                let _ = read(stream, rest, |message| board.came(place, message)).await;
                ended.fetch_add(1, Ordering::Relaxed);
            });
        }
        Ok(Self { _reading: reading, count, ended })
    }

    /// An error unless all of them are still open.
    pub(super) fn expect_all_open(&self, side: &'static str) -> Result<(), BenchError> {
        let expected = i64::try_from(self.count).unwrap_or(i64::MAX);
        let found = expected - i64::try_from(self.ended.load(Ordering::Relaxed)).unwrap_or(i64::MAX);
        let wrong = BenchError::Wrong { side, what: "open sockets", expected, found };
        if found == expected { Ok(()) } else { Err(wrong) }
    }
}

/// Opens a socket. Answers with what has come of its messages already, too.
async fn open(node: &Node, socket: TcpSocket, path: &str) -> Result<(TcpStream, Vec<u8>), Error> {
    let address = node.address.parse().map_err(Error::other)?;
    let mut stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    let ask = format!(
        "GET {path} HTTP/1.1\r\nhost: bench\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(ask.as_bytes()).await?;
    let mut answer = Vec::with_capacity(1_024);
    loop {
        if stream.read_buf(&mut answer).await? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        if let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") {
            let rest = answer.split_off(end + 4);
            let opened = answer.starts_with(b"HTTP/1.1 101");
            return if opened { Ok((stream, rest)) } else { Err(Error::other("a socket was not opened")) };
        }
    }
}

/// Reads messages until the socket ends.
async fn read(mut stream: TcpStream, mut buffer: Vec<u8>, mut came: impl FnMut(&[u8])) -> Result<(), Error> {
    loop {
        let mut taken = 0;
        while let Some((code, start, end)) = frame(&buffer[taken..]) {
            match code {
                TEXT => came(&buffer[taken + start..taken + end]),
                CLOSE => return Ok(()),
                _ => {}
            }
            taken += end;
        }
        buffer.drain(..taken);
        if stream.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
    }
}

/// The first frame: its code, and where what it carries begins and ends; nothing if it has not come as a whole. A server
/// masks nothing and, as ours is, splits nothing.
fn frame(buffer: &[u8]) -> Option<(u8, usize, usize)> {
    let (code, length) = (buffer.first()? & 0x0f, usize::from(buffer.get(1)? & 0x7f));
    let (start, length) = match length {
        126 => (4, usize::from(u16::from_be_bytes(buffer.get(2..4)?.try_into().ok()?))),
        127 => (10, usize::try_from(u64::from_be_bytes(buffer.get(2..10)?.try_into().ok()?)).ok()?),
        length => (2, length),
    };
    (buffer.len() >= start + length).then_some((code, start, start + length))
}

/// A socket that reads nothing.
pub(super) struct Idler {
    cut: Arc<OnceLock<Duration>>,
    _probing: JoinSet<()>,
}

impl Idler {
    pub(super) async fn open(node: &Node, path: &str) -> Result<Self, BenchError> {
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(IDLE_BUFFER_BYTES)?;
        let (mut stream, _) = open(node, socket, path).await?;
        let (opened, cut) = (Instant::now(), Arc::new(OnceLock::new()));
        let (mut probing, told) = (JoinSet::new(), cut.clone());
        probing.spawn(async move {
            // Whatever is written to a socket that is closed is an error the next time.
            while opened.elapsed() < 2 * PATIENCE {
                tokio::time::sleep(PROBE_EVERY).await;
                if stream.write_all(&PONG).await.is_err() {
                    // It is told once.
                    let _ = told.set(opened.elapsed());
                    return;
                }
            }
        });
        Ok(Self { cut, _probing: probing })
    }

    /// How long it was open, if it is cut.
    pub(super) fn cut_after(&self) -> Option<Duration> {
        self.cut.get().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_read_once_it_is_whole() {
        let mut short = vec![0x81, 3];
        short.extend(b"abc");
        assert_eq!(frame(&short), Some((TEXT, 2, 5)));
        assert_eq!(frame(&short[..4]), None);
        let mut long = vec![0x81, 126, 1, 0];
        long.extend([b'x'; 256]);
        long.push(0x88);
        assert_eq!(frame(&long), Some((TEXT, 4, 260)));
        let mut longer = vec![0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0];
        longer.extend(vec![b'x'; 65_536]);
        assert_eq!(frame(&longer), Some((TEXT, 10, 65_546)));
        assert_eq!(frame(&[0x88, 0]), Some((CLOSE, 2, 2)));
        assert_eq!(frame(&[]), None);
    }

    #[test]
    fn the_number_of_a_message_stands_after_its_marker() {
        assert_eq!(number_after(br#"{"a":1,"text":"42 words"}"#, b"\"text\":\""), Some(42));
        assert_eq!(number_after(br#"{"a":1,"text":"words"}"#, b"\"text\":\""), None);
        assert_eq!(number_after(br#"{"a":1}"#, b"\"bids\":"), None);
    }
}
