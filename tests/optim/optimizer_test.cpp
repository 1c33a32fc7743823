#include "qlora/optim/optimizer.hpp"

#include "qlora/optim/adam.hpp"
#include "qlora/optim/sgd.hpp"
#include "support/catch.hpp"
#include "support/faulty_store.hpp"
#include "support/numbers.hpp"

using qlora::Index;
using qlora::Parameter;
using qlora::ParameterList;

TEST_CASE("groups have options of their own") {
  Parameter<double> a("a", 1, 3), b("b", 2, 2);
  a.grad.setOnes();
  b.grad.setOnes();
  using Sgd = qlora::Sgd<qlora::StateOf<double>>;
  Sgd optimizer;
  optimizer.step(std::vector<qlora::ParameterGroup<Sgd::Options, double>>{
      {{&a}, {.learning_rate = 0.5}}, {{&b}, {.learning_rate = 0.25}}});
  REQUIRE(a.value.isConstant(-0.5));
  REQUIRE(b.value.isConstant(-0.25));
}

TEST_CASE("a failure before the first change leaves everything as it was; a later one tears") {
  Parameter<float> p("p", 1, 100000);
  const ParameterList<float> list{&p};
  for (const int good : {0, 1, 3}) {
    p.value.setOnes();
    p.grad.setConstant(0.5f);
    test::FaultyPager pager({.budget = 4 * 65536, .extent_bytes = 65536});
    qlora::AdamW<qlora::StateOf<float>, qlora::Paged<test::FaultyPager>> optimizer({}, pager);
    pager.fail_after(good);
    REQUIRE_THROWS_AS(optimizer.step(list), qlora::IoError);
    pager.fail_after(-1);
    REQUIRE(optimizer.steps() == 0);
    if (good == 0) {
      REQUIRE(p.value.isConstant(1.f));
      REQUIRE_FALSE(optimizer.torn());
      REQUIRE(optimizer.step(list));  // the fault is gone
    } else {
      REQUIRE(optimizer.torn());
      REQUIRE_THROWS_WITH(optimizer.step(list), test::contains("torn"));
    }
  }
}

TEST_CASE("an extent that holds no block is refused") {
  Parameter<float> p("p", 1, 5000);
  test::FaultyPager pager({.budget = 8192, .extent_bytes = 4096});
  qlora::AdamW<qlora::BlockwiseState<qlora::Dynamic8, qlora::UnsignedDynamic8, 4096>,
               qlora::Paged<test::FaultyPager>>
      optimizer({}, pager);
  REQUIRE_THROWS_AS(optimizer.step(ParameterList<float>{&p}), qlora::FormatError);
}
