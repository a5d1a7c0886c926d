"""The configuration: every part's model, derived from the classes in the catalogue."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import ConfigDict, Field, WithJsonSchema, model_validator

from polytask.config import catalogue
from polytask.config.derive import GREATEST_SEED, FieldOf, Text, descriptions, settings
from polytask.config.spec import Exactly, OneOf, Section, Spec, choice, derive
from polytask.config.task_keys import naming_tasks
from polytask.data.joining import Join
from polytask.data.splits import Split
from polytask.data.stream import BatchStream
from polytask.data.table_cleaning import TableCleaning
from polytask.data.tabular import TableInput
from polytask.distillation import Lesson
from polytask.encoders import StackedEncoder
from polytask.tasks.base import Task
from polytask.tasks.labels import Unknown
from polytask.tasks.wide import Wide
from polytask.training.settings import Settings

NAME = r"^[A-Za-z][A-Za-z0-9_-]*$"
Name = Annotated[str, Field(pattern=NAME)]
# The run's name is a folder's, and a file's name suggests it.
RunName = Annotated[Text, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]

SPLIT = derive(Split)
TRAINING = derive(Settings)
BACKBONES = choice("backbone", catalogue.BACKBONES, default="perceptron")
MIXINGS = choice("mixing", catalogue.MIXINGS, default="proportional")
RESAMPLINGS = choice("resampling", catalogue.RESAMPLINGS)
OPTIMIZERS = choice("optimizer", catalogue.OPTIMIZERS, default="sgd")
LOGGERS = choice("logger", catalogue.LOGGERS)
SCHEDULES = choice("schedule", catalogue.SCHEDULES, default="constant")
ENCODERS = {
    kind: choice(f"{kind} encoder", kinds, default=next(iter(kinds)))
    for kind, kinds in catalogue.ENCODERS.items()
}
TRANSFORMS = {
    kind: choice(f"{kind} augmentation", kinds)
    for kind, kinds in catalogue.TRANSFORMS.items()
    if kinds
}
BLENDINGS = {
    kind: choice(f"{kind} blend", kinds) for kind, kinds in catalogue.BLENDINGS.items() if kinds
}
PARTS_OF_CLEANING = {
    "missing": choice("treatment of blanks", catalogue.MISSING, default="fill"),
    "outliers": choice("treatment of outliers", catalogue.OUTLIERS),
    "select": choice("selection", catalogue.SELECTIONS),
}
BODIES = {
    kind: OneOf(f"{kind} body", {b: BACKBONES.models[b] for b in catalogue.BODIES[shape]})
    for kind, shape in catalogue.SHAPES.items()
}
BALANCERS = OneOf(
    "balancer",
    {
        kind: derive(made, kind=kind, optional=kind == "equal", replaced=naming_tasks(kind, made))
        for kind, made in catalogue.BALANCERS.items()
    },
    default="equal",
)
# How a file may abbreviate {source: column}; `references.expand` writes it out.
_COLUMNS = {
    "$comment": "column, list of columns, or `{source: column}`",
    "anyOf": [
        {"type": "string"},
        {"type": "array", "items": {"type": "string"}},
        {
            "type": "object",
            "additionalProperties": {
                "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]
            },
        },
    ],
}


def _abbreviated(field: FieldOf) -> FieldOf:
    """A field of columns by source, whose shorter forms an editor accepts too."""
    return Annotated[field[0], WithJsonSchema(_COLUMNS)], field[1]


def _input_may_be_left_out(schema: dict[str, Any]) -> None:
    schema["required"].remove("input")


def _column_is_short_for_columns(schema: dict[str, Any]) -> None:
    schema["required"].remove("columns")
    schema["properties"]["column"] = {
        "type": "string",
        "description": "The column, where there is one source; short for `columns`.",
    }


# What these models have in common. The derived models declare the fields, in the order in which
# a file lists them; here they are named for the type checker.
class SourceSpec(Spec):
    """Where rows come from, and how they are divided."""

    if TYPE_CHECKING:
        split: Spec


class InputSpec(Spec):
    """What one encoder reads, and the network that is this input's own."""

    model_config = ConfigDict(json_schema_extra=_column_is_short_for_columns)
    if TYPE_CHECKING:
        encoder: Spec
        body: Spec | None


class TaskSpec(Spec):
    """What to predict."""

    model_config = ConfigDict(json_schema_extra=_input_may_be_left_out)
    if TYPE_CHECKING:
        input: str


class TrunkSpec(Spec):
    """How tasks share a network."""

    if TYPE_CHECKING:
        backbone: Spec


def _part(annotation: Any, default: Any, description: str) -> FieldOf:
    return annotation, Field(default=default, description=description)


STACK = settings(StackedEncoder)
CLEANING = derive(
    TableCleaning,
    supplied=tuple(PARTS_OF_CLEANING),
    parts={
        key: _part(Annotated[Spec, place] | None, None, descriptions(TableCleaning)[key])
        for key, place in PARTS_OF_CLEANING.items()
    },
)


def _input_parts(kind: str) -> dict[str, FieldOf]:
    """What an input has besides its columns: augmentation, encoder, body, pooling."""
    encoder, body = ENCODERS[kind], BODIES[kind]
    parts: dict[str, FieldOf] = {}
    if kind in TRANSFORMS:
        several = tuple[Annotated[Spec, TRANSFORMS[kind]], ...]
        parts["augment"] = _part(several, (), "Random changes of training batches, in order.")
    if kind in BLENDINGS:
        parts["blend"] = _part(
            Annotated[Spec, BLENDINGS[kind]] | None,
            None,
            "Training examples that are two in one, and learn the labels of both.",
        )
    if kind == "table":
        cleaning = Annotated[Spec, Exactly(CLEANING)] | None
        parts["clean"] = _part(cleaning, None, descriptions(TableInput)["clean"])
    return parts | {
        "encoder": _part(
            Annotated[Spec, encoder], encoder.usual(), "How raw values become numbers."
        ),
        "body": _part(
            Annotated[Spec, body] | None, None, "A network of the input's own, before the trunk."
        ),
        **STACK,
    }


_DIVIDED = "How the rows are divided into training, validation and test."
SOURCES = choice(
    "source",
    catalogue.SOURCES,
    base=SourceSpec,
    parts={"split": _part(Annotated[Spec, Exactly(SPLIT)], SPLIT(), _DIVIDED)},
    nested={"join": tuple[Annotated[Spec, Exactly(derive(Join))], ...] | None},
)
INPUTS = OneOf(
    "input",
    {
        kind: derive(
            made,
            kind=kind,
            base=InputSpec,
            parts=_input_parts(kind),
            supplied=("clean",) if kind == "table" else (),
            replaced={"columns": _abbreviated(settings(made)["columns"])},
        )
        for kind, made in catalogue.INPUTS.items()
    },
)
# Arguments that all tasks have, and the range of their numbers.
_OF_TASKS = {
    "target": _abbreviated(settings(Task)["target"]),
    "weight": _part(
        Annotated[float, Field(ge=0, allow_inf_nan=False)], 1.0, descriptions(Task)["weight"]
    ),
    "dropout": _part(Annotated[float, Field(ge=0, lt=1)], 0.0, descriptions(Task)["dropout"]),
}
TASKS = choice(
    "task",
    catalogue.TASKS,
    base=TaskSpec,
    supplied=catalogue.TASK_FACTS,
    replaced=_OF_TASKS,
    nested={"wide": Annotated[Spec, Exactly(derive(Wide))] | None},
)
TRUNKS = choice(
    "trunk",
    catalogue.TRUNKS,
    default="hard",
    base=TrunkSpec,
    parts={
        "backbone": _part(
            Annotated[Spec, BACKBONES],
            BACKBONES.usual(),
            "The network that is shared, or that each task has of its own.",
        )
    },
)
_STREAM = settings(BatchStream)


TEACHER = derive(Lesson)


class Batches(Section):
    """How many examples make a step, and from which source."""

    # More rows than memory holds would be looked up for a long time before anything is said.
    size: int = Field(
        default=128, ge=1, le=1 << 24, description=_STREAM["batch_size"][1].description
    )
    mixing: Annotated[Spec, MIXINGS] = Field(
        default=MIXINGS.usual(), description=_STREAM["mixing"][1].description
    )
    resample: Annotated[Spec, RESAMPLINGS] | None = Field(
        default=None,
        description="Training rows that are drawn more or less often, so that the classes of one "
        "task are less uneven; what is fitted on training rows counts each once.",
    )
    epoch_examples: int | None = Field(
        default=None, ge=1, description=_STREAM["epoch_examples"][1].description
    )


Choice = Annotated[Any, WithJsonSchema({"$comment": "any value"})]


class Range(Section):
    """Values of a key that `polytask tune` may try: from `low` to `high`, or one of `choices`."""

    low: int | float | None = Field(
        default=None, description="The least value. Whole numbers at both ends: whole numbers only."
    )
    high: int | float | None = Field(default=None, description="The greatest value.")
    log: bool = Field(default=False, description="Whether ratios count rather than differences.")
    choices: tuple[Choice, ...] | None = Field(default=None, description="Values to choose from.")

    @model_validator(mode="after")
    def _is_one_of_both(self) -> "Range":
        if self.choices is not None:
            if self.low is not None or self.high is not None or self.log:
                raise ValueError("'choices' stands alone: leave out low, high and log.")
            if not self.choices:
                raise ValueError("'choices' needs at least one value.")
            return self
        if self.low is None or self.high is None:
            raise ValueError("needs 'low' and 'high', or 'choices'.")
        if not self.low <= self.high:
            raise ValueError(f"'low' should be below 'high'. Found {self.low} and {self.high}.")
        if self.log and self.low <= 0:
            raise ValueError(f"'log' needs a 'low' above 0. Found {self.low}.")
        return self


class Compare(Section):
    """What `polytask compare` trains beside every task alone: ways to share and ways to balance."""

    sharing: tuple[Annotated[TrunkSpec, TRUNKS], ...] = Field(
        default=(),
        description="Ways to share; one that names no backbone has the file's. Empty: the file's.",
    )
    balancing: tuple[Annotated[Spec, BALANCERS], ...] = Field(
        default=(), description="Balancers; equal weights are always tried. Empty: the file's."
    )
    tasks: tuple[tuple[Name, ...], ...] = Field(
        default=(), description="Sets of tasks that share a model; empty: all tasks in one."
    )
    seeds: tuple[Annotated[int, Field(ge=0, le=GREATEST_SEED)], ...] = Field(
        default=(0, 1, 2), description="Seeds that everything is trained with, in pairs."
    )
    budget: Literal["examples", "steps", "time"] = Field(
        default="examples",
        description="What a model of fewer tasks gets as much of: `examples` of each of its tasks, "
        "`steps` with whole batches of them, or training `time` (in whole epochs, by steps that "
        "are timed before it begins).",
    )
    trials: Annotated[int, Field(ge=0)] | None = Field(
        default=None,
        description="For each way to share, how many sets of fixed weights are tried with the "
        "first seed; 0: none are; null: as many as adaptive balancers get trainings there, "
        "and 4 at least.",
    )
    frozen: bool = Field(
        default=True,
        description="Whether weights at which an adaptive balancer arrived are tried as constants.",
    )


class Config(Section):
    """One training run: the data, the tasks, the network and how it learns."""

    name: RunName = Field(description="Names the run's folder; the file's name if left out.")
    seed: int = Field(
        default=0,
        ge=0,
        le=GREATEST_SEED,
        description="Decides splits, first weights, order and noise.",
    )
    sources: dict[Name, Annotated[SourceSpec, SOURCES]] = Field(
        description="Where rows come from, by a name of your own."
    )
    inputs: dict[Name, Annotated[InputSpec, INPUTS]] = Field(
        description="What the model sees and hears, by a name of your own."
    )
    tasks: dict[Name, Annotated[TaskSpec, TASKS]] = Field(
        description="What to predict, by a name of your own."
    )
    trunk: Annotated[TrunkSpec, TRUNKS] = Field(
        default=TRUNKS.usual(), description="How the tasks share a network."
    )
    balancer: Annotated[Spec, BALANCERS] = Field(
        default=BALANCERS.usual(), description="How the tasks' losses become one update."
    )
    batches: Batches = Field(default=Batches(), description="What a step is made of.")
    optimizer: Annotated[Spec, OPTIMIZERS] = Field(
        default=OPTIMIZERS.usual(), description="What takes the steps."
    )
    schedule: Annotated[Spec, SCHEDULES] = Field(
        default=SCHEDULES.usual(), description="The learning rate over time."
    )
    training: Annotated[Spec, Exactly(TRAINING)] = Field(
        default=TRAINING(), description="How long and how to train."
    )
    teachers: tuple[Annotated[Spec, Exactly(TEACHER)], ...] = Field(
        default=(), description="Runs whose predictions or features are learned as well."
    )
    loggers: tuple[Annotated[Spec, LOGGERS], ...] = Field(
        default=(), description="Programs that are shown the history while it grows."
    )
    on_bad: Literal["error", "skip"] = Field(
        default="error",
        description="What to do with pictures and sounds that cannot be decoded, and with files "
        "whose names do not fit a `pattern`.",
    )
    unknown_labels: Unknown = Field(
        default="error", description="What to do with labels that no training row has."
    )
    tune: dict[str, Range] | None = Field(
        default=None,
        description="By dotted key, such as `optimizer.lr`: what `polytask tune` may try. Other "
        "commands leave it alone.",
    )
    compare: Compare | None = Field(
        default=None, description="What `polytask compare` compares; other commands leave it alone."
    )

    def resolved(self) -> dict[str, Any]:
        """Everything that was set or left to its default, as plain values of YAML."""
        values = self.model_dump(mode="json")
        optional = ("tune", "compare")
        return {k: v for k, v in values.items() if k not in optional or v is not None}


def json_schema() -> dict[str, Any]:
    """The JSON schema of the file, for editors."""
    schema = Config.model_json_schema()
    schema["required"].remove("name")
    for key in ("sources", "inputs", "tasks"):
        schema["properties"][key]["additionalProperties"] = False
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


MODELS: dict[str, type[Spec]] = {
    place.tag(kind): model
    for place in (
        *(SOURCES, INPUTS, TASKS, TRUNKS, BACKBONES, BALANCERS, MIXINGS, OPTIMIZERS, SCHEDULES),
        LOGGERS,
        *(*ENCODERS.values(), *TRANSFORMS.values(), *BLENDINGS.values(), *BODIES.values()),
        *PARTS_OF_CLEANING.values(),
        RESAMPLINGS,
    )
    for kind, model in place.models.items()
}
