// The gradient of a root from the root alone, in one launch: Y S + S Y = R for every matrix, by the
// sign iteration of the block matrix [[B, C], [0, -B]] (Lin & Maji, BMVC 2017), with the factors of
// minimax.py: B = Y / c, C = R / c;  for each factor h with H, K the diagonal and corner of h(M²):
// C = sym(B K + C H),  B = B H;  S = C / 2.  M² = [[B², D], [0, B²]] with D = B C - C B.
//
// For the inverse root Z = Y^{-1}, dZ = -Z dY Z, so R = -Z G Z. B, C, B² and H are symmetric and D and
// K skew, to the last bit; that is stable here, other than in the coupled iteration.
#include "iterate.cuh"

template <class E>
__device__ constexpr int lyapunov_numbers() {  // of shared memory, of one matrix
  return 4 * E::MATRIX + E::SCRATCH;
}

template <class E, int MPB, typename T = typename E::Number>
__device__ __forceinline__ void lyapunov(const T* __restrict__ Yin, const T* __restrict__ Zin,
                                         const T* __restrict__ G, T* __restrict__ S, const Schedule<T>& s,
                                         int n, int batch, T epsilon) {
  using Tile = typename E::Tile;
  constexpr int R = E::R, LD = E::LD, THREADS = E::THREADS, EDGE = E::EDGE;
  MSS_DYNAMIC_SHARED(T, shared);
  const int local = threadIdx.x / THREADS, t = threadIdx.x % THREADS;
  const int m = blockIdx.x * MPB + local;
  const bool live = m < batch;
  const long long at = (long long)(live ? m : 0) * n * n;
  T* const B = shared + local * lyapunov_numbers<E>();
  T* const C = B + E::MATRIX;
  T* const U = C + E::MATRIX;  // B², then H
  T* const D = U + E::MATRIX;  // B C - C B, then K
  T* const scratch = D + E::MATRIX;
  const int worker = E::worker(t);
  const bool full = worker < EDGE * EDGE, first_half = worker < E::UPPER;
  const int wi = worker / EDGE * R, wj = worker % EDGE * R;
  int i0, j0;
  upper_tile<EDGE>(first_half ? worker : worker - E::UPPER, i0, j0);
  i0 *= R;
  j0 *= R;

  T root_p, inverse_p;
  power_of_four(largest_diagonal(Yin + at, n), root_p, inverse_p);
  load<E::SIZE, E::THREADS>(Yin + at, B, t, n, inverse_p, T(1));
  if (Zin) {  // C = -Z G Z / p, by way of U = Z and D = G
    load<E::SIZE, E::THREADS>(Zin + at, U, t, n, T(1), T(0));
    load<E::SIZE, E::THREADS>(G + at, D, t, n, inverse_p, T(0));
    MSS_BARRIER(INVERSE_LOADED);
    if (full) {
      Tile zg;
      E::add(U, D, MSS_SYMMETRIC, wi, wj, zg);
      E::put(C, wi, wj, zg);
    }
    MSS_BARRIER(INVERSE_HALF);
    Tile zgz;
    if (first_half) E::subtract(C, U, MSS_SYMMETRIC, i0, j0, zgz);
    MSS_BARRIER(INVERSE_READ);
    if (first_half) put_mirrored<E>(C, i0, j0, T(1), zgz);
  } else {
    load<E::SIZE, E::THREADS>(G + at, C, t, n, inverse_p, T(0));
  }
  MSS_BARRIER(GRADIENT_LOADED);

  Tile square;  // B² as it is, which says how to scale B
  if (first_half) E::add(B, B, MSS_SYMMETRIC, i0, j0, square);
  if (first_half) put_mirrored<E>(U, i0, j0, T(1), square);
  MSS_BARRIER(SQUARE_UNSCALED);
  const T bound = upper_bound<E>(U, scratch, t, n, s.norm, epsilon);
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
    // of this worker: U is symmetric, D is skew, and only U's polynomial has a constant
    T* const own = first_half ? U : D;
    const T mirror = first_half ? T(1) : T(-1), one = first_half ? h[0] : T(0);
    Tile tile;
    if (first_half) {
      E::add(B, B, MSS_SYMMETRIC, i0, j0, tile);
    } else {
      E::add(B, C, MSS_SYMMETRIC, i0, j0, tile);
      E::subtract(C, B, MSS_SYMMETRIC, i0, j0, tile);
    }
    if (s.terms[k] == 2)
      E::each(tile, [&](int x, int y, T& value) { value = fma(h[1], value, i0 + x == j0 + y ? one : T(0)); });
    // nobody reads U or D any more: the last who did wrote B and C since, behind a barrier
    put_mirrored<E>(own, i0, j0, mirror, tile);
    MSS_BARRIER(SQUARE);
    if (s.terms[k] > 2) {
      Tile more;
      if (first_half) {
        E::add(U, U, MSS_SYMMETRIC, i0, j0, more);
      } else {
        E::add(U, D, MSS_SKEW, i0, j0, more);
        E::add(D, U, MSS_SYMMETRIC, i0, j0, more);
      }
      MSS_BARRIER(SQUARE_READ);
      E::each(more, [&](int x, int y, T& value) {
        if (i0 == j0 && x > y) return;  // its mirror image's, which another thread may write by now
        const T linear = fma(h[1], own[(i0 + x) * LD + j0 + y], i0 + x == j0 + y ? one : T(0));
        value = fma(h[2], value, linear);
      });
      put_mirrored<E>(own, i0, j0, mirror, more);
      MSS_BARRIER(POLYNOMIAL);
    }
    Tile next;  // B, and twice C
    if (first_half) {
      if (!last) E::add(B, U, MSS_SYMMETRIC, i0, j0, next);
    } else {
      E::add(B, D, MSS_SKEW, i0, j0, next);
      E::subtract(D, B, MSS_SYMMETRIC, i0, j0, next);
      E::add(C, U, MSS_SYMMETRIC, i0, j0, next);
      E::add(U, C, MSS_SYMMETRIC, i0, j0, next);
      E::each(next, [&](int, int, T& value) { value *= T(0.5); });
    }
    MSS_BARRIER(STEP_READ);
    if (!first_half || !last) put_mirrored<E>(first_half ? B : C, i0, j0, T(1), next);
    MSS_BARRIER(STEP);
  }

  if (!live) return;
  for (int e = t; e < n * n; e += THREADS)
    S[(long long)m * n * n + e] = T(0.5) * C[e / n * LD + e % n];
}

// MSS_LYAPUNOV(name, bounds, number, matrices of a block, engine)
#define MSS_LYAPUNOV(name, bounds, T, MPB, ...)                                                    \
  extern "C" __global__ void __launch_bounds__ bounds mss_lyapunov_##name(                         \
      const T* Y, const T* Z, const T* G, T* S, const Schedule<T> s, int n, int batch, T epsilon) { \
    lyapunov<__VA_ARGS__, MPB>(Y, Z, G, S, s, n, batch, epsilon);                                  \
  }
