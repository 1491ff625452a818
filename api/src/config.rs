//! Configuration: what can be set, its defaults, and where a value comes from.
//!
//! Four layers, each over the one before: defaults < file (`tradepost.toml`, or the one named with `--config`) <
//! environment (`DATABASE_URL`, then `TRADEPOST_<SECTION>__<KEY>`) < command line. A key that nobody knows is refused in
//! every layer, because a mistyped setting that is silently ignored is found out in production.

mod affiliate;
mod layers;
mod mail;
mod media;
mod networks;
mod observing;
mod orders;
mod origins;
mod past;
mod payouts;
mod places;
mod plans;
mod proof;
mod reports;
mod roles;
mod sandbox;
mod sealing;
mod secret;
mod settings;
mod stripe;
#[cfg(test)]
mod tests;
mod webhooks;

use std::{
    collections::BTreeMap,
    io,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use commands::mail::Mailbox;
use domain::Currency;
use domain::increments::Increments;
use domain::money::FULL_BPS;
use figment::Figment;
use serde::{Deserialize, Serialize};

pub use affiliate::Affiliate;
pub use layers::{ConfigFile, DEFAULT_FILE, PREFIX, Sources};
pub use mail::Mail;
pub use media::Media;
pub use networks::Networks;
pub use observing::{Log, LogFormat, Metrics, Traces};
pub use orders::Orders;
pub use origins::Origins;
pub use past::Past;
pub use payouts::{OutLimit, Payouts};
pub use places::{Files, Places};
pub use plans::Plans;
pub use proof::{Proof, proof_keys};
pub use reports::Reports;
pub use roles::Roles;
pub use sandbox::Sandbox;
pub use sealing::{Sealing, carrier, wrapping};
pub(crate) use secret::random_hex;
pub use secret::{Secret, root_secret};
pub use settings::describe;
pub use stripe::Stripe;

/// Shorter secrets can be guessed; 32 characters are 128 bits even if they are only hexadecimal.
const SECRET_MIN_CHARS: usize = 32;

/// What is more is no limit: 0 says that.
const MOST_PER_S: u32 = 1_000_000;
const MOST_PER_S_RULE: &str = "it must be at most 1000000; 0 turns it off";

/// One to thirty days, as the domain rules have it under "Escrow".
const INSPECTION_RULE: &str = "it must be from 86400 to 2592000, which is 1 to 30 days";

fn is_inspection(seconds: u32) -> bool {
    (86_400..=2_592_000).contains(&seconds)
}

const REVIEW_RULE: &str = "it must be from 60 to 2592000, which is a minute to 30 days";

fn is_review(seconds: u32) -> bool {
    (60..=2_592_000).contains(&seconds)
}

/// The whole configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The HTTP server.
    pub http: Http,
    /// How much one sender and one account may ask.
    pub limits: Limits,
    /// The database, private or not.
    pub database: Database,
    /// Tokens and the root secret.
    pub auth: Auth,
    /// Logging in with Google.
    pub google: Google,
    /// Messages to mailboxes.
    pub mail: Mail,
    /// Uploaded pictures.
    pub media: Media,
    /// Rules of auctions.
    pub auctions: Auctions,
    /// Rules of listings.
    pub catalogue: Catalogue,
    /// Rules of sales.
    pub orders: Orders,
    /// Rules of commissions.
    pub affiliate: Affiliate,
    /// Rules of money that goes out.
    pub payouts: Payouts,
    /// Rules of bonus points.
    pub points: Points,
    /// Provinces and cities.
    pub places: Places,
    /// Rules of plans.
    pub plans: Plans,
    /// Rules of reports.
    pub reports: Reports,
    /// Rules of stores.
    pub stores: Stores,
    /// The payment provider, if it is Stripe.
    pub stripe: Stripe,
    /// The decision loop.
    pub engine: Engine,
    /// Followers of the log.
    pub feed: Feed,
    /// Answers about the past.
    pub past: Past,
    /// What this node does.
    pub node: Node,
    /// NATS, which carries events to other nodes and systems.
    pub nats: Nats,
    /// Metrics for Prometheus.
    pub metrics: Metrics,
    /// How the keys of people are stored.
    pub sealing: Sealing,
    /// What is signed of the log.
    pub proof: Proof,
    /// The sandbox for trying things out.
    pub sandbox: Sandbox,
    /// Traces for a collector.
    pub traces: Traces,
    /// What is logged, and how.
    pub log: Log,
}

/// The HTTP server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    /// Address and port that the server listens on.
    pub bind: SocketAddr,
    /// Milliseconds after which a request is answered with an error.
    pub request_timeout_ms: u64,
    /// Largest request body that is accepted, in bytes.
    pub body_limit_bytes: usize,
    /// Milliseconds within which the head of a request must have come.
    pub header_timeout_ms: u64,
    /// Milliseconds for which a client may take nothing of an answer.
    pub write_timeout_ms: u64,
    /// Most connections at once.
    pub connections: usize,
    /// Most connections at once from one address that is no trusted proxy.
    pub connections_per_sender: usize,
    /// Whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Networks,
    /// Whose pages may use the API.
    pub origins: Origins,
}

/// How much one sender and one account may ask. 0 turns a limit off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Requests per second of one sender.
    pub sender_per_s: u32,
    /// Requests per minute of one sender that let it guess.
    pub guesses_per_min: u32,
    /// Orders per minute of one sender without an account.
    pub guest_orders_per_min: u32,
    /// Clicks on affiliates' links per minute of one sender, and of one account.
    pub clicks_per_min: u32,
    /// Uploads per minute of one sender, and of one account.
    pub uploads_per_min: u32,
    /// Commands per second of one account.
    pub account_per_s: u32,
}

impl Limits {
    /// None at all, for loads that are meant to be more than anybody may ask.
    pub const OFF: Self = Self {
        sender_per_s: 0,
        guesses_per_min: 0,
        guest_orders_per_min: 0,
        clicks_per_min: 0,
        uploads_per_min: 0,
        account_per_s: 0,
    };
}

/// The database, private or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Database {
    /// Where the database is. `None`: a private Postgres is run. A secret, because it usually holds a password.
    pub url: Option<Secret<String>>,
    /// Connections held to the database.
    pub pool_size: u32,
    /// Folder of the private Postgres.
    pub embedded_dir: PathBuf,
}

/// Tokens and the root secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Auth {
    /// From which all keys are derived; read it through [`root_secret`], which knows what to do without one.
    pub secret: Option<Secret<String>>,
    /// `iss` of the access tokens.
    pub issuer: String,
    /// `aud` of the access tokens.
    pub audience: String,
    /// Seconds that an access token is good for.
    pub access_token_ttl_s: u64,
    /// Seconds that a refresh token is good for.
    pub refresh_token_ttl_s: u64,
    /// Seconds after which access tokens are signed with a new key.
    pub key_rotation_s: u64,
    /// Which of the many keys that the root secret could give are in use.
    pub key_generation: u32,
}

/// Logging in with Google, or with another `OpenID` provider in its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Google {
    /// This marketplace, as the issuer knows it. `None`: nobody logs in this way.
    pub client_id: Option<String>,
    /// Who issues the ID tokens.
    pub issuer: String,
}

/// Rules of auctions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Auctions {
    /// A bid in the last so many seconds moves the end of the auction; 0 turns this off.
    pub soft_close_window_s: u64,
    /// By how much a bid must top the price, in the currencies that do not use the standard table.
    pub increments: BTreeMap<Currency, Increments>,
    /// Seconds that an underbidder has to take what the winner did not pay.
    pub second_chance_s: u32,
}

/// Rules of listings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Catalogue {
    /// Whether the staff looks at a listing before it is offered.
    pub review: bool,
    /// Seconds after which it is offered all the same.
    pub review_s: u32,
}

/// Rules of bonus points. An order keeps those of the time when it was placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Points {
    /// How many a completed order earns per whole major unit that was paid with money.
    pub per_major_unit: u32,
    /// What each pays at a checkout, in minor units.
    pub worth_minor_units: u32,
}

/// Rules of stores.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Stores {
    /// Whether only sellers may publish whose store staff have verified.
    pub needs_verification: bool,
}

/// The decision loop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Engine {
    /// Most commands decided and committed together.
    pub batch_max: usize,
    /// Most aggregates kept in memory.
    pub cache_aggregates: usize,
    /// Most commands that wait; more are refused.
    pub queue: usize,
}

/// Followers of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Feed {
    /// Milliseconds between looks at the log when nothing wakes a follower.
    pub poll_ms: u64,
    /// Most events that a follower takes at a time.
    pub batch_events: usize,
}

/// What this node does.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Node {
    /// All of it, or a part.
    pub roles: Roles,
}

/// NATS, which carries events to other nodes and systems.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Nats {
    /// Where it is. `None`: there is none. A secret, because it may hold a password.
    pub url: Option<Secret<String>>,
    /// How many copies of the stream there are in a cluster.
    pub replicas: usize,
}

impl Default for Http {
    fn default() -> Self {
        let bind = SocketAddr::from((Ipv4Addr::LOCALHOST, 8080));
        Self {
            bind,
            request_timeout_ms: 30_000,
            body_limit_bytes: 1_048_576,
            header_timeout_ms: 75_000,
            write_timeout_ms: 30_000,
            connections: 10_000,
            connections_per_sender: 1_000,
            trusted_proxies: Networks::default(),
            origins: Origins::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sender_per_s: 200,
            guesses_per_min: 30,
            guest_orders_per_min: 10,
            clicks_per_min: 30,
            uploads_per_min: 20,
            account_per_s: 100,
        }
    }
}

impl Default for Database {
    fn default() -> Self {
        Self { url: None, pool_size: 16, embedded_dir: PathBuf::from(".tradepost/postgres") }
    }
}

impl Default for Auth {
    fn default() -> Self {
        let (issuer, audience) = ("tradepost".to_owned(), "tradepost".to_owned());
        let (access_token_ttl_s, refresh_token_ttl_s) = (900, 604_800);
        let (key_rotation_s, key_generation) = (86_400, 1);
        Self { secret: None, issuer, audience, access_token_ttl_s, refresh_token_ttl_s, key_rotation_s, key_generation }
    }
}

impl Default for Google {
    fn default() -> Self {
        Self { client_id: None, issuer: "https://accounts.google.com".to_owned() }
    }
}

impl Default for Auctions {
    fn default() -> Self {
        Self { soft_close_window_s: 120, increments: BTreeMap::new(), second_chance_s: 86_400 }
    }
}

impl Default for Catalogue {
    fn default() -> Self {
        Self { review: false, review_s: 86_400 }
    }
}

impl Default for Points {
    fn default() -> Self {
        Self { per_major_unit: 1, worth_minor_units: 1 }
    }
}

impl Default for Engine {
    fn default() -> Self {
        Self { batch_max: 256, cache_aggregates: 100_000, queue: 4096 }
    }
}

impl Default for Feed {
    fn default() -> Self {
        Self { poll_ms: 200, batch_events: 1000 }
    }
}

impl Default for Nats {
    fn default() -> Self {
        Self { url: None, replicas: 1 }
    }
}

/// Why there is no configuration to start with. Each is one sentence for the operator; none repeats a secret.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// `--config` names a file that is not there.
    #[error("the configuration file {} does not exist; it was named with --config", path.display())]
    NoFile {
        /// The name given.
        path: PathBuf,
    },
    /// The file is not TOML. The line itself is not shown: it may hold a secret.
    #[error("{} is not valid TOML at line {line}: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// What the parser missed.
        message: String,
    },
    /// A key that is no setting.
    #[error("unknown setting `{key}` ({origin}): {allowed}")]
    UnknownKey {
        /// The key as written, with dots.
        key: String,
        /// Where it stands.
        origin: String,
        /// The keys that could have been meant.
        allowed: String,
    },
    /// A value that cannot be what the setting is.
    #[error("the setting `{key}` ({origin}) cannot be used: {reason}")]
    Unusable {
        /// The key.
        key: String,
        /// Where it stands.
        origin: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A provider of values failed for a reason of its own.
    #[error("the configuration cannot be read: {0}")]
    Provider(Box<figment::Error>),
    /// A database elsewhere and no root secret.
    #[error(
        "auth.secret must be set when the database is not the private one: generate a secret with `openssl rand -hex 32` \
         and give it to every node as TRADEPOST_AUTH__SECRET"
    )]
    SecretMissing,
    /// The secret file was cut short or edited.
    #[error(
        "{} does not hold a secret of at least {SECRET_MIN_CHARS} characters; restore it from a backup, because what was \
         sealed with the lost secret cannot be opened with another", path.display()
    )]
    SecretFile {
        /// The file.
        path: PathBuf,
    },
    /// A file could not be used.
    #[error("could not {doing} ({}): {source}", path.display())]
    File {
        /// What was tried.
        doing: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl ConfigError {
    fn file(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { doing, path, source }
    }
}

impl Config {
    /// The rules that types cannot express.
    #[expect(clippy::too_many_lines, reason = "a line or so per rule")]
    fn check(&self, figment: &Figment) -> Result<(), ConfigError> {
        let secret_chars = self.auth.secret.as_ref().map(|secret| secret.expose().chars().count());
        let url = self.database.url.as_ref().map(Secret::expose);
        let is_postgres = |url: &String| url.starts_with("postgres://") || url.starts_with("postgresql://");
        let nats = self.nats.url.as_ref().map(Secret::expose);
        let is_nats = |url: &String| url.starts_with("nats://") || url.starts_with("tls://");
        let client_id = self.google.client_id.as_ref();
        let is_web = |url: &str| url.starts_with("https://") || url.starts_with("http://");
        let (bucket, endpoint) = (self.media.s3_bucket.as_ref(), self.media.s3_endpoint.as_ref());
        let collector = self.traces.otlp_endpoint.as_ref();
        let filter = tracing_subscriber::EnvFilter::try_new(&self.log.filter);
        let rules = [
            ("http.request_timeout_ms", self.http.request_timeout_ms >= 1, "it must be at least 1"),
            ("http.body_limit_bytes", self.http.body_limit_bytes >= 1024, "it must be at least 1024"),
            ("http.header_timeout_ms", self.http.header_timeout_ms >= 1, "it must be at least 1"),
            ("http.write_timeout_ms", self.http.write_timeout_ms >= 1, "it must be at least 1"),
            ("http.connections", (1..=1_000_000).contains(&self.http.connections), "it must be from 1 to 1000000"),
            ("http.connections_per_sender", self.http.connections_per_sender >= 1, "it must be at least 1"),
            ("limits.sender_per_s", self.limits.sender_per_s <= MOST_PER_S, MOST_PER_S_RULE),
            ("limits.guesses_per_min", self.limits.guesses_per_min <= MOST_PER_S, MOST_PER_S_RULE),
            ("limits.guest_orders_per_min", self.limits.guest_orders_per_min <= MOST_PER_S, MOST_PER_S_RULE),
            ("limits.clicks_per_min", self.limits.clicks_per_min <= MOST_PER_S, MOST_PER_S_RULE),
            ("limits.uploads_per_min", self.limits.uploads_per_min <= MOST_PER_S, MOST_PER_S_RULE),
            ("limits.account_per_s", self.limits.account_per_s <= MOST_PER_S, MOST_PER_S_RULE),
            ("database.url", url.is_none_or(is_postgres), "it must start with postgres://"),
            ("database.pool_size", (4..=1000).contains(&self.database.pool_size), "it must be from 4 to 1000"),
            ("database.embedded_dir", self.database.embedded_dir.file_name().is_some(), "it must name a folder"),
            ("auth.secret", secret_chars.is_none_or(|n| n >= SECRET_MIN_CHARS), "it must have at least 32 characters"),
            ("auth.issuer", !self.auth.issuer.is_empty(), "it must not be empty"),
            ("auth.audience", !self.auth.audience.is_empty(), "it must not be empty"),
            (
                "auth.access_token_ttl_s",
                (1..=86_400).contains(&self.auth.access_token_ttl_s),
                "it must be from 1 to 86400",
            ),
            (
                "auth.refresh_token_ttl_s",
                (self.auth.access_token_ttl_s..=31_536_000).contains(&self.auth.refresh_token_ttl_s),
                "it must be from auth.access_token_ttl_s to 31536000",
            ),
            (
                "auth.key_rotation_s",
                (self.auth.access_token_ttl_s..=31_536_000).contains(&self.auth.key_rotation_s),
                "it must be from auth.access_token_ttl_s to 31536000",
            ),
            ("google.client_id", client_id.is_none_or(|id| !id.is_empty()), "it must not be empty"),
            ("google.issuer", is_web(&self.google.issuer), "it must start with https:// or http://"),
            ("mail.folder", self.mail.folder.file_name().is_some(), "it must name a folder"),
            ("mail.folder_days", (1..=3_650).contains(&self.mail.folder_days), "it must be from 1 to 3650"),
            ("mail.site_url", self.mail.site_is_usable(), mail::SITE_RULE),
            ("mail.smtp_url", self.mail.smtp_is_usable(), mail::SMTP_RULE),
            ("mail.smtp_connections", (1..=100).contains(&self.mail.smtp_connections), "it must be from 1 to 100"),
            ("media.folder", self.media.folder.file_name().is_some(), "it must name a folder"),
            ("media.pictures_per_account", self.media.is_most_sound(), media::MOST_RULE),
            ("media.s3_bucket", bucket.is_none_or(|name| !name.is_empty()), "it must not be empty"),
            (
                "media.s3_endpoint",
                endpoint.is_none_or(|url| is_web(url) && bucket.is_some()),
                "it must start with https:// or http://, and takes media.s3_bucket",
            ),
            ("media.s3_access_key", self.media.keys_are_whole(), media::KEYS_RULE),
            (
                "mail.from",
                self.mail.from.parse::<Mailbox>().is_ok(),
                "it is no address such as `Shop <shop@example.com>`",
            ),
            ("auctions.soft_close_window_s", self.auctions.soft_close_window_s <= 86_400, "it must be at most 86400"),
            (
                "auctions.second_chance_s",
                (3_600..=2_592_000).contains(&self.auctions.second_chance_s),
                "it must be from 3600 to 2592000",
            ),
            ("affiliate.commission_bps", self.affiliate.commission_bps <= FULL_BPS, "it must be at most 10000"),
            ("affiliate.attribution_days", self.affiliate.days_are_in_range(), affiliate::DAYS_RULE),
            ("payouts.cooling_s", self.payouts.is_cooling_sound(), payouts::COOLING_RULE),
            ("payouts.limits", self.payouts.are_limits_sound(), payouts::LIMITS_RULE),
            ("points.per_major_unit", self.points.per_major_unit <= 1000, "it must be at most 1000"),
            ("points.worth_minor_units", self.points.worth_minor_units <= 1000, "it must be at most 1000"),
            ("reports.per_day", (1..=1_000).contains(&self.reports.per_day), "it must be from 1 to 1000"),
            ("catalogue.review_s", is_review(self.catalogue.review_s), REVIEW_RULE),
            ("orders.fee_bps", self.orders.fee_bps <= FULL_BPS, "it must be at most 10000"),
            (
                "orders.confirm_within_s",
                (3_600..=2_592_000).contains(&self.orders.confirm_within_s),
                "it must be from 3600 to 2592000",
            ),
            (
                "orders.cash_ship_within_s",
                (86_400..=5_184_000).contains(&self.orders.cash_ship_within_s),
                "it must be from 86400 to 5184000, which is 1 to 60 days",
            ),
            (
                "orders.cash_deliver_within_s",
                (86_400..=7_776_000).contains(&self.orders.cash_deliver_within_s),
                "it must be from 86400 to 7776000, which is 1 to 90 days",
            ),
            ("orders.inspection_physical_s", is_inspection(self.orders.inspection_physical_s), INSPECTION_RULE),
            ("orders.inspection_digital_s", is_inspection(self.orders.inspection_digital_s), INSPECTION_RULE),
            ("engine.batch_max", (1..=4096).contains(&self.engine.batch_max), "it must be from 1 to 4096"),
            // Far more than one command touches: it could never be decided if it had not all of them in memory at once.
            ("engine.cache_aggregates", self.engine.cache_aggregates >= 1024, "it must be at least 1024"),
            ("engine.queue", self.engine.queue >= 1, "it must be at least 1"),
            ("feed.poll_ms", (1..=60_000).contains(&self.feed.poll_ms), "it must be from 1 to 60000"),
            ("feed.batch_events", (1..=100_000).contains(&self.feed.batch_events), "it must be from 1 to 100000"),
            ("past.at_once", (1..=64).contains(&self.past.at_once), "it must be from 1 to 64"),
            ("past.events", (100..=1_000_000).contains(&self.past.events), "it must be from 100 to 1000000"),
            ("past.timeout_ms", (100..=25_000).contains(&self.past.timeout_ms), "it must be from 100 to 25000"),
            ("nats.url", nats.is_none_or(is_nats), "it must start with nats:// or tls://"),
            ("nats.replicas", (1..=5).contains(&self.nats.replicas), "it must be from 1 to 5"),
            ("sealing.wrapping_key", self.sealing.key_is_usable(), sealing::KEY_RULE),
            (
                "sealing.wrapping_key_file",
                self.sealing.key_is_in_one_place(),
                "sealing.wrapping_key is set too; set one of them",
            ),
            ("sealing.former_wrapping_keys", self.sealing.former_are_usable(), sealing::FORMER_RULE),
            ("proof.name", self.proof.name_is_usable(), proof::NAME_RULE),
            ("proof.former_keys", self.proof.former().is_some(), proof::FORMER_RULE),
            ("proof.head_every_ms", (10..=86_400_000).contains(&self.proof.head_every_ms), proof::EVERY_RULE),
            ("proof.head_events", self.proof.head_events >= 1, "it must be at least 1"),
            ("proof.share_percent", (1..=100).contains(&self.proof.share_percent), "it must be from 1 to 100"),
            ("proof.anchor_url", self.proof.url_is_usable(), proof::URL_RULE),
            ("proof.anchor_every_s", (1..=31_536_000).contains(&self.proof.anchor_every_s), proof::ANCHOR_RULE),
            (
                "node.roles",
                !self.sandbox.enabled || self.node.roles == Roles::ALL,
                "the sandbox, whose clock is that of one node, takes all roles",
            ),
            ("sandbox.webhook_secrets", webhooks::are_usable(self.sandbox.webhook_secrets.as_ref()), webhooks::RULE),
            ("stripe.api_base", self.stripe.base_is_usable(), stripe::BASE_RULE),
            ("stripe.api_key", self.stripe.key_is_usable(), stripe::KEY_RULE),
            ("stripe.api_key", !self.sandbox.enabled || self.stripe.key_is_of_test_mode(), stripe::LIVE_RULE),
            ("stripe.webhook_secrets", webhooks::are_usable(self.stripe.webhook_secrets.as_ref()), webhooks::RULE),
            ("stripe.api_key", self.stripe.hears_of_live_money(), stripe::HEARING_RULE),
            ("stripe.return_url", self.stripe.return_is_usable(), stripe::RETURN_RULE),
            (
                "traces.otlp_endpoint",
                collector.is_none_or(|url| url.starts_with("http://")),
                "it must start with http://; a collector that takes only TLS needs one beside this node",
            ),
            ("traces.sample_percent", self.traces.sample_percent <= 100, "it must be at most 100"),
            ("log.filter", filter.is_ok(), "it is no filter such as `info` or `info,sqlx=warn`"),
        ];
        let broken = rules.into_iter().find(|(_, kept, _)| !kept);
        broken.map_or(Ok(()), |(key, _, rule)| {
            let origin = layers::origin(figment.find_metadata(key), key);
            Err(ConfigError::Unusable { key: key.to_owned(), origin, reason: rule.to_owned() })
        })
    }
}
