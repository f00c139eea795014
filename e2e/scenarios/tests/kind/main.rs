//! The end-to-end tests, in the order in which they are cheap: libtest runs them by name, [`spillway_e2e_scenarios::Scene`]
//! one at a time. They need the system that `e2e/demo/install.sh` sets up.

mod admission;
mod budget;
mod capacity;
mod choice;
mod data_class;
mod deletion;
mod elastic;
mod explain;
mod extender;
mod forgery;
mod hybrid;
mod inline;
mod models;
mod needs;
mod payment;
mod restarts;
mod unfinished;
