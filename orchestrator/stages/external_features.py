"""Features made elsewhere for the scoring stage: `.npy` files and lists of identities."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from orchestrator.data.features import Features
from orchestrator.errors import UserError


def read_side(features: Path, identities: Path) -> Features:
    """A gallery, or the probes: a `.npy` of floats and the list of its rows' identities.

    Raises:
        UserError: a file that cannot be used; it and the line are named.
    """
    from orchestrator import scoring

    try:
        rows, ids, failed = scoring.read_features_npy(features, identities)
    except scoring.ScoringError as error:
        raise UserError(str(error), LISTS) from error
    return Features(rows, failed, ids.tolist())


LISTS = (
    "The list is a CSV file with the column identity (and failed: 0 or 1, where wanted), or one "
    "identity a line."
)


def read_templates(
    features: Path, templates: Path, gallery: Path, probes: Path
) -> tuple[Features, Features]:
    """Gallery and probes of an IJB-style 1:N set: images are pooled into templates.

    Args:
        features: `.npy`, one row an image of `templates`.
        templates: `image template media` a line (`ijbc_face_tid_mid.txt`).
        gallery, probes: `template,subject,...` a line, after a heading
            (`ijbc_1N_gallery_G1.csv`, `ijbc_1N_probe_mixed.csv`).

    Raises:
        UserError: a file that cannot be used, counts that differ, or a template without images.
    """
    from orchestrator import scoring

    try:
        rows = scoring.read_matrix(features)
        names, of_template, media = scoring.read_template_media(templates)
        if len(names) != len(rows):
            raise scoring.ScoringError(
                f"{templates}: {len(names)} images for the {len(rows)} feature rows of {features}"
            )
        subjects = [(path, scoring.read_template_subjects(path)) for path in (gallery, probes)]
        pooled, found = scoring.pool_templates(rows, of_template, media)
    except scoring.ScoringError as error:
        raise UserError(str(error)) from error
    place = {int(template): row for row, template in enumerate(found)}
    sides = []
    for path, listed in subjects:
        absent = [template for template in listed if template not in place]
        if absent:
            raise UserError(
                f"{path}: template {absent[0]} has no image in {templates} "
                f"({len(absent)} such templates)"
            )
        picked = pooled[[place[template] for template in listed]]
        sides.append(Features(picked, np.zeros(len(picked), bool), list(listed.values())))
    return sides[0], sides[1]


def check_names(sides: tuple[Features, Features]) -> None:
    """Refuse identities of gallery and probes that differ only in form.

    Raises:
        UserError: all of them.
    """
    from orchestrator.images.naming import alike, spelled

    found = alike(name for side in sides for name in side.ids)
    if found:
        raise UserError(
            "\n".join(f"identities that differ only in form: {spelled(names)}" for names in found),
            "give each person one spelling in both lists",
        )
