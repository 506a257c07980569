use super::*;
use crate::error::Kind;

const CHANCE: TablePrecision = TablePrecision::Bf16(Stream { seed: 5, step: 0, tag: 9 });

fn check(mut table: Table, mapped: bool) {
    let engine = Engine::new(2);
    assert_eq!((table.is_mapped(), table.bytes()), (mapped, 200 * 3 * table.precision().size()));
    assert!(table.slice(&engine, 0..200).to_f64().iter().all(|&x| x == 0.0));
    let rows: Vec<u32> = (0..100).map(|i| 2 * i + 1).collect();
    // Whole numbers up to 256: bf16 has them exactly, and exact numbers are not rounded.
    let values = Tensor::from_vec([100, 3], (0..300).map(|i| (i % 256) as f32).collect());
    table.scatter(&engine, 1, &rows, &values);
    assert_eq!(table.gather(&engine, &rows).to_f64(), values.to_f64());
    let back = table.gather(&engine, &[199, 0, 1, 199]);
    let last = [41.0, 42.0, 43.0];
    assert_eq!(back.to_f64(), [last, [0.0; 3], [0.0, 1.0, 2.0], last].concat());
    table.change(&engine, 2, &[1, 3], |rows| rows.into_iter().for_each(|row| row[0] += 8.0));
    assert_eq!(table.slice(&engine, 1..4).to_f64(), [8.0, 1.0, 2.0, 0.0, 0.0, 0.0, 11.0, 4.0, 5.0]);
    let mut other = Table::zeros_in(&Home::Heap, table.precision(), 200, 3).unwrap();
    assert!(other.restore(&[[0, 200]], all(&table)) && all(&other) == all(&table));
    assert!(!Table::zeros(1, 3).restore(&[[0, 200]], all(&table)));
    assert!(!other.restore(&[[0, 199]], all(&table)) && !other.restore(&[[1, 201]], all(&table)));
    assert!(!other.restore(&[[100, 200], [0, 100]], all(&table)));
}

#[test]
fn a_table_knows_the_rows_that_were_written_however_it_was_done() {
    let engine = Engine::new(1);
    for precision in [TablePrecision::F32, CHANCE] {
        let mut table = Table::zeros_in(&Home::Heap, precision, 200, 3).unwrap();
        let wrote = |table: &mut Table, want: &[Run]| {
            let rows: u32 = want.iter().map(|[from, to]| to - from).sum();
            assert_eq!(table.bytes_changed(), rows as usize * 3 * precision.size());
            assert_eq!(table.changed().collect::<Vec<_>>(), want);
            table.forget_changes();
            assert_eq!(table.changed().count(), 0);
        };
        wrote(&mut table, &[]);
        table.scatter(&engine, 1, &[3, 4, 90], &Tensor::from_vec([3, 3], vec![1.0f32; 9]));
        wrote(&mut table, &[[3, 5], [90, 91]]);
        table.change(&engine, 2, &[199], |rows| rows.into_iter().for_each(|row| row[0] = 8.0));
        wrote(&mut table, &[[199, 200]]);
        let numbers = Table::zeros_in(&Home::Heap, precision, 2, 3).unwrap();
        assert!(table.restore(&[[4, 5], [199, 200]], all(&numbers)));
        wrote(&mut table, &[[4, 5], [199, 200]]);
        assert_eq!(table.gather(&engine, &[3, 4, 199]).to_f64(), [[1.0; 3], [0.0; 3], [0.0; 3]].concat());
    }
    let mut table = Table::zeros(200, 1);
    table.rows_mut(&[0, 7])[1][0] = 1.0;
    assert_eq!(table.changed().collect::<Vec<_>>(), [[0, 1], [7, 8]]);
    table.data_mut()[5] = 1.0;
    assert_eq!(table.changed().collect::<Vec<_>>(), [[0, 200]]);
}

/// All numbers of a table on the CPU.
fn all(table: &Table) -> Numbers<'_> {
    table.numbers([[0, table.rows() as u32]].into_iter()).next().expect("one piece")
}

#[test]
fn rows_come_back_from_the_heap_and_from_a_mapping() {
    let directory = tempfile::tempdir().unwrap();
    for precision in [TablePrecision::F32, CHANCE] {
        let table = |home| Table::zeros_in(&home, precision, 200, 3).unwrap();
        check(table(Home::Heap), false);
        check(table(Home::Files(directory.path().to_owned())), true);
    }
    check(Table::zeros(200, 3), false);
}

#[test]
fn a_mapped_table_leaves_no_name_behind_and_is_not_disturbed_by_others() {
    let directory = tempfile::tempdir().unwrap();
    let home = Home::Files(directory.path().to_owned());
    let [mut a, b] = [(); 2].map(|()| Table::zeros_in(&home, TablePrecision::F32, 600_000, 1).unwrap());
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    a.data_mut().fill(1.0);
    assert!(a.data().iter().all(|&x| x == 1.0) && b.data().iter().all(|&x| x == 0.0));
}

#[test]
fn a_missing_directory_is_named() {
    let error = Table::zeros_in(&Home::Files("no/such/place".into()), TablePrecision::F32, 2, 2).unwrap_err();
    assert_eq!(error.kind(), Kind::Input);
    assert!(error.to_string().starts_with("no/such/place: "), "{error}");
}

#[test]
#[should_panic(expected = "each once")]
fn a_row_is_not_written_twice() {
    Table::zeros(4, 1).rows_mut(&[1, 1]);
}

#[test]
fn rounding_by_chance_is_right_in_the_mean_and_goes_to_a_neighbour() {
    // bf16 has eight binary digits: the neighbours of 1 + 2⁻⁹ are 1 and 1 + 2⁻⁷. The value lies a quarter up.
    let (engine, n) = (Engine::new(2), 40_000usize);
    for (x, low, step) in
        [(1.0 + 0.001_953_125f32, 1.0f64, 0.007_812_5), (-1.0 - 0.001_953_125f32, -1.0, -0.007_812_5)]
    {
        let mut table = Table::zeros_in(&Home::Heap, CHANCE, n, 5).unwrap();
        let rows: Vec<u32> = (0..n as u32).collect();
        table.scatter(&engine, 3, &rows, &Tensor::from_vec([n, 5], vec![x; 5 * n]));
        let got = table.slice(&engine, 0..n).to_f64();
        assert!(got.iter().all(|&y| y == low || y == low + step), "a neighbour each time");
        let up = got.iter().filter(|&&y| y != low).count() as f64 / got.len() as f64;
        // 200,000 draws: the standard deviation is 0.001.
        assert!((up - 0.25).abs() < 0.005, "{up} went up");
    }
}

#[test]
fn steps_smaller_than_the_grid_are_kept_in_the_mean() {
    let (engine, n) = (Engine::new(1), 2000usize);
    let mut table = Table::zeros_in(&Home::Heap, CHANCE, n, 1).unwrap();
    let rows: Vec<u32> = (0..n as u32).collect();
    table.scatter(&engine, 0, &rows, &Tensor::from_vec([n, 1], vec![1.0f32; n]));
    for step in 1..=100 {
        table.change(&engine, step, &rows, |rows| rows.into_iter().for_each(|row| row[0] += 1e-4));
    }
    let mean = table.slice(&engine, 0..n).to_f64().iter().sum::<f64>() / n as f64;
    // To the nearest, all of them would have stayed 1.
    // Five standard deviations.
    assert!((mean - 1.01).abs() < 1e-3, "{mean}");
}

#[test]
fn the_chance_of_a_row_does_not_depend_on_its_company_or_the_threads() {
    let x: Vec<f32> = (0..300 * 11).map(|i| Stream::new(1, 1).uniform(i) as f32).collect();
    let write = |threads, all: &[u32]| {
        let mut table = Table::zeros_in(&Home::Heap, CHANCE, 300, 11).unwrap();
        let values = all.iter().flat_map(|&r| x[r as usize * 11..][..11].to_vec()).collect();
        table.scatter(&Engine::new(threads), 7, all, &Tensor::from_vec([all.len(), 11], values));
        table.gather(&Engine::new(1), &[17, 299]).to_f64()
    };
    let all: Vec<u32> = (0..300).collect();
    assert_eq!(write(1, &all), write(3, &all));
    assert_eq!(write(1, &all), write(1, &[17, 299]));
}

#[test]
fn what_is_not_finite_stays_so() {
    let engine = Engine::new(1);
    let mut table = Table::zeros_in(&Home::Heap, CHANCE, 1, 3).unwrap();
    let values = vec![f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
    table.scatter(&engine, 1, &[0], &Tensor::from_vec([1, 3], values));
    let got = table.gather(&engine, &[0]).to_f64();
    assert!(got[0].is_nan() && got[1..] == [f64::INFINITY, f64::NEG_INFINITY], "{got:?}");
}
