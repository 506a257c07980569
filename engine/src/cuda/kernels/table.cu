// Rows of a table of label weights, and the steps of their optimizers. Bound by bytes, 28 a number of f32 with AdamW, and 24
// with weights of bf16; or by the integers of Philox, a block of words for each number of bf16 that is written.
//
//   weights   f32, or the upper half of an f32 (bf16) that is rounded by chance when it is written: with the bits x = c 2^16
//             + r, c + 1 where a draw from 0..2^16 is at least 2^16 - r, else c (engine/src/table.rs, the same bits)
//   adamw     as in optim.cu     sgd  p -= rate g     adagrad  a += mean g^2, p -= rate g / (sqrt a + eps)
//
// Row i of what is given is row ids[i] of the table, or first + i where there are no ids.
#include "numbers.cuh"

struct Which {
  const uint32_t* ids;
  size first;
  __device__ __forceinline__ size row(size i) const { return ids ? ids[i] : first + i; }
};

struct Weights {
  Numbers numbers;
  size width;
  uint32_t k0, k1;
  __device__ __forceinline__ float read(size row, size column) const { return numbers.read(row * width + column); }
  __device__ __forceinline__ void write(size row, size column, float x) const {
    const size i = row * width + column;
    if (numbers.bf16) ((uint16_t*)numbers.at)[i] = rounded(row, column, __float_as_uint(x));
    else numbers.write(i, x);
  }
  __device__ __forceinline__ uint16_t rounded(size row, size column, uint32_t bits) const {
    // Infinities and NaN have no neighbours to be rounded to; a NaN stays one.
    if ((bits & 0x7f800000u) == 0x7f800000u) return (bits >> 16) | (bits & 0x007fffffu ? 0x40u : 0u);
    const Words words = philox((uint32_t)row, (uint32_t)(column / 8), 0, 0, k0, k1);
    const uint32_t at = column % 8, low = at & 2 ? words.w[1] : words.w[0], high = at & 2 ? words.w[3] : words.w[2];
    return (bits + (((at & 4 ? high : low) >> (16 * (at & 1))) & 0xffffu)) >> 16;
  }
};

// y[i] = its row of the table
KERNEL table_read(float* y, void* table, uint32_t bf16, const uint32_t* ids, size first, size n, size width) {
  const size i = here();
  if (i >= n * width) return;
  const Weights weights = {{table, bf16}, width, 0, 0};
  y[i] = weights.read(Which{ids, first}.row(i / width), i % width);
}

// Its row of the table = x[i]
KERNEL table_write(void* table, const float* x, uint32_t bf16, uint32_t k0, uint32_t k1, const uint32_t* ids, size first,
                   size n, size width) {
  const size i = here();
  if (i >= n * width) return;
  const Weights weights = {{table, bf16}, width, k0, k1};
  weights.write(Which{ids, first}.row(i / width), i % width, x[i]);
}

KERNEL table_sgd(void* table, const float* g, uint32_t bf16, uint32_t k0, uint32_t k1, const uint32_t* ids, size first,
                 size n, size width, float rate) {
  const size i = here();
  if (i >= n * width) return;
  const Weights weights = {{table, bf16}, width, k0, k1};
  const size row = Which{ids, first}.row(i / width), column = i % width;
  weights.write(row, column, weights.read(row, column) - rate * g[i]);
}

KERNEL table_adamw(void* table, float* m, float* v, const float* g, uint32_t bf16, uint32_t k0, uint32_t k1,
                   const uint32_t* ids, size first, size n, size width, float keep, float new1, float beta2, float new2,
                   float step, float widen, float eps) {
  const size i = here();
  if (i >= n * width) return;
  const Weights weights = {{table, bf16}, width, k0, k1};
  const size row = Which{ids, first}.row(i / width), column = i % width, at = row * width + column;
  const float x = g[i], mean = m[at] + new1 * (x - m[at]), square = beta2 * v[at] + new2 * (x * x);
  m[at] = mean;
  v[at] = square;
  weights.write(row, column, weights.read(row, column) * keep - step * mean / (sqrtf(square) * widen + eps));
}

// A block for each row.
KERNEL table_adagrad(void* table, float* sums, const float* g, uint32_t bf16, uint32_t k0, uint32_t k1,
                     const uint32_t* ids, size first, size width, float rate, float eps) {
  __shared__ float room[32];
  const Weights weights = {{table, bf16}, width, k0, k1};
  const size row = Which{ids, first}.row(blockIdx.x);
  g += blockIdx.x * width;
  // Read before the barriers of the sum, and written behind them.
  const float before = sums[row];
  float square = 0.f;
  BELOW(width, c) square += g[c] * g[c];
  const float sum = before + block_sum(square, room) / width;
  if (threadIdx.x == 0) sums[row] = sum;
  const float step = rate / (sqrtf(sum) + eps);
  BELOW(width, c) weights.write(row, c, weights.read(row, c) - step * g[c]);
}
