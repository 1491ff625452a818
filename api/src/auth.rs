//! Proving who one is: joining, passwords, access tokens, refresh tokens, socket tickets.
//!
//! These follow real time, whatever the marketplace's clock shows.

pub mod attempts;
pub mod newcomer;
pub mod openid;
pub mod passwords;
pub mod refresh;
pub mod sessions;
pub mod tickets;
pub mod tokens;
