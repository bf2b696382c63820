"""Which tokenizer BLEU takes, and what is refused instead of being downloaded."""

import socket

import pytest
from sacrebleu.tokenizers import tokenizer_spm

from askew.metrics import _bleu_tokenizers, bleu, bleu_tokenizer, tokenizer_note


@pytest.fixture
def installed(monkeypatch):
    """All packages, or none."""
    found = {"all": object(), "none": None}
    return lambda which: monkeypatch.setattr(
        _bleu_tokenizers, "find_spec", lambda name: found[which]
    )


@pytest.mark.parametrize(
    ("texts", "tokenizer"),
    [
        ([], "13a"),
        (["", "123 !"], "13a"),
        (["the cat", "猫"], "13a"),
        (["Привет", "γάτα", "قطة", "बिल्ली"], "13a"),
        (["那只猫坐在垫子上", "GPU"], "zh"),
        (["その猫はマットの上に座っている"], "ja-mecab"),
        (["東京都 の 人口"], "ja-mecab"),
        (["고양이가 매트 위에 앉아 있다"], "ko-mecab"),
        (["แมวนั่งบนเสื่อ"], "char"),
        (["ကြောင်"], "char"),
    ],
)
def test_the_script_chooses(installed, texts, tokenizer):
    installed("all")
    assert bleu_tokenizer(texts) == tokenizer
    assert tokenizer_note(texts) == ""
    installed("none")
    lacks = "mecab" in tokenizer
    assert bleu_tokenizer(texts) == ("char" if lacks else tokenizer)
    assert (f"sacrebleu[{tokenizer[:2]}]" in tokenizer_note(texts)) == lacks


def test_what_is_not_here_is_refused_and_not_downloaded(installed, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"tokenizer must be one of 13a, .*; got tokenizer 'spm'"):
        bleu(["a"], ["a"], tokenizer="spm")
    installed("none")
    with pytest.raises(ModuleNotFoundError, match=r"needs MeCab and ipadic; got none\. Run pip"):
        bleu(["a"], ["a"], tokenizer="ja-mecab")
    installed("all")
    monkeypatch.setattr("sacrebleu.utils.SACREBLEU_DIR", str(tmp_path))
    monkeypatch.setattr(socket, "socket", None)
    with pytest.raises(ValueError, match="flores200 needs its model, which Askew does not downl"):
        bleu(["a"], ["a"], tokenizer="flores200")
    assert set(tokenizer_spm.SPM_MODELS) >= {"flores101", "flores200"}
