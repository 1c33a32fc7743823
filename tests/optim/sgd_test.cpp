#include "qlora/optim/sgd.hpp"

#include "support/catch.hpp"
#include "support/numbers.hpp"

using qlora::Index, qlora::RowMatrixXd;

// torch.optim.SGD by its documentation: the first momentum is the gradient itself.
TEST_CASE("SGD follows torch's formula over many steps, with momentum and weight decay") {
  for (const double momentum : {0.0, 0.9})
    for (const double decay : {0.0, 0.1}) {
      qlora::Parameter<double> p("p", 3, 4);
      p.value = test::normal_matrix<double>(3, 4, 1);
      RowMatrixXd value = p.value, m;
      qlora::Sgd<qlora::NumberState<double>> optimizer(
          {.learning_rate = 0.01, .momentum = momentum, .weight_decay = decay});
      for (int t = 1; t <= 50; ++t) {
        p.grad = test::normal_matrix<double>(3, 4, 100 + static_cast<std::uint64_t>(t));
        const RowMatrixXd g = p.grad + decay * value;
        m = t == 1 ? g : RowMatrixXd(momentum * m + g);
        value -= 0.01 * m;
        REQUIRE(optimizer.step(qlora::ParameterList<double>{&p}));
        REQUIRE((p.value - value).cwiseAbs().maxCoeff() < 1e-12);
      }
    }
}
