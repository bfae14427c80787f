"""One line of the promotion log: what happened to a model's champion, and what is so since then."""

import hashlib
import json
import math
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from chainsight.errors import PromotionError

Action = Literal[
    "promoted",  # by the command
    "refused",  # the gate's word against the champion of that moment; nothing changed
    "rolled_back",
    "adopted",  # the alias was moved in MLflow, to a version that may be champion
    "reverted",  # the alias was moved in MLflow, to one that may not: it was moved back
    "repaired",  # the alias was brought to what the log says: after a crash, or deleted by a person
    "fell_back",  # the champion's version was deleted in MLflow
    "rollout_failed",  # the champion did not become ready to serve
]
By = Literal["command", "reconciler"]
NOBODY_KNOWN = "unknown (moved in MLflow)"
"""Who moved an alias in MLflow's pages: MLflow keeps no author of it."""
_LINE = 20
"""How many champions an entry lists: as far as a rollback finds its way by itself."""


@dataclass(frozen=True)
class Entry:
    """What happened, and the state after it: an entry alone says who is champion."""

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)

    number: Annotated[int, Field(ge=1)]
    time: str
    """ISO 8601, UTC, by the writer's clock. The order is that of the numbers."""
    who: str
    by: By
    action: Action
    model: str
    """The registered model whose champion this is about."""
    reference: str
    """The version that was to become champion, `models:/NAME/N`: a candidate's own name."""
    from_version: int | None
    """The champion before; for `reverted` and `repaired`, where the alias stood."""
    to_version: int | None
    """The champion after; for `refused`, what it was to be."""
    content_digest: str
    """Of the files of `reference`."""
    why: str
    decision: dict[str, Any] | None
    """The gate's decision with its figures."""
    line: tuple[int, ...]
    """The champion, last, and before it those that rollbacks lead to."""
    since: Annotated[int, Field(ge=1)]
    """Number of the entry whose aliases are to be seen in MLflow."""
    before: str
    """`sha256` of the entry before; "" in the first."""
    token: str = field(default_factory=lambda: uuid.uuid4().hex)
    """Makes each writer's bytes its own."""

    @property
    def champion(self) -> int | None:
        """Version number of the model in use after this entry."""
        return self.line[-1] if self.line else None

    @property
    def previous(self) -> int | None:
        """Where a rollback would lead."""
        return self.line[-2] if len(self.line) > 1 else None

    @property
    def sha256(self) -> str:
        """Seal of this entry; the next one repeats it."""
        text = json.dumps(self._body(), sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def to_json(self) -> str:
        """For people and machines, sealed."""
        sealed = self._body() | {"sha256": self.sha256}
        return json.dumps(sealed, indent=1, sort_keys=True, allow_nan=False) + "\n"

    def _body(self) -> dict[str, Any]:
        return asdict(self) | {"line": list(self.line)}

    @classmethod
    def from_json(cls, text: str | bytes, where: str) -> "Entry":
        """Read what `to_json` wrote; PromotionError when it was changed, in a single letter."""
        try:
            body = json.loads(text)
            said = body.pop("sha256")
            entry = _ENTRY.validate_json(json.dumps(body))
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(step) for step in first["loc"])
            raise PromotionError(f"{where}: field {place}: {first['msg']}") from error
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise PromotionError(f"{where}: no entry of the promotion log ({error})") from error
        if said != entry.sha256:
            raise PromotionError(f"{where}: it was changed: sealed {said}, found {entry.sha256}")
        return entry


_ENTRY = TypeAdapter(Entry)


def following(
    head: Entry | None,
    action: Action,
    *,
    model: str,
    who: str,
    by: By,
    why: str,
    line: tuple[int, ...] | None = None,
    reference: str = "",
    from_version: int | None = None,
    to_version: int | None = None,
    content_digest: str = "",
    decision: Mapping[str, Any] | None = None,
) -> Entry:
    """The entry after `head`. Without a `line` it changes nothing and leaves the aliases alone."""
    number = head.number + 1 if head else 1
    before = head.line if head else ()
    return Entry(
        number=number,
        time=datetime.now(UTC).isoformat(timespec="milliseconds"),
        who=who,
        by=by,
        action=action,
        model=model,
        reference=reference,
        from_version=from_version,
        to_version=to_version,
        content_digest=content_digest,
        why=why,
        decision=None if decision is None else finite(decision),
        line=before if line is None else line[-_LINE:],
        since=(head.since if head else 1) if line is None else number,
        before=head.sha256 if head else "",
    )


def finite(value: Any) -> Any:
    """As JSON has it: null for NaN and infinities, lists for tuples."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value


def promoted_line(line: tuple[int, ...], version: int) -> tuple[int, ...]:
    """The line after `version` became champion: on top, and nowhere below."""
    return (*(one for one in line if one != version), version)


def line_back_to(line: tuple[int, ...], version: int) -> tuple[int, ...]:
    """The line after a rollback to `version`: what was above it is no longer on it."""
    if version not in line:
        return promoted_line(line, version)
    return line[: line.index(version) + 1]
