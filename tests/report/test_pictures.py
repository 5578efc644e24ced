import io

import numpy as np
import pytest
from fake_report import fake_report
from page_parts import decode
from PIL import Image

from jaxvae.report.collect import traversal_values
from jaxvae.report.encoding import embed, gif
from jaxvae.report.pictures import (
    CANVAS,
    GAP,
    HEADER,
    LABEL_WIDTH,
    Label,
    back_and_forth,
    balanced_columns,
    comparison,
    image_grid,
    image_rows,
    in_colours,
    shown_channels,
    signed,
    strip,
    tile_size,
    traversal_frames,
)


def constant_images(values, size=32, channels=1) -> np.ndarray:
    return np.ones((len(values), size, size, channels)) * np.reshape(values, (-1, 1, 1, 1))


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        ((64, 64), (128, 128)),
        ((28, 28), (140, 140)),
        ((32, 16), (128, 64)),
        ((128, 128), (128, 128)),
        ((96, 96), (96, 96)),
        ((256, 128), (128, 64)),
        ((1, 1), (128, 128)),
        ((1000, 1), (128, 1)),
    ],
)
def test_tile_size(size, shown):
    assert tile_size(*size) == shown


@pytest.mark.parametrize(("count", "columns"), [(1, 1), (6, 6), (7, 4), (10, 5), (12, 6), (13, 5), (16, 6), (32, 6)])
def test_balanced_columns(count, columns):
    assert balanced_columns(count, 6) == columns


def test_rows_hold_the_images_beside_labels():
    rows = np.stack([constant_images([0, 1, 0.5]), constant_images([1, 0, 1])])
    picture = image_rows(rows, [Label("a", "b"), Label("c", dim=True)], headers=["−1", "0", "+1"])
    assert picture.size == (LABEL_WIDTH + 3 * (128 + GAP), HEADER + 2 * (128 + GAP))
    pixels = np.asarray(picture)
    centres = pixels[HEADER + 64 :: 128 + GAP, LABEL_WIDTH + 64 :: 128 + GAP]
    np.testing.assert_array_equal(centres[..., 0], [[0, 255, 128], [255, 0, 255]])
    for area in (pixels[:HEADER, LABEL_WIDTH:], pixels[HEADER : HEADER + 128, :LABEL_WIDTH]):
        assert (area != CANVAS).any(), "a header or a label is missing"


def test_labels_stay_in_their_column():
    rows = constant_images([0])[None]
    long, short = (np.asarray(image_rows(rows, [Label("w" * n)]))[:, : LABEL_WIDTH - 15] for n in (500, 3))
    assert (long[:, -5:] == CANVAS).all()
    assert (long != short).any()


def test_upscaling_keeps_pixels_sharp():
    image = np.indices((8, 8)).sum(axis=0)[None, :, :, None] % 2
    pixels = np.asarray(image_grid(image))[GAP : GAP + 128, GAP : GAP + 128, 0]
    np.testing.assert_array_equal(pixels, np.kron(image[0, :, :, 0], np.ones((16, 16))) * 255)


def test_colours_survive():
    image = np.zeros((1, 16, 16, 3))
    image[..., 0], image[..., 2] = 1.0, 0.5
    assert image_grid(image).getpixel((64, 64)) == (255, 0, 128)


def test_values_out_of_range_or_not_finite_are_clipped():
    shown = np.asarray(image_grid(constant_images([-3, 7, np.nan, np.inf])))[64, 64 :: 128 + GAP, 0]
    np.testing.assert_array_equal(shown, [0, 255, 0, 255])


def test_other_channel_counts_are_refused():
    with pytest.raises(ValueError, match="1 or 3 channels, got 2"):
        image_grid(np.zeros((1, 8, 8, 2)))


@pytest.mark.parametrize("channels", [1, 3])
def test_images_are_shown_as_they_are(channels):
    images = np.ones((2, 8, 8, channels))
    assert in_colours(images) is images
    assert shown_channels((8, 8, channels)) == ""


def test_other_numbers_of_channels_are_shown_too():
    values = np.arange(2 * 4 * 4 * 5, dtype=np.float32).reshape(2, 4, 4, 5)
    np.testing.assert_array_equal(in_colours(values), values[..., :3])
    np.testing.assert_array_equal(in_colours(values[..., :4]), values[..., :3])
    two = in_colours(values[..., :2])
    np.testing.assert_array_equal(two[..., :2], values[..., :2])
    np.testing.assert_array_equal(two[..., 2], 0)
    assert in_colours(np.zeros((0, 4, 4, 5))).shape == (0, 4, 4, 3)
    said = [shown_channels((4, 4, channels)) for channels in (2, 4, 5)]
    assert said == [" (shown in red and green)", *[" (the first three channels are shown)"] * 2]


def test_reconstructions_are_below_their_images():
    images = constant_images(np.linspace(0, 1, 12))
    pixels = np.asarray(comparison(images, 1 - images))
    assert pixels.shape[:2] == (4 * (128 + GAP) + 3 * GAP, LABEL_WIDTH + 6 * (128 + GAP))
    column = LABEL_WIDTH + 64
    tops = [64, 64 + (128 + GAP), 64 + 2 * (128 + GAP) + 3 * GAP, 64 + 3 * (128 + GAP) + 3 * GAP]
    np.testing.assert_array_equal(pixels[tops, column, 0], np.round(np.array([0, 1, 6 / 11, 5 / 11]) * 255))


def test_grid_leaves_the_last_row_short():
    pixels = np.asarray(image_grid(constant_images([1] * 5), most_columns=3))
    assert pixels.shape[:2] == (GAP + 2 * (128 + GAP), GAP + 3 * (128 + GAP))
    np.testing.assert_array_equal(pixels[-64, 64 :: 128 + GAP, 0], [255, 255, CANVAS[0]])


def test_a_frame_shows_every_latent_at_one_value():
    traversals = np.stack([constant_images([0, 0.5, 1]), constant_images([1, 1, 1])])
    frames = traversal_frames(traversals, np.array([-1, 0, 1]), [Label("x"), Label("y")])
    assert [frame.getpixel((14 + 64, 14 + 64))[0] for frame in frames] == [0, 128, 255]
    assert [frame.getpixel((14 + 64 + 142, 14 + 64))[0] for frame in frames] == [255, 255, 255]


def test_back_and_forth_has_no_repeated_turning_points():
    images = [Image.new("RGB", (1, 1), (n, n, n)) for n in range(4)]
    assert [image.getpixel((0, 0))[0] for image in back_and_forth(images)] == [0, 1, 2, 3, 2, 1]
    assert back_and_forth(images[:1]) == images[:1]


@pytest.mark.parametrize(
    ("value", "text"), [(-2, "−2"), (0, "0"), (1.6, "+1.6"), (-0.04, "0"), (0.04, "0"), (10, "+10")]
)
def test_signed(value, text):
    assert signed(value) == text


@pytest.mark.parametrize("values", [1, 2, 11])
def test_animation_has_all_frames_even_if_no_latent_moves(values):
    still = np.zeros((3, values, 16, 16, 1))
    frames = traversal_frames(still, np.linspace(-2, 2, values), [Label("z")] * 3)
    with Image.open(io.BytesIO(gif(back_and_forth(frames), 90))) as animation:
        assert animation.format == "GIF"
        assert animation.n_frames == max(1, 2 * values - 2)
        assert animation.size == frames[0].size
        assert values == 1 or (animation.info["loop"], animation.info["duration"]) == (0, 90)


def test_animation_keeps_the_pixels():
    data = fake_report(channels=3, num_values=5)
    frames = traversal_frames(data.traversals, data.traversal_values, [Label("z")] * 10)
    with Image.open(io.BytesIO(gif(frames, 90))) as animation:
        animation.seek(4)
        shown = np.asarray(animation.convert("RGB"), float)
    assert np.abs(shown - np.asarray(frames[4], float)).mean() < 2


def test_photographs_are_stored_small():
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (700, 900, 3), np.uint8))
    picture = embed(noise)
    assert len(picture.uri) < 900_000
    assert (picture.width, picture.height) == (900, 700)
    with decode(picture.uri) as image:
        assert (image.format, image.size) == ("WEBP", (900, 700))
    smaller = embed(noise, 300_000)
    assert len(smaller.uri) < 400_100 < len(picture.uri)
    with decode(smaller.uri) as image:
        assert (image.format, image.size) == ("WEBP", (900, 700))


@pytest.mark.parametrize(
    ("size", "stored", "density"), [((16, 8), (16, 8), 1 / 8), ((64, 64), (64, 64), 1 / 2), ((256, 128), (128, 64), 1)]
)
def test_a_strip_holds_the_images_side_by_side(size, stored, density):
    values = np.array([0.2, 0.6, 1.0])
    image, found = strip(np.ones((3, *size, 1)) * values.reshape(3, 1, 1, 1))
    height, width = stored
    assert (image.size, found) == ((3 * width, height), density)
    expected = np.repeat(np.round(255 * values), width)[None, :, None]
    np.testing.assert_array_equal(np.asarray(image), np.broadcast_to(expected, (height, 3 * width, 3)))


def test_line_art_is_stored_exactly():
    image = image_grid(fake_report(num_images=1).images)
    with decode(embed(image).uri) as stored:
        assert stored.format == "PNG"
        np.testing.assert_array_equal(np.asarray(stored), np.asarray(image))


def test_decode_helper_reads_what_pillow_wrote():
    buffer = io.BytesIO()
    Image.new("RGB", (3, 2)).save(buffer, "PNG")
    assert decode(embed(Image.new("RGB", (3, 2))).uri).size == (3, 2)


@pytest.mark.parametrize(("spread", "last"), [(0.01, 2.0), (1.2, 2.0), (5.8, 12.0)])
def test_latents_of_wide_codes_are_moved_far(spread, last):
    codes = np.random.default_rng(0).normal(size=(1000, 3)) * [0.0, 0.1 * spread, spread]
    values = traversal_values(codes)
    assert values.dtype == np.float32
    np.testing.assert_allclose((values[0], values[-1]), (-last, last))
