"""Vendors' C libraries through ctypes: where they lie, which one it is, what is wrong with it."""

import ctypes
import glob
import importlib
import os
import re
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ...protocol.errors import BOARD, TOOLCHAIN, USER, AgentError
from ...session.preprocess import Preprocessor
from .. import variable
from .places import FOLDERS

Signatures = Mapping[str, Tuple[Any, Optional[List[Any]]]]
# What a library says of itself in its own bytes lies within a block or across two.
_BLOCK = 1 << 16
_OVERLAP = 256


def named(runtime: str, options: Mapping[str, Any]) -> Optional[str]:
    """The library that somebody named: the option `library`, else the environment."""
    given = options.get("library")
    if given is not None and not isinstance(given, str):
        raise AgentError(USER, "%s: library is %.80r, expected a path" % (runtime, given))
    return given or os.environ.get(variable(runtime)) or None


def find(runtime: str, names: Sequence[str], options: Mapping[str, Any]) -> str:
    """Path of a runtime's library.

    Args:
        names: file names, the preferred first.

    Raises:
        AgentError: `board`, with what was looked for and how to name it.
    """
    path = named(runtime, options)
    if path is not None:
        if os.path.isfile(path):
            return path
        raise AgentError(
            BOARD,
            "%s: there is no library %s on this board, which the inventory's runtime.library names"
            % (runtime, path),
            "no-runtime",
        )
    folders = [each for each in os.environ.get("LD_LIBRARY_PATH", "").split(":") if each]
    for pattern in FOLDERS:
        folders += sorted(glob.glob(pattern))
    for name in names:
        for folder in folders:
            for place in [os.path.join(folder, name)] + sorted(
                glob.glob(os.path.join(folder, name + ".*")), reverse=True
            ):
                if os.path.isfile(place):
                    return place
    raise AgentError(
        BOARD,
        "%s: no %s in %s; name it by runtime.library in the inventory"
        % (runtime, " or ".join(names), ", ".join(FOLDERS)),
        "no-runtime",
    )


def identity(path: str, pattern: bytes) -> str:
    """What a library file is, without loading it: the version in its bytes, and a hash of them.

    Args:
        pattern: its first group is the version.

    Raises:
        OSError: it cannot be read.
    """
    digest, overlap, version = _sha256(), b"", ""
    expression = re.compile(pattern)
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(_BLOCK), b""):
            digest.update(block)
            if not version:
                found = expression.search(overlap + block)
                version = found.group(1).decode("ascii", "replace") if found else ""
                overlap = block[-_OVERLAP:]
    return ("%s file %s" % (version, digest.hexdigest()[:12])).strip()


def _sha256() -> Any:
    """Python's own sha256: hashlib brings OpenSSL, 4 MB that a session's process can do without."""
    for name in ("_sha2", "_sha256"):  # since Python 3.12, and before
        try:
            return importlib.import_module(name).sha256()
        except ImportError:
            continue
    import hashlib

    return hashlib.sha256()


def probe(runtime: str, names: Sequence[str], pattern: bytes) -> Optional[Dict[str, Any]]:
    """Facts of a library that is not loaded; None when there is none."""
    try:
        path = find(runtime, names, {})
    except AgentError as error:
        # One that was named and is not there is told; one that nobody spoke of is simply absent.
        return {"version": "", "problem": error.message} if named(runtime, {}) else None
    try:
        return {"version": identity(path, pattern)}
    except OSError as error:
        return {"version": "", "problem": "cannot read %s: %s" % (path, error)}


def load(runtime: str, path: str) -> ctypes.CDLL:
    """Load a library.

    Raises:
        AgentError: `board`, with the loader's words.
    """
    try:
        return ctypes.CDLL(path)
    except OSError as error:
        bits = 8 * ctypes.sizeof(ctypes.c_void_p)
        raise AgentError(
            BOARD,
            "%s: cannot load %s: %s (this Python is a %d-bit one; libraries that it needs must lie"
            " where the loader looks, or in LD_LIBRARY_PATH)" % (runtime, path, error, bits),
            "no-runtime",
        )


def declare(runtime: str, path: str, library: Any, signatures: Signatures) -> None:
    """Give functions their C types.

    Args:
        signatures: name to result and arguments; arguments None: variadic.

    Raises:
        AgentError: `board`: it has no such function, so it is another library, or another version.
    """
    for name, (result, arguments) in signatures.items():
        try:
            function = getattr(library, name)
        except AttributeError:
            raise AgentError(
                BOARD,
                "%s: %s has no function %s: it is another library or a version that farm does not"
                " know" % (runtime, path, name),
                "no-runtime",
            )
        function.restype = result
        if arguments is not None:
            function.argtypes = arguments


def provider(runtime: str, options: Mapping[str, Any], known: Sequence[str]) -> str:
    """The one provider that was asked for; the first of `known` when none was.

    Raises:
        AgentError: `user`: several, or one that the runtime does not have.
    """
    asked = options.get("providers") or [known[0]]
    if not isinstance(asked, (list, tuple)) or len(asked) != 1 or asked[0] not in known:
        raise AgentError(
            USER,
            "%s: providers is %.80r, expected one of %s" % (runtime, asked, ", ".join(known)),
        )
    return str(asked[0])


class Quantized(NamedTuple):
    """Scale and zero point of a tensor: value = (stored - zero_point) * scale."""

    scale: float
    zero_point: int


def check_quantized(
    what: str, stated: Optional[Quantized], found: Optional[Quantized], steps: float = 255.0
) -> None:
    """Compare what the manifest says of a tensor with what the loaded file says.

    A scale is wrong when it moves the end of the range by more than a hundredth of a step.

    Raises:
        AgentError: `toolchain`, with both.
    """
    if stated is None and found is None:
        return
    if stated is not None and found is not None:
        close = abs(stated.scale - found.scale) * steps <= 0.01 * found.scale
        if close and stated.zero_point == found.zero_point:
            return
    raise AgentError(
        TOOLCHAIN,
        "the file's %s has %s, its manifest says %s: one of them is of another conversion; convert"
        " the model again" % (what, _description(found), _description(stated)),
        "wrong-scale",
    )


def _description(value: Optional[Quantized]) -> str:
    if value is None:
        return "no scale"
    return "scale %.9g, zero point %d" % value


def stated_input(preprocessing: Preprocessor) -> Optional[Quantized]:
    """What the input is quantized with before it comes here."""
    if preprocessing.scale is None:
        return None
    return Quantized(preprocessing.scale, preprocessing.zero_point)


def stated_output(output: Mapping[str, Any]) -> Optional[Quantized]:
    """What the manifest says of an output's scale; None when it says nothing.

    Args:
        output: as `outputs.one_by_one` has it.
    """
    if output.get("scale") is None:
        return None
    try:
        return Quantized(float(output["scale"]), int(output.get("zero_point") or 0))
    except (TypeError, ValueError):
        raise AgentError(USER, "the interface's output has the scale %.80r" % (output["scale"],))


def last_error(table: Mapping[int, str], code: int) -> str:
    """A return code in words."""
    return "%d, %s" % (code, table.get(code, "which is not documented"))
