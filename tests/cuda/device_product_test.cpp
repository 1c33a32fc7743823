#include "qlora/cuda/device_product.hpp"

#include <vector>

#include "cuda/device.hpp"
#include "cuda/fake_device.hpp"
#include "qlora/cuda/device_matrix.hpp"
#include "qlora/quant/named_formats.hpp"

using qlora::Index;

namespace {

// Both products of a matrix in device memory against sums in double; the numbers lie `offset` floats
// into their buffer.
template <class F>
void compare(Index tokens, Index rows, Index cols, Index offset = 0) {
  INFO(tokens << " tokens, " << rows << " x " << cols << ", offset " << offset);
  const test::Device device{test::FakeDevice(std::make_shared<test::Record>())};
  const auto host = qlora::quantize<F>(test::normal_matrix(rows, cols, 1));
  const qlora::cuda::DeviceMatrix<F, test::FakeDevice> there(device, host.view());
  const auto weight = host.view();
  const auto product = [&](Index in, Index out, auto launch, auto entry) {
    const auto x = test::normal_matrix(tokens, in, 2);
    qlora::cuda::Buffer<float, test::FakeDevice> from(device), to(device);
    std::vector<float> shifted(static_cast<std::size_t>(offset + x.size()));
    std::copy_n(x.data(), x.size(), shifted.begin() + offset);
    from.upload(shifted.data(), static_cast<Index>(shifted.size()));
    to.clear(tokens * out);
    launch(from.data() + offset, qlora::cuda::Output<float>{to.data(), tokens, out});
    std::vector<float> y(static_cast<std::size_t>(tokens * out));
    to.download(y.data(), tokens * out);
    for (Index t = 0; t < tokens; ++t)
      for (Index o = 0; o < out; ++o) {
        test::Expected expected;
        for (Index k = 0; k < in; ++k)
          expected.add(test::factor<float>(x(t, k)), test::factor<float>(entry(o, k)));
        expected.require_near(y[static_cast<std::size_t>(t * out + o)], in);
      }
  };
  product(
      cols, rows,
      [&](const float* x, const auto& out) {
        qlora::cuda::forward_product(device, there.view(), x, out);
      },
      [&](Index o, Index k) { return weight(o, k); });
  product(
      rows, cols,
      [&](const float* dy, const auto& out) {
        qlora::cuda::backward_product(device, there.view(), dy, out);
      },
      [&](Index o, Index k) { return weight(k, o); });
}

}  // namespace

TEST_CASE("the kernel fits the matrix: by words or one by one, in small tiles or large ones") {
  compare<qlora::formats::nf4_dq>(3, 72, 64);     // by words, small tiles
  compare<qlora::formats::nf4_dq>(33, 64, 128);   // large ones
  compare<qlora::formats::nf4_dq>(2, 12, 64);     // backward has no multiple of eight rows
  compare<qlora::formats::nf4_dq>(2, 16, 64, 1);  // x is not aligned
  compare<qlora::formats::nf4_dq>(2, 5, 43);      // rows are no whole runs
  compare<qlora::formats::bof4_s_opq>(2, 8, 64);  // a format that has no words
}
