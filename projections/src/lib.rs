//! The read side: what the log says, kept ready for questions.
//!
//! One file per [`ReadModel`] tells the question it answers, its rows, how events change them (`apply`) and its
//! queries; its tables are in the `.sql` file beside it and live in a schema of the same name. The one runner of
//! [`eventstore::follower`] carries the log to it and moves its checkpoint in the transaction of its rows.
//!
//! Every `apply` works alike: it loads the rows that a batch touches, folds the batch in memory, and writes the rows
//! back in one statement per table. It depends on nothing but the log: no clock, no randomness, no tables but its own.
//! So the rows do not depend on how the log was cut into batches, and a [`rebuild`] gives the same rows byte for byte,
//! which [`digest`] shows.
//!
//! **Architecture invariant:** nothing here decides anything or sends a command, and no read model reads another's
//! tables.

pub mod accounts;
pub mod addresses;
pub mod affiliates;
pub mod analytics;
pub mod auction_board;
pub mod catalogue;
pub mod categories;
pub mod chats;
pub mod clearing;
pub mod differences;
pub mod digest;
pub mod escrows;
pub mod history;
pub mod images;
pub mod ledger;
pub mod mentions;
pub mod notifications;
pub mod order_money;
pub mod orders;
pub mod page;
pub mod pages;
pub mod past;
pub mod payees;
pub mod plans;
pub mod points;
pub mod read_model;
pub mod rebuild;
pub mod reports;
pub mod reviews;
mod rows;
pub mod sales;
pub mod schema;
pub mod staff_acts;
pub mod statements;
pub mod statistics;
pub mod stores;
pub mod subscriptions;
pub mod text;
pub mod wallet_statement;

#[cfg(test)]
mod tests;

pub use page::Page;
pub use read_model::{ALL, ReadModel, all, find};
pub use text::Text;
