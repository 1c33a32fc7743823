"""Programs that say `using namespace Eigen` and `using namespace qlora` meet no more names twice than those listed here, and none in what is
common: sizes and matrices.

    names.py REPOSITORY COMPILER EIGEN_INCLUDE_FOLDER
"""
import pathlib
import re
import subprocess
import sys
import tempfile

repository, compiler, eigen = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3]
sys.path.insert(0, str(repository / "tests"))
import documented  # noqa: E402

# Index is the same type in both, so it may be used. The others need their namespace before them, Sequential among them, which is the
# field's own word for layers one after the other; the list may only shrink.
KNOWN = {"Index", "Sequential", "bfloat16"}

COMMON = """
#include <Eigen/Dense>
#include "qlora/quant.hpp"
using namespace Eigen;
using namespace qlora;
struct Ternary { static constexpr std::array values{-1.f, 0.f, 1.f}; };
int main() {
  const Index rows = 4, cols = 32;
  MatrixXf weights = MatrixXf::Random(rows, cols);
  VectorXf bias = VectorXf::Zero(rows);
  const QuantizedMatrix w = quantize<BlockFormat<Ternary, 32, FloatScale<float16>>>(weights);
  const RowMatrixXf x = RowMatrixXf::Random(2, cols);
  Matrix<float, Dynamic, Dynamic, RowMajor> y = x * w.transpose();
  y.rowwise() += bias.transpose();
  Map<RowMatrixXf> map(y.data(), y.rows(), y.cols());
  Array<float, 1, 4> sums = map.colwise().sum().array();
  return sums.size() == rows ? 0 : 1;
}
"""


def compile_text(text, *flags):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "names.cpp"
        path.write_text(text)
        return subprocess.run([compiler, "-std=c++20", "-fsyntax-only", *flags, "-I", repository / "include", "-isystem", eigen, path],
                              capture_output=True, text=True)


names = set()
for header in (repository / "include/qlora").rglob("*.hpp"):
    # The device's names and Jinja's have namespaces of their own.
    if not {"cuda", "jinja"} & set(header.relative_to(repository).parts):
        names |= {name for _, name, *_ in documented.declarations(header.read_text())}
# A name that Eigen has not is an error on its own line.
ordered = sorted(names)
found = compile_text("#include <Eigen/Dense>\n" + "".join(f"namespace n{i} {{ using Eigen::{name}; }}\n" for i, name in enumerate(ordered)),
                     "-fmax-errors=0" if "clang" not in compiler else "-ferror-limit=0")
missing = {ordered[int(line) - 2] for line in re.findall(r"names\.cpp:(\d+):\d+: error:", found.stderr)}
both = names - missing
if len(names) < 300 or not both or both - KNOWN:
    sys.exit(f"expected no names of Eigen's but {sorted(KNOWN)} among {len(names)}, found {sorted(both)}\n{found.stderr[:500]}")
done = compile_text(COMMON)
if done.returncode != 0:
    sys.exit(done.stderr)
print(f"{len(names)} names, of which Eigen has {sorted(both)}")
