//! Chats: what buyers and sellers write to each other. The same live, and writing over a socket, is in
//! [`crate::http::live`].

use std::collections::HashMap;

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use commands::chats::{self as talks, Message, Opened};
use commands::{Accepted, Request};
use domain::chat::Subject;
use domain::{AccountId, ChatId, ListingId, MessageId, OrderId};
use eventstore::mint;
use eventstore::sealing::PersonKey;
use garde::Validate;
use projections::chats::{About, Activity, Seen};
use projections::past::{Question, View};
use projections::{accounts, chats};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::app::App;
use crate::http::as_of::{AsOf, Look, TakesAsOf};
use crate::http::extract::{Caller, Creation, Id, NoQuery, Read};
use crate::http::fields::is_message;
use crate::http::fresh::{Fresh, Tag};
use crate::http::openapi::{Keyed, Revalidates, Waits};
use crate::http::pages::{Cursor, Page, page_limit};
use crate::http::problem::Problem;
use crate::http::reply::{Done, One};

const TAG: &str = "Chats";

/// The routes of this file.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list, open))
        .routes(routes!(show))
        .routes(routes!(messages, send_message))
        .routes(routes!(mark_read))
        .routes(routes!(crate::http::live::chats::chat))
}

/// What a chat is to be about.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct NewChatBody {
    about: AboutBody,
    /// The listing, as somebody who might buy it, or the order, as one of its parties.
    id: Uuid,
}

/// What kind of thing a chat is about.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ChatSubject)]
pub enum AboutBody {
    /// A listing.
    Listing,
    /// An order.
    Order,
}

/// A chat that was asked for.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, ToSchema)]
pub struct ChatOpened {
    id: Uuid,
    /// Whether it was not there before.
    new: bool,
}

/// Opens the chat about a listing or an order with its other party, or finds it: there is one for both of them and the
/// thing. Nobody opens more than fifty on a day.
#[utoipa::path(post, path = "/chats", tag = TAG, security(("bearer" = [])), request_body = NewChatBody, params(Keyed),
    responses((status = CREATED, body = ChatOpened, description = "Opened"),
        (status = OK, body = ChatOpened, description = "It was there"),
        (status = NOT_FOUND, description = "There is no such thing, or it is not the caller's to see")))]
async fn open(State(app): State<App>, Creation(command): Creation<NewChatBody>) -> Result<Done<ChatOpened>, Problem> {
    let NewChatBody { about, id } = command.body;
    let about = match about {
        AboutBody::Listing => Subject::Listing(ListingId(id)),
        AboutBody::Order => Subject::Order(OrderId(id)),
    };
    let by = command.caller.account;
    let open = move |world: &mut commands::World<'_>| {
        let Opened { chat, new } = talks::open(world, by, about)?;
        Ok(ChatOpened { id: chat.0, new })
    };
    let accepted = app.engine.submit(command.request(), open).await?;
    let ChatOpened { id, new } = accepted.value;
    Ok(if new { Done::created(accepted, format!("/api/v1/chats/{id}")) } else { Done::ok(accepted) })
}

/// Which chats to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ChatsQuery {
    /// Only those of which not all is read.
    unread: Option<bool>,
    /// How many, 20 unless told, 100 at most.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor<chats::Cursor>>,
}

/// One's chats.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChatsBody {
    /// The chats, the last active first.
    items: Vec<ChatBody>,
    /// Give it as `cursor` to get the next page; none on the last.
    next_cursor: Option<String>,
    /// How many messages are not read, in all one's chats.
    unread: i64,
}

/// A chat as one of its parties sees it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Chat)]
pub struct ChatBody {
    id: Uuid,
    /// `listing` or `order`.
    #[schema(value_type = AboutBody)]
    about: About,
    /// What it is about, if that is a listing.
    listing_id: Option<Uuid>,
    /// What it is about, if that is an order.
    order_id: Option<Uuid>,
    buyer_id: Uuid,
    seller_id: Uuid,
    /// The other party.
    with: PartyBody,
    /// How many messages there are.
    messages: i64,
    /// How many of the other's one has not read.
    unread: i64,
    /// Up to which `sequence` one has read.
    read_upto: i64,
    /// Up to which `sequence` the other has read.
    read_by_other: i64,
    /// The last message, once there is one.
    last_message: Option<MessageBody>,
    opened_at: DateTime<Utc>,
    /// When something was written last, or the chat was opened.
    active_at: DateTime<Utc>,
    /// How many events the chat has: the `sequence` of the last.
    version: u64,
}

/// Whom one talks to.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ChatParty)]
pub struct PartyBody {
    id: Uuid,
    /// The public name; nothing once they are forgotten.
    name: Option<String>,
}

/// A message.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ChatMessage)]
pub struct MessageBody {
    id: Uuid,
    /// Its place among what has happened in the chat.
    sequence: i64,
    author_id: Uuid,
    /// What it says; nothing once its author is forgotten.
    text: Option<String>,
    sent_at: DateTime<Utc>,
}

impl From<Activity> for MessageBody {
    fn from(activity: Activity) -> Self {
        Self {
            id: activity.message_id.unwrap_or_default(),
            sequence: activity.sequence,
            author_id: activity.account_id,
            text: activity.body,
            sent_at: activity.at,
        }
    }
}

/// A chat, with the name of the other party, if it has one.
fn body(seen: Seen, name: Option<String>) -> ChatBody {
    let Seen { chat, other_id, read_upto, other_read_upto, unread, active_at, last } = seen;
    let subject = |about| (chat.about == about).then_some(chat.subject_id);
    ChatBody {
        id: chat.id,
        about: chat.about,
        listing_id: subject(About::Listing),
        order_id: subject(About::Order),
        buyer_id: chat.buyer_id,
        seller_id: chat.seller_id,
        with: PartyBody { id: other_id, name },
        messages: chat.messages,
        unread,
        read_upto,
        read_by_other: other_read_upto,
        last_message: last.map(|last| last.0.into()),
        opened_at: chat.opened_at,
        active_at,
        version: chat.version.unsigned_abs(),
    }
}

/// A chat as one of its parties sees it, with its version and position.
pub(crate) async fn shown(app: &App, chat: ChatId, viewer: AccountId) -> Result<One<ChatBody>, Problem> {
    shown_in(app, &mut View::now(&app.pool), chat, viewer).await
}

async fn shown_in(app: &App, view: &mut View, chat: ChatId, viewer: AccountId) -> Result<One<ChatBody>, Problem> {
    let seen = chats::get(view, chat, viewer).await?.ok_or_else(|| Problem::not_found("chat"))?;
    let (version, position) = (seen.chat.version.unsigned_abs(), seen.chat.position);
    // Who the other is, one knows them by today.
    let mut names = accounts::names(&app.pool, &[seen.other_id]).await?;
    let name = names.remove(&seen.other_id);
    Ok(One { body: body(seen, name), version, position })
}

/// One's chats, the last active first. Of those that somebody else has opened, those in which something was written.
#[utoipa::path(get, path = "/chats", tag = TAG, security(("bearer" = [])), params(ChatsQuery, Waits, Revalidates),
    responses((status = OK, body = ChatsBody, description = "A page"),
        (status = NOT_MODIFIED, description = "As the client has it")))]
async fn list(State(app): State<App>, caller: Caller, read: Read<ChatsQuery>) -> Result<Fresh<ChatsBody>, Problem> {
    let models = [&chats::MODEL, &accounts::MODEL];
    for model in models {
        read.wait_for(&app, model.name).await?;
    }
    let tag = Tag::of_several(&app, &models, Some(caller));
    if read.known.has(&tag) {
        return Ok(Fresh::Unchanged(tag));
    }
    let ChatsQuery { unread, limit, cursor } = read.query;
    let (limit, cursor) = (page_limit(limit)?, cursor.map(|cursor| cursor.0));
    let page = chats::page(&app.pool, caller.account, unread == Some(true), cursor, limit).await?;
    let others: Vec<Uuid> = page.items.iter().map(|seen| seen.other_id).collect();
    let names: HashMap<Uuid, String> = accounts::names(&app.pool, &others).await?;
    let Page { items, next_cursor } = Page::of(page, |seen| {
        let name = names.get(&seen.other_id).cloned();
        Ok(body(seen, name))
    })?;
    let unread = chats::unread(&app.pool, caller.account).await?;
    Ok(Fresh::Changed(tag, ChatsBody { items, next_cursor, unread }))
}

/// A chat.
#[utoipa::path(get, path = "/chats/{id}", tag = TAG, security(("bearer" = [])),
    params(("id" = Uuid, Path), TakesAsOf, Waits),
    responses((status = OK, body = ChatBody, description = "The chat")))]
async fn show(
    State(app): State<App>,
    Id(id): Id<ChatId>,
    caller: Caller,
    read: AsOf<NoQuery>,
) -> Result<One<ChatBody>, Problem> {
    read.wait_for(&app, chats::MODEL.name).await?;
    let app = &app;
    let shown = |mut look: Look| async move { shown_in(app, &mut look.view, id, caller.account).await };
    read.answer(app, Question::Chat(id), shown).await
}

/// Which messages to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct MessagesQuery {
    /// Those after this `sequence`, the oldest first, instead of all, the newest first.
    after: Option<i64>,
    /// How many, 20 unless told, 100 at most.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor<i64>>,
}

/// The messages of a chat.
#[utoipa::path(get, path = "/chats/{id}/messages", tag = TAG, security(("bearer" = [])),
    params(("id" = Uuid, Path), MessagesQuery, Waits),
    responses((status = OK, body = Page<MessageBody>, description = "A page")))]
async fn messages(
    State(app): State<App>,
    Id(id): Id<ChatId>,
    caller: Caller,
    read: Read<MessagesQuery>,
) -> Result<Json<Page<MessageBody>>, Problem> {
    read.wait_for(&app, chats::MODEL.name).await?;
    let MessagesQuery { after, limit, cursor } = read.query;
    let (limit, cursor) = (page_limit(limit)?, cursor.map(|cursor| cursor.0));
    chats::get(&app.pool, id, caller.account).await?.ok_or_else(|| Problem::not_found("chat"))?;
    let page = match after {
        Some(after) => chats::messages_after(&app.pool, id, cursor.unwrap_or(after), limit).await?,
        None => chats::messages_page(&app.pool, id, cursor, limit).await?,
    };
    Page::of(page, |message| Ok(message.into())).map(Json)
}

/// A message that is to be written.
#[derive(Clone, Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct NewMessageBody {
    #[garde(custom(is_message))]
    #[schema(
        example = "Is the strap original?",
        min_length = 1,
        max_length = 4_000,
        pattern = "^[^\\u0000]*[^\\s\\u0000\\u0085][^\\u0000]*$"
    )]
    text: String,
}

/// A message that was written.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, ToSchema)]
#[schema(as = ChatMessageSent)]
pub struct MessageSent {
    id: Uuid,
    chat_id: Uuid,
    /// Its place among what has happened in the chat.
    sequence: u64,
}

/// Writes a message. Fifty in a day without an answer are enough.
#[utoipa::path(post, path = "/chats/{id}/messages", tag = TAG, security(("bearer" = [])),
    params(("id" = Uuid, Path), Keyed), request_body = NewMessageBody,
    responses((status = CREATED, body = MessageSent, description = "Written")))]
async fn send_message(
    State(app): State<App>,
    Id(id): Id<ChatId>,
    Creation(command): Creation<NewMessageBody>,
) -> Result<Done<MessageSent>, Problem> {
    let accepted = send(&app, id, command.caller.account, &command.body.text, command.request()).await?;
    Ok(Done::created(accepted, format!("/api/v1/chats/{id}/messages")))
}

/// Writes a message, however it has arrived.
pub(crate) async fn send(
    app: &App,
    chat: ChatId,
    author: AccountId,
    text: &str,
    request: Request,
) -> Result<Accepted<MessageSent>, Problem> {
    let unfit = |error: garde::Error| Problem::invalid_field("/text", "invalid", error.to_string());
    is_message(text, &()).map_err(unfit)?;
    let key = PersonKey::load(&app.pool, &app.wrapping, author).await?;
    let key = key.ok_or_else(|| Problem::not_found("account"))?;
    let message = Message { id: MessageId(mint::id()), author, text: key.seal(text) };
    let send = move |world: &mut commands::World<'_>| {
        let sequence = talks::send(world, chat, &message)?;
        Ok(MessageSent { id: message.id.0, chat_id: chat.0, sequence })
    };
    Ok(app.engine.submit(request, send).await?)
}

/// How far somebody has read.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
#[schema(as = ReadChat)]
pub struct ReadBody {
    /// Up to which `sequence`; everything unless told.
    #[garde(range(max = 2_147_483_647))]
    #[schema(minimum = 0, maximum = 2_147_483_647)]
    upto: Option<u32>,
}

/// How far somebody has read now.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, ToSchema)]
#[schema(as = ChatReadMark)]
pub struct ReadMark {
    chat_id: Uuid,
    /// Up to which `sequence`: the last message of the other that is read. Never less than before.
    read_upto: u64,
}

/// Notes how far one has read. The other party is told.
#[utoipa::path(post, path = "/chats/{id}/read", tag = TAG, security(("bearer" = [])),
    params(("id" = Uuid, Path), Keyed), request_body = ReadBody,
    responses((status = OK, body = ReadMark, description = "Noted")))]
async fn mark_read(
    State(app): State<App>,
    Id(id): Id<ChatId>,
    Creation(command): Creation<ReadBody>,
) -> Result<Done<ReadMark>, Problem> {
    Ok(Done::ok(mark(&app, id, command.caller.account, command.body.upto, command.request()).await?))
}

/// Notes how far somebody has read, however it has arrived.
pub(crate) async fn mark(
    app: &App,
    chat: ChatId,
    reader: AccountId,
    upto: Option<u32>,
    request: Request,
) -> Result<Accepted<ReadMark>, Problem> {
    let upto = upto.map_or(u64::MAX, u64::from);
    let mark = move |world: &mut commands::World<'_>| {
        let read_upto = talks::read(world, chat, reader, upto)?;
        Ok(ReadMark { chat_id: chat.0, read_upto })
    };
    Ok(app.engine.submit(request, mark).await?)
}
