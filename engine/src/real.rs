//! The two float types: f32 for work, f64 for gradient checks. Closed on purpose: a kernel has one generic body and
//! two instances.

use crate::{DType, math, tensor::CpuBuf};
use std::fmt::{Debug, Display};
use std::ops::{Add, AddAssign, Div, Mul, MulAssign, Neg, Sub, SubAssign};

use crate::pool::Buf;

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
    impl Sealed for u32 {}
}

/// What a tensor may hold: f32, f64 or u32.
pub trait Element: sealed::Sealed + Copy + Default + Debug + Send + Sync + PartialEq + 'static {
    /// The run-time name of this type.
    const DTYPE: DType;
    #[doc(hidden)]
    fn wrap(buf: Buf<Self>) -> CpuBuf;
    #[doc(hidden)]
    fn buf(store: &CpuBuf) -> Option<&Buf<Self>>;
    #[doc(hidden)]
    fn buf_mut(store: &mut CpuBuf) -> Option<&mut Buf<Self>>;
}

macro_rules! element {
    ($type:ty, $variant:ident) => {
        impl Element for $type {
            const DTYPE: DType = DType::$variant;
            fn wrap(buf: Buf<Self>) -> CpuBuf {
                CpuBuf::$variant(buf)
            }
            fn buf(store: &CpuBuf) -> Option<&Buf<Self>> {
                if let CpuBuf::$variant(buf) = store { Some(buf) } else { None }
            }
            fn buf_mut(store: &mut CpuBuf) -> Option<&mut Buf<Self>> {
                if let CpuBuf::$variant(buf) = store { Some(buf) } else { None }
            }
        }
    };
}
element!(f32, F32);
element!(f64, F64);
element!(u32, U32);

/// A float: f32 or f64. The functions of f32 are those of [`crate::math`] where it has them.
pub trait Real:
    Element
    + PartialOrd
    + Display
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + AddAssign
    + SubAssign
    + MulAssign
{
    /// 0.
    const ZERO: Self;
    /// 1.
    const ONE: Self;
    /// −∞.
    const NEG_INFINITY: Self;
    /// The nearest value of this type.
    fn of(x: f64) -> Self;
    /// The value in f64.
    fn f64(self) -> f64;
    /// eˣ.
    fn exp(self) -> Self;
    /// The natural logarithm.
    fn ln(self) -> Self;
    /// ln(1 + x).
    fn ln_1p(self) -> Self;
    /// The square root.
    fn sqrt(self) -> Self;
    /// The hyperbolic tangent.
    fn tanh(self) -> Self;
    /// The error function.
    fn erf(self) -> Self;
    /// |x|.
    fn abs(self) -> Self;
    /// Neither infinite nor NaN.
    fn is_finite(self) -> bool;
    /// The larger of two numbers; the second if the first is NaN.
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        if self > other { self } else { other }
    }
    #[doc(hidden)]
    /// The numbers as f32, if they are: the door to kernels that exist for f32 alone.
    fn singles(numbers: &mut [Self]) -> Option<&mut [f32]>;
    #[doc(hidden)]
    /// C ← αAB + βC by `matrixmultiply`.
    ///
    /// # Safety
    /// The strides must stay inside the three buffers, and C must alias neither A nor B.
    unsafe fn matrix_multiply(
        size: [usize; 3],
        alpha: Self,
        a: (*const Self, [isize; 2]),
        b: (*const Self, [isize; 2]),
        beta: Self,
        c: (*mut Self, [isize; 2]),
    );
}

macro_rules! real {
    ($type:ty, $singles:expr, $gemm:path, $exp:path, $tanh:path, $erf:path) => {
        impl Real for $type {
            const ZERO: $type = 0.0;
            const ONE: $type = 1.0;
            const NEG_INFINITY: $type = <$type>::NEG_INFINITY;
            #[inline(always)]
            fn of(x: f64) -> $type {
                x as $type
            }
            #[inline(always)]
            fn f64(self) -> f64 {
                f64::from(self)
            }
            #[inline(always)]
            fn exp(self) -> $type {
                $exp(self)
            }
            #[inline(always)]
            fn ln(self) -> $type {
                <$type>::ln(self)
            }
            #[inline(always)]
            fn ln_1p(self) -> $type {
                <$type>::ln_1p(self)
            }
            #[inline(always)]
            fn sqrt(self) -> $type {
                <$type>::sqrt(self)
            }
            #[inline(always)]
            fn tanh(self) -> $type {
                $tanh(self)
            }
            #[inline(always)]
            fn erf(self) -> $type {
                $erf(self)
            }
            #[inline(always)]
            fn abs(self) -> $type {
                <$type>::abs(self)
            }
            #[inline(always)]
            fn is_finite(self) -> bool {
                <$type>::is_finite(self)
            }
            #[inline(always)]
            fn singles(numbers: &mut [$type]) -> Option<&mut [f32]> {
                $singles(numbers)
            }
            unsafe fn matrix_multiply(
                [m, k, n]: [usize; 3],
                alpha: $type,
                (a, sa): (*const $type, [isize; 2]),
                (b, sb): (*const $type, [isize; 2]),
                beta: $type,
                (c, sc): (*mut $type, [isize; 2]),
            ) {
                // SAFETY: forwarded to our caller, who vouches for strides and aliasing.
                unsafe { $gemm(m, k, n, alpha, a, sa[0], sa[1], b, sb[0], sb[1], beta, c, sc[0], sc[1]) }
            }
        }
    };
}
real!(f32, Some, matrixmultiply::sgemm, math::exp, math::tanh, math::erf);
real!(f64, |_| None, matrixmultiply::dgemm, libm::exp, libm::tanh, libm::erf);
