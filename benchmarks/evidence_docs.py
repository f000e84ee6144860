"""The comparison as its readers see it: the tables inside docs/explanation/comparison.md, and a figure."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

BEGIN = "<!-- tables of benchmarks/evidence.py: begin -->"
UNSEEN = "all_unseen"  # key of evidence.json
END = "<!-- tables of benchmarks/evidence.py: end -->"


def put_between(page: Path, text: str) -> None:
    """Replace what stands between the marks of a page."""
    whole = page.read_text(encoding="utf-8")
    if whole.count(BEGIN) != 1 or whole.count(END) != 1:
        raise SystemExit(f"{page}: expected the lines {BEGIN} and {END}, once each")
    before, rest = whole.split(BEGIN)
    _, after = rest.split(END)
    page.write_text(f"{before}{BEGIN}\n\n{text.strip()}\n\n{END}{after}", encoding="utf-8")


def forest(path: Path, rows: Mapping[str, Any], sets: Sequence[str]) -> None:
    """Every row's macro mAP@10 with its interval: all cells, each data set, unseen gallery."""
    panels = {"all": "all", **{name: name for name in sets}, UNSEEN: "all, unseen gallery"}
    figure = Figure(figsize=(2.1 * len(panels) + 3.4, 0.3 * len(rows) + 1.2), dpi=110)
    axes: Any = figure.subplots(1, len(panels), sharey=True)
    for axis, (panel, title) in zip(axes, panels.items(), strict=True):
        found = [row[panel] if panel in row else row["sets"][panel] for row in rows.values()]
        for y, one in enumerate(found):
            low, high = one["interval"]["macro"]
            axis.plot([low, high], [y, y], color="#0072b2", linewidth=1.6)
            axis.plot(one["macro"], y, "o", color="#0072b2", markersize=4.5)
        axis.axvline(found[0]["chance"]["macro"], color="#767676", linestyle=":", linewidth=1.2)
        axis.set_title(title, fontsize=10)
        axis.grid(axis="x", color="#e6e6e6")
        axis.set_axisbelow(True)
        axis.tick_params(labelsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_yticks(range(len(rows)), [row["title"] for row in rows.values()], fontsize=8)
    axes[0].set_ylim(len(rows) - 0.4, -0.6)
    figure.supxlabel("macro mAP@10 of the grade, 95 % interval over subjects; dotted: chance", fontsize=8.5)
    figure.tight_layout()
    figure.savefig(path)
