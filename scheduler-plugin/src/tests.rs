//! The extender against objects as an API server gives them, and against garbage.

mod decisions;
mod fuzz;
mod garbage;
mod objects;
mod readme;
mod watches;
