//! `--precision` and `--index-precision`: in how many bits the verbs compute that only infer.

use crate::context::Context;
use clap::ValueEnum;
use engine::{Engine, Result};
use train::Inference;
use train::index::Search;

/// Flags of the verbs that encode: where, and in how many bits.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Encoding {
    /// The numbers that the encoder's linear layers multiply
    #[arg(long, value_enum, default_value = "f32", value_name = "TYPE")]
    precision: Precision,
    /// Where texts are encoded and labels are searched: cpu, or a CUDA device, cuda:0
    #[arg(long, default_value = "cpu", value_name = "NAME")]
    device: String,
    /// Who multiplies matrices on a CUDA device
    #[arg(long, value_enum, default_value = "auto", value_name = "NAME")]
    gemm: Gemm,
}

impl Default for Encoding {
    fn default() -> Encoding {
        Encoding { precision: Precision::F32, device: "cpu".to_owned(), gemm: Gemm::Auto }
    }
}

impl Encoding {
    /// Opens the device and says who multiplies there; tells of a processor without instructions for so few bits.
    pub(crate) fn open(&self, context: &Context, engine: &Engine) -> Result<Inference> {
        let precision = self.precision.reduced();
        if let Some(precision) = precision.filter(|&p| self.device == "cpu" && !engine.support().has(p)) {
            let name = precision.name();
            context.say(&format!(
                "this processor has no instructions for {name}: the same numbers, by plain code"
            ));
        }
        let inference = Inference::on(&self.device, self.gemm.of_engine(), precision)?;
        inference.device().iter().for_each(|device| context.say(&format!("on {device}")));
        Ok(inference)
    }
}

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
    /// What weights are rounded to.
    fn reduced(self) -> Option<engine::Precision> {
        match self {
            Precision::F32 => None,
            Precision::Int8 => Some(engine::Precision::Int8),
            Precision::Bf16 => Some(engine::Precision::Bf16),
        }
    }
}

/// Who multiplies matrices on a device, as it is typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Gemm {
    /// cuBLAS where it is found, else own
    Auto,
    /// Our own kernels
    Own,
    /// NVIDIA's library, which must be found
    Cublas,
}

impl Gemm {
    fn of_engine(self) -> engine::cuda::Gemm {
        match self {
            Gemm::Auto => engine::cuda::Gemm::Auto,
            Gemm::Own => engine::cuda::Gemm::Own,
            Gemm::Cublas => engine::cuda::Gemm::Cublas,
        }
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
