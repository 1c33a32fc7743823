// An adapter saved and loaded again, in PEFT's layout, on a folder's or a GGUF file's model:
//
//   build/examples/adapter_file SmolLM2-135M-Instruct.Q4_1.gguf out
//
// OUT gets adapter_config.json and adapter_model.safetensors; PEFT loads the folder too.
#include <filesystem>
#include <iostream>
#include <qlora/io/peft.hpp>
#include <qlora/model/load_adapter.hpp>
#include <qlora/model/load_llama.hpp>

int main(int argc, char** argv) {
  if (argc != 3) return std::cerr << "adapter_file MODEL OUT\n", 2;
  try {
    const auto source = qlora::open_model(argv[1]);
    qlora::Llama<> model = qlora::load_llama(*source, {.format = "nf4-dq"});
    const std::vector<qlora::Token> prompt{1, 2, 3, 4};
    const qlora::RowMatrixXf plain = model.logits(prompt);  // [tokens, vocabulary]

    // A fresh adapter changes nothing; some numbers in B stand for training.
    const auto modules = qlora::target_modules("attention");
    model.adapt({.rank = 8, .alpha = 16, .seed = 1}, modules);
    for (const auto& parameter : model.parameters())
      if (parameter.value().isZero()) parameter.value().setConstant(0.01f);
    const qlora::RowMatrixXf tuned = model.logits(prompt);

    std::filesystem::create_directories(argv[2]);
    qlora::write_adapter(argv[2], {.rank = 8, .alpha = 16, .target_modules = modules},
                         model.parameters());

    // Ranks come from the file's tensors, how each is scaled from its configuration.
    qlora::Llama<> again = qlora::load_llama(*source, {.format = "nf4-dq"});
    const qlora::AdapterConfig config = qlora::load_adapter(again, argv[2]);
    std::cout << "rank " << config.rank << ", " << qlora::parameter_count(again.parameters())
              << " numbers; logits moved by " << (tuned - plain).cwiseAbs().maxCoeff()
              << ", differ after loading by "
              << (again.logits(prompt) - tuned).cwiseAbs().maxCoeff() << "\n";
  } catch (const qlora::Error& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
}
