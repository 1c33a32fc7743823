/// What a template is parsed into.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/text/jinja/value.hpp"

namespace qlora::inline QLORA_ABI::jinja {

struct Expression;
/// An expression that its parent owns.
using ExpressionPtr = std::unique_ptr<Expression>;

/// Expressions nest at most this deep.
inline constexpr int most_depth = 200;

/// A node of the tree of expressions. Nothing changes it after parsing.
struct Expression {
  enum class Type : std::uint8_t {
    constant,
    name,
    list,
    tuple,
    dict,       ///< parts: key, value, key, value, ...
    attribute,  ///< parts[0].name
    item,       ///< parts[0][parts[1]]
    slice,      ///< parts: begin, end, step; each may be null
    call,       ///< parts[0](parts[1], ..., names[i]=...)
    filter,     ///< parts[0]|name(...); parts[0] is null at the head of a filter block
    test,       ///< parts[0] is name(...)
    negate,
    plus,
    logical_not,
    logical_and,
    logical_or,
    binary,  ///< parts[0] name parts[1]
    concat,
    compare,    ///< parts[0] names[0] parts[1] names[1] parts[2] ...
    condition,  ///< parts[0] if parts[1] else parts[2], which may be null
    member      ///< name.names[0] as the target of an assignment
  };

  Type type = Type::constant;
  int line = 0;
  int depth = 1;
  std::string name;
  Value constant;
  std::vector<ExpressionPtr> parts;
  std::vector<std::string> names;  ///< keywords belong to the last parts
  ExpressionPtr spread, spread_named;

  /// Adds a part.
  void add(ExpressionPtr part) {
    if (part) {
      depth = std::max(depth, part->depth + 1);
      if (depth > most_depth) throw Failure(message("expressions nest deeper than ", most_depth));
    }
    parts.push_back(std::move(part));
  }
};

struct Statement;
/// Statements that run one after the other.
using Body = std::vector<Statement>;

/// The parameters of a macro or of a call block; defaults belong to the last of them.
struct Macro {
  std::string name;
  std::vector<std::string> parameters;
  std::vector<ExpressionPtr> defaults;
  Body body;
  bool takes_more = false, takes_named = false;  ///< the body reads varargs, kwargs
  bool takes_caller = false;                     ///< the body reads caller
};

/// A statement with the bodies in it. Nothing changes it after parsing.
struct Statement {
  enum class Type : std::uint8_t {
    data,
    print,
    set,
    set_block,
    loop,
    branch,  ///< bodies[i] when values[i] holds; a body more is `else`
    with,
    macro,
    call,
    filter,
    generation,
    loop_break,
    loop_continue,
    unsupported  ///< name
  };

  Type type = Type::data;
  int line = 0;
  std::string name;                    ///< the data's text, or an unsupported statement's name
  ExpressionPtr target;                ///< of set and for
  std::vector<ExpressionPtr> values;   ///< what is printed, set, iterated over, called or tested
  std::vector<ExpressionPtr> targets;  ///< of with
  ExpressionPtr test;                  ///< `if` of a for
  bool recursive = false;
  std::vector<Body> bodies;
  std::unique_ptr<Macro> macro;
};

}  // namespace qlora::inline QLORA_ABI::jinja
