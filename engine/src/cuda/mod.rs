//! The CUDA backend: a device, its memory, and the kernels of `kernels/*.cu`, written once and compiled twice: by NVRTC
//! to the PTX that lies beside them and is part of this library, and by g++ for the stand-in driver of the tests.
//!
//! An operation runs where its tensors lie: the entry functions of [`crate::kernels`] look at the storage and call the
//! arm of this module. Everything on a device happens in one stream, in the order of the calls, so a buffer may be used
//! again as soon as its last tensor has dropped. What an operation brings along as a constant (ids, masks, a teacher's
//! scores) may lie on the CPU: it is sent over with the call.
//!
//! The device is found at run time, by opening libcuda. No feature and no NVIDIA file is needed to build. Matrix
//! products are those of cuBLAS where that is found, too, and is wanted ([`Gemm`]).

mod attempt;
pub(crate) mod attention;
mod cublas;
mod driver;
pub(crate) mod gemm;
mod launch;
pub(crate) mod losses;
pub(crate) mod map;
mod modules;
mod nearest;
pub(crate) mod optim;
mod pool;
pub(crate) mod rows;
mod staging;
mod table;

pub use attempt::{attempt, within_memory};
pub use attention::HEAD_WIDTH_MAX;
pub use cublas::cublas;
pub use driver::{Found, devices};
pub(crate) use launch::args;
pub use map::{Function1, Function2};
pub use nearest::{Columns, Nearest};
pub use staging::STAGING_BYTES;
pub(crate) use table::DeviceTable;

use crate::error::{Error, Result};
use crate::pool::PoolStats;
use crate::quantised::Precision;
use crate::shape::Shape;
use crate::tensor::{DType, Tensor};
use cublas::Blas;
use driver::{Driver, Function};
use pool::DevicePool;
use staging::Staging;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A device that is open. Clones are the same device; it closes when the last clone and the last tensor on it drop.
#[derive(Clone)]
pub struct Cuda(Arc<Device>);

/// Who multiplies matrices on a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Gemm {
    /// cuBLAS where it is found, else our own kernels.
    #[default]
    Auto,
    /// Our own kernels.
    Own,
    /// cuBLAS.
    Cublas,
}

impl Gemm {
    /// All of them, by name.
    pub const NAMES: [(&str, Gemm); 3] = [("auto", Gemm::Auto), ("own", Gemm::Own), ("cublas", Gemm::Cublas)];
    /// The one of this name.
    pub fn named(word: &str) -> Option<Gemm> {
        Gemm::NAMES.into_iter().find_map(|(name, gemm)| (name == word).then_some(gemm))
    }
}

struct Device {
    driver: Driver,
    staging: Staging,
    pool: DevicePool,
    found: Found,
    /// Every kernel, and the types of its parameters.
    kernels: HashMap<&'static str, (Function, Vec<&'static str>)>,
    /// Whether layers multiply numbers of bf16.
    bf16: bool,
    poison: bool,
    /// Who multiplies in place of our own kernels.
    blas: Option<Blas>,
}

impl Drop for Device {
    fn drop(&mut self) {
        if let Some(blas) = self.blas.take() {
            let (at, size) = blas.workspace();
            self.driver.settle();
            drop(blas);
            self.pool.give(at, size);
        }
        self.pool.trim(&self.driver);
    }
}

impl Cuda {
    /// Opens device `ordinal` and loads the kernels.
    ///
    /// # Errors
    /// What is missing: the driver, one of its functions, the device, or an image that it takes.
    pub fn open(ordinal: usize) -> Result<Cuda> {
        Cuda::build(ordinal, false)
    }
    /// As [`Cuda::open`]; fresh buffers are full of NaN, so that a kernel which relies on old contents is found out.
    /// For tests.
    ///
    /// # Errors
    /// As [`Cuda::open`].
    pub fn poisoned(ordinal: usize) -> Result<Cuda> {
        Cuda::build(ordinal, true)
    }
    fn build(ordinal: usize, poison: bool) -> Result<Cuda> {
        let (mut driver, found) = Driver::open(ordinal)?;
        let mut kernels = HashMap::new();
        for module in modules::MODULES {
            let entries = modules::entries(module.ptx);
            let names: Vec<&str> = entries.iter().map(|(name, _)| *name).collect();
            let functions =
                driver.load(module.ptx, &names).map_err(|e| e.note(format!("module {}", module.name)))?;
            for ((name, types), function) in entries.into_iter().zip(functions) {
                kernels.insert(name, (function, types));
            }
        }
        Ok(Cuda(Arc::new(Device {
            staging: Staging::new(&mut driver)?,
            driver,
            pool: DevicePool::default(),
            found,
            kernels,
            bf16: false,
            poison,
            blas: None,
        })))
    }
    /// The same device, whose matrix products are made by this one; our own kernels make them otherwise.
    ///
    /// # Errors
    /// If cuBLAS is demanded and not found, if it is found and cannot be used, or if the device has no memory for its
    /// workspace.
    ///
    /// # Panics
    /// If the device has clones or tensors already.
    pub fn with_gemm(mut self, gemm: Gemm) -> Result<Cuda> {
        if gemm == Gemm::Own {
            return Ok(self);
        }
        let version = match cublas::version()? {
            Ok(version) => version,
            Err(missing) if gemm == Gemm::Cublas => return Err(missing),
            Err(_) => return Ok(self),
        };
        let device = Arc::get_mut(&mut self.0).expect("who multiplies is said of a new device");
        let Device { driver, pool, found, .. } = device;
        let opened = attempt(|| {
            let (at, size) = pool.take(driver, cublas::workspace_bytes(found.capability));
            Blas::open(driver, version, (at, size)).inspect_err(|_| pool.give(at, size))
        });
        device.blas = Some(opened?);
        Ok(self)
    }
    /// The version of cuBLAS, if that makes its matrix products.
    pub fn cublas(&self) -> Option<&str> {
        self.0.blas.as_ref().map(Blas::version)
    }
    /// Bytes that cuBLAS has for its own use; 0 where our kernels multiply.
    pub fn workspace_bytes(&self) -> usize {
        self.0.blas.as_ref().map_or(0, |blas| blas.workspace().1)
    }
    /// The same device, whose layers round what they multiply to bf16 and add up in f32, in tensor cores; so do
    /// classifiers over all labels. What lies between the two products of a layer is kept in bf16. Parameters, other
    /// activations and gradients are kept in f32; attention, norms, other scores and losses are computed in f32.
    ///
    /// # Panics
    /// If the device has clones or tensors already.
    #[must_use]
    pub fn in_bf16(mut self) -> Cuda {
        Arc::get_mut(&mut self.0).expect("the precision is said of a new device").bf16 = true;
        self
    }
    /// Whether its layers multiply in bf16.
    pub fn is_bf16(&self) -> bool {
        self.0.bf16
    }
    /// The device behind a word like `cuda:0`.
    ///
    /// # Errors
    /// If the word is another one, or as [`Cuda::open`].
    pub fn named(word: &str) -> Result<Cuda> {
        let number = word.strip_prefix("cuda:").and_then(|n| n.parse().ok());
        match number {
            Some(ordinal) => Cuda::open(ordinal),
            None => {
                Err(Error::input(format!("`{word}` is no device")).help("a device is `cuda:0`, `cuda:1`, …"))
            }
        }
    }
    /// What the driver says about the device.
    pub fn found(&self) -> &Found {
        &self.0.found
    }
    /// What its pool holds.
    pub fn pool_stats(&self) -> PoolStats {
        self.0.pool.stats()
    }
    /// Bytes of the device's memory that can be taken: those that are free, and those that its pool holds idle.
    pub fn memory_free(&self) -> usize {
        self.0.driver.memory_free().unwrap_or(0) + self.pool_stats().bytes_idle
    }
    /// Gives idle memory back to the device.
    pub fn trim(&self) {
        self.0.pool.trim(&self.0.driver);
    }
    /// Waits until all that was launched is done. Where a kernel failed it unwinds to [`attempt()`].
    pub fn wait(&self) {
        self.0.driver.wait();
    }
    /// Memory for so many bytes. What it holds is unspecified.
    #[track_caller]
    pub(crate) fn block(&self, bytes: usize) -> Block {
        let (at, size) = self.0.pool.take(&self.0.driver, bytes);
        if self.0.poison {
            self.0.driver.fill(at, 0xff, size);
        }
        Block { at, size, home: self.clone() }
    }
    /// As [`Cuda::block`]; every byte is 0.
    #[track_caller]
    pub(crate) fn blank(&self, bytes: usize) -> Block {
        self.zeroed(self.block(bytes), bytes)
    }
    /// As [`Cuda::blank`], for what is as large as much else together, and stays: no byte more is taken for it.
    #[track_caller]
    pub(crate) fn blank_exactly(&self, bytes: usize) -> Block {
        let (at, size) = self.0.pool.take_exactly(&self.0.driver, bytes.max(1));
        self.zeroed(Block { at, size, home: self.clone() }, bytes)
    }
    fn zeroed(&self, block: Block, bytes: usize) -> Block {
        if bytes > 0 {
            self.0.driver.fill(block.at, 0, bytes);
        }
        block
    }
    /// A copy of `values` on the device.
    #[track_caller]
    pub(crate) fn send<T: Copy>(&self, values: &[T]) -> Block {
        let block = self.block(size_of_val(values));
        self.write(block.at, values);
        block
    }
    /// Copies `values` to where the device has room for them.
    #[track_caller]
    pub(crate) fn write<T: Copy>(&self, at: u64, values: &[T]) {
        self.0.staging.send(&self.0.driver, at, values);
    }
    /// The first numbers of a block, on the CPU.
    #[track_caller]
    pub(crate) fn fetch<T: Copy + Default>(&self, at: u64, n: usize) -> Vec<T> {
        let mut values = vec![T::default(); n];
        if n > 0 {
            self.0.staging.fetch(&self.0.driver, at, &mut values);
        }
        values
    }
    /// A tensor of f32 whose numbers are to be written.
    #[track_caller]
    pub(crate) fn floats(&self, shape: impl Into<Shape>) -> Tensor {
        let shape = shape.into();
        Tensor::from_cuda(shape, CudaBuf::new(self.block(4 * shape.len()), DType::F32))
    }
    /// A tensor of f32 zeros.
    #[track_caller]
    pub(crate) fn zeros(&self, shape: impl Into<Shape>) -> Tensor {
        let shape = shape.into();
        Tensor::from_cuda(shape, CudaBuf::new(self.blank(4 * shape.len()), DType::F32))
    }
    /// A copy of `values` on the device, `[rows, width]`.
    ///
    /// # Panics
    /// If the width does not divide their number.
    #[track_caller]
    pub fn rows_of(&self, values: &[f32], width: usize) -> Tensor {
        assert!(values.len().is_multiple_of(width), "{} numbers in rows of {width}", values.len());
        let shape = Shape::from([values.len() / width, width]);
        Tensor::from_cuda(shape, CudaBuf::new(self.send(values), DType::F32))
    }
    /// A tensor over numbers of bf16.
    pub(crate) fn bf16_of(&self, shape: Shape, block: Block) -> Tensor {
        Tensor::from_cuda(shape, CudaBuf::new(block, DType::Rounded(Precision::Bf16)))
    }
    /// A tensor of u32 whose numbers are to be written.
    #[track_caller]
    pub(crate) fn words(&self, shape: impl Into<Shape>) -> Tensor {
        let shape = shape.into();
        Tensor::from_cuda(shape, CudaBuf::new(self.block(4 * shape.len()), DType::U32))
    }
    /// A copy of `values` on the device, `[n]`.
    #[track_caller]
    pub(crate) fn words_of(&self, values: &[u32]) -> Tensor {
        Tensor::from_cuda([values.len()].into(), CudaBuf::new(self.send(values), DType::U32))
    }
    /// Copies so many bytes from one place to another.
    pub(crate) fn copy(&self, to: u64, from: u64, bytes: usize) {
        if bytes > 0 {
            self.0.driver.copy(to, from, bytes);
        }
    }
    /// The tensor itself where it lies on this device, else a copy of it there.
    ///
    /// # Panics
    /// If it holds f64, or fewer bits on the CPU, or lies on another device.
    #[track_caller]
    pub(crate) fn here(&self, x: &Tensor) -> Tensor {
        match x.cuda() {
            Some(other) => {
                assert!(Arc::ptr_eq(&self.0, &other.0), "a tensor lies on {other:?}, the others on {self:?}");
                x.clone()
            }
            None => {
                let (block, dtype) = match x.dtype() {
                    DType::F32 => (self.send(x.data::<f32>()), DType::F32),
                    DType::U32 => (self.send(x.data::<u32>()), DType::U32),
                    other => panic!("numbers of {other:?} cannot lie on {self:?}, which holds f32 and u32"),
                };
                Tensor::from_cuda(x.shape(), CudaBuf::new(block, dtype))
            }
        }
    }
}

impl fmt::Debug for Cuda {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cuda:{}", self.0.found.ordinal)
    }
}

/// The device on which the first of these tensors lies that lies on one.
pub(crate) fn of<'a>(tensors: &[&'a Tensor]) -> Option<&'a Cuda> {
    tensors.iter().find_map(|x| x.cuda())
}

/// Memory of a device. It returns to the pool when it drops.
pub(crate) struct Block {
    at: u64,
    size: usize,
    home: Cuda,
}

impl Block {
    pub(crate) fn at(&self) -> u64 {
        self.at
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        self.home.0.pool.give(self.at, self.size);
    }
}

/// Numbers in the memory of a device.
pub struct CudaBuf {
    block: Block,
    dtype: DType,
    /// The same in bf16, from when that was first asked for until somebody writes here.
    rounded: Mutex<Option<Tensor>>,
}

impl CudaBuf {
    fn new(block: Block, dtype: DType) -> CudaBuf {
        CudaBuf { block, dtype, rounded: Mutex::default() }
    }
    pub(crate) fn rounded(&self) -> MutexGuard<'_, Option<Tensor>> {
        // Whoever panicked while holding it left a tensor or none.
        self.rounded.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// The device.
    pub fn cuda(&self) -> &Cuda {
        &self.block.home
    }
    pub(crate) fn dtype(&self) -> DType {
        self.dtype
    }
    pub(crate) fn at(&self) -> u64 {
        self.block.at
    }
}
