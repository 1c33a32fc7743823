#include "qlora/cuda/tiles.hpp"

#include <vector>

#include "cuda/device.hpp"
#include "qlora/quant/named_formats.hpp"

using qlora::bfloat16;
using qlora::Index;
using qlora::Side;
using namespace qlora::cuda;

namespace {

QLORA_DEVICE float number(std::uint32_t pair, int which) {
  return static_cast<float>(bfloat16::from_bits(static_cast<std::uint16_t>(pair >> (16 * which))));
}

// Rows of x through the ring of an ActivationTile, each to where it came from: out [16, 32 steps].
template <class X, Reads How>
struct CopyActivations {
  static constexpr int threads = 128, rows = 16, slots = 3;
  static constexpr const char* name = "copy_activations";
  const X* x;
  Index x_rows, cols;
  float* out;
  int steps;

  Index blocks() const { return 1; }
  template <class Context>
  QLORA_DEVICE void operator()(Context& thread) const {
    ActivationTile<X, rows, slots, threads, How, Context> tile(thread, x, x_rows, cols, 0);
    for (int s = 0; s < steps; ++s) {
      tile.stage(thread);
      thread.commit_copies();
      thread.template wait_copies<0>();
      thread.barrier();
      if (thread.warp() < 2) {
        Fragment<2> b[2];
        tile.fragments(thread, s % slots, 8 * thread.warp(), b);
        const int g = thread.lane() / 4, t = thread.lane() % 4;
        for (int step = 0; step < 2; ++step)
          for (int i = 0; i < 4; ++i)
            thread.store(out + (8 * thread.warp() + g) * 32 * steps + 32 * s + 8 * t + 4 * step + i,
                         number(b[step].at[i / 2], i % 2));
      }
      thread.barrier();
    }
  }
};

template <class X, Reads How>
void compare_activations(Index rows, Index cols) {
  const int steps = static_cast<int>((cols + 31) / 32);
  auto x = test::placed<X>(test::normal_matrix(rows, cols, 3));
  qlora::RowMatrix<float> out(16, 32 * steps);
  test::run_kernel(CopyActivations<X, How>{x.data(), rows, cols, out.data(), steps},
                   std::as_const(x).span(), test::writable(out));
  for (Index r = 0; r < out.rows(); ++r)
    for (Index c = 0; c < out.cols(); ++c) {
      INFO("row " << r << ", column " << c);
      REQUIRE(out(r, c) ==
              (r < rows && c < cols
                   ? static_cast<float>(bfloat16(static_cast<float>(x.data()[r * cols + c])))
                   : 0.f));
    }
}

// 64 outputs' weights through a WeightTile, each to [output, place of the reduction].
template <class F, Side Which, Reads How>
struct CopyWeights {
  static constexpr int outputs = 64, threads = outputs * reduction / 16;
  static constexpr const char* name = "copy_weights";
  qlora::QuantizedView<F> w;
  float* out;
  int steps;

  Index blocks() const { return 1; }
  template <class Context>
  QLORA_DEVICE void operator()(Context& thread) const {
    using Tile = WeightTile<F, bfloat16, outputs, threads, Which, How, Context>;
    Tile tile(thread, w, 0);
    const int g = thread.lane() / 4, t = thread.lane() % 4, part = thread.warp() / 2;
    for (int s = 0; s < steps; ++s) {
      tile.fetch(thread, s * reduction);
      tile.decode(thread, s % 2);
      thread.barrier();
      for (int i = 0; thread.warp() % 2 == 0 && i < 2; ++i) {
        Fragment<4> a[2];
        tile.fragments(thread, s % 2, part, i, a);
        // In turn: the first output's pair of places, the second's, and both again two places on.
        for (int step = 0; step < 2; ++step)
          for (int k = 0; k < 8; ++k) {
            const int output = Tile::output(part, g, 2 * i + k / 2 % 2);
            const int place = 8 * t + 4 * step + k / 4 * 2 + k % 2;
            thread.store(out + output * 32 * steps + 32 * s + place,
                         number(a[step].at[k / 2], k % 2));
          }
      }
      thread.barrier();
    }
  }
};

template <class F, Side Which, Reads How>
void compare_weights(Index rows, Index cols) {
  const auto w = qlora::quantize<F>(test::normal_matrix(rows, cols, 5));
  const test::PlacedMatrix<F> there(w, 0);
  const Index length = Which == Side::forward ? cols : rows;
  const int steps = static_cast<int>((length + 31) / 32);
  qlora::RowMatrix<float> out = qlora::RowMatrix<float>::Constant(64, 32 * steps, 77.f);
  test::run_kernel(CopyWeights<F, Which, How>{there.view, out.data(), steps}, there.codes.span(),
                   test::writable(out));
  for (Index o = 0; o < 64; ++o)
    for (Index k = 0; k < 32 * steps; ++k) {
      const Index row = Which == Side::forward ? o : k, col = Which == Side::forward ? k : o;
      INFO("output " << o << ", place " << k);
      REQUIRE(
          out(o, k) ==
          (row < rows && col < cols ? static_cast<float>(bfloat16(there.view(row, col))) : 0.f));
    }
}

}  // namespace

TEST_CASE("activations come through the ring as they are, rounded, zeros beyond the end") {
  compare_activations<bfloat16, Reads::words>(16, 128);
  compare_activations<bfloat16, Reads::words>(13, 40);
  compare_activations<float, Reads::words>(5, 136);
  compare_activations<bfloat16, Reads::weights>(9, 43);
  compare_activations<float, Reads::weights>(16, 7);
}

TEST_CASE("each weight reaches the output and the place that it belongs to, on both sides") {
  using qlora::formats::nf4_dq;
  compare_weights<nf4_dq, Side::forward, Reads::words>(64, 128);
  compare_weights<nf4_dq, Side::forward, Reads::words>(50, 64);
  compare_weights<nf4_dq, Side::backward, Reads::words>(40, 64);
  compare_weights<nf4_dq, Side::forward, Reads::weights>(50, 43);
  compare_weights<nf4_dq, Side::backward, Reads::weights>(37, 43);
  compare_weights<qlora::formats::q4_1, Side::backward, Reads::words>(64, 64);
  compare_weights<qlora::formats::mxfp4, Side::forward, Reads::words>(33, 64);
}
