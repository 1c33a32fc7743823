// One turn of a chat through the library, with a LoRA adapter if there is one:
//
//   build/examples/chat_turn SmolLM2-135M-Instruct.Q4_1.gguf "What is a hack?" [ADAPTER]
#include <iostream>
#include <qlora/model/answer.hpp>
#include <qlora/model/load_adapter.hpp>
#include <qlora/model/load_llama.hpp>

int main(int argc, char** argv) {
  if (argc < 3) return std::cerr << "chat_turn MODEL QUESTION [ADAPTER]\n", 2;
  try {
    const auto source = qlora::open_model(argv[1]);  // a GGUF file, or a folder of Hugging Face
    const qlora::TokenizerData files = source->tokenizer();
    const qlora::Tokenizer tokenizer(files);
    const qlora::ChatTemplate chat(files, tokenizer);
    qlora::Llama<> model = qlora::load_llama(*source, {.format = "nf4-dq"});
    if (argc > 3) qlora::load_adapter(model, argv[3]);  // as PEFT and finetune write it

    // Oldest messages go when the context is full; a longer chat appends the answer and goes on.
    std::vector<qlora::ChatMessage> messages{{"user", argv[2]}};
    const qlora::Answer answer =
        qlora::answer(model, tokenizer, chat, messages, {.new_tokens = 80}, [](auto text) {
          std::cout << text << std::flush;
          return true;  // false would end the answer here
        });
    messages.push_back({"assistant", answer.text});
    std::cout << (answer.context_full ? " (the context is full)\n" : "\n");
  } catch (const qlora::Error& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
}
