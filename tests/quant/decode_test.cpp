// The vectors' path to the same bits as one weight after the other.
#include "qlora/quant/decode.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <vector>

#include "qlora/quant/dequantize.hpp"
#include "qlora/quant/named_formats.hpp"
#include "qlora/quant/quantize.hpp"
#include "support/formats.hpp"
#include "support/law.hpp"
#include "support/numbers.hpp"

using qlora::Index;
using qlora::RowMatrixXf;

namespace {

// Memory that ends where a page begins that can't be touched.
class Guarded {
 public:
  explicit Guarded(std::size_t size) : size_(size) {
    const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    whole_ = (size + page - 1) / page * page;
    base_ = static_cast<std::uint8_t*>(
        ::mmap(nullptr, whole_ + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    REQUIRE(base_ != MAP_FAILED);
    REQUIRE(::mprotect(base_ + whole_, page, PROT_NONE) == 0);
    page_ = page;
  }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;
  ~Guarded() { ::munmap(base_, whole_ + page_); }
  std::uint8_t* data() { return base_ + whole_ - size_; }

 private:
  std::size_t size_, whole_ = 0, page_ = 0;
  std::uint8_t* base_ = nullptr;
};

template <class F>
void check_ranges(const qlora::QuantizedMatrix<F>& w, std::uint64_t seed) {
  const auto view = w.view();
  RowMatrixXf one(w.rows(), w.cols());
  for (Index r = 0; r < w.rows(); ++r)
    for (Index c = 0; c < w.cols(); ++c) one(r, c) = view(r, c);
  REQUIRE(test::same_bits(qlora::dequantize(w), one));
  for (std::uint64_t i = 0; i < 40; ++i) {
    const auto size = static_cast<std::uint64_t>(w.rows() * w.cols());
    const auto begin = static_cast<Index>(qlora::uniform_below(seed, 2 * i, size));
    const auto count = static_cast<Index>(
        qlora::uniform_below(seed, 2 * i + 1, size - static_cast<std::uint64_t>(begin) + 1));
    std::vector<float> out(static_cast<std::size_t>(count) + 1, 7.f);
    view.decode_range(begin, count, out.data());
    REQUIRE(test::same_bits(out.data(), one.data() + begin, count));
    REQUIRE(out.back() == 7.f);
  }
}

using LearnedByRow =
    qlora::BlockFormat<qlora::Learned<4, qlora::OneTable::per_row>, 48, qlora::FloatScale<float>>;
using Five = qlora::BlockFormat<qlora::Int<5>, 24, qlora::FloatScale<float>>;
using Six = qlora::BlockFormat<qlora::NormalFloat<6>, 20, qlora::FloatScale<float>>;
using Seven = qlora::BlockFormat<qlora::FullInt<7>, 64, qlora::FloatScale<float>>;

}  // namespace

TEST_CASE("any range of any named format decodes to the bits of its weights one by one") {
  test::for_each_format([&]<class F>(const std::string& name) {
    INFO(name);
    check_ranges(qlora::quantize<F>(test::normal_matrix(7, 131, 1)), 3);
    check_ranges(qlora::quantize<F>(test::normal_matrix(3, 256, 2)), 4);
  });
}

TEMPLATE_TEST_CASE("and of other widths, block sizes and tables", "", QLORA_TEST_FORMATS,
                   LearnedByRow, Five, Six, Seven) {
  check_ranges(qlora::quantize<TestType>(test::normal_matrix(5, 97, 1)), 5);
}

TEMPLATE_TEST_CASE("nothing is read or written past the ends", "", qlora::formats::nf4,
                   qlora::formats::nf3, qlora::formats::nf2, qlora::formats::nf8,
                   qlora::formats::nvfp4, qlora::formats::q4_1, qlora::formats::q5_0,
                   qlora::formats::q5_1, Six) {
  for (const Index cols : {1, 15, 16, 31, 32, 33, 64, 100}) {
    const auto w = qlora::quantize<TestType>(test::normal_matrix(3, cols, 6));
    Guarded codes(w.codes().size()), out(static_cast<std::size_t>(3 * cols) * sizeof(float));
    std::memcpy(codes.data(), w.codes().data(), w.codes().size());
    const qlora::QuantizedView<TestType> view(codes.data(), w.scale().view(), 3, cols,
                                              w.block_size());
    auto* floats = reinterpret_cast<float*>(out.data());
    view.decode_range(0, 3 * cols, floats);
    REQUIRE(test::same_bits(floats, qlora::dequantize(w).data(), 3 * cols));
    view.decode_range(2 * cols, cols, floats + 2 * cols);
  }
}

#if QLORA_HAS_VECTORS
template <int Bits>
void require_spread(std::uint64_t packed) {
  packed &= (std::uint64_t{1} << (8 * Bits)) - 1;
  const std::uint64_t spread = qlora::simd::spread_codes<Bits>(packed);
  std::uint8_t bytes[8];
  std::memcpy(bytes, &spread, 8);
  for (int k = 0; k < 8; ++k)
    RC_ASSERT(bytes[k] == ((packed >> ((7 - k) * Bits)) & ((1u << Bits) - 1)));
}

TEST_CASE("codes of 2 to 7 bits spread to bytes in their order") {
  test::law("spread", [](std::uint64_t packed) {
    require_spread<2>(packed);
    require_spread<3>(packed);
    require_spread<5>(packed);
    require_spread<6>(packed);
    require_spread<7>(packed);
  });
}
#endif

namespace own {

// A user's own kind of scale: the code value's square keeps its sign.
struct Curved {
  float size = 0;
};
constexpr float scaled(float value, Curved scale) {
  return (value < 0 ? -value : value) * value * scale.size;
}

struct CurvedScale {
  static constexpr double bits_per_scale = 32;
  struct View {
    const float* sizes = nullptr;
    Curved operator()(Index block) const { return {sizes[block]}; }
  };
  struct Storage {
    std::vector<float> sizes;
    View view() const { return {sizes.data()}; }
    Index size() const { return static_cast<Index>(sizes.size()); }
    Index bytes() const { return 4 * size(); }
  };
  static Storage store(std::span<const float> references, float value = 1) {
    Storage storage;
    for (const float reference : references) storage.sizes.push_back(reference / value);
    return storage;
  }
};

}  // namespace own

TEMPLATE_TEST_CASE("a scale of the user's own kind decodes by its own rule on every path", "",
                   qlora::NF4, qlora::NF2, qlora::NF8) {
  using Format = qlora::BlockFormat<TestType, 16, own::CurvedScale>;
  const auto w = qlora::quantize<Format>(test::normal_matrix(3, 50, 8));
  const qlora::RowMatrixXf back = qlora::dequantize(w);
  for (Index row = 0; row < 3; ++row)
    for (Index col = 0; col < 50; ++col) REQUIRE(w.view()(row, col) == back(row, col));
}
