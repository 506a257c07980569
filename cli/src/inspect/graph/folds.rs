//! What folds on a picture of a tape: runs of operations that belong to one part of the model, and their sums.

use engine::Shape;
use train::Graph;
use train::graph::{Flops, Seen, TapeSeen};

/// A tape with names that are its own.
pub(super) struct Tape<'a> {
    /// Its name, numbered where there are several.
    pub(super) name: String,
    /// Its values.
    pub(super) values: &'a [Seen],
    /// All values but parameters, fold by fold.
    pub(super) folds: Vec<Fold>,
}

/// Values that follow each other in one part of the model.
pub(super) struct Fold {
    /// The part, numbered where there are several of its kind; operations by name where they belong to none.
    pub(super) name: String,
    /// Whether it is a part.
    pub(super) is_part: bool,
    /// Places on the tape.
    pub(super) ids: Vec<usize>,
    /// How many of them are operations.
    pub(super) ops: usize,
    part: Option<u32>,
}

/// What values come to together.
pub(super) struct Sum {
    /// Operations.
    pub(super) ops: u64,
    /// Their cost.
    pub(super) flops: Flops,
    /// Bytes kept for backward.
    pub(super) kept: u64,
    /// Seconds, forward and backward.
    pub(super) seconds: [f64; 2],
    /// The norm of the gradient of their parameters, if they have some that learn.
    pub(super) norm: Option<f64>,
}

/// The tapes of a step.
pub(super) fn tapes(graph: &Graph) -> Vec<Tape<'_>> {
    let names = numbered(graph.tapes.iter().map(|tape| tape.name));
    graph.tapes.iter().zip(names).map(|(seen, name)| Tape::of(seen, name)).collect()
}

/// Names with numbers behind those that come more than once.
fn numbered<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let names: Vec<&str> = names.collect();
    let times = |name: &str, among: &[&str]| among.iter().filter(|other| **other == name).count();
    let one = |(i, &name): (usize, &&str)| match times(name, &names) {
        1 => name.to_owned(),
        _ => format!("{name} {}", times(name, &names[..=i])),
    };
    names.iter().enumerate().map(one).collect()
}

impl<'a> Tape<'a> {
    fn of(seen: &'a TapeSeen, name: String) -> Tape<'a> {
        let (values, parts) = (&seen.values[..], numbered(seen.parts.iter().copied()));
        let mut folds: Vec<Fold> = vec![];
        for (id, value) in values.iter().enumerate().filter(|(_, value)| value.param.is_none()) {
            if folds.last().is_none_or(|fold| fold.part != value.part) {
                let name = value.part.map_or_else(String::new, |part| parts[part as usize].clone());
                let (is_part, part) = (value.part.is_some(), value.part);
                folds.push(Fold { name, is_part, ids: vec![], ops: 0, part });
            }
            let fold = folds.last_mut().expect("one was pushed");
            fold.ids.push(id);
            fold.ops += usize::from(value.op.is_some());
        }
        for fold in folds.iter_mut().filter(|fold| !fold.is_part) {
            let ops: Vec<&str> = fold.ids.iter().filter_map(|&id| values[id].op).collect();
            fold.name = match ops[..] {
                [] => "input".to_owned(),
                [first, .., last] if ops.len() > 2 => format!("{first} … {last}"),
                _ => ops.join(", "),
            };
        }
        Tape { name, values, folds }
    }
    /// The part to which a value belongs.
    pub(super) fn part_of(&self, id: usize) -> Option<&str> {
        self.folds.iter().find(|fold| fold.is_part && fold.ids.contains(&id)).map(|fold| &*fold.name)
    }
    /// The parameters that value `id` reads.
    pub(super) fn params(&self, id: usize) -> impl Iterator<Item = usize> {
        let inputs = self.values[id].inputs.iter().map(|&input| input as usize);
        inputs.filter(|&input| self.values[input].param.is_some())
    }
    /// All of it.
    pub(super) fn sum(&self) -> Sum {
        let ids: Vec<usize> = (0..self.values.len()).collect();
        self.sum_of(&ids)
    }
    /// These values, and the parameters of which they are the first readers.
    pub(super) fn sum_of(&self, ids: &[usize]) -> Sum {
        let values = || ids.iter().map(|&id| &self.values[id]);
        let is_first = |reader: usize, param: usize| {
            !self.values[..reader].iter().any(|value| value.inputs.contains(&(param as u32)))
        };
        let mut params: Vec<usize> =
            ids.iter().flat_map(|&id| self.params(id).filter(move |&param| is_first(id, param))).collect();
        params.sort_unstable();
        params.dedup();
        let squares: Vec<f64> =
            params.iter().filter_map(|&param| self.values[param].norm).map(|norm| norm * norm).collect();
        Sum {
            ops: values().filter(|value| value.op.is_some()).count() as u64,
            flops: values().map(|value| value.flops).sum(),
            kept: values().map(|value| value.kept).sum(),
            seconds: [0, 1].map(|way| values().map(|value| value.seconds[way]).sum()),
            norm: (!squares.is_empty()).then(|| squares.iter().sum::<f64>().sqrt()),
        }
    }
}

/// Operations, with three digits.
pub(super) fn flops(n: u64) -> String {
    let (unit, by) = match n {
        0..1_000 => ("", 1.0),
        1_000..1_000_000 => ("k", 1e3),
        1_000_000..1_000_000_000 => ("M", 1e6),
        1_000_000_000..1_000_000_000_000 => ("G", 1e9),
        _ => ("T", 1e12),
    };
    let value = n as f64 / by;
    let digits = if by == 1.0 || value >= 100.0 {
        0
    } else if value >= 10.0 {
        1
    } else {
        2
    };
    format!("{value:.digits$} {unit}FLOP")
}

/// Milliseconds, without their unit.
pub(super) fn milliseconds(seconds: f64) -> String {
    let ms = 1e3 * seconds;
    if ms >= 100.0 {
        format!("{ms:.0}")
    } else if ms >= 1.0 {
        format!("{ms:.1}")
    } else {
        format!("{ms:.2}")
    }
}

/// A norm, with three digits.
pub(super) fn norm(value: f64) -> String {
    if (1e-3..1e4).contains(&value) {
        let digits = (2.0 - value.log10().floor()).max(0.0) as usize;
        format!("{value:.digits$}")
    } else if value == 0.0 {
        "0".to_owned()
    } else {
        format!("{value:.2e}")
    }
}

/// A shape as people write it.
pub(super) fn shape(shape: Shape) -> String {
    let dims: Vec<String> = shape.dims().iter().map(ToString::to_string).collect();
    if dims.is_empty() { "one number".to_owned() } else { dims.join(" × ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_three_digits() {
        assert_eq!(
            [0, 999, 1_500, 66_000_000, 1_234_000_000, 250_000_000_000].map(flops),
            ["0 FLOP", "999 FLOP", "1.50 kFLOP", "66.0 MFLOP", "1.23 GFLOP", "250 GFLOP"]
        );
        assert_eq!(
            [0.0, 0.01234, 1.5, 123.4, 1e-7, 2e6].map(norm),
            ["0", "0.0123", "1.50", "123", "1.00e-7", "2.00e6"]
        );
        assert_eq!([0.000_04, 0.0125, 0.2].map(milliseconds), ["0.04", "12.5", "200"]);
    }

    #[test]
    fn only_what_comes_again_is_numbered() {
        assert_eq!(numbered(["a", "b", "a"].into_iter()), ["a 1", "b", "a 2"]);
    }
}
