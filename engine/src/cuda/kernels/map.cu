// y = f(x), y = f(a, b), broadcasting, and the sums that undo it. All bound by bytes: 8 a number for one input, 12 for
// two.
//
//   map1       y[i] = f(x[i])                         map2       y[i] = f(a[i], b[i])
//   broadcast  y[i] = f(a[i by strides], b[i by strides]), a stride is 0 where a dimension is repeated
//   sum_parts  partial[s, j] = sum of x over the part s of the numbers that fall on j; then sum_total adds the parts
//   spread     y[i, j] = factor * x[i]
#include "functions.cuh"
#include "numbers.cuh"

KERNEL map1(float* y, const float* x, size n, uint32_t f, float p, float q) {
  const size i = here();
  if (i < n) y[i] = function1(f, x[i], p, q);
}

KERNEL map2(float* y, const float* a, const float* b, size n, uint32_t f) {
  const size i = here();
  if (i < n) y[i] = function2(f, a[i], b[i]);
}

// Dimensions and strides of four: missing ones in front are 1 and 0.
struct Walk { size a, b; };
__device__ __forceinline__ Walk walk(size i, const uint32_t* dims, const uint32_t* sa, const uint32_t* sb) {
  Walk at = {0, 0};
  for (int d = 3; d >= 0; d--) {
    const size k = i % dims[d];
    i /= dims[d];
    at.a += k * sa[d];
    at.b += k * sb[d];
  }
  return at;
}

// `dims` holds the dimensions of y, then the strides of a, then those of b: 12 numbers.
KERNEL broadcast(float* y, const float* a, const float* b, const uint32_t* dims, size n, uint32_t f) {
  const size i = here();
  if (i >= n) return;
  const Walk at = walk(i, dims, dims + 4, dims + 8);
  y[i] = function2(f, a[at.a], b[at.b]);
}

// The numbers of x that fall on place j of the sum are j's base plus every combination of the repeated dimensions:
// `dims` holds the kept dimensions and their strides in x, then the repeated ones and their strides. Part s takes
// `per` of those numbers. One block for each j and part.
KERNEL sum_parts(float* partial, const float* x, const uint32_t* dims, size repeats, size per) {
  __shared__ float room[32];
  const size j = blockIdx.x, s = blockIdx.y;
  const Walk base = walk(j, dims, dims + 4, dims + 4);
  const size first = s * per, last = first + per < repeats ? first + per : repeats;
  float sum = 0.f;
  for (size r = first + threadIdx.x; r < last; r += blockDim.x) {
    sum += x[base.a + walk(r, dims + 8, dims + 12, dims + 12).a];
  }
  sum = block_sum(sum, room);
  if (threadIdx.x == 0) partial[s * gridDim.x + j] = sum;
}

// As sum_parts where the innermost dimension of x is kept, which may be bf16: neighbouring threads add neighbouring
// columns.
KERNEL sum_columns(float* partial, const void* x, uint32_t bf16, size rows, size width, size per) {
  const Numbers numbers = {(void*)x, bf16};
  const size c = here(), s = blockIdx.y;
  if (c >= width) return;
  const size first = s * per, last = first + per < rows ? first + per : rows;
  float sum = 0.f;
  for (size r = first; r < last; r++) sum += numbers.read(r * width + c);
  partial[s * width + c] = sum;
}

KERNEL sum_total(float* y, const float* partial, size n, size parts) {
  const size i = here();
  if (i >= n) return;
  float sum = 0.f;
  for (size s = 0; s < parts; s++) sum += partial[s * n + i];
  y[i] = sum;
}

KERNEL spread(float* y, const float* x, size n, size width, float factor) {
  const size i = here();
  if (i < n) y[i] = factor * x[i / width];
}
