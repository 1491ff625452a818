//! A storage that speaks as S3 does, and that nobody here wrote: `moto`, as a process of its own.

use std::net::{Ipv4Addr, TcpListener};
use std::process::Stdio;
use std::time::Duration;

use api::config::{Media, Secret};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};

use crate::fail::OrFail;
use crate::openid::python;

/// How soon to ask again whether it is ready.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// Python takes its time.
const STARTS_WITHIN: Duration = Duration::from_mins(1);
const BUCKET: &str = "uploads";
/// It wants to be told who asks, and believes it.
const SOMEBODY: &str =
    "AWS4-HMAC-SHA256 Credential=key/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=x";

/// A running storage with a bucket. Dropped, it is killed.
#[derive(Debug)]
pub struct S3 {
    child: Child,
    address: String,
    http: reqwest::Client,
}

impl S3 {
    /// Starts one.
    pub async fn start() -> Self {
        crate::client::prepare();
        let http = reqwest::Client::builder().no_proxy().build().or_fail("make a client");
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|socket| socket.local_addr());
        let port = free.or_fail("find a free port").port();
        let mut command = Command::new(python());
        command.args(["-m", "moto.server", "--host", "127.0.0.1", "--port", &port.to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        let child = command.spawn().or_fail("start moto");
        let storage = Self { child, address: format!("http://127.0.0.1:{port}"), http };
        let bucket = format!("{}/{BUCKET}", storage.address);
        let ready = async {
            loop {
                match storage.http.put(&bucket).send().await {
                    Ok(answer) if answer.status().is_success() => return,
                    _ => tokio::time::sleep(LOOK_AGAIN).await,
                }
            }
        };
        tokio::time::timeout(STARTS_WITHIN, ready).await.or_fail("wait longer for moto");
        storage
    }

    /// What a server is told of it.
    pub fn settings(&self) -> Media {
        Media {
            s3_bucket: Some(BUCKET.to_owned()),
            s3_endpoint: Some(self.address.clone()),
            s3_access_key: Some(Secret::new("key".to_owned())),
            s3_secret_key: Some(Secret::new("secret".to_owned())),
            ..Media::default()
        }
    }

    /// What an object holds, past any server of ours; nothing if it is not there.
    pub async fn object(&self, name: &str) -> Option<Vec<u8>> {
        let path = format!("{}/{BUCKET}/{name}", self.address);
        let answer = self.http.get(path).header("authorization", SOMEBODY).send().await.or_fail("ask the storage");
        if answer.status() == 404 {
            return None;
        }
        Some(answer.error_for_status().or_fail("read an object").bytes().await.or_fail("read an object").to_vec())
    }

    /// Lets it do nothing, as a storage that takes its time, until it is to go on.
    pub fn pause(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        let id = self.child.id().and_then(|id| id.try_into().ok()).or_fail("find moto");
        kill(Pid::from_raw(id), signal).or_fail("tell moto");
    }

    /// Puts an object there, past any server of ours.
    pub async fn put(&self, name: &str, bytes: &'static [u8]) {
        let path = format!("{}/{BUCKET}/{name}", self.address);
        let sent = self.http.put(path).header("authorization", SOMEBODY).body(bytes).send().await;
        sent.or_fail("ask the storage").error_for_status().or_fail("put an object");
    }

    /// Ends it, as a storage that is away.
    pub async fn kill(&mut self) {
        self.child.kill().await.or_fail("end moto");
    }
}
