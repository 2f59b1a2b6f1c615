// What every kernel here is made of: matrices in shared memory, and bounds of them.
//
// One source, three compilers: NVRTC for CuPy, nvcc, and g++ with the emulator of the tests. So no
// headers, arithmetic through fma alone where order matters, and every barrier by name: the tests
// take each one away in turn and want to see the answer change.
//
// A matrix of n rows lies in a buffer of N >= n rows of LD = N + 4 numbers: vectors of 16 bytes stay
// aligned, and columns fall into different banks. A block holds MPB matrices, each with THREADS
// threads; of a matrix that is not there (the last block) all is computed and nothing written, for
// every thread must reach every barrier.
//
// A product is shared out in tiles of R x R. An engine E says to whom, and multiplies:
//
//   threads.cuh  Threads<T, N, R>    a tile is one thread's, by fma
//   warps.cuh    Warps<N, OPERANDS>  a tile is one warp's, by tensor cores
#pragma once

#ifndef MSS_EMULATED
#define MSS_DYNAMIC_SHARED(T, name)                               \
  extern __shared__ __align__(16) unsigned char mss_shared_raw[]; \
  T* name = reinterpret_cast<T*>(mss_shared_raw)
#define MSS_BARRIER(name) __syncthreads()
#endif

// What is known of the second operand of a product, for an engine that would rather read its rows
// than its columns.
enum Symmetry { MSS_GENERAL = 0, MSS_SYMMETRIC = 1, MSS_SKEW = -1 };

template <int N, int R, int LANES>
struct Tiling {  // of an N x N matrix, a tile for LANES threads
  static constexpr int SIZE = N, EDGE = N / R;  // tiles along an edge
  static constexpr int UPPER = EDGE * (EDGE + 1) / 2;
  static constexpr int THREADS = LANES * 2 * UPPER;  // of one matrix: an upper triangle for each half
  static constexpr int LD = N + 4;
  static constexpr int MATRIX = N * LD;
  static constexpr int SCRATCH = (THREADS + 2 * N + 3) / 4 * 4;  // partial sums, two vectors
};

// Tile t of the upper triangle, row by row: (i, j) with i <= j.
template <int EDGE>
__device__ __forceinline__ void upper_tile(int t, int& i, int& j) {
  int row = EDGE;
  i = 0;
  while (t >= row) {
    t -= row;
    ++i;
    --row;
  }
  j = i + t;
}

// A tile of the upper triangle and its mirror image, times 1 or -1 below the diagonal. In a diagonal
// tile each element has one owner, so the result is symmetric or skew to the last bit.
template <class E>
__device__ __forceinline__ void put_mirrored(typename E::Number* M, int i0, int j0,
                                             typename E::Number mirror, typename E::Tile& tile) {
  using T = typename E::Number;
  E::each(tile, [&](int x, int y, T& value) {
    if (i0 == j0 && x > y) return;
    const bool own_mirror = i0 == j0 && x == y;
    M[(i0 + x) * E::LD + j0 + y] = own_mirror && mirror < T(0) ? T(0) : value;
    if (!own_mirror) M[(j0 + y) * E::LD + i0 + x] = mirror * value;
  });
}

// root = 2^j with 4^j <= x < 4^(j + 1), and 4^-j: to multiply by it rounds nothing. 1 for zero; x is no
// less than 0. Of subnormal x it is the least normal power, so that the inverse is finite.
template <typename T>
__device__ __forceinline__ void power_of_four(T x, T& root, T& inverse) {
  constexpr int LEAST = sizeof(T) == 4 ? -63 : -511;
  int e = x > T(0) ? ilogb(x) >> 1 : 0;  // NaN is not above 0
  e = e < LEAST ? LEAST : e;
  root = ldexp(T(1), e);
  inverse = ldexp(T(1), -2 * e);
}

// The largest entry of a diagonal in global memory, which bounds all entries of the matrix.
template <typename T>
__device__ __forceinline__ T largest_diagonal(const T* a, int n) {
  T x = T(0);
  for (int i = 0; i < n; ++i) x = a[(long long)i * n + i] > x ? a[(long long)i * n + i] : x;
  return x;
}

// The symmetric part of a global n x n matrix times `scale`, into N x N shared; diagonal beyond n.
template <int N, int THREADS, typename T>
__device__ __forceinline__ void load(const T* a, T* M, int t, int n, T scale, T beyond) {
  for (int e = t; e < N * N; e += THREADS) {
    const int i = e / N, j = e % N;
    T x = i == j ? beyond : T(0);
    if (i < n && j < n)
      x = T(0.5) * (a[(long long)i * n + j] * scale + a[(long long)j * n + i] * scale);
    M[i * (N + 4) + j] = x;
  }
}

// An upper bound of the largest eigenvalue of the n x n matrix in M, which is complete when this is
// called; all threads of the block take part. scratch: E::SCRATCH numbers of this matrix.
// norm: 0 trace, 1 Frobenius, 2 the smaller of Wolkowicz & Styan's and Minc's bound. Sums are taken in
// one order by every thread, so all have the same bound.
enum Norm { MSS_TRACE = 0, MSS_FROBENIUS = 1, MSS_MIN_WS_MINC = 2 };

template <class E, typename T>
__device__ __forceinline__ T upper_bound(const T* M, T* scratch, int t, int n, int norm, T epsilon) {
  constexpr int LD = E::LD, THREADS = E::THREADS;
  T* const part = scratch;
  T* const mean_row = scratch + THREADS;
  T* const quotient = mean_row + E::SIZE;
  T trace = T(0);
  for (int i = 0; i < n; ++i) trace += M[i * LD + i];
  const T mean = norm == MSS_MIN_WS_MINC ? trace / T(n) : T(0);
  T squares = T(0);
  for (int e = t; e < n * n; e += THREADS) {
    const int i = e / n, j = e % n;
    const T x = i == j ? M[i * LD + j] - mean : M[i * LD + j];
    squares = fma(x, x, squares);
  }
  part[t] = squares;
  for (int i = t; i < n; i += THREADS) {
    T sum = T(0);
    for (int j = 0; j < n; ++j) sum += fabs(M[i * LD + j]);
    mean_row[i] = sum / T(n);
  }
  MSS_BARRIER(BOUND_PARTS);
  T all = T(0);
  for (int i = 0; i < THREADS; ++i) all += part[i];
  for (int i = t; i < n; i += THREADS) {
    T sum = T(0);
    for (int j = 0; j < n; ++j) sum = fma(fabs(M[i * LD + j]), mean_row[j], sum);
    quotient[i] = mean_row[i] > T(0) ? sum / mean_row[i] : T(0);
  }
  MSS_BARRIER(BOUND_QUOTIENTS);
  T minc = T(0);
  for (int i = 0; i < n; ++i) minc = quotient[i] > minc ? quotient[i] : minc;
  if (norm == MSS_TRACE) return trace;
  if (norm == MSS_FROBENIUS) return sqrt(all);
  const T margin = T(1) + T(4) * epsilon;  // a sum of n² terms may round to just below the bound
  const T styan = (mean + sqrt(all / T(n)) * sqrt(T(n - 1))) * margin;
  minc *= margin;
  return styan < minc ? styan : minc;
}
