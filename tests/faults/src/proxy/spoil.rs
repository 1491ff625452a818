//! Deliveries of events that come twice, late or never.

use std::collections::HashMap;

use rand::Rng;
use rand::rngs::StdRng;

use super::nats::is_event;

/// Spoils one delivery in ten by repeating it, two by letting others pass, and one in twenty by losing it.
#[derive(Debug)]
pub(crate) struct Spoil {
    rng: StdRng,
    /// What others of the same connection are let pass before.
    aside: HashMap<u64, Vec<u8>>,
    deliveries: Deliveries,
}

/// How many deliveries came to what.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Deliveries {
    pub(crate) all: usize,
    pub(crate) twice: usize,
    pub(crate) late: usize,
    pub(crate) never: usize,
}

impl Spoil {
    pub(crate) fn new(rng: StdRng) -> Self {
        Self { rng, aside: HashMap::new(), deliveries: Deliveries::default() }
    }

    pub(super) fn deliveries(&self) -> Deliveries {
        self.deliveries
    }

    /// What a connection carries in the place of a message.
    pub(super) fn pass(&mut self, connection: u64, message: Vec<u8>) -> Vec<Vec<u8>> {
        if !is_event(&message, "HMSG") {
            return vec![message];
        }
        self.deliveries.all += 1;
        let mut passed = match self.rng.random_range(0..100) {
            0..10 => {
                self.deliveries.twice += 1;
                vec![message.clone(), message]
            }
            // One in four of those that find none aside is one in five of all.
            10..35 if !self.aside.contains_key(&connection) => {
                self.deliveries.late += 1;
                self.aside.insert(connection, message);
                return Vec::new();
            }
            35..40 => {
                self.deliveries.never += 1;
                Vec::new()
            }
            _ => vec![message],
        };
        passed.extend(self.aside.remove(&connection));
        passed
    }
}
