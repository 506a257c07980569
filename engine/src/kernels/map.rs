//! Functions of one, two or three numbers, applied element by element. Bound by bytes, but for those with an
//! exponential.
//!
//! The closure is `#[inline(always)]` and the loop a `for`: a body of many instructions is then compiled inside
//! [`Engine::vectorised`], not as a function of its own, which would know the narrowest vectors only.

use crate::cuda::{self, Function1, Function2};
use crate::engine::Engine;
use crate::real::Real;
use crate::tensor::Tensor;

/// Numbers in one parallel chunk: 64 KiB of f32, small against a cache of the second level.
pub const CHUNK: usize = 16 * 1024;

/// y = f(x) in both precisions.
pub trait Map1: Sync {
    /// The function.
    fn at<T: Real>(&self, x: T) -> T;
    /// The same function by its name, if a device has it.
    fn on_device(&self) -> Option<Function1> {
        None
    }
}

/// y = f(a, b) in both precisions.
pub trait Map2: Sync {
    /// The function.
    fn at<T: Real>(&self, a: T, b: T) -> T;
    /// The same function by its name, if a device has it.
    fn on_device(&self) -> Option<Function2> {
        None
    }
}

/// The form of a function that a device has.
#[track_caller]
pub(super) fn on_device<F, G>(_: &F, form: Option<G>) -> G {
    form.unwrap_or_else(|| panic!("the function {} has no CUDA arm", std::any::type_name::<F>()))
}

/// f over all elements of `x`.
///
/// # Panics
/// If `x` does not hold floats.
#[track_caller]
pub fn map1(engine: &Engine, x: &Tensor, f: impl Map1) -> Tensor {
    fn run<T: Real>(engine: &Engine, x: &Tensor, f: impl Map1) -> Tensor {
        let (mut y, data) = (engine.buffer::<T>(x.len()), x.data::<T>());
        engine.chunks(
            &mut y,
            CHUNK,
            #[inline(always)]
            |i, y| {
                let x = &data[i * CHUNK..][..y.len()];
                for (y, &x) in y.iter_mut().zip(x) {
                    *y = f.at(x);
                }
            },
        );
        Tensor::from_buf(x.shape(), y)
    }
    if let Some(cuda) = x.cuda() {
        return cuda::map::map1(cuda, x, on_device(&f, f.on_device()));
    }
    for_real!(x, run(engine, x, f))
}

/// αx + β.
///
/// # Panics
/// As [`map1`].
#[track_caller]
pub fn linear(engine: &Engine, x: &Tensor, [alpha, beta]: [f64; 2]) -> Tensor {
    struct Linear(f64, f64);
    impl Map1 for Linear {
        fn at<T: Real>(&self, x: T) -> T {
            T::of(self.0) * x + T::of(self.1)
        }
        fn on_device(&self) -> Option<Function1> {
            Some(Function1::Linear(self.0, self.1))
        }
    }
    map1(engine, x, Linear(alpha, beta))
}

/// f over the pairs of elements of `a` and `b`, which have the same shape.
///
/// # Panics
/// If the shapes or types differ or are no floats.
#[track_caller]
pub fn map2(engine: &Engine, a: &Tensor, b: &Tensor, f: impl Map2) -> Tensor {
    fn run<T: Real>(engine: &Engine, a: &Tensor, b: &Tensor, f: impl Map2) -> Tensor {
        let (mut y, data_a, data_b) = (engine.buffer::<T>(a.len()), a.data::<T>(), b.data::<T>());
        engine.chunks(
            &mut y,
            CHUNK,
            #[inline(always)]
            |i, y| {
                let (a, b) = (&data_a[i * CHUNK..][..y.len()], &data_b[i * CHUNK..][..y.len()]);
                for ((y, &a), &b) in y.iter_mut().zip(a).zip(b) {
                    *y = f.at(a, b);
                }
            },
        );
        Tensor::from_buf(a.shape(), y)
    }
    assert_eq!(a.shape(), b.shape(), "map2: the shapes differ");
    if let Some(cuda) = cuda::of(&[a, b]) {
        return cuda::map::map2(cuda, a, b, on_device(&f, f.on_device()));
    }
    for_real!(a, run(engine, a, b, f))
}

/// a ← a + b, in place when nobody shares `a`.
///
/// # Panics
/// If the shapes or types differ or are no floats.
#[track_caller]
pub fn add_to(engine: &Engine, a: &mut Tensor, b: &Tensor) {
    fn run<T: Real>(engine: &Engine, a: &mut [T], b: &[T]) {
        engine.chunks(
            a,
            CHUNK,
            #[inline(always)]
            |i, a| {
                let b = &b[i * CHUNK..][..a.len()];
                a.iter_mut().zip(b).for_each(|(a, &b)| *a += b);
            },
        );
    }
    struct Plus;
    impl Map2 for Plus {
        fn at<T: Real>(&self, a: T, b: T) -> T {
            a + b
        }
        fn on_device(&self) -> Option<Function2> {
            Some(Function2::Plus)
        }
    }
    assert_eq!(a.shape(), b.shape(), "add_to: the shapes differ");
    if !a.is_unique() {
        *a = map2(engine, a, b, Plus);
        return;
    }
    if let Some(cuda) = a.cuda().cloned() {
        return cuda::map::add_to(&cuda, a, b);
    }
    for_real!(a, run(engine, a.data_mut(), b.data()))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Half;
    impl Map1 for Half {
        fn at<T: Real>(&self, x: T) -> T {
            x * T::of(0.5)
        }
    }
    struct Minus;
    impl Map2 for Minus {
        fn at<T: Real>(&self, a: T, b: T) -> T {
            a - b
        }
    }

    #[test]
    fn maps_reach_every_element_in_both_precisions() {
        let engine = Engine::new(2);
        let n = 2 * CHUNK + 7;
        let x = Tensor::from_vec([n], (0..n).map(|i| i as f32).collect());
        let y = map2(&engine, &x, &map1(&engine, &x, Half), Minus);
        assert!(y.data::<f32>().iter().enumerate().all(|(i, &y)| y == i as f32 * 0.5));
        assert_eq!(map1(&engine, &Tensor::scalar(3.0f64), Half).item(), 1.5);
    }
}
