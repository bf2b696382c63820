"""One vocabulary for both sides or one each, and back from a folder."""

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoTokenizer

from askew.text import (
    END,
    ParallelText,
    Tokenizers,
    load_tokenizers,
    save_tokenizer_settings,
    save_tokenizers,
    train_tokenizer,
    train_tokenizers,
)

PAIRS = ParallelText(["three trees"] * 5, ["três árvores"] * 5)


def test_a_joint_vocabulary_is_learnt_from_both_sides():
    joint = train_tokenizers(PAIRS, vocab_size=280)
    both = train_tokenizer([*PAIRS.sources, *PAIRS.targets], vocab_size=280)
    assert joint.source is joint.target
    assert joint.source.to_str() == both.to_str()


def test_separate_vocabularies_are_learnt_from_one_side_each():
    tokenizers = train_tokenizers(PAIRS, vocab_size=270, separate=True)
    for tokenizer, side in zip(tokenizers, PAIRS, strict=True):
        assert tokenizer.to_str() == train_tokenizer(side, vocab_size=270).to_str()


@pytest.mark.parametrize("separate", [False, True])
def test_come_back_from_a_folder(tmp_path, separate):
    written = train_tokenizers(PAIRS, vocab_size=270, separate=separate)
    save_tokenizers(written, tmp_path)
    read = load_tokenizers(tmp_path)
    assert isinstance(read, Tokenizers)
    assert (read.source is not read.target) == separate
    assert [t.to_str() for t in read] == [t.to_str() for t in written]
    assert len(list(tmp_path.glob("*tokenizer.json"))) == 1 + separate


def test_a_joint_vocabulary_leaves_no_old_one_behind(tmp_path):
    save_tokenizers(train_tokenizers(PAIRS, vocab_size=270, separate=True), tmp_path)
    save_tokenizers(train_tokenizers(PAIRS, vocab_size=280), tmp_path)
    read = load_tokenizers(tmp_path)
    assert read.source is read.target


def test_files_are_those_of_the_library_and_whole_or_not_there(tmp_path, monkeypatch):
    first = train_tokenizers(PAIRS, vocab_size=270, separate=True)
    save_tokenizers(first, tmp_path)
    first.source.save(str(tmp_path / "theirs"))
    theirs = json.loads((tmp_path / "theirs").read_text(encoding="utf-8"))
    ours = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))
    assert ours.pop("post_processor")["special_tokens"]["</s>"]["ids"] == [END]
    assert theirs.pop("post_processor") is None
    assert ours == theirs

    def cut_short(path, text, encoding, newline):
        path.write_bytes(text[:100].encode(encoding))
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_text", cut_short)
    with pytest.raises(KeyboardInterrupt):
        save_tokenizers(train_tokenizers(PAIRS, vocab_size=280, separate=True), tmp_path)
    assert [t.to_str() for t in load_tokenizers(tmp_path)] == [t.to_str() for t in first]


def test_files_of_earlier_releases_are_read(tmp_path):
    (tokenizer, _) = train_tokenizers(PAIRS, vocab_size=270)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    assert load_tokenizers(tmp_path).source.to_str() == tokenizer.to_str()


def test_refuses_a_folder_without_them(tmp_path):
    with pytest.raises(ValueError, match=r"the file must exist; got .*tokenizer\.json"):
        load_tokenizers(tmp_path)
    with pytest.raises(ValueError, match="the folder must exist; got folder"):
        save_tokenizers(train_tokenizers(PAIRS, vocab_size=270), tmp_path / "gone")


@pytest.mark.parametrize("separate", [False, True])
def test_auto_tokenizer_reads_special_tokens_as_text_too(tmp_path, separate):
    both = train_tokenizers(ParallelText(["one"], ["um"]), vocab_size=270, separate=separate)
    save_tokenizers(both, tmp_path)
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    text = "<s>one</s> <pad>"
    assert theirs.encode(text) == [*both.source.encode(text).ids, END]
    assert theirs.decode(theirs.encode(text), skip_special_tokens=True) == text
    assert (theirs.pad_token_id, theirs.bos_token_id, theirs.eos_token_id) == (0, 1, 2)


@pytest.mark.parametrize(
    "special", ["[PAD] [UNK] [CLS] [SEP] [MASK]", "<s> <pad> </s> <unk> <mask>"]
)
def test_auto_tokenizer_pads_what_a_foreign_tokenizer_cuts(tmp_path, special):
    words = {word: number for number, word in enumerate([*special.split(), "one", "cat"])}
    foreign = Tokenizer(models.WordLevel(words, unk_token="one"))
    foreign.pre_tokenizer = pre_tokenizers.Whitespace()
    foreign.add_special_tokens(special.split())
    foreign.save(str(tmp_path / "tokenizer.json"))
    save_tokenizer_settings(foreign, tmp_path)
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    pad = 0 if special.startswith("[PAD]") else 1
    assert theirs(["one cat", "cat"], padding=True).input_ids == [[5, 6], [6, pad]]
    assert {theirs.cls_token, theirs.sep_token} in ({"[CLS]", "[SEP]"}, {"<s>", "</s>"})
    assert (theirs.unk_token, theirs.mask_token) in (("[UNK]", "[MASK]"), ("<unk>", "<mask>"))


def test_the_settings_of_a_foreign_tokenizer_name_no_special_tokens(tmp_path):
    foreign = Tokenizer(models.WordLevel({"?": 0, "one": 1}, unk_token="?"))
    save_tokenizer_settings(foreign, tmp_path)
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    assert settings["split_special_tokens"]
    assert not {"pad_token", "bos_token", "eos_token"} & settings.keys()
