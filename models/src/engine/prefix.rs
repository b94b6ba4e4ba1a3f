//! Which tokens the backend's cells hold, and which sequences share them: a radix tree whose
//! nodes are runs of cells. Bookkeeping alone; [`super::kv`] carries it out.

use std::collections::HashMap;

use super::numbers::to_u32;
use crate::backend::SeqId;
use crate::vocabulary::Token;

type NodeId = usize;

/// The root holds no cells and is on every path.
const ROOT: NodeId = 0;

/// A run of cells that the same sequences hold.
#[derive(Debug, Default)]
struct Node {
    tokens: Vec<Token>,
    parent: NodeId,
    children: Vec<NodeId>,
    /// Sequences whose path goes through here. At none the cells are free.
    holders: u32,
    /// How many of them are live.
    live_holders: u32,
    /// When its cells were last of use, on the tree's clock.
    touched: u64,
}

/// A sequence is the path from the root to the end of its last node.
#[derive(Debug, Clone, Copy)]
struct Path {
    last: NodeId,
    len: u32,
    live: bool,
}

/// Cells that a prompt can take over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Match {
    /// A sequence that holds them.
    pub(super) seq: SeqId,
    /// How many tokens.
    pub(super) len: u32,
    /// How many of them a live sequence holds, so that they cost nothing more.
    pub(super) live_len: u32,
}

/// The tree.
#[derive(Debug)]
pub(super) struct PrefixTree {
    nodes: Vec<Node>,
    unused: Vec<NodeId>,
    paths: HashMap<SeqId, Path>,
    clock: u64,
    cells: u32,
    live_cells: u32,
}

impl Default for PrefixTree {
    fn default() -> Self {
        Self {
            nodes: vec![Node::default()],
            unused: Vec::new(),
            paths: HashMap::new(),
            clock: 0,
            cells: 0,
            live_cells: 0,
        }
    }
}

impl PrefixTree {
    /// Cells that are held.
    pub(super) fn cells(&self) -> u32 {
        self.cells
    }

    /// Cells that live sequences hold, each counted once.
    pub(super) fn live_cells(&self) -> u32 {
        self.live_cells
    }

    /// How many tokens the sequence holds.
    pub(super) fn len(&self, seq: SeqId) -> u32 {
        self.paths.get(&seq).map_or(0, |path| path.len)
    }

    /// The tokens that the sequence holds.
    pub(super) fn tokens(&self, seq: SeqId) -> Vec<Token> {
        let last = self.paths.get(&seq).map_or(ROOT, |path| path.last);
        let mut nodes: Vec<NodeId> = self.path_up(last).collect();
        nodes.reverse();
        let runs = nodes.iter().map(|&node| &self.nodes[node].tokens[..]);
        runs.collect::<Vec<_>>().concat()
    }

    /// Begins an empty live sequence.
    pub(super) fn begin(&mut self, seq: SeqId) {
        self.remove(seq);
        let path = Path {
            last: ROOT,
            len: 0,
            live: true,
        };
        self.paths.insert(seq, path);
    }

    /// The sequence holds more tokens, in cells of its own.
    pub(super) fn extend(&mut self, seq: SeqId, tokens: &[Token]) {
        if tokens.is_empty() {
            return;
        }
        let path = self.paths[&seq];
        let count = to_u32(tokens.len());
        let last = &self.nodes[path.last];
        let own = path.last != ROOT && last.holders == 1 && last.children.is_empty();
        let last = if own {
            path.last
        } else {
            let child = self.new_node(path.last);
            self.nodes[child].holders = 1;
            self.nodes[child].live_holders = u32::from(path.live);
            child
        };
        self.nodes[last].tokens.extend_from_slice(tokens);
        self.nodes[last].touched = self.clock;
        self.cells += count;
        if path.live {
            self.live_cells += count;
        }
        let len = path.len + count;
        self.paths.insert(seq, Path { last, len, ..path });
    }

    /// The empty live sequence `to` holds the first `len` cells of `from` as well.
    pub(super) fn share(&mut self, from: SeqId, to: SeqId, len: u32) {
        self.begin(to);
        let last = self.node_ending_at(self.paths[&from], len);
        self.clock += 1;
        let path = Path {
            last,
            len,
            live: true,
        };
        self.hold(path);
        self.touch(last);
        self.paths.insert(to, path);
    }

    /// The sequence holds its first `len` tokens only.
    pub(super) fn truncate(&mut self, seq: SeqId, len: u32) {
        let Some(&path) = self.paths.get(&seq) else {
            return;
        };
        if len >= path.len {
            return;
        }
        let last = self.node_ending_at(path, len);
        let shorter = Path { last, len, ..path };
        self.hold(shorter);
        self.let_go(path);
        self.paths.insert(seq, shorter);
    }

    /// The sequence holds nothing and is not known any more.
    pub(super) fn remove(&mut self, seq: SeqId) {
        if let Some(path) = self.paths.remove(&seq) {
            self.let_go(path);
        }
    }

    /// Nobody works on the sequence any more, or somebody does again.
    pub(super) fn set_live(&mut self, seq: SeqId, live: bool) {
        let Some(&path) = self.paths.get(&seq) else {
            return;
        };
        if path.live == live {
            return;
        }
        let changed = Path { live, ..path };
        self.hold(changed);
        self.let_go(path);
        self.paths.insert(seq, changed);
    }

    /// Whether another sequence holds all that this one holds.
    pub(super) fn is_covered(&self, seq: SeqId) -> bool {
        let path = self.paths[&seq];
        path.last == ROOT || self.nodes[path.last].holders > 1
    }

    /// The most of `tokens` that some sequence holds from its first token on. `whole`: only
    /// sequences that hold nothing beyond it, for models that can't go back.
    pub(super) fn longest(&self, tokens: &[Token], whole: bool) -> Option<Match> {
        let mut best: Option<(NodeId, u32)> = None;
        self.descend(tokens, |node, len| {
            let ends_here = || self.paths.values().any(|path| path.last == node);
            let complete = len == self.depth(node);
            if (!whole || (complete && ends_here())) && best.is_none_or(|(_, most)| len > most) {
                best = Some((node, len));
            }
        });
        let (node, len) = best?;
        let holds = |path: &Path| {
            if whole {
                path.last == node
            } else {
                self.is_on_path(node, path.last)
            }
        };
        let seq = self.paths.iter().find(|(_, path)| holds(path))?.0;
        Some(Match {
            seq: *seq,
            len,
            live_len: self.live_len(node, len),
        })
    }

    /// How many of `tokens` have been seen at the start of some sequence that is held.
    pub(super) fn known(&self, tokens: &[Token]) -> u32 {
        let mut most = 0;
        self.descend(tokens, |_, len| most = most.max(len));
        most
    }

    /// What to give up first: the sequence that was of use the longest ago, and how much of it
    /// to keep because it was of use later. `None`: all are live.
    pub(super) fn oldest(&self) -> Option<(SeqId, u32)> {
        let idle = self.paths.iter().filter(|(_, path)| !path.live);
        let (&seq, path) = idle.min_by_key(|(seq, path)| (self.nodes[path.last].touched, **seq))?;
        let node = &self.nodes[path.last];
        let above = &self.nodes[node.parent];
        let keep = node.parent != ROOT && above.touched > node.touched && above.holders == 1;
        let shorter = path.len - to_u32(node.tokens.len());
        Some((seq, if keep { shorter } else { 0 }))
    }

    /// Visits every node that begins like `tokens`, with how many tokens agree up to there.
    fn descend(&self, tokens: &[Token], mut visit: impl FnMut(NodeId, u32)) {
        let mut open = vec![(ROOT, 0)];
        while let Some((parent, depth)) = open.pop() {
            for &child in &self.nodes[parent].children {
                let run = &self.nodes[child].tokens;
                let agree = common_prefix(run, &tokens[depth..]);
                if agree > 0 {
                    visit(child, to_u32(depth + agree));
                    if agree == run.len() {
                        open.push((child, depth + agree));
                    }
                }
            }
        }
    }

    /// Tokens from the root to the end of the node.
    fn depth(&self, node: NodeId) -> u32 {
        let path = self.path_up(node);
        path.map(|node| to_u32(self.nodes[node].tokens.len())).sum()
    }

    /// How many of the first `len` tokens on the way to `node` live sequences hold.
    fn live_len(&self, node: NodeId, len: u32) -> u32 {
        let nodes = self.path_up(node);
        let live = nodes.filter(|&node| self.nodes[node].live_holders > 0);
        let held: u32 = live.map(|node| to_u32(self.nodes[node].tokens.len())).sum();
        held.min(len)
    }

    fn path_up(&self, from: NodeId) -> impl Iterator<Item = NodeId> {
        let step = |&node: &NodeId| Some(self.nodes[node].parent).filter(|&up| up != ROOT);
        std::iter::successors(Some(from).filter(|&node| node != ROOT), step)
    }

    fn is_on_path(&self, node: NodeId, last: NodeId) -> bool {
        self.path_up(last).any(|above| above == node)
    }

    /// The node on the path that ends at `len`; a node that reaches beyond is split.
    fn node_ending_at(&mut self, path: Path, len: u32) -> NodeId {
        let (mut node, mut end) = (path.last, path.len);
        while node != ROOT {
            let start = end - to_u32(self.nodes[node].tokens.len());
            if end <= len {
                break;
            }
            if start < len {
                return self.split(node, (len - start) as usize);
            }
            node = self.nodes[node].parent;
            end = start;
        }
        node
    }

    /// Cuts a node in two; returns the upper half. The lower one keeps its number, because
    /// paths end there.
    fn split(&mut self, node: NodeId, at: usize) -> NodeId {
        let parent = self.nodes[node].parent;
        let upper = self.new_node(parent);
        let lower_tokens = self.nodes[node].tokens.split_off(at);
        let upper_tokens = std::mem::replace(&mut self.nodes[node].tokens, lower_tokens);
        let (holders, live_holders) = (self.nodes[node].holders, self.nodes[node].live_holders);
        let touched = self.nodes[node].touched;
        self.nodes[parent].children.retain(|&child| child != node);
        self.nodes[node].parent = upper;
        self.nodes[upper] = Node {
            tokens: upper_tokens,
            parent,
            children: vec![node],
            holders,
            live_holders,
            touched,
        };
        upper
    }

    fn new_node(&mut self, parent: NodeId) -> NodeId {
        let node = self.unused.pop().unwrap_or_else(|| {
            self.nodes.push(Node::default());
            self.nodes.len() - 1
        });
        self.nodes[node].parent = parent;
        self.nodes[parent].children.push(node);
        node
    }

    fn touch(&mut self, last: NodeId) {
        let nodes: Vec<NodeId> = self.path_up(last).collect();
        for node in nodes {
            self.nodes[node].touched = self.clock;
        }
    }

    /// Counts a path in.
    fn hold(&mut self, path: Path) {
        let nodes: Vec<NodeId> = self.path_up(path.last).collect();
        for node in nodes {
            let node = &mut self.nodes[node];
            node.holders += 1;
            if path.live {
                if node.live_holders == 0 {
                    self.live_cells += to_u32(node.tokens.len());
                }
                node.live_holders += 1;
            }
        }
    }

    /// Counts a path out; nodes that nobody holds are freed.
    fn let_go(&mut self, path: Path) {
        let nodes: Vec<NodeId> = self.path_up(path.last).collect();
        for id in nodes {
            let node = &mut self.nodes[id];
            let count = to_u32(node.tokens.len());
            node.holders -= 1;
            if path.live {
                node.live_holders -= 1;
                if node.live_holders == 0 {
                    self.live_cells -= count;
                }
            }
            if node.holders == 0 {
                self.cells -= count;
                self.free(id);
            } else {
                self.join_with_child(id);
            }
        }
    }

    fn free(&mut self, id: NodeId) {
        let node = std::mem::take(&mut self.nodes[id]);
        let siblings = &mut self.nodes[node.parent].children;
        siblings.retain(|&child| child != id);
        self.unused.push(id);
    }

    /// Two nodes that the same sequences hold become one, unless the upper one was of use
    /// later: then it may outlive the lower one.
    fn join_with_child(&mut self, id: NodeId) {
        let [child] = self.nodes[id].children[..] else {
            return;
        };
        let (upper, lower) = (&self.nodes[id], &self.nodes[child]);
        if upper.holders != lower.holders
            || upper.live_holders != lower.live_holders
            || upper.touched > lower.touched
        {
            return;
        }
        let mut tokens = std::mem::take(&mut self.nodes[id].tokens);
        tokens.append(&mut self.nodes[child].tokens);
        self.nodes[child].tokens = tokens;
        let parent = self.nodes[id].parent;
        self.nodes[child].parent = parent;
        self.nodes[parent].children.push(child);
        self.nodes[id].children.clear();
        self.free(id);
    }
}

/// How many tokens two runs begin with in common.
pub(super) fn common_prefix(a: &[Token], b: &[Token]) -> usize {
    // In blocks, which the compiler compares with vector instructions.
    const BLOCK: usize = 32;
    let equal = a.chunks(BLOCK).zip(b.chunks(BLOCK));
    let start = equal.take_while(|(a, b)| a == b).count() * BLOCK;
    let start = start.min(a.len()).min(b.len());
    let rest = a[start..].iter().zip(&b[start..]);
    start + rest.take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tokens(text: &str) -> Vec<Token> {
        text.bytes().map(u32::from).collect()
    }

    fn held(tree: &PrefixTree, text: &str) -> Option<(SeqId, u32)> {
        let found = tree.longest(&tokens(text), false);
        found.map(|found| (found.seq, found.len))
    }

    #[test]
    fn shared_cells_are_counted_once_and_freed_with_their_last_holder() {
        let mut tree = PrefixTree::default();
        tree.begin(0);
        tree.extend(0, &tokens("system: one"));
        assert_eq!(held(&tree, "system: two"), Some((0, 8)));
        tree.share(0, 1, 8);
        tree.extend(1, &tokens("two"));
        assert_eq!((tree.cells(), tree.live_cells()), (14, 14));
        tree.set_live(0, false);
        assert_eq!((tree.cells(), tree.live_cells()), (14, 11));
        tree.remove(1);
        assert_eq!((tree.cells(), tree.live_cells()), (11, 0));
        assert_eq!(held(&tree, "system: two"), Some((0, 8)));
        tree.remove(0);
        assert_eq!(tree.cells(), 0);
        assert_eq!(held(&tree, "system"), None);
    }

    #[test]
    fn what_was_of_use_later_outlives_its_leaf() {
        let mut tree = PrefixTree::default();
        tree.begin(0);
        tree.extend(0, &tokens("head tail"));
        tree.set_live(0, false);
        // Somebody used the head alone, and is gone without a trace.
        tree.share(0, 1, 5);
        tree.remove(1);
        assert_eq!(tree.oldest(), Some((0, 5)));
        tree.truncate(0, 5);
        assert_eq!(tree.oldest(), Some((0, 0)));
    }

    #[test]
    fn a_model_that_cannot_go_back_gets_whole_sequences_only() {
        let mut tree = PrefixTree::default();
        tree.begin(0);
        tree.extend(0, &tokens("abcdef"));
        assert_eq!(tree.longest(&tokens("abcxyz"), true), None);
        assert_eq!(tree.known(&tokens("abcxyz")), 3);
        tree.share(0, 1, 3);
        let found = tree.longest(&tokens("abcxyz"), true);
        assert_eq!(found.map(|found| (found.seq, found.len)), Some((1, 3)));
        let longer = tree.longest(&tokens("abcdefg"), true);
        assert_eq!(longer.map(|found| (found.seq, found.len)), Some((0, 6)));
    }

    #[derive(Debug, Clone)]
    enum Step {
        Begin(SeqId),
        Extend(SeqId, Vec<Token>),
        Share(SeqId, SeqId, u32),
        Truncate(SeqId, u32),
        Remove(SeqId),
        SetLive(SeqId, bool),
    }

    fn step() -> impl Strategy<Value = Step> {
        let seq = || 0..5u32;
        prop_oneof![
            seq().prop_map(Step::Begin),
            (seq(), prop::collection::vec(0..3u32, 1..6)).prop_map(|(s, t)| Step::Extend(s, t)),
            (seq(), seq(), 0..12u32).prop_map(|(a, b, n)| Step::Share(a, b, n)),
            (seq(), 0..12u32).prop_map(|(s, n)| Step::Truncate(s, n)),
            seq().prop_map(Step::Remove),
            (seq(), any::<bool>()).prop_map(|(s, live)| Step::SetLive(s, live)),
        ]
    }

    /// A cell is a number; a sequence is a list of them. Slow, and plainly right.
    #[derive(Default)]
    struct Plain {
        sequences: HashMap<SeqId, (Vec<(u64, Token)>, bool)>,
        next: u64,
    }

    impl Plain {
        fn count(&self, live_only: bool) -> usize {
            let mut cells: Vec<u64> = self
                .sequences
                .values()
                .filter(|(_, live)| *live || !live_only)
                .flat_map(|(cells, _)| cells.iter().map(|cell| cell.0))
                .collect();
            cells.sort_unstable();
            cells.dedup();
            cells.len()
        }
    }

    proptest! {
        #[test]
        fn any_history_counts_as_a_list_of_cells_would(
            steps in prop::collection::vec(step(), 1..60),
            probe in prop::collection::vec(0..3u32, 0..12),
        ) {
            let (mut tree, mut plain) = (PrefixTree::default(), Plain::default());
            for step in steps {
                match step {
                    Step::Begin(seq) => {
                        tree.begin(seq);
                        plain.sequences.insert(seq, (Vec::new(), true));
                    }
                    Step::Extend(seq, tokens) => {
                        if let Some((cells, _)) = plain.sequences.get_mut(&seq) {
                            tree.extend(seq, &tokens);
                            for token in tokens {
                                plain.next += 1;
                                cells.push((plain.next, token));
                            }
                        }
                    }
                    Step::Share(from, to, len) => {
                        let source = plain.sequences.get(&from).map(|(cells, _)| cells.clone());
                        if let Some(mut cells) = source.filter(|_| from != to) {
                            cells.truncate(len as usize);
                            tree.share(from, to, to_u32(cells.len()));
                            plain.sequences.insert(to, (cells, true));
                        }
                    }
                    Step::Truncate(seq, len) => {
                        tree.truncate(seq, len);
                        if let Some((cells, _)) = plain.sequences.get_mut(&seq) {
                            cells.truncate(len as usize);
                        }
                    }
                    Step::Remove(seq) => {
                        tree.remove(seq);
                        plain.sequences.remove(&seq);
                    }
                    Step::SetLive(seq, live) => {
                        tree.set_live(seq, live);
                        if let Some(sequence) = plain.sequences.get_mut(&seq) {
                            sequence.1 = live;
                        }
                    }
                }
                prop_assert_eq!(tree.cells() as usize, plain.count(false));
                prop_assert_eq!(tree.live_cells() as usize, plain.count(true));
                for (&seq, (cells, _)) in &plain.sequences {
                    let tokens: Vec<Token> = cells.iter().map(|cell| cell.1).collect();
                    prop_assert_eq!(tree.len(seq) as usize, cells.len());
                    prop_assert_eq!(tree.tokens(seq), tokens);
                }
                let agree = |cells: &[(u64, Token)]| {
                    cells.iter().zip(&probe).take_while(|(cell, token)| cell.1 == **token).count()
                };
                let best = plain.sequences.values().map(|(cells, _)| agree(cells)).max();
                let best = best.filter(|&len| len > 0);
                let found = tree.longest(&probe, false);
                prop_assert_eq!(found.map(|found| found.len as usize), best);
                if let Some(found) = found {
                    prop_assert!(agree(&plain.sequences[&found.seq].0) >= found.len as usize);
                }
                prop_assert_eq!(tree.known(&probe) as usize, best.unwrap_or(0));
            }
        }
    }
}
