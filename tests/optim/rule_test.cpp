#include "qlora/optim/rule.hpp"

#include <cmath>

#include "qlora/optim/make_optimizer.hpp"
#include "support/catch.hpp"
#include "support/law.hpp"
#include "support/numbers.hpp"

using qlora::Index;

namespace {

struct NoStates {
  struct Options {
    double learning_rate = 1, weight_decay = 0;
  };
  template <class T>
  int step(const Options&, Index) const {
    return 0;
  }
};
static_assert(!qlora::UpdateRule<NoStates>);
static_assert(qlora::UpdateRule<qlora::LionRule> && !qlora::AveragingRule<qlora::LionRule>);
static_assert(qlora::AveragingRule<qlora::ScheduleFreeAdamWRule>);

}  // namespace

TEST_CASE("a rule does to an array what it does to each number, for every rule") {
  qlora::for_each_rule([]<class Rule>() {
    test::law(Rule::name, [](std::uint64_t seed, bool decays) {
      constexpr Index size = 7;
      constexpr int states = Rule::states;
      using Array = Eigen::Array<double, Eigen::Dynamic, 1>;
      typename Rule::Options options;
      options.weight_decay = decays ? 0.1 : 0;
      Rule rule;
      Array p = test::normal_matrix<double>(size, 1, seed).array(), g;
      Array s[states];
      for (Array& each : s) each = Array::Zero(size);
      Array one_by_one = p;
      double of_each[size][states] = {};
      for (Index t = 1; t <= 3; ++t) {
        const Array gradient = test::normal_matrix<double>(size, 1, seed + 10).array();
        const auto step = rule.template step<double>(options, t);
        g = gradient;
        step(p, g, s);
        for (Index i = 0; i < size; ++i) {
          double gradient_of_one = gradient(i);
          step(one_by_one(i), gradient_of_one, of_each[i]);
        }
        // The compiler may fuse a product and a sum in one place and not in the other.
        RC_ASSERT((p - one_by_one).abs().maxCoeff() < 1e-12);
        for (Index i = 0; i < size; ++i)
          for (int k = 0; k < states; ++k) RC_ASSERT(std::abs(s[k](i) - of_each[i][k]) < 1e-12);
      }
    });
  });
}

TEST_CASE("steps are made in the type of the parameters") {
  using qlora::AdamWRule;
  REQUIRE(std::is_same_v<qlora::StepOf<AdamWRule, float>, AdamWRule::Step<float>>);
  const AdamWRule rule;
  REQUIRE(rule.step<double>({.beta1 = 0.9}, 1).b1 == 0.9);
  REQUIRE(rule.step<float>({.beta1 = 0.9}, 1).b1 == 0.9f);
}

TEST_CASE("a rule says which states are exact; without a word none is") {
  using qlora::optim_detail::is_exact;
  REQUIRE(is_exact<qlora::ScheduleFreeAdamWRule>(0));
  REQUIRE_FALSE(is_exact<qlora::ScheduleFreeAdamWRule>(1));
  REQUIRE_FALSE(is_exact<qlora::AdamWRule>(0));
}
