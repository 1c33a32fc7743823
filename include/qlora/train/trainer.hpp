/// The fine-tuning loop: seeded shuffling, gradient accumulation, clipping, a learning-rate
/// schedule, any optimizer.
///
///     qlora::Trainer trainer(model, data.examples, {.steps = 100, .batch = 4});
///     trainer.run([](const qlora::StepMetrics& m) { print(m.loss); return true; });
///
/// The loss of a step is the sum over its counted targets, all micro-batches together, divided by
/// their number. Rows are laid one after the other without padding.
#pragma once

#include <chrono>
#include <cmath>
#include <cstdint>
#include <functional>
#include <span>
#include <utility>
#include <vector>

#include "qlora/core/random.hpp"
#include "qlora/model/llama.hpp"
#include "qlora/optim/adam.hpp"
#include "qlora/optim/any_optimizer.hpp"
#include "qlora/optim/clip.hpp"
#include "qlora/optim/schedule.hpp"
#include "qlora/text/chat_template.hpp"
#include "qlora/train/metrics.hpp"

namespace qlora {

struct TrainOptions {
  Index steps = 0;   ///< optimizer steps; 0 takes `epochs`
  Index epochs = 1;  ///< passes over the data
  Index batch = 4;
  Index accumulate = 1;  ///< micro-batches a step
  double learning_rate = 2e-4;
  double weight_decay = 0;
  Schedule schedule = Schedule::constant;
  Index warmup_steps = 0;
  double max_gradient_norm = 0.3;
  double max_gradient_value = 0;  ///< of each number, before the norm is clipped; 0: any
  std::uint64_t seed = 0;
  bool gradient_checkpoint = false;
};

/// Several examples as one model input.
struct Batch {
  std::vector<Token> ids, targets;
  BatchLayout layout;
  Index counted = 0;
};

/// Examples one after the other; position t predicts t + 1 within its own row only.
inline Batch make_batch(const std::vector<EncodedText>& examples, std::span<const Index> chosen) {
  Batch batch;
  for (const Index index : chosen) {
    const EncodedText& example = examples[static_cast<std::size_t>(index)];
    const auto first = static_cast<Index>(batch.ids.size());
    const auto length = static_cast<Index>(example.ids.size());
    batch.layout.sequences.push_back({first, length, first, 0});
    for (std::size_t t = 0; t < example.ids.size(); ++t) {
      const bool counts = t + 1 < example.ids.size() && example.counted[t + 1] != 0;
      batch.ids.push_back(example.ids[t]);
      batch.targets.push_back(counts ? example.ids[t + 1] : ignored);
      batch.layout.positions.push_back(static_cast<Index>(t));
      batch.counted += counts ? 1 : 0;
    }
  }
  return batch;
}

/// The mean loss of all examples without training, a few at a time.
template <Scalar T>
double mean_loss(Llama<T>& model, const std::vector<EncodedText>& examples, Index batch_size = 2) {
  CrossEntropy total;
  for (Index begin = 0; begin < static_cast<Index>(examples.size()); begin += batch_size) {
    std::vector<Index> chosen;
    for (Index i = begin; i < std::min(begin + batch_size, static_cast<Index>(examples.size()));
         ++i)
      chosen.push_back(i);
    const Batch batch = make_batch(examples, chosen);
    const CrossEntropy part = model.loss(batch.ids, batch.targets, batch.layout);
    total.sum += part.sum;
    total.counted += part.counted;
  }
  require<FormatError>(total.counted > 0, "mean_loss: expected examples with targets, found none");
  return total.sum / static_cast<double>(total.counted);
}

/// The summed loss of a batch; with `backward` it also adds to the parameters' gradients: a model's
/// on the CPU, or what a device gives.
using LossFunction = std::function<CrossEntropy(const Batch& batch, const LossOptions& options)>;

/// The loss of a model that outlives it.
template <Scalar T>
LossFunction loss_of(Llama<T>& model) {
  return [&model](const Batch& batch, const LossOptions& options) {
    return model.loss(batch.ids, batch.targets, batch.layout, options);
  };
}

template <Scalar T = float>
class Trainer {
 public:
  /// Trains by AdamW. The examples must outlive the trainer. Throws FormatError for options that
  /// make no sense.
  Trainer(Llama<T>& model, const std::vector<EncodedText>& examples, const TrainOptions& options)
      : Trainer(model, examples, options,
                AnyOptimizer<T>(AdamW<StateOf<T>>({.learning_rate = options.learning_rate,
                                                   .weight_decay = options.weight_decay}))) {}

  /// Trains by any optimizer; its weight decay is its own.
  Trainer(Llama<T>& model, const std::vector<EncodedText>& examples, const TrainOptions& options,
          AnyOptimizer<T> optimizer)
      : Trainer(model.parameters(), loss_of(model), examples, options, std::move(optimizer)) {}

  /// Trains parameters by any loss.
  Trainer(ParameterList<T> parameters, LossFunction loss, const std::vector<EncodedText>& examples,
          const TrainOptions& options, AnyOptimizer<T> optimizer)
      : loss_(std::move(loss)),
        examples_(examples),
        options_(options),
        parameters_(std::move(parameters)),
        optimizer_(std::move(optimizer)) {
    require<FormatError>(!examples.empty(), "training: expected at least one example, found none");
    require<FormatError>(options.batch > 0 && options.accumulate > 0,
                         "training: expected a batch and an accumulation of 1 or "
                         "more, found ",
                         options.batch, " and ", options.accumulate);
    require<FormatError>(options.steps >= 0 && (options.steps > 0 || options.epochs > 0),
                         "training: expected a number of steps or epochs above 0");
    require<FormatError>(!parameters_.empty(), "training: the model has no adapter");
  }

  /// Optimizer steps in one pass over the data.
  Index steps_per_epoch() const {
    const Index examples_a_step = options_.batch * options_.accumulate;
    return (static_cast<Index>(examples_.size()) + examples_a_step - 1) / examples_a_step;
  }
  Index total_steps() const {
    return options_.steps > 0 ? options_.steps : options_.epochs * steps_per_epoch();
  }

  /// Runs all steps. `report` gets each one's numbers; false stops the run with Cancelled. A loss
  /// or gradient that is not finite throws NumericError, and an optimizer whose memory fails Error,
  /// after the parameters went back to the last whole ones whose loss was finite, if there are any
  /// (`good_steps` then says after how many updates that was).
  void run(const std::function<bool(const StepMetrics&)>& report = {}) {
    const Index total = total_steps();
    for (Index step = 0; step < total; ++step) {
      const StepMetrics metrics = run_step(step, total);
      if (report && !report(metrics))
        throw Cancelled(message("training was stopped after step ", metrics.step));
    }
    good_steps_ = total;
    optimizer_.evaluate(parameters_, true);
  }

  const AnyOptimizer<T>& optimizer() const { return optimizer_; }

  /// Updates that the parameters now hold and that are known to give a finite loss.
  Index good_steps() const { return good_steps_; }

 private:
  StepMetrics run_step(Index step, Index total) {
    const auto start = std::chrono::steady_clock::now();
    const std::vector<Batch> micro_batches = batches_of(step);
    Index counted = 0, tokens = 0;
    for (const Batch& batch : micro_batches) {
      counted += batch.counted;
      tokens += static_cast<Index>(batch.ids.size());
    }
    zero_gradients(parameters_);
    double sum = 0;
    for (std::size_t i = 0; i < micro_batches.size(); ++i) {
      const Batch& batch = micro_batches[i];
      const std::uint64_t key =
          derive_key(derive_key(options_.seed, 2), static_cast<std::uint64_t>(step) * 65536 + i);
      sum += loss_(batch, {.scale = 1.f / static_cast<float>(std::max<Index>(1, counted)),
                           .backward = true,
                           .gradient_checkpoint = options_.gradient_checkpoint,
                           .dropout = {true, key}})
                 .sum;
    }
    const double loss = sum / static_cast<double>(std::max<Index>(1, counted));
    const double norm = gradient_norm(parameters_);
    if (!std::isfinite(loss) || !std::isfinite(norm)) {
      restore();
      throw NumericError(message("step ", step + 1,
                                 ": expected a finite loss and gradient, found loss ", loss,
                                 " and gradient norm ", norm, "; a lower learning rate may help"));
    }
    keep(step);
    clip_gradient_values(parameters_, options_.max_gradient_value);
    clip_gradients(parameters_, options_.max_gradient_norm);
    const double rate = options_.learning_rate *
                        schedule_factor(options_.schedule, step, options_.warmup_steps, total);
    optimizer_.set_learning_rate(rate);
    try {
      optimizer_.step(parameters_);
    } catch (const Error& failure) {
      restore();
      throw Error(message("step ", step + 1, ": ", failure.what()));
    }
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    return {step + 1,      loss, rate, norm, static_cast<double>(tokens) / seconds.count(),
            resident_mib()};
  }

  /// The micro-batches of a step; every epoch has its own order.
  std::vector<Batch> batches_of(Index step) {
    const Index epoch = step / steps_per_epoch();
    if (order_.empty() || epoch != epoch_) {
      order_ =
          permutation(static_cast<Index>(examples_.size()),
                      derive_key(derive_key(options_.seed, 1), static_cast<std::uint64_t>(epoch)));
      epoch_ = epoch;
    }
    const auto count = static_cast<Index>(order_.size());
    Index next = (step % steps_per_epoch()) * options_.batch * options_.accumulate;
    std::vector<Batch> batches;
    for (Index i = 0; i < options_.accumulate && next < count; ++i) {
      const Index size = std::min(options_.batch, count - next);
      batches.push_back(
          make_batch(examples_, std::span(order_).subspan(static_cast<std::size_t>(next),
                                                          static_cast<std::size_t>(size))));
      next += size;
    }
    return batches;
  }

  void keep(Index updates) {
    good_.resize(parameters_.size());
    for (std::size_t i = 0; i < parameters_.size(); ++i) good_[i] = parameters_[i]->value;
    good_steps_ = updates;
  }
  void restore() {
    for (std::size_t i = 0; i < good_.size(); ++i) parameters_[i]->value = good_[i];
  }

  LossFunction loss_;
  const std::vector<EncodedText>& examples_;
  TrainOptions options_;
  ParameterList<T> parameters_;
  AnyOptimizer<T> optimizer_;
  std::vector<Index> order_;
  Index epoch_ = -1;
  std::vector<RowMatrix<T>> good_;
  Index good_steps_ = 0;
};

}  // namespace qlora
