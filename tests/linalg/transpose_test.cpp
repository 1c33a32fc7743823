#include "qlora/linalg/transpose.hpp"

#include "support/catch.hpp"
#include "support/guarded.hpp"

#if QLORA_HAS_VECTORS
TEST_CASE("words are transposed, into rows that stand apart") {
  for (const qlora::Index rows : {0, 4, 12})
    for (const qlora::Index cols : {0, 1, 3, 4, 7, 16}) {
      const qlora::Index from_stride = cols + 2, to_stride = rows + 3;
      const test::Guarded<std::uint32_t> from(static_cast<std::size_t>(rows * from_stride)),
          to(static_cast<std::size_t>(cols * to_stride));
      for (qlora::Index i = 0; i < rows * from_stride; ++i)
        from.data()[i] = static_cast<std::uint32_t>(i);
      for (qlora::Index i = 0; i < cols * to_stride; ++i) to.data()[i] = 7777777;
      qlora::linalg_detail::transpose_words(from.data(), from_stride, rows, cols, to.data(),
                                            to_stride);
      for (qlora::Index col = 0; col < cols; ++col)
        for (qlora::Index row = 0; row < to_stride; ++row)
          REQUIRE(to.data()[col * to_stride + row] ==
                  (row < rows ? static_cast<std::uint32_t>(row * from_stride + col) : 7777777u));
    }
}
#endif
