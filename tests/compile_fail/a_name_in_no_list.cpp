// expect: visit_format<Formats>: Formats must be a qlora::FormatList
#include <qlora/quant/visit_format.hpp>

#ifdef QLORA_TEST_GOOD
using Formats = qlora::FormatList<qlora::formats::nf4_dq>;
#else
using Formats = qlora::formats::nf4_dq;
#endif

void visit() {
  qlora::visit_format<Formats>("nf4-dq", 0, []<class F>() {});
}
