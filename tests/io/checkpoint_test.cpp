#include "qlora/io/checkpoint.hpp"

#include <string>
#include <vector>

#include "qlora/io/safetensors_writer.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/numbers.hpp"

using qlora::RowMatrixXf;

namespace {

// Two files, "a" and "b" in the first and "c" in the second, and the index text given.
void write_shards(const test::TemporaryFolder& folder, const std::string& index) {
  const RowMatrixXf a = RowMatrixXf::Constant(1, 2, 1.f), b = 2 * a, c = 3 * a;
  qlora::write_safetensors(folder / "model-1.safetensors", {{"a", &a}, {"b", &b}});
  qlora::write_safetensors(folder / "model-2.safetensors", {{"c", &c}});
  (void)folder.write("model.safetensors.index.json", index);
}

}  // namespace

TEST_CASE("one file, a folder with one, and a folder with an index give tensors by name") {
  const test::TemporaryFolder one, several;
  const RowMatrixXf a = RowMatrixXf::Constant(2, 2, 4.f);
  qlora::write_safetensors(one / "model.safetensors", {{"a", &a}});
  REQUIRE(qlora::Checkpoint(one / "model.safetensors").dense("a") == a);
  REQUIRE(qlora::Checkpoint(one.path()).dense("a") == a);
  write_shards(several, R"({"metadata":{},"weight_map":{"a":"model-1.safetensors",
    "b":"model-1.safetensors","c":"model-2.safetensors"}})");
  const qlora::Checkpoint checkpoint(several.path());
  REQUIRE(checkpoint.names() == std::vector<std::string>{"a", "b", "c"});
  REQUIRE(checkpoint.dense("b")(0, 1) == 2.f);
  REQUIRE(checkpoint.dense("c")(0, 1) == 3.f);
  REQUIRE(checkpoint.files().size() == 2);
  REQUIRE(checkpoint.first_with_prefix("b") == "b");
  REQUIRE(!checkpoint.first_with_prefix("bb"));
}

TEST_CASE("an index that does not fit its files is refused by name") {
  const test::TemporaryFolder folder;
  const auto refusal = [&](const std::string& index) {
    write_shards(folder, index);
    return test::message_of<qlora::Error>([&] { qlora::Checkpoint c(folder.path()); });
  };
  const auto expect = [&](const std::string& index, const std::string& part) {
    const auto text = refusal(index);
    INFO(text);
    REQUIRE(test::contains(text, part));
  };
  expect("{", "model.safetensors.index.json");
  expect("{}", "weight_map");
  expect(R"({"weight_map":[]})", "index.json");
  expect(R"({"weight_map":{"a":"model-2.safetensors"}})", "'a' is not in model-2.safetensors");
  expect(R"({"weight_map":{"d":"model-2.safetensors"}})", "'d' is not in model-2.safetensors");
  expect(R"({"weight_map":{"a":"model-3.safetensors"}})", "model-3.safetensors");
  expect(R"({"weight_map":{"a":"../model-1.safetensors"}})", "name of a file in the folder");
}

TEST_CASE("a folder without weights is refused, files of torch by name") {
  const test::TemporaryFolder folder;
  const auto text = [&] {
    return test::message_of<qlora::IoError>([&] { qlora::Checkpoint c(folder.path()); });
  };
  REQUIRE(test::contains(text(), "model.safetensors"));
  (void)folder.write("pytorch_model.bin", "PK");
  REQUIRE(test::contains(text(), "found pytorch_model.bin, which is not supported"));
}

TEST_CASE("of two tensors of one name the index says which counts") {
  const test::TemporaryFolder folder;
  const RowMatrixXf one = RowMatrixXf::Ones(1, 2), two = 2 * one;
  qlora::write_safetensors(folder / "x.safetensors", {{"a", &one}, {"b", &one}});
  qlora::write_safetensors(folder / "y.safetensors", {{"a", &two}, {"b", &two}});
  (void)folder.write("model.safetensors.index.json",
                     R"({"weight_map":{"a":"x.safetensors","b":"y.safetensors"}})");
  const qlora::Checkpoint checkpoint(folder.path());
  REQUIRE(checkpoint.dense("a") == one);
  REQUIRE(checkpoint.dense("b") == two);
}

TEST_CASE("a tensor that the index does not name is refused, and one whole file needs no index") {
  const test::TemporaryFolder folder;
  write_shards(folder, R"({"weight_map":{"a":"model-1.safetensors"}})");
  REQUIRE(test::contains(
      test::message_of<qlora::FormatError>([&] { qlora::Checkpoint c(folder.path()); }),
      "the tensor 'b' is not in model.safetensors.index.json"));
  const RowMatrixXf a = RowMatrixXf::Ones(1, 2);
  qlora::write_safetensors(folder / "model.safetensors", {{"whole", &a}});
  REQUIRE(qlora::Checkpoint(folder.path()).names() == std::vector<std::string>{"whole"});
}
