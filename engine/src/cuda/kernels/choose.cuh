// The columns of a row with the largest hardness, hardest first, of equal ones the lower column: one pass for each of
// them, in which every column that stands behind the last chosen one is a candidate. A NaN counts as +infinity.
#pragma once
#include "threads.cuh"

const uint32_t NONE = 0xffffffffu;

struct Candidate {
  float hardness;
  uint32_t column;
};
// Whether `a` comes before `b`.
__device__ __forceinline__ bool before(Candidate a, Candidate b) {
  if (a.column == NONE || b.column == NONE) return b.column == NONE && a.column != NONE;
  return a.hardness > b.hardness || (a.hardness == b.hardness && a.column < b.column);
}

__device__ __forceinline__ Candidate first_of_block(Candidate c, Candidate* room) {
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, warps = blockDim.x >> 5;
  for (int pass = 0; pass < 2; pass++) {
    for (int o = 16; o > 0; o >>= 1) {
      Candidate other;
      other.hardness = __shfl_xor_sync(0xffffffffu, c.hardness, o);
      other.column = __shfl_xor_sync(0xffffffffu, c.column, o);
      if (before(other, c)) c = other;
    }
    if (pass == 1) break;
    if (lane == 0) room[warp] = c;
    __syncthreads();
    c = lane < warps ? room[lane] : Candidate{0.f, NONE};
  }
  __syncthreads();
  return c;
}

// Writes the first `k` of the columns below `m` that `of` takes; NONE where there are fewer. Thread 0 writes.
template <class Of>
__device__ __forceinline__ void choose(Of of, size m, uint32_t* columns, size k, Candidate* room) {
  Candidate last = {0.f, NONE};
  bool more = true;
  for (size r = 0; r < k; r++) {
    Candidate best = {0.f, NONE};
    BELOW(more ? m : 0, j) {
      if (!of.takes(j)) continue;
      const float h = of.hardness(j);
      const Candidate c = {h == h ? h : INFINITY, (uint32_t)j};
      if ((r == 0 || before(last, c)) && before(c, best)) best = c;
    }
    last = first_of_block(best, room);
    more = last.column != NONE;
    if (threadIdx.x == 0) columns[r] = last.column;
  }
}
