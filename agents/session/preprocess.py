"""Raw images to a runtime's input without numpy: 256-entry tables and slices, in C's speed.

Where the runtime has brought numpy, it looks the same tables up in a quarter of the time.

A pixel has 256 values, so each output byte is a table look-up of an input byte. A float32 output
is four such bytes, each made by `bytes.translate` and put in its place by an extended slice. The
entries are rounded as numpy's `(x.astype(float32) - float32(mean)) / float32(std)` rounds: a
float32 operation computed in float64 and rounded once more to float32 gives the same bits.
"""

import math
import struct
import sys
from typing import Any, List, Mapping, Optional, Sequence, Union

from ..protocol.errors import USER, AgentError

LAYOUTS = ("NCHW", "NHWC")
COLOURS = ("RGB", "BGR")
DTYPES = ("float32", "uint8", "int8")
ITEM_SIZE = {"float32": 4, "uint8": 1, "int8": 1}
_NATIVE = "<f" if sys.byteorder == "little" else ">f"

Pixels = Union[bytes, memoryview]


def _wrong(message: str) -> AgentError:
    return AgentError(USER, "preprocessing: " + message)


def _float32(value: float) -> float:
    try:
        return float(struct.unpack("<f", struct.pack("<f", value))[0])
    except OverflowError:
        raise _wrong("%r does not fit float32" % value)


def _half_away(value: float) -> int:
    """C's `round`. Adding 0.5 is exact for a float32 in a double."""
    return int(math.copysign(math.floor(abs(value) + 0.5), value))


class Preprocessor(object):
    """Makes one image's input.

    The meta that describes it: `height`, `width`; `layout` NCHW or NHWC; `colour` RGB or BGR, the
    order the model wants (images arrive as RGB); `dtype`:

    - `float32`: (pixel - mean) / std, native byte order;
    - `uint8` without `scale`: the pixel as it is, the runtime normalizes (RKNN);
    - `uint8` or `int8` with `scale` and `zero_point`: the normalized value quantized as Tengine's
      own programs do, round(value / scale + zero_point) in float32, halves away from zero,
      clipped. Over (-1, 1) in 255 steps every pixel is such a half; to even, pairs would merge.

    `mean` and `std` are in pixel units, one number or three in the order of `colour`.

    Attributes:
        scale, zero_point: of a quantized input; None and 0 otherwise.
    """

    def __init__(self, meta: Mapping[str, Any]) -> None:
        self.height = self._size(meta, "height")
        self.width = self._size(meta, "width")
        self.layout = self._word(meta, "layout", LAYOUTS)
        self.colour = self._word(meta, "colour", COLOURS)
        self.dtype = self._word(meta, "dtype", DTYPES)
        mean = self._three(meta, "mean", 0.0)
        std = self._three(meta, "std", 1.0)
        if not all(value > 0 for value in std):
            raise _wrong("std is %r, expected positive numbers" % (meta.get("std"),))
        self.image_bytes = self.height * self.width * 3
        self.input_bytes = self.image_bytes * ITEM_SIZE[self.dtype]
        self.scale: Optional[float] = None
        self.zero_point = 0
        # Channel c of the output is byte `source[c]` of a pixel.
        self._source = (0, 1, 2) if self.colour == "RGB" else (2, 1, 0)
        self._tables = self._make_tables(meta, mean, std)
        self._numpy: Any = None
        self._arrays: List[Any] = []

    @property
    def shape(self) -> List[int]:
        """The input's shape, batch 1."""
        if self.layout == "NCHW":
            return [1, 3, self.height, self.width]
        return [1, self.height, self.width, 3]

    def use(self, numpy: Any) -> None:
        """Look values up with the module numpy, which a runtime has loaded; None: without it."""
        self._numpy = numpy
        if numpy is not None:
            columns = [[numpy.frombuffer(byte, "uint8") for byte in t] for t in self._tables]
            joined = [numpy.stack(each, axis=1).reshape(-1) for each in columns]
            self._arrays = [each.view(self.dtype) for each in joined]

    def __call__(self, image: Pixels) -> Union[bytes, bytearray]:
        """The input made of `image`, raw RGB bytes, rows from the top, interleaved.

        Raises:
            AgentError: the image has another size.
        """
        if len(image) != self.image_bytes:
            raise AgentError(
                USER,
                "an image of %d bytes, expected %d (%d x %d x 3)"
                % (len(image), self.image_bytes, self.height, self.width),
            )
        if self._passes_through:
            return bytes(image)
        if self._numpy is not None:
            return self._looked_up(image)
        item = ITEM_SIZE[self.dtype]
        out = bytearray(self.input_bytes)
        plane = self.height * self.width * item
        for channel in range(3):
            pixels = bytes(image[self._source[channel] :: 3])
            for byte in range(item):
                values = pixels.translate(self._tables[channel][byte])
                if self.layout == "NCHW":
                    start = channel * plane + byte
                    out[start : start + plane - byte : item] = values
                else:
                    out[channel * item + byte :: 3 * item] = values
        return out

    def _looked_up(self, image: Pixels) -> bytearray:
        out = bytearray(self.input_bytes)
        pixels = self._numpy.frombuffer(image, "uint8").reshape(-1, 3)
        values = self._numpy.frombuffer(out, self.dtype)
        planar = self.layout == "NCHW"
        values = values.reshape(3, -1) if planar else values.reshape(-1, 3).T
        for channel, table in enumerate(self._arrays):
            # "clip" checks nothing: a byte has 256 values.
            table.take(pixels[:, self._source[channel]], out=values[channel], mode="clip")
        return out

    @property
    def _passes_through(self) -> bool:
        return self._raw and self.layout == "NHWC" and self.colour == "RGB"

    def _make_tables(
        self, meta: Mapping[str, Any], mean: Sequence[float], std: Sequence[float]
    ) -> List[List[bytes]]:
        scale = meta.get("scale")
        self._raw = self.dtype == "uint8" and scale is None
        if self._raw:
            return [[bytes(range(256))] for _ in range(3)]
        tables = []
        for channel in range(3):
            centre, spread = _float32(mean[channel]), _float32(std[channel])
            values = [_float32(_float32(x - centre) / spread) for x in range(256)]
            if self.dtype == "float32":
                packed = b"".join(struct.pack(_NATIVE, value) for value in values)
                tables.append([packed[byte::4] for byte in range(4)])
            else:
                tables.append([self._quantized(meta, values)])
        return tables

    def _quantized(self, meta: Mapping[str, Any], values: Sequence[float]) -> bytes:
        scale, zero = meta.get("scale"), meta.get("zero_point", 0)
        if not isinstance(scale, (int, float)) or not scale > 0 or not isinstance(zero, int):
            raise _wrong(
                "%s input with scale %r and zero_point %r, expected a positive number and a whole"
                " number" % (self.dtype, scale, zero)
            )
        low, high = (0, 255) if self.dtype == "uint8" else (-128, 127)
        step = _float32(scale)
        if not step > 0:
            raise _wrong("scale %r is nothing in float32" % scale)
        self.scale, self.zero_point = step, zero
        sums = [_float32(_float32(value / step) + zero) for value in values]
        return bytes(min(high, max(low, _half_away(value))) & 0xFF for value in sums)

    @staticmethod
    def _size(meta: Mapping[str, Any], key: str) -> int:
        value = meta.get(key)
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 4096:
            raise _wrong("%s is %.80r, expected a number from 1 to 4096" % (key, value))
        return value

    @staticmethod
    def _word(meta: Mapping[str, Any], key: str, words: Sequence[str]) -> str:
        value = meta.get(key, words[0])
        if value not in words:
            raise _wrong("%s is %.80r, expected %s" % (key, value, " or ".join(words)))
        return str(value)

    @staticmethod
    def _three(meta: Mapping[str, Any], key: str, default: float) -> List[float]:
        value = meta.get(key, default)
        values = list(value) if isinstance(value, (list, tuple)) else [value] * 3
        for each in values:
            good = isinstance(each, (int, float)) and not isinstance(each, bool)
            if not good or not -1e300 < each < 1e300:
                raise _wrong("%s is %.80r, expected numbers" % (key, value))
        if len(values) == 1:
            values = values * 3
        if len(values) != 3:
            raise _wrong("%s has %d numbers, expected 1 or 3" % (key, len(values)))
        return [float(each) for each in values]
