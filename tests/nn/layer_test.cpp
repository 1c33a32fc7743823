#include "qlora/nn/layer.hpp"

#include "qlora/nn/activation.hpp"
#include "qlora/nn/dense_linear.hpp"
#include "qlora/nn/lora.hpp"
#include "qlora/nn/sequential.hpp"
#include "support/catch.hpp"

namespace {

struct NoTypes {};
struct Mutable {  // its forward is not const
  using Number = float;
  struct Saved {};
  qlora::LayerOutput<float, Saved> forward(const qlora::ConstMatrixRef<float>&, qlora::DropoutKey);
  qlora::RowMatrixXf backward(const qlora::ConstMatrixRef<float>&, const Saved&);
  qlora::ParameterList<float> parameters();
};

static_assert(!qlora::LayerTypes<NoTypes> && !qlora::Layer<NoTypes> && !qlora::Layer<int>);
static_assert(!qlora::LayerForward<Mutable> && qlora::LayerBackward<Mutable> &&
              qlora::LayerParameters<Mutable> && !qlora::Layer<Mutable>);

}  // namespace

TEST_CASE("the library's layers are layers, in float and double, alone and together") {
  STATIC_REQUIRE(qlora::Layer<qlora::Gelu<>>);
  STATIC_REQUIRE(qlora::Layer<qlora::Silu<double>>);
  STATIC_REQUIRE(qlora::Layer<qlora::DenseLinear<double>>);
  STATIC_REQUIRE(qlora::Layer<qlora::LoraLinear<qlora::AnyLinear<>>>);
  STATIC_REQUIRE(qlora::Layer<qlora::Sequential<qlora::DenseLinear<>, qlora::Relu<>>>);
}
