// Rows: softmax, logsumexp and unit length. One block of threads for each row; bound by bytes, a row is read two or
// three times and is in the cache after the first.
//
//   softmax    y_j = e^(x_j - m) / sum_k e^(x_k - m), m = max x      back  dx_j = y_j (g_j - sum_k g_k y_k)
//   logsumexp  y = m + ln sum_j keep_j e^(x_j - m)                   back  dx_j = g keep_j e^(x_j - y)
//   normalise  e = y / max(|y|, floor)                               back  dy = (g - e (e g)) / |y|, 0 at the floor
#include "threads.cuh"

KERNEL softmax(float* y, const float* x, size width) {
  __shared__ float room[32];
  x += blockIdx.x * width;
  y += blockIdx.x * width;
  float m = -INFINITY, sum = 0.f;
  BELOW(width, j) m = larger(x[j], m);
  m = block_max(m, room);
  BELOW(width, j) { y[j] = expf(x[j] - m); sum += y[j]; }
  const float scale = 1.f / block_sum(sum, room);
  BELOW(width, j) y[j] *= scale;
}

KERNEL softmax_back(float* dx, const float* y, const float* g, size width) {
  __shared__ float room[32];
  dx += blockIdx.x * width;
  y += blockIdx.x * width;
  g += blockIdx.x * width;
  float sum = 0.f;
  BELOW(width, j) sum += y[j] * g[j];
  const float mean = block_sum(sum, room);
  BELOW(width, j) dx[j] = y[j] * (g[j] - mean);
}

// The largest number is taken without NaN; a NaN among the terms reaches the sum.
KERNEL logsumexp(float* y, const float* x, const uint8_t* keep, size width) {
  __shared__ float room[32];
  x += blockIdx.x * width;
  if (keep) keep += blockIdx.x * width;
  float m = -INFINITY, sum = 0.f;
  BELOW(width, j) if (!keep || keep[j]) m = x[j] > m ? x[j] : m;
  m = block_max(m, room);
  const float shift = m == -INFINITY ? 0.f : m;
  BELOW(width, j) if (!keep || keep[j]) sum += m == -INFINITY ? x[j] : expf(x[j] - shift);
  sum = block_sum(sum, room);
  // Nothing but -infinity: the sum of the numbers themselves keeps a NaN.
  if (threadIdx.x == 0) y[blockIdx.x] = m == -INFINITY ? sum + -INFINITY : m + logf(sum);
}

KERNEL logsumexp_back(float* dx, const float* x, const uint8_t* keep, const float* y, const float* g, size width) {
  const size row = blockIdx.x;
  const float total = y[row], grad = g[row];
  BELOW(width, j) {
    const size at = row * width + j;
    const bool counts = total != -INFINITY && (!keep || keep[at]);
    dx[at] = counts ? grad * expf(x[at] - total) : 0.f;
  }
}

KERNEL normalise(float* e, float* lengths, const float* y, size width, float floor) {
  __shared__ float room[32];
  y += blockIdx.x * width;
  e += blockIdx.x * width;
  float sum = 0.f;
  BELOW(width, j) sum += y[j] * y[j];
  // The floor goes first: a NaN must stay one.
  const float length = larger(floor, sqrtf(block_sum(sum, room))), scale = 1.f / length;
  BELOW(width, j) e[j] = y[j] * scale;
  if (threadIdx.x == 0) lengths[blockIdx.x] = length;
}

KERNEL normalise_back(float* dy, const float* e, const float* lengths, const float* g, size width, float floor) {
  __shared__ float room[32];
  dy += blockIdx.x * width;
  e += blockIdx.x * width;
  g += blockIdx.x * width;
  float sum = 0.f;
  BELOW(width, j) sum += e[j] * g[j];
  const float along = block_sum(sum, room), length = lengths[blockIdx.x];
  const float scale = length > floor ? 1.f / length : 0.f;
  BELOW(width, j) dy[j] = (g[j] - e[j] * along) * scale;
}
