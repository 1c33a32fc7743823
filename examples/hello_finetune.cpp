// Fine-tunes a Llama in 4 bits on chats, and saves the adapter in PEFT's layout:
//
//   build/examples/hello_finetune SmolLM2-135M-Instruct.Q4_1.gguf chats.jsonl out
#include <filesystem>
#include <iostream>
#include <qlora/train.hpp>

int main(int argc, char** argv) {
  if (argc != 4) return std::cerr << "hello_finetune MODEL CHATS OUT\n", 2;
  try {
    const auto source = qlora::open_model(argv[1]);  // a GGUF file, or a folder of Hugging Face
    const qlora::TokenizerData files = source->tokenizer();
    const qlora::Tokenizer tokenizer(files);
    const qlora::ChatTemplate chat(files, tokenizer);
    const qlora::Dataset data = qlora::load_dataset(argv[2], tokenizer, &chat, 256);

    qlora::Llama<> model = qlora::load_llama(*source, {.format = "nf4-dq"});
    model.adapt({.rank = 16, .alpha = 32, .dropout = 0.05f});
    model.set_compute(qlora::Compute::automatic);  // bfloat16 where the processor has it
    qlora::Trainer trainer(model, data.examples, {.steps = 30, .batch = 4, .learning_rate = 1e-3});
    trainer.run([](const qlora::StepMetrics& now) {
      std::cout << "step " << now.done << "  loss " << now.loss << std::endl;
      return true;
    });

    std::filesystem::create_directories(argv[3]);
    qlora::write_adapter(argv[3],
                         {.rank = 16, .alpha = 32, .target_modules = qlora::target_modules("all")},
                         model.parameters());
  } catch (const qlora::Error& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
}
