//! A search on a device against a search on the CPU, by the stand-in driver (`tests/standin`). Scores are whole
//! numbers, which every order of summation has exactly: so hits must be the same to the bit, ties among them.
//!
//! The driver is found by the loader when a process starts, so the test starts itself again where that is found.

#[path = "../../tests/standin/process.rs"]
mod process;

use engine::{Engine, Home, Stream, Table, TablePrecision, Tensor};
use samplers::search::NO_HIT;
use samplers::{Csr, Hits, Items, Limits, Lists, Matrix, Resident, TableRows, search};

const WIDTH: usize = 6;

/// Numbers from −3 to 3: many scores tie.
fn whole(rows: usize, tag: u64) -> Vec<f32> {
    let stream = Stream::new(3, tag);
    (0..rows * WIDTH).map(|i| stream.below(i as u64, 7) as f32 - 3.0).collect()
}

#[test]
fn a_device_finds_what_the_cpu_finds() {
    let Some(folder) = process::standin() else { return };
    for (gemm, schedule) in [("own", &[][..]), ("own", &process::SHUFFLED), ("cublas", &[])] {
        process::again("on_the_device", &folder, &[&[("GEMM", gemm)], schedule].concat());
    }
}

/// On the CPU and on the device, among items that are sent and among those that stay.
#[track_caller]
fn check([cpu, device]: &[Engine; 2], [n, m, k]: [usize; 3], limits: Limits<'_>) -> Hits {
    let (queries, items) = (whole(n, 1), whole(m, 2));
    let (queries, items) = (Matrix::new(&queries, WIDTH), Matrix::new(&items, WIDTH));
    let want = search(cpu, queries, items, k, limits);
    assert!(search(device, queries, items, k, limits) == want, "{n} queries, {m} items, k {k}");
    let cuda = device.cuda().expect("it has one");
    let mut budget = 4 * m * WIDTH + 5;
    let resident = Resident::within(&mut budget, cuda, items).expect("the device has room");
    assert!(budget == 5 && Resident::within(&mut budget, cuda, items).is_none() == (m > 0), "what is left");
    // An engine without a device searches where the items lie.
    let among = Items::Resident(&resident, items);
    assert!(among.search(cpu, queries, k, limits) == want, "{n} queries, {m} resident items, k {k}");
    want
}

#[test]
#[ignore = "runs in a process that finds the stand-in driver"]
fn on_the_device() {
    let engines = [Engine::new(2), Engine::new(2).with_cuda(process::device())];
    // One tile and several, one block of queries and several, spans, all of them, more than a block keeps, none.
    for sizes in [
        [3, 10, 4],
        [1, 1, 1],
        [5, 3, 7],
        [2, 40_000, 33],
        [70, 300, 9],
        [2, 3000, 2500],
        [1, 20_000, 1024],
        [0, 4, 2],
        [4, 0, 2],
    ] {
        check(&engines, sizes, Limits::default());
    }
    let [cpu, device] = &engines;
    // More queries than a group has; several blocks that look again for what is below their own last hits; so deep that
    // the CPU searches.
    for [n, m, k] in [[16_500, 3, 1], [1030, 1030, 1025], [2, 6000, 5000]] {
        let (queries, items) = (whole(n, 1), whole(m, 2));
        let (queries, items) = (Matrix::new(&queries, WIDTH), Matrix::new(&items, WIDTH));
        let found = |engine| search(engine, queries, items, k, Limits::default());
        assert!(found(device) == found(cpu), "{n} queries, {m} items, k {k}");
    }
    excluded(&engines);
    not_a_number(&engines);
    table(&engines);
}

/// The best hits of some queries, and all items but some.
fn excluded(engines: &[Engine; 2]) {
    const SIZES: [usize; 3] = [4, 40_000, 20];
    let free = check(engines, SIZES, Limits::default());
    let best = |q: usize, n: usize| {
        let mut ids = free.row(q).0[..n].to_vec();
        ids.sort_unstable();
        ids
    };
    let exclude: Lists = [best(0, 20), vec![], best(2, 3), best(3, 1)].into_iter().collect();
    let only: Vec<u32> =
        (0..SIZES[1] as u32).filter(|i| i % 7 != 2 && !(16_384..32_768).contains(i)).collect();
    for exclude in [None, Some(exclude.csr())] {
        for only in [None, Some(&only[..]), Some(&only[..5]), Some(&[])] {
            let hits = check(engines, SIZES, Limits { exclude, only });
            let first = |q: usize| hits.row(q).0.first().copied();
            assert!(exclude.is_none() || only.is_some() || first(0) != free.row(0).0.first().copied());
            assert_eq!(first(1).is_none(), only.is_some_and(<[u32]>::is_empty));
        }
    }
    // Two blocks of queries, each of which must see its own lists.
    let all: Vec<u64> = (0..=1100).collect();
    let items: Vec<u32> = (0..1100).map(|q| q % 40).collect();
    check(engines, [1100, 40, 3], Limits { exclude: Some(Csr { starts: &all, items: &items }), only: None });
}

fn not_a_number([_, device]: &[Engine; 2]) {
    let items = [2.0, f32::NAN, -5.0, f32::NEG_INFINITY, f32::INFINITY, -0.0, 0.0];
    let hits = search(device, Matrix::new(&[1.0], 1), Matrix::new(&items, 1), 7, Limits::default());
    assert_eq!(hits.ids, [4, 0, 5, 6, 2, NO_HIT, NO_HIT]);
    assert_eq!(hits.scores[..5], [f32::INFINITY, 2.0, 0.0, 0.0, -5.0]);
}

/// Label weights, part by part: on the CPU, and on the device.
fn table([cpu, device]: &[Engine; 2]) {
    const ROWS: usize = 40_000;
    let cuda = device.cuda().expect("it has one").clone();
    let (queries, all) = (whole(3, 1), (0..ROWS as u32).collect::<Vec<u32>>());
    let queries = Matrix::new(&queries, WIDTH);
    let weights = Tensor::from_vec([ROWS, WIDTH], whole(ROWS, 5));
    let only: Vec<u32> = (0..ROWS as u32).step_by(3).collect();
    for precision in [TablePrecision::F32, TablePrecision::Bf16(Stream::new(1, 1))] {
        let [here, there] = [Home::Heap, Home::Device(cuda.clone())].map(|home| {
            let mut table = Table::zeros_in(&home, precision, ROWS, WIDTH).expect("it fits");
            table.scatter(cpu, 1, &all, &table.bring(&weights));
            table
        });
        let rows = |table| TableRows { table, factor: None, normalised: false };
        // The last so deep that the CPU searches.
        for (only, k) in [(None, 9), (Some(&only[..]), 9), (None, 4500)] {
            let limits = Limits { exclude: None, only };
            let want = rows(&here).search(cpu, queries, k, limits);
            for table in [&here, &there] {
                assert!(rows(table).search(device, queries, k, limits) == want, "{table:?}, k {k}");
            }
        }
        assert_eq!(rows(&there).row(ROWS - 1), rows(&here).row(ROWS - 1));
        let of_length_1 = |table| {
            let rows = TableRows { normalised: true, ..rows(table) };
            (rows.part(cpu, 30..90).to_f64(), rows.row(31))
        };
        let (got, want) = (of_length_1(&there), of_length_1(&here));
        assert!(got.0.iter().zip(&want.0).all(|(a, b)| (a - b).abs() < 1e-6), "rows of length 1");
        assert_eq!(got.1, want.1);
    }
}
