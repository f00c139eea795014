//! The end-to-end tests, in the order in which they are cheap: libtest runs them by name, [`spillway_e2e_scenarios::Scene`]
//! one at a time. They need the system that `e2e/demo/install.sh` sets up.

mod admission;
mod capacity;
mod deletion;
mod forgery;
mod inline;
mod payment;
mod restarts;
