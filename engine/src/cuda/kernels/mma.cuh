// Tensor cores: the product of two small matrices of bf16 by one warp, added to f32, and how what they multiply comes
// into shared memory and out of it. Inline PTX stands here and nowhere else; for g++ the shim of tests/standin has the
// same functions over the same layout.
#pragma once
#include "numbers.cuh"

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

// Begins to copy 16 bytes into shared memory, or 16 zeros; both places are multiples of 16 bytes. What is there is to be
// read after `copied`, and by other threads after a barrier behind that.
__device__ __forceinline__ void copy_16(void* to, const void* from, bool inside) {
#ifdef CUSHIM
  cushim::copy_begin(to, from, 16, inside);
#else
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"((uint32_t)__cvta_generic_to_shared(to)), "l"(from),
               "r"(inside ? 16 : 0) : "memory");
#endif
}
// The same of one number of 4 bytes.
__device__ __forceinline__ void copy_4(void* to, const void* from, bool inside) {
#ifdef CUSHIM
  cushim::copy_begin(to, from, 4, inside);
#else
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"((uint32_t)__cvta_generic_to_shared(to)), "l"(from),
               "r"(inside ? 4 : 0) : "memory");
#endif
}
// What was begun since the last call is one group.
__device__ __forceinline__ void copies_end() {
#ifdef CUSHIM
  cushim::copies_end();
#else
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
// Waits until all groups of this thread but the last `left` are there.
template <int left> __device__ __forceinline__ void copied() {
#ifdef CUSHIM
  cushim::copied(left);
#else
  asm volatile("cp.async.wait_group %0;" ::"n"(left) : "memory");
#endif
}

// Four matrices [8, 8] of bf16 from shared memory by one warp: lane 8 i + r says where row r of matrix i begins, at a
// multiple of 16 bytes. A lane gets (g, 2t) and (g, 2t + 1) of each; transposed, (2t, g) and (2t + 1, g).
template <bool transposed> __device__ __forceinline__ void load_matrices(uint32_t (&to)[4], const uint16_t* row) {
#ifdef CUSHIM
  cushim_load_matrices(to, row, transposed);
#else
  const uint32_t at = (uint32_t)__cvta_generic_to_shared(row);
  if (transposed)
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3]) : "r"(at) : "memory");
  else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3]) : "r"(at) : "memory");
#endif
}
