"""What cannot be done is refused before torch is imported; the table alone names applications."""

import ast
import json
import re
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
    "--challenger deep": "an arm must be deep-shallow, narrow-decoder, shared-bridge, symmetric, t",
    "--baseline deep": "twin or FILE.toml; got 'deep'",
    "--challenger gone.toml": "the file must exist; got path 'gone.toml'",
    "qa --challenger asym": "an arm must be asymmetric, symmetric, twin or FILE.toml; got 'asym'",
    "labels --challenger asll": "a loss must be plain, asl, .* or FILE.toml; got 'asll'",
    "labels --baseline none": "a loss must be plain, asl, .* or FILE.toml; got 'none'",
    "multilabel --challenger asll": "an arm must be bce, focal, .* or FILE.toml; got 'asll'",
    "imbalanced --baseline asll": "an arm must be bce, focal, .* or FILE.toml; got 'asll'",
    "retrieval --challenger pare": "an arm must be pair, .* or FILE.toml; got 'pare'",
    "--from . --challenger narrow-decoder": "with --from, an arm must be student-deep-shallow",
    "--from . --challenger student-symmetric": "the baseline also student-symmetric; got student-s",
    "--from . --preset tiny": "with --from, both arms are cut from the model; got --preset tiny, t",
    "--from . --vocab-size 300": "got --vocab-size 300, too. Leave it out",
    "--from . --separate-vocabularies": "got --separate-vocabularies True, too. Leave it out",
    "--from . --drop-long": "got --drop-long True, too. Leave it out",
    "--set training.steps=3": "steps must be left out, since a budget decides; got training.steps",
    "--teacher . --set training.target=reference": "a teacher must be learnt from; got training.t",
    "--results t.csv --metric f1=0.1,0.2": "--metric takes one of lower and higher, one of ratio",
    "--results t.csv --metric f1=lower,higher": "and one number; got 'f1=lower,higher'",
    "--set training=3": "training must be a table; got training 3",
    "qa --set training.steps=3": "got training.steps 3. Give --steps",
    "labels --set training.steps=3": "got training.steps 3. Give --steps",
    "--tune 2 --search a={b=1}": "values must be numbers, words or truth values; got values ({'b'",
    "--tune 2 --search a=1,2 --search a=2..3": "--search must name each once; got a twice",
    "--results t.csv --metric a=lower --metric a=0.1": "--metric must name each once; got a twice",
}
OTHERS = {
    "report gone": "the folder must exist; got gone",
    "find --from . --vocab-size 300": "got --vocab-size 300, too. Leave it out",
    "find qa --challenger asym": "an arm must be asymmetric, symmetric, twin or FILE.toml; got",
    "find imbalanced --search dropout=1979-05-27": "values must be numbers, words or truth values",
    "find imbalanced --freeze lr=1 --search lr=1..2": "must name different numbers; got lr",
    "find imbalanced --freeze lr=1 --freeze lr=2": "--freeze must name each once; got lr twice",
    "find --at-most flops=1 --at-most flops=2": "--at-most must name each once; got flops twice",
    "train translation --out o --shape twin": "a shape must be deep-shallow, .*; got 'twin'",
    "train qa --out o --shape twin": "a shape must be asymmetric, symmetric or FILE.toml; got 't",
    "train labels --out o --loss none": "a loss must be plain, asl, .*; got 'none'",
    "shrink . --out o --steps 5": "--steps must go with a student that is taught; got no data. Lea",
    "shrink . --out o --targets both": "--targets must go with a student that is taught; got no d",
    "shrink . --out o --freeze-encoder --beams 2": "--beams and --freeze-encoder must go with a st",
    "shrink . --out o --set training.lr=0.1": "--set training.lr must go with a student that is t",
    "shrink . --out o --pair en-pt --steps 0 --stop-margin 1": "got --steps 0. Leave it out, or",
    "shrink . --out o --pair en-pt --beams 3": "--beams is for what the teacher writes; got --targ",
    "shrink . --out o --pair en-pt --drop-worse 0.2": "Give --targets teacher or both",
    "shrink . --out o --pair en-pt --set training.steps=7": "got training.steps 7. Give --steps",
    "shrink . --out o --pair en-pt --stop-margin 1 --set training.stop_margin=2": "Leave one out",
    "shrink . --out o --keep a.toml --decoder-layers 1": "has the layers of both sides; got --deco",
    "shrink . --out o --keep a.toml --keep-encoder 0": "got --keep-encoder, too. Leave it out",
    "shrink . --out o --keep first": "--keep first must go with a number of layers; got none. Give",
    "shrink . --out o --keep-encoder last --decoder-layers 1": "got none. Give --encoder-layers\n",
    "shrink . --out o --keep-encoder 0 --encoder-layers 1 --keep last": "--keep last must go with",
}
"""Commands but comparisons."""
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
    cases |= OTHERS
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
        assert re.search(re.escape(cases[case]).replace(r"\.\*", ".*"), message), (case, message)
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
