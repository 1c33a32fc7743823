"""The base model of these tests, unchanged, has the perplexity that transformers and llama.cpp find."""
import unittest

from fault import BASE, FaultTest


class Base(FaultTest):
    def test_folder_and_gguf_agree_with_transformers(self):
        self.has_perplexity(BASE / "model", 3986.8772188656817)
        self.has_perplexity(BASE / "model.gguf", 3986.8772188656817)

    def test_a_copy_is_the_same_model(self):
        self.has_perplexity(self.base_folder(), 3986.8772188656817)
        self.has_perplexity(self.base_gguf(), 3986.8772188656817)


if __name__ == "__main__":
    unittest.main()
