// Triplet losses over rows of scores s [n, m]: the hardest columns of a row are chosen by the whole block, the few that
// are chosen are weighed by one thread. Bound by bytes: k passes over the row. Equations:
// autograd/src/ops/{triplet,multi_triplet}.rs.
//
//   triplet        L = (1/k) sum_r w_r l_r,  l_r = max(0, s-_r - s+ + margin),  w = softmax of s-/t (or 1)
//   multi_triplet  L = (1/PK) sum_p sum_r w_pr l_pr,  w_p = softmax of l_p over what violates the margin
#include "choose.cuh"

enum Weighting { EQUAL, ACTIVE, PUBLISHED };

struct Negatives {
  const float* s;
  const uint8_t* keep;
  size target;
  __device__ __forceinline__ bool takes(size j) const { return j != target && (!keep || keep[j]); }
  __device__ __forceinline__ float hardness(size j) const { return s[j]; }
};

// Of the chosen columns of one row: the hinge, the logit of the weight, and what all of them add up to.
struct Triplet {
  const float* s;
  const uint32_t* columns;
  size k;
  float positive, margin, sharpness;
  uint32_t weighting;
  float largest, sum;
  // The maximum with a NaN is its second number: a NaN must not become 0.
  __device__ __forceinline__ float hinge(size r) const { return larger(0.f, s[columns[r]] - positive + margin); }
  __device__ __forceinline__ float logit(size r) const {
    if (hinge(r) > 0.f) return s[columns[r]] * sharpness;
    return weighting == PUBLISHED ? 0.f : -INFINITY;
  }
  __device__ __forceinline__ float part(size r) const {
    const float z = logit(r);
    return z == -INFINITY ? 0.f : expf(z - largest);
  }
  __device__ __forceinline__ float weight(size r) const {
    if (weighting == EQUAL) return 1.f;
    return sum > 0.f ? part(r) / sum : part(r);
  }
  __device__ __forceinline__ bool has(size r) const { return r < k && columns[r] != NONE; }
  // Fills in `largest` and `sum`; gives the sum of w l.
  __device__ __forceinline__ float weigh() {
    largest = -INFINITY;
    sum = 0.f;
    for (size r = 0; has(r); r++) largest = larger(logit(r), largest);
    for (size r = 0; has(r); r++) sum += part(r);
    float total = 0.f;
    for (size r = 0; has(r); r++) total += weight(r) * hinge(r);
    return total;
  }
};

KERNEL triplet(float* losses, uint32_t* columns, const float* s, const uint32_t* target, const uint8_t* keep, size m,
               size k, float margin, float sharpness, uint32_t weighting) {
  __shared__ Candidate room[32];
  const size i = blockIdx.x;
  s += i * m;
  columns += i * k;
  choose(Negatives{s, keep ? keep + i * m : keep, target[i]}, m, columns, k, room);
  if (threadIdx.x > 0) return;
  Triplet t = {s, columns, k, s[target[i]], margin, sharpness, weighting, 0.f, 0.f};
  losses[i] = t.weigh() * (1.f / k);
}

KERNEL triplet_back(float* ds, const uint32_t* columns, const float* g, const float* s, const uint32_t* target, size m,
                    size k, float margin, float sharpness, uint32_t weighting) {
  const size i = blockIdx.x;
  s += i * m;
  ds += i * m;
  columns += i * k;
  BELOW(m, j) ds[j] = 0.f;
  __syncthreads();
  if (threadIdx.x > 0) return;
  Triplet t = {s, columns, k, s[target[i]], margin, sharpness, weighting, 0.f, 0.f};
  const float mean = t.weigh(), scale = g[i] * (1.f / k), move = weighting == EQUAL ? 0.f : sharpness;
  for (size r = 0; t.has(r); r++) {
    const float hinge = t.hinge(r), push = t.weight(r) * scale;
    if (!(hinge > 0.f)) continue;
    ds[columns[r]] = push + push * move * (hinge - mean);
    ds[target[i]] -= push;
  }
}

struct Lowest {
  const float* s;
  const uint8_t* positive;
  __device__ __forceinline__ bool takes(size j) const { return positive[j]; }
  __device__ __forceinline__ float hardness(size j) const { return -s[j]; }
};
struct Highest {
  const float* s;
  const uint8_t *positive, *negative;
  __device__ __forceinline__ bool takes(size j) const { return negative[j] && !positive[j]; }
  __device__ __forceinline__ float hardness(size j) const { return s[j]; }
};

// The negatives of a row against one positive.
struct Pairs {
  const float* s;
  const uint32_t* columns;
  size k;
  float positive, margin, largest, sum;
  __device__ __forceinline__ bool has(size r) const { return r < k && columns[r] != NONE; }
  __device__ __forceinline__ float hinge(size r) const { return larger(0.f, s[columns[r]] - positive + margin); }
  // A NaN is not at rest: it must reach the loss.
  __device__ __forceinline__ bool rests(size r) const { return hinge(r) <= 0.f; }
  __device__ __forceinline__ float weight(size r) const { return expf(hinge(r) - largest) / sum; }
  __device__ __forceinline__ float weigh() {
    largest = 0.f;
    sum = 0.f;
    for (size r = 0; has(r); r++) largest = larger(hinge(r), largest);
    for (size r = 0; has(r); r++) if (!rests(r)) sum += expf(hinge(r) - largest);
    float total = 0.f;
    for (size r = 0; has(r); r++) if (!rests(r)) total += weight(r) * hinge(r);
    return total;
  }
};

// `columns` has P + K numbers a row, the positives first.
KERNEL multi_triplet(float* losses, uint32_t* columns, const float* s, const uint8_t* positive, const uint8_t* negative,
                     size m, size p, size k, float margin) {
  __shared__ Candidate room[32];
  const size i = blockIdx.x;
  s += i * m;
  columns += i * (p + k);
  choose(Lowest{s, positive + i * m}, m, columns, p, room);
  choose(Highest{s, positive + i * m, negative + i * m}, m, columns + p, k, room);
  if (threadIdx.x > 0) return;
  float loss = 0.f;
  for (size q = 0; q < p && columns[q] != NONE; q++) {
    Pairs pairs = {s, columns + p, k, s[columns[q]], margin, 0.f, 0.f};
    loss += pairs.weigh() * (1.f / (p * k));
  }
  losses[i] = loss;
}

KERNEL multi_triplet_back(float* ds, const uint32_t* columns, const float* g, const float* s, size m, size p, size k,
                          float margin) {
  const size i = blockIdx.x;
  s += i * m;
  ds += i * m;
  columns += i * (p + k);
  BELOW(m, j) ds[j] = 0.f;
  __syncthreads();
  if (threadIdx.x > 0) return;
  for (size q = 0; q < p && columns[q] != NONE; q++) {
    Pairs pairs = {s, columns + p, k, s[columns[q]], margin, 0.f, 0.f};
    const float mean = pairs.weigh();
    for (size r = 0; pairs.has(r); r++) {
      if (pairs.rests(r)) continue;
      const float push = g[i] * (1.f / (p * k)) * pairs.weight(r) * (1.f + pairs.hinge(r) - mean);
      ds[columns[p + r]] += push;
      ds[columns[q]] -= push;
    }
  }
}
