"""Every public function has a law for drawn input here, or a reason why it has none."""

import ast
import importlib
import inspect
from pathlib import Path

import pytest

READS = "reads a file or a folder: tests/fuzz"
WRITES = "writes a page or a file"
RUNS = "trains or measures: minutes for each draw"
CHOOSES = "turns a name or options of the command line into objects: its own tests try each"
EXCEPT = {
    "losses": {},
    "attention": {},
    "inspection": {"write_inspection_page": WRITES, "write_picture_page": WRITES},
    "regularizers": {},
    "optim": dict.fromkeys(("lora_a", "lora_b"), "reads a model of peft: tests/optim/test_lora.py"),
    "metrics": {},
    "text": {
        "list_documents": READS,
        "load_any_tokenizer": READS,
        "load_tokenizer": READS,
        "load_tokenizers": READS,
        "numbered_aligned": READS,
        "numbered_pairs": READS,
        "read_aligned": READS,
        "read_dataset": READS,
        "read_document_files": READS,
        "read_documents": READS,
        "read_labelled": READS,
        "read_labelled_dataset": READS,
        "read_pairs": READS,
        "read_po": READS,
        "read_question_lines": READS,
        "read_questions": READS,
        "read_special_tokens_as_text": "changes a tokenizer: tests/text/test_tokenizer.py",
        "read_squad": READS,
        "save_tokenizer_settings": WRITES,
        "save_tokenizers": WRITES,
        "translate_po": READS,
        "translate_xliff": READS,
    },
    "tradeoffs": {
        "adamw": CHOOSES,
        "analyze_asymmetric_tradeoffs": RUNS,
        "calibrate": RUNS,
        "compare": RUNS,
        "find": RUNS,
        "items_of": READS,
        "latency_ratio": RUNS,
        "load_trial": READS,
        "measured_twin": RUNS,
        "prepare_comparison": RUNS,
        "prepare_search": RUNS,
        "print_results": READS,
        "print_search": READS,
        "read_run": READS,
        "search_status": READS,
        "train_loop": RUNS,
        "tune": RUNS,
        "write_joint_report": WRITES,
        "write_report": READS,
    },
    "models": {
        "attention_map": RUNS,
        "load_checkpoint": READS,
        "load_label_model": READS,
        "load_qa_model": READS,
        "load_seq2seq": READS,
        "load_translation_model": READS,
        "model_fingerprint": READS,
        "model_kind": READS,
        "build_on_meta": READS,
        "encoder_folder": READS,
        "read_attention": READS,
        "read_encoder_config": READS,
        "write_attention_page": WRITES,
        "write_checksums": WRITES,
    },
    "tasks": {
        **dict.fromkeys(
            (
                *("default_folder", "is_catalogue", "is_first_process", "is_xliff", "option"),
                "search_folder",
                *("qa_preset", "qa_task", "describe_read", "describe_refused"),
                *("text_label_task", "translation_preset", "translation_task"),
            ),
            CHOOSES,
        ),
        **dict.fromkeys(
            (
                *("find_teacher", "load_eights", "load_questions", "load_test"),
                *("load_labelled", "load_labelled_test"),
                *("load_test_questions", "load_text", "load_unseen_digits", "load_yeast"),
                *("read_any", "read_cut", "read_table_file", "shipped_questions", "teach"),
            ),
            READS,
        ),
        "evaluate_answerer": RUNS,
        "evaluate_translator": RUNS,
        "prepare_shrinking": RUNS,
        "prepare_training": RUNS,
        "shrink_folder": RUNS,
        "train_into": RUNS,
    },
}


def names_used():
    """What the tests beside this one name, imports aside, and losses named in tables of theirs."""
    found = set()
    for path in Path(__file__).parent.glob("test_*.py"):
        if path.name == Path(__file__).name:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Name):
                found.add(node.id)
            elif isinstance(node, ast.Attribute):
                found.add(node.attr)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
    return found


@pytest.mark.parametrize("package", EXCEPT)
def test_every_function_has_a_law_or_a_reason(package):
    module = importlib.import_module(f"askew.{package}")
    functions = {
        n for n in module.__all__ if inspect.isfunction(inspect.unwrap(getattr(module, n)))
    }
    without = functions - names_used()
    assert without == EXCEPT[package].keys()
