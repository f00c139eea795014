//! What the market says of a job, as the status and the command line show it.

use spillway_core::market::{Direction, Ranking, Relaxation, SmallestChange};

use crate::{FieldAction, FieldChange, PlacementChange, PlacementExplanation};

impl PlacementExplanation {
    /// Counts and words of a ranking; `change` is what would help where nothing fits.
    pub fn of(ranking: &Ranking, change: Option<&SmallestChange>) -> Self {
        let message = match change {
            Some(change) => format!("{}. Smallest change: {change}", ranking.explain()),
            None => ranking.explain(),
        };
        Self {
            message,
            offers: ranking.offers,
            fitting: u32::try_from(ranking.candidates.len()).unwrap_or(u32::MAX),
            excluded: ranking.excluded_by_reason(),
            change: change.map(PlacementChange::from),
        }
    }
}

impl From<&SmallestChange> for PlacementChange {
    fn from(change: &SmallestChange) -> Self {
        Self {
            message: change.to_string(),
            fitting: change.fitting,
            fields: change.relaxations.iter().map(FieldChange::from).collect(),
        }
    }
}

impl From<&Relaxation> for FieldChange {
    fn from(relaxation: &Relaxation) -> Self {
        Self {
            field: relaxation.field().to_owned(),
            action: relaxation.direction().into(),
            from: relaxation.from(),
            to: relaxation.to(),
        }
    }
}

impl From<Direction> for FieldAction {
    fn from(direction: Direction) -> Self {
        match direction {
            Direction::Raise => Self::Raise,
            Direction::Lower => Self::Lower,
            Direction::Add => Self::Add,
            Direction::Remove => Self::Remove,
        }
    }
}
