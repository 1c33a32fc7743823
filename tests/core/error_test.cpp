#include "qlora/core/error.hpp"

#include <exception>
#include <ostream>
#include <stdexcept>
#include <string>
#include <type_traits>

#include "support/catch.hpp"
#include "support/numbers.hpp"

namespace {

// Counts how often it is written.
struct Counting {
  int& written;
};
std::ostream& operator<<(std::ostream& stream, const Counting& counting) {
  ++counting.written;
  return stream << "counted";
}

template <class Kind>
void require_kind_of_its_own() {
  static_assert(std::is_base_of_v<qlora::Error, Kind>);
  static_assert(std::is_nothrow_copy_constructible_v<Kind>);
  try {
    qlora::require<Kind>(false, "kind");
  } catch (const std::runtime_error& error) {
    REQUIRE(typeid(error) == typeid(Kind));
    REQUIRE(error.what() == std::string("kind"));
    return;
  }
  FAIL("nothing was thrown");
}

}  // namespace

TEST_CASE("what is required is thrown as the kind that was asked for, no other") {
  require_kind_of_its_own<qlora::Error>();
  require_kind_of_its_own<qlora::ShapeError>();
  require_kind_of_its_own<qlora::OptionError>();
  require_kind_of_its_own<qlora::FormatError>();
  require_kind_of_its_own<qlora::IoError>();
  require_kind_of_its_own<qlora::DeviceError>();
  require_kind_of_its_own<qlora::NumericError>();
  require_kind_of_its_own<qlora::Cancelled>();
}

TEST_CASE("the text of a requirement is written only where it does not hold") {
  int written = 0;
  qlora::require<qlora::ShapeError>(true, Counting{written});
  REQUIRE(written == 0);
  REQUIRE(test::message_of<qlora::ShapeError>([&] {
            qlora::require<qlora::ShapeError>(false, "m: ", Counting{written}, ' ', -3);
          }) == "m: counted -3");
  REQUIRE(written == 1);
}

TEST_CASE("a message holds its parts and nothing between, whatever they are") {
  REQUIRE(qlora::message(std::string("a\0b", 3), "", 'c') == std::string("a\0bc", 4));
  REQUIRE(qlora::message(1.f / 3, " of ", -0.0, " of ", std::size_t{7}) == "0.333333 of -0 of 7");
}

TEST_CASE("an error keeps its text when it is copied, held and thrown in another place") {
  std::exception_ptr held;
  try {
    const qlora::IoError first("w.gguf: cut off");
    const qlora::IoError copy = first;
    throw copy;
  } catch (...) {
    held = std::current_exception();
  }
  for (int i = 0; i < 2; ++i)
    REQUIRE(test::message_of<qlora::IoError>([&] { std::rethrow_exception(held); }) ==
            "w.gguf: cut off");
}
