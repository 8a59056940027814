"""Which tokenizer class transformers makes of a folder, by the rules of its AutoTokenizer (5.23), and what each of them is built from.

The class matters: most of transformers' classes take nothing but the vocabulary (and the added tokens) from tokenizer.json and make the normaliser,
the pre-tokenizer and the special tokens again from tokenizer_config.json and their own defaults. TokenizersBackend alone takes tokenizer.json as it is.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from embermill.encoder.errors import TokenizerError
from embermill.encoder.text.files import CONFIG, read_object

BACKEND = "TokenizersBackend"

ROLES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")

_SENTENCE_PIECE = {"bos_token": "<s>", "eos_token": "</s>", "sep_token": "</s>", "cls_token": "<s>", "pad_token": "<pad>", "mask_token": "<mask>"}


class TokenizerClass(NamedTuple):
    """A class of transformers. model: the one in tokenizer.json that it is made for. special: its default special tokens.

    ends: the roles of the tokens that it puts before and after a text.
    """

    name: str
    model: str
    special: dict[str, str]
    ends: tuple[str, str] = ("cls_token", "sep_token")


_BERT = TokenizerClass(
    "BertTokenizer", "WordPiece", {"unk_token": "[UNK]", "sep_token": "[SEP]", "pad_token": "[PAD]", "cls_token": "[CLS]", "mask_token": "[MASK]"}
)
_MPNET = TokenizerClass("MPNetTokenizer", "WordPiece", _SENTENCE_PIECE | {"unk_token": "[UNK]"})
_ROBERTA = TokenizerClass("RobertaTokenizer", "BPE", _SENTENCE_PIECE | {"unk_token": "<unk>"})
_XLM_ROBERTA = TokenizerClass("XLMRobertaTokenizer", "Unigram", _SENTENCE_PIECE | {"unk_token": "<unk>"}, ("bos_token", "eos_token"))
_CAMEMBERT = TokenizerClass("CamembertTokenizer", "Unigram", _SENTENCE_PIECE | {"unk_token": "<unk>"}, ("bos_token", "eos_token"))
_AS_STORED = TokenizerClass(BACKEND, "", {})

# The name in tokenizer_config.json, without "Fast" -> the class that transformers loads for it.
_CLASSES = {
    **dict.fromkeys(("BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer", "LayoutLMTokenizer", "LxmertTokenizer", "MobileBertTokenizer"), _BERT),
    "SqueezeBertTokenizer": _BERT,
    "MPNetTokenizer": _MPNET,
    **dict.fromkeys(("RobertaTokenizer", "BartTokenizer", "LEDTokenizer", "LongformerTokenizer", "MvpTokenizer"), _ROBERTA),
    "XLMRobertaTokenizer": _XLM_ROBERTA,
    "CamembertTokenizer": _CAMEMBERT,
    **dict.fromkeys((BACKEND, "PreTrainedTokenizer", "PythonBackend"), _AS_STORED),
}

# model_type of config.json -> the class that transformers has registered for it.
_REGISTERED = {
    "bert": _BERT,
    "camembert": _CAMEMBERT,
    "convbert": _BERT,
    "distilbert": _BERT,
    "electra": _BERT,
    "ernie": _BERT,
    "gte": _XLM_ROBERTA,
    "jina_embeddings_v3": _XLM_ROBERTA,
    "mobilebert": _BERT,
    "mpnet": _MPNET,
    "nomic_bert": _BERT,
    "roberta": _ROBERTA,
    "xlm-roberta": _XLM_ROBERTA,
}
_ALWAYS_AS_STORED = {"modernbert"}  # whatever class the folder names

# Classes of transformers that are not followed here: their ids come from code of their own.
_REFUSED_NAMES = (
    "Albert", "Barthez", "Bartpho", "Basic", "BertGeneration", "BertJapanese", "Bertweet", "BigBird", "BioGpt", "BlenderbotSmall", "Blenderbot",
    "ByT5", "CLIP", "CTRL", "Canine", "Character", "Clvp", "CodeGen", "CodeLlama", "Cohere", "ConvBert", "CpmAnt", "Cpm", "DPRContextEncoder",
    "DPRQuestionEncoder", "DPRReader", "Deberta", "DebertaV2", "Dia", "Esm", "Esmc", "FNet", "FSMT", "FastSpeech2Conformer", "Flaubert", "Funnel",
    "GPT2", "GPTNeoXJapanese", "GPTNeoX", "GPTSw3", "Gemma", "Herbert", "Lasr", "LayoutLMv2", "LayoutLMv3", "LayoutXLM", "Llama", "Luke", "M2M100",
    "MBart50", "MBart", "MLuke", "Marian", "MarkupLM", "Mecab", "Mgpstr", "MyT5", "Nllb", "Nougat", "OpenAIGPT", "PLBart", "Parakeet", "Pegasus",
    "Perceiver", "Phobert", "Pop2Piano", "ProphetNet", "Qwen2", "Qwen3_5", "Rag", "Reformer", "RemBert", "RoCBert", "RoFormer", "SeamlessM4T",
    "Siglip2", "Siglip", "Speech2Text", "SpeechT5", "Splinter", "T5", "Tapas", "Tipsv2", "Udop", "VideoPrism", "Vits", "Wav2Vec2CTC",
    "Wav2Vec2PhonemeCTC", "Whisper", "Wordpiece", "XGLM", "XLM", "XLNet",
)  # fmt: skip
_REFUSED = frozenset(f"{name}Tokenizer" for name in _REFUSED_NAMES) | {"BertTokenizerLegacy"}


def choose_class(folder: Path) -> TokenizerClass:
    """AutoTokenizer's choice for the folder. Raises TokenizerError, naming the class, for one that we cannot follow."""
    file = folder / CONFIG
    config, model = read_object(file), read_object(folder / "config.json")
    if config.get("auto_map"):
        raise TokenizerError(f"{file}: auto_map asks for Python code of the model's own ({config['auto_map']}), which is never run; remove the key to embed "
                             "with the class that tokenizer_class names, if that is what the model was trained with.")  # fmt: skip
    model_type = model.get("model_type")
    if not isinstance(model_type, str | None):
        raise TokenizerError(f"{folder / 'config.json'}: model_type: expected a string, got {model_type!r}.")
    declared = config.get("tokenizer_class") or model.get("tokenizer_class")
    if model_type in _ALWAYS_AS_STORED:
        return _AS_STORED
    if declared is None:
        return _REGISTERED.get(model_type, _AS_STORED) if model_type is not None else _of_files(folder)
    name = str(declared).removesuffix("Fast") if declared != "PreTrainedTokenizerFast" else BACKEND
    if name in _REFUSED:
        named_in = file if config.get("tokenizer_class") else folder / "config.json"
        raise TokenizerError(
            f"{named_in}: tokenizer_class {declared} is not supported: transformers makes token ids with that class's own code. Supported are "
            f"{', '.join(sorted(set(_CLASSES) - {'PythonBackend', 'PreTrainedTokenizer', BACKEND}))} and PreTrainedTokenizerFast. If tokenizer.json alone "
            "says how the model's texts are tokenised, set tokenizer_class to PreTrainedTokenizerFast in tokenizer_config.json."
        )
    return _CLASSES.get(name, _AS_STORED)  # a name that transformers does not know is TokenizersBackend to it


def _of_files(folder: Path) -> TokenizerClass:
    """Where nothing names a class or a model: tokenizer.json as it is, or a BERT's vocabulary."""
    return _AS_STORED if (folder / "tokenizer.json").is_file() else _BERT
