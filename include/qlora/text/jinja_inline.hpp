/// The functions of jinja.hpp: compiled where they are used, or, with QLORA_COMPILED, once in the
/// target qlora::compiled, which alone includes this file then.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "qlora/core/config.hpp"
#include "qlora/text/jinja.hpp"
#include "qlora/text/jinja/evaluator.hpp"
#include "qlora/text/jinja/parser.hpp"

namespace qlora::inline QLORA_ABI::jinja {

QLORA_INLINE Template::Template(std::string_view source, std::string name)
    : name_(std::move(name)) {
  try {
    Parser parser(Lexer(source).tokens());
    body_ = parser.parse();
    has_generation_ = parser.has_generation();
  } catch (const Failure& failure) {
    refuse(failure);
  }
}

QLORA_INLINE Text Template::render(Variables variables, const RenderOptions& options) const {
  try {
    return Evaluator(options.limits, options.now).run(body_, std::move(variables));
  } catch (const Failure& failure) {
    refuse(failure);
  }
}

QLORA_INLINE std::string Template::render(const nlohmann::ordered_json& context,
                                          const RenderOptions& options) const {
  Variables variables;
  try {
    for (const auto& [name, value] : context.items())
      variables.emplace_back(name, from_json(value));
  } catch (const Failure& failure) {
    refuse(failure);
  }
  return render(std::move(variables), options).bytes;
}

}  // namespace qlora::inline QLORA_ABI::jinja
