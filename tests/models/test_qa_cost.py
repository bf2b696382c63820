"""The closed forms of question answering count what the built model does."""

import pytest
import torch
from torch import nn

from askew.models import (
    AsymmetricQAConfig,
    AsymmetricQAModel,
    QAConfig,
    QAParameterCount,
    qa_parameter_count,
    qa_question_flops,
    qa_training_flops,
)
from askew.tradeoffs import count_parameters, symmetric_twin
from askew.transformer import ReaderConfig, StackConfig

pytestmark = pytest.mark.unhooked  # counts are no tensors


def config(question=(16, 1), context=(24, 3), **reader):
    sides = [
        StackConfig(d_model=width, num_layers=layers, num_heads=2, d_ff=3 * width)
        for width, layers in (question, context)
    ]
    numbers = {"d_model": 20, "num_layers": 2, "num_heads": 2, "d_key": 8, "d_ff": 28} | reader
    return QAConfig(
        question_vocab=11,
        context_vocab=13,
        question=sides[0],
        context=sides[1],
        reader=ReaderConfig(**numbers),
        d_pool=10,
    )


def built(plain):
    return AsymmetricQAModel(AsymmetricQAConfig.from_plain(plain)).eval()


CASES = [config(), config(question=(24, 3)), config(num_layers=1, kernel_size=3, d_span=5)]


@pytest.mark.parametrize("plain", CASES)
def test_parameters_are_those_of_the_built_model(plain):
    count = qa_parameter_count(plain)
    assert isinstance(count, QAParameterCount)
    model = built(plain)
    assert count.total == count_parameters(model)
    assert count.reader == count_parameters(model.reader)
    assert count.question == count_parameters(model.question_encoder) + 16 * 10 or (
        plain.question.d_model != 16
    )


class Counter(torch.utils._python_dispatch.TorchDispatchMode):
    """Counts matrix products and convolutions as they run, by their shapes."""

    flops = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if name in ("mm", "bmm"):
            self.flops += 2 * out.numel() * args[0].shape[-1]
        elif name == "addmm":
            self.flops += 2 * out.numel() * args[1].shape[-1]
        elif name == "convolution":
            self.flops += 2 * out.numel() * args[1].shape[1:].numel()
        elif "scaled_dot_product" in name:
            q, k, v = args[:3]
            pairs = q.shape[0] * q.shape[1] * q.shape[2] * k.shape[2]
            self.flops += 2 * pairs * (q.shape[3] + v.shape[3])
        return out


@torch.no_grad()
def counted(run):
    with Counter() as counter:
        run()
    return counter.flops


@pytest.mark.parametrize("plain", CASES)
def test_operations_are_those_that_run(plain):
    model, q, c = built(plain), 5, 9
    question = model.encode_questions(torch.ones(1, q, dtype=torch.long))
    context = model.encode_contexts(torch.ones(1, c, dtype=torch.long))
    asked = counted(lambda: model.read(question, context))
    assert qa_question_flops(plain, question_length=q, context_length=c) == asked
    whole = asked + counted(lambda: model.encode_questions(torch.ones(1, q, dtype=torch.long)))
    once = counted(lambda: model.encode_contexts(torch.ones(1, c, dtype=torch.long)))
    for number in (1, 4):
        assert qa_training_flops(
            plain, question_length=q, context_length=c, questions_per_context=number
        ) == 3 * (once + number * whole)


def test_the_twin_has_equal_encoders_and_as_many_parameters():
    wide = config(question=(32, 2), context=(64, 4))
    twin = symmetric_twin(wide, sides=("question", "context"), count=qa_parameter_count)
    assert twin.config.question == twin.config.context
    assert twin.config.reader == wide.reader
    wanted = count_parameters(built(wide))
    assert abs(count_parameters(built(twin.config)) / wanted - 1) <= 0.01
    assert isinstance(built(twin.config), nn.Module)
    again = symmetric_twin(twin.config, sides=("question", "context"), count=qa_parameter_count)
    assert again.config == twin.config
