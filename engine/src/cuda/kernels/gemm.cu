// C = A B, one product or a batch, with what may follow a product while its numbers are in registers:
//
//   PLAIN     c = v                             v = sum_x a[i, x] b[x, j]
//   BIAS      c = v + bias[j]
//   BENT      c = phi(v + bias[j])
//   BOTH      c = v + bias[j],  other = phi(c)
//   BACK      c = phi'(u[i, j]) v,  other = phi(u[i, j])
//
// Bound by flops: 2 m n k. A and B are read by strides, so a transpose costs nothing. A block makes 64 x 64 numbers of
// C, a thread 4 x 4 of them; k is walked in steps of 16 through shared memory and never split between threads, so that
// the order of a sum does not depend on the device.
#include "functions.cuh"

enum Epilogue { PLAIN, BIAS, BENT, BOTH, BACK };
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

KERNEL gemm(float* c, float* other, const float* a, const float* b, const float* bias, const float* u, size m, size n,
            size k, size a_down, size a_right, size b_down, size b_right, size a_batch, size b_batch,
            uint32_t epilogue, uint32_t phi, uint32_t slope) {
  __shared__ float room[EACH * EACH * THREADS];
  float (*as)[TILE + 1] = (float (*)[TILE + 1])room, (*bs)[TILE + 1] = as + DEPTH;
  const size row = (size)blockIdx.x * TILE, column = (size)blockIdx.y * TILE;
  a += blockIdx.z * a_batch;
  b += blockIdx.z * b_batch;
  c += blockIdx.z * m * n;
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
    const size r = row + down + 16 * (e / EACH), s = column + right + 16 * (e % EACH), at = r * n + s;
    if (r >= m || s >= n) continue;
    const float v = room[e * THREADS + threadIdx.x];
    const float x = epilogue == PLAIN ? v : epilogue == BACK ? u[at] : v + bias[s];
    const float bent = epilogue >= BENT ? activation(phi, x) : x;
    c[at] = epilogue == BENT ? bent : epilogue == BACK ? activation_back(slope, x, v) : x;
    if (epilogue >= BOTH) other[at] = bent;
  }
}
