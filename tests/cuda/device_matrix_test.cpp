#include "qlora/cuda/device_matrix.hpp"

#include "cuda/fake_device.hpp"
#include "qlora/quant/dequantize.hpp"
#include "qlora/quant/quantize.hpp"
#include "support/catch.hpp"
#include "support/formats.hpp"
#include "support/numbers.hpp"

using qlora::Index;

namespace {

using Device = qlora::cuda::Device<test::FakeDevice>;

// What the device decodes.
template <class F>
qlora::RowMatrix<float> decoded(const Device& device,
                                const qlora::cuda::DeviceMatrix<F, test::FakeDevice>& w) {
  const auto& view = w.view();
  qlora::cuda::Buffer<float, test::FakeDevice> out(device, std::max<Index>(1, view.size()));
  device.launch(qlora::cuda::Dequantize<F, float>{view, out.data()});
  qlora::RowMatrix<float> host(view.rows(), view.cols());
  out.download(host.data(), host.size());
  return host;
}

}  // namespace

TEMPLATE_TEST_CASE("a matrix of any format is copied with all its parts", "", QLORA_TEST_FORMATS,
                   qlora::Learned4, qlora::Bof4SOpq) {
  const auto record = std::make_shared<test::Record>();
  {
    const Device device{test::FakeDevice(record)};
    const auto dense = test::normal_matrix(5, 70, 3);
    auto host = qlora::quantize<TestType>(dense);
    const auto expected = qlora::RowMatrix<float>(qlora::dequantize(host));
    const qlora::cuda::DeviceMatrix<TestType, test::FakeDevice> there(device, host.view());
    host = {};  // nothing may be read from the host any more
    REQUIRE(test::same_bits(expected, decoded(device, there)));
    REQUIRE(there.bytes() > 0);
  }
  REQUIRE(record->held.empty());
}

TEMPLATE_TEST_CASE("quantized on the device as on the host", "", qlora::Nf4, qlora::Nf4Dq,
                   test::Fp4Half) {
  const auto record = std::make_shared<test::Record>();
  {
    const Device device{test::FakeDevice(record)};
    auto dense = test::normal_matrix(37, 75, 3);
    qlora::cuda::Buffer<float, test::FakeDevice> weights(device);
    weights.upload(dense.data(), dense.size());
    const auto made = qlora::cuda::quantize<TestType>(device, weights.data(), 37, 75);
    REQUIRE(test::same_bits(
        qlora::RowMatrix<float>(qlora::dequantize(qlora::quantize<TestType>(dense))),
        decoded(device, made)));
    dense(3, 4) = std::nanf("");
    weights.upload(dense.data(), dense.size());
    REQUIRE_THROWS_WITH(
        qlora::cuda::quantize<TestType>(device, weights.data(), 37, 75),
        test::contains(qlora::message("in block ", (3 * 75 + 4) / TestType::block_size)));
  }
  REQUIRE(record->held.empty());
}
