/// Attributes, items and slices of values, as Jinja's sandbox finds them.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/text/jinja/loop.hpp"
#include "qlora/text/jinja/methods.hpp"

namespace qlora::inline QLORA_ABI::jinja {

/// Begin, end and step of a slice, where they are given.
using SliceBounds = std::array<std::optional<std::int64_t>, 3>;

namespace detail {

inline Value missing(const Value& of, const std::string& name) {
  return Value::undefined(message("a ", of.type(), " has no '", name, "'"));
}
inline std::optional<std::size_t> place_of(std::int64_t index, std::size_t size) {
  if (index < 0) index += static_cast<std::int64_t>(size);
  if (index < 0 || index >= static_cast<std::int64_t>(size)) return std::nullopt;
  return static_cast<std::size_t>(index);
}

inline Value loop_attribute(const Value& value, const std::string& name) {
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

inline Text text_slice(const Text& text, std::int64_t begin, std::int64_t end, std::int64_t step,
                       Budget& budget) {
  budget.spend_bytes(text.size());
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

}  // namespace detail

/// loop.cycle
inline Value cycle(const Callable& method, const Arguments& arguments) {
  expect(!arguments.positional.empty() && arguments.named.empty(), "loop.cycle: expected values");
  return arguments.positional[method.self.loop().index() % arguments.positional.size()];
}

/// value.name: a method before an item; undefined where there is neither.
inline Value attribute_of(const Value& value, const std::string& name) {
  require_defined(value);
  if (value.is(Kind::name_space))
    if (const Value* found = value.name_space()->find(name)) return *found;
  if (value.is(Kind::loop)) return detail::loop_attribute(value, name);
  if (name.starts_with("_"))
    return Value::undefined(message("the attribute '", name, "' is not allowed"));
  if (const auto method = find_method(value, name)) return *method;
  if (value.is(Kind::dict))
    if (const Value* found = value.dict().find(name)) return *found;
  expect(!value.is(Kind::callable), "the attribute '", name, "' of a function is not supported");
  return detail::missing(value, name);
}

/// value[key]: an item before an attribute; undefined where there is neither.
inline Value item_of(const Value& value, const Value& key, Budget& budget) {
  require_defined(value);
  if (value.is(Kind::dict)) {
    if (const Value* found = value.dict().find(key)) return *found;
  } else if (key.is_whole() && value.is_text()) {
    const std::string& bytes = value.text().bytes;
    budget.spend(bytes.size() / 16);
    const auto at = detail::place_of(key.whole(), character_count(bytes));
    if (!at) return detail::missing(value, std::to_string(key.whole()));
    const std::size_t begin = byte_of_character(bytes, *at);
    return value.text().slice(begin, begin + character_at(bytes, begin).length);
  } else if (key.is_whole() && value.is(Kind::list)) {
    const List& list = value.list();
    const auto at = list.flavour == Flavour::list || list.flavour == Flavour::tuple ||
                            list.flavour == Flavour::range
                        ? detail::place_of(key.whole(), list.items.size())
                        : std::nullopt;
    if (at) return list.items[*at];
    return detail::missing(value, std::to_string(key.whole()));
  }
  if (key.is_text()) {
    const std::string& name = key.text().bytes;
    if (value.is(Kind::name_space) || value.is(Kind::loop)) return attribute_of(value, name);
    if (name.starts_with("_")) return detail::missing(value, name);
    if (const auto method = find_method(value, name)) return *method;
    return detail::missing(value, name);
  }
  return detail::missing(value, str(key).bytes);
}

/// value[begin:end:step]
inline Value slice_of(const Value& value, const SliceBounds& bounds, Budget& budget) {
  require_defined(value);
  const bool sequence = value.is(Kind::list) && (value.list().flavour == Flavour::list ||
                                                 value.list().flavour == Flavour::tuple);
  expect(sequence || value.is_text(), "a slice of a ", value.type(), " is not possible");
  const std::int64_t step = bounds[2].value_or(1);
  expect(step != 0, "slice: the step is zero");
  const auto size = static_cast<std::int64_t>(value.is_text() ? character_count(value.text().bytes)
                                                              : value.list().items.size());
  const auto clamp = [&](std::optional<std::int64_t> bound, std::int64_t otherwise) {
    if (!bound) return otherwise;
    const std::int64_t at = *bound < 0 ? *bound + size : *bound;
    return step > 0 ? std::clamp<std::int64_t>(at, 0, size)
                    : std::clamp<std::int64_t>(at, -1, size - 1);
  };
  const std::int64_t begin = clamp(bounds[0], step > 0 ? 0 : size - 1);
  const std::int64_t end = clamp(bounds[1], step > 0 ? size : -1);
  if (value.is_text()) return detail::text_slice(value.text(), begin, end, step, budget);
  std::vector<Value> items;
  for (std::int64_t i = begin; step > 0 ? i < end : i > end; i += step) {
    items.push_back(value.list().items[static_cast<std::size_t>(i)]);
    if (step > size || step < -size) break;
  }
  budget.spend_items(items.size());
  return make_list(std::move(items), value.list().flavour);
}

}  // namespace qlora::inline QLORA_ABI::jinja
