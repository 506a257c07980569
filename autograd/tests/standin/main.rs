//! Every operation on a CUDA device against the CPU, forward and backward, by the stand-in driver (`tests/standin`):
//! the kernels' source built by g++, run by the calls that a real device would get. It shows function, not speed.
//!
//! The driver is found by the loader when a process starts, so the test starts itself again with another
//! LD_LIBRARY_PATH. It needs make and g++, and says so where they are missing.

#[path = "../../../tests/standin/process.rs"]
mod process;

mod beside;
mod bf16;
mod cublas;
#[path = "../golden.rs"]
mod golden;
mod larger;
mod staging;
mod steps;
mod tables;

use autograd::ops::OPS;
use engine::cuda::Gemm;
use engine::{Cuda, Engine};
use process::{SHUFFLED, again, root, standin, started};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::Command;

/// Operations without kernels for a device.
const WITHOUT: &[&str] = &[];
/// The difference that is forgiven, relative to 1 + |number of the CPU|: sums in another order, and other
/// approximations of eˣ, tanh and erf.
const TOLERANCE: f64 = 2e-5;
/// The same for sums of hundreds of terms that cancel.
const TOLERANCE_LARGER: f64 = 1e-4;
/// Points that each case is tried at.
const SEEDS: u64 = 3;
/// The schedules of threads: as they come, and shuffled.
const SCHEDULES: [&[(&str, &str)]; 3] = [&[], &[("CUSHIM_SHUFFLE", "1"), ("CUSHIM_SEED", "1")], &SHUFFLED];

/// Who multiplies, as a process is told.
const GEMMS: [&str; 2] = ["own", "cublas"];

/// Every schedule with everyone who multiplies.
fn all_schedules() -> impl Iterator<Item = Vec<(&'static str, &'static str)>> {
    GEMMS.into_iter().flat_map(|gemm| SCHEDULES.map(|s| [s, &[("GEMM", gemm)]].concat()))
}

/// What a schedule found: the largest error of every operation, or that it has no kernels.
fn told(out: &str) -> BTreeMap<String, Option<f64>> {
    let line = |line: &str| {
        let mut words = line.strip_prefix("op ")?.split(' ');
        Some((words.next()?.to_owned(), words.next()?.parse().ok()))
    };
    out.lines().filter_map(line).collect()
}

#[test]
fn every_op_agrees_with_the_cpu_on_the_stand_in_device() {
    let Some(folder) = standin() else { return };
    let mut all: BTreeMap<String, Option<f64>> = BTreeMap::new();
    for variables in all_schedules() {
        for (op, error) in told(&again("on_the_device", &folder, &variables)) {
            let worst = all.entry(op).or_insert(error);
            *worst = worst.zip(error).map(|(a, b)| a.max(b));
        }
    }
    assert_eq!(all.len(), OPS.len(), "{all:?}");
    let mut without: Vec<&str> = all.iter().filter(|(_, e)| e.is_none()).map(|(op, _)| op.as_str()).collect();
    without.sort_unstable();
    assert_eq!(without, WITHOUT, "operations without kernels for a device");
    let file = root().join("docs/cuda.md");
    let text = std::fs::read_to_string(&file).expect("docs/cuda.md");
    let (head, rest) = text.split_once(BEGIN).expect("the page has the table");
    let (_, tail) = rest.split_once(END).expect("the table ends");
    if std::env::var_os("LODE_WRITE_DOCS").is_some() {
        return std::fs::write(&file, format!("{head}{BEGIN}{}{END}{tail}", table(&all)))
            .expect("it is written");
    }
    let said: Vec<&str> = rest.lines().filter_map(|line| line.strip_prefix("| `")).collect();
    let now = table(&all);
    let found: Vec<&str> = now.lines().filter_map(|line| line.strip_prefix("| `")).collect();
    let stale = "docs/cuda.md is stale: run this test once with LODE_WRITE_DOCS=1";
    assert_eq!(said.len(), found.len(), "{stale}");
    for (said, found) in said.into_iter().zip(found) {
        let split = |row: &str| -> (String, f64) {
            let (words, error) = row.trim_end_matches(" |").rsplit_once("| ").expect("a row has cells");
            (words.to_owned(), error.parse().unwrap_or(f64::INFINITY))
        };
        let ((said, stated), (found, error)) = (split(said), split(found));
        assert_eq!(said, found, "{stale}");
        // The CPU's own rounding depends on its instructions.
        assert!(error <= ALLOWED * stated.max(1e-7), "{stale}: {said}{stated:e}, now {error:e}");
    }
}

/// Where the table stands in docs/cuda.md.
const BEGIN: &str = "<!-- written by autograd/tests/standin -->\n";
const END: &str = "<!-- end -->";
/// How much larger than stated an error may be: other instructions of a CPU round otherwise.
const ALLOWED: f64 = 4.0;

/// The operations, where they run, and the largest error, rounded up to one digit.
fn table(all: &BTreeMap<String, Option<f64>>) -> String {
    let mut text = "| Operation | CPU | stand-in | largest error |\n| --- | --- | --- | --- |\n".to_owned();
    for (op, error) in all {
        let row = match error {
            Some(0.0) => "yes | yes | 0".to_owned(),
            Some(error) => format!("yes | yes | {}", rounded_up(*error)),
            None => "yes | no | –".to_owned(),
        };
        text += &format!("| `{op}` | {row} |\n");
    }
    text
}

/// As `2e-7`.
fn rounded_up(x: f64) -> String {
    let power = 10f64.powi(x.log10().floor() as i32);
    format!("{:e}", ((x / power).ceil() * power * 1e12).round() / 1e12)
}

/// What must hold in every schedule: a test of this file that is ignored otherwise.
#[track_caller]
fn holds_in_every_schedule(name: &str) {
    let Some(folder) = standin() else { return };
    all_schedules().for_each(|variables| drop(again(name, &folder, &variables)));
}

#[test]
fn what_is_larger_than_a_tile_agrees_too() {
    holds_in_every_schedule("larger_on_the_device");
}

#[test]
fn optimizers_and_clipping_agree_with_the_cpu() {
    holds_in_every_schedule("steps_on_the_device");
}

#[test]
fn values_and_gradients_of_golden_files_are_met() {
    holds_in_every_schedule("golden_on_the_device");
}

#[test]
fn tables_on_a_device_are_moved_as_those_of_the_cpu() {
    holds_in_every_schedule("tables_on_the_device");
}

#[test]
fn kernels_beside_the_operations_agree_too() {
    holds_in_every_schedule("beside_on_the_device");
}

#[test]
fn numbers_arrive_as_they_were_sent_however_late_the_stream_runs() {
    holds_in_every_schedule("staging_on_the_device");
}

#[test]
fn layers_in_bf16_are_those_of_the_cpu_but_for_rounding() {
    holds_in_every_schedule("bf16_on_the_device");
}

#[test]
fn matrices_are_multiplied_however_they_lie() {
    holds_in_every_schedule("products_on_the_device");
}

#[test]
#[ignore = "runs in a process that finds the stand-in driver"]
fn bf16_on_the_device() {
    bf16::check();
}

#[test]
#[ignore = "runs in a process that finds the stand-in driver"]
fn golden_on_the_device() {
    golden::all(&Engine::new(1).with_cuda(process::device()));
}

#[test]
#[ignore = "runs in a process that finds the stand-in driver"]
fn staging_on_the_device() {
    let [_, device] = engines();
    staging::check(device.cuda().expect("it has one"));
}

#[test]
#[ignore = "runs in a process that finds the stand-in driver"]
fn products_on_the_device() {
    cublas::check();
}

/// What opening the device said, in a process with these variables and the driver of `folder`.
fn opened(folder: &Path, variables: &[(&str, &str)]) -> String {
    let out = started("what_opening_says", folder, variables);
    out.lines().find_map(|line| line.strip_prefix("said ")).expect("the process says it").to_owned()
}

#[test]
fn what_is_missing_is_an_error_and_no_panic() {
    let Some(folder) = standin() else { return };
    assert_eq!(opened(&folder, &[("GEMM", "own")]), "stand-in (host), own kernels");
    assert!(opened(&folder, &[("CUSHIM_DEVICES", "0")]).contains("no CUDA-capable device is detected"));
    assert!(opened(&folder, &[("CUSHIM_CC", "75")]).contains("is of generation 7.5, the kernels need 8.0"));
    assert!(opened(&folder, &[("CUSHIM_PTX_MAX", "80")]).contains("unsupported toolchain"));
    let refused = opened(&folder, &[("CUSHIM_LOCKED_MB", "1")]);
    assert!(refused.contains("bytes of memory cannot be page-locked"), "{refused}");
    // A library by this name without a single function.
    let empty = tempfile::tempdir().expect("a directory");
    let library = empty.path().join("libcuda.so");
    let made = Command::new("g++").args(["-shared", "-x", "c++", "/dev/null", "-o"]).arg(&library).status();
    assert!(made.expect("g++ starts").success());
    assert!(opened(empty.path(), &[]).contains("the CUDA driver lacks cuInit, "));
}

#[test]
#[ignore = "runs in a process with a driver of its own"]
fn what_opening_says() {
    println!();
    let gemm = Gemm::named(&process::gemm()).expect("auto, own or cublas");
    match Cuda::open(0).and_then(|cuda| cuda.with_gemm(gemm)) {
        Ok(cuda) => {
            let products =
                cuda.cublas().map_or("own kernels".to_owned(), |version| format!("cuBLAS {version}"));
            println!("said {}, {products}", cuda.found().name);
        }
        Err(missing) => println!("said {missing}"),
    }
}

/// An engine of the CPU, and one with the stand-in device.
fn engines() -> [Engine; 2] {
    [Engine::poisoned(1), Engine::new(1).with_cuda(process::device())]
}

#[test]
#[ignore = "runs in a process that finds the stand-in driver"]
fn larger_on_the_device() {
    let [cpu, device] = engines();
    for case in larger::CASES {
        let error = largest(&case.in_f32(&device, 0), &case.in_f32(&cpu, 0));
        // Written so that a NaN is wrong.
        assert!(error.is_some_and(|e| e <= TOLERANCE_LARGER), "`{}`: {error:?}", case.name);
    }
}

#[test]
#[ignore = "runs in a process that finds the stand-in driver"]
fn steps_on_the_device() {
    let [cpu, device] = engines();
    for (name, [got, want]) in steps::both(&device, &cpu) {
        let error = largest(&got, &want);
        assert!(error.is_some_and(|e| e <= TOLERANCE), "`{name}`: {error:?}");
    }
}

#[test]
#[ignore = "runs in a process that finds the stand-in driver"]
fn tables_on_the_device() {
    tables::check(&engines());
}

#[test]
#[ignore = "runs in a process that finds the stand-in driver"]
fn beside_on_the_device() {
    let [cpu, device] = engines();
    for (name, [got, want]) in beside::both(&device, &cpu) {
        let error = largest(&got, &want);
        assert!(error.is_some_and(|e| e <= TOLERANCE), "`{name}`: {error:?}");
    }
}

/// Runs every case on both, and prints a line for each operation.
#[test]
#[ignore = "runs in a process that finds the stand-in driver"]
fn on_the_device() {
    let [cpu, device] = engines();
    let mut wrong = vec![];
    // The harness has begun a line.
    println!();
    for op in OPS {
        let mut worst = Some(0.0);
        for case in op.cases {
            for seed in 0..SEEDS {
                let got = match catch_unwind(AssertUnwindSafe(|| case.in_f32(&device, seed))) {
                    Ok(got) => got,
                    Err(why) => {
                        let why = why.downcast_ref::<String>().cloned().unwrap_or_default();
                        assert!(
                            why.contains("has no CUDA arm"),
                            "`{}`, case `{}`: {why}",
                            op.name,
                            case.name
                        );
                        worst = None;
                        break;
                    }
                };
                let error = largest(&got, &case.in_f32(&cpu, seed));
                // Written so that a NaN is wrong.
                let right = error.is_some_and(|e| e <= TOLERANCE);
                if !right {
                    wrong.push(format!("`{}`, case `{}`, seed {seed}: {error:?}", op.name, case.name));
                }
                worst = worst.zip(error).map(|(a, b): (f64, f64)| a.max(b));
            }
        }
        match worst {
            Some(error) => println!("op {} {error:e}", op.name),
            None => println!("op {} none", op.name),
        }
    }
    assert!(wrong.is_empty(), "the device and the CPU differ:\n{}", wrong.join("\n"));
}

/// The largest relative difference; none where numbers are missing, or NaN on one side alone.
fn largest(got: &[Option<Vec<f64>>], want: &[Option<Vec<f64>>]) -> Option<f64> {
    let mut worst: f64 = 0.0;
    assert_eq!(got.len(), want.len(), "the inputs of the case");
    for pair in got.iter().zip(want) {
        match pair {
            (None, None) => {}
            (Some(got), Some(want)) if got.len() == want.len() => {
                for (&g, &w) in got.iter().zip(want) {
                    let same = g == w || g.is_nan() && w.is_nan();
                    let error = if same { 0.0 } else { (g - w).abs() / (1.0 + w.abs()) };
                    if error.is_nan() {
                        return None;
                    }
                    worst = worst.max(error);
                }
            }
            _ => return None,
        }
    }
    Some(worst)
}
