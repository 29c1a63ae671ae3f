"""The page of the models: what each is, what it fits and its sizes, from configuration and code."""

from __future__ import annotations

import html
import inspect
import re
import sys
from itertools import groupby, takewhile
from pathlib import Path

import yaml
from hydra.utils import get_class
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from simulacra.evaluation import config as tree
from simulacra.evaluation.fitting import data_for

ARXIV = re.compile(r"arXiv:(\d{4}\.\d{4,5})")
TYPED = re.compile(r"(?<![`\w])([\w@./]+=[\w.|/\[\],]*[\w\]])")
"""What looks like a word of the command line."""
NAMED = re.compile(r"^.*?\(arXiv:[^)]*\)[:,;]?\s*")
"""The beginning of a comment: name and paper."""
KINDS = {
    "showers": "Showers on cells",
    "clouds": "Point clouds: showers and jets",
    "images": "Images",
    "tables": "Tables of events",
    "tasks": "Event weights",
}
HEAD = """---
hide: [navigation]
---

# Models

`simulacra train model=NAME data=DATA` takes any model with any of its data sets; a wrong pair is refused
before training with the list of what fits. `model/size=` chooses a size: `tiny` for tests, `small` for two
CPU cores, `published` only where the authors give one, and what else is listed. Ready settings for a model on
a data set are experiments, `simulacra train experiment=NAME`. Data sets with a view are asked for as in
`data=ds2 data.view=cloud`.

This page is written by a script from `conf/model` and the docstrings.
"""


def papers(name: str) -> str:
    """Links to the papers of a model: those of its configuration, else the first that its docstring names."""
    module = get_class(tree.target("model", name)).__module__
    found = ARXIV.findall(comment(name)) or ARXIV.findall(documented(module))[:1]
    return ", ".join(f"[{number}](https://arxiv.org/abs/{number})" for number in found)


def documented(module: str) -> str:
    """Docstring of a module."""
    return inspect.getdoc(sys.modules[module]) or ""


def summary(name: str) -> str:
    """A line on a model: what its configuration says first, else what the code does."""
    said = NAMED.sub("", comment(name).split(". ")[0]).rstrip(".")
    if not said or "=" in said:
        module = get_class(tree.target("model", name)).__module__
        text = re.sub(
            r":\w+:`~?([^`]*)`", r"`\1`", " ".join(documented(module).split("\n\n")[0].split())
        )
        title, _, rest = text.partition(": ")
        said = (rest or title).rstrip(".")
    return said[:1].upper() + html.escape(said[1:], quote=False)


def comment(name: str) -> str:
    """The comment at the head of a model's configuration."""
    lines = (tree.folder("conf") / "model" / f"{name}.yaml").read_text().splitlines()
    return " ".join(line.lstrip("# ") for line in takewhile(lambda row: row[:1] == "#", lines))


def described(name: str) -> str:
    """The comment with what one would type as code."""
    return TYPED.sub(r"`\1`", html.escape(comment(name), quote=False))


def sizes(name: str) -> list[str]:
    """Sizes of a model, of its own and as it takes them."""
    folder = tree.folder("conf") / "model"
    text = (folder / f"{name}.yaml").read_text()
    chosen = re.search(r"/model/(\w+)@_here_: \"?\$\{model/size\}", text)
    return sorted(path.stem for path in (folder / (chosen[1] if chosen else name)).glob("*.yaml"))


def experiments(name: str) -> list[str]:
    """Names of the experiments of a model."""
    folder = tree.folder("conf") / "experiment"
    return sorted(path.stem for path in folder.glob("*.yaml") if model_of(path) == name)


def model_of(experiment: Path) -> str | None:
    """The model that an experiment chooses, itself or by the experiment that it begins with."""
    found = None
    for item in yaml.safe_load(experiment.read_text()).get("defaults", []):
        if isinstance(item, str) and item != "_self_":
            found = model_of(experiment.with_name(f"{item}.yaml"))
        elif isinstance(item, dict):
            found = item.get("override /model", found)
    return found


def fits(name: str) -> str:
    """Data sets of a model, those that it needs a view for behind the others."""
    labels = [label.split(" with data.view=") for label in data_for(name)]
    plain = [label[0] for label in labels if len(label) == 1]
    viewed = sorted((label[1], label[0]) for label in labels if len(label) == 2)
    groups = [", ".join(f"`{item}`" for item in plain)] if plain else []
    for view, members in groupby(viewed, key=lambda pair: pair[0]):
        names = ", ".join(f"`{item}`" for _, item in members)
        groups.append(f"with `data.view={view}` {names}")
    return "; ".join(groups) or "a pair of data sets, `data=pair`"


def kind(target: str) -> str:
    """Room of a class: ``showers``, ``clouds`` and so on."""
    _, room, place, *_ = target.split(".")
    return "tasks" if room == "tasks" else place


def entry(name: str) -> str:
    """Section of a model."""
    target = tree.target("model", name)
    facts = {
        "paper": papers(name),
        "data": fits(name),
        "sizes": ", ".join(f"`{item}`" for item in sizes(name)),
        "experiments": ", ".join(f"`{item}`" for item in experiments(name)),
        "class": f"[`{target.rpartition('.')[2]}`][{target}]",
    }
    rows = [f"- {key}: {text}" for key, text in facts.items() if text]
    return "\n".join([f"### `{name}` {{ #{name} }}\n", f"{described(name)}\n", *rows, ""])


def overview(names: list[str]) -> str:
    """Table of models with a line for each."""
    rows = [f"| [`{name}`](#{name}) | {summary(name)} |" for name in names]
    return "\n".join(["| model | what it is |", "|---|---|", *rows, ""])


def page() -> str:
    """The whole page."""
    names = sorted(tree.choices("model"), key=lambda name: (kind(tree.target("model", name)), name))
    parts = [HEAD]
    by_kind = {
        key: list(group)
        for key, group in groupby(names, lambda name: kind(tree.target("model", name)))
    }
    for key, title in KINDS.items():
        members = by_kind.pop(key, [])
        parts += [f"## {title}\n", overview(members), *map(entry, members)]
    if by_kind:
        raise ValueError(f"models of the kinds {sorted(by_kind)} have no title: see KINDS")
    return "\n".join(parts)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The page among those of the site."""
    files.append(File.generated(config, "models.md", content=page()))
    return files


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(), encoding="utf-8")
