//! `tradepost bench nodes`: what a second API node costs or brings, through HTTP.
//!
//! Nodes are processes of this program, as an operator starts them, on a database of the run. Each slot starts its nodes
//! anew, so that variants take turns; a quarter of a slot warms them up.

use std::fmt;
use std::time::Duration;

use clap::Args;
use eventstore::{lease, log, nats, relay};
use serde::Serialize;

use super::cores::{self, Half, Placed};
use super::load::{self, Caller};
use super::machine::Machine;
use super::nats_server::NatsServer;
use super::sample::{Row, Sample, write_rows};
use super::scratch::Scratch;
use super::site::{Node, STARTS_WITHIN, Site};
use super::slots::{Length, Servers, Slots};
use super::{BenchError, progress_bar};
use crate::forward;

/// How soon to look again whether nodes are ready.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Measure what a second API node costs or brings.
///
/// Each of --callers writes listings down through HTTP, with an Idempotency-Key, one after another:
///   one node               all callers at one node that does everything
///   one node, NATS         the same, and relays the log
///   two nodes              half of them at a second node with the role `api`, which hands commands on over NATS to the
///                          one that decides
///   two that both decide   the same without NATS: each decides by itself, and gets into the other's way
///   one node, half         one node that relays, with Postgres and NATS on one half of the cores, the callers on the other
///   two nodes, a half each the second node beside the callers: as if it had a machine of its own
///
/// It needs nats.url, or a nats-server, which is started for the run.
///
/// Examples:
///   tradepost bench nodes
///   tradepost bench nodes --callers 64 --json nodes.json
#[derive(Args, Clone, Debug)]
#[command(verbatim_doc_comment)]
pub struct BenchNodes {
    #[command(flatten)]
    slots: Slots,
    /// Callers at a time.
    #[arg(long, value_name = "N", default_value_t = 32)]
    callers: usize,
}

/// What is to be measured.
#[derive(Clone, Debug)]
pub struct NodesPlan {
    length: Length,
    callers: usize,
}

/// Which nodes there are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Variant {
    One,
    OneWithNats,
    Two,
    TwoDeciders,
    OneOfTwoMachines,
    TwoMachines,
}

const VARIANTS: [Variant; 6] = [
    Variant::One,
    Variant::OneWithNats,
    Variant::Two,
    Variant::TwoDeciders,
    Variant::OneOfTwoMachines,
    Variant::TwoMachines,
];

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::One => "one node",
            Self::OneWithNats => "one node, NATS",
            Self::Two => "two nodes",
            Self::TwoDeciders => "two that both decide",
            Self::OneOfTwoMachines => "one node, half",
            Self::TwoMachines => "two nodes, a half each",
        })
    }
}

impl BenchNodes {
    /// What the options ask for, if it can be measured.
    pub fn plan(&self) -> Result<NodesPlan, BenchError> {
        if !(1..=1_024).contains(&self.callers) {
            return Err(BenchError::Option { option: "--callers", expected: "from 1 to 1024" });
        }
        let length = self.slots.length(5, 3.0, 1.0)?;
        Ok(NodesPlan { length, callers: self.callers })
    }
}

/// Measures on these servers. Starts a NATS server if none is named.
pub async fn nodes(options: &BenchNodes, plan: &NodesPlan, servers: &Servers<'_>) -> Result<NodesReport, BenchError> {
    let started = if servers.nats_url.is_none() { NatsServer::start() } else { None };
    let nats_url = servers.nats_url.or_else(|| started.as_ref().map(|nats| nats.url.as_str()));
    let nats_url = nats_url.ok_or(BenchError::Material("NATS server: name one with --nats-url, or install one"))?;
    let nats = started.as_ref().and_then(NatsServer::id);
    let measured = async |[scratch]: &[Scratch; 1]| measure(plan, &Place { scratch, nats_url, nats }).await;
    servers.measure(&options.slots, measured).await
}

/// What nodes share.
struct Place<'a> {
    scratch: &'a Scratch,
    nats_url: &'a str,
    /// The process, if it was started for the run.
    nats: Option<u32>,
}

async fn measure(plan: &NodesPlan, place: &Place<'_>) -> Result<NodesReport, BenchError> {
    let Place { scratch, nats_url, .. } = place;
    let machine = Machine::with(scratch.facts().await?);
    let bar = progress_bar(plan.length.repetitions * VARIANTS.len())?;
    bar.set_message("people register");
    let site = Site::new(scratch.url(), "")?;
    let first = site.start(&["--nats-url", nats_url]).await?;
    let people = first.register("seller", plan.callers).await?;
    first.end().await?;
    let mut samples: Vec<Vec<Sample>> = vec![Vec::new(); VARIANTS.len()];
    for round in 0..plan.length.repetitions {
        for turn in 0..VARIANTS.len() {
            // Nobody always goes first.
            let turn = (turn + round) % VARIANTS.len();
            bar.set_message(VARIANTS[turn].to_string());
            samples[turn].push(sample(VARIANTS[turn], place, &site, &people, plan.length.slot).await?);
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    let rows = VARIANTS.iter().zip(samples).map(|(variant, samples)| Row::of(variant, samples));
    let rows: Vec<Row> = rows.collect();
    let one = rows[0].per_s;
    let rows = rows.into_iter().map(|row| row.against(one)).collect();
    Ok(NodesReport { machine, callers: plan.callers, slot_s: plan.length.slot.as_secs_f64(), rows })
}

/// Starts the nodes of a variant, lets everybody write, and ends them.
async fn sample(
    variant: Variant,
    place: &Place<'_>,
    site: &Site,
    people: &[String],
    slot: Duration,
) -> Result<Sample, BenchError> {
    let (relays, hands_on) = (["--nats-url", place.nats_url], ["--nats-url", place.nats_url, "--roles", "api"]);
    let mut nodes = Vec::new();
    match variant {
        Variant::One => nodes.push(site.start(&[]).await?),
        Variant::TwoDeciders => nodes.extend([site.start(&[]).await?, site.start(&["--roles", "api"]).await?]),
        Variant::OneWithNats | Variant::OneOfTwoMachines => nodes.push(site.start(&relays).await?),
        // The one that decides is there first.
        Variant::Two | Variant::TwoMachines => {
            nodes.push(site.start(&relays).await?);
            nodes.push(site.start(&hands_on).await?);
        }
    }
    if !matches!(variant, Variant::One | Variant::TwoDeciders) {
        settled(place.scratch, place.nats_url).await?;
    }
    let placed = match variant {
        Variant::OneOfTwoMachines | Variant::TwoMachines => Some(place.on_two_halves(&nodes).await?),
        _ => None,
    };
    let sample = write_down(&nodes, people, slot).await?;
    drop(placed);
    for node in nodes {
        node.end().await?;
    }
    Ok(sample)
}

impl Place<'_> {
    /// Puts the first node on one half of the cores, with Postgres and NATS, and whatever else there is on the other.
    async fn on_two_halves(&self, nodes: &[Node]) -> Result<Placed, BenchError> {
        let mut placed = Placed::new()?;
        let postgres = cores::server_of(&mut self.scratch.connect().await?).await?;
        let mut processes = nodes.iter().filter_map(Node::id);
        for process in processes.next().into_iter().chain([postgres]).chain(self.nats) {
            placed.put(process, Half::First)?;
        }
        // Its children are placed one by one.
        for process in processes {
            placed.put(process, Half::Second)?;
        }
        placed.put_alone(std::process::id(), Half::Second)?;
        Ok(placed)
    }
}

/// Waits until the stream has all that was written without it, and one of the new nodes decides.
async fn settled(scratch: &Scratch, nats_url: &str) -> Result<(), BenchError> {
    let context = nats::jetstream(&nats::connect(nats_url).await?);
    let pool = scratch.database().pool(1);
    let settling = async {
        loop {
            let head = log::head(&pool).await?;
            let copied = relay::look(&pool, &context).await.map_or(0, |copied| copied.position);
            let leases = lease::list(&pool).await?;
            let decided = leases.iter().any(|lease| lease.name == forward::LEASE && lease.good_for_ms > 0);
            if copied >= head && decided {
                return Ok::<_, BenchError>(());
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    let settled = tokio::time::timeout(STARTS_WITHIN, settling).await;
    pool.close().await;
    settled.unwrap_or(Err(BenchError::Material("copy of the log in NATS")))
}

/// Lets everybody write listings down, at their node, for a warm-up and a slot.
async fn write_down(nodes: &[Node], people: &[String], slot: Duration) -> Result<Sample, BenchError> {
    let body = r#"{"title": "Fountain pen", "description": "Writes well.", "category": "stationery", "condition": "new",
        "price": {"amount": 1999, "currency": "USD"}}"#;
    let callers = people.iter().enumerate().map(|(number, token)| {
        let token = token.clone();
        Caller {
            address: nodes[number % nodes.len()].address.clone(),
            ask: Box::new(move |ask| load::post(ask, "/api/v1/listings", &token, body)),
        }
    });
    let measured = load::closed(callers.collect(), slot).await?;
    measured.only_refused_with(&[])?;
    Ok(measured.sample())
}

/// What a run found. Shown as a table; serialises with every repetition.
#[derive(Clone, Debug, Serialize)]
pub struct NodesReport {
    #[serde(flatten)]
    machine: Machine,
    callers: usize,
    slot_s: f64,
    rows: Vec<Row>,
}

impl fmt::Display for NodesReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { machine, callers, slot_s, rows } = self;
        writeln!(f, "tradepost bench nodes\n{machine}")?;
        let repetitions = rows.first().map_or(0, |row| row.repetitions.len());
        writeln!(f, "{callers} callers on the same machine; median of {repetitions} repetitions of {slot_s} s\n")?;
        write_rows(f, "x one node", rows)
    }
}
