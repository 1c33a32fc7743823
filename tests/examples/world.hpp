// What the examples in headers take for granted: things that a reader has. Compiled, never linked.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <ratio>
#include <span>
#include <string>
#include <vector>

#include "qlora/eval/questions.hpp"
#include "qlora/io/packed_file.hpp"
#include "qlora/linalg/blocked.hpp"
#include "qlora/qlora.hpp"
#include "qlora/tournament/relative_scores.hpp"
#include "qlora/train.hpp"

namespace world {

using namespace qlora;

// Whatever a reader does with something.
template <class... Things>
void print(const Things&...);
template <class... Things>
void use(Things&&...);
template <class... Things>
void work(Things&&...);

// Sizes, places, keys.
extern Index cols;
extern Index n;
extern Index row;
extern Index rows;
extern Index step;
extern Token end;
extern std::size_t systems;
extern std::uint64_t i;
extern std::uint64_t key;
extern float counted;
extern float s;

// Matrices: weights, activations, gradients.
extern RowMatrixXf a;
extern RowMatrixXf b;
extern RowMatrixXf dense;
extern RowMatrixXf dhidden;
extern RowMatrixXf dq;
extern RowMatrixXf dx;
extern RowMatrixXf dy;
extern RowMatrixXf grad;
extern RowMatrixXf grad_out;
extern RowMatrixXf head;
extern RowMatrixXf hidden;
extern RowMatrixXf k;
extern RowMatrixXf log_sums;
extern RowMatrixXf low;
extern RowMatrixXf out;
extern RowMatrixXf q;
extern RowMatrixXf x;
extern RowMatrixXf y;
extern Eigen::VectorXf numbers;
extern Eigen::VectorXf v;
extern ColumnVector<float> weight;
extern QuantizedMatrix<formats::nf4_dq> w;
extern std::uint8_t* codes;

// Tokens and texts.
extern nlohmann::ordered_json messages_json;
extern nlohmann::ordered_json tools_json;
extern std::string text;
extern std::filesystem::path directory;
extern std::filesystem::path path;
extern std::vector<Index> positions;
extern std::vector<SequenceSpan> sequences;
extern std::vector<Token> ids;
extern std::vector<Token> prompt;
extern std::vector<Token> targets;
extern std::vector<double> ratings;
extern std::vector<double> scores;
extern std::vector<int> judge_a;
extern std::vector<int> judge_b;
extern BatchLayout layout;

// Files, models and what goes with them.
extern AdapterConfig settings;
extern ChatTemplate chat;
extern ChoiceQuestion question;
extern Dataset data;
extern FilePager pager;
extern GgufFile gguf;
extern GgufWriter gguf_writer;
extern Llama<> model;
extern LlamaConfig config;
extern ParameterList<float> parameters;
extern ReadingNotes notes;
extern SafetensorsWriter file;
extern Tokenizer tokenizer;
extern TokenizerData tokenizer_data;
extern Tournament tournament;
extern const Checkpoint checkpoint;
extern std::span<const std::byte> bytes;
extern std::span<const std::byte> packed;
extern std::span<const float> others;
extern std::span<const float> values;
extern std::unique_ptr<ModelSource> source;
extern std::vector<Match> matches;

}  // namespace world
