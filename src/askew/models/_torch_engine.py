"""Decoding with `generate` of transformers; the other rows of a batch change no result."""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList

from askew._decoding import DecodingConfig, TokenHypothesis
from askew.models._devices import input_device
from askew.models._translation import AsymmetricTranslationModel
from askew.text import END, pad_batch


class TorchEngine:
    """Searches with PyTorch.

    Args:
        model: The model; put into evaluation mode.

    Attributes:
        longest: Positions of the side that has the fewest; None = any number.

    Example:
        >>> from askew.models import AsymmetricTranslationConfig
        >>> from askew.transformer import EncoderDecoderConfig, StackConfig
        >>> side = StackConfig(d_model=8, num_layers=1, num_heads=2, d_ff=16)
        >>> vocab = {"source_vocab": 280, "target_vocab": 280}
        >>> plain = EncoderDecoderConfig(encoder=side, decoder=side, **vocab)
        >>> model = AsymmetricTranslationModel(AsymmetricTranslationConfig.from_plain(plain))
        >>> ((best,),) = TorchEngine(model).decode([[5, 6]], [4], DecodingConfig())
        >>> len(best.tokens) <= 4
        True
    """

    def __init__(self, model: AsymmetricTranslationModel) -> None:
        self.model = model.eval()
        sides = (model.model.source_positions, model.model.target_positions)
        lengths = [side.most for side in sides if side is not None and side.most is not None]
        self.longest = min(lengths, default=None)

    @torch.inference_mode()
    def decode(
        self, sources: Sequence[Sequence[int]], limits: Sequence[int], config: DecodingConfig
    ) -> list[list[TokenHypothesis]]:
        """Search as `Engine.decode` describes; limits are lowered to the positions of the model."""
        if self.longest is not None:
            limits = [min(limit, self.longest - 1) for limit in limits]
        device = input_device(self.model)
        tokens, mask = pad_batch([[*source, END] for source in sources])
        width = config.num_hypotheses if config.sample else config.num_beams
        end_at_limit = _EndAtLimit(torch.tensor(limits, device=device).repeat_interleave(width))
        log_probs = _SumOfLogProbs()
        # Sampling must not move the global generator, which training and other code draw from.
        with torch.random.fork_rng(enabled=config.sample):
            if config.sample:
                torch.manual_seed(config.seed)
            output = self.model.generate(
                tokens.to(device),
                attention_mask=mask.to(device),
                num_beams=config.num_beams,
                num_return_sequences=config.num_hypotheses,
                length_penalty=config.length_penalty,
                do_sample=config.sample,
                max_length=max(limits) + 2,  # with start and end
                logits_processor=LogitsProcessorList(
                    [end_at_limit] if config.num_beams > 1 else [log_probs, end_at_limit]
                ),
                return_dict_in_generate=True,
                output_scores=config.num_beams > 1,
                **_sampling(config),
            )
        if config.num_beams > 1:
            scores = output.sequences_scores.tolist()
        else:
            scores = log_probs.over_length(output.sequences, config.length_penalty)
        rows = [
            TokenHypothesis(_without_end(row), score)
            for row, score in zip(output.sequences[:, 1:].tolist(), scores, strict=True)
        ]
        count = config.num_hypotheses
        groups = [rows[start : start + count] for start in range(0, len(rows), count)]
        return [sorted(group, key=lambda h: -h.score) for group in groups]


class _SumOfLogProbs(LogitsProcessor):
    """Sums the log-probabilities of the chosen tokens.

    A processor sees the scores of a step before the token is chosen, so each step is added at the
    next call; `generate` itself would keep the scores of all steps.
    """

    def __init__(self) -> None:
        self.last: Tensor | None = None

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        self._add_chosen(input_ids)
        self.last = scores.float().log_softmax(-1)
        return scores

    def over_length(self, sequences: Tensor, length_penalty: float) -> list[float]:
        self._add_chosen(sequences)
        return (self.total / self.length**length_penalty).tolist()

    def _add_chosen(self, tokens: Tensor) -> None:
        chosen = tokens[:, -1:]
        if self.last is None:
            self.total, self.length = (torch.zeros(len(tokens), device=tokens.device) for _ in "ab")
            self.open = torch.ones(len(tokens), dtype=torch.bool, device=tokens.device)
            return
        self.total += self.last.gather(1, chosen)[:, 0].masked_fill(~self.open, 0.0)
        self.length += self.open
        self.open = self.open & (chosen[:, 0] != END)


class _EndAtLimit(LogitsProcessor):
    """Allows only the end token to a row that has reached its limit."""

    def __init__(self, limits: Tensor) -> None:
        self.limits = limits

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        over = input_ids.shape[1] - 1 >= self.limits
        if not bool(over.any()):
            return scores
        only_end = torch.full_like(scores, -torch.inf)
        only_end[:, END] = scores[:, END]
        return torch.where(over[:, None], only_end, scores)


def _sampling(config: DecodingConfig) -> dict[str, float | int]:
    if not config.sample:
        return {}
    return {"temperature": config.temperature, "top_k": config.top_k, "top_p": config.top_p}


def _without_end(row: list[int]) -> list[int]:
    return row[: row.index(END)] if END in row else row
