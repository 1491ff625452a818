//! Reviews: what buyers say of what they have bought, what sellers answer, and who finds it helpful.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use commands::World;
use commands::reviews::{self, Opinion, Subject};
use domain::account::Capability;
use domain::rating::Rating;
use domain::review::{LONGEST_TEXT, LONGEST_TITLE, MOST_IMAGES, Review};
use domain::stock::Sku;
use domain::{AccountId, ImageId, ListingId, OrderId, ReviewId, Sealed};
use eventstore::sealing::PersonKey;
use garde::Validate;
use projections::catalogue::{self, Viewer};
use projections::past::Question;
use projections::reviews as read_model;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::uploads::ShownImage;
use crate::app::App;
use crate::http::access;
use crate::http::as_of::{AsOf, Look, TakesAsOf};
use crate::http::extract::{Caller, Command, Creation, Id, MaybeCaller, NoQuery, Nothing, Read};
use crate::http::openapi::{Conditional, Keyed, Waits, words};
use crate::http::pages::{Cursor, Page, page_limit};
use crate::http::problem::Problem;
use crate::http::ratings::RatingSummary;
use crate::http::reply::{Done, One};

pub(super) const TAG: &str = "Reputation";

/// The routes of this file.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list, write))
        .routes(routes!(show, revise, delete))
        .routes(routes!(reply))
        .routes(routes!(vote))
        .routes(routes!(of_listing))
}

/// Somebody, by their public name.
#[derive(Debug, Serialize, ToSchema)]
pub struct Speaker {
    id: Uuid,
    /// Nothing once the person is forgotten.
    name: Option<String>,
}

impl Speaker {
    pub(super) fn of(id: Uuid, name: Option<String>) -> Self {
        Self { id, name }
    }
}

/// What a buyer says of something that was bought.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReviewBody {
    id: Uuid,
    listing_id: Uuid,
    /// In which form it was bought.
    #[schema(example = "jumper-m")]
    sku: String,
    seller_id: Uuid,
    author: Speaker,
    /// `shown`, or `hidden` by staff, in which case its author and staff alone see it.
    #[schema(value_type = String, example = "shown")]
    status: read_model::Status,
    /// One to five stars.
    #[schema(minimum = 1, maximum = 5)]
    rating: i16,
    title: Option<String>,
    text: Option<String>,
    images: Vec<ShownImage>,
    /// How many find it helpful.
    #[schema(minimum = 0)]
    helpful: i64,
    /// What the seller answers.
    reply: Option<ReplyShown>,
    written_at: DateTime<Utc>,
    /// When it was changed last.
    revised_at: Option<DateTime<Utc>>,
    /// Why staff have hidden it.
    hidden_reason: Option<String>,
    /// For `If-Match`.
    version: u64,
}

/// What a seller answers.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReplyShown {
    seller: Speaker,
    /// Nothing once the seller is forgotten.
    text: Option<String>,
    replied_at: DateTime<Utc>,
}

fn body(shown: read_model::Shown) -> ReviewBody {
    let read_model::Shown { review, votes, author_name, seller_name } = shown;
    // Nobody shows what somebody has left behind who is forgotten: it is deleted.
    let files = if author_name.is_some() { review.images.0 } else { Vec::new() };
    let (seller_id, text) = (review.seller_id, review.reply);
    let reply = |replied_at| ReplyShown { seller: Speaker::of(seller_id, seller_name), text, replied_at };
    ReviewBody {
        id: review.id,
        listing_id: review.listing_id,
        sku: review.sku,
        seller_id,
        author: Speaker::of(review.author_id, author_name),
        status: review.status,
        rating: review.rating,
        title: review.title,
        text: review.text,
        images: files.iter().filter_map(|file| ShownImage::of(file)).collect(),
        helpful: votes,
        reply: review.replied_at.map(reply),
        written_at: review.written_at,
        revised_at: review.revised_at,
        hidden_reason: review.hidden_reason,
        version: review.version.unsigned_abs(),
    }
}

/// Which reviews to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ReviewsQuery {
    /// Of this listing.
    listing: Option<Uuid>,
    /// Of what this account sells.
    seller: Option<Uuid>,
    /// By this account.
    author: Option<Uuid>,
    /// With so many stars.
    #[param(minimum = 1, maximum = 5)]
    rating: Option<u8>,
    /// `newest` unless told, `helpful`, `highest` or `lowest`.
    #[param(inline, value_type = Option<ReviewSort>)]
    sort: Option<read_model::Sort>,
    /// How many, 20 unless told, 100 at most.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor<read_model::Cursor>>,
}

words!(ReviewSort: "newest", "helpful", "highest", "lowest");

/// A number of stars to filter by.
fn stars(rating: Option<u8>) -> Result<Option<u8>, Problem> {
    let rating = rating.map(Rating::try_from).transpose();
    let rating = rating.map_err(|error| Problem::invalid_field("?rating", "out-of-range", error.to_string()))?;
    Ok(rating.map(Rating::stars))
}

/// Reviews, of one's own also those that staff have hidden.
#[utoipa::path(get, path = "/reviews", tag = TAG, security((), ("bearer" = [])), params(ReviewsQuery, Waits),
    responses((status = OK, body = Page<ReviewBody>, description = "A page")))]
async fn list(
    State(app): State<App>,
    MaybeCaller(caller): MaybeCaller,
    read: Read<ReviewsQuery>,
) -> Result<Json<Page<ReviewBody>>, Problem> {
    read.wait_for(&app, read_model::MODEL.name).await?;
    let ReviewsQuery { listing, seller, author, rating, sort, limit, cursor } = read.query;
    let filter = read_model::Filter {
        viewer: caller.map(|caller| caller.account),
        listing: listing.map(ListingId),
        seller: seller.map(AccountId),
        author: author.map(AccountId),
        rating: stars(rating)?,
    };
    let (sort, cursor) = (sort.unwrap_or_default(), cursor.map(|cursor| cursor.0));
    let page = read_model::page(&app.pool, &filter, sort, cursor, page_limit(limit)?).await?;
    Page::of(page, |shown| Ok(body(shown))).map(Json)
}

/// Which reviews of a listing to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct OfListingQuery {
    /// With so many stars.
    #[param(minimum = 1, maximum = 5)]
    rating: Option<u8>,
    /// `newest` unless told, `helpful`, `highest` or `lowest`.
    #[param(inline, value_type = Option<ReviewSort>)]
    sort: Option<read_model::Sort>,
    /// How many, 20 unless told, 100 at most.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor<read_model::Cursor>>,
}

/// How a listing is rated, and a page of its reviews.
#[derive(Debug, Serialize, ToSchema)]
pub struct ListingReviews {
    /// What all that are shown come to, whatever is on this page.
    rating: RatingSummary,
    items: Vec<ReviewBody>,
    /// Give it as `cursor` to get the next page; none on the last.
    next_cursor: Option<String>,
}

/// How a listing is rated, and what is said of it.
#[utoipa::path(get, path = "/listings/{id}/reviews", tag = TAG, security((), ("bearer" = [])),
    params(("id" = Uuid, Path), OfListingQuery, Waits),
    responses((status = OK, body = ListingReviews, description = "The ratings and a page of reviews")))]
async fn of_listing(
    State(app): State<App>,
    Id(listing): Id<ListingId>,
    MaybeCaller(caller): MaybeCaller,
    read: Read<OfListingQuery>,
) -> Result<Json<ListingReviews>, Problem> {
    read.wait_for(&app, catalogue::MODEL.name).await?;
    read.wait_for(&app, read_model::MODEL.name).await?;
    let OfListingQuery { rating, sort, limit, cursor } = read.query;
    let (sort, cursor, limit) = (sort.unwrap_or_default(), cursor.map(|cursor| cursor.0), page_limit(limit)?);
    let (viewer, rating) = (caller.map(|caller| caller.account), stars(rating)?);
    let seen = catalogue::get(&app.pool, listing, Viewer::from(viewer)).await?;
    seen.ok_or_else(|| Problem::not_found("listing"))?;
    let filter = read_model::Filter { viewer, listing: Some(listing), rating, ..read_model::Filter::default() };
    let rating = read_model::of_listing(&app.pool, listing).await?.into();
    let page = read_model::page(&app.pool, &filter, sort, cursor, limit).await?;
    let Page { items, next_cursor } = Page::of(page, |shown| Ok(body(shown)))?;
    Ok(Json(ListingReviews { rating, items, next_cursor }))
}

/// One review.
#[utoipa::path(get, path = "/reviews/{id}", tag = TAG, security((), ("bearer" = [])),
    params(("id" = Uuid, Path), TakesAsOf, Waits),
    responses((status = OK, body = ReviewBody, description = "The review")))]
async fn show(
    State(app): State<App>,
    Id(review): Id<ReviewId>,
    MaybeCaller(caller): MaybeCaller,
    read: AsOf<NoQuery>,
) -> Result<One<ReviewBody>, Problem> {
    read.admit(caller)?;
    read.wait_for(&app, read_model::MODEL.name).await?;
    let app = &app;
    let missing = || Problem::not_found("review");
    let (asked, read) = (Question::Review(review), &read);
    let shown = |mut look: Look| async move {
        let shown = read_model::get(&mut look.view, review).await?.ok_or_else(missing)?;
        if !sees(app, caller, &shown.review).await? {
            return Err(missing());
        }
        read.admit_to(app, AccountId(shown.review.author_id), caller).await?;
        let (version, position) = (shown.review.version.unsigned_abs(), shown.review.position);
        Ok(One { body: body(shown), version, position })
    };
    read.answer(app, asked, shown).await
}

async fn sees(app: &App, caller: Option<Caller>, review: &read_model::Review) -> Result<bool, Problem> {
    match (review.status, caller) {
        (read_model::Status::Shown, _) => Ok(true),
        (read_model::Status::Hidden, None) => Ok(false),
        (read_model::Status::Hidden, Some(caller)) if caller.account.0 == review.author_id => Ok(true),
        (read_model::Status::Hidden, Some(caller)) => access::may(app, caller, Capability::Staff).await,
    }
}

/// A review of something that was bought.
#[derive(Clone, Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct NewReview {
    /// In which order it was bought.
    order_id: Uuid,
    /// What was bought.
    listing_id: Uuid,
    /// In which form, if the listing has variants.
    #[serde(default)]
    #[schema(value_type = String, example = "jumper-m", pattern = "^[A-Za-z0-9._-]{1,64}$")]
    sku: Sku,
    /// One to five stars.
    #[schema(value_type = u8, minimum = 1, maximum = 5, example = 5)]
    rating: Rating,
    #[garde(length(chars, min = 1, max = LONGEST_TITLE))]
    #[schema(example = "As good as new", min_length = 1, max_length = 200)]
    title: Option<String>,
    #[garde(length(chars, min = 1, max = LONGEST_TEXT))]
    #[schema(example = "It keeps time.", min_length = 1, max_length = 4_000)]
    text: Option<String>,
    /// Pictures that one has uploaded (`/upload/images`), at most five. They are deleted with the review, or once it shows
    /// them no more.
    #[garde(length(max = MOST_IMAGES))]
    #[serde(default)]
    #[schema(max_items = 5)]
    images: Vec<Uuid>,
}

/// All of what a review says from now on.
#[derive(Clone, Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct RevisedReview {
    /// One to five stars.
    #[schema(value_type = u8, minimum = 1, maximum = 5, example = 4)]
    rating: Rating,
    #[garde(length(chars, min = 1, max = LONGEST_TITLE))]
    #[schema(example = "Nearly as good as new", min_length = 1, max_length = 200)]
    title: Option<String>,
    #[garde(length(chars, min = 1, max = LONGEST_TEXT))]
    #[schema(example = "It is two minutes late.", min_length = 1, max_length = 4_000)]
    text: Option<String>,
    /// Pictures that one has uploaded (`/upload/images`), at most five. Those that it showed and that are not named are
    /// deleted.
    #[garde(length(max = MOST_IMAGES))]
    #[serde(default)]
    #[schema(max_items = 5)]
    images: Vec<Uuid>,
}

impl RevisedReview {
    fn sealed(&self, key: &PersonKey) -> Opinion {
        let Self { rating, title, text, images } = self;
        Opinion {
            rating: *rating,
            title: title.as_ref().map(|title| key.seal(title)),
            text: text.as_ref().map(|text| key.seal(text)),
            images: images.iter().copied().map(ImageId).collect(),
        }
    }
}

/// The key with which somebody's words are sealed.
pub(super) async fn key_of(app: &App, account: AccountId) -> Result<PersonKey, Problem> {
    let key = PersonKey::load(&app.pool, &app.wrapping, account).await?;
    key.ok_or_else(|| Problem::not_found("account"))
}

/// What a command has done to a review.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, ToSchema)]
pub struct ReviewChanged {
    id: Uuid,
    /// For `If-Match`.
    version: u64,
}

fn changed(world: &mut World<'_>, review: ReviewId) -> Result<ReviewChanged, commands::Halt> {
    Ok(ReviewChanged { id: review.0, version: world.version::<Review>(review)? })
}

/// Says what something is like that one has bought and has got. There is one review for each line of an order, also if it
/// was deleted.
#[utoipa::path(post, path = "/reviews", tag = TAG, security(("bearer" = [])), request_body = NewReview, params(Keyed),
    responses((status = CREATED, body = ReviewChanged, description = "Written"),
        (status = NOT_FOUND, description = "There is no such order, or no such image, or it is not the caller's")))]
async fn write(State(app): State<App>, Creation(command): Creation<NewReview>) -> Result<Done<ReviewChanged>, Problem> {
    let (request, author) = (command.request(), command.caller.account);
    let NewReview { order_id, listing_id, sku, rating, title, text, images } = command.body;
    let subject = Subject { order: OrderId(order_id), listing: ListingId(listing_id), sku };
    let opinion = RevisedReview { rating, title, text, images }.sealed(&key_of(&app, author).await?);
    let write = move |world: &mut World<'_>| {
        let review = reviews::write(world, author, &subject, &opinion)?;
        changed(world, review)
    };
    let accepted = app.engine.submit(request, write).await?;
    let ReviewChanged { id, version } = accepted.value;
    Ok(Done::created(accepted, format!("/api/v1/reviews/{id}")).at_version(version))
}

/// Says something else in one's review.
#[utoipa::path(put, path = "/reviews/{id}", tag = TAG, security(("bearer" = [])), params(("id" = Uuid, Path), Conditional),
    request_body = RevisedReview, responses((status = OK, body = ReviewChanged, description = "Changed")))]
async fn revise(
    State(app): State<App>,
    Id(review): Id<ReviewId>,
    command: Command<RevisedReview>,
) -> Result<Done<ReviewChanged>, Problem> {
    let (by, expected) = (command.caller.account, command.expected_version);
    let opinion = command.body.sealed(&key_of(&app, by).await?);
    let revise = move |world: &mut World<'_>| {
        world.get::<Review>(review)?.written_by(by)?;
        world.expect_version::<Review>(review, expected)?;
        reviews::revise(world, review, by, &opinion)?;
        changed(world, review)
    };
    Ok(Done::ok(app.engine.submit(command.request(), revise).await?))
}

/// Takes one's review back for good, with its pictures. There is no other one for that line of the order.
#[utoipa::path(delete, path = "/reviews/{id}", tag = TAG, security(("bearer" = [])),
    params(("id" = Uuid, Path), Conditional),
    responses((status = OK, body = ReviewChanged, description = "Deleted")))]
async fn delete(
    State(app): State<App>,
    Id(review): Id<ReviewId>,
    command: Command<Nothing>,
) -> Result<Done<ReviewChanged>, Problem> {
    let (by, expected) = (command.caller.account, command.expected_version);
    let delete = move |world: &mut World<'_>| {
        world.get::<Review>(review)?.written_by(by)?;
        world.expect_version::<Review>(review, expected)?;
        reviews::delete(world, review, by)?;
        changed(world, review)
    };
    Ok(Done::ok(app.engine.submit(command.request(), delete).await?))
}

/// What a seller answers to a review.
#[derive(Clone, Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct ReviewReply {
    #[garde(length(chars, min = 1, max = LONGEST_TEXT))]
    #[schema(example = "Thank you!", min_length = 1, max_length = 4_000)]
    text: String,
}

/// Answers a review of what one has sold, once.
#[utoipa::path(post, path = "/reviews/{id}/reply", tag = TAG, security(("bearer" = [])),
    params(("id" = Uuid, Path), Conditional), request_body = ReviewReply,
    responses((status = OK, body = ReviewChanged, description = "Answered")))]
async fn reply(
    State(app): State<App>,
    Id(review): Id<ReviewId>,
    command: Command<ReviewReply>,
) -> Result<Done<ReviewChanged>, Problem> {
    let (by, expected) = (command.caller.account, command.expected_version);
    let text: Sealed<String> = key_of(&app, by).await?.seal(&command.body.text);
    let reply = move |world: &mut World<'_>| {
        world.get::<Review>(review)?.sold_by(by)?;
        world.expect_version::<Review>(review, expected)?;
        reviews::reply(world, review, by, &text)?;
        changed(world, review)
    };
    Ok(Done::ok(app.engine.submit(command.request(), reply).await?))
}

/// Whether somebody finds a review helpful.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct HelpfulVote {
    /// The opposite of what it was, unless told.
    helpful: Option<bool>,
}

/// Whether a review is found helpful now.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, ToSchema)]
pub struct HelpfulVoted {
    helpful: bool,
}

/// Finds somebody else's review helpful, or no more. It counts once for each account.
#[utoipa::path(post, path = "/reviews/{id}/helpful", tag = TAG, security(("bearer" = [])),
    params(("id" = Uuid, Path), Keyed), request_body = HelpfulVote,
    responses((status = OK, body = HelpfulVoted, description = "Noted")))]
async fn vote(
    State(app): State<App>,
    Id(review): Id<ReviewId>,
    Creation(command): Creation<HelpfulVote>,
) -> Result<Done<HelpfulVoted>, Problem> {
    let (voter, HelpfulVote { helpful }) = (command.caller.account, command.body);
    let vote = move |world: &mut World<'_>| Ok(HelpfulVoted { helpful: reviews::vote(world, review, voter, helpful)? });
    Ok(Done::ok(app.engine.submit(command.request(), vote).await?))
}
