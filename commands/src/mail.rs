//! What is sent to mailboxes: the process that reads from the log what is to be asked, and sends it.
//!
//! A message follows from its event and the deployment's secret, so sending one again sends the same; it goes by the
//! event's id, under which a mailer that has sent it before need not send it twice. What can be answered no more is not
//! sent.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use domain::account::{Account, Challenge, Event};
use domain::{AccountId, Aggregate};
use eventstore::clock::Clock;
use eventstore::event::{DomainEvent, Interest};
use eventstore::follower::{Batch, Delivery, FollowError, Follower, Recorded};
use eventstore::sealing::PersonKeys;
use eventstore::secrets::{Purpose, RootSecret};
use futures::future::BoxFuture;
pub use lettre::message::Mailbox;
use lettre::message::MessageBuilder;
use lettre::message::header::ContentType;
use sqlx::PgConnection;
use thiserror::Error;
use tokio::io::AsyncWriteExt;
use uuid::Uuid;

/// The name of the process, and of its checkpoint.
pub const NAME: &str = "mail";
/// It keeps nothing of its own, so it never has to start again.
pub const VERSION: i32 = 1;

/// A message to one mailbox.
#[derive(Clone, Debug)]
pub struct Letter {
    /// Names it: sent twice, it is the same message.
    pub id: Uuid,
    /// To whom.
    pub to: String,
    /// What it is about.
    pub subject: &'static str,
    /// What it says.
    pub text: String,
}

/// Why a message was not sent.
#[derive(Debug, Error)]
pub enum NotSent {
    /// Not now: it is tried again.
    #[error("a message could not be sent: {0}")]
    Unreachable(String),
    /// Never: there can be no such message.
    #[error("a message cannot be written: {0}")]
    Unwritable(String),
}

impl NotSent {
    fn unreachable(error: impl fmt::Display) -> Self {
        Self::Unreachable(error.to_string())
    }

    fn unwritable(error: impl fmt::Display) -> Self {
        Self::Unwritable(error.to_string())
    }
}

impl From<NotSent> for FollowError {
    fn from(error: NotSent) -> Self {
        match error {
            NotSent::Unreachable(_) => Self::Command(error.to_string()),
            NotSent::Unwritable(_) => Self::Defect(error.to_string()),
        }
    }
}

/// A way to mailboxes.
pub trait Mailer: Send + Sync {
    /// Sends a message.
    fn send<'a>(&'a self, letter: &'a Letter) -> BoxFuture<'a, Result<(), NotSent>>;
}

/// A folder that stands for all mailboxes: a file per message, for development and tests.
#[derive(Clone, Debug)]
pub struct Folder {
    /// Where the files are.
    pub folder: PathBuf,
    /// Who they are from.
    pub from: Mailbox,
}

impl Folder {
    async fn write(&self, letter: &Letter) -> Result<(), NotSent> {
        let to: Mailbox = letter.to.parse().map_err(NotSent::unwritable)?;
        let message = MessageBuilder::new()
            .message_id(Some(format!("<{}@tradepost>", letter.id)))
            .from(self.from.clone())
            .to(to)
            .subject(letter.subject)
            .header(ContentType::TEXT_PLAIN)
            .body(letter.text.clone())
            .map_err(NotSent::unwritable)?;
        // Tokens are for whoever reads the mailbox, and for nobody else on this machine.
        let folder = tokio::fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder).await;
        folder.map_err(NotSent::unreachable)?;
        // Whoever sees the file sees all of it.
        let (draft, file) =
            (self.folder.join(format!(".{}", letter.id)), self.folder.join(format!("{}.eml", letter.id)));
        let mut options = tokio::fs::OpenOptions::new();
        let options = options.write(true).create(true).truncate(true).mode(0o600);
        let mut written = options.open(&draft).await.map_err(NotSent::unreachable)?;
        written.write_all(&message.formatted()).await.map_err(NotSent::unreachable)?;
        written.sync_all().await.map_err(NotSent::unreachable)?;
        tokio::fs::rename(&draft, &file).await.map_err(NotSent::unreachable)
    }
}

impl Mailer for Folder {
    fn send<'a>(&'a self, letter: &'a Letter) -> BoxFuture<'a, Result<(), NotSent>> {
        Box::pin(self.write(letter))
    }
}

/// The process.
#[derive(Clone)]
pub struct Mail {
    /// From which the tokens follow.
    pub secret: RootSecret,
    /// The way to mailboxes.
    pub mailer: Arc<dyn Mailer>,
}

impl fmt::Debug for Mail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mail")
    }
}

impl Follower for Mail {
    fn name(&self) -> &'static str {
        NAME
    }

    fn version(&self) -> i32 {
        VERSION
    }

    fn delivery(&self) -> Delivery {
        Delivery::AtLeastOnce
    }

    fn interest(&self) -> Interest {
        Interest::In(&[Account::TYPE])
    }

    fn apply<'a>(&'a mut self, _: &'a mut PgConnection, batch: &'a Batch) -> BoxFuture<'a, Result<(), FollowError>> {
        Box::pin(async {
            for recorded in &batch.events {
                if let Some(letter) = self.letter(recorded, &batch.people) {
                    self.mailer.send(&letter).await?;
                }
            }
            Ok(())
        })
    }
}

impl Mail {
    /// The message that an event calls for; nothing if it calls for none, if it comes too late, or if the person is
    /// forgotten.
    fn letter(&self, recorded: &Recorded, people: &PersonKeys) -> Option<Letter> {
        let DomainEvent::Account(account, event) = &recorded.event else { return None };
        let (challenge, purpose, subject, asks) = match event {
            Event::EmailChallenged { challenge } => {
                (challenge, Purpose::Email, "Confirm your e-mail address", "To confirm that this address is yours")
            }
            Event::PasswordChallenged { challenge } => {
                (challenge, Purpose::Password, "Set a new password", "To set a new password")
            }
            Event::AccountRegistered { .. }
            | Event::ProfileChanged { .. }
            | Event::EmailVerified { .. }
            | Event::PasswordChanged { .. }
            | Event::IdentityLinked { .. }
            | Event::CapabilitiesGranted { .. }
            | Event::CapabilitiesRevoked { .. }
            | Event::ViolationRecorded { .. }
            | Event::ViolationsPardoned { .. }
            | Event::AccountBlocked { .. }
            | Event::AccountSuspended { .. }
            | Event::AccountReinstated { .. }
            | Event::SessionsRevoked { .. }
            | Event::AccountErased {} => return None,
        };
        if challenge.expires_at <= Clock::real_now() {
            return None;
        }
        let to = people.open(&challenge.email)?;
        let text = self.text(*account, challenge, purpose, asks);
        Some(Letter { id: recorded.event_id, to, subject, text })
    }

    fn text(&self, account: AccountId, challenge: &Challenge, purpose: Purpose, asks: &str) -> String {
        let token = self.secret.mailed_token(purpose, account, challenge.id);
        let until = challenge.expires_at.format("%Y-%m-%d %H:%M UTC");
        format!(
            "Hello,\n\n{asks}, use this token until {until}:\n\n{token}\n\n\
             If you did not ask for this, ignore this message: nothing changes.\n"
        )
    }
}
