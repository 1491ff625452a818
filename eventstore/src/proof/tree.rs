//! The Merkle tree of RFC 6962, section 2.1, over hashes of leaves: its root, and what proves that a leaf is in it and
//! that it grew from a smaller one.
//!
//! Pure arithmetic: what of the tree is needed is told as [`Node`]s, and whoever keeps them hands in their hashes. Leaf
//! `i`, from 0, is the event at position `i + 1`.

use std::collections::HashMap;

use super::leaf::Hash;

/// Every so many levels nodes are kept; those between are made of them when they are asked for, at most 128 at a time.
pub const KEPT_EVERY: u8 = 8;

/// A complete subtree: the one over the leaves from `index << level`, `1 << level` of them.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Node {
    /// How far above the leaves; they themselves are at 0.
    pub level: u8,
    /// Its place among those of its level.
    pub index: u64,
}

impl Node {
    /// Its first leaf.
    pub fn first(self) -> u64 {
        self.index << self.level
    }

    /// Behind its last leaf.
    pub fn end(self) -> u64 {
        (self.index + 1) << self.level
    }

    /// The nodes that are kept from which it is made: their level, and the first and the end of their indexes.
    pub fn made_of(self) -> (u8, u64, u64) {
        let above = self.level % KEPT_EVERY;
        (self.level - above, self.index << above, (self.index + 1) << above)
    }
}

/// The hashes of some nodes.
pub type Hashes = HashMap<Node, Hash>;

/// A part of the tree as the complete subtrees that make it up, from left to right.
type Part = Vec<Node>;

/// The part over the leaves from `from`, which is a multiple of a power of two that is no less than their number, up to
/// `to`.
fn part(from: u64, to: u64) -> Part {
    let (mut nodes, mut from) = (Vec::new(), from);
    while from < to {
        // The place of the highest bit, below 64.
        let level = u8::try_from((to - from).ilog2()).unwrap_or(u8::MAX);
        nodes.push(Node { level, index: from >> level });
        from += 1 << level;
    }
    nodes
}

/// The hash of a part; nothing if one of its nodes is not there.
fn hash_of(part: &[Node], hashes: &Hashes) -> Option<Hash> {
    let hashes: Option<Vec<Hash>> = part.iter().map(|node| hashes.get(node).copied()).collect();
    Some(join(&hashes?))
}

/// The hash over complete subtrees that stand side by side, each smaller than the one before.
fn join(peaks: &[Hash]) -> Hash {
    let Some((last, before)) = peaks.split_last() else { return Hash::of_nothing() };
    before.iter().rfold(*last, |right, left| Hash::of_node(*left, right))
}

/// Where a tree of `size`, more than one, divides: the largest power of two that is less.
fn split(size: u64) -> u64 {
    1 << (size - 1).ilog2()
}

/// Which hashes a proof consists of, in its order.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Plan(Vec<Part>);

impl Plan {
    /// What shows that leaf `index` is in the tree of `size`; nothing if it is not.
    pub fn inclusion(index: u64, size: u64) -> Option<Self> {
        if index >= size {
            return None;
        }
        let (mut parts, mut from, mut to) = (Vec::new(), 0, size);
        while to - from > 1 {
            let middle = from + split(to - from);
            if index < middle {
                parts.push(part(middle, to));
                to = middle;
            } else {
                parts.push(part(from, middle));
                from = middle;
            }
        }
        parts.reverse();
        Some(Self(parts))
    }

    /// What shows that the tree of `size` begins with the one of `former`; nothing if it cannot, being smaller.
    pub fn consistency(former: u64, size: u64) -> Option<Self> {
        if former > size {
            return None;
        }
        // The former tree, empty or the same, follows from what is known already.
        if former == 0 || former == size {
            return Some(Self(Vec::new()));
        }
        let (mut parts, mut from, mut to) = (Vec::new(), 0, size);
        while former != to {
            let middle = from + split(to - from);
            if former <= middle {
                parts.push(part(middle, to));
                to = middle;
            } else {
                parts.push(part(from, middle));
                from = middle;
            }
        }
        if from > 0 {
            parts.push(part(from, to));
        }
        parts.reverse();
        Some(Self(parts))
    }

    /// What makes up the root of the tree of `size`.
    pub fn root(size: u64) -> Self {
        Self(vec![part(0, size)])
    }

    /// Every node whose hash is needed.
    pub fn nodes(&self) -> impl Iterator<Item = Node> {
        self.0.iter().flatten().copied()
    }

    /// The proof, made of the hashes of its nodes; nothing if one is missing.
    pub fn make(&self, hashes: &Hashes) -> Option<Vec<Hash>> {
        self.0.iter().map(|part| hash_of(part, hashes)).collect()
    }
}

/// Whether `proof` shows that `leaf` is at `index` in the tree of `size` with this root (RFC 9162, section 2.1.3.2).
pub fn includes(root: Hash, size: u64, index: u64, leaf: Hash, proof: &[Hash]) -> bool {
    if index >= size {
        return false;
    }
    let (mut at, mut last, mut hash) = (index, size - 1, leaf);
    for sibling in proof {
        if last == 0 {
            return false;
        }
        if at & 1 == 1 || at == last {
            hash = Hash::of_node(*sibling, hash);
            // Up to where the last leaf has a neighbour; it is not the first, since something is left of it.
            let up = at.trailing_zeros().min(63);
            (at, last) = (at >> up, last >> up);
        } else {
            hash = Hash::of_node(hash, *sibling);
        }
        (at, last) = (at >> 1, last >> 1);
    }
    last == 0 && hash == root
}

/// Whether `proof` shows that the tree of `size` with this root begins with that of `former` and its root (RFC 9162,
/// section 2.1.4.2).
pub fn grew(former_root: Hash, former: u64, root: Hash, size: u64, proof: &[Hash]) -> bool {
    if former > size {
        return false;
    }
    if former == size {
        return proof.is_empty() && former_root == root;
    }
    if former == 0 {
        return proof.is_empty() && former_root == Hash::of_nothing();
    }
    let mut steps = proof.iter().copied();
    let first = if former.is_power_of_two() { Some(former_root) } else { steps.next() };
    let Some(first) = first else { return false };
    let up = (former - 1).trailing_ones().min(63);
    let (mut at, mut last) = ((former - 1) >> up, (size - 1) >> up);
    let (mut before, mut now) = (first, first);
    for step in steps {
        if last == 0 {
            return false;
        }
        if at & 1 == 1 || at == last {
            before = Hash::of_node(step, before);
            now = Hash::of_node(step, now);
            let up = at.trailing_zeros().min(63);
            (at, last) = (at >> up, last >> up);
        } else {
            now = Hash::of_node(now, step);
        }
        (at, last) = (at >> 1, last >> 1);
    }
    last == 0 && before == former_root && now == root
}

/// The growing edge of a tree: the complete subtrees that it consists of. All that appending needs.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Edge {
    peaks: Vec<(Node, Hash)>,
}

impl Edge {
    /// The edge of the tree of `size`; nothing if one of its nodes is missing.
    pub fn of(size: u64, hashes: &Hashes) -> Option<Self> {
        let nodes = part(0, size).into_iter();
        let peaks = nodes.map(|node| Some((node, *hashes.get(&node)?))).collect::<Option<_>>()?;
        Some(Self { peaks })
    }

    /// How many leaves the tree has.
    pub fn size(&self) -> u64 {
        self.peaks.last().map_or(0, |(node, _)| node.end())
    }

    /// Its root.
    pub fn root(&self) -> Hash {
        join(&self.peaks.iter().map(|(_, hash)| *hash).collect::<Vec<_>>())
    }

    /// Adds a leaf, and tells of every node above it that it makes complete and that is one to keep.
    pub fn push(&mut self, leaf: Hash, mut kept: impl FnMut(Node, Hash)) {
        let (mut node, mut hash) = (Node { level: 0, index: self.size() }, leaf);
        while let Some((left, left_hash)) = self.peaks.pop_if(|(peak, _)| peak.level == node.level) {
            hash = Hash::of_node(left_hash, hash);
            node = Node { level: node.level + 1, index: left.index >> 1 };
            if node.level % KEPT_EVERY == 0 {
                kept(node, hash);
            }
        }
        self.peaks.push((node, hash));
    }
}

/// A node's hash out of those that it is [`made_of`](Node::made_of), from left to right.
pub fn fold(mut hashes: Vec<Hash>) -> Option<Hash> {
    while hashes.len() > 1 {
        hashes =
            hashes.chunks(2).map(|pair| Some(Hash::of_node(*pair.first()?, *pair.get(1)?))).collect::<Option<_>>()?;
    }
    hashes.pop()
}

#[cfg(test)]
mod tests {
    //! Against the words of RFC 6962, taken literally, and against the numbers that other implementations check by.

    use proptest::prelude::*;

    use super::*;

    /// Section 2.1: the Merkle tree hash of a list.
    fn mth(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => Hash::of_nothing(),
            [one] => *one,
            more => {
                let (left, right) = more.split_at(usize::try_from(split(more.len() as u64)).unwrap());
                Hash::of_node(mth(left), mth(right))
            }
        }
    }

    /// Section 2.1.1.
    fn path(m: usize, leaves: &[Hash]) -> Vec<Hash> {
        if leaves.len() == 1 {
            return Vec::new();
        }
        let k = usize::try_from(split(leaves.len() as u64)).unwrap();
        let (left, right) = leaves.split_at(k);
        let (mut path, other) = if m < k { (path(m, left), right) } else { (path(m - k, right), left) };
        path.push(mth(other));
        path
    }

    /// Section 2.1.2.
    fn subproof(m: usize, leaves: &[Hash], whole: bool) -> Vec<Hash> {
        if m == leaves.len() {
            return if whole { Vec::new() } else { vec![mth(leaves)] };
        }
        let k = usize::try_from(split(leaves.len() as u64)).unwrap();
        let (left, right) = leaves.split_at(k);
        let (mut proof, other) =
            if m <= k { (subproof(m, left, whole), right) } else { (subproof(m - k, right, false), left) };
        proof.push(mth(other));
        proof
    }

    fn leaves(count: usize) -> Vec<Hash> {
        (0..count).map(|leaf| Hash::of_leaf(&leaf.to_be_bytes())).collect()
    }

    /// The hashes that `plan` needs, made only of the leaves and of the nodes that are kept.
    fn store(plan: &Plan, leaves: &[Hash]) -> Hashes {
        let (mut edge, mut kept) = (Edge::default(), Hashes::new());
        for leaf in leaves {
            kept.insert(Node { level: 0, index: edge.size() }, *leaf);
            edge.push(*leaf, |node, hash| {
                kept.insert(node, hash);
            });
        }
        let made = |node: Node| {
            let (level, first, end) = node.made_of();
            fold((first..end).map(|index| kept[&Node { level, index }]).collect()).unwrap()
        };
        plan.nodes().map(|node| (node, made(node))).collect()
    }

    const VECTORS: [(&[u8], &str); 8] = [
        (&[], "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"),
        (&[0], "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"),
        (&[0x10], "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"),
        (&[0x20, 0x21], "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"),
        (&[0x30, 0x31], "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4"),
        (&[0x40, 0x41, 0x42, 0x43], "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef"),
        (
            &[0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57],
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        ),
        (
            &[0x60, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x6b, 0x6c, 0x6d, 0x6e, 0x6f],
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ),
    ];

    #[test]
    fn the_roots_are_those_of_certificate_transparency() {
        let mut edge = Edge::default();
        assert_eq!(edge.root(), Hash::of_nothing());
        for (leaf, root) in VECTORS {
            edge.push(Hash::of_leaf(leaf), |_, _| {});
            assert_eq!(edge.root().to_string(), root);
        }
    }

    #[test]
    fn every_proof_of_small_trees_is_that_of_the_rfc_and_proves_its_own_place_only() {
        for size in 1..=20 {
            let leaves = leaves(size);
            let root = mth(&leaves);
            for index in 0..size {
                let plan = Plan::inclusion(index as u64, size as u64).unwrap();
                let proof = plan.make(&store(&plan, &leaves)).unwrap();
                assert_eq!(proof, path(index, &leaves), "{index} of {size}");
                for (place, leaf) in leaves.iter().enumerate() {
                    let shown = includes(root, size as u64, place as u64, leaves[index], &proof);
                    assert_eq!(shown, place == index, "{index} at {place} of {size}");
                    assert_eq!(includes(root, size as u64, index as u64, *leaf, &proof), place == index);
                }
                let longer = [proof.as_slice(), &[root]].concat();
                assert!(!includes(root, size as u64, index as u64, leaves[index], &longer));
            }
            for former in 1..=size {
                let plan = Plan::consistency(former as u64, size as u64).unwrap();
                let proof = plan.make(&store(&plan, &leaves)).unwrap();
                assert_eq!(proof, subproof(former, &leaves, true), "{former} to {size}");
                for other in 1..=size {
                    let (other_root, at) = (mth(&leaves[..other]), other as u64);
                    assert_eq!(grew(other_root, at, root, size as u64, &proof), other == former);
                }
            }
        }
        assert_eq!(Plan::inclusion(3, 3), None);
        assert_eq!(Plan::consistency(4, 3), None);
        assert!(grew(Hash::of_nothing(), 0, mth(&leaves(3)), 3, &[]));
    }

    proptest! {
        #[test]
        fn any_proof_of_any_tree_is_that_of_the_rfc(size in 1_usize..1_500, at in 0.0..1.0, changed in any::<(u8, u16)>()) {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a place within")]
            let index = (at * size as f64) as usize;
            let (leaves, former) = (leaves(size), index + 1);
            let (wide_size, wide_index) = (size as u64, index as u64);
            let root = mth(&leaves);
            let plan = Plan::inclusion(wide_index, wide_size).unwrap();
            let mut proof = plan.make(&store(&plan, &leaves)).unwrap();
            prop_assert_eq!(&proof, &path(index, &leaves));
            prop_assert!(includes(root, wide_size, wide_index, leaves[index], &proof));
            let plan = Plan::consistency(former as u64, wide_size).unwrap();
            let mut grown = plan.make(&store(&plan, &leaves)).unwrap();
            prop_assert_eq!(&grown, &subproof(former, &leaves, true));
            prop_assert!(grew(mth(&leaves[..former]), former as u64, root, wide_size, &grown));
            let plan = Plan::root(wide_size);
            prop_assert_eq!(plan.make(&store(&plan, &leaves)).unwrap(), vec![root]);
            let edge = Edge::of(wide_size, &store(&plan, &leaves)).unwrap();
            prop_assert_eq!((edge.root(), edge.size()), (root, wide_size));
            let (bit, place) = (1 << (changed.0 % 8), usize::from(changed.1));
            if !proof.is_empty() {
                let step = place % proof.len();
                proof[step].0[place % 32] ^= bit;
                prop_assert!(!includes(root, wide_size, wide_index, leaves[index], &proof));
            }
            if !grown.is_empty() {
                let step = place % grown.len();
                grown[step].0[place % 32] ^= bit;
                prop_assert!(!grew(mth(&leaves[..former]), former as u64, root, wide_size, &grown));
            }
        }
    }
}
