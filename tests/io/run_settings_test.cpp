#include "qlora/io/run_settings.hpp"

#include "support/catch.hpp"
#include "support/files.hpp"

TEST_CASE("the settings of a run are read, and a folder without them has none") {
  const test::TemporaryFolder folder;
  REQUIRE(!qlora::read_run_settings(folder.path()));
  folder.write("qlora.json",
               R"({"format": "nf4", "block_size": 128, "model_sha256": "ab", "steps": 3,
                   "chat_template": null})");
  const auto run = qlora::read_run_settings(folder.path());
  REQUIRE(run);
  REQUIRE(run->format == "nf4");
  REQUIRE(run->block_size == 128);
  REQUIRE(run->model_sha256 == "ab");
  REQUIRE(run->chat_template.empty());
  folder.write(
      "qlora.json",
      R"({"format": "nf4", "block_size": 0, "model_sha256": "", "chat_template": "{{ x }}"})");
  REQUIRE(qlora::read_run_settings(folder.path())->chat_template == "{{ x }}");
}

TEST_CASE("broken settings are an error that names file and key") {
  const test::TemporaryFolder folder;
  const auto said = [&](const std::string& text, const std::string& key) {
    folder.write("qlora.json", text);
    REQUIRE_THROWS_WITH(qlora::read_run_settings(folder.path()),
                        test::contains("qlora.json: " + key));
  };
  said(R"({"format": 7})", "format");
  said(R"({"format": "nf4", "block_size": 64})", "model_sha256");
  said(R"({"format": "nf4", "model_sha256": "ab"})", "block_size");
  said(R"({"format": "nf4", "model_sha256": "ab", "block_size": -1})", "block_size");
  said(R"({"format": "nf4", "model_sha256": "ab", "block_size": 64, "chat_template": 1})",
       "chat_template");
  said("[]", "format");
  folder.write("qlora.json", "{");
  REQUIRE_THROWS_AS(qlora::read_run_settings(folder.path()), qlora::FormatError);
}
