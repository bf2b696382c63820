import math

import pytest
import torch
import torch.nn.functional as F
from loss_laws import LossCase, close, each_law_of
from torch import nn

from askew.losses import AsymmetricContrastiveLoss, asymmetric_contrastive_loss


def pairs(queries: int, documents: int, width: int = 4, dtype: torch.dtype = torch.double):
    sizes = (queries, documents)
    return tuple(torch.randn(n, width, dtype=dtype, requires_grad=True) for n in sizes)


def same_value_and_gradient(ours, theirs, inputs):
    close(ours, theirs)
    mine, other = (
        torch.autograd.grad(value, inputs, retain_graph=True) for value in (ours, theirs)
    )
    for a, b in zip(mine, other, strict=True):
        close(a, b)


def cosines(queries, documents):
    return F.normalize(queries) @ F.normalize(documents).T


def test_equal_weights_are_the_loss_of_clip():
    inputs = pairs(6, 6)
    scores, target = cosines(*inputs) / 0.05, torch.arange(6)
    theirs = (F.cross_entropy(scores, target) + F.cross_entropy(scores.T, target)) / 2
    same_value_and_gradient(asymmetric_contrastive_loss(*inputs), theirs, inputs)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_one_way_is_the_cross_entropy_of_the_rows(reduction):
    inputs = pairs(5, 9)
    scores, target = inputs[0] @ inputs[1].T / 0.7, torch.arange(5)
    ours = asymmetric_contrastive_loss(
        *inputs,
        temperature=0.7,
        weight_queries=1.0,
        weight_documents=0.0,
        similarity="dot",
        reduction=reduction,
    )
    theirs = F.cross_entropy(scores, target, reduction=reduction)
    same_value_and_gradient(ours, theirs, inputs)


def test_the_other_way_is_the_cross_entropy_of_the_columns():
    inputs = pairs(5, 5)
    ours = asymmetric_contrastive_loss(*inputs, weight_queries=0.0, weight_documents=1.0)
    theirs = F.cross_entropy(cosines(*inputs).T / 0.05, torch.arange(5))
    same_value_and_gradient(ours, theirs, inputs)


def masks() -> tuple[torch.Tensor, torch.Tensor]:
    """Six queries and five documents: shared, several, none; one row and one column without."""
    positives = torch.zeros(6, 5, dtype=torch.bool)
    positives[[0, 1, 2, 2, 3, 4], [0, 0, 1, 2, 2, 3]] = True
    exclude = torch.zeros_like(positives)
    exclude[[0, 1, 3, 3, 5], [1, 1, 0, 4, 2]] = True
    return positives, exclude


def naive(scores: list[list[float]], positives, exclude) -> list[float]:
    costs = []
    for row, positive, out in zip(scores, positives, exclude, strict=True):
        good = [math.exp(s) for s, p in zip(row, positive, strict=True) if p]
        everything = [math.exp(s) for s, p, e in zip(row, positive, out, strict=True) if p or not e]
        costs.append(-math.log(sum(good) / sum(everything)) if good else 0.0)
    return costs


def test_equals_a_plain_loop():
    inputs = pairs(6, 5)
    positives, exclude = masks()
    scores = (cosines(*inputs) / 0.3).tolist()
    by_query = naive(scores, positives.tolist(), exclude.tolist())
    by_document = naive(
        [list(column) for column in zip(*scores, strict=True)],
        positives.T.tolist(),
        exclude.T.tolist(),
    )
    expected = {
        "mean": 0.7 * sum(by_query) / 5 + 1.9 * sum(by_document) / 4,
        "sum": 0.7 * sum(by_query) + 1.9 * sum(by_document),
        "none": [0.7 * cost for cost in by_query] + [1.9 * cost for cost in by_document],
    }
    for reduction, value in expected.items():
        actual = asymmetric_contrastive_loss(
            *inputs,
            temperature=0.3,
            weight_queries=0.7,
            weight_documents=1.9,
            positives=positives,
            exclude=exclude,
            reduction=reduction,
        )
        close(actual, torch.tensor(value, dtype=torch.double))


def test_a_document_shared_by_queries_is_right_for_all_of_them():
    """Two queries, one passage twice in the batch: nothing is left to learn, on either side."""
    queries = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    settings = {"temperature": 0.01, "reduction": "none"}
    plain = asymmetric_contrastive_loss(queries, queries, **settings)
    close(plain, torch.tensor([0.5 * math.log(2)] * 2 + [0.0] + [0.5 * math.log(2)] * 2 + [0.0]))
    shared = torch.tensor([[True, True, False], [True, True, False], [False, False, True]])
    assert asymmetric_contrastive_loss(queries, queries, positives=shared, **settings).max() < 1e-9
    excluded = asymmetric_contrastive_loss(queries, queries, exclude=shared, **settings)
    assert excluded.max() < 1e-9
    close(
        asymmetric_contrastive_loss(queries, queries[1:], positives=shared[:, 1:], **settings)[3:],
        torch.zeros(2),
    )


def test_a_positive_pair_stays_positive_where_excluded():
    inputs = pairs(4, 4)
    everything = torch.ones(4, 4, dtype=torch.bool)
    assert asymmetric_contrastive_loss(*inputs, exclude=everything) == 0
    matching = torch.eye(4, dtype=torch.bool)
    close(
        asymmetric_contrastive_loss(*inputs, exclude=matching), asymmetric_contrastive_loss(*inputs)
    )
    column = torch.arange(4) == 2
    same_value_and_gradient(
        asymmetric_contrastive_loss(*inputs, exclude=column.expand(4, 4)),
        asymmetric_contrastive_loss(*inputs, exclude=column & ~matching),
        inputs,
    )


def test_similarities_are_exact_under_autocast():
    inputs = pairs(6, 6, dtype=torch.float32)
    exact = asymmetric_contrastive_loss(*inputs)
    with torch.autocast("cpu", torch.bfloat16):
        same_value_and_gradient(asymmetric_contrastive_loss(*inputs), exact, inputs)


def test_excluding_is_removing_the_column():
    queries, documents = pairs(3, 5)
    exclude = torch.zeros(3, 5, dtype=torch.bool)
    exclude[:, 4] = True
    poisoned = documents.detach().clone()
    poisoned[4] = math.nan
    poisoned.requires_grad_()
    ours = asymmetric_contrastive_loss(queries, poisoned, exclude=exclude)
    theirs = asymmetric_contrastive_loss(queries, documents[:4])
    close(ours, theirs)
    close(
        torch.autograd.grad(ours, queries, retain_graph=True)[0],
        torch.autograd.grad(theirs, queries, retain_graph=True)[0],
    )
    close(torch.autograd.grad(ours, poisoned)[0], torch.autograd.grad(theirs, documents)[0])


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_hiding_is_removing_the_query(reduction):
    positives, exclude = masks()
    where = torch.tensor([True, False, True, True, False, True])
    queries, documents = pairs(6, 5)
    poisoned = queries.detach().masked_fill(~where.unsqueeze(1), math.nan).requires_grad_()
    ours = asymmetric_contrastive_loss(
        poisoned,
        documents,
        positives=positives,
        exclude=exclude,
        where=where,
        reduction=reduction,
    )
    theirs = asymmetric_contrastive_loss(
        queries[where],
        documents,
        positives=positives[where],
        exclude=exclude[where],
        reduction=reduction,
    )
    close(ours, theirs)
    for a, b in zip(
        torch.autograd.grad(ours, (poisoned, documents)),
        torch.autograd.grad(theirs, (queries, documents)),
        strict=True,
    ):
        close(a, b)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_nothing_to_find_is_a_differentiable_zero(reduction):
    for settings in (
        {"positives": torch.zeros(4, 3, dtype=torch.bool)},
        {"positives": torch.ones(4, 3, dtype=torch.bool), "where": torch.zeros(4).bool()},
        {"positives": torch.ones(4, 3, dtype=torch.bool)},
    ):
        inputs = pairs(4, 3)
        loss = asymmetric_contrastive_loss(*inputs, **settings, reduction=reduction)
        assert loss == 0
        assert not any(g.any() for g in torch.autograd.grad(loss, inputs))
    inputs = pairs(0, 3)
    loss = asymmetric_contrastive_loss(*inputs, reduction=reduction)
    assert loss == 0
    assert not any(g.any() for g in torch.autograd.grad(loss, inputs))


def test_swapping_queries_and_documents_with_their_weights_changes_nothing():
    inputs = queries, documents = pairs(6, 5)
    positives, exclude = masks()
    ours = asymmetric_contrastive_loss(
        *inputs, weight_queries=0.3, weight_documents=1.1, positives=positives, exclude=exclude
    )
    mirrored = asymmetric_contrastive_loss(
        documents,
        queries,
        weight_queries=1.1,
        weight_documents=0.3,
        positives=positives.T,
        exclude=exclude.T,
    )
    same_value_and_gradient(ours, mirrored, inputs)


def law_case(similarity: str) -> LossCase:
    positives = torch.eye(5, dtype=torch.bool)
    positives[0, 3] = positives[3, 0] = True
    exclude = torch.zeros_like(positives)
    exclude[1, 2] = exclude[4, 0] = True
    settings = {"temperature": 0.5, "weight_queries": 0.8, "weight_documents": 0.3}
    generator = torch.Generator().manual_seed(2)
    return LossCase(
        lambda q, d, **more: asymmetric_contrastive_loss(
            q,
            d,
            **settings,
            similarity=similarity,
            positives=positives.to(q.device),
            exclude=exclude.to(q.device),
            **more,
        ),
        tuple(torch.randn(2, 5, 3, dtype=torch.double, generator=generator)),
        wrt=(0, 1),
    )


def plain_case() -> LossCase:
    generator = torch.Generator().manual_seed(2)
    settings = {"temperature": 0.5, "weight_queries": 0.8, "weight_documents": 0.3}
    return LossCase(
        lambda q, d, **more: asymmetric_contrastive_loss(q, d, **settings, **more),
        tuple(torch.randn(2, 5, 3, dtype=torch.double, generator=generator)),
        wrt=(0, 1),
        module=AsymmetricContrastiveLoss(**settings),
    )


CASES = {"cosine": law_case("cosine"), "dot": law_case("dot"), "plain": plain_case()}


@each_law_of(CASES)
def test_laws(law, case):
    law(case)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("size", [0.0, 1e-4, 1.0, 6e4])
def test_vectors_of_any_size_are_finite_in_value_and_gradient(size, dtype):
    queries, documents = (t.detach() for t in pairs(5, 5, dtype=torch.float32))
    queries, documents = (queries.sign() * size).to(dtype), documents.to(dtype)
    queries.requires_grad_()
    loss = asymmetric_contrastive_loss(queries, documents)
    assert loss.isfinite()
    assert torch.autograd.grad(loss, queries)[0].isfinite().all()


@pytest.mark.parametrize("gap", [5.0, 30.0, 80.0, 1e4])
def test_small_costs_keep_their_digits(gap):
    queries = torch.tensor([[gap]], requires_grad=True)
    documents = torch.tensor([[1.0], [0.0]])
    settings = {"temperature": 1.0, "weight_queries": 1.0, "weight_documents": 0.0}
    for sign in (1, -1):
        loss = asymmetric_contrastive_loss(sign * queries, documents, similarity="dot", **settings)
        exact = math.log1p(math.exp(-gap)) + (0 if sign > 0 else gap)
        close(loss, torch.tensor(exact), rtol=1e-6, atol=0.0)
        (slope,) = torch.autograd.grad(loss, queries)
        close(
            slope,
            torch.tensor([[-math.exp(-gap - math.log1p(math.exp(-gap)))]])
            if sign > 0
            else torch.tensor([[1 / (1 + math.exp(-gap))]]),
            rtol=1e-6,
            atol=0.0,
        )


def test_the_temperature_can_be_learned():
    inputs = pairs(4, 4)
    module = AsymmetricContrastiveLoss(temperature=nn.Parameter(torch.tensor(0.2).double()))
    value = module(*inputs)
    close(value, asymmetric_contrastive_loss(*inputs, temperature=0.2))
    (slope,) = torch.autograd.grad(value, module.temperature)
    step = 1e-6
    up, down = (asymmetric_contrastive_loss(*inputs, temperature=0.2 + s) for s in (step, -step))
    close(slope, (up - down) / (2 * step), rtol=1e-5, atol=1e-7)
    assert [name for name, _ in module.named_parameters()] == ["temperature"]
    assert "temperature='learned'" in repr(module)


def test_the_module_says_its_settings_and_passes_everything_on():
    assert repr(AsymmetricContrastiveLoss(weight_documents=0.25)) == (
        "AsymmetricContrastiveLoss(temperature=0.05, weight_queries=0.5, weight_documents=0.25, "
        "similarity='cosine', reduction='mean')"
    )
    inputs = pairs(6, 6)
    default = AsymmetricContrastiveLoss()(*inputs)
    for setting in (
        {"temperature": 0.3},
        {"weight_queries": 3.0},
        {"weight_documents": 3.0},
        {"similarity": "dot"},
        {"reduction": "sum"},
    ):
        value = AsymmetricContrastiveLoss(**setting)(*inputs)
        close(value, asymmetric_contrastive_loss(*inputs, **setting))
        assert value != default
    for mask in (
        {"positives": torch.rand(6, 6) > 0.5},
        {"exclude": torch.rand(6, 6) > 0.5},
        {"where": torch.rand(6) > 0.5},
    ):
        value = AsymmetricContrastiveLoss()(*inputs, **mask)
        close(value, asymmetric_contrastive_loss(*inputs, **mask))
        assert value != default


@pytest.mark.unhooked
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": 0.0}, "temperature must be above 0 and finite; got temperature 0.0"),
        ({"temperature": math.nan}, "temperature must be above 0 and finite; got temperature nan"),
        ({"weight_queries": -1.0}, "weights must be >= 0 .* got weight_queries -1.0, .* 0.5"),
        ({"weight_queries": 0.0, "weight_documents": 0.0}, "weights .* weight_documents 0"),
        ({"similarity": "l2"}, 'similarity must be "cosine" or "dot"; got similarity .l2'),
        ({"reduction": "max"}, "reduction must be .*; got reduction 'max'"),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(ValueError, match=f"asymmetric_contrastive_loss: {message}"):
        asymmetric_contrastive_loss(*pairs(2, 2), **settings)
    with pytest.raises(ValueError, match=f"AsymmetricContrastiveLoss: {message}"):
        AsymmetricContrastiveLoss(**settings)


@pytest.mark.unhooked
def test_inputs_that_do_not_fit():
    name, (q, d) = "asymmetric_contrastive_loss", pairs(3, 2)
    with pytest.raises(
        ValueError, match=f"{name}: without positives .* got 3 queries, 2 documents"
    ):
        asymmetric_contrastive_loss(q, d)
    with pytest.raises(ValueError, match=rf"{name}: .*same width > 0; got .*documents \(2, 3\)"):
        asymmetric_contrastive_loss(q, d[:, :3])
    mask = torch.ones(3, 2, dtype=torch.bool)
    for label in ("positives", "exclude"):
        masks = {"positives": mask, label: mask[:2]}
        with pytest.raises(ValueError, match=rf"{name}: {label} must be .*\(2, 2\), .*\(3, 2\)"):
            asymmetric_contrastive_loss(q, d, **masks)
        with pytest.raises(TypeError, match=f"{name}: {label} must be boolean; got .*float32"):
            asymmetric_contrastive_loss(q, d, **{"positives": mask, label: mask.float()})
    with pytest.raises(TypeError, match=f"{name}: documents must be floating point; got .*int64"):
        asymmetric_contrastive_loss(q, d.long())
    with pytest.raises(TypeError, match=f"{name}: where must be boolean"):
        asymmetric_contrastive_loss(q, d, positives=mask, where=torch.ones(3))
    with pytest.raises(ValueError, match=rf"{name}: where must broadcast .*\(2,\), loss \(3,\)"):
        asymmetric_contrastive_loss(q, d, positives=mask, where=mask[0])
