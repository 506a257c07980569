//! Products of tensors, one or many at once: a shape rule over [`gemm`], in which a transpose costs nothing.
//!
//! Bound by flops.

use crate::cuda;
use crate::engine::Engine;
use crate::gemm::{Mat, gemm};
use crate::real::Real;
use crate::shape::Shape;
use crate::tensor::{DType, Tensor};

/// A tensor read as a matrix `[rows, columns]`, or as a batch of matrices `[batch, rows, columns]`.
#[derive(Clone, Copy)]
pub struct Factor<'a> {
    tensor: &'a Tensor,
    transposed: bool,
    is_weight: bool,
}

impl<'a> Factor<'a> {
    /// The matrices as they lie.
    ///
    /// # Panics
    /// If the rank is not 2 or 3.
    #[track_caller]
    pub fn new(tensor: &'a Tensor) -> Factor<'a> {
        let shape = tensor.shape();
        assert!(
            matches!(shape.rank(), 2 | 3),
            "a factor is [rows, columns] or a batch of them, not {shape:?}"
        );
        Factor { tensor, transposed: false, is_weight: false }
    }
    /// The weight of a layer as it lies: a device that rounds it keeps what it made until the weight is written.
    ///
    /// # Panics
    /// As [`Factor::new`].
    #[track_caller]
    pub fn weight(tensor: &'a Tensor) -> Factor<'a> {
        Factor { is_weight: true, ..Factor::new(tensor) }
    }
    /// Each matrix transposed, without a copy.
    #[must_use]
    pub fn t(self) -> Factor<'a> {
        Factor { transposed: !self.transposed, ..self }
    }
    fn mat<T: Real>(self) -> Mat<'a, T> {
        let (shape, data) = (self.tensor.shape(), self.tensor.data::<T>());
        let mat = match *shape.dims() {
            [rows, columns] => Mat::new(data, rows, columns),
            [batch, rows, columns] => Mat::batch(data, batch, rows, columns),
            _ => unreachable!("`new` allows ranks 2 and 3"),
        };
        if self.transposed { mat.t() } else { mat }
    }
}

/// A·B, matrix by matrix: `[m, n]` or `[batch, m, n]`.
///
/// # Panics
/// If ranks, batches or inner dimensions differ.
#[track_caller]
pub fn product(engine: &Engine, a: Factor<'_>, b: Factor<'_>) -> Tensor {
    if let Some(cuda) = cuda::of(&[a.tensor, b.tensor]) {
        return on_device(cuda, a, b, cuda::gemm::product);
    }
    for_real!(a.tensor, run(engine, a, b))
}

/// Numbers as a linear layer multiplies them: rounded to bf16, once for several products, where a device was asked for
/// it, else as they are. A product of which one factor is rounded multiplies in bf16 and adds up in f32.
pub fn as_layers_multiply(x: &Tensor) -> Tensor {
    match x.cuda().filter(|cuda| cuda.is_bf16() && x.dtype() == DType::F32) {
        Some(cuda) => cuda::gemm::rounded(cuda, x),
        None => x.clone(),
    }
}

/// A·B on the way back through a linear layer. A device that was asked for it multiplies in fewer bits.
///
/// # Panics
/// As [`product`].
#[track_caller]
pub fn product_of_layer(engine: &Engine, a: Factor<'_>, b: Factor<'_>) -> Tensor {
    if let Some(cuda) = cuda::of(&[a.tensor, b.tensor]) {
        return on_device(cuda, a, b, cuda::gemm::product_of_layer);
    }
    for_real!(a.tensor, run(engine, a, b))
}

#[track_caller]
fn on_device(
    cuda: &cuda::Cuda,
    a: Factor<'_>,
    b: Factor<'_>,
    product: fn(&cuda::Cuda, cuda::gemm::Matrix<'_>, cuda::gemm::Matrix<'_>, Shape) -> Tensor,
) -> Tensor {
    let [x, y] = [a, b].map(|f| cuda::gemm::Matrix::new(f.tensor, f.transposed).as_weight(f.is_weight));
    product(cuda, x, y, product_shape(a, [x.rows(), y.columns()]))
}

/// `[m, n]`, or as many of them as A has matrices.
fn product_shape(a: Factor<'_>, [m, n]: [usize; 2]) -> Shape {
    match *a.tensor.shape().dims() {
        [batch, _, _] => Shape::from([batch, m, n]),
        _ => Shape::from([m, n]),
    }
}

#[track_caller]
fn run<T: Real>(engine: &Engine, a: Factor<'_>, b: Factor<'_>) -> Tensor {
    let (from, x, y) = (a.tensor.shape(), a.mat::<T>(), b.mat::<T>());
    assert_eq!(from.rank(), b.tensor.shape().rank(), "product: both are matrices or both are batches");
    let to = product_shape(a, [x.rows(), y.columns()]);
    let mut c = engine.buffer::<T>(to.len());
    gemm(engine, T::ONE, x, y, T::ZERO, &mut c);
    Tensor::from_buf(to, c)
}
