"""The promotion log: the truth about who is champion. Aliases in MLflow are its projection.

The entries of a model are objects `promotions/<model>/<12 digits>.json` in the store, made by
`Store.create`: of two writers of one number one wins, the other reads what it wrote and decides
again. So they have one order and each was decided against the state before it. Each holds the
sha256 of the one before and the whole state after itself, so that the last one is all that a
writer reads. Nothing is ever changed or deleted.

MLflow's aliases cannot be compared and set, so a writer

1. appends entry n (from here on it has happened, whatever becomes of the writer),
2. sets the alias `champion`, then `previous`,
3. reads the log's head, and if that has moved on, sets the aliases of the head and looks again,
4. closes its entry by an object `<12 digits>.applied`.

An entry without `.applied` is open: its writer may still be about to set an alias. Only the writer
of an entry sets aliases for it (or for later ones, in step 3). What can happen between:

* It dies between 1 and 2: the aliases are those of before. The reconciler, or whoever promotes
  next, finds the head open and the alias where it stood. The reconciler waits until it has seen
  so for some seconds, then appends `repaired` and becomes the writer of that.
* It dies between `champion` and `previous`, or before 4: as above, or only `previous` is wrong,
  which is no more than set, and the entry is closed for it.
* It dies after 1, and another promotes: that entry's writer sets the aliases. Nothing to mend.
* It is slow, and sets the aliases of n after m > n has set its own: step 3 mends that.
* It is slow and dies before step 3 has mended: the alias has the champion of an entry from n to
  the head, and n is open. That is how it is told from a person's move; the alias is moved to the
  head, logged as `repaired`.
* The head is closed, no entry is open or none explains the alias: a person moved it in MLflow.
  It is adopted, or reverted, by an entry of its own.
* Two see the person's move at once: one appends, the other finds the log in agreement.

What is left: a person who moves the alias, within the seconds in which an entry stays open after
a crash, to a champion of just these entries is taken for its writer.
"""

import re
from dataclasses import dataclass

from chainsight.errors import PromotionError
from chainsight.promotion.entry import Entry
from chainsight.store import Store

_OBJECT = re.compile(r"(\d{12})\.(json|applied)")
_LOOKS = 3
"""A listing that is made while others write may lack a name in its midst: looked at again."""


@dataclass(frozen=True)
class Snapshot:
    """The log at one moment."""

    head: Entry | None
    open: tuple[int, ...] = ()
    """Numbers of the entries whose writers have not finished."""

    @property
    def champion(self) -> int | None:
        return self.head.champion if self.head else None

    @property
    def line(self) -> tuple[int, ...]:
        return self.head.line if self.head else ()

    @property
    def since(self) -> int:
        """Number of the entry that made it so; 0 in an empty log."""
        return self.head.since if self.head else 0


class Log:
    """The promotions of one registered model."""

    def __init__(self, store: Store, model: str) -> None:
        self._store = store
        self.model = model
        self.where = f"{store.uri}/promotions/{model}"
        self._read: dict[int, Entry] = {}

    def snapshot(self) -> Snapshot:
        """The last entry and the open ones: one listing, and one read if there is news.

        Raises:
            PromotionError: entries are missing or were changed.
            StoreError: the store does not answer.
        """
        for _ in range(_LOOKS):
            entries, closed = self._numbers()
            gaps = _gaps(entries, closed)
            if not gaps:
                break
        else:
            raise PromotionError(
                f"{self.where}: entry {gaps[0]} is gone; nothing is promoted until it is back "
                "(restore it from a backup or the bucket's versions)"
            )
        if not entries:
            return Snapshot(None)
        return Snapshot(self.entry(max(entries)), tuple(sorted(entries - closed)))

    def entry(self, number: int) -> Entry:
        """One entry; PromotionError when it is missing or was changed."""
        if number not in self._read:
            name = self._name(number)
            data = self._store.read(name)
            if data is None:
                raise PromotionError(f"{self.where}: there is no entry {number}")
            entry = Entry.from_json(data, f"{self._store.uri}/{name}")
            if (entry.number, entry.model) != (number, self.model):
                raise PromotionError(
                    f"{self._store.uri}/{name}: this is entry {entry.number} of {entry.model}"
                )
            self._read[number] = entry
        return self._read[number]

    def append(self, entry: Entry) -> bool:
        """Whether `entry` is now in the log; not when another writer took its number."""
        return self._store.create(self._name(entry.number), entry.to_json().encode())

    def close(self, number: int) -> None:
        """Note that the aliases of an entry are set, or will not be set by its writer any more."""
        seal = f"{self.entry(number).sha256}\n".encode()
        self._store.create(self._name(number, "applied"), seal)

    def entries(self) -> list[Entry]:
        """All of them, the oldest first; PromotionError as `entry`."""
        return [self.entry(number) for number in sorted(self._numbers()[0])]

    def audit(self) -> tuple[list[Entry], list[str]]:
        """Read everything anew: the entries that can be read, and what is wrong with the chain."""
        self._read.clear()
        numbers, closed = self._numbers()
        problems = [f"{self.where}: entry {gap} is gone" for gap in _gaps(numbers, closed)]
        found: list[Entry] = []
        for number in sorted(numbers):
            try:
                entry = self.entry(number)
            except PromotionError as error:
                problems.append(str(error))
                continue
            if found and found[-1].number == number - 1 and entry.before != found[-1].sha256:
                problems.append(f"{self.where}: entry {number} does not follow entry {number - 1}")
            if number in closed and not self._sealed(entry):
                problems.append(f"{self.where}: entry {number} is not the one that was applied")
            found.append(entry)
        return found, problems

    def _sealed(self, entry: Entry) -> bool:
        seal = self._store.read(self._name(entry.number, "applied"))
        return seal is not None and seal.decode(errors="replace").strip() == entry.sha256

    def _numbers(self) -> tuple[set[int], set[int]]:
        """Of the entries, and of the closed ones."""
        found: dict[str, set[int]] = {"json": set(), "applied": set()}
        for name in self._store.names(f"promotions/{self.model}"):
            match = _OBJECT.fullmatch(name.rpartition("/")[2])
            if match:
                found[match[2]].add(int(match[1]))
        return found["json"], found["applied"]

    def _name(self, number: int, kind: str = "json") -> str:
        return f"promotions/{self.model}/{number:012d}.{kind}"


def _gaps(entries: set[int], closed: set[int]) -> list[int]:
    return sorted(set(range(1, max(entries | closed, default=0) + 1)) - entries)
