// Both roots of a batch by the coupled iteration, in one launch: A is read once, what is wanted of
// A^{1/2} and A^{-1/2} written once, and all between stays in shared memory.
//
//   Y = A / c, Z = I;  for each factor h:  T = h(Z Y),  Y, Z = Y T, T Z;   √c Y, Z / √c
//
// (Higham, Functions of Matrices, SIAM 2008, ch. 6; the schedules are those of minimax.py.) Y and Z
// are kept symmetric to the last bit: of each the upper triangle is computed and mirrored, which saves
// a third of the products. T and the powers in it are computed in full: mirrored as well, errors grow
// in every step from condition 34 on, and within minimax factors at once.
#include "threads.cuh"
#include "warps.cuh"

#define MSS_MOST_STEPS 32
#define MSS_MOST_TERMS 5

template <typename T>
struct Schedule {
  int steps, norm;
  int terms[MSS_MOST_STEPS];  // of each factor h(W) = Σ c_i W^i: 2, 3 or 5
  T c[MSS_MOST_STEPS][MSS_MOST_TERMS];
};

// Y, Z and T, and W² where a factor has degree 4 in W.
template <class E, int BUFFERS>
__device__ constexpr int iterate_numbers() {  // of shared memory, of one matrix
  return BUFFERS * E::MATRIX + E::SCRATCH;
}

template <class E, int MPB, int BUFFERS, typename T = typename E::Number>
__device__ __forceinline__ void iterate(const T* __restrict__ A, T* __restrict__ Yout, T* __restrict__ Zout,
                                        const Schedule<T>& s, int n, int batch, T epsilon) {
  using Tile = typename E::Tile;
  constexpr int N = E::SIZE, R = E::R, LD = E::LD, THREADS = E::THREADS, EDGE = E::EDGE;
  MSS_DYNAMIC_SHARED(T, shared);
  const int local = threadIdx.x / THREADS, t = threadIdx.x % THREADS;
  const int m = blockIdx.x * MPB + local;
  const bool live = m < batch;
  T* const Y = shared + local * iterate_numbers<E, BUFFERS>();
  T* const Z = Y + E::MATRIX;
  T* const P = Z + E::MATRIX;  // W = Z Y, then T
  T* const Q = P + (BUFFERS - 3) * E::MATRIX;  // W², if there is a fourth
  T* const scratch = Y + BUFFERS * E::MATRIX;
  const T* const a = A + (long long)(live ? m : 0) * n * n;

  // Full products: tile (wi, wj) for the first EDGE² workers. Upper triangles: Y's for the first half
  // of them, Z's for the second.
  const int worker = E::worker(t);
  const bool full = worker < EDGE * EDGE, first_half = worker < E::UPPER;
  const int wi = worker / EDGE * R, wj = worker % EDGE * R;
  int i0, j0;
  upper_tile<EDGE>(first_half ? worker : worker - E::UPPER, i0, j0);
  i0 *= R;
  j0 *= R;

  T root_p, inverse_p;
  power_of_four(largest_diagonal(a, n), root_p, inverse_p);
  for (int e = t; e < N * N; e += THREADS) {  // `load`, written out: called, three variants would spill
    const int i = e / N, j = e % N;
    T x = i == j ? T(1) : T(0);
    if (i < n && j < n)
      x = T(0.5) * (a[(long long)i * n + j] * inverse_p + a[(long long)j * n + i] * inverse_p);
    Y[i * LD + j] = x;
  }
  MSS_BARRIER(LOADED);
  const T bound = upper_bound<E>(Y, scratch, t, n, s.norm, epsilon);
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
      Tile w;
      if (first) {
        E::each(w, [&](int x, int y, T& value) { value = Y[(wi + x) * LD + wj + y]; });
      } else {
        E::add(Z, Y, MSS_SYMMETRIC, wi, wj, w);
      }
      if (terms == 2)
        E::each(w, [&](int x, int y, T& value) { value = fma(h[1], value, wi + x == wj + y ? h[0] : T(0)); });
      E::put(P, wi, wj, w);
    }
    MSS_BARRIER(FACTOR_ARGUMENT);
    if (terms > 2) {
      Tile f;
      if (BUFFERS > 3 && terms == 5) {
        if (full) {
          E::add(W, W, MSS_GENERAL, wi, wj, f);
          E::put(Q, wi, wj, f);
        }
        MSS_BARRIER(FACTOR_SQUARE);
        if (full) {
          E::each(f, [&](int x, int y, T& value) {
            const int at = (wi + x) * LD + wj + y;
            value = fma(h[1], W[at], wi + x == wj + y ? h[0] : T(0));
            value = fma(h[2], Q[at], value);
          });
          E::add_sum(h[3], W, h[4], Q, Q, wi, wj, f);
        }
      } else if (full) {
        E::add(W, W, MSS_GENERAL, wi, wj, f);
        E::each(f, [&](int x, int y, T& value) {
          const T linear = fma(h[1], W[(wi + x) * LD + wj + y], wi + x == wj + y ? h[0] : T(0));
          value = fma(h[2], value, linear);
        });
      }
      MSS_BARRIER(FACTOR_READ);  // of W, which T replaces
      if (full) E::put(P, wi, wj, f);
      MSS_BARRIER(FACTOR);
    }
    const bool wanted = !last || (first_half ? Yout : Zout) != nullptr;
    Tile next;
    if (wanted) {
      if (first_half) {
        E::add(Y, P, MSS_GENERAL, i0, j0, next);
      } else if (first) {
        E::each(next, [&](int x, int y, T& value) { value = P[(i0 + x) * LD + j0 + y]; });
      } else {
        E::add(P, Z, MSS_SYMMETRIC, i0, j0, next);
      }
    }
    MSS_BARRIER(STEP_READ);
    if (wanted) put_mirrored<E>(first_half ? Y : Z, i0, j0, T(1), next);
    MSS_BARRIER(STEP);
  }

  if (!live) return;
  for (int e = t; e < n * n; e += THREADS) {
    const int at = e / n * LD + e % n;
    if (Yout) Yout[(long long)m * n * n + e] = Y[at] * root_c;
    if (Zout) Zout[(long long)m * n * n + e] = Z[at] / root_c;
  }
}

// MSS_ITERATE(name, bounds, number, matrices of a block, buffers, engine)
#define MSS_ITERATE(name, bounds, T, MPB, BUFFERS, ...)                                            \
  extern "C" __global__ void __launch_bounds__ bounds mss_iterate_##name(                          \
      const T* A, T* Y, T* Z, const Schedule<T> s, int n, int batch, T epsilon) {                  \
    iterate<__VA_ARGS__, MPB, BUFFERS>(A, Y, Z, s, n, batch, epsilon);                             \
  }
