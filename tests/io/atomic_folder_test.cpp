#include "qlora/io/atomic_folder.hpp"

#include <string>
#include <vector>

#include "qlora/io/atomic_file.hpp"
#include "qlora/io/json_file.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/numbers.hpp"

namespace fs = std::filesystem;

TEST_CASE("a folder appears with all its files on commit, and not before") {
  const test::TemporaryFolder root;
  for (const std::string name : {"new", "slash/"}) {
    qlora::AtomicFolder folder(root / name);
    qlora::write_text_file(folder.path() / "a.txt", "text");
    REQUIRE(!fs::exists(root / name));
    folder.commit();
    REQUIRE(qlora::read_text_file(root / name / "a.txt") == "text");
  }
  REQUIRE(root.names().size() == 2);
}

TEST_CASE("without a commit nothing is left") {
  const test::TemporaryFolder root;
  {
    qlora::AtomicFolder folder(root / "new");
    qlora::write_text_file(folder.path() / "a.txt", "text");
  }
  REQUIRE(root.names().empty());
}

TEST_CASE("an empty folder is taken, one that holds something and a file are refused") {
  const test::TemporaryFolder root;
  fs::create_directory(root / "empty");
  qlora::AtomicFolder folder(root / "empty");
  folder.commit();
  REQUIRE(fs::is_directory(root / "empty"));
  fs::create_directory(root / "full");
  qlora::write_text_file(root / "full" / "a.txt", "text");
  REQUIRE(test::contains(
      test::message_of<qlora::IoError>([&] { qlora::AtomicFolder f(root / "full"); }),
      "full: expected a new or empty folder"));
  REQUIRE_THROWS_AS(qlora::AtomicFolder(root / "full" / "a.txt"), qlora::IoError);
  REQUIRE_THROWS_AS(qlora::AtomicFolder(root / "no" / "folder"), qlora::IoError);
}

TEST_CASE("an old folder stays until the new one is complete, which replaces all of it") {
  const test::TemporaryFolder root;
  fs::create_directory(root / "out");
  qlora::write_text_file(root / "out" / "old.txt", "old");
  {
    qlora::AtomicFolder abandoned(root / "out", qlora::Existing::replace);
    qlora::write_text_file(abandoned.path() / "new.txt", "new");
  }
  REQUIRE(qlora::read_text_file(root / "out" / "old.txt") == "old");
  qlora::AtomicFolder folder(root / "out", qlora::Existing::replace);
  qlora::write_text_file(folder.path() / "new.txt", "new");
  REQUIRE(fs::exists(root / "out" / "old.txt"));
  folder.commit();
  REQUIRE(!fs::exists(root / "out" / "old.txt"));
  REQUIRE(qlora::read_text_file(root / "out" / "new.txt") == "new");
  REQUIRE(root.names() == std::vector<std::string>{"out"});
}

TEST_CASE("through a link the folder it names is replaced, and the link stays") {
  const test::TemporaryFolder root;
  fs::create_directory(root / "real");
  qlora::write_text_file(root / "real" / "old.txt", "old");
  fs::create_directory_symlink("real", root / "link");
  qlora::AtomicFolder folder(root / "link", qlora::Existing::replace);
  qlora::write_text_file(folder.path() / "new.txt", "new");
  folder.commit();
  REQUIRE(fs::is_symlink(root / "link"));
  REQUIRE(!fs::exists(root / "real" / "old.txt"));
  REQUIRE(qlora::read_text_file(root / "real" / "new.txt") == "new");
}

TEST_CASE("what can't be put in its place is kept, and the message says where") {
  const test::TemporaryFolder root;
  qlora::AtomicFolder folder(root / "out");
  qlora::write_text_file(folder.path() / "new.txt", "new");
  fs::create_directory(root / "out");  // another run was faster
  qlora::write_text_file(root / "out" / "other.txt", "other");
  const std::string text = test::message_of<qlora::IoError>([&] { folder.commit(); });
  REQUIRE(test::contains(text, folder.path().string()));
  REQUIRE(qlora::read_text_file(folder.path() / "new.txt") == "new");
  REQUIRE(qlora::read_text_file(root / "out" / "other.txt") == "other");
}
