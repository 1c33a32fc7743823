#include "qlora/optim/ademamix.hpp"

#include <cmath>

#include "support/catch.hpp"
#include "support/numbers.hpp"

using qlora::Index, qlora::RowMatrixXd;

// Pagliardini et al. 2024, algorithm 1, one number at a time, with the paper's schedules of alpha
// and beta3 over the warm-up: alpha(t) = min(t alpha / T, alpha), and beta3(t) as in its
// appendix A.1, with beta1 as where beta3 starts.
TEST_CASE("AdEMAMix follows the published algorithm, within and after its warm-up") {
  constexpr double lr = 0.01, b1 = 0.9, b2 = 0.999, b3 = 0.99, alpha = 5, eps = 1e-8;
  for (const Index warmup : {0, 20})
    for (const double decay : {0.0, 0.1}) {
      qlora::Parameter<double> p("p", 3, 4);
      p.value = test::normal_matrix<double>(3, 4, 1);
      RowMatrixXd value = p.value, m = RowMatrixXd::Zero(3, 4), n = m, v = m;
      qlora::Ademamix<qlora::NumberState<double>> optimizer(
          {.learning_rate = lr, .beta3 = b3, .warmup = warmup, .weight_decay = decay});
      for (int t = 1; t <= 40; ++t) {
        p.grad = test::normal_matrix<double>(3, 4, 100 + static_cast<std::uint64_t>(t), 0.01);
        double alpha_now = alpha, b3_now = b3;
        if (warmup > 0) {
          const double part = static_cast<double>(t) / static_cast<double>(warmup);
          alpha_now = std::min(part * alpha, alpha);
          if (part < 1)
            b3_now = std::min(std::exp(std::log(b1) * std::log(b3) /
                                       ((1 - part) * std::log(b3) + part * std::log(b1))),
                              b3);
        }
        for (Index i = 0; i < 12; ++i) {
          const double g = p.grad.data()[i];
          m.data()[i] = b1 * m.data()[i] + (1 - b1) * g;
          n.data()[i] = b3_now * n.data()[i] + (1 - b3_now) * g;
          v.data()[i] = b2 * v.data()[i] + (1 - b2) * g * g;
          const double m_hat = m.data()[i] / (1 - std::pow(b1, t)),
                       v_hat = v.data()[i] / (1 - std::pow(b2, t));
          value.data()[i] -= lr * ((m_hat + alpha_now * n.data()[i]) / (std::sqrt(v_hat) + eps) +
                                   decay * value.data()[i]);
        }
        REQUIRE(optimizer.step(qlora::ParameterList<double>{&p}));
        INFO("step " << t << ", warm-up of " << warmup);
        REQUIRE((p.value - value).cwiseAbs().maxCoeff() < 1e-12);
      }
    }
}
