"""Which images stand where they must not, and what else of a test set must be known beforehand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from orchestrator.audit.near import near_pairs
from orchestrator.audit.prints import Prints, join
from orchestrator.audit.sentences import shown_name
from orchestrator.counting import form, share
from orchestrator.results import AuditExample, AuditFinding, AuditImage

Role = Literal["gallery", "probe", "face", "calibration"]
Kind = Literal["probe-in-gallery", "two-identities", "calibration-in-test", "repeated"]

CHECKS = 1
"""Counted up when what is found changes; part of the key under which findings are kept."""

EXAMPLES = 20
"""Kept of a finding; the count is of all."""


@dataclass(frozen=True, eq=False)
class Images:
    """Images of one role, row by row. `face` is the role of images that have none yet.

    Attributes:
        names: what to call each, a file's path.
        identities: whom each shows; of calibration images it says nothing.
        prints: of each.
    """

    role: Role
    names: Sequence[str]
    identities: Sequence[str]
    prints: Prints


@dataclass(frozen=True)
class _Link:
    """An image that repeats an earlier one; `bits` is None when both are equal to the pixel."""

    earlier: int
    bits: int | None


@dataclass(frozen=True)
class _Row:
    role: Role
    identity: str
    name: str


@dataclass
class _Group:
    """Images with the same pixels, and the first of them in each respect that matters."""

    members: list[int] = field(default_factory=list)
    test: int | None = None
    other: int | None = None  # the first whose identity is not that of `test`
    calibration: int | None = None
    gallery: dict[str, int] = field(default_factory=dict)
    same: dict[tuple[str, str], int] = field(default_factory=dict)

    def add(self, index: int, rows: Sequence[_Row]) -> None:
        """Take in the next image; indices come in ascending order."""
        row = rows[index]
        self.members.append(index)
        if row.role == "calibration":
            self.calibration = index if self.calibration is None else self.calibration
            return
        if self.test is None:
            self.test = index
        elif self.other is None and rows[self.test].identity != row.identity:
            self.other = index
        if row.role == "gallery":
            self.gallery.setdefault(row.identity, index)
        self.same.setdefault((row.role, row.identity), index)

    def before(self, index: int, rows: Sequence[_Row]) -> Iterator[tuple[Kind, int]]:
        """What it means that image `index` looks like this group, with the first it repeats."""
        row = rows[index]
        found: list[tuple[Kind, int | None]] = []
        if row.role == "calibration":
            kind: Kind = "repeated" if self.test is None else "calibration-in-test"
            found.append((kind, self.calibration if self.test is None else self.test))
        else:
            alien = self.test
            if alien is not None and rows[alien].identity == row.identity:
                alien = self.other
            found.append(("two-identities", alien))
            if row.role == "probe":
                found.append(("probe-in-gallery", self.gallery.get(row.identity)))
            found.append(("repeated", self.same.get((row.role, row.identity))))
        yield from ((kind, first) for kind, first in found if first is not None and first < index)


def audit(parts: Sequence[Images]) -> list[AuditFinding]:
    """Compare all images with one another and look at each.

    Args:
        parts: in the order gallery, probe (or face), calibration. The later image of two that are
            alike is the one that counts as repeating the other.

    Returns:
        Findings, leaks first; a count is that of the images which repeat an earlier one.
    """
    parts = [part for part in parts if len(part.names)]
    if not parts:
        return []
    rows = [
        _Row(part.role, identity, name)
        for part in parts
        for identity, name in zip(part.identities, part.names, strict=True)
    ]
    links, whole = _links(rows, join([part.prints for part in parts]))
    counts = {part.role: len(part.names) for part in parts}
    found = [
        _repeating(kind, rows, links[kind], counts, whole) for kind in _SENTENCES if links[kind]
    ]
    return [*found, *_single(parts), *_looks(parts)]


def leaks(findings: Iterable[AuditFinding]) -> list[AuditFinding]:
    """Those that make figures say more than they should."""
    return [finding for finding in findings if finding.severity == "leak"]


def _links(rows: Sequence[_Row], prints: Prints) -> tuple[dict[Kind, dict[int, _Link]], bool]:
    """Per kind, the images that repeat an earlier one; whether all pairs were looked at."""
    keys = np.ascontiguousarray(prints.pixels).view("V32").ravel()
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    groups = [_Group() for _ in first]
    for index, group in enumerate(inverse.tolist()):
        groups[group].add(index, rows)
    links: dict[Kind, dict[int, _Link]] = {kind: {} for kind in _SENTENCES}

    def link(group: _Group, members: Iterable[int], bits: int | None) -> None:
        for index in members:
            for kind, earlier in group.before(index, rows):
                links[kind].setdefault(index, _Link(earlier, bits))

    for group in groups:
        if len(group.members) > 1:
            link(group, group.members, None)
    shown = np.flatnonzero(~prints.flat[first])  # a flat image looks like every other
    pairs, bits, whole = near_pairs(prints.looks[first[shown]])
    for at in np.argsort(bits, kind="stable").tolist():
        one, other = (groups[shown[place]] for place in pairs[at])
        link(one, other.members, int(bits[at]))
        link(other, one.members, int(bits[at]))
    return links, whole


_SENTENCES: dict[Kind, tuple[Literal["leak", "warning", "note"], str]] = {
    "probe-in-gallery": (
        "leak",
        "{count} of {probe} probes show an image that the same person is enrolled with: they "
        "are found whatever the model can do",
    ),
    "two-identities": (
        "leak",
        "{count} {images} another identity's image: one of the two names is wrong, and a right "
        "answer counts as a mistake",
    ),
    "calibration-in-test": (
        "leak",
        "{count} of {calibration} calibration images {stand} in the test set too: the quantized "
        "model was fitted to what it is tested with",
    ),
    "repeated": (
        "note",
        "{count} {images} an earlier image of the same role and identity, so that it counts twice",
    ),
}


def _repeating(
    kind: Kind,
    rows: Sequence[_Row],
    links: dict[int, _Link],
    counts: dict[Role, int],
    whole: bool,
) -> AuditFinding:
    severity, text = _SENTENCES[kind]
    count = len(links)
    exact = sum(link.bits is None for link in links.values())
    numbers = {str(role): f"{number:,}" for role, number in counts.items()}
    images = "image repeats" if count == 1 else "images repeat"
    stand = "stands" if count == 1 else "stand"
    said = text.format(count=f"{count:,}", images=images, stand=stand, **numbers)
    near = f"{exact:,} identical to the pixel, {count - exact:,} near-identical"
    more = "" if whole else "; there are more, farm stopped counting near-identical ones"
    ordered = sorted(links, key=lambda index: (links[index].bits or 0, index))
    return AuditFinding(
        kind=kind,
        severity=severity,
        count=count,
        sentence=f"{said} ({near}{more})",
        examples=[
            AuditExample(
                images=[_named(rows[index]), _named(rows[links[index].earlier])],
                bits=links[index].bits,
            )
            for index in ordered[:EXAMPLES]
        ],
    )


def _named(row: _Row) -> AuditImage:
    identity = "" if row.role == "calibration" else shown_name(row.identity)
    return AuditImage(role=row.role, identity=identity, name=shown_name(row.name))


def _single(parts: Sequence[Images]) -> Iterator[AuditFinding]:
    """Identities with one image where two are needed: one to enrol, one to search with."""
    for part in parts:
        if part.role != "face":
            continue
        names, first, number = np.unique(
            np.array(part.identities), return_index=True, return_counts=True
        )
        lonely = first[number == 1]
        if lonely.size:
            lone = [
                _named(_Row("face", part.identities[i], part.names[i]))
                for i in lonely[:EXAMPLES].tolist()
            ]
            yield AuditFinding(
                kind="one-image",
                severity="warning",
                count=int(lonely.size),
                sentence=f"{share(lonely.size, names.size, 'identity')} "
                f"{form(lonely.size, 'has')} one image; an identity needs one to be "
                "enrolled with and another to be searched with",
                examples=[AuditExample(images=[image]) for image in lone],
            )
    roles = {part.role: part for part in parts}
    if "gallery" in roles and "probe" in roles:
        enrolled = dict.fromkeys(roles["gallery"].identities)
        alone = [name for name in enrolled if name not in set(roles["probe"].identities)]
        if alone:
            names_of = dict(zip(roles["gallery"].identities, roles["gallery"].names, strict=True))
            yield AuditFinding(
                kind="without-probe",
                severity="note",
                count=len(alone),
                sentence=f"{share(len(alone), len(enrolled), 'enrolled identity')} "
                f"{form(len(alone), 'has')} no probe: "
                f"{'it is a distractor' if len(alone) == 1 else 'they are distractors'}",
                examples=[
                    AuditExample(images=[_named(_Row("gallery", one, names_of[one]))])
                    for one in alone[:EXAMPLES]
                ],
            )


def _looks(parts: Sequence[Images]) -> Iterator[AuditFinding]:
    """Images without colour, and images that show nothing."""
    grey = [part for part in parts if part.prints.grey.all()]
    coloured = [part for part in parts if part not in grey]
    if grey:
        words = " and ".join(f"the {_ROLES[part.role]}" for part in grey)
        mixed = f", those of {' and '.join(_ROLES[p.role] for p in coloured)} are in colour"
        yield AuditFinding(
            kind="grey",
            severity="warning" if coloured else "note",
            count=sum(len(part.names) for part in grey),
            sentence=f"all images of {words} are grey (red = green = blue)"
            + (mixed if coloured else "")
            + ": a model trained in colour sees what it was not trained with",
        )
    flat = [(part, i) for part in parts for i in np.flatnonzero(part.prints.flat).tolist()]
    if flat:
        yield AuditFinding(
            kind="flat",
            severity="warning",
            count=len(flat),
            sentence=f"{len(flat):,} {'image shows' if len(flat) == 1 else 'images show'} "
            "nothing but one colour",
            examples=[
                AuditExample(images=[_named(_Row(part.role, part.identities[i], part.names[i]))])
                for part, i in flat[:EXAMPLES]
            ],
        )


_ROLES: dict[Role, str] = {
    "gallery": "gallery",
    "probe": "probes",
    "face": "folder",
    "calibration": "calibration",
}
