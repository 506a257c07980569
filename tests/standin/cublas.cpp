// A stand-in for libcublas.so.12: the calls that engine/src/cuda/cublas.rs makes, over the memory of the stand-in driver
// and in the order of its streams. It is strict where the library is forgiving:
//
//   matrices     must lie in their allocations with all that their leading dimensions reach
//   the handle   must have a stream, and after that a workspace; each product fills the workspace with NaN
//   the modes    do what they may do: TF32 cuts the factors, atomics sum in another order each time
//
// Sums run from the end, so that their bits tell this library from our own kernels. It shows function, never speed.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <functional>
#include <mutex>
#include <set>

// Of the stand-in driver (driver.cpp).
extern "C" int cushim_enqueue(void* stream, std::function<int()>* work);
extern "C" int cushim_inside(const void* at, size_t size);

typedef int Status;
enum { SUCCESS = 0, NOT_INITIALIZED = 1, INVALID_VALUE = 7, EXECUTION_FAILED = 13, NOT_SUPPORTED = 15 };
enum { F32 = 0, BF16 = 14, COMPUTE_F32 = 68, DEFAULT = -1, PEDANTIC = 2, TF32 = 3 };
#define API extern "C" __attribute__((visibility("default"))) Status

struct Handle {
  void* stream = nullptr;
  char* workspace = nullptr;
  size_t size = 0;
  int math = 0, atomics = 0;
};
static std::recursive_mutex lock;
static std::set<Handle*> handles;

static Status no(Status status, const char* why) {
  fprintf(stderr, "cushim: cuBLAS refuses: %s\n", why);
  return status;
}
#define KNOWN(handle)                                      \
  std::lock_guard<std::recursive_mutex> held(lock);        \
  if (!handles.count(handle)) return no(NOT_INITIALIZED, "no such handle")

API cublasCreate_v2(Handle** handle) {
  std::lock_guard<std::recursive_mutex> held(lock);
  if (!handle) return INVALID_VALUE;
  handles.insert(*handle = new Handle);
  return SUCCESS;
}
API cublasDestroy_v2(Handle* handle) {
  KNOWN(handle);
  handles.erase(handle);
  delete handle;
  return SUCCESS;
}
API cublasGetProperty(int part, int* value) {
  if (part < 0 || part > 2 || !value) return INVALID_VALUE;
  const int version[] = {12, 1, 3};
  *value = version[part];
  return SUCCESS;
}
// Takes the workspace away, as the manual says.
API cublasSetStream_v2(Handle* handle, void* stream) {
  KNOWN(handle);
  handle->stream = stream;
  handle->workspace = nullptr;
  return SUCCESS;
}
API cublasSetWorkspace_v2(Handle* handle, void* at, size_t size) {
  KNOWN(handle);
  if (!at || (uintptr_t)at % 256 || !cushim_inside(at, size)) return no(INVALID_VALUE, "a workspace that is none");
  handle->workspace = (char*)at;
  handle->size = size;
  return SUCCESS;
}
API cublasSetMathMode(Handle* handle, int mode) {
  KNOWN(handle);
  if (mode < 0 || mode > TF32) return INVALID_VALUE;
  handle->math = mode;
  return SUCCESS;
}
API cublasSetAtomicsMode(Handle* handle, int mode) {
  KNOWN(handle);
  if (mode < 0 || mode > 1) return INVALID_VALUE;
  handle->atomics = mode;
  return SUCCESS;
}

// A factor as it is read: op(X) has `rows` rows.
struct Matrix {
  const char* at;
  int type, apart;
  bool transposed;
  long stride;
  size_t size() const { return type == F32 ? 4 : 2; }
  float get(long entry, long row, long column) const {
    const long i = entry * stride + (transposed ? row * apart + column : column * apart + row);
    if (type == F32) return ((const float*)at)[i];
    const uint32_t bits = (uint32_t)((const uint16_t*)at)[i] << 16;
    float x;
    memcpy(&x, &bits, 4);
    return x;
  }
  const char* wrong(long rows, long columns, long batch) const {
    const long down = transposed ? columns : rows, across = transposed ? rows : columns;
    if (!at || (uintptr_t)at % size()) return "a matrix without an address, or between two numbers";
    if (apart < std::max(1L, down)) return "columns that overlap";
    const long reach = (batch - 1) * stride + (across - 1) * apart + down;
    return stride < 0 || !cushim_inside(at, reach * size()) ? "a matrix beyond its allocation" : nullptr;
  }
};

// Ten bits behind the point.
static float cut(float x) {
  uint32_t bits;
  memcpy(&bits, &x, 4);
  if (std::isfinite(x)) bits = (bits + 0x1000u) & ~0x1fffu;
  memcpy(&x, &bits, 4);
  return x;
}

static Status multiply(Handle* handle, long m, long n, long k, const float* alpha, Matrix a, Matrix b,
                       const float* beta, float* c, int type, int ldc, long stride, long batch, int compute, int algo) {
  if (m < 0 || n < 0 || k < 0 || batch < 0) return no(INVALID_VALUE, "a size below 0");
  if (!m || !n || !batch) return SUCCESS;
  if (!alpha || !beta) return no(INVALID_VALUE, "no scale");
  if (type != F32 || a.type != b.type || (a.type != F32 && a.type != BF16) || compute != COMPUTE_F32 || algo != DEFAULT)
    return no(NOT_SUPPORTED, "these types of numbers");
  const char* wrong = a.wrong(m, k, batch);
  if (!wrong) wrong = b.wrong(k, n, batch);
  if (!wrong) wrong = Matrix{(const char*)c, F32, ldc, false, stride}.wrong(m, n, batch);
  if (!wrong && batch > 1 && stride < m * n) wrong = "results that overlap";
  if (!wrong && !handle->workspace) wrong = "no workspace since the stream was set";
  if (wrong) return no(INVALID_VALUE, wrong);
  static long calls;
  const long first = handle->atomics && k ? ++calls % k : 0;
  const float scale = *alpha, keep = *beta;
  const Handle by = *handle;
  std::function<int()> work = [=] {
    memset(by.workspace, 0xff, std::min<size_t>(by.size, 1 << 16));
    for (long entry = 0; entry < batch; entry++)
      for (long j = 0; j < n; j++)
        for (long i = 0; i < m; i++) {
          float sum = 0;
          for (long x = k; x-- > 0;) {
            const long at = (x + first) % k;
            float left = a.get(entry, i, at), top = b.get(entry, at, j);
            if (by.math == TF32) left = cut(left), top = cut(top);
            sum += left * top;
          }
          float& to = c[entry * stride + j * ldc + i];
          to = keep == 0 ? scale * sum : scale * sum + keep * to;
        }
    return 0;
  };
  return cushim_enqueue(by.stream, &work) ? EXECUTION_FAILED : SUCCESS;
}
#define OP(op) \
  if (op != 0 && op != 1) return no(INVALID_VALUE, "an operation other than N and T")

API cublasGemmEx(Handle* handle, int op_a, int op_b, int m, int n, int k, const void* alpha, const void* a, int type_a,
                 int lda, const void* b, int type_b, int ldb, const void* beta, void* c, int type_c, int ldc,
                 int compute, int algo) {
  KNOWN(handle);
  OP(op_a);
  OP(op_b);
  return multiply(handle, m, n, k, (const float*)alpha, {(const char*)a, type_a, lda, op_a == 1, 0},
                  {(const char*)b, type_b, ldb, op_b == 1, 0}, (const float*)beta, (float*)c, type_c, ldc, 0, 1,
                  compute, algo);
}
API cublasGemmStridedBatchedEx(Handle* handle, int op_a, int op_b, int m, int n, int k, const void* alpha,
                               const void* a, int type_a, int lda, long long stride_a, const void* b, int type_b,
                               int ldb, long long stride_b, const void* beta, void* c, int type_c, int ldc,
                               long long stride_c, int batch, int compute, int algo) {
  KNOWN(handle);
  OP(op_a);
  OP(op_b);
  return multiply(handle, m, n, k, (const float*)alpha, {(const char*)a, type_a, lda, op_a == 1, (long)stride_a},
                  {(const char*)b, type_b, ldb, op_b == 1, (long)stride_b}, (const float*)beta, (float*)c, type_c, ldc,
                  stride_c, batch, compute, algo);
}
