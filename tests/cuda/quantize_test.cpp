#include "qlora/cuda/quantize.hpp"

#include <cmath>
#include <cstring>

#include "cuda/executor.hpp"
#include "qlora/quant/quantize.hpp"
#include "support/catch.hpp"
#include "support/formats.hpp"
#include "support/law.hpp"
#include "support/numbers.hpp"

using qlora::Index;

namespace {

struct Coded {
  std::vector<std::uint8_t> codes;
  std::vector<float> references;
};

template <class F, class T>
Coded on_the_device(const std::vector<T>& weights, Index blocks, Index block_size) {
  const auto count = static_cast<Index>(weights.size());
  Coded coded{
      std::vector<std::uint8_t>(static_cast<std::size_t>(qlora::packed_bytes(F::code_bits, count)),
                                0xaa),
      std::vector<float>(static_cast<std::size_t>((count + block_size - 1) / block_size), -1.f)};
  test::Executor device(64, blocks);
  device.give(std::span<const T>(weights));
  device.give(std::span<std::uint8_t>(coded.codes));
  device.give(std::span<float>(coded.references));
  device.run([&](auto& thread) {
    qlora::cuda::QuantizeBlocks<F, T>{weights.data(), count, coded.codes.data(),
                                      coded.references.data(), block_size}(thread);
  });
  return coded;
}

template <class T>
std::vector<T> as(const qlora::RowMatrixXf& dense) {
  std::vector<T> values;
  for (Index i = 0; i < dense.size(); ++i) values.push_back(static_cast<T>(dense.data()[i]));
  return values;
}

// The codes of the CPU for weights that were rounded to T, and its float scales.
template <class F, class T>
void compare(const qlora::RowMatrixXf& dense, Index blocks, Index block_size) {
  const std::vector<T> weights = as<T>(dense);
  qlora::RowMatrixXf rounded(1, dense.size());
  for (Index i = 0; i < dense.size(); ++i)
    rounded(0, i) = static_cast<float>(weights[static_cast<std::size_t>(i)]);
  using Plain =
      qlora::BlockFormat<typename F::CodebookType, F::block_size, qlora::FloatScale<float>>;
  const auto w = qlora::quantize<Plain>(rounded, {.block_size = block_size});
  const Coded found = on_the_device<F, T>(weights, blocks, block_size);
  const auto codes = w.codes();
  REQUIRE(std::equal(codes.begin(), codes.end(), found.codes.begin(), found.codes.end()));
  for (std::size_t b = 0; b < found.references.size(); ++b)
    REQUIRE(found.references[b] / Plain::reference_value == w.scale().values[b]);
}

}  // namespace

TEMPLATE_TEST_CASE("codes and absmax are the CPU's, bit for bit, from every type", "",
                   qlora::formats::nf4, test::Nf4Odd, test::Fp4Half, test::Tern32, test::Lopsided16,
                   test::Int8Rows, qlora::formats::nf3, qlora::formats::nf2) {
  test::law("quantize", [](std::uint16_t size, std::uint8_t grid) {
    const auto dense = test::normal_matrix(1, size % 1500, size * 3u);
    compare<TestType, float>(dense, grid % 3 + 1, TestType::block_size);
    compare<TestType, qlora::bfloat16>(dense, grid % 3 + 1, TestType::block_size);
    compare<TestType, qlora::float16>(dense, 1, TestType::block_size);
  });
}

TEST_CASE("block sizes that are known at run time, large and odd ones") {
  const auto dense = test::normal_matrix(1, 5000, 9);
  for (const Index size : {32, 33, 96, 1024, 4096})
    compare<test::Int4Dynamic, float>(dense, 2, size);
}

TEST_CASE("zeros, tiny and huge weights, and a tiny last block") {
  qlora::RowMatrixXf dense = qlora::RowMatrixXf::Zero(1, 200);
  compare<qlora::formats::nf4, float>(dense, 1, 64);
  dense(0, 3) = 3e38f;
  dense(0, 70) = 1e-42f;
  dense(0, 199) = -1e-41f;
  compare<qlora::formats::nf4, float>(dense, 1, 64);
}

TEST_CASE("a block with a number that is not finite has NaN as its absmax") {
  std::vector<float> weights(256, 1.f);
  weights[70] = NAN;
  weights[140] = INFINITY;
  const Coded found = on_the_device<qlora::formats::nf4, float>(weights, 1, 64);
  REQUIRE(found.references[0] == 1);
  REQUIRE(std::isnan(found.references[1]));
  REQUIRE(std::isnan(found.references[2]));
  REQUIRE(found.references[3] == 1);
}

TEST_CASE("double quantization codes the scales as the CPU does") {
  for (const Index size : {1, 64, 64 * 256, 64 * 700 + 5}) {
    const auto dense = test::normal_matrix(1, size, 11, 0.02);
    const auto w = qlora::quantize<qlora::formats::nf4_dq>(dense);
    const Coded coded = on_the_device<qlora::formats::nf4, float>(as<float>(dense), 2, 64);
    const auto blocks = static_cast<Index>(coded.references.size());
    std::vector<float> scales = coded.references;
    for (float& scale : scales) scale /= qlora::formats::nf4_dq::reference_value;
    const float mean = qlora::mean_of_scales(scales.data(), blocks);
    REQUIRE(mean == w.scale().offset);
    std::vector<std::uint8_t> codes(coded.references.size());
    std::vector<float> inner(static_cast<std::size_t>((blocks + 255) / 256));
    test::Executor device(128, 2);
    device.give(std::span<const float>(coded.references));
    device.give(std::span<std::uint8_t>(codes));
    device.give(std::span<float>(inner));
    device.run([&](auto& thread) {
      qlora::cuda::QuantizeScales<qlora::formats::nf4_dq>{coded.references.data(), blocks, mean,
                                                          codes.data(), inner.data()}(thread);
    });
    REQUIRE(codes == w.scale().codes);
    for (std::size_t b = 0; b < inner.size(); ++b)
      REQUIRE(inner[b] / qlora::largest_value<qlora::Dynamic8> == w.scale().inner.values[b]);
  }
}

TEST_CASE("scales are stored in their type") {
  const std::vector<float> references{1.f, 0.3f, 1e-3f};
  std::vector<qlora::float16> scales(3);
  test::Executor device(32, 1);
  device.give(std::span<const float>(references));
  device.give(std::span<qlora::float16>(scales));
  device.run([&](auto& thread) {
    qlora::cuda::StoreScales<qlora::float16>{references.data(), 3, test::Fp4Half::reference_value,
                                             scales.data()}(thread);
  });
  for (std::size_t i = 0; i < 3; ++i)
    REQUIRE(static_cast<float>(scales[i]) ==
            static_cast<float>(qlora::float16(references[i] / test::Fp4Half::reference_value)));
}
