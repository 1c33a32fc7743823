#!/usr/bin/env python3
"""GGUF files written by `quantize` are read by the gguf package, with the values that this library decodes them to; from a GGUF
file and from a folder in Hugging Face layout.

    venv/bin/python tests/golden/check_gguf.py build/examples/quantize MODEL.gguf > tests/golden/written_gguf.txt

Needs gguf and numpy; run by hand, never in CI.
"""
import collections
import importlib.metadata
import pathlib
import subprocess
import sys
import tempfile

import gguf
import numpy as np

program, model = sys.argv[1:]
print("gguf", importlib.metadata.version("gguf"))


def run(*arguments):
    subprocess.run([program, *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)


with tempfile.TemporaryDirectory() as name:
    work = pathlib.Path(name)
    run(model, work / "folder", "--format", "float", "--dtype", "bfloat16")
    for form in ("q4_0", "q4_1", "q8_0", "iq4_nl", "mxfp4"):
        for source, what in ((model, "a GGUF file"), (work / "folder", "a folder")):
            run(source, work / "packed.gguf", "--format", form, "--overwrite")
            run(work / "packed.gguf", work / "floats.gguf", "--format", "float", "--dtype", "float32", "--overwrite")
            packed, floats = gguf.GGUFReader(work / "packed.gguf"), gguf.GGUFReader(work / "floats.gguf")
            dense = {t.name: t for t in floats.tensors}
            types, different = collections.Counter(), 0
            for t in packed.tensors:
                types[t.tensor_type.name] += 1
                ours = np.asarray(dense[t.name].data, dtype=np.float32)
                # The zero of MXFP4's code 8 has a sign here and none there; values are compared.
                different += not np.array_equal(gguf.quants.dequantize(t.data, t.tensor_type).reshape(ours.shape), ours)
            layers = packed.fields["llama.block_count"].contents()
            print(f"{form} from {what}: {dict(types)}, {layers} layers, {different} tensors differ")
