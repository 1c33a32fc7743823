#include "qlora/cuda/runtime.hpp"

#include "cuda/fake_device.hpp"
#include "support/catch.hpp"

TEST_CASE("an upload waits until its source has been read, so that it may be freed") {
  const auto record = std::make_shared<test::Record>();
  {
    const qlora::cuda::Device device{test::FakeDevice(record)};
    qlora::cuda::Buffer<float, test::FakeDevice> x(device, 100);
    record->calls.clear();
    x.upload(std::vector<float>(100, 3.f).data(), 100);
    REQUIRE(record->calls == std::vector<std::string>{"copy in", "synchronize"});
    std::vector<float> back(100);
    x.download(back.data(), 100);
    REQUIRE(back == std::vector<float>(100, 3.f));
    record->calls.clear();
    x.upload(nullptr, 0);
    REQUIRE(record->calls.empty());
  }
  REQUIRE(record->held.empty());
}
