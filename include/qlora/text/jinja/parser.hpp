/// Jinja's grammar: tokens to statements. Statements that chat templates do without (include, block
/// and their like) are kept by name and refused when they are evaluated.
#pragma once

#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/text/jinja/expression_parser.hpp"

namespace qlora::inline QLORA_ABI::jinja {

/// Makes statements of one template's tokens. One thread uses an object at a time.
class Parser : private ExpressionParser {
 public:
  explicit Parser(std::vector<Token> tokens) : ExpressionParser(std::move(tokens)) {}

  /// Throws Failure with the line for what Jinja's grammar does not allow.
  Body parse() { return body({}); }

  /// Whether a `{% generation %}` block was met.
  bool has_generation() const { return has_generation_; }

 private:
  using Type = Statement::Type;
  using Names = std::initializer_list<std::string_view>;

  bool at_name(Names names) const {
    for (const std::string_view name : names)
      if (is_name(name)) return true;
    return false;
  }

  /// Statements until a block that begins with one of `ends`, whose name is the current token then;
  /// without `ends` until the template ends.
  Body body(Names ends) {
    const Nested nested(*this);
    Body statements;
    while (current().type != Token::Type::end) {
      const Token& token = current();
      if (token.type == Token::Type::data) {
        statements.push_back(make(Type::data));
        statements.back().name = token.text;
        next();
      } else if (token.type == Token::Type::print_begin) {
        next();
        Statement print = make(Type::print);
        print.values.push_back(tuple());
        statements.push_back(std::move(print));
        take(Token::Type::print_end, "the end of the print statement");
      } else {
        take(Token::Type::block_begin, "a block");
        if (at_name(ends)) return statements;
        statements.push_back(statement());
        take(Token::Type::block_end, "the end of the block");
      }
    }
    if (ends.size() > 0) fail(message("expected '", *ends.begin(), "', found the end of template"));
    return statements;
  }

  /// The body of a block: the rest of its tag, then statements up to one of `ends`.
  Body block_body(Names ends) {
    skip_sign(":");
    take(Token::Type::block_end, "the end of the block");
    return body(ends);
  }
  /// The same, with the end's name taken.
  Body last_body(Names ends) {
    Body statements = block_body(ends);
    next();
    return statements;
  }

  Statement make(Type type) const {
    Statement statement;
    statement.type = type;
    statement.line = current().line;
    return statement;
  }

  Statement statement() {
    const std::string name = take(Token::Type::name, "the name of a statement").text;
    if (name == "set") return set();
    if (name == "for") return loop();
    if (name == "if") return branch();
    if (name == "with") return with();
    if (name == "macro") return macro();
    if (name == "call") return call();
    if (name == "filter") return filter();
    if (name == "print") return print();
    if (name == "generation") {
      Statement generation = make(Type::generation);
      has_generation_ = true;
      generation.bodies.push_back(last_body({"endgeneration"}));
      return generation;
    }
    if (name == "break" || name == "continue") {
      if (loops_ == 0) fail(message("'", name, "' outside of a loop"));
      return make(name == "break" ? Type::loop_break : Type::loop_continue);
    }
    return unsupported(name);
  }

  Statement unsupported(const std::string& name) {
    Statement statement = make(Type::unsupported);
    statement.name = name;
    const bool has_body = name == "block" || name == "autoescape";
    if (!has_body && name != "include" && name != "import" && name != "from" && name != "extends")
      fail(message("the statement '", name, "' is not known"));
    while (current().type != Token::Type::block_end && current().type != Token::Type::end) next();
    if (name == "block") {
      (void)last_body({"endblock"});
      if (current().type == Token::Type::name) next();
    } else if (name == "autoescape") {
      (void)last_body({"endautoescape"});
    }
    return statement;
  }

  Statement set() {
    Statement statement = make(Type::set);
    statement.target = target(true);
    if (skip_sign("=")) {
      statement.values.push_back(tuple());
      return statement;
    }
    statement.type = Type::set_block;
    if (is_sign("|")) statement.values.push_back(filters(nullptr));
    statement.bodies.push_back(inner_body({"endset"}));
    return statement;
  }

  /// A body that is a function of its own: a loop outside does not reach into it.
  Body inner_body(Names ends) {
    const int loops = std::exchange(loops_, 0);
    Body statements = last_body(ends);
    loops_ = loops;
    return statements;
  }

  Statement loop() {
    Statement statement = make(Type::loop);
    statement.target = target(false);
    take_name("in");
    statement.values.push_back(tuple({.conditions = false, .recursive_ends = true}));
    if (skip_name("if")) statement.test = expression();
    statement.recursive = skip_name("recursive");
    ++loops_;
    statement.bodies.push_back(block_body({"endfor", "else"}));
    --loops_;
    if (next().text == "else") statement.bodies.push_back(last_body({"endfor"}));
    return statement;
  }

  Statement branch() {
    Statement statement = make(Type::branch);
    while (true) {
      statement.values.push_back(tuple({.conditions = false}));
      statement.bodies.push_back(block_body({"endif", "elif", "else"}));
      const std::string name = next().text;
      if (name == "elif") continue;
      if (name == "else") statement.bodies.push_back(last_body({"endif"}));
      return statement;
    }
  }

  Statement with() {
    Statement statement = make(Type::with);
    while (current().type != Token::Type::block_end) {
      if (!statement.targets.empty()) take_sign(",");
      statement.targets.push_back(target(false));
      take_sign("=");
      statement.values.push_back(expression());
    }
    statement.bodies.push_back(last_body({"endwith"}));
    return statement;
  }

  Statement macro() {
    Statement statement = make(Type::macro);
    statement.macro = std::make_unique<Macro>();
    statement.macro->name = take(Token::Type::name, "the macro's name").text;
    signature(*statement.macro);
    function_body(*statement.macro, "endmacro");
    return statement;
  }

  void signature(Macro& macro) {
    take_sign("(");
    while (!is_sign(")")) {
      if (!macro.parameters.empty()) take_sign(",");
      macro.parameters.push_back(take(Token::Type::name, "a parameter").text);
      if (skip_sign("=")) {
        macro.defaults.push_back(expression());
      } else if (!macro.defaults.empty()) {
        fail("a parameter without a default follows one with a default");
      }
    }
    take_sign(")");
  }

  void function_body(Macro& macro, std::string_view end) {
    const std::size_t begin = place();
    macro.body = inner_body({end});
    macro.takes_more = names_within(begin, "varargs");
    macro.takes_named = names_within(begin, "kwargs");
    macro.takes_caller = names_within(begin, "caller");
  }

  Statement call() {
    Statement statement = make(Type::call);
    statement.macro = std::make_unique<Macro>();
    statement.macro->name = "caller";
    if (is_sign("(")) signature(*statement.macro);
    statement.values.push_back(expression());
    if (statement.values[0]->type != Expression::Type::call) fail("expected a call");
    function_body(*statement.macro, "endcall");
    return statement;
  }

  Statement filter() {
    Statement statement = make(Type::filter);
    statement.values.push_back(filters(nullptr, true));
    statement.bodies.push_back(inner_body({"endfilter"}));
    return statement;
  }

  Statement print() {
    Statement statement = make(Type::print);
    while (current().type != Token::Type::block_end) {
      if (!statement.values.empty()) take_sign(",");
      statement.values.push_back(expression());
    }
    return statement;
  }

  bool has_generation_ = false;
  int loops_ = 0;
};

}  // namespace qlora::inline QLORA_ABI::jinja
