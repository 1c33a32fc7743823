#include "qlora/optim/optimizer.hpp"

#include <fstream>
#include <sstream>

#include "qlora/optim/make_optimizer.hpp"
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
  using Sgd = qlora::Sgd<qlora::NumberState<double>>;
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
    qlora::AdamW<qlora::NumberState<float>, qlora::Paged<test::FaultyPager>> optimizer({}, pager);
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
  REQUIRE_THROWS_AS(optimizer.step(ParameterList<float>{&p}), qlora::OptionError);
}

namespace {

// Parameters of sizes that are kept in codes and of some that are not.
struct Averaged {
  std::vector<Parameter<float>> parameters;

  Averaged() {
    for (const Index size : {5000, 3, 4096, 700}) parameters.emplace_back("p", 1, size);
    for (std::size_t i = 0; i < parameters.size(); ++i)
      parameters[i].value = test::normal_matrix(1, parameters[i].value.size(), i);
  }
  void gradients(std::uint64_t step) {
    for (std::size_t i = 0; i < parameters.size(); ++i)
      parameters[i].grad = test::normal_matrix(1, parameters[i].value.size(), 100 * step + i, 0.1);
  }
  ParameterList<float> list(std::size_t first, std::size_t last) {
    ParameterList<float> some;
    for (std::size_t i = first; i < last; ++i) some.push_back(&parameters[i]);
    return some;
  }
  bool same_as(const Averaged& other) const {
    for (std::size_t i = 0; i < parameters.size(); ++i)
      if (!test::same_bits(parameters[i].value, other.parameters[i].value)) return false;
    return true;
  }
};

template <class Rule, class State>
void groups_are_right() {
  INFO(Rule::name << " in " << State::name());
  using Optimizer = qlora::Optimizer<Rule, State>;
  using Options = typename Optimizer::Options;
  using Groups = std::vector<qlora::ParameterGroup<Options, float>>;
  Options slow, fast;
  slow.weight_decay = 0.1;
  slow.learning_rate = fast.learning_rate / 3;
  Averaged one, two, apart, together;
  Optimizer of_one(slow), of_two, first(slow), second(fast), of_both;
  for (std::uint64_t step = 0; step < 4; ++step) {
    one.gradients(step);
    for (auto* each : {&two, &apart, &together})
      for (std::size_t i = 0; i < 4; ++i) each->parameters[i].grad = one.parameters[i].grad;
    of_one.step(one.list(0, 4));
    of_two.step(Groups{{two.list(0, 2), slow}, {two.list(2, 4), slow}});
    first.step(apart.list(0, 2));
    second.step(apart.list(2, 4));
    of_both.step(Groups{{together.list(0, 2), slow}, {together.list(2, 4), fast}});
  }
  REQUIRE(one.same_as(two));
  // What is rounded by chance draws by the parameter's place in the list.
  if (!std::is_same_v<State, qlora::NumberState<qlora::bfloat16>>) REQUIRE(apart.same_as(together));
}

}  // namespace

TEST_CASE("equal groups are one group, and unequal ones two optimizers, for every rule and state") {
  qlora::for_each_rule([]<class Rule>() {
    groups_are_right<Rule, qlora::NumberState<float>>();
    groups_are_right<Rule, qlora::Blockwise8bit>();
    groups_are_right<Rule, qlora::NumberState<qlora::bfloat16>>();
  });
}

TEST_CASE("a rule that remembers wants the groups of the first step, also after loading") {
  using Optimizer = qlora::ScheduleFreeAdamW<>;
  using Groups = std::vector<qlora::ParameterGroup<Optimizer::Options, float>>;
  Averaged trained;
  Optimizer optimizer;
  trained.gradients(0);
  optimizer.step(Groups{{trained.list(0, 2), {}}, {trained.list(2, 4), {}}});
  std::stringstream file;
  optimizer.save(file);
  Optimizer resumed;
  resumed.load(file);
  const Averaged before = trained;
  for (auto* each : {&optimizer, &resumed}) {
    REQUIRE_THROWS_AS(each->step(trained.list(0, 4)), qlora::ShapeError);
    REQUIRE_THROWS_AS(each->step(Groups{{trained.list(0, 1), {}}, {trained.list(1, 4), {}}}),
                      qlora::ShapeError);
    REQUIRE(trained.same_as(before));
    REQUIRE(each->steps() == 1);
  }
  REQUIRE(resumed.step(Groups{{trained.list(0, 2), {}}, {trained.list(2, 4), {}}}));
}

TEST_CASE("a parameter that comes twice, or a gradient of another size, is refused by name") {
  Parameter<float> a("a", 1, 3), b("b", 1, 3);
  qlora::AdamW<> optimizer;
  REQUIRE_THROWS_WITH(optimizer.step(ParameterList<float>{&a, &b, &a}), test::contains("'a'"));
  REQUIRE(optimizer.step(ParameterList<float>{&a, &b}));
  REQUIRE_THROWS_WITH(optimizer.step(ParameterList<float>{&b, &b}), test::contains("'b'"));
  b.grad.resize(1, 2);
  REQUIRE_THROWS_WITH(optimizer.step(ParameterList<float>{&a, &b}),
                      test::contains("b: expected a gradient of 3 numbers, found 2"));
}

TEST_CASE("a first step without memory changes nothing, and the next one works") {
  Parameter<float> p("p", 1, 1000);
  const ParameterList<float> list{&p};
  p.grad.setOnes();
  test::FaultyPager pager({.budget = 4 * 65536, .extent_bytes = 65536});
  qlora::AdamW<qlora::NumberState<float>, qlora::Paged<test::FaultyPager>> optimizer({}, pager);
  pager.fill_up(true);
  REQUIRE_THROWS_AS(optimizer.step(list), qlora::IoError);
  pager.fill_up(false);
  REQUIRE(p.value.isZero(0));
  REQUIRE(optimizer.step(list));
  REQUIRE_FALSE(p.value.isZero(0));
}

namespace {

// A stream that can't say how long it is, as a pipe.
class Pipe : public std::stringbuf {
 public:
  explicit Pipe(const std::string& text) : std::stringbuf(text, std::ios::in) {}

 protected:
  pos_type seekoff(off_type, std::ios::seekdir, std::ios::openmode) override { return -1; }
  pos_type seekpos(pos_type, std::ios::openmode) override { return -1; }
};

}  // namespace

TEST_CASE("state that ends at any byte is refused and changes nothing") {
  Parameter<float> p("p", 1, 20), q("q", 1, 4096);
  const ParameterList<float> list{&p, &q};
  p.grad.setOnes();
  q.grad.setOnes();
  const auto saved = [](const auto& optimizer) {
    std::ostringstream out;
    optimizer.save(out);
    return out.str();
  };
  qlora::ScheduleFreeAdamW<qlora::Blockwise8bit> optimizer, fresh;
  optimizer.step(list);
  const std::string whole = saved(optimizer), nothing = saved(fresh);
  for (std::size_t length = 0; length < whole.size(); length += length < 400 ? 1 : 97) {
    INFO(length);
    for (auto* each : {&optimizer, &fresh}) {
      std::istringstream in(whole.substr(0, length));
      REQUIRE_THROWS_AS(each->load(in), qlora::Error);
    }
    std::istringstream in(whole.substr(0, length));
    REQUIRE_THROWS_AS(fresh.load(in, list), qlora::Error);
  }
  REQUIRE(saved(optimizer) == whole);
  REQUIRE(saved(fresh) == nothing);

  Pipe pipe(whole), again(whole);
  std::istream from_pipe(&pipe), from_again(&again);
  REQUIRE_THROWS_WITH(fresh.load(from_pipe), test::contains("does not tell its length"));
  fresh.load(from_again, list);
  REQUIRE(saved(fresh) == whole);
}

TEST_CASE("sizes that the stream can't hold are an error, and no memory is asked for") {
  qlora::AdamW<> optimizer;
  const auto refused = [&](const std::string& line, const std::vector<Index>& sizes) {
    std::string text = "qlora optimizer 2 adamw numbers-4 " + line + "\n";
    text.append(reinterpret_cast<const char*>(sizes.data()), sizes.size() * sizeof(Index));
    std::istringstream in(text);
    REQUIRE_THROWS_AS(optimizer.load(in), qlora::Error);
    REQUIRE(optimizer.state_bytes() == 0);
    REQUIRE(optimizer.steps() == 0);
  };
  constexpr Index huge = Index{1} << 60;
  refused("3 0 0 1 1", {1, huge});
  refused("3 0 0 1 2", {2, huge, huge});
  refused("3 0 0 1 1", {1, -1});
  refused("3 0 0 1 1", {huge, 1});                 // a group of more than all
  refused("3 0 0 1 1", {0, 1});                    // a parameter in no group
  refused("3 0 0 1 1152921504606846976", {1});     // parameters
  refused("3 0 0 1152921504606846976 1", {1, 1});  // groups
  refused("3 0 0 1 -1", {1});
  refused("-3 0 0 1 1", {1, 1});
  refused("3 7 0 1 1", {1, 1});  // neither averaged nor not
}

TEST_CASE("state that a full disk does not take is an error") {
  std::ofstream full("/dev/full");
  if (!full) {
    WARN("skipped: no /dev/full here");
    return;
  }
  Parameter<float> p("p", 1, 3);
  qlora::AdamW<> optimizer;
  optimizer.step(ParameterList<float>{&p});
  REQUIRE_THROWS_AS(optimizer.save(full), qlora::IoError);
}
