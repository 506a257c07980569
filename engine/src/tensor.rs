//! Tensors: shared storage, a shape, an offset. Row-major and contiguous, always: a transpose is a flag of the
//! operation that reads it, never a layout that every kernel must expect.
//!
//! Clones share storage. A tensor is written in place only while nobody else holds its storage
//! ([`Tensor::data_mut`]), which the order of a training step guarantees for parameters.

use crate::cuda::{self, Cuda, CudaBuf};
use crate::pool::Buf;
use crate::quantised::{Precision, Weight};
use crate::real::{Element, Real};
use crate::shape::Shape;
use ndarray::{Array, ArrayViewD, Dimension, IxDyn};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// The type of a tensor's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DType {
    /// 32-bit float: the working type.
    F32,
    /// 64-bit float: gradient checks.
    F64,
    /// 32-bit unsigned integer: ids and positions.
    U32,
    /// A matrix in fewer bits, which only a linear layer reads; on a device products, and sums over rows.
    Rounded(Precision),
}

/// Numbers in the memory of the CPU.
pub enum CpuBuf {
    /// 32-bit floats.
    F32(Buf<f32>),
    /// 64-bit floats.
    F64(Buf<f64>),
    /// 32-bit unsigned integers.
    U32(Buf<u32>),
}

/// Where a tensor's numbers lie. The set of backends is closed, so it is an enum; the set of operations is open.
#[non_exhaustive]
pub enum Storage {
    /// On the CPU.
    Cpu(CpuBuf),
    /// On the CPU, in fewer bits: the weight of a linear layer, for inference.
    Rounded(Weight),
    /// In the memory of a CUDA device: f32, u32 or bf16.
    Cuda(CudaBuf),
}

/// An array of numbers with a shape. Cheap to clone.
#[derive(Clone)]
pub struct Tensor {
    storage: Arc<Storage>,
    shape: Shape,
    offset: usize,
}

impl Tensor {
    /// A tensor over a buffer.
    ///
    /// # Panics
    /// If the buffer does not fill the shape exactly.
    #[track_caller]
    pub fn from_buf<T: Element>(shape: impl Into<Shape>, buf: Buf<T>) -> Tensor {
        let shape = shape.into();
        assert_eq!(buf.len(), shape.len(), "a buffer of {} numbers cannot have shape {shape:?}", buf.len());
        Tensor { storage: Arc::new(Storage::Cpu(T::wrap(buf))), shape, offset: 0 }
    }
    /// A tensor over a vector, without a copy.
    ///
    /// # Panics
    /// If the vector does not fill the shape exactly.
    #[track_caller]
    pub fn from_vec<T: Element>(shape: impl Into<Shape>, values: Vec<T>) -> Tensor {
        Tensor::from_buf(shape, Buf::from(values))
    }
    /// A tensor `[rows, width]` over a matrix in fewer bits. It is read by a linear layer and by [`Tensor::to_f64`].
    pub fn from_weight(weight: Weight) -> Tensor {
        let shape = Shape::from([weight.rows(), weight.width()]);
        Tensor { storage: Arc::new(Storage::Rounded(weight)), shape, offset: 0 }
    }
    /// The matrix in fewer bits, if it is one.
    pub fn weight(&self) -> Option<&Weight> {
        match &*self.storage {
            Storage::Rounded(weight) => Some(weight),
            Storage::Cpu(_) | Storage::Cuda(_) => None,
        }
    }
    pub(crate) fn from_cuda(shape: Shape, buf: CudaBuf) -> Tensor {
        Tensor { storage: Arc::new(Storage::Cuda(buf)), shape, offset: 0 }
    }
    /// The device on which the numbers lie, if they lie on one.
    pub fn cuda(&self) -> Option<&Cuda> {
        match &*self.storage {
            Storage::Cuda(buf) => Some(buf.cuda()),
            Storage::Cpu(_) | Storage::Rounded(_) => None,
        }
    }
    /// Where the numbers begin in the memory of the device.
    #[track_caller]
    pub(crate) fn address(&self) -> u64 {
        match &*self.storage {
            Storage::Cuda(buf) if self.is_rounded() => panic!("a kernel of {:?} was given bf16", buf.cuda()),
            Storage::Cuda(buf) => buf.at() + 4 * self.offset as u64,
            _ => panic!("a kernel of a device was given a tensor on the CPU"),
        }
    }
    /// Where numbers of bf16 begin in the memory of the device; none where they are not bf16, or not there.
    pub(crate) fn address_of_bf16(&self) -> Option<u64> {
        match &*self.storage {
            Storage::Cuda(buf) if self.is_rounded() => Some(buf.at() + 2 * self.offset as u64),
            _ => None,
        }
    }
    /// As [`Tensor::address`], for a kernel that is told whether they are bf16.
    #[track_caller]
    pub(crate) fn address_of_either(&self) -> u64 {
        self.address_of_bf16().unwrap_or_else(|| self.address())
    }
    /// The same numbers in bf16, kept with them until they are written ([`Tensor::forget_rounding`]): for one length of
    /// those that begin at the first, the others are made each time.
    pub(crate) fn rounded_once(&self, make: impl FnOnce() -> Tensor) -> Tensor {
        let Storage::Cuda(buf) = &*self.storage else { return make() };
        let mut kept = buf.rounded();
        let is_kept = self.offset == 0 && kept.as_ref().is_none_or(|kept| kept.len() == self.len());
        if is_kept { kept.get_or_insert_with(make).clone() } else { make() }
    }
    /// Hears that the numbers are about to be written in place.
    pub(crate) fn forget_rounding(&self) {
        if let Storage::Cuda(buf) = &*self.storage {
            *buf.rounded() = None;
        }
    }
    fn is_rounded(&self) -> bool {
        matches!(self.dtype(), DType::Rounded(_))
    }
    /// The numbers on a device: a copy, or this tensor where they lie there already.
    ///
    /// # Panics
    /// If they are f64, or in fewer bits on the CPU, or lie on another device.
    #[must_use]
    pub fn to_device(&self, cuda: &Cuda) -> Tensor {
        cuda.here(self)
    }
    /// The numbers where those of `other` are: on its device, or as they lie.
    ///
    /// # Panics
    /// As [`Tensor::to_device`].
    #[must_use]
    pub fn beside(&self, other: &Tensor) -> Tensor {
        other.cuda().map_or_else(|| self.clone(), |cuda| cuda.here(self))
    }
    /// The numbers on the CPU: a copy, in f32 where it was bf16, or this tensor where they lie there already. Waits for
    /// what computes them.
    #[must_use]
    pub fn to_cpu(&self) -> Tensor {
        match (self.cuda(), self.dtype()) {
            (None, _) => self.clone(),
            (Some(cuda), DType::Rounded(_)) => cuda::gemm::widened(cuda, self).to_cpu(),
            (Some(cuda), DType::U32) => {
                Tensor::from_vec(self.shape, cuda.fetch::<u32>(self.address(), self.len()))
            }
            (Some(cuda), _) => Tensor::from_vec(self.shape, cuda.fetch::<f32>(self.address(), self.len())),
        }
    }
    /// A scalar.
    pub fn scalar<T: Element>(value: T) -> Tensor {
        Tensor::from_vec([], vec![value])
    }
    /// A tensor over an ndarray; without a copy when the array is row-major.
    pub fn from_array<T: Element, D: Dimension>(array: Array<T, D>) -> Tensor {
        let shape = Shape::new(array.shape());
        if array.is_standard_layout() {
            let (values, offset) = array.into_raw_vec_and_offset();
            if offset.unwrap_or(0) == 0 && values.len() == shape.len() {
                return Tensor::from_vec(shape, values);
            }
            let start = offset.unwrap_or(0);
            return Tensor::from_vec(shape, values[start..start + shape.len()].to_vec());
        }
        Tensor::from_vec(shape, array.iter().copied().collect())
    }
    /// The dimensions.
    pub fn shape(&self) -> Shape {
        self.shape
    }
    /// The number of elements.
    pub fn len(&self) -> usize {
        self.shape.len()
    }
    /// True when there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// What the elements take, in bytes.
    pub fn bytes(&self) -> usize {
        match self.dtype() {
            DType::F32 | DType::U32 => 4 * self.len(),
            DType::F64 => 8 * self.len(),
            DType::Rounded(_) => self.weight().map_or(2 * self.len(), Weight::bytes),
        }
    }
    /// The type of the elements.
    pub fn dtype(&self) -> DType {
        match &*self.storage {
            Storage::Cpu(CpuBuf::F32(_)) => DType::F32,
            Storage::Cpu(CpuBuf::F64(_)) => DType::F64,
            Storage::Cpu(CpuBuf::U32(_)) => DType::U32,
            Storage::Rounded(weight) => DType::Rounded(weight.precision()),
            Storage::Cuda(buf) => buf.dtype(),
        }
    }
    /// Where the numbers lie.
    pub fn storage(&self) -> &Storage {
        &self.storage
    }
    /// The elements, row-major.
    ///
    /// # Panics
    /// If the elements are of another type, or lie on a device: with the place of the kernel that has no form for it.
    #[track_caller]
    pub fn data<T: Element>(&self) -> &[T] {
        let buf = match &*self.storage {
            Storage::Cpu(store) => T::buf(store),
            Storage::Rounded(_) => None,
            Storage::Cuda(buf) => no_arm(buf.cuda()),
        };
        match buf {
            Some(buf) => &buf[self.offset..self.offset + self.len()],
            None => panic!("a tensor of {:?} was read as {:?}", self.dtype(), T::DTYPE),
        }
    }
    /// The elements, to be written in place.
    ///
    /// # Panics
    /// If the storage is shared or the elements are of another type.
    #[track_caller]
    pub fn data_mut<T: Element>(&mut self) -> &mut [T] {
        let (range, dtype) = (self.offset..self.offset + self.len(), self.dtype());
        let buf = match Arc::get_mut(&mut self.storage) {
            Some(Storage::Cpu(store)) => T::buf_mut(store),
            Some(Storage::Rounded(_)) => None,
            Some(Storage::Cuda(buf)) => no_arm(buf.cuda()),
            None => {
                panic!("a tensor cannot be written while its storage is shared: drop the tape's clones first")
            }
        };
        match buf {
            Some(buf) => &mut buf[range],
            None => panic!("a tensor of {dtype:?} was written as {:?}", T::DTYPE),
        }
    }
    /// True when no other tensor shares this storage.
    pub fn is_unique(&self) -> bool {
        Arc::strong_count(&self.storage) == 1
    }
    /// The same numbers in another shape, without a copy.
    ///
    /// # Panics
    /// If the number of elements differs.
    #[track_caller]
    pub fn reshape(&self, shape: impl Into<Shape>) -> Tensor {
        let shape = shape.into();
        assert_eq!(shape.len(), self.len(), "reshape: {:?} cannot become {shape:?}", self.shape);
        Tensor { shape, ..self.clone() }
    }
    /// Rows `range` of the outermost dimension, without a copy.
    ///
    /// # Panics
    /// If the range leaves the tensor.
    #[track_caller]
    pub fn rows(&self, range: Range<usize>) -> Tensor {
        let n = self.shape.dim(0);
        assert!(self.weight().is_none(), "rows of a matrix in fewer bits");
        assert!(range.start <= range.end && range.end <= n, "rows {range:?} of a tensor {:?}", self.shape);
        let mut dims = self.shape.dims().to_vec();
        dims[0] = range.len();
        let width = self.len().checked_div(n).unwrap_or(0);
        Tensor {
            storage: self.storage.clone(),
            shape: Shape::new(&dims),
            offset: self.offset + range.start * width,
        }
    }
    /// The elements as an ndarray view, without a copy.
    ///
    /// # Panics
    /// If the elements are of another type.
    #[track_caller]
    pub fn view<T: Element>(&self) -> ArrayViewD<'_, T> {
        ArrayViewD::from_shape(IxDyn(self.shape.dims()), self.data())
            .expect("a tensor is row-major and contiguous")
    }
    /// The only element, in f64.
    ///
    /// # Panics
    /// If there is more or less than one.
    #[track_caller]
    pub fn item(&self) -> f64 {
        assert_eq!(self.len(), 1, "item: a tensor {:?} is not one number", self.shape);
        self.to_f64()[0]
    }
    /// A copy of all elements in f64.
    pub fn to_f64(&self) -> Vec<f64> {
        if self.cuda().is_some() {
            return self.to_cpu().to_f64();
        }
        match self.dtype() {
            DType::F32 => self.data::<f32>().iter().map(|&x| f64::from(x)).collect(),
            DType::F64 => self.data::<f64>().to_vec(),
            DType::U32 => self.data::<u32>().iter().map(|&x| f64::from(x)).collect(),
            DType::Rounded(_) => {
                let values = self.weight().map(Weight::values).unwrap_or_default();
                values.into_iter().map(f64::from).collect()
            }
        }
    }
}

/// What a kernel of the CPU says to numbers that lie elsewhere.
#[track_caller]
fn no_arm(cuda: &Cuda) -> ! {
    let file = std::panic::Location::caller().file();
    let kernel = file.rsplit(['/', '\\']).next().unwrap_or(file).trim_end_matches(".rs");
    panic!("`{kernel}` has no CUDA arm: a tensor on {cuda:?} was read as if it lay on the CPU")
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tensor({:?} {:?}", self.dtype(), self.shape)?;
        if self.len() <= 8 {
            write!(f, " {:?}", self.to_f64())?;
        }
        write!(f, ")")
    }
}

/// Fills a float buffer with NaN and leaves integers alone.
pub(crate) fn poison<T: Element>(buf: &mut Buf<T>) {
    fn fill<T: Real>(values: &mut [T]) {
        values.fill(T::of(f64::NAN));
    }
    // The enum knows the type that the parameter hides; the buffer is moved in and out of it.
    let taken = std::mem::replace(buf, Buf::from(Vec::new()));
    let mut store = T::wrap(taken);
    match &mut store {
        CpuBuf::F32(b) => fill(b),
        CpuBuf::F64(b) => fill(b),
        CpuBuf::U32(_) => {}
    }
    if let Some(b) = T::buf_mut(&mut store) {
        std::mem::swap(b, buf);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{arr2, s};

    #[test]
    fn arrays_go_in_and_out_without_a_copy() {
        let a = arr2(&[[1.0f32, 2.0, 3.0], [4.0, 5.0, 6.0]]);
        let address = a.as_ptr();
        let t = Tensor::from_array(a.clone());
        assert_eq!(t.view::<f32>(), a.clone().into_dyn());
        let t = {
            assert_ne!(t.data::<f32>().as_ptr(), address);
            Tensor::from_array(a)
        };
        assert_eq!(t.data::<f32>().as_ptr(), address);
    }

    #[test]
    fn a_transposed_array_is_copied_in_logical_order() {
        let a = arr2(&[[1.0f32, 2.0], [3.0, 4.0]]).reversed_axes();
        assert_eq!(Tensor::from_array(a).data::<f32>(), [1.0, 3.0, 2.0, 4.0]);
        let tail = arr2(&[[1.0f32, 2.0], [3.0, 4.0]]).slice_move(s![1.., ..]);
        assert_eq!(Tensor::from_array(tail).data::<f32>(), [3.0, 4.0]);
    }

    #[test]
    fn rows_and_reshape_share_storage() {
        let t = Tensor::from_vec([3, 2], vec![0u32, 1, 2, 3, 4, 5]);
        let r = t.rows(1..3);
        assert_eq!((r.shape(), r.data::<u32>()), (Shape::from([2, 2]), &[2, 3, 4, 5][..]));
        assert_eq!(r.reshape([4]).rows(2..4).data::<u32>(), [4, 5]);
        assert_eq!(t.rows(0..0).len(), 0);
    }

    #[test]
    #[should_panic(expected = "storage is shared")]
    fn a_shared_tensor_is_not_written() {
        let mut t = Tensor::scalar(1.0f32);
        let _clone = t.clone();
        t.data_mut::<f32>();
    }

    #[test]
    fn a_unique_tensor_is_written_in_place() {
        let mut t = Tensor::from_vec([2], vec![1.0f32, 2.0]);
        t.data_mut::<f32>()[1] = 5.0;
        assert_eq!(t.to_f64(), [1.0, 5.0]);
    }
}
