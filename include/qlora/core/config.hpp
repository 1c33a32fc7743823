/// Finds out what the compiler and the machine's libraries offer. The compiler itself looks, so no
/// build system is needed.
///
/// `QLORA_HD` marks functions that run on the host and on a CUDA device, `QLORA_DEVICE` bodies of
/// kernels; `QLORA_TABLE` declares a look-up table that both can index at run time.
///
/// `QLORA_HAS_HIGHWAY`, `QLORA_HAS_JSON`, `QLORA_HAS_PCRE2` and `QLORA_HAS_OPENSSL` are 1 where the
/// library's header is found. `QLORA_HAS_VECTORS` is 1 where the kernels are compiled as vectors;
/// without them products are Eigen's and decoding is scalar, or, where `QLORA_HAS_RUNTIME_AVX2` is
/// 1, chosen by what the processor has. `QLORA_HAS_BFLOAT16_DOT` and `QLORA_HAS_AMX` are 1 where the
/// flags name instructions on bfloat16 numbers. Define `QLORA_NO_HIGHWAY` to build without Highway and
/// `QLORA_NO_RUNTIME_AVX2` to build without that choice.
///
/// `QLORA_ABI` is the name of the inline namespace that all but sizes, errors and threads is in. It is
/// spelled from these choices: parts of a program that hand each other the library's types must be
/// compiled with the same ones, or do not link.
#pragma once

#if __cplusplus < 202002L
#error "qlora needs C++20: compile with -std=c++20 or later"
#include "qlora needs C++20"  // is not there, which ends the compilation before pages of errors
#endif

#if !defined(__cpp_exceptions) && !defined(__EXCEPTIONS) && !defined(__CUDACC__)
#error "qlora reports bad input by exceptions: compile without -fno-exceptions"
#include "qlora needs exceptions"  // is not there, as above
#endif

#if defined(__FAST_MATH__) && !defined(QLORA_ALLOW_FAST_MATH)
#error \
    "qlora: -ffast-math changes the bits of decoded weights; define QLORA_ALLOW_FAST_MATH to accept that"
#endif

// Functions that the target qlora::compiled holds, which defines QLORA_COMPILED.
#if defined(QLORA_COMPILED)
#define QLORA_INLINE
#else
#define QLORA_INLINE inline
#endif

#if defined(__CUDACC__)
#define QLORA_HD __host__ __device__
#else
#define QLORA_HD
#endif

// The body of a kernel: the device's under nvcc; elsewhere a host's, for an executor of one's own.
#if defined(__CUDACC__)
#define QLORA_DEVICE __device__
#define QLORA_PRAGMA(text) _Pragma(#text)
#define QLORA_UNROLL QLORA_PRAGMA(unroll)
#define QLORA_UNROLL_BY(times) QLORA_PRAGMA(unroll times)
#else
#define QLORA_DEVICE
#define QLORA_UNROLL
#define QLORA_UNROLL_BY(times)
#endif

// A static constexpr member can't be indexed at run time in device code, and a local copy of a
// table spills. A variable template of a plain struct can. __CUDA_ARCH__ (not __CUDACC__): the host
// pass must not read a device variable.
#if defined(__CUDA_ARCH__)
#define QLORA_TABLE __device__ constexpr
#else
#define QLORA_TABLE inline constexpr
#endif

// Vectors are written with Highway where it is found and the compiler's flags name an instruction
// set that shuffles bytes and that the kernels were written for: SSSE3 and better, or NEON.
// Highway's other targets are slower than scalar code (SSE2, which emulates the shuffles), do not
// compile (EMU128 with clang, the vectors of SVE, which have no size) or are not known to round as
// promised.
#if !defined(QLORA_NO_HIGHWAY) && __has_include(<hwy/detect_targets.h>)
#define QLORA_HAS_HIGHWAY 1
#include "qlora/core/highway_set.inc"
//
#include <hwy/detect_targets.h>
//
#include "qlora/core/highway_unset.inc"
#else
#define QLORA_HAS_HIGHWAY 0
#endif

// Targets are bits, of an architecture the better the lower. Highway 1.0.3 takes NEON to have AES:
// on ARM, compile with -march=native or -march=armv8-a+crypto.
#if !QLORA_HAS_HIGHWAY
#define QLORA_HAS_VECTORS 0
#elif defined(__x86_64__) && defined(__SSSE3__) && HWY_STATIC_TARGET <= HWY_SSSE3
#define QLORA_HAS_VECTORS 1
#elif defined(__aarch64__) && defined(__ARM_FEATURE_AES) && HWY_STATIC_TARGET > HWY_SVE && \
    HWY_STATIC_TARGET < HWY_EMU128
#define QLORA_HAS_VECTORS 1
#else
#define QLORA_HAS_VECTORS 0
#endif

// Instructions on bfloat16 numbers that the flags name: AVX512-BF16's sums of pairs in vectors of 64
// bytes, and AMX's tiles.
#if QLORA_HAS_VECTORS && defined(__AVX512BF16__) && HWY_STATIC_TARGET <= HWY_AVX3
#define QLORA_HAS_BFLOAT16_DOT 1
#else
#define QLORA_HAS_BFLOAT16_DOT 0
#endif
#if QLORA_HAS_VECTORS && defined(__AMX_TILE__) && defined(__AMX_BF16__)
#define QLORA_HAS_AMX 1
#else
#define QLORA_HAS_AMX 0
#endif

// Without vectors in the flags, 4-bit codes are looked up by AVX2 where the processor turns out to
// have it (quant/avx2.hpp).
#if !QLORA_HAS_VECTORS && defined(__x86_64__) && !defined(QLORA_NO_RUNTIME_AVX2)
#define QLORA_HAS_RUNTIME_AVX2 1
#else
#define QLORA_HAS_RUNTIME_AVX2 0
#endif

#if __has_include(<nlohmann/json.hpp>)
#define QLORA_HAS_JSON 1
#else
#define QLORA_HAS_JSON 0
#endif

#if __has_include(<pcre2.h>)
#define QLORA_HAS_PCRE2 1
#else
#define QLORA_HAS_PCRE2 0
#endif

#if __has_include(<openssl/evp.h>)
#define QLORA_HAS_OPENSSL 1
#else
#define QLORA_HAS_OPENSSL 0
#endif

// The names of what is compiled by these choices differ with them. Two translation units of one
// program that are compiled differently would otherwise share one of two bodies of an inline
// function, whichever the linker takes. `qlora::quantize` is qlora::avx2::quantize in the one and
// qlora::portable::quantize in the other; nobody has to write that, because the namespace is inline.
// The device's compiler finds the same choices as the host's when it gets the same flags.
#if QLORA_HAS_VECTORS
#if HWY_STATIC_TARGET == HWY_SSSE3
#define QLORA_ABI_VECTORS ssse3
#elif HWY_STATIC_TARGET == HWY_SSE4
#define QLORA_ABI_VECTORS sse4
#elif HWY_STATIC_TARGET == HWY_AVX2
#define QLORA_ABI_VECTORS avx2
#elif HWY_STATIC_TARGET == HWY_AVX3
#define QLORA_ABI_VECTORS avx3
#elif HWY_STATIC_TARGET == HWY_AVX3_DL
#define QLORA_ABI_VECTORS avx3_dl
#elif defined(HWY_AVX3_ZEN4) && HWY_STATIC_TARGET == HWY_AVX3_ZEN4
#define QLORA_ABI_VECTORS avx3_zen4
#elif defined(HWY_AVX3_SPR) && HWY_STATIC_TARGET == HWY_AVX3_SPR
#define QLORA_ABI_VECTORS avx3_spr
#elif defined(__aarch64__)
#define QLORA_ABI_VECTORS neon
#else
#define QLORA_ABI_VECTORS vectors
#endif
#elif defined(__AVX512F__)
#define QLORA_ABI_VECTORS portable_avx512
#elif defined(__AVX2__)
#define QLORA_ABI_VECTORS portable_avx2
#elif defined(__AVX__)
#define QLORA_ABI_VECTORS portable_avx
#elif defined(__SSE4_1__)
#define QLORA_ABI_VECTORS portable_sse4
#else
#define QLORA_ABI_VECTORS portable
#endif
#if QLORA_HAS_AMX
#define QLORA_ABI_BFLOAT16 _bf16_amx
#elif QLORA_HAS_BFLOAT16_DOT
#define QLORA_ABI_BFLOAT16 _bf16
#elif !QLORA_HAS_VECTORS && !QLORA_HAS_RUNTIME_AVX2
#define QLORA_ABI_BFLOAT16 _scalar
#else
#define QLORA_ABI_BFLOAT16
#endif
#define QLORA_ABI_PASTE(vectors, bfloat16) vectors##bfloat16
#define QLORA_ABI_NAME(vectors, bfloat16) QLORA_ABI_PASTE(vectors, bfloat16)
#define QLORA_ABI QLORA_ABI_NAME(QLORA_ABI_VECTORS, QLORA_ABI_BFLOAT16)
// What io_uring changes, beside that.
#if defined(QLORA_USE_URING)
#define QLORA_ABI_RING with_ring
#else
#define QLORA_ABI_RING without_ring
#endif

#include <cstddef>

// Sizes, errors and threads are the same however they are compiled, and one for the process.
namespace qlora {

/// Sizes and positions.
using Index = std::ptrdiff_t;

/// A block size that each matrix brings, instead of the format.
inline constexpr int any_size = -1;

}  // namespace qlora
