//! The same bits: what each pipeline learns in a few steps, by checksum, on every machine of a kernel class and with
//! any number of threads.
//!
//! Kernels of a lesser class run on a better processor as well, so one machine holds several columns of the table. The
//! products of the two lesser classes are those of `matrixmultiply`, which takes the best instructions of the
//! processor; with AVX-512 and with AVX2 and FMA it adds up the same numbers in the same order. Logarithms and powers
//! are those of the system's libm. So the table is of processors with AVX2 at least and of glibc; elsewhere the test
//! compares threads, and skips the table by name.

mod world;

use data::{DataSet, Verify};
use engine::container::checksum;
use engine::{Engine, KernelClass, Packed, Precision};
use std::path::Path;
use train::embed::embed;
use train::{Silent, Trainer, run};
use world::{StopAfter, Warned, topics};

/// The columns of [`RECORDED`].
const CLASSES: [KernelClass; 3] = [KernelClass::Portable, KernelClass::Avx2, KernelClass::Avx512];

/// What each pipeline came to. When arithmetic is changed on purpose, the failing test prints the table as it is now.
const RECORDED: [(&str, [u64; 3]); 8] = [
    ("transformer", [0x35fa01a4c1585446, 0x35fa01a4c1585446, 0xd9c11627af8abcbf]),
    ("bag", [0xc70aea46a6a57466, 0xc70aea46a6a57466, 0xc70aea46a6a57466]),
    ("classifier of all labels", [0x3e42cb46f61b287d, 0x3e42cb46f61b287d, 0xc9b9f394c0779a04]),
    ("classifier of sampled labels", [0x4d98a4c3b8282735, 0x4d98a4c3b8282735, 0x4d98a4c3b8282735]),
    ("classifier through factors", [0xb4c82e5295b788d3, 0xb4c82e5295b788d3, 0xb4c82e5295b788d3]),
    ("queue and slow copy", [0xaa22a699a1d21810, 0xaa22a699a1d21810, 0xaa22a699a1d21810]),
    ("mined lists", [0x61ee9837100f71e0, 0x61ee9837100f71e0, 0x61ee9837100f71e0]),
    ("prediction in int8", [0x22cec2361343338f, 0x22cec2361343338f, 0xb40545a749b9b9cd]),
];

/// What each pipeline is told, in the order of [`RECORDED`].
const TOLD: [&str; 8] = [
    "model.source=tiny model.dropout=0.1 train.accumulate=2 composer.name=ngame loss.name=infonce",
    "model.source=bag composer.name=ngame loss.name=triplet train.optimizer=lamb train.lr=1e-2",
    "model.source=bag head.name=classifier head.labels=all head.encoder_lr=1e-3",
    "model.source=bag head.name=classifier head.labels=sampled head.loss=supcon head.mined=2 head.uniform=32 \
     head.precision=bf16",
    "model.source=bag head.name=classifier head.loss=zloss train.lr=3.0 head.encoder_lr=1e-3",
    "model.source=bag memory.queue=60 memory.momentum=0.99 memory.mixed=4 memory.mixed_from=10 loss.name=infonce",
    "model.source=bag negatives.from=model negatives.count=3 negatives.refresh_steps=4 negatives.pick=window \
     loss.name=infonce",
    "model.source=tiny loss.name=infonce",
];

/// Steps of each pipeline: more than an epoch.
const STEPS: u64 = 14;

fn trained(engine: &Engine, data: &Path, told: &str) -> Trainer {
    let base = ["model.width=32", "train.batch=48", "train.lr=1e-3", "train.warmup_steps=2"];
    let steps = format!("train.steps={STEPS}");
    let changes: Vec<&str> = told.split_whitespace().chain([&*steps]).collect();
    let mut trainer = run::assemble(engine, &world::settings(data, &base, &changes)).expect("fits");
    for _ in 0..STEPS {
        trainer.next_step(&mut Silent).expect("a step");
    }
    trainer
}

/// The checksum of parameters and label weights, or of embeddings.
fn outcome(engine: &Engine, data: &Path, (name, told): (&str, &str)) -> u64 {
    let trainer = trained(engine, data, told);
    let bits: Vec<u32> = match name {
        "prediction in int8" => embedded(engine, trainer, data),
        _ => {
            let weights = trainer.classifier().map_or(vec![], |classifier| classifier.rows);
            world::bits(&trainer).into_iter().chain(weights.into_iter().map(f32::to_bits)).collect()
        }
    };
    let bytes: Vec<u8> = bits.into_iter().flat_map(u32::to_le_bytes).collect();
    checksum(&bytes)
}

/// The labels, by the model in int8.
fn embedded(engine: &Engine, trainer: Trainer, data: &Path) -> Vec<u32> {
    let set = DataSet::open(data, Verify::Full).expect("opens");
    let network = trainer.network.rounded(engine, Precision::Int8).expect("it has matrices");
    let push = |i: usize, packed: &mut Packed| set.labels().push_to(i, packed);
    let all = embed(engine, &network, set.labels().len(), push, "labels", &mut Silent).expect("not stopped");
    all.into_iter().map(f32::to_bits).collect()
}

/// Whether the table speaks of this machine.
fn is_recorded() -> bool {
    cfg!(all(target_os = "linux", target_env = "gnu")) && KernelClass::detect() >= KernelClass::Avx2
}

#[test]
fn every_pipeline_has_the_bits_that_were_recorded_for_its_kernel_class() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = topics(dir.path(), 300);
    let (here, mut now) = (KernelClass::detect(), RECORDED);
    for ((name, sums), told) in now.iter_mut().zip(TOLD) {
        for (class, sum) in CLASSES.into_iter().zip(sums) {
            match is_recorded() && class <= here {
                true => *sum = outcome(&Engine::of_class(2, class), &data, (name, told)),
                false => println!("skipped: {name} on {} cannot be compared on this machine", class.name()),
            }
        }
    }
    let row = |(name, sums): &(&str, [u64; 3])| {
        let sums = sums.map(|sum| format!("{sum:#018x}")).join(", ");
        format!("    (\"{name}\", [{sums}]),\n")
    };
    let changed = now.iter().zip(&RECORDED).filter(|(now, then)| now != then).map(|(now, _)| now.0);
    let changed: Vec<&str> = changed.collect();
    assert!(
        changed.is_empty(),
        "other bits: {}. If arithmetic was changed on purpose, say so in the commit and record in {}:\n{}",
        changed.join(", "),
        file!(),
        now.iter().map(row).collect::<String>()
    );
}

#[test]
fn no_pipeline_depends_on_the_number_of_threads() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = topics(dir.path(), 300);
    for ((name, _), told) in RECORDED.iter().zip(TOLD) {
        let of = |threads| outcome(&Engine::new(threads), &data, (name, told));
        let one = of(1);
        for threads in [2, 3, 7] {
            assert!(of(threads) == one, "{name}: {threads} threads give other bits than one");
        }
    }
}

#[test]
fn a_resume_with_other_kernels_warns() {
    if KernelClass::detect() == KernelClass::Portable {
        println!("skipped: this processor has but one kernel class");
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let data = topics(dir.path(), 120);
    let settings = world::settings(&data, &["model.source=bag", "model.width=16", "train.batch=20"], &[]);
    let portable = Engine::of_class(2, KernelClass::Portable);
    let (mut trainer, run) = run::begin(&portable, &settings, &dir.path().join("run")).expect("begins");
    run::run(&mut trainer, &run, &mut StopAfter(2)).expect("stops");
    let warnings = |engine: &Engine| {
        let mut warned = Warned::default();
        run::resume(engine, run.root(), &mut warned).expect("resumes");
        warned.0
    };
    assert_eq!(warnings(&portable), Vec::<String>::new());
    let told = warnings(&Engine::new(2));
    assert!(told.len() == 1 && told[0].contains("made with portable kernels"), "{told:?}");
}
