// Fine-tunes a Llama model in 4 bits with LoRA adapters, the way of the QLoRA paper:
//
//   finetune --model SmolLM2-135M-Instruct.Q4_1.gguf --data chats.jsonl --output out --steps 100
//
// OUT then holds the adapter in PEFT's layout, metrics.csv, loss.png and qlora.json. It appears
// when all of it is there. SIGINT and SIGTERM end the run after the step that is under way, and
// what was learned until then is saved.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "qlora/io/json_file.hpp"
#include "qlora/io/peft.hpp"
#include "qlora/io/run_settings.hpp"
#include "qlora/io/sha256.hpp"
#include "qlora/model/llama.hpp"
#include "qlora/model/model_checksum.hpp"
#include "qlora/optim/make_optimizer.hpp"
#include "qlora/text/dataset.hpp"
#include "qlora/train/trainer.hpp"
#include "qlora/version.hpp"
#include "support/chat_option.hpp"
#include "support/checks.hpp"
#include "support/cuda_llama.hpp"
#include "support/format_check.hpp"
#include "support/model.hpp"
#include "support/output.hpp"
#include "support/picture.hpp"
#include "support/progress.hpp"
#include "support/signals.hpp"

namespace {

namespace fs = std::filesystem;

constexpr const char* help_footer =
    R"(Data, told by what is in it; --data and --eval-data:
  {"messages": [{"role": "user", "content": ...}, {"role": "assistant", "content": ...}]}
  {"instruction": ..., "input": ..., "output": ...}               Alpaca; input may be missing
  {"conversations": [{"from": "human", "value": ...}, {"from": "gpt", "value": ...}]}   ShareGPT
  {"prompt": ..., "completion": ...}
  {"text": ...}                                                   trained on as it is
      as JSON lines, one object on each line, or as one JSON list of objects
  a plain text in UTF-8, which is cut into windows of --seq-len tokens

Examples:
  finetune --model SmolLM2-135M-Instruct.Q4_1.gguf --data chats.jsonl --output out --steps 100
  finetune --model SmolLM2-135M-Instruct --data book.txt --output out --epochs 2 --format nf4 \
    --optimizer adamw8bit --paged /scratch --paged-budget 256MiB --overwrite)";

struct Settings {
  std::string model, data, eval_data, output;
  std::string format = "nf4-dq", targets = "all", schedule = "constant", compute = "auto";
  std::string optimizer = "adamw", paged, device = "cpu", train_on = "answers";
  std::size_t paged_budget = std::size_t{256} << 20;
  double weight_decay = 0;
  qlora::Index block_size = 0, rank = 16, seq_len = 256;
  double alpha = 32;
  float dropout = 0.05f;
  bool overwrite = false;
  qlora::TrainOptions train;
  program::ChatOption chat;

  void add_to(CLI::App& app) {
    add_files_to(app);
    chat.add_to(app);
    add_adapter_to(app);
    add_training_to(app);
    app.footer(help_footer);
    program::check_block_size(app, format, block_size);
    app.final_callback([this] {
      if (device == "cuda" && train.gradient_checkpoint)
        throw CLI::ValidationError("--grad-checkpoint", "only with --device cpu");
    });
  }

  void add_files_to(CLI::App& app) {
    app.add_option("--model", model,
                   "GGUF file of a Llama model, or a folder as Hugging Face has it")
        ->required();
    app.add_option("--data", data, "what is trained on; the forms are below")->required();
    app.add_option("--eval-data", eval_data, "held-out data: its loss is printed before and after");
    app.add_option("--train-on", train_on, "what of a chat counts: answers, or questions as well")
        ->check(program::one_of({"answers", "questions-and-answers"}))
        ->capture_default_str();
    app.add_option("--output", output, "folder for the adapter, the metrics and the picture")
        ->required();
    app.add_flag("--overwrite", overwrite,
                 "replace the whole --output folder when the run is complete");
  }

  void add_adapter_to(CLI::App& app) {
    app.add_option(
           "--format", format,
           "format of the frozen projections; as-is: the one they have, float: LoRA without "
           "quantization")
        ->check(program::format_names(true))
        ->capture_default_str();
    app.add_option("--block-size", block_size,
                   "weights that share a scale [64, or what the format's standard says]")
        ->check(program::block_sizes());
    app.add_option("--rank", rank, "rank of the adapters")
        ->check(program::at_least<qlora::Index>(1))
        ->capture_default_str();
    app.add_option("--alpha", alpha, "adapters are scaled by alpha / rank")
        ->check(program::any_number<double>())
        ->capture_default_str();
    app.add_option("--dropout", dropout, "on the adapters' input")
        ->check(program::between<float>(0, 0.999f))
        ->capture_default_str();
    app.add_option("--targets", targets, "which projections get an adapter")
        ->check(program::one_of({"all", "attention"}))
        ->capture_default_str();
    program::add_compute(app, compute);
    app.add_option("--device", device, "where loss and gradients are computed")
        ->check(program::one_of({"cpu", "cuda"}))
        ->capture_default_str();
  }

  void add_training_to(CLI::App& app) {
    app.add_option("--lr", train.learning_rate, "learning rate")
        ->check(program::at_least<double>(0))
        ->capture_default_str();
    auto* steps = app.add_option("--steps", train.steps, "optimizer steps")
                      ->check(program::at_least<qlora::Index>(1));
    app.add_option("--epochs", train.epochs, "passes over the data")
        ->check(program::at_least<qlora::Index>(1))
        ->capture_default_str()
        ->excludes(steps);
    app.add_option("--batch", train.batch, "examples of a micro-batch")
        ->check(program::at_least<qlora::Index>(1))
        ->capture_default_str();
    app.add_option("--seq-len", seq_len, "tokens of an example at most")
        ->check(program::between<qlora::Index>(2, 1 << 24))
        ->capture_default_str();
    app.add_option("--seed", train.seed, "of the adapters' start, the order and dropout")
        ->check(program::any_number<std::uint64_t>())
        ->capture_default_str();
    app.add_option("--schedule", schedule, "of the learning rate")
        ->check(program::one_of({"constant", "cosine", "linear"}))
        ->capture_default_str();
    app.add_option("--warmup-steps", train.warmup_steps, "steps in which the learning rate rises")
        ->check(program::at_least<qlora::Index>(0))
        ->capture_default_str();
    app.add_option("--max-grad-norm", train.max_gradient_norm,
                   "gradients are clipped to this norm; 0: not")
        ->check(program::at_least<double>(0))
        ->capture_default_str();
    app.add_option("--max-grad-value", train.max_gradient_value,
                   "each number of the gradients is clipped to this first; 0: not")
        ->check(program::at_least<double>(0))
        ->capture_default_str();
    app.add_option("--optimizer", optimizer,
                   "update rule; 8bit and -bf16 say how its state is kept")
        ->check(program::one_of(qlora::optimizer_names()))
        ->capture_default_str();
    app.add_option("--weight-decay", weight_decay, "of the optimizer")
        ->check(program::at_least<double>(0))
        ->capture_default_str();
    auto* directory = app.add_option("--paged", paged,
                                     "folder for a file that holds the optimizer's state, so that "
                                     "it need not be in memory");
    app.add_option("--paged-budget", paged_budget,
                   "of that state in memory, 1MiB or more, such as 256MiB")
        ->transform(CLI::AsSizeValue(false))
        ->check(program::at_least<std::size_t>(std::size_t{1} << 20))
        ->needs(directory);
    app.add_option("--accumulate", train.accumulate, "micro-batches of a step")
        ->check(program::at_least<qlora::Index>(1))
        ->capture_default_str();
    app.add_flag("--grad-checkpoint", train.gradient_checkpoint, "keep less and compute more");
  }

  qlora::TrainOn what_counts() const {
    return train_on == "answers" ? qlora::TrainOn::answers : qlora::TrainOn::questions_and_answers;
  }

  qlora::OptimizerSettings optimizer_settings() const {
    qlora::OptimizerSettings settings{
        .name = optimizer, .learning_rate = train.learning_rate, .weight_decay = weight_decay};
    // Extents of a small part of the budget, so that some come in while others are worked on.
    const std::size_t extent =
        std::clamp(paged_budget / 16 / 4096 * 4096, std::size_t{64} << 10, std::size_t{2} << 20);
    if (!paged.empty())
      settings.paged = {.directory = paged,
                        .resident = {.budget = paged_budget, .extent_bytes = extent}};
    return settings;
  }

  qlora::AdapterConfig adapter() const {
    return {.rank = rank,
            .alpha = alpha,
            .dropout = dropout,
            .target_modules = qlora::target_modules(targets),
            .base_model = fs::path(model).filename().string()};
  }

  // What ran, not only what was asked for.
  nlohmann::json json(const std::string& model_sha256, qlora::Index steps_done) const {
    const auto checksum_of = [](const std::string& path) {
      const std::string bytes = qlora::read_text_file(path);
      return qlora::sha256(std::as_bytes(std::span(bytes)));
    };
    const bool bfloat16 =  // a device rounds to it in every product
        device == "cuda" ||
        qlora::resolved(qlora::compute_from_name(compute)) == qlora::Compute::bfloat16;
    nlohmann::json all = {{"format", format},
                          {"block_size", program::block_size_of(format, block_size)},
                          {"model", fs::path(model).filename().string()},
                          {"model_sha256", model_sha256},
                          {"rank", rank},
                          {"alpha", alpha},
                          {"dropout", dropout},
                          {"targets", targets},
                          {"data", fs::path(data).filename().string()},
                          {"data_sha256", checksum_of(data)},
                          {"train_on", train_on},
                          {"chat_template", chat.json()},
                          {"learning_rate", train.learning_rate},
                          {"steps", train.steps},
                          {"steps_done", steps_done},
                          {"epochs", train.epochs},
                          {"batch", train.batch},
                          {"seq_len", seq_len},
                          {"seed", train.seed},
                          {"schedule", schedule},
                          {"warmup_steps", train.warmup_steps},
                          {"max_grad_norm", train.max_gradient_norm},
                          {"max_grad_value", train.max_gradient_value},
                          {"accumulate", train.accumulate},
                          {"grad_checkpoint", train.gradient_checkpoint},
                          {"compute", bfloat16 ? "bfloat16" : "float32"},
                          {"threads", qlora::thread_count()},
                          {"device", device},
                          {"optimizer", optimizer},
                          {"weight_decay", weight_decay},
                          {"qlora_version", QLORA_VERSION}};
    if (!eval_data.empty()) all["eval_data_sha256"] = checksum_of(eval_data);
    return all;
  }
};

void draw_loss(const fs::path& output) {
  const std::string script =
      "set terminal pngcairo size 900,500; set key off; "
      "set xlabel 'step'; set ylabel 'loss'; set grid; set title 'training loss'; "
      "plot 'metrics.csv' using 1:2 skip 1 with linespoints pointtype 7 pointsize 0.4";
  program::draw(output, "loss.png", script);
}

// The loss on the CPU, or on a device, whose gradients are added to the parameters' own.
qlora::LossFunction loss_on(const std::string& device, qlora::Llama<>& model) {
  if (device == "cpu") return qlora::loss_of(model);
  const auto there = std::make_shared<program::CudaLlama>(model);
  return [there, parameters = model.parameters()](const qlora::Batch& batch,
                                                  const qlora::LossOptions& options) {
    return there->loss(parameters, batch.ids, batch.targets, batch.layout, options);
  };
}

// What is trained, and on what.
struct Data {
  qlora::Dataset train, held_out;
};

Data load_data(const Settings& settings, const qlora::TokenizerData& tokenizer_data) {
  const qlora::Tokenizer tokenizer(tokenizer_data);
  const auto chat = settings.chat.find(tokenizer_data, tokenizer);
  const auto load = [&](const std::string& path, qlora::TrainOn train_on) {
    auto data =
        qlora::load_dataset(path, tokenizer, chat ? &*chat : nullptr, settings.seq_len, train_on);
    std::cout << path << ": " << data.examples.size() << " examples, " << data.truncated
              << " cut at " << settings.seq_len << " tokens, " << data.dropped << " dropped\n";
    return data;
  };
  Data data{load(settings.data, settings.what_counts()), {}};
  if (!settings.eval_data.empty())
    data.held_out = load(settings.eval_data, qlora::TrainOn::answers);
  return data;
}

void print_paging(const qlora::AnyOptimizer<float>& optimizer) {
  const qlora::PagerCounters counters = optimizer.counters();
  std::cout << "paged optimizer state: " << (optimizer.state_bytes() >> 20) << " MiB, "
            << (counters.bytes_in >> 20) << " MiB brought in, " << counters.prefetched
            << " extents ahead of their use and " << counters.faults << " not\n";
}

// Runs all steps, or as many as until a signal; gives the number of steps that were done.
qlora::Index train(qlora::Trainer<>& trainer, const fs::path& folder,
                   const program::StopSignals& signals) {
  qlora::MetricsFile metrics(folder / "metrics.csv");
  program::ProgressBar bar(trainer.total_steps());
  qlora::Index done = 0;
  try {
    trainer.run([&](const qlora::StepMetrics& m) {
      metrics.append(m);
      char text[120];
      std::snprintf(text, sizeof(text), "step %td/%td  loss %.4f  %.0f tokens/s", m.done,
                    trainer.total_steps(), m.loss, m.tokens_per_second);
      bar.show(m.done, text);
      done = m.done;
      return signals.asked() == 0;
    });
  } catch (const qlora::Cancelled&) {
  }
  return done;
}

// Gives the exit code: 0, or 128 and a signal's number.
int finetune(const Settings& settings) {
  if (settings.device == "cuda") program::CudaLlama::require_device();
  program::OutputFolder output;
  program::StopSignals signals([&] { output.discard(); });
  output.open(
      settings.output,
      {settings.overwrite, {settings.model, settings.data, settings.eval_data, settings.paged}});
  const auto source = program::open_model(settings.model);
  program::require_context(*source, settings.seq_len);
  const Data data = load_data(settings, program::tokenizer_data(*source));

  const std::string checksum = qlora::model_checksum(*source);
  qlora::Llama<> model = program::load_model(*source, settings.format, settings.block_size);
  model.adapt({.rank = settings.rank,
               .alpha = static_cast<float>(settings.alpha),
               .dropout = settings.dropout,
               .seed = qlora::derive_key(settings.train.seed, 3)},
              qlora::target_modules(settings.targets));
  model.set_compute(qlora::compute_from_name(settings.compute));
  const auto parameters = model.parameters();
  std::cout << "trainable parameters " << qlora::parameter_count(parameters) << std::endl;
  if (!data.held_out.examples.empty())
    std::cout << "held-out loss before " << qlora::mean_loss(model, data.held_out.examples) << "\n";

  qlora::TrainOptions options = settings.train;
  options.schedule = qlora::schedule_from_name(settings.schedule);
  qlora::Trainer<> trainer(parameters, loss_on(settings.device, model), data.train.examples,
                           options, qlora::make_optimizer(settings.optimizer_settings()));
  const auto save = [&](qlora::Index steps_done) {
    qlora::write_adapter(output.path(), settings.adapter(), parameters);
    qlora::write_text_file(output.path() / qlora::run_settings_name,
                           settings.json(checksum, steps_done).dump(2) + "\n");
    draw_loss(output.path());
    output.commit();
  };
  signals.ask_first(true);
  qlora::Index done = 0;
  try {
    done = train(trainer, output.path(), signals);
  } catch (const qlora::Error& failure) {
    if (trainer.good_steps() == 0) throw;
    save(trainer.good_steps());
    throw qlora::Error(qlora::message(failure.what(), "; ", settings.output,
                                      " holds the adapter after step ", trainer.good_steps()));
  }
  if (!settings.paged.empty()) print_paging(trainer.optimizer());
  save(done);
  if (const int signal = signals.asked(); signal != 0) {
    std::cout << "stopped by " << program::signal_name(signal) << "; " << settings.output
              << " holds the adapter after step " << done << " of " << trainer.total_steps()
              << "\n";
    return 128 + signal;
  }
  if (!data.held_out.examples.empty())
    std::cout << "held-out loss after " << qlora::mean_loss(model, data.held_out.examples) << "\n";
  std::cout << "adapter written to " << settings.output << "\n";
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Fine-tune a Llama model in 4 bits with LoRA adapters (QLoRA)", "finetune");
  Settings settings;
  settings.add_to(app);
  return program::run(app, argc, argv, [&] { return finetune(settings); });
}
