//! What the numbers of a guest stand for: each a name in a folder, and the file that was found there.
//!
//! Input: names that were looked up, and what the guest forgets. Output: paths. Not here: files themselves.

use std::collections::HashMap;

use provium_devices::StateError;
use provium_devices::virtio::saved::FsNodeState;
use rustix::io::Errno;
use serde_bytes::ByteBuf;

use super::wire::ROOT;

/// Most nodes. A guest's own memory is what bounds it before that.
pub(super) const MAX_NODES: usize = 1 << 18;
/// Most bytes of a path, as the kernel has it.
const MAX_PATH: usize = 4095;

/// What a node is as far as requests differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A folder.
    Folder,
    /// A folder whose content no guest is shown.
    Closed,
    /// Anything else, by its identity.
    File(u64),
}

/// One thing that the guest knows.
#[derive(Debug, Clone)]
pub(super) struct Node {
    /// The folder it is in; [`ROOT`] for a shared folder itself.
    parent: u64,
    /// Its name there; empty when it is there no more.
    name: Box<[u8]>,
    /// The number of the shared folder it is in.
    pub(super) folder: usize,
    pub(super) kind: Kind,
    /// How often the guest was told of it and has not forgotten it.
    lookups: u64,
}

/// All that a guest knows.
#[derive(Debug)]
pub(super) struct Nodes {
    nodes: HashMap<u64, Node>,
    by_name: HashMap<(u64, Box<[u8]>), u64>,
    next: u64,
}

impl Default for Nodes {
    fn default() -> Nodes {
        Nodes {
            nodes: HashMap::new(),
            by_name: HashMap::new(),
            next: ROOT + 1,
        }
    }
}

impl Nodes {
    /// The node of this number.
    ///
    /// # Errors
    /// ESTALE for a number that stands for nothing.
    pub(super) fn get(&self, id: u64) -> Result<&Node, Errno> {
        self.nodes.get(&id).ok_or(Errno::STALE)
    }

    /// The path of a node from its shared folder on, `.` for that itself.
    ///
    /// # Errors
    /// ESTALE when it has no name any more, or something above it.
    pub(super) fn path(&self, id: u64) -> Result<Vec<u8>, Errno> {
        let mut names = Vec::new();
        let mut node = self.get(id)?;
        let mut bytes = 0;
        while node.parent != ROOT {
            if node.name.is_empty() {
                return Err(Errno::STALE);
            }
            bytes += node.name.len() + 1;
            if bytes > MAX_PATH {
                return Err(Errno::NAMETOOLONG);
            }
            names.push(&node.name);
            node = self.get(node.parent)?;
        }
        if names.is_empty() {
            return Ok(b".".to_vec());
        }
        let mut path = Vec::with_capacity(bytes);
        for name in names.into_iter().rev() {
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(name);
        }
        Ok(path)
    }

    /// The number of `name` in `parent`, which the guest is about to be told of.
    ///
    /// # Errors
    /// ENFILE when it knows too much already.
    pub(super) fn found(
        &mut self,
        parent: u64,
        name: &[u8],
        folder: usize,
        kind: Kind,
    ) -> Result<u64, Errno> {
        let key = (parent, Box::from(name));
        if let Some(id) = self.by_name.get(&key) {
            let node = self.nodes.get_mut(id).ok_or(Errno::STALE)?;
            if node.kind == kind {
                node.lookups = node.lookups.saturating_add(1);
                return Ok(*id);
            }
            // Another file has taken its name.
            node.name = Box::default();
        } else if self.nodes.len() >= MAX_NODES {
            return Err(Errno::NFILE);
        }
        let id = self.next;
        self.next += 1;
        self.nodes.insert(
            id,
            Node {
                parent,
                name: Box::from(name),
                folder,
                kind,
                lookups: 1,
            },
        );
        self.by_name.insert(key, id);
        Ok(id)
    }

    /// The node that has this name, if the guest knows one.
    pub(super) fn named(&self, parent: u64, name: &[u8]) -> Option<u64> {
        self.by_name.get(&(parent, Box::from(name))).copied()
    }

    /// The guest has forgotten a node so many times; true when that was the last.
    pub(super) fn forget(&mut self, id: u64, times: u64) -> bool {
        let Some(node) = self.nodes.get_mut(&id) else {
            return false;
        };
        node.lookups = node.lookups.saturating_sub(times);
        if node.lookups > 0 {
            return false;
        }
        if let Some(node) = self.nodes.remove(&id) {
            self.unname(node.parent, node.name, id);
        }
        true
    }

    fn unname(&mut self, parent: u64, name: Box<[u8]>, id: u64) {
        let key = (parent, name);
        if self.by_name.get(&key) == Some(&id) {
            self.by_name.remove(&key);
        }
    }

    /// A name is no more; whoever had it has none.
    pub(super) fn removed(&mut self, parent: u64, name: &[u8]) {
        if let Some(id) = self.by_name.remove(&(parent, Box::from(name)))
            && let Some(node) = self.nodes.get_mut(&id)
        {
            node.name = Box::default();
        }
    }

    /// One name has become another; whoever had the other has none.
    pub(super) fn renamed(&mut self, from: (u64, &[u8]), to: (u64, &[u8])) {
        self.removed(to.0, to.1);
        if let Some(id) = self.by_name.remove(&(from.0, Box::from(from.1))) {
            self.name(id, to);
        }
    }

    /// Two names were exchanged.
    pub(super) fn exchanged(&mut self, one: (u64, &[u8]), other: (u64, &[u8])) {
        let first = self.by_name.remove(&(one.0, Box::from(one.1)));
        let second = self.by_name.remove(&(other.0, Box::from(other.1)));
        first.into_iter().for_each(|id| self.name(id, other));
        second.into_iter().for_each(|id| self.name(id, one));
    }

    fn name(&mut self, id: u64, (parent, name): (u64, &[u8])) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.parent = parent;
            node.name = Box::from(name);
            self.by_name.insert((parent, Box::from(name)), id);
        }
    }

    /// Everything as plain data, in the order of the numbers, and the next number.
    pub(super) fn save(&self) -> (Vec<FsNodeState>, u64) {
        let mut saved: Vec<_> = self.nodes.iter().map(|(id, node)| node.save(*id)).collect();
        saved.sort_by_key(|node| node.id);
        (saved, self.next)
    }

    /// What was saved, for that many shared folders.
    ///
    /// # Errors
    /// When no server can have been in that state.
    pub(super) fn restore(saved: &[FsNodeState], next: u64, folders: usize) -> Result<Nodes, StateError> {
        let wrong = |what: &str| StateError::new("shared folders", what);
        if saved.len() > MAX_NODES {
            return Err(wrong("more nodes than there can be"));
        }
        let mut nodes = Nodes {
            next,
            ..Nodes::default()
        };
        for state in saved {
            let name_is_bad = state.name.len() > 255 || state.name.contains(&b'/') || state.name == b"..";
            if state.id <= ROOT || state.id >= next {
                return Err(wrong("a node with a number that it cannot have"));
            }
            if name_is_bad || state.folder as usize >= folders {
                return Err(wrong("a node that can be nowhere"));
            }
            let node = Node::restore(state);
            if !node.name.is_empty() {
                nodes.by_name.insert((node.parent, node.name.clone()), state.id);
            }
            nodes.nodes.insert(state.id, node);
        }
        Ok(nodes)
    }
}

impl Node {
    fn save(&self, id: u64) -> FsNodeState {
        let (identity, closed) = match self.kind {
            Kind::Folder => (None, false),
            Kind::Closed => (None, true),
            Kind::File(identity) => (Some(identity), false),
        };
        FsNodeState {
            id,
            parent: self.parent,
            name: ByteBuf::from(self.name.to_vec()),
            folder: self.folder as u32,
            identity,
            closed,
            lookups: self.lookups,
        }
    }

    fn restore(state: &FsNodeState) -> Node {
        Node {
            parent: state.parent,
            name: Box::from(&state.name[..]),
            folder: state.folder as usize,
            kind: match (state.identity, state.closed) {
                (Some(identity), _) => Kind::File(identity),
                (None, true) => Kind::Closed,
                (None, false) => Kind::Folder,
            },
            lookups: state.lookups,
        }
    }
}
