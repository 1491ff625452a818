//! Auctions: what is for sale by bidding, and bidding.

use std::collections::BTreeMap;

use axum::extract::State;
use chrono::{DateTime, Utc};
use commands::auctions::{self, Offeree};
use commands::listings::{self, NewListing};
use commands::orders::WinIds;
use domain::account::Capability;
use domain::auction::Auction;
use domain::category::Attributes;
use domain::listing::{Details, Sale};
use domain::{AccountId, AuctionId, ListingId, Money, OrderGroupId, OrderId, Timestamp};
use eventstore::{log, mint};
use garde::Validate;
use projections::auction_board::{self, Seen};
use projections::past::{Question, View};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::listings::{AuctionPlanBody, ConditionBody, DeliveryBody, are_attributes, attributes_schema};
use crate::app::App;
use crate::http::access;
use crate::http::as_of::{AsOf, Look, TakesAsOf};
use crate::http::extract::{Caller, Command, Creation, Id, MaybeCaller, NoQuery, Nothing, READ_PATIENCE, Read};
use crate::http::fields::{is_alias, is_near, is_slug, is_title};
use crate::http::fresh::{Fresh, Tag};
use crate::http::money::stored_money;
use crate::http::openapi::{Conditional, Keyed, MoneyBody, Revalidates, Waits, words};
use crate::http::pages::{Cursor, Page, page_limit};
use crate::http::problem::Problem;
use crate::http::reply::{Done, One};

const TAG: &str = "Auctions";

/// The routes of this file.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(show))
        .routes(routes!(bids, place_bid))
        .routes(routes!(buy_now))
        .routes(routes!(cancel))
        .routes(routes!(offer_second_chance))
        .routes(routes!(accept_second_chance))
        .routes(routes!(crate::http::live::auctions::auction))
}

/// Something to be sold by auction, offered at once.
#[derive(Clone, Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct NewAuctionBody {
    #[garde(custom(is_title))]
    #[schema(
        example = "Cartier Tank wristwatch",
        min_length = 1,
        max_length = 200,
        pattern = "^[^\\u0000]*[^\\s\\u0000\\u0085][^\\u0000]*$"
    )]
    title: String,
    #[garde(length(chars, max = 10_000))]
    #[serde(default)]
    #[schema(max_length = 10_000)]
    description: String,
    /// The slug of a category.
    #[garde(custom(is_slug))]
    #[schema(example = "watches", pattern = "^[a-z0-9-]{1,64}$")]
    category: String,
    #[garde(length(chars, max = 100))]
    #[schema(example = "Cartier", max_length = 100)]
    brand: Option<String>,
    condition: ConditionBody,
    #[serde(default)]
    delivery: DeliveryBody,
    /// What sending it costs the winner; nothing unless told.
    #[schema(value_type = Option<MoneyBody>)]
    shipping: Option<Money>,
    /// The lowest first bid.
    #[schema(value_type = MoneyBody)]
    start_price: Money,
    /// Below this secret price it is not sold.
    #[schema(value_type = Option<MoneyBody>)]
    reserve_price: Option<Money>,
    /// Ends the auction at once; gone with the first bid, or once the reserve is met.
    #[schema(value_type = Option<MoneyBody>)]
    buy_now_price: Option<Money>,
    /// When it starts; now unless told.
    #[garde(inner(custom(is_near)))]
    #[schema(pattern = "^(19[7-9][0-9]|2[0-9]{3})-")]
    starts_at: Option<DateTime<Utc>>,
    /// How long it lasts, in seconds: a minute to sixty days.
    #[schema(example = 604_800, minimum = 60, maximum = 5_184_000)]
    duration_s: u32,
    #[garde(custom(are_attributes))]
    #[serde(default)]
    #[schema(schema_with = attributes_schema)]
    attributes: Attributes,
}

/// What a command has done to an auction.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, ToSchema)]
pub struct AuctionChanged {
    id: uuid::Uuid,
    /// How many events the auction has.
    version: u64,
}

fn changed(world: &mut commands::World<'_>, auction: AuctionId) -> Result<AuctionChanged, commands::Halt> {
    Ok(AuctionChanged { id: auction.0, version: world.version::<Auction>(auction)? })
}

/// Offers something by auction: makes the listing and publishes it in one step. Where the staff looks at listings first,
/// the auction is there once it has been let through.
#[utoipa::path(post, path = "/auctions", tag = TAG, security(("bearer" = [])), request_body = NewAuctionBody,
    params(Keyed),
    responses((status = CREATED, body = AuctionChanged, description = "Scheduled, or open if it starts now")))]
async fn create(
    State(app): State<App>,
    Creation(command): Creation<NewAuctionBody>,
) -> Result<Done<AuctionChanged>, Problem> {
    let (request, seller, rules) = (command.request(), command.caller.account, app.listing_rules());
    let NewAuctionBody { title, description, category, brand, condition, delivery, shipping, attributes, .. } =
        command.body.clone();
    let (brand, condition, delivery) = (brand.filter(|brand| !brand.is_empty()), condition.into(), delivery.into());
    let details = Details { title, description, category, brand, condition, delivery, shipping, attributes };
    let NewAuctionBody { start_price, reserve_price, buy_now_price, starts_at, duration_s, .. } = command.body;
    let plan = AuctionPlanBody { start_price, reserve_price, buy_now_price, starts_at, duration_s };
    let (listing, sale) = (ListingId(mint::id()), Sale::Auction(plan.into()));
    let new = NewListing { listing, seller, details, sale, stock: BTreeMap::new(), discount: None };
    let create = move |world: &mut commands::World<'_>| {
        listings::draft(world, &new)?;
        listings::publish(world, new.listing, seller, &rules)?;
        changed(world, new.listing.into())
    };
    let accepted = app.engine.submit(request, create).await?;
    let AuctionChanged { id, version } = accepted.value;
    Ok(Done::created(accepted, format!("/api/v1/auctions/{id}")).at_version(version))
}

/// Which auctions to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct AuctionsQuery {
    /// `open` unless told, `scheduled`, `closed` or `cancelled`.
    #[param(inline, value_type = Option<StatusName>)]
    status: Option<auction_board::Status>,
    seller: Option<uuid::Uuid>,
    /// `ending_soon` unless told, or `newest`.
    #[param(inline, value_type = Option<SortName>)]
    sort: Option<auction_board::Sort>,
    /// How many, 20 unless told, 100 at most.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor<auction_board::Cursor>>,
}

words!(StatusName: "scheduled", "open", "closed", "cancelled");

words!(SortName: "ending_soon", "newest");

/// An auction as everybody sees it. Who bids is told by a pseudonym.
#[derive(Debug, Serialize, ToSchema)]
pub struct AuctionBody {
    pub(crate) id: uuid::Uuid,
    seller_id: uuid::Uuid,
    /// `scheduled`, `open`, `closed` or `cancelled`.
    #[schema(value_type = String, example = "open")]
    status: auction_board::Status,
    #[schema(value_type = MoneyBody)]
    start_price: Money,
    /// The visible price as it stands.
    #[schema(value_type = MoneyBody)]
    price: Money,
    /// The lowest maximum that would be accepted from somebody who does not lead.
    #[schema(value_type = MoneyBody)]
    minimum_bid: Money,
    /// Take it at once at this price; gone once it is not available any more.
    #[schema(value_type = Option<MoneyBody>)]
    buy_now_price: Option<Money>,
    /// Whether there is a secret reserve.
    has_reserve: bool,
    /// Whether it would be sold at the price as it stands.
    reserve_met: bool,
    /// Who leads.
    #[schema(example = "Bidder 2")]
    leader: Option<String>,
    bids: i32,
    /// How many accounts have bid.
    bidders: i32,
    starts_at: DateTime<Utc>,
    ends_at: DateTime<Utc>,
    /// How it ended: `won`, `bought_now` or `unsold`.
    #[schema(value_type = Option<String>, example = "won")]
    result: Option<auction_board::Ending>,
    /// What the winner pays.
    #[schema(value_type = Option<MoneyBody>)]
    closing_price: Option<Money>,
    /// Who has won.
    winner: Option<String>,
    /// Whether whoever had it did not pay, and nobody else has taken it.
    forfeited: bool,
    /// The second chance that was offered last, for the seller and for whom it is offered to.
    second_chance: Option<SecondChanceBody>,
    /// The caller's own pseudonym, once it has bid.
    you: Option<String>,
    /// How many events the auction has.
    version: u64,
}

/// What an underbidder was offered because the winner did not pay.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SecondChance)]
pub struct SecondChanceBody {
    /// To whom.
    #[schema(example = "Bidder 2")]
    bidder: Option<String>,
    /// Their highest bid.
    #[schema(value_type = MoneyBody)]
    price: Money,
    /// If they take it before then.
    until: DateTime<Utc>,
    /// `open`, `accepted`, or `lapsed` if it was not taken in time or not paid.
    #[schema(example = "open")]
    status: &'static str,
    /// What is to be paid, once it is accepted.
    order_id: Option<uuid::Uuid>,
}

/// Who looks at an auction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Viewer {
    /// Which account.
    pub(crate) account: AccountId,
    /// Its pseudonym in this auction.
    pub(crate) alias: Option<i32>,
}

fn second_chance_body(
    row: &auction_board::Auction,
    viewer: Option<Viewer>,
    now: Timestamp,
) -> Result<Option<SecondChanceBody>, Problem> {
    let concerns = |it: Viewer| it.account.0 == row.seller_id || Some(it.account.0) == row.second_chance_id;
    let (Some(price), Some(until), true) =
        (row.second_chance_price, row.second_chance_until, viewer.is_some_and(concerns))
    else {
        return Ok(None);
    };
    let status = match row.second_chance_order {
        Some(_) if !row.forfeited => "accepted",
        None if now < until => "open",
        Some(_) | None => "lapsed",
    };
    Ok(Some(SecondChanceBody {
        bidder: row.second_chance_alias.map(alias),
        price: stored_money(price, row.currency.0)?,
        until,
        status,
        order_id: row.second_chance_order,
    }))
}

/// The public name of a bidder.
pub(crate) fn alias(number: impl std::fmt::Display) -> String {
    format!("Bidder {number}")
}

/// An auction as `viewer` may see it at this time.
pub(crate) fn auction_body(
    row: &auction_board::Auction,
    viewer: Option<Viewer>,
    now: Timestamp,
) -> Result<AuctionBody, Problem> {
    let money = |minor| stored_money(minor, row.currency.0);
    Ok(AuctionBody {
        start_price: money(row.start_price)?,
        price: money(row.price)?,
        minimum_bid: money(row.minimum_bid)?,
        buy_now_price: row.buy_now_price.map(money).transpose()?,
        closing_price: row.closing_price.map(money).transpose()?,
        id: row.id,
        seller_id: row.seller_id,
        status: row.status,
        has_reserve: row.has_reserve,
        reserve_met: row.reserve_met,
        leader: row.leader_alias.map(alias),
        bids: row.bids,
        bidders: row.bidders,
        starts_at: row.starts_at,
        ends_at: row.ends_at,
        result: row.result,
        winner: row.winner_alias.map(alias),
        forfeited: row.forfeited,
        second_chance: second_chance_body(row, viewer, now)?,
        you: viewer.and_then(|viewer| viewer.alias).map(alias),
        version: row.version.unsigned_abs(),
    })
}

/// An auction, and who `caller` is in it. While the store of its seller is closed it is there for the seller, for whoever
/// has bid in it or bought it, and for staff.
pub(crate) async fn visible(
    app: &App,
    id: AuctionId,
    caller: Option<Caller>,
) -> Result<(auction_board::Auction, Option<Viewer>), Problem> {
    visible_in(app, &mut View::now(&app.pool), id, caller).await
}

async fn visible_in(
    app: &App,
    view: &mut View,
    id: AuctionId,
    caller: Option<Caller>,
) -> Result<(auction_board::Auction, Option<Viewer>), Problem> {
    let account = caller.map(|caller| caller.account);
    let absent = || Problem::not_found("auction");
    let Seen { auction, alias, hidden } = auction_board::seen_by(view, id, account).await?.ok_or_else(absent)?;
    let of_sale = |AccountId(it)| it == auction.seller_id || Some(it) == auction.winner_id;
    if hidden && alias.is_none() && !account.is_some_and(of_sale) {
        match caller {
            Some(caller) if access::may(app, caller, Capability::Staff).await? => {}
            Some(_) | None => return Err(absent()),
        }
    }
    Ok((auction, account.map(|account| Viewer { account, alias })))
}

/// What is for sale by bidding.
#[utoipa::path(get, path = "/auctions", tag = TAG, params(AuctionsQuery, Waits, Revalidates),
    responses((status = OK, body = Page<AuctionBody>, description = "A page"),
        (status = NOT_MODIFIED, description = "As the client has it")))]
async fn list(State(app): State<App>, read: Read<AuctionsQuery>) -> Result<Fresh<Page<AuctionBody>>, Problem> {
    read.wait_for(&app, auction_board::MODEL.name).await?;
    let tag = Tag::of(&app, &auction_board::MODEL, None);
    if read.known.has(&tag) {
        return Ok(Fresh::Unchanged(tag));
    }
    let query = read.query;
    let limit = page_limit(query.limit)?;
    let status = query.status.unwrap_or(auction_board::Status::Open);
    let filter = auction_board::Filter { status: Some(status), seller: query.seller.map(AccountId) };
    let sort = query.sort.unwrap_or_default();
    let page = auction_board::page(&app.pool, filter, sort, query.cursor.map(|cursor| cursor.0), limit).await?;
    let now = app.clock.now();
    Page::of(page, |row| auction_body(&row, None, now)).map(|page| Fresh::Changed(tag, page))
}

/// An auction.
#[utoipa::path(get, path = "/auctions/{id}", tag = TAG, security((), ("bearer" = [])),
    params(("id" = uuid::Uuid, Path), TakesAsOf, Waits),
    responses((status = OK, body = AuctionBody, description = "The auction")))]
async fn show(
    State(app): State<App>,
    Id(id): Id<AuctionId>,
    MaybeCaller(caller): MaybeCaller,
    read: AsOf<NoQuery>,
) -> Result<One<AuctionBody>, Problem> {
    read.admit(caller)?;
    read.wait_for(&app, auction_board::MODEL.name).await?;
    let app = &app;
    let shown = |mut look: Look| async move {
        let (row, viewer) = visible_in(app, &mut look.view, id, caller).await?;
        let (version, position) = (row.version.unsigned_abs(), row.position);
        Ok(One { body: auction_body(&row, viewer, look.now)?, version, position })
    };
    read.answer(app, Question::Auction(id), shown).await
}

/// Which bids to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct BidsQuery {
    /// How many, 20 unless told, 100 at most.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor<i64>>,
}

/// An accepted bid as everybody sees it. Nobody's maximum is told.
#[derive(Debug, Serialize, ToSchema)]
pub struct BidBody {
    /// Its place among the auction's events.
    sequence: i64,
    #[schema(example = "Bidder 1")]
    bidder: String,
    /// The visible price after it.
    #[schema(value_type = MoneyBody)]
    price: Money,
    /// Who led after it.
    #[schema(example = "Bidder 2")]
    leader: String,
    placed_at: DateTime<Utc>,
}

/// The accepted bids, newest first.
#[utoipa::path(get, path = "/auctions/{id}/bids", tag = TAG, security((), ("bearer" = [])),
    params(("id" = uuid::Uuid, Path), BidsQuery, Waits, Revalidates),
    responses((status = OK, body = Page<BidBody>, description = "A page"),
        (status = NOT_MODIFIED, description = "As the client has it")))]
async fn bids(
    State(app): State<App>,
    Id(id): Id<AuctionId>,
    MaybeCaller(caller): MaybeCaller,
    read: Read<BidsQuery>,
) -> Result<Fresh<Page<BidBody>>, Problem> {
    read.wait_for(&app, auction_board::MODEL.name).await?;
    let tag = Tag::of(&app, &auction_board::MODEL, caller);
    if read.known.has(&tag) {
        return Ok(Fresh::Unchanged(tag));
    }
    let (auction, _) = visible(&app, id, caller).await?;
    let limit = page_limit(read.query.limit)?;
    let page = auction_board::bids_page(&app.pool, id, read.query.cursor.map(|cursor| cursor.0), limit).await?;
    let body = |row: auction_board::Bid| {
        Ok(BidBody {
            sequence: row.sequence,
            bidder: alias(row.alias),
            price: stored_money(row.price, auction.currency.0)?,
            leader: alias(row.leading_alias),
            placed_at: row.placed_at,
        })
    };
    Page::of(page, body).map(|page| Fresh::Changed(tag, page))
}

/// A bid.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct Bid {
    /// The most that you would pay. The price moves only as far as it takes to beat others.
    #[schema(value_type = MoneyBody)]
    pub(crate) maximum: Money,
}

/// What stands after an accepted bid.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct BidPlaced {
    auction_id: uuid::Uuid,
    /// `leading`, or `outbid` if somebody's earlier maximum is as high or higher.
    #[schema(example = "leading")]
    standing: String,
    /// The visible price now.
    #[schema(value_type = MoneyBody)]
    price: Money,
    /// The lowest maximum that would be accepted from somebody who does not lead.
    #[schema(value_type = MoneyBody)]
    minimum_bid: Money,
    reserve_met: bool,
    ends_at: DateTime<Utc>,
    bids: u32,
    /// How many events the auction has.
    version: u64,
}

/// Place a bid. Repeating the same `Idempotency-Key` is safe.
#[utoipa::path(post, path = "/auctions/{id}/bids", tag = TAG, security(("bearer" = [])),
    params(("id" = uuid::Uuid, Path), Conditional), request_body = Bid,
    responses((status = CREATED, body = BidPlaced, description = "Accepted")))]
async fn place_bid(
    State(app): State<App>,
    Id(id): Id<AuctionId>,
    command: Command<Bid>,
) -> Result<Done<BidPlaced>, Problem> {
    let (bidder, maximum, expected) = (command.caller.account, command.body.maximum, command.expected_version);
    let accepted = bid(&app, id, bidder, maximum, expected, command.request()).await?;
    let version = accepted.value.version;
    Ok(Done::created(accepted, format!("/api/v1/auctions/{id}/bids")).at_version(version))
}

/// Places a bid, however it has arrived.
pub(crate) async fn bid(
    app: &App,
    auction: AuctionId,
    bidder: AccountId,
    maximum: Money,
    expected_version: Option<u64>,
    request: commands::Request,
) -> Result<commands::Accepted<BidPlaced>, commands::CommandError> {
    let place = move |world: &mut commands::World<'_>| {
        world.expect_version::<Auction>(auction, expected_version)?;
        let live = auctions::place_bid(world, auction, bidder, maximum)?;
        let version = world.version::<Auction>(auction)?;
        let leads = live.standing.is_some_and(|standing| standing.leader == bidder);
        Ok(BidPlaced {
            auction_id: auction.0,
            standing: if leads { "leading" } else { "outbid" }.to_owned(),
            price: live.standing.map_or(live.terms.start_price, |standing| standing.price),
            minimum_bid: live.minimum_bid(),
            reserve_met: live.reserve_met(),
            ends_at: live.ends_at,
            bids: live.bids,
            version,
        })
    };
    app.engine.submit(request, place).await
}

/// What buying at once has led to.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, ToSchema)]
pub struct BoughtNow {
    auction_id: uuid::Uuid,
    #[schema(value_type = MoneyBody)]
    price: Money,
    /// What is to be paid within 24 hours.
    order_id: uuid::Uuid,
    /// How many events the auction has.
    version: u64,
}

/// Takes an auction at its buy-now price, which ends it. The order is to be paid within 24 hours.
#[utoipa::path(post, path = "/auctions/{id}/buy-now", tag = TAG, security(("bearer" = [])),
    params(("id" = uuid::Uuid, Path), Conditional), responses((status = OK, body = BoughtNow, description = "Bought")))]
async fn buy_now(
    State(app): State<App>,
    Id(id): Id<AuctionId>,
    command: Command<Nothing>,
) -> Result<Done<BoughtNow>, Problem> {
    let (buyer, expected, rules) = (command.caller.account, command.expected_version, app.sale_rules());
    let ids = WinIds { group: OrderGroupId(mint::id()), order: OrderId(mint::id()) };
    let buy = move |world: &mut commands::World<'_>| {
        world.expect_version::<Auction>(id, expected)?;
        let price = auctions::buy_now(world, id, buyer, ids, rules)?;
        let version = world.version::<Auction>(id)?;
        Ok(BoughtNow { auction_id: id.0, price, order_id: ids.order.0, version })
    };
    Ok(Done::ok(app.engine.submit(command.request(), buy).await?))
}

/// Why an auction is called off.
#[derive(Clone, Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct Cancellation {
    #[garde(length(chars, min = 1, max = 1000))]
    #[schema(example = "The item was damaged.", min_length = 1, max_length = 1000)]
    reason: String,
}

/// Calls an auction off: its seller before the first bid, staff at any time.
#[utoipa::path(post, path = "/auctions/{id}/cancel", tag = TAG, security(("bearer" = [])),
    params(("id" = uuid::Uuid, Path), Conditional), request_body = Cancellation,
    responses((status = OK, body = AuctionChanged, description = "Cancelled")))]
async fn cancel(
    State(app): State<App>,
    Id(id): Id<AuctionId>,
    command: Command<Cancellation>,
) -> Result<Done<AuctionChanged>, Problem> {
    let (request, expected) = (command.request(), command.expected_version);
    let (by, reason) = (command.caller.account, command.body.reason);
    let cancel = move |world: &mut commands::World<'_>| {
        world.expect_version::<Auction>(id, expected)?;
        auctions::cancel(world, id, by, &reason)?;
        changed(world, id)
    };
    Ok(Done::ok(app.engine.submit(request, cancel).await?))
}

/// To whom a second chance is offered.
#[derive(Clone, Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct SecondChanceOffer {
    /// A pseudonym of this auction; whoever has bid the most of those who may have it unless told.
    #[garde(inner(custom(is_alias)))]
    #[schema(example = "Bidder 2", pattern = "^Bidder [1-9][0-9]{0,8}$")]
    bidder: Option<String>,
}

/// What an underbidder is offered.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct SecondChanceOffered {
    auction_id: uuid::Uuid,
    /// Their highest bid.
    #[schema(value_type = MoneyBody)]
    price: Money,
    /// If they take it before then.
    until: DateTime<Utc>,
    /// How many events the auction has.
    version: u64,
}

/// Offers what was won and not paid to an underbidder, at their highest bid. One offer at a time, one to each, and none
/// below the reserve.
#[utoipa::path(post, path = "/auctions/{id}/second-chance", tag = TAG, security(("bearer" = [])),
    params(("id" = uuid::Uuid, Path), Conditional), request_body = SecondChanceOffer,
    responses((status = CREATED, body = SecondChanceOffered, description = "Offered")))]
async fn offer_second_chance(
    State(app): State<App>,
    Id(id): Id<AuctionId>,
    command: Command<SecondChanceOffer>,
) -> Result<Done<SecondChanceOffered>, Problem> {
    let (by, expected, window) = (command.caller.account, command.expected_version, app.second_chance_window());
    let to = match &command.body.bidder {
        None => Offeree::Highest,
        Some(alias) => {
            // Whoever has bid until now has a pseudonym.
            let head = log::head(&app.pool).await?;
            app.progress.wait_for(auction_board::MODEL.name, head, READ_PATIENCE).await?;
            let number = alias.rsplit(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0);
            let account = auction_board::account_of(&app.pool, id, number).await?;
            account.map_or(Offeree::Unknown, Offeree::Named)
        }
    };
    let offer = move |world: &mut commands::World<'_>| {
        world.expect_version::<Auction>(id, expected)?;
        let auctions::SecondChance { price, until, .. } = auctions::offer_second_chance(world, id, by, to, window)?;
        Ok(SecondChanceOffered { auction_id: id.0, price, until, version: world.version::<Auction>(id)? })
    };
    let accepted = app.engine.submit(command.request(), offer).await?;
    let version = accepted.value.version;
    Ok(Done::created(accepted, format!("/api/v1/auctions/{id}")).at_version(version))
}

/// What taking a second chance has led to.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, ToSchema)]
pub struct SecondChanceAccepted {
    auction_id: uuid::Uuid,
    #[schema(value_type = MoneyBody)]
    price: Money,
    /// What is to be paid within 24 hours.
    order_id: uuid::Uuid,
    /// How many events the auction has.
    version: u64,
}

/// Takes a second chance, as whom it is offered to. The order is to be paid within 24 hours; not to pay it is no
/// violation.
#[utoipa::path(post, path = "/auctions/{id}/second-chance/accept", tag = TAG, security(("bearer" = [])),
    params(("id" = uuid::Uuid, Path), Conditional),
    responses((status = CREATED, body = SecondChanceAccepted, description = "Taken")))]
async fn accept_second_chance(
    State(app): State<App>,
    Id(id): Id<AuctionId>,
    command: Command<Nothing>,
) -> Result<Done<SecondChanceAccepted>, Problem> {
    let (buyer, expected, rules) = (command.caller.account, command.expected_version, app.sale_rules());
    let ids = WinIds { group: OrderGroupId(mint::id()), order: OrderId(mint::id()) };
    let accept = move |world: &mut commands::World<'_>| {
        world.expect_version::<Auction>(id, expected)?;
        let price = auctions::accept_second_chance(world, id, buyer, ids, rules)?;
        let version = world.version::<Auction>(id)?;
        Ok(SecondChanceAccepted { auction_id: id.0, price, order_id: ids.order.0, version })
    };
    let accepted = app.engine.submit(command.request(), accept).await?;
    let order = accepted.value.order_id;
    Ok(Done::created(accepted, format!("/api/v1/orders/{order}")))
}
