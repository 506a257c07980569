//! A run on a CUDA device, by the stand-in driver (`tests/standin`): parameters, activations, gradients and the state
//! of the optimizer lie there, and the losses are those of the CPU.

mod losses;
mod world;

#[path = "../../tests/standin/process.rs"]
mod process;

use autograd::SgdRows;
use engine::{Engine, Home, Kind, Stream, Table, TablePrecision, Tensor};
use models::heads::OneVsAll;
use models::heads::one_vs_all::{Ids, Truth};
use process::{SHUFFLED, again, gemm, standin};
use std::path::Path;
use train::plan::MemoryPlan;
use train::{Silent, Trainer, run};
use world::topics;

/// The relative difference that is forgiven after ten updates, in which rounding grows.
const TOLERANCE: f64 = 1e-4;
/// The same in bf16, whose numbers have eight bits.
const TOLERANCE_BF16: f64 = 1e-2;
const STEPS: u64 = 10;
/// Who multiplies, as a process is told.
const GEMMS: [&str; 2] = ["own", "cublas"];

fn trainer(data: &Path, told: &str, device: &str) -> engine::Result<Trainer> {
    let base = ["model.width=32", "train.batch=8", "train.lr=1e-3", "train.warmup_steps=2", "train.steps=10"];
    let gemm = if device == "cpu" { "auto".to_owned() } else { gemm() };
    let (device, gemm) = (format!("train.device={device}"), format!("train.gemm={gemm}"));
    let changes: Vec<&str> = told.split_whitespace().chain([&*device, &*gemm]).collect();
    let trainer = run::assemble(&Engine::new(1), &world::settings(data, &base, &changes))?;
    trainer.engine().cuda().into_iter().for_each(process::met);
    Ok(trainer)
}

fn losses(trainer: &mut Trainer, steps: u64) -> Vec<f64> {
    (0..steps).map(|_| trainer.next_step(&mut Silent).expect("a step").loss).collect()
}

fn numbers(trainer: &Trainer) -> Vec<f64> {
    let params = &trainer.network.model.params;
    params.ids().flat_map(|id| params.value(id).to_f64()).collect()
}

#[track_caller]
fn agree(got: &[f64], want: &[f64]) {
    assert_eq!(got.len(), want.len());
    // Written so that a NaN fails.
    let near = |(g, w): (&f64, &f64)| (g - w).abs() <= TOLERANCE * w.abs();
    assert!(got.iter().zip(want).all(near), "on the device {got:?}, on the CPU {want:?}");
}

/// A test of this file that is ignored otherwise: threads come shuffled with own kernels, and as they come with cuBLAS.
fn own_shuffled_and_cublas(name: &str) {
    let Some(folder) = standin() else { return };
    again(name, &folder, &[&[("GEMM", "own")], &SHUFFLED[..]].concat());
    again(name, &folder, &[("GEMM", "cublas")]);
}

#[test]
fn ten_losses_on_the_stand_in_device_are_those_of_the_cpu() {
    let Some(folder) = standin() else { return };
    for gemm in GEMMS {
        again("run_on_the_device", &folder, &[&[("GEMM", gemm)], &SHUFFLED[..]].concat());
    }
}

#[test]
fn a_classifier_on_the_stand_in_device_learns_what_it_does_on_the_cpu() {
    let Some(folder) = standin() else { return };
    // Which product is whose is the tests of operations' to say.
    again("classifiers_on_the_device", &folder, &[&[("GEMM", "own")], &SHUFFLED[..]].concat());
}

#[test]
fn all_labels_are_learned_in_chunks_of_a_device() {
    own_shuffled_and_cublas("chunks_on_the_device");
}

#[test]
fn a_checkpoint_of_the_stand_in_device_goes_on_where_it_was() {
    own_shuffled_and_cublas("resume_on_the_device");
}

#[test]
fn ten_losses_in_bf16_are_those_of_the_cpu_but_for_rounding() {
    own_shuffled_and_cublas("bf16_on_the_device");
}

#[test]
fn golden_losses_on_the_stand_in_device_are_those_of_sentence_transformers() {
    own_shuffled_and_cublas("losses_on_the_device");
}

#[test]
fn a_device_without_memory_left_is_an_error() {
    let Some(folder) = standin() else { return };
    again("too_little_memory", &folder, &[("GEMM", "own"), ("CUSHIM_MEM_MB", "2")]);
    // Its workspace takes 4.
    again("too_little_memory", &folder, &[("GEMM", "cublas"), ("CUSHIM_MEM_MB", "6")]);
}

#[test]
fn label_weights_leave_a_device_that_has_no_room_for_the_run() {
    let Some(folder) = standin() else { return };
    again("tables_of_a_full_device", &folder, &[("GEMM", "own"), ("CUSHIM_MEM_MB", "4")]);
}

#[test]
fn what_a_device_holds_was_planned() {
    let Some(folder) = standin() else { return };
    GEMMS.iter().for_each(|gemm| drop(again("plans_of_the_device", &folder, &[("GEMM", gemm)])));
}

#[test]
fn a_step_launches_sends_and_waits_as_often_as_is_stated() {
    let Some(folder) = standin() else { return };
    let dir = tempfile::tempdir().expect("a directory");
    let counts = dir.path().join("counts");
    again("counts_of_a_step", &folder, &[("GEMM", "own"), (COUNTS, counts.to_str().expect("a name"))]);
}

#[test]
fn a_device_that_is_not_there_is_bad_input_and_says_what_is_missing() {
    if engine::cuda::devices().is_ok() {
        return println!("skipped: this machine has a CUDA device");
    }
    let dir = tempfile::tempdir().expect("a directory");
    let data = topics(dir.path(), 100);
    let error = trainer(&data, "model.source=tiny", "cuda:0").err().expect("there is none");
    assert_eq!(error.kind(), Kind::Input);
    assert!(error.to_string().contains("CUDA driver"), "{error}");
}

#[test]
#[ignore = "runs in a process that finds the stand-in driver"]
fn run_on_the_device() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = topics(dir.path(), 100);
    for told in [
        "model.source=tiny model.dropout=0.1 loss.name=infonce train.accumulate=2",
        "model.source=tiny model.dropout=0 composer.name=ngame loss.name=triplet train.chunk=16 model.recompute=true",
        "model.source=bag loss.name=infonce memory.queue=60 memory.momentum=0.99 train.optimizer=lamb train.lr=1e-2",
        "model.source=tiny model.dropout=0 loss.name=infonce auxiliary.clusters=16 auxiliary.private=4",
        "model.source=tiny model.dropout=0 loss.name=infonce model.pooling=latent model.latents=12",
        "model.source=tiny model.dropout=0 loss.name=infonce negatives.from=model negatives.count=2 \
         negatives.depth=20 negatives.refresh_steps=4 negatives.relative_margin=0.05 negatives.own=true",
    ] {
        let [mut cpu, mut device] = ["cpu", "cuda:0"].map(|on| trainer(&data, told, on).expect("fits"));
        let params = &device.network.model.params;
        assert!(params.ids().all(|id| params.value(id).cuda().is_some()), "the parameters lie on the device");
        let start = numbers(&device);
        agree(&losses(&mut device, STEPS), &losses(&mut cpu, STEPS));
        let (got, want) = (numbers(&device), numbers(&cpu));
        let far = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(far(&start, &want) > 1e-3, "the parameters have moved");
        assert!(
            far(&got, &want) < 0.02 * far(&start, &want),
            "{} of {}",
            far(&got, &want),
            far(&start, &want)
        );
    }
}

#[test]
#[ignore = "runs in a process that finds the stand-in driver"]
fn losses_on_the_device() {
    losses::all(&Engine::new(1).with_cuda(process::device()));
}

/// Whether its plan has label weights on the device.
fn has_labels_there(trainer: &Trainer) -> bool {
    let plan = MemoryPlan::new(trainer);
    let lie_in =
        |parts: &[(&str, usize)]| parts.iter().any(|(name, bytes)| *name == "label weights" && *bytes > 0);
    let there = lie_in(&plan.device.expect("a device").parts);
    assert_ne!(there, lie_in(&plan.parts), "label weights lie in one of the two memories");
    there
}

/// Every way in which a step comes to the labels that it scores; encoders that rest, and that learn; label weights on
/// the device, and beside it.
#[test]
#[ignore = "runs in a process that finds the stand-in driver"]
fn classifiers_on_the_device() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = topics(dir.path(), 100);
    let learns = "model.source=tiny model.dropout=0 head.encoder_lr=1e-3";
    for told in [
        "model.source=bag head.labels=all",
        &format!("{learns} head.labels=all head.precision=bf16 head.optimizer=sgd"),
        &format!(
            "{learns} head.labels=sampled head.loss=supcon head.mined=2 head.uniform=8 composer.name=ngame"
        ),
        &format!("{learns} head.labels=sampled head.loss=triplets head.optimizer=adagrad head.mined=3"),
        &format!(
            "{learns} head.labels=sampled head.loss=supcon head.mined=2 head.uniform=4 head.text_share=0.5"
        ),
        "model.source=tiny model.dropout=0 head.labels=live head.loss=lambdamrr head.shortlist=20 head.optimizer=none",
        &format!("{learns} head.labels=live head.loss=decoupled head.shortlist=10"),
        &format!(
            "{learns} head.labels=factored head.loss=zloss head.optimizer=sgd head.dropout=0 train.lr=0.1"
        ),
        &format!("{learns} head.labels=all train.label_texts=true head.teacher=start head.near_labels=5"),
        "model.source=bag head.labels=all head.memory=cpu",
        "model.source=bag head.labels=live head.loss=decoupled head.shortlist=10 head.memory=cpu",
        "model.source=bag head.labels=sampled head.loss=supcon head.uniform=8 head.precision=bf16 head.memory=cpu",
    ] {
        let told = format!("head.name=classifier {told}");
        let [mut cpu, mut device] = ["cpu", "cuda:0"].map(|on| trainer(&data, &told, on).expect("fits"));
        let stay = ["head.memory=cpu", "head.loss=zloss"].iter().any(|why| told.contains(why));
        assert_eq!(has_labels_there(&device), !stay, "{told}");
        assert_eq!(device.kernel_class().contains('+'), stay || told.contains("ngame"), "{told}");
        agree(&losses(&mut device, STEPS), &losses(&mut cpu, STEPS));
        let weights = |trainer: &Trainer| -> Vec<f64> {
            trainer.classifier().expect("it has one").rows.into_iter().map(f64::from).collect()
        };
        let far = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
        for [got, want] in [[weights(&device), weights(&cpu)], [numbers(&device), numbers(&cpu)]] {
            let (off, length) = (far(&got, &want), far(&want, &vec![0.0; want.len()]));
            assert!(off < 1e-3 * length, "{told}: {off} of {length}");
        }
    }
}

/// The shortcut over several chunks, by tables on either side, in f32 and in bf16: loss, gradient and weights.
#[test]
#[ignore = "runs in a process that finds the stand-in driver"]
fn chunks_on_the_device() {
    // Eight chunks of 8 labels at once on a device, and a last one whose lines begin anywhere.
    const SHAPE: [usize; 3] = [24, 150, 16];
    let [n, labels, d] = SHAPE;
    let draw = |count: usize, tag: u64| -> Vec<f32> {
        (0..count as u64).map(|i| Stream::new(9, tag).uniform(i) as f32 - 0.5).collect()
    };
    let starts: Vec<usize> = (0..=n).collect();
    let items: Vec<u32> = (0..n as u32).map(|i| 7 * i % labels as u32).collect();
    let nobody = vec![0; n + 1];
    let truth = Truth {
        positives: Ids { starts: &starts, items: &items },
        left_out: Ids { starts: &nobody, items: &[] },
        soft: None,
    };
    let head = OneVsAll { scale: 4.0, shift: -1.0, chunk: 8 };
    let chance = TablePrecision::Bf16(Stream::new(9, 9));
    let all: Vec<u32> = (0..labels as u32).collect();
    let stepped = |engine: &Engine, home: &Home, precision: TablePrecision| -> [Vec<f64>; 3] {
        let mut table = Table::zeros_in(home, precision, labels, d).expect("it fits");
        table.scatter(engine, 0, &all, &table.bring(&Tensor::from_vec([labels, d], draw(labels * d, 1))));
        let x = engine.place(&Tensor::from_vec([n, d], draw(n * d, 2)));
        let (loss, dx) = head.step(engine, &mut table, &mut SgdRows::new(), &x, truth, 0.5).expect("finite");
        [vec![loss], dx.to_f64(), table.slice(engine, 0..labels).to_f64()]
    };
    let devices = [process::device(), process::device().in_bf16()];
    for precision in [TablePrecision::F32, chance] {
        let want = stepped(&Engine::new(1), &Home::Heap, precision);
        for cuda in &devices {
            for home in [Home::Heap, Home::Device(cuda.clone())] {
                let engine = Engine::new(1).with_cuda(cuda.clone());
                let got = stepped(&engine, &home, precision);
                for (what, (got, want)) in
                    ["loss", "gradient", "weights"].into_iter().zip(got.iter().zip(&want))
                {
                    let square = |x: &mut dyn Iterator<Item = f64>| x.map(|x| x * x).sum::<f64>().sqrt();
                    let off = square(&mut got.iter().zip(want).map(|(a, b)| a - b))
                        / square(&mut want.iter().copied());
                    // Numbers of bf16 have eight bits; a weight that is rounded by another chance is off by one of
                    // these.
                    let most =
                        if cuda.is_bf16() || precision == chance && what == "weights" { 5e-3 } else { 1e-5 };
                    assert!(off < most, "{what}, {home:?}, {precision:?}, bf16 {}: {off}", cuda.is_bf16());
                    assert!(
                        !cuda.is_bf16() || what == "weights" || off > 1e-6,
                        "{what}: it has been rounded"
                    );
                }
            }
        }
    }
}

#[test]
#[ignore = "runs in a process that finds the stand-in driver"]
fn bf16_on_the_device() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = topics(dir.path(), 100);
    let told = "model.source=tiny model.dropout=0 loss.name=infonce";
    let losses_of = |more: &str, device: &str, steps: u64| {
        losses(&mut trainer(&data, &format!("{told} {more}"), device).expect("fits"), steps)
    };
    let (want, exact) = (losses_of("", "cpu", STEPS), losses_of("", "cuda:0", 2));
    let got = losses_of("train.precision=bf16", "cuda:0", STEPS);
    // Written so that a NaN fails.
    let near = |(g, w): (&f64, &f64)| (g - w).abs() <= TOLERANCE_BF16 * w.abs();
    assert!(got.iter().zip(&want).all(near), "in bf16 {got:?}, in f32 {want:?}");
    assert!(got.iter().zip(&exact).all(|(g, e)| g != e), "it has been rounded");
    let device = trainer(&data, &format!("{told} train.precision=bf16"), "cuda:0").expect("fits");
    let params = &device.network.model.params;
    assert!(params.ids().all(|id| params.value(id).dtype() == engine::DType::F32), "what is kept is f32");
}

/// What the pool of the device had lent at once, beside the plan.
#[test]
#[ignore = "runs in a process that finds the stand-in driver"]
fn plans_of_the_device() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = topics(dir.path(), 300);
    let wide = "model.width=64 train.batch=32 model.dropout=0.1";
    let mut wrong = vec![];
    for told in [
        &format!("model.source=tiny loss.name=infonce {wide}"),
        &format!("model.source=tiny loss.name=infonce {wide} train.precision=bf16"),
        &format!("model.source=tiny loss.name=infonce {wide} train.chunk=16 composer.name=ngame"),
        &format!("model.source=tiny {wide} head.name=classifier head.labels=all head.encoder_lr=1e-3"),
        &format!("model.source=tiny {wide} head.name=classifier head.labels=all head.memory=cpu"),
        "model.source=bag model.width=64 train.batch=32 head.name=classifier head.labels=all head.encoder_lr=1e-3 \
         head.precision=bf16 train.precision=bf16",
        "model.source=bag model.width=64 train.batch=64 loss.name=infonce negatives.from=model negatives.count=1",
    ] {
        let mut device = trainer(&data, told, "cuda:0").expect("fits");
        let plan = MemoryPlan::new(&device).device.expect("a device");
        losses(&mut device, 3);
        let peak = device.engine().cuda().expect("a device").pool_stats().bytes_in_use_peak;
        let share = peak as f64 / plan.total() as f64;
        if !(0.75..=1.0).contains(&share) {
            wrong.push(format!("{told}: {share} of what was planned, {peak} bytes\n{plan}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Names the file in which the stand-in counts.
const COUNTS: &str = "CUSHIM_COUNTS";

/// What the stand-in has counted so far: copies to the device, copies before which a driver may wait, copies from it,
/// kernels, waits, and how often memory was taken.
fn counts() -> [u64; 6] {
    let bytes = std::fs::read(std::env::var_os(COUNTS).expect("the file is named")).expect("it is there");
    let count = |i: usize| u64::from_ne_bytes(bytes[8 * i..][..8].try_into().expect("eight bytes"));
    std::array::from_fn(count)
}

/// The counts of docs/cuda.md, with one encoder and its labels' texts, and with a classifier.
#[test]
#[ignore = "runs in a process that finds the stand-in driver"]
fn counts_of_a_step() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = topics(dir.path(), 100);
    let tiny = "model.source=tiny model.dropout=0.1";
    let mut wrong = vec![];
    for (told, stated) in [
        (&format!("{tiny} loss.name=infonce"), [32, 0, 5, 240, 5, 0]),
        (&format!("{tiny} head.name=classifier head.labels=all head.encoder_lr=1e-3"), [26, 0, 3, 240, 3, 0]),
    ] {
        let mut device = trainer(&data, told, "cuda:0").expect("fits");
        // The first steps ask the driver for memory.
        losses(&mut device, 3);
        for _ in 0..3 {
            let before = counts();
            losses(&mut device, 1);
            let now = counts();
            let step: [u64; 6] = std::array::from_fn(|i| now[i] - before[i]);
            if step != stated {
                wrong.push(format!("{told}: {step:?}, stated are {stated:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
#[ignore = "runs in a process that finds the stand-in driver"]
fn tables_of_a_full_device() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = topics(dir.path(), 100);
    let told = "model.source=tiny model.width=64 train.batch=32 head.name=classifier head.encoder_lr=1e-3";
    for (more, stay) in [("", false), ("head.memory=device", true)] {
        let mut device = trainer(&data, &format!("{told} {more}"), "cuda:0").expect("the parameters fit");
        assert!(has_labels_there(&device), "they fit by themselves");
        let plan = MemoryPlan::within(&mut device, None, dir.path());
        let there = plan.device.expect("a device");
        assert!(there.total() > there.free, "the run does not");
        assert_eq!(has_labels_there(&device), stay, "`{more}`");
    }
    // Neither do these: an error, and what to do.
    let told = "model.source=bag model.width=2000 head.name=classifier head.memory=device";
    let mut device = trainer(&data, told, "cuda:0").expect("the parameters fit");
    let error = device.next_step(&mut Silent).expect_err("the label weights do not fit");
    assert_eq!(error.kind(), Kind::Refused);
    assert!(format!("{error:#?}").contains("head.memory=cpu"), "{error:?}");
}

#[test]
#[ignore = "runs in a process that finds the stand-in driver"]
fn too_little_memory() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = topics(dir.path(), 100);
    let mut trainer =
        trainer(&data, "model.source=tiny model.width=64", "cuda:0").expect("the parameters fit");
    let error = (0..3).find_map(|_| trainer.next_step(&mut Silent).err()).expect("a step does not");
    assert_eq!(error.kind(), Kind::Refused);
    assert!(error.to_string().contains("the device has no memory left"), "{error}");
}

#[test]
#[ignore = "runs in a process that finds the stand-in driver"]
fn resume_on_the_device() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = topics(dir.path(), 100);
    for (name, told) in [
        ("encoder", "model.source=tiny model.dropout=0.1 loss.name=infonce auxiliary.clusters=16"),
        ("f32", "model.source=bag head.name=classifier head.labels=sampled head.loss=supcon head.uniform=8"),
        ("bf16", "model.source=bag head.name=classifier head.labels=all head.precision=bf16"),
    ] {
        resumes(&data, told, &dir.path().join(name));
    }
}

fn resumes(data: &Path, told: &str, folder: &Path) {
    let [mut whole, mut first, mut second] = [(); 3].map(|()| trainer(data, told, "cuda:0").expect("fits"));
    let want = losses(&mut whole, STEPS);
    std::fs::create_dir(folder).expect("a folder");
    // Of label weights the second file has those alone that changed.
    for steps in [3, 1] {
        losses(&mut first, steps);
        first.save(folder).expect("it is written");
    }
    let (checkpoint, ..) = train::checkpoint::Checkpoint::newest(folder).expect("it is read");
    // A real device has another number of multiprocessors, and another version of the library.
    let by_cublas = gemm() == "cublas" || gemm() == "auto" && engine::cuda::cublas().is_ok();
    let class = if by_cublas { "cuda-cublas-" } else { "cuda-sm" };
    assert!(checkpoint.kernel_class.starts_with(class), "{}", checkpoint.kernel_class);
    assert_eq!(checkpoint.kernel_class.contains("cublas"), by_cublas);
    second.restore(checkpoint).expect("it fits");
    assert_eq!(losses(&mut second, STEPS - 4), want[4..], "{told}: the same bits as without a stop");
    let weights = |trainer: &Trainer| trainer.classifier().map(|found| found.rows);
    assert!(weights(&second) == weights(&whole), "{told}: label weights");
}
