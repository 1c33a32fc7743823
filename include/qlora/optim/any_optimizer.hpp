/// An optimizer behind one interface, for a trainer that does not care which.
///
///     qlora::AnyOptimizer<> optimizer{qlora::AdamW<>({.learning_rate = 2e-4})};
///     optimizer.set_learning_rate(1e-4);
///     optimizer.step(parameters);
///
/// Every member does what that of Optimizer does.
#pragma once

#include <istream>
#include <memory>
#include <ostream>
#include <type_traits>
#include <utility>
#include <vector>

#include "qlora/core/parameter.hpp"
#include "qlora/memory/pager.hpp"

namespace qlora {

/// One thread may call it at a time.
template <Scalar T = float>
class AnyOptimizer {
 public:
  /// Takes an Optimizer.
  template <class Optimizer>
  requires(!std::is_same_v<Optimizer, AnyOptimizer>) explicit AnyOptimizer(Optimizer optimizer)
      : optimizer_(std::make_unique<Model<Optimizer>>(std::move(optimizer))) {}

  bool step(const ParameterList<T>& parameters) { return optimizer_->step(parameters); }
  /// That of its options.
  double learning_rate() const { return optimizer_->learning_rate(); }
  void set_learning_rate(double rate) { optimizer_->set_learning_rate(rate); }
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

}  // namespace qlora
