//! What is sent to mailboxes.
//!
//! Two parts that know of each other by a table. The process [`Mail`] follows the log and writes down, in the transaction
//! of its checkpoint, which letters are called for: by whom is told what ([`domain::notice`]), and by what they want to
//! hear of. So each is written down once, and none again when read models are rebuilt, or when these tables are made
//! anew. [`Post`] sends what is due, the urgent first, and tries again what could not be sent, each time later; what
//! cannot be sent at all, or not for long, is parked until an operator has looked at it.
//!
//! A letter goes by the id of its notice, which is in its `Message-ID`: if a node dies between sending one and noting
//! that, it is sent again, and is the same message. Tokens follow from the deployment's secret, and are nowhere stored.
//!
//! | file | what is in it |
//! | --- | --- |
//! | `letters` | the table of letters, and what operators do with it |
//! | `post` | sending what is due |
//! | `words` | what a notice says; its templates |
//! | `folder`, `smtp` | the ways to mailboxes |

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use domain::account::{self, Capability};
use domain::notice::{Addressee, Channels, Context, Kind, Notice, Told};
use domain::{AccountId, Sealed, inbox};
use eventstore::Position;
use eventstore::event::{DomainEvent, Interest};
use eventstore::follower::{self, Batch, Delivery, FollowError, Follower, Recorded};
use eventstore::parking;
use eventstore::telling::{self, Contexts, TELLING};
use futures::future::BoxFuture;
use lettre::Message;
pub use lettre::message::Mailbox;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{MultiPart, SinglePart};
use serde::Serialize;
use sqlx::types::Json;
use sqlx::{Connection, Executor, FromRow, PgConnection};
use thiserror::Error;
use uuid::Uuid;

mod folder;
mod letters;
mod post;
mod smtp;
#[cfg(test)]
mod tests;
pub mod words;

pub use folder::Folder;
pub use letters::{Listed, State, Unsent, list, retry, unsent};
pub use post::Post;
pub use smtp::{BadAddress, Smtp};

/// The name of the process, and of its checkpoint.
pub const NAME: &str = "mail";
/// The version of what events make of its tables. Raised, they are made anew, and nothing is sent of what is past.
pub const VERSION: i32 = 3;
/// So many letters somebody gets of one day, but for what keeps their account safe; what is more is parked.
pub const MOST_PER_DAY: i64 = 200;

/// A message to one mailbox.
#[derive(Clone, Debug)]
pub struct Letter {
    /// Names it: sent twice, it is the same message.
    pub id: Uuid,
    /// The event that it tells of.
    pub position: Position,
    /// To whom.
    pub to: String,
    /// What it is about.
    pub subject: String,
    /// What it says.
    pub text: String,
    /// The same as HTML.
    pub html: String,
}

impl Letter {
    /// The letter as it is sent.
    fn message(&self, from: &Mailbox) -> Result<Message, NotSent> {
        let to: Mailbox = self.to.parse().map_err(NotSent::never)?;
        Message::builder()
            .message_id(Some(format!("<{}@{}>", self.id, from.email.domain())))
            .from(from.clone())
            .to(to)
            .subject(self.subject.clone())
            // Nobody who is away answers a machine.
            .raw_header(HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned()))
            .multipart(
                MultiPart::alternative()
                    .boundary(self.id.to_string())
                    .singlepart(SinglePart::plain(self.text.clone()))
                    .singlepart(SinglePart::html(self.html.clone())),
            )
            .map_err(NotSent::never)
    }
}

/// Why a message was not sent.
#[derive(Debug, Error)]
pub enum NotSent {
    /// Not now: it is tried again.
    #[error("{0}")]
    Now(String),
    /// Never: there can be no such message, or nobody who takes it.
    #[error("{0}")]
    Never(String),
}

impl NotSent {
    fn now(error: impl fmt::Display) -> Self {
        Self::Now(error.to_string())
    }

    fn never(error: impl fmt::Display) -> Self {
        Self::Never(error.to_string())
    }
}

/// A way to mailboxes.
pub trait Mailer: Send + Sync {
    /// Sends a message.
    fn send<'a>(&'a self, letter: &'a Letter) -> BoxFuture<'a, Result<(), NotSent>>;

    /// Lets go what it has kept for too long, if it keeps anything.
    fn clean_up(&self) -> BoxFuture<'_, Result<(), NotSent>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// Makes sure that the tables are those of this version: others are emptied and filled again from the log's beginning,
/// and nothing that was decided until then is sent. Safe to run on several nodes at once.
pub async fn ensure(owner: &mut PgConnection) -> Result<(), sqlx::Error> {
    let mut transaction = owner.begin().await?;
    follower::register(&mut transaction, NAME, VERSION).await?;
    let outdated: Option<Position> =
        sqlx::query_scalar("select position from followers where name = $1 and version <> $2 for update")
            .bind(NAME)
            .bind(VERSION)
            .fetch_optional(&mut *transaction)
            .await?;
    if let Some(reached) = outdated {
        sqlx::query("update mail_quiet set upto = greatest(upto, $1)").bind(reached).execute(&mut *transaction).await?;
        transaction.execute("delete from mail_people").await?;
        transaction.execute("delete from mail_contexts").await?;
        parking::clear(&mut transaction, NAME).await?;
        sqlx::query("update followers set version = $2, position = 0 where name = $1")
            .bind(NAME)
            .bind(VERSION)
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await
}

/// Says up to where in the log letters were called for: they are there once the process has come that far.
#[derive(Clone, Debug, Default)]
pub struct Called(Arc<AtomicI64>);

impl Called {
    fn raise(&self, position: Position) {
        self.0.fetch_max(position, Ordering::AcqRel);
    }

    fn position(&self) -> Position {
        self.0.load(Ordering::Acquire)
    }
}

/// The process that writes down which letters are called for.
#[derive(Clone, Debug, Default)]
pub struct Mail {
    /// Where it says so.
    pub called: Called,
}

impl Follower for Mail {
    fn name(&self) -> &'static str {
        NAME
    }

    fn version(&self) -> i32 {
        VERSION
    }

    fn delivery(&self) -> Delivery {
        Delivery::ExactlyOnce
    }

    fn interest(&self) -> Interest {
        Interest::In(TELLING)
    }

    fn apply<'a>(
        &'a mut self,
        connection: &'a mut PgConnection,
        batch: &'a Batch,
    ) -> BoxFuture<'a, Result<(), FollowError>> {
        Box::pin(take(connection, batch, &self.called))
    }
}

/// Somebody who can be written to.
#[derive(Clone, Debug, FromRow, Serialize)]
struct Person {
    account_id: Uuid,
    email: String,
    verified: bool,
    preferences: Json<BTreeMap<Kind, Channels>>,
    capabilities: Vec<String>,
    since: Position,
}

impl Person {
    fn wants(&self, kind: Kind) -> bool {
        kind.told(self.preferences.get(&kind).copied().unwrap_or_else(|| kind.usual())).email
    }
}

/// A letter that is called for.
#[derive(Clone, Debug, Serialize)]
struct Call {
    id: Uuid,
    account_id: Uuid,
    kind: Kind,
    urgent: bool,
    mailbox: String,
    notice: Json<Notice>,
    position: Position,
    at: domain::Timestamp,
    expires_at: Option<domain::Timestamp>,
}

/// Letters to several that are called for.
#[derive(Clone, Debug, Serialize)]
struct Mailing {
    event_id: Uuid,
    capability: Option<Capability>,
    kind: Kind,
    notice: Json<Notice>,
    position: Position,
    at: domain::Timestamp,
    reached: Uuid,
}

/// What a batch is about, and what it calls for.
#[derive(Debug, Default)]
struct Calls {
    contexts: Contexts,
    people: BTreeMap<Uuid, Person>,
    changed: BTreeSet<Uuid>,
    gone: BTreeSet<Uuid>,
    letters: Vec<Call>,
    mailings: Vec<Mailing>,
}

async fn take(connection: &mut PgConnection, batch: &Batch, called: &Called) -> Result<(), FollowError> {
    let mut calls = Calls::load(connection, &batch.events).await?;
    // Who is told is known only once the contexts have passed; where they read it, before that.
    let told: Vec<(&Recorded, Vec<Told>)> =
        batch.events.iter().map(|recorded| (recorded, calls.contexts.take(&recorded.event))).collect();
    calls.load_people(connection, &told).await?;
    for (recorded, told) in told {
        calls.take(recorded, told);
    }
    let letters = calls.letters.iter().map(|letter| letter.position);
    if let Some(last) = letters.chain(calls.mailings.iter().map(|mailing| mailing.position)).max() {
        called.raise(last);
    }
    calls.store(connection).await
}

impl Calls {
    /// Takes one event in, and what is told of it. What is told goes by what was said before.
    fn take(&mut self, recorded: &Recorded, told: Vec<Told>) {
        for told in told {
            self.call(recorded, told);
        }
        match &recorded.event {
            DomainEvent::Account(AccountId(id), event) => self.take_account(*id, event, recorded.position),
            DomainEvent::Inbox(AccountId(id), inbox::Event::PreferencesChanged { preferences }) => {
                if let Some(person) = self.people.get_mut(id) {
                    person.preferences.0.extend(preferences);
                    self.changed.insert(*id);
                }
            }
            // What else is told, the contexts know.
            _ => {}
        }
    }

    fn call(&mut self, recorded: &Recorded, told: Told) {
        let (id, kind) = (told.id(recorded.event_id).0, told.notice.kind());
        let (position, at) = (recorded.position, recorded.recorded_at);
        let capability = match told.to {
            Addressee::Account(account) => {
                let Some(person) = self.people.get(&account.0) else { return };
                // Nobody gets letters from a marketplace that somebody else has joined with their address.
                let reads = person.verified || kind.is_urgent() || kind == Kind::Welcome;
                if !reads || !person.wants(kind) {
                    return;
                }
                let mailbox = told.mailbox.map_or_else(|| person.email.clone(), |mailbox| mailbox.sealed);
                let expires_at = match told.notice {
                    Notice::Verify { expires_at, .. } | Notice::Reset { expires_at, .. } => Some(expires_at),
                    _ => None,
                };
                let (account_id, urgent, notice) = (account.0, kind.is_urgent(), Json(told.notice));
                let call = Call { id, account_id, kind, urgent, mailbox, notice, position, at, expires_at };
                return self.letters.push(call);
            }
            Addressee::Everybody => None,
            Addressee::Holders(capability) => Some(capability),
        };
        let (event_id, notice, reached) = (recorded.event_id, Json(told.notice), Uuid::nil());
        self.mailings.push(Mailing { event_id, capability, kind, notice, position, at, reached });
    }

    fn take_account(&mut self, id: Uuid, event: &account::Event, position: Position) {
        match event {
            account::Event::AccountRegistered { identity, capabilities } => {
                let person = Person {
                    account_id: id,
                    email: identity.email.sealed.clone(),
                    verified: false,
                    preferences: Json(BTreeMap::new()),
                    capabilities: capabilities.iter().map(|capability| capability.name().to_owned()).collect(),
                    since: position,
                };
                self.people.insert(id, person);
                self.changed.insert(id);
            }
            account::Event::AccountErased {} => {
                self.people.remove(&id);
                self.changed.remove(&id);
                self.gone.insert(id);
            }
            account::Event::EmailVerified { email } => self.change(id, |person| {
                (person.email, person.verified) = (email.sealed.clone(), true);
            }),
            account::Event::CapabilitiesGranted { capabilities, .. } => self.change(id, |person| {
                person.capabilities.extend(capabilities.iter().map(|capability| capability.name().to_owned()));
            }),
            account::Event::CapabilitiesRevoked { capabilities, .. } => self.change(id, |person| {
                person.capabilities.retain(|known| capabilities.iter().all(|lost| lost.name() != known));
            }),
            account::Event::ProfileChanged { .. }
            | account::Event::EmailChallenged { .. }
            | account::Event::PasswordChallenged { .. }
            | account::Event::PasswordChanged { .. }
            | account::Event::IdentityLinked { .. }
            | account::Event::ViolationRecorded { .. }
            | account::Event::ViolationsPardoned { .. }
            | account::Event::AccountBlocked { .. }
            | account::Event::AccountSuspended { .. }
            | account::Event::AccountWarned { .. }
            | account::Event::AccountReinstated { .. }
            | account::Event::SessionsRevoked { .. } => {}
        }
    }

    fn change(&mut self, id: Uuid, change: impl FnOnce(&mut Person)) {
        if let Some(person) = self.people.get_mut(&id) {
            change(person);
            self.changed.insert(id);
        }
    }

    async fn load(connection: &mut PgConnection, events: &[Recorded]) -> Result<Self, FollowError> {
        let things: BTreeSet<Uuid> = events.iter().filter_map(|recorded| telling::about(&recorded.event)).collect();
        if things.is_empty() {
            return Ok(Self::default());
        }
        let known: Vec<(Uuid, Json<Context>)> =
            sqlx::query_as("select id, context from mail_contexts where id = any($1)")
                .bind(things.into_iter().collect::<Vec<_>>())
                .fetch_all(connection)
                .await?;
        let contexts = Contexts(known.into_iter().map(|(id, context)| (id, context.0)).collect());
        Ok(Self { contexts, ..Self::default() })
    }

    /// Whoever is told something, or has said something.
    async fn load_people(
        &mut self,
        connection: &mut PgConnection,
        told: &[(&Recorded, Vec<Told>)],
    ) -> Result<(), FollowError> {
        let mut ids = BTreeSet::new();
        for (recorded, told) in told {
            ids.extend(told.iter().filter_map(|told| match told.to {
                Addressee::Account(account) => Some(account.0),
                Addressee::Everybody | Addressee::Holders(_) => None,
            }));
            match &recorded.event {
                DomainEvent::Account(id, _) | DomainEvent::Inbox(id, _) => drop(ids.insert(id.0)),
                _ => {}
            }
        }
        if ids.is_empty() {
            return Ok(());
        }
        let people: Vec<Person> = sqlx::query_as("select * from mail_people where account_id = any($1)")
            .bind(ids.into_iter().collect::<Vec<_>>())
            .fetch_all(connection)
            .await?;
        self.people = people.into_iter().map(|person| (person.account_id, person)).collect();
        Ok(())
    }

    async fn store(self, connection: &mut PgConnection) -> Result<(), FollowError> {
        let Self { contexts, people, changed, gone, letters, mailings } = self;
        let unknown = contexts.unknown();
        if !unknown.is_empty() {
            sqlx::query("delete from mail_contexts where id = any($1)").bind(unknown).execute(&mut *connection).await?;
        }
        if !gone.is_empty() {
            let gone: Vec<Uuid> = gone.into_iter().collect();
            sqlx::query("delete from mail_people where account_id = any($1)")
                .bind(&gone)
                .execute(&mut *connection)
                .await?;
            // Nobody could open their addresses any more.
            sqlx::query("delete from letters where account_id = any($1)").bind(&gone).execute(&mut *connection).await?;
        }
        let contexts: Vec<_> =
            contexts.known().map(|(id, context)| serde_json::json!({ "id": id, "context": context })).collect();
        let statement = "
            insert into mail_contexts select * from json_populate_recordset(null::mail_contexts, $1::json)
            on conflict on constraint mail_contexts_id do update set context = excluded.context";
        write(connection, statement, contexts).await?;
        let people: Vec<_> = people.into_values().filter(|person| changed.contains(&person.account_id)).collect();
        let statement = "
            insert into mail_people select * from json_populate_recordset(null::mail_people, $1::json)
            on conflict on constraint mail_people_account do update set
                (email, verified, preferences, capabilities)
                = row (excluded.email, excluded.verified, excluded.preferences, excluded.capabilities)";
        write(connection, statement, people).await?;
        let statement = "
            with called as (
                select *, kind <> all($3) as counts,
                    row_number() over (partition by account_id, kind <> all($3), date_trunc('day', at, 'utc')
                                       order by position, id) as nth
                from json_populate_recordset(null::letters, $1::json)
                where position > (select upto from mail_quiet)
            ), placed as (
                select *, counts and $2 < nth + (
                    select count(*) from letters as before
                    where before.account_id = called.account_id and before.kind <> all($3)
                    and before.at >= date_trunc('day', called.at, 'utc') and before.at <= called.at) as beyond
                from called
            )
            insert into letters (id, account_id, kind, urgent, mailbox, notice, position, at, expires_at, state, error)
            select id, account_id, kind, urgent, mailbox, notice, position, at, expires_at,
                case when beyond then 'parked' else 'waiting' end, case when beyond then $4 end
            from placed
            on conflict on constraint letters_id do nothing";
        if !letters.is_empty() {
            let always: Vec<&str> = Kind::ALL.into_iter().filter(|kind| kind.fixed().email).map(Kind::name).collect();
            sqlx::query(statement)
                .bind(recordset(&letters)?)
                .bind(MOST_PER_DAY)
                .bind(always)
                .bind(format!("more than {MOST_PER_DAY} letters of one day"))
                .execute(&mut *connection)
                .await?;
        }
        let statement = "
            insert into mailings select * from json_populate_recordset(null::mailings, $1::json) as called
            where position > (select upto from mail_quiet)
            on conflict on constraint mailings_event do nothing";
        write(connection, statement, mailings).await
    }
}

/// Writes rows with one statement, which finds them in `$1`.
async fn write<R: Serialize + Send + Sync>(
    connection: &mut PgConnection,
    statement: &'static str,
    rows: Vec<R>,
) -> Result<(), FollowError> {
    if !rows.is_empty() {
        sqlx::query(statement).bind(recordset(&rows)?).execute(connection).await?;
    }
    Ok(())
}

fn recordset<R: Serialize>(rows: &[R]) -> Result<String, FollowError> {
    serde_json::to_string(rows).map_err(|error| FollowError::Defect(error.to_string()))
}

/// An address, as its sealed form stands in a table.
fn sealed(account: Uuid, mailbox: &str) -> Sealed<String> {
    Sealed::from_ciphertext(AccountId(account), mailbox.to_owned())
}
