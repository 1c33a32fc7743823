// The folder a program writes, whole or not at all: outputs of two runs are never mixed.
//
//   program::OutputFolder output("out", {.overwrite = true, .inputs = {"train.jsonl"}});
//   qlora::write_text_file(output.path() / "a.txt", text);
//   output.commit();
#pragma once

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <mutex>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "qlora/core/error.hpp"
#include "qlora/io/atomic_folder.hpp"

namespace program {

struct OutputOptions {
  bool overwrite = false;
  std::vector<std::string> inputs = {};  // files and folders that the run reads
};

namespace detail {

inline void refuse_if_within(const std::filesystem::path& place, const std::filesystem::path& path,
                             const std::string& what) {
  std::error_code failure;
  const auto outer = std::filesystem::canonical(place, failure);
  const auto inner = std::filesystem::weakly_canonical(path, failure);
  const auto [left, right] = std::mismatch(outer.begin(), outer.end(), inner.begin(), inner.end());
  qlora::require<qlora::IoError>(left != outer.end(), place.string(), ": --overwrite would remove ",
                                 what, "; name another place");
}

}  // namespace detail

// Throws IoError for a file, or a folder that holds something, without `overwrite`, and for what
// must not be replaced: the current folder, an input, or a folder that holds one.
inline void require_replaceable(const std::string& name, const OutputOptions& options) {
  namespace fs = std::filesystem;
  const fs::path path =
      fs::path(name).has_filename() ? fs::path(name) : fs::path(name).parent_path();
  std::error_code failure;
  const bool folder = fs::is_directory(path, failure);
  if (folder ? fs::is_empty(path, failure) : !fs::is_regular_file(path, failure)) return;
  qlora::require<qlora::IoError>(
      options.overwrite, name,
      folder ? ": expected a new or empty folder, found one that holds files; --overwrite "
               "replaces it"
             : ": expected a new file, found one that is there; --overwrite replaces it");
  if (folder) detail::refuse_if_within(path, fs::current_path(), "the current folder");
  for (const std::string& input : options.inputs)
    if (!input.empty()) detail::refuse_if_within(path, input, input);
}

class OutputFolder {
 public:
  // Nothing yet: `open` may follow.
  OutputFolder() = default;
  OutputFolder(const std::string& name, const OutputOptions& options) { open(name, options); }
  OutputFolder(const OutputFolder&) = delete;
  OutputFolder& operator=(const OutputFolder&) = delete;
  ~OutputFolder() { discard(); }

  // Throws IoError for a folder that holds something without `overwrite`, for one that must not be
  // replaced (the current one, one that holds an input), and for what can't be written.
  void open(const std::string& name, const OutputOptions& options) {
    const std::lock_guard lock(mutex_);
    namespace fs = std::filesystem;
    // A reader of the output that goes away must not end the program before the folder is complete.
    std::signal(SIGPIPE, SIG_IGN);
    qlora::require<qlora::IoError>(!name.empty(), "expected the name of a folder, found none");
    const fs::path path =
        fs::path(name).has_filename() ? fs::path(name) : fs::path(name).parent_path();
    if (std::error_code failure; fs::is_directory(path, failure))
      require_replaceable(name, options);
    make_parents(path);
    try {
      folder_.emplace(path, options.overwrite ? qlora::Existing::replace : qlora::Existing::refuse);
    } catch (...) {
      remove_parents();
      throw;
    }
  }

  // Where files go until `commit`.
  std::filesystem::path path() const { return folder_->path(); }

  // Puts all in its place.
  void commit() {
    const std::lock_guard lock(mutex_);
    folder_->commit();
    made_.clear();
  }

  // Removes what is not committed; from any thread, also more than once.
  void discard() {
    const std::lock_guard lock(mutex_);
    if (folder_) folder_->discard();
    remove_parents();
  }

 private:
  void make_parents(const std::filesystem::path& path) {
    std::error_code failure;
    for (auto parent = path.parent_path();
         !parent.empty() && !std::filesystem::exists(parent, failure);
         parent = parent.parent_path())
      made_.push_back(parent);
    if (made_.empty()) return;
    std::filesystem::create_directories(made_.front(), failure);
    if (!failure) return;
    remove_parents();
    throw qlora::IoError(
        qlora::message(path.string(), ": can't make the folder: ", failure.message()));
  }
  void remove_parents() {
    std::error_code not_empty;
    for (const auto& parent : made_) std::filesystem::remove(parent, not_empty);
    made_.clear();
  }

  std::mutex mutex_;
  std::vector<std::filesystem::path> made_;  // innermost first
  std::optional<qlora::AtomicFolder> folder_;
};

}  // namespace program
