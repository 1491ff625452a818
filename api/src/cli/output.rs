//! What commands print: for people, or with `--json` for programs.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

use clap::Args;
use serde::Serialize;

use super::Failure;

/// How the answer looks.
#[derive(Args, Clone, Copy, Debug)]
pub(super) struct Output {
    /// Answer in JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// Prints `text`, or `value` if it is to be JSON.
pub(super) fn show(json: bool, value: &impl Serialize, text: impl Display) -> Result<(), Failure> {
    let text = if json { serde_json::to_string(value)? } else { text.to_string() };
    Ok(heard(writeln!(io::stdout().lock(), "{text}")).map(drop)?)
}

/// Prints a line of a server that goes on even when nobody reads it any more.
pub(super) fn tell(line: impl Display) {
    let _ = writeln!(io::stdout().lock(), "{line}");
}

/// Whether somebody still reads what is printed: `… | head` stops when it has enough, which is no failure.
pub(super) fn heard(written: io::Result<()>) -> io::Result<bool> {
    match written {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error),
    }
}
