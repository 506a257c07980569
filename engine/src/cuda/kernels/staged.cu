// C = A B of bf16 in tensor cores, added up in f32, with what may follow a product (finish.cuh): for matrices whose rows
// begin at multiples of 16 bytes, as all of a layer do.
//
// Bound by flops: 2 m n k. A block walks along k in steps of 32, whose tiles of A and B are copied into shared memory while
// those of the steps before are multiplied: so many stages lie there at once. A warp takes its fragments out of them four
// matrices at a time. A factor lies along k, or across it (dx = dy W reads W so, dW = dyT x both); the copy is the same,
// and what lies across is transposed on its way into the registers. The rows of a tile are 8 numbers longer than what is
// in them: eight rows then lie in eight different sets of banks.
//
// Two shapes: 128 x 128 numbers of C for 8 warps, which read a number of shared memory for 32 products each, and 64 x 64
// for 4 warps, where the large tiles would leave multiprocessors idle. Each number of C is added up in the same order by
// both, and by `gemm_bf16`: 16 terms at a time along k.
#include "finish.cuh"
#include "mma.cuh"

const int DEPTH = 32, SPARE = 8;

// The part of a factor that a step multiplies: `wide` rows of A, or columns of B, by DEPTH terms of the sum.
template <int wide, bool across> struct Tile {
  // Numbers that follow each other in memory, the lines of them, and how far these lie apart here.
  static const int ALONG = across ? wide : DEPTH, LINES = across ? DEPTH : wide, PITCH = ALONG + SPARE;
  static const int SIZE = LINES * PITCH;
  // Begins the copy of the tile at (first, x); what is outside is 0. Lines end at multiples of 8 numbers.
  static __device__ __forceinline__ void begin(uint16_t* to, const uint16_t* from, size first, size x, size rows,
                                               size k, size apart) {
    UNROLL
    for (int piece = 0; piece < ALONG * LINES / 8; piece += wide * 2) {
      const int at = piece + threadIdx.x, line = at / (ALONG / 8), along = at % (ALONG / 8) * 8;
      const size i = (across ? x : first) + line, j = (across ? first : x) + along;
      const bool inside = i < (across ? k : rows) && j < (across ? rows : k);
      copy_16(to + line * PITCH + along, from + (inside ? i * apart + j : 0), inside);
    }
  }
  // Four matrices of the 16 rows and 16 terms from (row, x) on, by halves of 8: of the rows the number `half` of the two
  // is `row_half` for each lane, of the terms it is `x_half`.
  static __device__ __forceinline__ void take(uint32_t (&to)[4], const uint16_t* tile, int row, int x, int row_half,
                                              int x_half) {
    const int lane = threadIdx.x & 7;
    row += 8 * row_half + (across ? 0 : lane);
    x += 8 * x_half + (across ? lane : 0);
    load_matrices<across>(to, tile + (across ? x * PITCH + row : row * PITCH + x));
  }
};

#define PARAMETERS \
  void *c, void *other, const uint16_t *a, const uint16_t *b, const float *bias, const void *u, size m, size n, size k, \
      size a_apart, size b_apart, size a_batch, size b_batch, uint32_t narrow, uint32_t epilogue, uint32_t phi, \
      uint32_t slope
#define ARGUMENTS \
  c, other, a, b, bias, u, m, n, k, a_apart, b_apart, a_batch, b_batch, narrow, epilogue, phi, slope

// Two threads for each of `wide` rows, in warps that lie in two rows of wide / 32.
template <int wide, bool a_across, bool b_across, int stages>
__device__ __forceinline__ void multiply(uint16_t* room, PARAMETERS) {
  typedef Tile<wide, a_across> A;
  typedef Tile<wide, b_across> B;
  const int SLABS = wide / 32, STAGE = A::SIZE + B::SIZE, THREADS = 2 * wide;
  const size row = (size)blockIdx.x * wide, column = (size)blockIdx.y * wide;
  a += blockIdx.z * a_batch;
  b += blockIdx.z * b_batch;
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  const int down = wide / 2 * (warp / SLABS), right = 32 * (warp % SLABS), first = lane / 8 % 2, second = lane / 16;
  const size steps = (k + DEPTH - 1) / DEPTH;
  const auto begin = [&](size step) {
    uint16_t* to = room + step % stages * STAGE;
    if (step < steps) {
      A::begin(to, a, row, step * DEPTH, m, k, a_apart);
      B::begin(to + A::SIZE, b, column, step * DEPTH, n, k, b_apart);
    }
    // A group without copies is done at once: so there is one for each step.
    copies_end();
  };
  UNROLL
  for (int step = 0; step < stages - 1; step++) begin(step);
  float sum[SLABS][4][4] = {};
  for (size step = 0; step < steps; step++) {
    copied<stages - 2>();
    // Everybody sees this step's tiles, and is done with those that the next copy overwrites.
    __syncthreads();
    begin(step + stages - 1);
    const uint16_t *as = room + step % stages * STAGE, *bs = as + A::SIZE;
    UNROLL
    for (int x = 0; x < DEPTH; x += 16) {
      uint32_t left[SLABS][4], top[2][4];
      UNROLL
      for (int i = 0; i < SLABS; i++) A::take(left[i], as, down + 16 * i, x, first, second);
      UNROLL
      for (int j = 0; j < 2; j++) B::take(top[j], bs, right + 16 * j, x, second, first);
      UNROLL
      for (int i = 0; i < SLABS; i++) {
        UNROLL
        for (int j = 0; j < 4; j++) {
          const uint32_t of[2] = {top[j / 2][j % 2 * 2], top[j / 2][j % 2 * 2 + 1]};
          mma(sum[i][j], left[i], of);
        }
      }
    }
  }
  __syncthreads();
  // The tiles are done with, and their room takes the sums, a slab at a time: what follows a product stands in the
  // program once. A thread reads what it wrote itself.
  float* sums = (float*)room;
  ROLLED
  for (int slab = 0; slab < SLABS; slab++) {
    UNROLL
    for (int i = 0; i < SLABS; i++) {
      if (i != slab) continue;
      UNROLL
      for (int e = 0; e < 16; e++) sums[e * THREADS + threadIdx.x] = sum[i][e / 4][e % 4];
    }
    ROLLED
    for (int e = 0; e < 16; e++) {
      const size r = row + down + 16 * slab + lane / 4 + 8 * (e % 4 / 2);
      const size s = column + right + 8 * (e / 4) + 2 * (lane % 4) + e % 2;
      if (r >= m || s >= n) continue;
      const size at = (blockIdx.z * m + r) * n + s;
      finish(sums[e * THREADS + threadIdx.x], at, s, c, other, bias, u, narrow, epilogue, phi, slope);
    }
  }
}

#define ROOM(wide, a_across, b_across, stages) \
  alignas(16) __shared__ uint16_t room[stages * (Tile<wide, a_across>::SIZE + Tile<wide, b_across>::SIZE)]; \
  multiply<wide, a_across, b_across, stages>(room, ARGUMENTS)

// A and B along k: y = x WT. A along and B across: dx = dy W. Both across: dW = dyT x.
KERNEL staged_along_128(PARAMETERS) { ROOM(128, false, false, 2); }
KERNEL staged_mixed_128(PARAMETERS) { ROOM(128, false, true, 2); }
KERNEL staged_across_128(PARAMETERS) { ROOM(128, true, true, 2); }
KERNEL staged_along_64(PARAMETERS) { ROOM(64, false, false, 4); }
KERNEL staged_mixed_64(PARAMETERS) { ROOM(64, false, true, 4); }
KERNEL staged_across_64(PARAMETERS) { ROOM(64, true, true, 4); }

// Rounds n numbers to bf16, two to a thread; an odd last one is followed by a 0. Bound by memory.
KERNEL to_bf16(uint32_t* to, const float* from, size n) {
  const size i = here();
  if (2 * i < n) to[i] = bf16_pair(from[2 * i], 2 * i + 1 < n ? from[2 * i + 1] : 0.f);
}
