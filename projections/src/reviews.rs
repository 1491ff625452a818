//! What do buyers say of what they have bought, of whom they have bought it from, and what does that come to?
//!
//! Reviews with the answers of sellers, how many find each helpful, and how often each number of stars was given of a
//! listing and of a seller; how orders were served. What counts is in each event of a review, so that sums need no rows
//! but their own.

use std::collections::{BTreeMap, BTreeSet};

use domain::rating::Rating;
use domain::review::{self, Bought, Content, Counted, Event};
use domain::{AccountId, Aggregate, ReviewId, Timestamp, account, feedback as service, vote};
use eventstore::Position;
use eventstore::event::DomainEvent;
use eventstore::follower::{Batch, FollowError, Recorded};
use eventstore::sealing::PersonKeys;
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use crate::{ReadModel, rows};

mod feedback;
mod questions;

pub use feedback::{Feedback, FeedbackCursor, FeedbackGiven, Served, feedback_of, platform, served_by};
pub use questions::{Cursor, Filter, Shown, Sort, get, of_listing, of_sellers, page};

/// The read model.
pub const MODEL: ReadModel = ReadModel {
    name: "reviews",
    next: "reviews_next",
    version: 2,
    about: &[account::Account::TYPE, service::Feedback::TYPE, review::Review::TYPE, vote::Vote::TYPE],
    ddl: include_str!("reviews.sql"),
    apply: |connection, batch| Box::pin(apply(connection, batch)),
};

/// What a buyer says of something that was bought.
#[derive(Clone, Debug, FromRow, PartialEq, Serialize)]
pub struct Review {
    /// The review.
    pub id: Uuid,
    /// In which order it was bought.
    pub order_id: Uuid,
    /// What was bought.
    pub listing_id: Uuid,
    /// In which form.
    pub sku: String,
    /// From whom.
    pub seller_id: Uuid,
    /// Who says so.
    pub author_id: Uuid,
    /// Whether everybody sees it.
    pub status: Status,
    /// How many stars it has.
    pub rating: i16,
    /// In a few words; `None` too once its author is forgotten.
    pub title: Option<String>,
    /// In many; `None` too once its author is forgotten.
    pub text: Option<String>,
    /// The names of its images, which are gone once its author is forgotten.
    pub images: Json<Vec<String>>,
    /// What the seller answers; `None` too once the seller is forgotten.
    pub reply: Option<String>,
    /// When the seller has answered.
    pub replied_at: Option<Timestamp>,
    /// When it was written.
    pub written_at: Timestamp,
    /// When it was changed last.
    pub revised_at: Option<Timestamp>,
    /// Who of the staff has hidden it, while it is.
    pub hidden_by: Option<Uuid>,
    /// Why.
    pub hidden_reason: Option<String>,
    /// How many events its stream has.
    pub version: i64,
    /// Where the last of them is.
    pub position: Position,
}

/// The columns of a review but for its votes, which are counted apart.
macro_rules! columns {
    () => {
        "id, order_id, listing_id, sku, seller_id, author_id, status, rating, title, text, images, reply, replied_at,
        written_at, revised_at, hidden_by, hidden_reason, version, position"
    };
}
use columns;

/// Who sees a review.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Status {
    /// Everybody.
    Shown,
    /// Its author and staff.
    Hidden,
}

/// How often each number of stars was given.
#[derive(Clone, Copy, Debug, Default, Eq, FromRow, PartialEq, Serialize)]
pub struct Stars {
    /// One star.
    pub one: i64,
    /// Two stars.
    pub two: i64,
    /// Three stars.
    pub three: i64,
    /// Four stars.
    pub four: i64,
    /// Five stars.
    pub five: i64,
}

impl Stars {
    /// How often, by the number of stars from one to five.
    pub fn counts(&self) -> [i64; 5] {
        [self.one, self.two, self.three, self.four, self.five]
    }

    /// How many ratings there are.
    pub fn count(&self) -> i64 {
        self.counts().iter().sum()
    }

    /// How many stars they have together.
    pub fn sum(&self) -> i64 {
        (1..).zip(self.counts()).map(|(stars, count)| stars * count).sum()
    }

    fn add(&mut self, rating: Option<Rating>, times: i64) {
        let count = match rating.map(Rating::stars) {
            Some(1) => &mut self.one,
            Some(2) => &mut self.two,
            Some(3) => &mut self.three,
            Some(4) => &mut self.four,
            // There are no more.
            Some(_) => &mut self.five,
            None => return,
        };
        *count += times;
    }
}

/// A row of how somebody is called.
#[derive(Debug, Serialize)]
struct Person {
    id: Uuid,
    user_name: Option<String>,
}

/// Whom or what stars were given.
#[derive(Debug, Serialize)]
struct RatedListing {
    listing_id: Uuid,
    #[serde(flatten)]
    stars: Stars,
}

/// Whom stars were given.
#[derive(Debug, Serialize)]
struct RatedSeller {
    seller_id: Uuid,
    #[serde(flatten)]
    stars: Stars,
}

/// A row of how many find a review helpful.
#[derive(Debug, Serialize)]
struct Helpful {
    review_id: Uuid,
    votes: i64,
}

/// What a batch makes of reviews, and what it adds to what is counted.
#[derive(Debug, Default)]
struct Changes {
    /// `None` is one that was deleted.
    reviews: BTreeMap<Uuid, Option<Review>>,
    votes: BTreeMap<Uuid, i64>,
    listings: BTreeMap<Uuid, Stars>,
    sellers: BTreeMap<Uuid, Stars>,
    people: BTreeMap<Uuid, Option<String>>,
    forgotten: BTreeSet<Uuid>,
    feedback: feedback::Added,
}

async fn apply(connection: &mut PgConnection, batch: &Batch) -> Result<(), FollowError> {
    let mut changes = Changes::load(connection, &batch.events).await?;
    for recorded in &batch.events {
        changes.take(recorded, &batch.people);
    }
    changes.store(connection).await
}

impl Changes {
    /// Takes one event in.
    fn take(&mut self, recorded: &Recorded, people: &PersonKeys) {
        match &recorded.event {
            DomainEvent::Review(ReviewId(id), event) => {
                if let Some(counted) = event.counted() {
                    self.count(counted);
                }
                self.take_review(*id, event, recorded, people);
            }
            DomainEvent::Vote(_, vote::Event::VoteCast { review, .. }) => {
                *self.votes.entry(review.0).or_default() += 1;
            }
            DomainEvent::Vote(_, vote::Event::VoteWithdrawn { review, .. }) => {
                *self.votes.entry(review.0).or_default() -= 1;
            }
            DomainEvent::Feedback(order, event) => self.feedback.take(*order, event, recorded, people),
            DomainEvent::Account(account, event) => self.take_account(*account, event, people),
            // Nothing else is given to it: see `about`.
            _ => {}
        }
    }

    fn count(&mut self, Counted { listing, seller, from, to }: Counted) {
        let listing = self.listings.entry(listing.0).or_default();
        let seller = self.sellers.entry(seller.0).or_default();
        for stars in [listing, seller] {
            stars.add(from, -1);
            stars.add(to, 1);
        }
    }

    fn take_review(&mut self, id: Uuid, event: &Event, recorded: &Recorded, people: &PersonKeys) {
        if let Event::ReviewWritten { bought, author, .. } = event {
            self.reviews.insert(id, Some(Review::unwritten(id, bought, *author, recorded.recorded_at)));
        }
        let Some(entry) = self.reviews.get_mut(&id) else { return };
        if let Event::ReviewDeleted { .. } = event {
            *entry = None;
        } else if let Some(review) = entry {
            review.take(event, recorded.recorded_at, people);
            (review.version, review.position) = (recorded.sequence, recorded.position);
        }
    }

    fn take_account(&mut self, AccountId(id): AccountId, event: &account::Event, people: &PersonKeys) {
        match event {
            account::Event::AccountRegistered { identity, .. } => {
                self.people.insert(id, people.open(&identity.user_name));
            }
            account::Event::ProfileChanged { changes } => {
                if let Some(user_name) = &changes.user_name {
                    self.people.insert(id, people.open(user_name));
                }
            }
            account::Event::AccountErased {} => {
                self.people.insert(id, None);
                self.forgotten.insert(id);
            }
            account::Event::EmailChallenged { .. }
            | account::Event::EmailVerified { .. }
            | account::Event::PasswordChallenged { .. }
            | account::Event::PasswordChanged { .. }
            | account::Event::IdentityLinked { .. }
            | account::Event::CapabilitiesGranted { .. }
            | account::Event::CapabilitiesRevoked { .. }
            | account::Event::ViolationRecorded { .. }
            | account::Event::ViolationsPardoned { .. }
            | account::Event::AccountBlocked { .. }
            | account::Event::AccountSuspended { .. }
            | account::Event::AccountWarned { .. }
            | account::Event::AccountReinstated { .. }
            | account::Event::SessionsRevoked { .. } => {}
        }
    }

    async fn load(connection: &mut PgConnection, events: &[Recorded]) -> Result<Self, FollowError> {
        let ids = rows::touched(events, |event| match event {
            DomainEvent::Review(id, _) => Some(id.0),
            _ => None,
        });
        if ids.is_empty() {
            return Ok(Self::default());
        }
        let statement = concat!("select ", columns!(), " from reviews where id = any($1)");
        let reviews: Vec<Review> = sqlx::query_as(statement).bind(ids).fetch_all(connection).await?;
        let reviews = reviews.into_iter().map(|review| (review.id, Some(review))).collect();
        Ok(Self { reviews, ..Self::default() })
    }

    async fn store(self, connection: &mut PgConnection) -> Result<(), FollowError> {
        let people = self.people.into_iter().map(|(id, user_name)| Person { id, user_name });
        let statement = "
            insert into people select * from json_populate_recordset(null::people, $1::json)
            on conflict on constraint people_id do update set user_name = excluded.user_name";
        rows::write(connection, statement, people).await?;
        store_reviews(connection, self.reviews, self.votes).await?;
        let statement = "
            insert into listing_ratings select * from json_populate_recordset(null::listing_ratings, $1::json)
            on conflict on constraint listing_ratings_listing do update set
                (one, two, three, four, five) = row (listing_ratings.one + excluded.one,
                    listing_ratings.two + excluded.two, listing_ratings.three + excluded.three,
                    listing_ratings.four + excluded.four, listing_ratings.five + excluded.five)";
        let rated = self.listings.into_iter().map(|(listing_id, stars)| RatedListing { listing_id, stars });
        rows::write(connection, statement, rated).await?;
        let statement = "
            insert into seller_ratings select * from json_populate_recordset(null::seller_ratings, $1::json)
            on conflict on constraint seller_ratings_seller do update set
                (one, two, three, four, five) = row (seller_ratings.one + excluded.one,
                    seller_ratings.two + excluded.two, seller_ratings.three + excluded.three,
                    seller_ratings.four + excluded.four, seller_ratings.five + excluded.five)";
        let rated = self.sellers.into_iter().map(|(seller_id, stars)| RatedSeller { seller_id, stars });
        rows::write(connection, statement, rated).await?;
        self.feedback.store(connection).await?;
        forget(connection, self.forgotten).await
    }
}

/// Writes reviews down, and of each how many find it helpful. That is kept beside them, because a review may come late,
/// when its events had to be parked.
async fn store_reviews(
    connection: &mut PgConnection,
    reviews: BTreeMap<Uuid, Option<Review>>,
    votes: BTreeMap<Uuid, i64>,
) -> Result<(), FollowError> {
    let touched: BTreeSet<Uuid> = reviews.keys().chain(votes.keys()).copied().collect();
    if touched.is_empty() {
        return Ok(());
    }
    let gone: Vec<Uuid> = reviews.iter().filter(|(_, review)| review.is_none()).map(|(id, _)| *id).collect();
    if !gone.is_empty() {
        sqlx::query("delete from reviews where id = any($1)").bind(gone).execute(&mut *connection).await?;
    }
    let statement = concat!(
        "insert into reviews (",
        columns!(),
        ") select ",
        columns!(),
        " from json_populate_recordset(null::reviews, $1::json)
        on conflict on constraint reviews_id do update set
            (status, rating, title, text, images, reply, replied_at, revised_at, hidden_by, hidden_reason, version,
                position)
            = row (excluded.status, excluded.rating, excluded.title, excluded.text, excluded.images, excluded.reply,
                excluded.replied_at, excluded.revised_at, excluded.hidden_by, excluded.hidden_reason, excluded.version,
                excluded.position)",
    );
    rows::write(connection, statement, reviews.into_values().flatten()).await?;
    let statement = "
        insert into helpful select * from json_populate_recordset(null::helpful, $1::json)
        on conflict on constraint helpful_review do update set votes = helpful.votes + excluded.votes";
    let votes = votes.into_iter().map(|(review_id, votes)| Helpful { review_id, votes });
    rows::write(connection, statement, votes).await?;
    sqlx::query(
        "update reviews set votes = helpful.votes from helpful
         where reviews.id = any($1) and helpful.review_id = reviews.id and reviews.votes <> helpful.votes",
    )
    .bind(touched.into_iter().collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

/// What a rebuild shows, which finds no key.
async fn forget(connection: &mut PgConnection, forgotten: BTreeSet<Uuid>) -> Result<(), FollowError> {
    if forgotten.is_empty() {
        return Ok(());
    }
    let forgotten: Vec<Uuid> = forgotten.into_iter().collect();
    for statement in [
        "update reviews set title = null, text = null
         where author_id = any($1) and (title is not null or text is not null)",
        "update reviews set reply = null where seller_id = any($1) and reply is not null",
        "update reviews set hidden_reason = null where hidden_by = any($1) and hidden_reason is not null",
        "update feedback set comment = null, platform_comment = null
         where buyer_id = any($1) and (comment is not null or platform_comment is not null)",
    ] {
        sqlx::query(statement).bind(&forgotten).execute(&mut *connection).await?;
    }
    Ok(())
}

impl Review {
    /// A review that has yet to say something.
    fn unwritten(id: Uuid, bought: &Bought, author: AccountId, written_at: Timestamp) -> Self {
        let Bought { order, listing, sku, seller } = bought;
        Self {
            id,
            order_id: order.0,
            listing_id: listing.0,
            sku: sku.to_string(),
            seller_id: seller.0,
            author_id: author.0,
            status: Status::Shown,
            rating: 0,
            title: None,
            text: None,
            images: Json::default(),
            reply: None,
            replied_at: None,
            written_at,
            revised_at: None,
            hidden_by: None,
            hidden_reason: None,
            version: 0,
            position: 0,
        }
    }

    fn take(&mut self, event: &Event, at: Timestamp, people: &PersonKeys) {
        match event {
            Event::ReviewWritten { content, .. } => self.say(content, people),
            Event::ReviewRevised { content, .. } => {
                self.say(content, people);
                self.revised_at = Some(at);
            }
            Event::ReviewReplied { by: _, text } => (self.reply, self.replied_at) = (people.open(text), Some(at)),
            Event::ReviewHidden { ruling, .. } => {
                self.status = Status::Hidden;
                (self.hidden_by, self.hidden_reason) = (Some(ruling.by.0), people.open(&ruling.reason));
            }
            Event::ReviewRestored { .. } => {
                self.status = Status::Shown;
                (self.hidden_by, self.hidden_reason) = (None, None);
            }
            // Then it is no more.
            Event::ReviewDeleted { .. } => {}
        }
    }

    fn say(&mut self, content: &Content, people: &PersonKeys) {
        let Content { rating, title, text, images } = content;
        self.rating = rating.stars().into();
        self.title = title.as_ref().and_then(|title| people.open(title));
        self.text = text.as_ref().and_then(|text| people.open(text));
        self.images = Json(images.iter().map(|picture| picture.file.clone()).collect());
    }
}
