// The engine of ordinary cores: a tile of R x R numbers is one thread's, in registers, by fma.
#include "common.cuh"

template <typename T, int R>
struct alignas(sizeof(T) * R < 16 ? sizeof(T) * R : 16) Vec {
  T v[R];
};

template <typename T, int N, int R_>
struct Threads : Tiling<N, R_, 1> {
  using Number = T;
  static constexpr int R = R_, LD = Tiling<N, R_, 1>::LD, UNROLL = R <= 4 ? 2 : 1;
  struct Tile {
    T v[R][R] = {};
  };

  // Whose tile it is, of the threads of one matrix.
  static __device__ __forceinline__ int worker(int t) { return t; }

  // f(row, column, number) for what this thread has of the tile.
  template <class F>
  static __device__ __forceinline__ void each(Tile& tile, F&& f) {
#pragma unroll
    for (int a = 0; a < R; ++a)
#pragma unroll
      for (int b = 0; b < R; ++b) f(a, b, tile.v[a][b]);
  }

  // tile += X[i0.., :] V[:, j0..]; both operands are read as rows.
  static __device__ __forceinline__ void add(const T* X, const T* V, Symmetry, int i0, int j0,
                                             Tile& tile) {
    product<1>(X, V, i0, j0, tile);
  }

  static __device__ __forceinline__ void subtract(const T* X, const T* V, Symmetry, int i0, int j0,
                                                  Tile& tile) {
    product<-1>(X, V, i0, j0, tile);
  }

  // tile += (p P + q Q)[i0.., :] V[:, j0..]
  static __device__ __forceinline__ void add_sum(T p, const T* P, T q, const T* Q, const T* V, int i0,
                                                 int j0, Tile& tile) {
#pragma unroll 1
    for (int k = 0; k < N; k += R) {
      Vec<T, R> v[R];
#pragma unroll
      for (int c = 0; c < R; ++c) v[c] = *reinterpret_cast<const Vec<T, R>*>(V + (k + c) * LD + j0);
#pragma unroll
      for (int a = 0; a < R; ++a) {
        const Vec<T, R> x = *reinterpret_cast<const Vec<T, R>*>(P + (i0 + a) * LD + k);
        const Vec<T, R> y = *reinterpret_cast<const Vec<T, R>*>(Q + (i0 + a) * LD + k);
#pragma unroll
        for (int c = 0; c < R; ++c) {
          const T sum = fma(q, y.v[c], p * x.v[c]);
#pragma unroll
          for (int b = 0; b < R; ++b) tile.v[a][b] = fma(sum, v[c].v[b], tile.v[a][b]);
        }
      }
    }
  }

  static __device__ __forceinline__ void put(T* M, int i0, int j0, const Tile& tile) {
#pragma unroll
    for (int a = 0; a < R; ++a) {
      Vec<T, R> row;
#pragma unroll
      for (int b = 0; b < R; ++b) row.v[b] = tile.v[a][b];
      *reinterpret_cast<Vec<T, R>*>(M + (i0 + a) * LD + j0) = row;
    }
  }

 private:
  template <int SIGN>
  static __device__ __forceinline__ void product(const T* X, const T* V, int i0, int j0, Tile& tile) {
#pragma unroll UNROLL
    for (int k = 0; k < N; k += R) {
      Vec<T, R> x[R], v[R];
#pragma unroll
      for (int c = 0; c < R; ++c) {
        x[c] = *reinterpret_cast<const Vec<T, R>*>(X + (i0 + c) * LD + k);
        v[c] = *reinterpret_cast<const Vec<T, R>*>(V + (k + c) * LD + j0);
      }
#pragma unroll
      for (int c = 0; c < R; ++c)
#pragma unroll
        for (int a = 0; a < R; ++a)
#pragma unroll
          for (int b = 0; b < R; ++b)
            tile.v[a][b] = fma(SIGN > 0 ? x[a].v[c] : -x[a].v[c], v[c].v[b], tile.v[a][b]);
    }
  }
};
