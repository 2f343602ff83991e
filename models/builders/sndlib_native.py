"""SNDlib's native format: words and round brackets in sections, # begins a comment.

?SNDlib native format; type: network; version: 1.0
NODES ( <node> [ ( <x> <y> ) [ ( ... ) ( ... ) ] ] ... )
LINKS ( <link> ( <source> <target> ) <installed> <its cost> <routing cost> <setup cost> ( <module> <cost> ... ) ... )
DEMANDS ( <demand> ( <source> <target> ) <routing unit> <value> <longest path | UNLIMITED> ... )
ADMISSIBLE_PATHS ( ... )    META ( ... )
"""

from __future__ import annotations

import re
from typing import NamedTuple

from models.builders.sndlib_network import Demand, Link, Network, look_like_degrees, number
from models.errors import Problems, nearest

_SECTIONS = ("META", "NODES", "LINKS", "DEMANDS", "ADMISSIBLE_PATHS")
_HEADER = re.compile(r"\?SNDlib native format;\s*type:\s*(\w+);\s*version:\s*([\d.]+)\s*")


class _Token(NamedTuple):
    text: str
    line: int
    column: int


class _BrokenError(Exception):
    """The file can't be read on from here."""

    def __init__(self, token: _Token, message: str) -> None:
        super().__init__(message)
        self.token = token


def read_native(text: str, problems: Problems) -> Network:
    """What the file holds; with problems, what was read up to the first of them in its form."""
    network = Network()
    first = text.partition("\n")[0]
    header = _HEADER.fullmatch(first)
    if header is None:
        problems.add(1, "no header; the first line must be '?SNDlib native format; type: network; version: 1.0'")
        return network
    if header.group(1) != "network":
        problems.add(1, f"is a {header.group(1)} file of SNDlib; a network file is due", header.start(1) + 1)
        return network
    reader = _Reader(text, problems)
    try:
        while not reader.at_end():
            reader.section(network)
    except _BrokenError as error:
        problems.add(error.token.line, str(error), error.token.column)
    network.degrees = look_like_degrees(network)
    return network


class _Reader:
    """Reads tokens one by one. Faults of values are noted, faults of form end the reading."""

    def __init__(self, text: str, problems: Problems) -> None:
        self._problems = problems
        self._seen: set[str] = set()
        self._tokens: list[_Token] = []
        lines = text.splitlines()
        for line, content in enumerate(lines[1:], start=2):
            found = re.finditer(r"[()]|[^\s()]+", content.partition("#")[0])
            self._tokens += [_Token(match.group(), line, match.start() + 1) for match in found]
        self._tokens.append(_Token("", len(lines), 1))  # the end
        self._next = 0

    def at_end(self) -> bool:
        return not self._here.text

    def section(self, network: Network) -> None:
        name = self._word("a section")
        if name.text not in _SECTIONS:
            raise _BrokenError(name, f"no section '{name.text}'{nearest(name.text, _SECTIONS)}")
        if name.text in self._seen:
            raise _BrokenError(name, f"the section {name.text} is there twice")
        self._seen.add(name.text)
        if name.text in ("META", "ADMISSIBLE_PATHS"):
            self._skip()
            return
        self._bracket("(", f"after {name.text}")
        while self._here.text != ")":
            if name.text == "NODES":
                self._node(network)
            elif name.text == "LINKS":
                network.links.append(self._link())
            else:
                network.demands.append(self._demand())
        self._bracket(")", f"at the end of {name.text}")

    def _node(self, network: Network) -> None:
        name = self._word("a node")
        place = None
        if self._here.text == "(":
            self._bracket("(", "before the coordinates")
            place = (
                self._number("the x-coordinate", negative=True),
                self._number("the y-coordinate", negative=True),
            )
            self._bracket(")", "after the coordinates")
        while self._here.text == "(":  # designs and options, which are not used
            self._skip()
        if name.text in network.nodes:
            self._problems.add(name.line, f"the node '{name.text}' is there twice", name.column)
        network.nodes[name.text] = place

    def _link(self) -> Link:
        name = self._word("a link")
        src, dst = self._ends(name)
        installed = self._number("the preinstalled capacity")
        for what in ("its cost", "the routing cost", "the setup cost"):
            self._number(what, negative=True)
        self._bracket("(", f"before the modules of link '{name.text}'")
        modules = []
        while self._here.text != ")":
            modules.append(self._number("the capacity of a module"))
            self._number("the cost of a module", negative=True)
        self._bracket(")", f"after the modules of link '{name.text}'")
        return Link(name.text, src, dst, installed, tuple(modules), name.line, name.column)

    def _demand(self) -> Demand:
        name = self._word("a demand")
        src, dst = self._ends(name)
        value = self._number("the routing unit") * self._number("the demand's value")
        if self._here.text == "UNLIMITED":
            self._word("the longest path")
        else:
            self._number("the longest path")
        return Demand(name.text, src, dst, value, name.line, name.column)

    def _ends(self, name: _Token) -> tuple[str, str]:
        self._bracket("(", f"before the ends of '{name.text}'")
        src, dst = self._word("the source"), self._word("the target")
        self._bracket(")", f"after the ends of '{name.text}'")
        return src.text, dst.text

    @property
    def _here(self) -> _Token:
        return self._tokens[self._next]

    def _take(self) -> _Token:
        token = self._here
        self._next += bool(token.text)
        return token

    def _word(self, what: str) -> _Token:
        token = self._take()
        if token.text in ("", "(", ")"):
            raise _BrokenError(token, f"{what} is due here, not {_shown(token)}")
        return token

    def _number(self, what: str, *, negative: bool = False) -> float:
        token = self._word(what)
        try:
            return number(token.text, what, negative=negative)
        except ValueError as error:
            self._problems.add(token.line, str(error), token.column)
            return 1.0

    def _bracket(self, bracket: str, where: str) -> None:
        token = self._take()
        if token.text != bracket:
            raise _BrokenError(token, f"'{bracket}' is due {where}, not {_shown(token)}")

    def _skip(self) -> None:
        """Past a bracket and all in it."""
        begin = self._here
        self._bracket("(", "here")
        depth = 1
        while depth:
            token = self._take()
            if not token.text:
                raise _BrokenError(begin, "this bracket is not closed")
            depth += {"(": 1, ")": -1}.get(token.text, 0)


def _shown(token: _Token) -> str:
    return f"'{token.text}'" if token.text else "the end of the file"
