/// The variables of a template and its blocks.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/text/jinja/value.hpp"

namespace qlora::inline QLORA_ABI::jinja {

/// The variables of a block; what it does not know, the block around it may.
struct Scope {
  std::shared_ptr<Scope> outer;
  std::vector<std::pair<std::string, Value>> variables;

  /// The variable of that name, of this block or of one around it; null without one.
  Value* find(std::string_view name) {
    for (Scope* scope = this; scope != nullptr; scope = scope->outer.get())
      for (auto& [known, value] : scope->variables)
        if (known == name) return &value;
    return nullptr;
  }
  /// Sets a variable of this block.
  void set(const std::string& name, Value value) {
    for (auto& [known, old] : variables)
      if (known == name) {
        old = std::move(value);
        return;
      }
    variables.emplace_back(name, std::move(value));
  }
};

}  // namespace qlora::inline QLORA_ABI::jinja
