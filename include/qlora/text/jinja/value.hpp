/// The values of a template: Python's, as far as chat templates meet them. All but namespaces and
/// loops are immutable, as in Jinja's immutable sandbox.
///
///     using qlora::jinja::Value;
///     Value list = Value::list({Value(1), Value("a")});
///     list.truth();   // true
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/core/error.hpp"
#include "qlora/text/jinja/text.hpp"

namespace qlora::inline QLORA_ABI::jinja {

/// What goes wrong while a template is parsed or evaluated; Template adds the template's name and
/// the line. Several threads may read one object.
class Failure : public std::runtime_error {
 public:
  explicit Failure(const std::string& what, int at = 0) : std::runtime_error(what), line(at) {}
  int line;  ///< 0: not known yet
};

/// Throws Failure with the parts as its message unless `condition` holds.
template <class... Parts>
void expect(bool condition, const Parts&... parts) {
  if (!condition) throw Failure(message(parts...));
}

class Value;
struct List;
struct Dict;
struct Namespace;
class Loop;
struct Callable;
struct Macro;
struct Scope;

/// What a Value holds.
enum class Kind : std::uint8_t {
  undefined,
  none,
  boolean,
  integer,
  real,
  text,
  list,
  dict,
  name_space,
  loop,
  callable
};

/// A value that is not there; using it says why.
struct Undefined {
  std::shared_ptr<const std::string> why;
};
/// Python's None.
struct None {};

/// Values nest at most this deep.
inline constexpr int most_nesting = 200;

/// A value of Jinja's. Copies share lists, dictionaries and texts. A template's constants may be
/// read by several threads; every other value belongs to the thread of the rendering that made it.
class Value {
 public:
  Value() : storage_(Undefined{}) {}
  Value(None) : storage_(None{}) {}                    // NOLINT(google-explicit-constructor)
  Value(bool value) : storage_(value) {}               // NOLINT(google-explicit-constructor)
  Value(int value) : storage_(std::int64_t{value}) {}  // NOLINT(google-explicit-constructor)
  Value(std::int64_t value) : storage_(value) {}       // NOLINT(google-explicit-constructor)
  Value(double value) : storage_(value) {}             // NOLINT(google-explicit-constructor)
  Value(Text text)                                     // NOLINT(google-explicit-constructor)
      : storage_(std::make_shared<const Text>(std::move(text))) {}
  Value(const char* text) : Value(Text(text)) {}  // NOLINT(google-explicit-constructor)
  Value(std::shared_ptr<const List> list) : storage_(std::move(list)) {}
  Value(std::shared_ptr<const Dict> dict) : storage_(std::move(dict)) {}
  Value(std::shared_ptr<Namespace> space) : storage_(std::move(space)) {}
  Value(std::shared_ptr<Loop> loop) : storage_(std::move(loop)) {}
  Value(std::shared_ptr<const Callable> callable) : storage_(std::move(callable)) {}

  /// Values that no constructor makes.
  static Value undefined(std::string why) {
    Value value;
    value.storage_ = Undefined{std::make_shared<const std::string>(std::move(why))};
    return value;
  }
  static Value number(std::size_t value) { return Value(static_cast<std::int64_t>(value)); }
  static Value list(std::vector<Value> items);
  static Value tuple(std::vector<Value> items);
  static Value iterator(std::vector<Value> items);

  /// What the value is; booleans count as numbers, as in Python.
  Kind kind() const { return static_cast<Kind>(storage_.index()); }
  bool is(Kind kind) const { return this->kind() == kind; }
  bool is_text() const { return is(Kind::text); }
  bool is_number() const { return is(Kind::boolean) || is(Kind::integer) || is(Kind::real); }
  bool is_whole() const { return is(Kind::boolean) || is(Kind::integer); }

  /// What the value holds, which must be of that kind.
  bool boolean() const { return std::get<bool>(storage_); }
  const Text& text() const { return *std::get<std::shared_ptr<const Text>>(storage_); }
  const List& list() const { return *std::get<std::shared_ptr<const List>>(storage_); }
  const Dict& dict() const { return *std::get<std::shared_ptr<const Dict>>(storage_); }
  const std::shared_ptr<Namespace>& name_space() const {
    return std::get<std::shared_ptr<Namespace>>(storage_);
  }
  Loop& loop() const { return *std::get<std::shared_ptr<Loop>>(storage_); }
  const Callable& callable() const { return *std::get<std::shared_ptr<const Callable>>(storage_); }
  /// True counts as 1.
  std::int64_t whole() const {
    return is(Kind::boolean) ? (boolean() ? 1 : 0) : std::get<std::int64_t>(storage_);
  }
  /// Any number as a double.
  double real() const {
    return is(Kind::real) ? std::get<double>(storage_) : static_cast<double>(whole());
  }
  /// The address of what copies share; null where nothing is shared.
  const void* identity() const {
    return std::visit(
        [](const auto& stored) -> const void* {
          if constexpr (requires { stored.get(); }) return stored.get();
          return nullptr;
        },
        storage_);
  }

  /// Why an undefined value is not there.
  std::string why() const {
    const auto& text = std::get<Undefined>(storage_).why;
    return text ? *text : "a value is undefined";
  }

  /// Python's truth of the value.
  bool truth() const;
  /// Python's name of the type.
  std::string type() const;

 private:
  std::variant<Undefined, None, bool, std::int64_t, double, std::shared_ptr<const Text>,
               std::shared_ptr<const List>, std::shared_ptr<const Dict>, std::shared_ptr<Namespace>,
               std::shared_ptr<Loop>, std::shared_ptr<const Callable>>
      storage_;
};

/// What a sequence is in Python; an iterator is always true, has no length and is read once.
enum class Flavour : std::uint8_t { list, tuple, range, keys, values, items, iterator };

/// A sequence: which one of Python's, its flavour says.
struct List {
  std::vector<Value> items;
  Flavour flavour = Flavour::list;
  mutable std::size_t taken = 0;  ///< of an iterator
  int nesting = 1;

  /// How many items an iterator has not given yet.
  std::size_t left() const { return items.size() - taken; }
};

/// A dictionary; keys are looked for one after the other.
struct Dict {
  std::vector<std::pair<Value, Value>> entries;  ///< in order of insertion
  int nesting = 1;

  /// The value of a key; null without it.
  const Value* find(const Value& key) const;
  const Value* find(std::string_view key) const {
    for (const auto& [name, value] : entries)
      if (name.is_text() && name.text().bytes == key) return &value;
    return nullptr;
  }
};

/// Jinja's namespace(): the one value whose attributes a template may set.
struct Namespace {
  std::vector<std::pair<std::string, Value>> attributes;

  /// The value of an attribute; null without it.
  const Value* find(std::string_view name) const {
    for (const auto& [key, value] : attributes)
      if (key == name) return &value;
    return nullptr;
  }
  /// Sets an attribute.
  void set(const std::string& name, Value value) {
    for (auto& [key, old] : attributes)
      if (key == name) {
        old = std::move(value);
        return;
      }
    attributes.emplace_back(name, std::move(value));
  }
};

/// A function: a global of the environment, a method with the value it belongs to, or a macro with
/// the scope in which it was defined.
struct Callable {
  enum class Type : std::uint8_t { global, method, macro };
  Type type = Type::global;
  std::string name;
  Value self;
  const Macro* macro = nullptr;
  std::weak_ptr<Scope> scope;
};

/// How deep values nest in this one: 0 for one that holds no other.
inline int nesting_of(const Value& value) {
  if (value.is(Kind::list)) return value.list().nesting;
  if (value.is(Kind::dict)) return value.dict().nesting;
  if (value.is(Kind::callable)) return 1 + nesting_of(value.callable().self);
  return 0;
}

/// A sequence of the items. Throws Failure where it would nest deeper than most_nesting.
inline Value make_list(std::vector<Value> items, Flavour flavour) {
  auto list = std::make_shared<List>();
  for (const Value& item : items) list->nesting = std::max(list->nesting, 1 + nesting_of(item));
  expect(list->nesting <= most_nesting, "values nest deeper than ", most_nesting);
  list->items = std::move(items);
  list->flavour = flavour;
  return Value(std::shared_ptr<const List>(std::move(list)));
}
inline Value Value::list(std::vector<Value> items) {
  return make_list(std::move(items), Flavour::list);
}
inline Value Value::tuple(std::vector<Value> items) {
  return make_list(std::move(items), Flavour::tuple);
}
inline Value Value::iterator(std::vector<Value> items) {
  return make_list(std::move(items), Flavour::iterator);
}

/// Makes a dictionary; a key that comes again replaces the value and keeps its place. One thread
/// uses an object at a time.
class DictBuilder {
 public:
  /// Adds a key, or sets it anew. Throws Failure for a key that is no text, number or none, and
  /// beyond most_nesting.
  void set(const Value& key, Value value) {
    expect(key.is_text() || key.is_number() || key.is(Kind::none), "a ", key.type(),
           " as a key is not supported");
    dict_->nesting = std::max(dict_->nesting, 1 + nesting_of(value));
    expect(dict_->nesting <= most_nesting, "values nest deeper than ", most_nesting);
    for (auto& [known, old] : dict_->entries)
      if (same(known, key)) {
        old = std::move(value);
        return;
      }
    dict_->entries.emplace_back(key, std::move(value));
  }
  /// The number of keys, and the dictionary, after which this is empty.
  std::size_t size() const { return dict_->entries.size(); }
  Value value() { return Value(std::shared_ptr<const Dict>(std::move(dict_))); }

  /// Whether Python takes two keys for the same.
  static bool same(const Value& a, const Value& b) {
    if (a.is_text() && b.is_text()) return a.text().bytes == b.text().bytes;
    if (a.is_number() && b.is_number()) {
      if (a.is_whole() && b.is_whole()) return a.whole() == b.whole();
      return a.real() == b.real();
    }
    return a.is(Kind::none) && b.is(Kind::none);
  }

 private:
  std::shared_ptr<Dict> dict_ = std::make_shared<Dict>();
};

inline const Value* Dict::find(const Value& key) const {
  for (const auto& [known, value] : entries)
    if (DictBuilder::same(known, key)) return &value;
  return nullptr;
}

inline bool Value::truth() const {
  switch (kind()) {
    case Kind::undefined:
    case Kind::none:
      return false;
    case Kind::boolean:
      return boolean();
    case Kind::integer:
      return whole() != 0;
    case Kind::real:
      return real() != 0;
    case Kind::text:
      return !text().empty();
    case Kind::list:
      return list().flavour == Flavour::iterator || !list().items.empty();
    case Kind::dict:
      return !dict().entries.empty();
    default:
      return true;
  }
}

inline std::string Value::type() const {
  switch (kind()) {
    case Kind::undefined:
      return "undefined";
    case Kind::none:
      return "None";
    case Kind::boolean:
      return "bool";
    case Kind::integer:
      return "int";
    case Kind::real:
      return "float";
    case Kind::text:
      return "str";
    case Kind::list:
      switch (list().flavour) {
        case Flavour::list:
          return "list";
        case Flavour::tuple:
          return "tuple";
        case Flavour::range:
          return "range";
        case Flavour::keys:
          return "dict_keys";
        case Flavour::values:
          return "dict_values";
        case Flavour::items:
          return "dict_items";
        case Flavour::iterator:
          return "generator";
      }
      return "list";
    case Kind::dict:
      return "dict";
    case Kind::name_space:
      return "namespace";
    case Kind::loop:
      return "loop";
    case Kind::callable:
      return "function";
  }
  return "value";
}

/// Which source a text of JSON came from, or none.
using Origin = std::optional<int>;

/// JSON as a value; all texts of it, keys included, came from `origin`. Throws Failure for a number
/// beyond 64 bits and for data that nests too deep.
inline Value from_json(const nlohmann::ordered_json& json, Origin origin = {}, int depth = 0) {
  using Type = nlohmann::json::value_t;
  expect(depth < most_nesting, "data nest deeper than ", most_nesting);
  const auto text = [&](const std::string& bytes) {
    return Value(origin ? Text::from(bytes, *origin) : Text(repair_utf8(bytes)));
  };
  switch (json.type()) {
    case Type::null:
      return None{};
    case Type::boolean:
      return json.get<bool>();
    case Type::number_unsigned:
      expect(json.get<std::uint64_t>() <= std::uint64_t{0x7fffffffffffffff}, "the whole number ",
             json.dump(), " is too large");
      return json.get<std::int64_t>();
    case Type::number_integer:
      return json.get<std::int64_t>();
    case Type::number_float:
      return json.get<double>();
    case Type::string:
      return text(json.get_ref<const std::string&>());
    case Type::array: {
      std::vector<Value> items;
      items.reserve(json.size());
      for (const auto& item : json) items.push_back(from_json(item, origin, depth + 1));
      return Value::list(std::move(items));
    }
    case Type::object: {
      DictBuilder dict;
      for (const auto& [key, value] : json.items())
        dict.set(text(key), from_json(value, origin, depth + 1));
      return dict.value();
    }
    default:
      throw Failure("expected JSON, found binary data");
  }
}

}  // namespace qlora::inline QLORA_ABI::jinja
