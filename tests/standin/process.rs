//! Tests on the stand-in driver: it is built by make, and the test starts itself again where the loader finds it.

use engine::Cuda;
use engine::cuda::Gemm;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Threads come in another order, and on more multiprocessors, so that batches come in small tiles.
pub(crate) const SHUFFLED: [(&str, &str); 3] =
    [("CUSHIM_SHUFFLE", "1"), ("CUSHIM_SEED", "7"), ("CUSHIM_MULTIPROCESSORS", "4")];

/// The folder of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The folder of the stand-in driver, which is built once; none where it cannot be built. That for cuBLAS lies in a
/// folder beneath it, `cublas`.
pub(crate) fn standin() -> Option<PathBuf> {
    static BUILT: OnceLock<Option<PathBuf>> = OnceLock::new();
    BUILT.get_or_init(build).clone()
}

fn build() -> Option<PathBuf> {
    for tool in ["make", "g++"] {
        if Command::new(tool).arg("--version").output().is_err() {
            println!("skipped: the stand-in driver needs {tool}");
            return None;
        }
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("standin");
    let made = Command::new("make")
        .arg("-C")
        .arg(root().join("tests/standin"))
        .arg(format!("OUT={}", folder.display()))
        .output()
        .expect("make starts");
    let said = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "the stand-in driver does not build: {said}");
    Some(folder)
}

/// Where the loader finds the driver and cuBLAS.
pub(crate) fn with_cublas(folder: &Path) -> String {
    format!("{0}:{0}/cublas", folder.display())
}

/// Who multiplies in this process: the variable GEMM says it.
pub(crate) fn gemm() -> String {
    std::env::var("GEMM").unwrap_or_else(|_| "auto".to_owned())
}

/// The device that this process finds, without clones yet; what its buffers hold at first is NaN.
pub(crate) fn device() -> Cuda {
    let gemm = Gemm::named(&gemm()).expect("auto, own or cublas");
    let cuda = Cuda::poisoned(0).and_then(|cuda| cuda.with_gemm(gemm)).expect("a device, and who multiplies");
    met(&cuda);
    cuda
}

/// Says which device was met: a real one may run these tests, too, and [`again`] means the stand-in.
pub(crate) fn met(cuda: &Cuda) {
    // The harness has begun a line.
    println!("\ndevice {}", cuda.found().name);
}

/// Runs a test of this file, one that is ignored otherwise, in a process of its own, which finds the driver and cuBLAS;
/// gives what it printed. It has met the stand-in and no other driver.
pub(crate) fn again(name: &str, folder: &Path, variables: &[(&str, &str)]) -> String {
    let out = started(name, folder, variables);
    assert!(out.contains("device stand-in (host)"), "{name} met another driver:\n{out}");
    out
}

/// As [`again`], whichever driver was met.
pub(crate) fn started(name: &str, folder: &Path, variables: &[(&str, &str)]) -> String {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["--ignored", "--exact", name, "--nocapture", "--test-threads=1"]);
    command.env("LD_LIBRARY_PATH", with_cublas(folder)).envs(variables.iter().copied());
    let done = command.output().expect("this program starts again");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&done.stdout), text(&done.stderr));
    assert!(done.status.success(), "{name} with {variables:?}:\n{out}\n{err}");
    assert!(out.contains("1 passed"), "{name} was not run:\n{out}");
    out
}
