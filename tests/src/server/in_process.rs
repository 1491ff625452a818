//! A node and its HTTP server within this process.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use api::app::{App, Node};
use api::auth::newcomer::newcomer;
use api::config::{self, Config, wrapping};
use api::http::serving;
use chrono::TimeDelta;
use commands::sessions::NewSession;
use commands::{Request, accounts, sessions};
use domain::account::Capability;
use domain::session::TokenHash;
use domain::{AccountId, SessionId};
use eventstore::clock::Clock;
use eventstore::database::Database;
use eventstore::event::Metadata;
use eventstore::mint;
use eventstore::sealing::PersonKey;
use eventstore::secrets::RootSecret;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::client::Client;
use crate::database::TestDatabase;
use crate::fail::OrFail;
use crate::mailbox::Mailboxes;

/// A message that was not sent by then will not be.
const PATIENCE: Duration = Duration::from_secs(15);
/// How soon to look again whether all messages are sent.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// The secret of every server of the tests.
pub(crate) const SECRET: &str = "a secret of the tests, good for nothing else";

/// A marketplace within this process, with the sandbox's clock.
#[derive(Debug)]
pub struct InProcess {
    /// Its parts.
    pub app: App,
    /// Its database.
    pub database: TestDatabase,
    node: Node,
    address: String,
    quit: oneshot::Sender<()>,
    serving: JoinHandle<()>,
    /// Where its messages and its uploads go.
    mail: TempDir,
}

impl InProcess {
    /// On a database of its own.
    pub async fn start() -> Self {
        Self::start_with(Config::default()).await
    }

    /// The same, configured.
    pub async fn start_with(settings: Config) -> Self {
        Self::start_on(TestDatabase::fresh().await, settings).await
    }

    /// On a database that is there already. The sandbox is switched on whatever the settings say, and there are no limits
    /// unless they name some: a test asks and offers more at once than anybody else.
    pub async fn start_on(database: TestDatabase, mut settings: Config) -> Self {
        settings.sandbox.enabled = true;
        let mail = TempDir::new().or_fail("make a folder for messages");
        settings.mail.folder = mail.path().join("mail");
        if settings.media.folder == config::Media::default().folder {
            settings.media.folder = mail.path().join("media");
        }
        if settings.limits == config::Limits::default() {
            settings.limits = config::Limits::OFF;
        }
        if settings.plans == config::Plans::default() {
            settings.plans = config::Plans::UNLIMITED;
        }
        if settings.payouts == config::Payouts::default() {
            // They send what they have just brought in to wherever they like.
            settings.payouts = config::Payouts::OFF;
        }
        if settings.http.connections_per_sender == config::Http::default().connections_per_sender {
            // All of them come from here.
            settings.http.connections_per_sender = settings.http.connections;
        }
        let secret = RootSecret::new(SECRET.as_bytes());
        let wrapping = wrapping(&settings).or_fail("read the wrapping keys");
        let reached = Database::at(database.url()).or_fail("read the address of the database").with_wrapping(wrapping);
        let node = Node::start(settings, &reached, secret, Clock::new()).await.or_fail("start a node");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.or_fail("listen on a free port");
        let address = format!("http://{}", listener.local_addr().or_fail("tell the port"));
        let app = node.app.clone();
        let (quit, told) = oneshot::channel();
        let serving = tokio::spawn(async move {
            let until = async move { drop(told.await) };
            let api = api::http::api(app.clone());
            serving::serve(listener, api, &app.settings.http, until).await;
        });
        Self { app: node.app.clone(), database, node, address, quit, serving, mail }
    }

    /// Where it listens (`http://host:port`).
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The messages that were sent until now, all of them.
    pub async fn mailboxes(&self) -> Mailboxes {
        let head = self.database.log_head().await;
        self.app.progress.wait_for(commands::mail::NAME, head, PATIENCE).await.or_fail("wait for messages");
        let sent = async {
            while commands::mail::unsent(&self.app.pool).await.or_fail("look at what is to be sent").fresh > 0 {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        tokio::time::timeout(PATIENCE, sent).await.or_fail("wait until all messages are sent");
        Mailboxes::at(&self.mail.path().join("mail"))
    }

    /// Waits until the files are deleted of all pictures that are removed, and that go with whoever is forgotten.
    pub async fn files_deleted(&self) {
        // Whoever is forgotten comes first, then what is removed because of that.
        for _ in 0..2 {
            let head = self.database.log_head().await;
            let media = self.app.progress.wait_for(commands::media::NAME, head, PATIENCE).await;
            media.or_fail("wait for files to be deleted");
        }
    }

    /// Waits until all is taken off that people have offered who are forgotten.
    pub async fn offers_cleared(&self) {
        let head = self.database.log_head().await;
        let cleared = self.app.progress.wait_for(commands::clearing::NAME, head, PATIENCE).await;
        cleared.or_fail("wait for offers to be taken off");
    }

    /// Nobody in particular, at this server.
    pub fn client(&self) -> Client {
        Client::anonymous(&self.address)
    }

    /// Somebody who buys and has no password: to hash hundreds would take longer than the rest of a test.
    pub async fn join(&self, name: &str) -> Client {
        let account = AccountId(mint::id());
        let (email, capabilities) = (format!("{name}@example.com"), BTreeSet::from([Capability::Buy]));
        let newcomer =
            newcomer(&self.app.secret, &self.app.wrapping, &PersonKey::mint(account), &email, name, None, capabilities);
        let session = NewSession {
            session: SessionId(mint::id()),
            account,
            token_hash: TokenHash("none".to_owned()),
            expires_at: Clock::real_now() + TimeDelta::days(1),
        };
        let id = session.session;
        let join = move |world: &mut commands::World<'_>| {
            accounts::register(world, &newcomer)?;
            accounts::trust_email(world, account)?;
            sessions::open(world, &session)
        };
        let joined = self.app.engine.submit(Request::once(Metadata::by_account(account)), join).await;
        joined.or_fail("register somebody");
        let token = self.app.tokens.issue(account, id).or_fail("issue an access token");
        self.client().speaking_for(account, &token)
    }

    /// Stops as the binary does: the server first, then the node. Leaves the database.
    pub async fn stop(self) -> TestDatabase {
        let Self { app, database, node, quit, serving, .. } = self;
        app.closing.cancel();
        drop(app);
        // The server may have ended by itself.
        let _ = quit.send(());
        serving.await.or_fail("end the server");
        node.stop().await;
        database
    }
}
