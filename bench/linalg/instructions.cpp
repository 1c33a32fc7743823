// One piece of work at a fixed shape, for counting instructions (bench/instructions.py):
//
//   instructions decode|encode|gemv|y|dx
#include <cstdio>
#include <string>

#include "qlora/linalg/gemm.hpp"
#include "qlora/quant/dequantize.hpp"
#include "qlora/quant/named_formats.hpp"
#include "qlora/quant/quantize.hpp"

using qlora::Index;
using qlora::RowMatrixXf;

// What callgrind counts.
template <class Body>
__attribute__((noinline)) void measured(Body&& body) {
  body();
}

int main(int, char** argv) {
  const std::string what = argv[1] ? argv[1] : "";
  const Index rows = 192, cols = 576, tokens = what == "gemv" ? 1 : 64;
  const RowMatrixXf dense = RowMatrixXf::Random(rows, cols), x = RowMatrixXf::Random(tokens, cols),
                    dy = RowMatrixXf::Random(tokens, rows);
  qlora::QuantizedMatrix w = qlora::quantize<qlora::formats::nf4_dq>(dense);
  RowMatrixXf y(tokens, rows), dx(tokens, cols), back(rows, cols);
  if (what == "decode")
    measured([&] { w.view().decode_range(0, back.size(), back.data()); });
  else if (what == "encode")
    measured([&] { w = qlora::quantize<qlora::formats::nf4_dq>(dense); });
  else if (what == "gemv" || what == "y")
    measured([&] { qlora::forward_product<float>(x, w.view(), y); });
  else if (what == "dx")
    measured([&] { qlora::backward_product<float>(dy, w.view(), dx); });
  else
    return std::fprintf(stderr, "expected decode, encode, gemv, y or dx\n"), 2;
}
