// C = A B, one product or a batch, with what may follow a product while its numbers are at hand (finish.cuh).
//
// Bound by flops: 2 m n k. A and B are read by strides, so a transpose costs nothing. k is walked in steps through shared
// memory and never split between threads, so that the order of a sum depends neither on the device nor on the kernel.
//
//   gemm        f32, 64 x 64 numbers of C for a block and 4 x 4 for a thread, which reads one number for two products
//   gemm_large  f32, 128 x 128 and 8 x 8, one number for four; the next steps are copied while one is multiplied
//   gemm_bf16   rounds A and B on their way into shared memory, multiplies in tensor cores and adds up in f32; a warp
//               makes 16 x 32 numbers of C. For matrices whose rows do not begin at multiples of 16 bytes; staged.cu
//               multiplies those of layers
//
// Where cuBLAS makes the product, `after_product` does what follows.
#include "finish.cuh"
#include "mma.cuh"

const int TILE = 64, DEPTH = 16, EACH = 4, THREADS = 256;

// Loads a tile of 64 rows and 16 columns, as [16][64]; numbers outside are 0. Neighbouring threads read neighbouring
// numbers, whichever of the two strides is 1.
__device__ __forceinline__ void load(float (*to)[TILE + 1], const float* from, size row, size column, size rows,
                                     size columns, size down, size right) {
  for (int at = threadIdx.x; at < TILE * DEPTH; at += blockDim.x) {
    const int i = right == 1 ? at / DEPTH : at % TILE, x = right == 1 ? at % DEPTH : at / TILE;
    const bool inside = row + i < rows && column + x < columns;
    to[x][i] = inside ? from[(row + i) * down + (column + x) * right] : 0.f;
  }
}

KERNEL gemm(void* c, void* other, const float* a, const float* b, const float* bias, const void* u, size m, size n, size k,
            size a_down, size a_right, size b_down, size b_right, size a_batch, size b_batch, uint32_t narrow,
            uint32_t epilogue, uint32_t phi, uint32_t slope) {
  __shared__ float room[EACH * EACH * THREADS];
  float (*as)[TILE + 1] = (float (*)[TILE + 1])room, (*bs)[TILE + 1] = as + DEPTH;
  const size row = (size)blockIdx.x * TILE, column = (size)blockIdx.y * TILE;
  a += blockIdx.z * a_batch;
  b += blockIdx.z * b_batch;
  const int down = threadIdx.x / 16, right = threadIdx.x % 16;
  float sum[EACH][EACH] = {};
  for (size x = 0; x < k; x += DEPTH) {
    load(as, a, row, x, m, k, a_down, a_right);
    load(bs, b, column, x, n, k, b_right, b_down);
    __syncthreads();
    for (int d = 0; d < DEPTH; d++) {
      float left[EACH], top[EACH];
      for (int i = 0; i < EACH; i++) left[i] = as[d][down + 16 * i];
      for (int j = 0; j < EACH; j++) top[j] = bs[d][right + 16 * j];
      for (int i = 0; i < EACH; i++)
        for (int j = 0; j < EACH; j++) sum[i][j] += left[i] * top[j];
    }
    __syncthreads();
  }
  // The tiles are done with, and their room takes the sums: what follows a product stands in the program once and not
  // sixteen times. A thread reads what it wrote itself.
  UNROLL
  for (int e = 0; e < EACH * EACH; e++) room[e * THREADS + threadIdx.x] = sum[e / EACH][e % EACH];
  ROLLED
  for (int e = 0; e < EACH * EACH; e++) {
    const size r = row + down + 16 * (e / EACH), s = column + right + 16 * (e % EACH);
    if (r >= m || s >= n) continue;
    const size at = (blockIdx.z * m + r) * n + s;
    finish(room[e * THREADS + threadIdx.x], at, s, c, other, bias, u, narrow, epilogue, phi, slope);
  }
}

const int LARGE = 128, SHALLOW = 8, STAGES = 4, SLAB = 16;

// Begins to copy a tile of 128 rows and 8 columns, as [8][128 and 4 to spare]: eight rows of a warp's copies then lie in
// different banks, and four neighbours begin at a multiple of 16 bytes.
__device__ __forceinline__ void begin_tile(float (*to)[LARGE + 4], const float* from, size row, size column, size rows,
                                           size columns, size down, size right) {
  UNROLL
  for (int piece = 0; piece < LARGE * SHALLOW; piece += THREADS) {
    const int at = piece + threadIdx.x;
    const int i = right == 1 ? at / SHALLOW : at % LARGE, x = right == 1 ? at % SHALLOW : at / LARGE;
    const bool inside = row + i < rows && column + x < columns;
    copy_4(&to[x][i], from + (inside ? (row + i) * down + (column + x) * right : 0), inside);
  }
}

// Four neighbours at a multiple of 16 bytes.
__device__ __forceinline__ void four(float* to, const float* from) {
  const float4 v = *(const float4*)from;
  to[0] = v.x;
  to[1] = v.y;
  to[2] = v.z;
  to[3] = v.w;
}

// A thread has 4 x 4 numbers in each quarter of the tile: those of a warp are neighbours.
KERNEL gemm_large(void* c, void* other, const float* a, const float* b, const float* bias, const void* u, size m, size n,
                  size k, size a_down, size a_right, size b_down, size b_right, size a_batch, size b_batch,
                  uint32_t narrow, uint32_t epilogue, uint32_t phi, uint32_t slope) {
  alignas(16) __shared__ float room[STAGES * 2 * SHALLOW * (LARGE + 4)];
  float (*tiles)[LARGE + 4] = (float (*)[LARGE + 4])room;
  const size row = (size)blockIdx.x * LARGE, column = (size)blockIdx.y * LARGE;
  a += blockIdx.z * a_batch;
  b += blockIdx.z * b_batch;
  const int down = 4 * (threadIdx.x / 16), right = 4 * (threadIdx.x % 16);
  const size steps = (k + SHALLOW - 1) / SHALLOW;
  const auto begin = [&](size step) {
    float (*to)[LARGE + 4] = tiles + step % STAGES * 2 * SHALLOW;
    if (step < steps) {
      begin_tile(to, a, row, step * SHALLOW, m, k, a_down, a_right);
      begin_tile(to + SHALLOW, b, column, step * SHALLOW, n, k, b_right, b_down);
    }
    // A group without copies is done at once: so there is one for each step.
    copies_end();
  };
  for (int step = 0; step < STAGES - 1; step++) begin(step);
  float sum[4][SLAB] = {};
  for (size step = 0; step < steps; step++) {
    copied<STAGES - 2>();
    __syncthreads();
    begin(step + STAGES - 1);
    const float (*as)[LARGE + 4] = tiles + step % STAGES * 2 * SHALLOW, (*bs)[LARGE + 4] = as + SHALLOW;
    UNROLL
    for (int d = 0; d < SHALLOW; d++) {
      float left[8], top[8];
      four(left, &as[d][down]);
      four(left + 4, &as[d][down + LARGE / 2]);
      four(top, &bs[d][right]);
      four(top + 4, &bs[d][right + LARGE / 2]);
      UNROLL
      for (int i = 0; i < 8; i++) {
        UNROLL
        for (int j = 0; j < 8; j++) sum[i / 4 * 2 + j / 4][i % 4 * 4 + j % 4] += left[i] * top[j];
      }
    }
  }
  // As in `gemm`, a quarter at a time.
  __syncthreads();
  ROLLED
  for (int slab = 0; slab < 4; slab++) {
    UNROLL
    for (int i = 0; i < 4; i++) {
      if (i != slab) continue;
      UNROLL
      for (int e = 0; e < SLAB; e++) room[e * THREADS + threadIdx.x] = sum[i][e];
    }
    ROLLED
    for (int e = 0; e < SLAB; e++) {
      const size r = row + slab / 2 * (LARGE / 2) + down + e / 4, s = column + slab % 2 * (LARGE / 2) + right + e % 4;
      if (r >= m || s >= n) continue;
      const size at = (blockIdx.z * m + r) * n + s;
      finish(room[e * THREADS + threadIdx.x], at, s, c, other, bias, u, narrow, epilogue, phi, slope);
    }
  }
}

// Words of two bf16 in a step along k, and between two rows of a tile: with 20 of them the 32 words of a fragment lie in
// 32 banks.
const int WORDS = 16, PITCH = 20, FRAGMENTS = 4;

// Loads a tile of 64 rows and 32 columns as pairs along the columns; numbers outside are 0.
__device__ __forceinline__ void load_pairs(uint32_t (*to)[PITCH], const float* from, size row, size column, size rows,
                                           size columns, size down, size right) {
  for (int at = threadIdx.x; at < TILE * WORDS; at += blockDim.x) {
    const int i = right == 1 ? at / WORDS : at % TILE, w = right == 1 ? at % WORDS : at / TILE;
    const size r = row + i, x = column + 2 * w;
    const float* place = from + r * down + x * right;
    to[i][w] = bf16_pair(r < rows && x < columns ? place[0] : 0.f, r < rows && x + 1 < columns ? place[right] : 0.f);
  }
}

KERNEL gemm_bf16(void* c, void* other, const float* a, const float* b, const float* bias, const void* u, size m, size n,
                 size k, size a_down, size a_right, size b_down, size b_right, size a_batch, size b_batch,
                 uint32_t narrow, uint32_t epilogue, uint32_t phi, uint32_t slope) {
  __shared__ float room[4 * FRAGMENTS * THREADS];
  uint32_t (*as)[PITCH] = (uint32_t (*)[PITCH])room, (*bs)[PITCH] = as + TILE;
  const size row = (size)blockIdx.x * TILE, column = (size)blockIdx.y * TILE;
  a += blockIdx.z * a_batch;
  b += blockIdx.z * b_batch;
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, g = lane / 4, t = lane % 4;
  const int down = 16 * (warp / 2), right = 32 * (warp % 2);
  float sum[FRAGMENTS][4] = {};
  for (size x = 0; x < k; x += 2 * WORDS) {
    load_pairs(as, a, row, x, m, k, a_down, a_right);
    load_pairs(bs, b, column, x, n, k, b_right, b_down);
    __syncthreads();
    UNROLL
    for (int w = 0; w < WORDS; w += 8) {
      const uint32_t left[4] = {as[down + g][w + t], as[down + g + 8][w + t], as[down + g][w + t + 4],
                                as[down + g + 8][w + t + 4]};
      UNROLL
      for (int j = 0; j < FRAGMENTS; j++) {
        const uint32_t top[2] = {bs[right + 8 * j + g][w + t], bs[right + 8 * j + g][w + t + 4]};
        mma(sum[j], left, top);
      }
    }
    __syncthreads();
  }
  // As in `gemm`.
  UNROLL
  for (int e = 0; e < 4 * FRAGMENTS; e++) room[e * THREADS + threadIdx.x] = sum[e / 4][e % 4];
  ROLLED
  for (int e = 0; e < 4 * FRAGMENTS; e++) {
    const size r = row + down + g + 8 * (e % 4 / 2), s = column + right + 8 * (e / 4) + 2 * t + e % 2;
    if (r >= m || s >= n) continue;
    const size at = (blockIdx.z * m + r) * n + s;
    finish(room[e * THREADS + threadIdx.x], at, s, c, other, bias, u, narrow, epilogue, phi, slope);
  }
}

// What follows a product of rows of `columns` numbers that lies in `product` already, which may be c itself. Bound by
// memory.
KERNEL after_product(void* c, void* other, const float* product, const float* bias, const void* u, size n, size columns,
                     uint32_t narrow, uint32_t epilogue, uint32_t phi, uint32_t slope) {
  const size i = here();
  if (i < n) finish(product[i], i, i % columns, c, other, bias, u, narrow, epilogue, phi, slope);
}
