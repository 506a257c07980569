//! `--precision` and `--index-precision`: in how many bits the verbs compute that only infer.

use crate::context::Context;
use clap::ValueEnum;
use train::index::Search;

/// The type of the numbers that an encoder's linear layers multiply, as it is typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Precision {
    /// As the model was trained
    F32,
    /// A byte each: the fastest where the processor has AVX512-VNNI, and about a tenth of a point of P@1 off
    Int8,
    /// The upper half of f32: pays where AVX512-BF16 is faster than f32, as on AMD since Zen 4; on Intel without AMX
    /// it is not
    Bf16,
}

impl Precision {
    /// What weights are rounded to; tells of a processor that has to do it in plain code.
    pub(crate) fn reduced(self, context: &Context, engine: &engine::Engine) -> Option<engine::Precision> {
        let precision = match self {
            Precision::F32 => return None,
            Precision::Int8 => engine::Precision::Int8,
            Precision::Bf16 => engine::Precision::Bf16,
        };
        if !engine.support().has(precision) {
            let name = precision.name();
            context.say(&format!(
                "this processor has no instructions for {name}: the same numbers, by plain code"
            ));
        }
        Some(precision)
    }
}

/// In how many bits labels are kept and searched, as it is typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum IndexPrecision {
    /// Exactly
    F32,
    /// A byte a number: a quarter of the memory
    Int8,
    /// A byte a number to find candidates, f32 to put them in order: a quarter more memory
    Int8Rescored,
}

impl IndexPrecision {
    /// How the index is searched.
    pub(crate) fn search(self) -> Search {
        match self {
            IndexPrecision::F32 => Search::F32,
            IndexPrecision::Int8 => Search::Int8,
            IndexPrecision::Int8Rescored => Search::Rescored,
        }
    }
}
