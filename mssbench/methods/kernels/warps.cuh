// The engine of tensor cores: a tile of 32 x 32 float32 numbers is one warp's, by mma.sync (PTX ISA,
// "Warp-level matrix multiply-accumulate"), sm_80 and later. Operands have few digits, so float32 is
// either rounded to them, or cut in two:
//
//   X V = hi(X) hi(V) + (hi(X) lo(V) + lo(X) hi(V)),  hi(x) = x to 11 bits, lo(x) = x - hi(x)
//
// which leaves out lo(X) lo(V), 2^-22 of it (Markidis et al., IPDPSW 2018; Ootomo & Yokota, Int. J.
// High Perform. Comput. Appl. 36 (2022)). Sums inside tensor cores are cut off, not rounded (Fasi et
// al., PeerJ Comput. Sci. 7 (2021)), always towards zero; so a few columns at a time are
// summed there, from zero, and these sums outside, where addition rounds.
#include "common.cuh"

enum Operands { MSS_TF32X3 = 0, MSS_TF32 = 1, MSS_BFLOAT16 = 2 };

struct WarpTile {   // of one thread: of two rows of blocks of 16, and of four columns of blocks of 8,
  float v[2][4][4] = {};  // (row, 2c), (row, 2c + 1), (row + 8, 2c), (row + 8, 2c + 1)
};
struct LeftOperand {  // 32 x 8, of one thread: (row, c), (row + 8, c), (row, c + 4), (row + 8, c + 4)
  float v[2][4];
};
struct RightOperand {  // 8 x 32, of one thread: (c, column), (c + 4, column)
  float v[4][2];
};

// Without the emulator these are the instructions; row = lane / 4, c = lane % 4.
#ifndef MSS_EMULATED
#define MSS_LANE (threadIdx.x % 32)
__device__ __forceinline__ void mma_tf32(WarpTile& d, const LeftOperand& x, const RightOperand& v) {
#pragma unroll
  for (int a = 0; a < 2; ++a)
#pragma unroll
    for (int b = 0; b < 4; ++b)
      asm volatile(
          "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
          "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
          : "+f"(d.v[a][b][0]), "+f"(d.v[a][b][1]), "+f"(d.v[a][b][2]), "+f"(d.v[a][b][3])
          : "r"(__float_as_uint(x.v[a][0])), "r"(__float_as_uint(x.v[a][1])),
            "r"(__float_as_uint(x.v[a][2])), "r"(__float_as_uint(x.v[a][3])),
            "r"(__float_as_uint(v.v[b][0])), "r"(__float_as_uint(v.v[b][1])));
}

// Two bfloat16 numbers in one register: the upper halves of two float32 numbers.
__device__ __forceinline__ unsigned both(float low, float high) {
  return __byte_perm(__float_as_uint(low), __float_as_uint(high), 0x7632);
}

// The columns of x0 and x1 are the sixteen of the instruction in another order, and so are the rows
// of v0 and v1: a sum does not mind.
__device__ __forceinline__ void mma_bfloat16(WarpTile& d, const LeftOperand& x0, const LeftOperand& x1,
                                             const RightOperand& v0, const RightOperand& v1) {
#pragma unroll
  for (int a = 0; a < 2; ++a)
#pragma unroll
    for (int b = 0; b < 4; ++b)
      asm volatile(
          "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
          "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
          : "+f"(d.v[a][b][0]), "+f"(d.v[a][b][1]), "+f"(d.v[a][b][2]), "+f"(d.v[a][b][3])
          : "r"(both(x0.v[a][0], x0.v[a][2])), "r"(both(x0.v[a][1], x0.v[a][3])),
            "r"(both(x1.v[a][0], x1.v[a][2])), "r"(both(x1.v[a][1], x1.v[a][3])),
            "r"(both(v0.v[b][0], v0.v[b][1])), "r"(both(v1.v[b][0], v1.v[b][1])));
}
#endif

// x rounded to 24 - BITS binary digits (Dekker, Numer. Math. 18 (1971)). NaN stays NaN.
template <int BITS>
__device__ __forceinline__ float rounded(float x) {
  const float wide = x * float((1 << BITS) + 1);
  return wide - (wide - x);
}

template <int N, Operands OPERANDS>
struct Warps : Tiling<N, 32, 32> {
  using Number = float;
  using Tile = WarpTile;
  static constexpr int R = 32, LD = Tiling<N, 32, 32>::LD;
  static constexpr int STEP = OPERANDS == MSS_BFLOAT16 ? 16 : 8;  // columns at a time

  // Whose tile it is, of the warps of one matrix.
  static __device__ __forceinline__ int worker(int t) { return t / 32; }

  // f(row, column, number) for what this thread has of the tile.
  template <class F>
  static __device__ __forceinline__ void each(Tile& tile, F&& f) {
    const int row = MSS_LANE / 4, c = MSS_LANE % 4;
#pragma unroll
    for (int a = 0; a < 2; ++a)
#pragma unroll
      for (int b = 0; b < 4; ++b)
#pragma unroll
        for (int q = 0; q < 4; ++q) f(16 * a + 8 * (q / 2) + row, 8 * b + 2 * c + q % 2, tile.v[a][b][q]);
  }

  // tile += X[i0.., :] V[:, j0..]
  static __device__ __forceinline__ void add(const float* X, const float* V, Symmetry symmetry, int i0,
                                             int j0, Tile& tile) {
    product([&](int at) { return X[at]; }, V, symmetry, i0, j0, tile);
  }

  static __device__ __forceinline__ void subtract(const float* X, const float* V, Symmetry symmetry,
                                                  int i0, int j0, Tile& tile) {
    product([&](int at) { return -X[at]; }, V, symmetry, i0, j0, tile);
  }

  // tile += (p P + q Q)[i0.., :] V[:, j0..]
  static __device__ __forceinline__ void add_sum(float p, const float* P, float q, const float* Q,
                                                 const float* V, int i0, int j0, Tile& tile) {
    product([&](int at) { return fma(q, Q[at], p * P[at]); }, V, MSS_GENERAL, i0, j0, tile);
  }

  static __device__ __forceinline__ void put(float* M, int i0, int j0, Tile& tile) {
    each(tile, [&](int x, int y, float& value) { M[(i0 + x) * LD + j0 + y] = value; });
  }

 private:
  // `left` gives an element of the left matrix by its place.
  template <class Left>
  static __device__ __forceinline__ void product(Left&& left, const float* V, Symmetry symmetry, int i0,
                                                 int j0, Tile& tile) {
#pragma unroll 1
    for (int k = 0; k < N; k += STEP) {
      Tile sum;
      LeftOperand x = load_left(left, i0, k);
      RightOperand v = load_right(V, symmetry, k, j0);
      if constexpr (OPERANDS == MSS_TF32X3) {
        const LeftOperand x_low = cut<13>(x);
        const RightOperand v_low = cut<13>(v);
        mma_tf32(sum, x_low, v);
        mma_tf32(sum, x, v_low);
        mma_tf32(sum, x, v);
      } else if constexpr (OPERANDS == MSS_TF32) {
        cut<13>(x);
        cut<13>(v);
        mma_tf32(sum, x, v);
      } else {
        LeftOperand x_next = load_left(left, i0, k + 8);
        RightOperand v_next = load_right(V, symmetry, k + 8, j0);
        cut<16>(x);
        cut<16>(v);
        cut<16>(x_next);
        cut<16>(v_next);
        mma_bfloat16(sum, x, x_next, v, v_next);
      }
#pragma unroll
      for (int a = 0; a < 2; ++a)
#pragma unroll
        for (int b = 0; b < 4; ++b)
#pragma unroll
          for (int q = 0; q < 4; ++q) tile.v[a][b][q] += sum.v[a][b][q];
    }
  }

  template <class Left>
  static __device__ __forceinline__ LeftOperand load_left(Left&& left, int i0, int k) {
    const int row = MSS_LANE / 4, c = MSS_LANE % 4;
    LeftOperand x;
#pragma unroll
    for (int a = 0; a < 2; ++a)
#pragma unroll
      for (int q = 0; q < 4; ++q) x.v[a][q] = left((i0 + 16 * a + 8 * (q % 2) + row) * LD + k + c + 4 * (q / 2));
    return x;
  }

  // Reading columns, two threads of a warp meet in a bank of the memory; reading rows, none.
  static __device__ __forceinline__ RightOperand load_right(const float* V, Symmetry symmetry, int k,
                                                            int j0) {
    const int column = MSS_LANE / 4, c = MSS_LANE % 4;
    RightOperand v;
#pragma unroll
    for (int b = 0; b < 4; ++b)
#pragma unroll
      for (int q = 0; q < 2; ++q) {
        const int i = k + c + 4 * q, j = j0 + 8 * b + column;
        v.v[b][q] = symmetry == MSS_GENERAL ? V[i * LD + j] : V[j * LD + i];
        if (symmetry == MSS_SKEW) v.v[b][q] = -v.v[b][q];
      }
    return v;
  }

  // Each number without its last BITS digits; returns these.
  template <int BITS, class Operand>
  static __device__ __forceinline__ Operand cut(Operand& x) {
    constexpr int OUTER = sizeof(x.v) / sizeof(x.v[0]), INNER = sizeof(x.v[0]) / sizeof(float);
    Operand low;
#pragma unroll
    for (int a = 0; a < OUTER; ++a)
#pragma unroll
      for (int b = 0; b < INNER; ++b) {
        const float whole = x.v[a][b];
        x.v[a][b] = rounded<BITS>(whole);
        low.v[a][b] = whole - x.v[a][b];
      }
    return low;
  }
};
