"""Writes ggml_quantized.json: weights, and the bytes that ggml's own quantizers make of them without a matrix of importances. ggml is the
shared library in the package xllamacpp.

    make_ggml.py OUT_FOLDER         with numpy and xllamacpp 2026.10.11549 installed
"""
import ctypes
import json
import pathlib
import sys

import numpy as np
import xllamacpp

library = ctypes.CDLL(next(str(path) for path in pathlib.Path(xllamacpp.__file__).parent.glob("xllamacpp*.so")))
quantize = library.ggml_quantize_chunk
quantize.restype = ctypes.c_size_t
quantize.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p]

# ggml's numbers of the types, and bytes per 256 weights.
TYPES = {"Q2_K": (10, 84), "Q3_K": (11, 110), "Q4_K": (12, 144), "Q5_K": (13, 176), "Q6_K": (14, 210)}

rng = np.random.default_rng(11)
rows = [rng.standard_normal(512) * 0.02, rng.standard_t(3, 512) * 0.02, np.abs(rng.standard_normal(512)), rng.integers(-8, 8, 512) * 0.125,
        rng.standard_normal(512) * 10.0 ** rng.integers(-3, 2, 512)]
x = np.ascontiguousarray(np.stack(rows).astype(np.float32))
types = {}
for name, (number, size) in TYPES.items():
    packed = np.zeros(x.size // 256 * size, np.uint8)
    quantize(number, x.ctypes.data, packed.ctypes.data, 0, x.shape[0], x.shape[1], None)
    types[name] = packed.tobytes().hex()
text = json.dumps({"cols": x.shape[1], "input": [int(v) for v in x.ravel().view(np.uint32)], "types": types})
(pathlib.Path(sys.argv[1]) / "ggml_quantized.json").write_text(text + "\n")
