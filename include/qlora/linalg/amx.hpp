/// Products of bfloat16 numbers in the tile registers of AMX: 16 x 16 sums at once, two by two
/// tiles of them. Compiled for any processor: without the instructions (-mamx-tile -mamx-bf16) the
/// tiles are arrays, so that the same kernel is tested everywhere.
///
/// Numbers lie as in bfloat16.hpp, which is what the instruction takes: a in rows of 32 along the
/// depth, b in 16 pairs of rows by 16 columns.
#pragma once

#include "qlora/core/config.hpp"
#include "qlora/linalg/bfloat16.hpp"

#if QLORA_HAS_VECTORS

#include <algorithm>
#include <cstdint>
#include <cstring>

#if QLORA_HAS_AMX
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace qlora::inline QLORA_ABI::linalg_detail {

/// The eight tile registers: 0 to 3 hold sums (2 * row + column), 4 and 5 rows of a, 6 and 7
/// columns of b. Strides are in bytes.
#if QLORA_HAS_AMX

// In assembly: clang 16 crashes on the intrinsics, and GCC's do not say that they touch memory.

/// Takes the unit for a thread while it lives: eight tiles of 16 rows of 64 bytes.
class TileSetup {
 public:
  TileSetup() {
    struct alignas(64) {
      std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
      std::uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
      std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
    } configuration;
    asm volatile("ldtilecfg (%0)" : : "r"(&configuration) : "memory");
  }
  ~TileSetup() { asm volatile("tilerelease"); }
  TileSetup(const TileSetup&) = delete;
  TileSetup& operator=(const TileSetup&) = delete;
};

class TileUnit {
 public:
  template <int tile>
  void clear() {
    asm volatile("tilezero %%tmm%c0" : : "i"(tile));
  }
  template <int tile>
  void load(const void* from, Index stride) {
    asm volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(from), "r"(stride), "i"(tile) : "memory");
  }
  template <int tile>
  void store(void* to, Index stride) {
    asm volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(to), "r"(stride), "i"(tile) : "memory");
  }
  template <int sum>
  void multiply_add() {
    asm volatile("tdpbf16ps %%tmm%c0, %%tmm%c1, %%tmm%c2"
                 :
                 : "i"(6 + sum % 2), "i"(4 + sum / 2), "i"(sum));
  }
};

/// Whether this process may use the tiles: the kernel grants their state on request
/// (ARCH_REQ_XCOMP_PERM, feature 18).
inline bool amx_granted() {
  static const bool granted = syscall(SYS_arch_prctl, 0x1023, 18) == 0;
  return granted;
}

#else

struct TileSetup {};

class TileUnit {
 public:
  template <int tile>
  void clear() {
    std::memset(bytes_[tile], 0, sizeof(bytes_[tile]));
  }
  template <int tile>
  void load(const void* from, Index stride) {
    for (Index row = 0; row < 16; ++row)
      std::memcpy(bytes_[tile] + 64 * row, static_cast<const char*>(from) + row * stride, 64);
  }
  template <int tile>
  void store(void* to, Index stride) {
    for (Index row = 0; row < 16; ++row)
      std::memcpy(static_cast<char*>(to) + row * stride, bytes_[tile] + 64 * row, 64);
  }
  template <int sum>
  void multiply_add() {
    float c[16][16];
    bfloat16 a[16][32], b[16][16][2];
    std::memcpy(c, bytes_[sum], sizeof(c));
    std::memcpy(a, bytes_[4 + sum / 2], sizeof(a));
    std::memcpy(b, bytes_[6 + sum % 2], sizeof(b));
    for (int row = 0; row < 16; ++row)
      for (int k = 0; k < 32; ++k)
        for (int col = 0; col < 16; ++col)
          c[row][col] += static_cast<float>(a[row][k]) * static_cast<float>(b[k / 2][col][k % 2]);
    std::memcpy(bytes_[sum], c, sizeof(c));
  }

 private:
  char bytes_[8][1024];
};

#endif

/// Tiles of bfloat16 in, float32 sums.
struct AmxBfloat16 {
  using Number = bfloat16;
  static constexpr Index depth_step = 32, row_step = 16;
  static constexpr int tile_rows = 32;
  static constexpr Index tile_width = 32;
  static constexpr Index block_depth = 1024;
  using ThreadSetup = TileSetup;

  static void strip(bool clear, Index rows, Index, const bfloat16* a, Index a_stride,
                    const bfloat16* b, Index depth, float* c, Index c_stride) {
    for (; rows >= tile_rows;
         rows -= tile_rows, a += tile_rows * a_stride, c += tile_rows * c_stride)
      run<true>(clear, a, a_stride, b, depth, c, c_stride);
    if (rows == 0) return;
    // The unit writes whole tiles.
    alignas(64) float whole[tile_rows * tile_width] = {};
    for (Index r = 0; !clear && r < rows; ++r)
      std::copy_n(c + r * c_stride, tile_width, whole + r * tile_width);
    const auto few = rows > 16 ? run<true> : run<false>;
    few(clear, a, a_stride, b, depth, whole, tile_width);
    for (Index r = 0; r < rows; ++r)
      std::copy_n(whole + r * tile_width, tile_width, c + r * c_stride);
  }

 private:
  /// 16 rows, or 32 with `Both`.
  template <bool Both>
  static void run(bool clear, const bfloat16* a, Index a_stride, const bfloat16* b, Index depth,
                  float* c, Index c_stride) {
    constexpr Index number = sizeof(bfloat16);
    TileUnit tiles;
    const Index c_bytes = c_stride * static_cast<Index>(sizeof(float));
    if (clear) {
      tiles.template clear<0>();
      tiles.template clear<1>();
      if constexpr (Both) tiles.template clear<2>();
      if constexpr (Both) tiles.template clear<3>();
    } else {
      tiles.template load<0>(c, c_bytes);
      tiles.template load<1>(c + 16, c_bytes);
      if constexpr (Both) tiles.template load<2>(c + 16 * c_stride, c_bytes);
      if constexpr (Both) tiles.template load<3>(c + 16 * c_stride + 16, c_bytes);
    }
    for (Index k = 0; k < depth; k += depth_step, b += depth_step * tile_width) {
      tiles.template load<4>(a + k, a_stride * number);
      tiles.template load<6>(b, 2 * tile_width * number);
      tiles.template load<7>(b + 32, 2 * tile_width * number);
      if constexpr (Both) tiles.template load<5>(a + 16 * a_stride + k, a_stride * number);
      tiles.template multiply_add<0>();
      tiles.template multiply_add<1>();
      if constexpr (Both) tiles.template multiply_add<2>();
      if constexpr (Both) tiles.template multiply_add<3>();
    }
    tiles.template store<0>(c, c_bytes);
    tiles.template store<1>(c + 16, c_bytes);
    if constexpr (Both) tiles.template store<2>(c + 16 * c_stride, c_bytes);
    if constexpr (Both) tiles.template store<3>(c + 16 * c_stride + 16, c_bytes);
  }
};
static_assert(StripArithmetic<AmxBfloat16>);

}  // namespace qlora::inline QLORA_ABI::linalg_detail

#endif  // QLORA_HAS_VECTORS
