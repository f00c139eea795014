//! "Unknown" as a type of its own: a fact that could not be asked is not a fact that is absent.

use serde::{Deserialize, Serialize};

/// A measured value, or the statement that nobody has measured it (or that the measurement is stale).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Serialize, Deserialize)]
pub enum Knowledge<T> {
    Known(T),
    #[default]
    Unknown,
}

impl<T> Knowledge<T> {
    pub fn known(self) -> Option<T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Unknown => None,
        }
    }

    /// What follows from the value; nothing follows from not knowing it.
    pub fn map<U>(self, follow: impl FnOnce(T) -> U) -> Knowledge<U> {
        match self {
            Self::Known(value) => Knowledge::Known(follow(value)),
            Self::Unknown => Knowledge::Unknown,
        }
    }

    pub fn as_ref(&self) -> Knowledge<&T> {
        match self {
            Self::Known(value) => Knowledge::Known(value),
            Self::Unknown => Knowledge::Unknown,
        }
    }
}

impl<T> From<Option<T>> for Knowledge<T> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Unknown, Self::Known)
    }
}
