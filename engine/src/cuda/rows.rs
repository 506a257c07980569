//! Rows on a device (`kernels/{softmax,norm,rows}.cu`): the arms of `kernels/{softmax,logsumexp,normalise,layer_norm,
//! residual_norm,rows,slice,pool,dropout,rotary}.rs`.

use super::{Cuda, args};
use crate::kernels::dropout::Dropout;
use crate::kernels::pool::Pool;
use crate::shape::Shape;
use crate::tensor::Tensor;

/// Rows in one partial sum of w̄ and b̄.
const ROWS: usize = 64;

pub(crate) fn softmax(cuda: &Cuda, x: &Tensor) -> Tensor {
    let y = cuda.floats(x.shape());
    cuda.rows("softmax", x.shape().rows(), args![y, x, x.shape().last()]);
    y
}

pub(crate) fn softmax_back(cuda: &Cuda, y: &Tensor, g: &Tensor) -> Tensor {
    let (dx, g) = (cuda.floats(y.shape()), cuda.here(g));
    cuda.rows("softmax_back", y.shape().rows(), args![dx, y, g, y.shape().last()]);
    dx
}

pub(crate) fn logsumexp(cuda: &Cuda, x: &Tensor, keep: Option<&[bool]>) -> Tensor {
    let (shape, keep) = (x.shape(), keep.map(|keep| cuda.send(keep)));
    let y = cuda.floats(Shape::new(&shape.dims()[..shape.rank() - 1]));
    cuda.rows("logsumexp", y.len(), args![y, x, keep, shape.last()]);
    y
}

pub(crate) fn logsumexp_back(
    cuda: &Cuda,
    x: &Tensor,
    keep: Option<&[bool]>,
    y: &Tensor,
    g: &Tensor,
) -> Tensor {
    let (dx, keep, g) = (cuda.floats(x.shape()), keep.map(|keep| cuda.send(keep)), cuda.here(g));
    cuda.rows("logsumexp_back", y.len(), args![dx, x, keep, y, g, x.shape().last()]);
    dx
}

pub(crate) fn normalise(cuda: &Cuda, y: &Tensor, floor: f64) -> (Tensor, Tensor) {
    let (n, d) = (y.shape().rows(), y.shape().last());
    let (e, lengths) = (cuda.floats(y.shape()), cuda.floats([n]));
    cuda.rows("normalise", n, args![e, lengths, y, d, floor as f32]);
    (e, lengths)
}

pub(crate) fn normalise_back(cuda: &Cuda, e: &Tensor, lengths: &Tensor, g: &Tensor, floor: f64) -> Tensor {
    let (dy, g) = (cuda.floats(e.shape()), cuda.here(g));
    let (n, d) = (e.shape().rows(), e.shape().last());
    cuda.rows("normalise_back", n, args![dy, e, lengths, g, d, floor as f32]);
    dy
}

pub(crate) fn layer_norm(cuda: &Cuda, [x, w, b]: [&Tensor; 3], eps: f64) -> (Tensor, Tensor) {
    let (n, d) = (x.shape().rows(), x.shape().last());
    let (y, moments, w, b) = (cuda.floats(x.shape()), cuda.floats([n, 2]), cuda.here(w), cuda.here(b));
    cuda.rows("layer_norm", n, args![y, moments, x, w, b, d, eps as f32]);
    (y, moments)
}

/// A dropout as a kernel takes it: the places, which are null where there is none, and what stays of it.
struct Mask {
    slots: Option<Tensor>,
    positions: Option<Tensor>,
    key: [u32; 2],
    below: u32,
    scale: f32,
}

impl Mask {
    fn new(cuda: &Cuda, dropout: Option<&Dropout>) -> Mask {
        let [slots, positions] = dropout.map(|d| d.places.on(cuda).map(Some)).unwrap_or_default();
        Mask {
            slots,
            positions,
            key: dropout.map_or([0; 2], |d| d.key),
            below: dropout.map_or(0, Dropout::dropped_below),
            scale: dropout.map_or(1.0, Dropout::scale),
        }
    }
}

/// y, s and the moments.
pub(crate) fn residual_norm(
    cuda: &Cuda,
    inputs: [&Tensor; 4],
    dropout: Option<&Dropout>,
    eps: f64,
) -> [Tensor; 3] {
    let [x, r, w, b] = inputs.map(|t| cuda.here(t));
    let (n, d, m) = (x.shape().rows(), x.shape().last(), Mask::new(cuda, dropout));
    let (y, s, moments) = (cuda.floats(x.shape()), cuda.floats(x.shape()), cuda.floats([n, 2]));
    let [k0, k1] = m.key;
    cuda.rows(
        "residual_norm",
        n,
        args![y, s, moments, x, r, w, b, m.slots, m.positions, d, eps as f32, k0, k1, m.below, m.scale],
    );
    [y, s, moments]
}

/// s̄, the gradient of the branch (none without dropout: it is s̄), w̄ and b̄.
pub(crate) fn norm_back(
    cuda: &Cuda,
    given: [&Tensor; 4],
    dropout: Option<&Dropout>,
) -> (Tensor, Option<Tensor>, [Tensor; 2]) {
    let [s, moments, w, g] = given.map(|t| cuda.here(t));
    let (n, d, m) = (s.shape().rows(), s.shape().last(), Mask::new(cuda, dropout));
    let (ds, branch) = (cuda.floats(s.shape()), dropout.map(|_| cuda.floats(s.shape())));
    let [k0, k1] = m.key;
    cuda.rows(
        "norm_back",
        n,
        args![ds, branch, s, w, moments, g, m.slots, m.positions, d, k0, k1, m.below, m.scale],
    );
    let per = ROWS.max(n.div_ceil(65_535));
    let parts = n.div_ceil(per);
    let partial = [(); 2].map(|()| cuda.floats([parts, d]));
    let [dw, db] = &partial;
    let grid = [d.div_ceil(64), parts, 1];
    cuda.launch("norm_weights", grid, 64, args![dw, db, s, moments, g, n, d, per]);
    let sums = partial.map(|partial| {
        let sum = cuda.floats([d]);
        cuda.each("sum_total", d, args![sum, partial, d, parts]);
        sum
    });
    (ds, branch, sums)
}

/// `table` holds cos and sin of every position and pair of channels.
pub(crate) fn rotary(cuda: &Cuda, x: &Tensor, positions: &[u32], heads: usize, table: &[f64]) -> Tensor {
    let table: Vec<f32> = table.iter().map(|&v| v as f32).collect();
    let (y, positions, table) = (cuda.floats(x.shape()), cuda.send(positions), cuda.send(&table));
    let width = x.shape().last();
    cuda.each("rotary", x.len() / 2, args![y, x, positions, table, x.len() / 2, width, width / heads]);
    y
}

pub(crate) fn dropout(cuda: &Cuda, x: &Tensor, dropout: &Dropout) -> Tensor {
    let (y, n, width) = (cuda.floats(x.shape()), x.shape().rows(), x.shape().last());
    let (m, [k0, k1]) = (Mask::new(cuda, Some(dropout)), dropout.key);
    cuda.each("dropout", x.len(), args![y, x, m.slots, m.positions, n, width, k0, k1, m.below, m.scale]);
    y
}

pub(crate) fn gathered(cuda: &Cuda, table: &Tensor, rows: &[u32]) -> Tensor {
    let (width, ids) = (table.shape().last(), cuda.send(rows));
    let last = rows.iter().max().map_or(0, |&row| row as usize + 1);
    assert!(last <= table.shape().rows(), "gathered: row {} of {:?}", last - 1, table.shape());
    let y = cuda.floats([rows.len(), width]);
    cuda.each("gather", y.len(), args![y, table, ids, rows.len(), width]);
    y
}

pub(crate) fn scattered(cuda: &Cuda, table: Shape, rows: &[u32], values: &Tensor) -> Tensor {
    let (width, ids) = (table.last(), cuda.send(rows));
    let last = rows.iter().max().map_or(0, |&row| row as usize + 1);
    assert!(last <= table.rows() && values.len() == rows.len() * width, "scattered: {table:?}");
    let all = cuda.zeros(table);
    cuda.each("scatter", values.len(), args![all, values, ids, rows.len(), width]);
    all
}

/// The sums of rows that carry one id: `order` are the rows, those of sum `r` stand at `cuts[r]..cuts[r + 1]`.
pub(crate) fn add_by_row(cuda: &Cuda, values: &Tensor, order: &[u32], cuts: &[u32], width: usize) -> Tensor {
    let n = cuts.len() - 1;
    let (sums, order, cuts) = (cuda.floats([n, width]), cuda.send(order), cuda.send(cuts));
    cuda.each("add_by_row", n * width, args![sums, values, order, cuts, n, width]);
    sums
}

/// The rows of `a`, then those of `b`.
pub(crate) fn joined(cuda: &Cuda, a: &Tensor, b: &Tensor) -> Tensor {
    let (a, b) = (cuda.here(a), cuda.here(b));
    let both = cuda.floats([a.shape().rows() + b.shape().rows(), a.shape().last()]);
    cuda.copy(both.address(), a.address(), 4 * a.len());
    cuda.copy(both.address() + 4 * a.len() as u64, b.address(), 4 * b.len());
    both
}

/// `n` runs of `part` numbers: (how long a run is, where the part begins in it), in y and in x.
pub(crate) fn runs(
    cuda: &Cuda,
    y: &Tensor,
    x: &Tensor,
    (n, part): (usize, usize),
    places: [(usize, usize); 2],
) {
    let [(y_run, y_start), (x_run, x_start)] = places;
    assert!(y_start + part <= y_run && x_start + part <= x_run, "a part leaves its run");
    assert!(n * y_run <= y.len() && n * x_run <= x.len(), "more runs than there are numbers");
    let x = cuda.here(x);
    cuda.each("runs", n * part, args![y, x, n, part, y_run, y_start, x_run, x_start]);
}

fn code(pool: Pool) -> u32 {
    match pool {
        Pool::Mean => 0,
        Pool::First => 1,
        Pool::Max => 2,
    }
}

pub(crate) fn pool(cuda: &Cuda, x: &Tensor, starts: &[u32], pool: Pool) -> (Tensor, Option<Tensor>) {
    let (texts, d) = (starts.len() - 1, x.shape().last());
    let from = (pool == Pool::Max).then(|| cuda.words([texts, d]));
    let (y, starts) = (cuda.floats([texts, d]), cuda.send(starts));
    cuda.rows("pool", texts, args![y, from, x, starts, d, code(pool)]);
    (y, from)
}

pub(crate) fn pool_back(
    cuda: &Cuda,
    g: &Tensor,
    starts: &[u32],
    pool: Pool,
    from: Option<&Tensor>,
) -> Tensor {
    let (texts, d) = (starts.len() - 1, g.shape().last());
    let dx = cuda.floats([starts[texts] as usize, d]);
    let starts = cuda.send(starts);
    cuda.rows("pool_back", texts, args![dx, g, from, starts, d, code(pool)]);
    dx
}
