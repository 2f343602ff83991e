"""Traces of requests: the formats, what they mean, and the shipped samples."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from models import request_lengths, request_traces
from models.errors import InputError

TRACES = Path(__file__).parents[2] / "scenarios" / "traces"


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_plain_times_are_exact_to_the_picosecond(tmp_path: Path) -> None:
    text = "arrival_s,prompt_tokens,output_tokens\n0.000000000001,5,1\n3600.123456789012,7,2\n1e4,9,3\n"
    trace = request_traces.read(written(tmp_path, "a.csv", text))
    assert trace.arrival.tolist() == [1, 3_600_123_456_789_012, 10**16]
    assert trace.prompt.tolist() == [5, 7, 9]
    assert trace.session is None


def test_plain_names_and_hashes(tmp_path: Path) -> None:
    text = """# made by hand
    arrival_s, prompt_tokens, output_tokens, session, tenant, class, prefix_hashes

    0, 64, 9, alice, acme, chat, 4|5
    0, 32, 9, , "big, co", code,
    1, 99, 9, alice, acme, chat, 4|5|6
    """
    trace = request_traces.read(written(tmp_path, "a.csv", "\n".join(map(str.strip, text.splitlines()))))
    assert trace.session is not None
    assert trace.tenant is not None
    assert trace.hashes is not None
    assert trace.session.tolist() == [0, -1, 0]
    assert trace.turn.tolist() == [0, 0, 1]
    assert trace.tenant.tolist() == [0, 1, 0]
    assert trace.kind == ["chat", "code", "chat"]
    assert trace.hashes.tolist() == [4, 5, 4, 5, 6]
    cut = trace.cut(2, None, 1.0)
    assert cut.hash_start is not None
    assert cut.hash_start.tolist() == [2]
    assert cut.arrival.tolist() == [0]  # the clock starts with the first request taken


def test_azure_starts_with_its_first_request(tmp_path: Path) -> None:
    text = (
        "TIMESTAMP,ContextTokens,GeneratedTokens\r\n2024-05-10 00:00:00.009930+00:00,2162,5\r\n2024-05-10 00:00:01,9,0"
    )
    trace = request_traces.read(written(tmp_path, "a.csv", text))
    assert trace.arrival.tolist() == [0, 990_070_000_000]
    assert trace.output.tolist() == [5, 0]  # taken as one token by who replays it


def test_speed_divides_the_times_and_cut_takes_part() -> None:
    whole = request_traces.read(TRACES / "azure_conv.csv.gz")
    part = whole.cut(100, 50, 2.0)
    expected = (whole.arrival[100:150] - whole.arrival[100]) // 2
    assert part.arrival.tolist() == expected.tolist()
    assert part.prompt.tolist() == whole.prompt[100:150].tolist()


def test_the_azure_samples_are_the_published_traces() -> None:
    """Counts and means of the files at Azure/AzurePublicDataset, commit b469a113."""
    for name, rows, prompt, output in (("conv", 19_366, 1154.6974, 211.1259), ("code", 8_819, 2047.8483, 27.8825)):
        trace = request_traces.read(TRACES / f"azure_{name}.csv.gz")
        assert len(trace.arrival) == rows
        assert trace.prompt.mean() == pytest.approx(prompt, abs=1e-4)
        assert trace.output.mean() == pytest.approx(output, abs=1e-4)
        assert 3400 < trace.arrival[-1] / 1e12 < 3600  # one hour
        lengths = [request_lengths.shipped(f"azure_{name}", side).values for side in ("prompt", "output")]
        assert sorted(zip(*(one.tolist() for one in lengths), strict=True)) == sorted(
            zip(trace.prompt.tolist(), trace.output.tolist(), strict=True)
        )


def test_the_mooncake_sample_has_a_hash_for_every_512_tokens() -> None:
    trace = request_traces.read(TRACES / "mooncake_conversation.jsonl.gz")
    assert len(trace.arrival) == 1000
    assert trace.hash_tokens == 512
    assert trace.hashes is not None
    assert trace.hash_count is not None
    assert trace.hash_count.tolist() == (-(-trace.prompt // 512)).tolist()
    shared = 1.0 - len(np.unique(trace.hashes)) / len(trace.hashes)
    assert 0.2 < shared < 0.5  # of the whole trace 36.6 % of the blocks have been there before


def test_packed_and_plain_are_alike(tmp_path: Path) -> None:
    packed = TRACES / "mooncake_conversation.jsonl.gz"
    plain = tmp_path / "a.jsonl"
    plain.write_bytes(gzip.decompress(packed.read_bytes()))
    one, other = request_traces.read(packed), request_traces.read(plain, "mooncake")
    assert one.arrival.tolist() == other.arrival.tolist()


@pytest.mark.parametrize("name", ["requests.parquet", "requests.csv"])
def test_a_table_of_results_is_a_trace(name: str, tmp_path: Path) -> None:
    times = [0, 1, 4_999_999_999_999_999_999]  # ps, more than a float of seconds holds
    table = pd.DataFrame(
        {
            "id": [0, 1, 2],
            "arrival_s": [time / 1e12 for time in times],
            "prompt_tokens": [5, 6, 7],
            "output_tokens": [1, 2, 3],
            "status": ["finished", "rejected", "finished"],
            "workload": [0, 0, 0],
            "session": pd.array([3, None, 3], dtype="Int64"),
            "tenant": pd.array([7, 8, 7], dtype="Int64"),
            "class": pd.Categorical(["chat", "chat", "code"]),
            "prefix_hashes": ["1|2", None, "1"],
            "arrival_ps": times,
        }
    )
    path = tmp_path / name
    table.to_parquet(path) if path.suffix == ".parquet" else table.to_csv(path, index=False)
    trace = request_traces.read(path)
    assert trace.arrival.tolist() == times
    assert trace.session is not None
    assert trace.tenant is not None
    assert trace.hash_count is not None
    assert trace.session.tolist() == [3, -1, 3]  # numbers stay: affinity goes by them
    assert trace.tenant.tolist() == [7, 8, 7]
    assert trace.kind == ["chat", "chat", "code"]
    assert trace.hash_count.tolist() == [2, 0, 1]


WRONG = {
    "empty.csv": ("", "is empty; a header is due: arrival_s,prompt_tokens,output_tokens"),
    "no_row.csv": ("arrival_s,prompt_tokens,output_tokens\n", "holds no requests"),
    "huge.csv": ("arrival_s,prompt_tokens,output_tokens\n1e99,1,1\n", "arrival_s: '1e99' is not a number of seconds"),
    "long.csv": (f"arrival_s,prompt_tokens,output_tokens\n1,{'9' * 5000},1\n", "prompt_tokens: '999"),
    "quote.csv": ('arrival_s,prompt_tokens,output_tokens\n1,"2,3\n', "a quote is not closed"),
    "bare.jsonl": ("{\n", "not JSON: Expecting property name"),
    "list.jsonl": ('{"timestamp": true, "input_length": 1, "output_length": 1}', "timestamp: a number of ms is due"),
    "no.parquet": ("PAR1", "can't be read as Parquet"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_files(name: str, tmp_path: Path) -> None:
    text, message = WRONG[name]
    with pytest.raises(InputError) as caught:
        request_traces.read(written(tmp_path, name, text))
    assert message in str(caught.value)
    assert str(tmp_path / name) in str(caught.value)


def test_faults_of_one_kind_are_listed_twenty_times(tmp_path: Path) -> None:
    rows = "".join(f"{number},0,1\n" for number in range(500))
    with pytest.raises(InputError) as caught:
        request_traces.read(written(tmp_path, "a.csv", "arrival_s,prompt_tokens,output_tokens\n" + rows))
    assert len(caught.value.problems) == 21
    assert caught.value.problems[-1].message == "prompt_tokens: so it goes on, 480 faults more"
