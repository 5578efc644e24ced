"""Folders of pictures: grey levels, orientation, transparency, pages, links and what is no picture."""

import os

import numpy as np
import pytest
from PIL import Image

from jaxvae.data import open_data
from jaxvae.data.pictures import picture_files, read_picture, resized
from jaxvae.data.variants import read_texture

RAMP = np.tile(np.linspace(0, 60_000, 32).astype(np.uint16), (24, 1))
RNG = np.random.default_rng(0)


def opened(path, **settings):
    return open_data(f"pictures:{path}", **settings)


def every_image(source):
    return np.asarray(source.at(np.arange(source.size))["x"])


@pytest.fixture
def folder(tmp_path):
    for i, mode in enumerate(["L", "RGB", "RGB"]):
        shape = (20, 30) if mode == "L" else (20, 30, 3)
        path = tmp_path / "pictures" / "below" / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full(shape, 40 * i, np.uint8)).save(path)
    (tmp_path / "pictures" / "notes.txt").write_text("no picture")
    return tmp_path / "pictures"


def test_a_folder_of_pictures(folder):
    source = opened(folder)
    assert source.event_shape == (20, 30, 3)
    np.testing.assert_allclose(every_image(source)[:, 0, 0, 0] * 255, [0, 40, 80], rtol=1e-5)
    small = opened(folder, image_size=16)
    assert small.event_shape == (16, 16, 3)
    np.testing.assert_allclose(every_image(small)[:, 5, 5, 1] * 255, [0, 40, 80], rtol=1e-5)
    assert small.factor_names == ()


def test_pictures_that_can_not_be_read(folder):
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n, and no more")
    with pytest.raises(ValueError, match="broken.png: can't be read .*--skip-bad leaves such files out"):
        opened(folder)
    assert opened(folder, skip_bad=True).size == 3
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(folder / "broken.png")
    with pytest.raises(ValueError, match=r"broken.png is 8 x 8 pixels|is 30 x 20 pixels and .*broken.png is 8 x 8"):
        opened(folder)


DEEP = {
    "16.png": Image.fromarray(RAMP),
    "big-endian.tif": Image.frombytes("I;16B", (32, 24), RAMP.astype(">u2").tobytes()),
    "float.tif": Image.fromarray((RAMP / 65535).astype(np.float32)),
    "integers.tif": Image.fromarray(RAMP.astype(np.int32)),
}


@pytest.mark.parametrize("name", DEEP)
def test_more_than_8_bits_keep_their_grey_levels(name, tmp_path):
    DEEP[name].save(tmp_path / name)
    (levels,) = read_picture(tmp_path / name)
    np.testing.assert_allclose(levels, RAMP / 65535, rtol=1e-6)
    assert len(np.unique(levels)) == 32
    source = opened(tmp_path)
    assert (source.storage, source.event_shape) == ("floats", (24, 32, 1))
    np.testing.assert_allclose(every_image(source)[0, ..., 0], RAMP / 65535, rtol=1e-6)


def test_12_bits_and_white_that_is_zero(tmp_path):
    levels = (RAMP >> 4).astype(np.uint16)
    packed = np.stack([levels[:, ::2] >> 4, (levels[:, ::2] & 15) << 4 | levels[:, 1::2] >> 8, levels[:, 1::2] & 255])
    strip = np.moveaxis(packed, 0, -1).astype(np.uint8).tobytes()
    tags = {256: 32, 257: 24, 258: 12, 259: 1, 262: 1, 273: 200, 277: 1, 278: 24, 279: len(strip)}
    entries = b"".join(np.array([n, 4], "<u2").tobytes() + np.array([1, v], "<u4").tobytes() for n, v in tags.items())
    header = b"II*\0" + np.array([8], "<u4").tobytes() + np.array([len(tags)], "<u2").tobytes() + entries
    (tmp_path / "a.tif").write_bytes(header.ljust(200, b"\0") + strip)
    np.testing.assert_allclose(read_picture(tmp_path / "a.tif")[0], levels / 4095, rtol=1e-6)
    Image.fromarray(RAMP).save(tmp_path / "b.tif", tiffinfo={262: 0})
    np.testing.assert_allclose(read_picture(tmp_path / "b.tif")[0], 1 - RAMP / 65535, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.float32([[0, 3]]), r"values \(mode F\) are 0 to 3, and grey levels are 0 to 1: rescale"),
        (np.float32([[0, np.nan]]), "mode F.* nan"),
        (np.int32([[-5, 3]]), r"mode I\) are -5 to 3, and grey levels are 0 to 65535"),
    ],
)
def test_levels_that_have_no_white_are_refused(values, message, tmp_path):
    Image.fromarray(values).save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match=f"a.tif: can't be read .its.*{message}"):
        opened(tmp_path)


def test_a_float_that_rounding_left_above_one_is_white(tmp_path):
    Image.fromarray(np.float32([[0, np.nextafter(np.float32(1), 2)]])).save(tmp_path / "a.tif")
    np.testing.assert_array_equal(read_picture(tmp_path / "a.tif")[0], [[0, 1]])


def test_bytes_and_floats_in_one_folder_and_resized(tmp_path):
    Image.fromarray(RAMP).save(tmp_path / "0.png")
    Image.fromarray(np.full((24, 32, 3), (0, 51, 255), np.uint8)).save(tmp_path / "1.png")
    images = every_image(opened(tmp_path))
    np.testing.assert_allclose(images[0], np.repeat(RAMP[..., None], 3, axis=-1) / 65535, rtol=1e-6)
    np.testing.assert_allclose(images[1, 0, 0], [0, 0.2, 1], rtol=1e-6)
    small = every_image(opened(tmp_path, image_size=12))
    assert small.shape == (2, 12, 12, 3)
    middle = RAMP[:, 4:28].astype(float).mean(axis=0) / 65535
    np.testing.assert_allclose(small[0, 6, :, 0], (middle[::2] + middle[1::2]) / 2, atol=0.01)
    edge = np.zeros((8, 8), np.float32)
    edge[:, 4:] = 1
    assert (resized(edge, 5).min(), resized(edge, 5).max()) == (0, 1)  # Lanczos overshoots


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif", "deep.png", "deep.tif"])
def test_pictures_are_turned_as_their_orientation_says(name, orientation, tmp_path):
    scene = RNG.integers(0, 255, (4, 6), np.uint8).repeat(8, 0).repeat(8, 1)
    image = Image.fromarray(scene.astype(np.uint16) * 256) if name.startswith("deep") else Image.fromarray(scene)
    exif = Image.Exif()
    exif[0x112] = orientation
    image.save(tmp_path / name, exif=exif)
    (found,) = read_picture(tmp_path / name)
    turned = {5: "TRANSPOSE", 6: "ROTATE_270", 7: "TRANSVERSE", 8: "ROTATE_90"}
    turned |= {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM"}
    want = np.asarray(image if orientation == 1 else image.transpose(Image.Transpose[turned[orientation]]))
    assert found.shape == ((32, 48) if orientation < 5 else (48, 32))
    tolerance = {"rtol": 0, "atol": 9} if name == "a.jpg" else {"rtol": 1e-6}
    np.testing.assert_allclose(found * 1.0, want / 65535 if name.startswith("deep") else want, **tolerance)


def test_a_tagged_and_an_untagged_copy_are_the_same_image(tmp_path):
    """A phone stores the scene on its side, and a tag that says so."""
    scene = np.zeros((32, 48, 3), np.uint8)
    scene[:16] = 220
    Image.fromarray(scene).save(tmp_path / "0.png")
    exif = Image.Exif()
    exif[0x112] = 6
    Image.fromarray(scene).transpose(Image.Transpose.ROTATE_90).save(tmp_path / "1.png", exif=exif)
    images = every_image(opened(tmp_path))
    np.testing.assert_array_equal(images[0], images[1])


KEYED = ("RGB with a key", "L with a key", "16 bits with a key", "palette")


@pytest.mark.parametrize("mode", ["RGBA", "LA", *KEYED])
def test_transparent_pixels_show_a_white_ground(mode, tmp_path):
    """A dark, an opaque bright and a transparent dark pixel, and one that is half transparent where that can be."""
    path = tmp_path / "a.png"
    levels = np.uint8([[10, 200, 11, 10]])
    if mode in ("RGBA", "LA"):
        colours = [levels] * (3 if mode == "RGBA" else 1)
        image = Image.fromarray(np.stack([*colours, np.uint8([[255, 255, 0, 128]])], axis=-1))
        image.save(path)
    elif mode == "palette":
        image = Image.fromarray(np.uint8([[0, 1, 2, 0]])).convert("P")
        image.putpalette([10, 10, 10, 200, 200, 200, 11, 11, 11])
        image.save(path, transparency=2)
    elif mode.startswith("16"):
        Image.fromarray(levels.astype(np.uint16) * 257).save(path, transparency=11 * 257)
    else:
        image = Image.fromarray(levels if mode.startswith("L") else np.stack([levels] * 3, axis=-1))
        image.save(path, transparency=11 if mode.startswith("L") else (11, 11, 11))
    (found,) = read_picture(path)
    grey = found.ndim == 2
    assert grey == (mode in ("LA", "L with a key", "16 bits with a key"))
    shown = (found if grey else found[..., 0])[0] * (255 if mode.startswith("16") else 1.0)
    np.testing.assert_allclose(shown, [10, 200, 255, 10 if mode in KEYED else 255 - 245 * 128 / 255], atol=1)


@pytest.mark.parametrize("mode", ["1", "CMYK", "YCbCr", "HSV", "LAB"])
def test_other_modes_of_pillow(mode, tmp_path):
    colours = RNG.integers(0, 256, (6, 8, 3), np.uint8)
    image = Image.fromarray(colours)
    if mode == "LAB":
        neutral = np.zeros_like(colours) + np.uint8([1, 0, 0]) * np.arange(0, 256, 32, dtype=np.uint8)[:, None]
        Image.frombytes("LAB", (8, 6), neutral.tobytes()).save(tmp_path / "a.tif")
        try:
            (found,) = read_picture(tmp_path / "a.tif")
        except ValueError as error:
            assert "its mode is LAB" in str(error)  # noqa: PT017 - versions of Pillow differ
        else:
            assert (np.diff(found[0].astype(int), axis=0) > 16).all()
            assert np.ptp(found.astype(int), axis=-1).max() <= 3
        return
    converted = image.convert(mode)
    if mode == "HSV":  # no format keeps it
        converted = converted.convert("RGB")
    converted.save(tmp_path / ("a.png" if mode in ("1", "HSV") else "a.tif"))
    (found,) = read_picture(next(tmp_path.iterdir()))
    np.testing.assert_array_equal(found, np.asarray(converted.convert("L" if mode == "1" else "RGB")))


def test_pages_and_frames_are_pictures(tmp_path):
    frames = [Image.fromarray(np.full((8, 8), 60 * i, np.uint8)) for i in range(4)]
    for name in ("a.tif", "b.gif"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
    source = opened(tmp_path)
    np.testing.assert_allclose(every_image(source)[:, 0, 0, 0] * 255, [0, 60, 120, 180] * 2, atol=1e-3)
    large = Image.fromarray(np.zeros((16, 16), np.uint8))
    frames[0].save(tmp_path / "a.tif", save_all=True, append_images=[large])
    with pytest.raises(ValueError, match=r"page 2 of .*a.tif is 16 x 16 pixels and page 1 of .*a.tif is 8 x 8"):
        opened(tmp_path)
    thumbnail = Image.fromarray(np.zeros((2, 2), np.uint8))
    thumbnail.encoderinfo = {"tiffinfo": {254: 1}}
    frames[1].save(tmp_path / "a.tif", save_all=True, append_images=[thumbnail])
    assert [page.shape for page in read_picture(tmp_path / "a.tif")] == [(8, 8)]


def test_a_phones_preview_is_no_picture(tmp_path):
    photograph, preview = (Image.fromarray(np.full((side, side, 3), 99, np.uint8)) for side in (32, 8))
    photograph.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[preview])
    assert [page.shape for page in read_picture(tmp_path / "a.jpg")] == [(32, 32, 3)]


def test_what_is_passed_over_and_what_is_followed(folder, tmp_path):
    (folder / "._0.png").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X")
    (folder / ".thumbnails").mkdir()
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(folder / ".thumbnails" / "0.png")
    os.mkfifo(folder / "pipe.png")
    (folder / "a folder.png").mkdir()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    Image.fromarray(np.full((20, 30), 120, np.uint8)).save(elsewhere / "3.png")
    (folder / "linked").symlink_to(elsewhere)
    (folder / "again").symlink_to(elsewhere)
    (elsewhere / "loop").symlink_to(folder)
    (folder / "below" / "up").symlink_to("..")
    Image.fromarray(np.full((20, 30), 160, np.uint8)).save(tmp_path / "4.png")
    (folder / "4.png").symlink_to(tmp_path / "4.png")
    found = [file.relative_to(folder).as_posix() for file in picture_files(folder)]
    assert found == ["4.png", "again/3.png", "below/0.png", "below/1.png", "below/2.png"]
    assert sorted((every_image(opened(folder))[:, 0, 0, 0] * 255).round()) == [0, 40, 80, 120, 160]
    (folder / "gone.png").symlink_to("nowhere.png")
    with pytest.raises(ValueError, match="gone.png: can't be read"):
        opened(folder)
    assert opened(folder, skip_bad=True).size == 5


def test_a_file_in_place_of_a_folder(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"PK")
    with pytest.raises(ValueError, match="a.zip: it is not a folder"):
        opened(tmp_path / "a.zip")


def test_textures_keep_their_levels_too(tmp_path):
    Image.fromarray(RAMP).save(tmp_path / "a.png")
    np.testing.assert_allclose(read_texture(tmp_path / "a.png")[..., 1], RAMP / 65535, atol=0.5 / 255)
