//! Finds y = 2·x₀ − 3·x₁ + 1 from 64 points, with a tape and gradient descent.

use lode::{Engine, Optimizer, Params, Sgd, Stream, Tape, Tensor};

fn main() {
    let engine = Engine::new(1);
    let draw = |i| (2.0 * Stream::new(7, 0).uniform(i) - 1.0) as f32;
    let x: Vec<f32> = (0..128).map(draw).collect();
    let y: Vec<f32> = x.chunks(2).map(|x| 2.0 * x[0] - 3.0 * x[1] + 1.0).collect();
    let (x, y) = (Tensor::from_vec([64, 2], x), Tensor::from_vec([64, 1], y));

    let mut params = Params::default();
    let w = params.add("w", Tensor::from_vec([1, 2], vec![0.0f32; 2]), false);
    let b = params.add("b", Tensor::from_vec([1], vec![0.0f32]), false);
    let mut optimizer = Sgd::new(0.9);
    for _ in 0..200 {
        let tape = Tape::new(&engine);
        let predicted = tape.constant(x.clone()).linear(tape.param(&params, w), Some(tape.param(&params, b)));
        let error = predicted - tape.constant(y.clone());
        let loss = (error * error).mean();
        let grads = tape.backward_from(loss).into_params();
        drop(tape);
        optimizer.step(&engine, &mut params, &grads, 0.2);
    }
    let (w, b) = (params.value(w).to_f64(), params.value(b).item());
    println!("y = {:.3}·x0 + {:.3}·x1 + {b:.3}", w[0], w[1]);
    assert!((w[0] - 2.0).abs() < 1e-3 && (w[1] + 3.0).abs() < 1e-3 && (b - 1.0).abs() < 1e-3);
}
