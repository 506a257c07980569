// Rows moved, added up, dropped from, turned and pooled. All bound by bytes, but for dropout, which is bound by the integer
// arithmetic of Philox: ten rounds for a number (the CPU's numbers, engine/src/random.rs).
#include "threads.cuh"

// y[n] = table[ids[n]]
KERNEL gather(float* y, const float* table, const uint32_t* ids, size n, size width) {
  const size i = here();
  if (i < n * width) y[i] = table[ids[i / width] * width + i % width];
}

// all[ids[n]] = values[n]; the rest of `all` is 0 already.
KERNEL scatter(float* all, const float* values, const uint32_t* ids, size n, size width) {
  const size i = here();
  if (i < n * width) all[ids[i / width] * width + i % width] = values[i];
}

// Row `r` of the sums is the rows order[cuts[r]..cuts[r + 1]] of `values`, added in this order: no atomics.
KERNEL add_by_row(float* sums, const float* values, const uint32_t* order, const uint32_t* cuts, size n, size width) {
  const size i = here();
  if (i >= n * width) return;
  const size r = i / width, c = i % width;
  float sum = values[order[cuts[r]] * width + c];
  for (uint32_t k = cuts[r] + 1; k < cuts[r + 1]; k++) sum += values[order[k] * width + c];
  sums[i] = sum;
}

// `part` numbers of each of many runs: from `x_start` in runs of `x_run` to `y_start` in runs of `y_run`.
KERNEL runs(float* y, const float* x, size n, size part, size y_run, size y_start, size x_run, size x_start) {
  const size i = here();
  if (i < n * part) y[i / part * y_run + y_start + i % part] = x[i / part * x_run + x_start + i % part];
}

KERNEL dropout(float* y, const float* x, const uint32_t* slots, const uint32_t* positions, size n, size width,
               uint32_t k0, uint32_t k1, uint32_t below, float scale) {
  const size i = here();
  if (i >= n * width) return;
  const size row = i / width;
  y[i] = x[i] * mask_of(i % width, positions[row], slots[row], 0, k0, k1, below, scale);
}

enum Pool { MEAN, FIRST, LARGEST };

// One block for each text, a thread for each channel. An empty text gives zeros.
KERNEL pool(float* y, uint32_t* from, const float* x, const uint32_t* starts, size d, uint32_t how) {
  const size text = blockIdx.x;
  const uint32_t start = starts[text], end = starts[text + 1];
  BELOW(d, c) {
    float v = start < end ? x[start * d + c] : 0.f;
    uint32_t winner = start;
    if (how != FIRST) {
      for (uint32_t t = start + 1; t < end; t++) {
        const float next = x[t * d + c];
        if (how == MEAN) v += next;
        else if (next > v) { v = next; winner = t; }
      }
    }
    if (how == MEAN && start < end) v *= 1.f / (end - start);
    y[text * d + c] = v;
    if (from) from[text * d + c] = winner;
  }
}

KERNEL pool_back(float* dx, const float* g, const uint32_t* from, const uint32_t* starts, size d, uint32_t how) {
  const size text = blockIdx.x;
  const uint32_t start = starts[text], end = starts[text + 1];
  BELOW(d, c) {
    const float grad = g[text * d + c];
    for (uint32_t t = start; t < end; t++) {
      float v = t == start ? grad : 0.f;
      if (how == MEAN) v = grad * (1.f / (end - start));
      if (how == LARGEST) v = from[text * d + c] == t ? grad : 0.f;
      dx[t * d + c] = v;
    }
  }
}

// Two channels of a head, half a head apart, turned by the angle of their row's position; `table` has its cosine and
// sine, [position, d / 2, 2]. A thread has a pair, n of them.
KERNEL rotary(float* y, const float* x, const uint32_t* positions, const float* table, size n, size width, size d) {
  const size i = here(), half = d / 2;
  if (i >= n) return;
  const size row = i / (width / 2), pair = i % half, at = row * width + i % (width / 2) / half * d + pair;
  const float* angle = table + 2 * (positions[row] * half + pair);
  y[at] = x[at] * angle[0] - x[at + half] * angle[1];
  y[at + half] = x[at + half] * angle[0] + x[at] * angle[1];
}
