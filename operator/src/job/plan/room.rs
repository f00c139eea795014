//! GPUs left per offer while attempts are promised theirs, one after the other.

use crate::job::market::Market;

/// By position in the market.
#[derive(Clone, Debug)]
pub(in crate::job) struct Room(Vec<u32>);

impl Room {
    /// What assignments left, less what is `promised` (by position; shorter means nothing).
    pub(in crate::job) fn of(market: &Market, promised: &[u32]) -> Self {
        let promised = promised.iter().copied().chain(std::iter::repeat(0));
        let left = market.iter().zip(promised);
        Self(
            left.map(|(offer, promised)| offer.gpus_free.saturating_sub(promised))
                .collect(),
        )
    }

    /// GPUs left by position.
    pub(in crate::job) fn into_gpus(self) -> Vec<u32> {
        self.0
    }

    pub(in crate::job) fn has(&self, position: usize, gpus: u32) -> bool {
        self.0.get(position).is_some_and(|free| *free >= gpus)
    }

    /// Takes GPUs from the first of these offers that has enough; an attempt whose candidates ran dry gets none.
    pub(in crate::job) fn take_first(
        &mut self,
        positions: impl IntoIterator<Item = usize>,
        gpus: u32,
    ) -> Option<usize> {
        let position = positions.into_iter().find(|position| self.has(*position, gpus))?;
        *self.0.get_mut(position)? -= gpus;
        Some(position)
    }
}
