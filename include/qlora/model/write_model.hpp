/// Writes quantized and copied tensors to a safetensors file, to a folder that is a whole model, or
/// to a GGUF file. All tensors are planned first, and then written in the same order.
///
///     const qlora::ModelFile input("SmolLM2-135M-Instruct.Q4_1.gguf");
///     qlora::SafetensorsModelWriter output(input, "smollm2-nf4", {.whole_model = true});
///     for (const auto& tensor : input.tensors()) output.plan_copy(tensor);
///     output.open();
///     for (const auto& tensor : input.tensors()) output.copy(tensor);
///     output.commit(nullptr);     // without it nothing is left
///
/// plan_packed<F> and write_packed<F> do the same for a weight that is quantized to a format F. The
/// output appears whole or not at all. One thread uses a writer at a time.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/io/atomic_folder.hpp"
#include "qlora/io/bitsandbytes.hpp"
#include "qlora/io/gguf_blocks.hpp"
#include "qlora/io/gguf_writer.hpp"
#include "qlora/io/packed_file.hpp"
#include "qlora/io/safetensors_writer.hpp"
#include "qlora/io/warn.hpp"
#include "qlora/model/llama_metadata.hpp"
#include "qlora/model/llama_names.hpp"
#include "qlora/model/llama_weights.hpp"
#include "qlora/model/model_tensors.hpp"
#include "qlora/text/tokenizer_json.hpp"

namespace qlora::inline QLORA_ABI {

/// The element type that copied tensors get in the output.
enum class CopiedType : std::uint8_t { as_it_is, float32, float16, bfloat16 };

/// The name of a type in safetensors; "F32" for as_it_is.
inline const char* safetensors_name(CopiedType dtype) {
  return dtype == CopiedType::float16 ? "F16" : dtype == CopiedType::bfloat16 ? "BF16" : "F32";
}
/// torch's name of a type that safetensors calls F16, BF16 or F32.
inline std::string torch_name(const std::string& dtype) {
  return dtype == "F16" ? "float16" : dtype == "BF16" ? "bfloat16" : "float32";
}

namespace model_detail {

/// The bytes of floats that are rounded to F32, F16 or BF16.
inline std::vector<std::byte> bytes_as(const RowMatrixXf& values, const std::string& dtype) {
  std::vector<std::byte> bytes(static_cast<std::size_t>(values.size()) * (dtype == "F32" ? 4 : 2));
  for (Index i = 0; i < values.size(); ++i) {
    const float value = values.data()[i];
    if (dtype == "F32") {
      std::memcpy(bytes.data() + 4 * i, &value, 4);
    } else {
      const std::uint16_t bits = dtype == "F16" ? float16(value).bits : bfloat16(value).bits;
      std::memcpy(bytes.data() + 2 * i, &bits, 2);
    }
  }
  return bytes;
}

/// The type that a copied tensor has in the output. Plain floats keep theirs, unless another one is
/// wanted. Packed blocks are decoded, to F32 unless another type is wanted. What can't be decoded
/// to floats keeps its type.
inline std::string copied_dtype(const ModelTensor& tensor, CopiedType wanted) {
  const bool plain = tensor.dtype == "F32" || tensor.dtype == "F16" || tensor.dtype == "BF16";
  if (!tensor.is_float()) return tensor.dtype;
  if (wanted != CopiedType::as_it_is) return safetensors_name(wanted);
  return plain ? tensor.dtype : "F32";
}

/// The width of the heads of a Llama, which the order of rows in GGUF depends on; 0 for another
/// model.
inline Index head_width_of(const ModelFile& input) {
  if (input.gguf && input.gguf->file().find<std::string>("general.architecture") == "llama")
    return input.gguf->config().head_width();
  return input.folder ? input.folder->config().head_width() : 0;
}

/// A model goes from one kind of file to another only as a whole. Throws a FormatError that names a
/// key or a tensor which the model needs and the other kind of file has no place for.
inline void require_known_llama(const ModelSource& source, const Warn& warn) {
  (void)require_llama_weights(source, warn);
  const LlamaConfig config = source.config();
  const std::string_view beyond = beyond_plain_llama(config);
  require<FormatError>(beyond.empty() && find_family(config.family).interleaves_rows, source.name(),
                       ": a model of the family ", config.family, beyond.empty() ? "" : " with ",
                       beyond, " can't go to the other kind of file yet");
  require<FormatError>(config.rotary.divisors.empty(), source.name(), ": the tensor '",
                       rotary_divisors_name, "' has no place in the other kind of file");
  require<FormatError>(config.rotary.scaling == RotaryScaling::none && config.own_head_width == 0,
                       source.name(),
                       ": a scaled rotary embedding or a head width of its own can't ",
                       "go to the other kind of file yet");
}

inline void pass_on(const TokenizerData& tokenizer, const Warn& warn) {
  for (const std::string& text : tokenizer.warnings)
    if (warn) warn(text);
}

/// Throws FormatError for a folder whose linear layers transformers does not keep as one matrix
/// [out, in] per layer. Warns where the architecture is not known here.
inline void require_linear_layers(const FolderSource& folder, const Warn& warn) {
  static const std::map<std::string, std::string> others{
      {"gpt2", "Conv1D, stored as [in, out]"},
      {"openai-gpt", "Conv1D, stored as [in, out]"},
      {"imagegpt", "Conv1D, stored as [in, out]"},
      {"decision_transformer", "Conv1D, stored as [in, out]"},
      {"ctrl", "Conv1D, stored as [in, out]"},
      {"falcon", "a class of its own"},
      {"mixtral", "experts in one tensor"},
      {"qwen2_moe", "experts in one tensor"},
      {"qwen3_moe", "experts in one tensor"},
      {"olmoe", "experts in one tensor"},
      {"gpt_oss", "experts in one tensor"},
      {"deepseek_v2", "experts in one tensor"},
      {"deepseek_v3", "experts in one tensor"}};
  static const std::set<std::string> plain{
      "llama", "mistral", "qwen2",       "qwen3",   "phi",         "phi3",
      "gemma", "gemma2",  "gemma3_text", "smollm3", "opt",         "gpt_neox",
      "gptj",  "gpt_neo", "bloom",       "mpt",     "stablelm",    "starcoder2",
      "olmo",  "olmo2",   "granite",     "cohere",  "gpt_bigcode", "codegen"};
  const std::string where = folder.name() + "/config.json";
  JsonKeys keys(where, folder.config_json());
  const std::string type = keys.text("model_type", "");
  const auto other = others.find(type);
  require<FormatError>(other == others.end(), keys.where("model_type"), ": ", type,
                       " is not supported: its linear layers are ",
                       other == others.end() ? "" : other->second);
  if (plain.count(type) == 0 && warn)
    warn(where + ": model_type: " + (type.empty() ? "none" : type) +
         " is not known; the matrices of its numbered layers are taken for those of "
         "linear layers");
}

}  // namespace model_detail

/// How a model is written.
struct WriteModelOptions {
  bool whole_model = false;  ///< safetensors: whether to write a folder that transformers loads
  bool packs = false;        ///< whether weights are quantized, and not only copied
  CopiedType copied = CopiedType::as_it_is;  ///< the type that copied floats get
  Existing existing = Existing::refuse;      ///< what to do with a folder that holds something
  Warn warn = {};                            ///< is told what is doubtful in the input
};

/// Whether transformers loads a format by bitsandbytes: nf4, fp4, and those with double
/// quantization.
inline bool is_bitsandbytes_format(std::string_view format) {
  return format == "nf4" || format == "fp4" || format == "nf4-dq" || format == "fp4-dq";
}

/// The quantization_config of config.json for weights that are packed in `format`. It has the words
/// of transformers for the formats of bitsandbytes. skipped: the modules whose matrices are not
/// packed. Safe to call from several threads.
inline nlohmann::json quantization_config(const std::string& format, Index block_size,
                                          CopiedType copied,
                                          const std::vector<std::string>& skipped) {
  if (is_bitsandbytes_format(format))
    return {{"quant_method", "bitsandbytes"},
            {"load_in_4bit", true},
            {"load_in_8bit", false},
            {"bnb_4bit_quant_type", format.substr(0, 3)},
            {"bnb_4bit_use_double_quant", format.ends_with("-dq")},
            {"bnb_4bit_compute_dtype", torch_name(safetensors_name(copied))},
            {"bnb_4bit_quant_storage", "uint8"},
            {"llm_int8_skip_modules", skipped}};
  return {{"quant_method", "qlora"},
          {"format", format},
          {"block_size", block_size},
          {"skip_modules", skipped}};
}

/// Writes one safetensors file, by itself or within a folder that transformers loads. `input` must
/// outlive it. One thread uses an object at a time.
class SafetensorsModelWriter {
 public:
  /// With options.whole_model, throws a FormatError that names the key or tensor for an input that
  /// can't be carried over as a whole, and IoError where the folder can't be made or holds
  /// something. Without it, a file `target` is replaced.
  SafetensorsModelWriter(const ModelFile& input, const std::filesystem::path& target,
                         WriteModelOptions options)
      : input_(input),
        options_(std::move(options)),
        target_(target),
        head_width_(input.gguf ? model_detail::head_width_of(input) : 0) {
    if (options_.whole_model) {
      require<FormatError>(
          input.gguf || input.folder, target.string(),
          ": a folder is made from a GGUF file or a folder; name a .safetensors file");
      if (input.gguf) model_detail::require_known_llama(*input.gguf, options_.warn);
      if (input.folder) {
        const auto& json = input.folder->config_json();
        if (json.is_object() && json.contains("quantization_config"))
          require_readable_quantization(input.folder->name() + "/config.json",
                                        json["quantization_config"]);
        if (options_.packs) model_detail::require_linear_layers(*input.folder, options_.warn);
      }
      folder_.emplace(target, options_.existing);
      target_ = folder_->path() / "model.safetensors";
    }
  }

  /// The name that a tensor of the input gets in the output. The weights of a Llama get those of
  /// Hugging Face.
  std::string name_of(const std::string& name) const {
    return input_.gguf && head_width_ > 0 ? hugging_face_name(name).value_or(name) : name;
  }
  std::string name_of(const ModelTensor& tensor) const { return name_of(tensor.name); }

  /// Plans a weight that will be packed in format F. `format` is the name of F.
  template <class F>
  void plan_packed(const ModelTensor& tensor, const std::string& format) {
    const auto names = [&] {
      if constexpr (BitsandbytesFormat<F>) {
        return bitsandbytes_names<F>(name_of(tensor));
      } else {
        return packed_names<F>(name_of(tensor), format);
      }
    }();
    names_.insert(names_.end(), names.begin(), names.end());
  }
  /// Plans a tensor that will be copied. Throws FormatError for a type that safetensors does not
  /// have.
  void plan_copy(const ModelTensor& tensor) {
    const std::string dtype = model_detail::copied_dtype(tensor, options_.copied);
    require<FormatError>(is_safetensors_dtype(dtype), "tensor '", tensor.name,
                         "': safetensors has no type ", dtype);
    names_.push_back(name_of(tensor));
  }

  /// Begins the file. Call it after all tensors are planned, and before the members below. Throws
  /// IoError where the file can't be written.
  void open() { file_.emplace(target_, names_, SafetensorsWriter::Metadata{{"format", "pt"}}); }

  /// The temporary file or folder that holds the output from `open` to `commit`.
  std::filesystem::path temporary() const {
    return folder_ ? folder_->path() : std::filesystem::path(file_->temporary());
  }

  /// A weight decoded to floats, with its rows in the order of the output. is_float() must be true.
  RowMatrixXf weights(const ModelTensor& tensor) const {
    return rows_in_hugging_face_order(tensor.dense(), order_of(tensor));
  }

  /// Writes a planned weight, and returns how many bytes it takes. Throws FormatError for one that
  /// was not planned and IoError where the disk is full.
  template <class F>
  std::size_t write_packed(const ModelTensor& tensor, const std::string& format,
                           const QuantizedMatrix<F>& w) {
    const std::string dtype = torch_name(model_detail::copied_dtype(tensor, options_.copied));
    if constexpr (BitsandbytesFormat<F>) {
      write_bitsandbytes(*file_, name_of(tensor), w, dtype);
    } else {
      qlora::write_packed(*file_, name_of(tensor), format, w, dtype);
    }
    return static_cast<std::size_t>(w.bytes());
  }

  /// Copies a planned tensor, and returns how many bytes it takes. It is decoded where its type or
  /// the order of its rows changes. Throws as write_packed does.
  std::size_t copy(const ModelTensor& tensor) {
    const std::string dtype = model_detail::copied_dtype(tensor, options_.copied);
    copied_[dtype] += tensor.bytes.size();
    if (dtype == tensor.dtype && order_of(tensor).head_width == 0) {
      file_->add(name_of(tensor), dtype, tensor.shape, tensor.bytes);
      return tensor.bytes.size();
    }
    const auto bytes = model_detail::bytes_as(weights(tensor), dtype);
    file_->add(name_of(tensor), dtype, tensor.shape, bytes);
    return bytes.size();
  }

  /// Puts the file or folder in its place. quantization: the quantization_config for config.json,
  /// or null. Throws FormatError when a planned tensor is missing, and IoError where the output
  /// can't be written, or another file of the input's folder can't be copied.
  void commit(const nlohmann::json& quantization) {
    file_->commit();
    if (!folder_) return;
    nlohmann::json config;
    if (input_.gguf) {
      const TokenizerData tokenizer = input_.gguf->tokenizer();
      model_detail::pass_on(tokenizer, options_.warn);
      config = config_json(input_.gguf->config(), tokenizer, input_.gguf->ties_embeddings(),
                           torch_name(main_dtype()));
      write_tokenizer_folder(folder_->path(), tokenizer);
    } else {
      config = input_.folder->config_json();
      copy_other_files(input_.folder->name());
    }
    if (!input_.gguf && options_.copied != CopiedType::as_it_is)
      config[config.contains("dtype") ? "dtype" : "torch_dtype"] = torch_name(main_dtype());
    config.erase("quantization_config");
    if (!quantization.is_null()) config["quantization_config"] = quantization;
    write_text_file(folder_->path() / "config.json", config.dump(2) + "\n");
    folder_->commit();
  }

 private:
  // How rows move from a GGUF file's order to Hugging Face's.
  RowOrder order_of(const ModelTensor& tensor) const {
    return input_.gguf ? row_order(tensor.name, head_width_) : RowOrder{};
  }
  // The type of most of what was copied.
  std::string main_dtype() const {
    const auto most = std::max_element(
        copied_.begin(), copied_.end(),
        [](const auto& one, const auto& other) { return one.second < other.second; });
    return most == copied_.end() ? safetensors_name(options_.copied) : most->first;
  }
  // Everything that holds no weights: tokenizer, templates, license.
  void copy_other_files(const std::filesystem::path& from) const {
    for (const auto& entry : std::filesystem::directory_iterator(from)) {
      const std::string name = entry.path().filename().string();
      const std::string kind = entry.path().extension().string();
      const bool weights = kind == ".safetensors" || kind == ".bin" || kind == ".pt" ||
                           kind == ".pth" || kind == ".gguf" || kind == ".h5" ||
                           kind == ".msgpack" || kind == ".onnx";
      if (!entry.is_regular_file() || weights || name == "config.json" ||
          name == "adapter_config.json" || name.ends_with(".index.json"))
        continue;
      std::error_code failure;
      std::filesystem::copy_file(entry.path(), folder_->path() / name, failure);
      require<IoError>(!failure, entry.path().string(), ": can't be copied to ",
                       folder_->path().string(), ": ", failure.message());
    }
  }

  const ModelFile& input_;
  WriteModelOptions options_;
  std::filesystem::path target_;
  Index head_width_;
  std::vector<std::string> names_;
  std::map<std::string, std::size_t> copied_;  // bytes by their type in the output
  std::optional<AtomicFolder> folder_;
  std::optional<SafetensorsWriter> file_;
};

/// Writes a GGUF file. The tensors of a folder get GGUF's names and order of rows. Those of a
/// single safetensors file keep names and order, because no configuration says what they are, and
/// the output gets no keys. Integers and doubles are left out, except those of a GGUF file.
/// `input` must outlive the writer. One thread uses a writer at a time.
class GgufModelWriter {
 public:
  /// Takes over the keys of a GGUF file, or makes those of a folder's model. Throws a FormatError
  /// that names the key or tensor for a folder that can't be carried over as a whole.
  GgufModelWriter(const ModelFile& input, const std::filesystem::path& target,
                  WriteModelOptions options)
      : input_(input),
        options_(std::move(options)),
        target_(target),
        head_width_(input.folder ? model_detail::head_width_of(input) : 0) {
    if (input.gguf) {
      for (const auto& [key, value] : input.gguf->file().raw_values()) file_.set_raw(key, value);
    } else if (input.folder) {
      model_detail::require_known_llama(*input.folder, options_.warn);
      const TokenizerData tokenizer = input.folder->tokenizer();
      model_detail::pass_on(tokenizer, options_.warn);
      set_llama_keys(file_, input.folder->config(), tokenizer);
    }
  }

  /// Plans a weight that will be packed in format F, which GGUF has. Throws FormatError for rows
  /// that are not whole blocks.
  template <class F>
  void plan_packed(const ModelTensor& tensor, const std::string&) {
    file_.declare(name_of(tensor), tensor.shape, GgufTypeOf<F>::id);
    planned_[GgufTypeOf<F>::id] += tensor.size;
  }
  /// Plans a tensor that will be copied. Throws FormatError for a type that GGUF does not have, and
  /// for rows that are not whole blocks of it.
  void plan_copy(const ModelTensor& tensor) {
    if (leaves_out(tensor)) {
      if (options_.warn && input_.file)
        options_.warn("tensor '" + tensor.name + "': " + tensor.dtype + " data is left out");
      return;
    }
    require<FormatError>(input_.gguf || tensor.is_float(), "tensor '", tensor.name,
                         "': expected one or two dimensions, found ", tensor.shape.size());
    file_.declare(name_of(tensor), tensor.shape, type_of(tensor));
  }

  /// Begins the file. Call it after all tensors are planned, and before the members below. Throws
  /// IoError where the file can't be written.
  void open() {
    // What llama.cpp calls a file whose tensors are mostly of a type.
    using Id = GgufTypeId;
    static const std::map<Id, std::uint32_t> kinds{
        {Id::q4_0, 2},    {Id::q4_1, 3},    {Id::q8_0, 7},  {Id::q5_0, 8},  {Id::q5_1, 9},
        {Id::q2_k, 10},   {Id::q3_k, 11},   {Id::q4_k, 14}, {Id::q5_k, 16}, {Id::q6_k, 18},
        {Id::iq4_nl, 25}, {Id::iq4_xs, 30}, {Id::mxfp4, 38}};
    const auto most = std::max_element(
        planned_.begin(), planned_.end(),
        [](const auto& one, const auto& other) { return one.second < other.second; });
    if (most != planned_.end() && kinds.contains(most->first))
      file_.set("general.file_type", kinds.at(most->first));
    file_.open(target_);
  }

  /// The temporary file that holds the output from `open` to `commit`.
  std::filesystem::path temporary() const { return file_.temporary(); }

  /// A weight decoded to floats, with its rows in the order of the output. is_float() must be true.
  RowMatrixXf weights(const ModelTensor& tensor) const {
    return rows_in_gguf_order(tensor.dense(), order_of(tensor));
  }

  /// Writes the next planned weight, and returns how many bytes it takes. Throws FormatError for
  /// another size than planned and before `open`, and IoError where the disk is full.
  template <class F>
  std::size_t write_packed(const ModelTensor&, const std::string&, const QuantizedMatrix<F>& w) {
    const auto bytes = to_gguf_blocks(w);
    file_.write(bytes);
    return bytes.size();
  }

  /// Copies the next planned tensor, and returns how many bytes it takes. It is decoded where its
  /// type or the order of its rows changes. Throws as write_packed does.
  std::size_t copy(const ModelTensor& tensor) {
    if (leaves_out(tensor)) return 0;
    const std::string dtype = dtype_of(tensor);
    if (dtype == tensor.dtype && order_of(tensor).head_width == 0) {
      file_.write(tensor.bytes);
      return tensor.bytes.size();
    }
    const auto bytes = model_detail::bytes_as(weights(tensor), dtype);
    file_.write(bytes);
    return bytes.size();
  }

  /// Puts the file in its place. Throws FormatError when a planned tensor is missing, and IoError
  /// where the file can't be written. The argument serves writers that have a config.json.
  void commit(const nlohmann::json&) { file_.commit(); }

 private:
  std::string name_of(const ModelTensor& tensor) const {
    if (!input_.folder) return tensor.name;
    const std::string name = input_.folder->full_name(tensor.name);
    return gguf_name(name).value_or(name);
  }
  // Integers and doubles, which no part of a model reads.
  bool leaves_out(const ModelTensor& tensor) const {
    return !input_.gguf && !tensor.is_float() && tensor.dtype != "F32" && tensor.dtype != "F16" &&
           tensor.dtype != "BF16";
  }
  // How rows move from a folder's order to GGUF's.
  RowOrder order_of(const ModelTensor& tensor) const {
    return input_.folder ? row_order(tensor.name, head_width_) : RowOrder{};
  }
  // GGUF's vectors are float32. Types that come from a GGUF file stay as they are.
  std::string dtype_of(const ModelTensor& tensor) const {
    if (input_.gguf && options_.copied == CopiedType::as_it_is) return tensor.dtype;
    if (tensor.shape.size() < 2) return "F32";
    return model_detail::copied_dtype(tensor, options_.copied);
  }
  GgufTypeId type_of(const ModelTensor& tensor) const {
    const std::string dtype = dtype_of(tensor);
    if (const auto type = find_gguf_layout(dtype)) return type->id;
    throw FormatError(message("tensor '", tensor.name, "': GGUF has no type ", dtype));
  }

  const ModelFile& input_;
  WriteModelOptions options_;
  std::filesystem::path target_;
  Index head_width_;
  std::map<GgufTypeId, std::size_t> planned_;  // of the input's bytes, what is packed by type
  GgufWriter file_;
};

}  // namespace qlora::inline QLORA_ABI
