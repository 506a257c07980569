//! The engine: one handle that the caller makes and everything carries. Threads, buffers, the kernel class of this
//! processor. There is no global state behind it.
//!
//! Work is cut by size, never by the number of threads, and every chunk writes its own output: the bits of a result
//! do not depend on how many threads made it.

use crate::cuda::Cuda;
use crate::error::{Error, Kind, Result};
use crate::pool::{Buf, Pool, PoolStats};
use crate::profile::{Clock, Profile, Way};
use crate::quantised::Support;
use crate::real::Element;
use crate::tensor::Tensor;
use rayon::prelude::*;
use std::sync::{Arc, Mutex, mpsc};

/// Which vector instructions this processor has. Bits of GEMM results depend on it; checkpoints record it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KernelClass {
    /// What every processor of the architecture has.
    Portable,
    /// x86-64 with AVX2 and FMA.
    Avx2,
    /// x86-64 with AVX-512 (F, BW, DQ, VL).
    Avx512,
}

impl KernelClass {
    /// The class of the processor that we run on.
    pub fn detect() -> KernelClass {
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            let wide = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl");
            if avx2 && wide {
                return KernelClass::Avx512;
            }
            if avx2 {
                return KernelClass::Avx2;
            }
        }
        KernelClass::Portable
    }
    /// The name, as it stands in logs and checkpoints.
    pub fn name(self) -> &'static str {
        match self {
            KernelClass::Portable => "portable",
            KernelClass::Avx2 => "avx2",
            KernelClass::Avx512 => "avx512",
        }
    }
    /// Runs `f` compiled for this class. Put plain loops over slices inside; callees must be `#[inline(always)]`.
    #[inline(always)]
    pub fn vectorised<R>(self, f: impl FnOnce() -> R) -> R {
        match self {
            // SAFETY: `detect`, the only maker of this value outside tests, found these features.
            #[cfg(target_arch = "x86_64")]
            KernelClass::Avx512 => unsafe { with_avx512(f) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            KernelClass::Avx2 => unsafe { with_avx2(f) },
            _ => f(),
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
fn with_avx512<R>(f: impl FnOnce() -> R) -> R {
    f()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn with_avx2<R>(f: impl FnOnce() -> R) -> R {
    f()
}

/// The handle. Clones are the same engine.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
    cuda: Option<Cuda>,
}

struct Inner {
    team: rayon::ThreadPool,
    pool: Arc<Pool>,
    class: KernelClass,
    support: Support,
    profile: Option<Profile>,
}

/// So many threads. Each has started, with all that it takes for that, before the next one is asked for: where the
/// system refuses one, none is left that fails beside the words about it.
fn team_of(threads: usize) -> Result<rayon::ThreadPool, rayon::ThreadPoolBuildError> {
    let (up, is_up) = mpsc::channel();
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .start_handler(move |_| {
            // The first look for work takes what every later one uses.
            rayon::yield_now();
            // Whoever waits for it is there as long as threads start.
            let _ = up.send(());
        })
        .spawn_handler(|thread| {
            let name = format!("lode-{}", thread.index());
            std::thread::Builder::new().name(name).spawn(|| thread.run())?;
            is_up.recv().map_err(std::io::Error::other)
        })
        .build()
}

impl Engine {
    /// An engine with `threads` workers (at least one). Idle workers sleep.
    ///
    /// # Panics
    /// If the system refuses the threads.
    pub fn new(threads: usize) -> Engine {
        Engine::try_new(threads, None).expect("the system grants threads")
    }
    /// The same for a program that is given the number by a person; with a clock as [`Engine::profiled`].
    ///
    /// # Errors
    /// If the system refuses the threads.
    pub fn try_new(threads: usize, clock: Option<Clock>) -> Result<Engine> {
        Engine::build(threads, false, KernelClass::detect(), clock.map(Profile::new))
    }
    /// An engine that books where the time goes ([`Engine::profile`]), by this clock.
    ///
    /// # Panics
    /// As [`Engine::new`].
    pub fn profiled(threads: usize, clock: Clock) -> Engine {
        Engine::try_new(threads, Some(clock)).expect("the system grants threads")
    }
    /// An engine whose fresh buffers are full of NaN, so that a kernel which relies on old contents is found out.
    /// For tests.
    pub fn poisoned(threads: usize) -> Engine {
        Engine::build(threads, true, KernelClass::detect(), None).expect("the system grants threads")
    }
    /// An engine that uses no more than the instructions of `class`, poisoned: for tests. Products in fewer bits are
    /// exact in every class.
    ///
    /// # Panics
    /// If the processor lacks them.
    pub fn of_class(threads: usize, class: KernelClass) -> Engine {
        assert!(class <= KernelClass::detect(), "this processor lacks {}", class.name());
        Engine::build(threads, true, class, None).expect("the system grants threads")
    }
    /// An engine that computes products in fewer bits by plain code, whatever the processor has: the specification of
    /// the instructions, for tests.
    pub fn unsupported(threads: usize) -> Engine {
        let mut engine = Engine::new(threads);
        Arc::get_mut(&mut engine.inner).expect("a new engine has no clones").support = Support::NONE;
        engine
    }
    fn build(threads: usize, poison: bool, class: KernelClass, profile: Option<Profile>) -> Result<Engine> {
        let threads = threads.max(1);
        let team = team_of(threads).map_err(|e| {
            let what = format!("the system does not grant {threads} threads");
            Error::new(Kind::Refused, what).caused_by(e).help(
                "ask for fewer with --threads, or raise the limits of the process (`ulimit -u`, `ulimit -v`)",
            )
        })?;
        let pool = Arc::new(Pool::new(poison));
        let inner = Inner { team, pool, class, support: Support::detect(), profile };
        Ok(Engine { inner: Arc::new(inner), cuda: None })
    }
    /// The same threads and buffers with a device. An operation runs where its tensors lie, whatever the engine has;
    /// the device is for what comes as plain slices and may be computed anywhere: an exact search.
    #[must_use]
    pub fn with_cuda(self, cuda: Cuda) -> Engine {
        Engine { cuda: Some(cuda), ..self }
    }
    /// The device, if the engine has one.
    pub fn cuda(&self) -> Option<&Cuda> {
        self.cuda.as_ref()
    }
    /// The numbers on the device, if the engine has one, else as they lie.
    ///
    /// # Panics
    /// As [`Tensor::to_device`].
    pub fn place(&self, x: &Tensor) -> Tensor {
        self.cuda.as_ref().map_or_else(|| x.clone(), |cuda| x.to_device(cuda))
    }
    /// The number of workers.
    pub fn threads(&self) -> usize {
        self.inner.team.current_num_threads()
    }
    /// Which vector instructions the kernels use.
    pub fn kernel_class(&self) -> KernelClass {
        self.inner.class
    }
    /// Which products in fewer bits the processor has instructions for.
    pub fn support(&self) -> Support {
        self.inner.support
    }
    /// Where the time went, if this engine was asked to look.
    pub fn profile(&self) -> Option<&Profile> {
        self.inner.profile.as_ref()
    }
    /// Runs `f`; a profiled engine books its time under `name`.
    pub fn span<R>(&self, name: &'static str, way: Way, f: impl FnOnce() -> R) -> R {
        match &self.inner.profile {
            Some(profile) => profile.span(name, way, f),
            None => f(),
        }
    }
    /// Tells a profiled engine what the span at hand computes and moves.
    pub fn work(&self, flops: u64, bytes: u64) {
        if let Some(profile) = &self.inner.profile {
            profile.work(flops, bytes);
        }
    }
    /// What the buffer pool holds.
    pub fn pool_stats(&self) -> PoolStats {
        self.inner.pool.stats()
    }
    /// Gives idle buffers back to the system. Between phases, never inside a step.
    pub fn trim(&self) {
        self.inner.pool.trim();
    }
    /// Tells the pool that the largest work has been seen: from now on it rather lends a buffer that is much too large
    /// than asks the system for one, until the next [`Engine::trim`].
    pub fn settle(&self) {
        self.inner.pool.settle();
    }
    /// A buffer of `n` numbers. What it holds is unspecified: overwrite all of it.
    pub fn buffer<T: Element>(&self, n: usize) -> Buf<T> {
        self.inner.pool.buffer(n)
    }
    /// A buffer of `n` zeros.
    pub fn zeros<T: Element>(&self, n: usize) -> Buf<T> {
        let mut buf = self.buffer(n);
        buf.fill(T::default());
        buf
    }
    /// A buffer that holds a copy of `values`.
    pub fn copied<T: Element>(&self, values: &[T]) -> Buf<T> {
        let mut buf = self.buffer(values.len());
        buf.copy_from_slice(values);
        buf
    }
    /// Runs `f` on a worker, so that the parallel calls inside start without a hand-over. Worth it around a step.
    pub fn inside<R: Send>(&self, f: impl FnOnce() -> R + Send) -> R {
        self.inner.team.install(f)
    }
    /// Runs `f` compiled for the widest vectors of this processor. Put plain loops over slices inside, and mark `f` and
    /// its callees `#[inline(always)]`: a closure that is not inlined is compiled once, for the least processor. The
    /// same holds for the closures of `chunks`, `chunks2`, `chunks3` and `ragged`.
    #[inline(always)]
    pub fn vectorised<R>(&self, f: impl FnOnce() -> R) -> R {
        self.inner.class.vectorised(f)
    }
    /// `f(i, chunk)` over chunks of `size` numbers of `out`, in parallel, vectorised. The last may be shorter.
    pub fn chunks<T: Send>(&self, out: &mut [T], size: usize, f: impl Fn(usize, &mut [T]) + Sync) {
        let run = |(i, chunk): (usize, &mut [T])| {
            self.vectorised(
                #[inline(always)]
                || f(i, chunk),
            )
        };
        if out.len() <= size {
            return out.chunks_mut(size.max(1)).enumerate().for_each(run);
        }
        self.inner.team.install(|| out.par_chunks_mut(size).enumerate().for_each(run));
    }
    /// As [`Engine::chunks`] over two outputs that are cut into the same number of chunks.
    ///
    /// # Panics
    /// If the numbers of chunks differ.
    pub fn chunks2<A: Send, B: Send>(
        &self,
        (a, size_a): (&mut [A], usize),
        (b, size_b): (&mut [B], usize),
        f: impl Fn(usize, &mut [A], &mut [B]) + Sync,
    ) {
        let counts = (a.len().div_ceil(size_a.max(1)), b.len().div_ceil(size_b.max(1)));
        assert_eq!(counts.0, counts.1, "chunks2: the outputs have different numbers of chunks");
        let run = |(i, (a, b)): (usize, (&mut [A], &mut [B]))| {
            self.vectorised(
                #[inline(always)]
                || f(i, a, b),
            )
        };
        let pairs = (a.par_chunks_mut(size_a.max(1)), b.par_chunks_mut(size_b.max(1)));
        self.inner.team.install(|| pairs.into_par_iter().enumerate().for_each(run));
    }
    /// As [`Engine::chunks`] over three outputs of one length, cut at the same places.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn chunks3<T: Send>(
        &self,
        [a, b, c]: [&mut [T]; 3],
        size: usize,
        f: impl Fn(usize, [&mut [T]; 3]) + Sync,
    ) {
        assert!(a.len() == b.len() && b.len() == c.len(), "chunks3: the outputs have different lengths");
        let run = |i, a, b, c| {
            self.vectorised(
                #[inline(always)]
                || f(i, [a, b, c]),
            )
        };
        if a.len() <= size {
            if !a.is_empty() {
                run(0, a, b, c);
            }
            return;
        }
        let all = a.par_chunks_mut(size).zip(b.par_chunks_mut(size)).zip(c.par_chunks_mut(size)).enumerate();
        self.inner.team.install(|| all.for_each(|(i, ((a, b), c))| run(i, a, b, c)));
    }
    /// `f(i, parts)` over parts of unequal size, in parallel, vectorised: part `i` of every output is its numbers
    /// `cuts[i]..cuts[i + 1]`. Texts are ragged, so their rows are cut this way.
    ///
    /// # Panics
    /// If the cuts do not run from 0 to the length of every output without falling.
    pub fn ragged<T: Send, const N: usize>(
        &self,
        outputs: [&mut [T]; N],
        cuts: &[usize],
        f: impl Fn(usize, [&mut [T]; N]) + Sync,
    ) {
        self.each(parts(outputs, cuts), f);
    }
    /// `f(i, item)` for every item, in parallel, vectorised. An item may hold [`parts`] of many outputs, and a part of
    /// a buffer as its scratch: a task that took a buffer of its own would make what the pool holds depend on how many
    /// run at once.
    pub fn each<P: Send>(&self, items: Vec<P>, f: impl Fn(usize, P) + Sync) {
        let run = |(i, item)| {
            self.vectorised(
                #[inline(always)]
                || f(i, item),
            )
        };
        if items.len() <= 1 {
            return items.into_iter().enumerate().for_each(run);
        }
        self.inner.team.install(|| items.into_par_iter().with_max_len(1).enumerate().for_each(run));
    }
    /// `f(i)` for `i` in `0..n`, in parallel; the results in order.
    pub fn map<R: Send>(&self, n: usize, f: impl Fn(usize) -> R + Sync) -> Vec<R> {
        if n <= 1 {
            return (0..n).map(f).collect();
        }
        self.inner.team.install(|| (0..n).into_par_iter().with_max_len(1).map(&f).collect())
    }
    /// `f(i, scratch)` for `i` in `0..n`, in parallel; the results in order. The scratch, `size` numbers that hold
    /// anything, is the task's alone while it runs. There is one for each worker, all in one buffer: what the pool
    /// holds does not depend on which tasks run at once.
    pub fn map_with<T: Element, R: Send>(
        &self,
        n: usize,
        size: usize,
        f: impl Fn(usize, &mut [T]) -> R + Sync,
    ) -> Vec<R> {
        let workers = self.threads().min(n).max(1);
        let size = size.max(1);
        let mut buffer = self.buffer::<T>(workers * size);
        if workers == 1 {
            return (0..n).map(|i| f(i, &mut buffer)).collect();
        }
        let slots: Vec<Mutex<&mut [T]>> = buffer.chunks_mut(size).map(Mutex::new).collect();
        self.map(n, |i| {
            let own = rayon::current_thread_index().unwrap_or(0);
            let free = (0..slots.len()).find_map(|s| slots[(own + s) % slots.len()].try_lock().ok());
            match free {
                Some(mut scratch) => f(i, &mut scratch),
                // Parallel work inside `f` made this worker take a second task meanwhile.
                None => f(i, &mut self.buffer(size)),
            }
        })
    }
}

/// Cuts every output at the same places: part `i` of each is its numbers `cuts[i]..cuts[i + 1]`.
///
/// # Panics
/// If the cuts do not run from 0 to the length of every output without falling.
pub fn parts<'a, T, const N: usize>(outputs: [&'a mut [T]; N], cuts: &[usize]) -> Vec<[&'a mut [T]; N]> {
    let (first, last) = (cuts.first().copied().unwrap_or(0), cuts.last().copied().unwrap_or(0));
    assert!(
        first == 0 && outputs.iter().all(|out| out.len() == last),
        "ragged: the cuts run from {first} to {last}, the outputs do not"
    );
    let mut rest = outputs;
    let cut = |cut: &[usize]| {
        assert!(cut[0] <= cut[1], "ragged: the cuts fall from {} to {}", cut[0], cut[1]);
        rest.each_mut().map(|rest| {
            let (part, behind) = std::mem::take(rest).split_at_mut(cut[1] - cut[0]);
            *rest = behind;
            part
        })
    };
    cuts.windows(2).map(cut).collect()
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Engine({} threads, {})", self.threads(), self.kernel_class().name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_cover_the_output_once_with_any_number_of_threads() {
        for threads in [1, 2, 3, 7] {
            let engine = Engine::new(threads);
            let mut out = vec![0u32; 1003];
            engine.chunks(&mut out, 100, |i, chunk| {
                chunk.iter_mut().enumerate().for_each(|(j, x)| *x += (i * 100 + j) as u32)
            });
            assert!(out.iter().enumerate().all(|(i, &x)| x == i as u32));
            assert_eq!(engine.map(5, |i| i * i), [0, 1, 4, 9, 16]);
        }
    }

    #[test]
    fn chunks_of_two_outputs_run_together() {
        let (mut a, mut b) = (vec![0; 10], vec![0; 5]);
        Engine::new(2).chunks2((&mut a, 4), (&mut b, 2), |i, a, b| {
            a.fill(i);
            b.fill(i);
        });
        assert_eq!((a, b), (vec![0, 0, 0, 0, 1, 1, 1, 1, 2, 2], vec![0, 0, 1, 1, 2]));
    }

    #[test]
    fn chunks_of_three_outputs_are_cut_at_the_same_places() {
        for n in [0, 3, 4, 10] {
            let mut all = [vec![0; n], vec![0; n], vec![0; n]];
            Engine::new(2).chunks3(all.each_mut().map(|x| &mut x[..]), 4, |i, chunks| {
                for (k, chunk) in chunks.into_iter().enumerate() {
                    chunk.iter_mut().for_each(|x| *x += 100 * k + i + 1);
                }
            });
            for (k, x) in all.iter().enumerate() {
                assert!((0..n).all(|j| x[j] == 100 * k + j / 4 + 1), "{x:?}");
            }
        }
    }

    #[test]
    fn ragged_parts_cover_every_output_once() {
        let (mut a, mut b) = (vec![0; 6], vec![0; 6]);
        Engine::new(3).ragged([&mut a, &mut b], &[0, 3, 3, 4, 6], |i, [a, b]| {
            a.iter_mut().for_each(|a| *a += 1 + i);
            b.iter_mut().for_each(|b| *b += 10 + i);
        });
        assert_eq!((a, b), (vec![1, 1, 1, 3, 4, 4], vec![10, 10, 10, 12, 13, 13]));
    }

    #[test]
    #[should_panic(expected = "the cuts run from 0 to 3, the outputs do not")]
    fn ragged_cuts_must_reach_the_end() {
        Engine::new(1).ragged([&mut [0; 4]], &[0, 3], |_, _| ());
    }

    #[test]
    fn each_item_is_seen_once_with_its_number() {
        for n in [0, 1, 2, 9] {
            let mut out = vec![0; n];
            Engine::new(3).each(out.iter_mut().collect(), |i, x| *x += i + 1);
            assert!(out.iter().enumerate().all(|(i, &x)| x == i + 1), "{out:?}");
        }
    }

    #[test]
    fn nothing_to_do_is_not_an_error() {
        let engine = Engine::new(2);
        engine.ragged([&mut [] as &mut [f32]], &[0], |_, _| unreachable!());
        engine.chunks(&mut [] as &mut [f32], 0, |_, _| unreachable!());
        assert!(engine.map(0, |i| i).is_empty());
    }
}
