//! The faults: what each is, how often it is tried, and what is done.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt;
use futures::future::LocalBoxFuture;
use indicatif::ProgressBar;

use crate::results::Figures;

mod clock;
mod crowd;
mod disk;
mod messages;
mod network;
mod postgres;
mod power;
mod rebuilding;
mod restoring;
mod server;
mod sockets;
mod stored;

/// Nothing takes longer, beside so much for each time.
const PATIENCE: Duration = Duration::from_mins(10);
/// Nothing in the short mix takes longer: before whoever runs tests ends it, so that it is told what was found.
const SHORT_PATIENCE: Duration = Duration::from_mins(8);
const PATIENCE_EACH: Duration = Duration::from_mins(3);

/// How long, and from which seed.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// How often.
    pub(crate) times: usize,
    /// Whether it is one of many in the short mix.
    pub(crate) short: bool,
    pub(crate) seed: u64,
    pub(crate) done: ProgressBar,
    /// What was done before this part.
    from: u64,
}

impl Plan {
    pub(crate) fn new(times: usize, short: bool, seed: u64, done: ProgressBar) -> Self {
        Self { times, short, seed, done, from: 0 }
    }

    /// The longest of something that is drawn: in the short mix less.
    pub(crate) fn longest(&self, at_length: u64, short: u64) -> u64 {
        if self.short { short } else { at_length }
    }

    /// How often it was tried by now.
    pub(crate) fn tried(&self) -> usize {
        usize::try_from(self.done.position() - self.from).unwrap_or(usize::MAX)
    }

    /// The same for so many of the times, from now on.
    pub(crate) fn part(&self, times: usize) -> Self {
        Self { times, from: self.done.position(), ..self.clone() }
    }
}

/// Figures, or why it cannot be tried here.
pub(crate) type Tried = Result<Figures, String>;

/// A fault.
#[derive(Clone, Copy)]
pub(crate) struct Fault {
    pub(crate) id: &'static str,
    pub(crate) what: &'static str,
    /// What has to be so, beyond that every promise is kept.
    pub(crate) target: &'static str,
    /// How often at length, and what is counted.
    pub(crate) times: usize,
    pub(crate) of: &'static str,
    /// How often in the short mix.
    pub(crate) short: usize,
    run: fn(Plan) -> LocalBoxFuture<'static, Tried>,
}

impl Fault {
    /// Tries it. What it stumbles over ends it and nothing else, and is told as what is broken.
    pub(crate) async fn attempt(&self, plan: Plan) -> Tried {
        let patience = if plan.short && !crate::selftest::is_running() {
            SHORT_PATIENCE
        } else {
            PATIENCE + PATIENCE_EACH * u32::try_from(plan.times).unwrap_or(u32::MAX)
        };
        let tried = AssertUnwindSafe((self.run)(plan)).catch_unwind();
        let why = match tokio::time::timeout(patience, tried).await {
            Ok(Ok(tried)) => return tried,
            Ok(Err(panic)) => told(&*panic),
            Err(_) => format!("it has not ended within {patience:?}"),
        };
        let mut figures = Figures::default();
        figures.broken.push(format!("target: it could not be tried to the end: {why}"));
        Ok(figures)
    }
}

fn told(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("nobody knows why").to_owned()
}

macro_rules! faults {
    ($($id:literal: $what:literal, $target:literal, $times:literal $of:literal, $short:literal => $run:path;)+) => {
        /// All of them.
        pub(crate) const ALL: &[Fault] = &[$(Fault {
            id: $id,
            what: $what,
            target: $target,
            times: $times,
            of: $of,
            short: $short,
            run: |plan| Box::pin($run(plan)),
        }),+];
    };
}

faults! {
    "F1": "SIGKILL of the server at a random moment", "ready again within 2 s", 500 "kills", 2 => server::kills;
    "F2": "SIGKILL of the server exactly before or after a step: begin, append, commit, checkpoint, publish, ack",
        "each step is met", 20 "kills at each of 12 moments", 1 => server::kills_at_steps;
    "F3": "SIGKILL of Postgres", "meanwhile nothing but 503 with Retry-After; back within 10 s", 200 "kills", 1
        => postgres::kills;
    "F4": "power loss under Postgres: what was not synced is gone", "nothing acknowledged is lost", 100 "losses", 2
        => power::losses;
    "F5": "the store of NATS is wiped", "healed within 30 s", 10 "wipes", 1 => messages::wipes;
    "F6": "SIGKILL of NATS", "every command is answered meanwhile", 200 "kills", 2 => messages::kills;
    "F7": "SIGSTOP of a server, of Postgres, of NATS for 1 to 30 s", "answers again within 60 s; without NATS within 10 s", 100 "stops", 3
        => network::stops;
    "F8": "the network is cut, or falls silent, between servers and Postgres or NATS", "answers again within 60 s",
        100 "cuts", 2 => network::cuts;
    "F9": "the reply to a commit is lost", "accepted again within 10 s", 1_000 "replies", 20 => postgres::lost_replies;
    "F10": "the disk is full: of data and WAL, of WAL alone, of NATS", "answers again within 60 s once it is not",
        20 "times each", 1 => disk::full;
    "F11": "a node's clock jumps by an hour, to and fro", "commands are accepted on", 50 "jumps", 2 => clock::jumps;
    "F12": "NATS delivers 10 % twice, 20 % out of order and 5 % never", "read models follow to the end",
        1_000 "thousand deliveries", 1 => messages::spoilt;
    "F13": "events that no read model can read", "they are parked, the others go on, and a retry heals", 50 "events", 3
        => stored::poisons;
    "F14": "a rebuild is killed at 10 to 90 %", "nobody reads a half-built model; the same hash", 50 "kills", 3
        => rebuilding::kills;
    "F15": "200 sockets whose clients read a byte a second", "no more than 64 MiB of memory; they are cut", 1 "rounds", 1
        => sockets::slow;
    "F16": "clients go away in the midst of commands", "their commands end as if they had stayed", 20_000 "clients", 300
        => server::leaving_clients;
    "F17": "one key, 50 times at once", "one effect each", 1_000 "keys", 10 => crowd::one_key;
    "F18": "200 bidders on one auction, and 500 buyers for 50 pieces, at once", "the highest wins; 50 are sold",
        200 "rounds of each", 1 => crowd::races;
    "F19": "SIGTERM under load", "ended within 10 s, sockets closed with 1001", 100 "stops", 2 => server::terminations;
    "F20": "a backup under load is restored and rebuilt", "the same log, byte for byte", 10 "backups", 1
        => restoring::backups;
    "F21": "one byte of one stored event is altered", "`tradepost verify --full` names it", 100 "bytes", 3 => stored::bytes;
}
