"""What a foreign configuration might name to run code, to write or to read where it must not."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

from faults.case import VARIABLE, Place

Node = dict[str, Any]


class Payload:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def pickled(place: Place) -> Path:
    """A pickle that touches the flag."""
    path = place.work / "evil.pkl"
    path.write_bytes(pickle.dumps(Payload(place.flag)))
    return path


def _call(target: str, *arguments: Any, **named: Any) -> Node:
    return {"_target_": target, "_args_": list(arguments), **named}


def targets(place: Place) -> dict[str, Node]:
    """Nodes that would touch the flag, or write beside it, or print the secret."""
    flag, folder, secret = str(place.flag), str(place.outside), str(place.secret)
    touch = f"touch {flag}"
    return {
        "system": _call("os.system", touch),
        "popen": _call("os.popen", touch),
        "mkdir": _call("os.mkdir", flag),
        "run": _call("subprocess.run", ["touch", flag]),
        "check_output": _call("subprocess.check_output", ["touch", flag]),
        "exec": _call("builtins.exec", f"open({flag!r}, 'w')"),
        "eval": _call("builtins.eval", f"open({flag!r}, 'w')"),
        "open": _call("builtins.open", flag, "w"),
        "io_open": _call("io.open", flag, "w"),
        "touch": {"_target_": "pathlib.Path.touch", "_args_": [{"_target_": "pathlib.Path",
        "_args_": [flag]}]},
        "copy": _call("shutil.copy", secret, flag),
        "savetxt": _call("numpy.savetxt", flag, [1, 2]),
        "torch_save": _call("torch.save", [1], flag),
        "torch_load": _call("torch.load", str(pickled(place)), weights_only=False),
        "joblib": _call("joblib.load", str(pickled(place))),
        "pickle": _call("pickle.loads", pickle.dumps(Payload(place.flag)).decode("latin-1")),
        "h5py": _call("h5py.File", flag, "w"),
        "collect_env": _call("torch.utils.collect_env.run", touch),
        "hub": _call("torch.hub.load", folder, "x", source="local"),
        "file_handler": _call("logging.FileHandler", flag),
        "csv_logger": _call("pytorch_lightning.loggers.CSVLogger", folder),
        "importlib": _call("importlib.import_module", "antigravity"),
        "partial": {"_target_": "functools.partial", "_args_": [{"_target_": "os.system",
        "_partial_": True}, touch]},
        "instantiate": _call("hydra.utils.instantiate", {"_target_": "os.system", "_args_": [touch]}),
        "get_method": _call("hydra.utils.get_method", "os.system"),
        "own_instantiate": _call(
            "simulacra.core.instantiate.instantiate", {"_target_": "os.system", "_args_": [touch]}
        ),
        "git": _call("simulacra.tracking.identity._git", folder, "-c", f"alias.x=!{touch}", "x"),
        "write_json": _call("simulacra.evaluation.publish.write_json", _call("pathlib.Path", flag), [1]),
        "write_text": _call("simulacra.core.files.write_text", _call("pathlib.Path", flag), "x"),
        "write_text_by_text": _call("simulacra.core.files.write_text", flag, "x"),
        "embedded_folder": _call("simulacra.core.files.write_text",
        _call("simulacra.data.files.embedded_folder", flag), "x"),
        "page": _call("simulacra.tracking.page.write_page", _call("simulacra.data.files.embedded_folder",
        flag), "x", []),
        "save": _call("simulacra.evaluation.saved.save", {}, _call("simulacra.data.files.embedded_folder",
        folder)),
        "main": _call("simulacra.cli.main.main", ["train", f"paths.run={folder}/run"]),
        "command": _call("simulacra.cli.main.command", "train"),
        "register": _call("simulacra.evaluation.config.register"),
        "build": _call("simulacra.data.build", {"_target_": "os.system", "_args_": [touch]}, trusted=True),
        "csv_tracker": _call("simulacra.tracking.csv.CSVTracker", folder),
        "module_as_target": {"_target_": "simulacra.core.files"},
        "method_as_target": {"_target_": "simulacra.formats.base.Format.write", "path": flag},
        "private": {"_target_": "simulacra.tracking.identity.subprocess.run", "args": ["touch", flag]},
        "through_a_module": _call("simulacra.core.files.os.mkdir", flag),
    }  # fmt: skip


TARGETS = (
    *("system", "popen", "mkdir", "run", "check_output", "exec"),
    *("eval", "open", "io_open", "touch", "copy", "savetxt"),
    *("torch_save", "torch_load", "joblib", "pickle", "h5py", "collect_env"),
    *("hub", "file_handler", "csv_logger", "importlib", "partial", "instantiate"),
    *("get_method", "own_instantiate", "git", "write_json", "write_text", "write_text_by_text"),
    *("embedded_folder", "page", "save", "main", "command", "register"),
    *(
        "build",
        "csv_tracker",
        "module_as_target",
        "method_as_target",
        "private",
        "through_a_module",
    ),
)
"""Names of :func:`targets`, known before there is a place."""

INTERPOLATIONS: dict[str, Callable[[Place], str]] = {
    "env": lambda place: f"${{oc.env:{VARIABLE}}}",
    "env_escaped": lambda place: f"\\${{oc.env:{VARIABLE}}}",
    "env_twice_escaped": lambda place: f"\\\\\\${{oc.env:{VARIABLE}}}",
    "env_within": lambda place: f"a-${{oc.env:{VARIABLE}}}-b",
    "env_home": lambda place: "${oc.env:HOME}",
    "decode": lambda place: f"${{oc.decode:${{oc.env:{VARIABLE}}}}}",
    "create": lambda place: (
        f"${{oc.create:{{_target_: torch.utils.collect_env.run, command: 'touch {place.flag}'}}}}"
    ),
    "create_escaped": lambda place: (
        f"\\${{oc.create:{{_target_: torch.utils.collect_env.run, command: 'touch {place.flag}'}}}}"
    ),
    "create_copy": lambda place: (
        f"${{oc.create:{{_target_: shutil.copy, src: {place.secret}, dst: {place.flag}}}}}"
    ),
    "hydra": lambda place: "${hydra:runtime.cwd}",
    "now": lambda place: "${now:%Y}",
    "loop": lambda place: "${model.name}${model.name}",
    "unknown": lambda place: "${nothing.of.the.kind}",
    "broken": lambda place: "${oc.env:",
}
"""Interpolations, each the text that stands in a configuration."""
