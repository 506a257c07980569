// Steps of optimizers in place, one number a thread, and sums of squares in f64. All bound by bytes: 28 a number for
// AdamW, 20 for momentum, 12 for plain descent, 48 for LAMB.
//
//   adamw     m += (1 - b1)(g - m),  v = b2 v + (1 - b2) g^2,  p = p keep - step m / (sqrt v widen + eps)
//   sgd       p -= rate g
//   momentum  b = mu b + g,  p -= rate b
//   lamb      m, v as above,  u = lift m / (sqrt v widen + eps) + decay p,  p -= rate trust u
//
// The gradient is there for every number, or for ascending rows `ids` of rows of `width` numbers and 0 elsewhere.
#include "threads.cuh"

struct Grad { float value; bool given; };
__device__ __forceinline__ Grad grad_at(const float* g, const uint32_t* ids, size rows, size width, size i) {
  if (!ids) return {g[i], true};
  const long long place = place_of(ids, rows, (uint32_t)(i / width));
  if (place < 0) return {0.f, false};
  return {g[place * width + i % width], true};
}

KERNEL adamw(float* p, float* m, float* v, const float* g, const uint32_t* ids, size rows, size width, size n,
             float keep, float new1, float beta2, float new2, float step, float widen, float eps) {
  const size i = here();
  if (i >= n) return;
  const float x = grad_at(g, ids, rows, width, i).value;
  m[i] += new1 * (x - m[i]);
  v[i] = beta2 * v[i] + new2 * (x * x);
  p[i] = p[i] * keep - step * m[i] / (sqrtf(v[i]) * widen + eps);
}

KERNEL sgd(float* p, const float* g, const uint32_t* ids, size rows, size width, size n, float rate) {
  const size i = here();
  if (i >= n) return;
  const Grad x = grad_at(g, ids, rows, width, i);
  if (x.given) p[i] -= rate * x.value;
}

KERNEL momentum(float* p, float* b, const float* g, const uint32_t* ids, size rows, size width, size n, float mu,
                float rate) {
  const size i = here();
  if (i >= n) return;
  b[i] = mu * b[i] + grad_at(g, ids, rows, width, i).value;
  p[i] -= rate * b[i];
}

KERNEL lamb_moments(float* m, float* v, const float* g, const uint32_t* ids, size rows, size width, size n, float new1,
                    float beta2, float new2) {
  const size i = here();
  if (i >= n) return;
  const float x = grad_at(g, ids, rows, width, i).value;
  m[i] += new1 * (x - m[i]);
  v[i] = beta2 * v[i] + new2 * (x * x);
}

__device__ __forceinline__ float direction(float p, float m, float v, float lift, float widen, float eps, float decay) {
  return lift * m / (sqrtf(v) * widen + eps) + decay * p;
}

KERNEL lamb_step(float* p, const float* m, const float* v, size n, float lift, float widen, float eps, float decay,
                 float rate) {
  const size i = here();
  if (i < n) p[i] -= rate * direction(p[i], m[i], v[i], lift, widen, eps, decay);
}

// One number for each block of `per` numbers, from 128 threads in a fixed order.
__device__ __forceinline__ void write_sum(double* sums, double own, double* room) {
  room[threadIdx.x] = own;
  __syncthreads();
  if (threadIdx.x == 0) {
    double sum = 0.0;
    for (int t = 0; t < blockDim.x; t++) sum += room[t];
    sums[blockIdx.x] = sum;
  }
}

KERNEL squares(double* sums, const float* x, size n, size per) {
  __shared__ double room[128];
  const size first = blockIdx.x * per, last = first + per < n ? first + per : n;
  double sum = 0.0;
  for (size i = first + threadIdx.x; i < last; i += blockDim.x) sum += (double)x[i] * x[i];
  write_sum(sums, sum, room);
}

KERNEL lamb_squares(double* sums, const float* p, const float* m, const float* v, size n, size per, float lift,
                    float widen, float eps, float decay) {
  __shared__ double room[128];
  const size first = blockIdx.x * per, last = first + per < n ? first + per : n;
  double sum = 0.0;
  for (size i = first + threadIdx.x; i < last; i += blockDim.x) {
    const double u = direction(p[i], m[i], v[i], lift, widen, eps, decay);
    sum += u * u;
  }
  write_sum(sums, sum, room);
}
