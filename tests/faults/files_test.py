"""Which file counts, and what small differences between writers change nothing."""
import json
import unittest

from fault import (BASE, I32, U16, FaultTest, floats, read_gguf, read_safetensors, write_gguf, write_safetensors)
from support import run

SAME = 3986.8772188656817
EMBEDDING_AS_HEAD = 4035.6406506319217
Q0 = "model.layers.0.self_attn.q_proj.weight"


class Folders(FaultTest):
    def sharded(self, name, shards, weight_map, whole=False):
        """A folder with files and an index instead of model.safetensors, or beside it."""
        to = self.base_folder(name, without=() if whole else ("model.safetensors",))
        for file, tensors in shards.items():
            write_safetensors(to / file, tensors)
        (to / "model.safetensors.index.json").write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": weight_map}))
        return to

    def setUp(self):
        super().setUp()
        self.tensors = read_safetensors(BASE / "model" / "model.safetensors")
        names = sorted(self.tensors)
        self.parts = {"a.safetensors": {name: self.tensors[name] for name in names[:9]},
                      "b.safetensors": {name: self.tensors[name] for name in names[9:]}}
        self.map = {name: file for file, tensors in self.parts.items() for name in tensors}

    def test_shards_are_one_model(self):
        self.has_perplexity(self.sharded("m", self.parts, self.map), SAME)

    def test_one_whole_file_counts_before_an_index(self):
        stale = self.sharded("m", {}, dict.fromkeys(self.tensors, "gone.safetensors"), whole=True)
        self.has_perplexity(stale, SAME)
        (stale / "model.safetensors.index.json").write_text("no JSON")
        self.has_perplexity(stale, SAME)

    def test_the_index_says_which_of_two_tensors_counts(self):
        other = ("F32", [64, 64], floats(*[0.25] * 4096))
        for i, holder in enumerate(self.parts):
            parts = {file: {**tensors, Q0: self.tensors[Q0] if file == holder else other} for file, tensors in self.parts.items()}
            with self.subTest(holder):
                self.has_perplexity(self.sharded(str(i), parts, {**self.map, Q0: holder}), SAME)

    def test_an_index_that_loses_something_is_refused_by_name(self):
        self.is_refused(self.sharded("gone", {"a.safetensors": self.parts["a.safetensors"]}, self.map), "index.json", "b.safetensors", "is not in the folder")
        less = {name: file for name, file in self.map.items() if name != Q0}
        self.is_refused(self.sharded("less", self.parts, less), Q0, "is not in model.safetensors.index.json")
        self.is_refused(self.sharded("more", self.parts, {**self.map, "model.x": "a.safetensors"}), "'model.x' is not in a.safetensors")
        self.is_refused(self.sharded("text", self.parts, {**self.map, Q0: 3}), Q0, "expected the name of a file, found 3")
        self.is_refused(self.sharded("list", self.parts, [Q0]), "weight_map")

    def test_torch_files_are_named(self):
        torch = self.base_folder("torch", without=("model.safetensors",))
        (torch / "pytorch_model.bin").write_bytes(b"PK")
        self.is_refused(torch, "pytorch_model.bin, which is not supported")

    def test_names_without_model_are_read(self):
        for name, head in (("LlamaModel", False), ("with_head", True)):
            model = self.base_folder(name, config={"tie_word_embeddings": not head, "architectures": ["LlamaModel"]})
            write_safetensors(model / "model.safetensors", {key.removeprefix("model."): value for key, value in self.tensors.items()
                                                           if head or key != "lm_head.weight"})
            with self.subTest(name):
                self.has_perplexity(model, SAME if head else EMBEDDING_AS_HEAD)
                self.check(run("quantize", model, self.folder / f"{name}.gguf", "--format", "float"), 0)
                self.has_perplexity(self.folder / f"{name}.gguf", SAME if head else EMBEDDING_AS_HEAD)
        untied = self.base_folder("untied")
        write_safetensors(untied / "model.safetensors", {key.removeprefix("model."): value for key, value in self.tensors.items()
                                                        if key != "lm_head.weight"})
        self.is_refused(untied, "lm_head.weight", "tie_word_embeddings is false")


class Gguf(FaultTest):
    def split(self, count=3):
        """The base model in `count` files, as llama.cpp's gguf-split writes them."""
        file = read_gguf(BASE / "model.gguf")
        names = list(file["tensors"])
        paths = []
        for part in range(count):
            keys = {"split.no": (U16, part), "split.count": (U16, count), "split.tensors.count": (I32, len(names))}
            tensors = {name: file["tensors"][name] for name in names[part::count]}
            paths.append(self.folder / f"m-{part + 1:05}-of-{count:05}.gguf")
            write_gguf(paths[-1], {"keys": {**file["keys"], **keys} if part == 0 else keys, "tensors": tensors})
        return paths

    def test_a_split_model_is_read_from_its_first_file(self):
        for count in (1, 2, 3):
            with self.subTest(count):
                paths = self.split(count)
                self.has_perplexity(paths[0], SAME)
        self.check(run("quantize", paths[0], self.folder / "whole.gguf", "--format", "float"), 0)
        for path in paths:
            path.unlink()
        self.has_perplexity(self.folder / "whole.gguf", SAME)
        self.assertEqual([key for key in read_gguf(self.folder / "whole.gguf")["keys"] if key.startswith("split.")], [])

    def test_parts_that_are_missing_or_mixed_up_are_named(self):
        first, second, third = self.split()
        self.is_refused(second, "file 2 of 3", "name the first, m-00001-of-00003.gguf")
        kept = third.read_bytes()
        third.write_bytes(second.read_bytes())
        self.is_refused(first, "m-00003-of-00003.gguf")
        third.write_bytes(kept)
        self.has_perplexity(first, SAME)
        third.unlink()
        self.is_refused(first, "file 1 of 3", "expected file 3 beside it, m-00003-of-00003.gguf, found none")
        renamed = first.rename(self.folder / "renamed.gguf")
        self.is_refused(renamed, "file 1 of 3", "-00001-of-00003.gguf")
        lost = read_gguf(renamed)
        lost["keys"].update({"split.count": (U16, 2), "split.tensors.count": (I32, 99)})
        write_gguf(self.folder / "n-00001-of-00002.gguf", lost)
        rest = read_gguf(second)
        rest["keys"].update({"split.count": (U16, 2), "split.no": (U16, 1)})
        write_gguf(self.folder / "n-00002-of-00002.gguf", rest)
        self.is_refused(self.folder / "n-00001-of-00002.gguf", "split.tensors.count: expected 99 tensors")

    def test_data_that_no_model_reads_is_left_out_with_a_warning(self):
        for i, (name, kind, size) in enumerate((("some.index", 26, 4), ("mask", 28, 8))):
            model = self.base_gguf(f"{i}.gguf", tensors={name: ([4], kind, bytes(4 * size))})
            done = run("perplexity", "--format", "float", "--text", BASE / "text.txt", "--seq-len", 64, "--model", model)
            self.check(done, 0)
            self.assertLess(abs(float(done.stdout.split()[1]) / SAME - 1), 1e-4)
            self.assertIn(f"'{name}'", done.stderr)
        for name in ("blk.0.order", "rope_factors.weight", "x.weight"):
            self.is_refused(self.base_gguf("m.gguf", tensors={name: ([4], 26, bytes(16))}), name)

    def test_types_count_only_where_they_are_read(self):
        model = self.base_gguf(tensors={"blk.0.attn_norm.weight": ([64], 28, bytes(512))})
        self.is_refused(model, "blk.0.attn_norm.weight", "type F64 is not supported")

    def test_data_is_copied_as_it_is(self):
        data = bytes(range(16))
        model = self.base_gguf(tensors={"some.index": ([4], 26, data)})
        self.check(run("quantize", model, self.folder / "q.gguf", "--format", "q8_0"), 0)
        self.assertEqual(read_gguf(self.folder / "q.gguf")["tensors"]["some.index"], ([4], 26, data))


class NewTypes(FaultTest):
    def test_types_that_nobody_decodes_are_copied_as_they_are(self):
        source, target = self.folder / "m.safetensors", self.folder / "q.safetensors"
        others = {"e": ("F8_E8M0", [4], b"abcd"), "f": ("F4", [3, 4], b"abcdef"), "c": ("C64", [2], b"0123456789abcdef"),
                  "s": ("F6_E2M3", [4], b"abc"), "n": ("F8_E4M3FNUZ", [2], b"ab")}
        write_safetensors(source, {**others, "w.weight": ("F32", [2, 64], floats(*[0.5] * 128))})
        self.check(run("quantize", source, target, "--format", "nf4"), 0)
        written = read_safetensors(target)
        self.assertEqual({name: written[name] for name in others}, others)
        for dtype, shape, data, said in (("F4", [3], b"ab", "end inside a byte"), ("F3", [8], b"abc", "'F3' is not known"),
                                         ("F4", [4], b"abc", "expected 2 bytes")):
            write_safetensors(source, {"x": (dtype, shape, data), "w.weight": ("F32", [2, 64], floats(*[0.5] * 128))})
            self.check(run("quantize", source, target, "--format", "nf4", "--overwrite"), 1, "'x'", said)


if __name__ == "__main__":
    unittest.main()
