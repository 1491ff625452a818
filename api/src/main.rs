//! The one binary, `tradepost`.

use std::process::ExitCode;

use clap::Parser;
use mimalloc::MiMalloc;

/// Requests and batches are made of many small pieces: this takes and frees them faster than the system's.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    #[cfg(feature = "planted-bugs")]
    if let Some(bug) = std::env::var("PLANTED_BUG").ok().and_then(|name| domain::planted::Bug::named(&name)) {
        domain::planted::plant(bug);
    }
    match api::cli::Arguments::parse().run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tradepost: {error}");
            ExitCode::FAILURE
        }
    }
}
