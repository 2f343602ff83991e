"""Admitted demands load the links in packets as they do in fluid: what the validation says, at small size."""

from __future__ import annotations

from validations import admitted_traffic


def test_packets_and_fluid_agree():
    rows = admitted_traffic.run(quick=True).rows
    assert len(rows) == 4
    assert all(row.holds for row in rows), rows
    assert all(row.ours > 0.1 for row in rows)
