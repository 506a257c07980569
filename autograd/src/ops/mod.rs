//! Every operation, one file each: its equation, its shape rule, what it keeps, forward, backward, and the cases with
//! which the gradient checker tries it. To add one, write the file and add its line to [`OPS`].

use crate::gradcheck::Case;

mod add;
mod mul;
mod sum;

/// An operation in the list.
pub struct Entry {
    /// The name that the operation bears on the tape.
    pub name: &'static str,
    /// Where the gradient checker tries it.
    pub cases: &'static [Case],
}

/// All operations.
pub const OPS: &[Entry] = &[
    add::ENTRY, //
    mul::ENTRY,
    sum::ENTRY,
];
