//! A place where there is a server most of the time, with lines of its own to Postgres and to NATS, and, if it is to be cut
//! off from everybody, a network of its own.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::signal::Signal;
use tokio::sync::watch;
use tradepost_tests::fail::OrFail;
use tradepost_tests::server::{Place, Spawned};

use crate::proxy::{Protocol, Proxy};

/// The place.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) server: Option<Spawned>,
    pub(crate) roles: &'static str,
    /// How it reaches Postgres, and nobody else does.
    pub(crate) to_postgres: Proxy,
    /// How it reaches NATS, if there is one.
    pub(crate) to_nats: Option<Proxy>,
    address: watch::Sender<String>,
    /// The network that it is in, unless it is in ours.
    network: Option<Arc<Network>>,
}

impl Node {
    /// Without a server, which is to have these roles.
    pub(crate) async fn new(
        roles: &'static str,
        network: Option<Arc<Network>>,
        postgres: SocketAddr,
        nats: Option<SocketAddr>,
    ) -> Self {
        let here = network.as_deref().map_or(Ipv4Addr::LOCALHOST, |network| network.ours);
        let to_postgres = Proxy::start(here, Protocol::Postgres, postgres).await;
        let mut node =
            Self { server: None, roles, to_postgres, to_nats: None, address: watch::Sender::default(), network };
        if let Some(nats) = nats {
            node.lead_to_nats(nats).await;
        }
        node
    }

    /// From its next server on there is a NATS.
    pub(crate) async fn lead_to_nats(&mut self, nats: SocketAddr) {
        let here = self.network.as_deref().map_or(Ipv4Addr::LOCALHOST, |network| network.ours);
        self.to_nats = Some(Proxy::start(here, Protocol::Nats, nats).await);
    }

    /// Starts its server; `postgres` is the database as it is reached through its proxy.
    pub(crate) async fn start(&mut self, postgres: &str, surroundings: &[(String, String)]) {
        let nats = self.to_nats.as_ref().map(|proxy| format!("nats://{}", proxy.address()));
        let mut arguments = vec!["--roles", self.roles];
        if self.roles == crate::scene::ALL {
            // Its clock is that of a node that does everything.
            arguments.push("--sandbox");
        }
        if let Some(nats) = &nats {
            arguments.extend(["--nats-url", nats.as_str()]);
        }
        let place = self.network.as_deref().map_or_else(Place::default, Network::inside);
        let server = Spawned::start_at(&place, postgres, &arguments, surroundings).await;
        self.address.send_replace(server.address().to_owned());
        self.server = Some(server);
    }

    /// Where it is at any time.
    pub(crate) fn address(&self) -> watch::Receiver<String> {
        self.address.subscribe()
    }

    /// Sends its process a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        self.running().signal(signal);
    }

    /// What its process has in its memory.
    pub(crate) fn maps(&self) -> String {
        let maps = format!("/proc/{}/maps", self.running().pid());
        std::fs::read_to_string(maps).or_fail("read what a process has loaded")
    }

    fn running(&self) -> &Spawned {
        self.server.as_ref().or_fail("find the node running")
    }

    /// Its proxies.
    pub(crate) fn lines(&self) -> impl Iterator<Item = &Proxy> {
        [Some(&self.to_postgres), self.to_nats.as_ref()].into_iter().flatten()
    }
}

/// How many networks this process has made.
static NETWORKS: AtomicU32 = AtomicU32::new(0);

/// A network namespace with a pair of interfaces that lead there. Gone when it is dropped.
#[derive(Debug)]
pub(crate) struct Network {
    name: String,
    /// Our end.
    ours: Ipv4Addr,
    /// Its end.
    theirs: Ipv4Addr,
}

/// Which end of the pair is taken down.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    /// Ours: what is on its way there, or from there, is lost, and whoever begins anew here is told at once.
    Ours,
    /// Its: whoever waits here for anything from there is told nothing.
    Theirs,
}

impl Network {
    /// A new one; or why there is none.
    pub(crate) fn make() -> Result<Self, String> {
        let number = NETWORKS.fetch_add(1, Ordering::Relaxed);
        let name = format!("tp{}-{number}", std::process::id());
        // Another for every process that runs at the same time, and for each that it makes.
        let [low, high, ..] = std::process::id().to_le_bytes();
        let third = Ipv4Addr::new(10, 200 + u8::try_from(number % 50).unwrap_or(0), low, high & 0xfc);
        let (ours, theirs) = (Ipv4Addr::from(u32::from(third) + 1), Ipv4Addr::from(u32::from(third) + 2));
        let network = Self { name, ours, theirs };
        let name = &network.name;
        let (mine, its) = (network.interface(End::Ours), network.interface(End::Theirs));
        ip(&["netns", "add", name])?;
        ip(&["link", "add", &mine, "type", "veth", "peer", "name", &its, "netns", name])?;
        ip(&["addr", "add", &format!("{ours}/30"), "dev", &mine])?;
        ip(&["-netns", name, "addr", "add", &format!("{theirs}/30"), "dev", &its])?;
        ip(&["-netns", name, "link", "set", "lo", "up"])?;
        network.join(End::Theirs)?;
        network.join(End::Ours)?;
        Ok(network)
    }

    /// Where a server in it is to be.
    fn inside(&self) -> Place {
        let through = ["ip", "netns", "exec", &self.name].map(str::to_owned).to_vec();
        Place { through, bind: self.theirs }
    }

    /// Takes an end down.
    pub(crate) fn cut(&self, end: End) -> Result<(), String> {
        self.set(end, "down")
    }

    /// Brings it up again.
    pub(crate) fn join(&self, end: End) -> Result<(), String> {
        self.set(end, "up")
    }

    fn set(&self, end: End, state: &str) -> Result<(), String> {
        let interface = self.interface(end);
        match end {
            End::Ours => ip(&["link", "set", &interface, state]),
            End::Theirs => ip(&["-netns", &self.name, "link", "set", &interface, state]),
        }
    }

    /// The system gives it no more than 15 letters.
    fn interface(&self, end: End) -> String {
        let side = match end {
            End::Ours => "a",
            End::Theirs => "b",
        };
        format!("{}{side}", self.name)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // The interfaces go with it.
        let _ = ip(&["netns", "del", &self.name]);
    }
}

/// Runs `ip`.
fn ip(arguments: &[&str]) -> Result<(), String> {
    let ran = Command::new("ip").args(arguments).stdin(Stdio::null()).output();
    match ran {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("`ip {}`: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim())),
        Err(error) => Err(format!("`ip` cannot be run ({error}); on Debian: apt-get install iproute2")),
    }
}
