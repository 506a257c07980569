//! The f32 product on AVX-512: C cut into tiles, and A and B into the pieces that keep each level of cache busy.
//!
//! ```text
//! for a band of rows, a strip of columns, a slab of terms          so that the packed copies are about 4 MiB
//!     pack the strip's panels of B, and A's if its terms lie apart      shared by all, in the third level of cache
//!     for each block of 96 × 384 numbers of C, in parallel                     this block: second level of cache
//!         for 384 terms at a time, for each panel of 48 columns                this panel of B: second level
//!             for each tile of 8 rows              8 rows of A: first level; 8 × 48 sums of C: registers
//! ```
//! Few rows of A against a B whose terms lie side by side, as a text against the weights of a layer, are turned:
//! Cᵀ = Bᵀ·Aᵀ packs the rows of A and not the weights, which are then read once.
//!
//! A is read where it lies if the terms of a row are side by side, since a tile spreads single numbers anyway; B is
//! packed because a tile reads 48 columns of one term. Blocks of C take no part in packing, so small ones cost nothing
//! and there are enough of them to keep every core at work to the end.
//!
//! A sum of at most [`DEPTH`] terms is made in registers in the order of k and then added to C: every number of C is
//! made by the same operations in the same order ([`super::reference`]), wherever it stands and however C is cut.

use super::pack::pack;
use super::tile::{COLUMNS, ROWS, Tile};
use super::{Job, Operand, Output, TASK, Team};
use std::ops::Range;

/// The most terms of a sum in registers.
const DEPTH: usize = 384;
/// Rows and columns of a block of C.
const BLOCK: [usize; 2] = [96, 384];
/// Numbers in the packed slabs, about: 4 MiB.
const SLAB: usize = 1 << 20;
/// Up to so many rows B is read where it lies if it can be.
const FEW_ROWS: usize = 2 * ROWS;
/// Up to so many rows a product is turned if B would have to be packed.
const TURNED_ROWS: usize = COLUMNS;
/// Blocks of C in a product that is large enough.
const TASKS: usize = 16;
/// Numbers in a cache line.
const LINE: usize = 16;

/// Terms that are summed before they are added to C: nearly equal parts of k, by k alone.
pub(super) fn depth(k: usize) -> usize {
    k.div_ceil(k.div_ceil(DEPTH).max(1)).next_multiple_of(8).max(8)
}

/// How a product is cut, from sizes and strides alone.
struct Plan {
    /// Terms of a sum in registers.
    depth: usize,
    /// The most rows, terms and columns that are packed at once.
    band: usize,
    slab: usize,
    strip: usize,
    pack_a: bool,
    pack_b: bool,
}

impl Plan {
    fn new([m, k, n]: [usize; 3], a: [usize; 2], b: [usize; 2]) -> Plan {
        let depth = depth(k);
        let pack_a = a[0] == 1 && a[1] != 1 && m > 1;
        let pack_b = b[1] != 1 || m > FEW_ROWS;
        let at_most = |size: usize, limit: usize, step: usize| size.min((limit / step).max(1) * step);
        let band = if pack_a { at_most(m, SLAB / depth, BLOCK[0]) } else { m };
        let strip = if pack_b { at_most(n, SLAB / depth, BLOCK[1]) } else { n };
        let mut plan = Plan { depth, band, slab: 1, strip, pack_a, pack_b };
        plan.slab = at_most(k, SLAB / (plan.packed_a() + plan.packed_b()).max(1), depth);
        plan
    }
    /// Numbers of a packed slab of A.
    fn packed_a(&self) -> usize {
        if self.pack_a { self.band.next_multiple_of(ROWS) * self.slab } else { 0 }
    }
    /// Numbers of a packed slab of B.
    fn packed_b(&self) -> usize {
        if self.pack_b { self.strip.next_multiple_of(COLUMNS) * self.slab } else { 0 }
    }
}

/// Numbers of scratch that [`multiply`] needs.
pub(super) fn scratch([m, k, n]: [usize; 3], a: [usize; 2], b: [usize; 2]) -> usize {
    let own = |plan: Plan| plan.packed_a() + plan.packed_b() + LINE;
    if is_turned(m, b) {
        return m * n + own(Plan::new([n, k, m], [b[1], b[0]], [a[1], a[0]]));
    }
    own(Plan::new([m, k, n], a, b))
}

/// The most that any product of up to this size needs, however its matrices lie.
pub(super) fn scratch_most([m, k, n]: [usize; 3]) -> usize {
    let slab = |count: usize, step: usize| (count.next_multiple_of(step) * k).min(SLAB);
    let straight = slab(m, ROWS) + slab(n, COLUMNS);
    let turned = m.min(TURNED_ROWS) * n + slab(n, ROWS) + slab(m.min(TURNED_ROWS), COLUMNS);
    straight.max(turned) + LINE
}

fn is_turned(m: usize, b: [usize; 2]) -> bool {
    m <= TURNED_ROWS && b[0] == 1 && b[1] != 1
}

/// The parts of a range, `step` long, the last perhaps shorter.
fn cuts(range: Range<usize>, step: usize) -> impl Iterator<Item = Range<usize>> {
    (0..range.len().div_ceil(step)).map(move |i| part(&range, step, i))
}

/// The `i`-th of them.
fn part(range: &Range<usize>, step: usize, i: usize) -> Range<usize> {
    let start = range.start + i * step;
    start..range.end.min(start + step)
}

/// Rows and columns of a block of C: halved, the longer side first, until there are enough for many workers.
fn block([m, k, n]: [usize; 3]) -> [usize; 2] {
    let [mut rows, mut columns] = BLOCK;
    loop {
        let (wide, narrow) = (columns > COLUMNS, rows > ROWS);
        let enough = m.div_ceil(rows) * n.div_ceil(columns) >= TASKS;
        if enough || rows.min(m) * columns.min(n) * k <= 2 * TASK || !(wide || narrow) {
            return [rows, columns];
        }
        if wide && (columns.min(n) >= rows.min(m) || !narrow) {
            columns = (columns / 2).next_multiple_of(COLUMNS);
        } else {
            rows = (rows / 2).next_multiple_of(ROWS);
        }
    }
}

/// C ← α·A·B + β·C, for k > 0 and C not empty.
///
/// # Panics
/// If the scratch is shorter than [`scratch`].
///
/// # Safety
/// The processor has AVX-512F, and what [`Job`] promises holds.
pub(super) unsafe fn multiply(team: &Team<'_>, job: &Job<'_, f32>, scratch: &mut [f32]) {
    if !is_turned(job.size[0], job.b.strides) {
        // SAFETY: by contract.
        return unsafe { multiply_straight(team, job, scratch) };
    }
    let [m, k, n] = job.size;
    let (turned, scratch) = scratch.split_at_mut(m * n);
    if job.beta != 0.0 {
        for (i, to) in turned.iter_mut().enumerate() {
            // SAFETY: a number of C.
            *to = unsafe { *job.c.at(i % m * n + i / m) };
        }
    }
    let turned = Output(turned.as_mut_ptr());
    let turn = |x: Operand<f32>| Operand { start: x.start, strides: [x.strides[1], x.strides[0]] };
    // Rows and columns are those of Cᵀ.
    let finished = |rows: Range<usize>, columns: Range<usize>| {
        for i in columns.clone() {
            for j in rows.clone() {
                // SAFETY: a number of C and the same of Cᵀ, written by the task that calls us.
                unsafe { *job.c.at(i * n + j) = *turned.at(j * m + i) }
            }
        }
        (job.finished)(columns, rows);
    };
    let size = [n, k, m];
    let job = Job { size, a: turn(job.b), b: turn(job.a), c: turned, finished: &finished, ..*job };
    // SAFETY: by contract; Cᵀ lies in the scratch, which is ours and aliases neither factor.
    unsafe { multiply_straight(team, &job, scratch) }
}

/// # Safety
/// As [`multiply`].
unsafe fn multiply_straight(team: &Team<'_>, job: &Job<'_, f32>, scratch: &mut [f32]) {
    let plan = Plan::new(job.size, job.a.strides, job.b.strides);
    let start = scratch.as_ptr().align_offset(LINE * size_of::<f32>());
    let (packed_a, packed_b) = scratch[start..].split_at_mut(plan.packed_a());
    assert!(packed_b.len() >= plan.packed_b(), "gemm: the scratch is too short");
    let (packed_a, packed_b) = (packed_a.as_mut_ptr(), packed_b.as_mut_ptr());
    let [m, k, n] = job.size;
    for rows in cuts(0..m, plan.band) {
        for columns in cuts(0..n, plan.strip) {
            for terms in cuts(0..k, plan.slab) {
                let (rows, columns) = (rows.clone(), columns.clone());
                let slab = Slab { job, plan: &plan, rows, terms, columns, packed_a, packed_b };
                // SAFETY: by contract, and both scratches are as long as the plan says.
                unsafe { slab.multiply(team) }
            }
        }
    }
}

/// One turn of the outer loops: a part of C, and a part of the terms of its numbers.
struct Slab<'a> {
    job: &'a Job<'a, f32>,
    plan: &'a Plan,
    rows: Range<usize>,
    terms: Range<usize>,
    columns: Range<usize>,
    packed_a: *mut f32,
    packed_b: *mut f32,
}

// SAFETY: tasks that run at once write different panels, or different blocks of C.
unsafe impl Sync for Slab<'_> {}

impl Slab<'_> {
    /// # Safety
    /// As [`multiply`]; `packed_a` and `packed_b` have the lengths that the plan says.
    unsafe fn multiply(&self, team: &Team<'_>) {
        let (rows, terms, columns) = (&self.rows, &self.terms, &self.columns);
        let [height, width] = block([rows.len(), terms.len(), columns.len()]);
        let (down, across) = (rows.len().div_ceil(height), columns.len().div_ceil(width));
        // A panel of B that only one block reads is packed by that block.
        let shared = self.plan.pack_b && down > 1;
        let packs_a = if self.plan.pack_a { rows.len().div_ceil(BLOCK[0]) } else { 0 };
        let packs_b = if shared { columns.len().div_ceil(COLUMNS) } else { 0 };
        team.run(packs_a + packs_b, &|task| {
            // SAFETY: by contract; every task writes panels of its own.
            unsafe {
                match task.checked_sub(packs_a) {
                    None => self.pack_a(part(rows, BLOCK[0], task)),
                    Some(task) => self.pack_b(part(columns, COLUMNS, task)),
                }
            }
        });
        // Blocks below each other come one after another: a worker finds their panels of B in its cache.
        team.run(down * across, &|task| {
            let (rows, columns) = (part(rows, height, task % down), part(columns, width, task / down));
            // SAFETY: by contract; every task writes a block of its own, and its own panels if they are not shared.
            unsafe {
                if self.plan.pack_b && !shared {
                    self.pack_b(columns.clone());
                }
                self.block(rows.clone(), columns.clone());
            }
            if terms.end == self.job.size[1] {
                (self.job.finished)(rows, columns);
            }
        });
    }

    /// # Safety
    /// As [`Slab::multiply`]; `rows` begins at a panel.
    unsafe fn pack_a(&self, rows: Range<usize>) {
        let [down, right] = self.job.a.strides;
        for terms in cuts(self.terms.clone(), self.plan.depth) {
            // SAFETY: rows and terms are A's, and this slab's.
            unsafe {
                let from = self.job.a.start.add(rows.start * down + terms.start * right);
                pack(
                    from,
                    [right, down],
                    [terms.len(), rows.len()],
                    self.panel_of_a(&terms, rows.start),
                    ROWS,
                );
            }
        }
    }

    /// # Safety
    /// As [`Slab::multiply`]; `columns` begins at a panel.
    unsafe fn pack_b(&self, columns: Range<usize>) {
        let [down, right] = self.job.b.strides;
        for terms in cuts(self.terms.clone(), self.plan.depth) {
            // SAFETY: columns and terms are B's, and this slab's.
            unsafe {
                let from = self.job.b.start.add(terms.start * down + columns.start * right);
                let to = self.panel_of_b(&terms, columns.start);
                pack(from, [down, right], [terms.len(), columns.len()], to, COLUMNS);
            }
        }
    }

    /// Where the panel of A that begins with this row has these terms.
    fn panel_of_a(&self, terms: &Range<usize>, row: usize) -> *mut f32 {
        let height = self.rows.len().next_multiple_of(ROWS);
        let place = (terms.start - self.terms.start) * height + (row - self.rows.start) * terms.len();
        self.packed_a.wrapping_add(place)
    }

    /// Where the panel of B that begins with this column has these terms.
    fn panel_of_b(&self, terms: &Range<usize>, column: usize) -> *mut f32 {
        let width = self.columns.len().next_multiple_of(COLUMNS);
        let place = (terms.start - self.terms.start) * width + (column - self.columns.start) * terms.len();
        self.packed_b.wrapping_add(place)
    }

    /// Adds this slab's terms to a block of C.
    ///
    /// # Safety
    /// As [`Slab::multiply`]; what is to be packed is.
    unsafe fn block(&self, rows: Range<usize>, columns: Range<usize>) {
        let Job { size: [_, _, n], alpha, a, b, beta, c, .. } = *self.job;
        for terms in cuts(self.terms.clone(), self.plan.depth) {
            let beta = if terms.start == 0 { beta } else { 1.0 };
            for j in columns.clone().step_by(COLUMNS) {
                let (b, b_stride) = match self.plan.pack_b {
                    true => (self.panel_of_b(&terms, j).cast_const(), COLUMNS),
                    false => (b.start.wrapping_add(terms.start * b.strides[0] + j), b.strides[0]),
                };
                for i in rows.clone().step_by(ROWS) {
                    let (a, a_strides) = match self.plan.pack_a {
                        true => (self.panel_of_a(&terms, i).cast_const(), [1, ROWS]),
                        false => {
                            let place = i * a.strides[0] + terms.start * a.strides[1];
                            (a.start.wrapping_add(place), a.strides)
                        }
                    };
                    let (rows, columns) = (ROWS.min(rows.end - i), COLUMNS.min(columns.end - j));
                    // SAFETY: the tile lies in C, its factors in A and B or in their packed panels.
                    unsafe {
                        let (k, c, c_stride) = (terms.len(), c.at(i * n + j), n);
                        let tile = Tile { k, a, a_strides, b, b_stride, c, c_stride, alpha, beta };
                        tile.run(rows, columns);
                    }
                }
            }
        }
    }
}
