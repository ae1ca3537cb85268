//! The supervision tree, as it is declared.

use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
};

use crate::{
    Actor, Backoff, ChildSpec, Intensity, Strategy, Supervisor,
    brain::{BranchPlan, LeafPlan, Node},
    spec::Child,
    supervisor,
};

/// A tree of supervised actors: a strategy and a restart intensity for each subtree, actors and subtrees in the order
/// in which they start. They stop in the opposite order. Later children depend on earlier ones.
#[must_use = "a tree does nothing until it is started"]
pub struct Tree {
    name: Arc<str>,
    strategy: Strategy,
    intensity: Intensity,
    backoff: Backoff,
    faults: bool,
    children: Vec<Member>,
}

enum Member {
    Actor(Arc<dyn Child>),
    Subtree(Tree),
}

impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let children: Vec<&str> = self
            .children
            .iter()
            .map(|child| match child {
                Member::Actor(child) => &*child.core().name,
                Member::Subtree(tree) => &*tree.name,
            })
            .collect();
        f.debug_struct("Tree").field("name", &self.name).field("children", &children).finish_non_exhaustive()
    }
}

impl Tree {
    /// An empty tree.
    pub fn new(name: impl Into<Arc<str>>, strategy: Strategy) -> Self {
        Self {
            name: name.into(),
            strategy,
            intensity: Intensity::default(),
            backoff: Backoff::default(),
            faults: false,
            children: Vec::new(),
        }
    }

    /// How many restarts it bears before it fails itself. Default: 5 within 10 s.
    pub const fn intensity(mut self, intensity: Intensity) -> Self {
        self.intensity = intensity;
        self
    }

    /// Pauses before restarts of its children. Default: none, then from 10 ms doubling to 5 s.
    pub const fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// Whether [`Supervisor::inject`] works. Only the root's setting counts. Default: no.
    pub const fn allow_faults(mut self, allow: bool) -> Self {
        self.faults = allow;
        self
    }

    /// Adds an actor.
    ///
    /// # Panics
    /// If its reference was given to a tree before: a reference names one actor.
    pub fn actor<A: Actor>(mut self, spec: ChildSpec<A>) -> Self {
        let core = spec.core();
        let taken = core.wired.swap(true, Ordering::AcqRel);
        assert!(!taken, "the reference {:?} was given to a tree before: declare one per actor", core.name);
        self.children.push(Member::Actor(Arc::new(spec)));
        self
    }

    /// Adds a subtree, with the intensity and back-off of this tree unless `build` sets its own.
    pub fn subtree(mut self, name: impl Into<Arc<str>>, strategy: Strategy, build: impl FnOnce(Self) -> Self) -> Self {
        let subtree = Self::new(name, strategy).intensity(self.intensity).backoff(self.backoff);
        self.children.push(Member::Subtree(build(subtree)));
        self
    }

    /// Starts all actors, one after the other, and returns at once; see [`Supervisor::ready`].
    ///
    /// A metrics recorder must be installed before. Needs no async runtime on the calling thread.
    ///
    /// # Panics
    /// If two actors have the same name.
    pub fn start(self) -> Supervisor {
        let faults = self.faults;
        let mut plan = Plan::default();
        plan.add(self, None);
        for (at, child) in plan.children.iter().enumerate() {
            let name = &child.core().name;
            let twice = plan.children[..at].iter().any(|other| other.core().name == *name);
            assert!(!twice, "two actors are named {name:?}: names must be unique within a tree");
        }
        supervisor::start(plan, faults)
    }
}

/// A tree made flat: leaves in start order, and the branches above them.
#[derive(Default)]
pub(crate) struct Plan {
    pub(crate) children: Vec<Arc<dyn Child>>,
    pub(crate) leaves: Vec<LeafPlan>,
    pub(crate) branches: Vec<BranchPlan>,
}

impl Plan {
    fn add(&mut self, tree: Tree, parent: Option<usize>) -> usize {
        let Tree { name, strategy, intensity, backoff, children, .. } = tree;
        let branch = self.branches.len();
        self.branches.push(BranchPlan { name, parent, strategy, intensity, backoff, children: Vec::new() });
        for child in children {
            let node = match child {
                Member::Subtree(subtree) => Node::Branch(self.add(subtree, Some(branch))),
                Member::Actor(child) => {
                    let settings = child.settings();
                    self.leaves.push(LeafPlan {
                        name: child.core().name.clone(),
                        branch,
                        restart: settings.restart,
                        drain: settings.drain,
                    });
                    self.children.push(child);
                    Node::Leaf(self.leaves.len() - 1)
                }
            };
            self.branches[branch].children.push(node);
        }
        branch
    }

    /// Names of the branches above a leaf, root first.
    pub(crate) fn path(&self, leaf: usize) -> Vec<Arc<str>> {
        let mut path = Vec::new();
        let mut at = Some(self.leaves[leaf].branch);
        while let Some(branch) = at {
            path.push(self.branches[branch].name.clone());
            at = self.branches[branch].parent;
        }
        path.reverse();
        path
    }
}
