// Codes and decoded weights as one number, the same whatever the compiler, its flags and the
// machine.
#include <cstdio>

#include <qlora/core/random.hpp>
#include <qlora/quant/dequantize.hpp>
#include <qlora/quant/named_formats.hpp>
#include <qlora/quant/quantize.hpp>

// FNV-1a of 64 bits.
struct Hash {
  std::uint64_t value = 0xcbf29ce484222325u;
  void add(const void* data, std::size_t size) {
    for (std::size_t i = 0; i < size; ++i)
      value = (value ^ static_cast<const unsigned char*>(data)[i]) * 0x100000001b3u;
  }
};

template <class Format>
void show(const char* name) {
  const qlora::Index rows = 37, cols = 131;
  qlora::RowMatrixXf x(rows, cols);
  for (qlora::Index i = 0; i < x.size(); ++i)
    x.data()[i] = qlora::uniform01(5, static_cast<std::uint64_t>(i)) - 0.5f;
  const qlora::QuantizedMatrix w = qlora::quantize<Format>(x);
  Hash hash;
  hash.add(w.codes().data(), w.codes().size());
  const qlora::RowMatrixXf dense = qlora::dequantize(w);
  hash.add(dense.data(), static_cast<std::size_t>(dense.size()) * sizeof(float));
  // Loops that a compiler likes to fuse and to vectorize.
  const auto view = w.view();
  qlora::RowMatrixXf shifted(rows, cols);
  for (qlora::Index r = 0; r < rows; ++r) {
    float sum = 0;
    for (qlora::Index c = 0; c < cols; ++c) {
      shifted(r, c) = view(r, c) + 0.1f;
      sum += view(r, c);
    }
    hash.add(&sum, sizeof(sum));
  }
  hash.add(shifted.data(), static_cast<std::size_t>(shifted.size()) * sizeof(float));
  std::printf("%s %016llx\n", name, static_cast<unsigned long long>(hash.value));
}

int main() {
  show<qlora::formats::nf4>("nf4");
  show<qlora::formats::nf4_dq>("nf4-dq");
  show<qlora::formats::fp4_dq>("fp4-dq");
  show<qlora::formats::nf8>("nf8");
  show<qlora::formats::nvfp4>("nvfp4");
  show<qlora::formats::mxfp4>("mxfp4");
  show<qlora::formats::q4_1>("q4_1");
  show<qlora::formats::q8_0>("q8_0");
}
