#include "support/format_check.hpp"

#include "qlora/quant/visit_format.hpp"

namespace program {

namespace {

void require_block_size(const std::string& format, qlora::Index block_size) {
  if (block_size == 0 || format.empty()) return;
  const auto refuse = [](const std::string& text) {
    throw CLI::ValidationError("--block-size", text);
  };
  if (format == "float" || format == "as-is")
    refuse("not with --format " + format + ", which quantizes nothing");
  try {
    qlora::visit_format(format, block_size, []<class Format>() {});
  } catch (const qlora::OptionError& failure) {
    refuse(failure.what());
  }
}

}  // namespace

void check_block_size(CLI::App& app, const std::string& format, const qlora::Index& block_size) {
  app.parse_complete_callback([&] { require_block_size(format, block_size); });
}

void check_block_size(CLI::App& app, const ModelOptions& options) {
  app.parse_complete_callback([&] {
    const bool own = options.format.empty() && options.adapter.empty();
    require_block_size(own ? "nf4-dq" : options.format, options.block_size);
  });
}

}  // namespace program
