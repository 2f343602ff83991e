"""``Experiment``: a scenario and its axes, checked as a whole, and the points and cells that they span."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice, product
from pathlib import Path
from typing import Any

from models.errors import InputError, Problem
from sim.scenario.fabric import prepare
from sim.scenario.load import Loaded, Text, load
from sim.scenario.overrides import split
from sim.sweep.axes import Axis, Value, parse_axes, parse_axis
from sim.sweep.cells import Cell, Point, Source, absolute, digest_of, digest_of_unloadable, with_seed
from sim.sweep.sample import Sample, draw

Values = tuple[Value, ...]  # one of each axis
_TRIES = 64  # combinations tried in search of one that can be loaded


class Experiment:
    """InputError for every value that is wrong wherever it is used, and for what is wrong at every point.

    A combination of values that are right in others is no error: its cells fail, and the others run. Points are in
    order of the axes, the first one slowest, and of the variants within.
    """

    def __init__(
        self,
        scenario: str | Path | Text,
        axes: Sequence[Axis] = (),
        sets: Sequence[str] = (),
        seed: int | str | None = None,
        plugins: Sequence[str] = (),
        sample: Sample | None = None,
    ) -> None:
        text = isinstance(scenario, Text)
        self._given = (scenario if text else str(scenario), tuple(sets), seed, tuple(plugins))
        self._source = Source(scenario if text else absolute(scenario), tuple(sets), tuple(map(absolute, plugins)))
        self._loaded: dict[tuple[str | None, tuple[str, ...]], Loaded] = {}
        found = self._some(axes)
        # where nothing can be loaded, fractions would only add noise to its problems
        whole = [found is None or _takes_whole(found, axis.key) for axis in axes]
        self.axes = [axis.resolve(is_whole) for axis, is_whole in zip(axes, whole, strict=True)]
        if sample is None:
            combinations = list(product(*(axis.values for axis in self.axes)))
        else:
            combinations = draw(self.axes, whole, sample, found.scenario.seed if found is not None else 0)
        self._check(combinations)
        one = next(iter(self._loaded.values()))
        self.name, self.seed = one.scenario.name, one.scenario.seed
        variants = list(dict.fromkeys(variant for variant, _ in self._loaded))
        short = _short_names([axis.key for axis in self.axes])
        self.points = [self._point(variant, values, short) for values in combinations for variant in variants]

    def again(self, axes: Sequence[Axis]) -> Experiment:
        """The same scenario over other axes."""
        return Experiment(*self._given[:1], axes, *self._given[1:])

    def cells(self, points: Sequence[Point] | None = None, seeds: Sequence[int] | None = None) -> list[Cell]:
        """The cells of ``points`` (all) on ``seeds`` (the scenario's own), seeds fastest."""
        wanted = self.points if points is None else points
        return [self._cell(point, seed) for point in wanted for seed in (seeds or [self.seed])]

    def _load(
        self, values: Sequence[Value], axes: Sequence[Axis], variant: str | None = None
    ) -> list[Loaded] | InputError:
        scenario, sets, seed, plugins = self._given
        varied = [(axis.key, value.text) for axis, value in zip(axes, values, strict=True)]
        try:
            return load(scenario, sets, seed, plugins, varied, variant)
        except InputError as error:
            return error

    def _some(self, axes: Sequence[Axis]) -> Loaded | None:
        """A point that can be loaded, to see what the keys take."""
        lists = [axis.values if axis.span is None else (axis.first(),) for axis in axes]
        for values in islice(product(*lists), _TRIES):
            result = self._load(values, axes)
            if isinstance(result, list):
                return result[0]
        return None

    def _check(self, combinations: Sequence[Values]) -> None:
        """Load every point, and see that there is one whose fabric and workload fit each other."""
        failed: list[tuple[str | None, Values, InputError]] = []
        for values in combinations:
            result = self._load(values, self.axes)
            texts = tuple(value.text for value in values)
            if isinstance(result, list):
                self._loaded |= {(one.variant, texts): one for one in result}
                continue
            failed.append((None, values, result))
        variants = list(dict.fromkeys(variant for variant, _ in self._loaded))
        if not variants:
            raise InputError(problem for *_, error in failed for problem in error.problems)
        if variants != [None]:
            failed = self._by_variant(failed, variants)
        self._raise_wrong(failed)
        seeds = {one.scenario.seed for one in self._loaded.values()}
        if len(seeds) > 1:
            message = "variants set different seeds, but a sweep runs all its points on the same seeds"
            raise InputError([Problem(str(next(iter(self._loaded.values())).file), 0, 0, message)])
        self._fits()

    def _by_variant(
        self, failed: Sequence[tuple[str | None, Values, InputError]], variants: Sequence[str | None]
    ) -> list[tuple[str | None, Values, InputError]]:
        """Which variants fail at the points where some do."""
        result: list[tuple[str | None, Values, InputError]] = []
        for _, values, whole in failed:
            for variant in variants:
                alone = self._load(values, self.axes, variant)
                if isinstance(alone, list):
                    self._loaded[variant, tuple(value.text for value in values)] = alone[0]
                else:
                    result.append((variant, values, whole))
        return result

    def _raise_wrong(self, failed: Iterable[tuple[str | None, Values, InputError]]) -> None:
        """InputError unless each value and each variant works somewhere."""
        works: set[tuple[int, str | None]] = set()
        for variant, texts in self._loaded:
            works |= {(-1, variant), *enumerate(texts)}
        problems: list[Problem] = []
        for variant, values, error in failed:
            used = {(-1, variant), *enumerate(value.text for value in values)}
            problems += [] if used <= works else error.problems
        if problems:
            raise InputError(problems)

    def _fits(self) -> None:
        problems: list[Problem] = []
        for one in self._loaded.values():
            try:
                prepare([one])
                return
            except InputError as error:
                problems += error.problems
            finally:
                one.built.clear()  # large, and workers build their own
        raise InputError(problems)

    def _point(self, variant: str | None, values: Values, short: Mapping[str, str]) -> Point:
        pairs = list(zip(self.axes, values, strict=True))
        words = [variant] if variant else []
        words += [f"{short[axis.key]}={value.text}" for axis, value in pairs]
        texts = {axis.key: value.text for axis, value in pairs}
        numbers = {axis.key: value.number for axis, value in pairs}
        return Point(variant, texts, numbers, ", ".join(words))

    def _cell(self, point: Point, seed: int) -> Cell:
        loaded = self._loaded.get((point.variant, tuple(point.values.values())))
        if loaded is None:
            name = digest_of_unloadable(self._source, point, seed)
        else:
            name = digest_of(with_seed(loaded, seed))
        return Cell(name, self.name, point, seed, self._source)


def read_experiment(
    scenario: str | Path | Text,
    vary: Sequence[str] = (),
    sets: Sequence[str] = (),
    seed: int | str | None = None,
    plugins: Sequence[str] = (),
    sample: Sample | None = None,
) -> Experiment:
    """An experiment from the texts of its axes. InputError with what is wrong with these and with the scenario."""
    try:
        axes = parse_axes(vary, sample is not None)
    except InputError as error:
        problems = list(error.problems)
        try:
            Experiment(scenario, _sound(vary), sets, seed, plugins)
        except InputError as more:
            problems += more.problems
        raise InputError(problems) from None
    return Experiment(scenario, axes, sets, seed, plugins, sample)


def _sound(vary: Sequence[str]) -> list[Axis]:
    """The axes that can be read, each key once."""
    axes: dict[str, Axis] = {}
    for text in vary:
        try:
            axis = parse_axis(text)
        except InputError:
            continue
        axes.setdefault(axis.key, axis)
    return list(axes.values())


def _takes_whole(loaded: Loaded, key: str) -> bool:
    """Whether a key's value is a whole number without a unit, as the effective scenario shows it."""
    node: Any = loaded.effective
    for step in split(key):
        try:
            node = node[step if isinstance(node, list) else str(step)]
        except (KeyError, IndexError, TypeError):
            return False
    return isinstance(node, int) and not isinstance(node, bool)


def _short_names(keys: Sequence[str]) -> dict[str, str]:
    """The last step of each key; where two end alike, all of them whole."""
    last = [key.rsplit(".", 1)[-1] for key in keys]
    return {key: name if last.count(name) == 1 else key for key, name in zip(keys, last, strict=True)}
