// A table for people, as CSV and as JSON.
//
//   program::Table table({{"system"}, {"rating", 1}, {"matches"}});
//   table.add({"gpt4", 1375.4, 1120});
//   table.print(std::cout);
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "qlora/io/atomic_file.hpp"

namespace program {

// What JSON can say: null for what is no number.
inline nlohmann::json number(double value) {
  return std::isfinite(value) ? nlohmann::json(value) : nlohmann::json();
}

class Table {
 public:
  struct Column {
    std::string name;
    int digits = 0;  // behind the point, where it holds numbers that are not whole
  };

  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

  void add(std::vector<nlohmann::json> cells) {
    for (auto& cell : cells)
      if (cell.is_number_float()) cell = number(cell.get<double>());
    rows_.push_back(std::move(cells));
  }
  bool empty() const { return rows_.empty(); }

  // Columns parted by blanks, text to the left and numbers to the right; "-" where nothing is
  // known.
  void print(std::ostream& out) const {
    std::vector<std::vector<std::string>> lines(1);
    for (const auto& column : columns_) lines[0].push_back(column.name);
    for (const auto& row : rows_) {
      lines.emplace_back();
      for (std::size_t c = 0; c < row.size(); ++c) {
        std::string text = text_of(row[c], c, true);
        std::replace(text.begin(), text.end(), ' ', '_');
        lines.back().push_back(text.empty() ? "-" : std::move(text));
      }
    }
    for (const auto& line : lines) {
      std::string text;
      for (std::size_t c = 0; c < line.size(); ++c) {
        const std::string gap(width_of(lines, c) - line[c].size(), ' ');
        const bool left = is_text(c);
        text.append(c > 0 ? "  " : "").append(left ? line[c] : gap).append(left ? gap : line[c]);
      }
      text.erase(text.find_last_not_of(' ') + 1);
      out << text << "\n";
    }
  }

  std::string csv() const {
    std::string text;
    for (std::size_t c = 0; c < columns_.size(); ++c)
      text.append(c > 0 ? "," : "").append(quoted(columns_[c].name));
    for (const auto& row : rows_) {
      text += "\n";
      for (std::size_t c = 0; c < row.size(); ++c)
        text.append(c > 0 ? "," : "").append(quoted(text_of(row[c], c, false)));
    }
    return text + "\n";
  }

  // One object a row.
  nlohmann::json json() const {
    nlohmann::json all = nlohmann::json::array();
    for (const auto& row : rows_) {
      nlohmann::json object = nlohmann::json::object();
      for (std::size_t c = 0; c < row.size(); ++c) object[columns_[c].name] = row[c];
      all.push_back(std::move(object));
    }
    return all;
  }

 private:
  std::string text_of(const nlohmann::json& cell, std::size_t column, bool rounded) const {
    if (cell.is_null()) return "";
    if (cell.is_string()) return cell.get<std::string>();
    if (!cell.is_number_float()) return cell.dump();
    char text[64];
    std::snprintf(text, sizeof(text), rounded ? "%.*f" : "%.*g",
                  rounded ? columns_[column].digits : 10, cell.get<double>());
    return text;
  }
  bool is_text(std::size_t column) const {
    return std::any_of(rows_.begin(), rows_.end(),
                       [&](const auto& row) { return row[column].is_string(); });
  }
  static std::size_t width_of(const std::vector<std::vector<std::string>>& lines, std::size_t c) {
    std::size_t width = 0;
    for (const auto& line : lines) width = std::max(width, line[c].size());
    return width;
  }
  static std::string quoted(const std::string& text) {
    if (text.find_first_of(",\"\n\r") == std::string::npos) return text;
    std::string all = "\"";
    for (const char c : text) all.append(c == '"' ? 2 : 1, c);
    all += '"';
    return all;
  }

  std::vector<Column> columns_;
  std::vector<std::vector<nlohmann::json>> rows_;
};

}  // namespace program
