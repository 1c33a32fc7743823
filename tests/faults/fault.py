"""What the tests of known faults share: a random Llama of two layers as a folder and as a GGUF file (base/README.md), and writers that
change one thing in it. Only Python's own library is used."""
import json
import pathlib
import shutil
import struct
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "programs"))
from support import ProgramTest as _ProgramTest, run  # noqa: E402,F401

BASE = pathlib.Path(__file__).resolve().parent / "base"
INPUTS = pathlib.Path(__file__).resolve().parent / "inputs"
TEXT = BASE / "text.txt"


class FaultTest(_ProgramTest):
    """Each test has a folder of its own, `self.folder`."""

    def setUp(self):
        self._folder = tempfile.TemporaryDirectory()
        self.addCleanup(self._folder.cleanup)
        self.folder = pathlib.Path(self._folder.name)

    def base_folder(self, name="model", config=None, without=(), **files):
        """A copy of the base model's folder: `config` is laid over config.json, a value None of it removes the key; `without` names files
        that are left out; `files` maps a name, with _ for its dot, to what is laid over that JSON file."""
        to = self.folder / name
        shutil.copytree(BASE / "model", to)
        for file in without:
            (to / file).unlink()
        for file, change in {"config.json": config or {}, **{k.replace("_json", ".json"): v for k, v in files.items()}}.items():
            path = to / file
            value = json.loads(path.read_text()) if path.exists() else {}
            for key, new in change.items():
                if new is None:
                    value.pop(key, None)
                else:
                    value[key] = new
            path.write_text(json.dumps(value, indent=2))
        return to

    def base_gguf(self, name="model.gguf", keys=None, tensors=None, without=()):
        """A copy of the base model as GGUF: `keys` adds or replaces keys by (type, value), `tensors` adds or replaces tensors by
        (shape, type, bytes), `without` names keys and tensors that are left out."""
        file = read_gguf(BASE / "model.gguf")
        for key in without:
            if key not in file["keys"] and key not in file["tensors"]:
                raise KeyError(key)
            file["keys"].pop(key, None)
            file["tensors"].pop(key, None)
        file["keys"].update(keys or {})
        file["tensors"].update(tensors or {})
        to = self.folder / name
        write_gguf(to, file)
        return to

    def perplexity(self, model, *more):
        """The perplexity of the base text in windows of 64, or the message of the refusal."""
        done = run("perplexity", "--format", "float", "--text", TEXT, "--seq-len", 64, "--model", model, *more)
        if done.returncode == 0:
            return float(done.stdout.split("perplexity ")[1].split()[0])
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        return done.stderr

    def is_refused(self, model, *parts, more=()):
        """The program ends with 1 and says all `parts`."""
        said = self.perplexity(model, *more)
        self.assertIsInstance(said, str, f"not refused: perplexity {said}")
        for part in parts:
            self.assertIn(part, said)

    def has_perplexity(self, model, expected, more=(), tolerance=1e-4):
        found = self.perplexity(model, *more)
        self.assertIsInstance(found, float, found)
        self.assertLess(abs(found / expected - 1), tolerance, f"expected {expected}, found {found}")


# safetensors: {name: (dtype, shape, bytes)}

def read_safetensors(path):
    data = pathlib.Path(path).read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + size])
    body = data[8 + size:]
    return {name: (at["dtype"], at["shape"], body[at["data_offsets"][0]:at["data_offsets"][1]])
            for name, at in header.items() if name != "__metadata__"}


def write_safetensors(path, tensors):
    header, body = {"__metadata__": {"format": "pt"}}, b""
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    pathlib.Path(path).write_bytes(struct.pack("<Q", len(text)) + text + body)


def floats(*values):
    return struct.pack(f"<{len(values)}f", *values)


# GGUF: {"keys": {name: (type, value)}, "tensors": {name: (shape, type, bytes)}}, shapes as in the file (innermost first)

U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)
_NUMBERS = {U8: "B", I8: "b", U16: "H", I16: "h", U32: "I", I32: "i", F32: "f", BOOL: "?", U64: "Q", I64: "q", F64: "d"}
_ALIGNMENT = 32


def _tensor_bytes(shape, kind):
    count = 1
    for size in shape:
        count *= size
    block, size = {0: (1, 4), 1: (1, 2), 30: (1, 2), 26: (1, 4), 28: (1, 8), 8: (32, 34), 2: (32, 18)}[kind]
    return count // block * size


def read_gguf(path):
    data = pathlib.Path(path).read_bytes()
    at = 0

    def take(form):
        nonlocal at
        value = struct.unpack_from("<" + form, data, at)
        at += struct.calcsize("<" + form)
        return value[0]

    def text():
        nonlocal at
        size = take("Q")
        at += size
        return data[at - size:at].decode("utf-8", "surrogateescape")

    def value(kind):
        if kind == STRING:
            return text()
        if kind == ARRAY:
            inner, count = take("I"), take("Q")
            return inner, [value(inner) for _ in range(count)]
        return take(_NUMBERS[kind])

    assert data[:4] == b"GGUF"
    at = 8
    tensors, keys = take("Q"), take("Q")
    file = {"keys": {}, "tensors": {}}
    for _ in range(keys):
        name = text()
        kind = take("I")
        file["keys"][name] = (kind, value(kind))
    places = []
    for _ in range(tensors):
        name = text()
        shape = [take("Q") for _ in range(take("I"))]
        kind = take("I")
        places.append((name, shape, kind, take("Q")))
    start = (at + _ALIGNMENT - 1) // _ALIGNMENT * _ALIGNMENT
    for name, shape, kind, offset in places:
        file["tensors"][name] = (shape, kind, data[start + offset:start + offset + _tensor_bytes(shape, kind)])
    return file


def write_gguf(path, file):
    def text(value):
        raw = value.encode("utf-8", "surrogateescape")
        return struct.pack("<Q", len(raw)) + raw

    def value(kind, it):
        if kind == STRING:
            return text(it)
        if kind == ARRAY:
            inner, items = it
            return struct.pack("<IQ", inner, len(items)) + b"".join(value(inner, item) for item in items)
        return struct.pack("<" + _NUMBERS[kind], it)

    head = b"GGUF" + struct.pack("<IQQ", 3, len(file["tensors"]), len(file["keys"]))
    for name, (kind, it) in file["keys"].items():
        head += text(name) + struct.pack("<I", kind) + value(kind, it)
    body = b""
    for name, (shape, kind, data) in file["tensors"].items():
        head += text(name) + struct.pack("<I", len(shape)) + b"".join(struct.pack("<Q", s) for s in shape) + struct.pack("<IQ", kind, len(body))
        body += data + b"\0" * (-len(data) % _ALIGNMENT)
    pathlib.Path(path).write_bytes(head + b"\0" * (-len(head) % _ALIGNMENT) + body)
