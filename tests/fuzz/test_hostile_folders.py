"""Model folders that try to run code, lead out of themselves, or grow without end."""

import json
import os
import shutil
import time
from pathlib import Path

import pytest
import torch
import transformers as hf
from rules import every_day_each_once
from safetensors.torch import load_file, save_file
from saved_model import saved
from small_answerer import TOKENIZER, answerer
from typer.testing import CliRunner

from askew.cli import app
from askew.models import build_on_meta, load_checkpoint, read_encoder_config

SIZES = {
    **{"vocab_size": 330, "hidden_size": 8, "num_attention_heads": 2, "num_hidden_layers": 2},
    **{"intermediate_size": 8, "max_position_embeddings": 64},
}
CODE = "import os, pathlib\npathlib.Path(os.environ['RAN']).touch()\n"
NAMES = ("AutoConfig", "AutoModel", "AutoModelForQuestionAnswering", "AutoTokenizer")
AUTO_MAP = dict.fromkeys(NAMES, "evil.Evil")
COMMANDS = {
    "train": "train qa --data {data} --out {out} --steps 1 --context-encoder {folder}",
    "train questions": "train qa --data {data} --out {out} --steps 1 --question-encoder {folder}",
    "compare": "compare qa --data {data} --out {out} --steps 1 --context-encoder {folder}",
    "train labels": "train labels --data {pairs} --out {out} --steps 1 --encoder {folder}",
    "predict": "predict {folder}",
    "answer": "answer {folder} --context {documents} who",
    "evaluate": "evaluate {folder}",
    "inspect": "inspect {folder} --text one",
    "parts": "parts {folder} --lr all=1 --rest all",
    "translate": "translate {folder}",
    "export": "export {folder}",
    "onnx": "export {folder} --to onnx",
}


def change(folder: Path, **values: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def bert(folder: Path) -> Path:
    hf.BertForMaskedLM(hf.BertConfig(**SIZES)).save_pretrained(folder)
    TOKENIZER.save(str(folder / "tokenizer.json"))
    (folder / "question_tokenizer.json").write_text(TOKENIZER.to_str())
    return folder


def unknown(folder: Path) -> None:
    change(bert(folder), model_type="nothing-known", auto_map=AUTO_MAP)


def known(folder: Path) -> None:
    change(bert(folder), auto_map=AUTO_MAP)


def without_class(folder: Path) -> None:
    """transformers knows this config, but has no AutoModel for it: it would ask."""
    change(bert(folder), model_type="rag", auto_map=AUTO_MAP)


def repository(folder: Path) -> None:
    change(bert(folder), model_type="rag", auto_map=dict.fromkeys(NAMES, "their/code--evil.Evil"))


def nested(folder: Path) -> None:
    inner = {"model_type": "rag", "auto_map": AUTO_MAP, "_name_or_path": str(folder)}
    change(bert(folder), model_type="llava", text_config=inner)


def translation(folder: Path) -> None:
    saved(folder)
    change(folder, auto_map=AUTO_MAP)


def answering(folder: Path) -> None:
    one = answerer()
    one.model.save_pretrained(folder)
    for name in ("tokenizer", "question_tokenizer"):
        TOKENIZER.save(str(folder / f"{name}.json"))
    inner = json.loads((bert(folder / "inner") / "config.json").read_text())
    shutil.rmtree(folder / "inner")
    inner |= {"model_type": "rag", "auto_map": AUTO_MAP, "_name_or_path": str(folder)}
    change(folder, context_pretrained=inner)


def labelling(folder: Path) -> None:
    inner = json.loads((bert(folder) / "config.json").read_text())
    inner |= {"model_type": "rag", "auto_map": AUTO_MAP, "_name_or_path": str(folder)}
    change(folder, model_type="askew-labels", pretrained=inner)


WAYS = [unknown, known, without_class, repository, nested, translation, answering, labelling]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Data for every command, and where code would leave its trace."""
    monkeypatch.setenv("RAN", str(tmp_path / "ran"))
    monkeypatch.setattr(hf.dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.chdir(tmp_path)
    question = {"question": "where is anna", "answer": "rome", "start": 14}
    questions = [question | {"context": f"anna lives in rome {n}"} for n in range(30)]
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(one) + "\n" for one in questions))
    (tmp_path / "pairs.tsv").write_text("".join(f"one {n}\tum {n}\n" for n in range(40)))
    (tmp_path / "page.md").write_text("anna lives in rome")
    return tmp_path


def command(name: str, folder: Path):
    names = {
        **{"folder": folder, "data": "data.jsonl", "pairs": "pairs.tsv", "out": "out"},
        "documents": "page.md",
    }
    return CliRunner().invoke(app, COMMANDS[name].format(**names).split(), input="y\n" * 20)


def assert_refused(result, place: Path) -> None:
    assert not (place / "ran").exists(), "the code of the folder ran"
    assert result.exit_code == 2, result.output
    told = [line for line in result.stderr.splitlines() if not line.startswith("askew: note: ")]
    assert len(told) == 1, result.output
    assert told[0].startswith("askew ")
    assert not (place / "out").exists()


@pytest.mark.parametrize(("make", "name"), every_day_each_once(WAYS, [*COMMANDS]))
def test_code_in_a_folder_is_not_run_whatever_is_typed(make, name, place):
    make(place / "folder")
    (place / "folder" / "evil.py").write_text(CODE)
    assert_refused(command(name, place / "folder"), place)


def test_code_of_a_teacher_is_not_run(place):
    unknown(place / "folder")
    (place / "folder" / "evil.py").write_text(CODE)
    call = "train translation --data pairs.tsv --out out --steps 1 --teacher folder"
    assert CliRunner().invoke(app, call.split(), input="y\n" * 20).exit_code
    assert not (place / "ran").exists()


def test_code_of_a_tokenizer_is_not_run(place):
    folder = bert(place / "folder")
    (folder / "evil.py").write_text(CODE)
    values = {"auto_map": {"AutoTokenizer": ["evil.Evil", None]}}
    (folder / "tokenizer_config.json").write_text(json.dumps(values))
    result = command("inspect", folder)
    assert_refused(result, place)
    assert "got auto_map in" in result.stderr


def test_the_code_would_run_if_it_were_trusted(place):
    """What the tests above forbid does happen where it is allowed."""
    unknown(place / "folder")
    (place / "folder" / "evil.py").write_text(CODE)
    with pytest.raises(AttributeError):
        hf.AutoConfig.from_pretrained(place / "folder", trust_remote_code=True)
    assert (place / "ran").exists()


@pytest.mark.parametrize(
    "values",
    [
        {"quantization_config": {"quant_method": "finegrained_fp8"}},
        {"fusion_config": {"all": True}},
        {"backbone": "their/backbone"},
        {"text_config": {"vision": [{"use_pretrained_backbone": True}]}},
    ],
    ids=lambda values: next(iter(values)),
)
def test_what_lies_elsewhere_is_not_fetched(values, place):
    change(bert(place / "folder"), **values)
    for open_folder in (load_checkpoint, build_on_meta, read_encoder_config):
        with pytest.raises(
            ValueError, match=r"must hold settings alone; got \w+ in .*config\.json"
        ):
            open_folder(place / "folder")


@pytest.mark.parametrize("kernel", ["flash_attention_2", "kernels-community/flash-attn", "their/x"])
def test_how_attention_is_computed_is_not_taken_from_a_file(kernel, place):
    folder = bert(place / "folder")
    usual = load_checkpoint(folder).config._attn_implementation
    change(folder, attn_implementation=kernel, _attn_implementation=kernel)
    assert load_checkpoint(folder).config._attn_implementation == usual
    assert build_on_meta(folder).config._attn_implementation == usual
    assert "_attn_implementation" not in read_encoder_config(folder)
    saved(place / "ours")
    change(place / "ours", attn_implementation=kernel, _attn_implementation_internal=kernel)
    load_checkpoint(place / "ours")


def pickled(folder: Path, name: str) -> dict[str, str]:
    """The weights as a pickle that leaves a trace, and an index that names it."""

    class Trace:
        def __reduce__(self):
            return Path.touch, (Path(os.environ["RAN"]),)

    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(weights | {"trace": Trace()}, folder / name)
    return dict.fromkeys(weights, name)


def outside(folder: Path, name: str) -> dict[str, str]:
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    save_file(weights, folder / name, metadata={"format": "pt"})
    return dict.fromkeys(weights, name)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"model": {"type": "nothing"}}'])
def test_a_tokenizer_that_is_none_is_refused_in_one_line(text, place):
    folder = bert(place / "folder")
    (folder / "tokenizer.json").write_text(text)
    for name in ("train", "compare", "inspect"):
        assert_refused(command(name, folder), place)


INDEXED = {
    "a pickle": (pickled, "pytorch_model.bin"),
    "a pickle of another name": (pickled, "model-00001.safetensors"),
    "another folder": (outside, "../elsewhere.safetensors"),
    "no name": (outside, "sub.safetensors\0"),
}


@pytest.mark.parametrize("make", [bert, saved])
@pytest.mark.parametrize("case", list(INDEXED)[:3])
def test_an_index_of_weights_stays_in_its_folder_and_names_safetensors(case, make, place):
    make(place / "folder")
    way, name = INDEXED[case]
    index = {"metadata": {}, "weight_map": way(place / "folder", name)}
    (place / "folder" / "model.safetensors.index.json").write_text(json.dumps(index))
    for run in ("inspect", "translate"):
        assert_refused(command(run, place / "folder"), place)


@pytest.mark.parametrize(
    "name", ["/etc/hostname.safetensors", "..", "", "a/b.safetensors", 3, None]
)
def test_a_name_in_an_index_of_weights_is_a_name(name, place):
    folder = bert(place / "folder")
    (folder / "model.safetensors").unlink()
    index = {"weight_map": {"embeddings.weight": name}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match=r"load_checkpoint: weights must be files of safetensors"):
        load_checkpoint(folder)


def test_weights_in_several_files_are_read(place):
    folder = bert(place / "folder")
    whole = load_checkpoint(folder)
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    places = {}
    for number, name in enumerate(weights):
        places[name] = f"model-{number % 2}.safetensors"
    for file in set(places.values()):
        part = {name: weight for name, weight in weights.items() if places[name] == file}
        save_file(part, folder / file, metadata={"format": "pt"})
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    read = load_checkpoint(folder).state_dict()
    for name, weight in whole.state_dict().items():
        assert "pooler" in name or torch.equal(read[name], weight)  # which this file lacks


HUGE = [
    *({"num_hidden_layers": n} for n in (4097, 10**6, 10**15, 10**4000)),
    *({"hidden_size": 2**40}, {"vocab_size": 2**50}, {"vocab_size": 2**33}),
    *({"intermediate_size": 2**45}, {"max_position_embeddings": 2**36}),
    *({"num_labels": 10**12}, {"model_type": "mixtral", "num_local_experts": 10**9}),
    {"model_type": "swin", "depths": [2, 10**9], "num_heads": [2, 2]},
]


@pytest.mark.parametrize(
    ("name", "values"),
    every_day_each_once(["inspect", "parts", "train", "answer", "translate"], HUGE),
)
def test_a_config_of_huge_sizes_ends_at_once(name, values, place):
    change(bert(place / "folder"), **values)
    begun = time.perf_counter()
    result = command(name, place / "folder")
    assert time.perf_counter() - begun < 20
    if name != "parts" or result.exit_code:  # tables without memory may be of any size
        assert_refused(result, place)


@pytest.mark.parametrize(
    ("size", "name"),
    every_day_each_once(
        ["num_layers", "d_model", "d_ff", "vocabulary"],
        ["inspect", "parts", "answer", "translate", "export", "evaluate"],
    ),
)
def test_our_own_configs_of_huge_sizes_end_at_once(size, name, place):
    folder = place / "folder"
    if name == "answer":
        one = answerer()
        one.model.save_pretrained(folder)
        for kind in ("tokenizer", "question_tokenizer"):
            TOKENIZER.save(str(folder / f"{kind}.json"))
        stack, vocabulary = "context_stack", "context_vocab"
    else:
        saved(folder)
        stack, vocabulary = "encoder_stack", "source_vocab"
    values = json.loads((folder / "config.json").read_text())
    if size == "vocabulary":
        change(folder, **{vocabulary: 2**33, "tie_embeddings": None})
    else:
        change(folder, **{stack: values[stack] | {size: 12 * 10**8}})
    begun = time.perf_counter()
    result = command(name, folder)
    assert time.perf_counter() - begun < 20
    if name != "parts" or result.exit_code:
        assert_refused(result, place)


def test_a_model_of_too_many_modules_is_stopped(place, monkeypatch):
    folder = bert(place / "folder")
    monkeypatch.setattr("askew.models._transformers_models._MOST_MODULES", 20)
    with pytest.raises(ValueError, match="a model may have at most 20 modules; got more"):
        build_on_meta(folder)


def test_making_a_model_twice_draws_no_number_more(place):
    """The model without memory, of which the size is taken, does not move the generator."""
    hf.BertModel(hf.BertConfig(**SIZES)).save_pretrained(place / "theirs")
    saved(place / "ours")
    for folder in (place / "theirs", place / "ours"):
        state = torch.get_rng_state()
        build_on_meta(folder)
        load_checkpoint(folder)
        assert torch.equal(torch.get_rng_state(), state)
