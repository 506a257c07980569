//! Every operation on a CUDA device against the CPU, forward and backward, by the stand-in driver (`tests/standin`): the
//! kernels' source built by g++, run by the calls that a real device would get. It shows function, not speed.
//!
//! The driver is found by the loader when a process starts, so the test starts itself again with another
//! LD_LIBRARY_PATH. It needs make and g++, and says so where they are missing.

use autograd::ops::OPS;
use engine::{Cuda, Engine};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Operations without kernels for a device.
const WITHOUT: &[&str] = &[];
/// The difference that is forgiven, relative to 1 + |number of the CPU|: sums in another order, and other
/// approximations of eˣ, tanh and erf.
const TOLERANCE: f64 = 2e-5;
/// Points that each case is tried at.
const SEEDS: u64 = 3;
/// The schedules of threads: as they come, and shuffled.
const SCHEDULES: [&[(&str, &str)]; 3] =
    [&[], &[("CUSHIM_SHUFFLE", "1"), ("CUSHIM_SEED", "1")], &[("CUSHIM_SHUFFLE", "1"), ("CUSHIM_SEED", "2")]];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The folder of the stand-in driver; none where it cannot be built.
fn standin() -> Option<PathBuf> {
    for tool in ["make", "g++"] {
        if Command::new(tool).arg("--version").output().is_err() {
            println!("skipped: the stand-in driver needs {tool}");
            return None;
        }
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("standin");
    let made = Command::new("make")
        .arg("-C")
        .arg(root().join("tests/standin"))
        .arg(format!("OUT={}", folder.display()))
        .output()
        .expect("make starts");
    let said = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "the stand-in driver does not build: {said}");
    Some(folder)
}

/// Runs a test of this file, one that is ignored otherwise, in a process of its own; gives what it printed.
fn again(name: &str, folder: &Path, variables: &[(&str, &str)]) -> String {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["--ignored", "--exact", name, "--nocapture", "--test-threads=1"]);
    command.env("LD_LIBRARY_PATH", folder).envs(variables.iter().copied());
    let done = command.output().expect("this program starts again");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&done.stdout), text(&done.stderr));
    assert!(done.status.success(), "{name} with {variables:?}:\n{out}\n{err}");
    assert!(out.contains("1 passed"), "{name} was not run:\n{out}");
    out
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
    for variables in SCHEDULES {
        for (op, error) in told(&again("on_the_device", &folder, variables)) {
            let worst = all.entry(op).or_insert(error);
            *worst = worst.zip(error).map(|(a, b)| a.max(b));
        }
    }
    assert_eq!(all.len(), OPS.len(), "{all:?}");
    let mut without: Vec<&str> = all.iter().filter(|(_, e)| e.is_none()).map(|(op, _)| op.as_str()).collect();
    without.sort_unstable();
    assert_eq!(without, WITHOUT, "operations without kernels for a device");
}

/// Runs every case on both, and prints a line for each operation.
#[test]
#[ignore = "runs in a process that finds the stand-in driver"]
fn on_the_device() {
    let cuda = Cuda::poisoned(0).expect("the stand-in driver");
    assert_eq!(cuda.found().name, "stand-in (host)", "this test is about the stand-in");
    let (cpu, device) = (Engine::poisoned(1), Engine::new(1).with_cuda(cuda));
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
