import base64
import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image

from chainsight.config import DistillSection
from chainsight.demo import bars
from chainsight.errors import RecordError
from chainsight.inventory.tokens import gpt_4o
from chainsight.records import Example
from chainsight.teacher import images


def sent(image: bytes, max_side: int = 1024) -> tuple[str, bytes]:
    head, _, data = images.data_url(image, images.plan(image, max_side)).partition(";base64,")
    return head, base64.b64decode(data)


def test_a_chart_keeps_the_table_in_its_metadata(charts: list[Example]) -> None:
    image = charts[0].images[0]
    assert sent(image) == ("data:image/png", image)
    assert bars.read_table(sent(image)[1]) == bars.read_table(image) is not None


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_an_image_of_just_the_longest_side_is_untouched(
    picture: Callable[..., bytes], kind: str
) -> None:
    image = picture(1024, 7, kind)
    assert sent(image) == (f"data:image/{kind.lower()}", image)


@pytest.mark.parametrize(
    ("size", "expected"),
    [((1025, 7), (1024, 7)), ((3000, 1500), (1024, 512)), ((10, 4096), (2, 1024))],
)
def test_a_larger_image_is_sent_as_a_jpeg_that_fits(
    picture: Callable[..., bytes], size: tuple[int, int], expected: tuple[int, int]
) -> None:
    head, data = sent(picture(*size))
    with Image.open(io.BytesIO(data)) as opened:
        assert (head, opened.format, opened.size) == ("data:image/jpeg", "JPEG", expected)


@pytest.mark.parametrize("kind", ["GIF", "BMP", "WEBP", "TIFF"])
def test_other_formats_become_jpeg_and_are_never_enlarged(
    picture: Callable[..., bytes], kind: str
) -> None:
    head, data = sent(picture(40, 30, kind))
    with Image.open(io.BytesIO(data)) as opened:
        assert (head, opened.size) == ("data:image/jpeg", (40, 30))


def test_transparency_turns_white(picture: Callable[..., bytes]) -> None:
    with Image.open(io.BytesIO(sent(picture(40, 30, "PNG", "RGBA"), 20)[1])) as opened:
        assert opened.size == (20, 15)
        assert min(opened.getextrema()) == (255, 255)


def test_a_photo_is_turned_upright(picture: Callable[..., bytes]) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    with Image.open(io.BytesIO(sent(picture(400, 200, "JPEG", exif=exif), 100)[1])) as opened:
        assert opened.size == (50, 100)


def test_another_plan_is_another_request_but_a_lower_bound_alone_is_not(
    picture: Callable[..., bytes],
) -> None:
    image = picture(100, 50)
    assert images.plan(image, 1024) == images.plan(image, 100)
    assert images.plan(image, 99).describe() != images.plan(image, 100).describe()


@pytest.mark.parametrize("image", [b"", b"<html>not found</html>", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_image_is_refused(image: bytes) -> None:
    with pytest.raises(RecordError, match="cannot be read"):
        images.plan(image, 1024)


def test_damaged_pixels_are_refused_when_they_are_needed(picture: Callable[..., bytes]) -> None:
    image = picture(2000, 2000)[:200]
    with pytest.raises(RecordError, match="cannot be read"):
        images.data_url(image, images.plan(image, 1024))


@pytest.mark.parametrize(
    ("size", "expected"),
    [((1024, 1024), (768, 768)), ((900, 800), (864, 768)), ((1024, 769), (1023, 768))],
)
def test_a_teacher_that_counts_tiles_gets_no_more_than_it_looks_at(
    picture: Callable[..., bytes], size: tuple[int, int], expected: tuple[int, int]
) -> None:
    image = picture(*size)
    assert images.planned(image, DistillSection()).size == expected
    assert gpt_4o(*size) == gpt_4o(*expected)
    open_model = DistillSection(teacher="http://here/v1", teacher_model="Qwen2.5-VL-72B")
    assert images.planned(image, open_model).size is None


def test_only_images_with_a_short_side_above_768_get_another_address(
    picture: Callable[..., bytes],
) -> None:
    for size in [(1024, 768), (640, 480), (3000, 1500)]:
        assert images.planned(picture(*size), DistillSection()) == images.plan(picture(*size), 1024)


def test_questions_on_one_picture_encode_it_once(picture: Callable[..., bytes]) -> None:
    image = picture(2000, 1999)
    before = images.KEPT.num_made
    with ThreadPoolExecutor(4) as pool:
        urls = list(pool.map(lambda _: images.data_url(image, images.plan(image, 1024)), range(8)))
    assert len(set(urls)) == 1
    assert images.KEPT.num_made == before + 1


def test_what_is_kept_is_bounded_and_the_oldest_goes_first() -> None:
    kept = images.Kept(max_bytes=250)
    keys = [(bytes([number]), images.Plan("image/jpeg", (1, 1))) for number in range(3)]
    for key in keys:
        kept.get(key, lambda: "u" * 100)
    assert kept.num_bytes == 200
    kept.get(keys[2], lambda: pytest.fail("made again"))
    kept.get(keys[0], lambda: "u" * 100)
    assert kept.num_made == 4


def test_an_image_that_fails_to_encode_is_tried_by_the_next(picture: Callable[..., bytes]) -> None:
    kept = images.Kept(max_bytes=250)
    key = (b"1", images.Plan("image/jpeg", (1, 1)))

    def fail() -> str:
        raise RecordError("damaged")

    for _ in range(2):
        with pytest.raises(RecordError):
            kept.get(key, fail)
    assert kept.get(key, lambda: "url") == "url"
