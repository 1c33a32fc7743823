#include "qlora/memory/paged_allocator.hpp"

#include <Eigen/Core>
#include <list>
#include <map>
#include <memory>
#include <vector>

#include "qlora/memory/file_pager.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"

using qlora::FilePager;
using qlora::HeapPager;
using qlora::PagedAllocator;

namespace {

struct Pagers {
  test::TemporaryFolder folder;
  FilePager file{{folder.path(), {.budget = 65536, .extent_bytes = 4096}}};
  HeapPager heap;
};

}  // namespace

TEST_CASE("vectors live in paged memory: they grow, copy, move, swap and compare") {
  Pagers pagers;
  const auto check = [](auto allocator) {
    using Vector = std::vector<int, decltype(allocator)>;
    Vector v(allocator);
    for (int i = 0; i < 10000; ++i) v.push_back(i);
    const Vector copy = v;
    REQUIRE(copy == v);
    Vector moved = std::move(v);
    REQUIRE(moved == copy);
    Vector other(3, 7, allocator);
    std::swap(moved, other);
    REQUIRE(other.size() == 10000);
    REQUIRE(moved == Vector({7, 7, 7}, allocator));
    moved = other;
    REQUIRE(moved[9999] == 9999);
    REQUIRE(moved.get_allocator() == other.get_allocator());
  };
  check(PagedAllocator<int, FilePager>(pagers.file));
  check(PagedAllocator<int, HeapPager>(pagers.heap));
}

TEST_CASE("fresh memory is zero") {
  Pagers pagers;
  std::vector<double, PagedAllocator<double, HeapPager>> heap(100);
  std::vector<double, PagedAllocator<double, FilePager>> file(
      100, PagedAllocator<double, FilePager>(pagers.file));
  for (int i = 0; i < 100; ++i)
    REQUIRE((heap[static_cast<std::size_t>(i)] == 0 && file[static_cast<std::size_t>(i)] == 0));
}

TEST_CASE("the allocator rebinds, and is equal where the memory is") {
  Pagers pagers;
  PagedAllocator<int, FilePager> a(pagers.file);
  using Traits = std::allocator_traits<decltype(a)>;
  const Traits::rebind_alloc<double> b(a);
  REQUIRE(a == b);
  Pagers others;
  REQUIRE_FALSE(a == PagedAllocator<int, FilePager>(others.file));
  std::list<int, PagedAllocator<int, HeapPager>> list{1, 2, 3};  // nodes
  list.push_back(4);
  REQUIRE(list.back() == 4);
}

TEST_CASE("Eigen maps stand on it") {
  Pagers pagers;
  std::vector<float, PagedAllocator<float, FilePager>> storage(
      6000, PagedAllocator<float, FilePager>(pagers.file));
  Eigen::Map<Eigen::MatrixXf> map(storage.data(), 60, 100);
  map.setConstant(2);
  REQUIRE(map.sum() == 12000);
}

TEST_CASE("std::pmr containers take it through a resource") {
  Pagers pagers;
  qlora::PagerResource<FilePager> resource(pagers.file), same(pagers.file);
  Pagers others;
  qlora::PagerResource<FilePager> other(others.file);
  std::pmr::vector<long> v(&resource);
  for (long i = 0; i < 5000; ++i) v.push_back(i);
  REQUIRE(v[4999] == 4999);
  REQUIRE(resource.is_equal(same));
  REQUIRE_FALSE(resource.is_equal(other));
}

TEST_CASE("more than can be counted is refused") {
  PagedAllocator<double, HeapPager> allocator{HeapPager()};
  REQUIRE_THROWS_AS(allocator.allocate(~std::size_t{0} / 2), std::bad_array_new_length);
}
