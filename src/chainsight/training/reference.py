"""What the reference says of each response, asked once beforehand and kept by content."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from chainsight.training import parallel
from chainsight.training.data import PairRow, picture
from chainsight.training.plan import Forward
from chainsight.vlm.template import Row


class Scores:
    """Weighted log-probabilities by what they are of, in a file that survives a kill.

    The key is a digest of the model, the weighting, the prompt, its pictures and the response: of
    pairs that changed, what is new is scored, and a score of something else is never taken.
    """

    def __init__(self, kept: Path, made_by: str) -> None:
        """`made_by` names model, precision and weighting."""
        self.kept, self.made_by = kept, made_by
        self._known: dict[str, float] = {}
        self._keys: dict[int, tuple[str, str]] = {}

    def key(self, row: Row) -> str:
        """The digest that a row's score is found by."""
        digest = hashlib.sha256(self.made_by.encode())
        digest.update(repr((tuple(row.prompt_ids), tuple(row.response_ids))).encode())
        for image in picture(row):
            digest.update(image)
        return digest.hexdigest()

    def of(self, responses: Sequence[Row]) -> torch.Tensor:
        """The scores of a forward pass's branches, [M] float64."""
        found = [self._known[self.key(row)] for row in responses]
        return torch.tensor(found, dtype=torch.float64)

    def lacking(self, forwards: Iterable[Forward], pairs: Sequence[PairRow]) -> Iterator[Forward]:
        """The passes that have a response without a score, which no pass before has, either."""
        seen = set(self._known)
        for forward in forwards:
            wanted = {key for part in forward for n in part for key in self._pair(n, pairs)}
            if not seen.issuperset(wanted):
                seen |= wanted
                yield forward

    def _pair(self, number: int, pairs: Sequence[PairRow]) -> tuple[str, str]:
        if number not in self._keys:
            pair = pairs[number]
            self._keys[number] = self.key(pair.chosen), self.key(pair.rejected)
        return self._keys[number]

    def add(self, responses: Sequence[Row], scores: torch.Tensor) -> None:
        """Keep what each rank has scored; called by all of them, written by the leader."""
        own = zip(map(self.key, responses), scores.tolist(), strict=True)
        all_found = (entry for part in parallel.gathered(list(own)) for entry in part)
        found = {key: score for key, score in all_found if key not in self._known}
        self._known |= found
        if parallel.leads():
            with self.kept.open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(entry) + "\n" for entry in found.items())

    def read(self) -> None:
        """Take the scores that are kept, as the leader has them."""
        self._known = parallel.agreed(dict(self._lines()) if parallel.leads() else {})

    def _lines(self) -> Iterator[Any]:
        if not self.kept.exists():
            return
        whole = self.kept.read_text(encoding="utf-8")
        whole = whole[: whole.rfind("\n") + 1]  # a kill may have cut the last line
        self.kept.write_text(whole, encoding="utf-8")
        yield from map(json.loads, whole.splitlines())
