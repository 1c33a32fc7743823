// One of two translation units of a program, compiled with flags of its own. UNIT is the name of its function.
#include <cstdio>
#include <cstring>
#include <string>

#include "qlora/core/build_info.hpp"
#include "qlora/memory/file_pager.hpp"
#include "qlora/quant.hpp"

#if defined(WITH_HIGHWAY)
// The program's own Highway is as if this library were not there.
#if defined(HWY_COMPILE_ONLY_STATIC) || defined(HWY_DISABLE_PCLMUL_AES) || \
    defined(HWY_IS_DEBUG_BUILD)
#error "a setting of Highway is left behind"
#endif
#endif

// What this unit was compiled with, and what its functions do: the inline namespace, io_uring, the process's threads after asking for
// `threads` of them, the codes of a matrix, a decoded sum (the same bits everywhere) and whether bad input can be caught.
std::string UNIT(int threads) {
  const qlora::BuildInfo info = qlora::build_info();
  const qlora::RowMatrixXf dense =
      qlora::RowMatrixXf::NullaryExpr(40, 64, [](qlora::Index row, qlora::Index col) {
        return static_cast<float>((row * 37 + col * 11) % 29) - 14;
      });
  const auto packed = qlora::quantize<qlora::formats::nf4_dq>(dense);
  unsigned codes = 0;
  for (const std::uint8_t code : packed.codes()) codes = codes * 31 + code;
  const qlora::RowMatrixXf decoded = qlora::dequantize(packed);
  float sum = 0;
  for (qlora::Index i = 0; i < decoded.size(); ++i) sum += decoded.data()[i];
  unsigned bits = 0;
  std::memcpy(&bits, &sum, sizeof(bits));
  const qlora::RowMatrixXf product = decoded * packed.transpose();
  const bool right = (product - decoded * decoded.transpose()).norm() < 1e-3f * product.norm();
  if (threads > 0) qlora::set_thread_count(threads);
  qlora::FilePager pager({.directory = "."});
  bool caught = false;
  try {
    (void)qlora::quantize<qlora::formats::nf4_dq>(qlora::RowMatrixXf::Constant(1, 64, 1 / 0.f * 0));
  } catch (const qlora::NumericError&) {
    caught = true;
  }
  return info.abi + " vectors:" + (info.vectors == "none" ? "no" : "yes") +
         " compiled_ring:" + (info.io_uring ? "yes" : "no") +
         " ring:" + (pager.uses_uring() ? "yes" : "no") +
         " threads:" + std::to_string(qlora::thread_count()) + " codes:" + std::to_string(codes) +
         " sum:" + std::to_string(bits) + " product:" + (right ? "right" : "wrong") +
         " error:" + (caught ? "caught" : "lost");
}
