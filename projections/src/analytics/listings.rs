//! What was offered, of which category, and for how long.

use std::collections::BTreeMap;

use domain::listing::{Condition, Event, Sale};
use domain::{Currency, Timestamp};
use eventstore::event::DomainEvent;
use eventstore::follower::Recorded;
use serde::Serialize;
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use crate::{Text, rows};

#[derive(Debug, FromRow, Serialize)]
struct ListingRow {
    listing_id: Uuid,
    seller_id: Uuid,
    kind: String,
    category: String,
    condition: Text<Condition>,
    currency: Text<Currency>,
    drafted_at: Timestamp,
    published_at: Option<Timestamp>,
    ended_at: Option<Timestamp>,
}

/// The listings that a batch is about.
#[derive(Debug, Default)]
pub(super) struct Listings(BTreeMap<Uuid, ListingRow>);

impl Listings {
    pub(super) fn take(&mut self, listing_id: Uuid, event: &Event, recorded: &Recorded) {
        let at = recorded.recorded_at;
        if let Event::ListingDrafted { seller, details, sale } = event {
            let drafted = ListingRow {
                listing_id,
                seller_id: seller.0,
                kind: kind(sale).to_owned(),
                category: details.category.clone(),
                condition: Text(details.condition),
                currency: Text(sale.currency()),
                drafted_at: at,
                published_at: None,
                ended_at: None,
            };
            self.0.insert(listing_id, drafted);
            return;
        }
        let Some(listing) = self.0.get_mut(&listing_id) else { return };
        match event {
            Event::ListingRevised { changes } => {
                if let Some(category) = &changes.category {
                    listing.category.clone_from(category);
                }
                if let Some(condition) = changes.condition {
                    listing.condition = Text(condition);
                }
                if let Some(sale) = &changes.sale {
                    (listing.kind, listing.currency) = (kind(sale).to_owned(), Text(sale.currency()));
                }
            }
            Event::ListingPublished {} => listing.published_at = listing.published_at.or(Some(at)),
            Event::ListingArchived { .. } | Event::ListingRemoved { .. } => listing.ended_at = Some(at),
            Event::ListingDrafted { .. }
            | Event::ListingSubmitted { .. }
            | Event::ListingApproved { .. }
            | Event::ListingRejected { .. }
            | Event::ListingReturned {}
            | Event::ListingPaused {}
            | Event::ListingResumed {}
            | Event::ListingFeatured { .. }
            | Event::ListingUnfeatured { .. }
            | Event::DiscountSet { .. }
            | Event::DiscountOpened { .. }
            | Event::DiscountClosed {}
            | Event::ImageAttached { .. }
            | Event::ImageDetached { .. } => {}
        }
    }

    pub(super) async fn load(connection: &mut PgConnection, events: &[Recorded]) -> Result<Self, sqlx::Error> {
        let ids = rows::touched(events, |event| match event {
            DomainEvent::Listing(id, _) => Some(id.0),
            _ => None,
        });
        if ids.is_empty() {
            return Ok(Self::default());
        }
        let listings: Vec<ListingRow> = sqlx::query_as("select * from listing_facts where listing_id = any($1)")
            .bind(ids)
            .fetch_all(connection)
            .await?;
        Ok(Self(listings.into_iter().map(|listing| (listing.listing_id, listing)).collect()))
    }

    pub(super) async fn store(self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        let statement = "
            insert into listing_facts select * from json_populate_recordset(null::listing_facts, $1::json)
            on conflict on constraint listing_facts_listing do update set
                (kind, category, condition, currency, published_at, ended_at)
                = row (excluded.kind, excluded.category, excluded.condition, excluded.currency, excluded.published_at,
                    excluded.ended_at)";
        rows::write(connection, statement, self.0.into_values()).await
    }
}

fn kind(sale: &Sale) -> &'static str {
    match sale {
        Sale::FixedPrice { .. } => "fixed_price",
        Sale::Auction(_) => "auction",
    }
}
