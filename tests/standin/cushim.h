// cushim.h - compile a .cu for the host: one fiber per CUDA thread, one block at a time.
// Test tool only. Same source is compiled for the device by nvcc/nvrtc/clang.
#pragma once
#include <cstdint>
#include <cstddef>
#include <cstring>
#include <cmath>
#include <vector>
#include <string>
#include <utility>
#include <type_traits>
#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __restrict__ __restrict
// static shared memory goes to its own section so the runner can poison it before every block
#define __shared__ static __attribute__((section("cushim_shared")))
#define __constant__ static
#define DYN_SHARED(T, name) T* name = (T*)cushim::dyn_shared()
struct uint3 {
  unsigned x, y, z;
};
struct dim3 {
  unsigned x = 1, y = 1, z = 1;
};
struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
extern "C" {
extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;
}
namespace cushim {
void* dyn_shared();
void block_barrier(int pred, int* out_or, int* out_and, int* out_cnt);
void warp_gather(unsigned mask, const void* in, size_t n);  // rendezvous of the lanes in mask
const void* warp_slot(int lane);                            // value deposited by a lane in that rendezvous
int lane();
// The kernel ends here, and says why.
[[noreturn]] void fail(const char* what);
// cp.async: copies are done when they are waited for, by whoever began them, group by group.
void copy_begin(void* to, const void* from, size_t size, bool inside);
void copies_end();
void copied(size_t left);
struct Kernel {
  const char* name;
  std::vector<size_t> sizes;
  void (*call)(void**);
};
void add(Kernel);
template <class... A, size_t... I>
void call_(void (*f)(A...), void** p, std::index_sequence<I...>) {
  f(*(std::remove_reference_t<A>*)p[I]...);
}
template <auto F>
struct Reg;
template <class... A, void (*F)(A...)>
struct Reg<F> {
  static void go(const char* n) {
    add({n, {sizeof(A)...}, [](void** p) { call_(F, p, std::index_sequence_for<A...>{}); }});
  }
};
}  // namespace cushim
#define CUSHIM_REGISTER(k) static int reg_##k = (cushim::Reg<&k>::go(#k), 0);
static inline void __syncthreads() {
  cushim::block_barrier(0, nullptr, nullptr, nullptr);
}
static inline int __syncthreads_or(int p) {
  int o;
  cushim::block_barrier(p, &o, nullptr, nullptr);
  return o;
}
static inline int __syncthreads_count(int p) {
  int o;
  cushim::block_barrier(p, nullptr, nullptr, &o);
  return o;
}
template <class T>
T cushim_shfl(unsigned m, T v, int src) {
  cushim::warp_gather(m, &v, sizeof v);
  T r;
  memcpy(&r, cushim::warp_slot(src & 31), sizeof r);
  return r;
}
template <class T>
T __shfl_xor_sync(unsigned m, T v, int o, int = 32) {
  return cushim_shfl(m, v, cushim::lane() ^ o);
}
template <class T>
T __shfl_sync(unsigned m, T v, int s, int = 32) {
  return cushim_shfl(m, v, s);
}
template <class T>
T __shfl_down_sync(unsigned m, T v, int o, int = 32) {
  int l = cushim::lane();
  return cushim_shfl(m, v, l + o < 32 ? l + o : l);
}
template <class T>
T __shfl_up_sync(unsigned m, T v, int o, int = 32) {
  int l = cushim::lane();
  return cushim_shfl(m, v, l - o >= 0 ? l - o : l);
}
static inline void __syncwarp(unsigned m = 0xffffffffu) {
  int z = 0;
  cushim::warp_gather(m, &z, sizeof z);
}
static inline unsigned __ballot_sync(unsigned m, int p) {
  cushim::warp_gather(m, &p, sizeof p);
  unsigned r = 0;
  for (int i = 0; i < 32; i++)
    if (m >> i & 1) {
      int q;
      memcpy(&q, cushim::warp_slot(i), 4);
      r |= (unsigned)!!q << i;
    }
  return r;
}

// mma.sync.m16n8k16 of bf16 with f32 (engine/src/cuda/kernels/mma.cuh): every lane gives its fragments, and makes its
// four numbers from those of others. The order of the sum is that of k; a device's is not known.
static inline void cushim_mma(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  struct Fragments {
    uint32_t a[4], b[2];
  } own, left, top;
  memcpy(own.a, a, sizeof own.a);
  memcpy(own.b, b, sizeof own.b);
  cushim::warp_gather(0xffffffffu, &own, sizeof own);
  const int g = cushim::lane() / 4, t = cushim::lane() % 4;
  auto number = [](uint32_t pair, int half) {
    const uint32_t bits = half ? pair & 0xffff0000u : pair << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
  };
  for (int i = 0; i < 4; i++) {
    const int row = g + i / 2 * 8, column = 2 * t + i % 2;
    for (int k = 0; k < 16; k++) {
      memcpy(&left, cushim::warp_slot(row % 8 * 4 + k % 8 / 2), sizeof left);
      memcpy(&top, cushim::warp_slot(column * 4 + k % 8 / 2), sizeof top);
      c[i] += number(left.a[row / 8 + k / 8 * 2], k % 2) * number(top.b[k / 8], k % 2);
    }
  }
}
// Blocks and threads run one after another here.
static inline unsigned atomicAdd(unsigned* at, unsigned by) {
  const unsigned before = *at;
  *at = before + by;
  return before;
}
// ldmatrix.x4 of 16-bit numbers, by the layout of mma.cuh.
static inline void cushim_load_matrices(uint32_t (&to)[4], const uint16_t* row, bool transposed) {
  if ((uintptr_t)row % 16) cushim::fail("a row of ldmatrix does not begin at a multiple of 16 bytes");
  cushim::warp_gather(0xffffffffu, &row, sizeof row);
  const int g = cushim::lane() / 4, t = cushim::lane() % 4;
  for (int i = 0; i < 4; i++) {
    const auto of = [&](int r) {
      const uint16_t* p;
      memcpy(&p, cushim::warp_slot(8 * i + r), sizeof p);
      return p;
    };
    to[i] = transposed ? of(2 * t)[g] | of(2 * t + 1)[g] << 16 : of(g)[2 * t] | of(g)[2 * t + 1] << 16;
  }
}
static inline float rsqrtf(float x) {
  return 1.f / sqrtf(x);
}
static inline unsigned __float_as_uint(float f) {
  unsigned u;
  memcpy(&u, &f, 4);
  return u;
}
static inline float __uint_as_float(unsigned u) {
  float f;
  memcpy(&f, &u, 4);
  return f;
}
