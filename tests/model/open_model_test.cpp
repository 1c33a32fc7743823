#include "qlora/model/open_model.hpp"

#include <filesystem>
#include <fstream>
#include <string>

#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/numbers.hpp"
#include "support/tiny_folder.hpp"

namespace {

using Few = qlora::FormatList<qlora::formats::q8_0>;

template <class E>
std::string refusal(const std::filesystem::path& path) {
  return test::message_of<E>([&] { (void)qlora::open_model<Few>(path); });
}

}  // namespace

TEST_CASE("a folder and a file are opened as what they are, also through a link, with the list") {
  const test::TinyFile tiny;
  test::write_float_folder(tiny.folder / "hf", tiny.source);
  std::filesystem::create_directory_symlink(tiny.folder / "hf", tiny.folder / "folder.gguf");
  std::filesystem::create_symlink(tiny.path, tiny.folder / "file");
  for (const char* name : {"hf", "folder.gguf", "m.gguf", "file"}) {
    INFO(name);
    const bool is_folder = std::string(name) == "hf" || std::string(name) == "folder.gguf";
    const auto source = qlora::open_model<Few>(tiny.folder / name);
    REQUIRE((dynamic_cast<qlora::FolderSource*>(source.get()) != nullptr) == is_folder);
    REQUIRE((dynamic_cast<qlora::GgufSource*>(source.get()) != nullptr) == !is_folder);
    REQUIRE(&source->formats() == &qlora::weight_formats<Few>);
    REQUIRE(source->name() == (tiny.folder / name).string());
    REQUIRE(source->config().width == 32);
  }
}

TEST_CASE("what is missing is an IoError and what is no model a FormatError, each with the path") {
  const test::TemporaryFolder folder;
  REQUIRE(test::contains(refusal<qlora::IoError>(folder / "none.gguf"), "none.gguf"));
  REQUIRE(test::contains(refusal<qlora::IoError>(folder.path()), "config.json"));
  (void)folder.write("config.json", "{");
  REQUIRE(test::contains(refusal<qlora::FormatError>(folder.path()), "config.json: "));
  (void)folder.write("config.json", "{}");
  REQUIRE(test::contains(refusal<qlora::IoError>(folder.path()),
                         folder.path().string() + ": expected model.safetensors"));
  REQUIRE(test::contains(refusal<qlora::FormatError>(folder / "config.json"), "config.json"));
}
