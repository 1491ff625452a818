//! What else has to do with this? Which views are those of a listing, which orders those of a seller.
//!
//! An event names what it is about, so that one finds the listing of a view; this is the way back. It is kept for those
//! kinds of aggregates by which [`crate::past`] has to look for what an answer rests on, and of those only for the events
//! that establish it: an order names its seller once.

use domain::{
    Aggregate, charge, commission, favorite, listing, merchant, order, referral, referral_click, review, view, vote,
    wallet,
};
use eventstore::Position;
use eventstore::event::DomainEvent;
use eventstore::follower::{Batch, FollowError};
use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

use crate::ReadModel;

/// The read model.
pub const MODEL: ReadModel = ReadModel {
    name: "mentions",
    next: "mentions_next",
    version: 1,
    about: &[
        charge::Charge::TYPE,
        commission::Commission::TYPE,
        favorite::Favorite::TYPE,
        listing::Listing::TYPE,
        merchant::Merchant::TYPE,
        order::Order::TYPE,
        referral::Referral::TYPE,
        referral_click::ReferralClick::TYPE,
        review::Review::TYPE,
        view::View::TYPE,
        vote::Vote::TYPE,
        wallet::Wallet::TYPE,
    ],
    ddl: include_str!("mentions.sql"),
    apply: |connection, batch| Box::pin(apply(connection, batch)),
};

async fn apply(connection: &mut PgConnection, batch: &Batch) -> Result<(), FollowError> {
    let (mut mentioned, mut kinds, mut ids, mut positions) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for recorded in &batch.events {
        let (kind, id) = recorded.event.subject();
        for other in mentions(&recorded.event).into_iter().flatten() {
            mentioned.push(other);
            kinds.push(kind);
            ids.push(id);
            positions.push(recorded.position);
        }
    }
    if mentioned.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into mentions (mentioned, aggregate_type, aggregate_id, position)
         select * from unnest($1::uuid[], $2::text[], $3::uuid[], $4::bigint[])",
    )
    .bind(mentioned)
    .bind(kinds)
    .bind(ids)
    .bind(positions)
    .execute(connection)
    .await?;
    Ok(())
}

/// What an event has to do with, as far as that is looked for.
fn mentions(event: &DomainEvent) -> [Option<Uuid>; 2] {
    match event {
        DomainEvent::Charge(_, charge::Event::ChargeRequested { terms }) => match terms.purpose {
            charge::Purpose::Orders(group) => [Some(group.0), None],
            charge::Purpose::Deposit(_) => [None, None],
        },
        DomainEvent::Commission(_, commission::Event::CommissionAccrued { promise, .. }) => {
            [Some(promise.affiliate.0), None]
        }
        // One may be one again after it was none.
        DomainEvent::Favorite(_, favorite::Event::FavoriteAdded { account: _, listing })
        | DomainEvent::View(_, view::Event::ListingViewed { listing }) => [Some(listing.0), None],
        DomainEvent::Listing(_, listing::Event::ListingDrafted { seller, .. }) => [Some(seller.0), None],
        DomainEvent::Merchant(_, merchant::Event::MerchantAdded { account, .. }) => [Some(account.0), None],
        DomainEvent::Order(_, order::Event::OrderPlaced { terms }) => [Some(terms.seller.0), None],
        DomainEvent::Referral(_, referral::Event::AccountReferred { source }) => [Some(source.affiliate.0), None],
        DomainEvent::ReferralClick(_, referral_click::Event::ReferralClicked { affiliate, .. }) => {
            [Some(affiliate.0), None]
        }
        DomainEvent::Review(_, review::Event::ReviewWritten { bought, .. }) => {
            [Some(bought.listing.0), Some(bought.seller.0)]
        }
        DomainEvent::Vote(_, vote::Event::VoteCast { review, .. }) => [Some(review.0), None],
        DomainEvent::Wallet(_, wallet::Event::ReceivableRecovered { operation, .. }) => [Some(*operation), None],
        // What else happens to these establishes nothing, and to others nothing is looked for: see `about`.
        _ => [None, None],
    }
}

/// Those of this kind that have mentioned any of `ids` by `upto`, at most `limit`.
pub async fn mentioning(
    executor: impl PgExecutor<'_>,
    kind: &str,
    ids: &[Uuid],
    upto: Position,
    limit: i64,
) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar(
        "select distinct aggregate_id from mentions.mentions
         where mentioned = any($1) and aggregate_type = $2 and position <= $3 limit $4",
    )
    .bind(ids)
    .bind(kind)
    .bind(upto)
    .bind(limit)
    .fetch_all(executor)
    .await
}

/// The positions of their events that have done so, at most `limit`.
pub async fn moments(
    executor: impl PgExecutor<'_>,
    kind: &str,
    ids: &[Uuid],
    upto: Position,
    limit: i64,
) -> Result<Vec<Position>, sqlx::Error> {
    sqlx::query_scalar(
        "select distinct position from mentions.mentions
         where mentioned = any($1) and aggregate_type = $2 and position <= $3 limit $4",
    )
    .bind(ids)
    .bind(kind)
    .bind(upto)
    .bind(limit)
    .fetch_all(executor)
    .await
}
