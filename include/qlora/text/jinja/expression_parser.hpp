/// Jinja's expressions: tokens to a tree.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/text/jinja/lexer.hpp"
#include "qlora/text/jinja/syntax.hpp"

namespace qlora::inline QLORA_ABI::jinja {

/// What a tuple without parentheses around it may be.
struct TupleRules {
  bool conditions = true;       ///< a if b else c may stand in it
  bool recursive_ends = false;  ///< the name `recursive` ends it
  bool in_parentheses = false;  ///< may be empty
};

/// The part of Parser that reads expressions. One thread uses an object at a time.
class ExpressionParser {
 protected:
  explicit ExpressionParser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  const Token& current() const { return tokens_[place_]; }
  const Token& ahead() const { return tokens_[std::min(place_ + 1, tokens_.size() - 1)]; }
  const Token& next() {
    const Token& token = tokens_[place_];
    if (place_ + 1 < tokens_.size()) ++place_;
    return token;
  }
  std::size_t place() const { return place_; }

  [[noreturn]] void fail(const std::string& what) const { throw Failure(what, current().line); }

  static std::string shown(const Token& token) {
    switch (token.type) {
      case Token::Type::end:
        return "the end of template";
      case Token::Type::print_end:
      case Token::Type::block_end:
        return "the end of the tag";
      case Token::Type::data:
      case Token::Type::print_begin:
      case Token::Type::block_begin:
        return "text";
      default:
        return "'" + token.text + "'";
    }
  }

  const Token& take(Token::Type type, std::string_view what) {
    if (current().type != type) fail(message("expected ", what, ", found ", shown(current())));
    return next();
  }
  bool is_sign(std::string_view sign) const {
    return current().type == Token::Type::sign && current().text == sign;
  }
  bool is_name(std::string_view name) const {
    return current().type == Token::Type::name && current().text == name;
  }
  bool skip_sign(std::string_view sign) { return is_sign(sign) && (next(), true); }
  bool skip_name(std::string_view name) { return is_name(name) && (next(), true); }
  void take_sign(std::string_view sign) {
    if (!skip_sign(sign)) fail(message("expected '", sign, "', found ", shown(current())));
  }
  void take_name(std::string_view name) {
    if (!skip_name(name)) fail(message("expected '", name, "', found ", shown(current())));
  }

  /// Whether a name stands among the tokens from `begin` to the current one.
  bool names_within(std::size_t begin, std::string_view name) const {
    for (std::size_t i = begin; i < place_; ++i)
      if (tokens_[i].type == Token::Type::name && tokens_[i].text == name) return true;
    return false;
  }

  /// Counts how deep the parser has called itself.
  class Nested {
   public:
    explicit Nested(ExpressionParser& parser) : parser_(parser) {
      if (++parser.depth_ > most_depth)
        parser.fail(message("the template nests deeper than ", most_depth));
    }
    Nested(const Nested&) = delete;
    Nested& operator=(const Nested&) = delete;
    ~Nested() { --parser_.depth_; }

   private:
    ExpressionParser& parser_;
  };

  /// One expression, or a tuple of several with commas between them.
  ExpressionPtr tuple(TupleRules rules = {}) {
    ExpressionPtr tuple = make(Expression::Type::tuple);
    bool commas = false;
    while (!ends_tuple(rules)) {
      tuple->add(expression(rules.conditions));
      if (!skip_sign(",")) break;
      commas = true;
    }
    if (commas || (tuple->parts.empty() && rules.in_parentheses)) return tuple;
    if (tuple->parts.empty()) fail(message("expected an expression, found ", shown(current())));
    return std::move(tuple->parts[0]);
  }

  /// What a value is assigned to: a name, a tuple of them, or with `members` an attribute.
  ExpressionPtr target(bool members) {
    ExpressionPtr tuple = make(Expression::Type::tuple);
    bool commas = false;
    while (!is_name("in") && !ends_tuple({})) {
      tuple->add(one_target(members));
      if (!skip_sign(",")) break;
      commas = true;
    }
    if (tuple->parts.empty()) fail(message("expected a name, found ", shown(current())));
    return commas ? std::move(tuple) : std::move(tuple->parts[0]);
  }

  ExpressionPtr expression(bool conditions = true) {
    const Nested nested(*this);
    ExpressionPtr value = logical_or();
    while (conditions && is_name("if")) {
      ExpressionPtr condition = make(Expression::Type::condition);
      next();
      condition->add(std::move(value));
      condition->add(logical_or());
      condition->add(skip_name("else") ? expression() : nullptr);
      value = std::move(condition);
    }
    return value;
  }

  /// The filters that follow; `at_head`: the first one stands without its bar.
  ExpressionPtr filters(ExpressionPtr subject, bool at_head = false) {
    while (at_head || is_sign("|")) {
      if (!at_head) next();
      at_head = false;
      ExpressionPtr filter = make(Expression::Type::filter);
      filter->name = dotted_name("a filter's name");
      filter->add(std::move(subject));
      if (is_sign("(")) arguments(*filter);
      subject = std::move(filter);
    }
    return subject;
  }

 private:
  using Type = Expression::Type;

  ExpressionPtr make(Type type) const {
    auto made = std::make_unique<Expression>();
    made->type = type;
    made->line = current().line;
    return made;
  }
  ExpressionPtr binary(const std::string& name, ExpressionPtr left, ExpressionPtr right,
                       Type type = Type::binary) const {
    ExpressionPtr made = make(type);
    made->line = left->line;
    made->name = name;
    made->add(std::move(left));
    made->add(std::move(right));
    return made;
  }

  bool ends_tuple(TupleRules rules) const {
    return current().type == Token::Type::print_end || current().type == Token::Type::block_end ||
           is_sign(")") || (rules.recursive_ends && is_name("recursive"));
  }

  ExpressionPtr one_target(bool members) {
    const Nested nested(*this);
    if (skip_sign("(")) {
      ExpressionPtr inner = target(members);
      take_sign(")");
      return inner;
    }
    ExpressionPtr made = make(Type::name);
    made->name = take(Token::Type::name, "a name to assign to").text;
    for (const char* constant : {"true", "false", "none", "True", "False", "None"})
      if (made->name == constant) fail(message("can't assign to '", constant, "'"));
    if (members && skip_sign(".")) {
      made->type = Type::member;
      made->names.push_back(take(Token::Type::name, "an attribute").text);
    }
    return made;
  }

  ExpressionPtr logical_or() {
    ExpressionPtr left = logical_and();
    while (skip_name("or")) left = binary("or", std::move(left), logical_and(), Type::logical_or);
    return left;
  }
  ExpressionPtr logical_and() {
    ExpressionPtr left = logical_not();
    while (skip_name("and"))
      left = binary("and", std::move(left), logical_not(), Type::logical_and);
    return left;
  }
  ExpressionPtr logical_not() {
    if (!is_name("not")) return comparison();
    const Nested nested(*this);
    ExpressionPtr made = make(Type::logical_not);
    next();
    made->add(logical_not());
    return made;
  }

  ExpressionPtr comparison() {
    ExpressionPtr first = sum();
    ExpressionPtr made;
    while (true) {
      std::string sign;
      for (const char* known : {"==", "!=", "<", "<=", ">", ">="})
        if (is_sign(known)) sign = known;
      if (is_name("in")) sign = "in";
      if (is_name("not") && ahead().type == Token::Type::name && ahead().text == "in") {
        next();
        sign = "not in";
      }
      if (sign.empty()) return made ? std::move(made) : std::move(first);
      next();
      if (!made) {
        made = make(Type::compare);
        made->line = first->line;
        made->add(std::move(first));
      }
      made->names.push_back(sign);
      made->add(sum());
    }
  }

  ExpressionPtr sum() {
    ExpressionPtr left = concatenation();
    while (is_sign("+") || is_sign("-")) {
      const std::string sign = next().text;
      left = binary(sign, std::move(left), concatenation());
    }
    return left;
  }
  ExpressionPtr concatenation() {
    ExpressionPtr first = product();
    if (!is_sign("~")) return first;
    ExpressionPtr made = make(Type::concat);
    made->add(std::move(first));
    while (skip_sign("~")) made->add(product());
    return made;
  }
  ExpressionPtr product() {
    ExpressionPtr left = power();
    while (is_sign("*") || is_sign("/") || is_sign("//") || is_sign("%")) {
      const std::string sign = next().text;
      left = binary(sign, std::move(left), power());
    }
    return left;
  }
  ExpressionPtr power() {
    ExpressionPtr left = unary(true);
    while (skip_sign("**")) left = binary("**", std::move(left), unary(true));
    return left;
  }

  ExpressionPtr unary(bool with_filters) {
    const Nested nested(*this);
    ExpressionPtr made;
    if (is_sign("-") || is_sign("+")) {
      made = make(is_sign("-") ? Type::negate : Type::plus);
      next();
      made->add(unary(false));
    } else {
      made = primary();
    }
    made = postfix(std::move(made));
    while (with_filters) {
      if (is_sign("|")) {
        made = filters(std::move(made));
      } else if (is_name("is")) {
        made = test(std::move(made));
      } else if (is_sign("(")) {
        made = call(std::move(made));
      } else {
        break;
      }
    }
    return made;
  }

  ExpressionPtr primary() {
    ExpressionPtr made = make(Type::constant);
    const Token& token = current();
    switch (token.type) {
      case Token::Type::name:
        next();
        if (token.text == "true" || token.text == "True" || token.text == "false" ||
            token.text == "False") {
          made->constant = Value(token.text == "true" || token.text == "True");
        } else if (token.text == "none" || token.text == "None") {
          made->constant = None{};
        } else {
          made->type = Type::name;
          made->name = token.text;
        }
        return made;
      case Token::Type::text: {
        std::string text;
        while (current().type == Token::Type::text) text += next().text;
        made->constant = Text(std::move(text));
        return made;
      }
      case Token::Type::integer:
        made->constant = next().whole;
        return made;
      case Token::Type::real:
        made->constant = next().real;
        return made;
      default:
        break;
    }
    if (skip_sign("(")) {
      ExpressionPtr inner = tuple({.in_parentheses = true});
      take_sign(")");
      return inner;
    }
    if (skip_sign("[")) return list(std::move(made));
    if (skip_sign("{")) return dict(std::move(made));
    fail(message("expected an expression, found ", shown(token)));
  }

  ExpressionPtr list(ExpressionPtr made) {
    made->type = Type::list;
    while (!is_sign("]")) {
      if (!made->parts.empty()) take_sign(",");
      if (is_sign("]")) break;
      made->add(expression());
    }
    take_sign("]");
    return made;
  }
  ExpressionPtr dict(ExpressionPtr made) {
    made->type = Type::dict;
    while (!is_sign("}")) {
      if (!made->parts.empty()) take_sign(",");
      if (is_sign("}")) break;
      made->add(expression());
      take_sign(":");
      made->add(expression());
    }
    take_sign("}");
    return made;
  }

  ExpressionPtr postfix(ExpressionPtr made) {
    while (true) {
      if (is_sign(".") || is_sign("[")) {
        made = subscript(std::move(made));
      } else if (is_sign("(")) {
        made = call(std::move(made));
      } else {
        return made;
      }
    }
  }

  ExpressionPtr subscript(ExpressionPtr of) {
    ExpressionPtr made = make(Type::item);
    made->add(std::move(of));
    if (skip_sign(".")) {
      if (current().type == Token::Type::integer) {
        ExpressionPtr index = make(Type::constant);
        index->constant = next().whole;
        made->add(std::move(index));
      } else {
        made->type = Type::attribute;
        made->name = take(Token::Type::name, "an attribute").text;
      }
      return made;
    }
    take_sign("[");
    std::vector<ExpressionPtr> items;
    while (!is_sign("]")) {
      if (!items.empty()) take_sign(",");
      items.push_back(index_or_slice());
    }
    take_sign("]");
    if (items.size() == 1) {
      made->add(std::move(items[0]));
      return made;
    }
    ExpressionPtr all = make(Type::tuple);
    for (auto& item : items) all->add(std::move(item));
    made->add(std::move(all));
    return made;
  }

  ExpressionPtr index_or_slice() {
    ExpressionPtr made = make(Type::slice);
    ExpressionPtr begin, end, step;
    if (!is_sign(":")) {
      begin = expression();
      if (!is_sign(":")) return begin;
    }
    take_sign(":");
    if (!is_sign(":") && !is_sign("]") && !is_sign(",")) end = expression();
    if (skip_sign(":") && !is_sign("]") && !is_sign(",")) step = expression();
    made->add(std::move(begin));
    made->add(std::move(end));
    made->add(std::move(step));
    return made;
  }

  ExpressionPtr call(ExpressionPtr function) {
    ExpressionPtr made = make(Type::call);
    made->add(std::move(function));
    arguments(*made);
    return made;
  }

  void arguments(Expression& call) {
    take_sign("(");
    bool first = true;
    while (!is_sign(")")) {
      if (!std::exchange(first, false)) {
        take_sign(",");
        if (is_sign(")")) break;
      }
      const bool spread = is_sign("*"), spread_named = is_sign("**");
      const bool named = current().type == Token::Type::name && ahead().type == Token::Type::sign &&
                         ahead().text == "=";
      if (call.spread_named || (call.spread && !named && !spread_named) ||
          (!call.names.empty() && !named && !spread && !spread_named))
        fail("an argument in the wrong place");
      if (spread || spread_named) {
        next();
        ExpressionPtr value = expression();
        call.depth = std::max(call.depth, value->depth + 1);
        (spread ? call.spread : call.spread_named) = std::move(value);
        continue;
      }
      if (named) {
        call.names.push_back(next().text);
        next();
      }
      call.add(expression());
    }
    take_sign(")");
  }

  std::string dotted_name(std::string_view what) {
    std::string name = take(Token::Type::name, what).text;
    while (skip_sign(".")) name += "." + take(Token::Type::name, what).text;
    return name;
  }

  ExpressionPtr test(ExpressionPtr subject) {
    ExpressionPtr made = make(Type::test);
    take_name("is");
    const bool negated = skip_name("not");
    made->name = dotted_name("a test's name");
    made->add(std::move(subject));
    const Token::Type type = current().type;
    if (is_sign("(")) {
      arguments(*made);
    } else if ((type == Token::Type::name || type == Token::Type::text ||
                type == Token::Type::integer || type == Token::Type::real || is_sign("[") ||
                is_sign("{")) &&
               !is_name("else") && !is_name("or") && !is_name("and")) {
      if (is_name("is")) fail("tests can't be chained with 'is'");
      made->add(postfix(primary()));
    }
    if (!negated) return made;
    ExpressionPtr inverse = make(Type::logical_not);
    inverse->line = made->line;
    inverse->add(std::move(made));
    return inverse;
  }

  std::vector<Token> tokens_;
  std::size_t place_ = 0;
  int depth_ = 0;
};

}  // namespace qlora::inline QLORA_ABI::jinja
