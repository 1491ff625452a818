//! What takes a Postgres to show. Histories are random but repeatable, and decided by the domain itself.

mod administration;
mod analytics;
mod books;
mod chats;
mod clearing;
mod cuts;
mod database;
mod forgetting;
pub(crate) mod history;
mod looking_back;
mod money;
mod parking;
mod past;
mod questions;
mod rebuilding;
mod reputation;
mod sales;
mod subscriptions;
mod versions;
mod what_if;
