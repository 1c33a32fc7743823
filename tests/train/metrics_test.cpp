#include "qlora/train/metrics.hpp"

#include "qlora/io/json_file.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"

TEST_CASE("each step is one line with six columns, there as soon as it is written") {
  const test::TemporaryFolder folder;
  qlora::MetricsFile file(folder / "m.csv");
  qlora::StepMetrics step;
  step.done = 1;
  step.loss = 2.123456789;
  step.learning_rate = 2e-4;
  step.gradient_norm = 0.5;
  step.tokens_per_second = 100;
  step.resident_mib = 300;
  file.append(step);
  REQUIRE(qlora::read_text_file(folder / "m.csv") ==
          "step,loss,learning_rate,gradient_norm,tokens_per_second,resident_mib\n1,2.12345679,0."
          "0002,0.5,100,300\n");
  REQUIRE_THROWS_AS(qlora::MetricsFile(folder / "missing/m.csv"), qlora::IoError);
}

TEST_CASE("a full disk is an error at the line that it does not take") {
  if (!std::filesystem::exists("/dev/full")) {
    WARN("skipped: no /dev/full here");
    return;
  }
  REQUIRE_THROWS_AS(qlora::MetricsFile("/dev/full"), qlora::IoError);
}

TEST_CASE("resident memory is what the process holds") {
  const double before = qlora::resident_mib();
  REQUIRE(before > 1);
  std::string block(64 << 20, 'x');
  REQUIRE(qlora::resident_mib() > before + 50);
  REQUIRE(block.back() == 'x');
}
