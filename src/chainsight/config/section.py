"""What every part of the configuration is: closed, typed, and refused with the way out."""

import difflib
import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from chainsight.errors import ConfigError

Rate = Annotated[float, Field(ge=0.0, le=1.0)]
Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0.0)]
NonNegative = Annotated[float, Field(ge=0.0)]

PromptStyle = Literal["paper", "lmms_eval", "vlmevalkit"]
"""Whose words a model is asked in (`chainsight.prompts.styles`)."""


UNTOLD = "untold"
"""Type of a problem whose input is not to be repeated."""
LONGEST_FOUND = 200
"""Characters of an offending value that are repeated."""
WORDS = {"tuple_type": "expected a list, as [0, 1, 2]"}
"""Messages by pydantic's type of problem, where its own speaks of Python."""


class Section(BaseModel):
    """A closed part of the configuration: an unknown key is an error."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, protected_namespaces=()
    )


S = TypeVar("S", bound=Section)


def validate(section: type[S], raw: Any, where: str) -> S:
    """Check `raw` against a section.

    Raises:
        ConfigError: lists every offending key with what was found and what is allowed.
    """
    try:
        return section.model_validate(raw)
    except ValidationError as error:
        problems = error.errors()
    told = [problem for problem in problems if not _follows(problem, problems)]
    lines = [_explain(section, problem) for problem in told]
    raise ConfigError(f"{where}: {len(lines)} problem(s)\n" + "\n".join(lines))


def _follows(problem: Any, problems: Sequence[Any]) -> bool:
    """Whether a list is too short only because an item of it is wrong, which is told already."""
    inside = [other["loc"] for other in problems if other is not problem]
    depth = len(problem["loc"])
    return problem["type"] == "too_short" and problem["loc"] in [loc[:depth] for loc in inside]


def _explain(section: type[Section], problem: Any) -> str:
    key = ".".join(str(part) for part in problem["loc"]) or "(top)"
    if problem["type"] == "extra_forbidden":
        known = _known_keys(section, problem["loc"][:-1])
        near = difflib.get_close_matches(str(problem["loc"][-1]), known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known)}"
        return f"  {key}: unknown key; {hint}"
    words = WORDS.get(problem["type"], problem["msg"].removeprefix("Value error, "))
    message = words + _near(problem)
    return f"  {key}: {message}{_found(problem)}"


def _found(problem: Any) -> str:
    """What stands there, if that is short enough to help."""
    shown = repr(problem["input"])
    whole_section = problem["type"] == "value_error" and isinstance(problem["input"], dict)
    if problem["type"] in ("missing", UNTOLD) or whole_section:
        return ""  # a rule about several keys names them itself
    return f" (found {shown if len(shown) <= LONGEST_FOUND else shown[:LONGEST_FOUND] + '...'})"


def _near(problem: Any) -> str:
    """Which of the allowed words a wrong one is like."""
    if problem["type"] != "literal_error":
        return ""
    allowed = re.findall(r"'([^']*)'", problem["ctx"]["expected"])
    near = difflib.get_close_matches(str(problem["input"]), allowed, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _known_keys(section: type[Section], location: tuple[Any, ...]) -> list[str]:
    node: Any = section
    for part in location:
        if isinstance(part, int):
            continue
        field = next((f for n, f in node.model_fields.items() if part in (n, f.alias)), None)
        inner = [field.annotation, *get_args(field.annotation)] if field else []
        node = next((a for a in inner if isinstance(a, type) and issubclass(a, BaseModel)), None)
        if node is None:
            return []
    return [field.alias or name for name, field in node.model_fields.items()]
