//! Learning rate over a run: a warm-up, then constant, a straight line to zero, or half a cosine.
//!
//! ```text
//! s        the step, counted from 0;  w warm-up steps;  n steps in all
//! s < w    factor = s / w                                  (the first step of a warm-up has rate 0)
//! s ≥ w    x = (s − w) / max(1, n − w), at most 1
//!          constant 1,  linear 1 − x,  cosine (1 + cos πx) / 2
//! ```
//! These are the schedules of the transformers library. They differ beyond step n only, where its cosine would rise
//! again and ours stays at zero.

/// What follows the warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ScheduleKind {
    /// The full rate to the end.
    Constant,
    /// A straight line to zero.
    #[default]
    Linear,
    /// Half a period of the cosine, from 1 to 0.
    Cosine,
}

/// The factor of the learning rate at each step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// What follows the warm-up.
    pub kind: ScheduleKind,
    /// Steps in which the rate rises from zero.
    pub warmup_steps: u64,
    /// All steps of the run, warm-up included.
    pub total_steps: u64,
}

impl Schedule {
    /// The factor for step `step`, counted from 0: multiply the learning rate by it.
    pub fn rate(&self, step: u64) -> f64 {
        if step < self.warmup_steps {
            return step as f64 / self.warmup_steps as f64;
        }
        let length = self.total_steps.saturating_sub(self.warmup_steps).max(1);
        let x = ((step - self.warmup_steps) as f64 / length as f64).min(1.0);
        match self.kind {
            ScheduleKind::Constant => 1.0,
            ScheduleKind::Linear => 1.0 - x,
            ScheduleKind::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * x).cos()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(kind: ScheduleKind, warmup_steps: u64, total_steps: u64, want: &[f64]) {
        let schedule = Schedule { kind, warmup_steps, total_steps };
        for (step, want) in want.iter().enumerate() {
            let got = schedule.rate(step as u64);
            assert!((got - want).abs() < 1e-15, "{schedule:?} at {step}: {got} instead of {want}");
        }
    }

    #[test]
    fn the_rate_rises_then_falls_to_zero_and_stays() {
        let half = 0.5f64.sqrt();
        check(ScheduleKind::Constant, 2, 4, &[0.0, 0.5, 1.0, 1.0, 1.0, 1.0]);
        check(ScheduleKind::Linear, 2, 6, &[0.0, 0.5, 1.0, 0.75, 0.5, 0.25, 0.0, 0.0]);
        check(ScheduleKind::Cosine, 1, 5, &[0.0, 1.0, (1.0 + half) / 2.0, 0.5, (1.0 - half) / 2.0, 0.0, 0.0]);
    }

    #[test]
    fn runs_without_warm_up_and_shorter_than_it_have_a_rate() {
        check(ScheduleKind::Linear, 0, 2, &[1.0, 0.5, 0.0]);
        check(ScheduleKind::Linear, 4, 2, &[0.0, 0.25, 0.5, 0.75, 1.0, 0.0]);
        check(ScheduleKind::Cosine, 0, 0, &[1.0, 0.0]);
    }
}
