// What may follow a product while its numbers are at hand:
//
//   PLAIN     c = v                             v = sum_x a[i, x] b[x, j]
//   BIAS      c = v + bias[j]
//   BENT      c = phi(v + bias[j])
//   BOTH      c = v + bias[j],  other = phi(c)
//   BACK      c = phi'(u[i, j]) v,  other = phi(u[i, j])
//
// What lies between the two products of a layer (c and other of BENT, BOTH and BACK, and u) is bf16 where these multiply in
// bf16: `narrow` says so. The function is that of the f32 which is rounded.
#pragma once
#include "functions.cuh"
#include "numbers.cuh"

enum Epilogue { PLAIN, BIAS, BENT, BOTH, BACK };

// Writes number `v` of a product, which belongs to place `at` and column `s`.
__device__ __forceinline__ void finish(float v, size at, size s, void* c, void* other, const float* bias, const void* u,
                                       uint32_t narrow, uint32_t epilogue, uint32_t phi, uint32_t slope) {
  const Numbers first = {c, narrow}, second = {other, narrow}, before = {(void*)u, narrow};
  const float x = epilogue == PLAIN ? v : epilogue == BACK ? before.read(at) : v + bias[s];
  const float bent = epilogue >= BENT ? activation(phi, x) : x;
  first.write(at, epilogue == BENT ? bent : epilogue == BACK ? activation_back(slope, x, v) : x);
  if (epilogue >= BOTH) second.write(at, bent);
}
