// What the examples for a device take for granted: things that a reader has. Compiled, never linked.
#pragma once

#include <vector>

#include "qlora/cuda/cuda_runtime.hpp"
#include "qlora/cuda/device_matrix.hpp"
#include "qlora/cuda/device_optimizer.hpp"
#include "qlora/model/llama.hpp"
#include "qlora/optim/adam.hpp"
#include "qlora/quant/named_formats.hpp"

namespace world {

using namespace qlora;
using namespace qlora::cuda;

// Memory of whatever type an example wants.
struct Memory {
  template <class T>
  operator T*() const;
};

// What an example copies from and to.
struct OnTheHost {
  QuantizedView<formats::nf4_dq> view() const;
  float* data();
};

struct AnyKernel {
  static constexpr int threads = 32;
  static constexpr const char* name = "any";
  qlora::cuda::LowRank low_rank;
  Index blocks() const { return 1; }
  template <class Context>
  QLORA_DEVICE void operator()(Context&) const {}
};

using Runtime = CudaRuntime;
using formats_of_world = formats::nf4_dq;

extern BatchLayout layout;
extern LoraLinear<AnyLinear<float>> layer;
extern Memory a;
extern Memory b;
extern Memory codes;
extern Memory dx;
extern Memory dy;
extern Memory g;
extern Memory inner;
extern Memory low;
extern Memory out;
extern Memory p;
extern Memory references;
extern Memory scale_codes;
extern Memory x;
extern Memory y;
extern Index blocks_of_weights;
extern Index cols;
extern Index count;
extern Index in;
extern Index rank;
extern Index rows;
extern Index t;
extern Index tokens;
extern AdamWOptions options;
extern AnyKernel kernel;
extern Device<CudaRuntime> device;
extern FloatState state;
extern Llama<float> model;
extern float mean;
extern float s;
extern float scale;
extern std::uint64_t key;
extern std::vector<Token> ids;
extern std::vector<Token> targets;
extern OnTheHost host;
extern QuantizedView<formats::nf4_dq> w;
extern const float* weights;
extern std::vector<DeviceParameter> parameters;

}  // namespace world

using world::formats_of_world;
using world::Runtime;
