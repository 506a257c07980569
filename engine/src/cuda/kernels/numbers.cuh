// Numbers in memory: f32, or bf16, which is the upper half of one.
#pragma once
#include "threads.cuh"

// The upper half of an f32, rounded to the nearest, of two equally near ones to the even; a NaN stays one.
__device__ __forceinline__ uint32_t bf16_of(float x) {
  const uint32_t bits = __float_as_uint(x);
  return x != x ? 0x7fffu : (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
}
// Two neighbours along k: the first in the lower half.
__device__ __forceinline__ uint32_t bf16_pair(float first, float second) {
  return bf16_of(first) | bf16_of(second) << 16;
}

// Numbers of either kind.
struct Numbers {
  void* at;
  uint32_t bf16;
  __device__ __forceinline__ float read(size i) const {
    return bf16 ? __uint_as_float((uint32_t)((const uint16_t*)at)[i] << 16) : ((const float*)at)[i];
  }
  __device__ __forceinline__ void write(size i, float x) const {
    if (bf16) ((uint16_t*)at)[i] = bf16_of(x);
    else ((float*)at)[i] = x;
  }
};
