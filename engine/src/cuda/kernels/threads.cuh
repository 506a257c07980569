// What every file of kernels shares. A file is compiled for a device by NVRTC and for the CPU by g++, with the shim of
// tests/standin; two rules keep that possible: no `extern __shared__`, and no inline PTX but in mma.cuh.
#pragma once
#ifdef CUSHIM
#include "cushim.h"
#else
typedef unsigned char uint8_t;
typedef unsigned short uint16_t;
typedef int int32_t;
typedef unsigned int uint32_t;
typedef unsigned long long uint64_t;
#define INFINITY __int_as_float(0x7f800000)
#endif

typedef uint64_t size;

#define KERNEL extern "C" __global__ void
// Before a loop whose array must stay in registers: an index that is not known to the compiler puts it into memory.
// ROLLED: before a loop whose body is long, of which there shall be one.
#ifdef CUSHIM
#define UNROLL
#define ROLLED
#else
#define UNROLL _Pragma("unroll")
#define ROLLED _Pragma("unroll 1")
#endif
#define BELOW(n, i) for (size i = threadIdx.x; i < (n); i += blockDim.x)

// The number of this thread in a grid of one dimension.
__device__ __forceinline__ size here() { return (size)blockIdx.x * blockDim.x + threadIdx.x; }

// The larger of two numbers; the second if the first is NaN, as on the CPU.
__device__ __forceinline__ float larger(float a, float b) { return a > b ? a : b; }

struct Add {
  static __device__ __forceinline__ float join(float a, float b) { return a + b; }
  static __device__ __forceinline__ float none() { return 0.f; }
};
struct Max {
  static __device__ __forceinline__ float join(float a, float b) { return larger(a, b); }
  static __device__ __forceinline__ float none() { return -INFINITY; }
};

template <class J> __device__ __forceinline__ float over_warp(float v) {
  UNROLL
  for (int o = 16; o > 0; o >>= 1) v = J::join(v, __shfl_xor_sync(0xffffffffu, v, o));
  return v;
}

// One number from all threads of a block, given to all of them; the order is fixed. `room` has 32 numbers.
template <class J> __device__ __forceinline__ float over_block(float v, float* room) {
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, warps = blockDim.x >> 5;
  v = over_warp<J>(v);
  if (lane == 0) room[warp] = v;
  __syncthreads();
  v = over_warp<J>(lane < warps ? room[lane] : J::none());
  __syncthreads();
  return v;
}
__device__ __forceinline__ float block_sum(float v, float* room) { return over_block<Add>(v, room); }
__device__ __forceinline__ float block_max(float v, float* room) { return over_block<Max>(v, room); }

// Philox 4x32-10 (engine/src/random.rs), the same words.
struct Words { uint32_t w[4]; };
__device__ __forceinline__ Words philox(uint32_t a, uint32_t b, uint32_t c, uint32_t d, uint32_t k0, uint32_t k1) {
  for (int i = 0; i < 10; i++) {
    const uint64_t p = (uint64_t)0xD2511F53u * a, q = (uint64_t)0xCD9E8D57u * c;
    a = (uint32_t)(q >> 32) ^ b ^ k0;
    c = (uint32_t)(p >> 32) ^ d ^ k1;
    b = (uint32_t)q;
    d = (uint32_t)p;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {{a, b, c, d}};
}
// 0 or 1/(1 - rate) for channel `c` of a row.
__device__ __forceinline__ float mask_of(size c, uint32_t position, uint32_t slot, uint32_t head, uint32_t k0,
                                         uint32_t k1, uint32_t below, float scale) {
  const Words words = philox((uint32_t)(c / 4), position, slot, head, k0, k1);
  // Chosen and not indexed: an array with an index lies in memory.
  const uint32_t low = c % 2 ? words.w[1] : words.w[0], high = c % 2 ? words.w[3] : words.w[2];
  const uint32_t word = c % 4 < 2 ? low : high;
  return word < below ? 0.f : scale;
}

// The number that a row of a table has among the ascending ids of the rows that are given; -1 if it is not given.
__device__ __forceinline__ long long place_of(const uint32_t* ids, size n, uint32_t id) {
  size low = 0, high = n;
  while (low < high) {
    const size middle = (low + high) / 2;
    if (ids[middle] < id) low = middle + 1; else high = middle;
  }
  return low < n && ids[low] == id ? (long long)low : -1;
}
