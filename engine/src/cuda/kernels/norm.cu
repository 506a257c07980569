// y = (s - mean) r w + b with r = 1/sqrt(variance + eps), where s is a row x, or x plus a branch of which some numbers
// are dropped (autograd/src/ops/{layer_norm,residual_norm}.rs). One block of threads for each row.
//
//   back   ds = r h - A - C (s - mean),  h = g w,  A = r mean(h),  C = r^3 mean(h (s - mean))
//          dw = sum over rows of g (s - mean) r,  db = sum over rows of g
//
// Bound by bytes: forward reads x (and the branch) and writes y (and s), backward reads s and g and writes ds. The sums
// over rows are taken by column in parts of a fixed number of rows; sum_total (map.cu) adds the parts.
#include "threads.cuh"

__device__ __forceinline__ void norm_row(float* y, float* moments, const float* s, const float* w, const float* b,
                                         size d, float eps, float* room) {
  float sum = 0.f, squares = 0.f;
  BELOW(d, j) sum += s[j];
  const float mean = block_sum(sum, room) / d;
  BELOW(d, j) squares += (s[j] - mean) * (s[j] - mean);
  const float r = 1.f / sqrtf(block_sum(squares, room) / d + eps);
  BELOW(d, j) y[j] = (s[j] - mean) * r * w[j] + b[j];
  if (threadIdx.x == 0) { moments[0] = mean; moments[1] = r; }
}

KERNEL layer_norm(float* y, float* moments, const float* x, const float* w, const float* b, size d, float eps) {
  __shared__ float room[32];
  const size row = blockIdx.x;
  norm_row(y + row * d, moments + 2 * row, x + row * d, w, b, d, eps, room);
}

// Without dropout `slots` is null.
KERNEL residual_norm(float* y, float* s, float* moments, const float* x, const float* branch, const float* w,
                     const float* b, const uint32_t* slots, const uint32_t* positions, size d, float eps, uint32_t k0,
                     uint32_t k1, uint32_t below, float scale) {
  __shared__ float room[32];
  const size row = blockIdx.x;
  BELOW(d, j) {
    const float mask = slots ? mask_of(j, positions[row], slots[row], 0, k0, k1, below, scale) : 1.f;
    s[row * d + j] = x[row * d + j] + branch[row * d + j] * mask;
  }
  // A thread reads what it wrote itself, and nothing else.
  norm_row(y + row * d, moments + 2 * row, s + row * d, w, b, d, eps, room);
}

// `dbranch` is null where there is no dropout: it would be ds.
KERNEL norm_back(float* ds, float* dbranch, const float* s, const float* w, const float* moments, const float* g,
                 const uint32_t* slots, const uint32_t* positions, size d, uint32_t k0, uint32_t k1, uint32_t below,
                 float scale) {
  __shared__ float room[32];
  const size row = blockIdx.x, at = row * d;
  const float mean = moments[2 * row], r = moments[2 * row + 1];
  float h = 0.f, hs = 0.f;
  BELOW(d, j) {
    h += g[at + j] * w[j];
    hs += g[at + j] * w[j] * (s[at + j] - mean);
  }
  const float a = r * (block_sum(h, room) / d), c = r * r * r * (block_sum(hs, room) / d);
  BELOW(d, j) {
    const float v = r * (g[at + j] * w[j]) - a - c * (s[at + j] - mean);
    ds[at + j] = v;
    if (dbranch) dbranch[at + j] = v * mask_of(j, positions[row], slots[row], 0, k0, k1, below, scale);
  }
}

// One thread for each column, one part of the rows for each blockIdx.y: `dw` and `db` are [parts, d].
KERNEL norm_weights(float* dw, float* db, const float* s, const float* moments, const float* g, size rows, size d,
                    size per) {
  const size c = here(), part = blockIdx.y;
  if (c >= d) return;
  const size last = (part + 1) * per < rows ? (part + 1) * per : rows;
  float w = 0.f, b = 0.f;
  for (size row = part * per; row < last; row++) {
    w += g[row * d + c] * (s[row * d + c] - moments[2 * row]) * moments[2 * row + 1];
    b += g[row * d + c];
  }
  dw[part * d + c] = w;
  db[part * d + c] = b;
}
