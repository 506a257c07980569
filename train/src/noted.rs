//! What a run should remember of what happens between its steps: clusters, ranked lists.
//!
//! A line stands under the step before which it happened: a run that goes on from an older checkpoint drops it with
//! that step, and does it again.

use crate::held::Held;
use crate::observer::{Event, Observer};
use engine::Result;
use serde_json::{Value, json};

/// An observer that hears all and keeps lines for the log.
pub(crate) struct Noted<'a> {
    observer: &'a mut dyn Observer,
    step: u64,
    /// The lines, as they came.
    pub(crate) lines: Vec<Value>,
}

impl Noted<'_> {
    /// Hears what happens before `step`.
    pub(crate) fn before(step: u64, observer: &mut dyn Observer) -> Noted<'_> {
        Noted { observer, step, lines: vec![] }
    }
}

impl Observer for Noted<'_> {
    fn seconds(&mut self) -> f64 {
        self.observer.seconds()
    }
    fn stop(&mut self) -> bool {
        self.observer.stop()
    }
    fn event(&mut self, event: &Event<'_>) {
        match *event {
            Event::Clustered { epoch, sizes, seconds } if !sizes.is_empty() => {
                let at = |share: f64| sizes[(share * (sizes.len() - 1) as f64).round() as usize];
                let told =
                    json!({"count": sizes.len(), "least": at(0.0), "median": at(0.5), "most": at(1.0)});
                self.lines
                    .push(json!({"step": self.step, "epoch": epoch, "clusters": told, "took_s": seconds}));
            }
            Event::Ranked { kept, empty, seconds, .. } => {
                let told = json!({"labels": kept, "empty": empty});
                self.lines.push(json!({"step": self.step, "lists": told, "took_s": seconds}));
            }
            Event::Taught { near, empty, seconds } => {
                let told = json!({"near": near, "empty": empty});
                self.lines.push(json!({"step": self.step, "teacher": told, "took_s": seconds}));
            }
            _ => {}
        }
        self.observer.event(event);
    }
    fn memory_limit(&self) -> Option<usize> {
        self.observer.memory_limit()
    }
    fn afford(&mut self, held: &Held) -> Result<()> {
        self.observer.afford(held)
    }
    fn memory_peak(&mut self) -> Option<u64> {
        self.observer.memory_peak()
    }
}
