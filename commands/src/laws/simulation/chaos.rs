//! What is to go wrong, and where it does: each fault is armed by a step of the story and strikes at the next place of its
//! kind, so that a story from which steps are removed goes wrong at the same places.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures::FutureExt;
use futures::future::pending;
use tokio::task::AbortHandle;

/// How many nodes there are.
pub(super) const NODES: usize = 2;

/// What becomes of an append.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fate {
    /// It takes so many milliseconds.
    Slow(u64),
    /// The connection breaks before it is sent.
    Unsent,
    /// The connection breaks once it is sent; it arrives so many milliseconds later.
    Cut(u64),
    /// It is committed, and the answer never comes.
    AnswerLost,
    /// The node ends before it is sent.
    CrashUnsent,
    /// The node ends once it is sent; it arrives so many milliseconds later.
    CrashSent(u64),
    /// The node ends once it is committed, before it knows.
    CrashCommitted,
}

/// Where a node may end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Point {
    /// Before the rows and the checkpoint of a read model are committed.
    BeforeRows,
    /// After that.
    AfterRows,
    /// Before a process does what a batch calls for.
    BeforeEffects,
    /// After it has, before its checkpoint moves.
    BeforeCheckpoint,
    /// After its checkpoint has moved.
    AfterCheckpoint,
}

/// What becomes of a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Delivery {
    /// It never comes.
    Lost,
    /// It comes twice.
    Twice,
    /// It comes so many milliseconds later, after others.
    Late(u64),
}

/// What is armed, what runs, and what has gone wrong that must not.
#[derive(Debug, Default)]
pub(super) struct Chaos(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    nodes: [Node; NODES],
    failure: Option<String>,
    /// How often a node has ended, and how often an append or a message fared badly.
    ended: u64,
    faults: u64,
}

#[derive(Debug, Default)]
struct Node {
    fates: VecDeque<Fate>,
    points: VecDeque<Point>,
    deliveries: VecDeque<Delivery>,
    /// Its tasks; none while it is down.
    tasks: Vec<AbortHandle>,
}

impl Chaos {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next append of a node fares like this.
    pub(super) fn arm_append(&self, node: usize, fate: Fate) {
        self.state().nodes[node].fates.push_back(fate);
    }

    /// A node ends when it next comes to a point.
    pub(super) fn arm_crash(&self, node: usize, point: Point) {
        self.state().nodes[node].points.push_back(point);
    }

    /// The next messages to a node fare like this.
    pub(super) fn arm_deliveries(&self, node: usize, delivery: Delivery, count: usize) {
        self.state().nodes[node].deliveries.extend(std::iter::repeat_n(delivery, count));
    }

    /// Nothing that is armed strikes any more.
    pub(super) fn disarm(&self) {
        for node in &mut self.state().nodes {
            node.fates.clear();
            node.points.clear();
            node.deliveries.clear();
        }
    }

    /// How an append of a node fares, if anything is wrong with it.
    pub(super) fn fate(&self, node: usize) -> Option<Fate> {
        let mut state = self.state();
        let fate = state.nodes[node].fates.pop_front();
        state.faults += u64::from(fate.is_some());
        fate
    }

    /// How a message to a node fares, if anything is wrong with it.
    pub(super) fn delivery(&self, node: usize) -> Option<Delivery> {
        let mut state = self.state();
        let delivery = state.nodes[node].deliveries.pop_front();
        state.faults += u64::from(delivery.is_some());
        delivery
    }

    /// A node has come to a point, at which it may end.
    pub(super) async fn reached(&self, node: usize, point: Point) {
        let ends = {
            let points = &mut self.state().nodes[node].points;
            let armed = points.front() == Some(&point);
            if armed {
                points.pop_front();
            }
            armed
        };
        if ends {
            self.crash(node).await;
        }
    }

    /// A node ends, and with it whoever says so.
    pub(super) async fn crash(&self, node: usize) {
        self.kill(node);
        pending::<()>().await;
    }

    /// Ends everything that runs on a node.
    pub(super) fn kill(&self, node: usize) {
        let tasks = {
            let mut state = self.state();
            state.ended += u64::from(!state.nodes[node].tasks.is_empty());
            std::mem::take(&mut state.nodes[node].tasks)
        };
        tasks.iter().for_each(AbortHandle::abort);
    }

    /// A task runs on a node from now on.
    pub(super) fn runs(&self, node: usize, task: AbortHandle) {
        self.state().nodes[node].tasks.push(task);
    }

    /// Whether anything runs on a node.
    pub(super) fn is_up(&self, node: usize) -> bool {
        !self.state().nodes[node].tasks.is_empty()
    }

    /// Something has happened that must not. The first counts.
    pub(super) fn fail(&self, what: String) {
        self.state().failure.get_or_insert(what);
    }

    /// What has happened that must not.
    pub(super) fn failure(&self) -> Option<String> {
        self.state().failure.clone()
    }

    /// How often a node has ended, and how often an append or a message fared badly.
    pub(super) fn struck(&self) -> (u64, u64) {
        let state = self.state();
        (state.ended, state.faults)
    }

    /// Does something, whose panic must not happen.
    pub(super) async fn watched(&self, work: impl Future<Output = ()>) {
        if let Err(panic) = AssertUnwindSafe(work).catch_unwind().await {
            self.fail(said(panic.as_ref()));
        }
    }
}

/// What a panic says.
pub(super) fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}
