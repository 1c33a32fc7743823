#include "qlora/fwd.hpp"

#include <string>
#include <type_traits>

// Declared with the names alone, as in a header of a program.
const std::string* text_of(const qlora::Tokenizer&, const qlora::Llama<float>&,
                           const qlora::Trainer<float>&, const qlora::FilePager&,
                           const qlora::AnyLinear<float>&, const qlora::LlamaConfig&);

#include "support/catch.hpp"

#include "qlora/qlora.hpp"

namespace {

// The names are those of the headers: each would be ambiguous, or incomplete, if there were two.
static_assert(sizeof(qlora::Tokenizer) > 0 && sizeof(qlora::Llama<float>) > 0 &&
              sizeof(qlora::Trainer<float>) > 0 && sizeof(qlora::FilePager) > 0 &&
              sizeof(qlora::HeapPager) > 0 && sizeof(qlora::AnyLinear<float>) > 0 &&
              sizeof(qlora::DenseLinear<float>) > 0 &&
              sizeof(qlora::LoraLinear<qlora::AnyLinear<float>, float>) > 0 &&
              sizeof(qlora::AnyOptimizer<float>) > 0 && sizeof(qlora::Parameter<float>) > 0 &&
              sizeof(qlora::AnyView) > 0 && sizeof(qlora::ChatTemplate) > 0 &&
              sizeof(qlora::Dataset) > 0 && sizeof(qlora::LlamaConfig) > 0 &&
              sizeof(qlora::ModelSource) > 0 && sizeof(qlora::Batch) > 0 &&
              sizeof(qlora::LoraOptions) > 0);

}  // namespace

TEST_CASE("forward declarations name the types of the headers") {
  STATIC_REQUIRE(
      std::is_same_v<
          qlora::formats::nf4,
          qlora::BlockFormat<qlora::NF4, 64, qlora::FloatScale<float>, qlora::AbsoluteMaximum>>);
  const auto function = &text_of;
  STATIC_REQUIRE(
      std::is_same_v<decltype(function),
                     const std::string* (*const)(const qlora::Tokenizer&, const qlora::Llama<>&,
                                                 const qlora::Trainer<>&, const qlora::FilePager&,
                                                 const qlora::AnyLinear<>&,
                                                 const qlora::LlamaConfig&)>);
}
