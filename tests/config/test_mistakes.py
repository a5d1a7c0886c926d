# ruff: noqa: E501 (a line for each mistake reads as a table)
"""Every mistake is told with its line, its key, what was found and the nearest valid name."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from polytask.config import load_config
from polytask.config.document import parse, write
from polytask.errors import ConfigError

from .conftest import RIGHT, Complain, Load


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("path: photos.csv", "paht: photos.csv", "2: sources.photos.paht: unknown key. Did you mean 'path'?"),
        ("path: photos.csv, ", "", "2: sources.photos.path: is needed and missing."),
        ("sources:", "sead: 3\nsources:", "1: sead: unknown key. Did you mean 'seed'?"),
        ("kind: fsdd", "kind: fsd", "3: sources.digits.kind: unknown kind 'fsd' for source. Did you mean 'fsdd'? Valid: shapes, cifar10, fsdd, timit, "),
        ("{kind: fsdd}", "{}", "3: sources.digits: 'kind' is needed and missing. Valid: shapes, cifar10, fsdd, timit, "),
        ("{kind: fsdd}", "fsdd", "3: sources.digits: expected a mapping such as {kind: shapes}, found 'fsdd'. Valid: shapes, cifar10, fsdd, timit, "),
        ("{kind: fsdd}", "{kind: fsdd, split: {tests: 0.1}}", "3: sources.digits.split.tests: unknown key. Did you mean 'test'?"),
        ("{kind: fsdd}", "{kind: fsdd, split: {test: 0.6, validation: 0.6}}", "3: sources.digits.split: `test` and `validation` should be shares of at least 0 that leave rows to train on. Found test=0.6, validation=0.6."),
        ("photos: photo}", "photo: photo}", "5: inputs.picture.columns.photo: there is no source 'photo'. Did you mean 'photos'?"),
        ("pool: mean, width: 32}\n  sound", "pool: most, width: 32}\n  sound", "5: inputs.picture.pool: expected 'mean', 'max'"),
        ("kind: image, columns: {photos: photo}", "kind: image, column: photo", "5: inputs.picture.column: there is more than one source, so say which column to read from which: columns: {photos: photo, digits: photo}, or some of them."),
        ("pool: mean, width: 32}\n  sound", "pool: mean, width: wide}\n  sound", "5: inputs.picture.width: expected a whole number, found 'wide'."),
        ("pool: mean, width: 32}\n  sound", "width: 32}\n  sound", "5: inputs.picture: gives a map, which the trunk's backbone (perceptron) cannot take. Add 'pool: mean', or choose another trunk.backbone (residual or unet or pretrained-pictures)."),
        ("pool: mean, width: 32}\n  sound", "pool: mean, augment: [{kind: gain}], width: 32}\n  sound", "5: inputs.picture.augment.0.kind: unknown kind 'gain' for image augmentation. Did you mean 'affine'? Valid: crop, flip, "),
        ("pool: mean, width: 32}\n  sound", "pool: mean, augment: [{kind: crop, padding: 0}], width: 32}\n  sound", "5: inputs.picture.augment.0: `padding` should be at least 1. Found 0."),
        ("input: sound", "input: sond", "9: tasks.digit.input: there is no input 'sond'. Did you mean 'sound'?"),
        ("input: sound, ", "", "9: tasks.digit.input: is needed: which of picture, sound it reads."),
        ("digits.digit", "digit.digit", "9: tasks.digit.target: 'digit.digit' should be 'source.column', since there is more than one source. Did you mean 'digits'?"),
        ("digits.digit", "{digit: digit}", "9: tasks.digit.target.digit: there is no source 'digit'. Did you mean 'digits'?"),
        ("digits.digit", "photos.digit", "9: tasks.digit.target.photos: its input 'sound' does not read source 'photos'. Valid names: digits."),
        ("digits.digit", "[digits.digit, photos.species]", "9: tasks.digit.target: a list holds the columns of one source. For several sources: target: {digits: COLUMN, photos: COLUMN}."),
        ("target: digits.digit", "label: digits.digit", "9: tasks.digit.target: is needed and missing."),
        ("digit: {kind: multiclass", "2nd digit: {kind: multiclass", "9: tasks.2nd digit: names begin with a letter and hold letters, digits, '_' and '-'. Found '2nd digit'."),
        ("digit: {kind: multiclass", "digit: {kind: tagging", "9: tasks.digit.input: a tagging task needs a sequence, and its input 'sound' gives a vector. Leave out its 'pool'."),
        ("digits.digit}", "digits.digit, wide: {}}", "9: tasks.digit.wide: is of n-grams of a text, and its input 'sound' is of kind 'sound'. Leave it out."),
        ("digits.digit}", "digits.digit, wide: {span: [1]}}", "9: tasks.digit.wide.span: unknown key. Did you mean 'spans'?"),
        ("digits.digit}", "digits.digit, class_weights: {one: x}}", "9: tasks.digit.class_weights.one: expected a number, found 'x'."),
        ("digits.digit}", "digits.digit, class_weights: even}", "9: tasks.digit.class_weights: expected a mapping (key: value) or 'balanced' or 'effective', found 'even'."),
        ("tasks:", "trunk: {kind: gru}\ntasks:", "7: trunk.kind: unknown kind 'gru' for trunk. Valid: hard, independent, "),
        ("tasks:", "trunk:\n  backbone: {kind: perceptron,\n    withs: [3]}\ntasks:", "9: trunk.backbone.withs: unknown key. Did you mean 'widths'?"),
        ("tasks:", "  numbers: {kind: table, columns: {photos: [age]}, clean: {piecs: 8}}\ntasks:", "7: inputs.numbers.clean.piecs: unknown key. Did you mean 'pieces'?"),
        ("tasks:", "trunk: {backbone: {widths: 3}}\ntasks:", "7: trunk.backbone.widths: expected a list, found 3."),
        ("tasks:", "optimizer: {kind: adam, betas: [0.9]}\ntasks:", "7: optimizer.betas: expected a longer list, found [0.9]."),
        ("tasks:", "optimizer: {kind: adam, betas: [0.9, 0.9, 0.9]}\ntasks:", "7: optimizer.betas: expected a list of 2, found [0.9, 0.9, 0.9]."),
        ("tasks:", "optimizer: {kind: adam, lr: high}\ntasks:", "7: optimizer.lr: expected a number, found 'high'."),
        ("tasks:", "training: {epochs: 1.5}\ntasks:", "7: training.epochs: expected a whole number, found 1.5."),
        ("tasks:", "training: {epoch: 1}\ntasks:", "7: training.epoch: unknown key. Did you mean 'epochs'?"),
        ("tasks:", "training: {epochs: null}\ntasks:", "7: training.epochs: expected a whole number, found nothing (null)."),
        ("tasks:", "training: {precision: bf17}\ntasks:", "7: training.precision: expected 'auto', 'fp32', 'bf16' or 'fp16', found 'bf17'. Did you mean 'bf16'?"),
        ("tasks:", "training: {monitor: digits.accuracy}\ntasks:", "7: training.monitor: expected 'mean' or 'task.metric', found 'digits.accuracy'. Did you mean 'digit'?"),
        ("tasks:", "training: {monitor: mean.f1}\ntasks:\n  mean: {kind: multiclass, input: sound, target: digits.digit}", "7: training.monitor: 'mean.f1' may be of the task 'mean' or the mean of all tasks. Name the task otherwise"),
        ("tasks:", "trunk: {backbone: {widths: [1180591620717411303424]}}\ntasks:", "7: trunk.backbone: empty(): argument 'size' failed to unpack the object at pos 1"),
        ("tasks:", "batches: {size: 100000000000}\ntasks:", "7: batches.size: expected a number of at most 16777216, found 100000000000."),
        ("tasks:", "batches: {mixing: {kind: counts, counts: {photos: 1, digit: 2}}}\ntasks:", "7: batches.mixing.counts.digit: there is no source 'digit'. Did you mean 'digits'?"),
        ("tasks:", "batches: {mixing: {kind: counts, counts: {photos: 1}}}\ntasks:", "7: batches.mixing.counts: says nothing of digits: how many examples per step?"),
        ("tasks:", "batches: {mixing: {kind: temperature, temperature: -1.0}}\ntasks:", "7: batches.mixing: `temperature` should be above 0. Found -1.0."),
        ("tasks:", "balancer: {kind: constant, weights: [1, 2, 3]}\ntasks:", "7: balancer: `weights` should be 2 numbers >= 0, one per task and not all zero. Found (1.0, 2.0, 3.0)."),
        ("tasks:", "balancer: {kind: auto-lambda, primary: [specis, 1]}\ntasks:", "7: balancer.primary.0: there is no task 'specis'. Did you mean 'species'?"),
        ("tasks:", "balancer: {kind: metabalance, primary: digits}\ntasks:", "7: balancer.primary: there is no task 'digits'. Did you mean 'digit'?"),
        ("tasks:", "balancer: {kind: metabalance, primary: 2}\ntasks:", "7: balancer: `primary` should be a task number below 2, or None."),
        ("tasks:", "balancer: {kind: auto-lambda, primary: species}\ntasks:", "7: balancer.primary: expected a list, found 'species'."),
        ("tasks:", "balancer: {kind: uw, classification: [speciis]}\ntasks:", "7: balancer.classification.0: there is no task 'speciis'. Did you mean 'species'?"),
        ("tasks:", "compare: {balancing: [{kind: dwa}, {kind: metabalance, primary: digi}]}\ntasks:", "7: compare.balancing.1.primary: there is no task 'digi'. Did you mean 'digit'?"),
        ("tasks:", "trunk: {backbone: {kind: recurrent}}\ntasks:", "5: inputs.picture: gives a vector, which the trunk's backbone (recurrent) cannot take. Choose another trunk.backbone (perceptron or transformer)."),
        ("tasks:", "seed: -1\ntasks:", "7: seed: expected a number of at least 0, found -1."),
        ("tasks:", "seed: 9223372036854775808\ntasks:", "7: seed: expected a number of at most 9223372036854775807, found 9223372036854775808."),
        ("{kind: fsdd}", "{kind: fsdd, split: {seed: -4}}", "3: sources.digits.split.seed: expected a number of at least 0, found -4."),
        ("{kind: fsdd}", "{kind: fsdd, split: {test: .nan}}", "3: sources.digits.split.test: expected a number, found NaN."),
        ("tasks:", "batches: {size: 0}\ntasks:", "7: batches.size: expected a number of at least 1, found 0."),
        ("tasks:", "batches: {epoch_examples: 0}\ntasks:", "7: batches.epoch_examples: expected a number of at least 1, found 0."),
        ("tasks:", "training: {epochs: 0}\ntasks:", "7: training: `epochs` should be at least 1. Found 0."),
        ("tasks:", "training: {threads: 0}\ntasks:", "7: training: `threads` should be at least 1 and at most 1024. Found 0."),
        ("tasks:", "training: {threads: 100000}\ntasks:", "7: training: `threads` should be at least 1 and at most 1024. Found 100000."),
        ("tasks:", "training: {devices: 0}\ntasks:", "7: training: `devices` should be at least 1. Found 0."),
        ("tasks:", "training: {clip: 0}\ntasks:", "7: training: `clip` should be above 0. Found 0.0."),
        ("tasks:", "training: {clip: .nan}\ntasks:", "7: training.clip: expected a number, found NaN."),
        ("tasks:", "training: {ema: 1}\ntasks:", "7: training: `ema` should be at least 0 and below 1. Found 1.0."),
        ("tasks:", "training: {patience: 0}\ntasks:", "7: training: `patience` should be at least 1. Found 0."),
        ("tasks:", "training: {unfreeze: {trunk: -1}}\ntasks:", "7: training: `unfreeze.trunk` should be at least 0. Found -1."),
        ("tasks:", "optimizer: {kind: sgd, lr: -1}\ntasks:", "7: optimizer: `lr` should be at least 0. Found -1.0."),
        ("tasks:", "optimizer: {kind: sgd, lr: .inf}\ntasks:", "7: optimizer: `lr` should be finite and at least 0. Found inf."),
        ("tasks:", "optimizer: {kind: sgd, momentum: 1}\ntasks:", "7: optimizer: `momentum` should be at least 0 and below 1. Found 1.0."),
        ("tasks:", "optimizer: {kind: sgd, nesterov: true}\ntasks:", "7: optimizer: `nesterov` needs a `momentum` above 0."),
        ("tasks:", "optimizer: {kind: adamw, betas: [1.5, 0.9]}\ntasks:", "7: optimizer: `betas` should be at least 0 and below 1. Found 1.5."),
        ("tasks:", "optimizer: {kind: rmsprop, alpha: 2}\ntasks:", "7: optimizer: `alpha` should be at least 0 and below 1. Found 2.0."),
        ("tasks:", "optimizer: {factors: {heads: -1}}\ntasks:", "7: optimizer: `factors.heads` should be at least 0. Found -1.0."),
        ("tasks:", "schedule: {kind: one_cycle, warmup: 1}\ntasks:", "7: schedule: `warmup` should be at least 0 and below 1. Found 1.0."),
        ("tasks:", "schedule: {kind: step, milestones: [2]}\ntasks:", "7: schedule: `milestones` should be above 0 and below 1. Found 2.0."),
        ("tasks:", "trunk: {backbone: {widths: []}}\ntasks:", "7: trunk.backbone: `widths` should be at least one number, each at least 1. Found []."),
        ("tasks:", "trunk: {backbone: {widths: [8, 0]}}\ntasks:", "7: trunk.backbone: `widths` should be at least one number, each at least 1. Found [8, 0]."),
        ("digits.digit}", "digits.digit, weight: -1}", "9: tasks.digit.weight: expected a number of at least 0, found -1."),
        ("digits.digit}", "digits.digit, dropout: 1}", "9: tasks.digit.dropout: expected a number below 1, found 1."),
        ("digits.digit}", "digits.digit, label_smoothing: 2}", "9: tasks.digit: `label_smoothing` should be at least 0 and below 1. Found 2.0."),
        ("tasks:", "trunk: {backbone: {kind: transformer, heads: -1}}\ntasks:", "7: trunk.backbone: `heads` should be at least 1. Found -1."),
        ("tasks:", "balancer: {kind: aligned-mtl, rtol: 1}\ntasks:", "7: balancer: `rtol` should be in [0, 1). Found 1.0."),
        ("pool: mean, width: 32}\n  sound", "pool: mean, augment: [{kind: blur, sigma: .inf}], width: 32}\n  sound", "5: inputs.picture.augment.0: `sigma` should be finite and at least 0.1. Found inf."),
        ("columns: {digits: audio}", "columns: {digits: audio}, seconds: .inf", "6: inputs.sound: `seconds` should be finite and above 0. Found inf."),
        ("columns: {digits: audio}", "columns: {digits: audio}, body: {kind: ngrams, filters: 0}", "6: inputs.sound.body: `filters` should be at least 1. Found 0."),
        ("tasks:", "on_bad: ignore\ntasks:", "7: on_bad: expected 'error' or 'skip', found 'ignore'."),
        ("tasks:", f"tune: {'[' * 3000}{']' * 3000}\ntasks:", " lists or mappings are nested too deep to be read."),
        ("tasks:", "seed: 1\nseed: 2\ntasks:", "8: seed: this key stands here twice, first in line 7."),
        ("tasks:", "seed: !int 1\ntasks:", "7: seed: tags such as !int have no meaning here."),
    ],
)  # fmt: skip
def test_each_mistake_names_its_line_and_key(
    complaints: Complain, old: str, new: str, told: str
) -> None:
    assert old in RIGHT
    lines = complaints(RIGHT.replace(old, new))
    assert any(f"mine.yaml:{told}" in line for line in lines), "\n".join(lines)


def test_a_right_file_has_no_mistakes(load: Load) -> None:
    assert list(load(RIGHT).tasks) == ["species", "digit"]


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file(complaints: Complain) -> None:
    text = RIGHT.replace("kind: fsdd", "kind: fsd").replace("input: sound", "input: sond")
    text = text.replace("tasks:", "training: {epoch: 1}\ntasks:") + "on_bad: no\n"
    lines = complaints(text)
    assert [line.split(": ")[0] for line in lines] == [f"mine.yaml:{n}" for n in (3, 7, 10, 11)]


def test_a_column_of_no_source_is_one_mistake_with_what_to_write(complaints: Complain) -> None:
    wrong = RIGHT.replace("kind: image, columns: {photos: photo}", "kind: image, column: photo")
    lines = complaints(wrong)
    assert len(lines) == 1, lines
    assert lines[0].endswith("columns: {photos: photo, digits: photo}, or some of them.")


def test_a_source_that_nothing_reads(complaints: Complain) -> None:
    text = RIGHT.replace("inputs:", "  spare: {kind: shapes}\ninputs:")
    assert complaints(text) == [
        "mine.yaml:4: sources.spare: no input reads this source. Remove it, or name it in one."
    ]


def test_an_input_that_no_task_reads(complaints: Complain) -> None:
    text = "".join(line for line in RIGHT.splitlines(True) if "digits.digit" not in line)
    assert complaints(text) == [
        "mine.yaml:6: inputs.sound: no task reads this input. Remove it, or add a task."
    ]


def test_a_source_may_feed_two_inputs(load: Load) -> None:
    config = load(
        RIGHT.replace(
            "tasks:", "  numbers: {kind: table, columns: {photos: [age]}, width: 32}\ntasks:"
        )
        + "  weight: {kind: regression, input: numbers, target: photos.weight}\n"
    )
    assert set(config.inputs) == {"picture", "sound", "numbers"}


def test_missing_sections(complaints: Complain) -> None:
    assert complaints("seed: 1\n") == [
        f"mine.yaml:1: {key}: is needed and missing." for key in ("sources", "inputs", "tasks")
    ]
    assert "mine.yaml:1: tasks: at least one task is needed." in complaints("tasks: {}\n")


@pytest.mark.parametrize("key", ["sources", "inputs", "tasks"])
def test_a_slip_in_a_name_of_a_section_is_one_mistake(complaints: Complain, key: str) -> None:
    line = RIGHT.splitlines().index(f"{key}:") + 1
    for slip in (key[:-2] + key[-1], f"{key}s", key.upper()):
        told = f"mine.yaml:{line}: {slip}: unknown key. Did you mean '{key}'?"
        assert complaints(RIGHT.replace(f"{key}:", f"{slip}:")) == [told]
    # What is wrong inside is told with it, and where the section is there too, nothing is lost.
    spoiled = "training: {epochs: 1}\ntrainig: {epochs: 2}\n" + RIGHT
    assert complaints(spoiled) == ["mine.yaml:2: trainig: unknown key. Did you mean 'training'?"]
    assert complaints("trainig: {epoch: 2}\nsead: x\n" + RIGHT) == [
        "mine.yaml:1: trainig: unknown key. Did you mean 'training'?",
        "mine.yaml:1: training.epoch: unknown key. Did you mean 'epochs'?",
        "mine.yaml:2: sead: unknown key. Did you mean 'seed'?",
        "mine.yaml:2: seed: expected a whole number, found 'x'.",
    ]


def test_what_follows_from_a_missing_section_is_no_mistake(complaints: Complain) -> None:
    short = RIGHT.replace("columns: {photos: photo}", "column: photo")
    without = short[short.index("inputs:") :].replace("photos.species", "species")
    assert complaints(without) == ["mine.yaml:1: sources: is needed and missing."]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("sources: {a: [1\nb: 2}", "mine.yaml:2:2: this is not YAML: "),
        ("a: b: c", "mine.yaml:1:5: this is not YAML: mapping values are not allowed here."),
        ("\tseed: 1", "mine.yaml:1:1: this is not YAML: "),
        ("", "mine.yaml is empty. A configuration needs sources, inputs and tasks at least."),
        ("# nothing\n", "mine.yaml is empty. "),
        ("- a\n", "mine.yaml: expected keys such as 'sources:', found [\"a\"]."),
        ("seed: 1\n---\nseed: 2\n", "mine.yaml:2:1: this is not YAML: "),
        ("\n? [a, b]\n: 1", "mine.yaml:2: ?: a key should be a text, not a list or a mapping."),
        ("seed: &a [*a]", "mine.yaml:1: seed.0: this alias contains itself."),
    ],
)
def test_files_that_are_no_mapping(complaints: Complain, text: str, told: str) -> None:
    assert any(line.startswith(told) for line in complaints(text))


def test_a_missing_file_names_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "cifar10.yaml").write_text("")
    with pytest.raises(ConfigError, match=r"cifr10\.yaml\. Did you mean 'cifar10\.yaml'\?"):
        load_config(tmp_path / "cifr10.yaml")
    with pytest.raises(ConfigError, match="There is no folder"):
        load_config(tmp_path / "no" / "a.yaml")
    with pytest.raises(ConfigError, match=r"is a folder\. Name a file in it: cifar10\.yaml"):
        load_config(tmp_path)
    (tmp_path / "latin.yaml").write_bytes(b"name: caf\xe9")
    with pytest.raises(ConfigError, match="not text in UTF-8"):
        load_config(tmp_path / "latin.yaml")


def nodes(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The keys that lead to every value inside."""
    items = value.items() if isinstance(value, dict) else ()
    items = enumerate(value) if isinstance(value, list) else items
    return [path, *(inner for key, item in items for inner in nodes(item, (*path, key)))]


def holds(value: Any, key: Any) -> bool:
    """Whether a mapping or list has an item of this key or number."""
    if isinstance(value, list):
        return isinstance(key, int) and key < len(value)
    return isinstance(value, dict) and key in value


FULL = (
    RIGHT.replace(
        "width: 32}\n  sound", "width: 32, size: [8, 8], augment: [{kind: crop}]}\n  sound"
    )
    + """\
trunk: {kind: hard, backbone: {kind: perceptron, widths: [4]}}
batches: {size: 3, mixing: {kind: counts, counts: {photos: 1, digits: 2}}}
optimizer: {kind: adam, betas: [0.9, 0.9], factors: {heads: 0.1}}
balancer: {kind: constant, weights: [1, 2]}
training: {epochs: 2, monitor: digit.accuracy}
"""
)
WRONG: list[Any] = [
    *(None, True, -1, 0, 2**70, 0.5, "", "x", "photos", "a.b.c", "perceptron"),
    *([], [None], ["x", 3], [[1]], [{"kind": "crop"}], {}, {"kind": 3}, {"kind": "counts"}),
    *({"x": {"x": None}}, {"photos": None}, {"kind": "table"}, {"kind": ["hard"]}, float("inf")),
]


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(
        st.tuples(st.sampled_from(nodes(parse(FULL, "x").value)[1:]), st.sampled_from(WRONG)),
        min_size=1,
        max_size=3,
    )
)
@pytest.mark.filterwarnings("ignore::polytask.config.ConfigWarning")
def test_whatever_stands_in_a_place_is_right_or_a_config_error(
    load: Load, changes: list[tuple[tuple[Any, ...], Any]]
) -> None:
    value = parse(FULL, "x").value
    for (*above, last), new in changes:
        here = value
        for key in above:
            here = here[key] if holds(here, key) else None
        if holds(here, last):
            here[last] = new
    try:
        load(write(value))
    except ConfigError as error:
        assert all("mine.yaml" in line for line in str(error).split("\n"))
