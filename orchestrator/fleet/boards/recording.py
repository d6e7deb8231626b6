"""A board's answers as one file that may be sent to others, and as a root that replays them.

The file is JSON: what the probe found, what the agent told in its first frame, and the small files
of `/proc`, `/sys` and `/etc` that both read. Nothing private is in it: what names a person, a
network or one individual board is taken out, and what then still looks like it is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from orchestrator.errors import BoardError, UserError

FORMAT = 1
SUFFIX = ".board.json"
_PRIVATE_KEYS = frozenset({"hostname", "pid", "serial", "machine_id", "boot_id", "home"})
_PRIVATE_LINES = re.compile(
    r"^[ \t]*(serial|uuid|machine.?id)\b.*\n?", re.IGNORECASE | re.MULTILINE
)
_MAC = re.compile(r"\b(?:[0-9a-f]{2}[:-]){5}[0-9a-f]{2}\b", re.IGNORECASE)
_LONG_HEX = re.compile(r"\b(?=[0-9a-f]*[0-9])[0-9a-f]{16,}\b", re.IGNORECASE)
_UUID = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", re.IGNORECASE)
_HOME = re.compile(r"/(?:home|Users)/[^/\s\"':]+")
_KEYS = re.compile(r"PRIVATE KEY|ssh-(?:rsa|ed25519|dss) AAAA|ecdsa-sha2-\S+ AAAA")


@dataclass(frozen=True)
class Recording:
    """What a board answered.

    Attributes:
        kind: what it was recognised as, or what its entry says.
        probe: as `BoardProbe.to_json`.
        hello: the meta of the agent's first frame.
        files: absolute path to content.
        present: paths that were there, with what a library says of its version.
    """

    kind: str
    probe: Mapping[str, Any]
    hello: Mapping[str, Any]
    files: Mapping[str, str]
    present: Mapping[str, str]

    def to_text(self) -> str:
        """The file's text."""
        data = {"farm_board_recording": FORMAT, **asdict(self)}
        return json.dumps(data, indent=1, sort_keys=True, ensure_ascii=False) + "\n"

    def lay_out(self, root: Path) -> Path:
        """Write the files below `root`, so that probe and agent find the board there.

        Raises:
            UserError: a path leads out of `root`.
        """
        contents = {path: words.encode() for path, words in self.present.items()}
        contents |= {path: text.encode() for path, text in self.files.items()}
        # The deepest first: what is there may be the folder of a file that was recorded too.
        for path in sorted(contents, key=lambda path: -path.count("/")):
            place = root / _inside(path)
            place.parent.mkdir(parents=True, exist_ok=True)
            if not place.is_dir():
                place.write_bytes(contents[path])
        return root


def cleaned(
    kind: str, probe: Mapping[str, Any], answer: Mapping[str, Any], private: Collection[str]
) -> Recording:
    """A recording without what is private.

    Args:
        answer: the agent's `hello`, `files` and `present`.
        private: words that must not be in it: names of host, user and board.

    Raises:
        BoardError: something private would be left in it.
    """
    words = {word for word in private if len(word) > 1}
    # A name that is the vendor's own (`khadas`) says nothing of the board's owner.
    files = {str(path): str(text) for path, text in answer.get("files", {}).items()}
    vendors = " ".join(text for path, text in files.items() if "device-tree" in path).lower()
    words = {word for word in words if word.lower() not in vendors}
    found = Recording(
        kind,
        _clean(dict(probe), words),
        _clean(dict(answer.get("hello", {})), words),
        {path: _clean(text, words) for path, text in files.items()},
        _clean(dict(answer.get("present", {})), words),
    )
    left = _KEYS.search(found.to_text())
    if left:
        raise BoardError(
            f"the recording would hold a key ({left.group()[:20]}...), so it is not written",
            "please report this with the name of the board's image",
        )
    return found


def read_recording(path: Path) -> Recording:
    """A recording from its file.

    Raises:
        UserError: it is none, or of a format that this farm does not know.
    """
    try:
        data = json.loads(path.read_text("utf-8"))
        version = data["farm_board_recording"]
        parts = {name: data[name] for name in Recording.__dataclass_fields__}
        if not all(
            isinstance(each, str if name == "kind" else dict) for name, each in parts.items()
        ):
            raise ValueError("a part of it is of another type")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: no recording of a board: {error}") from error
    if version != FORMAT:
        raise UserError(f"{path}: a recording of format {version}, this farm reads {FORMAT}")
    found = Recording(**parts)
    for name in (*found.files, *found.present):
        _inside(name)
    return found


def _inside(path: str) -> str:
    pure = PurePosixPath(path)
    if not pure.is_absolute() or ".." in pure.parts:
        raise UserError(f"a recording names the file {path!r}, which is no absolute path")
    return str(pure).lstrip("/")


def _clean(value: Any, words: Collection[str]) -> Any:
    if isinstance(value, dict):
        public = {str(key): each for key, each in value.items() if key not in _PRIVATE_KEYS}
        return {_clean(key, words): _clean(each, words) for key, each in public.items()}
    if isinstance(value, (list, tuple)):
        return [_clean(each, words) for each in value]
    if not isinstance(value, str):
        return value
    text = _PRIVATE_LINES.sub("", value)
    text = _HOME.sub("/home/user", text)
    text = _MAC.sub("00:00:00:00:00:00", text)
    text = _UUID.sub("00000000-0000-0000-0000-000000000000", text)
    text = _LONG_HEX.sub(lambda found: "0" * len(found.group()), text)
    for word in words:
        text = re.sub(rf"(?<![A-Za-z0-9]){re.escape(word)}(?![A-Za-z0-9])", "removed", text)
    return text
