"""Guards reading: every difficult image is either read as a person sees it, or refused in one line that names it."""

import io
import os
import pickle
import struct
import subprocess
import sys
import threading
import warnings
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFile, TiffImagePlugin

from Activation_Extraction.images.places import ImageError
from Activation_Extraction.images.reading import FORMATS, read_image


def photo(height=30, width=44, seed=0):
    """A smooth, asymmetric picture, so that losses of compression are small and no turn maps it to itself."""
    small = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def encoded(image, file_format, **options):
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def rgb(source, **options):
    return np.asarray(read_image(source, **options).convert("RGB"))


def refusal(source, **options):
    with pytest.raises(ImageError) as caught:
        read_image(source, **options)
    assert "\n" not in str(caught.value)
    assert str(caught.value).isprintable()
    return str(caught.value)


def png_chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of(width, height, depth, colour, rows, *extra):
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = [(b"IHDR", header), *extra, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks)


PHOTO = photo()
TURNED = PHOTO.rotate(90, expand=False)
WHOLE = {
    "jpeg": encoded(PHOTO, "JPEG"),
    "progressive jpeg": encoded(PHOTO, "JPEG", progressive=True),
    "cmyk jpeg": encoded(PHOTO.convert("CMYK"), "JPEG"),
    "png": encoded(PHOTO, "PNG"),
    "palette png": encoded(PHOTO.quantize(64), "PNG"),
    "16-bit png": encoded(Image.fromarray(np.asarray(PHOTO.convert("L")).astype(np.uint16) * 257), "PNG"),
    "animated png": encoded(PHOTO, "PNG", save_all=True, append_images=[TURNED]),
    "webp": encoded(PHOTO, "WEBP"),
    "lossless webp": encoded(PHOTO, "WEBP", lossless=True),
    "animated webp": encoded(PHOTO, "WEBP", lossless=True, save_all=True, append_images=[TURNED]),
    "gif": encoded(PHOTO.quantize(64), "GIF"),
    "animated gif": encoded(PHOTO.quantize(64), "GIF", save_all=True, append_images=[TURNED.quantize(64)]),
    "bmp": encoded(PHOTO, "BMP"),
    "tiff": encoded(PHOTO, "TIFF"),
    "lzw tiff": encoded(PHOTO, "TIFF", compression="tiff_lzw"),
    "jpeg tiff": encoded(PHOTO, "TIFF", compression="jpeg"),
    "ppm": encoded(PHOTO, "PPM"),
    "pgm": encoded(PHOTO.convert("L"), "PPM"),
}


# Cut off and damaged ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", WHOLE)
def test_wherever_a_file_is_cut_it_is_refused_or_read_whole(kind):
    data, whole = WHOLE[kind], rgb(WHOLE[kind])
    refused = 0
    for end in {*range(0, len(data), max(1, len(data) // 60)), *range(len(data) - 12, len(data))}:
        try:
            np.testing.assert_array_equal(rgb(data[:end]), whole)
        except ImageError:
            refused += 1
    assert refused >= 20
    # The first picture of an animation may lie wholly in the first half.
    if not kind.startswith("animated gif"):
        assert "cut off or damaged" in refusal(data[: len(data) // 2])


@pytest.mark.parametrize("kind", ["jpeg", "progressive jpeg", "png", "16-bit png"])
def test_download_that_stopped_and_was_filled_with_zeros_is_refused(kind):
    data = WHOLE[kind]
    for kept in (len(data) // 2, len(data) * 9 // 10):
        assert "cut off or damaged" in refusal(data[:kept] + bytes(len(data) - kept))


@pytest.mark.parametrize("kind", WHOLE)
def test_what_follows_the_image_in_a_file_does_not_matter(kind):
    # Phones append a film to their JPEGs; cameras fill up the last block.
    for tail in (bytes(4096), b"\xff\xda\xff\xd8 film " * 50):
        np.testing.assert_array_equal(rgb(WHOLE[kind] + tail), rgb(WHOLE[kind]))


@pytest.mark.parametrize("kind", ["png", "16-bit png", "animated png"])
def test_flipped_bit_anywhere_in_a_png_is_refused(kind):
    for place in range(0, len(WHOLE[kind]), 13):
        data = bytearray(WHOLE[kind])
        data[place] ^= 4
        refusal(bytes(data))


def test_cut_off_images_are_refused_even_where_another_library_allows_them(monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    for kind in ("jpeg", "png", "gif", "bmp", "tiff", "ppm"):
        assert "cut off or damaged" in refusal(WHOLE[kind][: len(WHOLE[kind]) * 2 // 3])
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True


@given(st.sampled_from(sorted(WHOLE)), st.data())
def test_damaged_bytes_never_raise_anything_but_a_refusal(kind, data):
    damaged = bytearray(WHOLE[kind])
    places = st.integers(0, len(damaged) - 1)
    for _ in range(data.draw(st.integers(1, 6))):
        damaged[data.draw(places)] = data.draw(st.integers(0, 255))
    start, stop = sorted((data.draw(places), data.draw(places)))
    if data.draw(st.booleans()):
        del damaged[start : min(stop, start + 50)]
    said = ""
    try:
        assert rgb(bytes(damaged), max_pixels=10**6).shape[2] == 3
    except ImageError as error:
        said = str(error)
    assert said.isprintable()


# No image at all ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty (0 bytes)"),
        (b"not an image\n", "is text, not an image"),
        (bytes(range(256)) * 4, "is no image of a known format"),
        (b"<!DOCTYPE html><p>404", "is a web page"),
        (b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'/>", "is an SVG drawing"),
        (b"%PDF-1.7\n", "is a PDF document"),
        (b"\x00\x00\x00\x18ftypheic\x00\x00", "is a HEIC photo"),
        (b"\x89PNG\r\n\x1a\n", "begins as an image but is cut off or damaged"),
    ],
)
def test_file_that_is_no_image_is_named_with_what_it_is(tmp_path, content, said):
    path = tmp_path / "picture.png"
    path.write_bytes(content)
    message = refusal(path)
    assert message.startswith(f"{path}: ")
    assert said in message
    assert message.count("expected") == 1


def test_formats_that_start_programs_are_never_opened(tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: started.append(a))
    monkeypatch.setattr(subprocess, "check_call", lambda *a, **k: started.append(a))
    path = tmp_path / "drawing.png"
    path.write_bytes(encoded(PHOTO, "EPS"))
    with Image.open(path) as image:
        assert image.format == "EPS"  # Pillow, left to itself, would take it
    assert "is a PostScript drawing" in refusal(path)
    for file_format in ("PCX", "TGA", "SGI", "ICO", "MSP"):
        refusal(encoded(PHOTO.convert("1") if file_format == "MSP" else PHOTO, file_format))
    assert started == []
    assert "EPS" not in FORMATS


def test_missing_file_folder_and_impossible_name_are_refused(tmp_path):
    assert refusal(tmp_path / "gone.png").startswith(f"{tmp_path / 'gone.png'}: no such file; expected")
    assert refusal(str(tmp_path)).startswith(f"{tmp_path}: is a folder; expected")
    assert "cannot be read (Not a directory)" in refusal(__file__ + "/a.png")
    assert "cannot be read (File name too long)" in refusal("a" * 5000)
    assert "is no file name" in refusal("a\0b.png")
    assert refusal("").startswith("'': no such file")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_pipe_and_device_do_not_hang(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    assert "is a pipe, socket or device" in refusal(tmp_path / "pipe.png")
    assert "is a pipe, socket or device" in refusal("/dev/zero")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_file_without_permission_is_refused(tmp_path):
    path = tmp_path / "secret.png"
    path.write_bytes(WHOLE["png"])
    path.chmod(0)
    assert "cannot be read (Permission denied)" in refusal(path)


def test_symbolic_link_is_followed_and_a_broken_one_refused(tmp_path):
    (tmp_path / "target.png").write_bytes(WHOLE["png"])
    (tmp_path / "link.png").symlink_to("target.png")
    (tmp_path / "broken.png").symlink_to("nowhere.png")
    (tmp_path / "round.png").symlink_to("round.png")
    np.testing.assert_array_equal(rgb(tmp_path / "link.png"), np.asarray(PHOTO))
    assert "no such file" in refusal(tmp_path / "broken.png")
    assert "cannot be read" in refusal(tmp_path / "round.png")


@pytest.mark.parametrize("name", [b"\xff\xfe.png", "naïve ☂ 猫.png".encode(), b"two\nlines.png", b"-rf ~ $(x).png"])
def test_odd_file_names_are_read_and_named_in_one_printable_line(tmp_path, name):
    path = os.path.join(tmp_path, os.fsdecode(name))
    with open(path, "wb") as file:
        file.write(WHOLE["png"])
    np.testing.assert_array_equal(rgb(path), np.asarray(PHOTO))
    with open(path, "wb") as file:
        file.write(b"x")
    refusal(path)


# Size ---------------------------------------------------------------------------------------------------------------


def test_decompression_bombs_are_refused_by_their_header_and_cost_no_memory(tmp_path):
    side = 50_000
    bombs = {
        "png": png_of(side, side, 8, 2, bytes(1000)),
        "gif": b"GIF89a" + struct.pack("<HH", side, side) + bytes(3) + b"," + struct.pack("<4H", 0, 0, side, side)
        + b"\0\x02\x02D\x01\0;",
        "second frame.gif": b"GIF89a" + struct.pack("<HH", 1, 1) + bytes(3)
        + b"," + struct.pack("<4H", 0, 0, 1, 1) + b"\0\x02\x02D\x01\0"
        + b"," + struct.pack("<4H", 0, 0, side, side) + b"\0\x02\x02D\x01\0;",
        "ppm": f"P6 {side} {side} 255\n".encode(),
        "bmp": b"BM" + struct.pack("<IHHI", 0, 0, 0, 54) + struct.pack("<IiiHHIIiiII", 40, side, side, 1, 24, *[0] * 6),
        # A lossless WebP tells 16,383 × 16,383 in its first bytes.
        "webp": b"RIFF" + struct.pack("<I", 26) + b"WEBPVP8L" + struct.pack("<I", 13) + b"/"
        + struct.pack("<I", (16382 << 14) | 16382) + bytes(9),
    }  # fmt: skip
    for name, data in bombs.items():
        (tmp_path / name).write_bytes(data)
    script = f"""
import resource, sys
from pathlib import Path
from Activation_Extraction.images.reading import read_image
from Activation_Extraction.images.places import ImageError
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in sorted(Path({str(tmp_path)!r}).iterdir()):
    try:
        print(path.name, read_image(path).size)
    except ImageError as error:
        print(error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True)
    assert done.stderr == ""
    *lines, megabytes = done.stdout.splitlines()
    assert int(megabytes) < 50
    refused = [line for line in lines if "at most 100,000,000 pixels in all (max_pixels)" in line]
    assert [line.split(":")[0].rsplit("/")[-1] for line in refused] == ["bmp", "gif", "png", "ppm", "webp"]
    assert [line for line in lines if line not in refused] == ["second frame.gif (1, 1)"]


def test_limit_of_pixels_is_inclusive_and_settable():
    assert read_image(WHOLE["png"], max_pixels=30 * 44).size == (44, 30)
    assert "44 × 30 pixels; expected at most 1,319 pixels" in refusal(WHOLE["png"], max_pixels=30 * 44 - 1)
    assert "44 × 30 pixels" in refusal(PHOTO, max_pixels=1319)
    assert "44 × 30 pixels" in refusal(np.asarray(PHOTO), max_pixels=1319)


def test_pillows_own_limit_neither_warns_nor_refuses_nor_changes(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert read_image(WHOLE["png"]).size == (44, 30)
    assert Image.MAX_IMAGE_PIXELS == 100


@pytest.mark.parametrize("size", [(1, 1), (1, 10_000), (10_000, 1)])
def test_extreme_shapes_are_read(size):
    image = Image.new("RGB", size, (12, 200, 7))
    for file_format in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "PPM", "WEBP"):
        got = read_image(encoded(image, file_format))
        assert got.size == size
        assert np.abs(np.asarray(got.convert("RGB"))[0, 0].astype(int) - (12, 200, 7)).max() <= 12, file_format


# Colours, as a person sees them -------------------------------------------------------------------------------------


@pytest.mark.parametrize("adobe", [True, False])
def test_cmyk_jpeg_is_read_as_browsers_do_with_and_without_adobes_marker(adobe):
    # Ink is stored turned over; browsers take it so in every CMYK JPEG.
    image = PHOTO.convert("CMYK")
    data = encoded(image, "JPEG", quality=100, subsampling=0)
    marker = data.index(b"\xff\xee")
    assert b"Adobe" in data[marker : marker + 10]
    if not adobe:
        data = data[:marker] + data[marker + 2 + int.from_bytes(data[marker + 2 : marker + 4], "big") :]
    c, m, y, k = np.moveaxis(np.asarray(image).astype(int), 2, 0)
    plain = np.stack([(255 - ink) * (255 - k) / 255 for ink in (c, m, y)], axis=2)
    assert np.abs(rgb(data) - plain).max() <= 8


def test_all_65536_greys_are_scaled_not_clipped():
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    expected = (values.astype(np.int64) * 2 + 257) // 514  # to the nearest, in whole numbers
    for data in (encoded(Image.fromarray(values), "PNG"), encoded(Image.fromarray(values), "TIFF")):
        image = read_image(data)
        np.testing.assert_array_equal(np.asarray(image), expected)
        assert image.info["notes"] == ("I;16 scaled to 8 bits",)
    pgm = b"P5 256 256 65535\n" + values.astype(">u2").tobytes()
    np.testing.assert_array_equal(np.asarray(read_image(pgm)), expected)
    for mode in ("I;16", "I;16L", "I;16B"):
        order = ">u2" if mode.endswith("B") else "<u2"
        swapped = Image.frombytes(mode, (256, 256), values.astype(order).tobytes())
        np.testing.assert_array_equal(np.asarray(read_image(swapped)), expected)


def test_16_bit_colour_png_is_scaled():
    values = np.random.default_rng(0).integers(0, 65536, (4, 5, 3), dtype=np.uint16)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    assert np.abs(rgb(png_of(5, 4, 16, 2, rows)) - values / 257).max() <= 1


def test_12_bit_and_white_is_zero_tiffs_are_read_right():
    grey = np.array([[0, 1000], [2047, 4095]], dtype=np.uint16)
    packed = bytes([0, 0x03, 0xE8, 0x7F, 0xFF, 0xFF])  # two values in three bytes
    tags = [
        (256, 3, 2),
        (257, 3, 2),
        (258, 3, 12),
        (259, 3, 1),
        (262, 3, 1),
        (273, 4, 8),
        (277, 3, 1),
        (278, 3, 2),
        (279, 4, 6),
    ]
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    data = b"II*\0" + struct.pack("<I", 14) + packed + struct.pack("<H", len(tags)) + entries + bytes(4)
    np.testing.assert_array_equal(np.asarray(read_image(data)), np.rint(grey * (255 / 4095)))

    white_is_zero = encoded(
        Image.fromarray(grey * 16), "TIFF", tiffinfo={TiffImagePlugin.PHOTOMETRIC_INTERPRETATION: 0}
    )
    with Image.open(io.BytesIO(white_is_zero)) as image:
        assert image.tag_v2[TiffImagePlugin.PHOTOMETRIC_INTERPRETATION] == 0
        stored = np.asarray(image)
    np.testing.assert_array_equal(np.asarray(read_image(white_is_zero)), 255 - np.rint(stored / 257))


def test_float_and_integer_tiffs_follow_the_declared_ranges_or_are_refused():
    unit = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)
    np.testing.assert_array_equal(np.asarray(read_image(encoded(Image.fromarray(unit), "TIFF"))), np.rint(unit * 255))
    whole = np.array([[0, 257], [65535, 128 * 257]], dtype=np.int32)
    np.testing.assert_array_equal(np.asarray(read_image(encoded(Image.fromarray(whole), "TIFF"))), whole / 257)
    for bad, said in (
        (unit * 255, "values from 0.0 to 255.0; expected values from 0 to 1"),
        (unit - 1, "values from -1.0 to 0.0"),
        (unit * np.nan, "values from nan to nan"),
        (whole - 1, "values from -1 to 65534; expected values from 0 to 65535"),
        (whole + 1, "values from 1 to 65536"),
    ):
        assert said in refusal(encoded(Image.fromarray(bad), "TIFF"))


def over_white(colour, alpha):
    return np.asarray(colour) * (alpha / 255) + 255 * (1 - alpha / 255)


TRANSPARENT = np.random.default_rng(1).integers(0, 256, (9, 11, 4), dtype=np.uint8)


@pytest.mark.parametrize("file_format", ["PNG", "WEBP", "TIFF"])
def test_transparency_is_blended_over_white(file_format):
    options = {"lossless": True, "exact": True} if file_format == "WEBP" else {}
    image = read_image(encoded(Image.fromarray(TRANSPARENT), file_format, **options))
    expected = over_white(TRANSPARENT[:, :, :3], TRANSPARENT[:, :, 3:])
    assert np.abs(np.asarray(image.convert("RGB")) - expected).max() <= 1
    assert image.info["notes"] == ("alpha blended over white",)


def test_transparent_grey_palette_and_single_colours_are_blended_over_white():
    grey, alpha = TRANSPARENT[:, :, :1], TRANSPARENT[:, :, 3:]
    la = Image.fromarray(np.concatenate([grey, alpha], axis=2))
    assert la.mode == "LA"
    assert np.abs(rgb(encoded(la, "PNG")) - over_white(grey, alpha)).max() <= 1

    indices = Image.fromarray(np.array([[0, 1, 2, 3]], dtype=np.uint8), mode=None)
    palette = Image.frombytes("P", (4, 1), indices.tobytes())
    palette.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9])
    expected = [[255, 0, 0], [127, 255, 127], [255, 255, 255], [9, 9, 9]]
    data = encoded(palette, "PNG", transparency=bytes([255, 128, 0, 255]))
    assert np.abs(rgb(data)[0] - expected).max() <= 1
    assert rgb(encoded(palette, "GIF", transparency=2))[0].tolist() == [[255, 0, 0], [0, 255, 0], [255] * 3, [9] * 3]

    one_colour = Image.fromarray(np.array([[[1, 2, 3], [4, 5, 6]]], dtype=np.uint8))
    assert rgb(encoded(one_colour, "PNG", transparency=(1, 2, 3)))[0].tolist() == [[255] * 3, [4, 5, 6]]
    one_grey = Image.fromarray(np.array([[7, 8]], dtype=np.uint8))
    assert rgb(encoded(one_grey, "PNG", transparency=7))[0].tolist() == [[255] * 3, [8] * 3]
    deep = png_of(2, 1, 16, 0, b"\0" + struct.pack(">HH", 700, 257 * 8), (b"tRNS", struct.pack(">H", 700)))
    assert rgb(deep)[0].tolist() == [[255] * 3, [8] * 3]


@pytest.mark.parametrize("mode", ["LA", "La", "PA", "RGBa", "RGBA"])
def test_every_mode_with_alpha_is_blended_over_white(mode):
    image = Image.new("RGBA", (2, 1), (90, 90, 90, 255))
    image.putpixel((1, 0), (90, 90, 90, 0))
    way = {"La": "LA", "PA": "PA"}.get(mode)
    image = image.convert(way).convert(mode) if way else image.convert(mode)
    assert image.mode == mode
    assert rgb(image)[0].tolist() == [[90] * 3, [255] * 3]


def test_colours_that_cannot_be_converted_are_refused():
    assert "colours in LAB; expected" in refusal(encoded(Image.new("LAB", (3, 3)), "TIFF"))


@pytest.mark.parametrize("kind", ["animated png", "animated webp", "animated gif"])
def test_first_picture_of_an_animation_is_read_and_noted(kind):
    image = read_image(WHOLE[kind])
    still = {"animated png": "png", "animated webp": "lossless webp", "animated gif": "gif"}[kind]
    np.testing.assert_array_equal(np.asarray(image.convert("RGB")), rgb(WHOLE[still]))
    assert image.info["notes"] == ("picture 1 of several",)
    assert read_image(WHOLE[still]).info["notes"] == ()


def test_first_page_of_a_tiff_is_read_and_noted():
    image = read_image(encoded(PHOTO, "TIFF", save_all=True, append_images=[TURNED]))
    np.testing.assert_array_equal(np.asarray(image), np.asarray(PHOTO))
    assert image.info["notes"] == ("picture 1 of several",)


UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a[::-1].swapaxes(0, 1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: a[:, ::-1].swapaxes(0, 1),
}


@pytest.mark.parametrize("orientation", [*UPRIGHT, 0, 9])
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_pictures_are_set_upright(orientation, file_format):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if file_format == "WEBP" else {}
    lying = rgb(encoded(PHOTO, file_format, **options))
    turn = UPRIGHT.get(orientation, UPRIGHT[1])
    np.testing.assert_array_equal(rgb(encoded(PHOTO, file_format, exif=exif, **options)), turn(lying))


@pytest.mark.parametrize("exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + bytes(30), b"Exif\0\0MM\0*"])
def test_damaged_exif_leaves_the_picture_as_it_lies_and_warns_of_nothing(exif):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(rgb(encoded(PHOTO, "JPEG", exif=exif)), rgb(WHOLE["jpeg"]))


def test_jpeg_is_decoded_in_full():
    big = photo(600, 800)
    data = encoded(big, "JPEG")
    with Image.open(io.BytesIO(data)) as plain:
        np.testing.assert_array_equal(np.asarray(read_image(data)), np.asarray(plain.convert("RGB")))


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "YCbCr"])
def test_modes_that_convert_without_loss_are_left_for_the_preset(mode):
    assert read_image(PHOTO.convert(mode)).mode == mode


# Other sources ------------------------------------------------------------------------------------------------------


def test_path_bytes_pil_image_and_array_give_the_same_picture(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(WHOLE["png"])
    with Image.open(path) as opened:
        for source in (path, str(path), WHOLE["png"], opened, PHOTO, np.asarray(PHOTO), np.asarray(PHOTO) / 255):
            np.testing.assert_array_equal(rgb(source), np.asarray(PHOTO))


def test_reading_again_what_was_read_changes_nothing():
    for data in [*WHOLE.values(), encoded(Image.fromarray(TRANSPARENT), "PNG")]:
        once = read_image(data)
        assert read_image(once).convert("RGB").tobytes() == once.convert("RGB").tobytes()
        assert read_image(once).info["notes"] == ()


def test_arrays_of_every_allowed_shape_and_type():
    values = np.asarray(PHOTO)
    grey = values[:, :, 0]
    for allowed in (grey, grey[:, :, None], grey / 255, (grey / 255).astype(np.float32), np.asfortranarray(grey)):
        np.testing.assert_array_equal(np.asarray(read_image(allowed)), grey)
    np.testing.assert_array_equal(rgb((values / 255).astype(np.float16)), values)
    np.testing.assert_array_equal(rgb(values[:, ::-1]), values[:, ::-1])
    assert np.abs(rgb(TRANSPARENT) - over_white(TRANSPARENT[:, :, :3], TRANSPARENT[:, :, 3:])).max() <= 1


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.zeros((3, 64, 64), np.uint8), "shape (3, 64, 64); expected height × width × 3"),
        (np.zeros((2, 64, 64, 3), np.uint8), "shape (2, 64, 64, 3)"),
        (np.zeros(4, np.uint8), "shape (4,)"),
        (np.zeros((0, 4, 3), np.uint8), "4 × 0 pixels; expected at least one pixel"),
        (np.zeros((4, 4, 3), np.int64), "numbers of type int64"),
        (np.zeros((4, 4, 3), bool), "numbers of type bool"),
        (np.array([["a"]]), "numbers of type <U1"),
        (np.full((4, 4, 3), 255.0), "values from 255.0 to 255.0; expected values from 0 to 1"),
        (np.full((4, 4, 3), np.nan), "values from nan to nan"),
    ],
)
def test_other_arrays_are_refused(array, said):
    assert refusal(array).startswith("ndarray: " + said)


def test_what_is_no_source_is_refused():
    for wrong in (3, None, ["a.png"], object()):
        assert "is not an image; expected a path" in refusal(wrong)


def test_pil_image_that_cannot_be_loaded_is_refused(tmp_path):
    (tmp_path / "cut.jpg").write_bytes(WHOLE["jpeg"][:-300])
    with Image.open(tmp_path / "cut.jpg") as opened:
        assert refusal(opened).startswith("JpegImageFile: cut off or damaged")
    with Image.open(io.BytesIO(WHOLE["png"])) as opened:
        pass
    assert refusal(opened).startswith("PngImageFile: cut off or damaged")


def test_result_shares_nothing_with_its_source():
    for source in (PHOTO.copy(), np.array(PHOTO), photo().convert("L")):
        image = read_image(source)
        before = np.array(image)
        if isinstance(source, np.ndarray):
            source[:] = 0
        else:
            source.paste(0, (0, 0, 44, 30))
            assert source.info == {}
        np.testing.assert_array_equal(np.asarray(image), before)


# The process around it ----------------------------------------------------------------------------------------------


def test_refusal_passes_between_processes():
    with pytest.raises(ImageError) as caught:
        read_image("gone.png")
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.source, again.problems) == (str(caught.value), "gone.png", caught.value.problems)


def test_many_threads_read_alike_and_leave_pillow_and_warnings_as_they_were():
    def switches():
        return ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS, list(warnings.filters)

    before, wrong = switches(), []

    def read_all():
        for kind in WHOLE:
            if not np.array_equal(rgb(WHOLE[kind]), expected[kind]):
                wrong.append(kind)

    expected = {kind: rgb(WHOLE[kind]) for kind in WHOLE}
    threads = [threading.Thread(target=read_all) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert switches() == before


def test_files_are_closed(tmp_path):
    path = tmp_path / "a.gif"
    path.write_bytes(WHOLE["animated gif"])
    open_before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    images = [read_image(path) for _ in range(5)]
    path.write_bytes(b"x")
    with pytest.raises(ImageError):
        read_image(path)
    assert len(images) == 5
    if open_before:
        assert len(os.listdir("/proc/self/fd")) == open_before
