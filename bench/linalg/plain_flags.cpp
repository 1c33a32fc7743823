// Decoding and products of a [1536, 1536] weight in nf4-dq beside Eigen's dense products, on one
// thread and by its processor time; bench/linalg/plain_flags.py compiles it with few flags.
//
// A line is: what, tokens, milliseconds packed, milliseconds of Eigen's dense product (0 for
// decoding).
#include <time.h>

#include <algorithm>
#include <cstdio>

#include "qlora/linalg/gemm.hpp"
#include "qlora/quant/dequantize.hpp"
#include "qlora/quant/named_formats.hpp"
#include "qlora/quant/quantize.hpp"

using qlora::Index;
using qlora::RowMatrixXf;

// The least milliseconds of some runs, so that other jobs on the machine count little.
template <class Body>
double least(Body&& body) {
  const auto now = [] {
    timespec t{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return static_cast<double>(t.tv_sec) * 1e3 + static_cast<double>(t.tv_nsec) * 1e-6;
  };
  double best = 1e30;
  for (int run = 0; run < 25; ++run) {
    const double start = now();
    body();
    best = std::min(best, now() - start);
  }
  return best;
}

int main() {
  std::printf("vectors %d %d\n", QLORA_HAS_VECTORS, QLORA_HAS_RUNTIME_AVX2);
  const Index size = 1536;
  const RowMatrixXf dense = RowMatrixXf::Random(size, size);
  const auto packed = qlora::quantize<qlora::formats::nf4_dq>(dense);
  const auto view = packed.view();
  RowMatrixXf back(size, size);
  std::printf("decode 0 %.4f 0\n", least([&] { view.decode_range(0, back.size(), back.data()); }));
  for (const Index tokens : {1, 4, 16, 64}) {
    const RowMatrixXf x = RowMatrixXf::Random(tokens, size);
    RowMatrixXf y(tokens, size), z(tokens, size);
    const double forward = least([&] { qlora::forward_product<float>(x, view, y); });
    const double backward = least([&] { qlora::backward_product<float>(x, view, y); });
    const double dense_forward = least([&] {
      if (tokens == 1) {
        z.transpose().noalias() = dense * x.transpose();
      } else {
        z.noalias() = x * dense.transpose();
      }
    });
    const double dense_backward = least([&] { z.noalias() = x * dense; });
    std::printf("y %td %.4f %.4f\n", tokens, forward, dense_forward);
    std::printf("dx %td %.4f %.4f\n", tokens, backward, dense_backward);
  }
}
