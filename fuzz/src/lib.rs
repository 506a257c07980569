//! What the fuzz targets have in common: the kinds of files that Lode reads, and how each is read.
#![forbid(unsafe_code)]

pub mod kinds;
