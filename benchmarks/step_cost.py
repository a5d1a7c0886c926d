"""What a step of gradient balancing costs, against equal weighting and against TorchJD.

Every case is a whole step: forward, losses, gradients, optimizer. The cases of a workload take
turns in one process, with equal weighting before and after each of them; a case's ratio is its
time over the mean of its two neighbours. The floor takes its turn and is made of measured parts:
forward, heads, one trunk backward per task (one for features, or where each task has its own
batch), optimizer.

The C library hands large blocks that a step frees back to the system, which then clears them anew
for the next step, in all cases. With `--keep-memory` they are kept, as in trainings of Polytask.

A case is a balancer's name, with `features` for gradients at the features, or `only` where the
balancer is given none; with `apart` plain heads learn by a pass through each, not by one product.

    python benchmarks/step_cost.py                    all workloads, one thread
    python benchmarks/step_cost.py w1 w3-10 --repeats 5 --threads 2
    python benchmarks/step_cost.py --heads 40 100 1000
    python benchmarks/step_cost.py w1 --cases upgrad "upgrad at-once" "torchjd mtl"
    python benchmarks/step_cost.py w3-40 --cases ew "uw only" "upgrad features" --memory

T tasks, B examples.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from polytask.balancing import BALANCERS, RecomputesLosses, StackedHeads, backward, factored
from polytask.balancing.factored import gradients_at_features
from polytask.balancing.graph import Losses, Shared
from polytask.balancing.passes import Passes, identity
from polytask.training.devices import keep_freed_memory

CLOCK = time.perf_counter
Step = Callable[[], None]
Parts = tuple[list[Tensor], list[Tensor]]  # Losses, and each task's alias of the features.


@dataclass
class Workload:
    """A trunk, T heads, and batches."""

    trunk: nn.Module
    heads: nn.ModuleList
    inputs: list[Tensor]  # One for all tasks, or one per task.
    labels: list[Tensor]
    pooled: list[bool]  # Which heads see the mean over a sequence.

    def features(self) -> list[Tensor]:
        return [self.trunk(x) for x in self.inputs]

    def losses(self, alias: bool = True) -> Parts:
        found = self.features()
        losses, aliases = [], []
        for t, head in enumerate(self.heads):
            z = found[t % len(found)]
            z = z.view_as(z) if alias else z
            aliases.append(z)
            output = head(z.mean(1) if self.pooled[t] else z)
            losses.append(F.cross_entropy(output.flatten(0, -2), self.labels[t]))
        return losses, aliases


def lenet(num_tasks: int) -> Workload:
    trunk = nn.Sequential(
        nn.Conv2d(1, 10, 5), nn.MaxPool2d(2), nn.ReLU(), nn.Conv2d(10, 20, 5), nn.MaxPool2d(2),
        nn.ReLU(), nn.Flatten(), nn.Linear(720, 50), nn.ReLU(),
    )  # fmt: skip
    return _with_heads(trunk, 50, num_tasks, [torch.randn(256, 1, 36, 36)])


def perceptron(num_tasks: int) -> Workload:
    layers: list[nn.Module] = []
    for width in (64, 512, 512, 512):
        layers += [nn.Linear(width, 512), nn.ReLU()]
    return _with_heads(nn.Sequential(*layers), 512, num_tasks, [torch.randn(256, 64)])


class Block(nn.Module):
    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        self.one = nn.Conv2d(before, width, 3, stride, 1, bias=False)
        self.two = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.norm_one, self.norm_two = nn.BatchNorm2d(width), nn.BatchNorm2d(width)
        self.skip: nn.Module = nn.Identity()
        if stride != 1 or before != width:
            conv = nn.Conv2d(before, width, 1, stride, bias=False)
            self.skip = nn.Sequential(conv, nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm_two(self.two(self.norm_one(self.one(x)).relu()))
        return (y + self.skip(x)).relu()


def resnet18(num_tasks: int, own: bool = False, batch: int = 64) -> Workload:
    layers: list[nn.Module] = [nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
    before = 64
    for width, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        layers += [Block(before, width, stride), Block(width, width, 1)]
        before = width
    trunk = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    inputs = [torch.randn(batch, 3, 32, 32) for _ in range(num_tasks if own else 1)]
    return _with_heads(trunk, 512, num_tasks, inputs)


def transformer(num_tasks: int) -> Workload:
    layer = nn.TransformerEncoderLayer(256, 4, 1024, dropout=0.0, batch_first=True)
    trunk = nn.TransformerEncoder(layer, 4, enable_nested_tensor=False)
    pooled = [t % 2 == 1 for t in range(num_tasks)]
    return _with_heads(trunk, 256, num_tasks, [torch.randn(32, 64, 256)], pooled)


def _with_heads(
    trunk: nn.Module,
    width: int,
    num_tasks: int,
    inputs: list[Tensor],
    pooled: list[bool] | None = None,
) -> Workload:
    heads = nn.ModuleList(nn.Linear(width, 10) for _ in range(num_tasks))
    pooled = [False] * num_tasks if pooled is None else pooled
    rows = len(inputs[0])
    tokens = [inputs[0].shape[1] if inputs[0].ndim == 3 and not p else 1 for p in pooled]
    labels = [torch.randint(10, (rows * n,)) for n in tokens]
    return Workload(trunk, heads, inputs, labels, pooled)


WORKLOADS: dict[str, Callable[[], Workload]] = {
    "w1": lambda: lenet(2),
    "w2-2": lambda: resnet18(2),
    "w2-5": lambda: resnet18(5),
    "w2-10": lambda: resnet18(10),
    "w2-20": lambda: resnet18(20),
    "w3-10": lambda: perceptron(10),
    "w3-40": lambda: perceptron(40),
    "w3-100": lambda: perceptron(100),
    "w4": lambda: transformer(4),
    "w5": lambda: resnet18(4, own=True, batch=16),
}
OURS = [
    "equal", "uw", "famo", "pcgrad", "upgrad", "cagrad", "nash-mtl", "mgda",
    "mgda features", "upgrad features", "upgrad every=4", "upgrad losses only",
    "upgrad bf16", "upgrad last", "upgrad groups=4", "rlw", "rlw only",
    "online-mgda", "online-dualproj", "online-cagrad", "online-upgrad",
]  # fmt: skip
THEIRS = ["torchjd mtl", "torchjd mtl chunk=1", "torchjd backward chunk=1"]


def ours(work: Workload, case: str) -> tuple[Step, list[nn.Parameter]]:
    """A step of ours, a balancer's name and what comes after it, and what the balancer learns."""
    name, *rest = case.split()
    settings: dict[str, object] = {}
    if "features" in rest:
        settings["at"] = "features"
    if "every=4" in rest:
        settings["every"] = 4
    balancer = BALANCERS[name](len(work.heads), **settings)  # type: ignore[arg-type]
    shared = list(work.trunk.parameters())

    def step() -> None:
        losses, aliases = work.losses(alias="only" not in rest)
        more: dict[str, object] = {}
        if "bf16" in rest:
            # Of short sequences torch's plain attention is the quicker one in bf16 on a CPU.
            with torch.autocast("cpu", torch.bfloat16), sdpa_kernel(SDPBackend.MATH):
                more["estimate"] = [loss.float() for loss in work.losses(alias=False)[0]]
        if "groups=4" in rest:
            more["groups"] = 4
        if "at-once" in rest:
            more["at_once"] = len(work.heads)
        if "last" in rest:
            more["measured"] = shared[-2:]
        features = None if "only" in rest else aliases
        found = factored.plain_heads, factored.heads_on_one
        if "apart" in rest:
            factored.plain_heads = factored.heads_on_one = lambda *_: None  # type: ignore[assignment]
        backward(losses, balancer, shared, features=features, **more)  # type: ignore[arg-type]
        factored.plain_heads, factored.heads_on_one = found
        if isinstance(balancer, RecomputesLosses):
            with torch.no_grad():
                balancer.update(torch.stack(work.losses(alias=False)[0]))

    return step, list(balancer.parameters())


def torchjd(work: Workload, case: str) -> Step:
    """A step of TorchJD, with an aggregator that costs next to nothing."""
    from torchjd import aggregation, autojac

    aggregator = aggregation.IMTLG()
    shared, chunk = list(work.trunk.parameters()), 1 if "chunk=1" in case else None
    everything = shared + list(work.heads.parameters())

    def step() -> None:
        if "mtl" in case:
            found = work.features()
            losses = [
                F.cross_entropy(h(z.mean(1) if p else z).flatten(0, -2), y)
                for h, z, p, y in zip(
                    work.heads,
                    found * (len(work.heads) // len(found)),
                    work.pooled,
                    work.labels,
                    strict=True,
                )
            ]
            autojac.mtl_backward(losses, features=found, parallel_chunk_size=chunk)
            autojac.jac_to_grad(shared, aggregator)
        else:
            losses, _ = work.losses(alias=False)
            autojac.backward(losses, parallel_chunk_size=chunk)
            autojac.jac_to_grad(everything, aggregator)

    return step


def plain(work: Workload) -> Step:
    """Equal weighting, as anyone would write it."""

    def step() -> None:
        losses, _ = work.losses(alias=False)
        torch.stack(losses).sum().backward()

    return step


def make(work: Workload, case: str) -> Step:
    """A whole step of a case, with its optimizer."""
    parameters = [*work.trunk.parameters(), *work.heads.parameters()]
    if case == "ew":
        step = plain(work)
    elif case.startswith("torchjd"):
        step = torchjd(work, case)
    else:
        step, learned = ours(work, case)
        parameters += learned
    optimizer = torch.optim.SGD(parameters, lr=1e-4, momentum=0.9)

    def whole() -> None:
        step()
        optimizer.step()
        optimizer.zero_grad()

    return whole


def seconds(step: Step, times: int = 1) -> float:
    """Of one step, the mean over a few in a row."""
    start = CLOCK()
    for _ in range(times):
        step()
    return (CLOCK() - start) / times


def make_floor(work: Workload) -> Callable[[], tuple[float, float]]:
    """What measures the seconds of the least possible step: with parameter gradients, with feature
    gradients."""
    parameters = [*work.trunk.parameters(), *work.heads.parameters()]
    optimizer = torch.optim.SGD(parameters, lr=1e-4, momentum=0.9)
    times = 1 if len(work.inputs) > 1 else len(work.heads)

    def floor() -> tuple[float, float]:
        start = CLOCK()
        found = work.features()
        cut = [z.detach().requires_grad_() for z in found]
        losses = [
            F.cross_entropy(
                h(cut[t % len(cut)].mean(1) if p else cut[t % len(cut)]).flatten(0, -2), y
            )
            for t, (h, p, y) in enumerate(zip(work.heads, work.pooled, work.labels, strict=True))
        ]
        torch.stack(losses).sum().backward()
        heads = CLOCK()
        torch.autograd.backward(found, [z.grad for z in cut])
        trunk = CLOCK()
        optimizer.step()
        done = CLOCK()
        optimizer.zero_grad()
        once = heads - start + done - trunk
        return once + times * (trunk - heads), once + trunk - heads

    return floor


def measure(name: str, cases: list[str], repeats: int) -> None:
    """Print one workload's table."""
    torch.manual_seed(0)
    work = WORKLOADS[name]()
    steps = {case: make(work, case) for case in cases}
    equal, floor = make(work, "ew"), make_floor(work)
    for step in (*steps.values(), floor):
        step()
    ratios: dict[str, list[float]] = {case: [] for case in cases}
    floors: list[tuple[float, float]] = []
    before, every = seconds(equal), []
    for _ in range(repeats):
        for case in [*steps, None]:
            if case is None:
                parts = floor()
            else:
                taken = seconds(steps[case], 4 if "every=4" in case else 1)
            after = seconds(equal)
            around = (before + after) / 2
            if case is None:
                floors.append((parts[0] / around, parts[1] / around))
            else:
                ratios[case].append(taken / around)
            every.append(after)
            before = after
    base = statistics.median(every)
    full, light = (statistics.median(part) for part in zip(*floors, strict=True))
    print(f"\n{name}: equal weighting {1e3 * base:.1f} ms, floor {full:.2f}, features {light:.2f}")
    for case in cases:
        print(
            f"  {case:28s} {statistics.median(ratios[case]):6.2f}  (least {min(ratios[case]):.2f})"
        )


def compare_heads(count: int, repeats: int) -> None:
    """Print what `count` linear heads 512 -> 10 cost, with and without a gradient per task."""
    torch.manual_seed(0)
    separate = nn.ModuleList(nn.Linear(512, 10) for _ in range(count))
    stacked = StackedHeads(count, 512, 10)
    z, labels = torch.randn(256, 512, requires_grad=True), torch.randint(10, (256, count))

    def one_by_one(apart: bool) -> None:
        seen = [z.view_as(z) if apart else z for _ in range(count)]
        losses = [
            F.cross_entropy(h(a), y) for h, a, y in zip(separate, seen, labels.T, strict=True)
        ]
        wanted = [*seen] if apart else [z]
        torch.autograd.backward(torch.stack(losses).sum(), inputs=[*wanted, *separate.parameters()])

    def together(apart: bool) -> None:
        seen = [z.view_as(z) for _ in range(count)] if apart else z
        losses = F.cross_entropy(stacked(seen).flatten(0, 1), labels.flatten(), reduction="none")
        wanted = [*seen] if apart else [z]
        torch.autograd.backward(
            losses.view(256, count).mean(0).sum(), inputs=[*wanted, *stacked.parameters()]
        )

    def kept() -> None:
        seen = [z.view_as(z) for _ in range(count)]
        losses = F.cross_entropy(stacked(seen).flatten(0, 1), labels.flatten(), reduction="none")
        found = Losses(losses.view(256, count).mean(0))
        passes = Passes(found, list(range(count)), Shared([z]), [*seen], Tensor.backward, identity)
        gradients_at_features(passes, heads=True)

    ways: dict[str, Step] = {
        "separate heads, the sum": lambda: one_by_one(False),
        "separate heads, per task": lambda: one_by_one(True),
        "StackedHeads, the sum": lambda: together(False),
        "StackedHeads, per task": lambda: together(True),
        "StackedHeads, per task as factors": kept,
    }
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            taken[name].append(seconds(way))
            z.grad = None
    print(f"\n{count} heads 512 -> 10, 256 examples")
    for name, times in taken.items():
        print(f"  {name:28s} {1e3 * statistics.median(times):8.1f} ms")


def peak(name: str, case: str) -> None:
    """Print how much one case adds to the peak memory, over what model and optimizer take."""
    work = WORKLOADS[name]()
    optimizer = torch.optim.SGD([*work.trunk.parameters(), *work.heads.parameters()], lr=1e-4)
    for p in (*work.trunk.parameters(), *work.heads.parameters()):
        p.grad = torch.zeros_like(p)
    optimizer.step()
    start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    step = make(work, case)
    for _ in range(3):
        step()
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - start) / 1024
    print(f"  {case:28s} {grown:8.0f} MiB above model and gradients")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("workloads", nargs="*", default=list(WORKLOADS), help=", ".join(WORKLOADS))
    parser.add_argument("--cases", nargs="*", default=[*OURS, *THEIRS])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--memory", action="store_true", help="peak memory too, a process each")
    parser.add_argument("--heads", nargs="*", type=int, help="so many heads instead of workloads")
    parser.add_argument("--peak-of", help=argparse.SUPPRESS)
    parser.add_argument(
        "--cpu", action="store_true", help="CPU time: for a busy machine, with one thread"
    )
    parser.add_argument(
        "--keep-memory", action="store_true", help="what a step frees is kept for the next"
    )
    options = parser.parse_args()
    if options.keep_memory:
        keep_freed_memory()
    global CLOCK
    CLOCK = time.process_time if options.cpu else time.perf_counter
    torch.set_num_threads(options.threads)
    if options.peak_of:
        peak(options.workloads[0], options.peak_of)
        return
    if options.heads:
        for count in options.heads:
            compare_heads(count, options.repeats)
        return
    features = torch.cpu.get_capabilities()
    units = [name for name in features if "bf16" in name and features[name]]
    print(f"bf16 units of this processor: {', '.join(units) or 'none'}")
    for name in options.workloads:
        measure(name, options.cases, options.repeats)
        for case in ["ew", *options.cases] if options.memory else []:
            subprocess.run([sys.executable, __file__, name, "--peak-of", case], check=True)


if __name__ == "__main__":
    main()
