//! y = x Φ(x), element by element, Φ the distribution function of the normal law (Hendrycks and Gimpel, 2016).
//!
//! ```text
//! exact         Φ(x) = (1 + erf(x/√2)) / 2
//!               x̄ = ȳ ∘ (Φ(x) + x φ(x)),  φ(x) = e^(−x²/2) / √(2π)
//! approximate   y = x (1 + tanh u) / 2 = x σ(2u),  u = √(2/π) (x + 0.044715 x³)
//!               x̄ = ȳ ∘ s (1 + x (1 − s) 2u′),  s = σ(2u),  u′ = √(2/π) (1 + 3 · 0.044715 x²)
//! ```
//! A model is trained with one of the two and needs the same one here: BERT takes the exact form. Bound by flops: some
//! 40 an element, in vector code without branches. The input is kept, for y does not determine x.
//!
//! The approximate form is computed by the sigmoid: far from zero u′ is in the hundreds, and would make much of what
//! a tangent lacks to 1. The sigmoid reaches its limits exactly.

use super::Entry;
use super::sigmoid::{SIGMOID, sigmoid};
use crate::gradcheck::{Case, In};
use crate::op::{Backward, Flops, Forward, Keep, Op, Sizes};
use crate::tape::Var;
use engine::cuda::{Function1, Function2};
use engine::kernels::map::{Map1, Map2, map1, map2};
use engine::{Real, Shape, ShapeError, Tensor};
use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};

/// 1/√(2π).
const FRAC_1_SQRT_2PI: f64 = 0.5 * FRAC_2_SQRT_PI * FRAC_1_SQRT_2;
/// √(2/π).
const SQRT_FRAC_2_PI: f64 = FRAC_2_SQRT_PI * FRAC_1_SQRT_2;
/// The factor of x³ in the approximate form.
const CUBIC: f64 = 0.044715;

impl<'t> Var<'t> {
    /// x Φ(x) with the exact Φ. Any shape.
    #[track_caller]
    pub fn gelu(self) -> Var<'t> {
        self.tape().apply(Gelu::Exact, &[self])
    }
    /// x Φ(x) with Φ approximated by a hyperbolic tangent ("gelu_new", "gelu_pytorch_tanh"). Any shape.
    #[track_caller]
    pub fn gelu_tanh(self) -> Var<'t> {
        self.tape().apply(Gelu::Approximate, &[self])
    }
}

#[derive(Debug)]
enum Gelu {
    Exact,
    Approximate,
}

impl Op for Gelu {
    fn name(&self) -> &'static str {
        "gelu"
    }
    fn keep(&self) -> Keep {
        Keep::INPUTS
    }
    fn shape(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        Ok(inputs[0])
    }
    fn flops(&self, n: &Sizes<'_>) -> Flops {
        let [forward, backward] = match self {
            Gelu::Exact => EXACT,
            Gelu::Approximate => APPROXIMATE,
        };
        Flops::each(n.out(), forward, backward)
    }
    fn forward(&self, cx: &mut Forward<'_>) -> Tensor {
        match self {
            Gelu::Exact => map1(cx.engine, &cx.inputs[0], Exact),
            Gelu::Approximate => map1(cx.engine, &cx.inputs[0], Approximate),
        }
    }
    fn backward(&self, cx: &mut Backward<'_>) {
        let grad = match self {
            Gelu::Exact => map2(cx.engine, cx.input(0), cx.grad, Exact),
            Gelu::Approximate => map2(cx.engine, cx.input(0), cx.grad, Approximate),
        };
        cx.give(0, grad);
    }
}

/// Operations for each number, forward and backward: Φ is ·, erf, +, ·; the density ·, ·, e, ·.
pub(super) const EXACT: [u64; 2] = [5, 11];
/// The same of the other form: σ(2u) is ·, ·, ·, +, · and a sigmoid; backward adds the slope.
pub(super) const APPROXIMATE: [u64; 2] = [6 + SIGMOID, 15 + SIGMOID];

/// The exact form.
pub(super) struct Exact;

/// Φ(x).
#[inline(always)]
fn normal_cdf<T: Real>(x: T) -> T {
    T::of(0.5) * (T::ONE + (T::of(FRAC_1_SQRT_2) * x).erf())
}

impl Map1 for Exact {
    #[inline(always)]
    fn at<T: Real>(&self, x: T) -> T {
        x * normal_cdf(x)
    }
    fn on_device(&self) -> Option<Function1> {
        Some(Function1::Gelu)
    }
}

/// (x, ȳ) ↦ x̄.
impl Map2 for Exact {
    #[inline(always)]
    fn at<T: Real>(&self, x: T, grad: T) -> T {
        let density = T::of(FRAC_1_SQRT_2PI) * (T::of(-0.5) * x * x).exp();
        grad * (normal_cdf(x) + x * density)
    }
    fn on_device(&self) -> Option<Function2> {
        Some(Function2::GeluBack)
    }
}

/// The approximate form.
pub(super) struct Approximate;

/// σ(2u).
#[inline(always)]
fn bend<T: Real>(x: T) -> T {
    sigmoid(T::of(2.0 * SQRT_FRAC_2_PI) * x * (T::ONE + T::of(CUBIC) * x * x))
}

impl Map1 for Approximate {
    #[inline(always)]
    fn at<T: Real>(&self, x: T) -> T {
        x * bend(x)
    }
    fn on_device(&self) -> Option<Function1> {
        Some(Function1::GeluTanh)
    }
}

/// (x, ȳ) ↦ x̄.
impl Map2 for Approximate {
    #[inline(always)]
    fn at<T: Real>(&self, x: T, grad: T) -> T {
        let s = bend(x);
        let slope = T::of(2.0 * SQRT_FRAC_2_PI) * (T::ONE + T::of(3.0 * CUBIC) * x * x);
        grad * s * (T::ONE + x * (T::ONE - s) * slope)
    }
    fn on_device(&self) -> Option<Function2> {
        Some(Function2::GeluTanhBack)
    }
}

pub(super) const ENTRY: Entry = Entry {
    name: "gelu",
    cases: &[
        Case::new("exact", &[In::normal(&[3, 4])], |x| x[0].gelu()),
        Case::new("approximate", &[In::normal(&[2, 2, 3])], |x| x[0].gelu_tanh()),
        Case::new("scalar", &[In::normal(&[])], |x| x[0].gelu()),
    ],
};

#[cfg(test)]
mod tests {
    use crate::Tape;
    use engine::{Engine, Tensor};

    #[test]
    fn far_from_zero_gelu_is_the_identity_or_nothing() {
        let tape = Tape::new(&Engine::new(1));
        let x = tape.leaf(Tensor::from_vec([4], vec![-1e4f32, -90.0, 90.0, 1e4]));
        let (exact, close) = (x.gelu(), x.gelu_tanh());
        let want = [0.0, 0.0, 90.0, 1e4];
        assert_eq!(close.value().to_f64(), want);
        assert_eq!(exact.value().to_f64(), want);
        let one = Tensor::from_vec([4], vec![1.0f32; 4]);
        let grads = tape.backward(vec![(close, one)]);
        assert_eq!(grads.of(x).to_f64(), [0.0, 0.0, 1.0, 1.0]);
    }

    #[test]
    fn gelu_follows_the_table_of_the_normal_law() {
        let tape = Tape::inference(&Engine::new(1));
        let x = tape.leaf(Tensor::from_vec([5], vec![0.0, 1.0, -1.0, 2.0, -90.0]));
        // Φ(1) and Φ(2), from the table.
        let (one, two) = (0.841_344_746_068_543, 0.977_249_868_051_821);
        let want = [0.0, one, one - 1.0, 2.0 * two, 0.0];
        let exact = x.gelu().value().to_f64();
        assert!(exact.iter().zip(want).all(|(y, w)| (y - w).abs() < 1e-14), "{exact:?}");
        let close = x.gelu_tanh().value().to_f64();
        assert!(close.iter().zip(want).all(|(y, w)| (y - w).abs() < 5e-4), "{close:?}");
        assert!(close[1] != exact[1], "the approximate form is another function");
    }
}
