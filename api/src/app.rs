//! A running node: the decision loop, the followers of the log, the timers, and what the HTTP API needs of them.

use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::TimeDelta;
use commands::clearing::{self, Clearing};
use commands::commissions::CommissionRules;
use commands::guests::CashRules;
use commands::listings::{AuctionRules, ListingRules};
use commands::mail::{self, BadAddress, Called, Folder, Mail, Mailbox, Mailer, Post, Smtp};
use commands::media;
use commands::orders::SaleRules;
use commands::payments::sandbox::Sandbox;
use commands::payments::stripe::{BadKey, Stripe};
use commands::payments::{self, PaymentProvider, Payments, Providers};
use commands::process::{self, Following};
use commands::timers::{self, Leaving, Rules, TimeTravel, TimerTable, Timers};
use commands::{Engine, EngineSettings};
use domain::Timestamp;
use eventstore::clock::Clock;
use eventstore::database::{Database, DatabaseError};
use eventstore::feed::Feed;
use eventstore::follower::{self, Follower, Runner};
use eventstore::lease::Lease;
use eventstore::log::{self, Head};
use eventstore::nats::{self, NatsError};
use eventstore::progress::Progress;
use eventstore::proof::keys::KeyRing;
use eventstore::proof::notary::{self, Notary, Standing};
use eventstore::relay::{self, Relay};
use eventstore::secrets::RootSecret;
use eventstore::wrapping::Wrapping;
use eventstore::wrapping::rows::{Census, Unopenable};
use eventstore::{Position, announce, mint};
use projections::rebuild::RebuildError;
use sqlx::{Connection, PgPool};
use thiserror::Error;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::anchors::{self, Anchors};
use crate::auth::openid::OpenId;
use crate::auth::passwords::{PasswordError, Passwords};
use crate::auth::sessions::LiveSessions;
use crate::auth::tokens::AccessTokens;
use crate::config::{Config, ConfigError, proof_keys};
use crate::forward::{self, Forwarding};
use crate::http::as_of::Past;
use crate::http::limits::{self, Limits};
use crate::http::live::Live;
use crate::http::markdown::RenderedPages;
use crate::http::problem::Problem;
use crate::media::{Media, MediaError};
use crate::observe;
use crate::offers::Kept;
use crate::outgoing;
use crate::places::{Places, PlacesError};
use crate::unfound::Unfound;

/// How long the followers may take to finish their batch when the node stops.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// Why a node could not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The database.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// A query while starting.
    #[error("the database could not be prepared: {0}")]
    Sql(#[from] sqlx::Error),
    /// The log has events of a newer version of Tradepost.
    #[error("the log holds events that this version cannot read: {0}; start a newer version")]
    UnreadableEvents(String),
    /// NATS.
    #[error(transparent)]
    Nats(#[from] NatsError),
    /// A read model could not be built in the version of this code.
    #[error("a read model could not be built: {0}")]
    Rebuild(#[from] RebuildError),
    /// There are keys of people that this node could not open.
    #[error(
        "{0}; set sealing.wrapping_key, sealing.wrapping_key_file or sealing.former_wrapping_keys as on the other nodes, \
         because without their keys these people would seem to be forgotten"
    )]
    Unopenable(#[from] Unopenable),
    /// The keys of the log.
    #[error(transparent)]
    Keys(#[from] ConfigError),
    /// The hasher.
    #[error(transparent)]
    Passwords(#[from] PasswordError),
    /// The client for asking others.
    #[error("there is no way to ask others: {0}")]
    Outgoing(#[from] reqwest::Error),
    /// Stripe.
    #[error(transparent)]
    Stripe(#[from] BadKey),
    /// Uploaded pictures.
    #[error(transparent)]
    Media(#[from] MediaError),
    /// Provinces and cities.
    #[error(transparent)]
    Places(#[from] PlacesError),
    /// The address that messages are from.
    #[error("messages cannot be from `{0}`")]
    Sender(String),
    /// The server that they are sent by.
    #[error(transparent)]
    MailServer(#[from] BadAddress),
}

/// What the handlers share. Cheap to clone.
#[derive(Clone, Debug)]
pub struct App(Arc<Parts>);

impl Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// The parts of a node that the handlers use.
#[derive(Debug)]
pub struct Parts {
    /// How the node was configured.
    pub settings: Config,
    /// The way to the log.
    pub engine: Engine,
    /// The marketplace's clock.
    pub clock: Clock,
    /// For queries.
    pub pool: PgPool,
    /// How far the followers have come.
    pub progress: Progress,
    /// The deployment's secret.
    pub secret: RootSecret,
    /// How the keys of people are stored.
    pub wrapping: Wrapping,
    /// What answers about the past are worked out with.
    pub past: Past,
    /// Access tokens.
    pub tokens: AccessTokens,
    /// Passwords.
    pub passwords: Passwords,
    /// Payment providers.
    pub providers: Providers,
    /// Uploaded pictures, if this node has to do with them.
    pub media: Option<Arc<Media>>,
    /// Provinces and cities.
    pub places: Places,
    /// What was searched for and not found.
    pub unfound: Unfound,
    /// Content pages as HTML.
    pub rendered: RenderedPages,
    /// Who is logged in.
    pub sessions: LiveSessions,
    /// Logging in with Google, if this marketplace is known there.
    pub google: Option<OpenId>,
    /// How much one sender and one account may ask.
    pub limits: Limits,
    /// What sockets show.
    pub live: Live,
    /// Since when each part has been as it is.
    pub health: observe::health::Health,
    /// Sets the clock forward; only on a node that fires timers.
    pub time_travel: Option<TimeTravel>,
    /// The way to the node that decides, if there is NATS.
    pub forwarding: Option<Forwarding>,
    /// The connection to NATS, if there is one.
    pub nats: Option<async_nats::Client>,
    /// How far the relay is, if this node takes turns at it; nothing while it is another's.
    pub relayed: Option<watch::Receiver<Option<Position>>>,
    /// The keys of the log.
    pub keys: KeyRing,
    /// The notary, if this node takes turns at it.
    pub notary: Option<Notarizing>,
    /// Cancelled when the server is told to stop: sockets close, requests that have begun are finished.
    pub closing: CancellationToken,
}

impl Parts {
    /// The rules of listings that are published from now on.
    pub fn listing_rules(&self) -> ListingRules {
        listing_rules(&self.settings)
    }

    /// Uploaded pictures, of which nobody asks a node that has none.
    pub fn media(&self) -> Result<&Arc<Media>, Problem> {
        self.media.as_ref().ok_or_else(|| Problem::unavailable("This node keeps no uploads."))
    }

    /// The rules of what guests order from now on.
    pub fn cash_rules(&self) -> CashRules {
        let crate::config::Orders { confirm_within_s, cash_ship_within_s, cash_deliver_within_s, .. } =
            self.settings.orders;
        let [confirm_within, ship_within, deliver_within] =
            [confirm_within_s, cash_ship_within_s, cash_deliver_within_s].map(|s| TimeDelta::seconds(s.into()));
        CashRules { confirm_within, ship_within, deliver_within }
    }

    /// Whoever asks payment providers.
    pub fn payments(&self) -> Payments {
        let (engine, providers, clock) = (self.engine.clone(), self.providers.clone(), self.clock.clone());
        Payments { engine, providers, clock }
    }

    /// How long an underbidder has to take a second chance.
    pub fn second_chance_window(&self) -> TimeDelta {
        TimeDelta::seconds(i64::from(self.settings.auctions.second_chance_s))
    }

    /// Sets the clock forward; see [`TimeTravel`]. Nothing on a node that fires no timers.
    pub async fn set_clock(&self, target: Timestamp) -> Option<Position> {
        self.time_travel.as_ref()?.set_forward(target).await
    }

    /// The rules of orders that are placed from now on.
    pub fn sale_rules(&self) -> SaleRules {
        sale_rules(&self.settings)
    }
}

fn listing_rules(settings: &Config) -> ListingRules {
    let crate::config::Catalogue { review, review_s } = settings.catalogue;
    let review = review.then(|| TimeDelta::seconds(i64::from(review_s)));
    let verified_only = settings.stores.needs_verification;
    ListingRules { auctions: auction_rules(settings), review, verified_only, plans: settings.plans.rules() }
}

fn auction_rules(settings: &Config) -> AuctionRules {
    let crate::config::Auctions { soft_close_window_s, increments, second_chance_s: _ } = &settings.auctions;
    let soft_close_window_ms = u32::try_from(soft_close_window_s.saturating_mul(1_000)).unwrap_or(u32::MAX);
    AuctionRules { soft_close_window_ms, increments: increments.clone() }
}

fn sale_rules(settings: &Config) -> SaleRules {
    let crate::config::Orders { fee_bps, inspection_physical_s, inspection_digital_s, .. } = settings.orders;
    let crate::config::Points { per_major_unit: points_per_unit, worth_minor_units: point_worth_minor } =
        settings.points;
    let crate::config::Affiliate { commission_bps: rate_bps, within_fee, attribution_days } = settings.affiliate;
    let commission = CommissionRules { rate_bps, within_fee, attributed_for: TimeDelta::days(attribution_days.into()) };
    SaleRules { fee_bps, points_per_unit, point_worth_minor, commission, inspection_physical_s, inspection_digital_s }
}

/// The processes, and the versions of what they keep.
const PROCESSES: [(&str, i32); 5] = [
    (timers::NAME, timers::VERSION),
    (payments::NAME, process::VERSION),
    (mail::NAME, process::VERSION),
    (media::NAME, process::VERSION),
    (clearing::NAME, process::VERSION),
];

/// The processes that keep nothing of their own: wherever they go on from, they need nothing of what was before.
pub const STATELESS: [&str; 3] = [payments::NAME, media::NAME, clearing::NAME];

/// The names of all followers.
pub fn followers() -> impl Iterator<Item = &'static str> {
    projections::ALL.iter().map(|model| model.name).chain(PROCESSES.map(|(name, _)| name))
}

/// The payment providers. Where there is real money, the sandbox's, which anybody has, is worth nothing.
pub fn providers(settings: &Config) -> Result<Providers, StartError> {
    let mut all: Vec<Arc<dyn PaymentProvider>> = Vec::new();
    if let Some(agreed) = settings.stripe.agreed(&settings.mail.site_url) {
        all.push(Arc::new(Stripe::new(agreed, outgoing::client()?)?));
    }
    if all.is_empty() || settings.sandbox.enabled {
        all.push(Arc::new(Sandbox { webhook_secrets: settings.sandbox.webhook_secrets() }));
    }
    Ok(Providers::new(all))
}

/// Brings a database up to date: log, read models, checkpoints. Refuses if there are people whose keys this process could
/// not open, before it builds anything from their events. Read models of another version are built anew beside
/// the live ones, which takes its time; nodes that run go on with those.
pub async fn prepare(database: &Database) -> Result<(), StartError> {
    database.migrate().await?;
    let mut owner = database.connect_as_owner().await?;
    Census::take(&mut owner, database.wrapping()).await?.check()?;
    projections::rebuild::ensure(database).await?;
    for (process, version) in PROCESSES {
        follower::register(&mut owner, process, version).await?;
    }
    owner.close().await?;
    Ok(())
}

/// A node and the tasks that make it run.
#[derive(Debug)]
pub struct Node {
    /// What the handlers share.
    pub app: App,
    deciding: JoinHandle<()>,
    tasks: Tasks,
}

/// What the handlers have to do with the notary.
#[derive(Clone, Debug)]
pub struct Notarizing {
    /// How far it is.
    pub standing: watch::Receiver<Standing>,
    /// Asks for a head that covers a position.
    pub ask: watch::Sender<Position>,
}

/// What runs beside the decision loop until the node stops.
#[derive(Debug)]
struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
    /// The names of those that have not ended.
    running: Arc<Mutex<Vec<&'static str>>>,
}

impl Tasks {
    fn new() -> Self {
        Self { tracker: TaskTracker::new(), stop: CancellationToken::new(), running: Arc::default() }
    }

    /// Runs what ends by itself some time after the node is to stop.
    fn run(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let running = self.running.clone();
        running.lock().unwrap_or_else(PoisonError::into_inner).push(name);
        self.tracker.spawn(async move {
            task.await;
            let mut running = running.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(place) = running.iter().position(|running| *running == name) {
                running.swap_remove(place);
            }
        });
    }

    /// Runs what may end anywhere.
    fn until_stop(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tracker.spawn(self.stop.clone().run_until_cancelled_owned(task));
    }
}

/// What a node has to do with NATS.
struct Nats {
    client: async_nats::Client,
    /// The node's own name.
    id: Uuid,
    forwarding: Option<Forwarding>,
    relayed: Option<watch::Receiver<Option<Position>>>,
    /// Gives the deciding lease up.
    leave: CancellationToken,
}

impl Nats {
    /// Connects, asks for the leases that the node's roles want, relays, announces and listens; nothing without an address.
    async fn connect(
        settings: &Config,
        pool: &PgPool,
        head: &Head,
        feed: &Feed,
        hints: &Arc<Notify>,
        tasks: &Tasks,
    ) -> Result<Option<Self>, StartError> {
        let Some(url) = &settings.nats.url else { return Ok(None) };
        let client = nats::connect(url.expose()).await?;
        let (id, roles, context) = (mint::id(), settings.node.roles, nats::jetstream(&client));
        // Whoever cannot be reached over NATS neither fills the stream nor decides for others.
        let reachable = || {
            let client = client.clone();
            move || nats::is_connected(&client)
        };
        let relayed = roles.relay.then(|| {
            let wanted = Lease { name: relay::LEASE, node: id, priority: 0, ttl: relay::LEASE_TTL };
            let (turn, keeping) = wanted.keep_while(reachable(), pool.clone(), tasks.stop.clone());
            tasks.run("the lease of the relay", keeping);
            let (reached, relayed) = watch::channel(None);
            let replicas = settings.nats.replicas;
            let relay = Relay { pool: pool.clone(), context, replicas, head: head.clone(), turn, reached };
            tasks.run("the relay", relay.run(tasks.stop.clone()));
            relayed
        });
        let leave = tasks.stop.child_token();
        let forwarding = (roles.api || roles.processes).then(|| {
            // Where processes run, their commands are decided: best where all others are.
            let priority = i32::from(roles.processes);
            let wanted = Lease { name: forward::LEASE, node: id, priority, ttl: forward::LEASE_TTL };
            let (deciding, keeping) = wanted.keep_while(reachable(), pool.clone(), leave.clone());
            tasks.run("the lease of who decides", keeping);
            let (forwarding, sending) = Forwarding::new(client.clone(), deciding);
            tasks.until_stop(sending);
            forwarding
        });
        let deciding = forwarding.as_ref().map(|forwarding| forwarding.deciding.clone());
        if let Some(deciding) = deciding.clone() {
            tasks.until_stop(announce::announce(client.clone(), head.clone(), deciding));
        }
        tasks.until_stop(announce::listen(client.clone(), hints.clone(), deciding.clone()));
        if roles.projections || roles.processes {
            // Only followers need the events themselves.
            tasks.until_stop(feed.clone().listen(nats::jetstream(&client), pool.clone(), head.clone(), deciding));
        }
        Ok(Some(Self { client, id, forwarding, relayed, leave }))
    }

    /// Carries out what other nodes hand on, until the server closes: then another node is to decide.
    fn take_commands(self, app: &App, tasks: &Tasks) {
        if self.forwarding.is_none() {
            return;
        }
        let (closing, leave) = (app.closing.clone(), self.leave);
        let api = crate::http::api(app.clone());
        let serving = forward::serve(self.client, self.id, api, leave.clone());
        tasks.run("other nodes' commands", serving);
        tasks.until_stop(async move {
            closing.cancelled().await;
            leave.cancel();
        });
    }
}

/// What counts when timers fire.
fn timer_rules(settings: &Config) -> Rules {
    let (sales, listings, payouts) = (sale_rules(settings), listing_rules(settings), settings.payouts.rules());
    Rules { sales, listings, payouts }
}

impl Node {
    /// Starts everything but the HTTP server, on a database that is brought up to date first. The marketplace's time is
    /// that of `clock`, which follows the database's.
    pub async fn start(
        settings: Config,
        database: &Database,
        secret: RootSecret,
        clock: Clock,
    ) -> Result<Self, StartError> {
        let (places, media) = read_surroundings(&settings)?;
        let keys = proof_keys(&settings, &secret)?;
        let counting = observe::metrics::install();
        prepare(database).await?;
        if settings.node.roles.processes {
            // Not before somebody is there to fill the tables again.
            ensure_tables_of_processes(database).await?;
        }
        let pool = database.pool(settings.database.pool_size);
        check_readable(&pool).await?;
        clock.follow_once(&pool).await?;
        let (head, progress) = (Head::at(log::head(&pool).await?), Progress::default());
        if settings.sandbox.enabled
            && let Some(last) = log::last_recorded_at(&pool).await?
        {
            clock.set_forward(last);
        }
        let sizes = engine_settings(&settings);
        let feed = Feed::default();
        let (engine, deciding) = Engine::start(database, sizes, clock.clone(), head.clone(), feed.clone()).await?;
        let (providers, roles) = (providers(&settings)?, settings.node.roles);
        let payments = Payments { engine: engine.clone(), providers: providers.clone(), clock: clock.clone() };
        let tasks = Tasks::new();
        let hints = Arc::default();
        let nats = Nats::connect(&settings, &pool, &head, &feed, &hints, &tasks).await?;

        let notary = start_notary(&settings, (database, &pool), (&head, &clock), &keys, &tasks)?;
        let runner = runner(&settings, database, &head, feed, &progress);
        let called = Called::default();
        let offers = Kept { pool: pool.clone(), progress: progress.clone() };
        let own = own_followers(&settings, &payments, media.as_ref(), &called, offers);
        let others: Vec<_> = followers().filter(|name| own.iter().all(|own| own.name() != *name)).collect();
        for follower in own {
            tasks.run(follower.name(), runner.clone().run(follower, tasks.stop.clone()));
        }
        if !others.is_empty() {
            tasks.until_stop(progress.clone().watch(others, pool.clone(), head.clone()));
        }
        tasks.until_stop(head.clone().poll(pool.clone(), runner.poll, hints));
        tasks.until_stop(clock.clone().follow(pool.clone()));
        tasks.until_stop(observe::metrics::keep_up(counting));
        let (unfound, counting) = Unfound::new(pool.clone(), clock.clone());
        tasks.run("what nobody finds", counting.run(tasks.stop.clone()));
        let (live, sessions) = (Live::at(mint::id()), LiveSessions::new(head.position()));
        // Nodes with processes too: others hand them requests.
        tasks.until_stop(sessions.clone().follow(pool.clone(), head.clone()));
        if roles.api {
            let nats = nats.as_ref().map(|nats| nats.client.clone());
            tasks.until_stop(live.clone().watch(pool.clone(), progress.clone(), nats));
        }
        if roles.processes {
            let post = post(&settings, database, &pool, &secret, (&progress, called))?;
            tasks.run("the post", post.run(tasks.stop.clone()));
        }
        let time_travel = roles.processes.then(|| {
            let leaving = Leaving {
                pool: pool.clone(),
                wrapping: database.wrapping().clone(),
                secret: secret.clone(),
                engine: engine.clone(),
            };
            start_timers(&settings, leaving, payments, (&clock, &progress, head), &tasks)
        });
        let google =
            settings.google.client_id.as_ref().map(|id| OpenId::new(&settings.google.issuer, id)).transpose()?;
        let app = App(Arc::new(Parts {
            tokens: AccessTokens::new(&secret, &settings.auth),
            passwords: Passwords::new()?,
            rendered: RenderedPages::default(),
            limits: Limits::new(settings.limits),
            past: Past::of(database, settings.past),
            settings,
            engine,
            clock,
            pool,
            progress,
            secret,
            wrapping: database.wrapping().clone(),
            providers,
            media,
            places,
            unfound,
            sessions,
            google,
            live,
            health: observe::health::Health::default(),
            time_travel,
            keys,
            notary,
            forwarding: nats.as_ref().and_then(|nats| nats.forwarding.clone()),
            nats: nats.as_ref().map(|nats| nats.client.clone()),
            relayed: nats.as_ref().and_then(|nats| nats.relayed.clone()),
            closing: CancellationToken::new(),
        }));
        tasks.until_stop(observe::health::watch(app.clone()));
        tasks.until_stop(limits::keep_small(app.clone()));
        if let Some(nats) = nats {
            nats.take_commands(&app, &tasks);
        }
        tasks.tracker.close();
        Ok(Self { app, deciding, tasks })
    }

    /// Stops: no new batches, then the loop after what waits is done. Call it once the HTTP server has ended.
    pub async fn stop(self) {
        self.tasks.stop.cancel();
        if tokio::time::timeout(STOP_PATIENCE, self.tasks.tracker.wait()).await.is_err() {
            let running = self.tasks.running.lock().unwrap_or_else(PoisonError::into_inner).join(", ");
            tracing::warn!(
                running,
                "not everything has ended in time; followers go on from their checkpoints at the next start"
            );
        }
        drop(self.app);
        if tokio::time::timeout(STOP_PATIENCE, self.deciding).await.is_err() {
            tracing::warn!("the decision loop did not end in time");
        }
    }
}

/// What is neither in the log nor in the database. Before either is touched: what cannot be used is found out at once.
fn read_surroundings(settings: &Config) -> Result<(Places, Option<Arc<Media>>), StartError> {
    let roles = settings.node.roles;
    let media = (roles.api || roles.processes).then(|| Media::open(&settings.media)).transpose()?;
    Ok((Places::load(&settings.places.files.0)?, media.map(Arc::new)))
}

/// Starts what fires timers.
fn start_timers(
    settings: &Config,
    leaving: Leaving,
    payments: Payments,
    (clock, progress, head): (&Clock, &Progress, Head),
    tasks: &Tasks,
) -> TimeTravel {
    let timers = Timers {
        table: Arc::new(leaving.pool.clone()),
        engine: leaving.engine.clone(),
        leaving,
        payments,
        rules: timer_rules(settings),
        clock: clock.clone(),
        progress: progress.clone(),
        head,
    };
    let (time_travel, firing) = timers.start(tasks.stop.clone());
    tasks.run("the timers", async { drop(firing.await) });
    time_travel
}

/// Starts what hashes the log and signs what it has become, and what hands that on; nothing on a node without processes.
fn start_notary(
    settings: &Config,
    (database, pool): (&Database, &PgPool),
    (head, clock): (&Head, &Clock),
    keys: &KeyRing,
    tasks: &Tasks,
) -> Result<Option<Notarizing>, StartError> {
    if !settings.node.roles.processes {
        return Ok(None);
    }
    let wanted = Lease { name: notary::LEASE, node: mint::id(), priority: 0, ttl: notary::LEASE_TTL };
    let (turn, keeping) = wanted.keep(pool.clone(), tasks.stop.clone());
    tasks.run("the lease of the notary", keeping);
    let (standing, seen) = watch::channel(Standing::default());
    let (database, head, clock) = (database.clone(), head.clone(), clock.clone());
    let (keys, rules, (ask, asked)) = (keys.clone(), settings.proof.rules(), watch::channel(0));
    let known = anchors::newest(&settings.proof, &keys).map(Into::into);
    let notary = Notary { database, head, turn, clock, keys, rules, known, asked, standing };
    tasks.run("the notary", notary.run(tasks.stop.clone()));
    if let Some(anchors) = Anchors::of(&settings.proof)? {
        tasks.until_stop(anchors.run(seen.clone()));
    }
    Ok(Some(Notarizing { standing: seen, ask }))
}

/// What runs the followers of this node.
fn runner(settings: &Config, database: &Database, head: &Head, feed: Feed, progress: &Progress) -> Runner {
    Runner {
        database: database.clone(),
        head: head.clone(),
        feed,
        progress: progress.clone(),
        batch_events: i64::try_from(settings.feed.batch_events).unwrap_or(i64::MAX),
        poll: Duration::from_millis(settings.feed.poll_ms),
    }
}

/// What follows the log on this node.
fn own_followers(
    settings: &Config,
    payments: &Payments,
    media: Option<&Arc<Media>>,
    called: &Called,
    offers: Kept,
) -> Vec<Box<dyn Follower>> {
    let mut own: Vec<Box<dyn Follower>> = Vec::new();
    if settings.node.roles.projections {
        own.extend(projections::all());
    }
    if settings.node.roles.processes {
        own.push(Box::new(TimerTable));
        own.extend(processes(payments, media, called, offers));
    }
    own
}

/// Makes the tables that processes fill, those of another version anew.
async fn ensure_tables_of_processes(database: &Database) -> Result<(), StartError> {
    let mut owner = database.connect_as_owner().await?;
    timers::ensure(&mut owner).await?;
    mail::ensure(&mut owner).await?;
    Ok(owner.close().await?)
}

/// What acts when something happens.
pub(crate) fn processes(
    payments: &Payments,
    media: Option<&Arc<Media>>,
    called: &Called,
    offers: Kept,
) -> Vec<Box<dyn Follower>> {
    let engine = &payments.engine;
    let mut processes: Vec<Box<dyn Follower>> = vec![
        Box::new(Following(payments.clone())),
        Box::new(Mail { called: called.clone() }),
        Box::new(Following(Clearing { engine: engine.clone(), offers: Arc::new(offers) })),
    ];
    if let Some(files) = media {
        processes.push(Box::new(Following(media::Media::new(engine.clone(), files.clone()))));
    }
    processes
}

/// What sends the letters that are due.
fn post(
    settings: &Config,
    database: &Database,
    pool: &PgPool,
    secret: &RootSecret,
    (progress, called): (&Progress, Called),
) -> Result<Post, StartError> {
    Ok(Post {
        pool: pool.clone(),
        wrapping: database.wrapping().clone(),
        secret: secret.clone(),
        mailer: mailer(&settings.mail)?,
        site: settings.mail.site_url.clone(),
        progress: progress.clone(),
        called,
    })
}

/// The way to mailboxes.
fn mailer(settings: &crate::config::Mail) -> Result<Arc<dyn Mailer>, StartError> {
    let crate::config::Mail { folder, folder_days, from, site_url: _, smtp_url, smtp_connections } = settings;
    let from: Mailbox = from.parse().map_err(|_| StartError::Sender(from.clone()))?;
    if let Some(url) = smtp_url {
        return Ok(Arc::new(Smtp::at(url.expose(), *smtp_connections, from)?));
    }
    let kept_for = Duration::from_hours(24).saturating_mul(*folder_days);
    Ok(Arc::new(Folder { folder: folder.clone(), from, kept_for }))
}

fn engine_settings(settings: &Config) -> EngineSettings {
    let crate::config::Engine { batch_max, cache_aggregates, queue } = settings.engine;
    EngineSettings { batch_max, cache_aggregates, queue, ..EngineSettings::default() }
}

async fn check_readable(pool: &PgPool) -> Result<(), StartError> {
    let unreadable = log::unreadable_kinds(pool, &domain::formats::known_types()).await?;
    if unreadable.is_empty() {
        return Ok(());
    }
    let kinds = unreadable.iter().map(|(aggregate, event, version)| format!("{aggregate} {event} v{version}"));
    Err(StartError::UnreadableEvents(kinds.collect::<Vec<_>>().join(", ")))
}
