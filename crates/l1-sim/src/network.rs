//! The network: who reaches whom, how fast, and over whom messages spread.

use rand::Rng;
use rand::rngs::StdRng;

/// Up to this many nodes everybody is everybody's neighbour.
const ALL_NEIGHBOURS: usize = 12;
/// Neighbours that a node chooses in a larger network; it is chosen by about as many.
const CHOSEN: usize = 3;

/// How the network treats messages.
#[derive(Debug, Clone, PartialEq)]
pub struct Network {
    /// Least and most milliseconds on the way.
    pub delay: (u64, u64),
    /// Share of messages that take up to the given milliseconds longer.
    pub late: (f64, u64),
    /// Share of messages that are lost.
    pub loss: f64,
    /// Share of messages that arrive twice.
    pub repeated: f64,
    /// Side of each node; only nodes of one side reach each other. Empty: all do.
    pub sides: Vec<u8>,
    /// Nodes that hear no Ratification votes and no quorums.
    pub deaf: Vec<usize>,
}

impl Default for Network {
    fn default() -> Self {
        Self { delay: (5, 60), late: (0.0, 0), loss: 0.0, repeated: 0.0, sides: Vec::new(), deaf: Vec::new() }
    }
}

impl Network {
    /// Whether there is a way from one node to another.
    pub fn reaches(&self, from: usize, to: usize) -> bool {
        self.sides.is_empty() || self.sides.get(from) == self.sides.get(to)
    }

    /// To whom each node passes messages on. In a large network that is not everybody: messages spread from neighbour to
    /// neighbour, within each side.
    pub fn neighbours(&self, nodes: usize, dice: &mut StdRng) -> Vec<Vec<u32>> {
        let mut neighbours = vec![Vec::new(); nodes];
        let mut link = |a: usize, b: usize| {
            for (from, to) in [(a, b), (b, a)] {
                let to = to as u32;
                if from as u32 != to && !neighbours[from].contains(&to) {
                    neighbours[from].push(to);
                }
            }
        };
        for a in 0..nodes {
            let side: Vec<_> = (0..nodes).filter(|b| *b != a && self.reaches(a, *b)).collect();
            if side.len() < ALL_NEIGHBOURS {
                side.into_iter().for_each(|b| link(a, b));
            } else {
                (0..CHOSEN).for_each(|_| link(a, side[dice.random_range(0..side.len())]));
            }
        }
        neighbours
    }
}
