#include "qlora/optim/make_optimizer.hpp"

#include <cmath>
#include <sstream>

#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/golden.hpp"
#include "support/numbers.hpp"
#include "support/threads.hpp"

using qlora::Index;
using qlora::Parameter;
using qlora::ParameterList;

namespace {

// The gradients of tests/golden/make_optimizers.py.
class Numbers {
 public:
  void fill(qlora::RowMatrixXf& m, float factor) {
    for (Index i = 0; i < m.size(); ++i) {
      x_ = 1664525u * x_ + 1013904223u;
      m.data()[i] = static_cast<float>(static_cast<int>(x_ >> 16) - 32768) / 1048576.f * factor;
    }
  }

 private:
  std::uint32_t x_ = 1;
};

// The largest and the root of the mean square of the differences, over that of the way gone.
struct Distance {
  double largest = 0, mean = 0;
};

Distance against_golden(const std::string& optimizer_name, const std::string& golden_name) {
  static const nlohmann::json golden = test::golden("optimizers.json");
  const auto size = golden["size"].get<Index>(), every = golden["every"].get<Index>();
  Parameter<float> p("p", 1, size);
  Numbers numbers;
  numbers.fill(p.value, 8);
  const qlora::RowMatrixXf start = p.value;
  auto optimizer =
      qlora::make_optimizer<float>({.name = optimizer_name,
                                    .learning_rate = golden["learning_rate"].get<double>(),
                                    .weight_decay = golden["weight_decay"].get<double>()});
  Distance distance;
  const nlohmann::json& shown = golden["parameters"][golden_name];
  for (int t = 1; t <= 100; ++t) {
    numbers.fill(p.grad, 1);
    REQUIRE(optimizer.step(ParameterList<float>{&p}));
    if (!shown.contains(std::to_string(t))) continue;
    const std::vector<float> expected = test::floats_of_bits(shown[std::to_string(t)]);
    double error = 0, way = 0;
    Index count = 0;
    for (Index i = 0; i < size; i += every, ++count) {
      const double e = expected[static_cast<std::size_t>(count)];
      error += std::pow(static_cast<double>(p.value(0, i)) - e, 2);
      way += std::pow(static_cast<double>(start(0, i)) - e, 2);
      distance.largest =
          std::max(distance.largest, std::abs(static_cast<double>(p.value(0, i)) - e));
    }
    REQUIRE(count == static_cast<Index>(expected.size()));
    distance.mean = std::max(distance.mean, std::sqrt(error / way));
  }
  return distance;
}

}  // namespace

TEST_CASE("32-bit AdamW walks with torch.optim.AdamW over 100 steps") {
  const Distance distance = against_golden("adamw", "torch-adamw");
  REQUIRE(distance.mean < 4e-5);
}

TEST_CASE("32-bit rules walk with their emulation over 100 steps", "[slow]") {
  for (const std::string name : {"adamw", "adam", "sgd", "ademamix"}) {
    INFO(name);
    REQUIRE(against_golden(name, name).mean < 4e-5);
  }
  // A sign that rounding turns is a whole step.
  REQUIRE(against_golden("lion", "lion").mean < 2e-3);
}

TEST_CASE("8-bit rules walk with the emulation of bitsandbytes' kernels over 100 steps", "[slow]") {
  // Where rounding turns a code, a number goes a little another way for some steps.
  for (const std::string name : {"adamw8bit", "adam8bit", "sgd8bit", "ademamix8bit"}) {
    INFO(name);
    REQUIRE(against_golden(name, name).mean < 1e-3);
  }
  REQUIRE(against_golden("lion8bit", "lion8bit").mean < 1e-2);
  // And the emulations differ: codes are no numbers.
  REQUIRE(against_golden("adamw", "adamw8bit").mean > 2e-3);
}

namespace {

// Parameters of odd sizes, small and large, after some steps.
struct Trained {
  std::vector<Parameter<float>> parameters;
  ParameterList<float> list;

  Trained() {
    for (const Index size : {5000, 1, 0, 255, 4096, 30000}) parameters.emplace_back("p", 1, size);
    for (std::size_t i = 0; i < parameters.size(); ++i)
      parameters[i].value = test::normal_matrix(1, parameters[i].value.size(), i);
    for (auto& p : parameters) list.push_back(&p);
  }
  void gradients(std::uint64_t step) {
    for (std::size_t i = 0; i < parameters.size(); ++i)
      parameters[i].grad = test::normal_matrix(1, parameters[i].value.size(), 100 * step + i, 0.1);
  }
  bool same_as(const Trained& other) const {
    for (std::size_t i = 0; i < parameters.size(); ++i)
      if (!test::same_bits(parameters[i].value, other.parameters[i].value)) return false;
    return true;
  }
};

std::string saved(const qlora::AnyOptimizer<float>& optimizer) {
  std::ostringstream out;
  optimizer.save(out);
  return out.str();
}

}  // namespace

TEST_CASE("paged and plain give the same bits, for every optimizer, budget and extent", "[slow]") {
  const test::TemporaryFolder folder;
  for (const std::string& name : qlora::optimizer_names())
    for (const std::size_t extent : {8192u, 65536u})
      for (const std::size_t extents : {1u, 2u, 7u}) {
        INFO(name << ", " << extents << " extents of " << extent);
        Trained plain, paged;
        auto a = qlora::make_optimizer<float>({.name = name, .weight_decay = 0.1});
        auto b = qlora::make_optimizer<float>(
            {.name = name,
             .weight_decay = 0.1,
             .paged = qlora::FilePagerOptions{
                 folder.path(), {.budget = extents * extent, .extent_bytes = extent}}});
        for (std::uint64_t step = 0; step < 4; ++step) {
          plain.gradients(step);
          paged.gradients(step);
          a.step(plain.list);
          b.step(paged.list);
        }
        REQUIRE(plain.same_as(paged));
        REQUIRE(saved(a) == saved(b));
        REQUIRE(b.counters().faults + b.counters().prefetched > 0);
      }
  REQUIRE(folder.names().empty());
}

TEST_CASE("one and many threads give the same bits in every optimizer", "[slow]") {
  for (const std::string& name : qlora::optimizer_names()) {
    const auto [one, four] = test::with_one_and_four_threads([&] {
      Trained trained;
      auto optimizer = qlora::make_optimizer<float>({.name = name});
      for (std::uint64_t step = 0; step < 3; ++step) {
        trained.gradients(step);
        optimizer.step(trained.list);
      }
      return trained.parameters.back().value;
    });
    INFO(name);
    REQUIRE(test::same_bits(one, four));
  }
}

TEST_CASE("state goes on where it was saved, also from plain to paged memory and back", "[slow]") {
  const test::TemporaryFolder folder;
  const qlora::FilePagerOptions files{folder.path(), {.budget = 16384, .extent_bytes = 8192}};
  for (const std::string& name : qlora::optimizer_names())
    for (const bool from_paged : {false, true}) {
      INFO(name);
      const auto make = [&](bool paged) {
        qlora::OptimizerSettings settings{.name = name};
        if (paged) settings.paged = files;
        return qlora::make_optimizer<float>(settings);
      };
      Trained straight;
      auto whole = make(from_paged), second = make(!from_paged);
      for (std::uint64_t step = 0; step < 2; ++step) {
        straight.gradients(step);
        whole.step(straight.list);
      }
      Trained resumed;
      for (std::size_t i = 0; i < resumed.parameters.size(); ++i)
        resumed.parameters[i].value = straight.parameters[i].value;
      std::istringstream in(saved(whole));
      second.load(in);
      REQUIRE(second.steps() == 2);
      for (std::uint64_t step = 2; step < 4; ++step) {
        straight.gradients(step);
        resumed.gradients(step);
        whole.step(straight.list);
        second.step(resumed.list);
      }
      REQUIRE(straight.same_as(resumed));
    }
}

TEST_CASE("saved state that is cut off, or of another optimizer, is refused and changes nothing") {
  Trained trained;
  auto optimizer = qlora::make_optimizer<float>({.name = "adamw8bit"});
  trained.gradients(0);
  optimizer.step(trained.list);
  const std::string whole = saved(optimizer);
  for (const std::size_t length :
       {std::size_t{0}, std::size_t{5}, std::size_t{40}, whole.size() - 1}) {
    std::istringstream in(whole.substr(0, length));
    REQUIRE_THROWS_AS(optimizer.load(in), qlora::Error);
    REQUIRE(saved(optimizer) == whole);
  }
  for (const std::string other : {"adamw", "adam8bit", "lion8bit"}) {
    auto another = qlora::make_optimizer<float>({.name = other});
    std::istringstream in(whole);
    REQUIRE_THROWS_AS(another.load(in), qlora::FormatError);
  }
}

TEST_CASE("a gradient that is not finite skips the step, and is counted") {
  Trained trained, before;
  auto optimizer = qlora::make_optimizer<float>({});
  trained.gradients(0);
  trained.parameters[3].grad(0, 7) = std::nanf("");
  REQUIRE_FALSE(optimizer.step(trained.list));
  REQUIRE(trained.same_as(before));
  REQUIRE(optimizer.skipped() == 1);
  REQUIRE(optimizer.steps() == 0);
  trained.gradients(0);
  REQUIRE(optimizer.step(trained.list));
  REQUIRE(optimizer.skipped() == 1);
}

TEST_CASE("names that are none are refused with those that are") {
  REQUIRE_THROWS_WITH(qlora::make_optimizer<float>({.name = "adamax"}),
                      test::contains("adamax") && test::contains("ademamix"));
}
