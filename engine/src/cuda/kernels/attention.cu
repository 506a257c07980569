// Softmax attention of every text with itself over packed texts (autograd/src/ops/attention.rs). No score leaves the
// chip: no S x S matrix is in memory, forward or backward.
//
//   forward    S = Q K^T / sqrt d + bias,  P = softmax of rows,  O = (M o P) V
//   backward   dV = (M o P)^T G,  dP = M o (G V^T),  dS = P o (dP - c),  c_i = sum_j P_ij dP_ij
//              dQ = dS K / sqrt d,  dK = dS^T Q / sqrt d
//
// Bound by flops: 4 n^2 d a head forward. A block has 8 queries of one head, two for each warp, and walks over the keys
// of their text in steps of 32 through shared memory: a lane has a key where scores are made and channels where they
// are used. The softmax runs along (Dao et al. 2022). Backward for queries makes P again with the same walk, keeps its
// maximum, its sum and c for each query, and walks a second time for dQ; backward for keys turns the roles round, 8 keys
// that walk over the queries. Every number is written by one thread: no atomics.
//
// A bias is a table [2 m + 1, heads] with row m + i - j for query i and key j; null if there is none. It may be -infinity,
// and then a key is as if it were not there.
//
// A tile is four numbers: the rows at which the text starts and ends, the first row of the eight, the text's slot.
#include "threads.cuh"

const int WIDE = 128, STEP = 32, OWN = 8, EACH = 2, PARTS = WIDE / 32;

struct Text { uint32_t start, end, first, slot; };

// Rows from `row` on, 0 beyond `end`, times `scale`.
template <int PITCH>
__device__ __forceinline__ void rows_to(float (*to)[PITCH], int rows, const float* from, uint32_t row, uint32_t end,
                                        size width, size column, uint32_t d, float scale) {
  for (uint32_t at = threadIdx.x; at < rows * d; at += blockDim.x) {
    const uint32_t i = at / d, c = at % d;
    to[i][c] = row + i < end ? from[(row + i) * width + column + c] * scale : 0.f;
  }
}

__device__ __forceinline__ float dot(const float* a, const float* b, uint32_t d) {
  float sum = 0.f;
  for (uint32_t c = 0; c < d; c++) sum += a[c] * b[c];
  return sum;
}

// What the distance of a query and a key, both rows, adds to their score. A query beyond its text may be further away
// than the table goes.
__device__ __forceinline__ float bias_of(const float* bias, uint32_t zero, uint32_t query, uint32_t key) {
  const uint32_t at = zero + query - key, last = 2 * zero;
  return bias ? bias[(size)(at < last ? at : last) * gridDim.y + blockIdx.y] : 0.f;
}

// o[channel] += sum over lanes of their `weight` times their row.
__device__ __forceinline__ void add_rows(float* o, float weight, const float (*row)[WIDE + 1], uint32_t d) {
  const int lane = threadIdx.x & 31;
  for (int t = 0; t < STEP; t++) {
    const float w = __shfl_sync(0xffffffffu, weight, t);
    UNROLL
    for (int j = 0; j < PARTS; j++)
      if (lane + 32 * j < d) o[j] += w * row[t][lane + 32 * j];
  }
}

// What a sum of exponentials is worth under another maximum. Both are -infinity as long as no key was there.
__device__ __forceinline__ float fading(float from, float to) { return from == to ? 1.f : expf(from - to); }

KERNEL attention(float* y, const float* q, const float* k, const float* v, const float* bias, uint32_t zero,
                 const uint32_t* tiles, size width, uint32_t d, float scale, uint32_t drops, uint32_t k0, uint32_t k1,
                 uint32_t below, float kept) {
  __shared__ float ks[STEP][WIDE + 1], vs[STEP][WIDE + 1], qs[OWN][WIDE + 1];
  const Text text = ((const Text*)tiles)[blockIdx.x];
  const uint32_t head = blockIdx.y, column = head * d;
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  rows_to(qs, OWN, q, text.first, text.end, width, column, d, scale);
  float m[EACH], sum[EACH] = {}, o[EACH][PARTS] = {};
  UNROLL
  for (int r = 0; r < EACH; r++) m[r] = -INFINITY;
  for (uint32_t key = text.start; key < text.end; key += STEP) {
    __syncthreads();
    rows_to(ks, STEP, k, key, text.end, width, column, d, 1.f);
    rows_to(vs, STEP, v, key, text.end, width, column, d, 1.f);
    __syncthreads();
    const bool real = key + lane < text.end;
    UNROLL
    for (int r = 0; r < EACH; r++) {
      const int i = EACH * warp + r;
      const float s =
          real ? dot(qs[i], ks[lane], d) + bias_of(bias, zero, text.first + i, key + lane) : -INFINITY;
      const float largest = larger(m[r], over_warp<Max>(s)), fade = fading(m[r], largest);
      float p = s > -INFINITY ? expf(s - largest) : 0.f;
      m[r] = largest;
      sum[r] = sum[r] * fade + over_warp<Add>(p);
      if (drops)
        p *= mask_of(key + lane - text.start, text.first + i - text.start, text.slot, 1 + head, k0, k1, below, kept);
      UNROLL
      for (int j = 0; j < PARTS; j++) o[r][j] *= fade;
      add_rows(o[r], p, vs, d);
    }
  }
  UNROLL
  for (int r = 0; r < EACH; r++) {
    const uint32_t row = text.first + EACH * warp + r;
    UNROLL
    for (int j = 0; j < PARTS; j++)
      if (row < text.end && lane + 32 * j < d) y[row * width + column + lane + 32 * j] = o[r][j] / sum[r];
  }
}

// dQ, and for each query of each head the maximum of its scores, 1 / the sum of their exponentials, and c.
KERNEL attention_back_queries(float* dq, float* stats, const float* q, const float* k, const float* v, const float* g,
                              const float* bias, uint32_t zero, const uint32_t* tiles, size width, uint32_t d,
                              float scale, uint32_t drops, uint32_t k0, uint32_t k1, uint32_t below, float kept) {
  __shared__ float ks[STEP][WIDE + 1], vs[STEP][WIDE + 1], qs[OWN][WIDE + 1], gs[OWN][WIDE + 1];
  const Text text = ((const Text*)tiles)[blockIdx.x];
  const uint32_t head = blockIdx.y, column = head * d;
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  rows_to(qs, OWN, q, text.first, text.end, width, column, d, scale);
  rows_to(gs, OWN, g, text.first, text.end, width, column, d, 1.f);
  float m[EACH], sum[EACH] = {}, c[EACH] = {}, o[EACH][PARTS] = {};
  UNROLL
  for (int r = 0; r < EACH; r++) m[r] = -INFINITY;
  for (int pass = 0; pass < 2; pass++) {
    for (uint32_t key = text.start; key < text.end; key += STEP) {
      __syncthreads();
      rows_to(ks, STEP, k, key, text.end, width, column, d, 1.f);
      rows_to(vs, STEP, v, key, text.end, width, column, d, 1.f);
      __syncthreads();
      const bool real = key + lane < text.end;
      UNROLL
      for (int r = 0; r < EACH; r++) {
        const int i = EACH * warp + r;
        const float s =
            real ? dot(qs[i], ks[lane], d) + bias_of(bias, zero, text.first + i, key + lane) : -INFINITY;
        float dp = real ? dot(gs[i], vs[lane], d) : 0.f;
        if (drops)
          dp *= mask_of(key + lane - text.start, text.first + i - text.start, text.slot, 1 + head, k0, k1, below, kept);
        if (pass == 0) {
          const float largest = larger(m[r], over_warp<Max>(s)), fade = fading(m[r], largest);
          const float p = s > -INFINITY ? expf(s - largest) : 0.f;
          m[r] = largest;
          sum[r] = sum[r] * fade + over_warp<Add>(p);
          c[r] = c[r] * fade + over_warp<Add>(p * dp);
        } else {
          const float p = real ? expf(s - m[r]) * sum[r] : 0.f;
          add_rows(o[r], p * (dp - c[r]), ks, d);
        }
      }
    }
    // From here on the sum is its reciprocal, and c is divided by it.
    UNROLL
    for (int r = 0; r < EACH && pass == 0; r++) {
      sum[r] = 1.f / sum[r];
      c[r] *= sum[r];
    }
  }
  UNROLL
  for (int r = 0; r < EACH; r++) {
    const uint32_t row = text.first + EACH * warp + r;
    if (row >= text.end) continue;
    UNROLL
    for (int j = 0; j < PARTS; j++)
      if (lane + 32 * j < d) dq[row * width + column + lane + 32 * j] = o[r][j] * scale;
    float* to = stats + 3 * ((size)row * gridDim.y + head);
    if (lane == 0) { to[0] = m[r]; to[1] = sum[r]; to[2] = c[r]; }
  }
}

// dK and dV of eight keys: a lane has a query.
KERNEL attention_back_keys(float* dk, float* dv, const float* stats, const float* q, const float* k, const float* v,
                           const float* g, const float* bias, uint32_t zero, const uint32_t* tiles, size width,
                           uint32_t d, float scale, uint32_t drops, uint32_t k0, uint32_t k1, uint32_t below,
                           float kept) {
  __shared__ float qs[STEP][WIDE + 1], gs[STEP][WIDE + 1], ks[OWN][WIDE + 1], vs[OWN][WIDE + 1];
  const Text text = ((const Text*)tiles)[blockIdx.x];
  const uint32_t head = blockIdx.y, column = head * d;
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  rows_to(ks, OWN, k, text.first, text.end, width, column, d, 1.f);
  rows_to(vs, OWN, v, text.first, text.end, width, column, d, 1.f);
  float ok[EACH][PARTS] = {}, ov[EACH][PARTS] = {};
  for (uint32_t query = text.start; query < text.end; query += STEP) {
    __syncthreads();
    rows_to(qs, STEP, q, query, text.end, width, column, d, scale);
    rows_to(gs, STEP, g, query, text.end, width, column, d, 1.f);
    __syncthreads();
    const bool real = query + lane < text.end;
    const float* of = stats + 3 * ((size)(query + lane) * gridDim.y + head);
    UNROLL
    for (int r = 0; r < EACH; r++) {
      const int i = EACH * warp + r;
      float p = 0.f, ds = 0.f;
      if (real) {
        p = expf(dot(qs[lane], ks[i], d) + bias_of(bias, zero, query + lane, text.first + i) - of[0]) * of[1];
        const float mask = !drops ? 1.f : mask_of(text.first + i - text.start, query + lane - text.start, text.slot,
                                                  1 + head, k0, k1, below, kept);
        ds = p * (mask * dot(gs[lane], vs[i], d) - of[2]);
        p *= mask;
      }
      add_rows(ov[r], p, gs, d);
      add_rows(ok[r], ds, qs, d);
    }
  }
  UNROLL
  for (int r = 0; r < EACH; r++) {
    const uint32_t row = text.first + EACH * warp + r;
    UNROLL
    for (int j = 0; j < PARTS; j++) {
      if (row >= text.end || lane + 32 * j >= d) continue;
      dk[row * width + column + lane + 32 * j] = ok[r][j];
      dv[row * width + column + lane + 32 * j] = ov[r][j];
    }
  }
}

// The gradient of the bias from one text, [text, head, distance]; a tile is a whole text, a thread has a distance. A few
// numbers with long sums: scores are made once more, number by number.
KERNEL attention_back_bias(float* sums, const float* stats, const float* q, const float* k, const float* v,
                           const float* g, const float* bias, uint32_t zero, const uint32_t* tiles, size width,
                           uint32_t d, float scale, uint32_t drops, uint32_t k0, uint32_t k1, uint32_t below,
                           float kept) {
  const Text text = ((const Text*)tiles)[blockIdx.x];
  const uint32_t head = blockIdx.y, column = head * d, n = text.end - text.start, distances = 2 * zero + 1;
  float* to = sums + (size)blockIdx.x * distances * gridDim.y;
  BELOW(distances, at) {
    float sum = 0.f;
    for (uint32_t i = at > zero ? at - zero : 0; i < n && i + zero - at < n; i++) {
      const uint32_t j = i + zero - at;
      const size query = text.start + i, key = text.start + j;
      const float* of = stats + 3 * (query * gridDim.y + head);
      const float s = scale * dot(q + query * width + column, k + key * width + column, d);
      const float p = expf(s + bias[at * gridDim.y + head] - of[0]) * of[1];
      const float mask = drops ? mask_of(j, i, text.slot, 1 + head, k0, k1, below, kept) : 1.f;
      sum += p * (mask * dot(g + query * width + column, v + key * width + column, d) - of[2]);
    }
    to[at * gridDim.y + head] = sum;
  }
}
