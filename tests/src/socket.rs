//! A client of the live socket.

use std::time::Duration;

use futures::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::fail::{OrFail, fail};

/// A message that has not come by then will not come.
const PATIENCE: Duration = Duration::from_secs(15);

/// An open socket.
#[derive(Debug)]
pub struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Socket {
    /// Opens the socket at `path` of the server that listens on `address` (`http://host:port`).
    pub async fn open(address: &str, path: &str) -> Self {
        Self::try_open(address, path).await.or_fail("open a socket")
    }

    /// The same; a refusal is the HTTP status that it came with.
    pub async fn try_open(address: &str, path: &str) -> Result<Self, u16> {
        let address = address.replacen("http", "ws", 1);
        match connect_async(format!("{address}{path}")).await {
            Ok((stream, _)) => Ok(Self { stream }),
            Err(Error::Http(response)) => Err(response.status().as_u16()),
            Err(error) => fail(&format!("could not open the socket {path}: {error}")),
        }
    }

    /// The same, at a server that may be away.
    pub async fn reach(address: &str, path: &str) -> Option<Self> {
        let address = address.replacen("http", "ws", 1);
        let (stream, _) = connect_async(format!("{address}{path}")).await.ok()?;
        Some(Self { stream })
    }

    /// The next message, however long it takes; nothing once the socket has ended or is broken.
    pub async fn listen(&mut self) -> Option<Value> {
        loop {
            match self.stream.next().await? {
                Ok(Message::Text(text)) => return serde_json::from_str(&text).ok(),
                Ok(Message::Close(_)) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// The next message.
    pub async fn next(&mut self) -> Value {
        match self.next_frame().await {
            Message::Text(text) => serde_json::from_str(&text).or_fail("read a message of the socket"),
            other => fail(&format!("expected a message, got {other:?}")),
        }
    }

    /// The messages up to and including the first of this type.
    pub async fn until(&mut self, kind: &str) -> Vec<Value> {
        let mut messages = Vec::new();
        loop {
            let message = self.next().await;
            let found = message["type"] == kind;
            messages.push(message);
            if found {
                return messages;
            }
        }
    }

    /// The first message of one of these types.
    pub async fn until_one_of(&mut self, kinds: &[&str]) -> Value {
        loop {
            let message = self.next().await;
            if kinds.iter().any(|kind| message["type"] == *kind) {
                return message;
            }
        }
    }

    /// The code that the server closes the socket with.
    pub async fn close_code(&mut self) -> u16 {
        loop {
            match self.next_frame().await {
                Message::Close(Some(frame)) => return frame.code.into(),
                Message::Close(None) => fail("the socket was closed without a code"),
                _ => {}
            }
        }
    }

    /// Sends a message.
    pub async fn send(&mut self, message: &Value) {
        self.stream.send(Message::text(message.to_string())).await.or_fail("send over the socket");
    }

    async fn next_frame(&mut self) -> Message {
        loop {
            let next =
                tokio::time::timeout(PATIENCE, self.stream.next()).await.or_fail("wait for a message any longer");
            match next {
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(message)) => return message,
                Some(Err(error)) => fail(&format!("the socket broke: {error}")),
                None => fail("the socket ended"),
            }
        }
    }
}
