#include "qlora/optim/any_optimizer.hpp"

#include <sstream>

#include "qlora/optim/adam.hpp"
#include "qlora/optim/schedule_free.hpp"
#include "support/catch.hpp"
#include "support/numbers.hpp"

using qlora::Parameter, qlora::ParameterList;

TEST_CASE("an optimizer behind the interface takes the same steps and saves the same bytes") {
  Parameter<float> direct("p", 1, 300), behind("p", 1, 300);
  qlora::ScheduleFreeAdamW<> optimizer({.learning_rate = 0.1});
  qlora::AnyOptimizer<float> any{qlora::ScheduleFreeAdamW<>({.learning_rate = 0.1})};
  const ParameterList<float> list{&direct}, hidden{&behind};
  for (std::uint64_t step = 0; step < 3; ++step) {
    direct.grad = behind.grad = test::normal_matrix(1, 300, step);
    REQUIRE(optimizer.step(list));
    REQUIRE(any.step(hidden));
  }
  REQUIRE(test::same_bits(direct.value, behind.value));
  REQUIRE(any.steps() == 3);
  REQUIRE(any.averages());
  REQUIRE(any.state_bytes() == optimizer.state_bytes());
  std::ostringstream a, b;
  optimizer.save(a);
  any.save(b);
  REQUIRE(a.str() == b.str());
  REQUIRE(any.average(hidden)[0] == optimizer.average(list)[0]);
  any.use_average(hidden);
  optimizer.use_average(list);
  REQUIRE(any.averaged());
  REQUIRE(test::same_bits(direct.value, behind.value));
  any.use_iterate(hidden);
  REQUIRE_FALSE(any.averaged());
}

TEST_CASE("the learning rate is that of the options") {
  Parameter<float> p("p", 1, 3);
  p.grad.setOnes();
  qlora::AnyOptimizer<float> any{qlora::AdamW<>({.learning_rate = 0.5})};
  REQUIRE(any.learning_rate() == 0.5);
  any.set_learning_rate(0);
  REQUIRE(any.learning_rate() == 0);
  REQUIRE(any.step(ParameterList<float>{&p}));
  REQUIRE(p.value.isZero(0));
  REQUIRE_FALSE(any.averages());
}

TEST_CASE("a gradient that is not finite is counted, and saved state loads again") {
  Parameter<float> p("p", 1, 3);
  p.grad.setConstant(std::nanf(""));
  qlora::AnyOptimizer<float> any{qlora::AdamW<>()}, other{qlora::AdamW<>()};
  REQUIRE_FALSE(any.step(ParameterList<float>{&p}));
  REQUIRE(any.skipped() == 1);
  REQUIRE_FALSE(any.torn());
  p.grad.setOnes();
  REQUIRE(any.step(ParameterList<float>{&p}));
  std::stringstream file;
  any.save(file);
  other.load(file, ParameterList<float>{&p});
  REQUIRE(other.steps() == 1);
}
