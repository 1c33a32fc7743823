#include "qlora/cuda/packed_reads.hpp"

#include "cuda/device.hpp"
#include "qlora/cuda/dequantize.hpp"
#include "qlora/quant/quantize.hpp"
#include "support/catch.hpp"
#include "support/numbers.hpp"

using qlora::Index;
using namespace qlora::cuda;

namespace {

// Every code's value by the tables of two matrices that one kernel reads.
template <class F, class G, int TagF = 0, int TagG = 0>
struct BothTables {
  static constexpr int threads = 64;
  static constexpr const char* name = "both_tables";
  qlora::QuantizedView<F> first;
  qlora::QuantizedView<G> second;
  float* out;  // [2, 16]

  Index blocks() const { return 1; }
  template <class Context>
  QLORA_DEVICE void operator()(Context& thread) const {
    const ValueTable<F, Context, TagF> a(thread, first);
    const ValueTable<G, Context, TagG> b(thread, second);
    const auto code = static_cast<std::uint8_t>(thread.thread());
    if (code >= 16) return;
    thread.store(out + code, a(code));
    thread.store(out + 16 + code, b(code));
  }
};

// Two matrices decoded one after the other, by one block of threads.
template <class F, class G>
struct DequantizeBoth {
  static constexpr int threads = 64;
  static constexpr const char* name = "dequantize_both";
  qlora::QuantizedView<F> first;
  qlora::QuantizedView<G> second;
  float* first_out;
  float* second_out;

  Index blocks() const { return 1; }
  template <class Context>
  QLORA_DEVICE void operator()(Context& thread) const {
    dequantize(thread, first, first_out);
    dequantize(thread, second, second_out);
  }
};

template <class F, class G, int TagF = 0, int TagG = 0>
void require_own_values(const qlora::QuantizedMatrix<F>& first,
                        const qlora::QuantizedMatrix<G>& second) {
  std::vector<float> found(32);
  test::PlacedMatrix<F> a(first, 0);
  test::PlacedMatrix<G> b(second, 0);
  const BothTables<F, G, TagF, TagG> kernel{a.view, b.view, found.data()};
  test::run_kernel(kernel, std::span(found));
  for (std::size_t code = 0; code < 16; ++code) {
    REQUIRE(found[code] == first.view().codebook()(static_cast<std::uint8_t>(code), 0));
    REQUIRE(found[16 + code] == second.view().codebook()(static_cast<std::uint8_t>(code), 0));
  }
}

template <class F, class G>
void require_both_decoded(const qlora::QuantizedMatrix<F>& first,
                          const qlora::QuantizedMatrix<G>& second) {
  test::PlacedMatrix<F> a(first, 0);
  test::PlacedMatrix<G> b(second, 0);
  std::vector<float> x(static_cast<std::size_t>(a.view.size())),
      y(static_cast<std::size_t>(b.view.size()));
  test::run_kernel(DequantizeBoth<F, G>{a.view, b.view, x.data(), y.data()},
                   test::readable(a.codes.numbers), test::readable(b.codes.numbers), std::span(x),
                   std::span(y));
  for (Index i = 0; i < a.view.size(); ++i)
    REQUIRE(x[static_cast<std::size_t>(i)] == first.view()(i / first.cols(), i % first.cols()));
  for (Index i = 0; i < b.view.size(); ++i)
    REQUIRE(y[static_cast<std::size_t>(i)] == second.view()(i / second.cols(), i % second.cols()));
}

}  // namespace

TEST_CASE("two formats in one kernel have a table each") {
  const auto dense = test::normal_matrix(4, 64, 1);
  require_own_values(qlora::quantize<qlora::formats::nf4>(dense),
                     qlora::quantize<qlora::formats::fp4>(dense));
  require_own_values(qlora::quantize<qlora::formats::fp4>(dense),
                     qlora::quantize<qlora::formats::af4>(dense));
}

TEST_CASE("two codebooks of one format that are known at run time have a table each by tags") {
  const auto first = qlora::quantize<qlora::formats::learned4>(test::normal_matrix(4, 64, 1));
  const auto second = qlora::quantize<qlora::formats::learned4>(test::normal_matrix(4, 64, 2));
  require_own_values<qlora::formats::learned4, qlora::formats::learned4, 0, 1>(first, second);
}

TEST_CASE("a kernel may decode one matrix after the other") {
  const auto dense = test::normal_matrix(4, 96, 1);
  require_both_decoded(qlora::quantize<qlora::formats::nf4>(dense),
                       qlora::quantize<qlora::formats::fp4>(dense));
  require_both_decoded(qlora::quantize<qlora::formats::nf4>(dense),
                       qlora::quantize<qlora::formats::nf4>(test::normal_matrix(3, 64, 2)));
  require_both_decoded(qlora::quantize<qlora::formats::learned4>(dense),
                       qlora::quantize<qlora::formats::learned4>(test::normal_matrix(4, 96, 2)));
}
