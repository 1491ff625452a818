//! Proving who one is: joining, passwords, access tokens, refresh tokens, socket tickets.
//!
//! These follow real time, whatever the marketplace's clock shows.

pub mod newcomer;
pub mod passwords;
pub mod refresh;
pub mod tickets;
pub mod tokens;
