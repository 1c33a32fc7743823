#include "qlora/io/mapped_file.hpp"

#include <cstring>

#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/numbers.hpp"

TEST_CASE("a mapped file shows its bytes, also after its pages were given back or it was moved") {
  const test::TemporaryFolder folder;
  qlora::MappedFile file(folder.write("f", "hello"));
  file.release_pages();
  qlora::MappedFile moved(std::move(file));
  REQUIRE(moved.bytes().size() == 5);
  REQUIRE(std::memcmp(moved.bytes().data(), "hello", 5) == 0);
}

TEST_CASE("an empty file is empty") {
  const test::TemporaryFolder folder;
  REQUIRE(qlora::MappedFile(folder.write("f", "")).bytes().empty());
}

TEST_CASE("a missing file or a folder is an IoError that names it") {
  const test::TemporaryFolder folder;
  for (const auto& path : {folder / "missing", folder.path()}) {
    const auto text = test::message_of<qlora::IoError>([&] { qlora::MappedFile file(path); });
    REQUIRE(test::contains(text, path.string()));
  }
}
