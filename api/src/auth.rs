//! Proving who one is: passwords, access tokens, refresh tokens, socket tickets.
//!
//! These follow real time, whatever the marketplace's clock shows.

pub mod passwords;
pub mod refresh;
pub mod tickets;
pub mod tokens;
