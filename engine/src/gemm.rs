//! Matrix products behind one call: C ← α·A·B + β·C, for strided A and B, one or many matrices, any number of threads.
//!
//! Bound by flops. On AVX-512 an f32 product is our own (`blocked.rs` cuts it, `pack.rs` copies, `tile.rs` computes);
//! elsewhere, and in f64, it is that of `matrixmultiply`. C is cut into blocks by its size alone and k is never split
//! among threads, so the bits do not depend on their number.

#[cfg(target_arch = "x86_64")]
mod blocked;
#[cfg(target_arch = "x86_64")]
mod pack;
mod portable;
#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod tile;

use crate::engine::{Engine, KernelClass};
use crate::real::Real;
use crate::tensor::DType;
use std::ops::Range;

/// Multiplications of one product that all workers share.
const LARGE: usize = 1 << 25;
/// Multiplications that are worth a task of their own.
const TASK: usize = 1 << 20;

/// A read-only matrix, or a batch of matrices of the same shape: any strides, so a transpose costs nothing.
#[derive(Clone, Copy)]
pub struct Mat<'a, T> {
    data: &'a [T],
    /// Batch, rows, columns.
    size: [usize; 3],
    /// Distance in numbers from one batch entry, row, column to the next.
    strides: [usize; 3],
}

impl<'a, T> Mat<'a, T> {
    /// A row-major matrix.
    #[track_caller]
    pub fn new(data: &'a [T], rows: usize, columns: usize) -> Mat<'a, T> {
        Mat::strided(data, [1, rows, columns], [rows * columns, columns, 1])
    }
    /// A batch of row-major matrices, one after another.
    #[track_caller]
    pub fn batch(data: &'a [T], count: usize, rows: usize, columns: usize) -> Mat<'a, T> {
        Mat::strided(data, [count, rows, columns], [rows * columns, columns, 1])
    }
    /// Matrices with any strides (batch, row, column), in numbers.
    ///
    /// # Panics
    /// If an element would lie outside `data`.
    #[track_caller]
    pub fn strided(data: &'a [T], size: [usize; 3], strides: [usize; 3]) -> Mat<'a, T> {
        if size.iter().all(|&n| n > 0) {
            let last: usize = size.iter().zip(strides).map(|(n, s)| (n - 1) * s).sum();
            assert!(
                last < data.len(),
                "a matrix {size:?} with strides {strides:?} leaves its {} numbers",
                data.len()
            );
        }
        Mat { data, size, strides }
    }
    /// The transpose, without a copy.
    #[must_use]
    pub fn t(self) -> Mat<'a, T> {
        let ([n, r, c], [sn, sr, sc]) = (self.size, self.strides);
        Mat { data: self.data, size: [n, c, r], strides: [sn, sc, sr] }
    }
    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.size[1]
    }
    /// The number of columns.
    pub fn columns(&self) -> usize {
        self.size[2]
    }
}

/// A matrix inside a product: where it begins, and the distances between its rows and between its columns.
#[derive(Clone, Copy)]
struct Operand<T> {
    start: *const T,
    strides: [usize; 2],
}

/// A pointer into C that crosses threads.
#[derive(Clone, Copy)]
struct Output<T>(*mut T);

// SAFETY: tasks write separate numbers.
unsafe impl<T: Send> Sync for Output<T> {}

impl<T> Output<T> {
    /// # Safety
    /// `offset` must lie inside C.
    unsafe fn at(self, offset: usize) -> *mut T {
        // SAFETY: by contract.
        unsafe { self.0.add(offset) }
    }
}

/// One product. Whoever makes it promises that A `[m, k]` and B `[k, n]` may be read, that C, rows of `n` numbers, may
/// be written, and that C is nobody else's and aliases neither.
struct Job<'a, T> {
    size: [usize; 3],
    alpha: T,
    a: Operand<T>,
    b: Operand<T>,
    beta: T,
    c: Output<T>,
    /// Called once with the rows and columns of every block of C that has its final value.
    finished: &'a (dyn Fn(Range<usize>, Range<usize>) + Sync),
}
impl<T: Real> Job<'_, T> {
    /// The same job in f32, if that is what it is.
    fn single(&self) -> Option<Job<'_, f32>> {
        let operand = |x: Operand<T>| Operand { start: x.start.cast(), strides: x.strides };
        let Job { size, alpha, a, b, beta, c, finished } = *self;
        let (a, b, c) = (operand(a), operand(b), Output(c.0.cast()));
        let job = Job { size, alpha: alpha.f64() as f32, a, b, beta: beta.f64() as f32, c, finished };
        (T::DTYPE == DType::F32).then_some(job)
    }
}

// SAFETY: A and B are only read; a task writes a block of C that no other task touches.
unsafe impl<T: Sync> Sync for Job<'_, T> {}

/// Who runs the tasks of a product.
enum Team<'a> {
    /// All workers.
    All(&'a Engine),
    /// The thread that calls.
    Alone,
}

impl Team<'_> {
    fn run(&self, tasks: usize, f: &(dyn Fn(usize) + Sync)) {
        match self {
            Team::All(engine) => drop(engine.map(tasks, f)),
            Team::Alone => (0..tasks).for_each(f),
        }
    }
}

/// C ← α·A·B + β·C. `c` is row-major, `[batch, a.rows, b.columns]`. With β = 0 the old contents of C are not read.
///
/// # Panics
/// If the sizes do not fit.
#[track_caller]
pub fn gemm<T: Real>(engine: &Engine, alpha: T, a: Mat<'_, T>, b: Mat<'_, T>, beta: T, c: &mut [T]) {
    gemm_then(engine, alpha, a, b, beta, c, |_, _, _| ());
}
/// As [`gemm`], and `then(row, first_column, piece)` sees every finished piece of a row of C once, while it is in
/// cache: bias, activation, residual, dropout cost no pass over memory. Rows are counted through the batch.
///
/// Pieces cover C exactly, in no particular order and from any worker, so `then` may depend on `row`, on the column and
/// on what the piece holds, and on nothing else. It runs inside a task and must not start parallel work. Mark it
/// `#[inline(always)]`, as the closures of [`Engine::chunks`], so that it becomes vector code.
///
/// ```
/// # use engine::{Engine, Mat, gemm_then};
/// let (x, w, bias) = ([1.0f32, 2.0], [3.0, 4.0, 5.0, 6.0], [0.5, -100.0]);
/// let mut y = [0.0; 2];
/// gemm_then(&Engine::new(1), 1.0, Mat::new(&x, 1, 2), Mat::new(&w, 2, 2).t(), 0.0, &mut y, |_row, first, piece| {
///     piece.iter_mut().zip(&bias[first..]).for_each(|(y, b)| *y = (*y + b).max(0.0));
/// });
/// assert_eq!(y, [11.5, 0.0]);
/// ```
///
/// # Panics
/// If the sizes do not fit.
#[track_caller]
pub fn gemm_then<T: Real>(
    engine: &Engine,
    alpha: T,
    a: Mat<'_, T>,
    b: Mat<'_, T>,
    beta: T,
    c: &mut [T],
    then: impl Fn(usize, usize, &mut [T]) + Sync,
) {
    let products = Products::new(engine, alpha, a, b, beta, c, &then);
    let Products { batch, size: [m, k, n], .. } = products;
    let work = m * k * n;
    engine.work(2 * (batch * work) as u64, 0);
    if batch == 1 || work >= LARGE {
        let mut scratch = engine.buffer::<f32>(products.scratch());
        (0..batch).for_each(|entry| products.run(entry, &Team::All(engine), &mut scratch));
    } else {
        // Thousands of tiny products are handed out in groups.
        let group = (TASK / work.max(1)).clamp(1, batch);
        engine.map_with(batch.div_ceil(group), products.scratch(), |g, scratch| {
            let entries = g * group..((g + 1) * group).min(batch);
            entries.for_each(|entry| products.run(entry, &Team::Alone, scratch));
        });
    }
}

/// As [`gemm_then`], and `then(row, first_column, piece, beside)` also gets the same piece of a second matrix of the
/// shape of C, with what it held: to write a second result there, as a value and its activation.
///
/// # Panics
/// If the sizes do not fit.
#[track_caller]
#[expect(clippy::too_many_arguments, reason = "those of `gemm_then`, and the second matrix")]
pub fn gemm_beside<T: Real>(
    engine: &Engine,
    alpha: T,
    a: Mat<'_, T>,
    b: Mat<'_, T>,
    beta: T,
    c: &mut [T],
    beside: &mut [T],
    then: impl Fn(usize, usize, &mut [T], &mut [T]) + Sync,
) {
    assert_eq!(c.len(), beside.len(), "gemm: the second matrix must have the shape of C");
    let (columns, beside) = (b.columns(), Output(beside.as_mut_ptr()));
    gemm_then(
        engine,
        alpha,
        a,
        b,
        beta,
        c,
        #[inline(always)]
        |row, first, piece| {
            let (start, length) = (row * columns + first, piece.len());
            // SAFETY: `gemm_then` gives every piece of C once, and this one lies in the same place of a matrix as
            // large, which nobody else reads or writes while it is borrowed.
            let beside = unsafe { std::slice::from_raw_parts_mut(beside.at(start), length) };
            then(row, first, piece, beside);
        },
    );
}
/// As [`gemm_then`], by the thread that calls and no other: for a product inside a task of [`Engine::each`] or
/// [`Engine::map`], whose workers are busy with the other tasks. The bits are those of [`gemm`]. `scratch` has at least
/// [`scratch_for`] numbers and may hold anything; like all scratch of tasks it is best a part of one buffer.
///
/// # Panics
/// If the sizes do not fit.
#[track_caller]
#[expect(clippy::too_many_arguments, reason = "those of `gemm_then`, and the scratch")]
pub fn gemm_alone<T: Real>(
    engine: &Engine,
    scratch: &mut [f32],
    alpha: T,
    a: Mat<'_, T>,
    b: Mat<'_, T>,
    beta: T,
    c: &mut [T],
    then: impl Fn(usize, usize, &mut [T]) + Sync,
) {
    let products = Products::new(engine, alpha, a, b, beta, c, &then);
    (0..products.batch).for_each(|entry| products.run(entry, &Team::Alone, scratch));
}

/// The numbers of scratch that [`gemm_alone`] wants for products of up to `m` × `k` × `n`: at most 8 MiB, and 48 rows
/// of C.
pub fn scratch_for(engine: &Engine, [m, k, n]: [usize; 3]) -> usize {
    match engine.kernel_class() {
        #[cfg(target_arch = "x86_64")]
        KernelClass::Avx512 => blocked::scratch_most([m, k, n]),
        _ => 0,
    }
}

/// The products of a call, with sizes that fit.
struct Products<'a, T, F> {
    engine: &'a Engine,
    batch: usize,
    size: [usize; 3],
    alpha: T,
    a: Mat<'a, T>,
    b: Mat<'a, T>,
    beta: T,
    c: Output<T>,
    then: &'a F,
}
// SAFETY: as [`Job`]: workers write separate entries of C.
unsafe impl<T: Sync, F: Sync> Sync for Products<'_, T, F> {}

impl<'a, T: Real, F: Fn(usize, usize, &mut [T]) + Sync> Products<'a, T, F> {
    #[track_caller]
    fn new(
        engine: &'a Engine,
        alpha: T,
        a: Mat<'a, T>,
        b: Mat<'a, T>,
        beta: T,
        c: &'a mut [T],
        then: &'a F,
    ) -> Products<'a, T, F> {
        let ([batch, m, k], [batch_b, k_b, n]) = (a.size, b.size);
        assert_eq!((batch, k), (batch_b, k_b), "gemm: {:?} times {:?}", a.size, b.size);
        assert_eq!(c.len(), batch * m * n, "gemm: C must be [{batch}, {m}, {n}]");
        Products { engine, batch, size: [m, k, n], alpha, a, b, beta, c: Output(c.as_mut_ptr()), then }
    }
    fn scratch(&self) -> usize {
        match (self.engine.kernel_class(), T::DTYPE) {
            #[cfg(target_arch = "x86_64")]
            (KernelClass::Avx512, DType::F32) => {
                let strides = |x: &Mat<'_, T>| [x.strides[1], x.strides[2]];
                blocked::scratch(self.size, strides(&self.a), strides(&self.b))
            }
            _ => 0,
        }
    }
    /// One product of the batch.
    fn run(&self, entry: usize, team: &Team<'_>, scratch: &mut [f32]) {
        let [m, k, n] = self.size;
        if m * n == 0 {
            return;
        }
        let finished = |rows: Range<usize>, columns: Range<usize>| {
            self.engine.vectorised(
                #[inline(always)]
                || {
                    for row in rows {
                        let row = entry * m + row;
                        // SAFETY: a piece of a row of C, whose last writer was the task that calls us.
                        let piece = unsafe {
                            std::slice::from_raw_parts_mut(self.c.at(row * n + columns.start), columns.len())
                        };
                        (self.then)(row, columns.start, piece);
                    }
                },
            );
        };
        let operand = |x: Mat<'_, T>| Operand {
            start: x.data[entry * x.strides[0]..].as_ptr(),
            strides: [x.strides[1], x.strides[2]],
        };
        // SAFETY: the entry lies inside C.
        let c = Output(unsafe { self.c.at(entry * m * n) });
        if k == 0 {
            // SAFETY: the entry's numbers, which are ours.
            let c = unsafe { std::slice::from_raw_parts_mut(c.0, m * n) };
            c.iter_mut().for_each(|c| *c = if self.beta == T::ZERO { T::ZERO } else { self.beta * *c });
            return finished(0..m, 0..n);
        }
        let job = Job {
            size: self.size,
            alpha: self.alpha,
            a: operand(self.a),
            b: operand(self.b),
            beta: self.beta,
            c,
            finished: &finished,
        };
        // SAFETY: `Mat::strided` proved that A and B lie in their slices, `new` that C has their sizes; it is a `&mut`.
        unsafe {
            match (self.engine.kernel_class(), job.single()) {
                #[cfg(target_arch = "x86_64")]
                (KernelClass::Avx512, Some(job)) => blocked::multiply(team, &job, scratch),
                _ => portable::multiply(team, &job),
            }
        }
    }
}
