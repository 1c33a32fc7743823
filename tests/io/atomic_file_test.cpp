#include "qlora/io/atomic_file.hpp"

#include <sys/resource.h>
#include <sys/wait.h>

#include <csignal>
#include <string>

#include "qlora/io/json_file.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/numbers.hpp"

TEST_CASE("a committed file is whole and alone in its folder") {
  const test::TemporaryFolder folder;
  qlora::write_text_file(folder / "a.txt", "old");
  qlora::write_text_file(folder / "a.txt", "new");
  REQUIRE(qlora::read_text_file(folder / "a.txt") == "new");
  REQUIRE(folder.names() == std::vector<std::string>{"a.txt"});
}

TEST_CASE("without a commit the old file stays and no temporary is left") {
  const test::TemporaryFolder folder;
  qlora::write_text_file(folder / "a.txt", "old");
  {
    qlora::AtomicFile file(folder / "a.txt");
    file.write("half", 4);
  }
  REQUIRE(qlora::read_text_file(folder / "a.txt") == "old");
  REQUIRE(folder.names() == std::vector<std::string>{"a.txt"});
}

TEST_CASE("a folder that is missing or is a file is an IoError that names the target") {
  const test::TemporaryFolder folder;
  folder.write("file", "x");
  for (const auto& target : {folder / "missing/a.txt", folder / "file/a.txt"}) {
    const auto text =
        test::message_of<qlora::IoError>([&] { qlora::write_text_file(target, "x"); });
    REQUIRE(test::contains(text, target.string()));
  }
}

TEST_CASE("a disk that fills up is an IoError and leaves the old file") {
  const test::TemporaryFolder folder;
  qlora::write_text_file(folder / "a.txt", "old");
  // A limit on the size of files stands in for a full disk, in a process of its own.
  const pid_t child = ::fork();
  if (child == 0) {
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{1000, 1000};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    const auto text = test::message_of<qlora::IoError>(
        [&] { qlora::write_text_file(folder / "a.txt", std::string(5000, 'x')); });
    ::_exit(test::contains(text, "can't write") ? 0 : 1);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(WIFEXITED(status));
  REQUIRE(WEXITSTATUS(status) == 0);
  REQUIRE(qlora::read_text_file(folder / "a.txt") == "old");
  REQUIRE(folder.names() == std::vector<std::string>{"a.txt"});
}
