#include "qlora/optim/schedule_free.hpp"

#include <cmath>
#include <sstream>

#include "support/catch.hpp"
#include "support/faulty_store.hpp"
#include "support/golden.hpp"
#include "support/numbers.hpp"

using qlora::Index;
using qlora::NumberState;
using qlora::Parameter;
using qlora::ParameterList;
using qlora::RowMatrixXd;

namespace {

double largest_difference(const RowMatrixXd& found, const nlohmann::json& expected) {
  double largest = 0;
  for (Index i = 0; i < found.size(); ++i)
    largest = std::max(largest,
                       std::abs(found(0, i) - expected[static_cast<std::size_t>(i)].get<double>()));
  return largest;
}

}  // namespace

TEST_CASE("schedule-free AdamW walks with the paper's algorithm, iterate and average") {
  const nlohmann::json golden = test::golden("schedule_free.json");
  const auto start = golden["start"].get<std::vector<double>>(),
             curve = golden["curve"].get<std::vector<double>>();
  for (const auto& run : golden["runs"]) {
    const auto size = static_cast<Index>(start.size());
    Parameter<double> p("p", 1, size);
    for (Index i = 0; i < size; ++i) p.value(0, i) = start[static_cast<std::size_t>(i)];
    const ParameterList<double> list{&p};
    qlora::ScheduleFreeAdamW<NumberState<double>> optimizer(
        {.beta1 = golden["beta1"].get<double>(),
         .beta2 = golden["beta2"].get<double>(),
         .epsilon = golden["epsilon"].get<double>(),
         .weight_decay = run["weight_decay"].get<double>()});
    for (int t = 1; t <= golden["steps"].get<int>(); ++t) {
      for (Index i = 0; i < size; ++i)
        p.grad(0, i) = curve[static_cast<std::size_t>(i)] * (p.value(0, i) - 1);
      optimizer.options().learning_rate =
          golden["rates"][static_cast<std::size_t>(t - 1)].get<double>();
      REQUIRE(optimizer.step(list));
      if (!run["shown"].contains(std::to_string(t))) continue;
      const auto& shown = run["shown"][std::to_string(t)];
      REQUIRE(largest_difference(p.value, shown["iterate"]) < 1e-12);
      // Half-way through the training, which goes on from the iterate.
      REQUIRE(largest_difference(optimizer.average(list)[0], shown["average"]) < 1e-12);
      optimizer.use_average(list);
      REQUIRE(largest_difference(p.value, shown["average"]) < 1e-12);
      optimizer.use_iterate(list);
      REQUIRE(largest_difference(p.value, shown["iterate"]) < 1e-12);
    }
  }
}

TEST_CASE("the average and the iterate may be asked for again, and a step wants the iterate") {
  Parameter<float> p("p", 1, 5000);
  const ParameterList<float> list{&p};
  qlora::ScheduleFreeAdamW<> optimizer;
  optimizer.use_average(list);  // before a step both are the start
  REQUIRE(p.value.isZero(0));
  for (std::uint64_t step = 0; step < 4; ++step) {
    p.grad = test::normal_matrix(1, 5000, step);
    REQUIRE(optimizer.step(list));
  }
  const auto iterate = p.value;
  optimizer.use_iterate(list);
  REQUIRE(p.value == iterate);
  optimizer.use_average(list);
  const auto average = p.value;
  REQUIRE(average != iterate);
  optimizer.use_average(list);
  REQUIRE(p.value == average);
  REQUIRE(optimizer.averaged());
  REQUIRE(optimizer.average(list)[0] == average);
  REQUIRE_THROWS_WITH(optimizer.step(list), test::contains("use_iterate"));
  REQUIRE(optimizer.steps() == 4);

  // What is saved says which of the two the parameters were.
  std::stringstream file;
  optimizer.save(file);
  qlora::ScheduleFreeAdamW<> resumed;
  resumed.load(file);
  REQUIRE(resumed.averaged());
  optimizer.use_iterate(list);
  const auto back = p.value;
  p.value = average;
  resumed.use_iterate(list);
  REQUIRE(p.value == back);
  REQUIRE(resumed.step(list));
}

TEST_CASE("each group's average is by its own beta1, and a beta1 that gives none is refused") {
  Parameter<double> a("a", 1, 3), b("b", 1, 3), alone("alone", 1, 3);
  for (auto* p : {&a, &b, &alone}) p->grad = test::normal_matrix<double>(1, 3, 7);
  using Optimizer = qlora::ScheduleFreeAdamW<NumberState<double>>;
  using Groups = std::vector<qlora::ParameterGroup<Optimizer::Options, double>>;
  Optimizer grouped, single({.beta1 = 0.5});
  for (int step = 0; step < 3; ++step) {
    grouped.step(Groups{{{&a}, {}}, {{&b}, {.beta1 = 0.5}}});
    single.step(ParameterList<double>{&alone});
  }
  grouped.use_average(ParameterList<double>{&a, &b});
  single.use_average(ParameterList<double>{&alone});
  REQUIRE(b.value == alone.value);
  REQUIRE(a.value != b.value);

  single.use_iterate(ParameterList<double>{&alone});
  single.options().beta1 = 0.6;
  REQUIRE_THROWS_WITH(single.step(ParameterList<double>{&alone}), test::contains("0.6"));
  for (const double beta1 : {0.0, 1.0, std::nan("")})
    REQUIRE_THROWS_AS(Optimizer({.beta1 = beta1}).step(ParameterList<double>{&alone}),
                      qlora::OptionError);
}

namespace {

// What is left of a quadratic loss after 300 noisy steps.
template <class Optimizer>
double remaining_loss() {
  constexpr Index size = 4096;
  Parameter<float> p("p", 1, size);
  p.value = test::normal_matrix(1, size, 1, 0.05);
  const ParameterList<float> list{&p};
  Optimizer optimizer({.learning_rate = 2e-4});
  for (std::uint64_t step = 0; step < 300; ++step) {
    for (Index i = 0; i < size; ++i)  // noise of deviation 0.02
      p.grad(0, i) = p.value(0, i) +
                     0.07f * (qlora::uniform01(100 + step, static_cast<std::uint64_t>(i)) - 0.5f);
    optimizer.step(list);
  }
  optimizer.use_average(list);
  return p.value.cast<double>().squaredNorm() / size;
}

}  // namespace

TEST_CASE("with narrow state the iterate stays in float, and training loses nothing") {
  const double plain = remaining_loss<qlora::ScheduleFreeAdamW<>>();
  REQUIRE(remaining_loss<qlora::ScheduleFreeAdamW<qlora::Blockwise8bit>>() < 1.05 * plain);
  REQUIRE(remaining_loss<qlora::ScheduleFreeAdamW<NumberState<qlora::bfloat16>>>() < 1.05 * plain);
  const auto bytes = [](auto optimizer) {
    Parameter<float> p("p", 1, 4096);
    optimizer.step(ParameterList<float>{&p});
    return optimizer.state_bytes();
  };
  // z in float and v as codes with a float a block of 256, or in bfloat16.
  REQUIRE(bytes(qlora::ScheduleFreeAdamW<qlora::Blockwise8bit>()) == 4096 * 5 + 16 * 4);
  REQUIRE(bytes(qlora::ScheduleFreeAdamW<NumberState<qlora::bfloat16>>()) == 4096 * 6);
}

TEST_CASE("a move to the average that fails half-way tears the optimizer") {
  Parameter<float> p("p", 1, 100000);
  const ParameterList<float> list{&p};
  test::FaultyPager pager({.budget = 4 * 65536, .extent_bytes = 65536});
  qlora::ScheduleFreeAdamW<NumberState<float>, qlora::Paged<test::FaultyPager>> optimizer({},
                                                                                          pager);
  REQUIRE(optimizer.step(list));
  pager.trim();  // nothing is under way
  pager.fail_after(3);
  REQUIRE_THROWS_AS(optimizer.use_average(list), qlora::IoError);
  pager.fail_after(-1);
  REQUIRE(optimizer.torn());
  std::ostringstream out;
  REQUIRE_THROWS_WITH(optimizer.save(out), test::contains("torn"));
  REQUIRE_THROWS_WITH(optimizer.use_iterate(list), test::contains("torn"));
  REQUIRE_THROWS_WITH(optimizer.average(list), test::contains("torn"));
}
