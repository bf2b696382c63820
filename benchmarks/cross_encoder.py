"""A cross-encoder, which reads question and context together, trained on the same questions.

transformers' question-answering head on an encoder of its own, with one pass over the pair for
every question. Trained by CPU time with AdamW and a linear schedule:

    python benchmarks/cross_encoder.py --encoder FOLDER --data FILE --minutes 40 --out FOLDER
"""

import argparse
import json
import random
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor
from transformers import AutoModelForQuestionAnswering

from askew.metrics import answer_exact_match, answer_f1, bootstrap_interval
from askew.tasks import QuestionSources, load_questions, references
from askew.text import QuestionSet, SpanTokenizer, cut_windows, pad_batch, tokens_of_span

MAX_TOKENS, OVERLAP, MAX_ANSWER, MAX_QUESTION = 320, 64, 32, 62
BATCH, RATE, WARMUP = 16, 1e-4, 0.06


class CrossEncoder:
    """The model with its tokenizer.

    Args:
        folder: Of an encoder of transformers, or of what `save` wrote.
    """

    def __init__(self, folder: Path) -> None:
        self.model = AutoModelForQuestionAnswering.from_pretrained(folder)
        self.spans = SpanTokenizer(Tokenizer.from_file(str(folder / "tokenizer.json")))

    def save(self, folder: Path) -> None:
        """Write what the constructor reads."""
        self.model.save_pretrained(folder)
        self.spans.tokenizer.save(str(folder / "tokenizer.json"))

    def pair(self, question: list[int], window: list[int]) -> list[int]:
        """Put question and window in a row: [CLS] question [SEP] window [SEP]."""
        before, after = self.spans.before, self.spans.after
        return [*before, *question, *after, *window, *after]

    def scores(self, rows: list[list[int]], firsts: list[int]) -> tuple[Tensor, Tensor]:
        """Score starts and ends; `firsts` says where the window begins in each row."""
        tokens, mask = pad_batch(rows)
        places = torch.arange(tokens.shape[1])
        kinds = (places >= torch.tensor(firsts)[:, None]).long() * mask
        out = self.model(input_ids=tokens, attention_mask=mask, token_type_ids=kinds)
        last = mask.sum(1, keepdim=True) - len(self.spans.after)
        inner = (kinds > 0) & (places < last)
        inner[:, 0] = True  # the first token stands for "no answer"
        return tuple(
            logits.masked_fill(~inner, -torch.inf) for logits in (out.start_logits, out.end_logits)
        )


def examples(cross: CrossEncoder, data: QuestionSet) -> list[list[tuple]]:
    """Return rows of every question: tokens, start of the window, its first token, right spans."""
    read = cross.spans.encode_all([context.text for context in data.contexts])
    made = []
    for question in data.questions:
        question_ids = cross.spans.encode(question.text).ids.tolist()[:MAX_QUESTION]
        tokens = read[question.context]
        right = [tokens_of_span(tokens, *span) for span in question.answers]
        size = MAX_TOKENS - len(question_ids) - len(cross.spans.before) - 2 * len(cross.spans.after)
        rows = []
        for start, end in cut_windows(len(tokens.ids), size=size, overlap=OVERLAP):
            row = cross.pair(question_ids, tokens.ids[start:end].tolist())
            first = len(cross.spans.before) + len(question_ids) + len(cross.spans.after)
            held = [
                (a - start + first, b - start + first) for a, b in right if start <= a and b < end
            ]
            rows.append((row, first, start, held))
        made.append(rows)
    return made


def train(cross: CrossEncoder, data: QuestionSet, *, minutes: float, seed: int) -> list[dict]:
    """Train for some CPU time, and return the losses."""
    rows = [row for question in examples(cross, data) for row in question]
    optimizer = torch.optim.AdamW(cross.model.parameters(), lr=RATE, weight_decay=0.01)
    draw, spent, total, records = random.Random(seed), 0.0, minutes * 60, []
    torch.manual_seed(seed)
    cross.model.train()
    batches: list[list[tuple]] = []
    while spent < total:
        started = time.process_time()
        if not batches:
            draw.shuffle(rows)
            chunks = [rows[i : i + 50 * BATCH] for i in range(0, len(rows), 50 * BATCH)]
            for chunk in chunks:
                chunk.sort(key=lambda row: len(row[0]))
                batches += [chunk[i : i + BATCH] for i in range(0, len(chunk), BATCH)]
            draw.shuffle(batches)
        batch = batches.pop()
        sides = cross.scores([row[0] for row in batch], [row[1] for row in batch])
        loss = torch.zeros(())
        for side, logits in enumerate(sides):
            gold = torch.zeros_like(logits)
            for i, (_, _, _, held) in enumerate(batch):
                for span in held or [(0, 0)]:
                    gold[i, span[side]] += 1
            gold = gold / gold.sum(1, keepdim=True)
            logged = F.log_softmax(logits, -1).masked_fill(gold == 0, 0.0)
            loss = loss - (gold * logged).sum(1).mean() / 2
        done = spent / total
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1.0, done / WARMUP + 0.01) * (1 - done)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(cross.model.parameters(), 1.0)
        optimizer.step()
        spent += time.process_time() - started
        records.append({"seconds": spent, "loss": float(loss.detach())})
        if len(records) % 100 == 0:
            recent = sum(r["loss"] for r in records[-100:]) / 100
            print(f"step {len(records)}, {spent / 60:.1f} CPU-min, loss {recent:.3f}", flush=True)
    return records


@torch.inference_mode()
def answer(cross: CrossEncoder, data: QuestionSet) -> list[str]:
    """Answer every question from its own context, by the best span of all its windows."""
    cross.model.eval()
    predictions = []
    read = cross.spans.encode_all([context.text for context in data.contexts])
    for question, rows in zip(data.questions, examples(cross, data), strict=True):
        tokens, best = read[question.context], (-torch.inf, "")
        starts, ends = cross.scores([row[0] for row in rows], [row[1] for row in rows])
        both = starts[:, :, None] + ends[:, None, :]
        nothing = both[:, 0, 0].clone()
        both[:, 0], both[:, :, 0] = -torch.inf, -torch.inf
        allowed = torch.ones(both.shape[1:], dtype=torch.bool).triu().tril(MAX_ANSWER - 1)
        both = both.masked_fill(~allowed, -torch.inf).flatten(1)
        scores, places = both.max(1)
        for (_, first, start, _), score, place, none in zip(
            rows, scores, places, nothing, strict=True
        ):
            a, b = (int(p) - first + start for p in divmod(int(place), starts.shape[1]))
            text = data.contexts[question.context].text[tokens.starts[a] : tokens.ends[b]]
            best = max(best, (float(score - none), text.strip()))
        predictions.append(best[1])
    return predictions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoder", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=40.0)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    _, split = load_questions(QuestionSources(options.data))
    torch.manual_seed(options.seed)
    cross = CrossEncoder(options.encoder)
    records = train(cross, split.train, minutes=options.minutes, seed=options.seed)
    cross.save(options.out)
    predictions, right = answer(cross, split.test), references(split.test)
    groups = [split.test.contexts[q.context].title for q in split.test.questions]
    result = {"minutes": options.minutes, "steps": len(records)}
    for score, name in (
        (answer_f1(predictions, right), "f1"),
        (answer_exact_match(predictions, right), "em"),
    ):
        low, high = bootstrap_interval(score.items, groups=groups)
        result[name] = {"value": score.value, "interval": [low, high]}
    print(json.dumps(result))
    (options.out / "scores.json").write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
