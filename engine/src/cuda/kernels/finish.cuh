// What may follow a product while its numbers are at hand:
//
//   PLAIN     c = v                             v = sum_x a[i, x] b[x, j]
//   BIAS      c = v + bias[j]
//   BENT      c = phi(v + bias[j])
//   BOTH      c = v + bias[j],  other = phi(c)
//   BACK      c = phi'(u[i, j]) v,  other = phi(u[i, j])
#pragma once
#include "functions.cuh"

enum Epilogue { PLAIN, BIAS, BENT, BOTH, BACK };

// Writes number `v` of a product, which belongs to place `at` and column `s`.
__device__ __forceinline__ void finish(float v, size at, size s, float* c, float* other, const float* bias,
                                       const float* u, uint32_t epilogue, uint32_t phi, uint32_t slope) {
  const float x = epilogue == PLAIN ? v : epilogue == BACK ? u[at] : v + bias[s];
  const float bent = epilogue >= BENT ? activation(phi, x) : x;
  c[at] = epilogue == BENT ? bent : epilogue == BACK ? activation_back(slope, x, v) : x;
  if (epilogue >= BOTH) other[at] = bent;
}
