//! Load over HTTP: callers that ask again and again, each over a connection of its own.
//!
//! The callers share the machine with what they measure, so they do as little as can be: requests are bytes, and of an
//! answer only the status and the length are looked at.

use std::collections::BTreeMap;
use std::io::{Error, ErrorKind, Write};
use std::time::Duration;

use eventstore::mint;
use hdrhistogram::Histogram;
use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::BenchError;

/// Digits that the histograms keep.
const PRECISION: u8 = 3;
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

/// What came of a slot.
#[derive(Debug)]
pub(super) struct Measured {
    /// Of answers with a status below 400, in microseconds.
    latencies: Histogram<u64>,
    /// How many answers had which other status.
    refused: BTreeMap<u16, u64>,
    elapsed: Duration,
}

/// The figures of a slot.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Sample {
    pub(super) per_s: f64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    /// The share of requests that a rule refused.
    pub(super) refused: f64,
}

impl Measured {
    fn new(elapsed: Duration) -> Result<Self, BenchError> {
        let latencies = Histogram::new(PRECISION).map_err(|_| BenchError::Material("histogram"))?;
        Ok(Self { latencies, refused: BTreeMap::new(), elapsed })
    }

    fn note(&mut self, status: u16, took: Duration) {
        if status < 400 {
            // The histogram grows as needed, so recording fails for no latency below centuries.
            let _ = self.latencies.record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        } else {
            *self.refused.entry(status).or_default() += 1;
        }
    }

    /// An error unless every answer that was not accepted has the status `expected`, which a rule gives.
    pub(super) fn only_refused_with(&self, expected: &[u16]) -> Result<(), BenchError> {
        match self.refused.iter().find(|(status, _)| !expected.contains(status)) {
            Some((status, count)) => Err(BenchError::Answers { status: *status, count: *count }),
            None => Ok(()),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
    pub(super) fn sample(&self) -> Sample {
        let refused = self.refused.values().sum::<u64>() as f64;
        let (count, ms) = (self.latencies.len() as f64, |share| self.latencies.value_at_quantile(share) as f64 / 1e3);
        Sample {
            per_s: count / self.elapsed.as_secs_f64(),
            p50_ms: ms(0.5),
            p99_ms: ms(0.99),
            refused: refused / (count + refused).max(1.0),
        }
    }
}

/// Lets every caller ask as soon as it has its answer, for a warm-up of a quarter of the slot and the slot.
pub(super) async fn closed(callers: Vec<Caller>, slot: Duration) -> Result<Measured, BenchError> {
    let began = Instant::now() + slot / 4;
    let mut running = JoinSet::new();
    for mut caller in callers {
        running.spawn(async move {
            let (mut connection, mut request) = (Connection::open(&caller.address).await?, Vec::new());
            let mut measured = Measured::new(slot)?;
            while Instant::now() < began + slot {
                request.clear();
                (caller.ask)(&mut request);
                let sent = Instant::now();
                let status = connection.ask(&request).await?;
                if sent >= began {
                    measured.note(status, sent.elapsed());
                }
            }
            Ok::<_, BenchError>(measured)
        });
    }
    together(running, began).await
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
            let mut measured = Measured::new(slot)?;
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
                    measured.note(status, since.elapsed());
                }
                due += apart * count;
            }
            Ok::<_, BenchError>(measured)
        });
    }
    together(running, began).await
}

async fn together(mut running: JoinSet<Result<Measured, BenchError>>, began: Instant) -> Result<Measured, BenchError> {
    let mut all = Measured::new(Duration::ZERO)?;
    while let Some(done) = running.join_next().await {
        let Measured { latencies, refused, .. } = done??;
        all.latencies.add(latencies).map_err(|_| BenchError::Material("histogram"))?;
        for (status, count) in refused {
            *all.refused.entry(status).or_default() += count;
        }
    }
    all.elapsed = began.elapsed();
    Ok(all)
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

    #[test]
    fn what_a_rule_refuses_is_no_answer_that_counts() {
        let mut measured = Measured::new(Duration::from_secs(1)).unwrap();
        measured.note(201, Duration::from_millis(2));
        measured.note(422, Duration::from_millis(90));
        assert!(measured.only_refused_with(&[]).is_err());
        measured.only_refused_with(&[422]).unwrap();
        let sample = measured.sample();
        assert!((sample.per_s - 1.0).abs() < f64::EPSILON && (sample.refused - 0.5).abs() < f64::EPSILON);
        assert!((sample.p99_ms - 2.0).abs() < 0.01, "{sample:?}");
    }
}
