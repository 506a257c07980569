//! Products by cuBLAS, where its library is found. What is unsafe about it stands here and nowhere else.
//!
//! As with the driver, the library is opened here first, by the names by which cudarc will open it, and asked for every
//! function that we call: what is missing becomes an error.
//!
//! The bits are the same from run to run. NVIDIA promises that (manual of cuBLAS, "Results Reproducibility") for one
//! version of the library on devices of one architecture with as many multiprocessors, while one stream is used, and
//! not for routines that may use atomics. So the handle has our one stream and a workspace of its own, and no atomics;
//! what the promise depends on is said by [`Blas::version`] and [`super::Found`]. No f32 is cut to TF32: that is a mode
//! of the handle, and another one is set.

use super::attempt::give_up;
use super::driver::{Driver, broken};
use crate::error::{Error, Kind, Result};
use cudarc::cublas::{result, sys};
use libloading::Library;
use std::error::Error as _;
use std::ffi::{c_int, c_void};

/// Every function of the library that is called.
const CALLED: [&str; 9] = [
    "cublasCreate_v2",
    "cublasDestroy_v2",
    "cublasGetProperty",
    "cublasSetStream_v2",
    "cublasSetWorkspace_v2",
    "cublasSetMathMode",
    "cublasSetAtomicsMode",
    "cublasGemmEx",
    "cublasGemmStridedBatchedEx",
];

/// The version of this machine's cuBLAS, as `12.4.5`.
///
/// # Errors
/// What is missing: the library, or one of its functions.
pub fn cublas() -> Result<String> {
    version()?
}

/// As [`cublas`]; a library that is not found is the inner error, one that cannot be used the outer.
pub(super) fn version() -> Result<Result<String>> {
    let library = match library() {
        Ok(library) => library,
        Err(missing) => return Ok(Err(missing)),
    };
    // SAFETY: the symbol is looked up and not called.
    let has = |name: &&str| unsafe { library.get::<*const c_void>(name.as_bytes()) }.is_ok();
    let missing: Vec<&str> = CALLED.into_iter().filter(|name| !has(name)).collect();
    if !missing.is_empty() {
        return Err(Error::input(format!("the cuBLAS of this system lacks {}", missing.join(", ")))
            .help("that of CUDA 12.1 or later has them; --gemm own goes without it"));
    }
    use sys::libraryPropertyType_t::{MAJOR_VERSION, MINOR_VERSION, PATCH_LEVEL};
    let number = |part| {
        let mut value: c_int = 0;
        // SAFETY: the function is there, and writes one number.
        let done = unsafe { sys::cublasGetProperty(part, &raw mut value) }.result();
        done.map(|()| value.to_string()).map_err(|e| failed("cuBLAS does not tell its version", e))
    };
    let parts = [MAJOR_VERSION, MINOR_VERSION, PATCH_LEVEL].map(number);
    Ok(Ok(parts.into_iter().collect::<Result<Vec<String>>>()?.join(".")))
}

fn library() -> Result<Library> {
    let mut reasons = vec![];
    for name in cudarc::get_lib_name_candidates("cublas") {
        // SAFETY: opening the library runs its initialisers, which is what it is asked for; cudarc will do the same.
        match unsafe { Library::new(&name) } {
            Ok(library) => return Ok(library),
            Err(e) => reasons.push((e.source().map_or_else(|| e.to_string(), ToString::to_string), name)),
        }
    }
    // There may be a library by one of these names that wants another one: then the reason names that.
    let is_there = |(why, name): &&(String, String)| !why.starts_with(&format!("{name}: cannot open"));
    let newest = |(_, name): &&(String, String)| name.ends_with(".so.12");
    let (why, _) =
        reasons.iter().find(is_there).or_else(|| reasons.iter().find(newest)).expect("names are tried");
    Err(Error::input(format!("no cuBLAS is found: {why}")).help(
        "put the folders of libcublas.so.12 and libcublasLt.so.12 into LD_LIBRARY_PATH; --gemm own goes without, and \
         train.gemm = \"own\" in the config.toml of a run that is resumed",
    ))
}

fn failed(what: &str, error: result::CublasError) -> Error {
    let kind = match error.0 {
        sys::cublasStatus_t::CUBLAS_STATUS_ALLOC_FAILED => Kind::Refused,
        _ => Kind::Input,
    };
    Error::new(kind, format!("{what}: {error}"))
}

/// The bytes of workspace that the manual recommends (`cublasSetWorkspace`) for a generation of devices.
pub(super) fn workspace_bytes(capability: (i32, i32)) -> usize {
    if capability >= (9, 0) { 32 << 20 } else { 4 << 20 }
}

/// A matrix as cuBLAS reads it, column by column: where it is, whether it is transposed, how far columns lie apart, and
/// the matrices of a batch.
#[derive(Clone, Copy)]
pub(super) struct Operand {
    pub(super) at: u64,
    pub(super) transposed: bool,
    pub(super) apart: usize,
    pub(super) stride: usize,
}

/// What the numbers of both factors are. Sums and results are f32.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Factors {
    F32,
    Bf16,
}

/// The library's handle on one device.
pub(super) struct Blas {
    handle: sys::cublasHandle_t,
    version: String,
    workspace: (u64, usize),
}

// SAFETY: the manual allows calls from any thread, with one handle, too, as long as its settings stay as they are; they
// do after `open`. Whoever calls makes the context current first.
unsafe impl Send for Blas {}
// SAFETY: as above.
unsafe impl Sync for Blas {}

impl Blas {
    /// A handle that works in the driver's stream with this workspace, which is the caller's to give back.
    pub(super) fn open(driver: &Driver, version: String, workspace: (u64, usize)) -> Result<Blas> {
        driver.enter();
        let say = |e| failed("cuBLAS does not start", e);
        let blas = Blas { handle: result::create_handle().map_err(say)?, version, workspace };
        let (handle, (at, size)) = (blas.handle, workspace);
        // SAFETY: the stream lives as long as the driver, which the device drops after this handle; so does the
        // workspace. To set the stream takes the workspace away, so that comes second.
        unsafe {
            result::set_stream(handle, driver.stream().cast()).map_err(say)?;
            sys::cublasSetWorkspace_v2(handle, at as *mut c_void, size).result().map_err(say)?;
            sys::cublasSetMathMode(handle, sys::cublasMath_t::CUBLAS_DEFAULT_MATH).result().map_err(say)?;
            let none = sys::cublasAtomicsMode_t::CUBLAS_ATOMICS_NOT_ALLOWED;
            sys::cublasSetAtomicsMode(handle, none).result().map_err(say)?;
        }
        Ok(blas)
    }
    /// The version of the library.
    pub(super) fn version(&self) -> &str {
        &self.version
    }
    /// Where its workspace is, and how large.
    pub(super) fn workspace(&self) -> (u64, usize) {
        self.workspace
    }
    /// C ← A·B by columns: A `[m, k]`, B `[k, n]`, C `[m, n]`, whose columns lie close together; or a batch of them.
    ///
    /// # Panics
    /// If a size is beyond what the library counts to, 2³¹ - 1, or it refuses what it is asked for. Where it has no
    /// memory, or fails, it unwinds to [`super::attempt()`].
    #[track_caller]
    pub(super) fn multiply(
        &self,
        driver: &Driver,
        factors: Factors,
        [m, n, k]: [usize; 3],
        [a, b]: [Operand; 2],
        c: u64,
        batch: usize,
    ) {
        use sys::cublasComputeType_t::CUBLAS_COMPUTE_32F;
        use sys::cublasGemmAlgo_t::CUBLAS_GEMM_DFALT;
        use sys::cublasOperation_t::{CUBLAS_OP_N, CUBLAS_OP_T};
        use sys::cudaDataType_t::{CUDA_R_16BF, CUDA_R_32F};
        driver.enter();
        let int = |n: usize| c_int::try_from(n).expect("cuBLAS multiplies matrices of fewer than 2^31 rows");
        let op = |x: Operand| if x.transposed { CUBLAS_OP_T } else { CUBLAS_OP_N };
        let kind = if factors == Factors::Bf16 { CUDA_R_16BF } else { CUDA_R_32F };
        let (one, zero) = (1f32, 0f32);
        let (one, zero): (*const c_void, *const c_void) = ((&raw const one).cast(), (&raw const zero).cast());
        let ([x, y], z) = ([a.at, b.at].map(|at| at as *const c_void), c as *mut c_void);
        let (rows, columns, inner, lda, ldb) = (int(m), int(n), int(k), int(a.apart), int(b.apart));
        // SAFETY: the two factors lie on the stack until the call returns, which has read them then. That the addresses
        // hold matrices of these sizes was established by `gemm.rs` from the shapes of tensors; the stream keeps the
        // order.
        let done = unsafe {
            match batch {
                1 => result::gemm_ex(
                    self.handle,
                    op(a),
                    op(b),
                    rows,
                    columns,
                    inner,
                    one,
                    x,
                    kind,
                    lda,
                    y,
                    kind,
                    ldb,
                    zero,
                    z,
                    CUDA_R_32F,
                    rows,
                    CUBLAS_COMPUTE_32F,
                    CUBLAS_GEMM_DFALT,
                ),
                _ => result::gemm_strided_batched_ex(
                    self.handle,
                    op(a),
                    op(b),
                    rows,
                    columns,
                    inner,
                    one,
                    x,
                    kind,
                    lda,
                    a.stride as i64,
                    y,
                    kind,
                    ldb,
                    b.stride as i64,
                    zero,
                    z,
                    CUDA_R_32F,
                    rows,
                    (m * n) as i64,
                    int(batch),
                    CUBLAS_COMPUTE_32F,
                    CUBLAS_GEMM_DFALT,
                ),
            }
        };
        use sys::cublasStatus_t::{CUBLAS_STATUS_INVALID_VALUE, CUBLAS_STATUS_NOT_SUPPORTED};
        let Err(error) = done else { return };
        let is_ours = matches!(error.0, CUBLAS_STATUS_INVALID_VALUE | CUBLAS_STATUS_NOT_SUPPORTED);
        match failed("cuBLAS makes no product", error) {
            error if is_ours => panic!("{error}"),
            error if error.kind() == Kind::Refused => give_up(error),
            error => give_up(broken(error.message())),
        }
    }
}

impl Drop for Blas {
    fn drop(&mut self) {
        // SAFETY: the handle came from `open`, and this is its last use. Nothing is left to tell about a failure.
        let _ = unsafe { result::destroy_handle(self.handle) };
    }
}
