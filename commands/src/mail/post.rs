//! Sending what is due.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::AccountId;
use domain::notice::{Notice, Words};
use eventstore::progress::Progress;
use eventstore::sealing::PersonKey;
use eventstore::secrets::{Purpose, RootSecret};
use eventstore::wrapping::{KeyError, Wrapping};
use futures::StreamExt;
use metrics::{counter, describe_counter};
use sqlx::PgPool;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::letters::{self, Due};
use super::{Called, Letter, Mailer, NAME, NotSent, sealed, words};

/// Counts letters that were sent, and attempts that have failed.
const SENT: &str = "tradepost_mail_sent_total";
const FAILED: &str = "tradepost_mail_failures_total";
/// How many letters are taken at once, and sent at once: no letter waits so long for its turn that another node tries it.
const AT_ONCE: i64 = 8;
/// The longest sleep: another node may have written letters down.
const LONGEST_SLEEP: Duration = Duration::from_secs(5);
/// After the database was away, how long until the next look.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// How long a way to a mailbox may take.
const PATIENCE: Duration = Duration::from_mins(1);
/// How often it is looked at what was kept for too long.
const CLEAN_UP_EVERY: Duration = Duration::from_hours(1);

/// Sends the letters that are due. Runs on every node with processes: each letter is one node's at a time.
#[derive(Clone)]
pub struct Post {
    /// Where the letters are.
    pub pool: PgPool,
    /// How the keys of people are stored.
    pub wrapping: Wrapping,
    /// From which tokens follow.
    pub secret: RootSecret,
    /// The way to mailboxes.
    pub mailer: Arc<dyn Mailer>,
    /// Where the frontend is, without a slash at the end.
    pub site: String,
    /// Tells that the process has moved on.
    pub progress: Progress,
    /// Says that letters were written down.
    pub called: Called,
}

impl fmt::Debug for Post {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Post")
    }
}

/// Why a letter was not sent.
enum Unsent {
    /// Nobody is there to read it.
    Nobody,
    /// It is tried again, or parked.
    Failed(NotSent),
}

impl From<NotSent> for Unsent {
    fn from(error: NotSent) -> Self {
        Self::Failed(error)
    }
}

impl Post {
    /// Sends what is due until `stop` is cancelled; what is being sent then is finished.
    pub async fn run(self, stop: CancellationToken) {
        describe_counter!(SENT, "Letters that were sent.");
        describe_counter!(FAILED, "Attempts to send a letter that have failed; each is tried again, or parked.");
        // Shown before there is anything to count.
        counter!(SENT).increment(0);
        counter!(FAILED).increment(0);
        let mut written = self.progress.subscribe(NAME);
        let mut cleaned_up: Option<Instant> = None;
        let mut seen = 0;
        while !stop.is_cancelled() {
            written.mark_unchanged();
            let sleep = match self.send_due(&stop).await {
                Ok(sleep) => sleep,
                Err(error) => {
                    tracing::warn!(%error, "letters could not be looked at");
                    RETRY_PAUSE
                }
            };
            if cleaned_up.is_none_or(|at| at.elapsed() >= CLEAN_UP_EVERY) {
                self.clean_up().await;
                cleaned_up = Some(Instant::now());
            }
            let woken = async {
                // Most of what the process takes in calls for nothing.
                while written.changed().await.is_ok() {
                    let (reached, called) = (*written.borrow(), self.called.position());
                    if called > seen && reached >= called {
                        seen = called;
                        return;
                    }
                }
                std::future::pending::<()>().await;
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(sleep) => {}
                () = woken => {}
            }
        }
    }

    async fn clean_up(&self) {
        if let Err(error) = letters::clean_up(&self.pool).await {
            tracing::warn!(%error, "letters that were sent long ago could not be forgotten");
        }
        if let Err(error) = self.mailer.clean_up().await {
            tracing::warn!(%error, "what was mailed long ago could not be cleaned up");
        }
    }

    /// Sends everything that is due and tells how long to sleep.
    async fn send_due(&self, stop: &CancellationToken) -> Result<Duration, sqlx::Error> {
        while !stop.is_cancelled() {
            let due = letters::claim(&self.pool, AT_ONCE).await?;
            let failed = Mutex::new(None);
            futures::stream::iter(&due)
                .for_each_concurrent(None, async |letter| {
                    if let Err(error) = self.see_to(letter).await {
                        failed.lock().await.replace(error);
                    }
                })
                .await;
            if let Some(error) = failed.into_inner() {
                return Err(error);
            }
            // Whoever is written to by name goes first.
            if due.is_empty() && !letters::unfold(&self.pool).await? {
                break;
            }
        }
        Ok(letters::next_due(&self.pool).await?.unwrap_or(LONGEST_SLEEP).min(LONGEST_SLEEP))
    }

    /// Sends one letter, and notes what has come of it.
    async fn see_to(&self, due: &Due) -> Result<(), sqlx::Error> {
        match self.send(due).await {
            Ok(()) => {
                counter!(SENT).increment(1);
                letters::sent(&self.pool, due).await
            }
            Err(Unsent::Nobody) => letters::drop_letter(&self.pool, due).await,
            Err(Unsent::Failed(why)) => {
                counter!(FAILED).increment(1);
                let parked = letters::failed(&self.pool, due, &why).await?;
                tracing::warn!(letter = %due.id, error = %why, parked, "a letter could not be sent");
                Ok(())
            }
        }
    }

    async fn send(&self, due: &Due) -> Result<(), Unsent> {
        let letter = self.write(due).await?;
        let sending = tokio::time::timeout(PATIENCE, self.mailer.send(&letter)).await;
        Ok(sending.unwrap_or_else(|_| Err(NotSent::now("it took too long")))?)
    }

    /// The letter, as far as there is anybody left who could read it.
    async fn write(&self, due: &Due) -> Result<Letter, Unsent> {
        let account = AccountId(due.account_id);
        let key = match PersonKey::load(&self.pool, &self.wrapping, account).await {
            Ok(Some(key)) => key,
            Ok(None) => return Err(Unsent::Nobody),
            Err(error @ KeyError::Sql(_)) => return Err(NotSent::now(error).into()),
            Err(error) => return Err(NotSent::never(error).into()),
        };
        let unreadable = || NotSent::never("what is sealed cannot be opened");
        let to = key.open(&sealed(due.account_id, &due.mailbox)).ok_or_else(unreadable)?;
        let mut notice = due.notice.0.clone();
        if let Notice::Announcement { words, .. } = &mut notice
            && let Words::Sealed { title, body } = &*words
        {
            let title = key.open(title).ok_or_else(unreadable)?;
            let body = key.open(body).ok_or_else(unreadable)?;
            *words = Words::Open { title, body };
        }
        let token = match &notice {
            Notice::Verify { challenge, .. } => Some(self.secret.mailed_token(Purpose::Email, account, *challenge)),
            Notice::Reset { challenge, .. } => Some(self.secret.mailed_token(Purpose::Password, account, *challenge)),
            _ => None,
        };
        let words::Message { subject, text, html } =
            words::write(&notice, token.as_deref(), &self.site).map_err(NotSent::never)?;
        Ok(Letter { id: due.id, position: due.position, to, subject, text, html })
    }
}
