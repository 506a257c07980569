// Exact search: of each row of a tile of scores the columns with the largest ones, joined with those of the tiles before.
//
//   word(s, id) = ordered(s) 2^32 + ~id       a larger word is a larger score, then a smaller id (samplers/src/ranking.rs)
//
// A block has a span of a row. It keeps the k best words in shared memory, largest first, and behind them what exceeds
// the last of these, the floor. When another round might find no room, all are sorted and the floor rises: of random
// scores k ln(n / k) come behind the list, so a row is sorted a few times. Bound by bytes: one pass over the scores. The
// place of a candidate is decided by a race, and no bit of the result: words differ, and are sorted.
#include "threads.cuh"

// Words that a block has room for: the list of at most half as many, and what comes behind it.
const uint32_t ROOM = 2048;

// The bits of a score as an integer in the order of scores; -0 is 0.
__device__ __forceinline__ uint32_t ordered(float v) {
  const uint32_t bits = __float_as_uint(v + 0.f);
  return bits >> 31 ? ~bits : bits | 0x80000000u;
}

// Sorts the first words, largest first: Batcher's bitonic network, whose runs of 2, 4, 8, ... fall and rise in turn. What
// is missing to a power of two is filled up with 0, which is none.
__device__ __forceinline__ void sort(uint64_t* words, uint32_t filled) {
  uint32_t n = 2;
  while (n < filled) n *= 2;
  for (uint32_t i = filled + threadIdx.x; i < n; i += blockDim.x) words[i] = 0;
  for (uint32_t run = 2; run <= n; run *= 2) {
    for (uint32_t apart = run / 2; apart > 0; apart /= 2) {
      __syncthreads();
      for (uint32_t i = threadIdx.x; i < n / 2; i += blockDim.x) {
        const uint32_t low = 2 * i - i % apart, high = low + apart;
        const uint64_t a = words[low], b = words[high];
        if (low & run ? a > b : a < b) {
          words[low] = b;
          words[high] = a;
        }
      }
    }
  }
  __syncthreads();
}

// `best` has k words for each span of each row. The id of column j is ids[j], or first + j; ids that a row must not get
// stand, ascending, in excluded[starts[row]..starts[row + 1]]. No word is taken that is not below that of `below`.
KERNEL nearest(uint64_t* best, const float* scores, const uint32_t* ids, const uint64_t* starts,
               const uint32_t* excluded, const uint64_t* below, size first, size m, size span, size k) {
  __shared__ uint64_t words[ROOM];
  __shared__ uint32_t behind;
  const size row = blockIdx.x, from = blockIdx.y * span, to = from + span < m ? from + span : m;
  const uint64_t ceiling = below ? below[row] : ~(uint64_t)0;
  best += (row * gridDim.y + blockIdx.y) * k;
  scores += row * m;
  BELOW(k, i) words[i] = best[i];
  if (threadIdx.x == 0) behind = 0;
  __syncthreads();
  uint64_t floor = words[k - 1];
  uint32_t filled = k;
  bool is_sorted = true;
  for (size at = from; at < to; at += blockDim.x) {
    const size j = at + threadIdx.x;
    bool takes = false;
    // A NaN and -infinity are no hits.
    if (j < to && scores[j] > -INFINITY) {
      const uint32_t id = ids ? ids[j] : (uint32_t)(first + j);
      const uint64_t word = (uint64_t)ordered(scores[j]) << 32 | (uint32_t)~id;
      takes = word > floor && word < ceiling &&
              !(starts && place_of(excluded + starts[row], starts[row + 1] - starts[row], id) >= 0);
      if (takes) words[k + atomicAdd(&behind, 1u)] = word;
    }
    const int taken = __syncthreads_count(takes);
    filled += taken;
    is_sorted = is_sorted && taken == 0;
    if (filled + blockDim.x <= ROOM) continue;
    sort(words, filled);
    if (threadIdx.x == 0) behind = 0;
    __syncthreads();
    floor = words[k - 1];
    filled = k;
    is_sorted = true;
    BELOW(k, i) best[i] = words[i];
  }
  if (is_sorted) return;
  sort(words, filled);
  BELOW(k, i) best[i] = words[i];
}
