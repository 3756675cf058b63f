"""Guards how pictures become stimuli: as a person sees them, square, and with nothing in the file but pixels."""

from io import BytesIO

import numpy as np
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from Activation_Extraction.images.places import FilePart, bytes_of
from Activation_Extraction.images.reading import png_bytes
from Human_Experiment_Setup.stimuli.pictures import saved_picture, study_picture

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)


def encoded(image, form="PNG", **options):
    image.save(file := BytesIO(), form, **options)
    return file.getvalue()


def test_a_picture_of_the_right_size_keeps_its_pixels():
    np.testing.assert_array_equal(study_picture(encoded(Image.fromarray(PIXELS)), "x.png", 40), PIXELS)


def test_the_centre_is_cut_out_square():
    wide = np.zeros((40, 60, 3), np.uint8)
    wide[:, 10:50] = PIXELS
    np.testing.assert_array_equal(study_picture(encoded(Image.fromarray(wide)), "x.png", 40), PIXELS)


def test_orientation_is_applied():
    exif = Image.Exif()
    exif[0x0112] = 3
    turned = study_picture(encoded(Image.fromarray(PIXELS), exif=exif), "x.png", 40)
    np.testing.assert_array_equal(turned, PIXELS[::-1, ::-1])


def test_a_colour_profile_is_converted():
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = lab.replace(b"rXYZ", b"tmp_").replace(b"gXYZ", b"rXYZ").replace(b"tmp_", b"gXYZ")  # red is green there
    red = Image.new("RGB", (40, 40), (255, 0, 0))
    shown = study_picture(encoded(red, icc_profile=swapped), "x.png", 40)
    assert shown[0, 0, 1] > 200
    assert shown[0, 0, 0] < 60


def test_a_damaged_colour_profile_is_left_aside():
    data = encoded(Image.fromarray(PIXELS), icc_profile=b"no profile")
    np.testing.assert_array_equal(study_picture(data, "x.png", 40), PIXELS)


def test_a_saved_picture_is_pixels_alone(tmp_path):
    text = PngInfo()
    text.add_text("Comment", "fire, level 3")
    data = encoded(Image.fromarray(PIXELS), pnginfo=text, dpi=(72, 72))
    (tmp_path / "a.png").write_bytes(png_bytes(study_picture(data, "x.png", 40)))
    written = (tmp_path / "a.png").read_bytes()
    chunks, place = [], 8
    while place < len(written):
        chunks.append(written[place + 4 : place + 8])
        place += 12 + int.from_bytes(written[place : place + 4], "big")
    assert set(chunks) == {b"IHDR", b"IDAT", b"IEND"}
    np.testing.assert_array_equal(saved_picture(tmp_path / "a.png"), PIXELS)


def test_part_of_a_file_is_read(tmp_path):
    (tmp_path / "t.tar").write_bytes(b"....abc....")
    assert bytes_of(FilePart(str(tmp_path / "t.tar"), 4, 3), "abc") == b"abc"
