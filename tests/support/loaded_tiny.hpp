// The tiny model, loaded.
#pragma once

#include <memory>

#include "qlora/text/tokenizer.hpp"
#include "support/files.hpp"
#include "support/load.hpp"
#include "support/tiny_model.hpp"

namespace test {

struct LoadedTiny {
  TemporaryFolder folder;
  std::unique_ptr<qlora::ModelSource> source =
      open_model(folder.write("tiny.gguf", TinyModel().bytes()));
  qlora::Tokenizer tokenizer{source->tokenizer()};
  qlora::Llama<> model = load_model(*source, "float");
};

}  // namespace test
