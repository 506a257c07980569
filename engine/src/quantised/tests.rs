//! The instructions against the plain code, the plain code against sums taken apart, and both against the product of
//! the numbers that were rounded.

use super::*;
use crate::{Engine, Stream, Tensor};

/// Sizes that fill no tile, no panel, no word and no block, and some that do.
const SIZES: [[usize; 3]; 9] = [
    [1, 1, 1],
    [2, 3, 5],
    [7, 47, 15],
    [8, 48, 16],
    [9, 49, 17],
    [64, 96, 64],
    [65, 50, 33],
    [130, 384, 100],
    [1, 200, 1538],
];

/// Numbers of both signs; a few are ten times as large, as outliers of a hidden state are.
fn draw(n: usize, tag: u64) -> Vec<f32> {
    let s = Stream::new(5, tag);
    let one = |i: u64| (s.uniform(2 * i) - 0.4) * if s.below(2 * i + 1, 50) == 0 { 10.0 } else { 1.0 };
    (0..n as u64).map(|i| one(i) as f32).collect()
}

fn product(
    engine: &Engine,
    precision: Precision,
    x: &[f32],
    w: &[f32],
    b: Option<&[f32]>,
    k: usize,
) -> Vec<f32> {
    let weight = Weight::new(engine, precision, w, k);
    let x = Tensor::from_vec([x.len() / k, k], x.to_vec());
    let b = b.map(|b| Tensor::from_vec([b.len()], b.to_vec()));
    linear(engine, &x, &weight, b.as_ref()).data::<f32>().to_vec()
}

#[test]
fn instructions_and_plain_code_agree_in_every_bit_for_any_number_of_threads() {
    for precision in Precision::ALL {
        let fast = Engine::poisoned(2);
        if !fast.support().has(precision) {
            println!(
                "this processor has no instructions for {}: plain code alone is tested",
                precision.name()
            );
        }
        for [m, n, k] in SIZES {
            let (x, w, b) = (draw(m * k, 1), draw(n * k, 2), draw(n, 3));
            let want = product(&Engine::unsupported(1), precision, &x, &w, Some(&b), k);
            for engine in [&fast, &Engine::new(1), &Engine::new(3)] {
                let got = product(engine, precision, &x, &w, Some(&b), k);
                assert!(got == want, "{} {m}x{n}x{k}", precision.name());
            }
        }
    }
}

/// Σ u q over integers taken out of the words one by one, in 64 bits.
#[test]
fn sums_of_int8_are_the_sums_of_their_integers() {
    let engine = Engine::new(1);
    for [m, n, k] in SIZES {
        let (x, w) = (draw(m * k, 4), draw(n * k, 5));
        let weight = Weight::new(&engine, Precision::Int8, &w, k);
        let mut words = vec![0u32; k.div_ceil(4)];
        for m in 0..m {
            let row = Int8::round(&x[m * k..(m + 1) * k], &mut words);
            let rounded = weight.round(&engine, &x[m * k..(m + 1) * k]);
            let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
            for n in 0..n {
                let w = &w[n * k..(n + 1) * k];
                let scale = w.iter().fold(0.0f32, |a, b| a.max(b.abs())) / 127.0;
                let q = w.iter().map(|w| (w / scale).round() as i64);
                let sum: i64 = bytes.iter().zip(q.clone()).map(|(&u, q)| i64::from(u) * q).sum();
                let want =
                    Int8::value(i32::try_from(sum).unwrap(), row, scale, scale * q.sum::<i64>() as f32);
                assert_eq!(weight.product(&rounded, 0, n), want, "{m} {n} {k}");
            }
        }
    }
}

/// x is off by half a step at most and w by half a scale:
/// |ŷ − y| ≤ Σ_k (s/2 |w_k| + t/2 |x̂_k|), where |x̂| ≤ |x| + s/2; and some rounding of f32.
#[test]
fn int8_errs_by_no_more_than_half_a_step_of_each_factor() {
    let engine = Engine::new(2);
    for [m, n, k] in SIZES {
        let (x, w, b) = (draw(m * k, 6), draw(n * k, 7), draw(n, 8));
        let got = product(&engine, Precision::Int8, &x, &w, Some(&b), k);
        for (at, &got) in got.iter().enumerate() {
            let (x, w) = (&x[at / n * k..][..k], &w[at % n * k..][..k]);
            let of = |v: &[f32], f: fn(f32, f32) -> f32| f64::from(v.iter().copied().reduce(f).unwrap());
            let half_step = (of(x, f32::max) - of(x, f32::min)) / 255.0 / 2.0;
            let half_scale = of(w, |a, b| a.abs().max(b.abs())).abs() / 127.0 / 2.0;
            let (mut want, mut bound) = (f64::from(b[at % n]), 0.0);
            for (&x, &w) in x.iter().zip(w) {
                let (x, w) = (f64::from(x), f64::from(w));
                want += x * w;
                bound += half_step * w.abs() + half_scale * (x.abs() + half_step) + 1e-6 * (x * w).abs();
            }
            let off = (f64::from(got) - want).abs();
            assert!(off <= bound + 1e-5, "{m}x{n}x{k}, output {at}: off by {off:e}, at most {bound:e}");
        }
    }
}

/// Each factor is off by 2⁻⁸ of itself at most, and a sum of n terms by n roundings of f32.
#[test]
fn bf16_errs_by_no_more_than_its_rounding() {
    let engine = Engine::new(2);
    for [m, n, k] in SIZES {
        let (x, w) = (draw(m * k, 9), draw(n * k, 10));
        let got = product(&engine, Precision::Bf16, &x, &w, None, k);
        for (at, &got) in got.iter().enumerate() {
            let pairs = x[at / n * k..][..k].iter().zip(&w[at % n * k..][..k]);
            let terms: Vec<f64> = pairs.map(|(&x, &w)| f64::from(x) * f64::from(w)).collect();
            let size: f64 = terms.iter().map(|t| t.abs()).sum();
            let bound = size * (2.01 * 2f64.powi(-8) + k as f64 * 2f64.powi(-24));
            let off = (f64::from(got) - terms.iter().sum::<f64>()).abs();
            assert!(off <= bound, "{m}x{n}x{k}, output {at}: off by {off:e}, at most {bound:e}");
        }
    }
}

#[test]
fn values_of_a_weight_are_near_and_bf16_is_the_nearest() {
    let engine = Engine::new(1);
    let (n, k) = (53, 7);
    let w = draw(n * k, 11);
    let int8 = Weight::new(&engine, Precision::Int8, &w, k).values();
    for (row, got) in w.chunks(k).zip(int8.chunks(k)) {
        let scale = row.iter().fold(0.0f32, |a, b| a.max(b.abs())) / 127.0;
        assert!(row.iter().zip(got).all(|(w, g)| (w - g).abs() <= 0.5001 * scale), "{row:?} {got:?}");
    }
    let bf16 = Weight::new(&engine, Precision::Bf16, &w, k).values();
    assert!(w.iter().zip(&bf16).all(|(&w, &g)| half::bf16::from_f32(w).to_f32() == g));
    let odd = [f32::NAN, f32::INFINITY, -f32::MAX, f32::from_bits(0x7f80_0001), -0.0, 1e-40];
    let got = Weight::new(&engine, Precision::Bf16, &odd, 1).values();
    for (&x, got) in odd.iter().zip(got) {
        let want = half::bf16::from_f32(x).to_f32();
        assert!(got.to_bits() == want.to_bits() || got.is_nan() && want.is_nan(), "{x} became {got}");
    }
}

#[test]
fn the_largest_sum_does_not_overflow() {
    let engine = Engine::new(1);
    assert!(
        255 * 127 * (WIDTH_MAX as i64) <= i64::from(i32::MAX)
            && 255 * 127 * (WIDTH_MAX as i64 + 1) > i64::from(i32::MAX)
    );
    // A row whose bytes are all 255 but one, times a row whose bytes are all 127.
    let mut x = vec![1.0f32; WIDTH_MAX];
    x[0] = 0.0;
    let w = vec![2.0f32; WIDTH_MAX];
    let y = product(&engine, Precision::Int8, &x, &w, None, WIDTH_MAX)[0];
    let want = 2.0 * (WIDTH_MAX - 1) as f32;
    assert!((y - want).abs() < 1e-5 * want, "{y}, not {want}");
}

#[test]
#[should_panic(expected = "a sum of 66312 products can overflow")]
fn a_sum_that_could_overflow_is_refused() {
    let w = vec![0.0; WIDTH_MAX + 1];
    let _ = Weight::new(&Engine::new(1), Precision::Int8, &w, WIDTH_MAX + 1);
}

/// Constant rows, rows of zeros, and steps too small for a normal number.
#[test]
fn rows_without_a_range_are_what_they_are() {
    let engine = Engine::new(1);
    let x = [[3.5f32; 6], [0.0; 6], [1e-38, 0.0, 0.0, 0.0, 0.0, 0.0], [-2.0; 6]].concat();
    let w = [[1.0f32; 6], [0.0; 6], [1e-40; 6]].concat();
    let y = product(&engine, Precision::Int8, &x, &w, None, 6);
    assert!((y[0] - 21.0).abs() < 1e-5 && (y[9] + 12.0).abs() < 1e-5, "{y:?}");
    assert!(y.iter().enumerate().all(|(i, y)| matches!(i, 0 | 9) || y.abs() < 1e-36), "{y:?}");
}

#[test]
fn a_number_that_is_not_finite_is_not_hidden() {
    let engine = Engine::new(1);
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for at in [0, 5, 18] {
            let mut x = draw(38, 12);
            x[at] = bad;
            for precision in Precision::ALL {
                let y = product(&engine, precision, &x, &draw(57, 13), None, 19);
                assert!(y[..3].iter().all(|y| !y.is_finite()), "{} {bad} at {at}: {y:?}", precision.name());
                assert!(y[3..].iter().all(|y| y.is_finite()), "the other row is whole");
            }
        }
    }
}
