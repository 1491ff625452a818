//! An `OpenID` provider that nobody here wrote: `oidc-provider-mock`, as a process of its own.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use reqwest::redirect::Policy;
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use crate::fail::{OrFail, fail};

/// How soon to ask again whether it is ready.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// Python takes its time.
const STARTS_WITHIN: Duration = Duration::from_mins(1);
/// Where it would send a browser.
const REDIRECT: &str = "http://localhost/callback";

/// A running provider. Dropped, it is killed.
#[derive(Debug)]
pub struct OpenIdProvider {
    _child: Child,
    /// What it calls itself.
    pub issuer: String,
    http: reqwest::Client,
}

/// The Python of the tests, which `make test` installs.
pub fn python() -> PathBuf {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools/python/bin/python");
    if !python.is_file() {
        fail("the Python of the tests is not there: run them with `make test`, which installs it");
    }
    python
}

impl OpenIdProvider {
    /// Starts one that knows these people: `(subject, address, whether the address is verified)`.
    pub async fn start(people: &[(&str, &str, bool)]) -> Self {
        crate::client::prepare();
        let http = reqwest::Client::builder().no_proxy().redirect(Policy::none()).build().or_fail("make a client");
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|socket| socket.local_addr());
        let port = free.or_fail("find a free port").port();
        let mut command = Command::new(python());
        command
            .args(["-m", "oidc_provider_mock", "--port", &port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        for (subject, email, verified) in people {
            let claims = json!({ "sub": subject, "email": email, "email_verified": verified });
            command.args(["--user-claims", &claims.to_string()]);
        }
        let child = command.kill_on_drop(true).spawn().or_fail("start oidc-provider-mock");
        let provider = Self { _child: child, issuer: format!("http://127.0.0.1:{port}"), http };
        let ready = async {
            while provider.http.get(format!("{}/jwks", provider.issuer)).send().await.is_err() {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        tokio::time::timeout(STARTS_WITHIN, ready).await.or_fail("wait longer for oidc-provider-mock");
        provider
    }

    /// An ID token of somebody, made out to `client_id`.
    pub async fn id_token(&self, client_id: &str, subject: &str) -> String {
        let url = format!(
            "{}/oauth2/authorize?client_id={client_id}&redirect_uri={REDIRECT}&response_type=code&scope=openid%20email",
            self.issuer
        );
        let consent = self.http.post(url).form_body(&[("sub", subject)]).send().await.or_fail("log in there");
        let location = consent.headers().get("location").and_then(|value| value.to_str().ok());
        let code = location.and_then(|location| location.split("code=").nth(1)).or_fail("find the code");
        let code = code.split('&').next().unwrap_or_default();
        let form = [("grant_type", "authorization_code"), ("code", code), ("redirect_uri", REDIRECT)];
        let token = self.http.post(format!("{}/oauth2/token", self.issuer)).basic_auth(client_id, Some("secret"));
        let tokens = token.form_body(&form).send().await.or_fail("trade the code").text().await.or_fail("read");
        let tokens: Value = serde_json::from_str(&tokens).or_fail("read the tokens");
        tokens["id_token"].as_str().or_fail("find the ID token").to_owned()
    }
}

/// A form, without the feature of the client that would bring more with it.
trait FormBody {
    fn form_body(self, fields: &[(&str, &str)]) -> Self;
}

impl FormBody for reqwest::RequestBuilder {
    fn form_body(self, fields: &[(&str, &str)]) -> Self {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        self.header("content-type", "application/x-www-form-urlencoded").body(body)
    }
}
