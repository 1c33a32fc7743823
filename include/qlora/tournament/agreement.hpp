/// Agreement of rankings (Kendall's tau, Spearman's rho) and of labels (Cohen's and Fleiss' kappa).
///
///     double tau = qlora::kendall_tau(ratings, scores);
///     double kappa = qlora::cohen_kappa(judge_a, judge_b);
///
/// All functions are pure: several threads may call them at once.
#pragma once

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <map>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/core/error.hpp"
#include "qlora/core/matrix.hpp"

namespace qlora::inline QLORA_ABI {

namespace tournament_detail {

inline constexpr double undefined = std::numeric_limits<double>::quiet_NaN();

template <class A, class B>
void require_pairs(const char* what, const A& a, const B& b) {
  require<ShapeError>(a.size() == b.size(), what, ": expected as many values on both sides, found ",
                      a.size(), " and ", b.size());
}

inline bool any_nan(std::span<const double> values) {
  return std::any_of(values.begin(), values.end(), [](double v) { return std::isnan(v); });
}

/// The number of pairs (i < j) with equal values in a sorted sequence of `count`: the sum of
/// t (t - 1) / 2 over its groups of t equal neighbours. equal(i - 1, i) compares two neighbours.
template <class Equal>
double tied_pairs(std::size_t count, Equal equal) {
  double pairs = 0;
  std::size_t group = 1;
  for (std::size_t i = 1; i <= count; ++i) {
    if (i < count && equal(i - 1, i)) {
      ++group;
    } else {
      pairs += static_cast<double>(group) * static_cast<double>(group - 1) / 2;
      group = 1;
    }
  }
  return pairs;
}

/// Sorts values [begin, end) by merging; returns how many exchanges bubble sort would need.
inline double exchanges(std::vector<double>& values, std::vector<double>& scratch,
                        std::size_t begin, std::size_t end) {
  if (end - begin < 2) return 0;
  const std::size_t middle = begin + (end - begin) / 2;
  double count =
      exchanges(values, scratch, begin, middle) + exchanges(values, scratch, middle, end);
  std::size_t left = begin, right = middle;
  for (std::size_t out = begin; out < end; ++out) {
    const bool take_left = left < middle && (right == end || values[left] <= values[right]);
    if (!take_left) count += static_cast<double>(middle - left);
    scratch[out] = values[take_left ? left++ : right++];
  }
  std::copy(scratch.begin() + static_cast<std::ptrdiff_t>(begin),
            scratch.begin() + static_cast<std::ptrdiff_t>(end),
            values.begin() + static_cast<std::ptrdiff_t>(begin));
  return count;
}

}  // namespace tournament_detail

/// Kendall's tau-b, which allows for ties ("The treatment of ties in ranking problems", 1945), in
/// n log n steps (Knight 1966). Returns NaN for fewer than two values, for a NaN among them, and
/// where all values of one side are equal. Throws ShapeError for sides of different lengths.
inline double kendall_tau(std::span<const double> a, std::span<const double> b) {
  tournament_detail::require_pairs("Kendall tau", a, b);
  const std::size_t n = a.size();
  if (n < 2 || tournament_detail::any_nan(a) || tournament_detail::any_nan(b))
    return tournament_detail::undefined;
  std::vector<std::size_t> order(n);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(),
            [&](auto i, auto j) { return std::pair(a[i], b[i]) < std::pair(a[j], b[j]); });
  const double ties_a =
      tournament_detail::tied_pairs(n, [&](auto i, auto j) { return a[order[i]] == a[order[j]]; });
  const double ties_both = tournament_detail::tied_pairs(
      n, [&](auto i, auto j) { return a[order[i]] == a[order[j]] && b[order[i]] == b[order[j]]; });
  std::vector<double> sorted(n), scratch(n);
  for (std::size_t i = 0; i < n; ++i) sorted[i] = b[order[i]];
  const double discordant = tournament_detail::exchanges(sorted, scratch, 0, n);
  const double ties_b =
      tournament_detail::tied_pairs(n, [&](auto i, auto j) { return sorted[i] == sorted[j]; });
  const double pairs = static_cast<double>(n) * static_cast<double>(n - 1) / 2;
  const double score = pairs - ties_a - ties_b + ties_both - 2 * discordant;
  return score / std::sqrt((pairs - ties_a) * (pairs - ties_b));
}

/// The rank of each value: the smallest has rank 1, and equal values share the mean of their ranks.
/// The values must not hold NaN.
inline std::vector<double> ranks(std::span<const double> values) {
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](auto i, auto j) { return values[i] < values[j]; });
  std::vector<double> result(values.size());
  for (std::size_t begin = 0, end = 0; begin < order.size(); begin = end) {
    while (end < order.size() && values[order[end]] == values[order[begin]]) ++end;
    for (std::size_t i = begin; i < end; ++i)
      result[order[i]] = static_cast<double>(begin + end + 1) / 2;
  }
  return result;
}

/// Spearman's rho: the correlation of the ranks. NaN and errors are those of kendall_tau.
inline double spearman_rho(std::span<const double> a, std::span<const double> b) {
  tournament_detail::require_pairs("Spearman rho", a, b);
  if (a.size() < 2 || tournament_detail::any_nan(a) || tournament_detail::any_nan(b))
    return tournament_detail::undefined;
  const std::vector<double> ranks_a = ranks(a), ranks_b = ranks(b);
  const auto n = static_cast<Index>(a.size());
  const double mean = static_cast<double>(n + 1) / 2;
  const Eigen::ArrayXd x = Eigen::Map<const Eigen::ArrayXd>(ranks_a.data(), n) - mean;
  const Eigen::ArrayXd y = Eigen::Map<const Eigen::ArrayXd>(ranks_b.data(), n) - mean;
  return (x * y).sum() / std::sqrt(x.square().sum() * y.square().sum());
}

/// Cohen's kappa of two judges who labelled the same items ("A coefficient of agreement for nominal
/// scales", 1960). Returns NaN without items, and where both judges always gave the same one label.
/// Throws ShapeError for sides of different lengths.
template <class Label>
double cohen_kappa(const std::vector<Label>& a, const std::vector<Label>& b) {
  tournament_detail::require_pairs("Cohen kappa", a, b);
  const auto n = static_cast<double>(a.size());
  std::map<Label, std::pair<double, double>> counts;
  double same = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    ++counts[a[i]].first;
    ++counts[b[i]].second;
    same += a[i] == b[i] ? 1 : 0;
  }
  double expected = 0;
  for (const auto& [_, count] : counts) expected += count.first * count.second / (n * n);
  return expected < 1 ? (same / n - expected) / (1 - expected) : tournament_detail::undefined;
}

/// Fleiss' kappa ("Measuring nominal scale agreement among many raters", 1971). counts: [items,
/// labels]; counts(i, c) judges gave item i the label c. Returns NaN without items, and where one
/// label was given throughout. Throws ShapeError unless every item has the same number of judges,
/// at least two.
inline double fleiss_kappa(const Eigen::Ref<const RowMatrixXd>& counts) {
  if (counts.rows() == 0) return tournament_detail::undefined;
  const double judges = counts.row(0).sum();
  require<ShapeError>(judges >= 2, "Fleiss kappa: expected at least 2 judges per item, found ",
                      judges);
  for (Index item = 0; item < counts.rows(); ++item)
    require<ShapeError>(counts.row(item).sum() == judges, "Fleiss kappa: item ", item,
                        ": expected ", judges, " judges, found ", counts.row(item).sum());
  const double observed =
      ((counts.array().square().rowwise().sum() - judges) / (judges * (judges - 1))).mean();
  const double expected =
      (counts.colwise().sum() / (judges * static_cast<double>(counts.rows()))).squaredNorm();
  return expected < 1 ? (observed - expected) / (1 - expected) : tournament_detail::undefined;
}

}  // namespace qlora::inline QLORA_ABI
