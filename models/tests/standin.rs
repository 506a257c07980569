//! The golden files on a CUDA device, by the stand-in driver (`tests/standin`): what `golden.rs`, `latent.rs` and
//! `cross.rs` compare on the CPU, within the same tolerances.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod files;

#[path = "../../tests/standin/process.rs"]
mod process;

use autograd::{AdamWOptions, Schedule, ScheduleKind};
use engine::Engine;
use files::{cross, encoders};
use models::bert::Family;

#[test]
fn golden_encoders_are_those_of_pytorch_on_the_stand_in_device() {
    let Some(folder) = process::standin() else { return };
    process::again("golden_on_the_device", &folder, &[&[("GEMM", "own")], &process::SHUFFLED[..]].concat());
    process::again("golden_on_the_device", &folder, &[("GEMM", "cublas")]);
}

#[test]
#[ignore = "runs in a process that finds the stand-in driver"]
fn golden_on_the_device() {
    let engine = Engine::poisoned(1).with_cuda(process::device());
    for (name, family) in [
        ("encoder.safetensors", Family::Bert),
        ("distilbert.safetensors", Family::DistilBert),
        ("roberta.safetensors", Family::Roberta),
        ("mpnet.safetensors", Family::Mpnet),
    ] {
        encoders::forward(&engine, name, family);
    }
    encoders::forward_of_modernbert(&engine);
    encoders::gradients_of_bert(&engine);
    encoders::gradients_of_mpnet(&engine);
    encoders::gradients_of_modernbert(&engine);
    encoders::latents(&engine);
    let schedule = Schedule { kind: ScheduleKind::Linear, warmup_steps: 3, total_steps: 10 };
    encoders::steps(&engine, "schedule", AdamWOptions::default(), Some(schedule));
    cross::scores(&engine, "bert", true);
    cross::scores(&engine, "roberta", false);
    cross::learned(&engine);
}
