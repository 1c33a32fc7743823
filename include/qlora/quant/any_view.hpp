/// A packed matrix by reference whose format is known at run time only, and the way back to its
/// type.
///
///     qlora::AnyView any = w.view();    // of some QuantizedMatrix
///     bool taken = qlora::visit_view(any, qlora::FormatList<formats::nf4_dq, formats::mxfp4>{},
///                                    [&](const auto& view) { use(view); });
///
/// It needs no run-time type information: every format has a tag, and its address tells formats
/// apart within one program or library.
#pragma once

#include <memory>
#include <string>

#include "qlora/core/config.hpp"
#include "qlora/core/error.hpp"
#include "qlora/quant/format_list.hpp"
#include "qlora/quant/packed_view.hpp"

namespace qlora::inline QLORA_ABI {

namespace quant_detail {
/// Its address names F. Not const, so that no linker takes two of them for one.
template <class F>
inline char format_tag = 0;
}  // namespace quant_detail

/// Refers to a packed matrix, which must outlive it, or to none. Copies refer to the same one. Any
/// number of threads may read one.
class AnyView {
 public:
  AnyView() = default;
  /// Implicit: every view is an AnyView.
  template <class F>
  AnyView(const QuantizedView<F>& view)  // NOLINT(google-explicit-constructor)
      : tag_(&quant_detail::format_tag<F>),
        view_(std::make_shared<const QuantizedView<F>>(view)),
        rows_(view.rows()),
        cols_(view.cols()),
        block_size_(view.block_size()),
        code_bits_(F::code_bits) {}

  /// Whether it refers to a matrix.
  explicit operator bool() const { return tag_ != nullptr; }

  /// The matrix's shape; 0 without one.
  Index rows() const { return rows_; }
  Index cols() const { return cols_; }

  /// The view with its type, or null where the matrix has another format. It lives as long as this.
  template <class F>
  const QuantizedView<F>* as() const {
    if (tag_ != &quant_detail::format_tag<F>) return nullptr;
    return static_cast<const QuantizedView<F>*>(view_.get());
  }

  /// What can be said of the format in words, such as "4-bit codes in blocks of 64".
  std::string describe() const {
    if (!*this) return "no packed weight";
    return message(code_bits_, "-bit codes in blocks of ", block_size_);
  }

 private:
  const char* tag_ = nullptr;
  std::shared_ptr<const void> view_;
  Index rows_ = 0, cols_ = 0, block_size_ = 0;
  int code_bits_ = 0;
};

/// Calls body(view) with the QuantizedView of the one of the formats F that `any` has. Returns
/// whether there was one.
template <class... F, class Body>
bool visit_view(const AnyView& any, FormatList<F...>, Body&& body) {
  [[maybe_unused]] const auto offer = [&](const auto* view) {
    if (view == nullptr) return false;
    body(*view);
    return true;
  };
  return (offer(any.as<typename FormatEntry<F>::type>()) || ...);
}

}  // namespace qlora::inline QLORA_ABI
