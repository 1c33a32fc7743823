"""Makes splits.json: how Hugging Face's tokenizers cuts texts by the patterns of known tokenizers.

    python3 -m venv venv && venv/bin/pip install tokenizers
    venv/bin/python tests/golden/make_splits.py > tests/golden/splits.json

The patterns are those of the models' tokenizer.json; GGUF has the names for them.
"""
import importlib.metadata
import json
import random

from tokenizers import Regex, pre_tokenizers

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
ENDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
PATTERNS = {
    "gpt-2": [GPT2],
    "smollm": [r"\p{N}", GPT2],
    "llama-bpe": [ENDS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|" + REST],
    "qwen2": [ENDS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|" + REST],
    "tekken": [rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*|\p{{N}}|" + REST.replace(r"[\r\n]*", r"[\r\n/]*", 1)],
    "gpt-4o": [rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+{ENDS}?|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*{ENDS}?|\p{{N}}{{1,3}}|" +
               REST.replace(r"[\r\n]*", r"[\r\n/]*", 1)],
    "falcon": [r"[\p{P}\$\+<=>\^~\|`]+", GPT2, "[0-9][0-9][0-9]"],
    "deepseek-v3": [r"\p{N}{1,3}", "[一-龥\u3040-ゟ゠-ヿ]+",
                    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"""],
    "deepseek-coder": [r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-\ud7ff]+", r"\p{N}"],
}
TEXTS = ["", "Hello, World! It's HELLO's don't I'LL", "camelCaseWords XMLHttpRequest iPhone ΑΒγδ Ǆǅǆ", "a  b\t\tc \r\n\r\n d/\n/e", "1 12 123 1234 12345 ٣٤ Ⅷ½",
         "日本語のテキスト한국어中文 mixed文字", "e\u0301a\u0308 nai\u0308ve ZWJ\u200d 🚀🚀 👩‍👩‍👧", "#include <vector>\nint main() { return 0; } // x_1 += 2;\n\n",
         "$5.00 + 3% = x^y|z~`w` @you #tag", "  leading and trailing  ", "\u00a0nbsp\u2003em\u3000wide\u0085", "ſ's K'S 'ſ it'S"]
rng = random.Random(7)
ALPHABET = list("aB'sLl 1\n\r\t./-_Жщ中カ한é́٣½Ⅷ🚀ǅʰ\u00a0$")
TEXTS += ["".join(rng.choice(ALPHABET) for _ in range(rng.randint(1, 24))) for _ in range(200)]

result = {}
for name, patterns in PATTERNS.items():
    cut = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in patterns])
    result[name] = [[piece for piece, _ in cut.pre_tokenize_str(text)] for text in TEXTS]
print(json.dumps({"tokenizers": importlib.metadata.version("tokenizers"), "texts": TEXTS, "pieces": result}, ensure_ascii=False))
