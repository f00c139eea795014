//! From the API's strings to the money types of `spillway_core`, and back.

use spillway_core::batch::{Header, Leaf, Sealed, seal};
use spillway_core::order::{self, Kind, Order};
use spillway_core::receipt::{format_digest, parse_digest};
use spillway_core::{receipt as core_receipt};
