"""Pixels of every kind of file, against decoders that are not farm's: OpenCV, tifffile, numpy."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from orchestrator.images.decoder import decode, decoder_identity
from orchestrator.images.unreadable import Unreadable
from tests.images import profiles

HIGH, WIDE = 24, 20


def colours(top: int = 255, channels: int = 3) -> np.ndarray:
    """Smooth colours over the whole range, (24, 20, channels)."""
    y, x = np.mgrid[0:HIGH, 0:WIDE] / np.array([HIGH - 1, WIDE - 1])[:, None, None]
    parts = [x, y, 1 - x * y, 0.2 + 0.7 * y * (1 - x)][:channels]
    return np.round(np.stack(parts, -1) * top).astype(np.uint16 if top > 255 else np.uint8)


def saved(pixels: np.ndarray | Image.Image, kind: str, **options) -> bytes:
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def by_opencv(pixels: np.ndarray, suffix: str) -> bytes:
    """Encoded by OpenCV, of RGB(A) or grey."""
    order = {3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}
    if pixels.ndim == 3:
        pixels = cv2.cvtColor(pixels, order[pixels.shape[2]])
    done, data = cv2.imencode(suffix, pixels)
    assert done
    return data.tobytes()


def by_tifffile(pixels: np.ndarray, **options) -> bytes:
    out = io.BytesIO()
    tifffile.imwrite(out, pixels, **options)
    return out.getvalue()


def seen_by_opencv(data: bytes) -> np.ndarray:
    """RGB of 8 bits as OpenCV shows it, orientation applied."""
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def deep_by_opencv(data: bytes) -> np.ndarray:
    """All samples as they are, RGB(A) or grey."""
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    order = {3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGBA}
    return cv2.cvtColor(image, order[image.shape[2]]) if image.ndim == 3 else image


def scaled(samples: np.ndarray, top: int = 65535) -> np.ndarray:
    """What 8 bits make of deep samples, as (h, w, 3)."""
    levels = np.round(samples.astype(np.float64) * 255 / top).astype(np.uint8)
    return levels if levels.ndim == 3 else np.repeat(levels[..., None], 3, 2)


def over_black(levels: np.ndarray) -> np.ndarray:
    alpha = levels[..., -1:].astype(float) / 255
    return np.floor(levels[..., :-1] * alpha + 0.5).astype(np.uint8)


RGB, GREY = colours(), colours()[..., 0]


@pytest.mark.parametrize(
    ("data", "most"),
    [
        (saved(RGB, "PNG"), 0),
        (saved(GREY, "PNG"), 0),
        (saved(Image.fromarray(RGB).quantize(64), "PNG"), 0),
        (saved(Image.fromarray(GREY).convert("1"), "PNG"), 0),
        (saved(RGB, "PNG", interlace=1), 0),
        (saved(RGB, "JPEG", quality=95), 0),
        (saved(RGB, "JPEG", quality=80, subsampling=2, progressive=True), 0),
        (saved(GREY, "JPEG"), 0),
        (saved(Image.fromarray(colours(255, 4), "CMYK"), "JPEG", quality=100), 2),
        (saved(RGB, "WEBP", lossless=True), 0),
        (saved(RGB, "WEBP", quality=90), 0),
        (saved(RGB, "BMP"), 0),
        (saved(GREY, "BMP"), 0),
        (saved(Image.fromarray(RGB).quantize(64), "GIF"), 0),
        (saved(RGB, "PPM"), 0),
        (saved(GREY, "PPM"), 0),
        (saved(RGB, "TIFF"), 0),
        (saved(RGB, "TIFF", compression="tiff_lzw"), 0),
        (saved(RGB, "TIFF", compression="tiff_adobe_deflate"), 0),
        (saved(Image.fromarray(GREY).convert("1"), "TIFF", compression="group4"), 0),
        (lambda: saved(RGB, "AVIF", quality=90), 2),
    ],
    ids=lambda value: "",
)
def test_every_kind_is_what_opencv_sees(data, most):
    data = data() if callable(data) else data  # what takes longer than a collection should
    difference = np.abs(decode(data).pixels.astype(int) - seen_by_opencv(data))
    assert difference.max() <= most


def test_heic_is_the_picture_it_was_made_of():
    pillow_heif = pytest.importorskip("pillow_heif")
    made = pillow_heif.from_pillow(Image.fromarray(np.tile(RGB, (4, 4, 1))))
    out = io.BytesIO()
    made.save(out, quality=-1, chroma=444, matrix_coefficients=0)  # lossless
    found = decode(out.getvalue())
    assert found.kind == "HEIC"
    assert np.array_equal(found.pixels, np.tile(RGB, (4, 4, 1)))


DEEP_GREY, DEEP, DEEP_ALPHA = colours(65535)[..., 1], colours(65535), colours(65535, 4)


@pytest.mark.parametrize(
    "data",
    [
        by_opencv(DEEP_GREY, ".png"),
        by_opencv(DEEP, ".png"),
        by_opencv(DEEP_GREY, ".tiff"),
        by_opencv(DEEP, ".tiff"),
        by_opencv(DEEP, ".ppm"),
        by_opencv(DEEP_GREY, ".pgm"),
    ],
    ids=["grey PNG", "PNG", "grey TIFF, LZW", "TIFF, LZW", "PPM", "PGM"],
)
def test_16_bits_are_scaled_to_8(data):
    assert deep_by_opencv(data).dtype == np.uint16
    assert np.array_equal(decode(data).pixels, scaled(deep_by_opencv(data)))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("predictor", [False, True])
@pytest.mark.parametrize("pixels", [DEEP_GREY, DEEP, RGB, GREY], ids=["grey16", "16", "8", "grey8"])
def test_tiff_is_what_tifffile_sees(order, compression, predictor, pixels):
    if predictor and compression is None:
        return
    photometric = "rgb" if pixels.ndim == 3 else "minisblack"
    data = by_tifffile(
        pixels,
        byteorder=order,
        compression=compression,
        predictor=predictor,
        photometric=photometric,
    )
    seen = tifffile.imread(io.BytesIO(data))
    assert np.array_equal(seen, pixels)
    want = scaled(seen) if seen.dtype == np.uint16 else scaled(seen, 255)
    assert np.array_equal(decode(data).pixels, want)


def test_white_may_be_zero_in_tiff():
    for pixels, top in ((DEEP_GREY, 65535), (GREY, 255)):
        data = by_tifffile(pixels, photometric="miniswhite")
        assert np.array_equal(decode(data).pixels, scaled(top - pixels, top))


def test_every_level_of_16_bits():
    levels = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    want = np.round(levels / 257).astype(np.uint8)
    for data in (by_opencv(levels, ".png"), by_tifffile(levels, photometric="minisblack")):
        assert np.array_equal(decode(data).pixels[..., 0], want)
    three = np.stack([levels, levels[::-1], levels.T], -1)
    found = decode(by_opencv(three, ".png")).pixels
    assert np.array_equal(found, np.round(three / 257).astype(np.uint8))


@pytest.mark.parametrize("pixels", [GREY, RGB, colours(255, 4)], ids=["grey", "colour", "alpha"])
def test_a_16_bit_image_equals_its_8_bit_twin(pixels):
    deep = pixels.astype(np.uint16) * 257
    twin = decode(by_opencv(pixels, ".png"))
    for suffix in (".png", ".tiff"):
        found = decode(by_opencv(deep, suffix))
        assert np.array_equal(found.pixels, twin.pixels)
        assert found.marks == twin.marks


def test_deep_grey_with_alpha_in_png():
    """OpenCV has no such encoder: the chunk is put together here."""
    import struct
    import zlib

    grey, alpha = DEEP_GREY, colours(65535)[..., 0]
    rows = np.stack([grey, alpha], -1).astype(">u2").reshape(HIGH, -1)
    raw = b"".join(b"\0" + row.tobytes() for row in rows)

    def chunk(name, body):
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    data = b"\x89PNG\r\n\x1a\n" + chunk(
        b"IHDR", struct.pack(">IIBBBBB", WIDE, HIGH, 16, 4, 0, 0, 0)
    )
    data += chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    found = decode(data)
    want = over_black(np.concatenate([scaled(grey), scaled(alpha)[..., :1]], -1))
    assert np.array_equal(found.pixels, want)
    assert found.marks == {"alpha"}


@pytest.mark.parametrize(
    ("kind", "form"),
    [
        ("float32", "32-bit floating-point samples, 3 a pixel"),
        ("float64", "64-bit floating-point samples, 3 a pixel"),
        ("uint32", "32-bit unsigned integer samples, 3 a pixel"),
        ("int16", "16-bit signed integer samples, 3 a pixel"),
    ],
)
@pytest.mark.parametrize("big", [False, True])
def test_a_tiff_of_another_form_is_not_called_damaged(kind, form, big):
    pixels = np.random.default_rng(0).uniform(0, 99, (8, 8, 3)).astype(kind)
    whole = by_tifffile(pixels, photometric="rgb", bigtiff=big)
    with pytest.raises(Unreadable, match=f"TIFF of {form}, is not supported: farm reads"):
        decode(whole)
    with pytest.raises(Unreadable, match=r"^TIFF, damaged"):
        decode(whole[:9])


def test_alpha_is_composited_over_black_and_said():
    four = colours(255, 4)
    for data in (
        saved(four, "PNG"),
        saved(four, "WEBP", lossless=True, exact=True),
        saved(four, "TIFF"),
    ):
        found = decode(data)
        assert np.array_equal(found.pixels, over_black(four))
        assert found.marks == {"alpha"}
    opaque = np.dstack([RGB, np.full((HIGH, WIDE), 255, np.uint8)])
    found = decode(saved(opaque, "PNG"))
    assert np.array_equal(found.pixels, RGB)
    assert found.marks == frozenset()
    grey = np.dstack([GREY, four[..., 3]])
    assert np.array_equal(
        decode(saved(Image.fromarray(grey, "LA"), "PNG")).pixels,
        over_black(four[..., [0, 0, 0, 3]]),
    )


def test_transparent_colours_and_palettes():
    palette = Image.fromarray(RGB).quantize(16)
    key = palette.getpixel((3, 3))
    want = np.asarray(palette.convert("RGB")).copy()
    want[np.asarray(palette) == key] = 0
    for kind in ("PNG", "GIF"):
        found = decode(saved(palette, kind, transparency=key))
        assert np.array_equal(found.pixels, want)
        assert found.marks == {"alpha"}
    want = np.repeat(GREY[..., None], 3, 2)
    want[GREY[5, 5] == GREY] = 0
    found = decode(saved(GREY, "PNG", transparency=int(GREY[5, 5])))
    assert np.array_equal(found.pixels, want)
    colour = tuple(int(v) for v in RGB[7, 7])
    want = RGB.copy()
    want[(RGB[7, 7] == RGB).all(2)] = 0
    found = decode(saved(RGB, "PNG", transparency=colour))
    assert np.array_equal(found.pixels, want)
    assert found.marks == {"alpha"}


@pytest.mark.parametrize("turn", range(1, 9))
def test_orientation_is_applied(turn):
    exif = Image.Exif()
    exif[0x0112] = turn
    stored = Image.fromarray(RGB)
    holder = stored.copy()
    holder.getexif()[0x0112] = turn
    upright = np.asarray(ImageOps.exif_transpose(holder))
    jpeg = saved(RGB, "JPEG", quality=95, exif=exif)
    assert np.array_equal(decode(jpeg).pixels, seen_by_opencv(jpeg))
    assert np.array_equal(decode(saved(RGB, "PNG", exif=exif)).pixels, upright)
    assert np.array_equal(decode(saved(RGB, "WEBP", lossless=True, exif=exif)).pixels, upright)
    extra = [(274, "H", 1, turn, True)]
    for pixels in (RGB, RGB.astype(np.uint16) * 257):
        for compression in (None, "zlib"):
            data = by_tifffile(pixels, photometric="rgb", compression=compression, extratags=extra)
            assert np.array_equal(decode(data).pixels, upright), (pixels.dtype, compression)
    deep_grey = by_tifffile(GREY.astype(np.uint16) * 257, photometric="minisblack", extratags=extra)
    assert np.array_equal(decode(deep_grey).pixels[..., 0], upright[..., 0])


def test_orientation_of_avif_and_heic():
    turned = Image.Exif()
    turned[0x0112] = 6
    exif = turned.tobytes()
    wide = np.tile(RGB, (4, 4, 1))
    found = decode(saved(wide, "AVIF", quality=100, subsampling="4:4:4", exif=exif)).pixels
    assert found.shape == (4 * WIDE, 4 * HIGH, 3)
    assert np.abs(found.astype(int) - np.rot90(wide, -1)).max() <= 6
    pytest.importorskip("pillow_heif").register_heif_opener()
    found = decode(saved(wide, "HEIF", quality=100, exif=exif)).pixels
    assert found.shape == (4 * WIDE, 4 * HIGH, 3)
    assert np.abs(found.astype(int) - np.rot90(wide, -1)).mean() <= 6


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_display_p3_becomes_srgb(kind):
    options = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}.get(kind, {})
    plain = decode(saved(RGB, kind, **options)).pixels
    found = decode(saved(RGB, kind, icc_profile=profiles.colour_profile(), **options))
    want = profiles.levels_of_rgb(plain)
    assert np.abs(found.pixels - want).max() <= 1
    assert np.abs(want - plain).max() > 30, "or the test would prove nothing"
    assert found.marks == frozenset()


def test_profiles_that_mean_srgb_leave_the_bytes():
    from PIL import ImageCms

    for profile in (
        ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
        profiles.colour_profile(profiles.SRGB),
    ):
        found = decode(saved(RGB, "PNG", icc_profile=profile))
        assert np.array_equal(found.pixels, RGB)
        found = decode(saved(GREY, "PNG", icc_profile=profile))
        assert np.array_equal(found.pixels, np.repeat(GREY[..., None], 3, 2))
        assert found.marks == frozenset()


def test_grey_by_its_profile():
    found = decode(saved(GREY, "PNG", icc_profile=profiles.grey_profile(1.8)))
    want = profiles.levels_of_grey(GREY, 1.8)
    assert np.abs(found.pixels - want[..., None]).max() <= 1
    assert np.abs(want - GREY).max() > 10
    deep = saved(
        Image.fromarray(GREY.astype(np.uint16) * 257), "PNG", icc_profile=profiles.grey_profile(1.8)
    )
    assert np.array_equal(decode(deep).pixels, found.pixels)


def test_deep_and_transparent_colours_by_their_profile():
    four = colours(255, 4)
    found = decode(saved(four, "PNG", icc_profile=profiles.colour_profile()))
    want = over_black(np.dstack([profiles.levels_of_rgb(four[..., :3]), four[..., 3]]))
    assert np.abs(found.pixels.astype(int) - want).max() <= 1
    assert found.marks == {"alpha"}
    deep = by_tifffile(
        RGB.astype(np.uint16) * 257, photometric="rgb", iccprofile=profiles.colour_profile()
    )
    assert np.abs(decode(deep).pixels - profiles.levels_of_rgb(RGB)).max() <= 1


def inks() -> np.ndarray:
    """Lab of a printer's sixteen corners: cyan, magenta, yellow, black."""
    lab = np.zeros((2, 2, 2, 2, 3))
    for c, m, y in np.ndindex(2, 2, 2):
        lab[c, m, y, 0] = (
            100 - 30 * c - 35 * m - 8 * y - 8 * c * m,
            -25 * c + 50 * m - 5 * y - 20 * c * m,
            -35 * c - 5 * m + 60 * y,
        )
    return np.round(lab)


@pytest.mark.parametrize("kind", ["TIFF", "JPEG"])
def test_cmyk_by_its_profile(kind):
    corners = [
        (c, m, y, k) for c, m, y, k in np.ndindex(2, 2, 2, 2) if not k or (c, m, y) == (0,) * 3
    ]
    pixels = np.repeat(np.repeat(np.array([corners], np.uint8) * 255, 16, 0), 16, 1)
    data = saved(
        Image.fromarray(pixels, "CMYK"),
        kind,
        icc_profile=profiles.ink_profile(inks()),
        **({"quality": 100} if kind == "JPEG" else {}),
    )
    found = decode(data).pixels[8, 8::16]
    want = profiles.levels_of_lab(np.array([inks()[c] for c in corners]))
    assert np.abs(found - want).max() <= 3, (found.tolist(), want.tolist())
    formula = decode(
        saved(Image.fromarray(pixels, "CMYK"), kind, **({"quality": 100} if kind == "JPEG" else {}))
    )
    ink = pixels[8, 8::16].astype(float) / 255
    want = np.round(255 * (1 - ink[:, :3]) * (1 - ink[:, 3:]))
    assert np.abs(formula.pixels[8, 8::16] - want).max() <= 2


def test_profiles_that_cannot_be_used_are_said():
    for profile in (
        b"no profile at all",
        profiles.grey_profile(1.8),
        profiles.colour_profile()[:200],
    ):
        found = decode(saved(RGB, "PNG", icc_profile=profile))
        assert np.array_equal(found.pixels, RGB)
        assert found.marks == {"profile"}
    found = decode(saved(GREY, "PNG", icc_profile=profiles.colour_profile(gamma=1.8)))
    assert found.marks == {"profile"}


def test_the_first_of_several_frames_is_taken_and_said():
    first, second = Image.fromarray(RGB), Image.fromarray(255 - RGB)
    for kind, options in (
        ("TIFF", {}),
        ("WEBP", {"lossless": True}),
        ("PNG", {}),
        ("GIF", {}),
    ):
        data = saved(first, kind, save_all=True, append_images=[second], **options)
        found = decode(data)
        assert found.marks == {"frames"}, kind
        assert np.abs(found.pixels.astype(int) - RGB).mean() < (12 if kind == "GIF" else 0.01), kind


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "an empty file"),
        (b"no image", "no image that farm reads"),
        (b"%PDF-1.7", "a PDF"),
        (b"8BPS\0\1", "Photoshop"),
        (b"II*\0\x10\0\0\0CR\x02\0", "raw file"),
        (saved(RGB, "JPEG2000"), "JPEG 2000"),
        (saved(RGB, "PNG")[:-30], "PNG, damaged"),
        (saved(RGB, "JPEG")[:-40], "JPEG, damaged"),
        (saved(RGB, "WEBP")[:-40], "WebP, damaged"),
        (saved(RGB, "TIFF")[:700], "TIFF, damaged"),
        (saved(RGB, "BMP")[:-40], "BMP, damaged"),
        (saved(RGB, "GIF")[:-400], "GIF, damaged"),
        (saved(RGB, "PPM")[:-40], "PPM, damaged"),
        (lambda: saved(RGB, "AVIF")[:-40], "AVIF, damaged"),
        (
            by_tifffile(RGB.astype(np.float32) / 255, photometric="rgb"),
            "32-bit floating-point samples, 3",
        ),
        (by_tifffile(GREY.astype(np.float32), photometric="minisblack"), "32 bits"),
        (by_tifffile(GREY.astype(np.int32), photometric="minisblack"), "32 bits"),
        (by_tifffile(GREY.astype(np.int16), photometric="minisblack"), "with a sign"),
        (saved(Image.fromarray(RGB).convert("LAB"), "TIFF"), "of the form LAB"),
        (saved(Image.new("1", (5000, 8)), "PNG"), "larger than 4096 pixels"),
        (lambda: saved(Image.new("1", (20000, 20000)), "PNG"), "larger than"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_not_certain_is_refused(data, words):
    data = data() if callable(data) else data
    with pytest.raises(Unreadable, match=words):
        decode(data)


def test_a_flipped_bit_of_a_png_is_found():
    data = bytearray(saved(RGB, "PNG", compress_level=0))
    data[600] ^= 1
    with pytest.raises(Unreadable, match="PNG, damaged"):
        decode(bytes(data))


def test_planes_apart_are_right_or_refused():
    for pixels in (RGB, DEEP):
        data = by_tifffile(np.moveaxis(pixels, 2, 0), photometric="rgb", planarconfig="separate")
        if pixels is DEEP:
            with pytest.raises(Unreadable, match="16 bits"):
                decode(data)
        else:
            assert np.array_equal(decode(data).pixels, RGB)


def test_the_decoder_says_what_it_is():
    found = decoder_identity()
    assert set(found) >= {"rules", "Pillow", "jpg", "libtiff", "webp", "avif", "littlecms2"}
    assert "None" not in found.values()
