//! Mailboxes by way of an SMTP server, over connections that are kept.

use std::fmt;
use std::time::Duration;

use futures::future::BoxFuture;
use lettre::transport::smtp::PoolConfig;
use lettre::transport::smtp::response::Severity;
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use thiserror::Error;

use super::{Letter, Mailbox, Mailer, NotSent};

/// How long the server may take for a step.
const PATIENCE: Duration = Duration::from_secs(20);
/// What a server answers that does not know us: that is nothing about the letter.
const NOT_AUTHENTICATED: [u16; 4] = [530, 534, 535, 538];

/// The address of an SMTP server cannot be used. It is not told, since a password may be in it.
#[derive(Clone, Copy, Debug, Error)]
#[error("mail.smtp_url is no smtp:// or smtps:// address, or its TLS cannot be set up")]
pub struct BadAddress;

/// An SMTP server.
#[derive(Clone)]
pub struct Smtp {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
}

impl fmt::Debug for Smtp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Smtp")
    }
}

impl Smtp {
    /// The server at an address such as `smtps://user:password@mail.example`, with so many connections at most.
    pub fn at(url: &str, connections: u32, from: Mailbox) -> Result<Self, BadAddress> {
        let builder = AsyncSmtpTransport::<Tokio1Executor>::from_url(url).map_err(|_| BadAddress)?;
        let pool = PoolConfig::new().max_size(connections);
        Ok(Self { transport: builder.timeout(Some(PATIENCE)).pool_config(pool).build(), from })
    }

    async fn deliver(&self, letter: &Letter) -> Result<(), NotSent> {
        let message = letter.message(&self.from)?;
        match self.transport.send(message).await {
            Ok(_) => Ok(()),
            Err(error) => {
                // What a server says may name the address, and what is told here outlives whoever is forgotten.
                let why = match error.status() {
                    Some(code) => format!("the mail server says {code}"),
                    None => error.to_string(),
                };
                let code = error.status().map(u16::from);
                let never = error.status().is_some_and(|code| code.severity == Severity::PermanentNegativeCompletion)
                    && !code.is_some_and(|code| NOT_AUTHENTICATED.contains(&code));
                Err(if never { NotSent::never(why) } else { NotSent::now(why) })
            }
        }
    }
}

impl Mailer for Smtp {
    fn send<'a>(&'a self, letter: &'a Letter) -> BoxFuture<'a, Result<(), NotSent>> {
        Box::pin(self.deliver(letter))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Connections are kept by a task.
    #[tokio::test]
    async fn an_address_names_a_server_or_is_refused_without_being_told() {
        let from = || "Tradepost <tradepost@localhost>".parse().unwrap();
        assert!(Smtp::at("smtp://localhost:2525", 2, from()).is_ok());
        for address in ["http://user:secret@localhost", "localhost", "smtp://localhost?tls=perhaps"] {
            let error = Smtp::at(address, 2, from()).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
