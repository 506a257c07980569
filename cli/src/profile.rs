//! `--profile`: where the time of a run went, operation by operation, against the peaks of this machine.

use crate::context::Context;
use crate::early::Done;
use crate::quantity::count;
use crate::render::{rounded, table};
use engine::profile::{Moment, Row, Way};
use engine::{Engine, peak};
use rustix::time::{ClockId, Timespec, clock_gettime};
use serde_json::{Value, json};

/// Rows below this share of the processor time are added up in one.
const SHARE_LEAST: f64 = 0.002;

/// The clocks of this process.
pub(crate) fn clock() -> Moment {
    let seconds = |t: Timespec| t.tv_sec as f64 + 1e-9 * t.tv_nsec as f64;
    Moment {
        wall: seconds(clock_gettime(ClockId::Monotonic)),
        cpu: seconds(clock_gettime(ClockId::ProcessCPUTime)),
    }
}

/// The peaks of one thread: f32 operations and copied bytes a second.
struct Peaks {
    flops: f64,
    bytes: f64,
}

/// Prints the profile of `engine`, if it keeps one: of steps with so many tokens.
pub(crate) fn print(engine: &Engine, tokens: u64, context: &Context) -> Done {
    let Some(profile) = engine.profile() else { return Ok(()) };
    let one = Engine::try_new(1, None)?;
    let peaks = Peaks { flops: peak::flops_peak(&one, clock), bytes: peak::bytes_peak(&one, clock) };
    let rows: Vec<Row> = profile.rows().into_iter().filter(|row| row.calls > 0).collect();
    let step = sum(rows.iter().filter(|row| row.phase == STEP));
    if context.json {
        let rows: Vec<Value> = rows.iter().map(json_row).collect();
        return context.print_json(&json!({
            "profile": rows,
            "tokens": tokens,
            "step_cpu_seconds": rounded(step.cpu),
            "step_wall_seconds": rounded(step.wall),
            "peak_flops_per_thread": rounded(peaks.flops),
            "peak_bytes_per_thread": rounded(peaks.bytes),
        }));
    }
    let mut phases: Vec<&str> = rows.iter().map(|row| row.phase).collect();
    phases.sort_unstable_by_key(|&phase| (phase != STEP, phase));
    phases.dedup();
    for phase in phases {
        let rows: Vec<&Row> = rows.iter().filter(|row| row.phase == phase).collect();
        context.print(&format!("\n{phase}\n{}", text(&rows, &peaks)))?;
    }
    let per = |seconds: f64| count((tokens as f64 / seconds.max(f64::MIN_POSITIVE)) as u64);
    context.print(&format!(
        "\n{} tokens in steps: {} a CPU-second, {} a second\n\
         peaks of one thread, measured now: {:.0} GFLOP/s in f32, {:.1} GB/s copied",
        count(tokens),
        per(step.cpu),
        per(step.wall),
        peaks.flops / 1e9,
        peaks.bytes / 1e9
    ))
}

/// The phase of a training step.
const STEP: &str = "step";

fn way(way: Way) -> &'static str {
    match way {
        Way::Forward => "forward",
        Way::Backward => "backward",
        Way::Beside => "",
    }
}

fn json_row(row: &Row) -> Value {
    json!({
        "phase": row.phase,
        "name": row.name,
        "way": way(row.way),
        "calls": row.calls,
        "cpu_seconds": rounded(row.time.cpu),
        "wall_seconds": rounded(row.time.wall),
        "flops": row.flops,
        "bytes": row.bytes,
    })
}

/// A table whose shares add up to the whole. Rates are a CPU-second's, so that they compare with one thread's peak.
fn text(rows: &[&Row], peaks: &Peaks) -> String {
    let total = sum(rows.iter().copied());
    let head =
        ["", "", "calls", "CPU s", "share", "wall s", "GFLOP", "GFLOP/s", "of peak", "GB", "GB/s", "of copy"];
    let mut cells = vec![head.map(str::to_owned).to_vec()];
    let (shown, small): (Vec<&Row>, Vec<&Row>) =
        rows.iter().partition(|row| row.time.cpu >= SHARE_LEAST * total.cpu);
    cells.extend(shown.iter().map(|row| {
        // What no span inside accounts for.
        let name = if row.name == row.phase { "all else" } else { row.name };
        let mut line = vec![name.to_owned(), way(row.way).to_owned(), count(row.calls)];
        line.extend(times(row.time, total));
        line.extend(rates(row.flops as f64, row.time.cpu, peaks.flops));
        line.extend(rates(row.bytes as f64, row.time.cpu, peaks.bytes));
        line
    }));
    if !small.is_empty() {
        let calls: u64 = small.iter().map(|row| row.calls).sum();
        let mut line = vec![format!("{} more", small.len()), String::new(), count(calls)];
        line.extend(times(sum(small), total));
        cells.push(line);
    }
    let flops: u64 = rows.iter().map(|row| row.flops).sum();
    let mut line = vec!["in all".to_owned(), String::new(), String::new()];
    line.extend(times(total, total));
    line.extend(rates(flops as f64, total.cpu, peaks.flops));
    cells.push(line);
    table(&cells)
}

fn sum<'a>(rows: impl IntoIterator<Item = &'a Row>) -> Moment {
    rows.into_iter().fold(Moment::default(), |sum, row| Moment {
        wall: sum.wall + row.time.wall,
        cpu: sum.cpu + row.time.cpu,
    })
}

fn times(time: Moment, total: Moment) -> [String; 3] {
    let share = time.cpu / total.cpu.max(f64::MIN_POSITIVE);
    [format!("{:.2}", time.cpu), format!("{:.1} %", 100.0 * share), format!("{:.2}", time.wall)]
}

/// An amount in 10⁹, its rate, and the share of the peak; empty where nothing was counted.
fn rates(amount: f64, seconds: f64, peak: f64) -> [String; 3] {
    if amount == 0.0 || seconds <= 0.0 {
        return Default::default();
    }
    let rate = amount / seconds;
    [format!("{:.1}", amount / 1e9), format!("{:.1}", rate / 1e9), format!("{:.0} %", 100.0 * rate / peak)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_reads_as_shares_and_rates() {
        let row = |name, cpu, flops, bytes| {
            let time = Moment { wall: cpu / 2.0, cpu };
            Row { phase: "step", name, way: Way::Forward, calls: 3, time, flops, bytes }
        };
        let rows = [
            row("linear", 3.0, 150_000_000_000, 0),
            row("gelu", 0.999, 0, 4_000_000_000),
            row("x", 0.001, 0, 5),
        ];
        let shown = text(&rows.each_ref(), &Peaks { flops: 100e9, bytes: 8e9 });
        let line = |name: &str| -> String {
            let line = shown.lines().find(|l| l.starts_with(name)).expect("a line");
            line.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(line("linear"), "linear forward 3 3.00 75.0 % 1.50 150.0 50.0 50 %");
        assert_eq!(line("gelu"), "gelu forward 3 1.00 25.0 % 0.50 4.0 4.0 50 %");
        assert_eq!(line("1 more"), "1 more 3 0.00 0.0 % 0.00");
        assert_eq!(line("in all"), "in all 4.00 100.0 % 2.00 150.0 37.5 38 %");
    }

    #[test]
    fn the_clocks_run() {
        let before = clock();
        std::hint::black_box((0..1_000_000u64).fold(0, |a, b| a ^ b));
        let after = clock();
        assert!(after.wall > before.wall && after.cpu >= before.cpu);
    }
}
