//! Who has written what to whom, and what of it is not read yet?
//!
//! Every event of a chat is also one row of `activity`, which a live feed sends on as it is. What somebody has written is
//! gone once they are forgotten; that they have written stays.

use std::collections::{BTreeMap, BTreeSet};

use domain::account::{self, Account};
use domain::chat::{self, Event, Subject};
use domain::{AccountId, Aggregate, ChatId, ListingId, MessageId, OrderId, Timestamp};
use eventstore::Position;
use eventstore::event::DomainEvent;
use eventstore::follower::{Batch, FollowError, Recorded};
use eventstore::sealing::PersonKeys;
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use sqlx::{FromRow, PgConnection, PgExecutor};
use uuid::Uuid;

use crate::page::Page;
use crate::{ReadModel, rows};

/// The read model.
pub const MODEL: ReadModel = ReadModel {
    name: "chats",
    next: "chats_next",
    version: 1,
    about: &[Account::TYPE, chat::Chat::TYPE],
    ddl: include_str!("chats.sql"),
    apply: |connection, batch| Box::pin(apply(connection, batch)),
};

/// A chat.
#[derive(Clone, Copy, Debug, FromRow, PartialEq, Serialize)]
pub struct Chat {
    /// The chat.
    pub id: Uuid,
    /// Who buys, or might.
    pub buyer_id: Uuid,
    /// Who sells.
    pub seller_id: Uuid,
    /// What kind of thing it is about.
    pub about: About,
    /// Which of these it is about.
    pub subject_id: Uuid,
    /// Who of the parties has opened it.
    pub opened_by: Uuid,
    /// Since when there is a chat.
    pub opened_at: Timestamp,
    /// How many messages were written.
    pub messages: i64,
    /// The place of the last message in the chat; `None` before there is any.
    pub last_message: Option<i64>,
    /// How many events its stream has.
    pub version: i64,
    /// Where the last of them is.
    pub position: Position,
}

/// What kind of thing a chat is about.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum About {
    /// A listing.
    Listing,
    /// An order.
    Order,
}

/// What a chat is to one of its parties.
#[derive(Clone, Copy, Debug, FromRow, PartialEq, Serialize)]
struct Member {
    chat_id: Uuid,
    account_id: Uuid,
    other_id: Uuid,
    read_upto: i64,
    unread: i64,
    active_at: Timestamp,
    listed: bool,
}

/// What has happened in a chat.
#[derive(Clone, Debug, Deserialize, FromRow, PartialEq, Serialize)]
pub struct Activity {
    /// The chat.
    pub chat_id: Uuid,
    /// Its place in the chat, from 1 without gaps.
    pub sequence: i64,
    /// Its place in the log.
    pub position: Position,
    /// When.
    pub at: Timestamp,
    /// What.
    pub kind: Kind,
    /// Whose doing it is.
    pub account_id: Uuid,
    /// Which message was written, if one was.
    pub message_id: Option<Uuid>,
    /// What it says; `None` once its author is forgotten.
    pub body: Option<String>,
    /// Up to which place was read, if it was.
    pub upto: Option<i64>,
}

/// What may happen in a chat.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Kind {
    /// It came into being.
    Opened,
    /// Somebody has written.
    Message,
    /// Somebody has read.
    Read,
}

/// The chats that a batch is about, and what it adds to them.
#[derive(Debug, Default)]
struct Chats {
    known: BTreeMap<Uuid, Chat>,
    members: BTreeMap<(Uuid, Uuid), Member>,
    activity: Vec<Activity>,
    /// Who has read what of which chat: how much they have not is to be counted anew.
    readers: BTreeSet<(Uuid, Uuid)>,
    /// Whose messages say nothing any more.
    forgotten: BTreeSet<Uuid>,
}

async fn apply(connection: &mut PgConnection, batch: &Batch) -> Result<(), FollowError> {
    let mut chats = Chats::load(connection, &batch.events).await?;
    for recorded in &batch.events {
        chats.take(recorded, &batch.people);
    }
    chats.store(connection).await
}

impl Chats {
    /// Takes one event in.
    fn take(&mut self, recorded: &Recorded, people: &PersonKeys) {
        match &recorded.event {
            DomainEvent::Account(AccountId(id), account::Event::AccountErased {}) => self.forget(*id),
            DomainEvent::Chat(ChatId(id), event) => self.take_chat(*id, event, recorded, people),
            // Nothing else concerns it: see `about`.
            _ => {}
        }
    }

    fn take_chat(&mut self, id: Uuid, event: &Event, recorded: &Recorded, people: &PersonKeys) {
        let (sequence, position, at) = (recorded.sequence, recorded.position, recorded.recorded_at);
        if let Event::ChatOpened { terms, by } = event {
            self.open(Chat::opened(id, terms, *by, at));
        }
        let Some(chat) = self.known.get_mut(&id) else { return };
        (chat.version, chat.position) = (sequence, position);
        let of = |kind, AccountId(account_id)| Activity {
            chat_id: id,
            sequence,
            position,
            at,
            kind,
            account_id,
            message_id: None,
            body: None,
            upto: None,
        };
        let activity = match event {
            Event::ChatOpened { terms: _, by } => of(Kind::Opened, *by),
            Event::MessageSent { message, author, recipient, text, sent_at: _ } => {
                chat.messages += 1;
                chat.last_message = Some(sequence);
                for member in [author, recipient] {
                    if let Some(member) = self.members.get_mut(&(id, member.0)) {
                        (member.active_at, member.listed) = (at, true);
                        member.unread += i64::from(member.account_id == recipient.0);
                    }
                }
                Activity { message_id: Some(message.0), body: people.open(text), ..of(Kind::Message, *author) }
            }
            Event::ChatRead { reader, upto } => {
                let upto = upto.cast_signed();
                if let Some(member) = self.members.get_mut(&(id, reader.0)) {
                    member.read_upto = upto;
                    self.readers.insert((id, reader.0));
                }
                Activity { upto: Some(upto), ..of(Kind::Read, *reader) }
            }
        };
        self.activity.push(activity);
    }

    fn open(&mut self, chat: Chat) {
        for (account_id, other_id) in [(chat.buyer_id, chat.seller_id), (chat.seller_id, chat.buyer_id)] {
            let (chat_id, active_at, listed) = (chat.id, chat.opened_at, account_id == chat.opened_by);
            let member = Member { chat_id, account_id, other_id, read_upto: 0, unread: 0, active_at, listed };
            self.members.insert((chat_id, account_id), member);
        }
        self.known.insert(chat.id, chat);
    }

    fn forget(&mut self, author: Uuid) {
        self.forgotten.insert(author);
        let theirs = self.activity.iter_mut().filter(|activity| activity.account_id == author);
        theirs.for_each(|activity| activity.body = None);
    }

    async fn load(connection: &mut PgConnection, events: &[Recorded]) -> Result<Self, FollowError> {
        let ids = rows::touched(events, |event| match event {
            DomainEvent::Chat(id, _) => Some(id.0),
            _ => None,
        });
        if ids.is_empty() {
            return Ok(Self::default());
        }
        let chats: Vec<Chat> =
            sqlx::query_as("select * from chats where id = any($1)").bind(&ids).fetch_all(&mut *connection).await?;
        let members: Vec<Member> =
            sqlx::query_as("select * from members where chat_id = any($1)").bind(ids).fetch_all(connection).await?;
        Ok(Self {
            known: chats.into_iter().map(|chat| (chat.id, chat)).collect(),
            members: members.into_iter().map(|member| ((member.chat_id, member.account_id), member)).collect(),
            ..Self::default()
        })
    }

    async fn store(self, connection: &mut PgConnection) -> Result<(), FollowError> {
        let statement = "
            insert into chats select * from json_populate_recordset(null::chats, $1::json)
            on conflict on constraint chats_id do update set
                (messages, last_message, version, position)
                = row (excluded.messages, excluded.last_message, excluded.version, excluded.position)";
        rows::write(connection, statement, self.known.into_values()).await?;
        let statement = "
            insert into members select * from json_populate_recordset(null::members, $1::json)
            on conflict on constraint members_account do update set
                (read_upto, unread, active_at, listed)
                = row (excluded.read_upto, excluded.unread, excluded.active_at, excluded.listed)";
        rows::write(connection, statement, self.members.into_values()).await?;
        let statement = "insert into activity select * from json_populate_recordset(null::activity, $1::json)";
        rows::write(connection, statement, self.activity).await?;
        if !self.readers.is_empty() {
            let (chats, readers): (Vec<Uuid>, Vec<Uuid>) = self.readers.into_iter().unzip();
            sqlx::query(
                "update members set unread = (
                    select count(*) from activity where activity.account_id = other_id
                        and activity.chat_id = members.chat_id and sequence > read_upto and kind = 'message'
                 )
                 from unnest($1::uuid[], $2::uuid[]) as readers (chat_id, account_id)
                 where members.chat_id = readers.chat_id and members.account_id = readers.account_id",
            )
            .bind(chats)
            .bind(readers)
            .execute(&mut *connection)
            .await?;
        }
        if !self.forgotten.is_empty() {
            let forgotten: Vec<Uuid> = self.forgotten.into_iter().collect();
            sqlx::query("update activity set body = null where account_id = any($1) and body is not null")
                .bind(forgotten)
                .execute(connection)
                .await?;
        }
        Ok(())
    }
}

impl Chat {
    fn opened(id: Uuid, terms: &chat::Terms, by: AccountId, at: Timestamp) -> Self {
        let (about, subject_id) = match terms.about {
            Subject::Listing(ListingId(id)) => (About::Listing, id),
            Subject::Order(OrderId(id)) => (About::Order, id),
        };
        Self {
            id,
            buyer_id: terms.buyer.0,
            seller_id: terms.seller.0,
            about,
            subject_id,
            opened_by: by.0,
            opened_at: at,
            messages: 0,
            last_message: None,
            version: 0,
            position: 0,
        }
    }
}

/// A chat as one of its parties sees it.
#[derive(Clone, Debug, FromRow, PartialEq)]
pub struct Seen {
    /// The chat.
    #[sqlx(flatten)]
    pub chat: Chat,
    /// Whom they talk to.
    pub other_id: Uuid,
    /// Up to which place they have read.
    pub read_upto: i64,
    /// Up to which place the other has read.
    pub other_read_upto: i64,
    /// How many messages they have not read.
    pub unread: i64,
    /// When something was written last, or the chat was opened.
    pub active_at: Timestamp,
    /// The last message.
    pub last: Option<Json<Activity>>,
}

/// What [`Seen`] is read by, before its conditions.
macro_rules! seen {
    ($rest:literal) => {
        concat!(
            "select chats.*, own.other_id, own.read_upto, theirs.read_upto as other_read_upto, own.unread, own.active_at,
                case when last.sequence is null then null else to_json(last) end as last
             from chats.members as own
             join chats.chats on chats.id = own.chat_id
             join chats.members as theirs on theirs.chat_id = own.chat_id and theirs.account_id = own.other_id
             left join chats.activity as last on last.chat_id = own.chat_id and last.sequence = chats.last_message
             ",
            $rest
        )
    };
}

/// One chat, if `viewer` is one of its parties.
pub async fn get(executor: impl PgExecutor<'_>, chat: ChatId, viewer: AccountId) -> Result<Option<Seen>, sqlx::Error> {
    sqlx::query_as(seen!("where own.chat_id = $1 and own.account_id = $2"))
        .bind(chat.0)
        .bind(viewer.0)
        .fetch_optional(executor)
        .await
}

/// Where a page of chats ends: the sort key of its last row.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Cursor {
    /// When something was written in it last.
    pub active_at: Timestamp,
    /// The chat.
    pub id: Uuid,
}

/// The chats of an account after a cursor, the last active first, at most `limit`; or those alone of which it has not read
/// everything.
pub async fn page(
    executor: impl PgExecutor<'_>,
    viewer: AccountId,
    unread_only: bool,
    after: Option<Cursor>,
    limit: u32,
) -> Result<Page<Seen, Cursor>, sqlx::Error> {
    let statement = if unread_only {
        seen!(
            "where own.account_id = $1 and own.unread > 0
                and (own.active_at, own.chat_id) < (coalesce($2, 'infinity'::timestamptz),
                    coalesce($3, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid))
             order by own.active_at desc, own.chat_id desc limit $4"
        )
    } else {
        seen!(
            "where own.account_id = $1 and own.listed
                and (own.active_at, own.chat_id) < (coalesce($2, 'infinity'::timestamptz),
                    coalesce($3, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid))
             order by own.active_at desc, own.chat_id desc limit $4"
        )
    };
    let chats = sqlx::query_as(statement)
        .bind(viewer.0)
        .bind(after.map(|after| after.active_at))
        .bind(after.map(|after| after.id))
        .bind(Page::<Seen, Cursor>::rows_to_fetch(limit))
        .fetch_all(executor)
        .await?;
    Ok(Page::of(chats, limit, |seen: &Seen| Cursor { active_at: seen.active_at, id: seen.chat.id }))
}

/// How many messages an account has not read, in all its chats.
pub async fn unread(executor: impl PgExecutor<'_>, viewer: AccountId) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(
        "select coalesce(sum(unread), 0)::bigint from chats.members where account_id = $1 and unread > 0",
    )
    .bind(viewer.0)
    .fetch_one(executor)
    .await
}

/// The messages of a chat, newest first, from before the one at place `before` on, at most `limit`.
pub async fn messages_page(
    executor: impl PgExecutor<'_>,
    chat: ChatId,
    before: Option<i64>,
    limit: u32,
) -> Result<Page<Activity, i64>, sqlx::Error> {
    let messages = sqlx::query_as(
        "select * from chats.activity where chat_id = $1 and kind = 'message' and sequence < $2
         order by sequence desc limit $3",
    )
    .bind(chat.0)
    .bind(before.unwrap_or(i64::MAX))
    .bind(Page::<Activity, i64>::rows_to_fetch(limit))
    .fetch_all(executor)
    .await?;
    Ok(Page::of(messages, limit, |message: &Activity| message.sequence))
}

/// The messages of a chat after a place, in order, at most `limit`.
pub async fn messages_after(
    executor: impl PgExecutor<'_>,
    chat: ChatId,
    after: i64,
    limit: u32,
) -> Result<Page<Activity, i64>, sqlx::Error> {
    let messages = sqlx::query_as(
        "select * from chats.activity where chat_id = $1 and kind = 'message' and sequence > $2
         order by sequence limit $3",
    )
    .bind(chat.0)
    .bind(after)
    .bind(Page::<Activity, i64>::rows_to_fetch(limit))
    .fetch_all(executor)
    .await?;
    Ok(Page::of(messages, limit, |message: &Activity| message.sequence))
}

/// One message.
pub async fn message(executor: impl PgExecutor<'_>, message: MessageId) -> Result<Option<Activity>, sqlx::Error> {
    sqlx::query_as("select * from chats.activity where message_id = $1").bind(message.0).fetch_optional(executor).await
}

/// What has happened in a chat after a place, in order, at most `limit`.
pub async fn activity_after(
    executor: impl PgExecutor<'_>,
    chat: ChatId,
    after: i64,
    limit: u32,
) -> Result<Vec<Activity>, sqlx::Error> {
    sqlx::query_as("select * from chats.activity where chat_id = $1 and sequence > $2 order by sequence limit $3")
        .bind(chat.0)
        .bind(after)
        .bind(i64::from(limit))
        .fetch_all(executor)
        .await
}

/// What has happened in all chats after a position of the log, in order, at most `limit`.
pub async fn activity_since(
    executor: impl PgExecutor<'_>,
    position: Position,
    limit: u32,
) -> Result<Vec<Activity>, sqlx::Error> {
    sqlx::query_as("select * from chats.activity where position > $1 order by position limit $2")
        .bind(position)
        .bind(i64::from(limit))
        .fetch_all(executor)
        .await
}

#[cfg(test)]
mod tests {
    use domain::Sealed;
    use domain::chat::{Command, Terms};

    use super::*;
    use crate::tests::history::recorded;

    const ANN: AccountId = AccountId(Uuid::from_u128(1));
    const BOB: AccountId = AccountId(Uuid::from_u128(2));
    const CHAT: Uuid = Uuid::from_u128(3);

    fn send(author: AccountId) -> Command {
        let text = Sealed::from_ciphertext(author, "unreadable".to_owned());
        Command::Send { message: MessageId(Uuid::from_u128(9)), author, text, now: Timestamp::default() }
    }

    /// A chat that Ann has opened, after these commands.
    fn shown(commands: impl IntoIterator<Item = Command>) -> Chats {
        let terms = Terms { buyer: ANN, seller: BOB, about: Subject::Order(OrderId(Uuid::from_u128(8))) };
        let (mut chat, mut chats, mut place) = (chat::Chat::default(), Chats::default(), 0);
        for command in std::iter::once(Command::Open { terms, by: ANN }).chain(commands) {
            for event in chat.decide(command).unwrap() {
                chat.evolve(&event);
                place += 1;
                chats.take(&recorded(place, DomainEvent::Chat(ChatId(CHAT), event)), &PersonKeys::default());
            }
        }
        chats
    }

    fn of(chats: &Chats, account: AccountId) -> Member {
        chats.members[&(CHAT, account.0)]
    }

    #[test]
    fn a_chat_is_listed_for_whoever_has_opened_it_and_for_the_other_once_something_is_written() {
        let listed = |chats: &Chats| (of(chats, ANN).listed, of(chats, BOB).listed);
        assert_eq!(listed(&shown([])), (true, false));
        assert_eq!(listed(&shown([send(ANN)])), (true, true));
    }

    #[test]
    fn what_the_other_has_written_is_unread_until_it_is_read() {
        let chats = shown([send(ANN), send(ANN), send(BOB)]);
        assert_eq!((of(&chats, ANN).unread, of(&chats, BOB).unread), (1, 2));
        assert_eq!((chats.known[&CHAT].messages, chats.known[&CHAT].last_message), (3, Some(4)));
        let chats = shown([send(ANN), send(BOB), Command::Read { reader: BOB, upto: 99 }]);
        assert_eq!((of(&chats, BOB).read_upto, of(&chats, ANN).read_upto), (2, 0));
        assert_eq!(chats.readers, BTreeSet::from([(CHAT, BOB.0)]));
        let kinds: Vec<Kind> = chats.activity.iter().map(|activity| activity.kind).collect();
        assert_eq!(kinds, [Kind::Opened, Kind::Message, Kind::Message, Kind::Read]);
        assert_eq!(chats.activity[3].upto, Some(2));
    }

    #[test]
    fn what_somebody_has_written_is_gone_with_them() {
        let mut chats = shown([send(ANN), send(BOB)]);
        for activity in &mut chats.activity {
            activity.body = Some("said".to_owned());
        }
        chats.take(&recorded(4, DomainEvent::Account(ANN, account::Event::AccountErased {})), &PersonKeys::default());
        let said: Vec<bool> = chats.activity[1..].iter().map(|activity| activity.body.is_some()).collect();
        assert_eq!((said, chats.forgotten), (vec![false, true], BTreeSet::from([ANN.0])));
    }
}
