//! Where each stands at the end: means over seeds, and differences paired by seed.

use super::heat::Finish;

/// An entrant and its finals.
#[derive(Clone, Debug)]
pub struct Standing {
    /// Who.
    pub name: String,
    /// One heat a seed, by seed.
    pub finals: Vec<Finish>,
}

/// A paired difference between two entrants.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Versus {
    /// The mean difference.
    pub mean: f64,
    /// Half of the 95 % interval of the mean, by Student's t over the seeds; infinite for one seed.
    pub half: f64,
}

impl Versus {
    /// Whether the interval leaves 0 out.
    pub fn is_clear(&self) -> bool {
        self.mean.abs() > self.half
    }
}

impl Standing {
    /// A metric of the test queries for each seed.
    pub fn test(&self, metric: &str) -> Vec<f64> {
        self.finals.iter().map(|heat| heat.test.get(metric).copied().unwrap_or(f64::NAN)).collect()
    }
    /// The mean of what `of` says of each final.
    pub fn mean(&self, of: impl Fn(&Finish) -> f64) -> f64 {
        self.finals.iter().map(of).sum::<f64>() / self.finals.len().max(1) as f64
    }
    /// How a metric of the test queries differs from another's, seed by seed.
    pub fn versus(&self, other: &Standing, metric: &str) -> Versus {
        paired(&self.test(metric), &other.test(metric))
    }
}

/// The 97.5 % quantile of Student's t for so many degrees of freedom, from 1; the last one, which is a little too wide,
/// beyond.
const T: [f64; 30] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
];

/// The mean of a − b and its 95 % interval, by Student's t.
///
/// # Panics
/// If there are not as many of one as of the other.
#[track_caller]
pub fn paired(a: &[f64], b: &[f64]) -> Versus {
    assert_eq!(a.len(), b.len(), "a pair has two");
    let differences: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
    let n = differences.len() as f64;
    let mean = differences.iter().sum::<f64>() / n.max(1.0);
    let freedom = differences.len().saturating_sub(1);
    if freedom == 0 {
        return Versus { mean, half: f64::INFINITY };
    }
    let variance = differences.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / freedom as f64;
    let t = T[freedom.min(T.len()) - 1];
    Versus { mean, half: t * (variance / n).sqrt() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_that_of_a_paired_t_test() {
        // scipy.stats.ttest_rel([0.31, 0.35, 0.33, 0.36], [0.30, 0.33, 0.33, 0.32]).confidence_interval():
        // −0.00967, 0.04467.
        let found = paired(&[0.31, 0.35, 0.33, 0.36], &[0.30, 0.33, 0.33, 0.32]);
        assert!((found.mean - 0.0175).abs() < 1e-12 && (found.half - 0.027_175).abs() < 1e-5, "{found:?}");
        assert!(!found.is_clear() && paired(&[0.4, 0.5], &[0.3, 0.399]).is_clear());
        assert!(!paired(&[0.9], &[0.1]).is_clear(), "one seed shows nothing");
    }
}
