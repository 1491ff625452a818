//! x

pub mod config;
pub mod embedded;
