/// The fine-tuning loop: seeded shuffling, gradient accumulation, gradient clipping, and a
/// learning-rate schedule over any optimizer.
///
///     qlora::Trainer trainer(model, data.examples, {.steps = 100, .batch = 4});
///     trainer.run([](const qlora::StepMetrics& m) { print(m.loss); return true; });
///
/// The loss of a step is the mean over the counted targets of all its micro-batches together. The
/// examples of a micro-batch lie one after the other without padding.
#pragma once

#include <chrono>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <functional>
#include <limits>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/core/progress.hpp"
#include "qlora/core/random.hpp"
#include "qlora/core/rethrow.hpp"
#include "qlora/model/llama.hpp"
#include "qlora/optim/adam.hpp"
#include "qlora/optim/any_optimizer.hpp"
#include "qlora/optim/clip.hpp"
#include "qlora/optim/schedule.hpp"
#include "qlora/text/encoded_text.hpp"
#include "qlora/train/batch.hpp"
#include "qlora/train/metrics.hpp"

namespace qlora::inline QLORA_ABI {

/// How to train. `learning_rate` and `weight_decay` are those of the trainer's own AdamW. An
/// optimizer that is given to the trainer keeps its own. The schedule's factor multiplies either
/// rate. A plain value, which several threads may read together.
struct TrainOptions {
  Index steps = 0;       ///< optimizer steps; 0 trains for `epochs` instead
  Index epochs = 1;      ///< passes over the data
  Index batch = 4;       ///< examples per micro-batch
  Index accumulate = 1;  ///< micro-batches per step
  double learning_rate = 2e-4;
  double weight_decay = 0;
  Schedule schedule = Schedule::constant;
  Index warmup_steps = 0;            ///< steps in which the rate rises linearly from 0
  double max_gradient_norm = 0.3;    ///< limit of the global norm; 0 stands for none
  double max_gradient_value = 0;     ///< limit of each number, applied first; 0 stands for none
  std::uint64_t seed = 0;            ///< of the order of the examples and of dropout
  bool gradient_checkpoint = false;  ///< whether to recompute activations in the backward pass
};

/// The mean loss over the counted targets of all examples, in nats, without dropout. It computes
/// batch_size examples at a time. Throws OptionError for a batch_size below 1 and where no example
/// has a target, and what make_batch and Llama::loss throw. Several threads may measure one model
/// at once.
template <Scalar T>
double mean_loss(const Llama<T>& model, const std::vector<EncodedText>& examples,
                 Index batch_size = 2) {
  require<OptionError>(batch_size > 0, "mean_loss: expected a batch of 1 or more, found ",
                       batch_size);
  CrossEntropy total;
  typename Llama<T>::Workspace workspace;
  for (Index begin = 0; begin < static_cast<Index>(examples.size()); begin += batch_size) {
    std::vector<Index> chosen;
    for (Index i = begin; i < std::min(begin + batch_size, static_cast<Index>(examples.size()));
         ++i)
      chosen.push_back(i);
    const Batch batch = make_batch(examples, chosen);
    const CrossEntropy part = model.loss(batch.ids, batch.targets, batch.layout, workspace);
    total.sum += part.sum;
    total.counted += part.counted;
  }
  require<OptionError>(total.counted > 0, "mean_loss: expected examples with targets, found none");
  return total.sum / static_cast<double>(total.counted);
}

/// Computes the summed loss of a batch, on the CPU or on a device. With options.backward it also
/// adds to the gradients of the parameters.
using LossFunction = std::function<CrossEntropy(const Batch& batch, const LossOptions& options)>;

/// A type that can be called as a LossFunction is, so that a Trainer takes it.
template <class L>
concept TrainingLoss = std::convertible_to<L, LossFunction>;

/// The LossFunction of a model. The model must outlive it.
template <Scalar T>
LossFunction loss_of(Llama<T>& model) {
  return [&model](const Batch& batch, const LossOptions& options) {
    return model.loss(batch.ids, batch.targets, batch.layout, options);
  };
}

/// Trains parameters on examples, and both must outlive it. While `report` runs and after `run`,
/// the parameters hold whole updates. One thread may call it at a time.
template <Scalar T = float>
class Trainer {
 public:
  using Examples = std::vector<EncodedText>;

  /// Trains the adapters of a model by AdamW. Throws OptionError for options out of range, for a
  /// model without an adapter, and for no examples. Throws FormatError for an example without a
  /// target that counts.
  Trainer(Llama<T>& model, const Examples& examples, const TrainOptions& options)
      : Trainer(model, examples, options,
                AnyOptimizer<T>(AdamW<NumberState<T>>({.learning_rate = options.learning_rate,
                                                       .weight_decay = options.weight_decay}))) {}

  /// Trains the adapters of a model by any optimizer, with its own learning rate and weight decay.
  /// Throws as the first constructor does.
  Trainer(Llama<T>& model, const Examples& examples, const TrainOptions& options,
          AnyOptimizer<T> optimizer)
      : Trainer(model.parameters(), loss_of(model), examples, options, std::move(optimizer)) {}

  /// Trains parameters by any TrainingLoss. Throws as the first constructor does.
  template <class Loss = LossFunction>
  Trainer(ParameterList<T> parameters, Loss loss, const Examples& examples,
          const TrainOptions& options, AnyOptimizer<T> optimizer)
      : loss_(checked(std::move(loss))),
        examples_(examples),
        options_(options),
        parameters_(std::move(parameters)),
        optimizer_(std::move(optimizer)),
        learning_rate_(optimizer_.learning_rate()) {
    require<OptionError>(!examples.empty(), "training: expected at least one example, found none");
    require<OptionError>(options.batch > 0 && options.accumulate > 0,
                         "training: expected a batch and an accumulation of 1 or "
                         "more, found ",
                         options.batch, " and ", options.accumulate);
    require<OptionError>(options.accumulate <= most_micro_batches,
                         "training: expected an accumulation of at most ", most_micro_batches,
                         ", found ", options.accumulate);
    require<OptionError>(options.steps >= 0 && (options.steps > 0 || options.epochs > 0),
                         "training: expected a number of steps or epochs above 0");
    require<OptionError>(options.warmup_steps >= 0,
                         "training: expected 0 warm-up steps or more, found ",
                         options.warmup_steps);
    require<OptionError>(std::isfinite(learning_rate_) && learning_rate_ >= 0,
                         "training: expected a learning rate of 0 or more, found ", learning_rate_);
    require<OptionError>(
        !std::isnan(options.max_gradient_norm) && !std::isnan(options.max_gradient_value),
        "training: expected limits of the gradient that are numbers, found NaN");
    require<OptionError>(!parameters_.empty(), "training: the model has no adapter");
    for (std::size_t i = 0; i < examples.size(); ++i) require_target(i);
  }

  // Temporary examples would be gone before they are used.
  Trainer(Llama<T>&, const Examples&&, const TrainOptions&) = delete;
  Trainer(Llama<T>&, const Examples&&, const TrainOptions&, AnyOptimizer<T>) = delete;
  template <class Loss = LossFunction>
  Trainer(ParameterList<T>, Loss, const Examples&&, const TrainOptions&, AnyOptimizer<T>) = delete;

  /// The number of optimizer steps in one pass over the data.
  Index steps_per_epoch() const {
    const Index examples_a_step = options_.batch * options_.accumulate;
    return (static_cast<Index>(examples_.size()) + examples_a_step - 1) / examples_a_step;
  }
  /// The number of optimizer steps of a run.
  Index total_steps() const {
    return options_.steps > 0 ? options_.steps : options_.epochs * steps_per_epoch();
  }

  /// Runs all steps. After each step `report` is called with its measurements. If it returns false,
  /// the run ends with Cancelled. After that, and after the last step, the parameters are those to
  /// save; an optimizer that averages has then replaced them by the average. A further call runs
  /// the same steps once more, from where the last one ended.
  ///
  /// Throws NumericError for a loss or a gradient that is not finite and, after the last step, for
  /// a parameter that is not finite or far too large. What the optimizer, the loss or `report`
  /// throw goes on to the caller. In all these cases the parameters first go back to the last ones
  /// whose loss was finite, if there are any; good_steps says how many updates they hold. The last
  /// update of a run is checked by the loss of its batch without dropout. After such a failure the
  /// state of the optimizer may be ahead of the parameters, so that further calls throw Error.
  void run(const ProgressCallback<StepMetrics>& report = {}) {
    require<Error>(!failed_, "training: an earlier run failed; start anew from the parameters");
    const Index total = total_steps();
    Index done = 0;
    bool stopped = false;
    try {
      while (done < total && !stopped) {
        const StepMetrics metrics = run_step(done++, total);
        stopped = report && !report(metrics);
      }
      finish(done - 1);
    } catch (...) {
      failed_ = true;
      for (std::size_t i = 0; i < good_.size(); ++i) parameters_[i].value() = good_[i];
      throw;
    }
    if (stopped) throw Cancelled(message("training was stopped after step ", done));
  }

  /// Replaces the parameters by those to evaluate and to save, as Optimizer::use_average does. It
  /// may be called within `report`: the next step goes on as if it had not been, bit for bit.
  /// Throws as Optimizer::use_average does.
  void use_average() {
    if (!optimizer_.averages() || optimizer_.averaged()) return;
    iterate_.clear();
    for (const auto& p : parameters_) iterate_.push_back(p.value());
    optimizer_.use_average(parameters_);
  }
  /// Replaces the average by the very parameters that use_average replaced. Throws as
  /// Optimizer::use_iterate does.
  void use_iterate() {
    if (!optimizer_.averaged()) return;
    optimizer_.use_iterate(parameters_);
    // What was there before, without the rounding of the way there and back.
    for (std::size_t i = 0; i < iterate_.size(); ++i) parameters_[i].value() = iterate_[i];
  }

  /// The optimizer, for its counters and its state.
  const AnyOptimizer<T>& optimizer() const { return optimizer_; }

  /// The number of updates of the last run that are known to give a finite loss. After a failure
  /// the parameters hold just these.
  Index good_steps() const { return good_steps_; }

 private:
  template <class Loss>
  static LossFunction checked(Loss loss) {
    static_assert(TrainingLoss<Loss>,
                  "Trainer: the loss must be callable as loss(batch, options) with a Batch and "
                  "LossOptions, and return a CrossEntropy");
    if constexpr (TrainingLoss<Loss>) return loss;
  }

  static constexpr Index most_micro_batches = 65536;  // the dropout keys that one step has

  void require_target(std::size_t i) const {
    const EncodedText& example = examples_[i];
    require<FormatError>(example.counted.size() == example.ids.size(), "training: example ", i,
                         ": expected a mark for each of its ", example.ids.size(),
                         " tokens, found ", example.counted.size());
    bool counts = false;
    for (std::size_t t = 1; t < example.counted.size(); ++t) counts |= example.counted[t] != 0;
    require<FormatError>(counts, "training: example ", i,
                         ": expected a target that counts, found none in its ", example.ids.size(),
                         " tokens");
  }

  StepMetrics run_step(Index step, Index total) {
    const auto start = std::chrono::steady_clock::now();
    use_iterate();
    const std::vector<Batch> micro_batches = batches_of(step);
    Index tokens = 0;
    for (const Batch& batch : micro_batches) tokens += static_cast<Index>(batch.ids.size());
    zero_gradients(parameters_);
    const double loss = loss_of_step(step, micro_batches, true);
    const double norm = gradient_norm(parameters_);
    if (!std::isfinite(loss) || !std::isfinite(norm))
      fail(step, message("expected a finite loss and gradient, found loss ", loss,
                         " and gradient norm ", norm));
    const double rate =
        learning_rate_ * schedule_factor(options_.schedule, step, options_.warmup_steps, total);
    const bool updated = of_step(step, [&] {
      keep(step);
      clip_gradient_values(parameters_, options_.max_gradient_value);
      clip_gradients(parameters_, options_.max_gradient_norm);
      optimizer_.set_learning_rate(rate);
      return optimizer_.step(parameters_);
    });
    if (!updated) fail(step, "expected finite gradients after clipping");
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    return {{step + 1, total}, loss, rate, norm, static_cast<double>(tokens) / seconds.count(),
            resident_mib()};
  }

  /// The mean loss of a step's micro-batches. With `training` it uses dropout and adds the
  /// gradients.
  double loss_of_step(Index step, const std::vector<Batch>& micro_batches, bool training) {
    Index counted = 0;
    for (const Batch& batch : micro_batches) counted += batch.counted;
    double sum = 0;
    for (std::size_t i = 0; i < micro_batches.size(); ++i) {
      const std::uint64_t key = derive_key(
          derive_key(options_.seed, 2), static_cast<std::uint64_t>(step * most_micro_batches) + i);
      sum += loss_(micro_batches[i], {.scale = 1.f / static_cast<float>(counted),
                                      .backward = training,
                                      .gradient_checkpoint = options_.gradient_checkpoint,
                                      .dropout = {training, key}})
                 .sum;
    }
    return sum / static_cast<double>(counted);
  }

  /// Checks the last update of a run by a loss, as the next step would have done.
  void finish(Index step) {
    of_step(step, [&] { use_average(); });
    const double largest = largest_parameter();
    // A number whose square is beyond T's range can't take part in a layer's product.
    if (!(largest < std::sqrt(static_cast<double>(std::numeric_limits<T>::max()))))
      fail(step, message("expected finite parameters of a sensible size after the update, found ",
                         largest));
    const double loss = loss_of_step(step, batches_of(step), false);
    if (!std::isfinite(loss))
      fail(step, message("expected a finite loss after the update, found ", loss));
    keep(step + 1);
  }

  /// Calls `work`. Errors that it throws get the number of the step in their message.
  template <class Work>
  static auto of_step(Index step, Work&& work) {
    try {
      return work();
    } catch (const Error& failure) {
      rethrow_as(failure, message("step ", step + 1, ": ", failure.what()));
    }
  }

  /// The largest magnitude of the parameters; NaN if one of them is NaN.
  double largest_parameter() const {
    double largest = 0;
    for (const auto& p : parameters_) {
      const MatrixMap<T> numbers = p.value();
      for (Index i = 0; i < numbers.size(); ++i) {
        const double size = std::abs(static_cast<double>(numbers.data()[i]));
        if (!(size <= largest)) largest = size;
        if (std::isnan(largest)) return largest;
      }
    }
    return largest;
  }

  [[noreturn]] static void fail(Index step, const std::string& what) {
    throw NumericError(message("step ", step + 1, ": ", what, "; a lower learning rate may help"));
  }

  /// The micro-batches of a step. Every epoch has an order of its own.
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

  /// Keeps a copy of the parameters that would be saved now.
  void keep(Index updates) {
    if (optimizer_.averages()) {
      good_ = optimizer_.average(parameters_);
    } else {
      good_.resize(parameters_.size());
      for (std::size_t i = 0; i < parameters_.size(); ++i) good_[i] = parameters_[i].value();
    }
    good_steps_ = updates;
  }
  LossFunction loss_;
  const Examples& examples_;
  TrainOptions options_;
  ParameterList<T> parameters_;
  AnyOptimizer<T> optimizer_;
  double learning_rate_;  // the optimizer's at first; the schedule's factor multiplies it
  std::vector<Index> order_;
  Index epoch_ = -1;
  std::vector<RowMatrix<T>> good_, iterate_;
  Index good_steps_ = 0;
  bool failed_ = false;
};

#if defined(QLORA_COMPILED)  // in the target qlora::compiled
extern template class Trainer<float>;
#endif

}  // namespace qlora::inline QLORA_ABI
