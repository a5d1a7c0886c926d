"""The whole network: encoders, trunk, one head per task.

Shapes: B examples (each input its own number), D features.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import Parameter

from polytask.encoders.base import Encoder
from polytask.encoders.text import TextEncoder
from polytask.errors import ConfigError
from polytask.sharing.base import Trunk
from polytask.tasks.base import Task
from polytask.tasks.hierarchy import Hierarchies
from polytask.tasks.wide import WideLinear
from polytask.types import Batch, ByName, Features

# What the part of a head is called that stands beside the network.
WIDE = "wide"


class Boundary:
    """Collects what a training step needs of a forward pass beside its outputs.

    The loss of a task depends on the shared parameters through its alias alone, so a balancer can
    tell heads from trunk. An object rather than an output: wrappers that convert outputs to
    another precision would cut the aliases off the graph.

    Attributes:
        aliases: Per task its own alias of what the trunk gave it, drafts included.
        features: Per task the features that its head read, a part of its alias.
        masks: Their masks.
        drafts: Per task the outputs of its head on drafts, where the trunk gives any.
        draft_weight: The factor of their losses.
        beside: While training, per task with a `wide` part the outputs of that, which learns from
            a loss of its own.
        penalty: The trunk's penalty.
    """

    def __init__(self) -> None:
        self.aliases: dict[str, Tensor] = {}
        self.features: dict[str, Tensor] = {}
        self.masks: dict[str, Tensor | None] = {}
        self.drafts: dict[str, Tensor] = {}
        self.draft_weight = 0.0
        self.beside: dict[str, Tensor] = {}
        self.penalty: Tensor | None = None


def guidance(tasks: Sequence[Task], batch: Batch) -> dict[str, dict[str, Tensor]]:
    """The targets of tasks whose heads read them, as an argument of the model; none: no argument.

    Raises:
        ConfigError: If examples are blends of two, of which a head could read one text only.
    """
    found = {
        task.name: task.guide(batch.targets[task.name])
        for task in tasks
        if task.reads_target and task.name in batch.targets
    }
    for task in tasks:
        if task.name in found and task.input in batch.blends:
            raise ConfigError(
                f"Task '{task.name}' has a head that reads the target, and can't learn from blends "
                f"of two examples. Leave blending out of 'inputs.{task.input}'."
            )
    return {"guides": found} if found else {}


def labelled(tasks: Sequence[Task], batch: Batch) -> list[Task]:
    """The tasks of which a batch has a label."""
    return [t for t in tasks if t.input in batch.inputs and bool(batch.present[t.name].any())]


class MultiTaskModel(nn.Module):
    """One network for all tasks.

    Args:
        encoders: One per input.
        trunk: The sharing topology; it runs once per input, for the tasks that read that input.
        tasks: The tasks, fitted, so that heads know their size.

    Raises:
        ConfigError: If inputs that meet in the trunk have features of different widths, or a task
            with a `wide` part reads no text.
    """

    def __init__(
        self, encoders: Mapping[str, Encoder], trunk: Trunk, tasks: Sequence[Task]
    ) -> None:
        super().__init__()
        self.inputs = {task.name: task.input for task in tasks}
        self.unmirrored = {task.name: task.unmirrored for task in tasks}
        self.hierarchies = Hierarchies(tasks)
        self.encoders = ByName(encoders)
        self.trunk = trunk
        self.heads = ByName({t.name: t.head(trunk.out_features[t.name]) for t in tasks})
        self.wide: dict[str, TextEncoder] = {}  # What reads the units, by task.
        for task in tasks:
            if (part := task.beside()) is not None:
                self.wide[task.name] = reader_of_units(encoders[task.input], task)
                self.heads[task.name].add_module(WIDE, part)
        drafting = tasks if trunk.draft_weight else ()
        for task in drafting:
            if task.reads_target:
                raise ConfigError(
                    f"Task '{task.name}' has a head that reads the target, and this kind of trunk "
                    "has tasks draft their predictions from features alone. Choose another kind "
                    "of trunk."
                )
        self.drafts = ByName({t.name: t.head(trunk.out_features[t.name]) for t in drafting})
        widths = {name: encoder.out_features for name, encoder in encoders.items()}
        if len(set(widths.values())) > 1:
            found = ", ".join(f"inputs.{name}: {width}" for name, width in widths.items())
            raise ConfigError(
                f"Inputs that meet in one trunk need features of one width. Found {found}. "
                f"Give them the same 'width:', such as {max(widths.values())}."
            )

    def forward(
        self,
        inputs: Mapping[str, Features],
        tasks: Sequence[str],
        boundary: Boundary | None = None,
        guides: Mapping[str, Tensor] | None = None,
        rows: Mapping[str, Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """Outputs of the tasks whose input is there, one row per row of that input.

        Where only some rows of a task's output are read, and the trunk's passes are `apart`, the
        task's pass and head run on those. The other rows of its output are zeros then, and a task
        of which no row is read has no output.

        While not training, tasks whose classes are kinds of others' answer together (see
        `Hierarchies`), whichever of them are asked for. The output of a task with a `wide` part is
        the mean of its network's and that part's; while training with a boundary, which has the
        latter then, the network's alone.

        Args:
            inputs: Raw values by input.
            tasks: The tasks that are asked for.
            boundary: If given, collects the tasks' aliases of the trunk's output, the outputs on
                drafts, and, where gradients are enabled, the trunk's penalty.
            guides: Targets for heads that read them, by task; see `guidance`.
            rows: By task which rows of its output are read, `[B]` bool; all, where it isn't named.
                A boundary has those rows alone, where no others are computed.
        """
        if self.hierarchies and not self.training and boundary is None:
            families = self.hierarchies.families(tasks)
            members = list(dict.fromkeys(m for family in families.values() for m in family))
            whole = self._each(inputs, members, None, guides, read_together(families, rows or {}))
            agreed = self.hierarchies.agreed(whole)
            return {task: agreed[task] for task in tasks if task in agreed}
        return self._each(inputs, tasks, boundary, guides, rows)

    def _each(
        self,
        inputs: Mapping[str, Features],
        tasks: Sequence[str],
        boundary: Boundary | None,
        guides: Mapping[str, Tensor] | None,
        rows: Mapping[str, Tensor] | None,
    ) -> dict[str, Tensor]:
        """What `forward` gives where each task answers alone."""
        outputs: dict[str, Tensor] = {}
        for name, raw in inputs.items():
            readers = [task for task in tasks if self.inputs[task] == name]
            some = parts_read(readers, rows) if rows and self.trunk.apart else {}
            readers = [task for task in readers if task not in some or len(some[task])]
            if not readers:
                continue
            encoder = self.encoders[name]
            assert isinstance(encoder, Encoder)
            views = (raw,) if self.training else encoder.views(raw)
            seen = [
                self._outputs(encoder, v, readers, None if i else boundary, guides or {}, some)
                for i, v in enumerate(views)
            ]
            for task in readers:
                several = [seen[0][task], *(self.unmirrored[task](o[task]) for o in seen[1:])]
                outputs[task] = several[0] if len(seen) == 1 else torch.stack(several).mean(0)
        if boundary is not None and torch.is_grad_enabled():
            devices = {features.values.device.type for features in inputs.values()}
            with torch.autocast(devices.pop(), enabled=False):
                boundary.penalty = self.trunk.penalty()
        return outputs

    def _outputs(
        self,
        encoder: Encoder,
        raw: Features,
        readers: Sequence[str],
        boundary: Boundary | None,
        guides: Mapping[str, Tensor],
        some: Mapping[str, Tensor],
    ) -> dict[str, Tensor]:
        """Outputs of the tasks that read one input; `some`: see `parts_read`."""
        encoded = encoder(raw)
        features, drafts = self._passes(encoded, readers, some)
        guides = {t: g.index_select(0, some[t]) if t in some else g for t, g in guides.items()}
        outputs: dict[str, Tensor] = {}
        for task in readers:
            values, mask = features[task]
            if boundary is not None:
                boundary.draft_weight = self.trunk.draft_weight
                if task in drafts and task in self.drafts:
                    alias, (values, draft) = joined_alias(values, drafts[task].values)
                    boundary.drafts[task] = self.drafts[task](Features(draft, mask))
                else:
                    alias = values = values.view_as(values)
                boundary.aliases[task], boundary.features[task] = alias, values
                boundary.masks[task] = mask
            output = self._head(task, Features(values, mask), guides)
            beside = self._beside(task, raw, some.get(task))
            if task in some:
                output = spread(output, some[task], len(encoded.values))
                beside = None if beside is None else spread(beside, some[task], len(output))
            if beside is not None and self.training and boundary is not None:
                boundary.beside[task] = beside
            elif beside is not None:
                output = (output + beside) / 2
            outputs[task] = output
        return outputs

    def _passes(
        self, encoded: Features, readers: Sequence[str], some: Mapping[str, Tensor]
    ) -> tuple[dict[str, Features], dict[str, Features]]:
        """The trunk's features and drafts: all at once, or each task's from the rows it reads."""
        if not some:
            return self.trunk.with_drafts(encoded, readers)
        features: dict[str, Features] = {}
        drafts: dict[str, Features] = {}
        for task in readers:
            own = encoded.of_rows(some[task]) if task in some else encoded
            found, drafted = self.trunk.with_drafts(own, [task])
            features |= found
            drafts |= drafted
        return features, drafts

    def _head(self, task: str, features: Features, guides: Mapping[str, Tensor]) -> Tensor:
        """A head's output; with the targets, where it reads them and there are any."""
        guided = (guides[task],) if task in guides else ()
        output: Tensor = self.heads[task](features, *guided)
        return output

    def _beside(self, task: str, raw: Features, places: Tensor | None) -> Tensor | None:
        """What the part beside a task's network says of the rows at `places` (None: of all),
        `[n, K]`; None if there is no such part."""
        if task not in self.wide:
            return None
        units = self._units(task, raw)
        output: Tensor = self._wide_part(task)(units if places is None else units.of_rows(places))
        return output

    def _units(self, task: str, raw: Features) -> Features:
        return Features(self.wide[task].units(raw), raw.mask)

    def _wide_part(self, task: str) -> WideLinear:
        part = self.heads[task].get_submodule(WIDE)
        assert isinstance(part, WideLinear)
        return part

    def by_unit(self, task: str, raw: Features) -> Tensor | None:
        """What each unit of a text adds to a task's answer beside the network, `[B, L, K]`; None
        for a task that has no `wide` part."""
        if task not in self.wide:
            return None
        found: Tensor = self._wide_part(task).by_unit(self._units(task, raw)) / 2
        return found

    def shared_parameters(self) -> Iterator[Parameter]:
        """The parameters that more than one task moves: the trunk's, and those of an encoder that
        serves several tasks."""
        readers = Counter(self.inputs.values())
        for name in self.encoders:
            if readers[name] > 1:
                yield from (p for p in self.encoders[name].parameters() if p.requires_grad)
        yield from (p for p in self.trunk.shared_parameters() if p.requires_grad)

    def last_stage(self) -> list[Parameter]:
        """The shared parameters of the last stage, of each of the trunk's backbones, with any."""
        shared = {id(p) for p in self.shared_parameters()}
        found: list[Parameter] = []
        for backbone in self.trunk.backbones():
            of_stages = [
                [p for p in stage.parameters() if id(p) in shared] for stage in backbone.stages
            ]
            found += next((of_stage for of_stage in reversed(of_stages) if of_stage), [])
        return found

    @torch.no_grad()
    def fit_to(self, inputs: Mapping[str, Features]) -> None:
        """Let parts that start from data (a whitening stem) see training examples of each input."""
        training = self.training
        self.eval()
        for name, raw in inputs.items():
            encoder = self.encoders[name]
            assert isinstance(encoder, Encoder)
            encoder.fit_to(raw)
            features = encoder(raw)
            for backbone in self.trunk.backbones():
                backbone.fit_to(features)
        self.train(training)


def reader_of_units(encoder: Encoder, task: Task) -> TextEncoder:
    """The part of an encoder that knows the numbers of units.

    Raises:
        ConfigError: If it reads no text.
    """
    front = getattr(encoder, "front", encoder)
    if isinstance(front, TextEncoder):
        return front
    raise ConfigError(
        f"Task '{task.name}' has 'wide', which is of n-grams of a text, and its input "
        f"'{task.input}' is none. Leave it out, or name an input of kind 'text'."
    )


def parts_read(tasks: Sequence[str], rows: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The places `[n]` of the rows that are read, of each task of which not all are.

    Args:
        tasks: The tasks.
        rows: By task which rows are read, `[B]` bool; all, where it isn't named.
    """
    asked = {task: rows[task] for task in tasks if task in rows}
    return {task: read.nonzero().flatten() for task, read in asked.items() if not bool(read.all())}


def read_together(
    families: Mapping[str, Sequence[str]], rows: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Which rows of each member's output are read, `[B]` bool, if any of a family's is.

    Args:
        families: By task those that answer together with it, itself among them.
        rows: By task which rows are read; all, where it isn't named.
    """
    found: dict[str, Tensor] = {}
    for family in families.values():
        asked = [rows.get(task) for task in family if task in families]
        read = [some for some in asked if some is not None]
        if len(read) == len(asked):
            found |= dict.fromkeys(family, torch.stack(read).any(0))
    return found


def spread(output: Tensor, places: Tensor, count: int) -> Tensor:
    """Outputs `[n, ...]` at their places among `count` rows, and zeros at the others."""
    whole = output.new_zeros(count, *output.shape[1:])
    return whole.index_copy(0, places, output)


def joined_alias(*parts: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
    """One tensor that holds several, `[B, ...]` each, and the several as parts of it.

    What depends on the parts depends on that one tensor. Parts are contiguous, so that layers
    compute with them, bit for bit, what they compute with the several.
    """
    flat = [part.flatten(1) for part in parts]
    alias = torch.cat(flat, 1)
    cut = alias.split([part.shape[1] for part in flat], 1)
    return alias, tuple(c.contiguous().view(p.shape) for c, p in zip(cut, parts, strict=True))
