/// Values of codes learned from the weights that they will stand for.
#pragma once

#include <algorithm>
#include <vector>

#include "qlora/codebook/learned.hpp"
#include "qlora/core/config.hpp"
#include "qlora/core/parallel.hpp"
#include "qlora/quant/apply_scale.hpp"
#include "qlora/quant/block_format.hpp"

namespace qlora::inline QLORA_ABI::quant_detail {

/// The values of least squared error for weights whose scales are stored: k-means of the weights in
/// units of their scales. The pieces that are summed do not depend on the number of threads.
template <class F, class ScaleView>
typename F::CodebookType::Storage learn(const float* weights, Index rows, Index cols,
                                        Index block_size, const ScaleView& scale) {
  using Code = typename F::CodebookType;
  constexpr std::size_t bins = Code::by_row ? 1024 : 8192;
  const auto add = [&](WeightHistogram& histogram, Index begin, Index end) {
    for (Index i = begin; i < end; ++i) {
      const float s = scaled(1.f, scale(i / block_size));
      if (!is_finite(s)) continue;  // quantize refuses what it decodes to
      // A scale that came back far too small must not make the sums infinite.
      const float position = std::clamp(unscaled(weights[i], s), -1e6f, 1e6f);
      histogram.add(position, static_cast<double>(s) * static_cast<double>(s));
    }
  };
  typename Code::Storage codebook;
  if constexpr (Code::by_row) {
    codebook.values.resize(static_cast<std::size_t>(rows * Code::count));
    parallel_for(rows, [&](Index row) {
      WeightHistogram histogram(bins);
      add(histogram, row * cols, (row + 1) * cols);
      const auto values = k_means(histogram.points(), static_cast<std::size_t>(Code::count));
      std::copy(values.begin(), values.end(), codebook.values.begin() + row * Code::count);
    });
  } else {
    constexpr Index pieces = 16;
    std::vector<WeightHistogram> histograms(pieces, WeightHistogram(bins));
    const Index count = rows * cols, piece = (count + pieces - 1) / pieces;
    parallel_for(pieces, [&](Index p) {
      add(histograms[static_cast<std::size_t>(p)], std::min(count, p * piece),
          std::min(count, (p + 1) * piece));
    });
    for (std::size_t p = 1; p < pieces; ++p) histograms[0].add(histograms[p]);
    codebook.values = k_means(histograms[0].points(), static_cast<std::size_t>(Code::count));
  }
  return codebook;
}

}  // namespace qlora::inline QLORA_ABI::quant_detail
