"""What cannot be done is refused before torch is imported; the table alone names applications."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import askew
from askew.tasks import APPLICATIONS

SOURCE = Path(askew.__file__).parent

CASES = {
    "--metric f1=lower": "there is no --metric here; it is an option of results",
    "--results t.csv --metric f1=fewer": "--metric takes lower, higher",
    "--results t.csv --seeds 3": "there is no --seeds here; it is an option of translation, qa",
    "--search training.lr=1..2": "--search goes with --tune",
    "--tune 2 --search training.lr=a..2": "--search must be KEY=LOW..HIGH",
    "--tune 2 --search training.lr=2..1": "low must be below high, both finite; got low",
    "--tune 2 --search training.lr=0..1:log": "low must be positive",
    "--until-decided --seeds 7": "--seeds has no meaning with --until-decided",
    "--max-seeds 7": "--max-seeds goes with --until-decided",
    "--require-verdict --seeds 2": "--require-verdict needs five seeds",
    "--steps 3 --minutes 1": "exactly one of steps and minutes",
    "--minutes -1": "got steps None, minutes -1.0",
    "--minutes nan": "got steps None, minutes nan",
    "--minutes inf": "got steps None, minutes inf",
    "--seeds 0": "Invalid value for '--seeds'",
    "--pair en-de --data a.tsv": "pair goes without data of your own; got pair en-de",
    "--language de --data a.tsv": "language goes with a folder of .po files",
    "--language de": "language goes with a folder of .po files",
    "--preset huge": "for '--preset': 'huge' is not one of 'tiny', 'small', 'base'",
    "--device gpu": "--device must be auto, cpu, cuda, cuda:NUMBER or mps; got --device gpu",
    "--match luck": "'luck' is not one of",
    "--set lr": "must read key=value; got 'lr'",
    "--set training.steps=5": "must be those of --steps; got training.steps 5. Write --steps 5",
    "--config gone.toml": "the file must exist; got path 'gone.toml'",
    "--source a.en": "source and target go together",
    "--data a.tsv --source a.en --target a.de": "exclude each other",
    "--valid-source a.en --valid-target a.de": "need training files",
    "--pair en-de qa": "compare qa: there is no --pair here; it is an option of translation",
    "labels --teacher model": "compare labels: there is no --teacher here; it is an option of",
    "--seeds 5 imbalanced --labels 1": "for the last column; got data None, labels 1",
    "retrieval --data x.csv": "compare retrieval: there is no --data here",
    "mine.py:made --data x.tsv": "compare experiment: there is no --data here",
    "mine.py:made qa": "Got unexpected extra argument",
    "chess": "qa, labels, multilabel, imbalanced, retrieval or MODULE:NAME; got 'chess'",
    "--challenger": "Option '--challenger' requires an argument",
    "--taught challenger": "--taught goes with --teacher; got --taught challenger",
}
ABSENT = {
    "evaluate": "FOLDER",
    "translate": "FOLDER",
    "predict": "FOLDER",
    "inspect": "FOLDER",
    "export": "FOLDER",
    "parts --lr a=1": "FOLDER",
    "answer --context .": "FOLDER",
    "serve --context .": "FOLDER",
    "serve --context . --translate": "--translate",
    "shrink --decoder-layers 1 --out o": "MODEL",
    "compare --from": "--from",
    "compare --teacher": "--teacher",
    "compare qa --context-encoder": "--context-encoder",
    "find labels --data": "--data",
    "train translation --out o --data": "--data",
    "train translation --out o --target . --source": "--source",
    "train labels --out o --data": "--data",
}
"""Commands whose last word is a path that is not there, and what they call it."""
PROGRAM = """
import json, sys
sys.modules["torch"] = None  # an import of it is an error
from typer.testing import CliRunner
from askew.cli import app
results = {}
for case in json.loads(sys.argv[1]):
    result = CliRunner().invoke(app, case.split())
    results[case] = (result.exit_code, result.stderr)
print(json.dumps(results))
"""


def test_what_cannot_be_done_is_refused_in_one_line_without_torch(tmp_path):
    cases = {f"compare {case}": message for case, message in CASES.items()}
    cases["find --match time"] = "--match must be parameters, flops or latency; got time"
    cases |= {f"{case} gone": f": {name} must exist; got gone\n" for case, name in ABSENT.items()}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(list(cases))],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    for case, (code, message) in json.loads(done.stdout).items():
        assert code == 2, (case, message)
        assert message.count("\n") == 1, (case, message)
        assert cases[case] in message, (case, message)
    assert list(tmp_path.iterdir()) == []


KEYS = {"batches.py": "labels", "_answer.py": "retrieval"}
"""Keys of batches in transformers and of answers, which happen to be names of applications."""


def test_command_line_and_judge_know_no_application_by_name():
    for package in ("cli", "tradeoffs"):
        for path in (SOURCE / package).rglob("*.py"):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            words = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
            assert not words & (set(APPLICATIONS) - {KEYS.get(path.name)}), path


def test_the_rows_of_the_table_are_called_by_their_keys():
    assert {name: row.name for name, row in APPLICATIONS.items()} == {n: n for n in APPLICATIONS}
