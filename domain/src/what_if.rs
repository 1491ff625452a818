//! What history would have been under other rules.
//!
//! What people did is taken as it was: who bid up to what and when, who paid, sent, complained. The same decisions that the
//! marketplace makes are then made anew under a [`Policy`]: bids by [`crate::auction`], payments by [`crate::order_group`],
//! the money of orders by [`crate::escrow`], fees by [`crate::fees`]. What a clock did is done by its new time; what people
//! did too late by the new rules is refused, and told. Nobody is taken to have done anything else than they did: whoever
//! was outbid sooner might have bid more, and nothing here guesses that.
//!
//! Invariant: under the rules as they were, nothing is different.

pub mod auctions;
pub mod policy;
pub mod rates;
pub mod sales;

pub use auctions::{AuctionReplay, Auctioned};
pub use policy::Policy;
pub use rates::RateBook;
pub use sales::{Sold, Step};
