"""Throughput and peak memory of extraction by the length of the text; neither should depend on it.

Run with ``python benchmarks/size.py [thousand words ...]``; the default is 10 and 200. The model is
a Llama of 4 layers with random weights, the text is generated. Every length is read in a child
process.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from common import publish, run_in_child

MODEL = """
import sys
from pathlib import Path
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
folder = Path(sys.argv[1])
words = {"<|endoftext|>": 0, **{f"w{i}": i + 1 for i in range(999)}}
tokenizer = Tokenizer(models.WordLevel(words, unk_token="<|endoftext|>"))
tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<|endoftext|>").save_pretrained(folder)
config = LlamaConfig(vocab_size=1000, hidden_size=128, intermediate_size=512, num_hidden_layers=4,
                     num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=512)
LlamaForCausalLM(config).save_pretrained(folder)
"""

READ = """
import json, random, sys, time
from pathlib import Path
from keyneurons.models.language_model import LanguageModel
from keyneurons.models.sources import LocalModel
from keyneurons.activations.reader import ActivationReader
from keyneurons.activations.store import ActivationStore
from keyneurons.records import Sentence, Word
folder, n_words = Path(sys.argv[1]), int(sys.argv[2])
draw, sentences, left = random.Random(0), [], n_words
while left > 0:
    forms = [f"w{draw.randrange(999)}" for _ in range(min(left, draw.randint(4, 40)))]
    starts = [sum(len(form) + 1 for form in forms[:i]) for i in range(len(forms))]
    words = tuple(Word(form, at, at + len(form), "X", None, {}) for form, at in zip(forms, starts))
    sentences.append(Sentence(str(len(sentences)), " ".join(forms), words))
    left -= len(forms)
import resource
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
model = LanguageModel(LocalModel(folder / "model", folder / "cache").fetch(), device="cpu")
store = ActivationStore(folder / f"store{n_words}")
_ = model.network
start = time.perf_counter()
ActivationReader(model, "mlp", (0, 1, 2, 3), batch_tokens=1024, store=store)(sentences, "x")
print(json.dumps({"seconds": time.perf_counter() - start, "text_mib": before / 1024}))
"""


def main() -> None:
    sizes = [int(argument) for argument in sys.argv[1:]] or [10, 200]
    rows = []
    for thousand in sizes:
        with tempfile.TemporaryDirectory() as folder:
            run_in_child(MODEL, str(Path(folder) / "model"))
            output, _, peak = run_in_child(READ, folder, str(thousand * 1000))
            result = json.loads(output.splitlines()[-1])
            size = thousand * 1000 * 4 * 512 * 2 / 2**20
            rate = thousand * 1000 / result["seconds"]
            figures = (rate, peak, result["text_mib"], size)
            rows.append([f"{thousand * 1000:,}", *(f"{each:,.0f}" for each in figures)])
    publish(
        "size",
        "Extraction by length of the text: mlp of all layers, a random Llama of 4 layers x 512",
        ["words", "words/s", "peak MiB", "MiB before the model is loaded, with the text", "MiB written"],
        rows,
        repeats=1,
        notes="""Peak memory includes the sentences with their token ids and positions.""",
    )


if __name__ == "__main__":
    main()
