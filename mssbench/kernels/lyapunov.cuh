// The gradient of a root from the root alone, in one launch: Y S + S Y = R for every matrix, by the
// sign iteration of the block matrix [[B, C], [0, -B]] (Lin & Maji, BMVC 2017), with the factors of
// schedules.py: B = Y / c, C = R / c;  for each factor h with H, K the diagonal and corner of h(M²):
// C = sym(B K + C H),  B = B H;  S = C / 2.  M² = [[B², D], [0, B²]] with D = B C - C B.
//
// For the inverse root Z = Y^{-1}, dZ = -Z dY Z, so R = -Z G Z. B, C, B² and H are symmetric and D and
// K skew, to the last bit; that is stable here, other than in the coupled iteration.
#include "iterate.cuh"

template <int N, int R>
__device__ constexpr int lyapunov_numbers() {  // of shared memory, of one matrix
  return 4 * Tiles<N, R>::MATRIX + Tiles<N, R>::SCRATCH;
}

// The symmetric part of a global n x n matrix over p, into shared memory; diagonal beyond n.
template <typename T, int N, int R>
__device__ __forceinline__ void load(const T* a, T* M, int t, int n, T p, T beyond) {
  for (int e = t; e < N * N; e += Tiles<N, R>::THREADS) {
    const int i = e / N, j = e % N;
    T x = i == j ? beyond : T(0);
    if (i < n && j < n)
      x = T(0.5) * (a[(long long)i * n + j] / p + a[(long long)j * n + i] / p);
    M[i * Tiles<N, R>::LD + j] = x;
  }
}

template <typename T, int N, int R, int MPB>
__device__ __forceinline__ void lyapunov(const T* __restrict__ Yin, const T* __restrict__ Zin,
                         const T* __restrict__ G, T* __restrict__ S, const Schedule<T>& s, int n,
                         int batch, T epsilon) {
  using Tile = Tiles<N, R>;
  constexpr int LD = Tile::LD, THREADS = Tile::THREADS, EDGE = Tile::EDGE, UPPER = Tile::UPPER;
  MSS_DYNAMIC_SHARED(T, shared);
  const int local = threadIdx.x / THREADS, t = threadIdx.x % THREADS;
  const int m = blockIdx.x * MPB + local;
  const bool live = m < batch;
  const long long at = (long long)(live ? m : 0) * n * n;
  T* const B = shared + local * lyapunov_numbers<N, R>();
  T* const C = B + Tile::MATRIX;
  T* const U = C + Tile::MATRIX;  // B², then H
  T* const D = U + Tile::MATRIX;  // B C - C B, then K
  T* const scratch = D + Tile::MATRIX;
  const bool full = t < EDGE * EDGE, first_half = t < UPPER;
  const int wi = t / EDGE * R, wj = t % EDGE * R;
  int i0, j0;
  upper_tile<EDGE>(first_half ? t : t - UPPER, i0, j0);
  i0 *= R;
  j0 *= R;

  T p, root_p;
  power_of_four(largest_diagonal(Yin + at, n), p, root_p);
  load<T, N, R>(Yin + at, B, t, n, p, T(1));
  if (Zin) {  // C = -Z G Z / p, by way of U = Z and D = G
    load<T, N, R>(Zin + at, U, t, n, T(1), T(0));
    load<T, N, R>(G + at, D, t, n, p, T(0));
    MSS_BARRIER(INVERSE_LOADED);
    if (full) {
      T acc[R][R] = {};
      multiply<T, N, R>(U, D, wi, wj, acc);
      put<T, N, R>(C, wi, wj, acc);
    }
    MSS_BARRIER(INVERSE_HALF);
    T acc[R][R] = {};
    if (first_half) multiply<T, N, R, -1>(C, U, i0, j0, acc);
    MSS_BARRIER(INVERSE_READ);
    if (first_half) put_mirrored<T, N, R>(C, i0, j0, T(1), acc);
  } else {
    load<T, N, R>(G + at, C, t, n, p, T(0));
  }
  MSS_BARRIER(GRADIENT_LOADED);

  T acc[R][R] = {};  // B² as it is, which says how to scale B
  if (first_half) multiply<T, N, R>(B, B, i0, j0, acc);
  if (first_half) put_mirrored<T, N, R>(U, i0, j0, T(1), acc);
  MSS_BARRIER(SQUARE_UNSCALED);
  const T bound = upper_bound<T, N, R>(U, scratch, t, n, s.norm, epsilon);
  const T c = bound > T(0) ? sqrt(bound) : T(1);
  for (int e = t; e < n * n; e += THREADS) {
    const int k = e / n * LD + e % n;
    B[k] /= c;
    C[k] /= c;
  }
  MSS_BARRIER(GRADIENT_SCALED);

  for (int k = 0; k < s.steps; ++k) {
    const bool last = k == s.steps - 1;
    const T* const h = s.c[k];
    T tile[R][R] = {};
    if (first_half) {
      multiply<T, N, R>(B, B, i0, j0, tile);
    } else {
      multiply<T, N, R>(B, C, i0, j0, tile);
      multiply<T, N, R, -1>(C, B, i0, j0, tile);
    }
    if (s.terms[k] == 2) {
#pragma unroll
      for (int x = 0; x < R; ++x)
#pragma unroll
        for (int y = 0; y < R; ++y)
          tile[x][y] = fma(h[1], tile[x][y], first_half && i0 + x == j0 + y ? h[0] : T(0));
    }
    // nobody reads U or D any more: the last who did wrote B and C since, behind a barrier
    put_mirrored<T, N, R>(first_half ? U : D, i0, j0, first_half ? T(1) : T(-1), tile);
    MSS_BARRIER(SQUARE);
    if (s.terms[k] > 2) {
      T more[R][R] = {};
      if (first_half) {
        multiply<T, N, R>(U, U, i0, j0, more);
      } else {
        multiply<T, N, R>(U, D, i0, j0, more);
        multiply<T, N, R>(D, U, i0, j0, more);
      }
      MSS_BARRIER(SQUARE_READ);
#pragma unroll
      for (int x = 0; x < R; ++x)
#pragma unroll
        for (int y = 0; y < R; ++y) {
          const T linear = fma(h[1], tile[x][y], first_half && i0 + x == j0 + y ? h[0] : T(0));
          more[x][y] = fma(h[2], more[x][y], linear);
        }
      put_mirrored<T, N, R>(first_half ? U : D, i0, j0, first_half ? T(1) : T(-1), more);
      MSS_BARRIER(POLYNOMIAL);
    }
    T next[R][R] = {};  // B, and twice C
    if (first_half) {
      if (!last) multiply<T, N, R>(B, U, i0, j0, next);
    } else {
      multiply<T, N, R>(B, D, i0, j0, next);
      multiply<T, N, R, -1>(D, B, i0, j0, next);
      multiply<T, N, R>(C, U, i0, j0, next);
      multiply<T, N, R>(U, C, i0, j0, next);
#pragma unroll
      for (int x = 0; x < R; ++x)
#pragma unroll
        for (int y = 0; y < R; ++y) next[x][y] *= T(0.5);
    }
    MSS_BARRIER(STEP_READ);
    if (!first_half || !last) put_mirrored<T, N, R>(first_half ? B : C, i0, j0, T(1), next);
    MSS_BARRIER(STEP);
  }

  if (!live) return;
  for (int e = t; e < n * n; e += THREADS)
    S[(long long)m * n * n + e] = T(0.5) * C[e / n * LD + e % n];
}

#define MSS_LYAPUNOV(name, bounds, T, N, R, MPB)                                               \
  extern "C" __global__ void __launch_bounds__ bounds                                          \
      mss_lyapunov_##name(const T* Y, const T* Z, const T* G, T* S, const Schedule<T> s, int n, \
                          int batch, T epsilon) {                                              \
    lyapunov<T, N, R, MPB>(Y, Z, G, S, s, n, batch, epsilon);                                  \
  }
