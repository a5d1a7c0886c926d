"""What the adversary and the orthogonality penalty of shared and private networks do."""

import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from polytask.backbones import PerceptronBackbone, RecurrentBackbone, ResidualBackbone
from polytask.model import Boundary
from polytask.sharing import SharedPrivate
from polytask.sharing.adversarial import orthogonality, reversed_gradient, source_loss
from polytask.types import Features
from tests.networks import TASKS, batch, network

NAMES = ["a", "b", "c"]


def made(**settings: float) -> SharedPrivate:
    torch.manual_seed(0)
    return SharedPrivate(lambda: PerceptronBackbone(4, widths=(5, 3)), NAMES, **settings)  # type: ignore[arg-type]


def seen(trunk: SharedPrivate, *groups: list[str], seed: int = 0) -> list[Tensor]:
    """Runs a pass per group; the values that went in."""
    random = torch.Generator().manual_seed(seed)
    values = [torch.randn(6, 4, generator=random) for _ in groups]
    for given, group in zip(values, groups, strict=True):
        trunk(Features(given), group)
    return values


def test_reversal_keeps_values_and_turns_gradients() -> None:
    x = torch.randn(3, requires_grad=True)
    y = reversed_gradient(x, 0.25)
    assert torch.equal(y, x)
    (y * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
    assert x.grad is not None and x.grad.tolist() == [-0.25, -0.5, -0.75]
    layer = nn.Linear(3, 3)
    with torch.autocast("cpu", torch.bfloat16):
        half = reversed_gradient(layer(x))
    assert half.dtype == torch.bfloat16
    half.float().sum().backward()
    assert layer.bias.grad is not None and layer.bias.grad.tolist() == [-1.0, -1.0, -1.0]


def test_reversal_can_be_exported() -> None:
    class Turned(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * reversed_gradient(x)

    x = torch.randn(2, 3)
    assert torch.equal(torch.export.export(Turned(), (x,)).module()(x), 2 * x)


def test_source_loss_is_cross_entropy_or_of_several_right_answers() -> None:
    logits = torch.randn(5, 4)
    expected = F.cross_entropy(logits, torch.full((5,), 2))
    torch.testing.assert_close(source_loss(logits, [2]), expected)
    several = -logits.softmax(1)[:, [0, 3]].sum(1).log().mean()
    torch.testing.assert_close(source_loss(logits, [3, 0]), several)
    assert float(source_loss(logits, range(4))) == pytest.approx(0.0, abs=1e-6)


def test_orthogonality_is_the_paper_s_norm_over_the_features_sizes() -> None:
    s, p = torch.randn(7, 3) + 2, torch.randn(7, 5) - 1
    centred, own = s - s.mean(0), p - p.mean(0)
    sizes = torch.linalg.matrix_norm(centred) * torch.linalg.matrix_norm(own)
    expected = (torch.linalg.matrix_norm(centred.T @ own) / sizes) ** 2
    torch.testing.assert_close(orthogonality(s, p), expected)
    torch.testing.assert_close(orthogonality(9 * s, 0.1 * p), expected)
    one = torch.randn(7, 1)
    torch.testing.assert_close(orthogonality(one, -3 * one), torch.tensor(1.0))
    centred = torch.randn(7, 4)
    columns = torch.linalg.qr(centred - centred.mean(0))[0]
    assert float(orthogonality(columns[:, :2], columns[:, 2:])) < 1e-10
    single = torch.randn(1, 3, requires_grad=True)
    orthogonality(single, single).backward()
    assert single.grad is not None and not single.grad.any()


@pytest.mark.parametrize("hidden", [None, 8])
def test_the_discriminator_learns_and_the_shared_network_unlearns(hidden: int | None) -> None:
    trunk = SharedPrivate(
        lambda: PerceptronBackbone(4, widths=(5, 3)),
        NAMES,
        adversarial=0.3,
        orthogonal=0.0,
        hidden=hidden,
    )
    groups = [["a"], ["b", "c"]]
    values = seen(trunk, *groups)
    found = trunk.penalty()
    assert found is not None and trunk.discriminator is not None
    found.backward()
    turned = {name: p.grad.clone() for name, p in trunk.named_parameters() if p.grad is not None}
    trunk.zero_grad()
    losses = [
        source_loss(
            trunk.discriminator(trunk.common(Features(x)).values), [NAMES.index(n) for n in g]
        )
        for x, g in zip(values, groups, strict=True)
    ]
    plain = torch.stack(losses).mean()
    torch.testing.assert_close(found, plain)
    plain.backward()
    for name, parameter in trunk.named_parameters():
        if name.startswith("columns."):
            assert parameter.grad is None
            assert name not in turned or not turned[name].any()
            continue
        assert parameter.grad is not None and parameter.grad.any()
        factor = 1.0 if name.startswith("discriminator") else -0.3
        torch.testing.assert_close(turned[name], factor * parameter.grad, msg=name)


def test_the_penalty_is_of_the_latest_passes_and_given_once() -> None:
    once, often = made(), made()
    seen(once, ["a"], ["b", "c"], seed=1)
    for seed in (3, 2, 1):
        seen(often, ["a"], ["b", "c"], seed=seed)
    first, second = once.penalty(), often.penalty()
    assert first is not None and second is not None and torch.equal(first, second)
    assert often.penalty() is None
    often.eval()(Features(torch.randn(2, 4)), ["a"])
    with torch.no_grad():
        often.train()(Features(torch.randn(2, 4)), ["a"])
    assert often.penalty() is None


def test_one_input_for_all_leaves_the_adversary_nothing_and_says_so() -> None:
    trunk = made(orthogonal=0.0)
    with pytest.warns(UserWarning, match="All tasks read one input"):
        seen(trunk, NAMES)
    found = trunk.penalty()
    assert found is not None and abs(float(found.detach())) < 1e-6
    found.backward()
    assert all(p.grad is None or p.grad.abs().max() < 1e-6 for p in trunk.parameters())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        seen(trunk, NAMES)
        seen(made(adversarial=0.0), NAMES)
        seen(made(), ["a"], ["b", "c"])


def test_a_model_tells_its_inputs_apart() -> None:
    model, boundary = network(trunk="shared-private"), Boundary()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model(batch().inputs, [t.name for t in TASKS], boundary)
    assert boundary.penalty is not None and boundary.penalty.requires_grad
    # Two of four tasks are right for each example: -log(1/2) where nothing is known.
    assert float(boundary.penalty.detach()) == pytest.approx(0.69, abs=0.3)


def apart(adversarial: float) -> float:
    """How well a linear probe tells two inputs apart from shared features that were trained.

    Each input has a task of its own with the same answer; the inputs differ by a shift.
    """
    torch.manual_seed(0)
    trunk = SharedPrivate(
        lambda: PerceptronBackbone(4, widths=(8,), normalize=False),
        ["a", "b"],
        adversarial=adversarial,
        orthogonal=0.0,
    )
    heads = nn.ModuleDict({name: nn.Linear(16, 1) for name in "ab"})
    optimizer = torch.optim.Adam([*trunk.parameters(), *heads.parameters()], lr=0.02)

    def examples(name: str) -> tuple[Tensor, Tensor]:
        x = torch.randn(64, 4)
        y = (x[:, :1] > 0).float()
        x[:, 1] += 1.5 if name == "a" else -1.5
        return x, y

    for _ in range(150):
        total = torch.zeros(())
        for name in "ab":
            x, y = examples(name)
            output = heads[name](trunk(Features(x), [name])[name].values)
            total = total + F.binary_cross_entropy_with_logits(output, y)
        found = trunk.penalty()
        assert found is not None
        optimizer.zero_grad()
        (total + found).backward()
        optimizer.step()
    with torch.no_grad():
        sides = [trunk.common(Features(examples(name)[0])).values for name in "ab" * 4]
    features = torch.cat(sides)
    labels = torch.tensor([1.0, -1.0] * 4).repeat_interleave(64)[:, None]
    inside = torch.cat([features - features.mean(0), torch.ones(len(features), 1)], 1)
    scale = torch.cat([inside[:, :-1] / inside[:, :-1].std(0).clamp(min=1e-6), inside[:, -1:]], 1)
    weights = torch.linalg.lstsq(scale, labels).solution
    return float(((scale @ weights > 0) == (labels > 0)).float().mean())


def test_an_adversary_makes_inputs_hard_to_tell_apart() -> None:
    without, against = apart(1e-9), apart(1.0)
    assert without > 0.9 and against < without - 0.1, (without, against)


@pytest.mark.parametrize("kind", ["map", "sequence"])
def test_maps_and_sequences_are_joined_by_channel(kind: str) -> None:
    if kind == "map":
        features = Features(torch.randn(2, 3, 16, 16))
        trunk = SharedPrivate(lambda: ResidualBackbone(3, widths=(4,), stem="conv3"), ["a", "b"])
    else:
        features = Features(torch.randn(2, 6, 3), torch.arange(6) < torch.tensor([[6], [2]]))
        trunk = SharedPrivate(lambda: RecurrentBackbone(3, width=2), ["a", "b"])
    given = trunk(features, ["a"])["a"]
    assert given.values.shape[1 if kind == "map" else 2] == trunk.out_features["a"] == 8
    assert (given.mask is None) == (features.mask is None)
    found = trunk.penalty()
    assert found is not None and bool(found.isfinite())
