// What the tensor cores of a warp do, for the emulator. In a sum all terms are cut off, not rounded,
// some bits below the last of the largest, and so is the sum (Fasi et al., PeerJ Comput. Sci. 7 (2021)
// e330; Khattak & Mikaitis, arXiv 2512.07004): none of these bits on sm_70, one on sm_80, two on sm_90.
#pragma once
#include "emulator.h"

#ifndef MSS_MORE_BITS
#define MSS_MORE_BITS 2
#endif

namespace emulated {

// d + Σ x_k v_k as float32, of products that float64 holds exactly.
inline float cut_sum(float d, const float* x, const float* v, int count) {
  double terms[17] = {d}, largest = std::fabs(double(d));
  for (int k = 0; k < count; ++k) {
    terms[k + 1] = double(x[k]) * double(v[k]);
    largest = std::fmax(largest, std::fabs(terms[k + 1]));
    if (std::isnan(terms[k + 1])) return NAN;
  }
  if (largest == 0 || !std::isfinite(largest) || std::isnan(d)) {
    double sum = 0;
    for (int k = 0; k <= count; ++k) sum += terms[k];
    return float(sum);
  }
  const double last = std::ldexp(1.0, std::ilogb(largest) - 23 - MSS_MORE_BITS);
  double sum = 0;
  for (int k = 0; k <= count; ++k) sum += std::trunc(terms[k] / last);
  sum *= last;
  const float near = float(sum);
  return std::fabs(near) > std::fabs(sum) ? std::nextafterf(near, 0.0f) : near;
}

// An instruction on 16 x 8 blocks, for all blocks of a tile of 32 x 32. x and v: by lane.
template <class Tile, class Left, class Right, int STEPS>
struct Given {
  Tile* d;
  const Left* x[STEPS];
  const Right* v[STEPS];
};

template <int STEPS, class Tile, class Left, class Right>
void multiply(const char* name, Given<Tile, Left, Right, STEPS> mine) {
  meet(name, &mine, [](const void* const* given) {
    const auto of = [&](int lane) {
      return static_cast<const Given<Tile, Left, Right, STEPS>*>(given[lane]);
    };
    for (int i = 0; i < 32; ++i)
      for (int j = 0; j < 32; ++j) {
        float x[8 * STEPS], v[8 * STEPS];
        for (int k = 0; k < 8 * STEPS; ++k) {
          const int c = k % 4, high = k / 4 % 2, step = k / 8;
          x[k] = of(i % 8 * 4 + c)->x[step]->v[i / 16][i / 8 % 2 + 2 * high];
          v[k] = of(j % 8 * 4 + c)->v[step]->v[j / 8][high];
        }
        float& d = of(i % 8 * 4 + j % 8 / 2)->d->v[i / 16][j / 8][i / 8 % 2 * 2 + j % 2];
        d = cut_sum(d, x, v, 8 * STEPS);
      }
  });
}

// What is read of an operand: its numbers without their last bits.
template <uint32_t READ, class Operand>
Operand as_read(Operand x) {
  float* const numbers = &x.v[0][0];
  for (size_t i = 0; i < sizeof(x.v) / sizeof(float); ++i) {
    uint32_t bits;
    std::memcpy(&bits, numbers + i, sizeof bits);
    bits &= READ;
    std::memcpy(numbers + i, &bits, sizeof bits);
  }
  return x;
}
constexpr uint32_t TF32 = 0xffffe000, BFLOAT16 = 0xffff0000;

}  // namespace emulated

#define MSS_LANE (threadIdx.x % 32)

template <class Tile, class Left, class Right>
void mma_tf32(Tile& d, const Left& x, const Right& v) {
  const Left x_read = emulated::as_read<emulated::TF32>(x);
  const Right v_read = emulated::as_read<emulated::TF32>(v);
  emulated::multiply<1, Tile, Left, Right>("mma_tf32", {&d, {&x_read}, {&v_read}});
}

template <class Tile, class Left, class Right>
void mma_bfloat16(Tile& d, const Left& x0, const Left& x1, const Right& v0, const Right& v1) {
  const Left x[2] = {emulated::as_read<emulated::BFLOAT16>(x0), emulated::as_read<emulated::BFLOAT16>(x1)};
  const Right v[2] = {emulated::as_read<emulated::BFLOAT16>(v0), emulated::as_read<emulated::BFLOAT16>(v1)};
  emulated::multiply<2, Tile, Left, Right>("mma_bfloat16", {&d, {&x[0], &x[1]}, {&v[0], &v[1]}});
}
