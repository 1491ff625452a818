//! The one binary, `tradepost`.

use std::process::ExitCode;

use clap::Parser;

#[tokio::main]
async fn main() -> ExitCode {
    match api::cli::Arguments::parse().run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tradepost: {error}");
            ExitCode::FAILURE
        }
    }
}
