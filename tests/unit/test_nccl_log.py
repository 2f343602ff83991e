"""Raw nccl-tests logs as measured rows, and what is wrong in one said at its line."""

import numpy as np
import pytest

from analysis.calibrate.nccl_log import read
from models.errors import InputError

HEAD = """# Collective test starting: {name}
# nThread 1 nGpus 1 minBytes 1024 maxBytes 4096 step: 2(factor) warmup iters: 5 iters: 20 agg iters: 1 validation: 1
#
# Using devices
"""
TITLE = """#
#                                                              out-of-place                       in-place
#       size         count      type   redop    root     time   algbw   busbw  #wrong     time   algbw   busbw  #wrong
#        (B)    (elements)                               (us)  (GB/s)  (GB/s)             (us)  (GB/s)  (GB/s)
"""
LINE = "  {size:10d}  {count:10d}      half     sum      -1  " + 2 * "{time:>8}    1.00    1.00       0  "


def ranks(hosts, each, device="NVIDIA H100 80GB HBM3"):
    return "".join(
        f"#  Rank {h * each + g:2d} Group  0 Pid {100 + g} on node{h} device  {g} [0000:1{g}:00] {device}\n"
        for h in range(hosts)
        for g in range(each)
    )


def log(name="alltoall_perf", hosts=1, each=8, times=("7.81", "8.10"), device="NVIDIA H100 80GB HBM3"):
    lines = "".join(
        LINE.format(size=1024 << i, count=512 << i, time=time).rstrip() + "\n" for i, time in enumerate(times)
    )
    return HEAD.format(name=name) + ranks(hosts, each, device) + TITLE + lines + "# Out of bounds values : 0 OK\n#\n"


@pytest.fixture
def write(tmp_path):
    def file(text):
        path = tmp_path / "run.log"
        path.write_text(text)
        return path

    return file


def test_a_log_becomes_rows(write):
    table = read(write("NCCL version 2.28.7+cuda12.9\n" + log()))
    assert table["collective"].tolist() == ["alltoall"] * 2
    assert table["dtype"].tolist() == ["half"] * 2
    assert (table["num_gpus"] == 8).all()
    assert (table["nodes"] == 1).all()
    assert table["bytes"].tolist() == [1024, 2048]
    np.testing.assert_allclose(table["time_us"], [7.81, 8.10])
    assert set(table["system"]) == {"h100_sxm"}


def test_several_runs_in_one_file_keep_their_ranks_and_nodes(write):
    text = log("all_reduce_perf", hosts=2, each=4) + log("sendrecv_perf", each=2, device="NVIDIA A100-SXM4-80GB")
    table = read(write(text))
    assert table["collective"].tolist() == ["all_reduce"] * 2 + ["sendrecv"] * 2
    assert table["num_gpus"].tolist() == [8, 8, 2, 2]
    assert table["nodes"].tolist() == [2, 2, 1, 1]
    assert table["system"].tolist() == ["h100_sxm"] * 2 + ["a100_sxm"] * 2


def test_older_logs_name_the_collective_in_the_command_line(write):
    text = "+ mpirun -np 8 ./build/all_gather_perf -b 1K -e 4K -f 2\n" + log("").replace("# Collective test", "#")
    assert set(read(write(text))["collective"]) == {"all_gather"}


def test_lines_that_mpirun_tagged(write):
    text = "".join(f"[1,0]<stdout>:{line}\n" for line in log().splitlines())
    assert read(write(text))["bytes"].tolist() == [1024, 2048]


def test_a_csv_is_no_log(write):
    assert read(write("collective,num_gpus,bytes,dtype,time_us\nalltoall,8,1024,half,7.8\n")) is None


def problems(path):
    with pytest.raises(InputError) as caught:
        read(path)
    return [(problem.line, problem.message) for problem in caught.value.problems]


def test_faults_are_told_with_their_lines(write):
    text = log(times=("7.81", "abc"))
    ((line, message),) = problems(write(text))
    assert text.splitlines()[line - 1].split()[5] == "abc"
    assert "is not a number" in message


def test_a_cut_line_and_wrong_values(write):
    text = log().replace("1.00       0\n", "1.00\n", 1).replace("1.00       0  ", "1.00       3  ")
    messages = [message for _, message in problems(write(text))]
    assert any("12 fields" in message for message in messages)
    assert any("3 wrong values" in message for message in messages)


def test_what_the_rows_belong_to_must_be_there(write):
    without_ranks = (
        HEAD.format(name="alltoall_perf") + TITLE + 3 * (LINE.format(size=1024, count=512, time="7.8") + "\n")
    )
    assert ["number of GPUs" in message for _, message in problems(write(without_ranks))] == [True]
    unnamed = log("").replace("# Collective test starting: ", "#")
    assert any("names the collective" in message for _, message in problems(write(unnamed)))
    ((_, message),) = problems(write(log("broadcast_perf")))
    assert "'broadcast' is not modelled" in message
    assert any("without measured lines" in message for _, message in problems(write(log(times=()))))
