// Losses over rows of scores s [n, m], and the choice of the largest numbers of a row. One block of threads for each
// row. Bound by exponentials where every column has one, by bytes where columns are chosen: k passes over the row.
//
//   softmax_loss       z = s/t + beta, l = ln sum_j keep_j w_j e^z_j - sum_j t_j z_j      ds = (p - t) g/t
//   decoupled_softmax  l = mean over positives p of ln(1 + N e^-z_p), N = sum over negatives of w_j e^z_j
//   soft_top_k         y = ln sigma(a (s + t)), t with sum_j sigma(a (s_j + t)) = k
//   top_k              the k largest, descending, of equal ones the first; a NaN counts as +infinity
//   bce                z becomes (sigma(z) - y)/n, l = sum_j ln(1 + e^z_j) - y_j z_j, of logits that lack a shift
//
// The equations of the gradients stand in autograd/src/ops/ under the same names; triplets are in triplets.cu.
#include "choose.cuh"
#include "functions.cuh"

// One row of everything; null where there is none.
struct Row {
  const float* s;
  const uint8_t* keep;
  const float *omega, *beta, *target;
  uint32_t column;
  float scale;
  __device__ __forceinline__ bool aimed(size j) const { return target ? target[j] > 0.f : j == column; }
  __device__ __forceinline__ float raw(size j) const { return s[j] * scale + (beta ? beta[j] : 0.f); }
  // -infinity in the columns that do not compete.
  __device__ __forceinline__ float logit(size j) const {
    const bool out = (keep && !keep[j] && !aimed(j)) || (omega && omega[j] == 0.f);
    return out ? -INFINITY : raw(j);
  }
  __device__ __forceinline__ float term(float z, size j, float shift) const {
    return z == -INFINITY ? 0.f : expf(z - shift) * (omega ? omega[j] : 1.f);
  }
};

__device__ __forceinline__ Row row_of(const float* s, const uint8_t* keep, const float* omega, const float* beta,
                                      const float* target, const uint32_t* columns, size m, float scale) {
  const size i = blockIdx.x, at = i * m;
  return {s + at, keep ? keep + at : keep, omega ? omega + at : omega, beta ? beta + at : beta,
          target ? target + at : target, target ? 0 : columns[i], scale};
}

KERNEL softmax_loss(float* losses, float* log_z, const float* s, const uint8_t* keep, const float* omega,
                    const float* beta, const float* target, const uint32_t* columns, size m, float scale) {
  __shared__ float room[32];
  const Row row = row_of(s, keep, omega, beta, target, columns, m, scale);
  float largest = -INFINITY, count = 0.f, aim = 0.f, sum = 0.f;
  BELOW(m, j) {
    const float z = row.logit(j);
    largest = larger(z, largest);
    count += z == -INFINITY ? 0.f : 1.f;
    // Where t is 0 the logit may be -infinity, and 0 times infinity must not be formed.
    if (row.aimed(j)) aim += target ? row.target[j] * row.raw(j) : row.raw(j);
  }
  largest = block_max(largest, room);
  count = block_sum(count, room);
  aim = block_sum(aim, room);
  BELOW(m, j) sum += row.term(row.logit(j), j, largest);
  const float log_sum = logf(block_sum(sum, room));
  if (threadIdx.x > 0) return;
  // With fewer than two columns in competition there is nothing to learn.
  losses[blockIdx.x] = count < 2.f ? 0.f : log_sum + (largest - aim);
  log_z[blockIdx.x] = count < 2.f ? INFINITY : log_sum + largest;
}

KERNEL softmax_loss_back(float* ds, const float* log_z, const float* g, const float* s, const uint8_t* keep,
                         const float* omega, const float* beta, const float* target, const uint32_t* columns, size m,
                         float scale) {
  const Row row = row_of(s, keep, omega, beta, target, columns, m, scale);
  const float shift = log_z[blockIdx.x], factor = g[blockIdx.x] * scale;
  BELOW(m, j) {
    const float t = target ? row.target[j] : (j == row.column ? 1.f : 0.f);
    ds[blockIdx.x * m + j] = shift == INFINITY ? 0.f : (row.term(row.logit(j), j, shift) - t) * factor;
  }
}

// `omega` is one number for each column.
KERNEL decoupled_softmax(float* losses, float* log_n, const float* s, const uint8_t* positive, const uint8_t* negative,
                         const float* omega, size m, float scale) {
  __shared__ float room[32];
  const size at = blockIdx.x * m;
  float largest = -INFINITY, sum = 0.f, loss = 0.f, count = 0.f;
  BELOW(m, j) if (negative[at + j] && !positive[at + j]) largest = larger(s[at + j] * scale, largest);
  largest = block_max(largest, room);
  if (largest > -INFINITY || largest != largest) {
    BELOW(m, j)
      if (negative[at + j] && !positive[at + j])
        sum += expf(s[at + j] * scale - largest) * (omega ? omega[j] : 1.f);
  }
  sum = block_sum(sum, room);
  const float log_sum = largest == -INFINITY ? -INFINITY : logf(sum) + largest;
  BELOW(m, j) {
    if (!positive[at + j]) continue;
    loss += softplus(log_sum - s[at + j] * scale);
    count += 1.f;
  }
  loss = block_sum(loss, room);
  count = block_sum(count, room);
  if (threadIdx.x > 0) return;
  losses[blockIdx.x] = log_sum == -INFINITY || count == 0.f ? 0.f : loss / count;
  log_n[blockIdx.x] = log_sum;
}

KERNEL decoupled_softmax_back(float* ds, const float* log_n, const float* g, const float* s, const uint8_t* positive,
                              const uint8_t* negative, const float* omega, size m, float scale) {
  __shared__ float room[32];
  const size at = blockIdx.x * m;
  const float shift = log_n[blockIdx.x];
  float all = 0.f, count = 0.f;
  BELOW(m, j) {
    if (!positive[at + j]) continue;
    all += sigmoid(shift - s[at + j] * scale);
    count += 1.f;
  }
  all = block_sum(all, room);
  count = block_sum(count, room);
  const bool learns = shift != -INFINITY && count > 0.f;
  const float factor = g[blockIdx.x] * scale / count;
  BELOW(m, j) {
    const float z = s[at + j] * scale;
    float d = 0.f;
    if (learns && positive[at + j]) d = -(factor * sigmoid(shift - z));
    else if (learns && negative[at + j]) d = factor * all * (expf(z - shift) * (omega ? omega[j] : 1.f));
    ds[at + j] = d;
  }
}

KERNEL soft_top_k(float* y, const float* s, const uint8_t* positive, const uint8_t* negative, size m, float k,
                  float alpha, uint32_t halvings, uint32_t polish) {
  __shared__ float room[32];
  const size at = blockIdx.x * m;
#define PART(j) (positive[at + j] || negative[at + j])
  float count = 0.f, top = -INFINITY, low_end = -INFINITY;
  BELOW(m, j) {
    if (!PART(j)) continue;
    count += 1.f;
    top = larger(s[at + j], top);
    low_end = larger(-s[at + j], low_end);
  }
  count = block_sum(count, room);
  top = block_max(top, room);
  low_end = block_max(low_end, room);
  const float far = 10.f / alpha;
  float low = -top - far, high = far + low_end;
  for (uint32_t i = 0; i < halvings; i++) {
    const float middle = (low + high) * 0.5f;
    float sum = 0.f;
    BELOW(m, j) if (PART(j)) sum += sigmoid(alpha * (s[at + j] + middle));
    sum = block_sum(sum, room);
    if (sum < k) low = middle; else high = middle;
  }
  float t = (low + high) * 0.5f;
  for (uint32_t i = 0; i < polish; i++) {
    float sum = 0.f, slope = 0.f;
    BELOW(m, j) {
      if (!PART(j)) continue;
      const float p = sigmoid(alpha * (s[at + j] + t));
      sum += p;
      slope += alpha * p * (1.f - p);
    }
    sum = block_sum(sum, room);
    slope = block_sum(slope, room);
    if (slope > 0.f) t += (k - sum) / slope;
  }
  BELOW(m, j) y[at + j] = count > k && PART(j) ? -softplus(-(alpha * (s[at + j] + t))) : 0.f;
#undef PART
}

// y = 0 is sigma = 1: where nothing was computed u and v are exactly 0.
KERNEL soft_top_k_back(float* ds, const float* y, const float* g, size m, float alpha) {
  __shared__ float room[32];
  const size at = blockIdx.x * m;
  float u = 0.f, v = 0.f;
  BELOW(m, j) {
    const float p = expf(y[at + j]);
    u += alpha * g[at + j] * (1.f - p);
    v += alpha * p * (1.f - p);
  }
  u = block_sum(u, room);
  v = block_sum(v, room);
  BELOW(m, j) {
    const float p = expf(y[at + j]), own = alpha * g[at + j] * (1.f - p);
    ds[at + j] = v > 0.f ? own - alpha * p * (1.f - p) * (u / v) : own;
  }
}

// What a row has: ids, ascending, and of some the target of each.
struct Listed {
  const size* starts;
  const uint32_t* ids;
  const float* targets;
  // Calls f(j, target) for the ids of this row that are columns first + j, each by one thread.
  template <class F>
  __device__ __forceinline__ void each(size first, size m, F f) const {
    if (!starts) return;
    for (size k = starts[blockIdx.x] + threadIdx.x; k < starts[blockIdx.x + 1]; k += blockDim.x) {
      // An id below the first wraps around to a large number.
      const size j = ids[k] - first;
      if (j < m) f(j, targets ? targets[k] : 1.f);
    }
  }
};

// Equations: engine/src/kernels/bce.rs.
KERNEL bce(double* sums, float* z, const size* p_starts, const uint32_t* positives, const size* o_starts,
           const uint32_t* left_out, const size* s_starts, const uint32_t* soft, const float* targets, size first,
           size m, float shift, float per) {
  __shared__ float room[32];
  z += blockIdx.x * m;
  const Listed hard = {p_starts, positives, nullptr}, out = {o_starts, left_out, nullptr}, some = {s_starts, soft, targets};
  float loss = 0.f;
  const auto told = [&](size j, float target) { loss -= target * (z[j] + shift); };
  hard.each(first, m, told);
  some.each(first, m, told);
  out.each(first, m, [&](size j, float) { loss -= softplus(z[j] + shift); });
  __syncthreads();
  BELOW(m, j) {
    const float logit = z[j] + shift;
    loss += softplus(logit);
    z[j] = per * sigmoid(logit);
  }
  __syncthreads();
  const auto pulled = [&](size j, float target) { z[j] -= target * per; };
  hard.each(first, m, pulled);
  some.each(first, m, pulled);
  out.each(first, m, [&](size j, float) { z[j] = 0.f; });
  loss = block_sum(loss, room);
  if (threadIdx.x == 0) sums[blockIdx.x] += loss;
}

struct Scores {
  const float* x;
  __device__ __forceinline__ bool takes(size) const { return true; }
  __device__ __forceinline__ float hardness(size j) const { return x[j]; }
};

KERNEL top_k(float* values, uint32_t* places, const float* x, size width, size k) {
  __shared__ Candidate room[32];
  const size row = blockIdx.x;
  choose(Scores{x + row * width}, width, places + row * k, k, room);
  // Thread 0 wrote the places.
  __syncthreads();
  BELOW(k, r) values[row * k + r] = x[row * width + places[row * k + r]];
}

KERNEL top_k_back(float* dx, const uint32_t* places, const float* g, size width, size k) {
  const size row = blockIdx.x;
  BELOW(width, j) dx[row * width + j] = 0.f;
  __syncthreads();
  BELOW(k, r) dx[row * width + places[row * k + r]] = g[row * k + r];
}
