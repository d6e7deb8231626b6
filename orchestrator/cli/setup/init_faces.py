"""`farm init --images`: a user's folder of faces, and the test set that it becomes."""

from __future__ import annotations

import csv
import io
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.images.files import ImageFile
    from orchestrator.images.fileset import SetFiles

LIST = "faces.csv"
UNKNOWN = 4
"""Of the identities with two images or more, each fourth is not enrolled: without unknown probes
there is no rate of false alarms."""


@dataclass
class OwnFaces:
    """A folder of aligned faces, read once.

    Attributes:
        path: holds <identity>/<image>, or gallery/ and probe/ with such folders.
    """

    path: Path
    skip_unreadable: bool

    @property
    def has_roles(self) -> bool:
        """Whether the folder says who is enrolled and who searches."""
        return all((self.path / role).is_dir() for role in ("gallery", "probe"))

    @cached_property
    def found(self) -> SetFiles:
        """The files.

        Raises:
            UserError: there is no such folder.
        """
        from orchestrator.images.checking import Checker
        from orchestrator.images.fileset import read_people, read_set
        from orchestrator.specs import FolderSet

        skip = self.skip_unreadable
        if self.has_roles:
            spec = FolderSet(source="folder", path=self.path, skip_unreadable=skip)
            return read_set(spec, Checker())
        return read_people(self.path, Checker(), skip_unreadable=skip)

    @cached_property
    def roles(self) -> list[tuple[ImageFile, str]]:
        """Each file and its role, for a folder without roles.

        The first image of an identity is enrolled and its others search for it. Each `UNKNOWN`th
        identity, and those with one image, only search: they are the unknown probes.
        """
        found: dict[str, list[ImageFile]] = {}
        for file in self.found.files:
            found.setdefault(file.identity, []).append(file)
        several = [who for who, files in found.items() if len(files) > 1]
        enrolled = {who for n, who in enumerate(several, 1) if n % UNKNOWN}
        return [
            (file, "probe" if n or who not in enrolled else "gallery")
            for who, files in found.items()
            for n, file in enumerate(files)
        ]

    @property
    def probes(self) -> int:
        """How many images search."""
        if self.has_roles:
            return sum(file.role == "probe" for file in self.found.files)
        return sum(role == "probe" for _, role in self.roles)

    def list_text(self, folder: Path) -> str:
        """The test set as a list; its paths start in `folder`."""
        out = io.StringIO()
        lines = csv.writer(out, lineterminator="\n")
        lines.writerow(["file", "identity", "role"])
        for file, role in self.roles:
            lines.writerow([os.path.relpath(file.path, folder), file.identity, role])
        return out.getvalue()

    def sentence(self) -> str:
        """What was done with a folder without roles."""
        enrolled = {file.identity for file, role in self.roles if role == "gallery"}
        unknown = {file.identity for file, _ in self.roles} - enrolled
        return (
            f"{LIST}: {len(enrolled)} identities are enrolled with their first image, "
            f"{self.probes} images search, {len(unknown)} identities only search (unknown "
            "probes); change a role there as you like"
        )
