//! What one was told, and wants to be told; and what the staff says to many.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use commands::broadcasts::{self, Speech};
use commands::inboxes;
use commands::mail::words::{self, Said};
use domain::account::Capability;
use domain::inbox::Inbox;
use domain::notice::{Addressee, Channels, Kind, Words};
use domain::{AccountId, BroadcastId, Money, NotificationId};
use eventstore::sealing::PersonKey;
use eventstore::{log, mint};
use garde::Validate;
use projections::notifications as told;
use projections::past::Question;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::app::App;
use crate::http::as_of::{AsOf, Look, TakesAsOf};
use crate::http::extract::{Caller, Command, Creation, Id, NoQuery, Nothing, READ_PATIENCE, Read};
use crate::http::fields::is_title;
use crate::http::live::notifications as live;
use crate::http::openapi::{Conditional, Keyed, MoneyBody, Waits};
use crate::http::pages::{Cursor, Page, page_limit};
use crate::http::problem::Problem;
use crate::http::reply::{Done, One};

const TAG: &str = "Notifications";

/// The routes of this file.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(read))
        .routes(routes!(read_all))
        .routes(routes!(preferences, prefer))
        .routes(routes!(send))
        .routes(routes!(live::notifications))
}

/// What a notification is about.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum NotificationKind {
    /// They have joined.
    Welcome,
    /// They are to show that they read a mailbox.
    Verify,
    /// Somebody wants to set a new password.
    Reset,
    /// How they log in has changed, or where their money may go.
    Security,
    /// There is a bid for what they sell.
    BidPlaced,
    /// They do not lead any more.
    Outbid,
    /// They have won.
    Won,
    /// Somebody else has won, or nobody.
    Lost,
    /// Nobody has bought what they sell.
    Unsold,
    /// They may have what the winner did not pay.
    SecondChance,
    /// An order came into being.
    OrderPlaced,
    /// It is paid.
    OrderPaid,
    /// It is on its way.
    OrderShipped,
    /// It has arrived, or should have.
    OrderDelivered,
    /// It was called off.
    OrderCancelled,
    /// Money has gone to the seller.
    EscrowReleased,
    /// Money has gone back to the buyer.
    EscrowRefunded,
    /// The staff is to decide about an order.
    Dispute,
    /// Money has left the marketplace.
    Payout,
    /// Somebody has written to them.
    Message,
    /// What they subscribe to.
    Subscription,
    /// They may not trade any more, or again.
    AccountBlocked,
    /// They are asked how it was.
    FeedbackRequest,
    /// What the staff thinks of a listing of theirs.
    ListingReviewed,
    /// To the staff: a listing waits to be looked at.
    ListingReview,
    /// The staff has something to say.
    Announcement,
}

/// Says the same of both.
macro_rules! kinds {
    ($($kind:ident),+ $(,)?) => {
        impl From<NotificationKind> for Kind {
            fn from(kind: NotificationKind) -> Self {
                match kind { $(NotificationKind::$kind => Self::$kind),+ }
            }
        }

        impl From<Kind> for NotificationKind {
            fn from(kind: Kind) -> Self {
                match kind { $(Kind::$kind => Self::$kind),+ }
            }
        }
    };
}

kinds!(
    Welcome,
    Verify,
    Reset,
    Security,
    BidPlaced,
    Outbid,
    Won,
    Lost,
    Unsold,
    SecondChance,
    OrderPlaced,
    OrderPaid,
    OrderShipped,
    OrderDelivered,
    OrderCancelled,
    EscrowReleased,
    EscrowRefunded,
    Dispute,
    Payout,
    Message,
    Subscription,
    AccountBlocked,
    FeedbackRequest,
    ListingReviewed,
    ListingReview,
    Announcement,
);

/// What somebody was told.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Notification)]
pub struct NotificationBody {
    id: Uuid,
    kind: NotificationKind,
    /// In a few words.
    #[schema(example = "You were outbid: Silver watch")]
    title: String,
    /// In more, in paragraphs.
    text: String,
    /// Where the frontend has something to do about it: a path of its own.
    #[schema(example = "/auctions/019375a6-0000-7000-8000-000000000000")]
    link: Option<String>,
    /// The auction that it is about.
    auction_id: Option<Uuid>,
    /// The listing that it is about.
    listing_id: Option<Uuid>,
    /// The order that it is about.
    order_id: Option<Uuid>,
    /// What is to be paid together with that order.
    order_group_id: Option<Uuid>,
    /// The chat that it is about.
    chat_id: Option<Uuid>,
    /// The amount that it tells.
    #[schema(value_type = Option<MoneyBody>)]
    amount: Option<Money>,
    created_at: DateTime<Utc>,
    /// Since when it is read; nothing while it is not.
    read_at: Option<DateTime<Utc>>,
    /// In which order it was told; `after` of the socket.
    sequence: i64,
}

/// A notification as its reader sees it.
pub(crate) fn body(row: &told::Shown) -> Result<NotificationBody, Problem> {
    let Said { title, paragraphs, link } = words::say(&row.notice.0).map_err(|error| {
        tracing::error!(%error, notification = %row.id, "a notification cannot be put into words");
        Problem::internal()
    })?;
    let facts = serde_json::to_value(&row.notice.0).unwrap_or_default();
    let id = |name: &str| facts[name].as_str().and_then(|id| id.parse().ok());
    let amount = [&facts["price"], &facts["amount"]].into_iter().find(|value| !value.is_null());
    Ok(NotificationBody {
        id: row.id,
        kind: row.kind.0.into(),
        title,
        text: paragraphs.join("\n\n"),
        link: link.map(|(_, path)| path),
        auction_id: id("auction"),
        listing_id: id("listing"),
        order_id: id("order"),
        order_group_id: id("group"),
        chat_id: id("chat"),
        amount: amount.and_then(|amount: &Value| serde_json::from_value(amount.clone()).ok()),
        created_at: row.at,
        read_at: row.read_at,
        sequence: row.position,
    })
}

/// Which notifications to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct NotificationsQuery {
    /// Only what is not read.
    unread: Option<bool>,
    /// How many, 20 unless told, 100 at most.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor<i64>>,
}

/// What somebody was told, newest first, and how much of all that is unread.
#[derive(Debug, Serialize, ToSchema)]
pub struct NotificationsBody {
    items: Vec<NotificationBody>,
    /// Give it as `cursor` to get the next page; none on the last.
    next_cursor: Option<String>,
    /// How much is not read, on whichever page.
    #[schema(example = 3)]
    unread: i64,
}

/// What one was told, newest first. What was read is kept for 90 days.
#[utoipa::path(get, path = "/notifications", tag = TAG, security(("bearer" = [])), params(NotificationsQuery, Waits),
    responses((status = OK, body = NotificationsBody, description = "A page")))]
async fn list(
    State(app): State<App>,
    caller: Caller,
    read: Read<NotificationsQuery>,
) -> Result<Json<NotificationsBody>, Problem> {
    read.wait_for(&app, told::MODEL.name).await?;
    let NotificationsQuery { unread, limit, cursor } = read.query;
    let (account, before) = (caller.account, cursor.map(|cursor| cursor.0));
    let page = told::page(&app.pool, account, unread.unwrap_or(false), before, page_limit(limit)?).await?;
    let unread = told::unread(&app.pool, account).await?;
    let Page { items, next_cursor } = Page::of(page, |row| body(&row))?;
    Ok(Json(NotificationsBody { items, next_cursor, unread }))
}

/// What a command has done to the inbox.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, ToSchema)]
pub struct InboxChanged {
    /// How often its owner has said something.
    version: u64,
}

fn changed(world: &mut commands::World<'_>, account: AccountId) -> Result<InboxChanged, commands::Halt> {
    Ok(InboxChanged { version: world.version::<Inbox>(account)? })
}

/// Notes that something is read. Once more changes nothing.
#[utoipa::path(put, path = "/notifications/{id}/read", tag = TAG, security(("bearer" = [])),
    params(("id" = Uuid, Path), Keyed), responses((status = OK, body = InboxChanged, description = "Read")))]
async fn read(
    State(app): State<App>,
    Id(id): Id<NotificationId>,
    Creation(command): Creation<Nothing>,
) -> Result<Done<InboxChanged>, Problem> {
    let account = command.caller.account;
    if !told::is_told(&app.pool, account, id).await? {
        return Err(Problem::not_found("notification"));
    }
    let read = move |world: &mut commands::World<'_>| {
        inboxes::read(world, account, id)?;
        changed(world, account)
    };
    Ok(Done::ok(app.engine.submit(command.request(), read).await?))
}

/// Notes that everything is read.
#[utoipa::path(put, path = "/notifications/read-all", tag = TAG, security(("bearer" = [])), params(Keyed),
    responses((status = OK, body = InboxChanged, description = "Read")))]
async fn read_all(State(app): State<App>, Creation(command): Creation<Nothing>) -> Result<Done<InboxChanged>, Problem> {
    let account = command.caller.account;
    // However often that is said, only what was unread is told by the log. A key is answered for all the same.
    let anything = has_unread(&app, account).await?;
    let read = move |world: &mut commands::World<'_>| {
        if anything {
            inboxes::read_all(world, account)?;
        }
        changed(world, account)
    };
    Ok(Done::ok(app.engine.submit(command.request(), read).await?))
}

/// Whether somebody has anything to read, as far as can be told, of what is in the log by now.
async fn has_unread(app: &App, account: AccountId) -> Result<bool, Problem> {
    if told::has_unread(&app.pool, account).await? {
        return Ok(true);
    }
    // What their own last command has led to may not be in the table yet.
    let head = log::head(&app.pool).await?;
    if app.progress.wait_for(told::MODEL.name, head, READ_PATIENCE).await.is_err() {
        return Ok(true);
    }
    Ok(told::has_unread(&app.pool, account).await?)
}

/// Where one is told of a kind of things.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
#[garde(allow_unvalidated)]
#[schema(as = Preference)]
pub struct PreferenceBody {
    kind: NotificationKind,
    /// In the list.
    in_app: bool,
    /// Over the socket.
    live: bool,
    /// By mail.
    email: bool,
}

impl PreferenceBody {
    fn of(kind: Kind, Channels { in_app, live, email }: Channels) -> Self {
        Self { kind: kind.into(), in_app, live, email }
    }
}

/// Where one is told of what.
#[derive(Debug, Serialize, ToSchema)]
pub struct PreferencesBody {
    /// Of every kind.
    items: Vec<PreferenceBody>,
    /// Where one is told in any case: these cannot be turned off.
    fixed: Vec<PreferenceBody>,
    /// That of the inbox, for `If-Match`.
    version: u64,
}

/// Where one is told of what.
#[utoipa::path(get, path = "/notifications/preferences", tag = TAG, security(("bearer" = [])), params(TakesAsOf, Waits),
    responses((status = OK, body = PreferencesBody, description = "Of every kind")))]
async fn preferences(
    State(app): State<App>,
    caller: Caller,
    read: AsOf<NoQuery>,
) -> Result<One<PreferencesBody>, Problem> {
    read.wait_for(&app, told::MODEL.name).await?;
    let wanted = |mut look: Look| async move { Ok(told::preferences(&mut look.view, caller.account).await?) };
    let wanted = read.answer(&app, Question::Preferences(caller.account), wanted).await?;
    let items = Kind::ALL.into_iter().map(|kind| PreferenceBody::of(kind, wanted.channels(kind))).collect();
    let fixed = Kind::ALL.into_iter().filter(|kind| kind.fixed().any());
    let fixed = fixed.map(|kind| PreferenceBody::of(kind, kind.fixed())).collect();
    let version = wanted.version.unsigned_abs();
    Ok(One { body: PreferencesBody { items, fixed, version }, version, position: wanted.position })
}

/// How one wants to be told from now on. What is not named stays.
#[derive(Clone, Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct NewPreferences {
    /// The last of a kind counts.
    #[garde(length(max = 26))]
    #[schema(max_items = 26)]
    items: Vec<PreferenceBody>,
}

/// Chooses where one is told of what. Mails that keep the account safe cannot be turned off.
#[utoipa::path(put, path = "/notifications/preferences", tag = TAG, security(("bearer" = [])),
    request_body = NewPreferences, params(Conditional),
    responses((status = OK, body = InboxChanged, description = "Chosen")))]
async fn prefer(State(app): State<App>, command: Command<NewPreferences>) -> Result<Done<InboxChanged>, Problem> {
    let (account, expected) = (command.caller.account, command.expected_version);
    let items = command.body.items.iter();
    let wanted: BTreeMap<Kind, Channels> = items
        .map(|&PreferenceBody { kind, in_app, live, email }| (kind.into(), Channels { in_app, live, email }))
        .collect();
    let prefer = move |world: &mut commands::World<'_>| {
        world.expect_version::<Inbox>(account, expected)?;
        inboxes::prefer(world, account, wanted.clone())?;
        changed(world, account)
    };
    Ok(Done::ok(app.engine.submit(command.request(), prefer).await?))
}

/// For whom an announcement is.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Audience {
    /// Everybody.
    All,
    /// Whoever buys.
    Buy,
    /// Whoever sells.
    Sell,
    /// The staff.
    Staff,
    /// Administrators.
    Admin,
    /// Auditors.
    Audit,
}

impl From<Audience> for Addressee {
    fn from(audience: Audience) -> Self {
        match audience {
            Audience::All => Self::Everybody,
            Audience::Buy => Self::Holders(Capability::Buy),
            Audience::Sell => Self::Holders(Capability::Sell),
            Audience::Staff => Self::Holders(Capability::Staff),
            Audience::Admin => Self::Holders(Capability::Admin),
            Audience::Audit => Self::Holders(Capability::Audit),
        }
    }
}

/// What the staff says.
#[derive(Clone, Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct NewAnnouncement {
    /// For whom: this, or `account_id`.
    audience: Option<Audience>,
    /// For this one alone, who alone can read it then.
    account_id: Option<Uuid>,
    #[garde(custom(is_title))]
    #[schema(
        example = "We are away tonight",
        min_length = 1,
        max_length = 200,
        pattern = "^[^\\u0000]*[^\\s\\u0000\\u0085][^\\u0000]*$"
    )]
    title: String,
    /// Paragraphs have an empty line between them.
    #[garde(length(chars, min = 1, max = 5000))]
    #[schema(example = "From two to three in the morning (UTC).", min_length = 1, max_length = 5_000)]
    body: String,
    /// Why it is said, which is kept.
    #[garde(length(chars, min = 1, max = 1000))]
    #[schema(example = "Maintenance of the database.", min_length = 1, max_length = 1_000)]
    reason: String,
}

/// What was said.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, ToSchema)]
pub struct Announced {
    id: Uuid,
}

async fn key_of(app: &App, account: AccountId) -> Result<PersonKey, Problem> {
    let key = PersonKey::load(&app.pool, &app.wrapping, account).await?;
    key.ok_or_else(|| Problem::not_found("account"))
}

/// Says something to everybody, to all who may do something, or to one account: in their lists, over their sockets, and
/// by mail to whoever wants that. What is for several is shown for 90 days.
#[utoipa::path(post, path = "/admin/notifications", tag = TAG, security(("bearer" = ["staff"])),
    request_body = NewAnnouncement, params(Keyed),
    responses((status = CREATED, body = Announced, description = "Said"),
        (status = NOT_FOUND, description = "There is no such account")))]
async fn send(
    State(app): State<App>,
    Creation(command): Creation<NewAnnouncement>,
) -> Result<Done<Announced>, Problem> {
    let (by, request) = (command.caller.account, command.request());
    let NewAnnouncement { audience, account_id, title, body, reason } = command.body;
    let (to, words) = match (audience, account_id) {
        (Some(audience), None) => (audience.into(), Words::Open { title, body }),
        (None, Some(id)) => {
            let key = key_of(&app, AccountId(id)).await?;
            (Addressee::Account(key.account), Words::Sealed { title: key.seal(&title), body: key.seal(&body) })
        }
        (Some(_), Some(_)) | (None, None) => {
            return Err(Problem::invalid_field("/audience", "either-or", "name either an audience or an account"));
        }
    };
    let (broadcast, reason) = (BroadcastId(mint::id()), key_of(&app, by).await?.seal(&reason));
    let speech = Speech { broadcast, to, words, reason };
    let send = move |world: &mut commands::World<'_>| {
        broadcasts::send(world, by, speech.clone())?;
        Ok(Announced { id: broadcast.0 })
    };
    let accepted = app.engine.submit(request, send).await?;
    Ok(Done::created(accepted, "/api/v1/notifications".to_owned()))
}
