// What host.cpp and device.cu hand each other.
#pragma once

#include <string>

#include "qlora/memory/file_pager.hpp"
#include "qlora/quant.hpp"

using Packed = qlora::QuantizedMatrix<qlora::formats::nf4_dq>;

struct Unit {
  std::string abi;
  bool vectors = false, cuda = false;
};
Unit device_unit();
Packed packed_by_device_unit(const qlora::RowMatrixXf& dense);
qlora::RowMatrixXf decoded_by_device_unit(const Packed& packed);
bool device_unit_uses_uring(const qlora::FilePager& pager);
