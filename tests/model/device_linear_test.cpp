#include "qlora/model/device_linear.hpp"

#include <vector>

#include "cuda/device.hpp"
#include "cuda/fake_device.hpp"
#include "qlora/quant/dequantize.hpp"
#include "qlora/quant/named_formats.hpp"

using qlora::Index;
using qlora::RowMatrixXf;

namespace {

using Floats = qlora::cuda::Buffer<float, test::FakeDevice>;
using Both = qlora::FormatList<qlora::formats::nf4_dq, qlora::formats::q8_0>;

Floats to_device(const test::Device& device, const RowMatrixXf& m) {
  Floats buffer(device);
  buffer.upload(m.data(), m.size());
  return buffer;
}
RowMatrixXf from_device(const Floats& buffer, Index rows, Index cols) {
  RowMatrixXf m(rows, cols);
  buffer.download(m.data(), m.size());
  return m;
}

// Each number rounded as the kernels do.
RowMatrixXf rounded(const RowMatrixXf& m) {
  return m.unaryExpr([](float x) { return static_cast<float>(qlora::bfloat16(x)); });
}

template <class F>
void compare() {
  const test::Device device{test::FakeDevice(std::make_shared<test::Record>())};
  const auto host = qlora::quantize<F>(test::normal_matrix(40, 64, 1));
  const RowMatrixXf w = qlora::dequantize(host);
  const auto linear = qlora::make_device_linear(device, host.view(), Both{}, "it");
  REQUIRE(linear->rows() == 40);
  REQUIRE(linear->cols() == 64);
  REQUIRE(linear->bytes() >= static_cast<Index>(host.codes().size()));

  const auto x = test::normal_matrix(3, 64, 2), dy = test::normal_matrix(3, 40, 3),
             low = test::normal_matrix(3, 2, 4), b = test::normal_matrix(40, 2, 5);
  const auto x_there = to_device(device, x), dy_there = to_device(device, dy),
             low_there = to_device(device, low), b_there = to_device(device, b);
  Floats y(device, 3 * 40), dx(device, 3 * 64), rows(device, 2 * 64);
  linear->forward(device, x_there.data(), {y.data(), 3, 40},
                  qlora::cuda::LowRank::forward(low_there.data(), b_there.data(), 2, 0.5f));
  linear->backward(device, dy_there.data(), {dx.data(), 3, 64}, {}, {});
  test::require_close(rounded(x) * rounded(w).transpose() + 0.5f * low * b.transpose(),
                      from_device(y, 3, 40));
  test::require_close(rounded(dy) * rounded(w), from_device(dx, 3, 64));

  const std::vector<qlora::Token> ids{39, 7};
  qlora::cuda::Buffer<qlora::Token, test::FakeDevice> ids_there(device);
  ids_there.upload(ids.data(), 2);
  linear->rows_of(device, ids_there.data(), 2, rows.data());
  const RowMatrixXf found = from_device(rows, 2, 64);
  REQUIRE(test::same_bits(found.row(0).eval(), w.row(39).eval()));
  REQUIRE(test::same_bits(found.row(1).eval(), w.row(7).eval()));
}

}  // namespace

TEST_CASE("behind one interface each format has its products and its rows") {
  compare<qlora::formats::nf4_dq>();
  compare<qlora::formats::q8_0>();
}

TEST_CASE("a weight that the device cannot take is refused by name, with what it is") {
  const test::Device device{test::FakeDevice(std::make_shared<test::Record>())};
  const auto other = qlora::quantize<qlora::formats::mxfp4>(test::normal_matrix(4, 64, 1));
  const auto refuse = [&](const qlora::AnyView& view) {
    return test::message_of<qlora::FormatError>(
        [&] { (void)qlora::make_device_linear(device, view, Both{}, "layer 3's k_proj"); });
  };
  REQUIRE(refuse(other.view()) ==
          "layer 3's k_proj: expected one of the 2 formats that this program has kernels for, "
          "found another, of 4-bit codes in blocks of 32");
  REQUIRE(refuse({}) ==
          "layer 3's k_proj: expected a packed weight for the device, found a dense "
          "one");
}
