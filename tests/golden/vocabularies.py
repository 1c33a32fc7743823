"""Compares the ids of this library's tokenizers with llama.cpp's, for the vocabularies that stand in its sources with texts and ids.

    vocabularies.py llama_cpp_python-0.3.36.tar.gz build/tests/encode_texts

Every vocabulary gives the same ids for every text, or is refused by name; those of the known list must be the same.
"""
import io
import pathlib
import subprocess
import sys
import tarfile
import tempfile

EXPECTED = {"deepseek-coder", "falcon", "gpt-2", "llama-bpe", "mpt", "qwen2", "refact", "starcoder"}

archive, program = sys.argv[1], sys.argv[2]
files = {}
with tarfile.open(archive) as tar:
    for member in tar:
        name = pathlib.PurePath(member.name).name
        if name.startswith("ggml-vocab-"):
            files[name] = tar.extractfile(member).read()
same, refused, wrong = set(), [], []
with tempfile.TemporaryDirectory() as folder:
    for name in sorted(name for name in files if name.endswith(".gguf") and name + ".inp" in files):
        title = name.removeprefix("ggml-vocab-").removesuffix(".gguf")
        path = pathlib.Path(folder) / name
        path.write_bytes(files[name])
        texts = files[name + ".inp"].decode().split("\n__ggml_vocab_test__\n")[:-1]
        ids = [line.split() for line in files[name + ".out"].decode().split("\n")][:len(texts)]
        done = subprocess.run([program, path], input="".join(text + "\0" for text in texts).encode(), capture_output=True)
        if done.returncode != 0:
            refused.append(f"{title}: {done.stderr.decode().strip().split('/')[-1]}")
            continue
        found = [line.split() for line in done.stdout.decode().split("\n")][:len(texts)]
        bad = [i for i in range(len(texts)) if found[i] != ids[i]]
        if bad:
            wrong.append(f"{title}: {len(bad)} of {len(texts)} texts, the first {texts[bad[0]]!r}: expected {ids[bad[0]]}, found {found[bad[0]]}")
        else:
            same.add(title)
print("the same ids:", ", ".join(sorted(same)))
print("refused:\n  " + "\n  ".join(refused))
if wrong or not EXPECTED <= same:
    sys.exit("wrong:\n  " + "\n  ".join(wrong) + f"\nmissing: {sorted(EXPECTED - same)}")
