"""Every command with sockets forbidden, and with names that a hub would know."""

import json
import shutil
import socket

import huggingface_hub
import pytest
import transformers
from saved_model import saved
from small_answerer import TOKENIZER, answerer
from tradeoffs.conftest import InProcess
from typer.testing import CliRunner

from askew.cli import app
from askew.tradeoffs._running import trials

SMALL = "--preset tiny --vocab-size 300 --steps 1 --quiet"
SHALLOW = "--set context.num_layers=1 --set question.num_layers=1"
COMMANDS = {
    "train translation": f"train translation --data pairs.tsv --out out {SMALL}",
    "train qa": f"train qa --data data.jsonl --out out {SMALL} {SHALLOW}",
    "an encoder": "train qa --data data.jsonl --out out --steps 1 --quiet --vocab-size 300 "
    "--preset tiny --set question.num_layers=1 --context-encoder bert",
    "compare translation": f"compare --data pairs.tsv --out out {SMALL} --seeds 1 --jobs 1",
    "compare qa": f"compare qa --data data.jsonl --out out {SMALL} {SHALLOW} --seeds 1 --jobs 1",
    "compare multilabel": "compare multilabel --data rows.csv --labels 2 --out out --steps 1 "
    "--seeds 1 --jobs 1 --quiet",
    "compare imbalanced": "compare imbalanced --out out --steps 1 --seeds 1 --jobs 1 --quiet",
    "compare retrieval": "compare retrieval --out out --steps 1 --seeds 1 --jobs 1 --quiet",
    "compare results": "compare --results table.csv --baseline a --out out --quiet",
    "compare experiment": "compare mine.py:made --out out --steps 1 --seeds 1 --jobs 1 --quiet",
    "find": "find imbalanced --out out --steps 9 --candidates 6 --seeds 1 --jobs 1 --quiet",
    "evaluate": "evaluate model --data pairs.tsv --quiet",
    "evaluate questions": "evaluate answerer --data data.jsonl --quiet",
    "translate": "translate model",
    "answer": "answer answerer --context page.md anna --quiet",
    "search": "search --context page.md anna",
    "export ctranslate2": "export model",
    "translate by ctranslate2": "translate exported --engine ctranslate2",
    "inspect": "inspect model --text trees --out page.html",
    "inspect theirs": "inspect bert --text trees --out page.html",
    "parts": "parts bert --lr all=1 --rest all",
    "report": "report compared",
    "doctor": "doctor --json",
    "doctor without test": "doctor --no-self-test",
}
DAILY = ("train translation", "an encoder", "compare experiment", "evaluate", "translate")
DAILY += ("answer", "search", "inspect theirs", "parts", "doctor without test")
ABSENT = {
    "inspect": "inspect {name}",
    "parts": "parts {name} --lr all=1 --rest all",
    "translate": "translate {name}",
    "answer": "answer {name} --context page.md anna",
    "evaluate": "evaluate {name}",
    "export": "export {name}",
    "encoder": "train qa --data data.jsonl --out out --steps 1 --context-encoder {name}",
    "report": "report {name}",
}
EXPERIMENT = """
from functools import partial
import torch
from askew.tradeoffs import Experiment
data = torch.ones(8, 2), torch.zeros(8, dtype=torch.long)
line = partial(torch.nn.Linear, 2, 2)
made = Experiment(name="m", models={"a": line, "b": line}, train_data=data, test_data=data)
"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A model of each kind, data, and results."""
    place = tmp_path_factory.mktemp("folders")
    saved(place / "model")
    one = answerer()
    one.model.save_pretrained(place / "answerer")
    for name in ("tokenizer", "question_tokenizer"):
        TOKENIZER.save(str(place / "answerer" / f"{name}.json"))
    sizes = {"hidden_size": 8, "num_attention_heads": 2, "num_hidden_layers": 1}
    config = transformers.BertConfig(
        vocab_size=330, intermediate_size=8, architectures=["BertModel"], **sizes
    )
    transformers.BertModel(config).save_pretrained(place / "bert")
    TOKENIZER.save(str(place / "bert" / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast"}
    (place / "bert" / "tokenizer_config.json").write_text(json.dumps(settings))
    question = {"question": "where is anna", "answer": "rome", "start": 14}
    questions = [question | {"context": f"anna lives in rome {n}"} for n in range(30)]
    (place / "data.jsonl").write_text("".join(json.dumps(one) + "\n" for one in questions))
    (place / "pairs.tsv").write_text("".join(f"one {n}\tum {n}\n" for n in range(40)))
    (place / "page.md").write_text("anna lives in rome")
    rows = [f"{i % 7},{i % 3},{int(i % 7 > 3)},{int(i % 5 < 2)}" for i in range(60)]
    (place / "rows.csv").write_text("\n".join(["a,b,p,q", *rows]))
    lines = [f"{arm},{seed},,f1,{seed + n}" for n, arm in enumerate("ab") for seed in range(5)]
    (place / "table.csv").write_text("\n".join(["arm,seed,item,metric,value", *lines]))
    (place / "mine.py").write_text(EXPERIMENT)
    return place


@pytest.fixture
def attempts(folders, few_rounds, tmp_path, monkeypatch):
    """What tried to connect, or to look up a name; nothing is allowed to."""
    seen = []

    def refuse(*arguments, **_):
        seen.append(arguments)
        raise OSError("no network in this test")

    for name in ("connect", "connect_ex", "sendto", "sendmsg", "bind"):
        monkeypatch.setattr(socket.socket, name, refuse)
    for name in ("create_connection", "getaddrinfo", "gethostbyname"):
        monkeypatch.setattr(socket, name, refuse)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr(trials, "ProcessPoolExecutor", InProcess)
    monkeypatch.setattr("plotly.offline.get_plotlyjs", lambda: "")
    shutil.copytree(folders, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    return seen


def run(words):
    return CliRunner().invoke(app, words.split(), input="three trees\n")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[] if n in DAILY else [pytest.mark.slow]) for n in COMMANDS]
)
def test_no_command_opens_a_connection(name, attempts):
    if name == "translate by ctranslate2":
        assert run("export model --out exported").exit_code == 0
    if name == "report":
        assert run("compare --results table.csv --baseline a --out compared").exit_code == 0
    result = run(COMMANDS[name])
    assert result.exit_code == 0, result.output
    assert not attempts


@pytest.mark.parametrize("folder", ["bert-base-uncased", "google-bert/bert-base-uncased"])
@pytest.mark.parametrize("name", ABSENT)
def test_a_folder_that_is_not_there_is_looked_up_nowhere(name, folder, attempts):
    result = run(ABSENT[name].format(name=folder))
    assert result.exit_code == 2, result.output
    assert len(result.stderr.splitlines()) == 1
    assert not attempts


def test_sockets_are_forbidden_indeed(attempts):
    with pytest.raises(OSError, match="no network"):
        socket.create_connection(("localhost", 9))
    hub = huggingface_hub.HfApi()
    with pytest.raises(Exception, match=r"no network|onnect"):
        hub.model_info("bert-base-uncased")
    assert len(attempts) >= 2
