use engine::kernels::{adamw, adagrad, broadcast, given::Given, map, rows, sgd, slice, squares, top_k, mean};
use engine::{Engine, Tensor};
use std::time::Instant;
fn time(name: &str, mut f: impl FnMut()) {
    let mut best = f64::MAX;
    for _ in 0..60 { let t = Instant::now(); f(); best = best.min(t.elapsed().as_secs_f64()); }
    println!("{name:20} {:9.1} us", best * 1e6);
}
fn main() {
    let e = Engine::new(1);
    let (n, d) = (1024usize, 384usize);
    let t = |k: usize| Tensor::from_vec([n, d], (0..n * d).map(|i| ((i * 7 + k) % 101) as f32 * 0.01 - 0.5).collect());
    let (a, b) = (t(0), t(3));
    let bias = Tensor::from_vec([d], (0..d).map(|i| i as f32 * 0.01).collect());
    struct Plus; impl map::Map2 for Plus { #[inline(always)] fn at<T: engine::Real>(&self, a: T, b: T) -> T { a + b } }
    time("broadcast bias", || drop(broadcast::broadcast(&e, &a, &bias, Plus)));
    time("sum_to bias", || drop(broadcast::sum_to(&e, &a, bias.shape())));
    let mut p = t(1); time("add_to", || map::add_to(&e, &mut p, &b));
    let mut p = t(1); time("sgd", || sgd::sgd(&e, &mut p, Given::All(&b), 1e-6));
    let (mut p, mut m) = (t(1), t(2)); time("sgd momentum", || sgd::sgd_momentum(&e, &mut p, (&mut m, 0.9), Given::All(&b), 1e-6));
    let (mut p, mut m, mut v) = (t(1), map::map1(&e, &t(0), Z), map::map1(&e, &t(0), Z));
    struct Z; impl map::Map1 for Z { fn at<T: engine::Real>(&self, x: T) -> T { x * x } }
    let s = adamw::AdamStep::new((0.9, 0.999), 1e-8, 0.01, 1e-5, 10);
    time("adamw", || adamw::adamw(&e, &mut p, (&mut m, &mut v), Given::All(&b), &s));
    let (mut p, mut acc) = (vec![0.5f32; n * d], vec![0.1f32; n]);
    time("adagrad_rows", || { let mut r: Vec<&mut [f32]> = p.chunks_mut(d).collect(); let mut c: Vec<&mut [f32]> = acc.chunks_mut(1).collect(); adagrad::adagrad_rows(&e, &mut r, &mut c, b.data(), (1e-6, 1e-8)); });
    let ids: Vec<u32> = (0..n as u32).map(|i| i % 97).collect();
    time("add_by_row", || drop(rows::add_by_row(&e, &ids, &a)));
    let mut bl = vec![]; time("block_squares", || { bl.clear(); squares::block_squares(&e, &a, &mut bl) });
    let mut p = t(1); time("scale_by", || squares::scale_by(&e, &mut p, 0.999999));
    time("top_k 10", || drop(top_k::top_k(&e, &a, 10)));
    let _ = (&slice::slice, &mean::spread);
    struct Erf; impl map::Map1 for Erf { #[inline(always)] fn at<T: engine::Real>(&self, x: T) -> T { x.erf() } }
    time("erf", || drop(map::map1(&e, &a, Erf)));
    // attention: 16 tokens a text, then 512
    for len in [16u32, 128, 512] {
        let starts: Vec<u32> = (0..=(n as u32 / len)).map(|i| i * len).collect();
        let layout = engine::kernels::attention::Layout { starts: &starts, heads: 12, dropout: None };
        time(&format!("attention {len}"), || drop(engine::kernels::attention::attention(&e, [&a, &b, &a], layout)));
        time(&format!("attention back {len}"), || drop(engine::kernels::attention::gradients(&e, [&a, &b, &a], &b, layout)));
    }
}
