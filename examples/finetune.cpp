// Fine-tunes a Llama model in 4 bits with LoRA adapters, the way of the QLoRA paper:
//
//   finetune --model SmolLM2-135M-Instruct.Q4_1.gguf --data chats.jsonl --output out --steps 100
//
// OUT then holds the adapter in PEFT's layout, metrics.csv, loss.png and qlora.json.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "qlora/io/peft.hpp"
#include "qlora/model/describe_llama.hpp"
#include "qlora/optim/make_optimizer.hpp"
#include "qlora/text/dataset.hpp"
#include "qlora/train/trainer.hpp"
#include "qlora/version.hpp"
#include "support/chat_option.hpp"
#include "support/cuda_llama.hpp"
#include "support/model.hpp"
#include "support/picture.hpp"
#include "support/progress.hpp"

namespace {

namespace fs = std::filesystem;

struct Settings {
  std::string model, data, eval_data, output;
  std::string format = "nf4-dq", targets = "all", schedule = "constant", compute = "auto";
  std::string optimizer = "adamw", paged, device = "cpu";
  std::size_t paged_budget = std::size_t{256} << 20;
  double weight_decay = 0;
  qlora::Index block_size = 0, rank = 16, seq_len = 256;
  double alpha = 32;
  float dropout = 0.05f;
  qlora::TrainOn train_on = qlora::TrainOn::answers;
  qlora::TrainOptions train;
  program::ChatOption chat;

  void add_to(CLI::App& app) {
    chat.add_to(app);
    app.add_option("--model", model,
                   "GGUF file of a Llama model, or a folder as Hugging Face has it")
        ->required();
    app.add_option("--data", data, "chats as JSON lines (.jsonl), or a plain text")->required();
    app.add_option("--eval-data", eval_data, "held-out data: its loss is printed before and after");
    app.add_option("--train-on", train_on, "what of a chat counts: answers, or questions as well")
        ->transform(CLI::CheckedTransformer(std::map<std::string, qlora::TrainOn>{
            {"answers", qlora::TrainOn::answers},
            {"questions-and-answers", qlora::TrainOn::questions_and_answers}}));
    app.add_option("--output", output, "folder for the adapter, the metrics and the picture")
        ->required();
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
        ->check(CLI::PositiveNumber)
        ->capture_default_str();
    app.add_option("--alpha", alpha, "adapters are scaled by alpha / rank")->capture_default_str();
    app.add_option("--dropout", dropout, "on the adapters' input")
        ->check(CLI::Range(0.0, 0.999))
        ->capture_default_str();
    app.add_option("--targets", targets, "which projections get an adapter")
        ->check(CLI::IsMember({"all", "attention"}))
        ->capture_default_str();
    app.add_option("--lr", train.learning_rate, "learning rate")
        ->check(CLI::NonNegativeNumber)
        ->capture_default_str();
    auto* steps =
        app.add_option("--steps", train.steps, "optimizer steps")->check(CLI::PositiveNumber);
    app.add_option("--epochs", train.epochs, "passes over the data")
        ->check(CLI::PositiveNumber)
        ->capture_default_str()
        ->excludes(steps);
    app.add_option("--batch", train.batch, "examples a micro-batch")
        ->check(CLI::PositiveNumber)
        ->capture_default_str();
    app.add_option("--seq-len", seq_len, "tokens an example at most")
        ->check(CLI::Range(2, 1 << 24))
        ->capture_default_str();
    app.add_option("--seed", train.seed, "of the adapters' start, the order and dropout")
        ->capture_default_str();
    app.add_option("--schedule", schedule, "of the learning rate")
        ->check(CLI::IsMember({"constant", "cosine", "linear"}))
        ->capture_default_str();
    app.add_option("--warmup-steps", train.warmup_steps, "steps in which the learning rate rises")
        ->check(CLI::NonNegativeNumber)
        ->capture_default_str();
    app.add_option("--max-grad-norm", train.max_gradient_norm,
                   "gradients are clipped to this norm; 0: not")
        ->check(CLI::NonNegativeNumber)
        ->capture_default_str();
    app.add_option("--max-grad-value", train.max_gradient_value,
                   "each number of the gradients is clipped to this first; 0: not")
        ->check(CLI::NonNegativeNumber)
        ->capture_default_str();
    app.add_option("--optimizer", optimizer,
                   "update rule; 8bit and -bf16 say how its state is kept")
        ->check(CLI::IsMember(qlora::optimizer_names()))
        ->capture_default_str();
    app.add_option("--weight-decay", weight_decay, "of the optimizer")
        ->check(CLI::NonNegativeNumber)
        ->capture_default_str();
    auto* directory = app.add_option("--paged", paged,
                                     "folder for a file that holds the optimizer's state, so that "
                                     "it need not be in memory");
    app.add_option("--paged-budget", paged_budget, "of that state in memory, such as 256MiB")
        ->transform(CLI::AsSizeValue(false))
        ->check(CLI::Range(std::size_t{1} << 20, std::size_t{1} << 46))
        ->needs(directory);
    app.add_option("--accumulate", train.accumulate, "micro-batches a step")
        ->check(CLI::PositiveNumber)
        ->capture_default_str();
    app.add_flag("--grad-checkpoint", train.gradient_checkpoint, "keep less and compute more");
    program::add_compute(app, compute);
    app.add_option("--device", device, "where loss and gradients are computed")
        ->check(CLI::IsMember({"cpu", "cuda"}))
        ->capture_default_str();
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

  nlohmann::json json(const std::string& model_sha256) const {
    return {{"format", format},
            {"block_size", program::block_size_of(format, block_size)},
            {"model", fs::path(model).filename().string()},
            {"model_sha256", model_sha256},
            {"rank", rank},
            {"alpha", alpha},
            {"dropout", dropout},
            {"targets", targets},
            {"train_on", train_on == qlora::TrainOn::answers ? "answers" : "questions-and-answers"},
            {"chat_template", chat.json()},
            {"learning_rate", train.learning_rate},
            {"steps", train.steps},
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
            {"compute", compute},
            {"device", device},
            {"optimizer", optimizer},
            {"weight_decay", weight_decay},
            {"qlora_version", QLORA_VERSION}};
  }
};

// The folder, made if need be and tried before the work begins; goes again if nothing came into it.
class OutputFolder {
 public:
  explicit OutputFolder(fs::path path) : path_(std::move(path)) {
    std::error_code failure;
    made_ = fs::create_directories(path_, failure);
    qlora::require<qlora::IoError>(!failure, path_.string(),
                                   ": can't make the folder: ", failure.message());
    qlora::AtomicFile probe(path_ / "qlora.json");
  }
  OutputFolder(const OutputFolder&) = delete;
  OutputFolder& operator=(const OutputFolder&) = delete;
  ~OutputFolder() {
    std::error_code not_empty;
    if (made_) fs::remove(path_, not_empty);
  }

 private:
  fs::path path_;
  bool made_ = false;
};

void draw_loss(const fs::path& output) {
  const std::string script =
      "set terminal pngcairo size 900,500; set output 'loss.png'; set "
      "key off; "
      "set xlabel 'step'; set ylabel 'loss'; set grid; set title 'training loss'; "
      "plot 'metrics.csv' using 1:2 skip 1 with linespoints pointtype 7 pointsize 0.4";
  program::draw(output, "loss.png", script);
}

// The loss on the CPU, or on a device, whose gradients are added to the parameters' own.
qlora::LossFunction loss_on(const std::string& device, qlora::Llama<>& model) {
  if (device == "cpu") return qlora::loss_of(model);
  const auto there = std::make_shared<program::CudaLlama>(qlora::describe_llama(model));
  return [there, parameters = model.parameters()](const qlora::Batch& batch,
                                                  const qlora::LossOptions& options) {
    std::size_t next = 0;
    const double sum = there->loss(qlora::adapter_values(parameters),
                                   qlora::device_batch(batch.ids, batch.targets, batch.layout),
                                   {.scale = options.scale,
                                    .backward = options.backward,
                                    .training = options.dropout.training,
                                    .key = options.dropout.key},
                                   [&](const float* gradient, qlora::Index) {
                                     auto& grad = parameters[next++]->grad;
                                     grad += Eigen::Map<const qlora::RowMatrix<float>>(
                                         gradient, grad.rows(), grad.cols());
                                   });
    return qlora::CrossEntropy{sum, batch.counted};
  };
}

void finetune(const Settings& settings) {
  if (settings.device == "cuda") {
    program::CudaLlama::require_device();
    qlora::require<qlora::FormatError>(!settings.train.gradient_checkpoint,
                                       "--grad-checkpoint: only on the CPU");
  }
  const auto source = program::open_model(settings.model);
  program::require_context(*source, settings.seq_len);
  const qlora::TokenizerData tokenizer_data = source->tokenizer();
  const qlora::Tokenizer tokenizer(tokenizer_data);
  const auto chat = settings.chat.find(tokenizer_data, tokenizer);
  const auto load = [&](const std::string& path, qlora::TrainOn train_on) {
    auto data =
        qlora::load_dataset(path, tokenizer, chat ? &*chat : nullptr, settings.seq_len, train_on);
    std::cout << path << ": " << data.examples.size() << " examples, " << data.truncated
              << " cut at " << settings.seq_len << " tokens, " << data.dropped << " dropped\n";
    return data;
  };
  const qlora::Dataset data = load(settings.data, settings.train_on);
  const qlora::Dataset held_out = settings.eval_data.empty()
                                      ? qlora::Dataset{}
                                      : load(settings.eval_data, qlora::TrainOn::answers);
  const fs::path output(settings.output);
  const OutputFolder folder(output);

  const std::string checksum = program::checksum(*source);
  qlora::Llama<> model = program::load_model(*source, settings.format, settings.block_size);
  model.adapt({.rank = settings.rank,
               .alpha = static_cast<float>(settings.alpha),
               .dropout = settings.dropout,
               .seed = qlora::derive_key(settings.train.seed, 3)},
              qlora::target_modules(settings.targets));
  model.set_compute(qlora::compute_from_name(settings.compute));
  const auto parameters = model.parameters();
  std::cout << "trainable parameters " << qlora::parameter_count(parameters) << "\n";
  if (!held_out.examples.empty())
    std::cout << "held-out loss before " << qlora::mean_loss(model, held_out.examples) << "\n";

  qlora::TrainOptions options = settings.train;
  options.schedule = qlora::schedule_from_name(settings.schedule);
  qlora::Trainer<> trainer(parameters, loss_on(settings.device, model), data.examples, options,
                           qlora::make_optimizer(settings.optimizer_settings()));
  qlora::MetricsFile metrics(output / "metrics.csv");
  const program::ProgressBar bar(trainer.total_steps());
  const auto save = [&] {
    qlora::write_adapter(output, settings.adapter(), parameters);
    qlora::write_text_file(output / "qlora.json", settings.json(checksum).dump(2) + "\n");
  };
  try {
    trainer.run([&](const qlora::StepMetrics& m) {
      metrics.append(m);
      char text[120];
      std::snprintf(text, sizeof(text), "step %td/%td  loss %.4f  %.0f tokens/s", m.step,
                    trainer.total_steps(), m.loss, m.tokens_per_second);
      bar.show(m.step, text);
      return true;
    });
  } catch (const qlora::Cancelled&) {
    throw;
  } catch (const qlora::Error& failure) {
    if (trainer.good_steps() == 0) throw;
    save();
    throw qlora::Error(qlora::message(failure.what(), "; ", settings.output,
                                      " holds the adapter after step ", trainer.good_steps()));
  }
  if (!settings.paged.empty()) {
    const qlora::PagerCounters counters = trainer.optimizer().counters();
    std::cout << "paged optimizer state: " << (trainer.optimizer().state_bytes() >> 20) << " MiB, "
              << (counters.bytes_in >> 20) << " MiB brought in, " << counters.prefetched
              << " extents ahead of their use and " << counters.faults << " not\n";
  }
  save();
  draw_loss(output);
  if (!held_out.examples.empty())
    std::cout << "held-out loss after " << qlora::mean_loss(model, held_out.examples) << "\n";
  std::cout << "adapter written to " << settings.output << "\n";
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Fine-tune a Llama model in 4 bits with LoRA adapters (QLoRA)", "finetune");
  Settings settings;
  settings.add_to(app);
  return program::run(app, argc, argv, [&] { finetune(settings); });
}
