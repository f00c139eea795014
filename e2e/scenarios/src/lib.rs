//! Front page follows.
