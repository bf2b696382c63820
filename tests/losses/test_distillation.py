import math

import pytest
import torch
import torch.nn.functional as F
from loss_laws import LossCase, close, each_law_of

from askew.losses import (
    DistillationLoss,
    TopK,
    _distillation,
    _divergences,
    distillation_loss,
    top_k,
)

KINDS = [
    {"divergence": "forward"},
    {"divergence": "reverse", "temperature": 2.0},
    {"divergence": "skewed", "skew": 0.3, "temperature": 1.5},
    {"divergence": "js"},
    {"divergence": "js", "skew": 0.2, "temperature": 3.0},
]


def example(*rows: int, classes: int = 5):
    generator = torch.Generator().manual_seed(sum(rows) + classes)
    return 2 * torch.randn(2, *rows, classes, generator=generator, dtype=torch.double)


def with_gradient(student, teacher, **settings):
    student = student.clone().requires_grad_()
    value = distillation_loss(student, teacher, **settings)
    (gradient,) = torch.autograd.grad(value.sum(), student)
    return value.detach(), gradient


@pytest.fixture(params=["composed", "blocks of rows"])
def route(request, monkeypatch):
    """Both ways to the same numbers: autograd, or one pass over small blocks."""
    small = request.param != "composed"
    monkeypatch.setattr(_distillation, "ONE_PASS_MIN_LOGITS", 0 if small else 1 << 60)
    monkeypatch.setattr(_divergences, "BLOCK_LOGITS", 17)
    return request.param


# The oracle: sums of plain numbers.


def naive_row(x, z, divergence="forward", skew=None, temperature=1.0):
    def softmax(logits):
        mass = sum(math.exp(v / temperature) for v in logits)
        return [math.exp(v / temperature) / mass for v in logits]

    def kl(a, b):
        return sum(i * math.log(i / j) for i, j in zip(a, b, strict=True))

    q, p = softmax(x), softmax(z)
    skew = {"skewed": 0.1, "js": 0.5}.get(divergence) if skew is None else skew
    m = [skew * a + (1 - skew) * b for a, b in zip(p, q, strict=True)] if skew else None
    value = {
        "forward": lambda: kl(p, q),
        "reverse": lambda: kl(q, p),
        "skewed": lambda: kl(p, m),
        "js": lambda: skew * kl(p, m) + (1 - skew) * kl(q, m),
    }[divergence]()
    return temperature**2 * value


@pytest.mark.parametrize("kind", [*KINDS, {"divergence": "skewed"}], ids=str)
def test_it_is_the_naive_sum(route, kind):
    student, teacher = example(3, 4)
    expected = [
        naive_row(x, z, **kind)
        for x, z in zip(student.flatten(0, 1).tolist(), teacher.flatten(0, 1).tolist(), strict=True)
    ]
    close(
        distillation_loss(student, teacher, reduction="none", **kind),
        torch.tensor(expected, dtype=torch.double).view(3, 4),
    )
    close(distillation_loss(student, teacher, **kind), torch.tensor(sum(expected) / 12.0))
    close(distillation_loss(student, teacher, reduction="sum", **kind), torch.tensor(sum(expected)))


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("kept", [None, 2, 5])
def test_one_pass_has_the_gradient_of_autograd(monkeypatch, kind, kept):
    student, teacher = example(4, 3)
    given = teacher
    if kept is not None:
        given = top_k(teacher, kept, temperature=kind.get("temperature", 1.0))
    where = torch.arange(12).view(4, 3) % 3 != 1
    monkeypatch.setattr(_divergences, "BLOCK_LOGITS", 17)
    results = []
    for least in (0, 1 << 60):
        monkeypatch.setattr(_distillation, "ONE_PASS_MIN_LOGITS", least)
        for settings in ({}, {"where": where}, {"reduction": "sum", "where": where}):
            results += with_gradient(student, given, **kind, **settings)
    for a, b in zip(results[:6], results[6:], strict=True):
        close(a, b)


# Laws of divergences.


def test_forward_is_kl_div_of_torch(route):
    student, teacher = example(6)
    expected = F.kl_div(
        student.log_softmax(-1), teacher.log_softmax(-1), log_target=True, reduction="batchmean"
    )
    close(distillation_loss(student, teacher), expected)


def test_forward_learns_what_cross_entropy_learns():
    student, teacher = example(6)
    _, ours = with_gradient(student, teacher)
    free = student.clone().requires_grad_()
    F.cross_entropy(free, teacher.softmax(-1)).backward()
    close(ours, free.grad)


def test_the_mirror_of_forward_is_reverse(route):
    student, teacher = example(7)
    for temperature in (1.0, 2.5):
        close(
            distillation_loss(student, teacher, temperature=temperature),
            distillation_loss(teacher, student, divergence="reverse", temperature=temperature),
        )


def test_js_is_its_own_mirror_with_the_other_share(route):
    student, teacher = example(7)
    for skew in (0.2, 0.5):
        close(
            distillation_loss(student, teacher, divergence="js", skew=skew),
            distillation_loss(teacher, student, divergence="js", skew=1 - skew),
        )


def test_without_skew_it_is_forward(route):
    student, teacher = example(7)
    for a, b in zip(
        with_gradient(student, teacher, divergence="skewed", skew=0.0),
        with_gradient(student, teacher),
        strict=True,
    ):
        assert torch.equal(a, b)


def test_js_tends_to_the_one_sided_divergences():
    student, teacher = example(7)
    tiny = 1e-6
    close(
        distillation_loss(student, teacher, divergence="js", skew=tiny) / tiny,
        distillation_loss(student, teacher),
        rtol=1e-4,
        atol=0,
    )


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_equal_sides_cost_nothing(route, kind):
    student, _ = example(7)
    for given in (student, top_k(student, 2, temperature=kind.get("temperature", 1.0))):
        value, gradient = with_gradient(student, given, **kind)
        assert value.abs() < 1e-14
        assert gradient.abs().max() < 1e-14


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_impossible_classes_are_allowed(route, kind):
    student, teacher = example(4)
    open_student = student.clone()
    student[:, 1] = teacher[:, 1] = -math.inf
    value, gradient = with_gradient(student, teacher, **kind)
    assert value.isfinite()
    assert gradient.isfinite().all()
    rest = [0, 2, 3, 4]
    close(value, distillation_loss(student[:, rest], teacher[:, rest], **kind))
    if kind["divergence"] != "reverse":  # the student may find possible what the teacher does not
        value, gradient = with_gradient(open_student, teacher, **kind)
        assert value.isfinite()
        assert gradient.isfinite().all()


@pytest.mark.parametrize("kind", [*KINDS, {"divergence": "skewed", "skew": 0.0}], ids=str)
@pytest.mark.parametrize("impossible", [[0], [3, 4], [0, 3, 4], [1, 2]], ids=str)
@pytest.mark.parametrize("k", [None, 2, 4])
def test_what_only_the_student_finds_impossible_has_the_slope_of_the_limit(
    route, kind, impossible, k
):
    student = torch.tensor([[1.0, 0.5, -0.3, 0.2, 0.1]]).double()
    teacher = torch.tensor([[0.3, 1.0, 0.5, 0.0, 0.2]]).double()
    teacher = teacher if k is None else top_k(teacher, k, temperature=kind.get("temperature", 1.0))
    far, never = student.clone(), student.clone()
    far[:, impossible], never[:, impossible] = -300.0, -math.inf
    limit, slope = with_gradient(far, teacher, **kind)
    value, gradient = with_gradient(never, teacher, **kind)
    close(gradient, slope)
    assert value == (math.inf if limit > 10 else pytest.approx(limit.item()))


def test_logits_far_apart_stay_finite(route):
    student = torch.tensor([[1e4, -1e4, 0.0]])
    for kind in KINDS:
        value, gradient = with_gradient(student, -student, **kind)
        assert value.isfinite()
        assert gradient.isfinite().all()


# The largest probabilities.


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_all_classes_kept_are_the_whole_teacher(route, kind):
    student, teacher = example(3, 2)
    kept = top_k(teacher, 5, temperature=kind.get("temperature", 1.0))
    assert (kept.log_rest == -math.inf).all()
    for a, b in zip(
        with_gradient(student, kept, **kind), with_gradient(student, teacher, **kind), strict=True
    ):
        close(a, b)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_the_rest_counts_as_one_class(route, kind):
    student, teacher = example(6, classes=7)
    temperature = kind.get("temperature", 1.0)
    kept = top_k(teacher, 2, temperature=temperature)

    def merged(logits):
        log_p = (logits / temperature).log_softmax(-1)
        others = log_p.scatter(-1, kept.indices, -math.inf).logsumexp(-1, keepdim=True)
        return temperature * torch.cat([log_p.gather(-1, kept.indices), others], -1)

    free = student.clone().requires_grad_()
    expected = distillation_loss(merged(free), merged(teacher), **kind)
    (gradient,) = torch.autograd.grad(expected, free)
    for a, b in zip(with_gradient(student, kept, **kind), (expected, gradient), strict=True):
        close(a, b)


def test_the_mass_of_a_teacher_is_one():
    kept = top_k(example(4)[0].float(), 3)
    close(kept.log_probabilities.exp().sum(-1) + kept.log_rest.exp(), torch.ones(4))
    assert (kept.log_probabilities.diff(dim=-1) <= 0).all()


def test_it_never_claims_more_than_the_whole_teacher():
    student, teacher = example(50)
    whole = distillation_loss(student, teacher, reduction="none")
    for k in (1, 2, 3):
        assert (distillation_loss(student, top_k(teacher, k), reduction="none") <= whole).all()


# All losses' laws.

WHERE = torch.arange(6).view(3, 2) % 4 != 1
STUDENT, TEACHER = example(3, 2)


def case(**settings) -> LossCase:
    def loss(student, teacher, **more):
        return distillation_loss(student, teacher, **settings, **more)

    return LossCase(loss, (STUDENT, TEACHER), where=WHERE, module=DistillationLoss(**settings))


def top_case(**settings) -> LossCase:
    def loss(student, log_p, indices, rest, **more):
        return distillation_loss(student, TopK(log_p, indices, rest), **settings, **more)

    return LossCase(loss, (STUDENT, *top_k(TEACHER, 2)), where=WHERE)


CASES = {str(kind): case(**kind) for kind in KINDS} | {
    f"largest, {kind}": top_case(**kind) for kind in KINDS[:4:3]
}


@each_law_of(CASES)
def test_law(law, case):
    law(case)


@each_law_of(CASES)
def test_law_in_one_pass(law, case, monkeypatch):
    monkeypatch.setattr(_distillation, "ONE_PASS_MIN_LOGITS", 0)
    monkeypatch.setattr(_divergences, "BLOCK_LOGITS", 17)
    law(case)


def test_one_pass_keeps_one_tensor(monkeypatch):
    monkeypatch.setattr(_distillation, "ONE_PASS_MIN_LOGITS", 0)
    student, teacher = example(8)
    student.requires_grad_()
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        distillation_loss(student, teacher)
    given = {student.data_ptr(), teacher.data_ptr()}
    assert sum(t.data_ptr() not in given for t in kept) == 1


# Bad input.


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"divergence": "backward"}, "divergence must be forward, reverse, skewed or js; got 'b"),
        ({"skew": 0.2}, "skew belongs to the divergences skewed and js; got skew 0.2"),
        ({"divergence": "js", "skew": 0.0}, r"skew must be in \(0, 1\); got 0.0"),
        ({"divergence": "skewed", "skew": 1.0}, r"skew must be in \[0, 1\); got 1.0"),
        ({"temperature": 0.0}, "temperature must be finite and positive; got temperature 0.0"),
        ({"temperature": math.nan}, "temperature must be finite and positive"),
        ({"reduction": "all"}, "reduction must be"),
    ],
)
@pytest.mark.unhooked
def test_settings_out_of_range_are_refused(settings, words):
    student, teacher = example(3)
    with pytest.raises(ValueError, match=f"distillation_loss: {words}"):
        distillation_loss(student, teacher, **settings)
    with pytest.raises(ValueError, match=f"DistillationLoss: {words}"):
        DistillationLoss(**settings)


@pytest.mark.unhooked
def test_shapes_that_differ_are_refused():
    student, teacher = example(3)
    with pytest.raises(ValueError, match=r"got student_logits \(3, 5\), teacher \(3, 4\)"):
        distillation_loss(student, teacher[:, :4])
    kept = top_k(teacher, 2)
    with pytest.raises(ValueError, match="a teacher of k classes must have shapes"):
        distillation_loss(student, kept._replace(log_rest=kept.log_rest[:2]))
    with pytest.raises(ValueError, match=r"student_logits must have classes; got shape \(3, 0\)"):
        distillation_loss(student[:3, :0], teacher[:3, :0])
    with pytest.raises(TypeError, match="student_logits must be floating point"):
        distillation_loss(student.long(), teacher)
    with pytest.raises(ValueError, match=r"k must be in \[1, 5\], the classes; got k 6"):
        top_k(teacher, 6)
