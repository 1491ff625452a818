//! The messages of NATS: a line, and what the line announces.

use std::io;

use eventstore::nats::{STREAM, SUBJECT};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};

use super::{Moment, Passing, Step, Talk};

/// Nothing of it has to be remembered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Connection;

/// One message: its line, and its payload if it has one.
pub(super) async fn read(from: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut message = Vec::new();
    if from.read_until(b'\n', &mut message).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let line = String::from_utf8_lossy(&message).to_string();
    let mut words = line.split_ascii_whitespace();
    let announces = words.next().is_some_and(|verb| ["PUB", "HPUB", "MSG", "HMSG"].contains(&verb));
    if announces && let Some(bytes) = words.next_back().and_then(|bytes| bytes.parse::<usize>().ok()) {
        let head = message.len();
        message.resize(head + bytes + 2, 0);
        from.read_exact(&mut message[head..]).await?;
    }
    Ok(message)
}

/// Whether it carries an event of the log, under this verb.
pub(super) fn is_event(message: &[u8], verb: &str) -> bool {
    message.starts_with(format!("{verb} {SUBJECT}.").as_bytes())
}

fn contains(message: &[u8], text: &str) -> bool {
    message.windows(text.len()).any(|window| window == text.as_bytes())
}

impl Talk for Connection {
    fn asks(&mut self, message: &[u8]) -> Passing {
        if is_event(message, "HPUB") {
            Passing { before: Some(Moment::Before(Step::Publish)), after: Some(Moment::After(Step::Publish)) }
        } else {
            Passing::default()
        }
    }

    fn answers(&mut self, message: &[u8]) -> Passing {
        let ack = message.starts_with(b"MSG ") && contains(message, &format!("\"stream\":\"{STREAM}\""));
        if ack && contains(message, "\"seq\":") {
            Passing { before: Some(Moment::Before(Step::Ack)), after: Some(Moment::After(Step::Ack)) }
        } else {
            Passing::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_message_is_its_line_and_what_that_announces() {
        let mut from: &[u8] = b"PING\r\nHPUB tradepost.events.a.b.c reply 4 6\r\n\r\n\r\n{}\r\n+OK\r\n";
        assert_eq!(read(&mut from).await.unwrap(), b"PING\r\n");
        let event = read(&mut from).await.unwrap();
        assert!(event.ends_with(b"\r\n{}\r\n") && is_event(&event, "HPUB"));
        assert_eq!(read(&mut from).await.unwrap(), b"+OK\r\n");
        assert!(read(&mut from).await.is_err());
    }
}
