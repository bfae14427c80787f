"""Which answers are learned: the paper's four compositions (arXiv 2410.16198, section 3)."""

import hashlib
from collections.abc import Container, Iterable
from dataclasses import dataclass

from chainsight.config import SftSection
from chainsight.records import Example, Mode


@dataclass(frozen=True)
class Composition:
    """Ids of the examples whose short answer and whose rationale is learned."""

    direct: frozenset[str]
    cot: frozenset[str]

    def modes(self, example: Example) -> tuple[Mode, ...]:
        """How `example` is asked; a request of kind `instruct` always, and directly."""
        if example.kind == "instruct":
            return ("direct",)
        chosen: dict[Mode, frozenset[str]] = {"direct": self.direct, "cot": self.cot}
        return tuple(mode for mode, ids in chosen.items() if example.id in ids)


def compose(
    examples: Iterable[Example],
    explained: Container[str],
    config: SftSection,
    seed: int,
    shown: Container[str] | None = None,
) -> Composition:
    """Draw from each dataset on its own; `explained` are the ids that have a rationale.

    The format set prefers examples with a rationale, as it is to show both modes; `shown` are
    those that have one for it, if they are others.
    """
    shown = explained if shown is None else shown
    datasets: dict[str, list[str]] = {}
    for example in examples:
        if example.kind != "instruct":
            datasets.setdefault(example.dataset, []).append(example.id)
    direct: set[str] = set()
    cot: set[str] = set()
    for ids in datasets.values():
        ids.sort(key=lambda example_id: _rank(seed, example_id))
        reasoned = [i for i in ids if i in explained]
        both = sorted(ids, key=lambda i: i not in shown)[: config.format_rows]
        direct.update(both)
        cot.update(i for i in both if i in shown)
        if config.composition in ("direct", "both"):
            direct.update(_first(ids, config.direct_ratio))
        if config.composition in ("reasoned", "both"):
            cot.update(_first(reasoned, config.reasoned_ratio))
    return Composition(frozenset(direct), frozenset(cot))


def _rank(seed: int, example_id: str) -> bytes:
    """An order by chance that is each example's own: others come and go without effect."""
    return hashlib.sha256(f"{seed}/{example_id}".encode()).digest()


def _first(ids: list[str], ratio: float) -> list[str]:
    """The share `ratio` of `ids` that stands in front."""
    return ids[: round(ratio * len(ids))]
