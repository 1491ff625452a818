//! Tradepost seen from outside: what the end to end tests and `make real` stand on.
//!
//! [`server`] runs the marketplace, within the process or as a process of its own, each on a [`database`] that nobody
//! else uses; [`client`] and [`socket`] talk to it, and [`document`] is held
//! against what it answers; [`load`] keeps it busy and writes down every request and answer
//! in a file ([`journal`]), out of which its [`history`] is read; [`checker`] holds that against the log and finds every answer that the log does not explain;
//! [`bazaar`] is a small marketplace for tests of orders, and [`reputation`] what people say of each other there; [`models`] tells whether read models equal their rebuild;
//! [`nats`] is a NATS that can be killed; [`metrics`] reads what a server shows to Prometheus; [`collector`] takes what
//! it traces; [`mailbox`] reads what it mails; [`openid`] is somebody else who knows people, [`s3`] somebody
//! else's storage, [`stripe`] somebody else's Stripe and [`provider`] one of ours that keeps records and stalls where it
//! is told to; [`verifying`] is what `tradepost verify` says; [`pictures`] draws what is uploaded; [`real`] replays real records.

pub mod bazaar;
pub mod checker;
pub mod client;
pub mod collector;
pub mod database;
pub mod document;
pub mod fail;
pub mod history;
pub mod journal;
pub mod load;
pub mod mailbox;
pub mod market;
pub mod metrics;
pub mod models;
pub mod nats;
pub mod openid;
pub mod pictures;
pub mod provider;
pub mod real;
pub mod reputation;
pub mod s3;
pub mod server;
pub mod smtp;
pub mod socket;
pub mod stripe;
pub mod verifying;
