//! A folder that stands for all mailboxes: a file per message, for development and tests.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use eventstore::clock::Clock;
use futures::future::BoxFuture;
use tokio::io::AsyncWriteExt;

use super::{Letter, Mailbox, Mailer, NotSent};

/// A folder with a file per message.
#[derive(Clone, Debug)]
pub struct Folder {
    /// Where the files are.
    pub folder: PathBuf,
    /// Who they are from.
    pub from: Mailbox,
    /// How long a file is kept.
    pub kept_for: Duration,
}

impl Folder {
    async fn write(&self, letter: &Letter) -> Result<(), NotSent> {
        let message = letter.message(&self.from)?;
        // Tokens are for whoever reads the mailbox, and for nobody else on this machine.
        let folder = tokio::fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder).await;
        folder.map_err(NotSent::now)?;
        // In the order of the log. Whoever sees the file sees all of it.
        let name = format!("{:020}-{}", letter.position, letter.id);
        let (draft, file) = (self.folder.join(format!(".{name}")), self.folder.join(format!("{name}.eml")));
        let mut options = tokio::fs::OpenOptions::new();
        let options = options.write(true).create(true).truncate(true).mode(0o600);
        let mut written = options.open(&draft).await.map_err(NotSent::now)?;
        written.write_all(&message.formatted()).await.map_err(NotSent::now)?;
        written.sync_all().await.map_err(NotSent::now)?;
        tokio::fs::rename(&draft, &file).await.map_err(NotSent::now)
    }

    /// Deletes what was written longer ago than files are kept, drafts that a crash has left among it.
    async fn sweep(&self, now: SystemTime) -> Result<(), NotSent> {
        let mut files = match tokio::fs::read_dir(&self.folder).await {
            Ok(files) => files,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(NotSent::now(error)),
        };
        while let Some(file) = files.next_entry().await.map_err(NotSent::now)? {
            let name = file.file_name();
            let name = name.to_string_lossy();
            if !name.ends_with(".eml") && !name.starts_with('.') {
                continue;
            }
            let written_at = file.metadata().await.and_then(|about| about.modified()).map_err(NotSent::now)?;
            if now.duration_since(written_at).is_ok_and(|age| age > self.kept_for) {
                tokio::fs::remove_file(file.path()).await.map_err(NotSent::now)?;
            }
        }
        Ok(())
    }
}

impl Mailer for Folder {
    fn send<'a>(&'a self, letter: &'a Letter) -> BoxFuture<'a, Result<(), NotSent>> {
        Box::pin(self.write(letter))
    }

    fn clean_up(&self) -> BoxFuture<'_, Result<(), NotSent>> {
        Box::pin(self.sweep(Clock::real_now().into()))
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[tokio::test]
    async fn files_are_kept_for_a_time() {
        let folder = std::env::temp_dir().join(format!("tradepost-mail-{}", eventstore::mint::id()));
        let day = Duration::from_hours(24);
        let now: SystemTime = Clock::real_now().into();
        let from = "Tradepost <tradepost@localhost>".parse().unwrap();
        let mail = Folder { folder: folder.clone(), from, kept_for: day };
        mail.sweep(now).await.unwrap();
        let said = || "Hello.".to_owned();
        let (id, to) = (Uuid::from_u128(7), "ann@example.com".to_owned());
        let letter = Letter { id, position: 7, to, subject: said(), text: said(), html: said() };
        mail.send(&letter).await.unwrap();
        // Sent again, it is the same.
        mail.send(&letter).await.unwrap();
        std::fs::write(folder.join("notes.txt"), "mine").unwrap();
        let files = || std::fs::read_dir(&folder).unwrap().count();
        mail.sweep(now + day / 2).await.unwrap();
        assert_eq!(files(), 2);
        mail.sweep(now + day * 2).await.unwrap();
        assert_eq!(files(), 1);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
