/// Jinja templates, as far as chat templates use them, rendered as Python's jinja2 does with
/// transformers' settings: an immutable sandbox, trim_blocks, lstrip_blocks, loop controls,
/// `{% generation %}`, `tojson` without HTML or ASCII escapes, raise_exception, strftime_now.
///
///     qlora::jinja::Template hello("{{ name | upper }}!", "hello");
///     hello.render(nlohmann::ordered_json{{"name", "ada"}});   // "ADA!"
#pragma once

#include <ctime>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/text/jinja/budget.hpp"
#include "qlora/text/jinja/syntax.hpp"

namespace qlora::inline QLORA_ABI::jinja {

/// The clock's local time.
inline std::tm local_time() {
  const std::time_t now = std::time(nullptr);
  std::tm time{};
  localtime_r(&now, &time);
  return time;
}

/// What a rendering reads from outside, and what it may cost.
struct RenderOptions {
  std::function<std::tm()> now = local_time;  ///< what strftime_now writes
  Limits limits;
};

/// The variables of a rendering.
using Variables = std::vector<std::pair<std::string, Value>>;

/// A parsed template. Rendering from several threads at once is safe.
class Template {
 public:
  /// `name` stands before the line in messages. Throws FormatError for what Jinja can't parse.
  explicit Template(std::string_view source, std::string name = "template");

  /// What stands before the line in messages.
  const std::string& name() const { return name_; }
  /// Whether the template marks what the model wrote by `{% generation %}`.
  bool has_generation() const { return has_generation_; }

  /// The text and where its parts came from. Throws FormatError that names the line for what is not
  /// supported, what Python would raise, what the template itself raises, and what goes beyond the
  /// limits.
  Text render(Variables variables, const RenderOptions& options = {}) const;

  /// The text for the members of a JSON object as variables.
  std::string render(const nlohmann::ordered_json& context,
                     const RenderOptions& options = {}) const;

 private:
  [[noreturn]] void refuse(const Failure& failure) const {
    if (failure.line == 0) throw FormatError(message(name_, ": ", failure.what()));
    throw FormatError(message(name_, ", line ", failure.line, ": ", failure.what()));
  }

  std::string name_;
  Body body_;
  bool has_generation_ = false;
};

}  // namespace qlora::inline QLORA_ABI::jinja

#if !defined(QLORA_COMPILED)
#include "qlora/text/jinja_inline.hpp"
#endif
