//! What was somebody told, what of it have they read, and what do they want to hear of?
//!
//! A row per notice of [`domain::notice`], straight from the events that it tells of. What is for one account belongs to
//! it; what is for several is one row, which those see who belonged to them before it came, and do still. What was read
//! long enough ago goes, and with somebody who is forgotten everything that they were told.

use std::collections::{BTreeMap, BTreeSet};

use domain::account::{self, Capability};
use domain::notice::{Addressee, Channels, Context, Kind, Notice, Told, Words};
use domain::{AccountId, NotificationId, Timestamp, broadcast, inbox, listing};
use eventstore::Position;
use eventstore::event::DomainEvent;
use eventstore::follower::{Batch, FollowError, Recorded};
use eventstore::sealing::PersonKeys;
use eventstore::telling::{self, Contexts, TELLING};
use serde::Serialize;
use sqlx::types::Json;
use sqlx::{FromRow, PgConnection, PgExecutor};
use uuid::Uuid;

use crate::{Page, ReadModel, Text, rows};

#[cfg(test)]
mod tests;

/// The read model.
pub const MODEL: ReadModel = ReadModel {
    name: "notifications",
    next: "notifications_next",
    version: 3,
    about: TELLING,
    ddl: include_str!("notifications.sql"),
    apply: |connection, batch| Box::pin(apply(connection, batch)),
};

/// The name space of what stands for several people. The names are in the rows, so they never change.
const AUDIENCES: Uuid = Uuid::from_u128(0x3b96_02c8_e1d7_5a4f_b0c2_68fd_914e_7a35);

/// What everybody is called among the audiences.
const EVERYBODY: &str = "everybody";

/// Whom a row is for: an account, or several by a name of theirs.
fn recipient(to: Addressee) -> (Uuid, Option<&'static str>) {
    match to {
        Addressee::Account(account) => (account.0, None),
        Addressee::Everybody => (audience(EVERYBODY), Some(EVERYBODY)),
        Addressee::Holders(capability) => (audience(capability.name()), Some(capability.name())),
    }
}

fn audience(name: &str) -> Uuid {
    Uuid::new_v5(&AUDIENCES, name.as_bytes())
}

/// A row of the table.
#[derive(Clone, Debug, FromRow, PartialEq, Serialize)]
struct Row {
    recipient: Uuid,
    position: Position,
    id: Uuid,
    audience: Option<String>,
    kind: Text<Kind>,
    waiting: Option<Uuid>,
    notice: Json<Notice>,
    in_app: bool,
    live: bool,
    at: Timestamp,
    read_at: Option<Timestamp>,
}

/// That somebody has read what is not for them alone.
#[derive(Clone, Copy, Debug, FromRow, PartialEq, Serialize)]
struct Mark {
    account_id: Uuid,
    notification_id: Uuid,
    read_at: Timestamp,
}

/// That somebody belongs to several.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Holding {
    account_id: Uuid,
    recipient: Uuid,
    audience: &'static str,
    since: Position,
}

/// What somebody wants, and has read of what is for several.
#[derive(Clone, Debug, FromRow, PartialEq, Serialize)]
struct Person {
    account_id: Uuid,
    preferences: Json<BTreeMap<Kind, Channels>>,
    all_read: Position,
    all_read_at: Option<Timestamp>,
    erased: bool,
    version: i64,
    position: Position,
}

impl Person {
    fn new(account_id: Uuid) -> Self {
        Self {
            account_id,
            preferences: Json(BTreeMap::new()),
            all_read: 0,
            all_read_at: None,
            erased: false,
            version: 0,
            position: 0,
        }
    }

    fn channels(&self, kind: Kind) -> Channels {
        kind.told(self.preferences.get(&kind).copied().unwrap_or_else(|| kind.usual()))
    }
}

/// The primary key of a row: whom it is for, and where in the log it came from.
type Key = (Uuid, Position);

/// What somebody's inbox says of all that they were told, as it counts for the rows that were in the table before the
/// batch. These are all read from the first reading on, and another changes none of them: so a clean-up, a reading and
/// a clean-up stand for however many there are, in whatever order.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Sweep {
    /// First goes what was read before then.
    cleaned: Option<Timestamp>,
    /// Then what is unread is read at this time. Nothing is unread up to this position: there was a reading before.
    read: Option<(Position, Timestamp)>,
    /// Then goes what was read before then.
    cleaned_after: Option<Timestamp>,
}

impl Sweep {
    fn read(&mut self, after: Position, at: Timestamp) {
        self.read.get_or_insert((after, at));
    }

    fn clean_up(&mut self, before: Timestamp) {
        let cleaned = if self.read.is_some() { &mut self.cleaned_after } else { &mut self.cleaned };
        *cleaned = (*cleaned).max(Some(before));
    }
}

/// What a batch is about, and what becomes of it.
#[derive(Debug, Default)]
struct Telling {
    contexts: Contexts,
    people: BTreeMap<Uuid, Person>,
    /// What is new, and what is in the table and meant by an event on its own. What is said of all that somebody was
    /// told happens to these here, and to whatever is in the table by `sweeps` and `unmarked`.
    rows: BTreeMap<Key, Row>,
    /// Where these are, by their ids.
    names: BTreeMap<Uuid, Key>,
    /// Where those of these are that ask the staff to look at a listing.
    waiting: BTreeMap<Uuid, Key>,
    /// What has changed of these.
    written: BTreeSet<Key>,
    gone: BTreeSet<Uuid>,
    sweeps: BTreeMap<Uuid, Sweep>,
    changed: BTreeSet<Uuid>,
    marks: BTreeMap<(Uuid, Uuid), Mark>,
    /// Of whom, and of what, no mark is left. Of whom none is left, that is forgotten, no row is either.
    unmarked: (BTreeSet<Uuid>, BTreeSet<Uuid>),
    /// What each came to belong to, or belongs to no more.
    holdings: BTreeMap<(Uuid, &'static str), Option<Position>>,
}

async fn apply(connection: &mut PgConnection, batch: &Batch) -> Result<(), FollowError> {
    let mut telling = Telling::load(connection, &batch.events).await?;
    // Who is told is known only once the contexts have passed; what they want, before that.
    let told: Vec<(&Recorded, Vec<Told>)> =
        batch.events.iter().map(|recorded| (recorded, telling.contexts.take(&recorded.event))).collect();
    telling.load_people(connection, &told).await?;
    for (recorded, told) in told {
        telling.take(recorded, told, &batch.people);
    }
    telling.store(connection).await
}

impl Telling {
    /// Takes one event in, and what is told of it.
    fn take(&mut self, recorded: &Recorded, told: Vec<Told>, people: &PersonKeys) {
        match &recorded.event {
            DomainEvent::Account(id, event) => self.take_account(id.0, event, recorded),
            DomainEvent::Inbox(id, event) => self.take_inbox(id.0, event, recorded),
            DomainEvent::Listing(id, event) => self.take_listing(id.0, event),
            DomainEvent::Broadcast(id, broadcast::Event::BroadcastWithdrawn {}) => {
                if let Some(key) = self.names.get(&NotificationId::announcing(*id).0).copied() {
                    self.remove(key);
                }
            }
            // What else is told, the contexts know.
            _ => {}
        }
        for told in told {
            self.tell(recorded, told, people);
        }
    }

    /// Adds a notice, unless whoever it is for wants it nowhere here, or is forgotten.
    fn tell(&mut self, recorded: &Recorded, told: Told, people: &PersonKeys) {
        let (id, kind) = (told.id(recorded.event_id).0, told.notice.kind());
        let (recipient, audience) = recipient(told.to);
        let person = self.people.get(&recipient).filter(|_| audience.is_none());
        let Channels { in_app, live, .. } = match person {
            Some(person) if person.erased => return,
            Some(person) => person.channels(kind),
            None => kind.told(kind.usual()),
        };
        let Some(notice) = opened(told.notice, people) else { return };
        if !in_app && !live {
            return;
        }
        let waiting = match &notice {
            Notice::ListingReview { listing, .. } => Some(listing.0),
            _ => None,
        };
        self.written.insert((recipient, recorded.position));
        self.insert(Row {
            recipient,
            position: recorded.position,
            id,
            audience: audience.map(ToOwned::to_owned),
            kind: Text(kind),
            waiting,
            notice: Json(notice),
            in_app,
            live,
            at: recorded.recorded_at,
            read_at: None,
        });
    }

    fn take_account(&mut self, id: Uuid, event: &account::Event, recorded: &Recorded) {
        match event {
            account::Event::AccountRegistered { capabilities, .. } => {
                self.person(id);
                let names = capabilities.iter().map(|capability| capability.name());
                for name in names.chain([EVERYBODY]) {
                    self.holdings.insert((id, name), Some(recorded.position));
                }
            }
            account::Event::CapabilitiesGranted { capabilities, .. } => {
                for capability in capabilities {
                    self.holdings.insert((id, capability.name()), Some(recorded.position));
                }
            }
            account::Event::CapabilitiesRevoked { capabilities, .. } => {
                for capability in capabilities {
                    self.holdings.insert((id, capability.name()), None);
                }
            }
            account::Event::AccountErased {} => self.forget(id),
            account::Event::ProfileChanged { .. }
            | account::Event::EmailChallenged { .. }
            | account::Event::EmailVerified { .. }
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

    fn forget(&mut self, id: Uuid) {
        let person = self.person(id);
        *person = Person { erased: true, version: person.version, position: person.position, ..Person::new(id) };
        self.remove_of(id, |_| true);
        self.marks.retain(|(account, _), _| *account != id);
        self.unmarked.0.insert(id);
        for name in Capability::ALL.map(Capability::name).into_iter().chain([EVERYBODY]) {
            self.holdings.insert((id, name), None);
        }
    }

    fn take_inbox(&mut self, id: Uuid, event: &inbox::Event, recorded: &Recorded) {
        let person = self.person(id);
        (person.version, person.position) = (recorded.sequence, recorded.position);
        match event {
            inbox::Event::PreferencesChanged { preferences } => person.preferences.0.extend(preferences),
            inbox::Event::AllRead { at, .. } => {
                let after = std::mem::replace(&mut person.all_read, recorded.position);
                person.all_read_at = Some(*at);
                self.sweeps.entry(id).or_default().read(after, *at);
                let theirs = self.rows.range_mut((id, Position::MIN)..=(id, Position::MAX));
                for (key, row) in theirs.filter(|(_, row)| row.read_at.is_none()) {
                    row.read_at = Some(*at);
                    self.written.insert(*key);
                }
            }
            inbox::Event::NotificationRead { notification, at, .. } => self.mark(id, *notification, *at),
            inbox::Event::ReadCleanedUp { before, .. } => {
                self.sweeps.entry(id).or_default().clean_up(*before);
                self.remove_of(id, |row| row.read_at.is_some_and(|read_at| read_at < *before));
            }
        }
    }

    fn mark(&mut self, account_id: Uuid, NotificationId(notification_id): NotificationId, read_at: Timestamp) {
        let Some(key) = self.names.get(&notification_id) else { return };
        let Some(row) = self.rows.get_mut(key) else { return };
        if row.audience.is_some() {
            let mark = Mark { account_id, notification_id, read_at };
            self.marks.entry((account_id, notification_id)).or_insert(mark);
        } else if row.recipient == account_id && row.read_at.is_none() {
            row.read_at = Some(read_at);
            self.written.insert(*key);
        }
    }

    /// What waits to be looked at no more is told to the staff no more, and of what is submitted anew only the last.
    fn take_listing(&mut self, id: Uuid, event: &listing::Event) {
        if ends_waiting(event)
            && let Some(key) = self.waiting.get(&id).copied()
        {
            self.remove(key);
        }
    }

    fn insert(&mut self, row: Row) {
        let (key, id, waiting) = ((row.recipient, row.position), row.id, row.waiting);
        if let Some(former) = self.rows.insert(key, row) {
            self.names.remove(&former.id);
        }
        self.names.insert(id, key);
        if let Some(listing) = waiting {
            self.waiting.insert(listing, key);
        }
    }

    fn remove_of(&mut self, recipient: Uuid, which: impl Fn(&Row) -> bool) {
        let theirs = self.rows.range((recipient, Position::MIN)..=(recipient, Position::MAX));
        let keys: Vec<_> = theirs.filter(|(_, row)| which(row)).map(|(key, _)| *key).collect();
        for key in keys {
            self.remove(key);
        }
    }

    fn remove(&mut self, key: Key) {
        if let Some(row) = self.rows.remove(&key) {
            self.names.remove(&row.id);
            if let Some(listing) = row.waiting {
                self.waiting.remove(&listing);
            }
            self.written.remove(&key);
            self.gone.insert(row.id);
            if row.audience.is_some() {
                self.marks.retain(|(_, notification), _| *notification != row.id);
                self.unmarked.1.insert(row.id);
            }
        }
    }

    /// Somebody, from whom something has come.
    fn person(&mut self, id: Uuid) -> &mut Person {
        self.changed.insert(id);
        self.people.entry(id).or_insert_with(|| Person::new(id))
    }

    /// What a batch touches: contexts, and the rows that its events may change.
    async fn load(connection: &mut PgConnection, events: &[Recorded]) -> Result<Self, FollowError> {
        let things = rows::touched(events, telling::about);
        let mut telling = Self::default();
        if !things.is_empty() {
            let known: Vec<(Uuid, Json<Context>)> =
                sqlx::query_as("select id, context from contexts where id = any($1)")
                    .bind(things)
                    .fetch_all(&mut *connection)
                    .await?;
            telling.contexts = Contexts(known.into_iter().map(|(id, context)| (id, context.0)).collect());
        }
        let ids = rows::touched(events, |event| match event {
            DomainEvent::Inbox(_, inbox::Event::NotificationRead { notification, .. }) => Some(notification.0),
            DomainEvent::Broadcast(id, broadcast::Event::BroadcastWithdrawn {}) => {
                Some(NotificationId::announcing(*id).0)
            }
            _ => None,
        });
        let waiting = rows::touched(events, |event| match event {
            DomainEvent::Listing(id, event) if ends_waiting(event) => Some(id.0),
            _ => None,
        });
        if !ids.is_empty() || !waiting.is_empty() {
            let rows: Vec<Row> = sqlx::query_as(
                "select * from notifications where id = any($1)
                 union all select * from notifications where waiting = any($2)",
            )
            .bind(ids)
            .bind(waiting)
            .fetch_all(&mut *connection)
            .await?;
            for row in rows {
                telling.insert(row);
            }
        }
        Ok(telling)
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
        let people: Vec<Person> = sqlx::query_as("select * from people where account_id = any($1)")
            .bind(ids.into_iter().collect::<Vec<_>>())
            .fetch_all(connection)
            .await?;
        self.people = people.into_iter().map(|person| (person.account_id, person)).collect();
        Ok(())
    }

    async fn store(self, connection: &mut PgConnection) -> Result<(), FollowError> {
        let Self { contexts, people, rows, written, gone, sweeps, changed, marks, unmarked, holdings, .. } = self;
        // First what happens to rows of the table that are not here, then those that are, as they are by now: what was
        // marked on its own may have been read by a sweep at another time, or have gone with it and be there still.
        delete(connection, gone, unmarked).await?;
        sweep(connection, &sweeps).await?;
        write_holdings(connection, holdings).await?;
        let statement = "
            insert into people select * from json_populate_recordset(null::people, $1::json)
            on conflict on constraint people_account do update set
                (preferences, all_read, all_read_at, erased, version, position)
                = row (excluded.preferences, excluded.all_read, excluded.all_read_at, excluded.erased,
                    excluded.version, excluded.position)";
        rows::write(connection, statement, people.into_values().filter(|person| changed.contains(&person.account_id)))
            .await?;
        let statement = "
            insert into notifications select * from json_populate_recordset(null::notifications, $1::json)
            on conflict on constraint notifications_recipient do update set read_at = excluded.read_at";
        rows::write(
            connection,
            statement,
            rows.into_iter().filter(|(key, _)| written.contains(key)).map(|(_, row)| row),
        )
        .await?;
        let statement = "
            insert into marks select * from json_populate_recordset(null::marks, $1::json)
            on conflict on constraint marks_account do nothing";
        rows::write(connection, statement, marks.into_values()).await?;
        write_contexts(connection, &contexts).await
    }
}

/// Deletes single rows; and all that is of somebody, and the marks of somebody or of something.
async fn delete(
    connection: &mut PgConnection,
    gone: BTreeSet<Uuid>,
    (of, about): (BTreeSet<Uuid>, BTreeSet<Uuid>),
) -> Result<(), sqlx::Error> {
    let [gone, of, about] = [gone, of, about].map(|ids| ids.into_iter().collect::<Vec<Uuid>>());
    if !gone.is_empty() {
        sqlx::query("delete from notifications where id = any($1)").bind(gone).execute(&mut *connection).await?;
    }
    if !of.is_empty() {
        sqlx::query("delete from notifications where recipient = any($1)").bind(&of).execute(&mut *connection).await?;
        sqlx::query("delete from marks where account_id = any($1)").bind(of).execute(&mut *connection).await?;
    }
    if !about.is_empty() {
        sqlx::query("delete from marks where notification_id = any($1)").bind(about).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Does what is said of all that somebody was told to what is in the table.
async fn sweep(connection: &mut PgConnection, sweeps: &BTreeMap<Uuid, Sweep>) -> Result<(), sqlx::Error> {
    let cleaned = |of: fn(&Sweep) -> Option<Timestamp>| {
        sweeps.iter().filter_map(|(id, sweep)| Some((*id, of(sweep)?))).unzip::<_, _, Vec<Uuid>, Vec<Timestamp>>()
    };
    let (first, last) = (cleaned(|sweep| sweep.cleaned), cleaned(|sweep| sweep.cleaned_after));
    clean_up(connection, first).await?;
    let (whose, reading): (Vec<Uuid>, Vec<(Position, Timestamp)>) =
        sweeps.iter().filter_map(|(id, sweep)| Some((*id, sweep.read?))).unzip();
    if !whose.is_empty() {
        let (after, at): (Vec<Position>, Vec<Timestamp>) = reading.into_iter().unzip();
        sqlx::query(
            "update notifications as told set read_at = said.at
             from unnest($1::uuid[], $2::bigint[], $3::timestamptz[]) as said (recipient, after, at)
             where told.recipient = said.recipient and told.position > said.after
             and told.audience is null and told.read_at is null",
        )
        .bind(whose)
        .bind(after)
        .bind(at)
        .execute(&mut *connection)
        .await?;
    }
    clean_up(connection, last).await
}

/// Deletes what each has read before a time.
async fn clean_up(
    connection: &mut PgConnection,
    (whose, before): (Vec<Uuid>, Vec<Timestamp>),
) -> Result<(), sqlx::Error> {
    if whose.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "delete from notifications as told using unnest($1::uuid[], $2::timestamptz[]) as said (recipient, before)
         where told.recipient = said.recipient and told.read_at < said.before",
    )
    .bind(whose)
    .bind(before)
    .execute(connection)
    .await?;
    Ok(())
}

async fn write_holdings(
    connection: &mut PgConnection,
    holdings: BTreeMap<(Uuid, &'static str), Option<Position>>,
) -> Result<(), sqlx::Error> {
    let (held, lost): (Vec<_>, Vec<_>) = holdings.into_iter().partition(|(_, since)| since.is_some());
    if !lost.is_empty() {
        let (accounts, recipients): (Vec<Uuid>, Vec<Uuid>) =
            lost.into_iter().map(|((account, name), _)| (account, audience(name))).unzip();
        sqlx::query(
            "delete from holdings using unnest($1::uuid[], $2::uuid[]) as lost (account_id, recipient)
             where (holdings.account_id, holdings.recipient) = (lost.account_id, lost.recipient)",
        )
        .bind(accounts)
        .bind(recipients)
        .execute(&mut *connection)
        .await?;
    }
    let held = held.into_iter().filter_map(|((account_id, name), since)| {
        Some(Holding { account_id, recipient: audience(name), audience: name, since: since? })
    });
    let statement = "
        insert into holdings select * from json_populate_recordset(null::holdings, $1::json)
        on conflict on constraint holdings_account do update set since = excluded.since";
    rows::write(connection, statement, held).await
}

async fn write_contexts(connection: &mut PgConnection, contexts: &Contexts) -> Result<(), FollowError> {
    #[derive(Serialize)]
    struct Line<'a> {
        id: &'a Uuid,
        context: &'a Context,
    }
    let unknown = contexts.unknown();
    if !unknown.is_empty() {
        sqlx::query("delete from contexts where id = any($1)").bind(unknown).execute(&mut *connection).await?;
    }
    let statement = "
        insert into contexts select * from json_populate_recordset(null::contexts, $1::json)
        on conflict on constraint contexts_id do update set context = excluded.context";
    Ok(rows::write(connection, statement, contexts.known().map(|(id, context)| Line { id, context })).await?)
}

/// Whether what the staff was told of a listing that waits for them counts no more: they have looked, or need not, or
/// are told anew, since it is submitted anew.
fn ends_waiting(event: &listing::Event) -> bool {
    match event {
        listing::Event::ListingSubmitted { .. }
        | listing::Event::ListingApproved { .. }
        | listing::Event::ListingRejected { .. }
        | listing::Event::ListingReturned {}
        | listing::Event::ListingArchived { .. }
        | listing::Event::ListingRemoved { .. } => true,
        listing::Event::ListingDrafted { .. }
        | listing::Event::ListingRevised { .. }
        | listing::Event::ListingPublished {}
        | listing::Event::ListingPaused {}
        | listing::Event::ListingResumed {}
        | listing::Event::ListingFeatured { .. }
        | listing::Event::ListingUnfeatured { .. }
        | listing::Event::DiscountSet { .. }
        | listing::Event::DiscountOpened { .. }
        | listing::Event::DiscountClosed {}
        | listing::Event::ImageAttached { .. }
        | listing::Event::ImageDetached { .. } => false,
    }
}

/// A notice as whoever it is for reads it; nothing if nobody can read it any more.
fn opened(notice: Notice, people: &PersonKeys) -> Option<Notice> {
    match notice {
        Notice::Announcement { broadcast, words: Words::Sealed { title, body } } => {
            let words = Words::Open { title: people.open(&title)?, body: people.open(&body)? };
            Some(Notice::Announcement { broadcast, words })
        }
        notice => Some(notice),
    }
}

/// A notification as one account sees it.
#[derive(Clone, Debug, FromRow, PartialEq)]
pub struct Shown {
    /// Names it.
    pub id: Uuid,
    /// What it is about.
    pub kind: Text<Kind>,
    /// What it says.
    pub notice: Json<Notice>,
    /// When.
    pub at: Timestamp,
    /// Since when the account has read it.
    pub read_at: Option<Timestamp>,
    /// Where in the log it came from.
    pub position: Position,
}

/// What is new of a recipient, for those who look right now.
#[derive(Clone, Debug, FromRow, PartialEq)]
pub struct New {
    /// Whom it is for: an account, if it is for one; otherwise several, by a name of theirs (see [`holders`]).
    pub recipient: Uuid,
    /// Whether it is for several.
    pub shared: bool,
    /// What they see of it; of what is for several, before anybody has read it.
    #[sqlx(flatten)]
    pub shown: Shown,
}

impl New {
    /// Whether it is for every account that there is.
    pub fn is_for_everybody(&self) -> bool {
        self.recipient == audience(EVERYBODY)
    }
}

/// What an account wants to hear of.
#[derive(Clone, Debug, Default, FromRow, PartialEq)]
pub struct Preferences {
    /// Where that is not as usual, by kind.
    pub preferences: Json<BTreeMap<Kind, Channels>>,
    /// How many events its inbox has.
    pub version: i64,
    /// Where the last of them is.
    pub position: Position,
}

impl Preferences {
    /// Where it is told of a kind.
    pub fn channels(&self, kind: Kind) -> Channels {
        kind.told(self.preferences.get(&kind).copied().unwrap_or_else(|| kind.usual()))
    }
}

/// What somebody was told, newest first, from before the position `before` on, at most `limit`.
pub async fn page(
    executor: impl PgExecutor<'_>,
    account: AccountId,
    unread: bool,
    before: Option<Position>,
    limit: u32,
) -> Result<Page<Shown, Position>, sqlx::Error> {
    let items = sqlx::query_as(
        "with lists as (
            select $1::uuid as recipient, 0::bigint as since
            union all select recipient, since from notifications.holdings where account_id = $1
         )
         select told.id, told.kind, told.notice, told.at, told.read_at, told.position
         from lists
         left join notifications.people on people.account_id = $1
         cross join lateral (
            select n.id, n.kind, n.notice, n.at, n.position,
                coalesce(n.read_at, marks.read_at,
                    case when n.audience is not null and n.position <= people.all_read then people.all_read_at end)
                as read_at
            from notifications.notifications as n
            left join notifications.marks on marks.account_id = $1 and marks.notification_id = n.id
            where n.recipient = lists.recipient and n.position > lists.since and n.position < $2 and n.in_app
            and not ($4 and (n.read_at is not null or marks.read_at is not null
                or n.audience is not null and n.position <= coalesce(people.all_read, 0)))
            order by n.position desc limit $3
         ) as told
         order by told.position desc limit $3",
    )
    .bind(account.0)
    .bind(before.unwrap_or(Position::MAX))
    .bind(Page::<Shown, Position>::rows_to_fetch(limit))
    .bind(unread)
    .fetch_all(executor)
    .await?;
    Ok(Page::of(items, limit, |shown: &Shown| shown.position))
}

/// How much of what somebody was told they have not read.
pub async fn unread(executor: impl PgExecutor<'_>, account: AccountId) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(
        "select
            (select count(*) from notifications.notifications
             where recipient = $1 and in_app and read_at is null and audience is null)
            +
            (select count(*) from notifications.holdings
             left join notifications.people using (account_id)
             join notifications.notifications as n on n.recipient = holdings.recipient
                and n.position > greatest(holdings.since, people.all_read)
             where holdings.account_id = $1 and n.in_app and not exists (
                select from notifications.marks where marks.account_id = $1 and marks.notification_id = n.id))",
    )
    .bind(account.0)
    .fetch_one(executor)
    .await
}

/// Whether somebody was told anything that they have not read, wherever it is shown. Yes, too, where nobody can tell:
/// nothing is known of the account yet, or nothing any more.
pub async fn has_unread(executor: impl PgExecutor<'_>, account: AccountId) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(
        "select not exists (
            select from notifications.people
            where account_id = $1 and not erased
            and not exists (
                select from notifications.notifications as n
                where n.recipient = $1 and n.position > people.all_read and n.audience is null and n.read_at is null)
            and not exists (
                select from notifications.holdings
                join notifications.notifications as n on n.recipient = holdings.recipient
                    and n.position > greatest(holdings.since, people.all_read)
                where holdings.account_id = $1 and not exists (
                    select from notifications.marks where marks.account_id = $1 and marks.notification_id = n.id)))",
    )
    .bind(account.0)
    .fetch_one(executor)
    .await
}

/// Which of these accounts belong to the several that a row is for, by their name.
pub async fn holders(
    executor: impl PgExecutor<'_>,
    recipient: Uuid,
    accounts: &[AccountId],
) -> Result<Vec<AccountId>, sqlx::Error> {
    let accounts: Vec<Uuid> = accounts.iter().map(|account| account.0).collect();
    let holders: Vec<Uuid> = sqlx::query_scalar(
        "select account_id from notifications.holdings where recipient = $1 and account_id = any($2)",
    )
    .bind(recipient)
    .bind(accounts)
    .fetch_all(executor)
    .await?;
    Ok(holders.into_iter().map(AccountId).collect())
}

/// Whether somebody was told this, and may see it still.
pub async fn is_told(
    executor: impl PgExecutor<'_>,
    account: AccountId,
    notification: NotificationId,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(
        "select exists (
            select from notifications.notifications as n
            where n.id = $2 and n.in_app and (n.recipient = $1 and n.audience is null or exists (
                select from notifications.holdings
                where holdings.account_id = $1 and holdings.recipient = n.recipient and holdings.since < n.position)))",
    )
    .bind(account.0)
    .bind(notification.0)
    .fetch_one(executor)
    .await
}

/// What somebody wants to hear of.
pub async fn preferences(executor: impl PgExecutor<'_>, account: AccountId) -> Result<Preferences, sqlx::Error> {
    let found = sqlx::query_as("select preferences, version, position from notifications.people where account_id = $1")
        .bind(account.0)
        .fetch_optional(executor)
        .await?;
    Ok(found.unwrap_or_default())
}

/// What is to be told at once, of whomever, after a position of the log: `limit`, and whatever else is at the last of
/// their positions.
pub async fn since(executor: impl PgExecutor<'_>, position: Position, limit: u32) -> Result<Vec<New>, sqlx::Error> {
    sqlx::query_as(
        "select recipient, audience is not null as shared, id, kind, notice, at, read_at, position
         from notifications.notifications where position > $1 and live
         order by position fetch first ($2) rows with ties",
    )
    .bind(position)
    .bind(i64::from(limit))
    .fetch_all(executor)
    .await
}

/// What is to be told at once to one account after a position of the log, at most `limit`.
pub async fn after(
    executor: impl PgExecutor<'_>,
    account: AccountId,
    position: Position,
    limit: u32,
) -> Result<Vec<Shown>, sqlx::Error> {
    sqlx::query_as(
        "with lists as (
            select $1::uuid as recipient, 0::bigint as since
            union all select recipient, since from notifications.holdings where account_id = $1
         )
         select n.id, n.kind, n.notice, n.at, n.read_at, n.position
         from lists
         left join notifications.people on people.account_id = $1
         join notifications.notifications as n on n.recipient = lists.recipient and n.position > greatest(lists.since, $2)
         where n.live
         and (n.audience is null or coalesce((people.preferences -> n.kind ->> 'live')::boolean, true))
         order by n.position limit $3",
    )
    .bind(account.0)
    .bind(position)
    .bind(i64::from(limit))
    .fetch_all(executor)
    .await
}

/// Where the newest is that somebody was told; 0 if they were told nothing.
pub async fn newest(executor: impl PgExecutor<'_>, account: AccountId) -> Result<Position, sqlx::Error> {
    sqlx::query_scalar(
        "select coalesce(max(newest.position), 0) from (
            select $1::uuid as recipient union all select recipient from notifications.holdings where account_id = $1
         ) as lists
         cross join lateral (
            select position from notifications.notifications where recipient = lists.recipient
            order by position desc limit 1
         ) as newest",
    )
    .bind(account.0)
    .fetch_one(executor)
    .await
}
