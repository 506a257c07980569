//! Products in fewer bits, for inference: y ≈ x Wᵀ + b with W rounded once, and x row by row as it comes.
//!
//! ```text
//! int8   w ≈ t_n q,        q = round(w / t_n)          in −127..127,  t_n = max_k |w_nk| / 127
//!        x ≈ o_m + s_m u,  u = round((x − o_m) / s_m)  in 0..255,  o_m = min_k x_mk,  s_m = (max_k x_mk − o_m) / 255
//!        y_mn = s_m t_n Σ_k u_mk q_nk + o_m t_n Σ_k q_nk + b_n
//! bf16   y_mn = Σ_k bf16(x_mk) bf16(w_nk) + b_n                       summed in f32
//!
//! x [.., K], W [N, K], b [N] → y [.., N]
//! ```
//! The instruction that multiplies bytes wants one factor without a sign. Taking x as offset and steps gives it one,
//! costs a constant for each output (Σ_k q, made with the weights), and spends all 256 steps on the range that a row
//! has: outputs of a GELU are nearly all positive, and a symmetric rounding would waste half of them.
//!
//! A sum of int8 is exact: |Σ u q| ≤ 255 · 127 · K stays below 2³¹ for K ≤ [`WIDTH_MAX`]. So every processor finds the
//! same integers, whatever its instructions (`int8.rs`); bf16 sums run over k in one order everywhere (`bf16.rs`).
//!
//! What a lane of 32 bits multiplies at once is a *word*: four bytes or two bf16. Both kinds then share the layout
//! ([`Weight`]), the walk over it and the shape of the kernel: a tile of 8 × 48 sums in 24 registers. Bound by
//! flops. A third kind, such as f16 with its own instructions, is another `Dot`.

mod bf16;
mod int8;
#[cfg(test)]
mod tests;
mod tile;
mod weight;

pub use tile::PANEL;
pub use weight::{Rounded, Weight, linear};

use bf16::Bf16;
use int8::Int8;
use tile::Dot;

/// The most factors of a sum of int8 that cannot overflow.
pub const WIDTH_MAX: usize = i32::MAX as usize / (255 * 127);

/// To what weights are rounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Precision {
    /// Eight bits and a scale for each row.
    Int8,
    /// The upper half of an f32.
    Bf16,
}

impl Precision {
    /// All of them.
    pub const ALL: [Precision; 2] = [Precision::Int8, Precision::Bf16];
    /// The name, as it is typed.
    pub fn name(self) -> &'static str {
        match self {
            Precision::Int8 => "int8",
            Precision::Bf16 => "bf16",
        }
    }
    /// Numbers in a word.
    fn lanes(self) -> usize {
        match self {
            Precision::Int8 => 4,
            Precision::Bf16 => 2,
        }
    }
}

/// Which of these products a processor has instructions for. The others run as plain code. The kernel
/// class does not tell: processors with AVX-512 have both, one or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Support {
    int8: bool,
    bf16: bool,
}

impl Support {
    /// Plain code only.
    pub const NONE: Support = Support { int8: false, bf16: false };
    /// What the processor has that we run on.
    pub fn detect() -> Support {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx512f") {
            return Support {
                int8: is_x86_feature_detected!("avx512vnni"),
                bf16: is_x86_feature_detected!("avx512bf16"),
            };
        }
        Support::NONE
    }
    /// Whether there are instructions for it.
    pub fn has(self, precision: Precision) -> bool {
        match precision {
            Precision::Int8 => self.int8,
            Precision::Bf16 => self.bf16,
        }
    }
}
