/// The functions that templates find without defining them: range, dict, namespace, raise_exception
/// and strftime_now.
#pragma once

#include <algorithm>
#include <array>
#include <ctime>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/text/jinja/arguments.hpp"

namespace qlora::inline QLORA_ABI::jinja {

/// Throws Failure for a name that begins with an underscore.
inline void set_attribute(Namespace& space, const std::string& name, const Value& value) {
  expect(!name.starts_with("_"), "a namespace can't hold '", name, "'");
  space.set(name, value);
}

/// The functions of one rendering. It belongs to that rendering's thread.
class Globals {
 public:
  /// `now` gives the time that strftime_now writes.
  Globals(Budget& budget, std::function<std::tm()> now) : budget_(budget), now_(std::move(now)) {}
  Globals(const Globals&) = delete;
  Globals& operator=(const Globals&) = delete;
  /// Namespaces may hold each other.
  ~Globals() {
    for (const auto& space : spaces_) space->attributes.clear();
  }

  /// The function of that name, or an undefined value. Throws Failure for one of Jinja's that is
  /// not supported.
  static Value find(const std::string& name) {
    static constexpr std::array<std::string_view, 5> known = {"range", "dict", "namespace",
                                                              "raise_exception", "strftime_now"};
    if (std::find(known.begin(), known.end(), name) != known.end()) {
      auto function = std::make_shared<Callable>();
      function->name = name;
      return Value(std::shared_ptr<const Callable>(std::move(function)));
    }
    for (const char* other : {"lipsum", "cycler", "joiner", "self", "super"})
      expect(name != other, "'", name, "' is not supported");
    return Value::undefined(message("'", name, "' is undefined"));
  }

  /// What the function of that name returns. Throws Failure for wrong arguments.
  Value call(const std::string& name, const Arguments& arguments) {
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

 private:
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
    bool beyond = false;
    for (std::int64_t i = begin; !beyond && (step > 0 ? i < end : i > end);
         beyond = __builtin_add_overflow(i, step, &i)) {
      expect(items.size() < 100'000, "range: expected at most 100000 numbers");
      items.emplace_back(i);
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

  Budget& budget_;
  std::function<std::tm()> now_;
  std::vector<std::shared_ptr<Namespace>> spaces_;
};

}  // namespace qlora::inline QLORA_ABI::jinja
