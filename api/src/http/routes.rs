//! The routes, a file per subject.

use axum::http::{StatusCode, Uri, header};

use super::problem::Problem;

pub mod addresses;
pub mod admin;
pub mod affiliates;
pub mod auctions;
pub mod auth;
pub mod categories;
pub mod chats;
pub mod complaints;
pub mod engagement;
pub mod escrow;
pub mod events;
pub mod feedback;
pub mod fees;
pub mod guests;
pub mod health;
pub mod listing_images;
pub mod listings;
pub mod merchants;
pub mod metrics;
pub mod moderation;
pub mod notifications;
pub mod order_money;
pub mod orders;
pub mod pages;
pub mod payouts;
pub mod places;
pub mod points;
pub mod proof;
pub mod reports;
pub mod reviews;
pub mod sandbox;
pub mod selling;
pub mod statements;
pub mod stores;
pub mod subscriptions;
pub mod uploads;
pub mod users;
pub mod wallet;
pub mod webhooks;

/// Nothing is served at this path.
pub(super) fn no_such_route(uri: &Uri) -> Problem {
    let detail = format!("Nothing is served at {}.", uri.path());
    Problem::new(StatusCode::NOT_FOUND, "no-such-route", "No such route", detail)
}

/// Something is served at this path, by other methods.
pub(super) async fn no_such_method() -> Problem {
    let detail = "This method is not answered here; Allow tells what is.";
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Method not allowed", detail)
}

/// The same at a further name of a route, which the router knows nothing of.
pub(super) async fn only(allow: String) -> Problem {
    no_such_method().await.with_header(header::ALLOW, &allow)
}
