//! GPUs that WorkAssignments hold, per host: those that the watch has shown, and those that this process has just
//! written. Dispatch reserves here before it writes, so that GPUs assigned never exceed GPUs offered (S4).
//!
//! Only one operator leads, so its own writes and the watch are the whole picture. A request whose outcome is not
//! known stays counted until the watch says otherwise, or [`UNSEEN_PATIENCE`] is over.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kube::ResourceExt;
use kube::runtime::watcher::Event;

use super::projections::SlimAssignment;

/// Namespace of a provider, and a host's name on the provider's cluster.
pub(super) type Host = (String, String);
/// Namespace and name of an assignment.
pub(super) type AssignmentName = (String, String);

/// A written assignment that no watch event shows for so long was never written.
const UNSEEN_PATIENCE: Duration = Duration::from_secs(120);

#[derive(Debug, Default)]
pub(super) struct Held(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    entries: HashMap<AssignmentName, Entry>,
    /// Of all entries.
    counted: HashMap<Host, u32>,
    /// Of those that the watch has shown.
    seen: HashMap<Host, u32>,
    /// Hosts whose `seen` changed.
    changed: HashSet<Host>,
    /// Names seen since a relist began, and when that was.
    relisting: Option<(HashSet<AssignmentName>, Instant)>,
    swept: Option<Instant>,
}

#[derive(Clone, Debug)]
struct Entry {
    host: Host,
    gpus: u32,
    standing: Standing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// The request is on its way.
    Asked(Instant),
    /// Answered, and not yet shown by the watch.
    Written(Instant),
    Seen,
}

impl Held {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        // A panic elsewhere does not make a sum of facts wrong.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a watch event in.
    pub(super) fn note(&self, event: &Event<SlimAssignment>) {
        let mut inner = self.inner();
        match event {
            Event::Init => inner.relisting = Some((HashSet::new(), Instant::now())),
            Event::InitApply(assignment) => {
                let name = inner.see(assignment);
                if let Some((listed, _)) = &mut inner.relisting {
                    listed.insert(name);
                }
            }
            Event::InitDone => inner.finish_relist(),
            Event::Apply(assignment) => {
                inner.see(assignment);
            }
            Event::Delete(assignment) => inner.remove(&name_of(assignment)),
        }
    }

    /// Counts an assignment that is about to be written, if its GPUs fit in `offered`. One that is counted already fits.
    pub(super) fn reserve(&self, name: AssignmentName, host: Host, gpus: u32, offered: u32) -> bool {
        let mut inner = self.inner();
        inner.give_up_unseen(Instant::now());
        if inner.entries.contains_key(&name) {
            return true;
        }
        if inner.counted(&host).saturating_add(gpus) > offered {
            return false;
        }
        let standing = Standing::Asked(Instant::now());
        inner.put(name, Entry { host, gpus, standing });
        true
    }

    /// Whether the API server has it; the watch may not have shown it yet.
    pub(super) fn was_written(&self, name: &AssignmentName) -> bool {
        let inner = self.inner();
        let entry = inner.entries.get(name);
        entry.is_some_and(|entry| !matches!(entry.standing, Standing::Asked(_)))
    }

    /// The API server has it.
    pub(super) fn written(&self, name: &AssignmentName) {
        let now = Instant::now();
        if let Some(entry) = self.inner().entries.get_mut(name)
            && matches!(entry.standing, Standing::Asked(_))
        {
            entry.standing = Standing::Written(now);
        }
    }

    /// The API server refused: nothing was written.
    pub(super) fn release(&self, name: &AssignmentName) {
        let mut inner = self.inner();
        let asked = |entry: &Entry| matches!(entry.standing, Standing::Asked(_));
        if inner.entries.get(name).is_some_and(asked) {
            inner.remove(name);
        }
    }

    /// Whether the watch has shown this assignment.
    pub(super) fn has_seen(&self, name: &AssignmentName) -> bool {
        let inner = self.inner();
        let entry = inner.entries.get(name);
        entry.is_some_and(|entry| entry.standing == Standing::Seen)
    }

    /// GPUs of a host that assignments hold, as the watch has shown them: never more than the cache of assignments says.
    pub(super) fn seen(&self, host: &Host) -> u32 {
        self.inner().seen.get(host).copied().unwrap_or_default()
    }

    /// Hosts whose seen GPUs changed since the last call, with the counts of now.
    pub(super) fn take_changed(&self) -> Vec<(Host, u32)> {
        let mut inner = self.inner();
        let changed = std::mem::take(&mut inner.changed);
        let count = |host: &Host| inner.seen.get(host).copied().unwrap_or_default();
        changed.into_iter().map(|host| (host.clone(), count(&host))).collect()
    }
}

impl Inner {
    fn counted(&self, host: &Host) -> u32 {
        self.counted.get(host).copied().unwrap_or_default()
    }

    fn see(&mut self, assignment: &SlimAssignment) -> AssignmentName {
        let name = name_of(assignment);
        let entry = Entry {
            host: (name.0.clone(), assignment.spec.host.clone()),
            gpus: assignment.gpus_held(),
            standing: Standing::Seen,
        };
        self.put(name.clone(), entry);
        name
    }

    fn put(&mut self, name: AssignmentName, entry: Entry) {
        self.remove(&name);
        let Entry { host, gpus, standing } = &entry;
        add(&mut self.counted, host, *gpus);
        if *standing == Standing::Seen {
            add(&mut self.seen, host, *gpus);
            self.changed.insert(host.clone());
        }
        self.entries.insert(name, entry);
    }

    fn remove(&mut self, name: &AssignmentName) {
        let Some(Entry { host, gpus, standing }) = self.entries.remove(name) else {
            return;
        };
        subtract(&mut self.counted, &host, gpus);
        if standing == Standing::Seen {
            subtract(&mut self.seen, &host, gpus);
            self.changed.insert(host);
        }
    }

    /// What was there before the list and is not in it is gone; what was written since may be missing in it.
    fn finish_relist(&mut self) {
        let Some((listed, since)) = self.relisting.take() else {
            return;
        };
        let is_gone = |name: &AssignmentName, entry: &Entry| match entry.standing {
            Standing::Asked(_) => false,
            Standing::Written(time) => !listed.contains(name) && time < since,
            Standing::Seen => !listed.contains(name),
        };
        let gone = self.entries.iter().filter(|(name, entry)| is_gone(name, entry));
        let gone: Vec<AssignmentName> = gone.map(|(name, _)| name.clone()).collect();
        for name in &gone {
            self.remove(name);
        }
    }

    fn give_up_unseen(&mut self, now: Instant) {
        if self
            .swept
            .is_some_and(|swept| now.duration_since(swept) < UNSEEN_PATIENCE / 8)
        {
            return;
        }
        self.swept = Some(now);
        let is_old = |entry: &Entry| match entry.standing {
            Standing::Asked(time) | Standing::Written(time) => now.duration_since(time) > UNSEEN_PATIENCE,
            Standing::Seen => false,
        };
        let old = self.entries.iter().filter(|(_, entry)| is_old(entry));
        let old: Vec<AssignmentName> = old.map(|(name, _)| name.clone()).collect();
        for name in &old {
            self.remove(name);
        }
    }
}

fn add(sums: &mut HashMap<Host, u32>, host: &Host, gpus: u32) {
    if gpus > 0 {
        let sum = sums.entry(host.clone()).or_default();
        *sum = sum.saturating_add(gpus);
    }
}

fn subtract(sums: &mut HashMap<Host, u32>, host: &Host, gpus: u32) {
    if let Some(sum) = sums.get_mut(host) {
        *sum = sum.saturating_sub(gpus);
        if *sum == 0 {
            sums.remove(host);
        }
    }
}

fn name_of(assignment: &SlimAssignment) -> AssignmentName {
    (assignment.namespace().unwrap_or_default(), assignment.name_any())
}

#[cfg(test)]
pub(super) mod tests;
