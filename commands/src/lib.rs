//! The write side.
//!
//! [`engine`] is the decision loop, the only writer of the log. A use case is a plain function over its [`World`] and may
//! read and change any aggregate in one unit of work; the modules named after nouns hold them. [`clearing`], [`mail`],
//! [`media`] and [`payments`] are processes ([`process`]), and so is [`timers`]: they follow the log and send commands
//! that can be repeated, so running one twice does nothing twice. Outside effects happen in processes only.

pub mod accounts;
pub mod address_books;
pub mod affiliates;
pub mod auctions;
pub mod broadcasts;
pub mod categories;
mod change;
pub mod charges;
pub mod chats;
pub mod clearing;
pub mod commissions;
pub mod complaints;
pub mod correlations;
pub mod engagement;
pub mod engine;
pub mod escrows;
pub mod feedback;
pub mod fees;
#[cfg(test)]
mod fuzz;
pub mod guests;
pub mod images;
pub mod inboxes;
#[cfg(test)]
mod laws;
pub mod listings;
pub mod mail;
pub mod media;
pub mod orders;
pub mod pages;
pub mod payments;
pub mod payouts;
pub mod plans;
pub mod process;
pub mod reports;
pub mod reviews;
pub mod sellers;
pub mod sessions;
pub mod stores;
pub mod subscriptions;
pub mod timers;
pub mod wallets;

pub use change::Change;
pub use engine::{Accepted, CommandError, CommandKey, Engine, EngineSettings, Halt, Request, World};
