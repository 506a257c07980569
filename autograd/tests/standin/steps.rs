//! Steps of optimizers and the norm for clipping, on a device and on the CPU.

use autograd::{AdamW, Grad, Lamb, Optimizer, ParamGrads, Params, RowGrad, Sgd, clip};
use engine::{Engine, Shape, Stream, Tensor};

/// A matrix with dense gradients and a table with those of some rows; large enough for several blocks.
const SHAPES: [[usize; 2]; 2] = [[130, 140], [50, 33]];
const ROWS: [u32; 4] = [0, 7, 8, 49];

fn draw(engine: &Engine, shape: [usize; 2], tag: u64, step: u64) -> Tensor {
    let stream = Stream { seed: 5, step, tag };
    let n = Shape::from(shape).len() as u64;
    let x = Tensor::from_vec(shape, (0..n).map(|i| (stream.uniform(i) - 0.5) as f32).collect());
    engine.place(&x)
}

/// The parameters after three steps, and the norms of their gradients.
fn stepped(engine: &Engine, optimizer: &mut dyn Optimizer) -> Moved {
    let mut params = Params::default();
    let ids = [0, 1].map(|i| params.add(["dense", "rows"][i], draw(engine, SHAPES[i], i as u64, 0), i == 0));
    let mut norms = vec![];
    for step in 1..4 {
        let values = draw(engine, [ROWS.len(), SHAPES[1][1]], 3, step);
        let rows = Grad::Rows(RowGrad { rows: ROWS.to_vec(), values, table: Shape::from(SHAPES[1]) });
        let dense = Grad::Dense(draw(engine, SHAPES[0], 2, step));
        let mut grads: ParamGrads = [(ids[0], dense), (ids[1], rows)].into_iter().collect();
        norms.push(clip(engine, &mut grads, 2.0));
        optimizer.step(engine, &mut params, &grads, 0.01);
    }
    // What a checkpoint holds goes on where it was.
    let state = optimizer.state(&params);
    let cpu = state.into_iter().map(|(name, tensor)| (name, tensor.to_cpu())).collect();
    optimizer.restore(&params, cpu).expect("its own state");
    let grads = [(ids[0], Grad::Dense(draw(engine, SHAPES[0], 2, 9)))].into_iter().collect();
    optimizer.step(engine, &mut params, &grads, 0.01);
    [Some(norms)].into_iter().chain(ids.map(|id| Some(params.value(id).to_f64()))).collect()
}

/// The norms, and the numbers of each parameter.
type Moved = Vec<Option<Vec<f64>>>;
type Maker = fn() -> Box<dyn Optimizer>;

/// What both computed, by optimizer: on the device, on the CPU.
pub(super) fn both(device: &Engine, cpu: &Engine) -> Vec<(&'static str, [Moved; 2])> {
    let optimizers: [(&str, Maker); 4] = [
        ("Sgd", || Box::new(Sgd::new(0.0))),
        ("Sgd with momentum", || Box::new(Sgd::new(0.9))),
        ("AdamW", || Box::new(AdamW::default())),
        ("Lamb", || Box::new(Lamb::default())),
    ];
    optimizers.map(|(name, new)| (name, [device, cpu].map(|engine| stepped(engine, &mut *new())))).into()
}
