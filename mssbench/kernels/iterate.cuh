// Both roots of a batch by the coupled iteration, in one launch: A is read once, what is wanted of
// A^{1/2} and A^{-1/2} written once, and all between stays in shared memory.
//
//   Y = A / c, Z = I;  for each factor h:  T = h(Z Y),  Y, Z = Y T, T Z;   √c Y, Z / √c
//
// (Higham, Functions of Matrices, SIAM 2008, ch. 6; the schedules are those of schedules.py.) Y and Z
// are kept symmetric to the last bit: of each the upper triangle is computed and mirrored, which saves
// a third of the products. T and the powers in it are computed in full: mirrored as well, errors grow
// in every step from condition 34 on, and within minimax factors at once.
#include "common.cuh"

#define MSS_MOST_STEPS 32
#define MSS_MOST_TERMS 5

template <typename T>
struct Schedule {
  int steps, norm;
  int terms[MSS_MOST_STEPS];  // of each factor h(W) = Σ c_i W^i: 2, 3 or 5
  T c[MSS_MOST_STEPS][MSS_MOST_TERMS];
};

// Y, Z and T, and W² where a factor has degree 4 in W.
template <int N, int R, int BUFFERS>
__device__ constexpr int iterate_numbers() {  // of shared memory, of one matrix
  return BUFFERS * Tiles<N, R>::MATRIX + Tiles<N, R>::SCRATCH;
}

template <typename T, int N, int R, int MPB, int BUFFERS>
__device__ __forceinline__ void iterate(const T* __restrict__ A, T* __restrict__ Yout, T* __restrict__ Zout,
                        const Schedule<T>& s, int n, int batch, T epsilon) {
  using Tile = Tiles<N, R>;
  constexpr int LD = Tile::LD, THREADS = Tile::THREADS, EDGE = Tile::EDGE, UPPER = Tile::UPPER;
  MSS_DYNAMIC_SHARED(T, shared);
  const int local = threadIdx.x / THREADS, t = threadIdx.x % THREADS;
  const int m = blockIdx.x * MPB + local;
  const bool live = m < batch;
  T* const Y = shared + local * iterate_numbers<N, R, BUFFERS>();
  T* const Z = Y + Tile::MATRIX;
  T* const P = Z + Tile::MATRIX;  // W = Z Y, then T
  T* const Q = P + (BUFFERS - 3) * Tile::MATRIX;  // W², if there is a fourth
  T* const scratch = Y + BUFFERS * Tile::MATRIX;
  const T* const a = A + (long long)(live ? m : 0) * n * n;

  // Full products: tile (wi, wj) for the first EDGE² threads. Upper triangles: Y's for the first half
  // of the threads, Z's for the second.
  const bool full = t < EDGE * EDGE, first_half = t < UPPER;
  const int wi = t / EDGE * R, wj = t % EDGE * R;
  int i0, j0;
  upper_tile<EDGE>(first_half ? t : t - UPPER, i0, j0);
  i0 *= R;
  j0 *= R;

  T p, root_p;
  power_of_four(largest_diagonal(a, n), p, root_p);
  for (int e = t; e < N * N; e += THREADS) {
    const int i = e / N, j = e % N;
    T x = i == j ? T(1) : T(0);
    if (i < n && j < n)
      x = T(0.5) * (a[(long long)i * n + j] / p + a[(long long)j * n + i] / p);
    Y[i * LD + j] = x;
  }
  MSS_BARRIER(LOADED);
  const T bound = upper_bound<T, N, R>(Y, scratch, t, n, s.norm, epsilon);
  const T c = bound > T(0) ? bound : T(1);
  const T root_c = sqrt(bound) * root_p;  // 0 for a zero matrix, whose root is 0
  for (int e = t; e < n * n; e += THREADS) Y[e / n * LD + e % n] /= c;
  MSS_BARRIER(SCALED);

  for (int k = 0; k < s.steps; ++k) {
    const bool first = k == 0, last = k == s.steps - 1;  // first: Z = I, so W = Y
    const int terms = s.terms[k];
    const T* const h = s.c[k];
    const T* const W = first ? Y : P;
    if (full && (!first || terms == 2)) {
      T acc[R][R] = {};
      if (first) {
#pragma unroll
        for (int x = 0; x < R; ++x)
#pragma unroll
          for (int y = 0; y < R; ++y) acc[x][y] = Y[(wi + x) * LD + wj + y];
      } else {
        multiply<T, N, R>(Z, Y, wi, wj, acc);
      }
      if (terms == 2) {
#pragma unroll
        for (int x = 0; x < R; ++x)
#pragma unroll
          for (int y = 0; y < R; ++y) acc[x][y] = fma(h[1], acc[x][y], wi + x == wj + y ? h[0] : T(0));
      }
      put<T, N, R>(P, wi, wj, acc);
    }
    MSS_BARRIER(FACTOR_ARGUMENT);
    if (terms > 2) {
      T acc[R][R] = {};
      if (BUFFERS > 3 && terms == 5) {
        if (full) {
          multiply<T, N, R>(W, W, wi, wj, acc);
          put<T, N, R>(Q, wi, wj, acc);
        }
        MSS_BARRIER(FACTOR_SQUARE);
        if (full) {
#pragma unroll
          for (int x = 0; x < R; ++x)
#pragma unroll
            for (int y = 0; y < R; ++y) {
              const int at = (wi + x) * LD + wj + y;
              acc[x][y] = fma(h[1], W[at], wi + x == wj + y ? h[0] : T(0));
              acc[x][y] = fma(h[2], Q[at], acc[x][y]);
            }
          multiply_sum<T, N, R>(h[3], W, h[4], Q, Q, wi, wj, acc);
        }
      } else if (full) {
        multiply<T, N, R>(W, W, wi, wj, acc);
#pragma unroll
        for (int x = 0; x < R; ++x)
#pragma unroll
          for (int y = 0; y < R; ++y) {
            const T linear = fma(h[1], W[(wi + x) * LD + wj + y], wi + x == wj + y ? h[0] : T(0));
            acc[x][y] = fma(h[2], acc[x][y], linear);
          }
      }
      MSS_BARRIER(FACTOR_READ);  // of W, which T replaces
      if (full) put<T, N, R>(P, wi, wj, acc);
      MSS_BARRIER(FACTOR);
    }
    const bool wanted = !last || (first_half ? Yout : Zout) != nullptr;
    T acc[R][R] = {};
    if (wanted) {
      if (first_half) {
        multiply<T, N, R>(Y, P, i0, j0, acc);
      } else if (first) {
#pragma unroll
        for (int x = 0; x < R; ++x)
#pragma unroll
          for (int y = 0; y < R; ++y) acc[x][y] = P[(i0 + x) * LD + j0 + y];
      } else {
        multiply<T, N, R>(P, Z, i0, j0, acc);
      }
    }
    MSS_BARRIER(STEP_READ);
    if (wanted) put_mirrored<T, N, R>(first_half ? Y : Z, i0, j0, T(1), acc);
    MSS_BARRIER(STEP);
  }

  if (!live) return;
  for (int e = t; e < n * n; e += THREADS) {
    const int at = e / n * LD + e % n;
    if (Yout) Yout[(long long)m * n * n + e] = Y[at] * root_c;
    if (Zout) Zout[(long long)m * n * n + e] = Z[at] / root_c;
  }
}

#define MSS_ITERATE(name, bounds, T, N, R, MPB, BUFFERS)                                    \
  extern "C" __global__ void __launch_bounds__ bounds                                       \
      mss_iterate_##name(const T* A, T* Y, T* Z, const Schedule<T> s, int n, int batch,     \
                         T epsilon) {                                                       \
    iterate<T, N, R, MPB, BUFFERS>(A, Y, Z, s, n, batch, epsilon);                          \
  }
