//! Who is interested in what, and how good it was: views, favourites and ratings, counted beside the listings, whose versions
//! they do not change.

use std::collections::{BTreeMap, BTreeSet};

use domain::rating::Rating;
use domain::review::Counted;
use domain::{AccountId, Timestamp, favorite};
use eventstore::Position;
use eventstore::follower::FollowError;
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgConnection, PgExecutor};
use uuid::Uuid;

use crate::page::Page;

/// What a batch makes of the interest in listings, and of how they are rated.
#[derive(Debug, Default)]
pub(super) struct Engagement {
    /// New views of each listing, new favourites less those that are none any more, likewise ratings and their stars, and
    /// where the last of these events is.
    counts: BTreeMap<Uuid, Counts>,
    /// By account and listing: since when it is a favourite; nothing if it is none any more.
    favorites: BTreeMap<(Uuid, Uuid), Option<Timestamp>>,
    /// Accounts that are no more.
    forgotten: BTreeSet<Uuid>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    views: i64,
    favorites: i64,
    ratings: i64,
    stars: i64,
    position: Position,
}

impl Engagement {
    pub(super) fn take_view(&mut self, listing: Uuid, position: Position) {
        let counts = self.counts.entry(listing).or_default();
        counts.views += 1;
        counts.position = position;
    }

    pub(super) fn take_rating(&mut self, Counted { listing, from, to, .. }: Counted, position: Position) {
        let stars = |rating: Option<Rating>| rating.map_or(0, |rating| i64::from(rating.stars()));
        let counts = self.counts.entry(listing.0).or_default();
        counts.ratings += i64::from(to.is_some()) - i64::from(from.is_some());
        counts.stars += stars(to) - stars(from);
        counts.position = position;
    }

    pub(super) fn take_favorite(&mut self, event: &favorite::Event, at: Timestamp, position: Position) {
        let (account, listing, since) = match event {
            favorite::Event::FavoriteAdded { account, listing } => (account, listing, Some(at)),
            favorite::Event::FavoriteRemoved { account, listing } => (account, listing, None),
        };
        self.favorites.insert((account.0, listing.0), since);
        self.counts.entry(listing.0).or_default().position = position;
    }

    pub(super) fn forget(&mut self, account: Uuid) {
        self.forgotten.insert(account);
    }

    /// Writes it down, after the `listings` and the sellers of the batch. What is counted is kept beside the listings,
    /// because one may come late, when its events had to be parked.
    pub(super) async fn store(mut self, connection: &mut PgConnection, listings: Vec<Uuid>) -> Result<(), FollowError> {
        self.store_favorites(connection).await?;
        for listing in listings {
            self.counts.entry(listing).or_default();
        }
        if self.counts.is_empty() {
            return Ok(());
        }
        let (listings, counts): (Vec<Uuid>, Vec<Counts>) = self.counts.into_iter().unzip();
        sqlx::query(
            "insert into interest (listing_id, views, favorites, ratings, stars, position)
             select * from unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[])
             on conflict on constraint interest_of_listing do update set views = interest.views + excluded.views,
                favorites = interest.favorites + excluded.favorites, ratings = interest.ratings + excluded.ratings,
                stars = interest.stars + excluded.stars,
                position = greatest(interest.position, excluded.position)
             where excluded.position > 0 or excluded.favorites <> 0",
        )
        .bind(&listings)
        .bind(counts.iter().map(|counts| counts.views).collect::<Vec<_>>())
        .bind(counts.iter().map(|counts| counts.favorites).collect::<Vec<_>>())
        .bind(counts.iter().map(|counts| counts.ratings).collect::<Vec<_>>())
        .bind(counts.iter().map(|counts| counts.stars).collect::<Vec<_>>())
        .bind(counts.iter().map(|counts| counts.position).collect::<Vec<_>>())
        .execute(&mut *connection)
        .await?;
        sqlx::query(
            "update listings set views = interest.views, favorites = interest.favorites, ratings = interest.ratings,
                stars = interest.stars, position = greatest(listings.position, interest.position)
             from interest where listings.id = any($1) and interest.listing_id = listings.id
                and ((listings.views, listings.favorites, listings.ratings, listings.stars)
                        <> (interest.views, interest.favorites, interest.ratings, interest.stars)
                    or listings.position < interest.position)",
        )
        .bind(&listings)
        .execute(&mut *connection)
        .await?;
        sqlx::query(
            "update interest set status = listings.status, popularity = listings.popularity
             from listings where interest.listing_id = any($1) and listings.id = interest.listing_id
                and (interest.status, interest.popularity) is distinct from (listings.status, listings.popularity)",
        )
        .bind(&listings)
        .execute(connection)
        .await?;
        Ok(())
    }

    /// What is counted is the rows that come and go.
    async fn store_favorites(&mut self, connection: &mut PgConnection) -> Result<(), FollowError> {
        if !self.favorites.is_empty() {
            let (added, removed): (Vec<_>, Vec<_>) = self.favorites.iter().partition(|(_, since)| since.is_some());
            let gone: Vec<Uuid> = sqlx::query_scalar(
                "delete from favorites using unnest($1::uuid[], $2::uuid[]) as gone (account_id, listing_id)
                 where (favorites.account_id, favorites.listing_id) = (gone.account_id, gone.listing_id)
                 returning favorites.listing_id",
            )
            .bind(removed.iter().map(|((account, _), _)| *account).collect::<Vec<_>>())
            .bind(removed.iter().map(|((_, listing), _)| *listing).collect::<Vec<_>>())
            .fetch_all(&mut *connection)
            .await?;
            let new: Vec<(Uuid, bool)> = sqlx::query_as(
                "insert into favorites (account_id, listing_id, added_at)
                 select * from unnest($1::uuid[], $2::uuid[], $3::timestamptz[])
                 on conflict on constraint favorites_of_account do update set added_at = excluded.added_at
                 returning listing_id, xmax = 0",
            )
            .bind(added.iter().map(|((account, _), _)| *account).collect::<Vec<_>>())
            .bind(added.iter().map(|((_, listing), _)| *listing).collect::<Vec<_>>())
            .bind(added.iter().filter_map(|(_, since)| **since).collect::<Vec<_>>())
            .fetch_all(&mut *connection)
            .await?;
            for listing in gone {
                self.counts.entry(listing).or_default().favorites -= 1;
            }
            for (listing, _) in new.into_iter().filter(|(_, is_new)| *is_new) {
                self.counts.entry(listing).or_default().favorites += 1;
            }
        }
        // Also of whoever was forgotten before a favourite of theirs comes, which was parked.
        let mut accounts = self.forgotten.clone();
        accounts.extend(self.favorites.keys().map(|(account, _)| *account));
        if !accounts.is_empty() {
            let gone: Vec<Uuid> = sqlx::query_scalar(
                "delete from favorites using sellers
                 where account_id = any($1) and sellers.seller_id = account_id and sellers.forgotten
                 returning listing_id",
            )
            .bind(accounts.into_iter().collect::<Vec<_>>())
            .fetch_all(connection)
            .await?;
            // Not where that is said: it would depend on which of the favourites were there yet.
            for listing in gone {
                self.counts.entry(listing).or_default().favorites -= 1;
            }
        }
        Ok(())
    }
}

/// A favourite of somebody.
#[derive(Clone, Copy, Debug, Eq, FromRow, PartialEq)]
pub struct Favorite {
    /// What.
    pub listing_id: Uuid,
    /// Since when.
    pub added_at: Timestamp,
}

/// Where a page of favourites ends.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct FavoritesCursor {
    added_at: Timestamp,
    listing_id: Uuid,
}

/// The favourites of an account, the last first.
pub async fn favorites(
    executor: impl PgExecutor<'_>,
    account: AccountId,
    after: Option<FavoritesCursor>,
    limit: u32,
) -> Result<Page<Favorite, FavoritesCursor>, sqlx::Error> {
    let favorites = sqlx::query_as(
        "select listing_id, added_at from catalogue.favorites
         where account_id = $1 and ($2::timestamptz is null or (added_at, listing_id) < ($2, $3))
         order by added_at desc, listing_id desc limit $4",
    )
    .bind(account.0)
    .bind(after.map(|after| after.added_at))
    .bind(after.map(|after| after.listing_id))
    .bind(Page::<Favorite, FavoritesCursor>::rows_to_fetch(limit))
    .fetch_all(executor)
    .await?;
    let key = |favorite: &Favorite| FavoritesCursor { added_at: favorite.added_at, listing_id: favorite.listing_id };
    Ok(Page::of(favorites, limit, key))
}
