"""Who draws candidates: an interface, and transformers behind it (`vllm_engine` is the other)."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from chainsight.vlm.checkpoint import Loaded
from chainsight.vlm.sampling import Drawing, Generated, stream
from chainsight.vlm.template import Row

Name = Literal["transformers", "vllm"]


class Engine(Protocol):
    """Draws the candidates of questions."""

    def answers(self, rows: Iterable[Row]) -> Iterator[tuple[int, list[Generated]]]:
        """Each row's number and candidates, as soon as all of them have ended.

        Rows are asked for when there is a place for them, so no more pictures are held than
        places.
        """
        ...


@dataclass(frozen=True)
class Transformers:
    """The loaded model itself, with shared prompts (`sampling`)."""

    loaded: Loaded
    how: Drawing
    in_flight: int
    """Questions at a time."""

    def answers(self, rows: Iterable[Row]) -> Iterator[tuple[int, list[Generated]]]:
        """See `Engine`."""
        return stream(self.loaded, rows, self.how, in_flight=self.in_flight)


def make(
    name: Name, loaded: Loaded, how: Drawing, *, in_flight: int, dtype: str, work: Path
) -> Engine:
    """The engine of that name.

    Args:
        loaded: the policy; vLLM loads its files once more.
        dtype: its precision.
        work: a folder for what an engine needs on the disk.

    Raises:
        ChainsightError: its package is not installed, or has no room beside the model.
    """
    if name == "transformers":
        return Transformers(loaded, how, in_flight)
    from chainsight.vlm.vllm_engine import Vllm

    return Vllm(loaded, how, in_flight=in_flight, dtype=dtype, work=work)
