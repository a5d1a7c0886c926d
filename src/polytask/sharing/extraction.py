"""Experts that serve all tasks beside experts of each task's own.

Shapes: B examples, D features, E experts, T tasks.
"""

from abc import ABC
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

import torch
from torch import Tensor, nn
from torch.nn import Parameter

from polytask.backbones.base import Backbone
from polytask.backbones.columns import run_stages
from polytask.sharing.base import Trunk
from polytask.sharing.gates import Mixer, SoftmaxGate, alike, entering_width, gate_input
from polytask.sharing.making import MakeBackbone, several, task_names
from polytask.types import ByName, Features


class Extraction(Trunk, ABC):
    """Shared and own experts in levels; between levels each stream is a gated mixture.

    The backbone's stages are divided into levels. An expert is a column of the same stages; at
    each level a task's stream enters the task's own experts, the common stream the shared ones.
    A task's next stream is mixed from its own and the shared experts; the common stream, which
    the last level no longer needs, from all.

    Args:
        made: The experts: the shared ones, then those of each task in turn.
        tasks: The names of the tasks.
        shared: The number of shared experts.
        levels: The number of levels.
    """

    by_order = ("private", "common")

    def __init__(
        self, made: Sequence[Backbone], tasks: Sequence[str], shared: int, levels: int
    ) -> None:
        super().__init__()
        self.tasks = task_names(tasks)
        self.num_private = own = (len(made) - shared) // len(self.tasks)
        made = alike(made)
        self.shared = nn.ModuleList(made[:shared])
        # By number, not by name: below the last level they move other tasks' features too.
        self.private = nn.ModuleList(made[shared:])
        self.bounds = tuple(len(made[0].stages) * level // levels for level in range(levels + 1))
        self.widths = (
            entering_width(made[0]),
            *(made[0].widths[bound - 1] for bound in self.bounds[1:-1]),
        )
        self.gates = nn.ModuleList(
            ByName({task: _mixer(width, own + shared) for task in self.tasks})
            for width in self.widths
        )
        self.common = nn.ModuleList(_mixer(width, len(made)) for width in self.widths[:-1])
        self.out_features = dict.fromkeys(self.tasks, made[0].out_features)

    def forward(self, features: Features, tasks: Sequence[str]) -> dict[str, Features]:
        """Each task's stream after the last level.

        Below the last level every task's experts run, whichever tasks are asked for: the common
        stream is made of all of them.
        """
        levels = len(self.gates)
        streams: Mapping[str, Features] = dict.fromkeys(self.tasks, features)
        common = features
        for level in range(levels):
            running = tasks if level == levels - 1 else self.tasks
            wanted = tasks if level >= levels - 2 else self.tasks
            ours = [(c, common) for c in self._columns(self.shared)]
            private = [(c, streams[task]) for task in running for c in self._private(task)]
            if level == levels - 1:
                # A task's own experts run by themselves: no other task moves them any more.
                ends = self._run(ours, level) + [self._run([one], level)[0] for one in private]
            else:
                ends = self._run([*ours, *private], level)
            shared, rest = ends[: len(ours)], iter(ends[len(ours) :])
            own = {task: list(islice(rest, self.num_private)) for task in running}
            mixed = {
                task: self._mix(self._gate(level, task), streams[task], level, own[task] + shared)
                for task in wanted
            }
            if level < levels - 1:
                everything = [output for task in self.tasks for output in own[task]] + shared
                common = self._mix(self.common[level], common, level, everything)
            streams = mixed
        return {task: streams[task] for task in tasks}

    def shared_parameters(self) -> Iterator[Parameter]:
        """Shared experts, and everything below the last level that reaches the common stream.

        A task's own experts of the last level are its own, and so are its gates of the last two
        levels: their mixtures enter nothing but the task's own last experts.
        """
        if len(self.tasks) == 1:
            return
        last = self.bounds[-2]
        parts: list[nn.Module] = [*self.shared, *self.common, *self.gates[:-2]]
        parts += [stage for column in self._columns(self.private) for stage in column.stages[:last]]
        for part in parts:
            yield from (p for p in part.parameters() if p.requires_grad)

    def shares(self) -> dict[str, Tensor]:
        """What each task takes of each expert, per level: `gates.0`, `load.0`, ..., `[T, E]`.

        Experts are in the order of `expert_names`. `common.0`, `[1, E]`, is what the common stream
        takes. All are running means over training, zero before it.
        """
        tables: dict[str, Tensor] = {}
        for level, gates in enumerate(self.gates):
            assert isinstance(gates, ByName)
            mixers = [gates[task] for task in self.tasks]
            for name, kept in (("gates", "mean"), ("load", "load")):
                tables[f"{name}.{level}"] = torch.stack(
                    [self._spread(n, getattr(mixer, kept)) for n, mixer in enumerate(mixers)]
                )
            if level < len(self.common):
                mixer = self.common[level]
                assert isinstance(mixer, Mixer)
                tables[f"common.{level}"] = mixer.mean.unsqueeze(0).clone()
        return tables

    @property
    def expert_names(self) -> tuple[str, ...]:
        """The experts in the order of the tables: each task's own, then the shared ones."""
        own = (f"{task} {n}" for task in self.tasks for n in range(self.num_private))
        return (*own, *(f"shared {n}" for n in range(len(self.shared))))

    def unused_experts(self, below: float = 0.01) -> tuple[str, ...]:
        """Experts, by level, of which nothing takes a mean weight of at least `below`.

        Nothing is reported before training.
        """
        tables, found = self.shares(), []
        for level in range(len(self.gates)):
            taken = [
                tables[name] for name in (f"gates.{level}", f"common.{level}") if name in tables
            ]
            most = torch.cat(taken).amax(0)
            for name, weight in zip(self.expert_names, most.tolist(), strict=True):
                if bool(most.any()) and weight < below:
                    found.append(f"level {level}: {name}")
        return tuple(found)

    def _gate(self, level: int, task: str) -> nn.Module:
        gates = self.gates[level]
        assert isinstance(gates, ByName)
        return gates[task]

    def _private(self, task: str) -> list[Backbone]:
        first = self.tasks.index(task) * self.num_private
        return list(self._columns(self.private))[first : first + self.num_private]

    @staticmethod
    def _columns(experts: nn.ModuleList) -> Iterator[Backbone]:
        for expert in experts:
            assert isinstance(expert, Backbone)
            yield expert

    def _run(self, some: Sequence[tuple[Backbone, Features]], level: int) -> list[Features]:
        """Experts' stages of one level, each expert's on a stream."""
        streams = [stream for _, stream in some]
        for depth in range(self.bounds[level], self.bounds[level + 1]):
            streams = run_stages([column.stages[depth] for column, _ in some], streams)
        return streams

    def _mix(
        self, mixer: nn.Module, stream: Features, level: int, experts: Sequence[Features]
    ) -> Features:
        """The mixture of experts that a gate on `stream` decides."""
        stacked = torch.stack([expert.values for expert in experts], 1)
        pooled = gate_input(stream, self.widths[level])
        return Features(mixer(pooled, stacked), experts[0].mask)

    def _spread(self, number: int, weights: Tensor) -> Tensor:
        """A task's weights over own and shared experts, as a row over all experts."""
        row = weights.new_zeros(len(self.private) + len(self.shared))
        count = self.num_private
        row[number * count : (number + 1) * count] = weights[:count]
        row[len(self.private) :] = weights[count:]
        return row


class CGC(Extraction):
    """Shared experts, and experts of each task's own, mixed by a gate per task (Tang 2020).

    Customized gate control, Tang et al., RecSys 2020: PLE with one level. Gates see the mean over
    pixels or valid frames, where the paper has vectors. The cost of a step is that of
    `shared + private * tasks` backbones.

    Args:
        make: Makes one expert; called once per expert.
        tasks: The names of the tasks.
        shared: The number of experts for all tasks.
        private: The number of experts of each task's own.
    """

    def __init__(
        self, make: MakeBackbone, tasks: Sequence[str], *, shared: int = 1, private: int = 1
    ) -> None:
        _require(shared, private)
        made = several(make, shared + private * len(tasks))
        super().__init__(made, tasks, shared, 1)


class PLE(Extraction):
    """Shared and own experts in several levels, each mixed by gates (Tang 2020).

    Progressive layered extraction, Tang et al., RecSys 2020. The paper's levels are layers of
    experts; here the backbone's stages are divided into levels as evenly as they can be, so the
    cost of a step is that of `shared + private * tasks` backbones whatever the number of levels.
    Gates see the mean over pixels or valid frames of their own stream; the paper has vectors.

    Args:
        make: Makes one expert; called once per expert.
        tasks: The names of the tasks.
        shared: The number of experts for all tasks.
        private: The number of experts of each task's own.
        levels: The number of levels. None is the paper's 2, or 1 where the backbone has one stage.
    """

    def __init__(
        self,
        make: MakeBackbone,
        tasks: Sequence[str],
        *,
        shared: int = 1,
        private: int = 1,
        levels: int | None = None,
    ) -> None:
        _require(shared, private)
        made = several(make, shared + private * len(tasks))
        stages = len(made[0].stages)
        levels = min(2, stages) if levels is None else levels
        if not 1 <= levels <= stages:
            raise ValueError(
                f"`levels` should be between 1 and the number of the backbone's stages ({stages}), "
                f"which the levels divide among themselves. Found {levels}."
            )
        super().__init__(made, tasks, shared, levels)


def _require(shared: int, private: int) -> None:
    if shared < 1 or private < 1:
        raise ValueError(
            "`shared` and `private` should be at least 1. "
            f"Found shared={shared}, private={private}. "
            "Without experts of the tasks' own this is 'mmoe'; without shared ones 'independent'."
        )


def _mixer(width: int, experts: int) -> Mixer:
    return Mixer(SoftmaxGate(width, experts), experts)
