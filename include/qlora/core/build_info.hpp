/// Says what the compiler and its flags chose for the translation unit that asks, and names each
/// slow path in use.
///
///     std::cout << qlora::to_string(qlora::build_info());
///     for (const std::string& sentence : qlora::build_info().slow) print(sentence);
///
/// Two translation units that are compiled with different flags get different answers.
#pragma once

#include <Eigen/Core>
#include <string>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/core/error.hpp"
#include "qlora/core/parallel.hpp"
#include "qlora/core/simd.hpp"
#include "qlora/version.hpp"

#if QLORA_HAS_HIGHWAY
#include "qlora/core/highway_set.inc"
//
#include <hwy/highway.h>
//
#include "qlora/core/highway_unset.inc"
#endif

#define QLORA_TEXT_OF(name) #name
#define QLORA_TEXT(name) QLORA_TEXT_OF(name)

namespace qlora::inline QLORA_ABI {

/// What one translation unit was compiled with. A plain value: several threads may read one object.
struct BuildInfo {
  std::string version;  ///< of this library
  std::string abi;      ///< the inline namespace of these choices; parts that differ don't link
  std::string eigen;    ///< Eigen's version
  std::string highway;  ///< Highway's version; empty if it is not found or not wanted
  std::string vectors;  ///< the instruction set that kernels are compiled for; "none"
  std::string threads;  ///< their kind and number
  bool io_uring;        ///< whether paged memory may use io_uring
  bool cuda;            ///< whether this translation unit is compiled for CUDA devices
  std::vector<std::string> slow;  ///< sentences, one for each slow path in use
};

/// What was chosen here. Throws OptionError if OMP_NUM_THREADS is set to anything but a number of
/// threads. Safe to call from several threads.
[[maybe_unused]] static BuildInfo build_info() {
  BuildInfo info{.version = QLORA_VERSION,
                 .abi = QLORA_TEXT(QLORA_ABI),
                 .eigen = {},
                 .highway = {},
                 .vectors = "none",
                 .threads = message("a pool of ", thread_count()),
                 .io_uring = false,
                 .cuda = false,
                 .slow = {}};
#if EIGEN_MAJOR_VERSION >= 5  // 3.4 is called world 3, major 4
  info.eigen = message(EIGEN_MAJOR_VERSION, ".", EIGEN_MINOR_VERSION, ".", EIGEN_PATCH_VERSION);
#else
  info.eigen = message(EIGEN_WORLD_VERSION, ".", EIGEN_MAJOR_VERSION, ".", EIGEN_MINOR_VERSION);
#endif
#if defined(QLORA_USE_URING)
  info.io_uring = true;
#endif
#if defined(__CUDACC__)
  info.cuda = true;
#endif
#if QLORA_HAS_HIGHWAY
  info.highway = message(HWY_MAJOR, ".", HWY_MINOR, ".", HWY_PATCH);
#endif
#if QLORA_HAS_VECTORS
  info.vectors = hwy::TargetName(HWY_STATIC_TARGET);
#else
#if defined(QLORA_NO_HIGHWAY)
  const char* reason = "QLORA_NO_HIGHWAY is defined";
#elif !QLORA_HAS_HIGHWAY
  const char* reason = "Highway is not found (hwy/highway.h, Debian's libhwy-dev)";
#else
  const char* reason =
      "the compiler's flags name no processor that they need (-march=native or -march=x86-64-v3 "
      "does)";
#endif
  const char* decoding = "decoding is scalar";
#if QLORA_HAS_RUNTIME_AVX2
  if (__builtin_cpu_supports("avx2")) decoding = "4-bit codes are looked up by AVX2";
#endif
  info.slow.push_back(message("The kernels have no vectors, because ", reason,
                              ": products are Eigen's, ", decoding, "."));
#endif
#if !defined(__OPTIMIZE__)
  info.slow.push_back("The compiler does not optimize: everything is many times faster with -O2.");
#endif
  return info;
}

/// Writes `info` as text, one line per field. Safe to call from several threads.
inline std::string to_string(const BuildInfo& info) {
  std::string text =
      message("qlora ", info.version, "\nbuild ", info.abi, "\nEigen ", info.eigen, "\nHighway ",
              info.highway.empty() ? "none" : info.highway, "\nvectors ", info.vectors,
              "\nthreads ", info.threads, "\nio_uring ", info.io_uring ? "yes" : "no", "\nCUDA ",
              info.cuda ? "yes" : "no", "\n");
  for (const std::string& sentence : info.slow) text += sentence + "\n";
  return text;
}

}  // namespace qlora::inline QLORA_ABI

#undef QLORA_TEXT
#undef QLORA_TEXT_OF
