/// A packed matrix in device memory: taken from the host as it is, or quantized there.
///
///     qlora::cuda::DeviceMatrix<formats::nf4_dq, Runtime> w(device, host.view());
///     auto made = qlora::cuda::quantize<formats::nf4_dq>(device, weights, rows, cols);
#pragma once

#include <cstdint>
#include <type_traits>
#include <utility>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/cuda/dequantize.hpp"
#include "qlora/cuda/quantize.hpp"
#include "qlora/cuda/runtime.hpp"

namespace qlora::inline QLORA_ABI::cuda {

/// Owns what view() reads, on the device. Several threads may read one; launches that use it follow
/// its device's order.
template <class F, DeviceRuntime R>
class DeviceMatrix {
 public:
  using Parts = std::vector<Buffer<std::byte, R>>;

  /// Copies a matrix of the host's.
  DeviceMatrix(const Device<R>& device, const QuantizedView<F>& host) {
    view_ = host.relocated([&]<class T>(const T* from, Index count) -> const T* {
      parts_.emplace_back(device);
      parts_.back().upload(reinterpret_cast<const std::byte*>(from),
                           count * static_cast<Index>(sizeof(T)));
      return reinterpret_cast<const T*>(parts_.back().data());
    });
  }
  /// Takes parts that are there; `view` reads them.
  DeviceMatrix(Parts parts, const QuantizedView<F>& view) : parts_(std::move(parts)), view_(view) {}

  /// The matrix by pointers to device memory, for kernels.
  const QuantizedView<F>& view() const { return view_; }
  /// Bytes of device memory.
  Index bytes() const {
    Index total = 0;
    for (const auto& part : parts_) total += part.size();
    return total;
  }

 private:
  Parts parts_;
  QuantizedView<F> view_;
};

namespace detail {

template <class S>
struct stores_floats : std::false_type {};
template <class T>
struct stores_floats<FloatScale<T>> : std::true_type {
  using type = T;
};
template <class S>
struct quantizes_scales : std::false_type {};
template <class Map, int Size>
struct quantizes_scales<DoubleQuant<Map, Size, FloatScale<float>>> : std::true_type {};

}  // namespace detail

/// Quantizes weights [rows, cols] that lie on the device, to the codes that the host gives. Formats
/// with one float a block, or with those quantized once; others are quantized on the host.
/// block_size counts for formats of any_size only. Throws OptionError for another block size than the
/// format's, ShapeError for negative sizes, and NumericError for a weight that is not finite or a
/// scale that its type can't hold.
template <class F, class T, DeviceRuntime R>
DeviceMatrix<F, R> quantize(const Device<R>& device, const T* weights, Index rows, Index cols,
                            Index block_size = F::block_size) {
  require<ShapeError>(rows >= 0 && cols >= 0, "quantize: expected sizes of 0 or more, found ", rows,
                      " and ", cols);
  require<OptionError>(block_size > 0 && (F::block_size == any_size || block_size == F::block_size),
                       "quantize: expected a block size of ",
                       F::block_size == any_size ? 1 : F::block_size,
                       F::block_size == any_size ? " or more" : "", ", found ", block_size);
  using Scale = typename F::ScaleType;
  static_assert(detail::stores_floats<Scale>::value || detail::quantizes_scales<Scale>::value,
                "quantize on the device: the Scale must be a FloatScale or a DoubleQuant over "
                "FloatScale<float>; quantize others on the host and copy them");
  const Index count = rows * cols, blocks = (count + block_size - 1) / block_size;
  typename DeviceMatrix<F, R>::Parts parts;
  const auto part = [&]<class N>(std::type_identity<N>, Index numbers) {
    parts.emplace_back(device, std::max<Index>(1, numbers * static_cast<Index>(sizeof(N))));
    return reinterpret_cast<N*>(parts.back().data());
  };
  auto* codes = part(std::type_identity<std::uint8_t>{}, packed_bytes(F::code_bits, count));
  Buffer<float, R> references(device, std::max<Index>(1, blocks));
  device.launch(QuantizeBlocks<F, T>{weights, count, codes, references.data(), block_size});
  std::vector<float> seen(static_cast<std::size_t>(blocks));
  references.download(seen.data(), blocks);
  for (std::size_t block = 0; block < seen.size(); ++block)
    require<NumericError>(is_finite(seen[block]),
                          "quantize: expected finite weights, found one "
                          "that is not in block ",
                          block);
  typename QuantizedView<F>::ScaleView scale{};
  if constexpr (detail::stores_floats<Scale>::value) {
    using Stored = typename detail::stores_floats<Scale>::type;
    for (std::size_t block = 0; block < seen.size(); ++block)
      require<NumericError>(is_finite(static_cast<float>(Stored(seen[block] / F::reference_value))),
                            "quantize: the scale of block ", block, " is ",
                            seen[block] / F::reference_value, ", too large for its type");
    auto* stored = part(std::type_identity<Stored>{}, blocks);
    device.launch(StoreScales<Stored>{references.data(), blocks, F::reference_value, stored});
    scale.values = stored;
  } else {
    using View = typename Scale::View;
    constexpr Index size = View::block_size;
    const Index inner_blocks = (blocks + size - 1) / size;
    auto* scale_codes = part(std::type_identity<std::uint8_t>{}, blocks);
    auto* inner = part(std::type_identity<float>{}, inner_blocks);
    Buffer<float, R> inner_references(device, std::max<Index>(1, inner_blocks));
    for (float& reference : seen) reference /= F::reference_value;
    const float mean = mean_of_scales(seen.data(), blocks);
    device.launch(
        QuantizeScales<F>{references.data(), blocks, mean, scale_codes, inner_references.data()});
    device.launch(StoreScales<float>{inner_references.data(), inner_blocks,
                                     largest_value<typename View::MapType>, inner});
    scale = {scale_codes, {inner}, mean};
  }
  return {std::move(parts), {codes, scale, rows, cols, block_size}};
}

}  // namespace qlora::inline QLORA_ABI::cuda
