// expect: FormatList: every element must be a format, such as a BlockFormat
#include <qlora/quant/format_list.hpp>
#include <qlora/quant/named_formats.hpp>

#ifdef QLORA_TEST_GOOD
qlora::FormatList<qlora::formats::nf4_dq> formats;
#else
qlora::FormatList<qlora::NF4> formats;  // the codebook
#endif
