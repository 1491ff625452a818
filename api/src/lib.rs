//! The HTTP API of Tradepost and the one binary: a thin layer that turns requests into commands and queries.
//!
//! [`app`] is a running node, [`forward`] hands commands to the one that decides, [`http`] what it answers, [`cli`] how an
//! operator starts it; [`unfound`] what nobody has found; [`observe`] what operators see of it; [`places`] where things can be sent, [`media`] uploaded
//! pictures; [`export`] the log as files; [`embedded`] is the private Postgres of a first run.

pub mod anchors;
pub mod app;
pub mod auth;
pub mod bench;
pub mod cli;
pub mod config;
pub mod demo;
pub mod embedded;
pub mod export;
pub mod forward;
#[cfg(test)]
mod fuzz;
pub mod http;
pub mod media;
pub mod observe;
mod offers;
pub mod outgoing;
pub mod places;
pub mod storefront;
pub mod unfound;
