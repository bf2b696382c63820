"""Decoding with `generate` of transformers, independent of who shares the batch."""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList

from askew.models._decoding import DecodingConfig, TokenHypothesis
from askew.models._translation import AsymmetricTranslationModel
from askew.text import END, pad_batch


class TorchEngine:
    """Searches with PyTorch.

    Args:
        model: The model; put into evaluation mode.
    """

    def __init__(self, model: AsymmetricTranslationModel) -> None:
        self.model = model.eval()

    @torch.inference_mode()
    def decode(
        self, sources: Sequence[Sequence[int]], limits: Sequence[int], config: DecodingConfig
    ) -> list[list[TokenHypothesis]]:
        """Search; see `Engine`.

        Args:
            sources: Source tokens without an end.
            limits: Most new tokens of each.
            config: How.

        Returns:
            For every source its hypotheses, the best first.
        """
        device = self.model.device
        tokens, mask = pad_batch([[*source, END] for source in sources])
        each = config.num_hypotheses if config.sample else config.num_beams
        forced = _EndAtLimit(torch.tensor(limits, device=device).repeat_interleave(each))
        # A draw that leaves the generator of everything else as it was.
        with torch.random.fork_rng(enabled=config.sample):
            if config.sample:
                torch.manual_seed(config.seed)
            found = self.model.generate(
                tokens.to(device),
                attention_mask=mask.to(device),
                num_beams=config.num_beams,
                num_return_sequences=config.num_hypotheses,
                length_penalty=config.length_penalty,
                do_sample=config.sample,
                max_new_tokens=max(limits) + 1,
                logits_processor=LogitsProcessorList([forced]),
                return_dict_in_generate=True,
                output_scores=True,
                output_logits=True,
                **_sampling(config),
            )
        scores = self._scores(found, config)
        rows = [
            TokenHypothesis(_without_end(row), score)
            for row, score in zip(found.sequences[:, 1:].tolist(), scores, strict=True)
        ]
        count = config.num_hypotheses
        groups = [rows[start : start + count] for start in range(0, len(rows), count)]
        return [sorted(group, key=lambda h: -h.score) for group in groups]

    def _scores(self, found, config: DecodingConfig) -> list[float]:
        if config.num_beams > 1:
            return found.sequences_scores.tolist()
        chosen = found.sequences[:, 1:]
        ends = (chosen == END).long()
        real = ends.cumsum(-1) == ends  # up to and with the first end
        steps = [
            logits.float().log_softmax(-1).gather(1, chosen[:, i : i + 1])[:, 0]
            for i, logits in enumerate(found.logits)
        ]
        summed = (torch.stack(steps, 1) * real).sum(-1)
        return (summed / real.sum(-1) ** config.length_penalty).tolist()


class _EndAtLimit(LogitsProcessor):
    """Leaves nothing but the end to a row that has as many tokens as it may."""

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
