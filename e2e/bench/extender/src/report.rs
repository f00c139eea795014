//! Times of all requests, and what they say.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::servers::Memory;

/// By server, names per request and verb (0 /filter, 1 /prioritize).
#[derive(Debug, Default)]
pub(crate) struct Samples(BTreeMap<(&'static str, usize, usize), Vec<Duration>>);

impl Samples {
    pub(crate) fn add(&mut self, server: &'static str, names: usize, taken: [Duration; 2]) {
        for (verb, time) in taken.into_iter().enumerate() {
            self.0.entry((server, names, verb)).or_default().push(time);
        }
    }

    /// Median and 99th percentile in microseconds; of both verbs together for `None`.
    fn of(&self, server: &'static str, names: usize, verb: Option<usize>) -> (f64, f64) {
        let wanted = |(key, _): &(&(&str, usize, usize), &Vec<Duration>)| {
            key.0 == server && key.1 == names && verb.is_none_or(|verb| verb == key.2)
        };
        let mut times: Vec<Duration> = self
            .0
            .iter()
            .filter(wanted)
            .flat_map(|(_, times)| times.clone())
            .collect();
        times.sort_unstable();
        (percentile(&times, 50), percentile(&times, 99))
    }
}

fn percentile(sorted: &[Duration], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(rank).map_or(f64::NAN, |time| time.as_secs_f64() * 1e6)
}

/// The last line is for machines.
pub(crate) fn print(samples: &mut Samples, servers: &[&'static str; 2], memory: &[Memory; 2], sizes: &[usize; 3]) {
    println!(
        "{:<10} {:>6} {:<12} {:>10} {:>10}",
        "server", "names", "verb", "p50 us", "p99 us"
    );
    for names in sizes {
        for server in servers {
            for (verb, name) in ["filter", "prioritize"].into_iter().enumerate() {
                let (median, high) = samples.of(server, *names, Some(verb));
                println!("{server:<10} {names:>6} {name:<12} {median:>10.0} {high:>10.0}");
            }
        }
    }
    for (server, memory) in servers.iter().zip(memory) {
        let (now, peak) = (memory.resident as f64 / 1024.0, memory.peak as f64 / 1024.0);
        println!("{server}: {now:.1} MiB resident, {peak:.1} MiB at most");
    }
    let [ours, go] = *servers;
    let high = |server, names| samples.of(server, names, None).1;
    println!(
        "p99_us_16={:.0} p99_us_64={:.0} p99_us_5000={:.0} go_p99_us_5000={:.0} vs_go_5000={:.2} rss_mib={:.1} go_rss_mib={:.1}",
        high(ours, 16),
        high(ours, 64),
        high(ours, 5_000),
        high(go, 5_000),
        high(go, 5_000) / high(ours, 5_000),
        memory[0].resident as f64 / 1024.0,
        memory[1].resident as f64 / 1024.0,
    );
}
