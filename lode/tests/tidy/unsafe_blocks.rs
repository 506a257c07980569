//! How many unsafe blocks each file has: a new one is a change of this table, which whoever reviews it sees.

use crate::lexer::code_only;
use crate::rules::Findings;
use crate::tree::File;

/// Blocks and implementations under `unsafe`, by file. What each relies on stands above it.
pub(crate) const COUNTED: &[(&str, usize)] = &[
    ("engine/src/container.rs", 2),
    ("engine/src/container/spool.rs", 1),
    ("engine/src/container/view.rs", 1),
    ("engine/src/cuda/cublas.rs", 8),
    ("engine/src/cuda/driver.rs", 28),
    ("engine/src/engine.rs", 2),
    ("engine/src/fault.rs", 2),
    ("engine/src/gemm.rs", 9),
    ("engine/src/gemm/blocked.rs", 11),
    ("engine/src/gemm/pack.rs", 6),
    ("engine/src/gemm/portable.rs", 1),
    ("engine/src/gemm/tile.rs", 2),
    ("engine/src/heap.rs", 10),
    ("engine/src/kernels/attention.rs", 2),
    ("engine/src/kernels/attention/avx512.rs", 3),
    ("engine/src/kernels/dropout.rs", 1),
    ("engine/src/kernels/dropout/avx512.rs", 1),
    ("engine/src/pool.rs", 8),
    ("engine/src/quantised/bf16.rs", 5),
    ("engine/src/quantised/int8.rs", 4),
    ("engine/src/real.rs", 1),
    ("engine/src/table/space.rs", 3),
];

/// Unsafe blocks and implementations of a file; not functions, whose callers are counted.
fn count(text: &str) -> usize {
    let code = code_only(text);
    let words: Vec<&str> = code.split_whitespace().collect();
    let opens = |pair: &&[&str]| {
        let last = pair[0].rsplit(|c: char| !c.is_alphanumeric() && c != '_').next();
        last == Some("unsafe") && (pair[1].starts_with('{') || pair[1].starts_with("impl"))
    };
    words.windows(2).filter(opens).count()
}

pub(crate) fn uncounted(file: &File) -> Findings {
    if !file.is_rust() {
        return vec![];
    }
    let (found, counted) = (count(&file.text), COUNTED.iter().find(|(path, _)| *path == file.path));
    let counted = counted.map_or(0, |(_, count)| *count);
    match found == counted {
        true => vec![],
        false => vec![format!("1: {found} unsafe blocks, {counted} in lode/tests/tidy/unsafe_blocks.rs")],
    }
}
