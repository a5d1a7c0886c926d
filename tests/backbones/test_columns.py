"""Columns side by side give what they give one after the other, and learn the same."""

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.func import functional_call

from polytask.backbones import Backbone, PerceptronBackbone, RecurrentBackbone
from polytask.backbones import columns as module
from polytask.backbones.columns import run_columns, run_stages
from polytask.config.catalogue import TRUNKS
from polytask.types import Features

MAKERS: dict[str, Callable[[], Backbone]] = {
    "two layers": lambda: RecurrentBackbone(4, width=3, layers=2),
    "one way": lambda: RecurrentBackbone(4, width=5, bidirectional=False),
    "strided": lambda: RecurrentBackbone(4, width=2, layers=1, stride=2),
}
every = pytest.mark.parametrize("kind", MAKERS)
Run = Callable[[Sequence[nn.Module], Features], list[Features]]


def features(seed: int, dtype: torch.dtype = torch.float64, masked: bool = True) -> Features:
    """Ragged sequences of a random length."""
    random = torch.Generator().manual_seed(seed)
    rows, length = (int(torch.randint(1, 8, (), generator=random)) for _ in range(2))
    lengths = torch.randint(1, length + 1, (rows, 1), generator=random)
    values = torch.randn(rows, length, 4, generator=random).to(dtype)
    return Features(values, torch.arange(length) < lengths if masked else None)


def columns_of(kind: str, count: int = 3, dtype: torch.dtype = torch.float64) -> list[Backbone]:
    torch.manual_seed(count)
    return [MAKERS[kind]().to(dtype) for _ in range(count)]


def loop(columns: Sequence[nn.Module], given: Features) -> list[Features]:
    return [column(given) for column in columns]


def weights_of(columns: Sequence[nn.Module]) -> list[Tensor]:
    return [p for column in columns for p in column.parameters()]


def stages_at(columns: Sequence[Backbone], depth: int) -> list[nn.Module]:
    return [column.stages[depth] for column in columns]


@pytest.fixture
def together(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many ran as one computation, so that a test can't pass because none did."""
    ran: list[int] = []
    real = module.together

    def noted(layers: Sequence[module.RecurrentLayer], given: Sequence[Features]) -> list[Features]:
        ran.append(len(layers))
        return real(layers, given)

    monkeypatch.setattr(module, "together", noted)
    return ran


def gradients(found: Sequence[Features], wanted: Sequence[Tensor]) -> list[Tensor | None]:
    torch.manual_seed(9)
    total = torch.stack([(f.values * torch.randn(f.values.shape)).sum() for f in found]).sum()
    return list(torch.autograd.grad(total, wanted, allow_unused=True))


def same(ours: Sequence[Features], theirs: Sequence[Features], wanted: Sequence[Tensor]) -> None:
    """Hold values, masks and gradients of one computation to those of the loop."""
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one.values, other.values)
        torch.testing.assert_close(one.mask, other.mask)
    for mine, loops in zip(gradients(ours, wanted), gradients(theirs, wanted), strict=True):
        torch.testing.assert_close(mine, loops)


@every
@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("masked", [True, False])
def test_equals_the_loop_in_values_and_gradients(
    kind: str, count: int, masked: bool, together: list[int]
) -> None:
    for seed in range(3):
        columns, given = columns_of(kind, count), features(seed, masked=masked)
        given.values.requires_grad_()
        wanted = [given.values, *weights_of(columns)]
        same(run_columns(columns, given), loop(columns, given), wanted)
    assert set(together) == ({count} if count > 1 else set())


@every
def test_each_column_may_have_features_and_frozen_weights_of_its_own(
    kind: str, together: list[int]
) -> None:
    columns, first = columns_of(kind), features(1)
    given = [Features(torch.randn_like(first.values), first.mask) for _ in columns]
    columns[1].requires_grad_(False)
    next(columns[2].parameters()).requires_grad_(False)
    stages = stages_at(columns, 0)
    wanted = [p for p in weights_of(stages) if p.requires_grad]
    ours = run_stages(stages, given)
    same(ours, [stage(f) for stage, f in zip(stages, given, strict=True)], wanted)
    assert together == [3]


@every
def test_derivatives_forwards_and_twice_equal_the_loop(kind: str, together: list[int]) -> None:
    columns, given = columns_of(kind), features(3)
    tangent, wanted = torch.randn_like(given.values), weights_of(columns)

    def along(run: Run) -> list[Tensor]:
        with forward_ad.dual_level():
            dual = forward_ad.make_dual(given.values, tangent)
            parts = [f.values for f in run(columns, Features(dual, given.mask))]
            tangents = [forward_ad.unpack_dual(part).tangent for part in parts]
            return [t for t in tangents if t is not None]

    def twice(run: Run) -> list[Tensor]:
        total = torch.stack([f.values.pow(3).sum() for f in run(columns, given)]).sum()
        once = torch.autograd.grad(total, wanted, create_graph=True)
        return list(torch.autograd.grad(torch.cat([g.flatten() for g in once]).norm(), wanted))

    for way, count in ((along, len(columns)), (twice, len(wanted))):
        ours, theirs = way(run_columns), way(loop)
        assert len(ours) == len(theirs) == count
        for one, other in zip(ours, theirs, strict=True):
            torch.testing.assert_close(one, other)
    assert together


@every
def test_half_precision_has_the_loops_kind_of_numbers(kind: str, together: list[int]) -> None:
    columns, given = columns_of(kind, dtype=torch.float32), features(4, torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        pairs = [*zip(run_columns(columns, given), loop(columns, given), strict=True)]
    for column in columns:
        column.bfloat16()
    halves = Features(given.values.bfloat16(), given.mask)
    pairs += zip(run_columns(columns, halves), loop(columns, halves), strict=True)
    assert together
    for one, other in pairs:
        assert one.values.dtype == other.values.dtype
        torch.testing.assert_close(one.values, other.values, rtol=0.05, atol=0.05)


def test_dropout_draws_what_the_loop_draws_stage_by_stage(together: list[int]) -> None:
    torch.manual_seed(0)
    columns = [RecurrentBackbone(4, width=9, layers=2, dropout=0.5) for _ in range(3)]
    columns[1].eval()
    given = features(5, torch.float32)
    torch.manual_seed(1)
    ours = run_columns(columns, given)
    assert together == [3, 3]
    torch.manual_seed(1)
    theirs = [given] * 3
    for depth in range(2):
        stages = stages_at(columns, depth)
        theirs = [stage(f) for stage, f in zip(stages, theirs, strict=True)]
    same(ours, theirs, weights_of(columns))


@every
def test_weights_put_in_from_outside_count(kind: str, together: list[int]) -> None:
    class Columns(nn.ModuleList):
        def forward(self, given: Features) -> list[Features]:
            return run_columns(list(self), given)

    columns, given = Columns(columns_of(kind)), features(2)
    before = run_columns(list(columns), given)
    other = {name: p.detach() + 0.1 for name, p in columns.named_parameters()}
    found = functional_call(columns, other, (given,))
    columns.load_state_dict(other)
    for one, changed, old in zip(found, loop(list(columns), given), before, strict=True):
        torch.testing.assert_close(one.values, changed.values)
        assert not torch.allclose(one.values, old.values)
    assert together


@every
def test_what_is_watched_too_large_or_not_alike_runs_by_itself(
    kind: str, together: list[int]
) -> None:
    columns, given = columns_of(kind), features(6)
    stages = stages_at(columns, 0)
    assert given.mask is not None
    run_stages(stages, [given, given, Features(given.values, given.mask.clone())])
    run_stages(stages, [Features(given.values.repeat(5000, 1, 1))] * 3)
    seen: list[object] = []
    inner = next(stages[1].children())
    for watched in (columns[2], stages[2], inner):
        with watched.register_forward_hook(lambda *_: seen.append(1)):
            if watched is columns[2]:
                run_columns(columns, given)
            else:
                run_stages(stages, [given] * 3)
    assert len(seen) == 3 and not together
    run_columns(columns, given)
    assert together


def test_other_kinds_and_shapes_run_one_after_the_other(together: list[int]) -> None:
    given = features(7, torch.float32)
    others = {
        "wide": [RecurrentBackbone(4, width=129, layers=1) for _ in range(2)],
        "lstm": [RecurrentBackbone(4, width=3, cell="lstm") for _ in range(2)],
        "widths": [RecurrentBackbone(4, width=3 + n, layers=1) for n in range(2)],
        "depths": [RecurrentBackbone(4, width=3, layers=1 + n) for n in range(2)],
        "perceptrons": [PerceptronBackbone(4, widths=(5,)) for _ in range(2)],
    }
    for kind, columns in others.items():
        widths = [column.out_features for column in columns]
        assert [f.values.shape[2] for f in run_columns(columns, given)] == widths, kind
    assert not together


def test_an_export_holds_for_any_number_of_rows() -> None:
    class Joined(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.columns = nn.ModuleList(columns_of("one way", 2, torch.float32))

        def forward(self, values: Tensor) -> Tensor:
            found = run_columns(list(self.columns), Features(values))
            return torch.cat([f.values for f in found], 2)

    joined, values = Joined(), torch.randn(3, 2, 4)
    rows = torch.export.Dim("rows", max=10**6)
    program = torch.export.export(joined, (values,), dynamic_shapes=({0: rows},))
    many = torch.randn(900, 2, 4)
    torch.testing.assert_close(program.module()(many), joined(many))


@pytest.mark.parametrize("trunk", TRUNKS)
def test_topologies_learn_what_their_loop_learns(
    trunk: str, together: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    made = TRUNKS[trunk](MAKERS["two layers"], ["a", "b", "c"]).double().eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    wanted = [p for p in made.parameters() if p.requires_grad]
    results: list[tuple[list[Tensor], list[Tensor | None]]] = []
    for most in (module.MOST_ENTRIES, 0):
        monkeypatch.setattr(module, "MOST_ENTRIES", most)
        found, grads = made(features(8), ["c", "a"]), []
        for task in ("a", "c"):  # a pass each through one graph, as balancers make them
            total = found[task].values.square().sum()
            grads += torch.autograd.grad(total, wanted, retain_graph=True, allow_unused=True)
        results.append(([f.values for f in found.values()], grads))
    exchange = {"cross-stitch", "nddr", "sluice", "joined", "mmoe", "dselect-k", "cgc", "ple"}
    assert bool(together) == (trunk in exchange - {"cgc"})
    (ours, mine), (theirs, loops) = results
    for one, other in zip(ours + mine, theirs + loops, strict=True):
        assert (one is None) == (other is None)
        torch.testing.assert_close(one, other)
