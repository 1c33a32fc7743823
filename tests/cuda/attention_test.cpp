#include "qlora/cuda/attention.hpp"

#include "cuda/device.hpp"
#include "qlora/nn/attention.hpp"

using qlora::Index;

namespace {

// Sequences of these lengths, forward and backward against the CPU.
template <int Width>
void compare(const std::vector<Index>& lengths, Index heads, Index kv_heads) {
  std::vector<qlora::SequenceSpan> sequences;
  Index tokens = 0;
  for (const Index length : lengths) {
    sequences.push_back({tokens, length, tokens, 0});
    tokens += length;
  }
  const qlora::AttentionShape shape{heads, kv_heads, Width};
  const auto q = test::normal_matrix(tokens, heads * Width, 1, 2),
             k = test::normal_matrix(tokens, kv_heads * Width, 2),
             v = test::normal_matrix(tokens, kv_heads * Width, 3),
             dout = test::normal_matrix(tokens, heads * Width, 4);
  qlora::RowMatrix<float> out(tokens, heads * Width), log_sums(tokens, heads),
      dq(tokens, heads * Width), dk(tokens, kv_heads * Width), dv(tokens, kv_heads * Width);
  qlora::attention_forward<float>(shape, q, k, v, sequences, out, log_sums);
  qlora::attention_backward<float>(shape, q, k, v, out, log_sums, dout, sequences, dq, dk, dv);

  using Matrix = qlora::RowMatrix<float>;
  Matrix found(tokens, heads * Width), found_sums(tokens, heads);
  using Forward = qlora::cuda::AttentionForward<Width>;
  const auto tiles = qlora::cuda::attention_tiles(sequences, Forward::tile);
  test::run_kernel(Forward{q.data(), k.data(), v.data(), found.data(), found_sums.data(),
                           tiles.data(), static_cast<Index>(tiles.size()), shape},
                   test::numbers(q), test::numbers(k), test::numbers(v), test::writable(found),
                   test::writable(found_sums), test::readable(tiles));
  test::require_close(out, found);
  test::require_close(log_sums, found_sums);

  Matrix found_dq(tokens, heads * Width), deltas(tokens, heads), found_dk(tokens, kv_heads * Width),
      found_dv(tokens, kv_heads * Width);
  using Queries = qlora::cuda::AttentionBackwardQueries<Width>;
  const auto small = qlora::cuda::attention_tiles(sequences, Queries::tile);
  test::run_kernel(Queries{q.data(), k.data(), v.data(), out.data(), log_sums.data(), dout.data(),
                           found_dq.data(), deltas.data(), small.data(),
                           static_cast<Index>(small.size()), shape},
                   test::numbers(q), test::numbers(k), test::numbers(v), test::numbers(out),
                   test::numbers(log_sums), test::numbers(dout), test::writable(found_dq),
                   test::writable(deltas), test::readable(small));
  test::require_close(dq, found_dq);
  using Keys = qlora::cuda::AttentionBackwardKeys<Width>;
  test::run_kernel(
      Keys{q.data(), k.data(), v.data(), log_sums.data(), deltas.data(), dout.data(),
           found_dk.data(), found_dv.data(), small.data(), static_cast<Index>(small.size()), shape},
      test::numbers(q), test::numbers(k), test::numbers(v), test::numbers(log_sums),
      test::numbers(deltas), test::numbers(dout), test::writable(found_dk),
      test::writable(found_dv), test::readable(small));
  test::require_close(dk, found_dk);
  test::require_close(dv, found_dv);
}

}  // namespace

TEST_CASE("attention of several sequences, heads in groups, forward and backward") {
  compare<16>({5, 1, 40}, 4, 2);
  compare<64>({37}, 2, 1);
  compare<32>({3, 3}, 3, 3);
  compare<128>({33}, 1, 1);
}
