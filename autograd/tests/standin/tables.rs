//! Tables of label weights that lie on a device, and the steps of their optimizers, beside those of the CPU.

use autograd::optim::{AdagradRows, LazyAdamW, SgdRows};
use autograd::{RowGrad, TableOptimizer};
use engine::{Engine, Home, Numbers, Run, Stream, Table, TablePrecision, Tensor};

/// More rows than are fetched at once; a width that no block of 8 divides.
const ROWS: usize = 17_000;
const WIDTH: usize = 11;
/// Rows of a step that lie apart, and rows that follow one another.
const APART: [u32; 5] = [0, 7, 8, 9001, 16_999];
const TOGETHER: [u32; 4] = [6, 7, 8, 9];
const CHANCE: TablePrecision = TablePrecision::Bf16(Stream { seed: 3, step: 0, tag: 7 });

fn draw(n: usize, tag: u64) -> Tensor {
    let stream = Stream::new(8, tag);
    let numbers = (0..(n * WIDTH) as u64).map(|i| stream.uniform(i) as f32 - 0.5).collect();
    Tensor::from_vec([n, WIDTH], numbers)
}

/// Of the device, then of the CPU.
fn homes(device: &Engine) -> [Home; 2] {
    [Home::Device(device.cuda().expect("a device").clone()), Home::Heap]
}

fn started(engine: &Engine, home: &Home, precision: TablePrecision) -> Table {
    let mut table = Table::zeros_in(home, precision, ROWS, WIDTH).expect("it fits");
    let all: Vec<u32> = (0..ROWS as u32).collect();
    table.scatter(engine, 0, &all, &table.bring(&draw(ROWS, 1)));
    table.forget_changes();
    table
}

/// The numbers of some runs as a checkpoint has them.
fn kept(table: &Table, runs: &[Run]) -> Vec<u32> {
    let bits = |piece: Numbers<'_>| -> Vec<u32> {
        match piece {
            Numbers::F32(values) => values.iter().map(|x| x.to_bits()).collect(),
            Numbers::Bf16(values) => values.iter().map(|&x| u32::from(x) << 16).collect(),
        }
    };
    table.numbers(runs.iter().copied()).flat_map(bits).collect()
}

pub(super) fn check([cpu, device]: &[Engine; 2]) {
    for precision in [TablePrecision::F32, CHANCE] {
        rows_are_written_and_read([cpu, device], precision);
        for name in ["adam", "adagrad", "sgd"] {
            steps_agree([cpu, device], precision, name);
        }
    }
    what_is_not_finite_stays_so(device);
}

/// What is written and read has the bits of the CPU, rounded by the same chance.
fn rows_are_written_and_read([cpu, device]: [&Engine; 2], precision: TablePrecision) {
    let whole: Run = [0, ROWS as u32];
    let [mut there, mut here] = homes(device).map(|home| started(device, &home, precision));
    assert!(there.is_on_device() && !here.is_on_device());
    assert!(kept(&there, &[whole]) == kept(&here, &[whole]), "all rows, {precision:?}");
    for (step, rows) in [(4, &APART[..]), (5, &TOGETHER)] {
        for table in [&mut there, &mut here] {
            table.scatter(cpu, step, rows, &table.bring(&draw(rows.len(), 10 + step)));
        }
        // Rows may repeat, and fall, where they are read.
        let asked = [&[16_999, 3, 3][..], rows].concat();
        let [got, want] = [&there, &here].map(|table| table.gather(cpu, &asked));
        assert!(got.cuda().is_some() && got.to_f64() == want.to_f64(), "{precision:?}, step {step}");
        let [got, want] = [&there, &here].map(|table| table.slice(cpu, 5..12).to_f64());
        assert!(got == want, "{precision:?}, step {step}");
    }
    let [changed, want] = [&there, &here].map(|table| table.changed().collect::<Vec<Run>>());
    assert_eq!(changed, want);
    assert!(kept(&there, &changed) == kept(&here, &changed), "what a checkpoint adds, {precision:?}");
    // From a checkpoint to a fresh table: all rows, then those that changed.
    let mut fresh = Table::zeros_in(&homes(device)[0], precision, ROWS, WIDTH).expect("it fits");
    let old = started(cpu, &Home::Heap, precision);
    let base = old.numbers([whole].into_iter()).next().expect("one piece");
    assert!(fresh.restore(&[whole], base.clone()));
    for (run, piece) in changed.iter().zip(here.numbers(changed.iter().copied())) {
        assert!(fresh.restore(&[*run], piece));
    }
    assert!(kept(&fresh, &[whole]) == kept(&here, &[whole]), "restored, {precision:?}");
    assert!(!fresh.restore(&[[0, 3]], base), "numbers of other rows");
    let other = Table::zeros_in(
        &Home::Heap,
        if precision == CHANCE { TablePrecision::F32 } else { CHANCE },
        3,
        WIDTH,
    );
    let other = other.expect("heap");
    assert!(
        !fresh.restore(&[[0, 3]], other.numbers([[0, 3]].into_iter()).next().expect("one")),
        "other bits"
    );
}

fn optimizer(name: &str, table: &Table, home: &Home) -> Box<dyn TableOptimizer> {
    match name {
        "adam" => Box::new(LazyAdamW::new(table, home).expect("it fits").with((0.9, 0.99), 1e-8, 0.5)),
        "adagrad" => Box::new(AdagradRows::new(table, 1e-10, home).expect("it fits")),
        _ => Box::new(SgdRows::new()),
    }
}

/// Four steps, of rows apart and together.
fn steps_agree([cpu, device]: [&Engine; 2], precision: TablePrecision, name: &str) {
    let stepped = |home: &Home| {
        let mut table = started(cpu, home, precision);
        let mut optimizer = optimizer(name, &table, home);
        for step in 1..=4 {
            let rows = if step % 2 == 0 { &APART[..] } else { &TOGETHER };
            let values = table.bring(&draw(rows.len(), 20 + step));
            let grad = RowGrad { rows: rows.to_vec(), values, table: [ROWS, WIDTH].into() };
            optimizer.step(cpu, &mut table, &grad, 0.05);
        }
        let state: Vec<Vec<f64>> =
            optimizer.tables().iter().map(|(_, t)| t.slice(cpu, 0..ROWS).to_f64()).collect();
        (table.slice(cpu, 0..ROWS).to_f64(), state, table.changed().collect::<Vec<Run>>())
    };
    let [got, want] = homes(device).map(|home| stepped(&home));
    let start = started(cpu, &Home::Heap, precision).slice(cpu, 0..ROWS).to_f64();
    assert!(want.0 != start && got.2 == want.2, "{name}");
    let far = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    for (got, want) in got.1.iter().zip(&want.1) {
        assert!(far(got, want) <= 2e-6, "{name}, state: {}", far(got, want));
    }
    let differ = got.0.iter().zip(&want.0).filter(|(a, b)| a != b).count();
    match precision {
        TablePrecision::F32 => assert!(far(&got.0, &want.0) <= 2e-6, "{name}: {}", far(&got.0, &want.0)),
        // A last digit that differs meets another chance once in 2¹⁶: of some 90 numbers that moved, none did.
        TablePrecision::Bf16(_) => assert_eq!(differ, 0, "{name} in bf16"),
    }
}

fn what_is_not_finite_stays_so(device: &Engine) {
    let mut table = Table::zeros_in(&homes(device)[0], CHANCE, 1, 4).expect("it fits");
    let values = vec![f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::from_bits(0x7f80_0001)];
    table.scatter(device, 1, &[0], &device.place(&Tensor::from_vec([1, 4], values)));
    let got = table.gather(device, &[0]).to_f64();
    assert!(got[0].is_nan() && got[3].is_nan(), "{got:?}");
    assert_eq!(got[1..3], [f64::INFINITY, f64::NEG_INFINITY]);
}
