use super::*;
use crate::Stream;

/// Around the edges of registers, tiles, blocks and sums.
const SIZES: [usize; 22] =
    [0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 47, 48, 49, 63, 64, 65, 96, 97, 130, 200, 385];
/// α and β.
const FACTORS: [[f32; 2]; 6] = [[1.0, 0.0], [1.0, 1.0], [0.5, -2.0], [0.0, 1.0], [0.0, 0.0], [-1.5, 0.0]];

fn draw<T: Real>(count: usize, tag: u64) -> Vec<T> {
    let s = Stream::new(1, tag);
    (0..count).map(|i| T::of(s.uniform(i as u64) - 0.5)).collect()
}

/// How a matrix lies in memory.
#[derive(Clone, Copy, Debug)]
enum Lies {
    /// Row after row.
    Rows,
    /// Column after column.
    Columns,
    /// Rows with gaps between them.
    Apart,
    /// Gaps between rows and between columns.
    Scattered,
}

impl Lies {
    fn strides(self, [rows, columns]: [usize; 2]) -> [usize; 2] {
        match self {
            Lies::Rows => [columns, 1],
            Lies::Columns => [1, rows],
            Lies::Apart => [columns + 5, 1],
            Lies::Scattered => [3 * columns + 1, 3],
        }
    }
    /// A batch of matrices in numbers that are NaN wherever no matrix lies.
    fn place<T: Real>(self, batch: usize, size: [usize; 2], tag: u64) -> (Vec<T>, [usize; 3]) {
        let [down, right] = self.strides(size);
        let whole = (size[0] * down).max(size[1] * right);
        let mut all = vec![T::of(f64::NAN); batch * whole];
        let values = draw::<T>(batch * size[0] * size[1], tag);
        for (i, value) in values.into_iter().enumerate() {
            let (entry, row, column) = (i / (size[0] * size[1]), i / size[1] % size[0], i % size[1]);
            all[entry * whole + row * down + column * right] = value;
        }
        (all, [whole, down, right])
    }
}

const LAYOUTS: [[Lies; 2]; 7] = [
    [Lies::Rows, Lies::Rows],
    [Lies::Rows, Lies::Columns],
    [Lies::Columns, Lies::Rows],
    [Lies::Columns, Lies::Columns],
    [Lies::Apart, Lies::Apart],
    [Lies::Scattered, Lies::Rows],
    [Lies::Columns, Lies::Scattered],
];

/// The factors of one product, and C before it, with a number behind it that must stay.
struct Case<T> {
    size: [usize; 4],
    lies: [Lies; 2],
    factors: [f32; 2],
    a: (Vec<T>, [usize; 3]),
    b: (Vec<T>, [usize; 3]),
    c: Vec<T>,
}

impl<T: Real> Case<T> {
    fn new(size: [usize; 4], lies: [Lies; 2], factors: [f32; 2]) -> Case<T> {
        let [batch, m, k, n] = size;
        let (a, b) = (lies[0].place(batch, [m, k], 1), lies[1].place(batch, [k, n], 2));
        let mut c = draw::<T>(batch * m * n + 1, 3);
        if factors[1] == 0.0 {
            c[..batch * m * n].fill(T::of(f64::NAN));
        }
        Case { size, lies, factors, a, b, c }
    }
    fn a(&self) -> Mat<'_, T> {
        let [batch, m, k, _] = self.size;
        Mat::strided(&self.a.0, [batch, m, k], self.a.1)
    }
    fn b(&self) -> Mat<'_, T> {
        let [batch, _, k, n] = self.size;
        Mat::strided(&self.b.0, [batch, k, n], self.b.1)
    }
    #[track_caller]
    fn product(&self, engine: &Engine) -> Vec<T> {
        let (mut c, [alpha, beta]) = (self.c.clone(), self.factors.map(|x| T::of(f64::from(x))));
        let end = c.len() - 1;
        gemm(engine, alpha, self.a(), self.b(), beta, &mut c[..end]);
        assert_eq!(c[end], self.c[end], "{self} wrote behind C");
        c.truncate(end);
        c
    }
    /// Compares with sums in f64. The bound on their difference holds for every order of summation.
    #[track_caller]
    fn check_near(&self, engine: &Engine) {
        let ([_, m, k, n], [alpha, beta]) = (self.size, self.factors.map(f64::from));
        let (a, b) = (self.a(), self.b());
        let epsilon = if T::DTYPE == DType::F32 { f64::from(f32::EPSILON) } else { f64::EPSILON };
        for (at, got) in self.product(engine).into_iter().enumerate() {
            let (entry, i, j) = (at / (m * n), at / n % m, at % n);
            let term = |x: usize| {
                let a = a.data[entry * a.strides[0] + i * a.strides[1] + x * a.strides[2]];
                a.f64() * b.data[entry * b.strides[0] + x * b.strides[1] + j * b.strides[2]].f64()
            };
            let (sum, most) = (0..k).map(term).fold((0.0, 0.0), |(s, m), t| (s + t, m + t.abs()));
            let old = if beta == 0.0 { 0.0 } else { beta * self.c[at].f64() };
            let bound = (k + 3) as f64 * epsilon * (alpha.abs() * most + old.abs());
            let off = (got.f64() - alpha * sum - old).abs();
            assert!(off <= bound, "{self} at [{entry}, {i}, {j}]: {got} for {}", alpha * sum + old);
        }
    }
}

impl Case<f32> {
    /// Compares with the specification, which AVX-512 follows to the bit.
    #[track_caller]
    fn check_bits(&self, engine: &Engine) {
        let ([batch, m, k, n], mut want) = (self.size, self.c.clone());
        for entry in 0..batch * m.min(1) * n.min(1) {
            let [alpha, beta] = self.factors;
            let c = &mut want[entry * m * n..][..m * n];
            let (a, b) = (self.a(), self.b());
            let (a, b) = ((entry * a.strides[0], a), (entry * b.strides[0], b));
            engine.vectorised(
                #[inline(always)]
                || reference::multiply(blocked::depth(k), alpha, a, b, beta, c),
            );
        }
        let bits = |x: &[f32]| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        let got = bits(&self.product(engine));
        let wrong = got.iter().zip(bits(&want[..batch * m * n])).filter(|(a, b)| **a != *b).count();
        assert_eq!(wrong, 0, "{self}");
    }
}

impl<T> std::fmt::Display for Case<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "[batch, m, k, n] {:?}, {:?}, α and β {:?}", self.size, self.lies, self.factors)
    }
}

/// Larger products, of more than one band, strip, slab and block, and thousands of tiny ones.
const LARGE_SIZES: [[usize; 4]; 6] = [
    [1, 20, 3000, 400],
    [1, 400, 3000, 20],
    [1, 9, 385, 3000],
    [1, 3000, 385, 9],
    [2, 130, 385, 500],
    [1000, 5, 9, 7],
];

/// Sizes that meet each size of the table in each place, with layouts and factors in turn; and larger ones.
fn table() -> Vec<([usize; 4], [Lies; 2], [f32; 2])> {
    let size = |i: usize, by: usize| SIZES[(i * by + i / SIZES.len()) % SIZES.len()];
    let small = (0..7 * SIZES.len()).map(|i| {
        let size = [if i % 5 == 4 { 3 } else { 1 }, size(i, 1), size(i, 5), size(i, 7)];
        (size, LAYOUTS[i % LAYOUTS.len()], FACTORS[i % FACTORS.len()])
    });
    let large =
        LARGE_SIZES.into_iter().zip(FACTORS).map(|(size, factors)| (size, [Lies::Columns; 2], factors));
    small.chain(large).collect()
}

#[test]
fn products_of_every_class_and_type_are_near_the_exact_sums() {
    for class in [KernelClass::Portable, KernelClass::detect()] {
        let engine = Engine::of_class(2, class);
        for (size, lies, factors) in table() {
            Case::<f32>::new(size, lies, factors).check_near(&engine);
            Case::<f64>::new(size, lies, factors).check_near(&engine);
        }
    }
}

#[test]
fn every_number_is_made_as_the_specification_says() {
    let engines = [1, 2, 3, 7].map(Engine::poisoned);
    if engines[0].kernel_class() != KernelClass::Avx512 {
        return println!("skipped: the specification to the bit is that of AVX-512");
    }
    for (i, (size, lies, factors)) in table().into_iter().enumerate() {
        Case::<f32>::new(size, lies, factors).check_bits(&engines[i % 4]);
    }
}

#[test]
fn a_product_alone_has_the_bits_of_one_by_all() {
    let engine = Engine::poisoned(3);
    for (size, lies, factors) in table() {
        let case = Case::<f32>::new(size, lies, factors);
        let [batch, m, k, n] = size;
        let want = case.product(&engine);
        let got = engine.map(4, |_| {
            let mut c = case.c[..batch * m * n].to_vec();
            let mut scratch = vec![f32::NAN; scratch_for(&engine, [m, k, n])];
            let [alpha, beta] = case.factors;
            gemm_alone(&engine, &mut scratch, alpha, case.a(), case.b(), beta, &mut c, |_, _, _| ());
            c
        });
        assert!(got.iter().all(|c| c.iter().zip(&want).all(|(c, w)| c.to_bits() == w.to_bits())), "{case}");
    }
}

#[test]
fn products_inside_tasks_end() {
    let (a, b) = (draw::<f32>(200 * 64, 1), draw::<f32>(64 * 300, 2));
    let (a, b) = (Mat::new(&a, 200, 64), Mat::new(&b, 64, 300));
    for threads in [1, 2, 3] {
        let engine = Engine::new(threads);
        let all = engine.map(20, |_| {
            let mut c = vec![0.0; 200 * 300];
            gemm(&engine, 1.0, a, b, 0.0, &mut c);
            c
        });
        assert!(all.iter().all(|c| *c == all[0]));
    }
}

#[test]
fn then_sees_every_number_once_and_finished() {
    for class in [KernelClass::Portable, KernelClass::detect()] {
        for size in [
            [1, 1, 5, 1],
            [3, 7, 0, 9],
            [1, 130, 400, 97],
            [1, 50, 3000, 50],
            [200, 6, 5, 4],
            [2, 900, 20, 700],
        ] {
            let engine = Engine::of_class(3, class);
            let case = Case::<f32>::new(size, [Lies::Rows; 2], [1.0, 1.0]);
            let [batch, m, _, n] = size;
            let mut c = case.c[..batch * m * n].to_vec();
            let place = |row: usize, column: usize| (row * n + column) as f32;
            gemm_then(&engine, 1.0, case.a(), case.b(), 1.0, &mut c, |row, first, piece| {
                piece.iter_mut().enumerate().for_each(|(i, c)| *c = place(row, first + i) - 2.0 * *c);
            });
            for (at, (c, plain)) in c.iter().zip(case.product(&engine)).enumerate() {
                assert_eq!(*c, at as f32 - 2.0 * plain, "{case}, number {at}");
            }
        }
    }
}

#[test]
fn bits_do_not_depend_on_threads() {
    for size in [[1, 1700, 40, 1700], [1, 130, 5000, 200], [500, 20, 30, 10]] {
        for class in [KernelClass::Portable, KernelClass::detect()] {
            let case = Case::<f32>::new(size, [Lies::Columns, Lies::Rows], [1.0, 0.0]);
            let product = |threads| case.product(&Engine::of_class(threads, class));
            let one = product(1);
            assert!([2, 3, 7].into_iter().all(|t| product(t) == one), "{case}");
        }
    }
}

#[test]
fn after_the_first_product_the_pool_asks_for_nothing() {
    let engine = Engine::new(3);
    let cases = [[1, 300, 400, 300], [300, 20, 30, 40]]
        .map(|size| Case::<f32>::new(size, [Lies::Columns, Lies::Rows], [1.0, 0.0]));
    cases.iter().for_each(|case| drop(case.product(&engine)));
    let before = engine.pool_stats().system_allocations;
    (0..50).for_each(|_| cases.iter().for_each(|case| drop(case.product(&engine))));
    assert_eq!(engine.pool_stats().system_allocations, before);
}

#[test]
#[should_panic(expected = "gemm: [1, 2, 3] times [1, 2, 3]")]
fn sizes_that_do_not_fit_are_named() {
    let x = [0.0f32; 6];
    gemm(&Engine::new(1), 1.0, Mat::new(&x, 2, 3), Mat::new(&x, 2, 3), 0.0, &mut [0.0; 4]);
}
