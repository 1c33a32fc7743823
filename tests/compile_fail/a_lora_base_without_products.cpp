// expect: LoraLinear: the base must have a linear_forward(x, base, y, options)
#include <qlora/nn/lora.hpp>

namespace mine {
struct Base {
  qlora::Index rows() const { return 2; }
  qlora::Index cols() const { return 2; }
};
#ifdef QLORA_TEST_GOOD
template <class T>
void linear_forward(const qlora::ConstMatrixRef<T>& x, const Base&, qlora::MatrixRef<T> y,
                    const qlora::ProductOptions<T>&) {
  y = x;
}
template <class T>
void linear_backward(const qlora::ConstMatrixRef<T>& dy, const Base&, qlora::MatrixRef<T> dx,
                     const qlora::ProductOptions<T>&) {
  dx = dy;
}
#endif
}  // namespace mine
qlora::LoraLinear<mine::Base> layer;
