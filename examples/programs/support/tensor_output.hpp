// Where quantized and copied tensors go: a safetensors file, a folder that is a whole model, or a
// GGUF file. Each is planned first and then written tensor by tensor.
#pragma once

#include <cstring>
#include <filesystem>
#include <iostream>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "qlora/io/atomic_folder.hpp"
#include "qlora/io/bitsandbytes.hpp"
#include "qlora/io/gguf_blocks.hpp"
#include "qlora/io/gguf_writer.hpp"
#include "qlora/io/packed_file.hpp"
#include "qlora/io/safetensors_writer.hpp"
#include "qlora/model/llama_names.hpp"
#include "qlora/model/llama_weights.hpp"
#include "qlora/model/model_files.hpp"
#include "qlora/text/tokenizer_json.hpp"
#include "support/model.hpp"
#include "support/tensor_input.hpp"

namespace program {

// The element types that tensors may be copied to.
enum class Dtype { as_it_is, float32, float16, bfloat16 };

inline const char* safetensors_name(Dtype dtype) {
  return dtype == Dtype::float16 ? "F16" : dtype == Dtype::bfloat16 ? "BF16" : "F32";
}
// As torch calls it.
inline std::string torch_name(const std::string& dtype) {
  return dtype == "F16" ? "float16" : dtype == "BF16" ? "bfloat16" : "float32";
}

// Floats as bytes of a type.
inline std::vector<std::byte> bytes_as(const qlora::RowMatrixXf& values, const std::string& dtype) {
  std::vector<std::byte> bytes(static_cast<std::size_t>(values.size()) * (dtype == "F32" ? 4 : 2));
  for (Index i = 0; i < values.size(); ++i) {
    const float value = values.data()[i];
    if (dtype == "F32") {
      std::memcpy(bytes.data() + 4 * i, &value, 4);
    } else {
      const std::uint16_t bits =
          dtype == "F16" ? qlora::float16(value).bits : qlora::bfloat16(value).bits;
      std::memcpy(bytes.data() + 2 * i, &bits, 2);
    }
  }
  return bytes;
}

// The type that a copied tensor has in the output: its own where floats stay what they are, float32
// for GGUF's packed blocks and packed weights.
inline std::string copied_dtype(const TensorInput& tensor, Dtype wanted) {
  const bool plain = tensor.dtype == "F32" || tensor.dtype == "F16" || tensor.dtype == "BF16";
  if (!tensor.is_float()) return tensor.dtype;
  if (wanted != Dtype::as_it_is) return safetensors_name(wanted);
  return plain ? tensor.dtype : "F32";
}

// The number of heads' rows to turn for tensors of a GGUF file that is a Llama.
inline Index head_width_of(const ModelInput& input) {
  if (input.gguf && input.gguf->file().find<std::string>("general.architecture") == "llama")
    return input.gguf->config().head_width();
  return input.folder ? input.folder->config().head_width() : 0;
}

// A model goes from one kind of file to another only whole: every key and tensor that changes the
// numbers has its place in both. Throws FormatError that names one which has not.
inline void require_known_llama(const qlora::ModelSource& source) {
  (void)qlora::require_llama_weights(source, print_warning);
}

// Refuses folders whose linear layers transformers keeps in another way than a matrix [out, in] a
// layer; says so where the architecture is not known here.
inline void require_linear_layers(const qlora::FolderSource& folder) {
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
  qlora::JsonKeys keys(where, folder.config_json());
  const std::string type = keys.text("model_type", "");
  const auto other = others.find(type);
  qlora::require<qlora::FormatError>(other == others.end(), keys.where("model_type"), ": ", type,
                                     " is not supported: its linear layers are ",
                                     other == others.end() ? "" : other->second);
  if (plain.count(type) == 0)
    print_warning(where + ": model_type: " + (type.empty() ? "none" : type) +
                  " is not known; the matrices of its numbered layers are taken for those of "
                  "linear layers");
}

// One safetensors file; with a folder around it that transformers loads, or by itself.
class SafetensorsOutput {
 public:
  // packs: whether weights are quantized, not only copied.
  SafetensorsOutput(const ModelInput& input, const std::filesystem::path& target, bool whole_model,
                    bool packs, Dtype dtype)
      : input_(input),
        dtype_(dtype),
        target_(target),
        head_width_(input.gguf ? head_width_of(input) : 0) {
    if (whole_model) {
      qlora::require<qlora::FormatError>(
          input.gguf || input.folder, target.string(),
          ": a folder is made from a GGUF file or a folder; name a .safetensors file");
      if (input.gguf) require_known_llama(*input.gguf);
      if (input.folder) {
        const auto& json = input.folder->config_json();
        if (json.is_object() && json.contains("quantization_config"))
          qlora::require_readable_quantization(input.folder->name() + "/config.json",
                                               json["quantization_config"]);
        if (packs) require_linear_layers(*input.folder);
      }
      folder_.emplace(target);
      target_ = folder_->path() / "model.safetensors";
    }
  }

  // The name that a tensor gets: Hugging Face's for those of a Llama.
  std::string name_of(const std::string& name) const {
    return input_.gguf && head_width_ > 0 ? qlora::hugging_face_name(name).value_or(name) : name;
  }
  std::string name_of(const TensorInput& tensor) const { return name_of(tensor.name); }

  template <class F>
  void plan_packed(const TensorInput& tensor, const std::string& format) {
    const auto names = [&] {
      if constexpr (qlora::BitsandbytesFormat<F>) {
        return qlora::bitsandbytes_names<F>(name_of(tensor));
      } else {
        return qlora::packed_names<F>(name_of(tensor), format);
      }
    }();
    names_.insert(names_.end(), names.begin(), names.end());
  }
  void plan_copy(const TensorInput& tensor) {
    const std::string dtype = copied_dtype(tensor, dtype_);
    qlora::require<qlora::FormatError>(qlora::is_safetensors_dtype(dtype), "tensor '", tensor.name,
                                       "': safetensors has no type ", dtype);
    names_.push_back(name_of(tensor));
  }

  void open() {
    file_.emplace(target_, names_, qlora::SafetensorsWriter::Metadata{{"format", "pt"}});
  }

  // A weight in the order of rows that the output has.
  qlora::RowMatrixXf weights(const TensorInput& tensor) const {
    return qlora::rows_in_hugging_face_order(tensor.dense(), order_of(tensor));
  }

  template <class F>
  std::size_t write_packed(const TensorInput& tensor, const std::string& format,
                           const qlora::QuantizedMatrix<F>& w) {
    const std::string dtype = torch_name(copied_dtype(tensor, dtype_));
    if constexpr (qlora::BitsandbytesFormat<F>) {
      qlora::write_bitsandbytes(*file_, name_of(tensor), w, dtype);
    } else {
      qlora::write_packed(*file_, name_of(tensor), format, w, dtype);
    }
    return static_cast<std::size_t>(w.bytes());
  }

  std::size_t copy(const TensorInput& tensor) {
    const std::string dtype = copied_dtype(tensor, dtype_);
    if (dtype == tensor.dtype && order_of(tensor).head_width == 0) {
      file_->add(name_of(tensor), dtype, tensor.shape, tensor.bytes);
      return tensor.bytes.size();
    }
    const auto bytes = bytes_as(weights(tensor), dtype);
    file_->add(name_of(tensor), dtype, tensor.shape, bytes);
    return bytes.size();
  }

  // quantization: what config.json says of it.
  void commit(const nlohmann::json& quantization) {
    file_->commit();
    if (!folder_) return;
    nlohmann::json config;
    if (input_.gguf) {
      const qlora::TokenizerData tokenizer = input_.gguf->tokenizer();
      for (const std::string& text : tokenizer.warnings) std::cerr << "warning: " << text << "\n";
      config = qlora::config_json(input_.gguf->config(), tokenizer, input_.gguf->ties_embeddings(),
                                  torch_name(safetensors_name(dtype_)));
      qlora::write_tokenizer_folder(folder_->path(), tokenizer);
    } else {
      config = input_.folder->config_json();
      copy_other_files(input_.folder->name());
    }
    config.erase("quantization_config");
    if (!quantization.is_null()) config["quantization_config"] = quantization;
    qlora::write_text_file(folder_->path() / "config.json", config.dump(2) + "\n");
    folder_->commit();
  }

 private:
  // How rows move from a GGUF file's order to Hugging Face's.
  qlora::RowOrder order_of(const TensorInput& tensor) const {
    return input_.gguf ? qlora::row_order(tensor.name, head_width_) : qlora::RowOrder{};
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
          name.ends_with(".index.json"))
        continue;
      std::filesystem::copy_file(entry.path(), folder_->path() / name);
    }
  }

  const ModelInput& input_;
  Dtype dtype_;
  std::filesystem::path target_;
  Index head_width_;
  std::vector<std::string> names_;
  std::optional<qlora::AtomicFolder> folder_;
  std::optional<qlora::SafetensorsWriter> file_;
};

// A GGUF file; from a folder in GGUF's names and order of rows.
class GgufOutput {
 public:
  GgufOutput(const ModelInput& input, const std::filesystem::path& target, Dtype dtype)
      : input_(input),
        dtype_(dtype),
        target_(target),
        head_width_(input.folder ? head_width_of(input) : 0) {
    if (input.gguf) {
      for (const auto& [key, value] : input.gguf->file().raw_values()) file_.set_raw(key, value);
    } else if (input.folder) {
      require_known_llama(*input.folder);
      const qlora::TokenizerData tokenizer = input.folder->tokenizer();
      for (const std::string& text : tokenizer.warnings) std::cerr << "warning: " << text << "\n";
      qlora::set_llama_keys(file_, input.folder->config(), tokenizer);
    }
  }

  template <class F>
  void plan_packed(const TensorInput& tensor, const std::string&) {
    file_.declare(name_of(tensor), tensor.shape, qlora::GgufTypeOf<F>::id);
    file_type_ = qlora::GgufTypeOf<F>::id;
  }
  void plan_copy(const TensorInput& tensor) {
    file_.declare(name_of(tensor), tensor.shape, type_of(tensor));
  }

  void open() {
    // What llama.cpp calls a file whose tensors are mostly of a type.
    using Id = qlora::GgufTypeId;
    static const std::map<Id, std::uint32_t> kinds{
        {Id::Q4_0, 2}, {Id::Q4_1, 3}, {Id::Q8_0, 7}, {Id::IQ4_NL, 25}, {Id::MXFP4, 38}};
    if (const auto kind = kinds.find(file_type_); kind != kinds.end())
      file_.set("general.file_type", kind->second);
    file_.open(target_);
  }

  qlora::RowMatrixXf weights(const TensorInput& tensor) const {
    return qlora::rows_in_gguf_order(tensor.dense(), order_of(tensor));
  }

  template <class F>
  std::size_t write_packed(const TensorInput&, const std::string&,
                           const qlora::QuantizedMatrix<F>& w) {
    const auto bytes = qlora::to_gguf_blocks(w);
    file_.write(bytes);
    return bytes.size();
  }

  std::size_t copy(const TensorInput& tensor) {
    const std::string dtype = dtype_of(tensor);
    if (dtype == tensor.dtype && order_of(tensor).head_width == 0) {
      file_.write(tensor.bytes);
      return tensor.bytes.size();
    }
    const auto bytes = bytes_as(weights(tensor), dtype);
    file_.write(bytes);
    return bytes.size();
  }

  void commit(const nlohmann::json&) { file_.commit(); }

 private:
  std::string name_of(const TensorInput& tensor) const {
    if (input_.gguf) return tensor.name;
    const std::string name = input_.folder ? input_.folder->full_name(tensor.name) : tensor.name;
    return qlora::gguf_name(name).value_or(name);
  }
  // How rows move from a folder's order to GGUF's.
  qlora::RowOrder order_of(const TensorInput& tensor) const {
    return input_.gguf ? qlora::RowOrder{} : qlora::row_order(tensor.name, head_width_);
  }
  // Vectors are float32 there; GGUF's own types stay what they are.
  std::string dtype_of(const TensorInput& tensor) const {
    if (input_.gguf && dtype_ == Dtype::as_it_is) return tensor.dtype;
    if (tensor.shape.size() < 2) return "F32";
    return copied_dtype(tensor, dtype_);
  }
  qlora::GgufTypeId type_of(const TensorInput& tensor) const {
    const std::string dtype = dtype_of(tensor);
    if (const auto type = qlora::find_gguf_layout(dtype)) return type->id;
    throw qlora::FormatError(
        qlora::message("tensor '", tensor.name, "': GGUF has no type ", dtype));
  }

  const ModelInput& input_;
  Dtype dtype_;
  std::filesystem::path target_;
  Index head_width_;
  qlora::GgufTypeId file_type_ = qlora::GgufTypeId::f32;
  qlora::GgufWriter file_;
};

}  // namespace program
