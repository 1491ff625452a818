//! How orders were served: what each buyer says, and what that comes to of each seller.

use std::collections::BTreeMap;

use domain::feedback::{Event, Ratings};
use domain::{AccountId, OrderId, Timestamp};
use eventstore::Position;
use eventstore::follower::{FollowError, Recorded};
use eventstore::sealing::PersonKeys;
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgConnection, PgExecutor};
use uuid::Uuid;

use crate::page::Page;
use crate::rows;

/// How a buyer was served with an order, in stars.
#[derive(Clone, Debug, FromRow, PartialEq, Serialize)]
pub struct Feedback {
    /// With which order.
    pub order_id: Uuid,
    /// Who says so.
    pub buyer_id: Uuid,
    /// Of whom.
    pub seller_id: Uuid,
    /// How the seller has answered.
    pub communication: i16,
    /// How fast and how well it came.
    pub shipping: i16,
    /// Whether it was what was offered.
    pub accuracy: i16,
    /// How the marketplace has served.
    pub platform: i16,
    /// What the buyer says of the seller; `None` too once the buyer is forgotten.
    pub comment: Option<String>,
    /// What the buyer says of the marketplace; `None` too once the buyer is forgotten.
    pub platform_comment: Option<String>,
    /// When.
    pub given_at: Timestamp,
    /// Where the event is.
    pub position: Position,
}

/// What feedback comes to: how many there are, and how many stars together.
#[derive(Clone, Copy, Debug, Default, Eq, FromRow, PartialEq, Serialize)]
pub struct Served {
    /// About how many orders.
    pub orders: i64,
    /// How the seller has answered.
    pub communication: i64,
    /// How fast and how well it came.
    pub shipping: i64,
    /// Whether it was what was offered.
    pub accuracy: i64,
    /// How the marketplace has served.
    pub platform: i64,
}

/// A row of what it comes to.
#[derive(Debug, Serialize)]
struct OfSeller {
    seller_id: Uuid,
    #[serde(flatten)]
    served: Served,
}

/// What a batch adds.
#[derive(Debug, Default)]
pub(super) struct Added {
    feedback: Vec<Feedback>,
    sellers: BTreeMap<Uuid, Served>,
}

impl Added {
    /// Takes one event in.
    pub(super) fn take(&mut self, OrderId(order_id): OrderId, event: &Event, recorded: &Recorded, people: &PersonKeys) {
        let Event::FeedbackGiven { buyer, seller, ratings, comment, platform_comment } = event;
        let Ratings { communication, shipping, accuracy, platform } = ratings;
        let [communication, shipping, accuracy, platform] =
            [communication, shipping, accuracy, platform].map(|rating| i16::from(rating.stars()));
        self.feedback.push(Feedback {
            order_id,
            buyer_id: buyer.0,
            seller_id: seller.0,
            communication,
            shipping,
            accuracy,
            platform,
            comment: comment.as_ref().and_then(|comment| people.open(comment)),
            platform_comment: platform_comment.as_ref().and_then(|comment| people.open(comment)),
            given_at: recorded.recorded_at,
            position: recorded.position,
        });
        let served = self.sellers.entry(seller.0).or_default();
        served.orders += 1;
        served.communication += i64::from(communication);
        served.shipping += i64::from(shipping);
        served.accuracy += i64::from(accuracy);
        served.platform += i64::from(platform);
    }

    pub(super) async fn store(self, connection: &mut PgConnection) -> Result<(), FollowError> {
        let statement = "insert into feedback select * from json_populate_recordset(null::feedback, $1::json)";
        rows::write(connection, statement, self.feedback).await?;
        let statement = "
            insert into seller_feedback select * from json_populate_recordset(null::seller_feedback, $1::json)
            on conflict on constraint seller_feedback_seller do update set
                (orders, communication, shipping, accuracy, platform) = row (seller_feedback.orders + excluded.orders,
                    seller_feedback.communication + excluded.communication,
                    seller_feedback.shipping + excluded.shipping, seller_feedback.accuracy + excluded.accuracy,
                    seller_feedback.platform + excluded.platform)";
        let sellers = self.sellers.into_iter().map(|(seller_id, served)| OfSeller { seller_id, served });
        Ok(rows::write(connection, statement, sellers).await?)
    }
}

/// What feedback about a seller comes to.
pub async fn served_by(executor: impl PgExecutor<'_>, seller: AccountId) -> Result<Served, sqlx::Error> {
    let statement = "
        select orders, communication, shipping, accuracy, platform from reviews.seller_feedback where seller_id = $1";
    let served = sqlx::query_as(statement).bind(seller.0).fetch_optional(executor).await?;
    Ok(served.unwrap_or_default())
}

/// What feedback about everybody comes to: how the marketplace has served.
pub async fn platform(executor: impl PgExecutor<'_>) -> Result<Served, sqlx::Error> {
    let statement = "
        select coalesce(sum(orders), 0)::bigint as orders, coalesce(sum(communication), 0)::bigint as communication,
            coalesce(sum(shipping), 0)::bigint as shipping, coalesce(sum(accuracy), 0)::bigint as accuracy,
            coalesce(sum(platform), 0)::bigint as platform
        from reviews.seller_feedback";
    sqlx::query_as(statement).fetch_one(executor).await
}

/// Feedback, and the name of whoever has given it.
#[derive(Clone, Debug, FromRow, PartialEq)]
pub struct FeedbackGiven {
    /// The feedback.
    #[sqlx(flatten)]
    pub feedback: Feedback,
    /// The buyer's public name; `None` once the person is forgotten.
    pub buyer_name: Option<String>,
}

/// Where a page ends: the sort key of its last row.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct FeedbackCursor {
    given_at: Timestamp,
    order_id: Uuid,
}

/// Feedback about a seller, newest first, after a cursor, at most `limit`.
pub async fn feedback_of(
    executor: impl PgExecutor<'_>,
    seller: AccountId,
    after: Option<FeedbackCursor>,
    limit: u32,
) -> Result<Page<FeedbackGiven, FeedbackCursor>, sqlx::Error> {
    let statement = "
        select *, (select user_name from reviews.people where people.id = buyer_id) as buyer_name from reviews.feedback
        where seller_id = $1 and ($2::timestamptz is null or (given_at, order_id) < ($2, $3))
        order by given_at desc, order_id desc limit $4";
    let given: Vec<FeedbackGiven> = sqlx::query_as(statement)
        .bind(seller.0)
        .bind(after.map(|after| after.given_at))
        .bind(after.map(|after| after.order_id))
        .bind(Page::<FeedbackGiven, FeedbackCursor>::rows_to_fetch(limit))
        .fetch_all(executor)
        .await?;
    let key =
        |given: &FeedbackGiven| FeedbackCursor { given_at: given.feedback.given_at, order_id: given.feedback.order_id };
    Ok(Page::of(given, limit, key))
}
