//! What takes a Postgres to show. Histories are random but repeatable, and decided by the domain itself.

mod administration;
mod books;
mod chats;
mod clearing;
mod cuts;
mod database;
mod forgetting;
pub(crate) mod history;
mod money;
mod parking;
mod questions;
mod rebuilding;
mod reputation;
mod sales;
mod subscriptions;
mod versions;
