//! Integration tests: the built binary, as a user runs it.
//!
//! `run.rs` has a folder to run it in, `products.rs` a small shop to learn from, `catalogue.rs` one of many labels.
//! Each other file is one behaviour.
#![allow(clippy::unwrap_used)]

mod bad_input;
mod bad_models;
mod catalogue;
mod classifier;
mod cross;
mod device;
mod disk;
mod export;
mod graph;
mod index;
mod inspect;
mod listed;
mod made;
mod memory;
mod mine;
mod negatives;
mod numbers;
mod pipeline;
mod precision;
#[path = "../standin/process.rs"]
#[allow(dead_code)] // A test of the binary starts that, and never itself again.
mod process;
mod products;
mod prompts;
mod race;
mod rankings;
mod report;
mod run;
mod signals;
mod tensorboard;
mod torn;
mod torture;
mod usage;
mod warm_start;
