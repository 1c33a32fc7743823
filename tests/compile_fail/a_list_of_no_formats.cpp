// expect: Formats: every argument must be a BlockFormat
#include <qlora/quant/any_view.hpp>
#include <qlora/quant/named_formats.hpp>

#ifdef QLORA_TEST_GOOD
qlora::Formats<qlora::Nf4Dq> formats;
#else
qlora::Formats<qlora::NF4> formats;  // the codebook
#endif
