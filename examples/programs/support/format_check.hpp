// --format and --block-size against each other when the command line is read, before any file is.
#pragma once

#include <string>

#include "support/model.hpp"

namespace program {

// Refuses a block size that the format does not come in: a usage error that names those it does.
// `format` and `block_size` are read after parsing.
void check_block_size(CLI::App& app, const std::string& format, const qlora::Index& block_size);

// The same for a program that only reads a model, whose format may be the adapter's.
void check_block_size(CLI::App& app, const ModelOptions& options);

}  // namespace program
