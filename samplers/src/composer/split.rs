//! One balanced split: spherical 2-means in which both sides get the same number of rows.
//!
//! ```text
//! u_r = x_r / |x_r|                                        n rows on the sphere
//! start    c₀, c₁ = two of the rows
//! repeat   g_r = u_r · (c₁ − c₀)
//!          side 0 = the ⌈n/2⌉ rows with the smallest g (ties by id), side 1 = the rest
//!          m_s = Σ_{r ∈ s} u_r        c_s = m_s / |m_s|
//!          O = (Σ_{r∈0} u_r·c₀ + Σ_{r∈1} u_r·c₁) / n = (|m₀| + |m₁|) / n
//! until    O grows by less than 10⁻⁴
//! ```
//! The published code (pyxclib, used by NGAME) sorts g; a selection of the ⌈n/2⌉-th finds the same sides in
//! O(n). A pass reads every row twice and does 4·n·d flops: memory bounds it. Rows are read in place, in
//! rising order of their ids, and summed in chunks cut by size, so the sides do not depend on the number of
//! threads.

use engine::Engine;

use crate::matrix::{Matrix, add_scaled, dot};
use crate::ranking::rising;

/// Rows of a chunk: summed in f32; chunks are added up in f64.
const CHUNK: usize = 1024;
/// The gain of the objective below which the split is done.
const TOLERANCE: f64 = 1e-4;

/// Who works on a split.
#[derive(Clone, Copy, Debug)]
pub enum Team<'a> {
    /// All threads share the chunks of one split: for few, large splits.
    Together(&'a Engine),
    /// The calling thread does it alone: for many small splits that run side by side.
    Alone(&'a Engine),
}

impl Team<'_> {
    fn map<R: Send>(self, n: usize, f: impl Fn(usize) -> R + Sync) -> Vec<R> {
        match self {
            Team::Together(engine) => engine.map(n, |i| engine.vectorised(|| f(i))),
            Team::Alone(engine) => (0..n).map(|i| engine.vectorised(|| f(i))).collect(),
        }
    }
}

/// Rows seen as points of the unit sphere, without a copy: `u_r = scale[r] · x_r`.
#[derive(Clone, Copy, Debug)]
pub struct Sphere<'a> {
    /// The rows x, of any length.
    pub rows: Matrix<'a>,
    /// 1/|x_r|, and 0 for a zero row.
    pub scale: &'a [f32],
}

/// The scale of each row of a [`Sphere`].
pub fn scales(engine: &Engine, rows: Matrix<'_>) -> Vec<f32> {
    let mut scale = vec![0.0f32; rows.rows()];
    engine.chunks(&mut scale, CHUNK, |chunk, scale| {
        engine.vectorised(|| {
            for (i, scale) in scale.iter_mut().enumerate() {
                let x = rows.row(chunk * CHUNK + i);
                let norm = dot(x, x).sqrt();
                *scale = if norm > 0.0 { 1.0 / norm } else { 0.0 };
            }
        });
    });
    scale
}

/// Two halves of a set of rows.
#[derive(Clone, Debug)]
pub struct Split {
    /// For each of the ids given: does it lie on side 1?
    pub second: Vec<bool>,
    /// How many times the rows were divided.
    pub passes: u32,
    /// O of the last pass: the mean cosine of a row and its centroid.
    pub objective: f64,
    /// The centroids of the last pass.
    pub centroids: [Vec<f32>; 2],
}

/// Splits the rows `ids` (rising) in two, starting from the centroids `start` (two of the ids).
pub fn split(team: Team<'_>, sphere: Sphere<'_>, ids: &[u32], start: [u32; 2]) -> Split {
    let unit = |id: u32| -> Vec<f32> {
        let scale = sphere.scale[id as usize];
        sphere.rows.row(id as usize).iter().map(|x| scale * x).collect()
    };
    let mut result =
        Split { second: vec![false; ids.len()], passes: 0, objective: -2.0, centroids: start.map(unit) };
    loop {
        let before = result.objective;
        divide(team, sphere, ids, &result.centroids, &mut result.second);
        let sums = side_sums(team, sphere, ids, &result.second);
        let norms = [0, 1].map(|s| sums[s].iter().map(|x| x * x).sum::<f64>().sqrt());
        for s in 0..2 {
            let scale = if norms[s] > 0.0 { 1.0 / norms[s] } else { 0.0 };
            result.centroids[s] = sums[s].iter().map(|x| (x * scale) as f32).collect();
        }
        result.objective = (norms[0] + norms[1]) / ids.len() as f64;
        result.passes += 1;
        // NaN in the rows makes the objective NaN: no gain, and the split ends.
        let gained = result.objective - before >= TOLERANCE;
        if !gained {
            return result;
        }
    }
}

/// The rows with the ⌈n/2⌉ smallest g go to side 0.
fn divide(team: Team<'_>, sphere: Sphere<'_>, ids: &[u32], centroids: &[Vec<f32>; 2], second: &mut [bool]) {
    let across: Vec<f32> = centroids[1].iter().zip(&centroids[0]).map(|(b, a)| b - a).collect();
    let chunks = team.map(ids.len().div_ceil(CHUNK), |c| {
        let mut words = Vec::with_capacity(CHUNK);
        for &id in piece(ids, c) {
            let g = sphere.scale[id as usize] * dot(sphere.rows.row(id as usize), &across);
            words.push(rising(g, id));
        }
        words
    });
    let words = chunks.concat();
    let mut selected = words.clone();
    let (_, &mut last_of_first, _) = selected.select_nth_unstable(ids.len().div_ceil(2) - 1);
    for (second, word) in second.iter_mut().zip(words) {
        *second = word > last_of_first;
    }
}

/// m₀ and m₁.
fn side_sums(team: Team<'_>, sphere: Sphere<'_>, ids: &[u32], second: &[bool]) -> [Vec<f64>; 2] {
    let width = sphere.rows.width;
    let chunks = team.map(ids.len().div_ceil(CHUNK), |c| {
        let mut sums = [vec![0.0f32; width], vec![0.0f32; width]];
        for (&id, &second) in piece(ids, c).iter().zip(piece(second, c)) {
            let (scale, x) = (sphere.scale[id as usize], sphere.rows.row(id as usize));
            add_scaled(&mut sums[usize::from(second)], scale, x);
        }
        sums
    });
    let mut total = [vec![0.0f64; width], vec![0.0f64; width]];
    for chunk in &chunks {
        for (total, sum) in total.iter_mut().zip(chunk) {
            for (total, &sum) in total.iter_mut().zip(sum) {
                *total += f64::from(sum);
            }
        }
    }
    total
}

/// Chunk `c` of a slice.
fn piece<T>(all: &[T], c: usize) -> &[T] {
    &all[c * CHUNK..((c + 1) * CHUNK).min(all.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The objective and the centroids were computed by hand from the published rule.
    #[test]
    fn seven_rows_split_as_the_published_rule_says() {
        let engine = Engine::new(1);
        let rows = [1.0, 0.0, 0.9, 0.1, 0.8, 0.2, 0.0, 1.0, 0.1, 0.9, 0.6, 0.4, 0.3, 0.7];
        let rows = Matrix::new(&rows, 2);
        let scale = scales(&engine, rows);
        let ids: Vec<u32> = (0..7).collect();
        let got = split(Team::Alone(&engine), Sphere { rows, scale: &scale }, &ids, [0, 1]);
        assert_eq!(got.second, [false, false, false, true, true, false, true]);
        assert_eq!(got.passes, 2);
        assert!((got.objective - 0.979_921).abs() < 1e-6, "{}", got.objective);
        let want = [[0.972_584, 0.232_551], [0.170_598, 0.985_341]];
        for (c, want) in got.centroids.iter().flatten().zip(want.iter().flatten()) {
            assert!((c - want).abs() < 1e-6, "{:?}", got.centroids);
        }
    }

    #[test]
    fn equal_rows_are_halved_by_id() {
        let engine = Engine::new(1);
        for n in [2u32, 3, 9] {
            let data = vec![0.5; 3 * n as usize];
            let rows = Matrix::new(&data, 3);
            let scale = scales(&engine, rows);
            let ids: Vec<u32> = (0..n).collect();
            let got = split(Team::Alone(&engine), Sphere { rows, scale: &scale }, &ids, [0, 1]);
            let want: Vec<bool> = ids.iter().map(|&id| id >= n.div_ceil(2)).collect();
            assert_eq!(got.second, want);
        }
    }

    #[test]
    fn zero_rows_and_nan_end_the_split_in_balance() {
        let engine = Engine::new(1);
        for bad in [0.0, f32::NAN] {
            let data = vec![bad; 10];
            let rows = Matrix::new(&data, 2);
            let scale = scales(&engine, rows);
            let got = split(Team::Alone(&engine), Sphere { rows, scale: &scale }, &[0, 1, 2, 3, 4], [0, 3]);
            assert_eq!(got.second, [false, false, false, true, true]);
        }
    }

    #[test]
    fn the_length_of_a_row_does_not_matter() {
        let engine = Engine::new(1);
        let direction = |i: usize| [(i as f32 * 0.7).sin(), (i as f32 * 0.7).cos()];
        let sides = |length: fn(usize) -> f32| {
            let data: Vec<f32> = (0..40).flat_map(|i| direction(i).map(|x| x * length(i))).collect();
            let rows = Matrix::new(&data, 2);
            let scale = scales(&engine, rows);
            let ids: Vec<u32> = (0..40).collect();
            split(Team::Alone(&engine), Sphere { rows, scale: &scale }, &ids, [3, 11]).second
        };
        assert_eq!(sides(|_| 1.0), sides(|i| if i % 2 == 0 { 4.0 } else { 0.25 }));
    }
}
