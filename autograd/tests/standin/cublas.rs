//! Products by cuBLAS: every way in which matrices may lie, and what is said where the library is missing or broken.

use super::{TOLERANCE, largest, opened, process, standin};
use engine::kernels::matmul::{Factor, product, product_of_layer};
use engine::{Engine, Stream, Tensor};
use std::process::Command;

/// Rows, inner sizes and columns: none a multiple of a tile, those of one row, one column or one term, none at all; and
/// lines of whole 16 bytes in bf16, for one large tile with tails and one small one, in few steps and in many.
const SIZES: [[usize; 3]; 9] = [
    [70, 33, 65],
    [1, 33, 65],
    [70, 1, 65],
    [70, 33, 1],
    [1, 1, 1],
    [3, 0, 5],
    [200, 72, 136],
    [72, 232, 64],
    [8, 8, 16],
];

/// Numbers that bf16 has.
fn draw(shape: &[usize], tag: u64) -> Tensor {
    let stream = Stream { seed: 13, step: 0, tag };
    let number = |i| f32::from_bits(((stream.uniform(i) - 0.5) as f32).to_bits() & 0xffff_0000);
    let n = shape.iter().product::<usize>() as u64;
    Tensor::from_vec(shape, (0..n).map(number).collect())
}

/// A·B, each factor as it is or lying transposed, one product or three, as of numbers and as of layers.
fn products(engine: &Engine, [m, k, n]: [usize; 3]) -> Vec<Option<Vec<f64>>> {
    let place = |x: Tensor| engine.place(&x);
    let mut all = vec![];
    for form in 0..8 {
        let [across_a, across_b, many] = [1, 2, 4].map(|bit| form & bit != 0);
        let lies = |[rows, columns]: [usize; 2], across: bool, tag| {
            let size = if across { [columns, rows] } else { [rows, columns] };
            place(if many { draw(&[3, size[0], size[1]], tag) } else { draw(&size, tag) })
        };
        let (a, b) = (lies([m, k], across_a, 1), lies([k, n], across_b, 2));
        let [a, b] = [(&a, across_a), (&b, across_b)]
            .map(|(x, across)| if across { Factor::new(x).t() } else { Factor::new(x) });
        all.extend([product(engine, a, b), product_of_layer(engine, a, b)].map(|c| Some(c.to_f64())));
    }
    all
}

/// On a device in f32, and in bf16, whose products of such numbers are those of f32.
pub(super) fn check() {
    let cpu = Engine::new(1);
    for cuda in [process::device(), process::device().in_bf16()] {
        let device = Engine::new(1).with_cuda(cuda);
        // However many multiprocessors a device has, it meets the large tiles.
        for sizes in SIZES.into_iter().chain([[rows_of_large_tiles(&device), 72, 120]]) {
            let got = products(&device, sizes);
            assert!(got == products(&device, sizes), "{sizes:?}: other bits a second time");
            let error = largest(&got, &products(&cpu, sizes));
            // Written so that a NaN is wrong.
            assert!(error.is_some_and(|e| e <= TOLERANCE), "{sizes:?}: {error:?}");
        }
        if device.cuda().is_some_and(|cuda| cuda.cublas().is_none()) {
            large_and_small_tiles_have_the_same_bits(&device);
        }
    }
}

/// Rows of a product of less than 128 columns that is cut into large tiles: one for each multiprocessor.
fn rows_of_large_tiles(device: &Engine) -> usize {
    let of = device.cuda().expect("it has one").found().multiprocessors;
    128 * (of - 1) + 72
}

/// The first rows of a product that is cut into large tiles, multiplied alone: one tile, too few for large ones.
fn large_and_small_tiles_have_the_same_bits(device: &Engine) {
    // The numbers of a draw begin alike, and fill rows one after another.
    let [all, few] = [rows_of_large_tiles(device), 64].map(|rows| device.place(&draw(&[rows, 72], 1)));
    let (across, along) = (device.place(&draw(&[72, 120], 2)), device.place(&draw(&[120, 72], 2)));
    for b in [Factor::new(&across), Factor::new(&along).t()] {
        for product in [product, product_of_layer] {
            let [all, few] = [&all, &few].map(|a| product(device, Factor::new(a), b).to_f64());
            assert!(all[..few.len()] == few, "the shape of a tile changes bits");
        }
    }
}

#[test]
fn the_library_is_taken_where_it_is_found_and_wanted() {
    let Some(folder) = standin() else { return };
    if !engine::cuda::cublas().is_err_and(|e| e.message().contains("no cuBLAS is found")) {
        return println!("skipped: the_library_is_taken_… needs a machine without a cuBLAS of its own");
    }
    let alone = folder.display().to_string();
    let with = |gemm: &str, path: &str| opened(&folder, &[("GEMM", gemm), ("LD_LIBRARY_PATH", path)]);
    let both = format!("{alone}:{alone}/cublas");
    assert_eq!(with("auto", &both), "stand-in (host), cuBLAS 12.1.3");
    assert_eq!(with("cublas", &both), "stand-in (host), cuBLAS 12.1.3");
    assert_eq!(with("own", &both), "stand-in (host), own kernels");
    assert_eq!(with("auto", &alone), "stand-in (host), own kernels");
    let missing = with("cublas", &alone);
    assert!(missing.contains("no cuBLAS is found: libcublas.so.12: cannot open"), "{missing}");
    // A library by this name without a single function.
    let empty = tempfile::tempdir().expect("a directory");
    let library = empty.path().join("libcublas.so");
    let made = Command::new("g++").args(["-shared", "-x", "c++", "/dev/null", "-o"]).arg(&library).status();
    assert!(made.expect("g++ starts").success());
    let broken = format!("{alone}:{}", empty.path().display());
    for gemm in ["auto", "cublas"] {
        let said = with(gemm, &broken);
        assert!(said.contains("the cuBLAS of this system lacks cublasCreate_v2, "), "{said}");
    }
    assert_eq!(with("own", &broken), "stand-in (host), own kernels");
}

#[test]
fn a_device_without_room_for_the_workspace_is_an_error() {
    let Some(folder) = standin() else { return };
    let said = opened(&folder, &[("GEMM", "cublas"), ("CUSHIM_MEM_MB", "3")]);
    assert!(said.contains("the device has no memory left: 4.0 MiB more were wanted"), "{said}");
    // From Hopper on the workspace is larger.
    let said = opened(&folder, &[("GEMM", "cublas"), ("CUSHIM_MEM_MB", "3"), ("CUSHIM_CC", "90")]);
    assert!(said.contains("32.0 MiB more were wanted"), "{said}");
}
