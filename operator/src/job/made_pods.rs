//! Pods that this process made and the watch has not shown yet: they are there, though the cache does not know.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::observed::PodFact;

/// A pod that no watch event shows for so long is gone.
const UNSEEN_PATIENCE: Duration = Duration::from_secs(30);

/// By namespace and name.
#[derive(Debug, Default)]
pub(super) struct MadePods(Mutex<HashMap<(String, String), (PodFact, Instant)>>);

impl MadePods {
    fn pods(&self) -> MutexGuard<'_, HashMap<(String, String), (PodFact, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn remember(&self, namespace: &str, name: &str, pod: PodFact) {
        let made = (pod, Instant::now());
        self.pods().insert((namespace.to_owned(), name.to_owned()), made);
    }

    pub(super) fn get(&self, namespace: &str, name: &str) -> Option<PodFact> {
        self.at(namespace, name, Instant::now())
    }

    fn at(&self, namespace: &str, name: &str, now: Instant) -> Option<PodFact> {
        let pods = self.pods();
        let (pod, made) = pods.get(&(namespace.to_owned(), name.to_owned()))?;
        (now.duration_since(*made) < UNSEEN_PATIENCE).then(|| pod.clone())
    }

    /// From now on the cache answers: the watch has shown the pod, or its end, or we deleted it.
    pub(super) fn forget(&self, namespace: &str, name: &str) {
        let mut pods = self.pods();
        if !pods.is_empty() {
            pods.remove(&(namespace.to_owned(), name.to_owned()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_there_until_the_watch_answers_for_it() {
        let pod = PodFact {
            uid: "u".to_owned(),
            resource_version: "1".to_owned(),
            ours: true,
            node: None,
            deleting: false,
            phase: "Pending".to_owned(),
        };
        let made = MadePods::default();
        made.remember("team-a", "embed-0-0", pod.clone());
        assert_eq!(made.get("team-a", "embed-0-0"), Some(pod));
        assert_eq!(made.get("team-b", "embed-0-0"), None);
        let later = Instant::now() + UNSEEN_PATIENCE;
        assert_eq!(made.at("team-a", "embed-0-0", later), None);
        made.forget("team-a", "embed-0-0");
        assert_eq!(made.get("team-a", "embed-0-0"), None);
    }
}
