//! `tradepost bench login`: whether the time of a refused log-in tells if an address has an account.
//!
//! One caller logs in with wrong passwords, at addresses that have an account and at others that have none, one after
//! the other. No address is tried so often that it is locked.

use std::fmt;

use clap::Args;
use eventstore::mint;
use reqwest::{Client, Method};
use serde::Serialize;
use serde_json::json;
use tokio::time::Instant;

use super::machine::Machine;
use super::scratch::Scratch;
use super::site::{Node, Site};
use super::slots::{Servers, Slots};
use super::{BenchError, median, progress_bar};
use crate::auth::attempts::MOST_FAILURES;

/// How often each address is tried: never so often that it is locked.
const TRIES: usize = MOST_FAILURES.unsigned_abs() as usize - 1;

/// Measure whether the time of a refused log-in tells if an address has an account.
///
/// Log-ins with a wrong password, alternately at addresses with and without an account, by one caller. The medians of
/// both should be the same within a few per cent: hashing the password takes nearly all of the time.
///
/// Examples:
///   tradepost bench login
///   tradepost bench login --addresses 200 --json login.json
#[derive(Args, Clone, Debug)]
#[command(verbatim_doc_comment)]
pub struct BenchLogin {
    #[command(flatten)]
    slots: Slots,
    /// Addresses of each kind; each is tried four times [default: 100].
    #[arg(long, value_name = "N")]
    addresses: Option<usize>,
}

/// What is to be measured.
#[derive(Clone, Copy, Debug)]
pub struct LoginPlan {
    addresses: usize,
}

impl BenchLogin {
    /// What the options ask for, if it can be measured.
    pub fn plan(&self) -> Result<LoginPlan, BenchError> {
        self.slots.length(1, 1.0, 1.0)?;
        let addresses = self.addresses.unwrap_or(if self.slots.quick { 5 } else { 100 });
        if !(1..=10_000).contains(&addresses) {
            return Err(BenchError::Option { option: "--addresses", expected: "from 1 to 10000" });
        }
        Ok(LoginPlan { addresses })
    }
}

/// Measures on these servers.
pub async fn login(options: &BenchLogin, plan: LoginPlan, servers: &Servers<'_>) -> Result<LoginReport, BenchError> {
    servers.measure(&options.slots, async |[scratch]| measure(plan, scratch).await).await
}

async fn measure(plan: LoginPlan, scratch: &Scratch) -> Result<LoginReport, BenchError> {
    let machine = Machine::with(scratch.facts().await?);
    let bar = progress_bar(plan.addresses)?;
    bar.set_message("people join");
    let node = Site::new(scratch.url(), "")?.start(&[]).await?;
    node.register("known", plan.addresses).await?;
    let client = Client::new();
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    bar.set_message("log-ins are refused");
    for number in 0..plan.addresses {
        for round in 0..TRIES {
            let mut kinds = [("known", &mut known), ("unknown", &mut unknown)];
            // Nobody always goes first.
            if (number + round) % 2 == 1 {
                kinds.reverse();
            }
            for (name, taken) in kinds {
                taken.push(refused(&node, &client, &format!("{name}{number}@example.com")).await?);
            }
        }
        bar.inc(1);
    }
    node.end().await?;
    bar.finish_and_clear();
    let (known_ms, unknown_ms) = (median(known.iter().copied()), median(unknown.iter().copied()));
    let log_ins = known.len();
    Ok(LoginReport { machine, log_ins, known_ms, unknown_ms, known_over_unknown: known_ms / unknown_ms })
}

/// How many milliseconds it takes to be refused.
async fn refused(node: &Node, client: &Client, email: &str) -> Result<f64, BenchError> {
    let body = json!({ "email": email, "password": mint::id().to_string() });
    let request = client.request(Method::POST, format!("http://{}/api/v1/auth/login", node.address)).json(&body);
    let sent = Instant::now();
    let answer = request.send().await?;
    let status = answer.status().as_u16();
    answer.bytes().await?;
    let took = sent.elapsed();
    if status == 401 { Ok(took.as_secs_f64() * 1_000.0) } else { Err(BenchError::Answers { status, count: 1 }) }
}

/// What a run found.
#[derive(Clone, Debug, Serialize)]
pub struct LoginReport {
    #[serde(flatten)]
    machine: Machine,
    /// Of each kind.
    log_ins: usize,
    known_ms: f64,
    unknown_ms: f64,
    known_over_unknown: f64,
}

impl fmt::Display for LoginReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { machine, log_ins, known_ms, unknown_ms, known_over_unknown } = self;
        writeln!(f, "tradepost bench login\n{machine}")?;
        writeln!(f, "{log_ins} refused log-ins of each kind, one at a time, in turns\n")?;
        writeln!(f, "{:<28} {:>10}", "", "median ms")?;
        writeln!(f, "{:<28} {known_ms:>10.2}", "address with an account")?;
        writeln!(f, "{:<28} {unknown_ms:>10.2}", "address without one")?;
        writeln!(f, "\nwith an account: {known_over_unknown:.3} times the median without one")
    }
}
