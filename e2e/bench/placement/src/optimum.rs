//! The cheapest placement there is: a min-cost flow from classes to owners, by successive shortest paths.
//!
//! Each augmentation goes along a cheapest path in the residual graph, so the flow is of least cost for its size at
//! every step (Ahuja, Magnanti, Orlin: Network Flows, 9.7). Paths are found by Bellman-Ford with a queue, which allows
//! the negative costs of edges that are taken back.

use std::collections::VecDeque;

#[derive(Clone, Debug)]
struct Edge {
    to: usize,
    room: u64,
    cost: i64,
}

/// Edges in pairs: an edge and its way back.
#[derive(Clone, Debug, Default)]
pub(crate) struct Network {
    edges: Vec<Edge>,
    of: Vec<Vec<usize>>,
}

impl Network {
    pub(crate) fn new(nodes: usize) -> Self {
        Self {
            edges: Vec::new(),
            of: vec![Vec::new(); nodes],
        }
    }

    pub(crate) fn connect(&mut self, from: usize, to: usize, room: u64, cost: i64) {
        for (from, to, room, cost) in [(from, to, room, cost), (to, from, 0, -cost)] {
            self.of[from].push(self.edges.len());
            self.edges.push(Edge { to, room, cost });
        }
    }

    /// Largest flow from `source` to `sink`, and its least cost.
    pub(crate) fn cheapest(mut self, source: usize, sink: usize) -> (u64, i64) {
        let (mut flow, mut cost) = (0, 0);
        while let Some(path) = self.cheapest_path(source, sink) {
            let room = path.iter().map(|edge| self.edges[*edge].room).min().unwrap_or_default();
            for edge in path {
                self.edges[edge].room -= room;
                self.edges[edge ^ 1].room += room;
                cost += self.edges[edge].cost * i64::try_from(room).unwrap_or(i64::MAX);
            }
            flow += room;
        }
        (flow, cost)
    }

    fn cheapest_path(&self, source: usize, sink: usize) -> Option<Vec<usize>> {
        let mut costs = vec![i64::MAX; self.of.len()];
        let mut came_by = vec![None; self.of.len()];
        let mut queued = vec![false; self.of.len()];
        let mut queue = VecDeque::from([source]);
        costs[source] = 0;
        while let Some(node) = queue.pop_front() {
            queued[node] = false;
            for edge in &self.of[node] {
                let Edge { to, room, cost } = self.edges[*edge];
                if room > 0 && costs[node] + cost < costs[to] {
                    costs[to] = costs[node] + cost;
                    came_by[to] = Some(*edge);
                    if !std::mem::replace(&mut queued[to], true) {
                        queue.push_back(to);
                    }
                }
            }
        }
        let mut path = Vec::new();
        let mut node = sink;
        while node != source {
            let edge = came_by[node]?;
            path.push(edge);
            node = self.edges[edge ^ 1].to;
        }
        Some(path)
    }
}

/// Least sum of prices at which `demands` (per class) are served by `owners`: GPUs, price, and the classes that fit.
/// `None` when not all can be served.
pub(crate) fn least_price(demands: &[u64], owners: &[(u64, u64, Vec<usize>)]) -> Option<u64> {
    let (source, sink) = (0, demands.len() + owners.len() + 1);
    let mut network = Network::new(sink + 1);
    for (class, demand) in demands.iter().enumerate() {
        network.connect(source, 1 + class, *demand, 0);
    }
    for (index, (gpus, price, classes)) in owners.iter().enumerate() {
        let owner = 1 + demands.len() + index;
        network.connect(owner, sink, *gpus, i64::try_from(*price).ok()?);
        for class in classes {
            network.connect(1 + class, owner, *gpus, 0);
        }
    }
    let (flow, cost) = network.cheapest(source, sink);
    let wanted: u64 = demands.iter().sum();
    u64::try_from(cost).ok().filter(|_| flow == wanted)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn who_can_go_elsewhere_makes_room() {
        // Greedily, class 0 takes the cheap owner and class 1 finds nobody.
        let owners = [(1, 1, vec![0, 1]), (1, 5, vec![0])];
        assert_eq!(least_price(&[1, 1], &owners), Some(6));
        assert_eq!(least_price(&[0, 2], &owners), None);
    }

    /// Tries every way to serve each unit of demand.
    fn by_trial(demands: &[u64], owners: &[(u64, u64, Vec<usize>)], free: &mut [u64]) -> Option<u64> {
        let Some(class) = demands.iter().position(|demand| *demand > 0) else {
            return Some(0);
        };
        let mut demands = demands.to_vec();
        demands[class] -= 1;
        let mut best = None;
        for (index, (_, price, classes)) in owners.iter().enumerate() {
            if free[index] > 0 && classes.contains(&class) {
                free[index] -= 1;
                let rest = by_trial(&demands, owners, free);
                free[index] += 1;
                best = best.into_iter().chain(rest.map(|rest| rest + price)).min();
            }
        }
        best
    }

    proptest! {
        #[test]
        fn no_placement_is_cheaper(
            demands in prop::collection::vec(0u64..3, 1..4),
            owners in prop::collection::vec((1u64..3, 1u64..9, prop::collection::vec(any::<bool>(), 3)), 1..5),
        ) {
            let classes = |fits: &[bool]| (0..demands.len()).filter(|class| fits[*class]).collect::<Vec<_>>();
            let owners: Vec<_> = owners.iter().map(|(gpus, price, fits)| (*gpus, *price, classes(fits))).collect();
            let mut free: Vec<u64> = owners.iter().map(|owner| owner.0).collect();
            prop_assert_eq!(least_price(&demands, &owners), by_trial(&demands, &owners, &mut free));
        }
    }
}
