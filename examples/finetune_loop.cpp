// A fine-tune through the library, in a loop of your own: adapters on a 4-bit model, AdamW with 8-bit
// state paged to files, and the adapter in PEFT's layout at the end. docs/data.md describes the data.
//
//   build/examples/finetune_loop SmolLM2-135M-Instruct.Q4_1.gguf chats.jsonl my-adapter
#include <filesystem>
#include <iostream>
#include <qlora/optim/make_optimizer.hpp>
#include <qlora/train.hpp>

int main(int argc, char** argv) try {
  if (argc != 4) throw qlora::Error("usage: finetune_loop MODEL DATA OUTPUT");
  const auto source = qlora::open_model(argv[1]);  // a GGUF file or a folder
  const qlora::TokenizerData tokenizer_data = source->tokenizer();
  const qlora::Tokenizer tokenizer(tokenizer_data);
  const qlora::ChatTemplate chat(tokenizer_data, tokenizer);
  const qlora::Dataset data = qlora::load_dataset(argv[2], tokenizer, &chat, 256);

  qlora::Llama<> model = qlora::load_llama(*source, {.format = "nf4-dq"});
  model.adapt({.rank = 16, .alpha = 32, .dropout = 0.05f});
  model.set_compute(qlora::Compute::automatic);
  const auto parameters = model.parameters();
  auto optimizer = qlora::make_optimizer<float>(
      {.name = "adamw8bit", .paged = qlora::FilePagerOptions{.directory = "."}});

  const auto count = static_cast<qlora::Index>(data.examples.size());
  for (qlora::Index step = 0; step < 100; ++step) {
    const std::vector<qlora::Index> chosen{2 * step % count, (2 * step + 1) % count};
    const auto batch = qlora::make_batch(data.examples, chosen);
    qlora::zero_gradients(parameters);
    const auto loss = model.loss(batch.ids, batch.targets, batch.layout,
                                 {.scale = 1.f / static_cast<float>(batch.counted),
                                  .backward = true,
                                  .dropout = {true, static_cast<std::uint64_t>(step)}});
    qlora::clip_gradients(parameters, 0.3);
    optimizer.step(parameters);
    std::cout << "step " << step + 1 << "  loss " << loss.mean() << std::endl;
  }
  std::filesystem::create_directories(argv[3]);
  const auto targets = qlora::target_modules("all");
  qlora::write_adapter(argv[3], {.rank = 16, .alpha = 32, .target_modules = targets}, parameters);
} catch (const qlora::Error& error) {
  std::cerr << error.what() << "\n";
  return 1;
}
