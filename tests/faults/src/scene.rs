//! What faults happen to: a Postgres and a NATS of their own, behind proxies, and nodes of the real server, under load.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::AuctionId;
use eventstore::clock::Clock;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;
use tokio::task::JoinSet;
use tradepost_tests::checker::Outages;
use tradepost_tests::client::Client;
use tradepost_tests::database::TestDatabase;
use tradepost_tests::fail::OrFail;
use tradepost_tests::journal::Journal;
use tradepost_tests::load::{Load, Running};
use tradepost_tests::market::usd;
use tradepost_tests::nats::NatsServer;

use crate::cluster::Cluster;
use crate::node::{Network, Node};
use crate::proxy::Proxy;
use crate::watchers;

/// How soon to look again.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// Whatever is not there by then will not be.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// What there is of what.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    /// The roles of each node.
    pub(crate) roles: Vec<&'static str>,
    /// The network of the last of them, if it is not in ours.
    pub(crate) apart: Option<Arc<Network>>,
    /// Whether there is a NATS.
    pub(crate) nats: bool,
    /// Whether Postgres keeps what it has committed through a crash.
    pub(crate) durable: bool,
    /// Names and values of every node's environment.
    pub(crate) surroundings: Vec<(String, String)>,
    /// What clients do.
    pub(crate) trade: Trade,
    /// In how many of a hundred attempts they go away before their answer.
    pub(crate) leaves_percent: u32,
    /// Decides what is asked.
    pub(crate) seed: u64,
}

/// What clients do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Trade {
    /// They bid, bring money and take it.
    Bids,
    /// They order, pay, send, dispute and refund.
    Orders,
}

impl Setup {
    /// One node that does everything, without NATS, on a Postgres that lives as long as the scene.
    pub(crate) fn one(seed: u64) -> Self {
        let surroundings = crate::selftest::surroundings();
        Self {
            roles: vec![ALL],
            apart: None,
            nats: false,
            durable: false,
            surroundings,
            trade: Trade::Bids,
            leaves_percent: 0,
            seed,
        }
    }

    #[must_use]
    pub(crate) fn roles(self, roles: &[&'static str]) -> Self {
        Self { roles: roles.to_vec(), ..self }
    }

    #[must_use]
    pub(crate) fn durable(self) -> Self {
        Self { durable: true, ..self }
    }

    #[must_use]
    pub(crate) fn with_nats(self) -> Self {
        Self { nats: true, ..self }
    }

    #[must_use]
    pub(crate) fn with_orders(self) -> Self {
        Self { trade: Trade::Orders, ..self }
    }
}

/// A node that does everything.
pub(crate) const ALL: &str = "api,relay,projections,processes";

/// A running marketplace that faults can happen to.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) setup: Setup,
    pub(crate) cluster: Cluster,
    pub(crate) nats: Option<NatsServer>,
    pub(crate) nodes: Vec<Node>,
    /// The database, past all proxies.
    pub(crate) database: TestDatabase,
    pub(crate) load: Option<Running>,
    pub(crate) journal: Arc<Journal>,
    pub(crate) traders: Vec<Client>,
    pub(crate) auctions: Vec<AuctionId>,
    pub(crate) rng: StdRng,
    /// From when to when it was not well, as far as timers are concerned.
    unwell: Vec<(Instant, Instant)>,
    /// What was found on the way.
    pub(crate) found: Vec<String>,
    watching: JoinSet<()>,
    pub(crate) name: String,
}

impl Scene {
    /// Sets everything up in a folder of its own and begins to trade.
    pub(crate) async fn open(setup: Setup) -> Self {
        let cluster = Cluster::start(crate::cluster::folder(), setup.durable).await;
        Self::open_on(setup, cluster).await
    }

    /// The same on a Postgres that is there already.
    pub(crate) async fn open_on(setup: Setup, cluster: Cluster) -> Self {
        let made = TestDatabase::fresh_on(cluster.url()).await;
        let name = made.url().rsplit('/').next().unwrap_or_default().to_owned();
        let nats = if setup.nats { Some(NatsServer::start().await) } else { None };
        let database = TestDatabase::at(&cluster.at(cluster.address(), &name));
        let journal = Arc::new(Journal::temporary());
        let mut scene = Self {
            cluster,
            nats,
            nodes: Vec::new(),
            database,
            load: None,
            journal,
            traders: Vec::new(),
            auctions: Vec::new(),
            rng: StdRng::seed_from_u64(setup.seed),
            unwell: Vec::new(),
            found: Vec::new(),
            watching: JoinSet::new(),
            name,
            setup,
        };
        let (roles, apart) = (scene.setup.roles.clone(), scene.setup.apart.clone());
        for (number, role) in roles.iter().copied().enumerate() {
            let network = apart.clone().filter(|_| number + 1 == roles.len());
            scene.add(role, network).await;
        }
        scene.trade().await;
        scene
    }

    /// One more node.
    async fn add(&mut self, roles: &'static str, network: Option<Arc<Network>>) {
        let (postgres, nats) = (self.cluster.address(), self.nats.as_ref().map(address));
        self.nodes.push(Node::new(roles, network, postgres, nats).await);
        self.restart(self.nodes.len() - 1).await;
    }

    /// From their next servers on, all nodes have this NATS.
    pub(crate) async fn add_nats(&mut self, nats: NatsServer) {
        for node in &mut self.nodes {
            node.lead_to_nats(address(&nats)).await;
        }
        self.nats = Some(nats);
    }

    async fn trade(&mut self) {
        let first = self.client(0);
        let apis = self.nodes.iter().filter(|node| node.roles.contains("api"));
        let nodes: Vec<_> = apis.map(Node::address).collect();
        let seed = self.setup.seed;
        let mut load = match self.setup.trade {
            Trade::Bids => Load::prepare_crowd(&first, nodes, seed).await,
            Trade::Orders => Load::prepare_orders(&first, nodes, WORKERS, seed).await,
        };
        if self.setup.trade == Trade::Orders {
            first.advance(AHEAD_MS).await;
        }
        load.journal = self.journal.clone();
        load.settles_within = crate::selftest::patience();
        load.leaves_percent = self.setup.leaves_percent;
        self.traders.clone_from(&load.traders);
        self.auctions.clone_from(&load.auctions);
        let address = self.nodes[0].address();
        for auction in self.auctions.iter().take(WATCHED) {
            self.watching.spawn(watchers::sockets(address.clone(), *auction, self.journal.clone()));
        }
        self.watching.spawn(watchers::sessions(self.database.clone(), self.journal.clone()));
        self.load = Some(load.start());
    }

    /// Ends every node, and has nodes of these roles in their places.
    pub(crate) async fn divide(&mut self, roles: &[&'static str]) {
        let began = Instant::now();
        for node in &mut self.nodes {
            if let Some(server) = node.server.take() {
                server.terminate().await;
            }
        }
        self.nodes.truncate(roles.len());
        for (number, roles) in roles.iter().copied().enumerate() {
            if let Some(node) = self.nodes.get_mut(number) {
                node.roles = roles;
                self.restart(number).await;
            } else {
                self.add(roles, None).await;
            }
        }
        self.unwell.push((began, Instant::now()));
    }

    /// Nobody in particular at a node.
    pub(crate) fn client(&self, node: usize) -> Client {
        Client::anonymous(&self.nodes[node].address().borrow())
    }

    /// The lines of all nodes to Postgres.
    pub(crate) fn to_postgres(&self) -> impl Iterator<Item = &Proxy> {
        self.nodes.iter().map(|node| &node.to_postgres)
    }

    /// SIGKILL of a node, without waiting for anything else.
    pub(crate) async fn kill(&mut self, node: usize) {
        if let Some(server) = self.nodes[node].server.take() {
            server.kill().await;
        }
    }

    /// Starts the server of a node again. Tells how long it took until it was ready.
    pub(crate) async fn restart(&mut self, node: usize) -> Duration {
        let began = Instant::now();
        let place = &mut self.nodes[node];
        let database = self.cluster.at(place.to_postgres.address(), &self.name);
        place.start(&database, &self.setup.surroundings).await;
        self.unwell.push((began, Instant::now()));
        began.elapsed()
    }

    /// The auctions that somebody watches at sockets.
    pub(crate) fn watched(&self) -> impl Iterator<Item = &AuctionId> {
        self.auctions.iter().take(WATCHED)
    }

    /// The load, which runs.
    pub(crate) fn running(&self) -> &Running {
        self.load.as_ref().or_fail("find the load running")
    }

    /// Waits until so many more commands are accepted. Tells how long that took; nothing if it took too long.
    pub(crate) async fn accepts(&self, more: u64) -> Option<Duration> {
        let (began, running) = (Instant::now(), self.running());
        let wanted = running.accepted() + usize::try_from(more).or_fail("count commands");
        while running.accepted() < wanted {
            if began.elapsed() > crate::selftest::patience() {
                return None;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Some(began.elapsed())
    }

    /// The same, and says so if it took too long.
    pub(crate) async fn works(&mut self, more: u64) -> bool {
        let works = self.accepts(more).await.is_some();
        if !works {
            self.found.push("target: no commands were accepted any more".to_owned());
        }
        works
    }

    /// Waits until commands are accepted again after something that has ended just now, and remembers how long nothing was
    /// well. Says so if they are not.
    pub(crate) async fn recovers(&mut self, unwell_since: Instant, within: Duration) -> Option<Duration> {
        let recovered = self.accepts(1).await;
        match recovered {
            Some(took) if took > within => {
                self.found.push(format!("target: commands were accepted again only after {took:?}"));
            }
            Some(_) => {}
            None => self.found.push("target: commands were not accepted again".to_owned()),
        }
        self.unwell.push((unwell_since, Instant::now()));
        recovered
    }

    /// Asks for a deposit at a node, under no key that anybody would use again. Tells how that was answered.
    pub(crate) async fn ask(&self, node: usize) -> Option<u16> {
        let trader = self.traders[0].at(self.client(node).address());
        let asked = json!({ "amount": usd(100), "payment_method": "sandbox-succeeds" });
        trader.post("/payments/deposit", &asked).attempt().await.ok().map(|answer| answer.status)
    }

    /// Waits until this node accepts a command again that was cut off. Tells how long that took; says so if it is too long.
    pub(crate) async fn is_back(&mut self, node: usize, within: Duration) -> Option<Duration> {
        let (began, mut answers) = (Instant::now(), Vec::new());
        while began.elapsed() < within {
            // It may take as long as a client waits.
            let answer = tokio::time::timeout(ASKED_AGAIN_AFTER, self.ask(node)).await.ok().flatten();
            if answer == Some(202) {
                return Some(began.elapsed());
            }
            answers.push(answer);
            tokio::time::sleep(LOOK_AGAIN * 10).await;
        }
        answers.dedup();
        let why = format!("node {node} accepted no commands {within:?} after it was cut off; it answered {answers:?}");
        self.found.push(format!("target: {why}"));
        None
    }

    /// Waits until every read model and process has taken in what is in the log now. Tells how long that took; nothing if it took too long.
    pub(crate) async fn shows_everything(&self) -> Option<Duration> {
        let head = self.database.log_head().await;
        let (began, mut connection) = (Instant::now(), self.database.connect().await);
        let behind = "select name from followers where position < $1 and name = any($2)";
        while began.elapsed() < 2 * PATIENCE {
            let behind: Vec<String> = sqlx::query_scalar(behind)
                .bind(head)
                .bind(api::app::followers().collect::<Vec<_>>())
                .fetch_all(&mut connection)
                .await
                .or_fail("look how far followers are");
            if behind.is_empty() {
                return Some(began.elapsed());
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        None
    }

    /// When it was not well, by its own clock as far as that can be told: of orders it is far ahead, and stands still
    /// while no server runs.
    pub(crate) fn outages(&self) -> Outages {
        if self.setup.trade == Trade::Orders {
            let longest = self.unwell.iter().map(|(from, to)| *to - *from).max();
            return Outages { untimed: longest.unwrap_or_default(), ..Outages::default() };
        }
        let at = |moment: Instant| Clock::real_now() - moment.elapsed();
        let mut spans: Vec<_> = self.unwell.iter().map(|(from, to)| (at(*from), at(*to))).collect();
        spans.sort();
        Outages { spans, ..Outages::default() }
    }

    /// Waits a moment that is drawn.
    pub(crate) async fn moment(&mut self, most_ms: u64) {
        let moment = self.rng.random_range(0..=most_ms);
        tokio::time::sleep(Duration::from_millis(moment)).await;
    }

    /// After every so many of a long row of faults, leaves it in peace for long enough that a timer that is late then is
    /// late without a reason.
    pub(crate) async fn rests_after(&mut self, number: usize, short: bool) {
        if !short && number % REST_EVERY == REST_EVERY - 1 {
            tokio::time::sleep(REST).await;
        }
    }

    /// Has Postgres run again, wherever it is now.
    pub(crate) async fn postgres_again(&mut self) {
        self.cluster.start_again().await;
        self.to_postgres().for_each(|proxy| proxy.lead_to(self.cluster.address()));
        self.database = TestDatabase::at(&self.cluster.at(self.cluster.address(), &self.name));
    }

    /// Nobody watches any more.
    pub(crate) async fn look_away(&mut self) {
        self.watching.shutdown().await;
    }
}

/// A node that has not answered by then is asked again.
const ASKED_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// How often there is a rest in a row of faults, and how long: longer than a timer may be late.
const REST_EVERY: usize = 10;
const REST: Duration = Duration::from_secs(15);

/// Auctions that are watched at sockets.
const WATCHED: usize = 2;

/// Requests at once where it is not one for each trader.
const WORKERS: usize = 32;

/// A clock that is so far ahead stands still while no server runs: it starts where the log ends.
const AHEAD_MS: i64 = 86_400_000;

/// Where a NATS listens.
fn address(nats: &NatsServer) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, nats.port()))
}
