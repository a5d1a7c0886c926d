"""The table of all balancers: `python -m polytask.balancing.table > docs/balancing/methods.md`.

What a method sees is its base class; needs, state and cost are read from its docstring, where the
first clause after each of these words is the short form. Paper and advice stand here.
"""

import inspect
import re

from polytask.balancing import BALANCERS, Balancer, GradientBalancer, LossBalancer

# By name: year, paper, when to choose it.
PAPERS: dict[str, tuple[int | None, str, str]] = {
    "equal": (2022, "Kurin et al., NeurIPS; Xin et al., NeurIPS", "always first"),
    "constant": (None, "", "always second: a small grid, or weights found by search"),
    "uw": (2018, "Kendall et al., CVPR", "losses in different units; cheap"),
    "dwa": (2019, "Liu et al., CVPR", "tasks that fall at different speeds; mild"),
    "rlw": (2022, "Lin et al., TMLR", "a baseline that adaptive methods have to beat"),
    "gls": (2019, "Chennupati et al., CVPRW", "losses in different units, nothing to tune"),
    "si": (2022, "baseline in Navon et al., ICML", "as `gls`"),
    "uw-so": (2024, "Kirchdorfer et al., GCPR", "as `uw`, with a temperature to tune"),
    "imtl-l": (2021, "Liu et al., ICLR", "as `uw`"),
    "famo": (2023, "Liu et al., NeurIPS", "many tasks, no time for gradients per task"),
    "stch": (2024, "Lin et al., ICML", "the worst task counts; cheap"),
    "tchebycheff": (1976, "Bowman", "a given trade-off; try `stch` first"),
    "cosmos": (2021, "Ruchte and Grabocka, ICDM", "losses in a wanted proportion"),
    "pbi": (2007, "Zhang and Li, IEEE TEC", "losses in a wanted proportion"),
    "dtp": (2018, "Guo et al., ECCV", "hard tasks first, if their labels are clean"),
    "auto-lambda": (2022, "Liu et al., TMLR", "a few tasks count, others may help or harm them"),
    "mgda": (2018, "Sener and Koltun, NeurIPS", "no task may get worse; gradients of like size"),
    "pcgrad": (2020, "Yu et al., NeurIPS", "conflict between gradients of like size"),
    "gradvac": (2021, "Wang et al., ICLR", "many related tasks, such as languages"),
    "cagrad": (2021, "Liu et al., NeurIPS", "conflict, and the mean loss is what counts"),
    "edm": (2020, "Katrutsa et al.", "as `mgda`, gradients of unlike size"),
    "imtl-g": (2021, "Liu et al., ICLR", "few tasks, gradients of unlike size"),
    "imtl": (2021, "Liu et al., ICLR", "as `imtl-g`, losses in different units too"),
    "nash-mtl": (2022, "Navon et al., ICML", "gradients of unlike size; often near the top"),
    "fairgrad": (2024, "Ban and Ji, ICML", "as `nash-mtl`, fairness to tune"),
    "aligned-mtl": (2023, "Senushkin et al., CVPR", "conflict and unlike size; a few tasks"),
    "online-mgda": (
        None,
        "ours",
        "tens of tasks or more, as `mgda` at a price that T does not raise",
    ),
    "online-cagrad": (None, "ours", "tens of tasks or more, as `cagrad` likewise"),
    "online-dualproj": (None, "ours", "tens of tasks or more, as `dualproj` likewise"),
    "online-upgrad": (None, "ours", "three to ten tasks, as `upgrad` for the price of one pass"),
    "upgrad": (2024, "Quinton and Rey", "conflict; no task may be set back"),
    "dualproj": (2017, "Lopez-Paz and Ranzato, NeurIPS", "as `upgrad`, nearer to the mean"),
    "config": (2025, "Liu et al., ICLR", "few losses of very unlike size, as in physics"),
    "gradnorm": (2018, "Chen et al., ICML", "gradients of unlike size, tasks that lag"),
    "metabalance": (2022, "He et al., WWW", "one task counts, the others help"),
    "modo": (2023, "Chen et al., NeurIPS", "small batches, which bias `mgda`"),
    "sdmgrad": (2023, "Xiao et al., NeurIPS", "as `modo`, nearer to the mean"),
    "krum": (2017, "Blanchard et al., NeurIPS", "many tasks, a few wild ones"),
    "cr-mogm": (2022, "Zhou et al., NeurIPS", "restless weights of another method"),
    "graddrop": (2020, "Chen et al., NeurIPS", "a regularizer"),
    "trimmed-mean": (2018, "Yin et al., ICML", "many tasks, a few wild ones"),
    "db-mtl": (2023, "Lin et al.", "losses and gradients of unlike size, no conflict"),
    "m-config": (2025, "Liu et al., ICLR", "as `config`, a backward per task is too much"),
    "moco": (2023, "Fernando et al., ICLR", "small batches, which bias `mgda`"),
    "excessmtl": (2024, "He et al., ICML", "tasks with noisy labels"),
}
HEAD = """# Balancers

Written by `python -m polytask.balancing.table` from the classes, whose docstrings say more. What to
try first is in [how-to-choose.md](how-to-choose.md).

*Sees* decides what a step costs. **losses**: one backward, as equal weighting. **Gramian** (the
inner products of the task gradients): one backward through the trunk per task, or a single one with
`at="features"`; with `every=k` on each k-th step only. **gradients**: one per task, and the
gradients in memory. T tasks, P shared parameters.

| method | class | sees | needs | state | cost per step | year | paper | choose it for |
|---|---|---|---|---|---|---|---|---|
"""


def row(name: str, cls: type[Balancer]) -> str:
    """One line of the table."""
    text = " ".join((inspect.getdoc(cls) or "").split("Args:")[0].split())
    sees = "losses" if issubclass(cls, LossBalancer) else "Gramian"
    sees = "gradients" if issubclass(cls, GradientBalancer) else sees
    year, paper, advice = PAPERS[name]
    told = [_told(text, word, cls) for word in ("Needs", "State", "Cost")]
    cells = [f"`{name}`", cls.__name__, sees, *told, str(year or ""), paper, advice]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _told(text: str, word: str, cls: type[Balancer]) -> str:
    found = re.search(rf"\b{word}: (.*?)(?:\.(?=\s|$)|;(?= the ))", text)
    if found is None:
        raise ValueError(f"The docstring of {cls.__name__} does not say '{word}: ...'.")
    return found.group(1)


def table() -> str:
    """The whole page."""
    return HEAD + "\n".join(row(name, cls) for name, cls in BALANCERS.items()) + "\n"


if __name__ == "__main__":
    print(table(), end="")
