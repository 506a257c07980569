//! The calls of the CUDA driver, one context and one stream. What is unsafe about a device stands here, and in
//! `cublas.rs` what is about that library.
//!
//! cudarc opens libcuda at the first call and panics where the library or a function is missing. So the library is
//! opened here first, by the same names, and asked for every function that we call: what is missing becomes an error.

use super::attempt::give_up;
use crate::error::{Error, Kind, Result};
use cudarc::driver::{result, sys};
use libloading::Library;
use std::ffi::{CString, c_void};

/// Every function of the driver that is called.
const CALLED: [&str; 31] = [
    "cuInit",
    "cuGetErrorName",
    "cuGetErrorString",
    "cuDeviceGet",
    "cuDeviceGetCount",
    "cuDeviceGetName",
    "cuDeviceTotalMem_v2",
    "cuDeviceGetAttribute",
    "cuDevicePrimaryCtxRetain",
    "cuDevicePrimaryCtxRelease_v2",
    "cuCtxSetCurrent",
    "cuStreamCreate",
    "cuStreamDestroy_v2",
    "cuStreamSynchronize",
    "cuEventCreate",
    "cuEventDestroy_v2",
    "cuEventRecord",
    "cuEventSynchronize",
    "cuMemAlloc_v2",
    "cuMemFree_v2",
    "cuMemGetInfo_v2",
    "cuMemHostAlloc",
    "cuMemFreeHost",
    "cuMemsetD8Async",
    "cuMemcpyHtoDAsync_v2",
    "cuMemcpyDtoHAsync_v2",
    "cuMemcpyDtoDAsync_v2",
    "cuModuleLoadData",
    "cuModuleUnload",
    "cuModuleGetFunction",
    "cuLaunchKernel",
];

/// The oldest generation that the kernels are compiled for.
const CAPABILITY_MIN: (i32, i32) = (8, 0);

/// A device as the driver describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its number, from 0.
    pub ordinal: usize,
    /// What its maker calls it.
    pub name: String,
    /// Bytes of memory.
    pub memory_bytes: usize,
    /// The generation: (8, 0) is an A100.
    pub capability: (i32, i32),
    /// How many multiprocessors it has.
    pub multiprocessors: usize,
}

/// The devices of this machine.
///
/// # Errors
/// What is missing: the driver, one of its functions, or a device.
pub fn devices() -> Result<Vec<Found>> {
    present()?;
    result::init().map_err(|e| failed("the CUDA driver does not start", e))?;
    let count = result::device::get_count().map_err(|e| failed("the CUDA driver counts no devices", e))?;
    if count == 0 {
        return Err(Error::input("the CUDA driver is there, and it finds no device"));
    }
    (0..count as usize).map(found).collect()
}

/// Whether the library is there with every function that is called.
fn present() -> Result<()> {
    let names = ["cuda", "nvcuda"].into_iter().flat_map(cudarc::get_lib_name_candidates);
    // SAFETY: opening the driver runs its initialisers, which is what a CUDA program is for; cudarc will do the same.
    let library = names.into_iter().find_map(|name| unsafe { Library::new(name) }.ok());
    let Some(library) = library else {
        return Err(Error::input("no CUDA driver: libcuda.so.1 is not among the libraries of this system")
            .help("install the driver of the card, or put the folder of libcuda.so.1 into LD_LIBRARY_PATH"));
    };
    // SAFETY: the symbol is looked up and not called.
    let has = |name: &&str| unsafe { library.get::<*const c_void>(name.as_bytes()) }.is_ok();
    let missing: Vec<&str> = CALLED.into_iter().filter(|name| !has(name)).collect();
    match missing.is_empty() {
        true => Ok(()),
        false => Err(Error::input(format!("the CUDA driver lacks {}", missing.join(", ")))
            .help("a driver of CUDA 12.1 (530) or later has them")),
    }
}

fn failed(what: &str, error: result::DriverError) -> Error {
    Error::input(words(what, error))
}

fn words(what: &str, error: result::DriverError) -> String {
    let [name, why] =
        [error.error_name(), error.error_string()].map(|text| text.unwrap_or(c"?").to_string_lossy());
    format!("{what}: {name}, {why}")
}

/// The error of a device that fails in the middle of its work: nothing more can be asked of it.
pub(super) fn broken(words: &str) -> Error {
    Error::new(Kind::Other, words).help("`dmesg` may say what became of the device")
}

fn found(ordinal: usize) -> Result<Found> {
    let say = |e| failed(&format!("device cuda:{ordinal} does not answer"), e);
    let device = result::device::get(ordinal as i32).map_err(say)?;
    let name = result::device::get_name(device).map_err(say)?;
    use sys::CUdevice_attribute::{
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR as MAJOR,
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR as MINOR,
        CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT as MULTIPROCESSORS,
    };
    // SAFETY: `get` gave this device.
    let (memory_bytes, major, minor, multiprocessors) = unsafe {
        (
            result::device::total_mem(device).map_err(say)?,
            result::device::get_attribute(device, MAJOR).map_err(say)?,
            result::device::get_attribute(device, MINOR).map_err(say)?,
            result::device::get_attribute(device, MULTIPROCESSORS).map_err(say)?,
        )
    };
    let multiprocessors = usize::try_from(multiprocessors).unwrap_or(0);
    Ok(Found { ordinal, name, memory_bytes, capability: (major, minor), multiprocessors })
}

/// A function of a loaded module.
#[derive(Clone, Copy)]
pub(super) struct Function(sys::CUfunction);

/// A mark in the stream. It lives as long as the driver.
#[derive(Clone, Copy)]
pub(super) struct Event(sys::CUevent);

/// Memory of the host that is page-locked: the device copies from it and to it on its own time. It lives as long as the
/// driver.
pub(super) struct Locked {
    at: *mut u8,
    bytes: usize,
}

impl Locked {
    /// Takes `values` from a place to which a copy has come.
    pub(super) fn take<T: Copy>(&self, place: usize, values: &mut [T]) {
        let bytes = size_of_val(values);
        assert!(place + bytes <= self.bytes, "a place outside of the page-locked memory");
        // SAFETY: the place lies in the memory, by the assertion, and holds numbers of this type, which the caller had
        // copied there.
        unsafe { std::ptr::copy_nonoverlapping(self.at.add(place), values.as_mut_ptr().cast(), bytes) };
    }
}

/// One device: its context and the one stream in which everything happens in order.
pub(super) struct Driver {
    device: sys::CUdevice,
    context: sys::CUcontext,
    stream: sys::CUstream,
    modules: Vec<sys::CUmodule>,
    events: Vec<sys::CUevent>,
    locked: Vec<*mut c_void>,
}

// SAFETY: the driver's handles may be used from any thread; each call makes the context current first.
unsafe impl Send for Driver {}
// SAFETY: as above; the driver locks for itself, and a stream takes work from many threads.
unsafe impl Sync for Driver {}
// SAFETY: a handle that is only handed back to the driver.
unsafe impl Send for Function {}
// SAFETY: as above.
unsafe impl Sync for Function {}
// SAFETY: as above.
unsafe impl Send for Event {}
// SAFETY: memory of this process, which whoever has the value alone writes, from any thread.
unsafe impl Send for Locked {}

/// Gives the work up where the device fails in the middle of it, or has no memory for it, with the driver's words.
///
/// # Panics
/// If the driver refuses what it is asked for: a mistake of ours.
#[track_caller]
fn must<T>(what: &str, done: std::result::Result<T, result::DriverError>) -> T {
    use sys::CUresult::{
        CUDA_ERROR_INVALID_HANDLE, CUDA_ERROR_INVALID_VALUE, CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES,
        CUDA_ERROR_NOT_SUPPORTED, CUDA_ERROR_OUT_OF_MEMORY,
    };
    let error = match done {
        Ok(done) => return done,
        Err(error) => error,
    };
    let words = words(what, error);
    match error.0 {
        CUDA_ERROR_OUT_OF_MEMORY => give_up(Error::new(Kind::Refused, words)),
        CUDA_ERROR_INVALID_HANDLE
        | CUDA_ERROR_INVALID_VALUE
        | CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES
        | CUDA_ERROR_NOT_SUPPORTED => panic!("{words}"),
        _ => give_up(broken(&words)),
    }
}

impl Driver {
    pub(super) fn open(ordinal: usize) -> Result<(Driver, Found)> {
        let all = devices()?;
        let Some(found) = all.get(ordinal).cloned() else {
            let last = all.len() - 1;
            return Err(Error::input(format!(
                "there is no device cuda:{ordinal}, the last one is cuda:{last}"
            )));
        };
        if found.capability < CAPABILITY_MIN {
            let ((have, of), (want, at)) = (found.capability, CAPABILITY_MIN);
            return Err(Error::input(format!(
                "device cuda:{ordinal} ({}) is of generation {have}.{of}, the kernels need {want}.{at}",
                found.name
            )));
        }
        let say = |e| failed(&format!("device cuda:{ordinal} cannot be opened"), e);
        let device = result::device::get(ordinal as i32).map_err(say)?;
        // SAFETY: `get` gave this device; the context is released once, in `drop`.
        let context = unsafe { result::primary_ctx::retain(device) }.map_err(say)?;
        // SAFETY: the context was retained above.
        unsafe { result::ctx::set_current(context) }.map_err(say)?;
        let stream = result::stream::create(result::stream::StreamKind::NonBlocking).map_err(say)?;
        Ok((Driver { device, context, stream, modules: vec![], events: vec![], locked: vec![] }, found))
    }
    /// Makes the context that of the calling thread.
    pub(super) fn enter(&self) {
        // SAFETY: the context lives until `drop`.
        must("the CUDA context cannot be entered", unsafe { result::ctx::set_current(self.context) });
    }
    /// The one stream. It lives as long as the driver.
    pub(super) fn stream(&self) -> sys::CUstream {
        self.stream
    }
    /// Enters the context and waits until all that was launched is done, whatever became of it: for what is given back
    /// while something drops.
    pub(super) fn settle(&self) {
        // SAFETY: context and stream live until `drop`.
        unsafe {
            let _ = result::ctx::set_current(self.context);
            let _ = result::stream::synchronize(self.stream);
        }
    }
    /// Loads a module and finds its functions.
    pub(super) fn load(&mut self, ptx: &str, names: &[&str]) -> Result<Vec<Function>> {
        self.enter();
        let say = |e| failed("the kernels cannot be loaded", e);
        let text = CString::new(ptx).map_err(|_| Error::input("the text of the kernels has a zero in it"))?;
        // SAFETY: a text that ends with a zero, as the driver wants it; it copies what it needs.
        let module = unsafe { result::module::load_data(text.as_ptr().cast()) }.map_err(say)?;
        self.modules.push(module);
        let function = |name: &&str| -> Result<Function> {
            let name = CString::new(*name).map_err(|_| Error::input("a kernel's name has a zero in it"))?;
            // SAFETY: the module was loaded above and is unloaded in `drop`, after the last launch.
            Ok(Function(unsafe { result::module::get_function(module, name) }.map_err(say)?))
        };
        names.iter().map(function).collect()
    }
    /// So much page-locked memory.
    pub(super) fn lock(&mut self, bytes: usize) -> Result<Locked> {
        self.enter();
        // SAFETY: it is freed once, in `drop`, after the last copy from it.
        let at = unsafe { result::malloc_host(bytes, 0) };
        let at = at.map_err(|e| failed(&format!("{bytes} bytes of memory cannot be page-locked"), e))?;
        self.locked.push(at);
        Ok(Locked { at: at.cast(), bytes })
    }
    /// A mark that is recorded nowhere yet.
    pub(super) fn event(&mut self) -> Result<Event> {
        self.enter();
        let event = result::event::create(sys::CUevent_flags::CU_EVENT_DISABLE_TIMING);
        let event = event.map_err(|e| failed("an event cannot be made", e))?;
        self.events.push(event);
        Ok(Event(event))
    }
    /// Marks the place behind all that was launched, and no longer the one before.
    pub(super) fn record(&self, event: Event) {
        self.enter();
        // SAFETY: event and stream live until `drop`.
        must("an event cannot be recorded", unsafe { result::event::record(event.0, self.stream) });
    }
    /// Waits until the stream has come to the mark; not at all where it was never recorded.
    pub(super) fn wait_for(&self, event: Event) {
        self.enter();
        // SAFETY: the event lives until `drop`.
        must("a kernel failed", unsafe { result::event::synchronize(event.0) });
    }
    /// Memory from the device; none if it has no more.
    pub(super) fn alloc(&self, bytes: usize) -> Option<u64> {
        self.enter();
        // SAFETY: only the pool calls this, which gives every block back once.
        match unsafe { result::malloc_sync(bytes) } {
            Err(result::DriverError(sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY)) => None,
            done => Some(must("memory cannot be taken", done)),
        }
    }
    /// Gives memory back, after everything that was launched is done. A failure is not told of: it is that of a kernel
    /// before, which the next call that waits tells, and this one runs while tensors drop, perhaps because of it.
    pub(super) fn free(&self, at: u64) {
        self.settle();
        // SAFETY: the pool frees what `alloc` gave, once, when nobody holds it, and nothing runs any more.
        let _ = unsafe { result::free_sync(at) };
    }
    pub(super) fn fill(&self, at: u64, byte: u8, bytes: usize) {
        self.enter();
        // SAFETY: the caller owns these bytes of the device; the stream keeps the order.
        must("memory cannot be filled", unsafe { result::memset_d8_async(at, byte, bytes, self.stream) });
    }
    /// Copies `values` to a place in `through`, and from there to `at` when the stream comes to it: until then the
    /// caller leaves that place alone.
    pub(super) fn upload<T: Copy>(&self, at: u64, values: &[T], through: &mut Locked, place: usize) {
        self.enter();
        let bytes = size_of_val(values);
        assert!(place + bytes <= through.bytes, "a place outside of the page-locked memory");
        // SAFETY: the place lies in the memory, by the assertion, and nobody else writes there: it is borrowed. The
        // caller owns as many bytes at `at`. The memory is freed in `drop`, when the stream has ended.
        let done = unsafe {
            let from = through.at.add(place);
            std::ptr::copy_nonoverlapping(values.as_ptr().cast(), from, bytes);
            sys::cuMemcpyHtoDAsync_v2(at, from.cast(), bytes, self.stream).result()
        };
        must("numbers cannot be sent", done);
    }
    /// Copies so many bytes from `at` to a place in `into` when the stream comes to it.
    pub(super) fn download(&self, at: u64, bytes: usize, into: &mut Locked, place: usize) {
        self.enter();
        assert!(place + bytes <= into.bytes, "a place outside of the page-locked memory");
        // SAFETY: the place lies in the memory, by the assertion, and nobody else writes there: it is borrowed. The
        // caller owns as many bytes at `at`. The memory is freed in `drop`, when the stream has ended.
        let done = unsafe {
            let to = into.at.add(place).cast();
            sys::cuMemcpyDtoHAsync_v2(to, at, bytes, self.stream).result()
        };
        must("numbers cannot be fetched", done);
    }
    pub(super) fn copy(&self, to: u64, from: u64, bytes: usize) {
        self.enter();
        // SAFETY: the caller owns as many bytes at both places; the stream keeps the order.
        must("numbers cannot be copied", unsafe { result::memcpy_dtod_async(to, from, bytes, self.stream) });
    }
    pub(super) fn wait(&self) {
        self.enter();
        // SAFETY: the stream lives until `drop`.
        must("a kernel failed", unsafe { result::stream::synchronize(self.stream) });
    }
    /// Launches a function over a grid of blocks. Each argument is one word, of which the kernel reads its first 4 or
    /// all 8 bytes; the caller has compared their number and sizes with the text of the kernel.
    pub(super) fn launch(&self, name: &str, f: Function, grid: [u32; 3], block: [u32; 3], args: &mut [u64]) {
        self.enter();
        let mut places: Vec<*mut c_void> = args.iter_mut().map(|a| std::ptr::from_mut(a).cast()).collect();
        let (grid, block) = ((grid[0], grid[1], grid[2]), (block[0], block[1], block[2]));
        // SAFETY: number and sizes of the arguments are those of the kernel, by the text that was loaded; that the
        // addresses hold what the kernel reads and writes was established by the entry functions of `cuda`, from the
        // shapes of the tensors. The driver copies the arguments before it returns.
        let done = unsafe { result::launch_kernel(f.0, grid, block, 0, self.stream, &mut places) };
        must(&format!("kernel {name} cannot be launched"), done);
    }
    /// Bytes of the device's memory that are free.
    pub(super) fn memory_free(&self) -> Option<usize> {
        self.enter();
        result::mem_get_info().ok().map(|(free, _)| free)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // Nothing is left to tell about a failure here: the device goes away either way.
        self.settle();
        // SAFETY: the handles came from `open`, `load`, `event` and `lock`, and this is the last use of each.
        unsafe {
            for module in self.modules.drain(..) {
                let _ = result::module::unload(module);
            }
            for event in self.events.drain(..) {
                let _ = result::event::destroy(event);
            }
            for memory in self.locked.drain(..) {
                let _ = result::free_host(memory);
            }
            let _ = result::stream::destroy(self.stream);
            let _ = result::primary_ctx::release(self.device);
        }
    }
}
