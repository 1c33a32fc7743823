/// Any optimizer behind one interface, for a trainer that works with all of them.
///
///     qlora::AnyOptimizer<> optimizer{qlora::AdamW<>({.learning_rate = 2e-4})};
///     optimizer.set_learning_rate(1e-4);
///     optimizer.step(parameters);
///
/// Each member does what the member of Optimizer with the same name does, and throws what that one
/// throws.
#pragma once

#include <concepts>
#include <istream>
#include <memory>
#include <ostream>
#include <type_traits>
#include <utility>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/core/parameter.hpp"
#include "qlora/memory/pager.hpp"

namespace qlora::inline QLORA_ABI {

/// The optimizer has `step(parameters)`, which makes one update and returns whether it did.
template <class O, class T>
concept OptimizerSteps = requires(O& optimizer, const ParameterList<T>& parameters) {
  { optimizer.step(parameters) } -> std::convertible_to<bool>;
};
/// The optimizer has an `options().learning_rate` that can be read and set.
template <class O>
concept OptimizerRate = requires(O& optimizer, const O& constant) {
  optimizer.options().learning_rate = double();
  { constant.options().learning_rate } -> std::convertible_to<double>;
};
/// The optimizer has state that is counted, saved and loaded.
template <class O, class T>
concept OptimizerState = requires(O& optimizer, const O& constant, std::ostream& out,
                                  std::istream& in, const ParameterList<T>& parameters) {
  constant.save(out);
  optimizer.load(in);
  optimizer.load(in, parameters);
  { constant.steps() } -> std::convertible_to<Index>;
  { constant.skipped() } -> std::convertible_to<Index>;
  { constant.torn() } -> std::convertible_to<bool>;
  { constant.state_bytes() } -> std::convertible_to<Index>;
  { constant.pager().counters() } -> std::convertible_to<PagerCounters>;
};
/// The optimizer has the members for the average of its iterates. An optimizer that averages
/// nothing has them too.
template <class O, class T>
concept OptimizerAverage = requires(O& optimizer, const O& constant,
                                    const ParameterList<T>& parameters) {
  { O::averages } -> std::convertible_to<bool>;
  { constant.averaged() } -> std::convertible_to<bool>;
  optimizer.use_average(parameters);
  optimizer.use_iterate(parameters);
  { optimizer.average(parameters) } -> std::convertible_to<std::vector<RowMatrix<T>>>;
};

/// Owns an optimizer of any type. One thread may call it at a time.
template <Scalar T = float>
class AnyOptimizer {
 public:
  /// Takes an Optimizer, or another type with the members that the four concepts above ask for.
  template <class Optimizer>
  requires(!std::is_same_v<Optimizer, AnyOptimizer>) explicit AnyOptimizer(Optimizer optimizer)
      : optimizer_(std::make_unique<Model<Optimizer>>(std::move(optimizer))) {}

  /// Makes one update. Returns false and changes no parameter if a gradient is not finite.
  bool step(const ParameterList<T>& parameters) { return optimizer_->step(parameters); }
  /// The learning rate in the optimizer's options.
  double learning_rate() const { return optimizer_->learning_rate(); }
  /// Sets the learning rate of the steps that follow.
  void set_learning_rate(double rate) { optimizer_->set_learning_rate(rate); }
  /// These members call those of the optimizer; `counters` are its pager's.
  Index steps() const { return optimizer_->steps(); }
  Index skipped() const { return optimizer_->skipped(); }
  bool torn() const { return optimizer_->torn(); }
  Index state_bytes() const { return optimizer_->state_bytes(); }
  PagerCounters counters() const { return optimizer_->counters(); }
  void save(std::ostream& out) const { optimizer_->save(out); }
  void load(std::istream& in) { optimizer_->load(in); }
  void load(std::istream& in, const ParameterList<T>& parameters) {
    optimizer_->load(in, parameters);
  }
  bool averages() const { return optimizer_->averages(); }
  bool averaged() const { return optimizer_->averaged(); }
  void use_average(const ParameterList<T>& parameters) { optimizer_->use_average(parameters); }
  void use_iterate(const ParameterList<T>& parameters) { optimizer_->use_iterate(parameters); }
  std::vector<RowMatrix<T>> average(const ParameterList<T>& parameters) {
    return optimizer_->average(parameters);
  }

 private:
  struct Concept {
    virtual ~Concept() = default;
    virtual bool step(const ParameterList<T>& parameters) = 0;
    virtual double learning_rate() const = 0;
    virtual void set_learning_rate(double rate) = 0;
    virtual Index steps() const = 0;
    virtual Index skipped() const = 0;
    virtual bool torn() const = 0;
    virtual Index state_bytes() const = 0;
    virtual PagerCounters counters() const = 0;
    virtual void save(std::ostream& out) const = 0;
    virtual void load(std::istream& in) = 0;
    virtual void load(std::istream& in, const ParameterList<T>& parameters) = 0;
    virtual bool averages() const = 0;
    virtual bool averaged() const = 0;
    virtual void use_average(const ParameterList<T>& parameters) = 0;
    virtual void use_iterate(const ParameterList<T>& parameters) = 0;
    virtual std::vector<RowMatrix<T>> average(const ParameterList<T>& parameters) = 0;
  };

  template <class Optimizer>
  struct Model final : Concept {
    static_assert(OptimizerSteps<Optimizer, T>,
                  "AnyOptimizer: the optimizer must have step(parameters) that takes a "
                  "ParameterList of the same numbers and returns a bool");
    static_assert(OptimizerRate<Optimizer>,
                  "AnyOptimizer: the optimizer must have options() with a learning_rate that can "
                  "be set");
    static_assert(OptimizerState<Optimizer, T>,
                  "AnyOptimizer: the optimizer must have save, load, steps, skipped, torn, "
                  "state_bytes and pager, as Optimizer has");
    static_assert(OptimizerAverage<Optimizer, T>,
                  "AnyOptimizer: the optimizer must have averages, averaged, use_average, "
                  "use_iterate and average, as Optimizer has");
    explicit Model(Optimizer o) : optimizer(std::move(o)) {}
    bool step(const ParameterList<T>& parameters) override { return optimizer.step(parameters); }
    double learning_rate() const override { return optimizer.options().learning_rate; }
    void set_learning_rate(double rate) override { optimizer.options().learning_rate = rate; }
    Index steps() const override { return optimizer.steps(); }
    Index skipped() const override { return optimizer.skipped(); }
    bool torn() const override { return optimizer.torn(); }
    Index state_bytes() const override { return optimizer.state_bytes(); }
    PagerCounters counters() const override { return optimizer.pager().counters(); }
    void save(std::ostream& out) const override { optimizer.save(out); }
    void load(std::istream& in) override { optimizer.load(in); }
    void load(std::istream& in, const ParameterList<T>& parameters) override {
      optimizer.load(in, parameters);
    }
    bool averages() const override { return Optimizer::averages; }
    bool averaged() const override { return optimizer.averaged(); }
    void use_average(const ParameterList<T>& parameters) override {
      optimizer.use_average(parameters);
    }
    void use_iterate(const ParameterList<T>& parameters) override {
      optimizer.use_iterate(parameters);
    }
    std::vector<RowMatrix<T>> average(const ParameterList<T>& parameters) override {
      return optimizer.average(parameters);
    }
    Optimizer optimizer;
  };

  std::unique_ptr<Concept> optimizer_;
};

}  // namespace qlora::inline QLORA_ABI
