import base64
import io
from collections.abc import Callable

import pytest
from PIL import Image

from chainsight.demo import bars
from chainsight.errors import RecordError
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
