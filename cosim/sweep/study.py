"""Read a study: what to try, what to look for, and how to search; a wrong key is one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from cosim.design.workload import MOST, Phase, Workload
from cosim.ir.errors import UserError
from cosim.sweep.knobs import Value, knob_values
from cosim.sweep.metrics import METRICS, Metric
from cosim.sweep.yaml_lines import Document, dotted, read_yaml

Method = Literal["grid", "random", "tpe", "nsga2"]
Names = Annotated[tuple[str, ...], Field(strict=False)]
MOST_POINTS = 1_000_000


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Load(_Part):
    """Say what the machine does, as `cosim.design.Workload` has it.

    `decode` makes one token after another, `prefill` reads prompts of `tokens`; both of `batch`
    sequences that have seen `context` tokens.
    """

    phase: Phase = "decode"
    tokens: int = Field(default=1, ge=1, le=MOST)
    batch: int = Field(default=1, ge=1, le=MOST)
    context: int = Field(default=0, ge=0, le=MOST)

    @model_validator(mode="after")
    def _prompt(self) -> Load:
        try:
            self.of_design()
        except UserError as error:
            raise ValueError(str(error).removeprefix("workload: ")) from None
        return self

    def of_design(self) -> Workload:
        """Return the workload that designs take."""
        return Workload(self.phase, self.tokens, self.batch, self.context)


class Search(_Part):
    """Say how points are chosen: all, or `points` of them by chance, or led by those before.

    `tpe` and `nsga2` ask for `batch` points at a time, so that the choice does not depend on how
    many workers there are or which is first.
    """

    method: Method = "grid"
    points: int | None = Field(default=None, ge=1, le=MOST_POINTS)
    seed: int = Field(default=0, ge=0, lt=1 << 32)
    batch: int = Field(default=16, ge=1, le=4096)

    @model_validator(mode="after")
    def _number(self) -> Search:
        if self.method == "grid" and self.points is not None:
            raise ValueError("a grid tries all points; remove 'points', or choose method random")
        if self.method != "grid" and self.points is None:
            raise ValueError(f"method {self.method} needs 'points', how many it may try")
        return self


class Study(_Part):
    """Hold a study.

    `models` are published sizes, graph folders or run folders; `budget` is the most that a point
    may have of a figure; `objectives` are figures, at most four, that the front is taken over.
    """

    name: str = Field(default="study", min_length=1)
    models: Names = Field(min_length=1)
    recipes: Names = Field(default=("w4a4",), min_length=1)
    machines: Names = Field(min_length=1)
    knobs: dict[str, tuple[Value, ...]] = Field(default_factory=dict)
    workload: Load = Load()
    objectives: Names = Field(
        default=("tokens_per_s", "energy_uj_per_token"), min_length=1, max_length=4
    )
    search: Search = Search()
    budget: dict[str, float] = Field(default_factory=dict)

    @field_validator("models", "recipes", "machines", "objectives", mode="before")
    @classmethod
    def _list(cls, given: object) -> object:
        listed = [given] if isinstance(given, str) else given
        if isinstance(listed, list):
            if not listed:
                raise ValueError("it is empty, so that the study has no points; list one or more")
            for i, item in enumerate(listed):
                if item in listed[:i]:
                    raise ValueError(f"{item!r} stands twice; remove one")
        return listed

    @field_validator("objectives")
    @classmethod
    def _objectives(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            _known_metric(name)
        return names

    @field_validator("knobs", mode="before")
    @classmethod
    def _knobs(cls, given: object) -> object:
        if not isinstance(given, dict):
            raise ValueError("knobs must be a mapping from names to values")
        found = {}
        for name, values in given.items():
            try:
                found[name] = knob_values(name, values)
            except ValueError as error:
                raise _At(name, str(error)) from None
        return found

    @field_validator("budget", mode="before")
    @classmethod
    def _budget(cls, given: object) -> object:
        if not isinstance(given, dict):
            raise ValueError("budget must be a mapping from figures to numbers")
        for name, most in given.items():
            if _known_metric(name).better == "more":
                raise _At(name, "a budget caps a figure of which less is better; leave it out")
            if isinstance(most, bool) or not isinstance(most, int | float) or not most > 0:
                raise _At(name, f"{most!r} must be a number above 0")
        return {name: float(most) for name, most in given.items()}


class _At(ValueError):
    """Be wrong at one key of a mapping."""

    def __init__(self, key: str, sentence: str) -> None:
        super().__init__(sentence)
        self.key = key


def _known_metric(name: str) -> Metric:
    if name not in METRICS:
        raise ValueError(f"figure {name!r} is unknown; there are {', '.join(METRICS)}")
    return METRICS[name]


def load_study(path: Path) -> Study:
    """Read a study file; raise UserError where it cannot be read or breaks the schema."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise UserError(f"study {path}: {why}; check the path") from None
    return read_study(text, str(path))


def read_study(text: str, where: str) -> Study:
    """Read the text of a study; `where` names it in the sentences."""
    document = read_yaml(text, where)
    if not isinstance(document.value, dict):
        raise UserError(f"{where}: it is no mapping; a study has models, machines and knobs")
    try:
        return Study.model_validate(document.value)
    except ValidationError as error:
        raise _sentence(document, error) from None


def _sentence(document: Document, error: ValidationError) -> UserError:
    # A key that is misspelt is missing too: the misspelling is what helps.
    first = min(error.errors(include_url=False), key=lambda e: e["type"] != "extra_forbidden")
    path = tuple(first["loc"])
    if first["type"] == "extra_forbidden":
        inside = path[:-1]
        known = ", ".join(_part_at(inside).model_fields)
        return document.fault(
            path, f"key {path[-1]!r} is unknown in {dotted(inside)}; it takes {known}"
        )
    if first["type"] == "missing":
        return document.fault(path, f"{dotted(path[:-1])} lacks {path[-1]!r}; add it")
    if first["type"] == "value_error":
        why = first["ctx"]["error"]
        path = (*path, why.key) if isinstance(why, _At) else path
        return document.fault(path, f"{dotted(path)}: {why}")
    got = f", got {first['input']!r}" if isinstance(first["input"], str | int | float) else ""
    return document.fault(path, f"{dotted(path)}: {first['msg'].lower()}{got}")


def _part_at(path: tuple[int | str, ...]) -> type[BaseModel]:
    if path[:1] == ("search",):
        return Search
    return Load if path[:1] == ("workload",) else Study
