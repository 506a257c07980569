//! Where the time of a computation goes: spans with a name, the operations and bytes that they move.
//!
//! ```text
//! self time of a span = its own duration − that of the spans inside it      so that the table adds up to the whole
//! phase of a span     = the outermost span that is open                     so that a step is told from an evaluation
//! ```
//! An [`Engine`](crate::Engine) made with [`Engine::profiled`](crate::Engine::profiled) keeps a [`Profile`]; any other
//! keeps none, and a span costs one test of a pointer. Nothing here reads a clock: the caller brings one.

use std::sync::{Mutex, PoisonError};

/// A moment: seconds of the wall clock, and seconds of processor time of all threads together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Moment {
    /// Seconds on the wall.
    pub wall: f64,
    /// Seconds of processor time.
    pub cpu: f64,
}

/// Tells the time. Only differences count.
pub type Clock = fn() -> Moment;

/// Which way a span computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// Towards the loss.
    Forward,
    /// Back from it.
    Backward,
    /// Neither: batches, updates, clusters.
    Beside,
}

/// What all spans of one phase, name and way came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row {
    /// The name of the outermost span around it; its own, where it is the outermost.
    pub phase: &'static str,
    /// The name.
    pub name: &'static str,
    /// The way.
    pub way: Way,
    /// How many spans.
    pub calls: u64,
    /// Their own time, without that of spans inside them.
    pub time: Moment,
    /// Floating-point operations, where a kernel counts them: products and attention do.
    pub flops: u64,
    /// Bytes of the tensors that went in and came out.
    pub bytes: u64,
}

/// The spans of an engine so far.
pub struct Profile {
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    rows: Vec<Row>,
    open: Vec<Open>,
}

struct Open {
    row: usize,
    since: Moment,
    /// Time of the spans inside.
    inside: Moment,
}

impl Profile {
    /// Nothing has happened yet.
    pub fn new(clock: Clock) -> Profile {
        Profile { clock, state: Mutex::default() }
    }
    fn state<R>(&self, f: impl FnOnce(&mut State) -> R) -> R {
        // The state is a list of counts: whoever panicked while holding it left it whole.
        f(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
    /// Runs `f` and books its time. One thread opens spans; kernels may use many inside.
    pub fn span<R>(&self, name: &'static str, way: Way, f: impl FnOnce() -> R) -> R {
        self.state(|s| s.open(name, way, (self.clock)()));
        let result = f();
        self.state(|s| s.close((self.clock)()));
        result
    }
    /// Books work of the span that is open: floating-point operations, and bytes.
    pub fn work(&self, flops: u64, bytes: u64) {
        self.state(|s| {
            if let Some(open) = s.open.last() {
                s.rows[open.row].flops += flops;
                s.rows[open.row].bytes += bytes;
            }
        });
    }
    /// The table, the longest processor time first.
    pub fn rows(&self) -> Vec<Row> {
        let mut rows = self.state(|s| s.rows.clone());
        rows.sort_by(|a, b| b.time.cpu.total_cmp(&a.time.cpu).then(a.name.cmp(b.name)));
        rows
    }
    /// Forgets what was booked; spans that are open go on.
    pub fn clear(&self) {
        let zero =
            |row: &mut Row| *row = Row { calls: 0, time: Moment::default(), flops: 0, bytes: 0, ..*row };
        self.state(|s| s.rows.iter_mut().for_each(zero));
    }
}

impl State {
    fn open(&mut self, name: &'static str, way: Way, since: Moment) {
        let phase = self.open.first().map_or(name, |outermost| self.rows[outermost.row].phase);
        let known = |row: &Row| (row.phase, row.name, row.way) == (phase, name, way);
        let row = self.rows.iter().position(known).unwrap_or_else(|| {
            self.rows.push(Row { phase, name, way, calls: 0, time: Moment::default(), flops: 0, bytes: 0 });
            self.rows.len() - 1
        });
        self.open.push(Open { row, since, inside: Moment::default() });
    }
    fn close(&mut self, now: Moment) {
        let Some(Open { row, since, inside }) = self.open.pop() else { return };
        let whole = Moment { wall: now.wall - since.wall, cpu: now.cpu - since.cpu };
        let row = &mut self.rows[row];
        row.calls += 1;
        row.time.wall += whole.wall - inside.wall;
        row.time.cpu += whole.cpu - inside.cpu;
        if let Some(around) = self.open.last_mut() {
            around.inside.wall += whole.wall;
            around.inside.cpu += whole.cpu;
        }
    }
}

impl std::fmt::Debug for Profile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.rows()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    thread_local! {
        static NOW: Cell<f64> = const { Cell::new(0.0) };
    }

    /// Every look at the clock takes a second; the processors run twice as fast.
    fn clock() -> Moment {
        NOW.set(NOW.get() + 1.0);
        Moment { wall: NOW.get(), cpu: 2.0 * NOW.get() }
    }

    #[test]
    fn a_span_is_charged_for_itself_and_not_for_those_inside() {
        let profile = Profile::new(clock);
        let add = |flops| profile.work(flops, 10);
        let answer = profile.span("step", Way::Beside, || {
            for _ in 0..2 {
                profile.span("linear", Way::Forward, || add(100));
            }
            profile.span("linear", Way::Backward, || add(200));
            add(1);
            42
        });
        assert_eq!(answer, 42);
        let rows = profile.rows();
        let row = |name, way| *rows.iter().find(|r| r.name == name && r.way == way).expect("a row");
        let forward = row("linear", Way::Forward);
        assert_eq!((forward.calls, forward.time.wall, forward.flops, forward.bytes), (2, 2.0, 200, 20));
        assert_eq!(row("linear", Way::Backward).time, Moment { wall: 1.0, cpu: 2.0 });
        // Eight looks at the clock in all: seven seconds, of which three belong to the spans inside.
        let step = row("step", Way::Beside);
        assert_eq!((step.time.wall, step.time.cpu, step.flops), (4.0, 8.0, 1));
        assert_eq!(rows[0].name, "step", "the longest comes first");
        assert!(rows.iter().all(|row| row.phase == "step"));
    }

    #[test]
    fn the_same_operation_is_booked_by_phase() {
        let profile = Profile::new(clock);
        let linear = || profile.span("linear", Way::Forward, || ());
        linear();
        profile.span("step", Way::Beside, linear);
        let mut phases: Vec<_> = profile.rows().iter().map(|row| (row.phase, row.name)).collect();
        phases.sort_unstable();
        assert_eq!(phases, [("linear", "linear"), ("step", "linear"), ("step", "step")]);
    }

    #[test]
    fn a_cleared_profile_counts_from_zero() {
        let profile = Profile::new(clock);
        profile.span("a", Way::Beside, || profile.work(5, 5));
        profile.work(7, 7);
        profile.clear();
        let rows = profile.rows();
        assert_eq!((rows[0].calls, rows[0].flops, rows[0].time), (0, 0, Moment::default()));
    }
}
