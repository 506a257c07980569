//! From files on disk to an open data set, through the public interface.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod bad_input;
mod layouts;
mod mapped;
mod npz;
mod prompts;
mod real_data;
mod split;
mod summary;
mod world;
