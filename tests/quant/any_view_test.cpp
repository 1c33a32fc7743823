#include "qlora/quant/any_view.hpp"

#include "qlora/quant/named_formats.hpp"
#include "qlora/quant/quantize.hpp"
#include "support/catch.hpp"
#include "support/numbers.hpp"

using qlora::AnyView;

namespace {
const auto nf4 = qlora::quantize<qlora::formats::nf4>(test::normal_matrix(3, 128, 1));
const auto q4_1 = qlora::quantize<qlora::formats::q4_1>(test::normal_matrix(5, 64, 2));
}  // namespace

TEST_CASE("a view comes back with its type, and with no other") {
  const AnyView any = nf4.view();
  REQUIRE(any.rows() == 3);
  REQUIRE(any.cols() == 128);
  REQUIRE(any.as<qlora::formats::q4_1>() == nullptr);
  REQUIRE(any.as<qlora::formats::nf4_dq>() == nullptr);
  const auto* view = any.as<qlora::formats::nf4>();
  REQUIRE(view != nullptr);
  REQUIRE(view->codes() == nf4.view().codes());
  REQUIRE((*view)(2, 100) == nf4.view()(2, 100));
}

TEST_CASE("a list of formats is offered a view, and only its own format takes it") {
  using Both = qlora::FormatList<qlora::formats::q4_1, qlora::formats::nf4>;
  static_assert(Both::count == 2);
  int calls = 0;
  float last = 0;
  const auto take = [&](const auto& view) {
    ++calls;
    last = view(view.rows() - 1, view.cols() - 1);
  };
  REQUIRE(qlora::visit_view(AnyView(nf4.view()), Both{}, take));
  REQUIRE(last == nf4.view()(2, 127));
  REQUIRE(qlora::visit_view(AnyView(q4_1.view()), Both{}, take));
  REQUIRE(last == q4_1.view()(4, 63));
  REQUIRE(calls == 2);
  REQUIRE_FALSE(
      qlora::visit_view(AnyView(nf4.view()), qlora::FormatList<qlora::formats::q4_1>{}, take));
  REQUIRE_FALSE(qlora::visit_view(AnyView(nf4.view()), qlora::FormatList<>{}, take));
  REQUIRE_FALSE(qlora::visit_view(AnyView(), Both{}, take));
  REQUIRE(calls == 2);
}

TEST_CASE("a view says whether it has a matrix and what its codes are") {
  REQUIRE_FALSE(static_cast<bool>(AnyView()));
  REQUIRE(AnyView().describe() == "no packed weight");
  REQUIRE(static_cast<bool>(AnyView(nf4.view())));
  REQUIRE(AnyView(nf4.view()).describe() == "4-bit codes in blocks of 64");
}
