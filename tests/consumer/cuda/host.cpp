#include <iostream>

#include "both.hpp"
#include "qlora/core/build_info.hpp"

int main() {
  const qlora::RowMatrixXf dense = qlora::RowMatrixXf::Random(40, 64);
  const Packed here = qlora::quantize<qlora::formats::nf4_dq>(dense),
               there = packed_by_device_unit(dense);
  const qlora::BuildInfo info = qlora::build_info();
  const Unit other = device_unit();
  const qlora::FilePager pager({.directory = "."});
  const bool same = std::equal(here.codes().begin(), here.codes().end(), there.codes().begin(),
                               there.codes().end()) &&
                    qlora::dequantize(there) == decoded_by_device_unit(here);
  const bool alike = info.abi == other.abi && other.vectors == (info.vectors != "none") &&
                     other.cuda && !info.cuda &&
                     pager.uses_uring() == device_unit_uses_uring(pager);
  std::cout << info.abi << (same && alike ? " fine\n" : " differs\n");
}
