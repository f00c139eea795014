//! Policy `Cost` against the cheapest assignment there is: a min-cost flow from kinds of jobs to hosts.

use super::*;

/// A small generator of numbers that look random (splitmix64): markets must be the same in every run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    /// In [0, 1).
    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// GPU product, GiB per GPU, a usual price in micro-USD.
const PRODUCTS: [(&str, u64, f64); 5] = [
    ("L4", 24, 600_000.0),
    ("A10", 24, 800_000.0),
    ("L40S", 48, 1_200_000.0),
    ("A100", 80, 1_800_000.0),
    ("H100", 80, 2_800_000.0),
];

/// Hosts with prices from 0.6 to 1.6 times the usual one, latencies from 3 to 250 ms, and all kinds of records.
fn market(numbers: &mut Numbers, hosts: usize) -> Vec<Offer> {
    let host = |index: usize| {
        let (product, gib, usual) = PRODUCTS[numbers.below(PRODUCTS.len())];
        let gpus = [1, 2, 4, 8][numbers.below(4)];
        let p95 = 3_000.0 * (250.0_f64 / 3.0).powf(numbers.share());
        let checks = [0, 0, 5, 20, 200][numbers.below(5)];
        Offer {
            product: product.to_owned(),
            gpu_memory: Bytes(gib * GIB),
            gpus_total: gpus,
            gpus_free: gpus,
            price: UnitPrice((usual * 0.6 * (1.6_f64 / 0.6).powf(numbers.share())) as u64),
            region: ["eu", "us"][numbers.below(2)].to_owned(),
            latencies: latency_to(HUB, p95 as u64),
            reputation: Reputation::of(checks, checks / 20),
            ..offer(&format!("host-{index}"))
        }
    };
    (0..hosts).map(host).collect()
}

/// Seven kinds of one-GPU jobs that compete for the same hosts, with a generous cap.
fn kinds() -> Vec<Requirement> {
    let base = Requirement {
        max_price: UnitPrice(100_000_000),
        ..requirement()
    };
    let of = |change: fn(&mut Requirement)| {
        let mut kind = base.clone();
        change(&mut kind);
        kind
    };
    vec![
        of(|_| ()),
        of(|kind| kind.min_memory = Some(Bytes(48 * GIB))),
        of(|kind| kind.min_memory = Some(Bytes(80 * GIB))),
        of(|kind| kind.regions = vec!["eu".to_owned()]),
        of(|kind| kind.models = vec!["H100".to_owned()]),
        of(|kind| (kind.min_memory, kind.regions) = (Some(Bytes(48 * GIB)), vec!["eu".to_owned()])),
        of(|kind| kind.models = vec!["L4".to_owned(), "A10".to_owned()]),
    ]
}

/// Kinds of jobs, in a random order, that together can have 80 % of the GPUs.
fn demand(numbers: &mut Numbers, offers: &[Offer], kinds: &[Requirement]) -> Vec<usize> {
    let mut gpus: Vec<&Offer> = Vec::new();
    offers
        .iter()
        .for_each(|offer| gpus.extend((0..offer.gpus_total).map(|_| offer)));
    (1..gpus.len())
        .rev()
        .for_each(|last| gpus.swap(last, numbers.below(last + 1)));
    gpus.truncate(gpus.len() * 4 / 5);
    let kind_for = |offer: &&Offer| {
        let fitting = (0..kinds.len()).filter(|kind| exclude(&kinds[*kind], offer).is_none());
        let fitting: Vec<usize> = fitting.collect();
        fitting[numbers.below(fitting.len())]
    };
    gpus.iter().map(kind_for).collect()
}

/// One job after another takes the best host with a free GPU. Placed jobs per kind, and their price per hour together.
fn place(offers: &[Offer], kinds: &[Requirement], jobs: &[usize]) -> (Vec<u64>, u64) {
    let weights = Weights::of(Policy::Cost);
    let rankings: Vec<Ranking> = kinds.iter().map(|kind| rank(kind, &weights, offers)).collect();
    let mut free: std::collections::BTreeMap<&str, u32> = offers
        .iter()
        .map(|offer| (offer.node.as_str(), offer.gpus_free))
        .collect();
    let (mut placed, mut price) = (vec![0; kinds.len()], 0);
    for kind in jobs {
        let candidates = &rankings[*kind].candidates;
        if let Some(best) = candidates.iter().find(|candidate| free[candidate.node.as_str()] > 0) {
            *free.get_mut(best.node.as_str()).unwrap() -= 1;
            placed[*kind] += 1;
            price += best.price.0;
        }
    }
    (placed, price)
}

/// A directed edge, and its reverse at the index with the last bit flipped.
struct Edge {
    to: usize,
    room: u64,
    price: i64,
}

#[derive(Default)]
struct Network {
    edges: Vec<Edge>,
    from: Vec<Vec<usize>>,
}

impl Network {
    fn connect(&mut self, from: usize, to: usize, room: u64, price: i64) {
        self.from
            .resize_with(self.from.len().max(from + 1).max(to + 1), Vec::new);
        for (from, to, room, price) in [(from, to, room, price), (to, from, 0, -price)] {
            self.from[from].push(self.edges.len());
            self.edges.push(Edge { to, room, price });
        }
    }

    /// Edges of a cheapest way, by Bellman and Ford; `None` when no way has room.
    fn cheapest_way(&self, source: usize, sink: usize) -> Option<Vec<usize>> {
        let mut price = vec![i64::MAX; self.from.len()];
        let mut via = vec![None; self.from.len()];
        price[source] = 0;
        let mut queue = std::collections::VecDeque::from([source]);
        while let Some(place) = queue.pop_front() {
            for index in &self.from[place] {
                let edge = &self.edges[*index];
                if edge.room > 0 && price[place] + edge.price < price[edge.to] {
                    price[edge.to] = price[place] + edge.price;
                    via[edge.to] = Some(*index);
                    queue.push_back(edge.to);
                }
            }
        }
        let mut way = Vec::new();
        let mut place = sink;
        while place != source {
            let index: usize = via[place]?;
            way.push(index);
            place = self.edges[index ^ 1].to;
        }
        Some(way)
    }

    /// Price of the cheapest flow that is as large as possible.
    fn cheapest_flow(&mut self, source: usize, sink: usize) -> u64 {
        let mut total = 0;
        while let Some(way) = self.cheapest_way(source, sink) {
            let amount = way.iter().map(|index| self.edges[*index].room).min().unwrap();
            for index in way {
                self.edges[index].room -= amount;
                self.edges[index ^ 1].room += amount;
                total += self.edges[index].price * i64::try_from(amount).unwrap();
            }
        }
        u64::try_from(total).unwrap()
    }
}

/// The lowest price for which so many jobs of each kind can be placed.
fn optimum(offers: &[Offer], kinds: &[Requirement], placed: &[u64]) -> u64 {
    let (source, sink) = (0, 1);
    let mut network = Network::default();
    for (index, kind) in kinds.iter().enumerate() {
        network.connect(source, 2 + index, placed[index], 0);
        for (host, offer) in offers.iter().enumerate() {
            if exclude(kind, offer).is_none() {
                network.connect(2 + index, 2 + kinds.len() + host, u64::MAX >> 2, offer.price.0 as i64);
            }
        }
    }
    for (host, offer) in offers.iter().enumerate() {
        network.connect(2 + kinds.len() + host, sink, u64::from(offer.gpus_free), 0);
    }
    network.cheapest_flow(source, sink)
}

#[test]
fn cost_comes_within_three_percent_of_the_cheapest_assignment() {
    let kinds = kinds();
    for seed in 0..6 {
        let mut numbers = Numbers(seed);
        let offers = market(&mut numbers, 100);
        let jobs = demand(&mut numbers, &offers, &kinds);
        let (placed, price) = place(&offers, &kinds, &jobs);
        let share_placed = placed.iter().sum::<u64>() as f64 / jobs.len() as f64;
        assert!(
            share_placed > 0.9,
            "market {seed}: {share_placed} of the jobs were placed"
        );
        let over = price as f64 / optimum(&offers, &kinds, &placed) as f64;
        assert!((1.0..=1.03).contains(&over), "market {seed}: {over} times the optimum");
    }
}
