// The formats that tests of quant and linalg run through.
#pragma once

#include <array>
#include <string>

#include "qlora/quant/quantized_view.hpp"
#include "qlora/quant/visit_format.hpp"

namespace test {

// A user's own data type: three values, two bits, half-precision scales.
struct Ternary {
  static constexpr std::array values{-1.f, 0.f, 1.f};
};
// Unsorted, of another largest value than 1, three bits.
struct Lopsided {
  static constexpr std::array values{0.f, 5.f, -2.f, 1.f, -0.5f};
};

using Nf4Odd = qlora::BlockFormat<qlora::NF4, 7, qlora::FloatScale<float>>;
using Nf4Dq2 = qlora::BlockFormat<
    qlora::NF4, 64,
    qlora::DoubleQuant<qlora::Dynamic8, 256, qlora::DoubleQuant<qlora::Dynamic8, 16>>>;
using Fp4Half = qlora::BlockFormat<qlora::FP4, 32, qlora::FloatScale<qlora::float16>>;
using Int4Dynamic =
    qlora::BlockFormat<qlora::Int4, qlora::any_size, qlora::FloatScale<qlora::bfloat16>>;
using Tern32 = qlora::BlockFormat<Ternary, 32, qlora::FloatScale<qlora::float16>>;
using Lopsided16 = qlora::BlockFormat<Lopsided, 16, qlora::FloatScale<float>>;
using Int8Rows = qlora::BlockFormat<qlora::Int<8>, 128, qlora::FloatScale<float>>;

// For products and views.
#define QLORA_TEST_FORMATS                                                                \
  qlora::formats::nf4, qlora::formats::nf4_dq, test::Nf4Odd, test::Nf4Dq2, test::Fp4Half, \
      test::Tern32, test::Lopsided16, test::Int8Rows, qlora::formats::bof4_s,             \
      qlora::formats::mxfp4, qlora::formats::nvfp4, qlora::formats::q4_1

// Calls `visit.operator()<Format>(name)` for every named format, or, in builds that take long
// (QLORA_TEST_FEW_FORMATS), for one of each kind.
template <class Visit>
void for_each_format(Visit&& visit) {
#ifdef QLORA_TEST_FEW_FORMATS
  visit.template operator()<qlora::formats::nf4_dq>(std::string("nf4-dq"));
  visit.template operator()<qlora::formats::nf3>(std::string("nf3"));
  visit.template operator()<qlora::formats::bof4_s_opq>(std::string("bof4-s-opq"));
  visit.template operator()<qlora::formats::learned4>(std::string("learned4"));
  visit.template operator()<qlora::formats::nvfp4>(std::string("nvfp4"));
  visit.template operator()<qlora::formats::q4_1>(std::string("q4_1"));
  visit.template operator()<qlora::formats::q3_k>(std::string("q3_k"));
  visit.template operator()<qlora::formats::q4_k>(std::string("q4_k"));
#else
  for (const auto name : qlora::format_names)
    qlora::visit_format(name, 0,
                        [&]<class F>() { visit.template operator()<F>(std::string(name)); });
#endif
}

}  // namespace test
