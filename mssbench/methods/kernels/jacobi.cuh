// Eigenpairs and both roots of a batch of small matrices in one launch, by Jacobi's method: exact for
// every spectrum, and no iteration count to choose (Golub & Van Loan, Matrix Computations, 2013, §8.5).
//
// In each step n/2 disjoint pairs are rotated at once, all of them after n - 1 steps: pair (P, Q) of
// pairs owns the 2 x 2 block where rows P and columns Q meet, so blocks need nothing of each other. The
// upper triangle of blocks is computed and mirrored, which keeps the matrix symmetric to the last bit.
#include "common.cuh"

#define MSS_MOST_SWEEPS 16

template <int N>
__device__ constexpr int jacobi_numbers() {  // of shared memory, of one matrix: A, V, rotations, two flags
  return 2 * N * (N + 4) + 2 * N + 4;
}

// Pair k of step s when n players meet all others, each once: (n - 1) fixed, the others in a circle.
template <int N>
__device__ __forceinline__ void meeting(int s, int k, int& p, int& q) {
  p = k == 0 ? N - 1 : (s + k) % (N - 1);
  q = k == 0 ? s : (s - k + N - 1) % (N - 1);
  if (p > q) {
    const int other = p;
    p = q;
    q = other;
  }
}

// (x, y) <- (c x - s y, s x + c y) by way of c = 1 - s τ, τ = tan(θ/2): what is rounded is the change,
// so many small rotations leave V orthogonal (Rutishauser, Numer. Math. 9 (1966)). With c and s every
// rotation by less than √u would make it longer, by up to u/2.
template <typename T>
__device__ __forceinline__ void rotate(T sine, T half, T& x, T& y) {
  const T before = x;
  x = fma(-sine, fma(half, x, y), x);
  y = fma(sine, fma(-half, y, before), y);
}

template <typename T, int N, int THREADS, int MPB>
__device__ __forceinline__ void jacobi(const T* __restrict__ A, T* __restrict__ Yout, T* __restrict__ Zout,
                       T* __restrict__ Wout, T* __restrict__ Vout, int n, int batch, T epsilon) {
  constexpr int LD = N + 4, HALF = N / 2;
  MSS_DYNAMIC_SHARED(T, shared);
  const int local = threadIdx.x / THREADS, t = threadIdx.x % THREADS;
  const int m = blockIdx.x * MPB + local;
  const bool live = m < batch;
  T* const M = shared + local * jacobi_numbers<N>();
  T* const V = M + N * LD;
  T* const sine = V + N * LD;
  T* const half = sine + HALF;  // the tangent of half the angle
  T* const tangent = half + HALF;
  // The last even and the last odd sweep in which a pair was turned, from 1. Two, as who is ahead is in
  // the next sweep while others still read of this one.
  T* const turned = sine + 2 * N;
  const T* const a = A + (long long)(live ? m : 0) * n * n;

  T root_p, inverse_p;
  power_of_four(largest_diagonal(a, n), root_p, inverse_p);
  load<N, THREADS>(a, M, t, n, inverse_p, T(1));
  for (int e = t; e < N * N; e += THREADS) V[e / N * LD + e % N] = e / N == e % N ? T(1) : T(0);
  if (t < 2) turned[t] = T(0);
  MSS_BARRIER(LOADED);

  for (int sweep = 0; sweep < MSS_MOST_SWEEPS; ++sweep) {
    for (int step = 0; step < N - 1; ++step) {
      for (int k = t; k < HALF; k += THREADS) {
        int i, j;
        meeting<N>(step, k, i, j);
        const T aii = M[i * LD + i], ajj = M[j * LD + j], aij = M[i * LD + j];
        T s = T(0), h = T(0), tan = T(0);
        // relative to both: small eigenvalues are turned out as carefully as large ones
        if (fabs(aij) > epsilon * (sqrt(fabs(aii) * fabs(ajj)) + epsilon)) {
          const T tau = (ajj - aii) / (T(2) * aij);
          tan = (tau < T(0) ? T(-1) : T(1)) / (fabs(tau) + sqrt(fma(tau, tau, T(1))));
          const T c = T(1) / sqrt(fma(tan, tan, T(1)));
          s = tan * c;
          h = s / (T(1) + c);
          turned[sweep % 2] = T(sweep + 1);  // by whichever thread: they all write the same
        }
        sine[k] = s;
        half[k] = h;
        tangent[k] = tan;
      }
      MSS_BARRIER(ROTATIONS);
      for (int e = t; e < HALF * (HALF + 1) / 2; e += THREADS) {
        int k, l;
        upper_tile<HALF>(e, k, l);
        int i1, j1, i2, j2;
        meeting<N>(step, k, i1, j1);
        meeting<N>(step, l, i2, j2);
        if (k == l) {
          const T shift = tangent[k] * M[i1 * LD + j1];
          M[i1 * LD + i1] -= shift;
          M[j1 * LD + j1] += shift;
          if (tangent[k] != T(0)) M[i1 * LD + j1] = M[j1 * LD + i1] = T(0);
          continue;
        }
        T w = M[i1 * LD + i2], x = M[i1 * LD + j2], y = M[j1 * LD + i2], z = M[j1 * LD + j2];
        rotate(sine[k], half[k], w, y);
        rotate(sine[k], half[k], x, z);
        rotate(sine[l], half[l], w, x);
        rotate(sine[l], half[l], y, z);
        M[i1 * LD + i2] = M[i2 * LD + i1] = w;
        M[i1 * LD + j2] = M[j2 * LD + i1] = x;
        M[j1 * LD + i2] = M[i2 * LD + j1] = y;
        M[j1 * LD + j2] = M[j2 * LD + j1] = z;
      }
      for (int e = t; e < N * HALF; e += THREADS) {
        const int row = e / HALF, k = e % HALF;
        int i, j;
        meeting<N>(step, k, i, j);
        rotate(sine[k], half[k], V[row * LD + i], V[row * LD + j]);
      }
      MSS_BARRIER(ROTATED);
    }
    // in any matrix of the block, so that all threads stay together
    bool more = false;
    for (int k = 0; k < MPB; ++k)
      more = more || turned[sweep % 2 + (k - local) * jacobi_numbers<N>()] > T(sweep);
    if (!more) break;
  }

  // Y = (V d^{1/2}) (V d^{1/2})ᵀ with d = √w, and Z with 1/d: products that are symmetric by themselves
  T* const d = sine;  // N of them, and N inverses behind
  for (int i = t; i < N; i += THREADS) {
    const T w = M[i * LD + i];
    const T root = sqrt(w > T(0) ? w : w <= T(0) ? T(0) : w);  // a NaN stays one
    d[i] = sqrt(root);
    d[N + i] = T(1) / sqrt(root);
    if (live && Wout && i < n) Wout[(long long)m * n + i] = w * root_p * root_p;
  }
  MSS_BARRIER(VALUES);
  for (int which = 0; which < 2; ++which) {
    T* const out = which == 0 ? Yout : Zout;
    const T scale = which == 0 ? root_p : T(1) / root_p;
    for (int e = t; e < N * N; e += THREADS)
      M[e / N * LD + e % N] = V[e / N * LD + e % N] * d[which * N + e % N];
    MSS_BARRIER(SCALED_VECTORS);
    if (live && out)
      for (int e = t; e < n * n; e += THREADS) {
        const int i = e / n, j = e % n;
        T sum = T(0);
        for (int k = 0; k < n; ++k) sum = fma(M[i * LD + k], M[j * LD + k], sum);
        out[(long long)m * n * n + e] = sum * scale;
      }
    MSS_BARRIER(WRITTEN);
  }
  if (live && Vout)
    for (int e = t; e < n * n; e += THREADS)
      Vout[(long long)m * n * n + e] = V[e / n * LD + e % n];
}

#define MSS_JACOBI(name, bounds, T, MPB, N, THREADS)                                              \
  extern "C" __global__ void __launch_bounds__ bounds                                             \
      mss_jacobi_##name(const T* A, T* Y, T* Z, T* W, T* V, int n, int batch, T epsilon) {        \
    jacobi<T, N, THREADS, MPB>(A, Y, Z, W, V, n, batch, epsilon);                                 \
  }
