//! What faults happen to: a Postgres and a NATS of their own, behind proxies, and nodes of the real server, under load.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::AuctionId;
use nix::sys::signal::Signal;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tradepost_tests::client::Client;
use tradepost_tests::database::TestDatabase;
use tradepost_tests::fail::OrFail;
use tradepost_tests::journal::Journal;
use tradepost_tests::load::{Load, Running};
use tradepost_tests::nats::NatsServer;
use tradepost_tests::server::Spawned;

use crate::cluster::Cluster;
use crate::proxy::{Protocol, Proxy};
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
    pub(crate) to_postgres: Proxy,
    pub(crate) nats: Option<(NatsServer, Proxy)>,
    pub(crate) nodes: Vec<Node>,
    /// The database, past the proxy.
    pub(crate) database: TestDatabase,
    pub(crate) load: Option<Running>,
    pub(crate) journal: Arc<Journal>,
    pub(crate) traders: Vec<Client>,
    pub(crate) auctions: Vec<AuctionId>,
    pub(crate) rng: StdRng,
    /// How long in all it was not well, as far as timers are concerned.
    pub(crate) unwell: Duration,
    /// What was found on the way.
    pub(crate) found: Vec<String>,
    watching: JoinSet<()>,
    name: String,
}

/// A place where there is a server most of the time.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) server: Option<Spawned>,
    address: watch::Sender<String>,
    pub(crate) roles: &'static str,
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
        let to_postgres = Proxy::start(Protocol::Postgres, cluster.address()).await;
        let nats = if setup.nats { Some(nats(NatsServer::start().await).await) } else { None };
        let database = TestDatabase::at(&cluster.at(cluster.address(), &name));
        let journal = Arc::new(Journal::temporary());
        let mut scene = Self {
            cluster,
            to_postgres,
            nats,
            nodes: Vec::new(),
            database,
            load: None,
            journal,
            traders: Vec::new(),
            auctions: Vec::new(),
            rng: StdRng::seed_from_u64(setup.seed),
            unwell: Duration::ZERO,
            found: Vec::new(),
            watching: JoinSet::new(),
            name,
            setup,
        };
        for roles in scene.setup.roles.clone() {
            let server = scene.start(roles).await;
            let address = watch::Sender::new(server.address().to_owned());
            scene.nodes.push(Node { server: Some(server), address, roles });
        }
        scene.trade().await;
        scene
    }

    async fn trade(&mut self) {
        let first = self.client(0);
        let apis = self.nodes.iter().filter(|node| node.roles.contains("api"));
        let nodes: Vec<_> = apis.map(|node| node.address.subscribe()).collect();
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
        let address = self.address(0);
        for auction in self.auctions.iter().take(WATCHED) {
            self.watching.spawn(watchers::sockets(address.clone(), *auction, self.journal.clone()));
        }
        self.watching.spawn(watchers::sessions(self.database.clone(), self.journal.clone()));
        self.load = Some(load.start());
    }

    /// Starts a server with these roles, on the database and NATS as they are reached through the proxies.
    pub(crate) async fn start(&self, roles: &str) -> Spawned {
        let url = self.cluster.at(self.to_postgres.address(), &self.name);
        let nats = self.nats.as_ref().map(|(_, proxy)| format!("nats://{}", proxy.address()));
        let mut arguments = vec!["--roles", roles];
        if roles == ALL {
            // Its clock is that of a node that does everything.
            arguments.push("--sandbox");
        }
        if let Some(nats) = &nats {
            arguments.extend(["--nats-url", nats.as_str()]);
        }
        Spawned::start_with(&url, &arguments, &self.setup.surroundings).await
    }

    /// Ends every node, and has nodes of these roles in their places.
    pub(crate) async fn divide(&mut self, roles: &[&'static str]) {
        for node in &mut self.nodes {
            if let Some(server) = node.server.take() {
                server.terminate().await;
            }
        }
        self.nodes.truncate(roles.len());
        for (number, roles) in roles.iter().copied().enumerate() {
            if let Some(node) = self.nodes.get_mut(number) {
                node.roles = roles;
            } else {
                self.nodes.push(Node { server: None, address: watch::Sender::default(), roles });
            }
            self.restart(number).await;
        }
    }

    /// Nobody in particular at a node.
    pub(crate) fn client(&self, node: usize) -> Client {
        Client::anonymous(&self.nodes[node].address.borrow())
    }

    /// Where a node is at any time.
    pub(crate) fn address(&self, node: usize) -> watch::Receiver<String> {
        self.nodes[node].address.subscribe()
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
        let server = self.start(self.nodes[node].roles).await;
        self.nodes[node].address.send_replace(server.address().to_owned());
        self.nodes[node].server = Some(server);
        self.unwell = self.unwell.max(began.elapsed());
        began.elapsed()
    }

    /// Sends the process of a node a signal.
    pub(crate) fn signal(&self, node: usize, signal: Signal) {
        self.nodes[node].server.as_ref().or_fail("find the node running").signal(signal);
    }

    /// What the process of a node has in its memory.
    pub(crate) fn maps(&self, node: usize) -> String {
        let server = self.nodes[node].server.as_ref().or_fail("find the node running");
        std::fs::read_to_string(format!("/proc/{}/maps", server.pid())).or_fail("read what a process has loaded")
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
        self.unwell = self.unwell.max(unwell_since.elapsed());
        recovered
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

    /// Waits a moment that is drawn.
    pub(crate) async fn moment(&mut self, most_ms: u64) {
        let moment = self.rng.random_range(0..=most_ms);
        tokio::time::sleep(Duration::from_millis(moment)).await;
    }

    /// Has Postgres run again, wherever it is now.
    pub(crate) async fn postgres_again(&mut self) {
        self.cluster.start_again().await;
        self.to_postgres.lead_to(self.cluster.address());
        self.database = TestDatabase::at(&self.cluster.at(self.cluster.address(), &self.name));
    }

    /// Nobody watches any more.
    pub(crate) async fn look_away(&mut self) {
        self.watching.shutdown().await;
    }
}

/// Auctions that are watched at sockets.
const WATCHED: usize = 2;

/// Requests at once where it is not one for each trader.
const WORKERS: usize = 32;

/// A clock that is so far ahead stands still while no server runs: it starts where the log ends.
const AHEAD_MS: i64 = 86_400_000;

/// A proxy before a NATS.
pub(crate) async fn nats(server: NatsServer) -> (NatsServer, Proxy) {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, server.port()));
    let proxy = Proxy::start(Protocol::Nats, address).await;
    (server, proxy)
}

/// A file system in memory of this many MiB, mounted on a new folder until it is dropped; or why there is none.
#[derive(Debug)]
pub(crate) struct SmallDisk {
    pub(crate) folder: TempDir,
}

impl SmallDisk {
    pub(crate) fn mount(mib: usize) -> Result<Self, String> {
        let folder = crate::cluster::folder();
        let (none, options) = (None::<&Path>, format!("size={mib}m,mode=0711"));
        nix::mount::mount(none, folder.path(), Some("tmpfs"), nix::mount::MsFlags::empty(), Some(options.as_str()))
            .map_err(|error| format!("no file system can be mounted here ({error}): it takes CAP_SYS_ADMIN"))?;
        Ok(Self { folder })
    }

    /// Leaves no byte free.
    pub(crate) fn fill(&self) {
        let block = vec![0_u8; 1 << 16];
        let mut file = std::fs::File::create(self.ballast()).or_fail("make a file that fills the disk");
        while file.write(&block).is_ok_and(|written| written > 0) {}
    }

    /// Takes off what filled it.
    pub(crate) fn free(&self) {
        std::fs::remove_file(self.ballast()).or_fail("free the disk");
    }

    fn ballast(&self) -> PathBuf {
        self.folder.path().join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // What still writes there goes with it.
        let _ = nix::mount::umount2(self.folder.path(), nix::mount::MntFlags::MNT_DETACH);
    }
}
