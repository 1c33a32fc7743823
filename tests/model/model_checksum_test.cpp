#include "qlora/model/model_checksum.hpp"

#include "qlora/io/safetensors_writer.hpp"
#include "qlora/model/folder_source.hpp"
#include "qlora/model/gguf_source.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/tiny_model.hpp"

namespace {

std::string digits(std::string_view text) { return qlora::sha256(std::as_bytes(std::span(text))); }

}  // namespace

TEST_CASE("the checksum of one file is its SHA-256") {
  const test::TemporaryFolder folder;
  const std::string bytes = test::TinyModel().bytes();
  REQUIRE(qlora::model_checksum(qlora::GgufSource(folder.write("m.gguf", bytes))) == digits(bytes));
}

TEST_CASE("the checksum of several files is the SHA-256 of their digits") {
  const test::TemporaryFolder folder;
  const std::vector<float> values{1, 2};
  std::string all;
  for (const char* name : {"a", "b"}) {
    const auto path = folder / (std::string(name) + ".safetensors");
    qlora::SafetensorsWriter file(path, {name});
    file.add<float>(name, {2}, values);
    file.commit();
    all += digits(qlora::read_text_file(path));
  }
  folder.write("config.json", "{}");
  folder.write("model.safetensors.index.json",
               R"({"weight_map": {"a": "a.safetensors", "b": "b.safetensors"}})");
  REQUIRE(qlora::model_checksum(qlora::FolderSource(folder.path())) == digits(all));
}
