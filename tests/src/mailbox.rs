//! The folder that stands for all mailboxes.

use std::path::{Path, PathBuf};

use crate::fail::OrFail;

/// How long a mailed token is, in characters of base64url.
const TOKEN_CHARS: usize = 64;

/// A message that was sent.
#[derive(Clone, Debug)]
pub struct Letter {
    /// To whom.
    pub to: String,
    /// What it is about.
    pub subject: String,
    /// What names it.
    pub id: String,
    /// The token in it; empty if it asks for none.
    pub token: String,
    /// All of it, without the breaks of lines that are longer than mail may have them.
    pub whole: String,
}

/// All mailboxes.
#[derive(Debug)]
pub struct Mailboxes(PathBuf);

impl Mailboxes {
    /// Those of the server that writes into this folder.
    pub fn at(folder: &Path) -> Self {
        Self(folder.to_owned())
    }

    /// What was sent to an address about this, the oldest first.
    pub fn letters(&self, to: &str, about: &str) -> Vec<Letter> {
        let mut files: Vec<PathBuf> = match std::fs::read_dir(&self.0) {
            Ok(files) => files.map(|file| file.or_fail("list the messages").path()).collect(),
            Err(_) => Vec::new(),
        };
        // Named by positions in the log.
        files.retain(|file| file.extension().is_some_and(|extension| extension == "eml"));
        files.sort();
        let letters = files.iter().map(|file| read_letter(&std::fs::read_to_string(file).or_fail("read a message")));
        letters.filter(|letter| letter.to == to && letter.subject.contains(about)).collect()
    }
}

/// A letter as it was sent.
pub fn read_letter(text: &str) -> Letter {
    let text = text.replace("=\r\n", "").replace("=\n", "");
    let header = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.or_fail("find a header of a message").trim().to_owned()
    };
    let is_token = |line: &&str| {
        let letters = line.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        letters && line.len() == TOKEN_CHARS
    };
    let token = text.lines().map(str::trim).find(is_token).unwrap_or_default().to_owned();
    Letter { to: header("To:"), subject: header("Subject:"), id: header("Message-ID:"), token, whole: text }
}
