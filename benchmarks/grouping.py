"""Whether measures of task affinity foretell which tasks gain from each other, and at what cost.

python benchmarks/grouping.py --family                 # made up, 6 tasks: all partitions are tried
python benchmarks/grouping.py --family --validation 1000     # with rows enough to choose by
python benchmarks/grouping.py --landmine FILE.mat      # 29 tasks, each with examples of its own
python benchmarks/grouping.py --school FILE.mat        # 139 tasks, each with examples of its own

Every group of tasks trains one perceptron (a hidden layer, a linear head per task) with Adam on all
of its examples at once; the step with the best validation loss counts, per task. Groups are chosen
by validation losses and gradients of training batches alone, and judged on test losses: the gain
of a task is the share of the test loss of its own model that the group takes off, and of a
grouping the mean over tasks. Cost is counted in steps times examples times tasks with a label
there. A probe (a backward and, for the lookahead, a forward per task) is counted at what it takes.
"""

import argparse
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor, nn

from polytask.affinity.exhaustive import every_set, looked_up
from polytask.affinity.grouping import (
    Gains,
    Grouping,
    best_grouping,
    gains_of_pairs,
    pairwise_gains,
)
from polytask.affinity.measures import (
    averaged,
    first_order,
    gradient_cosine,
    label_correlation,
    lookahead,
    representation_similarity,
)
from polytask.affinity.surrogate import fit_surrogate, sample_subsets

NOTES = 30
TRIES = (1, 3, 10)  # groupings of the family that are trained after all
BRIEF = (0.1, 0.15, 0.2)  # of the steps, for trainings of every set
MANY = 20  # tasks, above which a third of the notes is taken
RESTARTS = 3  # of the made-up family
Members = tuple[int, ...]


@dataclass
class Problem:
    """Tasks with labels of the same examples, or each with examples of its own.

    Attributes:
        inputs: Per part `[N, D]`.
        targets: Per part `[N, T]`, NaN where absent.
        binary: Whether targets are 0 and 1.
        hidden: Width of the network.
        steps: Steps of a whole training.
        rate: Of Adam.
        decay: Of weights.
        linear: Whether the network has no bends.
    """

    inputs: dict[str, Tensor]
    targets: dict[str, Tensor]
    binary: bool
    hidden: int
    steps: int
    rate: float
    decay: float = 0.0
    linear: bool = False

    @property
    def tasks(self) -> int:
        """T."""
        return self.targets["train"].shape[1]


class Network(nn.Module):
    """A hidden layer that is shared, and a head per task."""

    def __init__(self, width: int, hidden: int, tasks: int, linear: bool = False) -> None:
        super().__init__()
        self.linear = linear
        self.shared = nn.Linear(width, hidden)
        self.heads = nn.Linear(hidden, tasks)

    def features(self, inputs: Tensor) -> Tensor:
        """`[N, hidden]`."""
        return self.shared(inputs) if self.linear else self.shared(inputs).relu()

    def forward(self, inputs: Tensor) -> Tensor:
        """`[N, T]`."""
        return self.heads(self.features(inputs))


def task_losses(problem: Problem, outputs: Tensor, targets: Tensor) -> Tensor:
    """The mean loss `[T]` of each task over its labels; NaN for one without."""
    there = ~targets.isnan()
    wanted = targets.nan_to_num(nan=0.0)
    if problem.binary:
        each = nn.functional.binary_cross_entropy_with_logits(outputs, wanted, reduction="none")
    else:
        each = (outputs - wanted).square()
    return (each * there).sum(0) / there.sum(0)


class Bench:
    """Trains groups, once each, and keeps what came out.

    Args:
        problem: The tasks.
        seed: Of weights.
    """

    def __init__(self, problem: Problem, seed: int) -> None:
        self.problem, self.seed = problem, seed
        self.known: dict[tuple[Members, int], dict[str, Tensor]] = {}
        self.prices: dict[tuple[Members, int], float] = {}

    def rows(self, part: str, members: Members) -> tuple[Tensor, Tensor]:
        """Inputs and targets of the examples that have a label of one of the tasks."""
        targets = self.problem.targets[part][:, list(members)]
        some = (~targets.isnan()).any(1)
        return self.problem.inputs[part][some], targets[some]

    def train(
        self, members: Members, steps: int | None = None, probe: bool = False
    ) -> dict[str, Tensor]:
        """Validation and test losses `[members]` of a group's model, and with `probe` notes."""
        steps = steps or self.problem.steps
        if (members, steps) in self.known and not probe:
            return self.known[members, steps]
        torch.manual_seed(self.seed)
        data = {part: self.rows(part, members) for part in ("train", "validation", "test")}
        model = Network(
            data["train"][0].shape[1], self.problem.hidden, len(members), self.problem.linear
        )
        # One layer's numbers for all groups, so that groups differ in their tasks only.
        optimizer = torch.optim.Adam(
            model.parameters(), self.problem.rate, weight_decay=self.problem.decay
        )
        best = torch.full((len(members),), torch.inf)
        test = torch.full((len(members),), torch.nan)
        notes: dict[str, list[Tensor]] = {"gramians": [], "losses": [], "after": []}
        inputs, targets = data["train"]
        for step in range(steps):
            losses = task_losses(self.problem, model(inputs), targets)
            notes_wanted = NOTES if len(members) <= MANY else NOTES // 3
            if probe and step % max(1, steps // notes_wanted) == 0:
                self.note(model, optimizer, losses, inputs, targets, notes)
            optimizer.zero_grad()
            losses.mean().backward()
            optimizer.step()
            if step % 5 == 4:
                with torch.no_grad():
                    now = task_losses(
                        self.problem, model(data["validation"][0]), data["validation"][1]
                    )
                    then = task_losses(self.problem, model(data["test"][0]), data["test"][1])
                test = torch.where(now < best, then, test)
                best = torch.minimum(best, now)
        found = {"validation": best, "test": test}
        with torch.no_grad():
            found["features"] = model.features(self.problem.inputs["validation"])
        self.known.setdefault((members, steps), found)
        labels = float((~targets.isnan()).sum())
        # `train_all` has trained a group several times, and that is what its result costs.
        self.prices.setdefault((members, steps), steps * labels)
        if probe:
            found = {**found, **{k: torch.stack(v) for k, v in notes.items()}}
            found["cost"] = torch.tensor(steps * labels)
            found["notes_cost"] = torch.tensor(len(notes["losses"]) * labels)
        return found

    def train_all(self, masks: Tensor, steps: int | None = None) -> None:
        """Train many groups at once, for tasks that have labels of the same examples.

        Losses are means over `RESTARTS` first weights, since few units depend much on them.
        """
        steps = steps or self.problem.steps
        runs = [self._all_once(masks, steps, 1000 * n + self.seed) for n in range(RESTARTS)]
        best, test = (torch.stack([run[n] for run in runs]).mean(0) for n in range(2))
        for row, mask in enumerate(masks):
            members = tuple(mask.nonzero().flatten().tolist())
            self.known[members, steps] = {
                "validation": best[row, mask],
                "test": test[row, mask],
                "features": runs[0][2][row],
            }
            labels = len(self.problem.inputs["train"]) * len(members)
            self.prices[members, steps] = RESTARTS * steps * labels

    def _all_once(self, masks: Tensor, steps: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
        """Validation and test losses `[M, T]`, and features of validation examples."""
        count, tasks = masks.shape
        data = {
            part: (self.problem.inputs[part], self.problem.targets[part])
            for part in ("train", "validation", "test")
        }
        torch.manual_seed(seed)
        one = Network(data["train"][0].shape[1], self.problem.hidden, tasks, self.problem.linear)
        weights = [
            p.detach().expand(count, *p.shape).clone().requires_grad_() for p in one.parameters()
        ]
        optimizer = torch.optim.Adam(weights, self.problem.rate, weight_decay=self.problem.decay)
        best = torch.full((count, tasks), torch.inf)
        test = torch.full((count, tasks), torch.nan)

        def hidden(part: str) -> Tensor:
            inner = torch.baddbmm(
                weights[1][:, None], data[part][0].expand(count, -1, -1), weights[0].mT
            )
            return inner if self.problem.linear else inner.relu()

        def losses(part: str) -> Tensor:  # [M, T]
            outputs = torch.baddbmm(weights[3][:, None], hidden(part), weights[2].mT)
            return (outputs - data[part][1]).square().mean(1)

        share = masks / masks.sum(1, keepdim=True)
        for step in range(steps):
            optimizer.zero_grad()
            (losses("train") * share).sum().backward()
            optimizer.step()
            if step % 5 == 4:
                with torch.no_grad():
                    now, then = losses("validation"), losses("test")
                test = torch.where(now < best, then, test)
                best = torch.minimum(best, now)
        with torch.no_grad():
            return best, test, hidden("validation")

    def note(
        self,
        model: Network,
        optimizer: torch.optim.Optimizer,
        losses: Tensor,
        inputs: Tensor,
        targets: Tensor,
        notes: dict[str, list[Tensor]],
    ) -> None:
        """The Gramian of the shared layer's gradients, and all losses after a step on each task."""
        shared = list(model.shared.parameters())
        grads = [torch.autograd.grad(loss, shared, retain_graph=True) for loss in losses]
        rows = torch.stack([torch.cat([g.flatten() for g in some]) for some in grads]).double()
        notes["gramians"].append(rows @ rows.T)
        notes["losses"].append(losses.detach().double())
        after = []
        with torch.no_grad():
            for some in grads:
                before = [p.clone() for p in shared]
                for p, g in zip(shared, some, strict=True):
                    state = optimizer.state.get(p, {})
                    if "exp_avg_sq" in state:
                        seen = state["exp_avg_sq"] / (1 - 0.999 ** float(state["step"]))
                        # The joint update is of the mean loss: its gradients are T times smaller.
                        g = g / len(losses) / (seen.sqrt() + 1e-8)
                    p.sub_(self.problem.rate * g)
                after.append(task_losses(self.problem, model(inputs), targets).double())
                for p, value in zip(shared, before, strict=True):
                    p.copy_(value)
        notes["after"].append(torch.stack(after))

    def gains(self, masks: Tensor, part: str = "test", steps: int | None = None) -> Tensor:
        """Realised gains `[K, T]` of groups, over each task's own model."""
        found = torch.full(masks.shape, torch.nan, dtype=torch.float64)
        for row, mask in enumerate(masks):
            members = tuple(mask.nonzero().flatten().tolist())
            loss = self.train(members, steps)[part]
            for place, task in enumerate(members):
                own = self.train((task,), steps)[part][0]
                found[row, task] = 1 - float(loss[place]) / float(own)
        return found

    def cost(self, groups: Sequence[Members], steps: int | None = None) -> float:
        """What training these groups costs, in labels that are gone through."""
        return sum(self.prices[g, steps or self.problem.steps] for g in dict.fromkeys(groups))


def measured(
    bench: Bench, plans: Sequence[tuple[float, int, int]]
) -> dict[str, tuple[Gains, float]]:
    """Predictions of any group's gains by each measure, and what each cost.

    Args:
        bench: Trains.
        plans: For trainings of random subsets: share of the steps, rounds of dealing, and size.
    """
    everything = tuple(range(bench.problem.tasks))
    singles = [(t,) for t in everything]
    found: dict[str, tuple[Gains, float]] = {}
    joint = bench.train(everything, probe=True)
    base, note = float(joint["cost"]), float(joint["notes_cost"])
    count = len(everything)
    rates = torch.full((len(joint["losses"]),), bench.problem.rate).double()
    found["cosine"] = (
        pairwise_gains(averaged(gradient_cosine(joint["gramians"]))),
        base + note * (1 + 2 * count) / 3,
    )
    found["cosine, whatever its sign"] = (
        pairwise_gains(averaged(gradient_cosine(joint["gramians"])).abs()),
        base + note * (1 + 2 * count) / 3,
    )
    found["first-order"] = (
        pairwise_gains(averaged(first_order(joint["gramians"], joint["losses"], rates))),
        base + note * (1 + 2 * count) / 3,
    )
    found["lookahead"] = (
        pairwise_gains(averaged(lookahead(joint["losses"], joint["after"]))),
        base + note * (1 + 3 * count) / 3,
    )
    features = [bench.train(s)["features"] for s in singles]
    own = bench.cost(singles)
    found["cka"] = (pairwise_gains(representation_similarity(features, "cka")), own)
    present = ~bench.problem.targets["train"].isnan()
    columns = [c[:, None] for c in bench.problem.targets["train"].unbind(1)]
    related = label_correlation(columns, present)
    if bool(related.fill_diagonal_(torch.nan).isfinite().any()):
        found["label correlation"] = (pairwise_gains(related.abs()), 0.0)
    for share, rounds, size in plans:
        short = max(10, int(bench.problem.steps * share))
        generator = torch.Generator().manual_seed(bench.seed)
        subsets = sample_subsets(count, size, rounds, generator)
        gains = bench.gains(subsets, "validation", short)
        groups = [tuple(m.nonzero().flatten().tolist()) for m in subsets]
        found[f"{rounds * -(-count // size)} subsets of {size}, {short} steps"] = (
            fit_surrogate(subsets, gains),
            bench.cost([*singles, *groups], short),
        )
    return found


def masks_of(groups: Sequence[Sequence[int]], tasks: int) -> Tensor:
    """Groups as a mask."""
    mask = torch.zeros(len(groups), tasks, dtype=torch.bool)
    for row, members in enumerate(groups):
        mask[row, list(members)] = True
    return mask


def realised(bench: Bench, grouping: Grouping) -> float:
    """The mean test gain of a grouping's tasks."""
    masks = masks_of([g.trains for g in grouping.groups], bench.problem.tasks)
    return float(bench.gains(masks).nan_to_num(nan=0.0).sum(0).mean())


def partitions(tasks: list[int], most: int) -> list[list[list[int]]]:
    """All ways to divide tasks into at most so many groups."""
    if not tasks:
        return [[]]
    found = []
    for rest in partitions(tasks[1:], most):
        if len(rest) < most:
            found.append([[tasks[0]], *rest])
        for n, group in enumerate(rest):
            found.append([*rest[:n], [tasks[0], *group], *rest[n + 1 :]])
    return found


def rank_correlation(bench: Bench, gains: Gains, masks: Tensor) -> float:
    """Spearman's, of predicted and realised gains of tasks in groups; the mean over tasks.

    Within a task, because how much tasks gain at all differs more than what a group decides.
    """
    predicted, true = gains(masks), bench.gains(masks)
    found = []
    for task in range(masks.shape[1]):
        rows = masks[:, task] & (masks.sum(1) > 1)
        a, b = predicted[rows, task].numpy(), true[rows, task].numpy()
        if len(a) > 2:
            found.append(spearmanr(a, b).statistic if np.ptp(a) > 0 and np.ptp(b) > 0 else 0.0)
    return float(np.mean(found))


def family(seed: int, validation: int = 60) -> Problem:
    """Six linear regressions of 20 inputs in three clusters of two; room for one and a half.

    Tasks of a cluster look into one plane, so together they have twice the examples; the network
    is linear with three hidden units, so clusters in one model compete.
    """
    random = torch.Generator().manual_seed(1000 + seed)
    planes = torch.linalg.qr(torch.randn(20, 6, generator=random)).Q.T.reshape(3, 2, 20)
    mixed = torch.randn(3, 2, 2, generator=random)
    directions = nn.functional.normalize((mixed @ planes).flatten(0, 1), dim=1)
    inputs, targets = {}, {}
    for part, count in (("train", 40), ("validation", validation), ("test", 2000)):
        inputs[part] = torch.randn(count, 20, generator=random)
        clean = inputs[part] @ directions.T
        spread = 0.0 if part == "test" else 0.5
        targets[part] = clean + spread * torch.randn(clean.shape, generator=random)
    return Problem(inputs, targets, False, 3, 300, 0.03, linear=True)


def separate(cells: Sequence[tuple[np.ndarray, np.ndarray]], seed: int, **given: object) -> Problem:
    """Tasks with examples of their own: 40 % of each train, 20 % validate, 40 % test."""
    random = np.random.default_rng(seed)
    parts: dict[str, list[tuple[int, np.ndarray, np.ndarray]]] = {
        "train": [],
        "validation": [],
        "test": [],
    }
    for task, (x, y) in enumerate(cells):
        order = random.permutation(len(x))
        ends = (int(0.4 * len(x)), int(0.6 * len(x)))
        for part, rows in zip(parts, np.split(order, ends), strict=True):
            parts[part].append((task, x[rows], y[rows]))
    train = np.concatenate([x for _, x, _ in parts["train"]])
    middle, spread = train.mean(0), train.std(0) + 1e-8
    inputs, targets = {}, {}
    for part, pieces in parts.items():
        inputs[part] = torch.tensor(
            (np.concatenate([x for _, x, _ in pieces]) - middle) / spread, dtype=torch.float32
        )
        table = np.full((len(inputs[part]), len(cells)), np.nan, dtype=np.float32)
        start = 0
        for task, _, y in pieces:
            table[start : start + len(y), task] = y
            start += len(y)
        targets[part] = torch.from_numpy(table)
    return Problem(inputs, targets, **given)  # type: ignore[arg-type]


def landmine(path: Path, seed: int) -> Problem:
    """29 fields, mines or not."""
    from scipy.io import loadmat

    found = loadmat(path)
    cells = [
        (x.astype(np.float64), y.ravel().astype(np.float64))
        for x, y in zip(found["feature"].ravel(), found["label"].ravel(), strict=True)
    ]
    return separate(cells, seed, binary=True, hidden=16, steps=200, rate=0.01)


def school(path: Path, seed: int) -> Problem:
    """139 schools, exam scores; scores are divided by their overall standard deviation."""
    from scipy.io import loadmat

    found = loadmat(path)
    cells = [
        (x.astype(np.float64)[:, :-1], y.ravel().astype(np.float64))
        for x, y in zip(found["X"].ravel(), found["Y"].ravel(), strict=True)
    ]
    every = np.concatenate([y for _, y in cells])
    cells = [(x, (y - every.mean()) / every.std()) for x, y in cells]
    return separate(cells, seed, binary=False, hidden=16, steps=200, rate=0.01)


def report(rows: Sequence[Sequence[str]]) -> None:
    """A table of Markdown."""
    print("| " + " | ".join(rows[0]) + " |")
    print("|" + "---|" * len(rows[0]))
    for row in rows[1:]:
        print("| " + " | ".join(row) + " |", flush=True)


def best_tried(
    bench: Bench, gains: Gains, most: int, count: int
) -> tuple[list[list[int]], list[Members]]:
    """The best on validation rows of the groupings that are predicted to be the best, with all
    together and all apart; and which groups had to be trained for that.

    Args:
        bench: Trains.
        gains: Predicts.
        most: The most groups.
        count: How many predicted groupings are trained.
    """
    tasks = bench.problem.tasks

    def total(grouping: list[list[int]], part: Gains) -> float:
        return float(part(masks_of(grouping, tasks)).nan_to_num(nan=0.0).sum())

    every = partitions(list(range(tasks)), most)
    best = sorted(every, key=lambda p: -total(p, gains))[:count]
    best += [[list(range(tasks))], [[t] for t in range(tasks)]]
    groups = [tuple(sorted(g)) for p in best for g in p]
    return max(best, key=lambda p: total(p, lambda m: bench.gains(m, "validation"))), groups


def small(seeds: int, validation: int) -> None:
    """The family: every subset is trained, so the best of all groupings is known."""
    names: dict[str, list[list[float]]] = {}
    for seed in range(seeds):
        bench = Bench(family(seed, validation), seed)
        every = torch.tensor([[(n >> t) % 2 == 1 for t in range(6)] for n in range(1, 64)])
        whole = bench.problem.steps
        for steps in (whole, whole // 4, *(int(whole * share) for share in BRIEF)):
            bench.train_all(every, steps)
        predictions = measured(bench, [(0.25, 3, 3), (1.0, 3, 3), (1.0, 6, 3), (1.0, 5, 2)])
        groups_of_all = [tuple(m.nonzero().flatten().tolist()) for m in every]
        for share in BRIEF:
            brief = int(whole * share)
            gains_then = bench.gains(every_set(6), "validation", brief)
            predictions[f"every set, {brief} steps"] = (
                looked_up(gains_then),
                bench.cost(groups_of_all, brief),
            )
        single = {(t,) for t in range(6)}
        pairs = set(itertools.combinations(range(6), 2))
        known = {"cka": single, "15 subsets of 2, 300 steps": single | pairs}
        table = {
            tuple(m.nonzero().flatten().tolist()): g
            for m, g in zip(every, bench.gains(every).nan_to_num(nan=0.0), strict=True)
        }
        trying = bench.cost(groups_of_all)
        values = [
            float(sum(table[tuple(sorted(g))] for g in p).mean())
            for p in partitions(list(range(6)), 3)
        ]
        best, all_apart = max(values), 0.0
        together = float(table[tuple(range(6))].mean())
        for name, (gains, cost) in predictions.items():
            chosen = best_grouping(6, gains, budget=3)
            rank = rank_correlation(bench, gains, every)
            names.setdefault(name, []).append([rank, realised(bench, chosen), cost / trying, best])
            for tries in TRIES:
                grouping, groups = best_tried(bench, gains, 3, tries)
                value = float(sum(table[tuple(sorted(g))] for g in grouping).mean())
                # What the measure trained to the end is not trained again.
                fresh = [g for g in groups if g not in known.get(name, set())]
                names.setdefault(f"{name}; {tries} tried", []).append(
                    [np.nan, value, (cost + bench.cost(fresh)) / trying, best]
                )
        for name, value in (
            ("all together", together),
            ("all apart", all_apart),
            ("random grouping of 3 or fewer", float(np.mean(values))),
            ("best of all groupings of 3 or fewer", best),
        ):
            names.setdefault(name, []).append([np.nan, value, np.nan, best])
        by_validation = bench.gains(every, "validation").nan_to_num(nan=0.0)
        lookup = {
            tuple(m.nonzero().flatten().tolist()): g
            for m, g in zip(every, by_validation, strict=True)
        }
        tried = max(
            partitions(list(range(6)), 3),
            key=lambda p: float(sum(lookup[tuple(sorted(g))] for g in p).mean()),
        )
        tried_gain = float(sum(table[tuple(sorted(g))] for g in tried).mean())
        names.setdefault("all tried, chosen on validation", []).append(
            [np.nan, tried_gain, 1.0, best]
        )
    rows = [
        ["by", "rank correlation", "mean test gain", "loss above the best", "cost of trying all"]
    ]
    for name, found in names.items():
        rank, gain_, cost, best = np.array(found).T
        above = (1 - gain_) / (1 - best) - 1  # ratio of mean relative losses
        rows.append(
            [
                name,
                "" if np.isnan(rank).all() else f"{rank.mean():+.2f}",
                f"{gain_.mean():+.3f}",
                f"{above.mean():.1%}",
                "" if np.isnan(cost).all() else f"{cost.mean():.1%}",
            ]
        )
    report(rows)


def large(
    make: object, path: Path, seeds: int, models: Sequence[int], rounds: int, size: int
) -> None:
    """Many tasks: chosen groupings beside random ones of the same sizes."""
    table: dict[str, list[list[float]]] = {}
    for seed in range(seeds):
        bench = Bench(make(path, seed), seed)  # type: ignore[operator]
        count = bench.problem.tasks
        predictions = measured(bench, [(0.5, rounds, size)])
        random = torch.Generator().manual_seed(seed)
        probes = sample_subsets(count, size, 2, random)
        everything = tuple(range(count))
        together = float(bench.gains(masks_of([everything], count)).mean())
        apart = bench.cost([(t,) for t in everything])
        table.setdefault("all together", []).append([np.nan, np.nan, *[together] * len(models)])
        table.setdefault("all apart", []).append([np.nan, np.nan, *[0.0] * len(models)])
        luck = []
        for groups in models:
            draws = []
            for _ in range(2):
                labels = torch.arange(count)[torch.randperm(count, generator=random)] % groups
                mask = labels[None] == torch.arange(groups)[:, None]
                draws.append(float(bench.gains(mask).nan_to_num(nan=0.0).sum(0).mean()))
            luck.append(float(np.mean(draws)))
        table.setdefault("random groups of equal size", []).append([np.nan, np.nan, *luck])
        for name, (gains, cost) in predictions.items():
            pairs = gains_of_pairs(count, gains)
            chosen = [
                realised(bench, best_grouping(count, gains, budget=groups, similarity=pairs))
                for groups in models
            ]
            table.setdefault(name, []).append(
                [rank_correlation(bench, gains, probes), cost / apart, *chosen]
            )
            picked = []
            for groups in models:
                best = best_grouping(count, gains, budget=groups, similarity=pairs)
                several = [masks_of([g.trains for g in best.groups], count)]
                several += [masks_of([everything], count), torch.eye(count, dtype=torch.bool)]
                validated = [
                    float(bench.gains(m, "validation").nan_to_num(nan=0.0).sum()) for m in several
                ]
                mask = several[int(np.argmax(validated))]
                picked.append(float(bench.gains(mask).nan_to_num(nan=0.0).sum(0).mean()))
            table.setdefault(f"{name}; or all, or apart, by validation", []).append(
                [np.nan, np.nan, *picked]
            )
        print(f"<!-- seed {seed} -->", flush=True)
    rows = [
        ["by", "rank correlation", "cost (all apart = 1)", *(f"gain, {m} models" for m in models)]
    ]
    for name, found in table.items():
        mean = np.array(found).mean(0)
        rows.append(
            [
                name,
                "" if np.isnan(mean[0]) else f"{mean[0]:+.2f}",
                "" if np.isnan(mean[1]) else f"{mean[1]:.2f}",
                *(f"{value:+.3f}" for value in mean[2:]),
            ]
        )
    report(rows)


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--family", action="store_true")
    parser.add_argument("--landmine", type=Path)
    parser.add_argument("--school", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--validation", type=int, default=60, help="of the family: examples to choose by"
    )
    given = parser.parse_args()
    torch.set_num_threads(1)
    start = time.process_time()
    if given.family:
        small(given.seeds, given.validation)
    if given.landmine:
        large(landmine, given.landmine, given.seeds, (4,), 6, 8)
    if given.school:
        large(school, given.school, given.seeds, (4,), 6, 30)
    print(f"\n{time.process_time() - start:.0f} s of CPU")


if __name__ == "__main__":
    main()
