// Renders templates for templates.py: reads a JSON list of {"source", "context"} and writes a list
// of {"text"} or {"error"}, under the clock of jinja_reference.py.
#include <iostream>

#include "qlora/text/jinja.hpp"

int main() {
  using Json = nlohmann::ordered_json;
  qlora::jinja::RenderOptions options;
  options.now = [] {
    std::tm noon{};
    noon.tm_year = 124;
    noon.tm_mon = 6;
    noon.tm_mday = 26;
    noon.tm_hour = 12;
    noon.tm_wday = 5;
    noon.tm_yday = 207;
    return noon;
  };
  Json results = Json::array();
  for (const Json& one : Json::parse(std::cin)) {
    try {
      const qlora::jinja::Template parsed(one["source"].get<std::string>());
      results.push_back({{"text", parsed.render(one["context"], options)}});
    } catch (const qlora::Error& failure) {
      results.push_back({{"error", failure.what()}});
    }
  }
  std::cout << results.dump() << "\n";
}
