// Tensor cores: the product of two small matrices of bf16 by one warp, added to f32. Inline PTX stands here and nowhere
// else; for g++ the shim of tests/standin has the same function over the same layout.
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

// C [16, 8] += A [16, 16] B [16, 8]. With g = lane / 4 and t = lane % 4 a lane has, as the PTX manual lays them out,
//   a   (g, 2t), (g + 8, 2t), (g, 2t + 8), (g + 8, 2t + 8), each with its right neighbour
//   b   (2t, g), (2t + 8, g), each with the one below
//   c   (g, 2t), (g, 2t + 1), (g + 8, 2t), (g + 8, 2t + 1)
__device__ __forceinline__ void mma(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
#ifdef CUSHIM
  cushim_mma(c, a, b);
#else
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}
