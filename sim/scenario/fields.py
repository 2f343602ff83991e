"""What the scenario's models are made of: a strict base, keys with unit and source, words, lists, one-of-many choices.

Messages made here are whole sentences for the user; ``messages.py`` puts the position before them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Self, Union

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, PrivateAttr, Tag
from pydantic_core import PydanticCustomError

from models.errors import nearest

CONVENTION = "convention of this program"
ETHEREAL = "set-up of Ethereal (Addanki et al. 2024)"
LATER = "not in this version"


class Section(BaseModel):
    """A mapping of the scenario. Unknown keys are errors, types are exact, values can't change.

    ``later`` names keys that are planned: they get their own message. ``elsewhere``: keys that stand in another place.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
    later: ClassVar[tuple[str, ...]] = ()
    elsewhere: ClassVar[dict[str, str]] = {}
    _reasons: dict[str, str] = PrivateAttr(default_factory=dict)  # of values that neither the user nor a default gave

    def with_values(self, values: dict[str, Any], reason: str) -> Self:
        """A copy with other values, of which `check` tells the reason."""
        copy = self.model_copy(update=values)
        copy._reasons = {**self._reasons, **dict.fromkeys(values, reason)}
        return copy

    def reason(self, name: str) -> str | None:
        """Why a value is what it is, if it follows from others."""
        return self._reasons.get(name)

    def idle(self) -> set[str]:
        """Keys that mean nothing under this section's choices; they are left out of the effective scenario."""
        return set()

    def word(self) -> str | None:
        """The bare word that may stand for this whole mapping, or None."""
        return None


def key(default: Any = ..., says: str = "", source: str = CONVENTION, **limits: Any) -> Any:
    """A field with its meaning and the source of its default. ``limits`` are pydantic's (gt, ge, le, ...)."""
    return Field(default, description=says, json_schema_extra={"source": source}, **limits)


def fault(message: str, *at: str | int) -> PydanticCustomError:
    """An error at a key below the value that is being checked."""
    return PydanticCustomError("spillway", "{text}", {"text": message, "at": list(at)})


def absent(name: str, message: str) -> PydanticCustomError:
    """An error that a key is missing, shown at the mapping."""
    return fault(f"key '{name}' is missing: {message}" if message else f"key '{name}' is missing")


@dataclass(frozen=True)
class Words:
    """A choice among words. ``later`` are words of the contract that are not built yet."""

    valid: tuple[str, ...]
    later: tuple[str, ...] = ()

    def check(self, value: object) -> object:
        if isinstance(value, str) and value in self.later:
            raise ValueError(f"'{value}' is {LATER}{_valid(self.valid)}")
        if not isinstance(value, str):
            raise ValueError(f"one of {', '.join(self.valid)} is due, not {shown(value)}")
        if value not in self.valid:
            raise ValueError(f"unknown value '{value}'{nearest(value, self.valid)}")
        return value


def words(*valid: str, later: tuple[str, ...] = ()) -> Any:
    """The type of a field that takes one of some words."""
    choice = Words(valid, later)
    return Annotated[Literal[valid], choice, BeforeValidator(choice.check)]


def list_of(inner: Any, what: str, least: int = 0) -> Any:
    """The type of a field that takes a list; held as a tuple."""

    def check(value: object) -> object:
        if not isinstance(value, (list, tuple)):
            raise ValueError(f"a list of {what} is due, not {shown(value)}")
        if len(value) < least:
            raise ValueError(f"the list of {what} needs at least {least} {'entry' if least == 1 else 'entries'}")
        return tuple(value)

    return Annotated[tuple[inner, ...], BeforeValidator(check)]


@dataclass(frozen=True)
class Kinds:
    """A choice among models by their key ``kind``; a bare word may stand for a whole mapping (``bare``)."""

    what: str
    models: dict[str, type[Section]]
    later: tuple[str, ...] = ()
    bare: Callable[[str], dict[str, Any]] | None = None
    fallback: str | None = None  # the kind where none is written
    elsewhere: str | None = None  # what to say of the kinds that are ``later``, if not that

    def check(self, value: object) -> object:
        if isinstance(value, Section):
            return value
        if isinstance(value, str) and self.bare is not None:
            return self.bare(value)
        if not isinstance(value, dict):
            start = f"a mapping with a kind is due for the {self.what}, not {shown(value)}"
            raise fault(f"{start}; kinds: {', '.join(self.models)}")
        kind = value.get("kind", self.fallback)
        if kind is None:
            raise absent("kind", f"the {self.what} is one of {', '.join(self.models)}")
        if not isinstance(kind, str):
            raise fault(f"a kind is a word, not {shown(kind)}; kinds: {', '.join(self.models)}", "kind")
        if kind in self.later:
            raise fault(f"the {self.what} '{kind}' {self.elsewhere or f'is {LATER}'}{_valid(self.models)}", "kind")
        if kind not in self.models:
            raise fault(f"unknown {self.what} {shown(kind)}{nearest(kind, self.models)}", "kind")
        return {**value, "kind": kind}

    def __hash__(self) -> int:
        return id(self)


def _tag(value: Any) -> str:
    """Tags are bracketed so that they can be told from keys in the place of an error."""
    return f"<{value['kind']}>" if isinstance(value, dict) else f"<{value.kind}>"


def one_of(kinds: Kinds) -> Any:
    """The type of a field that takes one of several mappings, told apart by ``kind``."""
    members = tuple(Annotated[model, Tag(f"<{kind}>")] for kind, model in kinds.models.items())
    # a second, unused member keeps the union a union where only one kind exists
    choice = Union[members] if len(members) > 1 else members[0]  # noqa: UP007
    if len(members) == 1:
        return Annotated[choice, kinds, BeforeValidator(kinds.check)]
    return Annotated[choice, Discriminator(_tag), kinds, BeforeValidator(kinds.check)]


def mapping_of(inner: Any, what: str) -> Any:
    """The type of a field that takes a mapping from names to values."""

    def check(value: object) -> object:
        if not isinstance(value, dict):
            raise ValueError(f"a mapping of {what} is due, not {shown(value)}")
        return value

    return Annotated[dict[str, inner], BeforeValidator(check)]


def shown(value: object) -> str:
    """A wrong value for a message: short, in quotes where it is text."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, (list, tuple)):
        return "a list"
    text = f"'{value}'" if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _valid(names: Any) -> str:
    return "; valid: " + ", ".join(names)
