//! A storage that speaks as S3 does, and that nobody here wrote: `moto`, as a process of its own.
//!
//! It knows one user, whose keys it has made up itself, and refuses what is not signed with them (AWS Signature 4). It
//! believes what a request says of its body's hash, and does not date signatures.

use std::net::{Ipv4Addr, TcpListener};
use std::process::Stdio;
use std::time::Duration;

use api::config::{Media, Secret};
use form_urlencoded::Serializer;
use futures::TryStreamExt;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use object_store::ObjectStore;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use serde_json::json;
use tokio::process::{Child, Command};

use crate::fail::OrFail;
use crate::openid::python;

/// How soon to ask again whether it is ready.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// Python takes its time.
const STARTS_WITHIN: Duration = Duration::from_mins(1);
const BUCKET: &str = "uploads";
const USER: &str = "marketplace";
/// Before it checks who asks, it wants to be told, and takes from it which of Amazon's services is meant.
const ANYBODY: &str =
    "AWS4-HMAC-SHA256 Credential=key/20260101/us-east-1/iam/aws4_request, SignedHeaders=host, Signature=x";

/// A running storage with a bucket. Dropped, it is killed.
#[derive(Debug)]
pub struct S3 {
    child: Child,
    address: String,
    keys: Keys,
    /// With its keys, past any server of ours.
    bucket: AmazonS3,
}

/// Who may use the bucket.
#[derive(Debug)]
struct Keys {
    access: String,
    secret: String,
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
        let address = format!("http://127.0.0.1:{port}");
        let bucket = format!("{address}/{BUCKET}");
        let ready = async {
            loop {
                match http.put(&bucket).send().await {
                    Ok(answer) if answer.status().is_success() => return,
                    _ => tokio::time::sleep(LOOK_AGAIN).await,
                }
            }
        };
        tokio::time::timeout(STARTS_WITHIN, ready).await.or_fail("wait longer for moto");
        let keys = user(&http, &address).await;
        // From here on, every request is checked.
        let checked =
            http.post(format!("{address}/moto-api/reset-auth")).header("content-type", "text/plain").body("0");
        checked.send().await.and_then(reqwest::Response::error_for_status).or_fail("have moto check who asks");
        let builder = AmazonS3Builder::new().with_endpoint(&address).with_allow_http(true).with_bucket_name(BUCKET);
        let builder = builder.with_access_key_id(&keys.access).with_secret_access_key(&keys.secret);
        Self { child, address, keys, bucket: builder.build().or_fail("make a client of the bucket") }
    }

    /// What a server is told of it.
    pub fn settings(&self) -> Media {
        Media {
            s3_access_key: Some(Secret::new(self.keys.access.clone())),
            s3_secret_key: Some(Secret::new(self.keys.secret.clone())),
            ..self.settings_without_keys()
        }
    }

    /// The same, but not who may use it.
    pub fn settings_without_keys(&self) -> Media {
        Media { s3_bucket: Some(BUCKET.to_owned()), s3_endpoint: Some(self.address.clone()), ..Media::default() }
    }

    /// Who may use it, as a machine's environment says it.
    pub fn variables(&self) -> [(&'static str, &str); 2] {
        [("AWS_ACCESS_KEY_ID", &self.keys.access), ("AWS_SECRET_ACCESS_KEY", &self.keys.secret)]
    }

    /// What an object holds, past any server of ours; nothing if it is not there.
    pub async fn object(&self, name: &str) -> Option<Vec<u8>> {
        match self.bucket.get(&Path::from(name)).await {
            Err(object_store::Error::NotFound { .. }) => None,
            found => Some(found.or_fail("ask the storage").bytes().await.or_fail("read an object").to_vec()),
        }
    }

    /// The names of all objects.
    pub async fn objects(&self) -> Vec<String> {
        let names = self.bucket.list(None).map_ok(|object| object.location.to_string());
        names.try_collect().await.or_fail("list the bucket")
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
        self.bucket.put(&Path::from(name), bytes.into()).await.or_fail("put an object");
    }

    /// Ends it, as a storage that is away.
    pub async fn kill(&mut self) {
        self.child.kill().await.or_fail("end moto");
    }
}

/// Has moto make a user who may do everything in S3, and keys for it.
async fn user(http: &reqwest::Client, address: &str) -> Keys {
    let ask = async |action: &str, more: &[(&str, &str)]| {
        let named = [("Action", action), ("Version", "2010-05-08"), ("UserName", USER)];
        let body = Serializer::new(String::new()).extend_pairs(named).extend_pairs(more).finish();
        let asked = http.post(address).header("authorization", ANYBODY).body(body);
        let asked = asked.header("content-type", "application/x-www-form-urlencoded");
        let answer = asked.send().await.and_then(reqwest::Response::error_for_status).or_fail(action);
        answer.text().await.or_fail(action)
    };
    let all = json!({
        "Version": "2012-10-17",
        "Statement": [{ "Effect": "Allow", "Action": "s3:*", "Resource": "*" }],
    })
    .to_string();
    ask("CreateUser", &[]).await;
    ask("PutUserPolicy", &[("PolicyName", "all"), ("PolicyDocument", all.as_str())]).await;
    let made = ask("CreateAccessKey", &[]).await;
    let inside = |element: &str| {
        let (_, rest) = made.split_once(&format!("<{element}>"))?;
        rest.split_once("</").map(|(text, _)| text.to_owned())
    };
    let [access, secret] =
        ["AccessKeyId", "SecretAccessKey"].map(|element| inside(element).or_fail("read moto's keys"));
    Keys { access, secret }
}
