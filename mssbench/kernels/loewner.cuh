// The gradient in the eigenbasis, in one launch: S = V (L ∘ (Vᵀ G V)) Vᵀ with d = √w and
// L_ij = 1 / (d_i + d_j) for the root, -1 / (d_i d_j (d_i + d_j)) for the inverse root, and 0 where that
// would be infinite (Daleckii & Krein 1965; Higham, Functions of Matrices, SIAM 2008, Theorem 3.11).
#include "common.cuh"

template <int N, int R>
__device__ constexpr int loewner_numbers() {  // of shared memory, of one matrix: V, Vᵀ, two products, d
  return 4 * Tiles<N, R>::MATRIX + N;
}

template <typename T>
__device__ __forceinline__ T divided(T di, T dj, int inverse) {
  if (!inverse) {
    const T sum = di + dj;
    return sum == T(0) ? T(0) : T(1) / sum;
  }
  return di == T(0) || dj == T(0) ? T(0) : T(-1) / (di * dj * (di + dj));
}

template <typename T, int N, int R, int MPB>
__device__ __forceinline__ void loewner(const T* __restrict__ Win, const T* __restrict__ Vin,
                        const T* __restrict__ G, T* __restrict__ S, int inverse, int n, int batch) {
  using Tile = Tiles<N, R>;
  constexpr int LD = Tile::LD, THREADS = Tile::THREADS, EDGE = Tile::EDGE, UPPER = Tile::UPPER;
  MSS_DYNAMIC_SHARED(T, shared);
  const int local = threadIdx.x / THREADS, t = threadIdx.x % THREADS;
  const int m = blockIdx.x * MPB + local;
  const bool live = m < batch;
  const long long at = (long long)(live ? m : 0) * n * n;
  T* const V = shared + local * loewner_numbers<N, R>();
  T* const VT = V + Tile::MATRIX;
  T* const X = VT + Tile::MATRIX;
  T* const W = X + Tile::MATRIX;
  T* const d = W + Tile::MATRIX;
  const bool full = t < EDGE * EDGE;
  const int wi = t / EDGE * R, wj = t % EDGE * R;
  int i0, j0;
  upper_tile<EDGE>(t < UPPER ? t : 0, i0, j0);
  i0 *= R;
  j0 *= R;

  for (int e = t; e < N * N; e += THREADS) {
    const int i = e / N, j = e % N;
    const bool inside = i < n && j < n;
    const T v = inside ? Vin[at + (long long)i * n + j] : T(0);
    V[i * LD + j] = v;
    VT[j * LD + i] = v;
    X[i * LD + j] = inside ? T(0.5) * (G[at + (long long)i * n + j] + G[at + (long long)j * n + i]) : T(0);
  }
  for (int i = t; i < N; i += THREADS) {
    const T w = i < n ? Win[(long long)(live ? m : 0) * n + i] : T(1);
    d[i] = sqrt(w > T(0) ? w : w <= T(0) ? T(0) : w);
  }
  MSS_BARRIER(LOADED);
  if (full) {
    T acc[R][R] = {};
    multiply<T, N, R>(VT, X, wi, wj, acc);
    put<T, N, R>(W, wi, wj, acc);
  }
  MSS_BARRIER(HALFWAY);
  if (t < UPPER) {  // X has no reader any more
    T acc[R][R] = {};
    multiply<T, N, R>(W, V, i0, j0, acc);
#pragma unroll
    for (int x = 0; x < R; ++x)
#pragma unroll
      for (int y = 0; y < R; ++y) acc[x][y] *= divided(d[i0 + x], d[j0 + y], inverse);
    put_mirrored<T, N, R>(X, i0, j0, T(1), acc);
  }
  MSS_BARRIER(DIVIDED);
  if (full) {
    T acc[R][R] = {};
    multiply<T, N, R>(V, X, wi, wj, acc);
    put<T, N, R>(W, wi, wj, acc);
  }
  MSS_BARRIER(BACK);
  if (t < UPPER) {
    T acc[R][R] = {};
    multiply<T, N, R>(W, VT, i0, j0, acc);
    put_mirrored<T, N, R>(X, i0, j0, T(1), acc);
  }
  MSS_BARRIER(DONE);
  if (!live) return;
  for (int e = t; e < n * n; e += THREADS) S[at + e] = X[e / n * LD + e % n];
}

#define MSS_LOEWNER(name, bounds, T, N, R, MPB)                                                  \
  extern "C" __global__ void __launch_bounds__ bounds                                            \
      mss_loewner_##name(const T* W, const T* V, const T* G, T* S, int inverse, int n, int batch) { \
    loewner<T, N, R, MPB>(W, V, G, S, inverse, n, batch);                                        \
  }
