"""Sources of expert choices: their distributions, their files, and what they say of wrong ones."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from models.errors import InputError
from models.mix import mix
from models.routing.draws import alias, draw, drawn_scores, inclusion, weights_for
from models.routing.formulas import Balanced, Hot, hot_from_text
from models.routing.groups import draw_in_groups
from models.routing.measured import Counts, Trace
from models.routing.popularity import Dirichlet, LogNormal, Popularity, Zipf
from models.routing.source import Source
from sim.scenario.moe import Moe
from sim.scenario.moe_sources import source_of

TRACES = Path(__file__).parents[2] / "scenarios" / "traces"
SOURCES = ("balanced", "hot", "zipf", "log_normal", "dirichlet", "counts", "trace")


def rng(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


def tokens(*numbers: int) -> np.ndarray:
    return np.array(numbers, dtype=np.int64)


def shares(choices: np.ndarray, experts: int) -> np.ndarray:
    return np.bincount(choices.ravel(), minlength=experts) / choices.size


def distinct(choices: np.ndarray) -> bool:
    return bool((np.diff(np.sort(choices, axis=1), axis=1) > 0).all())


def every_source() -> list[Source]:
    return [
        Balanced(64, 6),
        Hot(64, 6, 0.3, 16),
        Zipf(64, 6, 5, 1.0),
        LogNormal(64, 6, 5, 1.0),
        Dirichlet(64, 6, 5, 0.3),
        Counts.read(TRACES / "deepseek_v2_lite_law_counts.csv", 64, 6),
        Trace.read(TRACES / "deepseek_v2_lite_law.csv.gz", 64, 6),
    ]


@pytest.mark.parametrize("source", every_source(), ids=SOURCES)
def test_choices_and_scores_of_every_source(source: Source) -> None:
    ask = tokens(300, 0, 17)
    choices = source.choices(ask, 2, 1, rng())
    assert choices.shape == (317, 6)
    assert choices.dtype == np.int32
    assert distinct(choices)
    assert set(np.unique(choices)) <= set(range(64))
    assert np.array_equal(choices, source.choices(ask, 2, 1, rng()))
    scores = source.scores(ask, 2, 1, rng())
    assert scores.shape == (317, 64)
    assert scores.min() > 0
    assert np.allclose(scores.sum(axis=1), 1, atol=1e-4)
    assert source.choices(tokens(0, 0), 0, 0, rng()).shape == (0, 6)


@pytest.mark.parametrize("source", every_source(), ids=SOURCES)
def test_the_largest_scores_are_distributed_as_the_choices(source: Source) -> None:
    ask = tokens(4000, 4000)
    chosen = shares(source.choices(ask, 0, 0, rng()), 64)
    best = np.argsort(-source.scores(ask, 0, 0, rng(2)), axis=1)[:, :6]
    assert np.abs(shares(best, 64) - chosen).max() < 0.006


@pytest.mark.parametrize("source", [every_source()[0], every_source()[1], every_source()[6]])
def test_given_choices_are_the_top_k_of_their_scores(source: Source) -> None:
    ask = tokens(64, 64)
    best = np.argsort(-source.scores(ask, 1, 1, rng()), axis=1, kind="stable")[:, :6]
    assert np.array_equal(best, source.choices(ask, 1, 1, rng()))


def test_hot_generator_by_hand() -> None:
    """5 tokens, 40 % of them on 2 of 6 experts: the first two; the others go round experts 2..5 from (i + k) mod 4."""
    choices = Hot(6, 3, 0.4, 2).choices(tokens(5, 5), 0, 0, rng())
    expected = [[0, 1, 0], [0, 1, 0], [4, 5, 2], [5, 2, 3], [2, 3, 4]]
    assert choices.tolist() == expected * 2


def test_hot_share_of_the_first_gpu() -> None:
    """R + (1 - R) (N/P - h) / (N - h) of the copies are for the experts of GPU 0."""
    choices = hot_from_text("30:4", 128, 4, 8).choices(np.full(8, 32768), 0, 0, rng())
    assert (choices < 16).mean() == pytest.approx(0.3 + 0.7 * 12 / 124, abs=1e-4)
    assert hot_from_text("50:local", 128, 4, 8).hot == 16
    assert hot_from_text("balanced", 128, 4, 8).hot == 0
    assert Hot(128, 4, 0.3, 1).notes() == ["a token of the hot share has up to 4 copies at one of the hot experts"]


def test_balanced_is_balanced() -> None:
    assert len(set(np.bincount(Balanced(32, 4).choices(tokens(64), 0, 0, rng()).ravel()).tolist())) == 1


@pytest.mark.parametrize("text", ["30", "30:", "x:4", "130:4", "30:0", "30:-1", "30:128"])
def test_wrong_skews(text: str) -> None:
    with pytest.raises(InputError):
        hot_from_text(text, 128, 4, 8)


def test_draws_follow_successive_sampling() -> None:
    """Of weights 4, 2, 1, 1: the first draw is proportional; a pair's chance is computed by hand."""
    weights = np.array([4.0, 2.0, 1.0, 1.0])
    choices = draw(weights, 400_000, 2, np.uint64(9))
    assert np.abs(shares(choices[:, :1], 4) - weights / 8).max() < 0.004
    both = np.sort(choices, axis=1)
    pair = ((both[:, 0] == 0) & (both[:, 1] == 1)).mean()
    assert pair == pytest.approx(0.5 * 2 / 4 + 0.25 * 4 / 6, abs=0.004)
    assert np.abs(np.bincount(choices.ravel()) / 400_000 - inclusion(weights, 2)).max() < 0.004


def test_draws_of_extreme_weights_are_exact() -> None:
    """All but the two heaviest are drawn by what is left of 1e-9 of the weight, where rejection would not end."""
    weights = np.array([1.0, 1.0, 2e-9, 1e-9])
    choices = draw(weights, 50_000, 3, np.uint64(3))
    assert distinct(choices)
    assert set(np.unique(choices[:, :2]).tolist()) == {0, 1}
    assert (choices[:, 2] == 2).mean() == pytest.approx(2 / 3, abs=0.01)
    assert distinct(draw(np.ones(5), 1000, 5, np.uint64(3)))


def test_scores_have_the_popularity_of_their_weights() -> None:
    weights = np.array([5.0, 3.0, 1.0, 1.0])
    best = drawn_scores(weights, 100_000, np.uint64(4)).argmax(axis=1)
    assert np.abs(np.bincount(best) / 100_000 - weights / 10).max() < 0.006


def test_weights_for_measured_shares() -> None:
    wanted = np.array([0.3, 0.25, 0.2, 0.15, 0.07, 0.03])
    assert np.abs(inclusion(weights_for(wanted, 3), 3) - 3 * wanted).max() < 1e-4
    even = inclusion(wanted, 3) / 3
    assert even[0] < 0.29  # what drawing by the shares themselves would give


@pytest.mark.parametrize("sigma", [0.0, 1.5])
def test_group_limited_choices(sigma: float) -> None:
    """Of 8 groups a token uses 4 at most, those with the best single expert; drawn and by scores alike."""
    source = LogNormal(64, 8, 3, sigma, groups=(8, 4))
    ask = tokens(6000)
    choices = source.choices(ask, 0, 0, rng())
    assert distinct(choices)
    used = np.array([len(set(row)) for row in (choices // 8).tolist()])
    assert used.max() == 4
    assert used.mean() > 3.5
    scores = source.scores(ask, 0, 0, rng(2))
    assert np.allclose(scores.sum(axis=1), 1, atol=1e-4)
    best = np.argsort(-scores, axis=1)[:, :8]
    assert max(len(set(row)) for row in (best // 8).tolist()) == 4
    assert np.abs(shares(best, 64) - shares(choices, 64)).max() < 0.006


def test_group_limited_draws_word_by_word() -> None:
    """Many words ahead or one by one, and with the way through all that are left in between: the same experts."""
    step, mask = 0x9E3779B97F4A7C15, 2**64 - 1
    weights = np.array([50.0, 1, 1, 1, 1e-3, 1e-3, 3, 2, 5, 1, 1e-4, 7])
    threshold, other = (table.tolist() for table in alias.py_func(weights))
    state, expected = int(mix(np.uint64(3))), []
    for _ in range(300):
        row: list[int] = []
        while len(row) < 4:
            groups = {expert // 3 for expert in row}
            free = [e for e in range(12) if e not in row and (len(groups) < 2 or e // 3 in groups)]
            for _ in range(24):
                state = state + step & mask
                word = int(mix(np.uint64(state)))
                cell = (word >> 32) * 12 >> 32
                expert = cell if word & 0xFFFFFFFF <= threshold[cell] else other[cell]
                if expert in free:
                    break
            else:
                state = state + step & mask
                left = (int(mix(np.uint64(state))) >> 11) * 2.0**-53 * sum(weights[e] for e in free)
                for expert in free:
                    left -= weights[expert]
                    if left < 0:
                        break
            row.append(expert)
        expected.append(row)
    assert draw_in_groups(weights, 300, 4, np.uint64(3), 4, 2).tolist() == expected


def test_groups_by_hand() -> None:
    """Two groups of two, one kept: the first draw decides the group, the second is the other expert of it."""
    weights = np.array([4.0, 2.0, 1.0, 1.0])
    choices = draw_in_groups(weights, 100_000, 2, np.uint64(9), 2, 1)
    assert ((choices[:, 0] ^ 1) == choices[:, 1]).all()
    assert np.abs(shares(choices[:, :1], 4) - weights / 8).max() < 0.006
    rare = draw_in_groups(np.array([1.0, 1e-9, 1e-9, 1e-9]), 1000, 2, np.uint64(9), 2, 1)
    assert (np.sort(rare, axis=1) == [0, 1]).all()


@pytest.mark.parametrize("groups", [(3, 1), (8, 0), (8, 9), (8, 1)])
def test_impossible_groups(groups: tuple[int, int]) -> None:
    with pytest.raises(InputError, match="groups"):
        LogNormal(64, 9, 3, 0.0, groups=groups)


def test_the_groups_are_the_models() -> None:
    item = Moe.model_validate({"model": "deepseek-v3", "tokens_per_gpu": 8, "routing": {"kind": "zipf", "exponent": 0}})
    choices = source_of(item, 8, Path, 1).choices(tokens(500), 0, 0, rng())
    assert max(len(set(row)) for row in (choices // 32).tolist()) == 4


@pytest.mark.parametrize("make", [Zipf, LogNormal, Dirichlet])
def test_popularity_by_key_step_and_layer(make: type[Popularity]) -> None:
    source = make(32, 4, 7, 1.0, drift=0.3)  # type: ignore[call-arg]
    late = source.weights(20, 1)
    assert not np.array_equal(source.weights(20, 0), late)
    again = make(32, 4, 7, 1.0, drift=0.3)  # type: ignore[call-arg]
    assert np.array_equal(again.weights(3, 1), source.weights(3, 1))  # asked for after step 20
    assert np.array_equal(again.weights(20, 1), late)
    assert not np.array_equal(make(32, 4, 8, 1.0).weights(0, 0), make(32, 4, 7, 1.0).weights(0, 0))  # type: ignore[call-arg]
    still = make(32, 4, 7, 1.0)  # type: ignore[call-arg]
    assert np.array_equal(still.weights(0, 0), still.weights(50, 0))


def test_drift_keeps_the_distribution_and_forgets_at_its_rate() -> None:
    source = LogNormal(2000, 4, 3, 1.0, drift=0.2)
    logs = [np.log(source.weights(step, 0)) for step in range(41)]
    assert all(log.std() == pytest.approx(1.0, abs=0.08) for log in logs)
    assert np.corrcoef(logs[0], logs[10])[0, 1] == pytest.approx((1 - 0.04) ** 5, abs=0.06)
    zipf = Zipf(16, 2, 3, 1.0, drift=0.5)
    assert np.allclose(np.sort(zipf.weights(0, 0)), np.sort(zipf.weights(9, 0)))
    assert zipf.weights(0, 0).tolist() != zipf.weights(9, 0).tolist()


def test_counts_are_reproduced() -> None:
    """Layer 24 of the law task: one expert with 6.9 times the mean."""
    source = Counts.read(TRACES / "deepseek_v2_lite_law_counts.csv", 64, 6, layers=[24])
    assert source.shares[24].max() * 64 == pytest.approx(6.87, abs=0.01)
    choices = source.choices(np.full(8, 8192), 0, 0, rng())
    assert np.abs(shares(choices, 64) - source.shares[24]).max() < 8e-4
    assert "independently" in source.notes()[0]


def test_drift_of_counts_trades_the_measured_shares() -> None:
    source = Counts.read(TRACES / "deepseek_v2_lite_law_counts.csv", 64, 6, drift=0.5, key=3)
    first, later = source.weights(0, 0), source.weights(5, 0)
    assert np.array_equal(np.sort(first), np.sort(later))
    assert not np.array_equal(first, later)


def test_counts_of_one_model_and_domain_out_of_many() -> None:
    file = TRACES / "olmoe_mixtral_counts.csv.gz"
    source = Counts.read(file, 64, 8, model="OLMoE-1B-7B-0924", domain="arxiv", blocks=range(16))
    assert source.layers == [0] * 7 + [7] * 8 + [15]
    assert any("0, 7, 15" in note for note in source.notes())
    assert max(share.max() * 64 for share in source.shares.values()) == pytest.approx(7.8, abs=0.05)
    with pytest.raises(InputError, match="several of domain: choose one") as error:
        Counts.read(file, 64, 8, model="OLMoE-1B-7B-0924")
    assert len(error.value.problems) == 1
    with pytest.raises(InputError, match="no domain 'arxiw'; did you mean 'arxiv'"):
        Counts.read(file, 64, 8, model="OLMoE-1B-7B-0924", domain="arxiw")
    with pytest.raises(InputError, match=r"expert 8 is unknown; the model has 0\.\.7"):
        Counts.read(file, 8, 2, model="OLMoE-1B-7B-0924", domain="arxiv")


TRACE = """layer,sequence,position,e0,e1
1,0,0,3,1
1,0,1,2,0
1,1,0,1,2
1,1,1,0,3
1,1,2,0,1
4,0,0,3,0
4,0,1,3,1
4,1,0,3,2
4,1,1,2,1
4,1,2,2,0
"""


def trace(folder: Path, text: str = TRACE, top_k: int = 2, layers: list[int] | None = None) -> Trace:
    file = folder / "trace.csv"
    file.write_text(text)
    return Trace.read(file, 4, top_k, layers, shown="trace.csv")


def test_trace_is_split_by_sequence_and_goes_on_from_step_to_step(tmp_path: Path) -> None:
    source = trace(tmp_path)
    assert source.tokens == 5
    first = source.choices(tokens(2, 2), 0, 0, rng())
    assert first.tolist() == [[3, 1], [2, 0], [1, 2], [0, 3]]
    assert source.notes() == []
    second = source.choices(tokens(2, 2), 1, 1, rng())
    assert second.tolist() == [[3, 0], [3, 1], [2, 0], [3, 2]]
    assert source.notes() == ["the trace was repeated: some rank went through its part 2 times"]
    many = source.choices(tokens(1, 1, 1), 0, 0, rng())  # three ranks, two sequences
    assert many.tolist() == [[3, 1], [3, 1], [1, 2]]


def test_layers_of_a_trace(tmp_path: Path) -> None:
    assert trace(tmp_path, layers=[4]).choices(tokens(1), 0, 0, rng()).tolist() == [[3, 0]]
    with pytest.raises(InputError, match=r"trace.csv: has no layer 2; its layers are 1, 4"):
        trace(tmp_path, layers=[1, 2])
    with pytest.raises(InputError, match=r"trace.csv: layer 2 with experts is asked for; it has 2 \(1, 4\)"):
        trace(tmp_path).choices(tokens(1), 0, 2, rng())


FAULTS = {
    "unknown expert": (("1,0,1,2,0", "1,0,1,4,0"), "trace.csv:3:7: e0: expert 4 is unknown; the model has 0..3"),
    "negative": (("1,0,1,2,0", "1,0,1,2, -1"), "trace.csv:3:10: e1: -1 is negative"),
    "twice": (("1,0,1,2,0", "1,0,1,2,2"), "trace.csv:3:7: e0: the token has an expert twice"),
    "no number": (("1,0,1,2,0", "1,0,1,two,0"), "trace.csv:3:7: e0: 'two' is not a whole number"),
    "a fraction": (("1,0,1,2,0", "1,0,1,2.0,0"), "trace.csv:3:7: e0: '2.0' is not a whole number"),
    "short row": (("1,0,1,2,0", "1,0,1,2"), "trace.csv:3:1: 4 cells, but the header has 5"),
    "token twice": (("1,0,1,2,0", "1,0,0,2,0"), "trace.csv:3:5: position: layer 1 has this token twice"),
    "other tokens": (("4,1,2,2,0\n", ""), "trace.csv:7:1: layer: layer 4 has other tokens than the first layer"),
    "header": (("sequence,", "sequenz,"), "trace.csv:1:7: column 'sequence' is due here, not 'sequenz'"),
    "lacks": ((",e0,e1", ""), "trace.csv:1:1: the header lacks e0"),
    "empty": ((TRACE, ""), "trace.csv: is empty; a header is due: layer,sequence,position,e0,e1,..."),
    "no rows": ((TRACE, "layer,sequence,position,e0,e1"), "trace.csv:1:1: no rows under the header"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults_of_traces(name: str, tmp_path: Path) -> None:
    (old, new), expected = FAULTS[name]
    with pytest.raises(InputError) as error:
        trace(tmp_path, TRACE.replace(old, new))
    assert str(error.value).startswith(expected)


def test_wrong_top_k_and_wrong_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"trace.csv:1:1: 2 experts a token in the file; the model chooses 3"):
        trace(tmp_path, top_k=3)
    with pytest.raises(InputError, match="can't be read: No such file"):
        Trace.read(tmp_path / "none.csv", 4, 2)
    broken = tmp_path / "broken.csv.gz"
    broken.write_bytes(gzip.compress(TRACE.encode())[:-9])
    with pytest.raises(InputError, match="is not a whole gzip file"):
        Trace.read(broken, 4, 2)


COUNT_FAULTS = {
    "negative": ("layer,expert_0,expert_1\n1,5,-2\n", "counts.csv:2:5: expert_1: -2 is negative"),
    "experts": ("layer,expert_0\n1,5\n", "counts.csv:1:1: 1 experts in the file; the model has 2"),
    "twice": ("layer,expert_0,expert_1\n1,5,2\n1,5,2\n", "counts.csv:3:1: layer: 1 twice"),
    "none": ("layer,expert_0,expert_1\n1,0,0\n", "counts.csv:2:1: layer 1 has no tokens"),
    "column": (
        "layer,expert_0,expert_2\n1,0,0\n",
        "counts.csv:1:16: column 'expert_1' is due here, not 'expert_2'; did you mean 'expert_1'?",
    ),
    "long": (
        "model,selection,domain,layer,expert,token_count\na,topk,c4,0,0,x\n",
        "counts.csv:2:15: token_count: x is not a whole number",
    ),
    "long negative": (
        "model,selection,domain,layer,expert,token_count\na,topk,c4,0,0,-4\n",
        "counts.csv:2:15: token_count: -4 is negative",
    ),
}


@pytest.mark.parametrize("name", COUNT_FAULTS)
def test_faults_of_counts(name: str, tmp_path: Path) -> None:
    text, expected = COUNT_FAULTS[name]
    file = tmp_path / "counts.csv"
    file.write_text(text)
    with pytest.raises(InputError) as error:
        Counts.read(file, 2, 1, shown="counts.csv")
    assert str(error.value) == expected


def test_counts_that_no_top_k_can_have(tmp_path: Path) -> None:
    file = tmp_path / "counts.csv"
    file.write_text("layer,expert_0,expert_1,expert_2\n0,60,20,20\n")
    with pytest.raises(InputError, match=r"60 of 100 copies at expert 0 is more than one a token at top-2"):
        Counts.read(file, 3, 2)
    assert Counts.read(file, 3, 1).shares[0].tolist() == [0.6, 0.2, 0.2]
