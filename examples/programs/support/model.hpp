// The options of programs that load a model. The loading itself, which knows every format, is
// compiled once (model.cpp).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "qlora/model/llama.hpp"
#include "qlora/model/model_source.hpp"
#include "support/program.hpp"

namespace program {

// The formats a projection may have, checked when the command line is read; "as-is" and, if asked
// for, "float" among them.
CLI::Validator format_names(bool with_float);

// The block sizes of the formats that have a choice, and those of the standards.
CLI::Validator block_sizes();

// The block size that a format and a size given (0: none) come to.
qlora::Index block_size_of(const std::string& format, qlora::Index given);

// A GGUF file or a folder in Hugging Face layout.
std::unique_ptr<qlora::ModelSource> open_model(const std::string& path);

// The model's tokenizer; what its files make one wary of goes to stderr.
qlora::TokenizerData tokenizer_data(const qlora::ModelSource& source);

// --compute, the arithmetic of products with frozen weights.
void add_compute(CLI::App& app, std::string& compute);

// The model with its projections in a format; warnings go to stderr.
qlora::Llama<> load_model(const qlora::ModelSource& source, const std::string& format,
                          qlora::Index block_size);

// Throws FormatError when sequences of --seq-len are longer than the model's context.
void require_context(const qlora::ModelSource& source, qlora::Index seq_len);

// --model, --adapter, --format, --block-size and --compute of the programs that only read a model.
struct ModelOptions {
  std::string model, adapter, format, compute = "float32";
  qlora::Index block_size = 0;

  void add_to(CLI::App& app);

  // Loads the model, with its adapter if one was given and is wanted. Without it the format is that
  // of the adapter all the same.
  qlora::Llama<> load(const qlora::ModelSource& source, bool with_adapter = true) const;
};

}  // namespace program
