"""Read typed values out of a model's config.json, each fault a sentence that names the key."""

from collections.abc import Mapping
from dataclasses import dataclass

from cosim.ir.errors import UserError

MOST = 2**31 - 1  # beyond any model; what is larger is a slip, and would take all memory or time
MOST_LAYERS = 10_000


@dataclass(frozen=True)
class Fields:
    """Hold the keys of one config; `where` is the file's name, for the sentences."""

    values: Mapping[str, object]
    where: str = "config.json"

    def refuse(self, key: str, wanted: str) -> UserError:
        """Return the error for a key whose value the model cannot honour."""
        return UserError(
            f"{self.where}: {key} is {self.values.get(key)!r}, but it must be {wanted}."
            " Correct the file, or convert the model again."
        )

    def integer(self, key: str, default: int, least: int = 1, most: int = MOST) -> int:
        """Return an integer, `least` to `most`; an absent key or null gives the default.

        >>> Fields({"n": 3}).integer("n", 4), Fields({}).integer("n", 4)
        (3, 4)
        """
        value = self.values.get(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise self.refuse(key, f"an integer of at least {least}")
        if value > most:
            raise self.refuse(key, f"at most {most}")
        return value

    def number(self, key: str, default: float) -> float:
        """Return a positive real number; an absent key or null gives the default."""
        value = self.values.get(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.refuse(key, "a number above zero")
        if not 0 < value <= MOST:
            raise self.refuse(key, f"a number above zero, at most {MOST}")
        return float(value)

    def flag(self, key: str, default: bool) -> bool:
        """Return true or false; an absent key or null gives the default."""
        value = self.values.get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.refuse(key, "true or false")
        return value

    def require(self, key: str, allowed: tuple[object, ...], default: object) -> None:
        """Raise UserError unless the key is absent or has one of the values that we implement."""
        value = self.values.get(key)
        if value is not None and value not in allowed:
            raise self.refuse(key, " or ".join(map(repr, allowed)) + f" (default {default!r})")

    def expanded(self, hidden_size: int) -> int:
        """Return the inner width `expand` * hidden_size (default 2), which must come out whole."""
        inner = self.number("expand", 2.0) * hidden_size
        if inner != int(inner):
            raise self.refuse("expand", f"a number that makes {hidden_size} * expand whole")
        return int(inner)


def require_silu(fields: Fields) -> None:
    """Refuse activations other than SiLU, and LayerNorm in the place of RMSNorm."""
    fields.require("hidden_act", ("silu", "swish"), "silu")
    fields.require("rms_norm", (True,), True)
