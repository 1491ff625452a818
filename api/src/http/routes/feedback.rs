//! Feedback: how buyers were served with their orders, and what that comes to of a seller.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use commands::World;
use commands::feedback::{self, Said};
use domain::feedback::{LONGEST_COMMENT, Ratings};
use domain::rating::Rating;
use domain::{AccountId, OrderId};
use garde::Validate;
use projections::{accounts, reviews};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::reviews::{Speaker, TAG, key_of};
use crate::app::App;
use crate::http::extract::{Creation, Id, Read};
use crate::http::openapi::{Keyed, Waits};
use crate::http::pages::{Cursor, Page, page_limit};
use crate::http::problem::Problem;
use crate::http::ratings::{RatingSummary, average};
use crate::http::reply::Done;

/// The routes of this file.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(give)).routes(routes!(of_seller))
}

/// How a buyer was served with an order, in one to five stars.
#[derive(Clone, Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct NewFeedback {
    /// How the seller has answered.
    #[schema(value_type = u8, minimum = 1, maximum = 5, example = 5)]
    communication: Rating,
    /// How fast and how well it came.
    #[schema(value_type = u8, minimum = 1, maximum = 5, example = 4)]
    shipping: Rating,
    /// Whether it was what was offered.
    #[schema(value_type = u8, minimum = 1, maximum = 5, example = 5)]
    accuracy: Rating,
    /// How the marketplace has served.
    #[schema(value_type = u8, minimum = 1, maximum = 5, example = 5)]
    platform: Rating,
    /// Of the seller, to everybody.
    #[garde(length(chars, min = 1, max = LONGEST_COMMENT))]
    #[schema(example = "Packed with care.", min_length = 1, max_length = 2_000)]
    comment: Option<String>,
    /// Of the marketplace, to its staff.
    #[garde(length(chars, min = 1, max = LONGEST_COMMENT))]
    #[schema(min_length = 1, max_length = 2_000)]
    platform_comment: Option<String>,
}

/// That feedback was given.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, ToSchema)]
pub struct FeedbackTaken {
    order_id: Uuid,
    seller_id: Uuid,
}

/// Says how one was served with an order that has come, or whose money has gone back: by its seller and by the
/// marketplace. Once for each order; it cannot be changed.
#[utoipa::path(post, path = "/orders/{id}/feedback", tag = TAG, security(("bearer" = [])),
    params(("id" = Uuid, Path), Keyed), request_body = NewFeedback,
    responses((status = CREATED, body = FeedbackTaken, description = "Given; Location is that of the seller's")))]
async fn give(
    State(app): State<App>,
    Id(order): Id<OrderId>,
    Creation(command): Creation<NewFeedback>,
) -> Result<Done<FeedbackTaken>, Problem> {
    let (request, buyer) = (command.request(), command.caller.account);
    let NewFeedback { communication, shipping, accuracy, platform, comment, platform_comment } = command.body;
    let key = key_of(&app, buyer).await?;
    let seal = |text: Option<String>| text.map(|text| key.seal(&text));
    let said = Said {
        ratings: Ratings { communication, shipping, accuracy, platform },
        comment: seal(comment),
        platform_comment: seal(platform_comment),
    };
    let give = move |world: &mut World<'_>| {
        feedback::give(world, order, buyer, &said)?;
        let AccountId(seller_id) = commands::orders::bought_by(world, order, buyer)?.terms.seller;
        Ok(FeedbackTaken { order_id: order.0, seller_id })
    };
    let accepted = app.engine.submit(request, give).await?;
    let location = format!("/api/v1/sellers/{}/feedback", accepted.value.seller_id);
    Ok(Done::created(accepted, location))
}

/// Which feedback to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct FeedbackQuery {
    /// How many, 20 unless told, 100 at most.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor<reviews::FeedbackCursor>>,
}

/// How a seller serves.
#[derive(Debug, Serialize, ToSchema)]
pub struct SellerFeedback {
    seller: Speaker,
    metrics: SellerMetrics,
    /// How what the seller sells is rated.
    rating: RatingSummary,
    items: Vec<FeedbackBody>,
    /// Give it as `cursor` to get the next page; none on the last.
    next_cursor: Option<String>,
}

/// What feedback comes to: averages of stars, to a hundredth; nothing if there is none.
#[derive(Debug, Serialize, ToSchema)]
pub struct SellerMetrics {
    /// About how many orders something was said.
    #[schema(minimum = 0)]
    orders: i64,
    /// How the seller has answered.
    #[schema(example = "4.50")]
    communication: Option<String>,
    /// How fast and how well things came.
    #[schema(example = "4.50")]
    shipping: Option<String>,
    /// Whether they were what was offered.
    #[schema(example = "4.50")]
    accuracy: Option<String>,
    /// Of these three together.
    #[schema(example = "4.50")]
    overall: Option<String>,
}

impl From<reviews::Served> for SellerMetrics {
    fn from(served: reviews::Served) -> Self {
        let reviews::Served { orders, communication, shipping, accuracy, platform: _ } = served;
        Self {
            orders,
            communication: average(communication, orders),
            shipping: average(shipping, orders),
            accuracy: average(accuracy, orders),
            overall: average(communication + shipping + accuracy, 3 * orders),
        }
    }
}

/// How a buyer was served by a seller, in stars.
#[derive(Debug, Serialize, ToSchema)]
pub struct FeedbackBody {
    buyer: Speaker,
    #[schema(minimum = 1, maximum = 5)]
    communication: i16,
    #[schema(minimum = 1, maximum = 5)]
    shipping: i16,
    #[schema(minimum = 1, maximum = 5)]
    accuracy: i16,
    comment: Option<String>,
    given_at: DateTime<Utc>,
}

fn body(given: reviews::FeedbackGiven) -> FeedbackBody {
    let reviews::FeedbackGiven { feedback, buyer_name } = given;
    FeedbackBody {
        buyer: Speaker::of(feedback.buyer_id, buyer_name),
        communication: feedback.communication,
        shipping: feedback.shipping,
        accuracy: feedback.accuracy,
        comment: feedback.comment,
        given_at: feedback.given_at,
    }
}

/// How a seller serves: what buyers have said, newest first, and what that comes to.
#[utoipa::path(get, path = "/sellers/{id}/feedback", tag = TAG, params(("id" = Uuid, Path), FeedbackQuery, Waits),
    responses((status = OK, body = SellerFeedback, description = "What it comes to, and a page of it")))]
async fn of_seller(
    State(app): State<App>,
    Id(seller): Id<AccountId>,
    read: Read<FeedbackQuery>,
) -> Result<Json<SellerFeedback>, Problem> {
    for model in [accounts::MODEL, reviews::MODEL] {
        read.wait_for(&app, model.name).await?;
    }
    let FeedbackQuery { limit, cursor } = read.query;
    let (limit, cursor) = (page_limit(limit)?, cursor.map(|cursor| cursor.0));
    let profile = accounts::get(&app.pool, seller).await?.filter(|profile| profile.erased_at.is_none());
    let profile = profile.ok_or_else(|| Problem::not_found("account"))?;
    let metrics = reviews::served_by(&app.pool, seller).await?.into();
    let rated = reviews::of_sellers(&app.pool, &[seller.0]).await?;
    let rating = rated.get(&seller.0).copied().unwrap_or_default().into();
    let page = reviews::feedback_of(&app.pool, seller, cursor, limit).await?;
    let Page { items, next_cursor } = Page::of(page, |given| Ok(body(given)))?;
    let seller = Speaker::of(profile.id, profile.user_name);
    Ok(Json(SellerFeedback { seller, metrics, rating, items, next_cursor }))
}
