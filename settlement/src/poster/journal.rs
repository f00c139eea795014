//! The logs of all Settlements, kept by a watch as the few fields that other batches need: a hub has as many Settlements
//! as it ever sealed, and a pass must not read them all.

use std::collections::BTreeMap;

use alloy::primitives::Address;
use futures::TryStreamExt;
use kube::Api;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use spillway_crds::{Settlement, SettlementState};
use tokio::sync::watch;

use crate::advance::{Account, Entry, is_at, is_terminal};
use crate::chain::Place;

/// Facts of attempts older than this no longer matter: the budgets count days.
const KEPT_SECONDS: u64 = 2 * 86_400;

/// Settlements by sequence.
#[derive(Clone, Debug, Default)]
pub(super) struct Journal {
    /// Whether every Settlement was seen once.
    pub(super) is_complete: bool,
    /// Those sealed for this poster's chain and contract.
    pub(super) ours: BTreeMap<u64, Entry>,
    /// Unfinished ones that were sealed for another, by name.
    pub(super) elsewhere: BTreeMap<String, ()>,
    /// The newest attempt of each key is kept for ever: its nonce says what comes next.
    newest: BTreeMap<Address, Entry>,
}

impl Journal {
    pub(super) fn put(&mut self, settlement: &Settlement, place: &Place) {
        let entry = Entry::of(settlement);
        // A contract that cannot be read belongs to nobody else: its own step says what is wrong with it.
        if !is_at(&settlement.spec, place).unwrap_or(true) {
            match is_terminal(entry.state) {
                true => self.elsewhere.remove(&entry.name),
                false => self.elsewhere.insert(entry.name, ()),
            };
            return;
        }
        self.remember_newest(&entry);
        self.ours.insert(settlement.spec.sequence, entry);
    }

    pub(super) fn remove(&mut self, settlement: &Settlement) {
        let name = settlement.metadata.name.as_deref().unwrap_or_default();
        self.ours.retain(|_, entry| entry.name != name);
        self.elsewhere.remove(name);
    }

    fn remember_newest(&mut self, entry: &Entry) {
        for signed in &entry.signed {
            let known = self.newest.get(&signed.from).and_then(|entry| entry.signed.first());
            if known.is_none_or(|known| known.nonce < signed.nonce) {
                let newest = Entry {
                    signed: vec![*signed],
                    state: SettlementState::Final,
                    ..entry.clone()
                };
                self.newest.insert(signed.from, newest);
            }
        }
    }

    /// Names of the unfinished ones, lowest sequence first.
    pub(super) fn unfinished(&self) -> Vec<String> {
        let unfinished = self.ours.values().filter(|entry| !is_terminal(entry.state));
        unfinished.map(|entry| entry.name.clone()).collect()
    }

    pub(super) fn account(&self, address: Address, now: u64) -> Account {
        Account::of(address, self.ours.values().chain(self.newest.values()), now)
    }

    /// Forgets attempts that no budget counts any more.
    pub(super) fn shrink(&mut self, now: u64) {
        for entry in self.ours.values_mut().filter(|entry| is_terminal(entry.state)) {
            // A failed batch may have left its transaction in a pool.
            if entry.state == SettlementState::Final {
                entry
                    .signed
                    .retain(|signed| signed.at.saturating_add(KEPT_SECONDS) > now);
                entry.signed.shrink_to_fit();
            }
        }
    }
}

/// Keeps the journal until the watch ends, which it never does by itself.
pub(super) async fn keep(api: Api<Settlement>, place: Place, journal: watch::Sender<Journal>) {
    let mut events = std::pin::pin!(watcher(api, watcher::Config::default()).default_backoff());
    let mut fresh = Journal::default();
    loop {
        match events.try_next().await {
            Ok(Some(Event::Init)) => fresh = Journal::default(),
            Ok(Some(Event::InitApply(settlement))) => fresh.put(&settlement, &place),
            Ok(Some(Event::InitDone)) => {
                fresh.is_complete = true;
                journal.send_replace(std::mem::take(&mut fresh));
            }
            Ok(Some(Event::Apply(settlement))) => journal.send_modify(|journal| journal.put(&settlement, &place)),
            Ok(Some(Event::Delete(settlement))) => journal.send_modify(|journal| journal.remove(&settlement)),
            Ok(None) => return,
            Err(error) => tracing::warn!(%error, "the watch of Settlements failed; it starts anew"),
        }
    }
}
