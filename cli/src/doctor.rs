//! `lode doctor`: what this machine offers, and whether the arithmetic on it is right.

mod bench;

use crate::context::Context;
use crate::early::Done;
use crate::memory;
use crate::render::table;
use engine::container::{Container, Verify, Writer};
use engine::cuda::Found;
use engine::random::philox;
use engine::{Engine, Error, Kind, Mat, Precision, Result, Stream, Weight, gemm};
use serde_json::{Value, json};
use std::path::Path;
use train::plan::bytes;

/// Flags of `doctor`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Measure, too: peaks, products, encoding, training steps, search; some 15 seconds, 0.5 GB of memory
    #[arg(long)]
    bench: bool,
}

/// Examines.
pub(crate) fn run(args: &Args, context: &Context) -> Done {
    let measured = match args.bench {
        true => Some(bench::measure(context, bench::BUDGET)?),
        false => None,
    };
    let engine = context.engine()?;
    let tests = [
        ("gemm", check_gemm(&engine)),
        ("int8", check_rounded(&engine, Precision::Int8)),
        ("bf16", check_rounded(&engine, Precision::Bf16)),
        ("random", check_random()),
        ("files", check_files()),
    ];
    let (cuda, cublas) = (engine::cuda::devices(), engine::cuda::cublas());
    let has = |precision: Precision| engine.support().has(precision);
    let (total, available) = memory::machine().unzip();
    let here = std::env::current_dir().unwrap_or_default();
    let free = free_space(&here);
    let failed: Vec<&str> = tests.iter().filter(|(_, r)| r.is_err()).map(|(name, _)| *name).collect();
    if context.json {
        let told = |r: &Result<()>| r.as_ref().map_or_else(|e| Value::from(e.to_string()), |()| "ok".into());
        let tests: serde_json::Map<String, Value> =
            tests.iter().map(|(n, r)| ((*n).to_owned(), told(r))).collect();
        context.print_json(&json!({
            "version": env!("CARGO_PKG_VERSION"),
            "kernels": engine.kernel_class().name(),
            "cpu": cpu_name(),
            "cpu_features": cpu_features(),
            "int8_in_hardware": has(Precision::Int8),
            "bf16_in_hardware": has(Precision::Bf16),
            "threads": context.threads,
            "memory_bytes": total,
            "memory_available_bytes": available,
            "disk_free_bytes": free,
            "cuda": cuda.as_ref().map_or_else(|e| Value::from(e.message()), |found| found.iter().map(device).collect()),
            "cublas": cublas.as_ref().map_or_else(|e| Value::from(e.message()), |version| json!({"version": version})),
            "self_test": tests,
            "bench": measured.as_ref().map(bench::Measured::json),
        }))?;
    } else {
        let size = |n: Option<u64>| n.map_or_else(|| "unknown".to_owned(), |n| bytes(n as usize));
        let mut text = line("version", format!("lode {}", env!("CARGO_PKG_VERSION")));
        text += &line("processor", cpu_name().unwrap_or_else(|| "unknown".to_owned()));
        text += &line("features", cpu_features().join(" "));
        text += &line("kernels", engine.kernel_class().name().to_owned());
        for precision in Precision::ALL {
            let how = if has(precision) { "by instructions of the processor" } else { "by plain code" };
            text += &line(precision.name(), how.to_owned());
        }
        text += &line("threads", context.threads.to_string());
        text += &line("memory", format!("{}, {} to be had", size(total), size(available)));
        text += &line("disk", format!("{} free here", size(free)));
        text += &devices(&cuda, &cublas);
        let told = |r: &Result<()>| r.as_ref().map_or_else(ToString::to_string, |()| "ok".to_owned());
        let rows: Vec<Vec<String>> =
            tests.iter().map(|(name, r)| vec![format!("self-test  {name}"), told(r)]).collect();
        text += &table(&rows);
        if let Some(measured) = &measured {
            text += &format!("\n{}", measured.text());
        }
        context.print(&text)?;
    }
    match failed.is_empty() {
        true => Ok(()),
        false => Err(Error::new(Kind::Other, format!("the self-test failed: {}", failed.join(", "))).into()),
    }
}

fn line(name: &str, what: String) -> String {
    format!("{name:<10} {what}\n")
}

/// The lines of CUDA devices and of who multiplies there.
fn devices(cuda: &Result<Vec<Found>>, cublas: &Result<String>) -> String {
    match cuda {
        Ok(found) => {
            let devices: String = found.iter().map(|d| line("CUDA", told_of(d))).collect();
            let none = |missing: &Error| format!("none, own kernels multiply: {}", missing.message());
            devices + &line("cuBLAS", cublas.as_ref().map_or_else(none, String::clone))
        }
        Err(missing) => line("CUDA", format!("none: {}", missing.message())),
    }
}

fn device(found: &Found) -> Value {
    let (major, minor) = found.capability;
    json!({
        "name": found.name,
        "memory_bytes": found.memory_bytes,
        "compute_capability": format!("{major}.{minor}"),
    })
}

fn told_of(found: &Found) -> String {
    let ((major, minor), memory) = (found.capability, bytes(found.memory_bytes));
    format!("cuda:{} {}, {memory}, compute capability {major}.{minor}", found.ordinal, found.name)
}

/// The fast product against the definition, on a shape that fills no block.
fn check_gemm(engine: &Engine) -> Result<()> {
    let (m, k, n) = (67, 129, 45);
    let numbers = |tag: u64, count: usize| -> Vec<f32> {
        let stream = Stream::new(1, tag);
        (0..count as u64).map(|i| (2.0 * stream.uniform(i) - 1.0) as f32).collect()
    };
    let (a, b) = (numbers(1, m * k), numbers(2, k * n));
    let mut c = vec![0f32; m * n];
    gemm(engine, 1.0, Mat::new(&a, m, k), Mat::new(&b, k, n), 0.0, &mut c);
    for (at, &got) in c.iter().enumerate() {
        let (i, j) = (at / n, at % n);
        let want: f64 = (0..k).map(|x| f64::from(a[i * k + x]) * f64::from(b[x * n + j])).sum();
        if (want - f64::from(got)).abs() > 1e-4 {
            return Err(Error::new(
                Kind::Numeric,
                format!("element ({i}, {j}) is {got}, it should be {want}"),
            ));
        }
    }
    Ok(())
}

/// The products in fewer bits against plain code, which must give the same bits.
fn check_rounded(engine: &Engine, precision: Precision) -> Result<()> {
    let (m, k, n) = (11, 70, 50);
    let stream = Stream::new(1, 3);
    let numbers: Vec<f32> = (0..(m + n) * k).map(|i| (2.0 * stream.uniform(i as u64) - 1.0) as f32).collect();
    let (x, w) = numbers.split_at(m * k);
    let product = |engine: &Engine| -> Vec<f32> {
        let weight = Weight::new(engine, precision, w, k);
        let (rounded, mut y) = (weight.round(engine, x), vec![]);
        weight.each(&rounded, 0..m, 0..weight.panels(), |_, _, values| y.extend_from_slice(values));
        y
    };
    match product(engine) == product(&Engine::unsupported(1)) {
        true => Ok(()),
        false => Err(Error::new(Kind::Numeric, "the processor's instructions and plain code differ")),
    }
}

/// A known answer of Random123 (kat_vectors, philox4x32 with ten rounds, all bits set).
fn check_random() -> Result<()> {
    let got = philox([u32::MAX; 4], [u32::MAX; 2]);
    match got == [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd] {
        true => Ok(()),
        false => Err(Error::new(Kind::Numeric, format!("philox gives {got:08x?}"))),
    }
}

/// A container is written, read back and removed.
fn check_files() -> Result<()> {
    let path = std::env::temp_dir().join(format!("lode-doctor-{}.lode", std::process::id()));
    let round = || -> Result<()> {
        let values: Vec<u64> = (0..1000).collect();
        let mut writer = Writer::create(&path, "doctor")?;
        writer.section("numbers", &values)?;
        writer.commit()?;
        let back = Container::open(&path, "doctor", Verify::Full)?;
        match back.slice::<u64>("numbers")? == values {
            true => Ok(()),
            false => Err(Error::damaged(&path, "numbers", "came back changed")),
        }
    };
    let result = round();
    // Nothing depends on it, and the error above, if any, says more.
    let _ = std::fs::remove_file(&path);
    result
}

fn free_space(path: &Path) -> Option<u64> {
    let found = rustix::fs::statvfs(path).ok()?;
    Some(found.f_bavail.saturating_mul(found.f_frsize))
}

pub(crate) fn cpu_name() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|l| l.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

#[cfg(target_arch = "x86_64")]
fn cpu_features() -> Vec<&'static str> {
    let all = [
        ("sse4.2", std::is_x86_feature_detected!("sse4.2")),
        ("avx", std::is_x86_feature_detected!("avx")),
        ("avx2", std::is_x86_feature_detected!("avx2")),
        ("fma", std::is_x86_feature_detected!("fma")),
        ("avx512f", std::is_x86_feature_detected!("avx512f")),
        ("avx512bw", std::is_x86_feature_detected!("avx512bw")),
        ("avx512dq", std::is_x86_feature_detected!("avx512dq")),
        ("avx512vl", std::is_x86_feature_detected!("avx512vl")),
        ("avx512vnni", std::is_x86_feature_detected!("avx512vnni")),
        ("avx512bf16", std::is_x86_feature_detected!("avx512bf16")),
    ];
    all.into_iter().filter(|&(_, has)| has).map(|(name, _)| name).collect()
}

#[cfg(not(target_arch = "x86_64"))]
fn cpu_features() -> Vec<&'static str> {
    vec![std::env::consts::ARCH]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_sound() {
        check_gemm(&Engine::new(2)).unwrap();
        for precision in Precision::ALL {
            check_rounded(&Engine::new(2), precision).unwrap();
        }
        check_random().unwrap();
        check_files().unwrap();
        assert!(free_space(Path::new("/")).is_none_or(|n| n > 0));
    }
}
