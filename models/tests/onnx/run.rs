//! Runs a graph in f64, operator by operator as the standard of ONNX words them: slow, and knows nothing of encoders.

use super::{bytes_of, names_of, numbers_of};
use ndarray::{Array2, ArrayD, Axis, IxDyn, concatenate};
use std::collections::BTreeMap;

/// A value, of whatever type: whole numbers and truths are numbers, too.
pub(super) type Value = ArrayD<f64>;

/// The output `sentence_embedding` of a graph for these inputs.
pub(super) fn run(graph: &[u8], inputs: &[(&str, Value)]) -> Value {
    let mut known: BTreeMap<String, Value> =
        inputs.iter().map(|(n, v)| ((*n).to_owned(), v.clone())).collect();
    for tensor in bytes_of(graph, 5) {
        let dims: Vec<usize> = numbers_of(tensor, 1).iter().map(|&n| n as usize).collect();
        let raw = bytes_of(tensor, 9)[0];
        let floats = || raw.chunks_exact(4).map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap())));
        let ints = || raw.chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap()) as f64);
        let values: Vec<f64> =
            if numbers_of(tensor, 2) == [1] { floats().collect() } else { ints().collect() };
        known.insert(names_of(tensor, 8).remove(0), Value::from_shape_vec(IxDyn(&dims), values).unwrap());
    }
    for node in bytes_of(graph, 1) {
        let told: BTreeMap<String, Vec<u8>> =
            bytes_of(node, 5).iter().map(|a| (names_of(a, 1).remove(0), a.to_vec())).collect();
        let inputs: Vec<&Value> = names_of(node, 1).iter().map(|name| &known[name]).collect();
        let outputs = names_of(node, 2);
        let values = operate(&names_of(node, 4)[0], &inputs, &Told(told), outputs.len());
        assert_eq!(values.len(), outputs.len());
        known.extend(outputs.into_iter().zip(values));
    }
    known.remove("sentence_embedding").unwrap()
}

/// Attributes.
struct Told(BTreeMap<String, Vec<u8>>);

impl Told {
    fn ints(&self, name: &str) -> Vec<i64> {
        self.0.get(name).map_or(vec![], |a| numbers_of(a, 8).iter().map(|&n| n as i64).collect())
    }
    fn int(&self, name: &str) -> Option<i64> {
        self.0.get(name).map(|a| numbers_of(a, 3)[0] as i64)
    }
    fn float(&self, name: &str) -> f64 {
        let four: [u8; 4] = bytes_of(&self.0[name], 2)[0].try_into().unwrap();
        f32::from_le_bytes(four).into()
    }
}

/// An axis, counted from the end where it is negative.
fn axis(at: i64, rank: usize) -> Axis {
    Axis(if at < 0 { (rank as i64 + at) as usize } else { at as usize })
}

fn operate(kind: &str, x: &[&Value], told: &Told, outputs: usize) -> Vec<Value> {
    let truth = |is: bool| f64::from(u8::from(is));
    let rank = x[0].ndim();
    let along = || axis(told.int("axis").unwrap_or(-1), rank);
    if kind == "Split" {
        let (at, each) = (along(), x[0].len_of(along()) / outputs);
        let part = |i: usize| x[0].slice_axis(at, (i * each..(i + 1) * each).into()).to_owned();
        return (0..outputs).map(part).collect();
    }
    vec![match kind {
        "Identity" => x[0].clone(),
        "Add" => both(x, |a, b| a + b),
        "Sub" => both(x, |a, b| a - b),
        "Mul" => both(x, |a, b| a * b),
        "Div" => both(x, |a, b| a / b),
        "Max" => both(x, f64::max),
        "Greater" => both(x, |a, b| truth(a > b)),
        "LessOrEqual" => both(x, |a, b| truth(a <= b)),
        "Equal" => both(x, |a, b| truth(a == b)),
        "And" => both(x, |a, b| a * b),
        "Where" => {
            let chosen = both(&[x[0], x[1]], |c, a| if c == 0.0 { f64::NAN } else { a });
            both(&[&chosen, x[2]], |a, b| if a.is_nan() { b } else { a })
        }
        "Abs" => x[0].mapv(f64::abs),
        "Erf" => x[0].mapv(libm::erf),
        "Tanh" => x[0].mapv(f64::tanh),
        "Relu" => x[0].mapv(|a| a.max(0.0)),
        // To bool, numbers that are not zero are 1; else nothing changes here.
        "Cast" if told.int("to") == Some(9) => x[0].mapv(|a| truth(a != 0.0)),
        "Cast" => x[0].clone(),
        "CumSum" => {
            let mut sum = x[0].clone();
            sum.accumulate_axis_inplace(axis(x[1].sum() as i64, rank), |&before, now| *now += before);
            sum
        }
        "Unsqueeze" => x[1].iter().fold(x[0].clone(), |v, &at| v.insert_axis(Axis(at as usize))),
        "Gather" => gather(x[0], x[1]),
        "Transpose" => {
            let order: Vec<usize> = told.ints("perm").iter().map(|&n| n as usize).collect();
            x[0].clone().permuted_axes(IxDyn(&order)).as_standard_layout().into_owned()
        }
        "Reshape" => {
            let dim = |(i, &n): (usize, &f64)| if n == 0.0 { x[0].shape()[i] } else { n as usize };
            let dims: Vec<usize> = x[1].iter().enumerate().map(dim).collect();
            x[0].to_shape(IxDyn(&dims)).unwrap().into_owned()
        }
        "Concat" => concatenate(along(), &x.iter().map(|v| v.view()).collect::<Vec<_>>()).unwrap(),
        "MatMul" => matmul(x[0], x[1]),
        "Softmax" => rows(x[0], |row| {
            let most = row.iter().copied().fold(f64::MIN, f64::max);
            let powers: Vec<f64> = row.iter().map(|a| (a - most).exp()).collect();
            let sum: f64 = powers.iter().sum();
            powers.iter().map(|p| p / sum).collect()
        }),
        "LayerNormalization" => layer_norm(x, told.float("epsilon")),
        "ReduceSum" => reduce(x[0], x[1].iter().map(|&n| n as i64).collect(), told, |lane| lane.iter().sum()),
        "ReduceMax" => {
            reduce(x[0], told.ints("axes"), told, |lane| lane.iter().copied().fold(f64::MIN, f64::max))
        }
        "ReduceL2" => {
            let length = |lane: &[f64]| lane.iter().map(|a| a * a).sum::<f64>().sqrt();
            reduce(x[0], told.ints("axes"), told, length)
        }
        kind => panic!("{kind} is not known here"),
    }]
}

/// With a gain, and a bias where there is one.
fn layer_norm(x: &[&Value], eps: f64) -> Value {
    let normed = rows(x[0], |row| {
        let n = row.len() as f64;
        let mean = row.iter().sum::<f64>() / n;
        let variance = row.iter().map(|a| (a - mean).powi(2)).sum::<f64>() / n;
        row.iter().map(|a| (a - mean) / (variance + eps).sqrt()).collect()
    });
    let scaled = both(&[&normed, x[1]], |a, b| a * b);
    x.get(2).map_or(scaled.clone(), |bias| both(&[&scaled, bias], |a, b| a + b))
}

/// Two values of whatever shapes fit, dimensions counted from the last.
fn both(x: &[&Value], f: impl Fn(f64, f64) -> f64) -> Value {
    let rank = x[0].ndim().max(x[1].ndim());
    let dim = |v: &Value, i: usize| (i + v.ndim()).checked_sub(rank).map_or(1, |at| v.shape()[at]);
    let dims: Vec<usize> = (0..rank).map(|i| dim(x[0], i).max(dim(x[1], i))).collect();
    let [a, b] = [x[0], x[1]].map(|v| v.broadcast(IxDyn(&dims)).expect("shapes fit").to_owned());
    ndarray::Zip::from(&a).and(&b).map_collect(|&a, &b| f(a, b))
}

/// Every row along the last dimension.
fn rows(x: &Value, f: impl Fn(&[f64]) -> Vec<f64>) -> Value {
    let x = x.as_standard_layout().into_owned();
    let width = x.shape()[x.ndim() - 1];
    let values = x.as_slice().unwrap().chunks(width).flat_map(f).collect();
    Value::from_shape_vec(x.raw_dim(), values).unwrap()
}

fn reduce(x: &Value, axes: Vec<i64>, told: &Told, f: impl Fn(&[f64]) -> f64) -> Value {
    let [at] = axes[..] else { panic!("one axis") };
    let at = axis(at, x.ndim());
    let reduced = x.map_axis(at, |lane| f(&lane.to_vec()));
    if told.int("keepdims") == Some(0) { reduced } else { reduced.insert_axis(at) }
}

/// Rows of a table along its first dimension, in the shape of the ids.
fn gather(table: &Value, ids: &Value) -> Value {
    let inner = &table.shape()[1..];
    let values: Vec<f64> =
        ids.iter().flat_map(|&id| table.index_axis(Axis(0), id as usize).to_owned()).collect();
    Value::from_shape_vec(IxDyn(&[ids.shape(), inner].concat()), values).unwrap()
}

/// Matrices in the last two dimensions; those before are the same in both, or only the first has them.
fn matmul(a: &Value, b: &Value) -> Value {
    let [n, k] = [a.ndim() - 2, a.ndim() - 1].map(|i| a.shape()[i]);
    let m = b.shape()[b.ndim() - 1];
    let (a_of, b_of) = (a.as_standard_layout().into_owned(), b.as_standard_layout().into_owned());
    let matrices: Vec<&[f64]> = b_of.as_slice().unwrap().chunks(k * m).collect();
    let one = |(i, a): (usize, &[f64])| {
        let a = Array2::from_shape_vec((n, k), a.to_vec()).unwrap();
        let b = Array2::from_shape_vec((k, m), matrices[i % matrices.len()].to_vec()).unwrap();
        a.dot(&b).into_raw_vec_and_offset().0
    };
    let values = a_of.as_slice().unwrap().chunks(n * k).enumerate().flat_map(one).collect();
    let mut dims = a.shape().to_vec();
    dims[a.ndim() - 1] = m;
    Value::from_shape_vec(IxDyn(&dims), values).unwrap()
}
