# nvcc for this project's own .cu files; without it they are left out, and the rest is the same.

include(CheckLanguage)
check_language(CUDA)
if(CMAKE_CUDA_COMPILER AND TARGET qlora::cuda)
  # Code for sm_80, and what newer devices translate at their first start.
  if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
    set(CMAKE_CUDA_ARCHITECTURES 80)
  endif()
  enable_language(CUDA)
else()
  message(STATUS "programs for CUDA devices are left out: they need nvcc 12.4 or later")
endif()
