//! A mail server that nobody here wrote: `aiosmtpd`, as a process of its own.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::fail::OrFail;
use crate::mailbox::{Letter, Mailboxes};
use crate::openid::python;

/// How soon to look again.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// Python takes its time.
const STARTS_WITHIN: Duration = Duration::from_mins(1);
/// What has not come by then will not come.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running mail server. Dropped, it is killed.
#[derive(Debug)]
pub struct MailServer {
    _child: Child,
    folder: TempDir,
    port: u16,
}

impl MailServer {
    /// Starts one. Whoever is called `unknown…` is nobody it knows.
    pub async fn start() -> Self {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|socket| socket.local_addr());
        Self::start_at(free.or_fail("find a free port").port()).await
    }

    /// Starts one at this port.
    pub async fn start_at(port: u16) -> Self {
        let folder = TempDir::new().or_fail("make a folder for messages");
        let mut command = Command::new(python());
        command
            .args(["-m", "aiosmtpd", "--nosetuid", "--listen", &format!("127.0.0.1:{port}")])
            .args(["--class", "post_office.PostOffice"])
            .arg(folder.path())
            .env("PYTHONPATH", Path::new(env!("CARGO_MANIFEST_DIR")).join("smtp"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = command.kill_on_drop(true).spawn().or_fail("start aiosmtpd");
        let greeted = async {
            let mut greeting = [0; 3];
            loop {
                if let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await
                    && stream.read_exact(&mut greeting).await.is_ok()
                {
                    return;
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        tokio::time::timeout(STARTS_WITHIN, greeted).await.or_fail("wait longer for aiosmtpd");
        Self { _child: child, folder, port }
    }

    /// What a server is told of it.
    pub fn url(&self) -> String {
        format!("smtp://127.0.0.1:{}", self.port)
    }

    /// Has no time from now on for whoever is called `busy…`, or has it again.
    pub fn is_busy(&self, busy: bool) {
        let file = self.file();
        let done = if busy { std::fs::write(file, "") } else { std::fs::remove_file(file) };
        done.or_fail("tell the mail server");
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("busy")
    }

    /// What has come for an address about this, the oldest first.
    pub fn letters(&self, to: &str, about: &str) -> Vec<Letter> {
        Mailboxes::at(self.folder.path()).letters(to, about)
    }

    /// The same, once there is so much.
    pub async fn expect(&self, to: &str, about: &str, count: usize) -> Vec<Letter> {
        let come = async {
            loop {
                let letters = self.letters(to, about);
                if letters.len() >= count {
                    return letters;
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        tokio::time::timeout(PATIENCE, come).await.or_fail("wait longer for a letter")
    }
}
