"""A dataset that the configuration describes: whose columns hold what, and how it is scored."""

from functools import partial
from string import ascii_uppercase
from typing import Any

from chainsight.config import Columns, GenericSource
from chainsight.datasets.base import FILES, Dataset, image, is_empty, text
from chainsight.datasets.labels import golds, options
from chainsight.datasets.placing import number_bare, place
from chainsight.datasets.sources import BadRowError, Row


def described(source: GenericSource, split: str) -> Dataset:
    """The dataset that `source` describes; it has the one split."""
    return Dataset(
        name=source.name,
        url=source.url,
        licence=source.licence,
        licence_note=source.licence_note,
        trains=source.trains,
        copyleft=source.copyleft,
        non_commercial=source.non_commercial,
        splits=(split,),
        files={split: tuple(one.replace("{split}", split) for one in source.files or FILES)},
        metric=source.metric,
        reward=source.reward or "",
        reward_threshold=source.reward_threshold,
        kind=source.kind,
        columns=source.columns.read(),
        convert=partial(_convert, source.columns, source.needs_image),
    )


def _convert(columns: Columns, needs_image: bool, row: Row) -> dict[str, Any]:
    choices = _choices(columns, row)
    asked = number_bare((text(row, columns.question, "empty question"), *choices))
    images = _images(columns, row)
    if not images and needs_image:
        raise BadRowError("no image")
    (question, *placed), shown = place(asked, images)
    right = golds(row, columns.answer)
    return {
        "question": question,
        "references": tuple(_letter(choices, one) for one in right) if choices else right,
        "choices": tuple(placed) or None,
        "images": shown,
        "meta": {name: str(row[name]) for name in columns.meta if row[name] is not None},
    } | ({"id": text(row, columns.id, "no id")} if columns.id else {})


def _images(columns: Columns, row: Row) -> dict[int, bytes]:
    """All images, numbered in the order of the columns; a cell may hold several, or none."""
    found: list[bytes] = []
    for name in columns.image:
        cells = row[name] if isinstance(row[name], list) else [row[name]]
        found += [image(Row({name: cell}, row.files), name) for cell in cells if not is_empty(cell)]
    return dict(enumerate(found, start=1))


def _choices(columns: Columns, row: Row) -> tuple[str, ...]:
    """The options: of one column that lists them, or of one column each, as far as they go."""
    if not columns.choices:
        return ()
    if len(columns.choices) == 1:
        return options(row, columns.choices[0])
    cells = [row[name] for name in columns.choices]
    while cells and (cells[-1] is None or not str(cells[-1]).strip()):
        cells.pop()
    return options({"choices": cells}, "choices")


def _letter(choices: tuple[str, ...], answer: str) -> str:
    """The letter of the option that an answer names: by letter, by its text, or by number from 0.

    Raises:
        BadRowError: it names none, or two (`2` of the options 1, 2, 3 is a text and a number).
    """
    letters = ascii_uppercase[: len(choices)]
    named = {letters[i] for i, choice in enumerate(choices) if choice == answer}
    if len(answer) == 1 and answer in letters:
        named.add(answer)
    if answer.isdecimal() and int(answer) < len(choices):
        named.add(letters[int(answer)])
    if len(named) != 1:
        raise BadRowError(f"the answer names {'two options' if named else 'no option'}")
    return named.pop()
