// A network of your own: LoRA adapters on frozen 4-bit layers, between layers that are trained whole.
// It learns which of three spirals a point lies on, and prints a falling loss:
//
//   g++ -std=c++20 -O3 -march=native -Iinclude -I/usr/include/eigen3 examples/mlp.cpp -o mlp && ./mlp
#include <cmath>
#include <iostream>
#include <qlora/nn.hpp>
#include <qlora/optim/adam.hpp>

using namespace qlora;

int main() {
  constexpr int points = 300, width = 64, spirals = 3;
  RowMatrixXf x(points, 2);
  std::vector<Token> labels;
  for (int i = 0; i < points; ++i) {
    const float radius = 0.1f + static_cast<float>(i) / points;
    const float angle = 5 * radius + 2.0944f * static_cast<float>(i % spirals);
    x.row(i) << radius * std::cos(angle), radius * std::sin(angle);
    labels.push_back(i % spirals);
  }
  const auto adapted = [] {  // on random weights here, elsewhere on those of a trained model
    const RowMatrixXf weight = RowMatrixXf::Random(width, width) * 0.2f;
    return LoraLinear(quantize<formats::nf4_dq>(weight), {.rank = 8, .train_bias = true});
  };
  Sequential net(DenseLinear<>(2, width), Gelu<>(), adapted(), Gelu<>(), adapted(), Gelu<>(),
                 DenseLinear<>(width, spirals));
  AdamW<> optimizer({.learning_rate = 3e-3});
  for (int step = 1; step <= 300; ++step) {
    const auto [logits, saved] = net.forward(x);
    const auto loss = logits_cross_entropy(logits, labels);
    zero_gradients(net.parameters());
    net.backward(loss.gradient, saved);
    optimizer.step(net.parameters());
    if (step % 50 == 0)
      std::cout << "step " << step << "  loss " << loss.mean() << "  accuracy "
                << static_cast<double>(loss.correct) / points << "\n";
  }
}
