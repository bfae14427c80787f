"""Which held-out questions are shown, and that a page of 200 with photographs stays small."""

import io
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from chainsight import records
from chainsight.records import Example, Prediction
from chainsight.report import StageResult, build, collect
from chainsight.report.choice import level, shares, spread
from chainsight.report.pictures import MAX_SIDE, fitted, picture
from chainsight.report.samples import (
    NUM_SAMPLES,
    PICTURE_BYTES,
    TEXT_LENGTH,
    Samples,
    choose_samples,
    ends,
    kind,
)

Run = dict[str, StageResult]


@pytest.mark.parametrize(
    ("sizes", "total", "bound"),
    [([5, 5, 5], 9, 3), ([1, 9, 9], 11, 5), ([2, 3], 100, 3), ([], 7, 0), ([4, 4], 0, 0)],
)
def test_a_bound_shares_what_there_is(sizes: list[int], total: int, bound: int) -> None:
    assert level(sizes, total) == bound


def test_shares_use_up_the_total_and_never_more_than_there_is() -> None:
    assert shares({"a": 1, "b": 50, "c": 50}, 12) == {"a": 1, "b": 6, "c": 5}
    assert shares({"a": 1, "b": 2}, 12) == {"a": 1, "b": 2}


def test_a_spread_is_from_all_over() -> None:
    assert spread(range(100), 4) == [0, 25, 50, 75]
    assert spread(range(3), 4) == [0, 1, 2]


@pytest.mark.parametrize(
    ("before", "after", "direct", "status", "expected"),
    [
        (0, 1, 1, "marker", "won"),
        (1, 0, 0, "no_marker", "lost"),
        (0, 0, 1, "truncated", "unread"),
        (1, 1, 0, "marker", "torn"),
        (0, 0, 1, "marker", "torn"),
        (0, 0, 0, "marker", "wrong"),
        (1, 1, 1, "marker", "right"),
    ],
)
def test_the_kind_of_a_question(
    before: int, after: int, direct: int, status: str, expected: str
) -> None:
    voices = {
        ("policy", "cot"): (float(before), "marker"),
        ("aligned", "cot"): (float(after), status),
        ("aligned", "direct"): (float(direct), "plain"),
    }
    assert kind(voices, "policy", "aligned") == expected


def test_the_models_to_compare() -> None:
    assert ends(["base", "policy", "aligned", "champion"]) == ("policy", "aligned")
    assert ends(["one", "two"]) == ("one", "two")
    assert ends(["alone"]) == ("alone", "alone")


def chosen(run: Run, count: int = NUM_SAMPLES) -> Samples:
    found = choose_samples({k: p for s in run.values() for k, p in s.folders.items()}, count)
    assert found is not None
    return found


def test_all_are_shown_where_there_are_few(finished: Run) -> None:
    found = chosen(finished)
    assert len(found.shown) == found.num_all == 40
    assert all(len(sample.voices) == 6 for sample in found.shown)


def test_of_many_each_kind_is_shown_alike(finished: Run) -> None:
    found = chosen(finished, 12)
    shown = Counter(sample.kind for sample in found.shown)
    assert shown.total() == 12
    assert shown == {stratum.kind: stratum.num_shown for stratum in found.strata}
    for stratum in found.strata:
        assert stratum.num_shown >= min(stratum.num_all, 12 // len(found.strata))
    assert found.num_all == 40


def test_a_picture_of_several_questions_is_in_the_page_once(rerun: Callable[[], Run]) -> None:
    run = rerun()
    path = run["prepare"].folders["benchmarks"] / "benchmarks.parquet"
    rows = list(records.read(path, Example))
    shared = [replace(row, images=rows[n // 8].images) for n, row in enumerate(rows)]
    records.write(path, shared, Example)
    found = chosen(run)
    assert len(found.sheets) == 5
    assert all(len(sheet.samples) == 8 for sheet in found.sheets)
    page = build(collect("demo", run))
    (uri,) = {one.uri for one in found.sheets[0].pictures}
    assert page.count(uri) == 1


def photograph(seed: int, width: int = 1024, height: int = 768) -> bytes:
    """A JPEG of soft shapes and fine grain, of about 300 kB."""
    random = np.random.default_rng(seed)
    soft = Image.fromarray(random.integers(0, 255, (24, 32, 3), dtype=np.uint8))
    pixels = np.asarray(soft.resize((width, height), Image.Resampling.BICUBIC), np.int16)
    grain = random.integers(-24, 24, (height, width, 1), dtype=np.int16)
    file = io.BytesIO()
    Image.fromarray(np.clip(pixels + grain, 0, 255).astype(np.uint8)).save(file, "JPEG")
    return file.getvalue()


def long_run(run: Run, count: int) -> Run:
    """`count` questions, each with a photograph and six long texts."""
    path = run["prepare"].folders["benchmarks"] / "benchmarks.parquet"
    first = next(records.read(path, Example))
    few = [photograph(seed) for seed in range(20)]  # made once, told apart by their last bytes
    rows = [
        replace(first, id=f"bars/test/{n}", images=(few[n % 20] + n.to_bytes(4),))
        for n in range(count)
    ]
    records.write(path, rows, Example)
    said = [
        Prediction(model, row.id, mode, "?", "a word " * 700, "9", "marker", float(n % 2), 9)
        for model in ("base", "policy", "aligned")
        for mode in ("direct", "cot")
        for n, row in enumerate(rows)
    ]
    folder = run["evaluate"].folders["predictions"]
    records.write(folder / "predictions.parquet", said, Prediction)
    return run


def test_two_hundred_photographs_and_long_texts_make_less_than_ten_megabytes(
    rerun: Callable[[], Run], tmp_path: Path
) -> None:
    page = build(collect("demo", long_run(rerun(), 260)))
    size = len(page.encode())
    print(f"{size / 1e6:.1f} MB")
    assert page.count('<article class="sample"') == NUM_SAMPLES
    assert "200 of 260 held-out questions" in page
    assert page.count("more characters)") == 6 * NUM_SAMPLES
    assert PICTURE_BYTES / 2 + TEXT_LENGTH < size < 10_000_000


def test_pictures_shrink_together_until_they_fit() -> None:
    images = {seed: photograph(seed) for seed in range(3)}
    large, small = fitted(images, 10**7), fitted(images, 30_000)
    assert {one.width for one in large.values()} == {MAX_SIDE}
    assert sum(len(one.uri) for one in small.values()) <= 30_000
    assert len({(one.width, one.height) for one in small.values()}) == 1


def test_a_tiny_picture_keeps_its_pixels(png: Callable[..., bytes]) -> None:
    found = picture(png("red", (40, 30)))
    assert found is not None
    assert (found.width, found.height, found.pixelated) == (40, 30, True)
    assert found.uri.startswith("data:image/png")
    assert picture(b"no picture") is None
