/// The state of a `for`: what `loop` tells, with items filtered only when they are needed, as
/// Jinja's generators do.
#pragma once

#include <functional>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/text/jinja/value.hpp"

namespace qlora::inline QLORA_ABI::jinja {

/// One run of one `for`. It belongs to its rendering's thread.
class Loop {
 public:
  /// `wanted` chooses items; without it all are.
  Loop(std::vector<Value> items, std::function<bool(const Value&)> wanted)
      : items_(std::move(items)), wanted_(std::move(wanted)) {}

  /// Goes to the next item; false after the last.
  bool advance() {
    std::optional<Value> next = next_ ? std::exchange(next_, std::nullopt) : take();
    if (!next) return false;
    previous_ = std::exchange(current_, std::move(next));
    ++index_;
    return true;
  }
  /// The item that the loop is at.
  const Value& current() const { return *current_; }
  /// The number of the current item, from 0.
  std::size_t index() const { return index_ - 1; }

  /// After the loop its items can't be filtered any more.
  void end() {
    items_.clear();
    wanted_ = nullptr;
  }

  /// loop.name; nothing for a name that Jinja's loops do not have.
  std::optional<Value> attribute(std::string_view name) {
    if (name == "index") return Value::number(index_);
    if (name == "index0") return Value::number(index());
    if (name == "first") return Value(index_ == 1);
    if (name == "last") return Value(!peek());
    if (name == "length") return Value::number(length());
    if (name == "revindex") return Value::number(length() - index());
    if (name == "revindex0") return Value::number(length() - index_);
    if (name == "previtem")
      return previous_ ? *previous_ : Value::undefined("there is no previous item");
    if (name == "nextitem") {
      const bool more = peek();
      return more ? *next_ : Value::undefined("there is no next item");
    }
    // Only recursive loops go deeper.
    if (name == "depth") return Value(1);
    if (name == "depth0") return Value(0);
    return std::nullopt;
  }

 private:
  std::optional<Value> take() {
    while (taken_ < items_.size()) {
      Value item = items_[taken_++];
      if (!wanted_ || wanted_(item)) return item;
    }
    return std::nullopt;
  }
  bool peek() {
    if (!next_) next_ = take();
    return next_.has_value();
  }
  /// All items; those that are not filtered yet are now.
  std::size_t length() {
    if (wanted_) {
      std::vector<Value> rest;
      while (auto item = take()) rest.push_back(std::move(*item));
      items_ = std::move(rest);
      taken_ = 0;
      wanted_ = nullptr;
    }
    return index_ + (next_ ? 1 : 0) + items_.size() - taken_;
  }

  std::vector<Value> items_;
  std::function<bool(const Value&)> wanted_;
  std::size_t taken_ = 0, index_ = 0;
  std::optional<Value> previous_, current_, next_;
};

}  // namespace qlora::inline QLORA_ABI::jinja
