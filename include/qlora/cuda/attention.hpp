/// Grouped-query causal attention in float, keys a tile at a time with the softmax as it goes; the
/// backward pass makes the scores again from one log-sum-exp a (token, head). Dao et al. 2022.
///
/// q, out: [tokens, heads * Width]; k, v: [tokens, kv_heads * Width]; log_sums, deltas: [tokens,
/// heads]. Sequences lie one after the other; a block takes some queries (or keys) of one sequence
/// and head, in the order of a list that the host makes: attention_tiles.
#pragma once

#include <cmath>
#include <span>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/core/error.hpp"
#include "qlora/cuda/kernel.hpp"
#include "qlora/cuda/reduce.hpp"
#include "qlora/nn/attention_shape.hpp"
#include "qlora/nn/batch_layout.hpp"

namespace qlora::inline QLORA_ABI::cuda {

/// Rows [first, first + length) are a sequence; a block works from `start` of them on.
struct AttentionTile {
  Index first, length, start;
};

/// The tiles of sequences whose keys are their own rows; `size` rows each.
inline std::vector<AttentionTile> attention_tiles(std::span<const SequenceSpan> sequences,
                                                  Index size) {
  std::vector<AttentionTile> tiles;
  for (const SequenceSpan& sequence : sequences)
    for (Index start = 0; start < sequence.queries; start += size)
      tiles.push_back({sequence.first_query, sequence.queries, start});
  return tiles;
}

namespace detail {

inline constexpr int key_tile = 32;  ///< one a lane

/// Throws OptionError for a window, a scale or a cap, which these kernels do not have.
inline void require_plain(const AttentionShape& shape) {
  require<OptionError>(shape.plain(),
                       "device: attention with a window, a scale of its own or capped scores is "
                       "not there yet");
}

/// The tags of attention's arrays in shared memory: a block's own rows, and the rows that come 32 at
/// a time; two of each at most.
enum AttentionArray { own_first, own_second, lanes_first, lanes_second };

/// Rows [from, from + Rows) of a head into a shared tile with Stride numbers a row, zeros from
/// `end` on.
template <int Rows, int Width, int Stride, int Threads, class Context, class Array>
QLORA_DEVICE void load_rows(Context& thread, const Array& tile, const float* x, Index row_stride,
                            Index from, Index end) {
  QLORA_UNROLL_BY(4)
  for (int i = thread.thread(); i < Rows * Width; i += Threads) {
    const int row = i / Width, col = i % Width;
    tile[row * Stride + col] =
        from + row < end ? thread.load(x + (from + row) * row_stride + col) : 0.f;
  }
}

/// Where a block works: some rows of a sequence, in one head of those that the kernel goes by.
template <int Width>
struct HeadPlace {
  static_assert(Width >= 1 && Width <= 128,
                "attention: expected heads of 1 to 128 numbers, as shared memory holds them");
  Index first, length, start, head;
  Index stride, kv_stride;  ///< of rows of q and of k
  template <class Context>
  static QLORA_DEVICE HeadPlace of(Context& thread, const AttentionTile* tiles, Index heads,
                                   const AttentionShape& shape) {
    const AttentionTile tile = thread.load(tiles + thread.block() / heads);
    return {tile.first,          tile.length,           tile.start, thread.block() % heads,
            shape.heads * Width, shape.kv_heads * Width};
  }
  static QLORA_DEVICE float scale() { return 1.f / std::sqrt(static_cast<float>(Width)); }

  /// Rows [start, start + Rows).
  template <int Rows, int Threads, class Context, class Array>
  QLORA_DEVICE void load_own(Context& thread, const Array& tile, const float* x,
                             Index row_stride) const {
    load_rows<Rows, Width, Width, Threads>(thread, tile, x, row_stride, first + start,
                                           first + length);
  }
  /// 32 rows from `from` of the sequence, padded, one a lane.
  template <int Threads, class Context, class Array>
  QLORA_DEVICE void load_lanes(Context& thread, const Array& tile, const float* x, Index row_stride,
                               Index from) const {
    load_rows<key_tile, Width, Width + 1, Threads>(thread, tile, x, row_stride, first + from,
                                                   first + length);
  }
};

/// The product of a shared row with lane's row of a padded tile.
template <int Width, class Context, class Array, class Tile>
QLORA_DEVICE float dot_with_lane(Context& thread, const Array& rows, int row, const Tile& tile) {
  float sum = 0;
  QLORA_UNROLL_BY(8)
  for (int d = 0; d < Width; ++d)
    sum += rows[row * Width + d] * tile[thread.lane() * (Width + 1) + d];
  return sum;
}

/// to[j] += sum over lanes of weight times the lane's row, at column lane + 32 j.
template <int Width, class Context, class Tile>
QLORA_DEVICE void add_weighted(Context& thread, float weight, const Tile& tile,
                               float (&to)[(Width + 31) / 32]) {
  QLORA_UNROLL_BY(8)
  for (int key = 0; key < key_tile; ++key) {
    const float w = thread.shuffle(weight, key);
    QLORA_UNROLL
    for (int j = 0; j < (Width + 31) / 32; ++j) {
      const int d = thread.lane() + 32 * j;
      if (d < Width) to[j] += w * tile[key * (Width + 1) + d];
    }
  }
}

}  // namespace detail

/// out = softmax(q kᵀ / sqrt(Width)) v for every sequence, causal, and each query's log sum of
/// exponentials, which the backward pass reads.
template <int Width>
struct AttentionForward {
  static constexpr int threads = 128, tile = 16, own = tile / (threads / warp_size);
  static constexpr const char* name = "attention_forward";
  const float* q;
  const float* k;
  const float* v;
  float* out;
  float* log_sums;
  const AttentionTile* tiles;
  Index tile_count;
  AttentionShape shape;  ///< of heads of Width

  /// Blocks of threads in a launch. Throws OptionError unless the shape is plain.
  Index blocks() const {
    detail::require_plain(shape);
    return tile_count * shape.heads;
  }
  template <class Context>
  QLORA_DEVICE void operator()(Context& thread) const {
    constexpr int parts = (Width + 31) / 32;
    auto queries = thread.template shared<float, tile * Width, detail::own_first>();
    auto keys = thread.template shared<float, detail::key_tile*(Width + 1), detail::lanes_first>();
    auto values =
        thread.template shared<float, detail::key_tile*(Width + 1), detail::lanes_second>();
    using Place = detail::HeadPlace<Width>;
    const auto place = Place::of(thread, tiles, shape.heads, shape);
    const auto [first, length, start, head, stride, kv_stride] = place;
    const Index kv = head / shape.group() * Width;
    const float scale = Place::scale();
    place.template load_own<tile, threads>(thread, queries, q + head * Width, stride);
    float largest[own], total[own], sum[own][parts] = {};
    QLORA_UNROLL
    for (int i = 0; i < own; ++i) {
      largest[i] = -INFINITY;
      total[i] = 0;
    }
    const Index end = start + tile < length ? start + tile : length;
    for (Index from = 0; from < end; from += detail::key_tile) {
      place.template load_lanes<threads>(thread, keys, k + kv, kv_stride, from);
      place.template load_lanes<threads>(thread, values, v + kv, kv_stride, from);
      thread.barrier();
      QLORA_UNROLL
      for (int i = 0; i < own; ++i) {
        const int row = thread.warp() * own + i;
        const float score = scale * detail::dot_with_lane<Width>(thread, queries, row, keys);
        const bool seen = from + thread.lane() <= start + row;
        const float most =
            detail::larger(detail::warp_maximum(thread, seen ? score : -INFINITY), largest[i]);
        // The first tile has a key that each query sees, so `most` is no longer -infinity.
        const float shrink = std::exp(largest[i] - most);
        const float p = seen ? std::exp(score - most) : 0.f;
        total[i] = total[i] * shrink + detail::warp_sum(thread, p);
        QLORA_UNROLL
        for (int j = 0; j < parts; ++j) sum[i][j] *= shrink;
        detail::add_weighted<Width>(thread, p, values, sum[i]);
        largest[i] = most;
      }
      thread.barrier();
    }
    QLORA_UNROLL
    for (int i = 0; i < own; ++i) {
      const Index row = start + thread.warp() * own + i;
      if (row >= length) continue;
      QLORA_UNROLL
      for (int j = 0; j < parts; ++j) {
        const int d = thread.lane() + 32 * j;
        if (d < Width)
          thread.store(out + (first + row) * stride + head * Width + d, sum[i][j] / total[i]);
      }
      if (thread.lane() == 0)
        thread.store(log_sums + (first + row) * shape.heads + head,
                     largest[i] + std::log(total[i]));
    }
  }
};

/// dq, and for AttentionBackwardKeys the deltas: sums of dout out a (token, head).
template <int Width>
struct AttentionBackwardQueries {
  static constexpr int threads = 128, tile = 8, own = tile / (threads / warp_size);
  static constexpr const char* name = "attention_backward_queries";
  const float* q;
  const float* k;
  const float* v;
  const float* out;
  const float* log_sums;
  const float* dout;
  float* dq;
  float* deltas;
  const AttentionTile* tiles;
  Index tile_count;
  AttentionShape shape;  ///< of heads of Width

  /// Blocks of threads in a launch. Throws OptionError unless the shape is plain.
  Index blocks() const {
    detail::require_plain(shape);
    return tile_count * shape.heads;
  }
  template <class Context>
  QLORA_DEVICE void operator()(Context& thread) const {
    constexpr int parts = (Width + 31) / 32;
    auto queries = thread.template shared<float, tile * Width, detail::own_first>();
    auto gradients = thread.template shared<float, tile * Width, detail::own_second>();
    auto keys = thread.template shared<float, detail::key_tile*(Width + 1), detail::lanes_first>();
    auto values =
        thread.template shared<float, detail::key_tile*(Width + 1), detail::lanes_second>();
    using Place = detail::HeadPlace<Width>;
    const auto place = Place::of(thread, tiles, shape.heads, shape);
    const auto [first, length, start, head, stride, kv_stride] = place;
    const Index kv = head / shape.group() * Width;
    const float scale = Place::scale();
    place.template load_own<tile, threads>(thread, queries, q + head * Width, stride);
    place.template load_own<tile, threads>(thread, gradients, dout + head * Width, stride);
    float log_sum[own], delta[own], sum[own][parts] = {};
    QLORA_UNROLL
    for (int i = 0; i < own; ++i) {
      const Index row = start + thread.warp() * own + i;
      const Index at = (first + row) * stride + head * Width;
      float part = 0;
      QLORA_UNROLL
      for (int j = 0; j < parts; ++j) {
        const int d = thread.lane() + 32 * j;
        if (d < Width && row < length)
          part += thread.load(dout + at + d) * thread.load(out + at + d);
      }
      delta[i] = detail::warp_sum(thread, part);
      const Index number = (first + row) * shape.heads + head;
      log_sum[i] = row < length ? thread.load(log_sums + number) : 0.f;
      if (row < length && thread.lane() == 0) thread.store(deltas + number, delta[i]);
    }
    const Index end = start + tile < length ? start + tile : length;
    for (Index from = 0; from < end; from += detail::key_tile) {
      place.template load_lanes<threads>(thread, keys, k + kv, kv_stride, from);
      place.template load_lanes<threads>(thread, values, v + kv, kv_stride, from);
      thread.barrier();
      QLORA_UNROLL
      for (int i = 0; i < own; ++i) {
        const int row = thread.warp() * own + i;
        const float score = scale * detail::dot_with_lane<Width>(thread, queries, row, keys);
        const float dp = detail::dot_with_lane<Width>(thread, gradients, row, values);
        const bool seen = from + thread.lane() <= start + row;
        const float p = seen ? std::exp(score - log_sum[i]) : 0.f;
        detail::add_weighted<Width>(thread, p * (dp - delta[i]) * scale, keys, sum[i]);
      }
      thread.barrier();
    }
    QLORA_UNROLL
    for (int i = 0; i < own; ++i) {
      const Index row = start + thread.warp() * own + i;
      QLORA_UNROLL
      for (int j = 0; j < parts; ++j) {
        const int d = thread.lane() + 32 * j;
        if (d < Width && row < length)
          thread.store(dq + (first + row) * stride + head * Width + d, sum[i][j]);
      }
    }
  }
};

/// dk and dv, all query heads of a group one after the other: no two blocks share a number.
template <int Width>
struct AttentionBackwardKeys {
  static constexpr int threads = 128, tile = 8, own = tile / (threads / warp_size);
  static constexpr const char* name = "attention_backward_keys";
  const float* q;
  const float* k;
  const float* v;
  const float* log_sums;
  const float* deltas;
  const float* dout;
  float* dk;
  float* dv;
  const AttentionTile* tiles;
  Index tile_count;
  AttentionShape shape;  ///< of heads of Width

  /// Blocks of threads in a launch. Throws OptionError unless the shape is plain.
  Index blocks() const {
    detail::require_plain(shape);
    return tile_count * shape.kv_heads;
  }
  template <class Context>
  QLORA_DEVICE void operator()(Context& thread) const {
    constexpr int parts = (Width + 31) / 32;
    auto keys = thread.template shared<float, tile * Width, detail::own_first>();
    auto values = thread.template shared<float, tile * Width, detail::own_second>();
    auto queries =
        thread.template shared<float, detail::key_tile*(Width + 1), detail::lanes_first>();
    auto gradients =
        thread.template shared<float, detail::key_tile*(Width + 1), detail::lanes_second>();
    using Place = detail::HeadPlace<Width>;
    const auto place = Place::of(thread, tiles, shape.kv_heads, shape);
    const auto [first, length, start, kv, stride, kv_stride] = place;
    const Index group = shape.group();
    const float scale = Place::scale();
    place.template load_own<tile, threads>(thread, keys, k + kv * Width, kv_stride);
    place.template load_own<tile, threads>(thread, values, v + kv * Width, kv_stride);
    float key_sum[own][parts] = {}, value_sum[own][parts] = {};
    for (Index head = kv * group; head < (kv + 1) * group; ++head)
      for (Index from = start / detail::key_tile * detail::key_tile; from < length;
           from += detail::key_tile) {
        place.template load_lanes<threads>(thread, queries, q + head * Width, stride, from);
        place.template load_lanes<threads>(thread, gradients, dout + head * Width, stride, from);
        thread.barrier();
        const Index query = from + thread.lane();
        const Index number = (first + query) * shape.heads + head;
        const float log_sum = query < length ? thread.load(log_sums + number) : 0.f;
        const float delta = query < length ? thread.load(deltas + number) : 0.f;
        QLORA_UNROLL
        for (int i = 0; i < own; ++i) {
          const int row = thread.warp() * own + i;
          const float score = scale * detail::dot_with_lane<Width>(thread, keys, row, queries);
          const float dp = detail::dot_with_lane<Width>(thread, values, row, gradients);
          const bool seen = query < length && start + row <= query;
          const float p = seen ? std::exp(score - log_sum) : 0.f;
          detail::add_weighted<Width>(thread, p, gradients, value_sum[i]);
          detail::add_weighted<Width>(thread, p * (dp - delta) * scale, queries, key_sum[i]);
        }
        thread.barrier();
      }
    QLORA_UNROLL
    for (int i = 0; i < own; ++i) {
      const Index row = start + thread.warp() * own + i;
      QLORA_UNROLL
      for (int j = 0; j < parts; ++j) {
        const int d = thread.lane() + 32 * j;
        if (d >= Width || row >= length) continue;
        thread.store(dk + (first + row) * kv_stride + kv * Width + d, key_sum[i][j]);
        thread.store(dv + (first + row) * kv_stride + kv * Width + d, value_sum[i][j]);
      }
    }
  }
};

}  // namespace qlora::inline QLORA_ABI::cuda
