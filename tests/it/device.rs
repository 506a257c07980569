//! `--device` from the command line, on the stand-in driver (`tests/standin`): the encoder computes on a device, and
//! what follows is that of the CPU. Skips where the driver cannot be built.

use crate::process::{standin, with_cublas};
use crate::products;
use crate::run::{Ran, World};
use crate::torture::learned;
use std::path::Path;

/// A folder with an encoder of one step on eighty products, and the driver.
struct Place {
    world: World,
    driver: &'static Path,
}

impl Place {
    fn new() -> Option<Place> {
        let driver = Box::leak(standin()?.into_boxed_path());
        let world = World::new();
        world.write("products.csv", products::csv(80));
        world.lode(&products::PREPARE).ok();
        let place = Place { world, driver };
        place.world.lode(&[&place.train("run")[..], &["-q"]].concat()).ok();
        Some(place)
    }
    fn train(&self, out: &'static str) -> [&'static str; 10] {
        ["train", "shop.data", "--out", out, "--model", "tiny", "--batch", "16", "--steps", "1"]
    }
    /// Where the driver is found and cuBLAS is not. A machine with a cuBLAS of its own cannot hide that one: there the
    /// stand-in's is found, and these bytes of memory are for its workspace.
    fn alone(&self) -> (String, u32) {
        match has_cublas() {
            true => (with_cublas(self.driver), 4),
            false => (self.driver.display().to_string(), 0),
        }
    }
    /// Runs on a device with so many MiB of memory.
    fn with_memory(&self, mib: u32, words: &[&str]) -> Ran {
        let (path, workspace) = self.alone();
        self.with_libraries(&path, ("CUSHIM_MEM_MB", &(mib + workspace).to_string()), words)
    }
    /// Runs where cuBLAS is found, too.
    fn with_cublas(&self, words: &[&str]) -> Ran {
        self.with_libraries(&with_cublas(self.driver), ("CUSHIM_MEM_MB", "512"), words)
    }
    /// Runs on a device that fails at the launch of this number.
    fn failing_at(&self, launch: &str, words: &[&str]) -> Ran {
        self.with_libraries(&self.alone().0, ("CUSHIM_FAULT_AT", launch), words)
    }
    fn with_libraries(&self, path: &str, (variable, value): (&str, &str), words: &[&str]) -> Ran {
        let mut command = self.world.command(words);
        command.env("LD_LIBRARY_PATH", path).env(variable, value);
        let out = command.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ran { code: out.status.code().unwrap_or(-1), stdout: text(out.stdout), stderr: text(out.stderr) }
    }
    /// The same words without and with a device.
    fn both(&self, words: &[&str]) -> [Ran; 2] {
        let on = |device| self.with_memory(512, &[words, &["--device", device]].concat()).ok();
        ["cpu", "cuda:0"].map(on)
    }
}

/// Whether the loader finds a cuBLAS of this machine.
fn has_cublas() -> bool {
    !engine::cuda::cublas().is_err_and(|e| e.message().contains("no cuBLAS is found"))
}

#[test]
fn encoded_on_a_device_texts_have_the_vectors_of_the_cpu() {
    let Some(place) = Place::new() else { return };
    place.world.write("texts.txt", "Kivi small oak chair\n\nAlba red wool blanket");
    let encode_by = |device: &str, precision: &str, gemm: &str| -> Vec<f32> {
        let words = ["encode", "run", "texts.txt", "--out", "x.npy", "-q", "--precision", precision];
        place.with_cublas(&[&words[..], &["--device", device, "--gemm", gemm]].concat()).ok();
        let bytes = place.world.read("x.npy");
        bytes[128..].as_chunks::<4>().0.iter().map(|c| f32::from_le_bytes(*c)).collect()
    };
    let want = encode_by("cpu", "f32", "auto");
    // The largest difference; NaN if there is one, which is less than nothing.
    let far = |got: &[f32]| -> f32 {
        assert_eq!(got.len(), want.len());
        let differences = got.iter().zip(&want).map(|(a, b)| (a - b).abs());
        differences.fold(0.0, |a, b| if b.is_nan() || b > a { b } else { a })
    };
    let [own, cublas] = ["own", "cublas"].map(|gemm| {
        let encode = |precision| encode_by("cuda:0", precision, gemm);
        let vectors = encode("f32");
        let (exact, rounded) = (far(&vectors), far(&encode("bf16")));
        assert!(exact < 1e-5 && rounded > 3.0 * exact, "{gemm}: {exact} {rounded}");
        assert!((2e-5..2e-2).contains(&rounded), "{gemm}: {rounded}");
        vectors
    });
    assert!(own != cublas, "the stand-in for cuBLAS adds up in another order");
    assert_eq!(encode_by("cuda:0", "f32", "auto"), cublas);
}

#[test]
fn who_multiplies_is_chosen_told_and_remembered() {
    let Some(place) = Place::new() else { return };
    if has_cublas() {
        return println!(
            "skipped: who_multiplies_is_chosen_told_and_remembered needs a machine without cuBLAS"
        );
    }
    // Clusters are made by the processor.
    let beside = engine::KernelClass::detect().name();
    let [cublas, own] = ["cuda-cublas-12.1.3-sm80x2", "cuda-sm80"].map(|class| format!("{class}+{beside}"));
    for (out, more, said, class) in [
        ("auto", &[][..], "matrix products by cuBLAS 12.1.3", &cublas),
        ("asked", &["--gemm", "cublas"], "matrix products by cuBLAS 12.1.3", &cublas),
        ("own", &["--gemm", "own"], "matrix products by own kernels", &own),
    ] {
        let train = [&place.train(out)[..], &["--device", "cuda:0"], more].concat();
        let ran = place.with_cublas(&train).ok();
        let said = format!("on cuda:0, stand-in (host): {said}");
        assert!(ran.stderr.contains(&said), "{}", ran.stderr);
        let first = String::from_utf8(place.world.read(&format!("{out}/processes.jsonl"))).unwrap();
        assert!(first.contains(&format!("\"kernels\":\"{class}\"")), "{first}");
    }
    // It goes on where the library is gone, unless it was demanded.
    let resumed = place.with_memory(512, &["resume", "auto"]).ok();
    let warning = format!("made with {cublas} kernels, this is {own}: bits will differ");
    assert!(resumed.stderr.contains(&warning), "{}", resumed.stderr);
    assert!(!place.with_cublas(&["resume", "auto"]).ok().stderr.contains("bits will differ"));
    place.with_memory(512, &["resume", "asked"]).fails(3, &["no cuBLAS is found", "--gemm own"]);
    let predict = ["predict", "run", "--text", "Kivi small oak chair", "--device", "cuda:0"];
    assert!(place.with_cublas(&predict).ok().stderr.contains("matrix products by cuBLAS 12.1.3"));
    place.with_memory(512, &[&predict[..], &["--gemm", "cublas"]].concat()).fails(3, &["no cuBLAS"]);
    let [found, missing] = [place.with_cublas(&["doctor"]), place.with_memory(512, &["doctor"])];
    assert!(found.ok().stdout.contains("cuBLAS     12.1.3\n"));
    assert!(missing.ok().stdout.contains("cuBLAS     none, own kernels multiply: no cuBLAS is found"));
    let found = place.with_cublas(&["doctor", "--json"]).ok().json();
    assert_eq!(found["cublas"]["version"], "12.1.3");
    // There is nobody to choose on the CPU.
    place.world.lode(&[&predict[..4], &["--gemm", "own"]].concat()).fails(3, &["--gemm", "--device cuda:0"]);
    place.world.lode(&[&place.train("cpu")[..], &["--gemm", "own"]].concat()).fails(3, &["train.gemm"]);
}

#[test]
fn answers_and_measures_of_a_device_are_those_of_the_cpu() {
    let Some(place) = Place::new() else { return };
    let [cpu, device] =
        place.both(&["evaluate", "run", "shop.data", "--metrics", "R@10,P@1", "--json", "--knn", "3"]);
    assert_eq!(cpu.json(), device.json());
    let predict = ["predict", "run", "--text", "Kivi small oak chair", "--json"];
    let labels = |ran: &Ran| -> Vec<(String, f64)> {
        let (json, of) = (ran.json(), |l: &serde_json::Value| l["score"].as_f64().unwrap());
        json["labels"].as_array().unwrap().iter().map(|l| (l["uid"].to_string(), of(l))).collect()
    };
    let device = place.with_memory(512, &[&predict[..], &["--device", "cuda:0"]].concat()).ok();
    let kept = || place.world.path("run/index.lode").exists();
    assert!(!kept(), "the CPU would answer from it, with bits that are not its own");
    let cpu = place.world.lode(&predict).ok();
    assert!(kept());
    let [cpu, device] = [cpu, device].map(|ran| labels(&ran));
    assert_eq!(cpu.len(), 5);
    for ((want, a), (got, b)) in cpu.iter().zip(&device) {
        assert!(want == got && (a - b).abs() < 1e-4, "{cpu:?} {device:?}");
    }
}

/// What `lode demo` does, shortened: a bag, a transformer that starts from its embeddings, a classifier; all measured.
#[test]
fn a_short_demo_ends_on_a_device_where_it_does_on_the_cpu() {
    let Some(place) = Place::new() else { return };
    let mut found = vec![];
    for device in ["cpu", "cuda:0"] {
        let run = |words: &str| place.with_memory(512, &words.split(' ').collect::<Vec<&str>>()).ok();
        let train = |out: &str, more: &str| {
            run(&format!("train shop.data --out {out}-{device} --device {device} --batch 16 -q {more}"));
        };
        train("bag", "--model bag --composer ngame --steps 40 --set model.width=32 --lr 1e-2");
        let from = format!("--set model.embeddings=bag-{device} --set model.width=32");
        train("tiny", &format!("--model tiny --steps 3 --composer ngame {from}"));
        train("head", &format!("--model bag-{device} --head classifier --loss bce --steps 20 --lr 1e-2"));
        let measure = |of: &str| -> Vec<f64> {
            let words = format!(
                "evaluate {of}-{device} shop.data --metrics P@1,R@10 --knn 3 --json --device {device}"
            );
            let json = run(&words).json();
            ["P@1", "R@10"].map(|metric| json[metric].as_f64().expect("a number")).to_vec()
        };
        found.push(["bag", "tiny", "head"].map(measure));
    }
    let [cpu, device] = &found[..] else { unreachable!("two were measured") };
    assert!(cpu.iter().flatten().all(|value| *value > 0.0), "{cpu:?}");
    // A title or two may fall the other way where scores are nearly equal.
    let near = |(a, b): (&f64, &f64)| (a - b).abs() <= 0.2;
    assert!(cpu.iter().flatten().zip(device.iter().flatten()).all(near), "{cpu:?} {device:?}");
}

#[test]
fn a_device_mines_what_the_cpu_mines() {
    let Some(place) = Place::new() else { return };
    let mine = |device: &str| -> Vec<(String, Vec<String>)> {
        let words =
            ["mine", "run", "shop.data", "--out", "mined", "--num-negatives", "3", "-q", "--device", device];
        place.with_memory(512, &words).ok();
        let text = String::from_utf8(place.world.read("mined")).unwrap();
        let line = |line: &str| {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            let negatives = value["negatives"].as_array().unwrap();
            (value["uid"].to_string(), negatives.iter().map(ToString::to_string).collect())
        };
        text.lines().map(line).collect()
    };
    let cpu = mine("cpu");
    assert!(cpu.len() > 10 && cpu[0].1.len() == 3, "{cpu:?}");
    assert_eq!(mine("cuda:0"), cpu);
}

#[test]
fn both_memories_are_planned() {
    let Some(place) = Place::new() else { return };
    let train = [&place.train("planned")[..], &["--device", "cuda:0", "--dry-run"]].concat();
    let said = place.with_memory(512, &train).ok().stdout;
    let (cpu, device) = said.split_once("of cuda:0, which has ").expect("a second table");
    assert!(device.contains("  activations ") && !cpu.contains("activations"), "{said}");
    assert!(cpu.contains("  text numbers ") && device.matches("memory at peak").count() == 1, "{said}");
    let plan = place.with_memory(512, &[&train[..], &["--json"]].concat()).ok().json();
    let bytes = |of: &serde_json::Value| of["parts_bytes"]["parameters"].as_u64();
    assert!(bytes(&plan).is_none() && bytes(&plan["device"]).is_some_and(|bytes| bytes > 1000), "{plan}");
    // It may be wrong: so it warns, and the device has the last word.
    let train = [&place.train("small")[..], &["--device", "cuda:0"]].concat();
    let ran = place.with_memory(4, &train).fails(5, &["the device has no memory left"]);
    assert!(ran.stderr.contains("of cuda:0, which has") && ran.stderr.contains("warning:"), "{}", ran.stderr);
    let train = [&place.train("large")[..], &["--device", "cuda:0"]].concat();
    assert!(!place.with_memory(512, &train).ok().stderr.contains("warning:"));
}

#[test]
fn a_device_without_memory_left_ends_a_verb_with_an_error_and_no_panic() {
    let Some(place) = Place::new() else { return };
    let wanted = ["the device has no memory left", "MiB are in use", "--chunk"];
    // Whoever passes over the flag does not fail.
    let verbs: [&[&str]; 4] = [
        &["evaluate", "run", "shop.data"],
        &["predict", "run", "--text", "Kivi small oak chair"],
        &["encode", "run", "products.csv", "--out", "x.npy"],
        &["mine", "run", "shop.data", "--out", "mined"],
    ];
    for verb in verbs {
        place.with_memory(1, &[verb, &["--device", "cuda:0"]].concat()).fails(5, &wanted);
    }
    assert!(!place.world.path("x.npy").exists() && !place.world.path("mined").exists());
    // The parameters fit, a step does not.
    let train = [&place.train("second")[..], &["--device", "cuda:0"]].concat();
    let ran = place.with_memory(4, &train).fails(5, &wanted);
    assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
}

#[test]
fn a_device_that_fails_ends_a_run_with_words_and_it_goes_on_with_the_same_bits() {
    let Some(place) = Place::new() else { return };
    let train = |out| {
        let words = ["train", "shop.data", "--out", out, "--model", "tiny", "--batch", "16", "--steps", "3"];
        [&words[..], &["--device", "cuda:0", "--save-every", "0.000001s", "-q"]].concat()
    };
    place.with_memory(512, &train("whole")).ok();
    let ran = place.failing_at("700", &train("failed")).fails(1, &["CUDA_ERROR_700", "lode resume failed"]);
    assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
    place.with_memory(512, &["resume", "failed", "-q"]).ok();
    assert!(learned(&place.world, "failed") == learned(&place.world, "whole"));
}

#[test]
fn what_a_device_does_not_do_is_said() {
    let Some(place) = Place::new() else { return };
    let wide = ["--model", "tiny", "--set", "model.width=640"];
    let train = [&["train", "shop.data", "--out", "wide", "--device", "cuda:0"], &wide[..]].concat();
    place.with_memory(512, &train).fails(3, &["heads of 160 channels", "128 at most", "--device cpu"]);
    let evaluate = ["evaluate", "run", "shop.data", "--device", "cuda:0", "--precision", "int8"];
    place.with_memory(512, &evaluate).fails(3, &["not int8"]);
    place
        .world
        .lode(&["encode", "run", "products.csv", "--out", "x.npy", "--device", "gpu"])
        .fails(3, &["`gpu` is no device"]);
    let train = [&place.train("first")[..], &["--device", "cuda:0", "-q"]].concat();
    place.with_memory(512, &train).ok();
    let graph = place.world.lode(&["inspect", "graph", "first"]).ok();
    assert!(
        graph.stdout.contains("not shown: the run's device, cuda:0: this is the CPU"),
        "{}",
        graph.stdout
    );
    let head = ["--head", "classifier", "--loss", "bce", "--set", "head.memory=device"];
    let train = [&place.train("second")[..], &head].concat();
    place.world.lode(&train).fails(3, &["head.memory = device", "this run has none", "--device cuda:0"]);
    let train = [&place.train("second")[..], &head[..5], &["head.memory=gpu"]].concat();
    place.world.lode(&train).fails(3, &["`head.memory` must be one of auto, cpu, device"]);
    let train = [&place.train("second")[..], &["--precision", "bf16"]].concat();
    place.world.lode(&train).fails(3, &["train.precision", "on a CUDA device"]);
}
