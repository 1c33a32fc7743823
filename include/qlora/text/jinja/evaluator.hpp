/// Runs a parsed template: scopes as Jinja has them, macros, loops, and output that remembers where
/// its parts came from.
#pragma once

#include <array>
#include <ctime>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "qlora/text/jinja/loop.hpp"
#include "qlora/text/jinja/methods.hpp"
#include "qlora/text/jinja/syntax.hpp"
#include "qlora/text/jinja/tests.hpp"

namespace qlora::jinja {

/// The variables of a block; what it does not know, the block around it may.
struct Scope {
  std::shared_ptr<Scope> outer;
  std::vector<std::pair<std::string, Value>> variables;

  Value* find(std::string_view name) {
    for (Scope* scope = this; scope != nullptr; scope = scope->outer.get())
      for (auto& [known, value] : scope->variables)
        if (known == name) return &value;
    return nullptr;
  }
  void set(const std::string& name, Value value) {
    for (auto& [known, old] : variables)
      if (known == name) {
        old = std::move(value);
        return;
      }
    variables.emplace_back(name, std::move(value));
  }
};

class Evaluator : public Machine {
 public:
  /// `now` gives the time that strftime_now writes.
  Evaluator(const Limits& limits, std::function<std::tm()> now)
      : budget_(limits), now_(std::move(now)) {}
  Evaluator(const Evaluator&) = delete;
  Evaluator& operator=(const Evaluator&) = delete;
  /// Namespaces may hold each other.
  ~Evaluator() override {
    for (const auto& space : spaces_) space->attributes.clear();
  }

  /// The output of the template. Throws Failure with the line.
  Text run(const Body& body, std::vector<std::pair<std::string, Value>> context) {
    scope_ = std::make_shared<Scope>();
    for (auto& [name, value] : context) scope_->set(name, std::move(value));
    scope_ = inner_scope();
    Text out;
    (void)execute(body, out);
    return out;
  }

  Budget& budget() override { return budget_; }
  Value filter(const std::string& name, const Value& subject, const Arguments& rest) override {
    budget_.spend();
    return apply_filter(*this, name, subject, rest);
  }
  bool test(const std::string& name, const Value& subject, const Arguments& rest) override {
    budget_.spend();
    return apply_test(name, subject, rest);
  }

  Value attribute(const Value& value, const std::string& name) override {
    require_defined(value);
    if (value.is(Kind::name_space))
      if (const Value* found = value.name_space()->find(name)) return *found;
    if (value.is(Kind::loop)) return loop_attribute(value, name);
    if (name.starts_with("_"))
      return Value::undefined(message("the attribute '", name, "' is not allowed"));
    if (const auto method = find_method(value, name)) return *method;
    if (value.is(Kind::dict))
      if (const Value* found = value.dict().find(name)) return *found;
    expect(!value.is(Kind::callable), "the attribute '", name, "' of a function is not supported");
    return missing(value, name);
  }

  Value item(const Value& value, const Value& key) override {
    require_defined(value);
    if (value.is(Kind::dict)) {
      if (const Value* found = value.dict().find(key)) return *found;
    } else if (key.is_whole() && value.is_text()) {
      const std::string& bytes = value.text().bytes;
      budget_.spend(bytes.size() / 16);
      const auto at = place_of(key.whole(), character_count(bytes));
      if (!at) return missing(value, std::to_string(key.whole()));
      const std::size_t begin = byte_of_character(bytes, *at);
      return value.text().slice(begin, begin + character_at(bytes, begin).length);
    } else if (key.is_whole() && value.is(Kind::list)) {
      const List& list = value.list();
      const auto at = list.flavour == Flavour::list || list.flavour == Flavour::tuple ||
                              list.flavour == Flavour::range
                          ? place_of(key.whole(), list.items.size())
                          : std::nullopt;
      if (at) return list.items[*at];
      return missing(value, std::to_string(key.whole()));
    }
    if (key.is_text()) return key_as_attribute(value, key.text().bytes);
    return missing(value, str(key).bytes);
  }

 private:
  using E = Expression::Type;
  using S = Statement::Type;
  enum class Flow : std::uint8_t { next, leave, again };

  static Value missing(const Value& of, const std::string& name) {
    return Value::undefined(message("a ", of.type(), " has no '", name, "'"));
  }
  static std::optional<std::size_t> place_of(std::int64_t index, std::size_t size) {
    if (index < 0) index += static_cast<std::int64_t>(size);
    if (index < 0 || index >= static_cast<std::int64_t>(size)) return std::nullopt;
    return static_cast<std::size_t>(index);
  }
  /// value["name"] where there is no such item: an attribute.
  Value key_as_attribute(const Value& value, const std::string& name) {
    if (value.is(Kind::name_space) || value.is(Kind::loop)) return attribute(value, name);
    if (name.starts_with("_")) return missing(value, name);
    if (const auto method = find_method(value, name)) return *method;
    return missing(value, name);
  }

  /// Bounds how deep the evaluator calls itself.
  class Nested {
   public:
    explicit Nested(Evaluator& evaluator) : evaluator_(evaluator) {
      expect(++evaluator.depth_ <= evaluator.budget_.limits().depth,
             "the template calls itself deeper than ", evaluator.budget_.limits().depth);
      evaluator.budget_.spend();
    }
    Nested(const Nested&) = delete;
    Nested& operator=(const Nested&) = delete;
    ~Nested() { --evaluator_.depth_; }

   private:
    Evaluator& evaluator_;
  };

  std::shared_ptr<Scope> inner_scope() {
    auto inner = std::make_shared<Scope>();
    inner->outer = scope_;
    return inner;
  }
  /// The scope `inner` while this lives.
  class Within {
   public:
    Within(Evaluator& evaluator, std::shared_ptr<Scope> inner)
        : evaluator_(evaluator), before_(std::exchange(evaluator.scope_, std::move(inner))) {}
    Within(const Within&) = delete;
    Within& operator=(const Within&) = delete;
    ~Within() { evaluator_.scope_ = std::move(before_); }

   private:
    Evaluator& evaluator_;
    std::shared_ptr<Scope> before_;
  };

  // Statements.

  Flow execute(const Body& body, Text& out) {
    for (const Statement& statement : body) {
      const Flow flow = execute(statement, out);
      if (flow != Flow::next) return flow;
    }
    return Flow::next;
  }

  Flow execute(const Statement& statement, Text& out) {
    try {
      const Nested nested(*this);
      return run_statement(statement, out);
    } catch (Failure& failure) {
      if (failure.line == 0) failure.line = statement.line;
      throw;
    }
  }

  void write(const Text& text, Text& out) {
    budget_.spend(text.size() / 16);
    expect(out.size() + text.size() <= budget_.limits().bytes, "the output grows beyond ",
           budget_.limits().bytes, " bytes");
    out += text;
  }

  Flow run_statement(const Statement& s, Text& out) {
    switch (s.type) {
      case S::data:
        write(Text(s.name), out);
        return Flow::next;
      case S::print:
        for (const auto& value : s.values) write(str(evaluate(*value)), out);
        return Flow::next;
      case S::set:
        assign(*s.target, evaluate(*s.values[0]));
        return Flow::next;
      case S::set_block: {
        Text text = captured(s.bodies[0]);
        assign(*s.target, s.values.empty() ? Value(text) : filtered(*s.values[0], text));
        return Flow::next;
      }
      case S::loop:
        return run_loop(s, out);
      case S::branch: {
        for (std::size_t i = 0; i < s.values.size(); ++i)
          if (evaluate(*s.values[i]).truth()) return execute(s.bodies[i], out);
        return s.bodies.size() > s.values.size() ? execute(s.bodies.back(), out) : Flow::next;
      }
      case S::with: {
        auto inner = inner_scope();
        for (std::size_t i = 0; i < s.targets.size(); ++i) {
          const Value value = evaluate(*s.values[i]);
          assign(*s.targets[i], value, *inner);
        }
        const Within within(*this, std::move(inner));
        return execute(s.bodies[0], out);
      }
      case S::macro:
        scope_->set(s.macro->name, function_of(*s.macro));
        return Flow::next;
      case S::call: {
        const Expression& call = *s.values[0];
        const Value function = evaluate(*call.parts[0]);
        Arguments arguments = arguments_of(call);
        arguments.named.emplace_back("caller", function_of(*s.macro));
        write(str(call_value(function, arguments)), out);
        return Flow::next;
      }
      case S::filter:
        write(str(filtered(*s.values[0], captured(s.bodies[0]))), out);
        return Flow::next;
      case S::generation: {
        Text text = captured(s.bodies[0]);
        text.spans.push_back({0, text.size(), generation_origin});
        write(text, out);
        return Flow::next;
      }
      case S::loop_break:
        return Flow::leave;
      case S::loop_continue:
        return Flow::again;
      case S::unsupported:
        throw Failure(message("the statement '", s.name, "' is not supported"));
    }
    return Flow::next;
  }

  /// What a body writes, in a scope of its own.
  Text captured(const Body& body) {
    const Within within(*this, inner_scope());
    Text out;
    (void)execute(body, out);
    return out;
  }

  /// The filters of a block, applied to its text.
  Value filtered(const Expression& chain, const Value& text) {
    const Value subject = chain.parts[0] ? filtered(*chain.parts[0], text) : text;
    return filter(chain.name, subject, arguments_of(chain));
  }

  Value function_of(const Macro& macro) {
    auto function = std::make_shared<Callable>();
    function->type = Callable::Type::macro;
    function->name = macro.name;
    function->macro = &macro;
    function->scope = scope_;
    return Value(std::shared_ptr<const Callable>(std::move(function)));
  }

  void assign(const Expression& target, const Value& value) { assign(target, value, *scope_); }
  void assign(const Expression& target, const Value& value, Scope& scope) {
    if (target.type == E::name) {
      scope.set(target.name, value);
    } else if (target.type == E::member) {
      Value* space = scope_->find(target.name);
      expect(space != nullptr && space->is(Kind::name_space), "can't assign to an attribute of '",
             target.name, "': it is no namespace");
      set_attribute(*space->name_space(), target.names[0], value);
    } else {
      const std::vector<Value> items = items_of(value);
      expect(items.size() == target.parts.size(), "expected ", target.parts.size(),
             " values to unpack, found ", items.size());
      for (std::size_t i = 0; i < items.size(); ++i) assign(*target.parts[i], items[i], scope);
    }
  }
  static void set_attribute(Namespace& space, const std::string& name, const Value& value) {
    expect(!name.starts_with("_"), "a namespace can't hold '", name, "'");
    space.set(name, value);
  }

  Flow run_loop(const Statement& s, Text& out) {
    expect(!s.recursive, "the statement 'for ... recursive' is not supported");
    std::vector<Value> items = items_of(evaluate(*s.values[0]));
    budget_.spend_items(items.size());
    std::function<bool(const Value&)> wanted;
    if (s.test)
      wanted = [this, &s, outer = scope_](const Value& item) {
        auto inner = std::make_shared<Scope>();
        inner->outer = outer;
        assign(*s.target, item, *inner);
        const Within within(*this, std::move(inner));
        return evaluate(*s.test).truth();
      };
    const auto loop = std::make_shared<Loop>(std::move(items), std::move(wanted), ++loops_);
    bool any = false;
    while (loop->advance()) {
      any = true;
      const Within within(*this, inner_scope());
      assign(*s.target, loop->current());
      scope_->set("loop", Value(loop));
      if (execute(s.bodies[0], out) == Flow::leave) break;
    }
    --loops_;
    loop->end();
    if (!any && s.bodies.size() > 1) {
      const Within within(*this, inner_scope());
      return execute(s.bodies[1], out);
    }
    return Flow::next;
  }

  // Expressions.

  Value evaluate(const Expression& e) {
    if (e.type == E::constant) return e.constant;
    try {
      const Nested nested(*this);
      return compute(e);
    } catch (Failure& failure) {
      if (failure.line == 0) failure.line = e.line;
      throw;
    }
  }

  Value compute(const Expression& e) {
    switch (e.type) {
      case E::constant:
        return e.constant;
      case E::name:
        return variable(e.name);
      case E::list:
        return Value::list(all(e));
      case E::tuple:
        return Value::tuple(all(e));
      case E::dict: {
        DictBuilder dict;
        for (std::size_t i = 0; i < e.parts.size(); i += 2) {
          const Value key = evaluate(*e.parts[i]);
          dict.set(key, evaluate(*e.parts[i + 1]));
        }
        return dict.value();
      }
      case E::attribute:
        return attribute(evaluate(*e.parts[0]), e.name);
      case E::item: {
        const Value value = evaluate(*e.parts[0]);
        if (e.parts[1]->type == E::slice) return slice(value, *e.parts[1]);
        return item(value, evaluate(*e.parts[1]));
      }
      case E::slice:
        throw Failure("a slice among several indices is not supported");
      case E::call: {
        const Value function = evaluate(*e.parts[0]);
        return call_value(function, arguments_of(e));
      }
      case E::filter: {
        const Value subject = evaluate(*e.parts[0]);
        return filter(e.name, subject, arguments_of(e));
      }
      case E::test: {
        const Value subject = evaluate(*e.parts[0]);
        return test(e.name, subject, arguments_of(e));
      }
      case E::negate:
      case E::plus: {
        const Value value = evaluate(*e.parts[0]);
        require_defined(value);
        expect(value.is_number(), "a sign before a ", value.type(), " is not possible");
        if (value.is(Kind::real)) return e.type == E::negate ? -value.real() : value.real();
        if (e.type == E::plus) return value.whole();
        return arithmetic("-", 0, value, budget_);
      }
      case E::logical_not:
        return !evaluate(*e.parts[0]).truth();
      case E::logical_and: {
        Value left = evaluate(*e.parts[0]);
        return left.truth() ? evaluate(*e.parts[1]) : left;
      }
      case E::logical_or: {
        Value left = evaluate(*e.parts[0]);
        return left.truth() ? left : evaluate(*e.parts[1]);
      }
      case E::binary: {
        const Value left = evaluate(*e.parts[0]);
        return arithmetic(e.name, left, evaluate(*e.parts[1]), budget_);
      }
      case E::concat: {
        Text text;
        for (const auto& part : e.parts) {
          const Text next = str(evaluate(*part));
          budget_.spend_bytes(text.size() + next.size());
          text += next;
        }
        return text;
      }
      case E::compare:
        return comparison(e);
      case E::condition:
        if (evaluate(*e.parts[1]).truth()) return evaluate(*e.parts[0]);
        if (e.parts[2]) return evaluate(*e.parts[2]);
        return Value::undefined("an inline 'if' without 'else' did not hold");
      case E::member:
        break;
    }
    throw Failure("an expression of an unknown kind");
  }

  std::vector<Value> all(const Expression& e) {
    std::vector<Value> values;
    values.reserve(e.parts.size());
    for (const auto& part : e.parts) values.push_back(evaluate(*part));
    return values;
  }

  Value variable(const std::string& name) {
    if (const Value* found = scope_->find(name)) return *found;
    static constexpr std::array<std::string_view, 5> globals = {"range", "dict", "namespace",
                                                                "raise_exception", "strftime_now"};
    for (const std::string_view global : globals)
      if (name == global) {
        auto function = std::make_shared<Callable>();
        function->name = name;
        return Value(std::shared_ptr<const Callable>(std::move(function)));
      }
    for (const char* other : {"lipsum", "cycler", "joiner", "self", "super"})
      expect(name != other, "'", name, "' is not supported");
    return Value::undefined(message("'", name, "' is undefined"));
  }

  bool comparison(const Expression& e) {
    Value left = evaluate(*e.parts[0]);
    for (std::size_t i = 0; i < e.names.size(); ++i) {
      Value right = evaluate(*e.parts[i + 1]);
      const std::string& sign = e.names[i];
      const bool holds = sign == "=="   ? equal(left, right)
                         : sign == "!=" ? !equal(left, right)
                         : sign == "<"  ? less(left, right)
                         : sign == "<=" ? less_or_equal(left, right)
                         : sign == ">"  ? less(right, left)
                         : sign == ">=" ? less_or_equal(right, left)
                         : sign == "in" ? contains(right, left)
                                        : !contains(right, left);
      if (!holds) return false;
      left = std::move(right);
    }
    return true;
  }

  /// value[begin:end:step]
  Value slice(const Value& value, const Expression& e) {
    require_defined(value);
    std::array<std::optional<std::int64_t>, 3> bounds;
    for (std::size_t i = 0; i < 3; ++i) {
      if (!e.parts[i]) continue;
      const Value bound = evaluate(*e.parts[i]);
      if (bound.is(Kind::none)) continue;
      require_defined(bound);
      expect(bound.is_whole(), "slice: expected a whole number, found ", bound.type());
      bounds[i] = bound.whole();
    }
    const bool sequence = value.is(Kind::list) && (value.list().flavour == Flavour::list ||
                                                   value.list().flavour == Flavour::tuple);
    if (!sequence && !value.is_text()) return missing(value, "slice");
    const std::int64_t step = bounds[2].value_or(1);
    expect(step != 0, "slice: the step is zero");
    const auto size = static_cast<std::int64_t>(value.is_text()
                                                    ? character_count(value.text().bytes)
                                                    : value.list().items.size());
    const auto clamp = [&](std::optional<std::int64_t> bound, std::int64_t otherwise) {
      if (!bound) return otherwise;
      const std::int64_t at = *bound < 0 ? *bound + size : *bound;
      return step > 0 ? std::clamp<std::int64_t>(at, 0, size)
                      : std::clamp<std::int64_t>(at, -1, size - 1);
    };
    const std::int64_t begin = clamp(bounds[0], step > 0 ? 0 : size - 1);
    const std::int64_t end = clamp(bounds[1], step > 0 ? size : -1);
    if (value.is_text()) return text_slice(value.text(), begin, end, step);
    std::vector<Value> items;
    for (std::int64_t i = begin; step > 0 ? i < end : i > end; i += step) {
      items.push_back(value.list().items[static_cast<std::size_t>(i)]);
      if (step > size || step < -size) break;
    }
    budget_.spend_items(items.size());
    return make_list(std::move(items), value.list().flavour);
  }

  Text text_slice(const Text& text, std::int64_t begin, std::int64_t end, std::int64_t step) {
    budget_.spend_bytes(text.size());
    if (step == 1) {
      const std::size_t first = byte_of_character(text.bytes, static_cast<std::size_t>(begin));
      const std::size_t last = byte_of_character(text.bytes, static_cast<std::size_t>(end));
      return text.slice(first, std::max(first, last));
    }
    const std::vector<Value> characters = items_of(text);
    const auto size = static_cast<std::int64_t>(characters.size());
    Text result;
    for (std::int64_t i = begin; step > 0 ? i < end : i > end; i += step) {
      result += characters[static_cast<std::size_t>(i)].text();
      if (step > size || step < -size) break;
    }
    return result;
  }

  Arguments arguments_of(const Expression& call) {
    Arguments arguments;
    const std::size_t named = call.parts.size() - call.names.size();
    for (std::size_t i = 1; i < named; ++i)
      arguments.positional.push_back(evaluate(*call.parts[i]));
    for (std::size_t i = 0; i < call.names.size(); ++i)
      arguments.named.emplace_back(call.names[i], evaluate(*call.parts[named + i]));
    if (call.spread)
      for (Value& value : items_of(evaluate(*call.spread)))
        arguments.positional.push_back(std::move(value));
    if (call.spread_named) {
      const Value named_values = evaluate(*call.spread_named);
      expect(named_values.is(Kind::dict), "'**': expected a dict, found ", named_values.type());
      for (const auto& [key, value] : named_values.dict().entries) {
        expect(key.is_text(), "'**': expected names, found ", key.type());
        arguments.named.emplace_back(key.text().bytes, value);
      }
    }
    return arguments;
  }

  Value call_value(const Value& function, const Arguments& arguments) {
    require_defined(function);
    expect(function.is(Kind::callable), "a ", function.type(), " can't be called");
    const Callable& callable = function.callable();
    switch (callable.type) {
      case Callable::Type::method:
        if (callable.self.is(Kind::loop)) return cycle(callable, arguments);
        return call_method(*this, callable, arguments);
      case Callable::Type::macro:
        return call_macro(callable, arguments);
      case Callable::Type::global:
        return call_global(callable.name, arguments);
    }
    return Value();
  }

  Value call_macro(const Callable& callable, const Arguments& arguments) {
    const Macro& macro = *callable.macro;
    const auto outer = callable.scope.lock();
    expect(outer != nullptr, "the macro '", macro.name, "' is called outside of where it is known");
    auto inner = std::make_shared<Scope>();
    inner->outer = outer;
    std::vector<std::optional<Value>> given(macro.parameters.size());
    std::vector<Value> more;
    for (std::size_t i = 0; i < arguments.positional.size(); ++i) {
      if (i < given.size()) {
        given[i] = arguments.positional[i];
      } else {
        more.push_back(arguments.positional[i]);
      }
    }
    DictBuilder named;
    std::optional<Value> caller;
    for (const auto& [name, value] : arguments.named) {
      std::size_t place = 0;
      while (place < given.size() && macro.parameters[place] != name) ++place;
      if (place < given.size()) {
        expect(!given[place], "the macro '", macro.name, "' takes '", name, "' once");
        given[place] = value;
      } else if (name == "caller" && macro.takes_caller) {
        caller = value;
      } else {
        expect(macro.takes_named, "the macro '", macro.name, "' takes no argument '", name, "'");
        named.set(Text(name), value);
      }
    }
    expect(more.empty() || macro.takes_more, "the macro '", macro.name, "' takes at most ",
           given.size(), " arguments, found ", arguments.positional.size());
    if (macro.takes_caller)
      inner->set("caller", caller ? *caller : Value::undefined("no caller defined"));
    if (macro.takes_named) inner->set("kwargs", named.value());
    if (macro.takes_more) inner->set("varargs", Value::tuple(std::move(more)));
    const Within within(*this, std::move(inner));
    const std::size_t without = given.size() - macro.defaults.size();
    for (std::size_t i = 0; i < given.size(); ++i) {
      Value value = Value::undefined(
          message("parameter '", macro.parameters[i], "' was not provided"));
      if (given[i]) {
        value = *given[i];
      } else if (i >= without) {
        value = evaluate(*macro.defaults[i - without]);
      }
      scope_->set(macro.parameters[i], std::move(value));
    }
    Text out;
    (void)execute(macro.body, out);
    return out;
  }

  Value call_global(const std::string& name, const Arguments& arguments) {
    if (name == "range") return range(Given(arguments, name, {"start", "stop", "step"}));
    if (name == "raise_exception")
      throw Failure(message("the template refuses: ",
                            str(Given(arguments, name, {"message"}).value(0)).bytes));
    if (name == "strftime_now") return written_time(Given(arguments, name, {"format"}).text(0));
    DictBuilder dict;
    expect(arguments.positional.size() <= 1, "'", name, "': expected at most one argument");
    for (const Value& value : arguments.positional) {
      expect(value.is(Kind::dict), "'", name, "' of a ", value.type(), " is not supported");
      for (const auto& [key, entry] : value.dict().entries) dict.set(key, entry);
    }
    for (const auto& [key, value] : arguments.named) dict.set(Text(key), value);
    const Value made = dict.value();
    if (name == "dict") return made;
    auto space = std::make_shared<Namespace>();
    spaces_.push_back(space);
    for (const auto& [key, value] : made.dict().entries) {
      expect(key.is_text(), "namespace: expected names, found ", key.type());
      set_attribute(*space, key.text().bytes, value);
    }
    return Value(std::move(space));
  }

  Value range(const Given& given) {
    std::int64_t begin = given.whole(0, 0), end = 0;
    if (given.has(1)) {
      end = given.whole(1, 0);
    } else {
      (void)given.value(0);
      end = std::exchange(begin, 0);
    }
    const std::int64_t step = given.whole(2, 1);
    expect(step != 0, "range: the step is zero");
    std::vector<Value> items;
    for (std::int64_t i = begin; step > 0 ? i < end : i > end; i += step) {
      expect(items.size() < 100'000, "range: expected at most 100000 numbers");
      items.emplace_back(i);
      if (__builtin_add_overflow_p(i, step, std::int64_t{0})) break;
    }
    budget_.spend_items(items.size());
    return make_list(std::move(items), Flavour::range);
  }

  Text written_time(const Text& format) {
    static constexpr std::string_view known = "aAbBcdDeFgGhHIjklmMnprRStTuUVwWxXyYZ%";
    const std::string& bytes = format.bytes;
    for (std::size_t at = 0; (at = bytes.find('%', at)) != std::string::npos; at += 2) {
      if (at + 1 < bytes.size() && bytes[at + 1] == '-') ++at;
      expect(at + 1 < bytes.size() && known.find(bytes[at + 1]) != std::string_view::npos,
             "strftime_now: the format '", bytes, "' is not supported");
    }
    expect(bytes.size() < 1000, "strftime_now: the format is too long");
    const std::tm time = now_();
    // A sign before and after, since an empty result is no failure.
    std::string text(20'000, '\0');
    text.resize(std::strftime(text.data(), text.size(), ("." + bytes + ".").c_str(), &time));
    expect(text.size() >= 2, "strftime_now: the format '", bytes, "' is not supported");
    return text.substr(1, text.size() - 2);
  }

  Value loop_attribute(const Value& value, const std::string& name) {
    if (name == "cycle") {
      auto method = std::make_shared<Callable>();
      method->type = Callable::Type::method;
      method->name = name;
      method->self = value;
      return Value(std::shared_ptr<const Callable>(std::move(method)));
    }
    expect(name != "changed", "loop.changed is not supported");
    if (auto found = value.loop().attribute(name)) return *found;
    return missing(value, name);
  }
  static Value cycle(const Callable& method, const Arguments& arguments) {
    expect(!arguments.positional.empty() && arguments.named.empty(),
           "loop.cycle: expected values");
    return arguments.positional[method.self.loop().index() % arguments.positional.size()];
  }

  Budget budget_;
  std::function<std::tm()> now_;
  std::shared_ptr<Scope> scope_;
  std::vector<std::shared_ptr<Namespace>> spaces_;
  int depth_ = 0, loops_ = 0;
};

}  // namespace qlora::jinja
