//! Load over HTTP: callers that ask again and again, each over a connection of its own.
//!
//! The callers share the machine with what they measure, so they do as little as can be: requests are bytes, and of an
//! answer only the status and the length are looked at.

use std::io::{Error, ErrorKind, Write};
use std::time::Duration;

use eventstore::mint;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::BenchError;
use super::sample::Measured;

/// How fine timers are.
const TICK: Duration = Duration::from_millis(1);
/// How many headers an answer may have.
const MOST_HEADERS: usize = 32;

/// Writes one request after another.
pub(super) type Ask = Box<dyn FnMut(&mut Vec<u8>) + Send>;

/// Somebody who asks.
pub(super) struct Caller {
    /// Host and port.
    pub(super) address: String,
    /// Writes the next request down.
    pub(super) ask: Ask,
}

/// Writes a command under a fresh `Idempotency-Key`.
pub(super) fn post(ask: &mut Vec<u8>, path: &str, token: &str, body: &str) {
    let (key, length) = (mint::id(), body.len());
    // A Vec takes whatever is written to it.
    let _ = write!(
        ask,
        "POST {path} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {token}\r\nidempotency-key: {key}\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    );
}

/// Writes a question; one that only wants to know what has changed since `etag`, if there is one.
pub(super) fn get(ask: &mut Vec<u8>, path: &str, etag: Option<&str>) {
    let _ = write!(ask, "GET {path} HTTP/1.1\r\nhost: bench\r\n");
    if let Some(etag) = etag {
        let _ = write!(ask, "if-none-match: {etag}\r\n");
    }
    ask.extend_from_slice(b"\r\n");
}

/// Lets every caller ask as soon as it has its answer, for a warm-up of a quarter of the slot and the slot.
pub(super) async fn closed(callers: Vec<Caller>, slot: Duration) -> Result<Measured, BenchError> {
    let began = Instant::now() + slot / 4;
    let mut running = JoinSet::new();
    for mut caller in callers {
        running.spawn(async move {
            let (mut connection, mut request) = (Connection::open(&caller.address).await?, Vec::new());
            let mut measured = Measured::new()?;
            while Instant::now() < began + slot {
                request.clear();
                (caller.ask)(&mut request);
                let sent = Instant::now();
                let status = connection.ask(&request).await?;
                if sent >= began {
                    note(&mut measured, status, sent.elapsed());
                }
            }
            Ok::<_, BenchError>(measured)
        });
    }
    Measured::together(running, began).await
}

/// Lets the callers ask at fixed times, `per_s` of them in a second, however long answers take. Latencies count from
/// when a request was due, if it was not sent before: timers are no finer than a millisecond.
pub(super) async fn paced(callers: Vec<Caller>, slot: Duration, per_s: f64) -> Result<Measured, BenchError> {
    let start = Instant::now();
    let began = start + slot / 4;
    let apart = Duration::from_secs_f64(1.0 / per_s.max(1.0));
    let count = u32::try_from(callers.len()).unwrap_or(u32::MAX);
    let mut running = JoinSet::new();
    for (mut caller, place) in callers.into_iter().zip(0_u32..) {
        running.spawn(async move {
            let (mut connection, mut request) = (Connection::open(&caller.address).await?, Vec::new());
            let mut measured = Measured::new()?;
            let mut due = start + apart * place;
            while due < began + slot {
                if due > Instant::now() + TICK {
                    tokio::time::sleep_until(due).await;
                }
                request.clear();
                (caller.ask)(&mut request);
                let since = due.min(Instant::now());
                let status = connection.ask(&request).await?;
                if due >= began {
                    note(&mut measured, status, since.elapsed());
                }
                due += apart * count;
            }
            Ok::<_, BenchError>(measured)
        });
    }
    Measured::together(running, began).await
}

fn note(measured: &mut Measured, status: u16, took: Duration) {
    if status < 400 {
        measured.accepted(took);
    } else {
        measured.refused(status);
    }
}

/// A connection that is kept.
struct Connection {
    stream: TcpStream,
    answer: Vec<u8>,
}

impl Connection {
    async fn open(address: &str) -> Result<Self, Error> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, answer: Vec::with_capacity(64 * 1_024) })
    }

    /// Sends a request and reads the answer; tells its status.
    async fn ask(&mut self, request: &[u8]) -> Result<u16, Error> {
        self.stream.write_all(request).await?;
        self.answer.clear();
        loop {
            if self.stream.read_buf(&mut self.answer).await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            if let Some((status, length)) = head(&self.answer)? {
                while self.answer.len() < length {
                    if self.stream.read_buf(&mut self.answer).await? == 0 {
                        return Err(ErrorKind::UnexpectedEof.into());
                    }
                }
                return Ok(status);
            }
        }
    }
}

/// The status of an answer and its length with all that comes before its body, once the whole head is there.
fn head(answer: &[u8]) -> Result<Option<(u16, usize)>, Error> {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let parsed = response.parse(answer).map_err(Error::other)?;
    let httparse::Status::Complete(head) = parsed else { return Ok(None) };
    let length = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let length = length.and_then(|header| std::str::from_utf8(header.value).ok()?.parse().ok()).unwrap_or(0);
    Ok(Some((response.code.unwrap_or_default(), head + length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_as_long_as_its_head_and_its_body() {
        let answer = b"HTTP/1.1 201 Created\r\ncontent-length: 5\r\n\r\nhello";
        assert_eq!(head(answer).unwrap(), Some((201, answer.len())));
        assert_eq!(head(&answer[..20]).unwrap(), None);
        let unchanged = b"HTTP/1.1 304 Not Modified\r\netag: \"1\"\r\n\r\n";
        assert_eq!(head(unchanged).unwrap(), Some((304, unchanged.len())));
        assert!(head(b"not HTTP at all\r\n\r\n").is_err());
    }
}
