//! Is the difference between two systems more than the luck of the queries? (Koehn, "Statistical significance
//! tests for machine translation evaluation", EMNLP 2004; Efron's percentile interval.)
//!
//! ```text
//! d_i = a_i − b_i
//! resample r: the mean of d at n indices drawn with replacement;  interval: 2.5 % … 97.5 % of these means
//! ```

use engine::Stream;
use engine::random::philox;

/// A mean difference and where 95 % of its resamples lie.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// The mean of a − b.
    pub difference: f64,
    /// The 2.5th percentile.
    pub low: f64,
    /// The 97.5th percentile.
    pub high: f64,
}

/// The mean of `a[i] − b[i]` over queries `i`, with its 95 % interval from `resamples` bootstrap samples.
/// Resample `r` draws from `stream` at step `r`. For metrics that are means; the gains of PSP and PSnDCG are
/// only half of a ratio.
///
/// # Panics
/// If the two differ in length, or there is no query or no resample.
pub fn paired_bootstrap(a: &[f64], b: &[f64], resamples: usize, stream: Stream) -> Interval {
    assert_eq!(a.len(), b.len(), "paired_bootstrap: both systems must answer the same queries");
    assert!(!a.is_empty() && resamples > 0, "paired_bootstrap: no queries or no resamples");
    let differences: Vec<f64> = a.iter().zip(b).map(|(x, y)| x - y).collect();
    let mut means: Vec<f64> =
        (0..resamples).map(|r| resampled_mean(&differences, stream.at_step(r as u64))).collect();
    means.sort_unstable_by(f64::total_cmp);
    let difference = differences.iter().sum::<f64>() / differences.len() as f64;
    Interval { difference, low: quantile(&means, 0.025), high: quantile(&means, 0.975) }
}

/// The mean of as many values drawn with replacement; each Philox block gives two indices.
fn resampled_mean(values: &[f64], stream: Stream) -> f64 {
    let (key, n) = (stream.key(), values.len() as u64);
    let draw = |high: u32, low: u32| {
        let wide = u64::from(high) << 32 | u64::from(low);
        values[((u128::from(wide) * u128::from(n)) >> 64) as usize]
    };
    let mut sum = 0.0;
    for block in 0..n / 2 {
        let x = philox([block as u32, (block >> 32) as u32, 0, 0], key);
        sum += draw(x[0], x[1]) + draw(x[2], x[3]);
    }
    if n % 2 == 1 {
        let x = philox([(n / 2) as u32, (n >> 33) as u32, 0, 0], key);
        sum += draw(x[0], x[1]);
    }
    sum / n as f64
}

/// The quantile of sorted values, linear between neighbours.
pub(super) fn quantile(sorted: &[f64], q: f64) -> f64 {
    let place = q * (sorted.len() - 1) as f64;
    let (below, share) = (place.floor() as usize, place.fract());
    let above = sorted[(below + 1).min(sorted.len() - 1)];
    sorted[below] + share * (above - sorted[below])
}
