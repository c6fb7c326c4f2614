"""Say what a run is asked for, and keep that in the run folder, so that it can be asked again."""

from __future__ import annotations

import dataclasses
import json
import shlex
from dataclasses import dataclass
from pathlib import Path

from cosim.ir.errors import UserError
from cosim.ir.write import write_file

REQUEST_FILE = "run.json"
DEFAULT_RECIPES = ("w8a8", "w4a8", "w4a4", "w4a4-rtn")


@dataclass(frozen=True)
class Request:
    """Hold the questions of a run; paths are text, so that the request can be stored.

    `window` is the length in tokens after which scoring starts anew; `verify_threads` are the
    numbers of threads to compare with; `prompt` empty: write nothing; `machine` None: no cycles
    and no energy; `sweep` is the folder of one whose front the page shows, `validation` asks for
    the published accelerators there.
    """

    model: str
    recipes: tuple[str, ...] = DEFAULT_RECIPES
    machine: str | None = "u280"
    text: str | None = None
    calibration: str | None = None
    window: int = 512
    score_tokens: int = 32768
    calibration_windows: int = 64
    verify_tokens: int = 512
    verify_threads: tuple[int, ...] = (1, 2)
    prompt: str = ""
    write_tokens: int = 120
    device: str = "cpu"
    sweep: str | None = None
    validation: bool = False

    def __post_init__(self) -> None:
        """Refuse what no run can answer."""
        if len(set(self.recipes)) != len(self.recipes) or not self.recipes:
            raise UserError(f"recipes {', '.join(self.recipes)}: name each once, at least one")
        if self.window < 2:
            raise UserError(f"a window of {self.window} tokens: scoring needs at least 2")

    def command(self, out: Path) -> str:
        """Print the command line that asks for the same."""
        words = ["cosim", "walk", self.model]
        for recipe in self.recipes:
            words += ["--recipe", recipe]
        defaults = Request(self.model)
        options = {
            "--machine": "machine",
            "--text": "text",
            "--calibration": "calibration",
            "--window": "window",
            "--score-tokens": "score_tokens",
            "--calibration-windows": "calibration_windows",
            "--verify-tokens": "verify_tokens",
            "--threads": "verify_threads",
            "--prompt": "prompt",
            "--tokens": "write_tokens",
            "--device": "device",
            "--sweep": "sweep",
            "--validation": "validation",
        }
        for option, name in options.items():
            value = getattr(self, name)
            if value != getattr(defaults, name):
                words += [option] if value is True else [option, _word(value)]
        return shlex.join([*words, "-o", str(out)])

    def save(self, folder: Path) -> None:
        """Write the request into a run folder."""
        write_file(folder / REQUEST_FILE, json.dumps(dataclasses.asdict(self), indent=1) + "\n")


def _word(value: object) -> str:
    if value is None:
        return "none"
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def load_request(folder: Path) -> Request:
    """Read the request of a run folder; raise UserError if it is none."""
    from pydantic import TypeAdapter, ValidationError

    path = Path(folder) / REQUEST_FILE
    try:
        return TypeAdapter(Request).validate_python(json.loads(path.read_text(encoding="utf-8")))
    except OSError:
        raise UserError(
            f"{folder} is no run folder: it has no {REQUEST_FILE}; make one with `cosim walk`"
        ) from None
    except (ValueError, RecursionError, ValidationError) as error:
        raise UserError(f"{path} is damaged ({str(error).splitlines()[0]}); walk again") from None
