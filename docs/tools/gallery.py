"""The gallery: the zoo's models and a table, their pictures, and the page that shows them.

``python docs/tools/gallery.py FOLDER`` runs in FOLDER the trainings that are not there yet, at most 15
minutes on one core each, and stores small pictures and the figures in ``docs/gallery``. Building the site
makes the page of them.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from PIL import Image

STORE = Path(__file__).parents[1] / "gallery"
WIDTH = 1200
COLOURS = 256
SHOWN = {
    "photons": ("experiment=vit_ds1_photons", ["images", "observables_1", "correlation"]),
    "electrons": ("experiment=caloart_ds2", ["images", "observables_1"]),
    "positrons": ("experiment=vit_calogan", ["images", "observables_1"]),
    "points": ("experiment=caloclouds2_ild_cloud", ["observables_1"]),
    "jets": ("experiment=pc_droid_jetnet30", ["observables_1"]),
    "table": (
        "model=table_fm data=table trainer.max_epochs=-1 trainer.max_steps=500",
        ["observables_1"],
    ),
}
"""Words of each training by its name, and the figures of it that are shown."""
HEAD = """---
hide: [navigation]
---

# Gallery

What short trainings on our own Geant4 and Pythia events look like, most of them those of the [zoo](zoo.md):
grey or left is the truth, the line or right what was generated, a ratio beside them. None of them is the
best that its model can do, and none is on public data. The pictures are those of the run directories, made
smaller; `docs/tools/gallery.py` trains, measures and stores them, and this page is written from what it
stored.
"""


def train(words: str, run: Path) -> None:
    """One training, unless it is there."""
    from simulacra.cli.main import main

    if not (run / "metrics.json").is_file():
        main(["train", *words.split(), f"hydra.run.dir={run}", "logger=csv"])


def picture(source: Path, target: Path) -> None:
    """A figure of a run, small."""
    image = Image.open(source).convert("RGB")
    if image.width > WIDTH:
        image = image.resize((WIDTH, round(image.height * WIDTH / image.width)), Image.LANCZOS)
    image.quantize(COLOURS).save(target, optimize=True)


def figures(run: Path) -> dict[str, Any]:
    """The two numbers of a run with their errors and floors."""
    metrics = json.loads((run / "metrics.json").read_text())
    keys = {"auc": "test/classifier/boosted/auc", "w1": "test/w1_mean"}
    kinds = {"": "", "_error": "/error", "_floor": "/floor"}
    return {
        name + end: metrics[key + tail] for name, key in keys.items() for end, tail in kinds.items()
    }


def store(folder: Path) -> None:
    """Run what is missing and store pictures and figures of all."""
    STORE.mkdir(exist_ok=True)
    found = {}
    for name, (words, shown) in SHOWN.items():
        run = folder / name
        train(words, run)
        for item in shown:
            picture(run / "figures" / f"{item}.png", STORE / f"{name}_{item}.png")
        found[name] = {"words": words, "shown": shown, **figures(run)}
    (STORE / "gallery.json").write_text(json.dumps(found, indent=1) + "\n")


def page() -> str:
    """The page of what is stored."""
    parts = [HEAD]
    for name, item in json.loads((STORE / "gallery.json").read_text()).items():
        parts.append(
            f"## {name.capitalize()}\n\n```text\nsimulacra train {item['words']}\n```\n\n"
            f"Boosted AUC {item['auc']:.3f} ± {item['auc_error']:.3f} (floor 0.5), mean W1 "
            f"{item['w1']:.3f} ± {item['w1_error']:.3f} (floor {item['w1_floor']:.3f}).\n"
        )
        for shown in item["shown"]:
            label = shown.replace("_", " ")
            parts.append(f"![{name}: {label}](gallery/{name}_{shown}.png)\n")
    return "\n".join(parts)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The page among those of the site."""
    files.append(File.generated(config, "gallery.md", content=page()))
    return files


if __name__ == "__main__":
    store(Path(sys.argv[1]))
