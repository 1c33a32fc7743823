#include "qlora/model/device_llama.hpp"

#include "cuda/fake_device.hpp"
#include "qlora/model/llama.hpp"
#include "qlora/quant/named_formats.hpp"
#include "qlora/quant/quantize.hpp"
#include "support/catch.hpp"
#include "support/numbers.hpp"

using qlora::Index;

namespace {

// Two layers of width 64: four heads of 16, two of keys. Formats differ from tensor to tensor.
qlora::Llama<float> small_llama(Index hidden = 96) {
  qlora::Llama<float> model;
  model.config = {.vocabulary = 50,
                  .width = 64,
                  .hidden = hidden,
                  .layers = 2,
                  .heads = 4,
                  .kv_heads = 2,
                  .context = 32};
  std::uint64_t seed = 1;
  const auto packed = [&]<class F>(std::type_identity<F>, Index rows, Index cols, double scale) {
    return qlora::AnyLinear<float>(
        qlora::quantize<F>(test::normal_matrix(rows, cols, seed++, scale)));
  };
  const auto norm = [&] {
    qlora::RmsNorm<float> made;
    made.weight =
        qlora::ColumnVector<float>::Ones(64) + test::normal_matrix(64, 1, seed++, 0.1).col(0);
    return made;
  };
  using std::type_identity;
  model.embedding = packed(type_identity<qlora::formats::q8_0>{}, 50, 64, 1);
  model.final_norm = norm();
  for (int l = 0; l < 2; ++l) {
    qlora::LlamaBlock<float> block;
    block.shape = model.config.attention();
    block.attention_norm = norm();
    block.feed_forward_norm = norm();
    const Index rows[] = {64, 32, 32, 64, hidden, hidden, 64};
    for (std::size_t p = 0; p < 7; ++p) {
      const Index cols = p == 6 ? hidden : 64;
      block.projections[p] = qlora::LoraLinear<qlora::AnyLinear<float>, float>(
          l == 0 ? packed(type_identity<qlora::formats::nf4_dq>{}, rows[p], cols, 0.1)
                 : packed(type_identity<qlora::formats::q4_1>{}, rows[p], cols, 0.1),
          {.rank = 0});
    }
    model.blocks.push_back(std::move(block));
  }
  model.finish();
  model.set_compute(qlora::Compute::bfloat16);
  return model;
}

void adapt(qlora::Llama<float>& model, float dropout) {
  model.adapt({.rank = 4, .alpha = 8, .dropout = dropout, .seed = 5});
  std::uint64_t seed = 100;
  for (const auto& parameter : model.parameters())
    if (parameter.name().find("lora_B") != std::string::npos)
      parameter.value() = test::normal_matrix(parameter.value().rows(), 4, seed++, 0.05);
}

// How near gradients come, in parts of their norm. Without vectors the CPU multiplies in float32
// where the kernels round to bfloat16: four steps of 2^-9 each way through two layers.
#if QLORA_HAS_VECTORS
constexpr float gradient_tolerance = 1e-3f;
#else
constexpr float gradient_tolerance = 2e-2f;
#endif

using Known = qlora::FormatList<qlora::formats::nf4_dq, qlora::formats::q4_1, qlora::formats::q8_0>;

// Two sequences; some positions predict nothing.
struct Text {
  std::vector<qlora::Token> ids, targets;
  qlora::BatchLayout layout;
  explicit Text(Index vocabulary) {
    for (const Index length : {9, 20}) {
      const auto first = static_cast<Index>(ids.size());
      layout.sequences.push_back({first, length, first, 0});
      for (Index i = 0; i < length; ++i) {
        ids.push_back(static_cast<qlora::Token>((i * 7 + length) % vocabulary));
        targets.push_back(i + 1 < length && i % 5 != 3
                              ? static_cast<qlora::Token>((i * 11 + 3) % vocabulary)
                              : qlora::ignored);
        layout.positions.push_back(i);
      }
    }
  }
};

}  // namespace

TEST_CASE("a whole training step of a two-layer Llama: loss and gradients are the CPU's") {
  for (const auto& [dropout, hidden] :
       std::vector<std::pair<float, Index>>{{0.f, 128}, {0.3f, 96}}) {
    auto model = small_llama(hidden);
    adapt(model, dropout);
    const Text text(50);
    const auto parameters = model.parameters();
    qlora::zero_gradients(parameters);
    const qlora::LossOptions options{.scale = 0.05f, .backward = true, .dropout = {true, 77}};
    const auto expected = model.loss(text.ids, text.targets, text.layout, options);

    const auto record = std::make_shared<test::Record>();
    {
      const test::Device device{test::FakeDevice(record)};
      qlora::DeviceLlama there(device, model, Known{});
      there.set_adapters(parameters);
      there.zero_gradients();
      const qlora::CrossEntropy found = there.loss(text.ids, text.targets, text.layout, options);
      INFO("loss " << expected.sum << " and " << found.sum);
      REQUIRE(std::abs(found.sum / expected.sum - 1) < 1e-3);
      REQUIRE(found.counted == expected.counted);
      std::size_t next = 0;
      there.gradients([&](const float* gradient, Index count) {
        const auto wanted = parameters[next].grad();
        INFO(parameters[next++].name());
        REQUIRE(count == wanted.size());
        const Eigen::Map<const qlora::RowMatrix<float>> got(gradient, wanted.rows(), wanted.cols());
        REQUIRE((got - wanted).norm() <= gradient_tolerance * wanted.norm());
      });
      REQUIRE(next == parameters.size());
      // The loss alone, twice, without a change to the gradients.
      REQUIRE(there.loss(text.ids, text.targets, text.layout, {.dropout = {true, 77}}).sum ==
              found.sum);
      // On top of what the parameters have already: the gradient comes once more.
      const qlora::RowMatrix<float> before = parameters[0].grad();
      there.add_gradients_to(parameters);
      REQUIRE((parameters[0].grad() - 2 * before).norm() <=
              gradient_tolerance * before.norm() + 1e-30f);
    }
    REQUIRE(record->held.empty());
  }
}

TEST_CASE("what a device cannot take is refused by name") {
  auto model = small_llama();
  const auto record = std::make_shared<test::Record>();
  const test::Device device{test::FakeDevice(record)};
  using Few = qlora::FormatList<qlora::formats::nf4_dq, qlora::formats::q8_0>;
  REQUIRE_THROWS_WITH(qlora::DeviceLlama(device, model, Few{}),
                      test::contains("layer 1's q_proj: expected one of the 2 formats") &&
                          test::contains("4-bit codes in blocks of 32"));
  qlora::DeviceLlama there(device, model, Known{});
  const Text good(50);
  const auto refuses = [&](auto change, const char* reason) {
    Text text = good;
    qlora::LossOptions options;
    change(text, options);
    REQUIRE_THROWS_WITH(there.loss(text.ids, text.targets, text.layout, options),
                        test::contains(reason));
  };
  using Options = qlora::LossOptions;
  refuses([](Text& t, Options&) { t.ids[3] = 50; }, "token 3: expected ids below 50");
  refuses([](Text& t, Options&) { t.targets[5] = -2; }, "token 5: expected ids below 50");
  refuses([](Text& t, Options&) { t.layout.positions[4] = 32; },
          "token 4: expected a position below 32, found 32");
  refuses([](Text& t, Options&) { t.layout.sequences[1].past = 1; }, "from their start");
  refuses([](Text& t, Options&) { t.layout.sequences.pop_back(); },
          "sequences of 29 tokens in all, found 9");
  refuses([](Text&, Options& o) { o.gradient_checkpoint = true; }, "gradient checkpointing");
  qlora::Parameter<float> three("three", 1, 3);
  REQUIRE_THROWS_WITH(there.set_adapters(qlora::ParameterList<float>{&three, &three, &three}),
                      test::contains("expected 0 adapter matrices, found 3"));
  adapt(model, 0);
  qlora::DeviceLlama adapted(device, model, Known{});
  auto parameters = model.parameters();
  parameters[2] = &three;
  REQUIRE_THROWS_WITH(adapted.set_adapters(parameters),
                      test::contains("adapter matrix 2: expected 256 numbers, found 3"));
  REQUIRE_THROWS_WITH(adapted.add_gradients_to(parameters),
                      test::contains("adapter matrix 2: expected 256 numbers, found 3"));
  model.config.hidden = 80;
  REQUIRE_THROWS_WITH(
      qlora::DeviceLlama(device, model, Known{}),
      test::contains("layer 0's gate_proj: expected shape [80, 64], found [96, 64]"));
  model.config.hidden = 96;
  model.embedding = qlora::AnyLinear<float>(test::normal_matrix(50, 64, 1));
  REQUIRE_THROWS_WITH(qlora::DeviceLlama(device, model, Known{}),
                      test::contains("the embedding: expected a packed weight") &&
                          test::contains("found a dense one"));
}

TEST_CASE("rotations of a device reach as far as was used, whatever the model's context") {
  auto model = small_llama();
  model.config.context = Index{1} << 40;
  model.finish();
  const auto record = std::make_shared<test::Record>();
  const test::Device device{test::FakeDevice(record)};
  qlora::DeviceLlama there(device, model, Known{});
  const auto held = [&] {
    std::size_t bytes = 0;
    for (const auto& [at, size] : record->held) bytes += size;
    return bytes;
  };
  // Position 700 is past the first table; the second step finds the tables that it needs.
  const std::vector<qlora::Token> ids{1, 2}, targets{2, 3};
  qlora::BatchLayout layout = qlora::uniform_layout(1, 2);
  const double near = there.loss(ids, targets, layout, {}).sum;
  const std::size_t before = held();
  layout.positions = {700, 701};
  const double far = there.loss(ids, targets, layout, {}).sum;
#if !defined(__CUDACC__)
  REQUIRE(held() - before == 2 * (1024 - 512) * 8 * sizeof(float));
#else
  (void)before;
#endif
  // Only differences of positions count.
  REQUIRE(std::abs(near - far) < 1e-3 * near);
  REQUIRE(near != 0);
}

TEST_CASE("every call failing in turn is an error with its name, and nothing is left") {
  auto model = small_llama();
  adapt(model, 0);
  const Text text(50);
  const auto step = [&](const std::shared_ptr<test::Record>& record) {
    const test::Device device{test::FakeDevice(record)};
    qlora::DeviceLlama there(device, model, Known{});
    there.set_adapters(model.parameters());
    there.loss(text.ids, text.targets, text.layout, {.backward = true});
  };
  const auto whole = std::make_shared<test::Record>();
  step(whole);
  std::map<std::string, int> first;  // of each kind of call
  int calls = 0;
  for (const auto& call : whole->calls) {
    if (call != "release") first.emplace(call, calls);
    ++calls;
  }
  REQUIRE(first.size() > 15);
  for (const auto& [call, at] : first) {
    INFO(call);
    const auto record = std::make_shared<test::Record>();
    record->fails = at;
    REQUIRE_THROWS_WITH(step(record), test::contains("out of memory"));
    REQUIRE(record->held.empty());
  }
}
