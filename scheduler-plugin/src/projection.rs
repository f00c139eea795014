//! The live objects of one kind, reduced to a few fields each, kept from watch events.

use std::collections::BTreeMap;

use kube::runtime::watcher::Event;

/// Namespace (empty for cluster-scoped kinds) and name.
pub type Key = (String, String);

#[derive(Debug)]
pub struct Projection<V> {
    live: BTreeMap<Key, V>,
    /// Objects seen since a relist began; they replace `live` at its end.
    relisted: Option<BTreeMap<Key, V>>,
    synced: bool,
}

/// What an event changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Touched {
    Nothing,
    One(Key),
    All,
}

impl<V> Default for Projection<V> {
    fn default() -> Self {
        Self {
            live: BTreeMap::new(),
            relisted: None,
            synced: false,
        }
    }
}

impl<V> Projection<V> {
    /// Applies an event; `key` and `project` reduce the object.
    pub fn apply<K>(&mut self, event: Event<K>, key: impl Fn(&K) -> Key, project: impl Fn(K) -> V) -> Touched {
        match event {
            Event::Init => self.relisted = Some(BTreeMap::new()),
            Event::InitApply(object) => {
                self.relisted
                    .get_or_insert_default()
                    .insert(key(&object), project(object));
            }
            Event::InitDone => return self.finish_relist(),
            Event::Apply(object) => {
                let key = key(&object);
                self.live.insert(key.clone(), project(object));
                return Touched::One(key);
            }
            Event::Delete(object) => {
                let key = key(&object);
                self.live.remove(&key);
                return Touched::One(key);
            }
        }
        Touched::Nothing
    }

    fn finish_relist(&mut self) -> Touched {
        self.live = self.relisted.take().unwrap_or_default();
        self.synced = true;
        Touched::All
    }

    /// Whether a whole list was seen at least once.
    pub fn synced(&self) -> bool {
        self.synced
    }

    pub fn get(&self, key: &Key) -> Option<&V> {
        self.live.get(key)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Key, &V)> {
        self.live.iter()
    }

    pub fn in_namespace(&self, namespace: &str) -> impl Iterator<Item = &V> {
        let from = (namespace.to_owned(), String::new());
        self.live
            .range(from..)
            .take_while(move |((actual, _), _)| actual == namespace)
            .map(|(_, value)| value)
    }
}
