#include "qlora/io/packed_parts.hpp"

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/numbers.hpp"

using qlora::Index;

namespace {

namespace io = qlora::io_detail;

struct Pair {
  std::uint32_t first = 0, second = 0;
  bool operator==(const Pair&) const = default;
};

// A user's own parts of every kind, one of them nested in the one before.
struct Parts {
  std::vector<std::uint8_t> codes;
  std::vector<Pair> places;
  std::vector<float> scales;
  float offset = 0, inner_offset = 0;
  static constexpr float map[3] = {-1.f, 0.f, 1.f};

  template <class Archive>
  void describe(Archive& archive, Index count) {
    archive.array("absmax", codes, count);
    archive.number("offset", offset);
    archive.nested([&](auto& below) {
      below.template pairs<std::uint32_t>("place", places, 2);
      below.number("offset", inner_offset);
      below.nested([&](auto& lowest) { lowest.array("absmax", scales, 1); });
      below.table("quant_map", map);
    });
  }
};

// A file of such parts, and what beside them is a number.
struct Written {
  test::TemporaryFolder folder;
  Parts parts{{1, 2, 3}, {{4, 5}, {6, 7}}, {0.5f}, -2.f, 3.f};
  std::vector<std::string> names;
  nlohmann::json numbers = nlohmann::json::object();

  Written() {
    io::PartNames all("a.weight");
    parts.describe(all, 3);
    names = all.names;
    qlora::SafetensorsWriter file(folder / "w.safetensors", names);
    io::PartWriter writer(file, "a.weight", numbers);
    parts.describe(writer, 3);
    file.commit();
  }
  std::string refusal(const nlohmann::json& changed, Index count = 3) const {
    const qlora::Checkpoint file(folder / "w.safetensors");
    io::PartReader reader(file, "a.weight", changed);
    Parts read;
    return test::message_of<qlora::FormatError>([&] { read.describe(reader, count); });
  }
  std::string start() const { return (folder / "w.safetensors").string() + ": "; }
};

}  // namespace

TEST_CASE("parts are named by the weight and by how deep they are nested") {
  const Written written;
  REQUIRE(written.names == std::vector<std::string>{"a.weight.absmax", "a.weight.nested_place",
                                                    "a.weight.nested_nested_absmax",
                                                    "a.weight.nested_quant_map"});
  REQUIRE(written.numbers == nlohmann::json{{"offset", -2.f}, {"nested_offset", 3.f}});
}

TEST_CASE("parts of every kind are read as they were written, pairs in rows of two") {
  const Written written;
  const qlora::Checkpoint file(written.folder / "w.safetensors");
  REQUIRE(file.tensor("a.weight.nested_place").shape == std::vector<Index>{2, 2});
  REQUIRE(file.tensor("a.weight.nested_place").dtype == "U32");
  io::PartReader reader(file, "a.weight", written.numbers);
  Parts read;
  read.describe(reader, 3);
  REQUIRE(read.codes == written.parts.codes);
  REQUIRE(read.places == written.parts.places);
  REQUIRE(read.scales == written.parts.scales);
  REQUIRE(read.offset == -2.f);
  REQUIRE(read.inner_offset == 3.f);
}

TEST_CASE("a number beside the parts that is missing or no finite number is refused by its key") {
  const Written written;
  REQUIRE(written.refusal(written.numbers) == "nothing was thrown");
  const auto with = [&](const nlohmann::json& value) {
    auto numbers = written.numbers;
    numbers["nested_offset"] = value;
    if (value.is_null()) numbers.erase("nested_offset");
    return written.refusal(numbers);
  };
  const std::string where = written.start() + "a.weight.quant_state: ";
  REQUIRE(with(nullptr) == where + "expected a number 'nested_offset', found none");
  REQUIRE(with("3") == where + "expected a number 'nested_offset', found \"3\"");
  REQUIRE(with(true) == where + "expected a number 'nested_offset', found true");
  REQUIRE(with(1e39) == where + "'nested_offset': expected a finite number, found inf");
}

TEST_CASE("a part of another length is refused before there is memory for it") {
  const Written written;
  REQUIRE(written.refusal(written.numbers, 4) ==
          written.start() +
              "tensor 'a.weight.absmax': expected 4 times 1 bytes of U8, found 3 bytes of U8");
  const Index huge = std::numeric_limits<Index>::max();
  REQUIRE(test::contains(written.refusal(written.numbers, huge), "found 3 bytes of U8"));
}
