// Every hand-made broken file of tests/corpus is refused with a message that names the file and
// says what is wrong.
#include <filesystem>
#include <string>

#include "qlora/io/gguf.hpp"
#include "qlora/io/json_file.hpp"
#include "qlora/io/safetensors.hpp"
#include "support/catch.hpp"
#include "support/numbers.hpp"

TEST_CASE("every broken file is refused by name with what is wrong") {
  const auto folder = std::filesystem::path(QLORA_TEST_FOLDER) / "corpus" / "broken";
  const nlohmann::json expected = qlora::read_json_file(folder / "expected.json");
  REQUIRE(expected.size() >= 93);  // the number in README.md
  std::size_t files = 0;
  for (const auto& file : std::filesystem::directory_iterator(folder))
    files += file.path().filename() == "expected.json" ? 0 : 1;
  REQUIRE(files == expected.size());
  for (const auto& [name, part] : expected.items()) {
    const auto path = folder / name;
    const std::string found = test::message_of<qlora::FormatError>([&] {
      if (path.extension() == ".gguf") {
        qlora::GgufFile file(path);
      } else {
        qlora::SafetensorsFile file(path);
      }
    });
    INFO(found);
    REQUIRE(test::contains(found, name));
    REQUIRE(test::contains(found, part.get<std::string>()));
  }
}
