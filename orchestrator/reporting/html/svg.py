"""matplotlib figures as inline SVG that takes its colours from the page's style sheet.

matplotlib writes colours as numbers. Charts are drawn with placeholder colours, one for each role,
and these are replaced by CSS variables: one drawing serves light, dark and paper. Identifiers get
a prefix, since several drawings stand in one page; texts stay texts, to be read and searched.
"""

from __future__ import annotations

import io
import re
from html import escape
from typing import TYPE_CHECKING, Any

from orchestrator.reporting.text import plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# role -> placeholder colour; none of them is used for anything else
INK, FAINT, GRID, PAPER = "#010203", "#010204", "#010205", "#010206"
GOOD, BAD, WARN, NEUTRAL = "#010207", "#010208", "#010209", "#01020a"
SERIES = tuple(f"#0103{number:02x}" for number in range(8))
_ROLES = {
    INK: "ink",
    FAINT: "faint",
    GRID: "grid",
    PAPER: "paper",
    GOOD: "good",
    BAD: "bad",
    WARN: "warn",
    NEUTRAL: "neutral",
    **{colour: f"series-{number}" for number, colour in enumerate(SERIES)},
}

_SETTINGS: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "farm",
    "font.family": "sans-serif",
    "font.size": 9.5,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.titlesize": 10.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "text.color": INK,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "hatch.linewidth": 0.6,
}


class Tips:
    """Texts shown when the pointer rests on an artist; read aloud too."""

    def __init__(self) -> None:
        self._texts: list[str] = []

    def add(self, artist: Any, text: str) -> None:
        """Give a matplotlib artist its text."""
        artist.set_gid(f"tip{len(self._texts)}")
        self._texts.append(plain(text))

    def into(self, svg: str) -> str:
        """The drawing with its texts."""

        def titled(match: re.Match[str]) -> str:
            return f"{match[0]}<title>{escape(self._texts[int(match[1])])}</title>"

        return re.sub(r'<g id="tip(\d+)">', titled, svg)


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of the report's style; inches of 96 CSS pixels are its natural size."""
    from matplotlib.figure import Figure as MatplotlibFigure

    with style():
        return MatplotlibFigure(figsize=(width, height), layout="constrained")


def style() -> Any:
    """Context in which axes take the report's style."""
    import matplotlib

    return matplotlib.rc_context(_SETTINGS)


def inline(figure: Figure, prefix: str, label: str, tips: Tips | None = None) -> str:
    """A figure as an <svg> element.

    Args:
        figure: drawn with the colours above.
        prefix: makes identifiers unique within the page; letters and digits.
        label: what the drawing shows, for those who cannot see it.
        tips: texts of single artists.
    """
    buffer = io.StringIO()
    with style():
        # No date and no creator: equal data give equal bytes.
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<style.*?</style>", "", svg, flags=re.DOTALL)  # it would rule the whole page
    if tips is not None:
        svg = tips.into(svg)
    svg = re.sub(r'\bid="', f'id="{prefix}-', svg)
    svg = svg.replace("url(#", f"url(#{prefix}-").replace('href="#', f'href="#{prefix}-')
    svg = re.sub(
        r"#0[0-9a-f]{5}", lambda m: f"var(--{_ROLES[m[0]]})" if m[0] in _ROLES else m[0], svg
    )
    # Sizes in the numbers' full length double the file and are finer than any screen.
    svg = re.sub(r"(\d+\.\d{2})\d+", r"\1", svg)
    svg = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", svg)
    svg = re.sub(r"\n\s*", "\n", svg)
    head = f'<svg role="img" aria-label="{escape(label)}" '
    svg = re.sub(r'<svg[^>]*?viewBox="([^"]*)"[^>]*>', rf'{head}viewBox="\1">', svg, count=1)
    return svg.strip()
