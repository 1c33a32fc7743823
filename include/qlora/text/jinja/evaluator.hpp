/// Runs a parsed template: scopes as Jinja has them, macros, loops, and output that remembers where
/// its parts came from.
#pragma once

#include <ctime>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/text/jinja/access.hpp"
#include "qlora/text/jinja/globals.hpp"
#include "qlora/text/jinja/scope.hpp"
#include "qlora/text/jinja/syntax.hpp"
#include "qlora/text/jinja/tests.hpp"

namespace qlora::inline QLORA_ABI::jinja {

/// One rendering of one template. It belongs to one thread; other threads make their own.
class Evaluator : public Machine {
 public:
  /// `now` gives the time that strftime_now writes.
  Evaluator(const Limits& limits, std::function<std::tm()> now)
      : budget_(limits), globals_(budget_, std::move(now)) {}
  Evaluator(const Evaluator&) = delete;
  Evaluator& operator=(const Evaluator&) = delete;

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
    return attribute_of(value, name);
  }
  Value item(const Value& value, const Value& key) override { return item_of(value, key, budget_); }

 private:
  using E = Expression::Type;
  using S = Statement::Type;
  enum class Flow : std::uint8_t { next, leave, again };

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
    const auto loop = std::make_shared<Loop>(std::move(items), std::move(wanted));
    bool any = false;
    while (loop->advance()) {
      any = true;
      const Within within(*this, inner_scope());
      assign(*s.target, loop->current());
      scope_->set("loop", Value(loop));
      if (execute(s.bodies[0], out) == Flow::leave) break;
    }
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
        if (e.parts[1]->type == E::slice) return slice_of(value, bounds_of(*e.parts[1]), budget_);
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
    return Globals::find(name);
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

  SliceBounds bounds_of(const Expression& slice) {
    SliceBounds bounds;
    for (std::size_t i = 0; i < bounds.size(); ++i) {
      if (!slice.parts[i]) continue;
      const Value bound = evaluate(*slice.parts[i]);
      if (bound.is(Kind::none)) continue;
      require_defined(bound);
      expect(bound.is_whole(), "slice: expected a whole number, found ", bound.type());
      bounds[i] = bound.whole();
    }
    return bounds;
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
        return globals_.call(callable.name, arguments);
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
      Value value =
          Value::undefined(message("parameter '", macro.parameters[i], "' was not provided"));
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

  Budget budget_;
  Globals globals_;
  std::shared_ptr<Scope> scope_;
  int depth_ = 0;
};

}  // namespace qlora::inline QLORA_ABI::jinja
