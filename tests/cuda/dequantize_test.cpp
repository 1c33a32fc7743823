#include "qlora/cuda/dequantize.hpp"

#include <cstring>

#include "cuda/executor.hpp"
#include "qlora/quant/quantize.hpp"
#include "support/catch.hpp"
#include "support/formats.hpp"
#include "support/law.hpp"
#include "support/numbers.hpp"

using qlora::Index;

namespace {

// The kernel's output for codes and output at an offset from their natural alignment.
template <class F, class T>
std::vector<T> on_the_device(const qlora::QuantizedMatrix<F>& w, Index blocks, std::size_t offset) {
  const auto codes = w.codes();
  std::vector<std::uint8_t> moved(codes.size() + offset);
  std::copy(codes.begin(), codes.end(), moved.begin() + static_cast<Index>(offset));
  std::vector<T> out(static_cast<std::size_t>(w.rows() * w.cols()) + offset, T(7.f));
  const auto view = w.view();
  const qlora::QuantizedView<F> there(moved.data() + offset, view.scale(), view.rows(), view.cols(),
                                      view.block_size(), view.codebook());
  test::Executor device(64, blocks);
  device.give(std::span<const std::uint8_t>(moved).subspan(offset));
  device.give(std::span<T>(out).subspan(offset));
  device.run([&](auto& thread) { qlora::cuda::dequantize(thread, there, out.data() + offset); });
  for (std::size_t i = 0; i < offset; ++i) REQUIRE(static_cast<float>(out[i]) == 7.f);
  return {out.begin() + static_cast<Index>(offset), out.end()};
}

template <class F, class T>
void compare(const qlora::QuantizedMatrix<F>& w, Index blocks, std::size_t offset) {
  const std::vector<T> found = on_the_device<F, T>(w, blocks, offset);
  const auto view = w.view();
  for (Index i = 0; i < view.size(); ++i) {
    const T expected = static_cast<T>(view(i / view.cols(), i % view.cols()));
    REQUIRE(std::memcmp(&expected, &found[static_cast<std::size_t>(i)], sizeof(T)) == 0);
  }
}

}  // namespace

TEMPLATE_TEST_CASE("weights are the CPU's, bit for bit, in every type and at any place", "",
                   QLORA_TEST_FORMATS, qlora::formats::learned4, qlora::formats::nf3,
                   qlora::formats::nf2) {
  test::law("dequantize", [](std::uint8_t rows, std::uint8_t cols, std::uint8_t place) {
    const auto dense = test::normal_matrix(rows % 7, cols % 150, rows * 256u + cols);
    const auto w = qlora::quantize<TestType>(dense);
    compare<TestType, float>(w, place % 3 + 1, place % 5);
    compare<TestType, qlora::bfloat16>(w, place % 3 + 1, place % 2);
    compare<TestType, qlora::float16>(w, 1, 0);
  });
}

TEST_CASE("a block size that is known at run time") {
  const auto dense = test::normal_matrix(5, 77, 3);
  for (const Index size : {32, 64, 12, 7}) {
    const auto w = qlora::quantize<test::Int4Dynamic>(dense, {.block_size = size});
    compare<test::Int4Dynamic, float>(w, 2, 0);
  }
}
