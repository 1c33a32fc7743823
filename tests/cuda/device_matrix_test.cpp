#include "qlora/cuda/device_matrix.hpp"

#include "cuda/fake_device.hpp"
#include "qlora/quant/dequantize.hpp"
#include "qlora/quant/quantize.hpp"
#include "support/catch.hpp"
#include "support/formats.hpp"
#include "support/numbers.hpp"

using qlora::Index;

namespace {

// What the device decodes.
template <class F>
qlora::RowMatrix<float> decoded(const test::Device& device,
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
                   qlora::formats::learned4, qlora::formats::bof4_s_opq) {
  const auto record = std::make_shared<test::Record>();
  {
    const test::Device device{test::FakeDevice(record)};
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

TEMPLATE_TEST_CASE("quantized on the device as on the host", "", qlora::formats::nf4,
                   qlora::formats::nf4_dq, test::Fp4Half) {
  const auto record = std::make_shared<test::Record>();
  {
    const test::Device device{test::FakeDevice(record)};
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

TEST_CASE("a block size that is known at run time is the host's, and no other is taken") {
  const auto record = std::make_shared<test::Record>();
  {
    const test::Device device{test::FakeDevice(record)};
    const auto dense = test::normal_matrix(6, 64, 3);
    qlora::cuda::Buffer<float, test::FakeDevice> weights(device);
    weights.upload(dense.data(), dense.size());
    const auto quantize = [&]<class F>(std::type_identity<F>, Index rows, auto... size) {
      return qlora::cuda::quantize<F>(device, weights.data(), rows, 64, size...);
    };
    const std::type_identity<test::Int4Dynamic> any;
    const std::type_identity<qlora::formats::nf4> fixed;
    const auto host = qlora::quantize<test::Int4Dynamic>(dense, {.block_size = 32});
    REQUIRE(test::same_bits(qlora::RowMatrix<float>(qlora::dequantize(host)),
                            decoded(device, quantize(any, 6, Index{32}))));
    REQUIRE_THROWS_WITH(quantize(any, 6), test::contains("block size of 1 or more, found -1"));
    REQUIRE_THROWS_WITH(quantize(any, 6, Index{0}), test::contains("found 0"));
    REQUIRE_THROWS_WITH(quantize(fixed, 6, Index{32}),
                        test::contains("block size of 64, found 32"));
    REQUIRE_THROWS_WITH(quantize(fixed, -1), test::contains("0 or more, found -1 and 64"));
  }
  REQUIRE(record->held.empty());
}

TEST_CASE("a scale that its type can't hold is refused on the device") {
  const auto record = std::make_shared<test::Record>();
  const test::Device device{test::FakeDevice(record)};
  qlora::RowMatrix<float> dense = test::normal_matrix(2, 128, 3);
  dense(1, 5) = 1e6f;
  qlora::cuda::Buffer<float, test::FakeDevice> weights(device);
  weights.upload(dense.data(), dense.size());
  REQUIRE_THROWS_WITH(qlora::cuda::quantize<test::Fp4Half>(device, weights.data(), 2, 128),
                      test::contains("too large for its type"));
}
