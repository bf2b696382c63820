"""How `askew evaluate` scores a model that labels texts."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from askew._check import require
from askew._folders import check_output
from askew.tasks._application import Scored, Scorer, Scoring, ScoringOptions, option
from askew.tasks._read_data import describe_read

if TYPE_CHECKING:
    from askew.tasks._reliability import ReliabilityBin
    from askew.tradeoffs import Progress


@dataclass(frozen=True, kw_only=True)
class LabelTextScoring(ScoringOptions):
    """Options of `askew evaluate` for models that label texts."""

    columns: str | None = option(None, "Which columns of --data are text and labels.")
    reliability: Path | None = option(
        None, "Also draw here how often a probability is right, as a page of HTML."
    )


def score(folder: Path, options: LabelTextScoring) -> Scorer:
    """Read the texts and the model, and return a function that scores it."""
    from askew.models import TextLabeller
    from askew.tasks._reliability import write_reliability_page
    from askew.tasks._text_label_data import load_labelled_test, split_labelled
    from askew.tasks._trained_on import trained_on

    if options.reliability is not None:
        reads = [folder] if options.data is None else [folder, options.data]
        check_output(options.reliability, caller="evaluate", reads=reads, option="--reliability")
    data = None if options.data is None else str(options.data)
    labeller = TextLabeller.from_pretrained(folder)
    known = labeller.model.config.labels
    texts = load_labelled_test(data, columns=options.columns, part=options.part, known=known)
    others = sorted(set(texts.names) - set(known))
    require(
        not others,
        lambda: (
            f"evaluate: labels must be those of the model, {', '.join(known[:9])}; "
            f"got {', '.join(others[:9])} in {data or 'the phrases of the CLDR'}"
            + ("" if data else ". Give --data")
        ),
    )
    if labeller.model.config.is_exclusive:
        odd = sum(len(names) != 1 for names in texts.labels)
        require(
            odd == 0,
            "evaluate: every text must have exactly one label, because the model chooses one; got "
            f"{odd:,} of {len(texts.texts):,} texts with none or several in {data}",
        )

    def scored(progress: "Progress") -> Scored:
        found, bins = _scored(labeller, texts)
        if options.reliability is not None:
            write_reliability_page(bins, options.reliability, name=folder.resolve().name)
        return found

    place = data or "phrases of the CLDR"
    count = len(texts.texts)
    notes = trained_on(
        folder,
        "texts",
        count,
        options.part,
        lambda: [split.fingerprint for split in split_labelled(texts, 0)],
    )
    return Scorer(describe_read("texts", place, {}, {"score": count}), notes, scored)


def _scored(labeller: Any, texts: Any) -> "tuple[Scored, list[ReliabilityBin]]":
    import torch

    from askew.tasks._reliability import calibration_error, reliability_bins
    from askew.tasks._text_label_scores import label_scores, scores_by_label, target_matrix

    config = labeller.model.config
    logits = labeller.logits(texts.texts)
    holding, truth = labeller.holding(logits), target_matrix(texts, config.labels)
    scores: dict[str, float] = label_scores(logits, holding, truth, exclusive=config.is_exclusive)
    tensor = torch.from_numpy(logits).double()
    if config.is_exclusive:
        probabilities = tensor.softmax(1).amax(1).numpy()
        right = logits.argmax(1) == truth.argmax(1)
    else:
        probabilities, right = tensor.sigmoid().numpy(), truth
    bins = reliability_bins(probabilities, right)
    scores["calibration_error"] = calibration_error(bins)
    by_label = scores_by_label(logits, holding, truth, config.labels)
    lines = [f"{name} {value:.4g}" for name, value in scores.items()]
    lines += [
        f"{row['label']}: {row['texts']} texts, average precision {row['ap']:.4g}, "
        f"F1 {row['f1']:.4g}"
        for row in by_label
        if row["texts"]
    ]
    outputs = [
        ",".join(name for name, held in zip(config.labels, row, strict=True) if held)
        for row in holding
    ]
    results = {
        "version": 1,
        "texts": len(outputs),
        "scores": scores,
        "by_label": by_label,
        "reliability": [one._asdict() for one in bins],
    }
    return Scored(outputs, results, lines), bins


SCORING = Scoring(
    options=LabelTextScoring,
    score=score,
    help="Labels of texts are scored by mAP and F1 at the stored thresholds, or by accuracy if "
    "every text has one label; overall and for each label, with the calibration error.",
)
