/// Declares the library's main types, for headers of your own that only name them. A declaration
/// such as `namespace qlora { class Tokenizer; }` would make another type of that name, because the
/// library's own stand in an inline namespace (QLORA_ABI in core/config.hpp).
///
///     #include <qlora/fwd.hpp>
///     void answer(const qlora::Llama<float>& model, const qlora::Tokenizer& tokenizer);
///
/// Templates have no default arguments here: write `Llama<float>`, not `Llama<>`.
#pragma once

#include "qlora/core/config.hpp"
#include "qlora/core/scalar.hpp"

namespace qlora::inline QLORA_ABI {

// quant/
template <class Code, int BlockSizeV, class ScalePolicy, class NormalizationPolicy>
struct BlockFormat;
template <class F>
class QuantizedMatrix;
template <class F>
class QuantizedView;
class AnyView;

// nn/
template <Scalar T>
struct Parameter;
template <Scalar T>
class AnyLinear;
template <Scalar T>
class DenseLinear;
template <class Base, Scalar T>
class LoraLinear;
struct LoraOptions;

// memory/
class HeapPager;
inline namespace QLORA_ABI_RING {
class FilePager;
}

// optim/
template <class Rule, class State, class Memory>
class Optimizer;
template <Scalar T>
class AnyOptimizer;

// text/
class Tokenizer;
class ChatTemplate;
struct Dataset;

// model/
struct LlamaConfig;
template <Scalar T>
class Llama;
class ModelSource;

// train/
struct Batch;
struct TrainOptions;
template <Scalar T>
class Trainer;

}  // namespace qlora::inline QLORA_ABI
