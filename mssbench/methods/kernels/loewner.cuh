// The gradient in the eigenbasis, in one launch: S = V (L ∘ (Vᵀ G V)) Vᵀ with d = √w and
// L_ij = 1 / (d_i + d_j) for the root, 0 where that would be infinite, and -1 / (d_i d_j (d_i + d_j)) for
// the inverse root: where that does not exist, neither does its gradient, which is then not finite
// (Daleckii & Krein 1965; Higham, Functions of Matrices, SIAM 2008, Theorem 3.11).
#include "threads.cuh"

template <class E>
__device__ constexpr int loewner_numbers() {  // of shared memory, of one matrix: V, Vᵀ, two products, d
  return 4 * E::MATRIX + E::SIZE;
}

template <typename T>
__device__ __forceinline__ T divided(T di, T dj, int inverse) {
  if (!inverse) {
    const T sum = di + dj;
    return sum == T(0) ? T(0) : T(1) / sum;
  }
  return T(-1) / (di * dj * (di + dj));
}

template <class E, int MPB, typename T = typename E::Number>
__device__ __forceinline__ void loewner(const T* __restrict__ Win, const T* __restrict__ Vin,
                                        const T* __restrict__ G, T* __restrict__ S, int inverse, int n,
                                        int batch) {
  using Tile = typename E::Tile;
  constexpr int N = E::SIZE, R = E::R, LD = E::LD, THREADS = E::THREADS, EDGE = E::EDGE, UPPER = E::UPPER;
  MSS_DYNAMIC_SHARED(T, shared);
  const int local = threadIdx.x / THREADS, t = threadIdx.x % THREADS;
  const int m = blockIdx.x * MPB + local;
  const bool live = m < batch;
  const long long at = (long long)(live ? m : 0) * n * n;
  T* const V = shared + local * loewner_numbers<E>();
  T* const VT = V + E::MATRIX;
  T* const X = VT + E::MATRIX;
  T* const W = X + E::MATRIX;
  T* const d = W + E::MATRIX;
  const int worker = E::worker(t);
  const bool full = worker < EDGE * EDGE, upper = worker < UPPER;
  const int wi = worker / EDGE * R, wj = worker % EDGE * R;
  int i0, j0;
  upper_tile<EDGE>(upper ? worker : 0, i0, j0);
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
    Tile half;
    E::add(VT, X, MSS_SYMMETRIC, wi, wj, half);
    E::put(W, wi, wj, half);
  }
  MSS_BARRIER(HALFWAY);
  if (upper) {  // X has no reader any more
    Tile inner;
    E::add(W, V, MSS_GENERAL, i0, j0, inner);
    E::each(inner, [&](int x, int y, T& value) { value *= divided(d[i0 + x], d[j0 + y], inverse); });
    put_mirrored<E>(X, i0, j0, T(1), inner);
  }
  MSS_BARRIER(DIVIDED);
  if (full) {
    Tile half;
    E::add(V, X, MSS_SYMMETRIC, wi, wj, half);
    E::put(W, wi, wj, half);
  }
  MSS_BARRIER(BACK);
  if (upper) {
    Tile whole;
    E::add(W, VT, MSS_GENERAL, i0, j0, whole);
    put_mirrored<E>(X, i0, j0, T(1), whole);
  }
  MSS_BARRIER(DONE);
  if (!live) return;
  for (int e = t; e < n * n; e += THREADS) S[at + e] = X[e / n * LD + e % n];
}

// MSS_LOEWNER(name, bounds, number, matrices of a block, engine)
#define MSS_LOEWNER(name, bounds, T, MPB, ...)                                                      \
  extern "C" __global__ void __launch_bounds__ bounds mss_loewner_##name(                           \
      const T* W, const T* V, const T* G, T* S, int inverse, int n, int batch) {                    \
    loewner<__VA_ARGS__, MPB>(W, V, G, S, inverse, n, batch);                                       \
  }
