//! The root of a Merkle tree that only grows, from as few hashes as have to be remembered: one for each complete subtree.

use serde::{Deserialize, Serialize};

use crate::proof::Hash;

/// What has to be remembered of the leaves so far: the roots of the largest complete subtrees, from left to right, as the
/// binary digits of their number have it.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Frontier {
    size: u64,
    peaks: Vec<Hash>,
}

impl Frontier {
    /// One more leaf.
    pub fn push(&mut self, leaf: Hash) {
        let (mut hash, mut trees) = (leaf, self.size);
        while trees % 2 == 1 {
            if let Some(left) = self.peaks.pop() {
                hash = Hash::of_node(left, hash);
            }
            trees /= 2;
        }
        self.peaks.push(hash);
        self.size += 1;
    }

    /// How many leaves there were.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root of the tree over them: the Merkle tree hash of RFC 6962.
    pub fn root(&self) -> Hash {
        let joined = self.peaks.iter().rev().copied().reduce(|right, left| Hash::of_node(left, right));
        joined.unwrap_or_else(Hash::of_nothing)
    }

    /// Whether there are as many hashes as so many leaves leave.
    pub fn is_whole(&self) -> bool {
        usize::try_from(self.size.count_ones()).is_ok_and(|peaks| peaks == self.peaks.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As RFC 6962, section 2.1, has it.
    fn tree(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => Hash::of_nothing(),
            [leaf] => *leaf,
            _ => {
                let split = leaves.len().next_power_of_two() / 2;
                Hash::of_node(tree(&leaves[..split]), tree(&leaves[split..]))
            }
        }
    }

    #[test]
    fn the_root_is_that_of_rfc_6962_at_every_size() {
        let leaves: Vec<_> = (0..130_u8).map(|leaf| Hash::of_leaf(&[leaf])).collect();
        let mut frontier = Frontier::default();
        for size in 0..=leaves.len() {
            assert_eq!(frontier.root(), tree(&leaves[..size]), "{size} leaves");
            assert!(frontier.is_whole());
            assert_eq!(frontier.size(), size as u64);
            let kept: Frontier = serde_json::from_str(&serde_json::to_string(&frontier).unwrap()).unwrap();
            assert_eq!(kept, frontier, "it can be written down and taken up again");
            if let Some(leaf) = leaves.get(size) {
                frontier.push(*leaf);
            }
        }
    }

    #[test]
    fn hashes_that_are_missing_are_noticed() {
        let mut frontier = Frontier::default();
        frontier.push(Hash::of_leaf(&[]));
        frontier.peaks.clear();
        assert!(!frontier.is_whole());
    }
}
