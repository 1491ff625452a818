//! `tradepost media`: what is in the storage of uploads.

use chrono::TimeDelta;
use clap::Subcommand;
use commands::media::Files;
use eventstore::clock::Clock;
use eventstore::streams::Streams;
use serde_json::json;

use super::output::{Output, show};
use super::{Failure, Place};
use crate::config::Config;
use crate::media::Media;
use crate::media::sweep::Orphan;

#[derive(Debug, Subcommand)]
pub(super) enum MediaCommand {
    /// Delete the files of pictures that the log does not know, or no longer.
    ///
    /// A node that dies between writing a file and recording it leaves one behind, and so does a storage that was copied
    /// while a picture was removed. Lists what it deletes. Works beside running nodes. Files with other names than pictures
    /// get are left alone.
    Sweep {
        /// Delete nothing, only list.
        #[arg(long)]
        dry_run: bool,
        /// Only what was written so many hours ago: a younger file may still be waiting to be recorded.
        #[arg(long, value_name = "HOURS", default_value_t = 24, value_parser = clap::value_parser!(u16).range(1..))]
        older_than_h: u16,
        #[command(flatten)]
        output: Output,
    },
}

impl MediaCommand {
    pub(super) async fn run(self, config: &Config) -> Result<(), Failure> {
        let Self::Sweep { dry_run, older_than_h, output } = self;
        let place = Place::beside(config).await?;
        let swept = sweep(&place, config, TimeDelta::hours(older_than_h.into()), dry_run, output).await;
        place.leave(swept).await
    }
}

async fn sweep(
    place: &Place,
    config: &Config,
    older_than: TimeDelta,
    dry_run: bool,
    output: Output,
) -> Result<(), Failure> {
    crate::app::prepare(&place.database).await?;
    let (media, pool) = (Media::open(&config.media)?, place.database.pool(1));
    let orphans = media.orphans(&Streams::new(pool.clone()), Clock::real_now() - older_than).await;
    pool.close().await;
    let orphans = orphans?;
    let mut deleted = Vec::new();
    let mut failed = None;
    for orphan in if dry_run { [].iter() } else { orphans.iter() } {
        match media.delete(&orphan.file).await {
            Ok(()) => deleted.push(orphan),
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
    }
    let told: Vec<&Orphan> = if dry_run { orphans.iter().collect() } else { deleted };
    let line = |Orphan { file, bytes, written_at }: &&Orphan| {
        format!("{} {bytes:>9} {file}", written_at.format("%Y-%m-%dT%H:%M:%SZ"))
    };
    let count = told.len();
    let sum = if dry_run { format!("{count} files would be deleted") } else { format!("{count} files deleted") };
    let lines: Vec<String> = told.iter().map(line).chain([sum]).collect();
    show(output.json, &json!({ "dry_run": dry_run, "files": told }), lines.join("\n"))?;
    failed.map_or(Ok(()), |error| Err(error.into()))
}
