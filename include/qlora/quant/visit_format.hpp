/// From a format's name, as a command line has it, to its type.
///
///     qlora::visit_format("nf4-dq", 64, [&]<class Format>() {
///       use(qlora::quantize<Format>(dense, {.block_size = 64}));
///     });
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>

#include "qlora/core/error.hpp"
#include "qlora/quant/named_formats.hpp"

namespace qlora {

namespace detail {

/// A name, its type, and whether its block size may be chosen.
template <class F, bool AnySize = false>
struct NamedFormat {
  std::string_view name;
};

inline constexpr std::tuple named_formats{NamedFormat<Nf4, true>{"nf4"},
                                          NamedFormat<Nf4Dq, true>{"nf4-dq"},
                                          NamedFormat<Nf4Dq2>{"nf4-dq2"},
                                          NamedFormat<Fp4, true>{"fp4"},
                                          NamedFormat<Fp4Dq, true>{"fp4-dq"},
                                          NamedFormat<Fp4E2M1>{"fp4-e2m1"},
                                          NamedFormat<Fp4E3M0>{"fp4-e3m0"},
                                          NamedFormat<Int4Block, true>{"int4"},
                                          NamedFormat<Int4Full>{"int4-16"},
                                          NamedFormat<Af4>{"af4"},
                                          NamedFormat<Bof4>{"bof4"},
                                          NamedFormat<Bof4S>{"bof4-s"},
                                          NamedFormat<Bof4SOpq>{"bof4-s-opq"},
                                          NamedFormat<Learned4>{"learned4"},
                                          NamedFormat<Nf3>{"nf3"},
                                          NamedFormat<Nf2>{"nf2"},
                                          NamedFormat<Nf8>{"nf8"},
                                          NamedFormat<MxFp4>{"mxfp4"},
                                          NamedFormat<NvFp4>{"nvfp4"},
                                          NamedFormat<Q4_0>{"q4_0"},
                                          NamedFormat<Q4_1>{"q4_1"},
                                          NamedFormat<Q8_0>{"q8_0"},
                                          NamedFormat<Iq4Nl>{"iq4_nl"}};

/// The format with the block size left to the matrix.
template <class F>
struct with_dynamic_size;
template <class C, int B, class S, class N>
struct with_dynamic_size<BlockFormat<C, B, S, N>> {
  using type = BlockFormat<C, Dynamic, S, N>;
};

}  // namespace detail

/// The names that visit_format knows, for help texts.
inline constexpr auto format_names =
    std::apply([](auto... named) { return std::array{named.name...}; }, detail::named_formats);

/// Calls `visit.operator()<Format>()` for the named format. nf4, nf4-dq, fp4, fp4-dq and int4 come
/// in blocks of 32 to 4096: 64 is a type of its own, other sizes have a Dynamic one. Every other
/// name has one block size. `block_size` 0 stands for a format's own. Throws FormatError for an
/// unknown name or another size.
template <class Visit>
void visit_format(std::string_view name, Index block_size, Visit&& visit) {
  bool found = false;
  const auto offer = [&]<class F, bool AnySize>(detail::NamedFormat<F, AnySize> named) {
    if (found || named.name != name) return;
    found = true;
    if constexpr (AnySize) {
      require<FormatError>(
          block_size == 0 ||
              (block_size >= 32 && block_size <= 4096 && (block_size & (block_size - 1)) == 0),
          "block size of ", name, ": expected 32, 64, 128, 256, 512, 1024, 2048 or 4096, found ",
          block_size);
      if (block_size != 0 && block_size != F::block_size)
        return visit.template operator()<typename detail::with_dynamic_size<F>::type>();
    } else {
      require<FormatError>(block_size == 0 || block_size == F::block_size, "format '", name,
                           "': its block size is ", F::block_size, ", found ", block_size);
    }
    visit.template operator()<F>();
  };
  std::apply([&](auto... named) { (offer(named), ...); }, detail::named_formats);
  if (found) return;
  std::string known;
  for (const auto each : format_names) known += (known.empty() ? "" : ", ") + std::string(each);
  throw FormatError(message("format '", name, "': expected one of ", known));
}

}  // namespace qlora
