"""The losses are those of TRL's trainers, whose own code runs here on given log-probabilities."""

import warnings
from collections import defaultdict
from types import SimpleNamespace

import pytest
import torch
from loss_laws import close

from askew.losses import clipped_policy_loss, kto_loss, preference_loss, token_log_probs

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("trl", reason="TRL is not installed")
    from trl import DPOTrainer, GRPOTrainer, KTOTrainer
    from trl.trainer.utils import selective_log_softmax

pytestmark = pytest.mark.filterwarnings("ignore")


def measurements():
    return defaultdict(lambda: defaultdict(list))


def accelerator():
    """One process, which has all there is to gather."""

    def whole(tensor, *_, **__):
        return tensor

    return SimpleNamespace(
        device=torch.device("cpu"),
        num_processes=1,
        gather=whole,
        gather_for_metrics=whole,
        reduce=whole,
    )


def example(sequences=6, tokens=5):
    generator = torch.Generator().manual_seed(0)
    new, old = -torch.rand(2, sequences, tokens, generator=generator, dtype=torch.double)
    lengths = torch.randint(1, tokens + 1, (sequences, 1), generator=generator)
    return new.requires_grad_(), old, torch.arange(tokens) < lengths


def same(ours, theirs, x):
    close(ours, theirs)
    close(*(torch.autograd.grad(loss, x, retain_graph=True)[0] for loss in (ours, theirs)))


@pytest.mark.parametrize(
    ("loss_type", "level", "delta", "ours"),
    [
        ("grpo", "token", None, {"per": "sequence"}),
        ("bnpo", "token", None, {}),
        ("dapo", "token", None, {"clip_high": 0.28}),
        ("bnpo", "token", 1.6, {"dual_clip": 1.6}),
        ("grpo", "sequence", None, {"per": "sequence"}),
    ],
)
def test_policies(loss_type, level, delta, ours):
    new, old, where = example()
    advantage = torch.tensor([1.0, -1.0, 0.5, -0.5, 2.0, -2.0]).double()
    trainer = SimpleNamespace(
        args=SimpleNamespace(delta=delta, use_bias_correction_kl=False, steps_per_generation=1),
        model=SimpleNamespace(training=True),
        accelerator=accelerator(),
        loss_type=loss_type,
        importance_sampling_level=level,
        epsilon_low=0.2,
        epsilon_high=ours.get("clip_high", 0.2),
        beta=0.0,
        top_entropy_quantile=1.0,
        off_policy_mask_threshold=None,
        use_vllm=False,
        aux_loss_enabled=False,
        current_gradient_accumulation_steps=1,
        _entropy_bonus_enabled=False,
        _metrics=measurements(),
        _get_per_token_logps_and_entropies=lambda *_, **__: (new, torch.zeros_like(old), None),
    )
    inputs = {
        "prompt_ids": torch.zeros(6, 1, dtype=torch.long),
        "prompt_mask": torch.ones(6, 1, dtype=torch.long),
        "completion_ids": torch.zeros(6, 5, dtype=torch.long),
        "completion_mask": where.long(),
        "advantages": advantage,
        "old_per_token_logps": old,
        "num_items_in_batch": where.sum(),
    }
    theirs = GRPOTrainer._compute_loss(trainer, trainer.model, inputs)
    log_ratio = new - old
    if level == "sequence":
        log_ratio = (log_ratio * where).sum(-1, keepdim=True) / where.sum(-1, keepdim=True)
        where = None
    same(clipped_policy_loss(log_ratio, advantage, where=where, **ours), theirs, new)


def outputs(log_probs):
    zeros = torch.zeros_like(log_probs)
    return lambda **_: SimpleNamespace(
        log_probs=log_probs, entropy=zeros, mean_logits=zeros, is_top1=zeros > 0
    )


@pytest.mark.parametrize(
    ("loss_type", "smoothing", "ours"),
    [
        ("sigmoid", 0.0, {}),
        ("sigmoid_norm", 0.0, {"lengths": True}),
        ("robust", 0.1, {"kind": "robust"}),
        ("ipo", 0.0, {"kind": "ipo", "lengths": True}),
        ("apo_zero", 0.0, {"kind": "apo_zero"}),
        ("apo_down", 0.0, {"kind": "apo_down"}),
    ],
)
def test_preferences(loss_type, smoothing, ours):
    new, old, where = example()
    where = where.flip(1)  # prompts first, then completions
    model = outputs(new * where)
    model.training = True
    trainer = SimpleNamespace(
        model=SimpleNamespace(training=True),
        accelerator=accelerator(),
        aux_loss_enabled=False,
        ld_alpha=None,
        precompute_ref_logps=True,
        f_divergence_type="reverse_kl",
        loss_types=[loss_type],
        loss_weights=[1.0],
        beta=0.3,
        label_smoothing=smoothing,
        use_weighting=False,
        _metrics=measurements(),
        _total_train_tokens=0,
        _tp_size=1,
    )
    reference = (old * where).sum(-1)
    mask = torch.cat([torch.zeros(6, 1, dtype=torch.bool), where], 1).long()
    inputs = {
        "input_ids": torch.zeros(6, 6, dtype=torch.long),
        "attention_mask": torch.ones(6, 6, dtype=torch.long),
        "completion_mask": mask,
        "ref_chosen_logps": reference[:3],
        "ref_rejected_logps": reference[3:],
    }
    theirs = DPOTrainer._compute_loss(trainer, model, inputs, False)
    log_ratios = ((new - old) * where).sum(-1)
    sizes = where.sum(-1)
    call = {"kind": ours.get("kind", "dpo"), "beta": 0.3, "label_smoothing": smoothing}
    if "lengths" in ours:
        call |= {"chosen_lengths": sizes[:3], "rejected_lengths": sizes[3:]}
    same(preference_loss(log_ratios[:3], log_ratios[3:], **call), theirs, new)


@pytest.mark.parametrize("loss_type", ["kto", "apo_zero_unpaired"])
def test_answers(loss_type):
    new, old, where = example()
    where = where.flip(1)
    good = torch.tensor([True, False, False, True, False, True])
    kl = torch.tensor([0.5, 1.5, -0.2, 0.3, 0.1, 0.4]).double()
    trainer = SimpleNamespace(
        model=SimpleNamespace(training=True),
        accelerator=accelerator(),
        aux_loss_enabled=False,
        calculate_KL=loss_type == "kto",
        precompute_ref_logps=True,
        loss_type=loss_type,
        beta=0.3,
        desirable_weight=1.4,
        undesirable_weight=0.8,
        _metrics=measurements(),
        _total_train_tokens=0,
        _tp_size=1,
        _compute_kl_logps=lambda *_: kl,
    )
    inputs = {
        "input_ids": torch.zeros(6, 6, dtype=torch.long),
        "attention_mask": torch.ones(6, 6, dtype=torch.long),
        "completion_mask": torch.cat([torch.zeros(6, 1, dtype=torch.bool), where], 1).long(),
        "label": good,
        "ref_logps": (old * where).sum(-1),
        "ref_KL_logps": torch.zeros(6).double(),
    }
    theirs = KTOTrainer._compute_loss(trainer, outputs(new * where), inputs, False)
    ours = kto_loss(
        ((new - old) * where).sum(-1),
        good,
        kl if loss_type == "kto" else 0.0,
        beta=0.3,
        weight_desirable=1.4,
        weight_undesirable=0.8,
    )
    same(ours, theirs, new)


def test_log_probabilities():
    logits = torch.randn(3, 4, 7, dtype=torch.double).requires_grad_()
    targets = torch.randint(7, (3, 4))
    for temperature in (1.0, 0.7):
        ours = token_log_probs(logits, targets, temperature=temperature)
        theirs = selective_log_softmax(logits, targets, temperature=temperature)
        same(ours.square().sum(), theirs.square().sum(), logits)
