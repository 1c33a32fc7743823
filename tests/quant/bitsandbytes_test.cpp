// Bit for bit with bitsandbytes: golden vectors of its CPU backend, made by tests/golden.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "qlora/io/sha256.hpp"
#include "qlora/quant/dequantize.hpp"
#include "qlora/quant/named_formats.hpp"
#include "qlora/quant/quantize.hpp"
#include "support/catch.hpp"
#include "support/golden.hpp"
#include "support/numbers.hpp"

using qlora::bfloat16;
using qlora::float16;
using qlora::Index;
using qlora::RowMatrixXf;

namespace {

template <class C, class S>
using AnySize = qlora::BlockFormat<C, qlora::any_size, S>;

template <class T>
std::string short_hash(const T* values, std::size_t count) {
  return qlora::sha256(std::as_bytes(std::span(values, count))).substr(0, 16);
}

// Of a matrix's bytes with positive zeros: bitsandbytes gives the zero of FP4's code 8 its sign in
// full blocks and drops it in short ones.
template <class T>
std::string hash_of(qlora::RowMatrix<T> values) {
  for (Index i = 0; i < values.size(); ++i)
    if (static_cast<float>(values.data()[i]) == 0) values.data()[i] = T(0.f);
  return short_hash(values.data(), static_cast<std::size_t>(values.size()));
}

std::uint64_t mixed(std::uint64_t seed, std::uint64_t i) {
  std::uint64_t z = seed + (i + 1) * 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

// The inputs of tests/golden/make_golden.py.
template <class C>
RowMatrixXf drawn(const std::string& kind, Index count, std::uint64_t seed) {
  std::vector<float> middle(std::begin(qlora::thresholds<C>.at), std::end(qlora::thresholds<C>.at));
  RowMatrixXf x(1, count);
  for (Index i = 0; i < count; ++i) {
    const std::uint64_t h = mixed(seed, static_cast<std::uint64_t>(i));
    const auto part = [&](int shift) { return static_cast<double>((h >> shift) & 0x1FFFFF); };
    double value =
        ((part(0) + part(21) + part(42)) - 3 * std::ldexp(1.0, 20)) * std::ldexp(1.0, -21);
    if (kind == "wide") value = std::ldexp(value, static_cast<int>(h % 60) - 40);
    if (kind == "tiny") value = std::ldexp(value, -128);
    if (kind == "huge") value = std::ldexp(value, 126);
    if (kind == "zeros" && ((h >> 20) % 4 != 0 || i < count / 3)) value = 0;
    if (kind == "ties")
      value = i % 64 == 0 ? (h % 2 == 0 ? 1 : -1) : static_cast<double>(middle[h % middle.size()]);
    x(0, i) = static_cast<float>(value);
  }
  return x;
}

template <class T>
RowMatrixXf rounded(const RowMatrixXf& x) {
  RowMatrixXf result(x.rows(), x.cols());
  for (Index i = 0; i < x.size(); ++i) result.data()[i] = static_cast<float>(T(x.data()[i]));
  return result;
}

template <class C>
void check_plain(const nlohmann::json& each) {
  const auto text = [&](const char* key) { return each[key].get<std::string>(); };
  RowMatrixXf x =
      drawn<C>(text("kind"), each["count"].get<Index>(), each["seed"].get<std::uint64_t>());
  if (text("input") == "bfloat16") x = rounded<bfloat16>(x);
  if (text("input") == "float16") x = rounded<float16>(x);
  const auto w = qlora::quantize<AnySize<C, qlora::FloatScale<float>>>(
      x, {.block_size = each["block_size"].get<Index>()});
  REQUIRE(short_hash(w.codes().data(), w.codes().size()) == text("packed"));
  REQUIRE(short_hash(w.scale().values.data(), w.scale().values.size()) == text("absmax"));
  REQUIRE(hash_of(qlora::dequantize(w)) == each["decoded"]["float32"]);
  REQUIRE(hash_of(qlora::dequantize<bfloat16>(w)) == each["decoded"]["bfloat16"]);
  REQUIRE(hash_of(qlora::dequantize<float16>(w)) == each["decoded"]["float16"]);
}

template <class C>
void check_nested(const nlohmann::json& each) {
  using F = AnySize<C, qlora::DoubleQuant<>>;
  const auto block_size = each["block_size"].get<Index>();
  const RowMatrixXf x =
      0.0625f * drawn<C>("normal", each["count"].get<Index>(), each["seed"].get<std::uint64_t>());
  const auto w = qlora::quantize<F>(x, {.block_size = block_size});
  REQUIRE(short_hash(w.codes().data(), w.codes().size()) == each["packed"]);

  // Its 8-bit codes go through a coarser table than ours; the offset's sum runs in another order.
  const auto codes = each["absmax"].get<std::vector<std::uint8_t>>();
  REQUIRE(w.scale().codes.size() == codes.size());
  Index same = 0;
  for (std::size_t i = 0; i < codes.size(); ++i) same += codes[i] == w.scale().codes[i] ? 1 : 0;
  REQUIRE(static_cast<double>(same) >= 0.995 * static_cast<double>(codes.size()));
  const auto offset = __builtin_bit_cast(float, each["offset"].get<std::uint32_t>());
  REQUIRE(std::abs(w.scale().offset - offset) < 1e-5f);

  // Its own bytes decode to its own values.
  qlora::DoubleQuant<>::Storage theirs;
  theirs.codes = codes;
  theirs.inner.values = test::floats_of_bits(each["nested_absmax"]);
  theirs.offset = offset;
  const qlora::QuantizedMatrix<F> read(w.codes(), theirs, 1, x.cols(), block_size);
  REQUIRE(hash_of(qlora::dequantize(read)) == each["decoded"]);
}

void check_all(const nlohmann::json& cases, auto nf4, auto fp4) {
  for (const auto& each : cases) {
    INFO(each.dump().substr(0, 200));
    if (each["format"] == "nf4") {
      nf4(each);
    } else {
      fp4(each);
    }
  }
}

}  // namespace

TEST_CASE("codes, scales and decoded weights are bitsandbytes' bit for bit in every type") {
  const auto golden = test::golden("blockwise.json");
  REQUIRE(golden["plain"].size() == 216);
  check_all(golden["plain"], check_plain<qlora::NF4>, check_plain<qlora::FP4>);
}

TEST_CASE("nested: the codes are bitsandbytes', and its bytes decode to its values bit for bit") {
  const auto golden = test::golden("blockwise.json");
  REQUIRE(golden["nested"].size() == 8);
  check_all(golden["nested"], check_nested<qlora::NF4>, check_nested<qlora::FP4>);
}
