//! Launching a kernel by its name. The parameters that the kernel takes are read from the PTX that was loaded: a call
//! with other ones is refused before it reaches the driver.

use super::{Block, Cuda};
use crate::tensor::Tensor;

/// One argument: its bits, and its type as PTX has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arg(u64, &'static str);

/// What a kernel may be given.
pub(crate) trait ToArg {
    fn arg(&self) -> Arg;
}

impl ToArg for Tensor {
    fn arg(&self) -> Arg {
        Arg(self.address(), ".u64")
    }
}

impl ToArg for Block {
    fn arg(&self) -> Arg {
        Arg(self.at(), ".u64")
    }
}

/// A null pointer where there is none: an input that a kernel may go without.
impl<T: ToArg> ToArg for Option<T> {
    fn arg(&self) -> Arg {
        self.as_ref().map_or(Arg(0, ".u64"), T::arg)
    }
}

impl<T: ToArg> ToArg for &T {
    fn arg(&self) -> Arg {
        (**self).arg()
    }
}

impl ToArg for f32 {
    fn arg(&self) -> Arg {
        Arg(u64::from(self.to_bits()), ".f32")
    }
}

impl ToArg for u32 {
    fn arg(&self) -> Arg {
        Arg(u64::from(*self), ".u32")
    }
}

/// Addresses.
impl ToArg for u64 {
    fn arg(&self) -> Arg {
        Arg(*self, ".u64")
    }
}

/// Sizes and counts: kernels take them in 64 bits.
impl ToArg for usize {
    fn arg(&self) -> Arg {
        Arg(*self as u64, ".u64")
    }
}

/// `args![y, x, n]`: the arguments of a kernel, in order.
macro_rules! args {
    ($($value:expr),* $(,)?) => { &[$($crate::cuda::launch::ToArg::arg(&$value)),*] };
}
pub(crate) use args;

impl Cuda {
    /// Launches kernel `name` over `grid` blocks of `threads`. A grid without blocks is nothing to do.
    ///
    /// # Panics
    /// If there is no such kernel, or it takes other arguments.
    #[track_caller]
    pub(crate) fn launch(&self, name: &str, grid: [usize; 3], threads: u32, args: &[Arg]) {
        let Some((function, types)) = self.0.kernels.get(name) else { panic!("there is no kernel {name}") };
        let given: Vec<&str> = args.iter().map(|a| a.1).collect();
        assert_eq!(&given, types, "kernel {name} takes other arguments");
        if grid.contains(&0) {
            return;
        }
        // What CUDA allows.
        let most = [(1 << 31) - 1, 65_535, 65_535];
        assert!(
            grid.iter().zip(most).all(|(&blocks, most)| blocks <= most),
            "kernel {name}: a grid of {grid:?} blocks, at most {most:?} are allowed"
        );
        let grid = grid.map(|n| u32::try_from(n).expect("checked above"));
        let mut words: Vec<u64> = args.iter().map(|a| a.0).collect();
        self.0.driver.launch(name, *function, grid, [threads, 1, 1], &mut words);
    }
    /// As [`Cuda::launch`], one thread for each of `n` numbers.
    #[track_caller]
    pub(crate) fn each(&self, name: &str, n: usize, args: &[Arg]) {
        self.launch(name, [n.div_ceil(256), 1, 1], 256, args);
    }
    /// As [`Cuda::launch`], one block of 128 threads for each of `n` rows.
    #[track_caller]
    pub(crate) fn rows(&self, name: &str, n: usize, args: &[Arg]) {
        self.launch(name, [n, 1, 1], 128, args);
    }
}
