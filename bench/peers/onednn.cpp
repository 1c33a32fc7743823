// The products of bench/linalg/products.cpp by oneDNN, plain row-major operands, float32 and
// bfloat16. Prints JSON: {"name": Gflop/s}, names as this library's benchmarks have them.
//
//   g++ -O3 -std=c++20 bench/peers/onednn.cpp -ldnnl -o build/bench/onednn
#include <chrono>
#include <cstdio>
#include <dnnl.hpp>
#include <string>
#include <unordered_map>
#include <utility>

namespace {

using dnnl::memory;

const char* separator = "";

// x [tokens, depth] times a weight stored [out, in], transposed (y) or not (dx).
void measure(const dnnl::engine& engine, dnnl::stream& stream, memory::dim rows, memory::dim cols,
             memory::dim tokens, bool transposed, memory::data_type type, const char* suffix) {
  const memory::dim depth = transposed ? cols : rows, width = transposed ? rows : cols;
  const memory::desc x({tokens, depth}, type, memory::format_tag::ab);
  const memory::desc w({depth, width}, type,
                       transposed ? memory::format_tag::ba : memory::format_tag::ab);
  const memory::desc y({tokens, width}, memory::data_type::f32, memory::format_tag::ab);
  double best = 0;
  try {
#if DNNL_VERSION_MAJOR >= 3
    const dnnl::matmul::primitive_desc description(engine, x, w, y);
#else
    const dnnl::matmul::primitive_desc description({x, w, y}, engine);
#endif
    const dnnl::matmul product(description);
    std::unordered_map<int, memory> arguments{{DNNL_ARG_SRC, memory(x, engine)},
                                              {DNNL_ARG_WEIGHTS, memory(w, engine)},
                                              {DNNL_ARG_DST, memory(y, engine)}};
    const auto run = [&] {
      product.execute(stream, arguments);
      stream.wait();
    };
    run();
    double spent = 0;
    while (spent < 0.25) {
      const auto start = std::chrono::steady_clock::now();
      run();
      const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
      const double rate = 2e-9 * static_cast<double>(rows * cols * tokens) / seconds.count();
      if (rate > best) best = rate;
      spent += seconds.count();
    }
  } catch (const dnnl::error&) {
    return;  // this processor has no such product
  }
  std::printf("%s\"%ldx%ld/%ld/%s/oneDNN%s\": %.4f", separator, static_cast<long>(rows),
              static_cast<long>(cols), static_cast<long>(tokens), transposed ? "y" : "dx", suffix,
              best);
  separator = ", ";
}

}  // namespace

int main() {
  const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  dnnl::stream stream(engine);
  std::printf("{");
  for (const auto& [rows, cols] : {std::pair<long, long>{1536, 576}, {4096, 4096}})
    for (const long tokens : {1, 4, 16, 64, 256})
      for (const bool transposed : {true, false}) {
        measure(engine, stream, rows, cols, tokens, transposed, memory::data_type::f32, "");
        measure(engine, stream, rows, cols, tokens, transposed, memory::data_type::bf16, "-bf16");
      }
  std::printf("}\n");
}
