/// Arguments of a call, and what built-ins need of the evaluator. All of it belongs to one
/// rendering and to its thread.
#pragma once

#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/text/jinja/budget.hpp"
#include "qlora/text/jinja/operators.hpp"

namespace qlora::inline QLORA_ABI::jinja {

/// What a call passes, as it stands in the template.
struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;
};

/// Arguments by the parameters of a built-in, in their order.
class Given {
 public:
  /// Throws Failure for more arguments than parameters and for names that are not among them.
  Given(const Arguments& arguments, std::string_view function,
        std::initializer_list<std::string_view> parameters)
      : function_(function), parameters_(parameters), values_(parameters.size()) {
    expect(arguments.positional.size() <= values_.size(), "'", function, "': expected at most ",
           values_.size(), " arguments, found ", arguments.positional.size());
    for (std::size_t i = 0; i < arguments.positional.size(); ++i)
      values_[i] = arguments.positional[i];
    for (const auto& [name, value] : arguments.named) {
      std::size_t place = 0;
      while (place < parameters_.size() && parameters_[place] != name) ++place;
      expect(place < parameters_.size(), "'", function, "': the argument '", name,
             "' is not known");
      expect(!values_[place], "'", function, "': the argument '", name, "' comes twice");
      values_[place] = value;
    }
  }

  /// Whether the parameter was given, and whether it is something else than none.
  bool has(std::size_t i) const { return values_[i].has_value(); }
  bool has_value(std::size_t i) const { return has(i) && !values_[i]->is(Kind::none); }

  /// Throws Failure when it is not given.
  const Value& value(std::size_t i) const {
    expect(has(i), "'", function_, "': the argument '", parameters_[i], "' is missing");
    return *values_[i];
  }
  /// The parameter as true or false, a whole number or a text, if it was given. Throws Failure for
  /// another kind.
  bool flag(std::size_t i, bool otherwise) const { return has(i) ? value(i).truth() : otherwise; }
  std::int64_t whole(std::size_t i, std::int64_t otherwise) const {
    if (!has(i)) return otherwise;
    expect(value(i).is_whole(), "'", function_, "': ", parameters_[i],
           ": expected a whole number, found ", value(i).type());
    return value(i).whole();
  }
  const Text& text(std::size_t i) const {
    require_defined(value(i));
    expect(value(i).is_text(), "'", function_, "': ", parameters_[i], ": expected a text, found ",
           value(i).type());
    return value(i).text();
  }

 private:
  std::string_view function_;
  std::vector<std::string_view> parameters_;
  std::vector<std::optional<Value>> values_;
};

/// The evaluator as built-ins see it.
class Machine {
 public:
  Machine() = default;
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;
  virtual ~Machine() = default;

  /// What the rendering may still use, and filters and tests by their names.
  virtual Budget& budget() = 0;
  virtual Value filter(const std::string& name, const Value& subject, const Arguments& rest) = 0;
  virtual bool test(const std::string& name, const Value& subject, const Arguments& rest) = 0;
  /// value.name and value[key]
  virtual Value attribute(const Value& value, const std::string& name) = 0;
  virtual Value item(const Value& value, const Value& key) = 0;
};

}  // namespace qlora::inline QLORA_ABI::jinja
