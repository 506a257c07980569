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
//! O(n). From the second pass on few rows change sides, so m₀ and m₁ are brought up to date with those that do; at
//! the start all lie on side 0 and m₀ is the sum of all, which the parent knows as one of its own sums. A pass thus
//! reads every row once and does 2·n·d flops: memory bounds it. Rows are read in rising order of their ids, and
//! summed in chunks cut by size, so the sides do not depend on the number of threads.

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
    /// As [`Engine::map`], vectorised.
    fn map<R: Send>(self, n: usize, f: impl Fn(usize) -> R + Sync) -> Vec<R> {
        match self {
            Team::Together(engine) => engine.map(n, |i| {
                engine.vectorised(
                    #[inline(always)]
                    || f(i),
                )
            }),
            Team::Alone(engine) => engine.vectorised(
                #[inline(always)]
                || (0..n).map(f).collect(),
            ),
        }
    }
    /// As [`Engine::chunks`].
    fn chunks<T: Send>(self, out: &mut [T], f: impl Fn(usize, &mut [T]) + Sync) {
        match self {
            Team::Together(engine) => engine.chunks(out, CHUNK, f),
            Team::Alone(engine) => engine.vectorised(
                #[inline(always)]
                || out.chunks_mut(CHUNK).enumerate().for_each(|(c, out)| f(c, out)),
            ),
        }
    }
}

/// Rows seen as points of the unit sphere: `u_r = scale[r] · x_r`.
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
    engine.chunks(
        &mut scale,
        CHUNK,
        #[inline(always)]
        |chunk, scale| {
            for (i, scale) in scale.iter_mut().enumerate() {
                let x = rows.row(chunk * CHUNK + i);
                let norm = dot(x, x).sqrt();
                *scale = if norm > 0.0 { 1.0 / norm } else { 0.0 };
            }
        },
    );
    scale
}

/// Σ u_r over the rows `ids`.
pub fn sum(team: Team<'_>, sphere: Sphere<'_>, ids: &[u32]) -> Vec<f64> {
    let all = vec![1i8; ids.len()];
    signed_sum(team, sphere, ids, &all)
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
    /// m₀ and m₁.
    pub sums: [Vec<f64>; 2],
    /// The centroids of the last pass.
    pub centroids: [Vec<f32>; 2],
}

/// Splits the rows `ids` (rising), whose [`sum()`] is `total`, in two, starting from the centroids `start` (two of
/// the ids).
pub fn split(team: Team<'_>, sphere: Sphere<'_>, ids: &[u32], total: Vec<f64>, start: [u32; 2]) -> Split {
    let unit = |id: u32| -> Vec<f32> {
        let scale = sphere.scale[id as usize];
        sphere.rows.row(id as usize).iter().map(|x| scale * x).collect()
    };
    let nothing = vec![0.0; total.len()];
    let mut result = Split {
        second: vec![false; ids.len()],
        passes: 0,
        objective: -2.0,
        sums: [total, nothing],
        centroids: start.map(unit),
    };
    let (mut words, mut moves) = (vec![0; ids.len()], vec![0; ids.len()]);
    loop {
        let before = result.objective;
        project(team, sphere, ids, &result.centroids, &mut words);
        divide(&words, &mut result.second, &mut moves);
        let [first, second] = &mut result.sums;
        for ((first, second), moved) in
            first.iter_mut().zip(second).zip(signed_sum(team, sphere, ids, &moves))
        {
            *first -= moved;
            *second += moved;
        }
        let norms = [0, 1].map(|s| result.sums[s].iter().map(|x| x * x).sum::<f64>().sqrt());
        for ((centroid, sum), norm) in result.centroids.iter_mut().zip(&result.sums).zip(norms) {
            let scale = if norm > 0.0 { 1.0 / norm } else { 0.0 };
            *centroid = sum.iter().map(|x| (x * scale) as f32).collect();
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

/// g of every row, as a word that ties by id.
fn project(team: Team<'_>, sphere: Sphere<'_>, ids: &[u32], centroids: &[Vec<f32>; 2], words: &mut [u64]) {
    let across: Vec<f32> = centroids[1].iter().zip(&centroids[0]).map(|(b, a)| b - a).collect();
    team.chunks(
        words,
        #[inline(always)]
        |c, words| {
            for (word, &id) in words.iter_mut().zip(piece(ids, c)) {
                let g = sphere.scale[id as usize] * dot(sphere.rows.row(id as usize), &across);
                *word = rising(g, id);
            }
        },
    );
}

/// The rows with the ⌈n/2⌉ smallest words go to side 0. `moves`: 1 for a row that comes to side 1, −1 for one that
/// leaves it.
fn divide(words: &[u64], second: &mut [bool], moves: &mut [i8]) {
    let mut selected = words.to_vec();
    let (_, &mut last_of_first, _) = selected.select_nth_unstable(words.len().div_ceil(2) - 1);
    for ((second, moved), &word) in second.iter_mut().zip(moves).zip(words) {
        let side = word > last_of_first;
        *moved = i8::from(side) - i8::from(*second);
        *second = side;
    }
}

/// Σ signs_r · u_r, signs 1, 0 or −1; only rows with a sign are read.
fn signed_sum(team: Team<'_>, sphere: Sphere<'_>, ids: &[u32], signs: &[i8]) -> Vec<f64> {
    let width = sphere.rows.width;
    let chunks = team.map(
        ids.len().div_ceil(CHUNK),
        #[inline(always)]
        |c| {
            let mut sum = vec![0.0f32; width];
            for (&id, &sign) in piece(ids, c).iter().zip(piece(signs, c)).filter(|(_, sign)| **sign != 0) {
                let scale = f32::from(sign) * sphere.scale[id as usize];
                add_scaled(&mut sum, scale, sphere.rows.row(id as usize));
            }
            sum
        },
    );
    let mut total = vec![0.0f64; width];
    for chunk in &chunks {
        total.iter_mut().zip(chunk).for_each(|(total, &sum)| *total += f64::from(sum));
    }
    total
}

/// Chunk `c` of a slice.
#[inline(always)]
fn piece<T>(all: &[T], c: usize) -> &[T] {
    &all[c * CHUNK..((c + 1) * CHUNK).min(all.len())]
}

#[cfg(test)]
mod tests {
    use engine::Stream;

    use super::*;

    fn halves(engine: &Engine, rows: Matrix<'_>, ids: &[u32], start: [u32; 2]) -> Split {
        let (team, scale) = (Team::Alone(engine), scales(engine, rows));
        let sphere = Sphere { rows, scale: &scale };
        split(team, sphere, ids, sum(team, sphere, ids), start)
    }

    /// The published rule word for word: sort all, sum both sides anew in every pass.
    fn published(rows: Matrix<'_>, start: [u32; 2]) -> (Vec<bool>, u32, f64) {
        let unit = |i: usize| -> Vec<f64> {
            let norm = rows.row(i).iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
            rows.row(i).iter().map(|x| f64::from(*x) / norm).collect()
        };
        let units: Vec<Vec<f64>> = (0..rows.rows()).map(unit).collect();
        let mut centroids = start.map(|i| units[i as usize].clone());
        let (mut passes, mut objective) = (0, -2.0);
        loop {
            let across = |u: &Vec<f64>| -> f64 {
                (0..u.len()).map(|j| u[j] * (centroids[1][j] - centroids[0][j])).sum()
            };
            let mut order: Vec<usize> = (0..units.len()).collect();
            order.sort_by(|&a, &b| across(&units[a]).total_cmp(&across(&units[b])));
            let (first, second) = order.split_at(units.len().div_ceil(2));
            let sides = [first, second].map(|side| {
                let mut sum = vec![0.0; rows.width];
                side.iter().for_each(|&i| sum.iter_mut().zip(&units[i]).for_each(|(s, u)| *s += u));
                let norm = sum.iter().map(|x| x * x).sum::<f64>().sqrt();
                (norm, sum.iter().map(|x| x / norm).collect::<Vec<f64>>())
            });
            let now = (sides[0].0 + sides[1].0) / units.len() as f64;
            passes += 1;
            if now - objective < TOLERANCE {
                let mut sides = vec![false; units.len()];
                second.iter().for_each(|&i| sides[i] = true);
                return (sides, passes, now);
            }
            (objective, centroids) = (now, sides.map(|side| side.1));
        }
    }

    /// The objective and the centroids were computed by hand from the published rule.
    #[test]
    fn seven_rows_split_as_the_published_rule_says() {
        let engine = Engine::new(1);
        let rows = [1.0, 0.0, 0.9, 0.1, 0.8, 0.2, 0.0, 1.0, 0.1, 0.9, 0.6, 0.4, 0.3, 0.7];
        let rows = Matrix::new(&rows, 2);
        let ids: Vec<u32> = (0..7).collect();
        let got = halves(&engine, rows, &ids, [0, 1]);
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
            let ids: Vec<u32> = (0..n).collect();
            let got = halves(&engine, rows, &ids, [0, 1]);
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
            let got = halves(&engine, rows, &[0, 1, 2, 3, 4], [0, 3]);
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
            let ids: Vec<u32> = (0..40).collect();
            halves(&engine, rows, &ids, [3, 11]).second
        };
        assert_eq!(sides(|_| 1.0), sides(|i| if i % 2 == 0 { 4.0 } else { 0.25 }));
    }

    #[test]
    fn moving_sums_split_as_summing_anew_does() {
        // Several chunks of rows; random directions, so that rows change sides in many passes.
        let (n, width) = (2500, 12);
        let stream = Stream::new(9, 1);
        let data: Vec<f32> = (0..n * width).map(|i| stream.uniform(i as u64) as f32 - 0.5).collect();
        let (engine, rows) = (Engine::new(2), Matrix::new(&data, width));
        let ids: Vec<u32> = (0..n as u32).collect();
        let (sides, passes, objective) = published(rows, [7, 1900]);
        let scale = scales(&engine, rows);
        let sphere = Sphere { rows, scale: &scale };
        assert!(passes > 4, "{passes} passes prove little");
        for team in [Team::Alone(&engine), Team::Together(&engine)] {
            let got = split(team, sphere, &ids, sum(team, sphere, &ids), [7, 1900]);
            assert_eq!((&got.second, got.passes), (&sides, passes));
            assert!((got.objective - objective).abs() < 1e-6, "{} {objective}", got.objective);
            for side in [false, true] {
                let members: Vec<u32> =
                    ids.iter().copied().filter(|&i| got.second[i as usize] == side).collect();
                let fresh = sum(team, sphere, &members);
                let worst = fresh.iter().zip(&got.sums[usize::from(side)]).map(|(a, b)| (a - b).abs());
                assert!(worst.fold(0.0, f64::max) < 1e-3);
            }
        }
    }
}
