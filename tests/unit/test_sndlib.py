"""SNDlib's two formats: the same network from both, delays and capacities, and every fault at its place.

The network is our own; the library's are not ours to ship.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.builders import sndlib
from models.errors import InputError

LINK = (10**11, 1000)
NATIVE = """?SNDlib native format; type: network; version: 1.0
# four towns and a drawing of them
META ( granularity = 5min unit = MBITPERSEC )

# <node_id> [(<longitude>, <latitude>)]
NODES (
  Aa ( 0.0 0.0 )
  Bb ( 90.0 0.0 ) () ( )
  Cc ( -1.5 2.5 )   # behind a value
  Dd ( 3.0 -4.0 )
)
LINKS (
  L1 ( Aa Bb ) 622.00 10.0 0.00 0.00 ( 155.00 1.0 )
  L2 ( Bb Cc ) 0.00 0.0 0.00 0.00 ( 155.00 1.0 622.00 2.0 )
  L3 ( Cc Dd ) 2.5 0.0 0.00 0.00 ( )
  L4 ( Aa Bb ) 1 0 0 0 ()
)
DEMANDS (
  D1 ( Aa Cc ) 1 12.50 UNLIMITED
  D2 ( Dd Bb ) 2 3.00 4
  D3 ( Dd Bb ) 1 0.00 UNLIMITED
)
ADMISSIBLE_PATHS (
  D1 ( P0 ( L1 L2 ) P1 ( L4 L2 ) )
)
"""
XML = """<?xml version="1.0" encoding="ISO-8859-1"?>
<network xmlns="http://sndlib.zib.de/network" version="1.0">
 <networkStructure>
  <nodes coordinatesType="geographical">
   <node id="Aa"><coordinates><x>0.0</x><y>0.0</y></coordinates></node>
   <node id="Bb"><coordinates><x>90.0</x><y>0.0</y></coordinates></node>
   <node id="Cc"><coordinates><x>-1.5</x><y>2.5</y></coordinates></node>
   <node id="Dd"><coordinates><x>3.0</x><y>-4.0</y></coordinates></node>
  </nodes>
  <links>
   <link id="L1"><source>Aa</source><target>Bb</target>
    <preInstalledModule><capacity>622.0</capacity><cost>10.0</cost></preInstalledModule>
    <additionalModules><addModule><capacity>155.0</capacity><cost>1.0</cost></addModule></additionalModules>
   </link>
   <link id="L2"><source>Bb</source><target>Cc</target>
    <additionalModules>
     <addModule><capacity>155.0</capacity><cost>1.0</cost></addModule>
     <addModule><capacity>622.0</capacity><cost>2.0</cost></addModule>
    </additionalModules>
   </link>
   <link id="L3"><source>Cc</source><target>Dd</target>
    <preInstalledModule><capacity>2.5</capacity></preInstalledModule>
   </link>
   <link id="L4"><source>Aa</source><target>Bb</target>
    <preInstalledModule><capacity>1</capacity></preInstalledModule>
   </link>
  </links>
 </networkStructure>
 <demands>
  <demand id="D1"><source>Aa</source><target>Cc</target><routingUnit>1</routingUnit><demandValue>12.5</demandValue>
   <admissiblePaths><admissiblePath id="P0"><linkId>L1</linkId><linkId>L2</linkId></admissiblePath></admissiblePaths>
  </demand>
  <demand id="D2"><source>Dd</source><target>Bb</target><routingUnit>2</routingUnit><demandValue>3.0</demandValue>
   <maxPathLength>4</maxPathLength>
  </demand>
  <demand id="D3"><source>Dd</source><target>Bb</target><demandValue>0.0</demandValue></demand>
 </demands>
</network>
"""
BOTH = {"net.txt": NATIVE, "net.xml": XML}


@pytest.mark.parametrize("name", BOTH)
def test_a_network_and_its_demands(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.write_text(BOTH[name])
    topology = sndlib.build(file, LINK, modules=3, hosts_per_node=2)
    assert (topology.kind, topology.hosts) == ("sndlib", 8)
    assert topology.node_name[8:] == ["Aa", "Bb", "Cc", "Dd"]
    assert topology.cable_name[8:] == ["Aa-Bb#0", "Bb-Cc", "Cc-Dd", "Aa-Bb#1"]
    assert topology.link_rate[16:].tolist() == [v for v in (622, 3 * 155, 2.5, 1) for v in (v * 10**6, v * 10**6)]
    quarter = 6371 * np.pi / 2 / 200_000  # s around a quarter of the earth
    assert topology.link_delay[16] == pytest.approx(quarter * 1e12, rel=1e-9)
    assert topology.place["Cc"] == (-1.5, 2.5)
    demands = sndlib.demands(file, topology, unit=10**9, priority=2)
    assert demands.id == ["D1", "D2"]
    assert [topology.node_name[node] for node in (*demands.src, *demands.dst)] == ["Aa", "Dd", "Cc", "Bb"]
    assert demands.bandwidth.tolist() == [12_500_000_000, 6 * 10**9]  # value times routing unit
    assert demands.priority.tolist() == [2, 2]
    assert (demands.delay_bound.tolist(), demands.hold.tolist()) == ([-1, -1], [-1, -1])
    assert demands.problem(1, "bandwidth", "?").line == {"net.txt": 20, "net.xml": 33}[name]


def test_both_formats_say_the_same(tmp_path: Path) -> None:
    for name, text in BOTH.items():
        (tmp_path / name).write_text(text)
    native, xml = (sndlib.build(tmp_path / name, LINK) for name in BOTH)
    assert native.cable_name == xml.cable_name
    assert np.array_equal(native.link_rate, xml.link_rate)
    assert np.array_equal(native.link_delay, xml.link_delay)


def test_places_of_a_drawing_give_no_delays(tmp_path: Path) -> None:
    file = tmp_path / "net.txt"
    file.write_text(NATIVE.replace("90.0 0.0", "900.0 0.0"))
    assert set(sndlib.build(file, LINK, delay=7).link_delay[8:]) == {7}
    file.write_text(XML.replace("geographical", "pixel"))
    topology = sndlib.build(file, LINK, delay=7, hosts_per_node=0)
    assert (topology.hosts, set(topology.link_delay)) == (0, {7})
    file.write_text(NATIVE.replace("Dd ( 3.0 -4.0 )", "Dd"))
    topology = sndlib.build(file, LINK, delay=7)
    assert topology.link_delay[topology.find_links("Cc->Dd")[0]] == 7
    assert topology.link_delay[topology.find_links("Bb->Cc")[0]] > 7


NATIVE_FAULTS = [
    ("?SNDlib native", "SNDlib", (1, 1), "no header; the first line must be '?SNDlib native format"),
    ("type: network", "type: model", (1, 30), "is a model file of SNDlib; a network file is due"),
    ("NODES (", "NODE (", (6, 1), "no section 'NODE'; did you mean 'NODES'?"),
    ("LINKS (", "NODES (", (12, 1), "the section NODES is there twice"),
    ("NODES (", "NODES", (7, 3), "'(' is due after NODES, not 'Aa'"),
    ("Dd ( 3.0 -4.0 )", "Aa ( 3.0 -4.0 )", (10, 3), "the node 'Aa' is there twice"),
    ("( 3.0 -4.0 )", "( 3.0 x )", (10, 12), "the y-coordinate: 'x' is not a number"),
    ("( 3.0 -4.0 )", "( 3.0 nan )", (10, 12), "the y-coordinate: 'nan' is not a number"),
    ("L3 ( Cc Dd )", "L3 ( Cc De )", (15, 3), "link 'L3': no node 'De'; did you mean 'Dd'?"),
    ("L3 ( Cc Dd )", "L3 ( Cc Cc )", (15, 3), "link 'L3' leads from 'Cc' to itself"),
    ("L3 ( Cc Dd )", "L3 ( Cc )", (15, 11), "the target is due here, not ')'"),
    ("L3 ( Cc Dd )", "L2 ( Cc Dd )", (15, 3), "the link 'L2' is there twice"),
    ("2.5 0.0", "-2.5 0.0", (15, 16), "the preinstalled capacity is -2.5; it can't be negative"),
    ("2.5 0.0", "0 0.0", (15, 3), "link 'L3' has no capacity: 0 of 1000000 bit/s, neither installed nor as a module"),
    ("( 155.00 1.0 622.00 2.0 )", "( 155.00 1.0 622.00 )", (14, 55), "the cost of a module is due here, not ')'"),
    ("D2 ( Dd Bb )", "D1 ( Dd Bb )", (20, 3), "the demand 'D1' is there twice"),
    ("D2 ( Dd Bb ) 2 3.00", "D2 ( Dd Bb ) 2 -3.00", (20, 18), "the demand's value is -3.00; it can't be negative"),
    ("3.00 4", "3.00 FEW", (20, 23), "the longest path: 'FEW' is not a number"),
    ("P1 ( L4 L2 ) )\n)", "", (23, 18), "this bracket is not closed"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "place", "message"), NATIVE_FAULTS)
def test_broken_native_files(tmp_path: Path, old: str, new: str, place: tuple[int, int], message: str) -> None:
    assert old in NATIVE
    file = tmp_path / "net.txt"
    file.write_text(NATIVE.replace(old, new, 1))
    with pytest.raises(InputError) as caught:
        sndlib.build(file, LINK)
    (problem,) = caught.value.problems
    assert problem.message.startswith(message)
    if "bracket" not in message:
        assert (problem.line, problem.column) == place


XML_FAULTS = [
    ("</nodes>", "</node>", 9, "broken XML: mismatched tag"),
    ("networkStructure>", "structure>", 2, "holds no <network> with a <networkStructure>"),
    ('<node id="Dd">', "<node>", 8, "a <node> without an id"),
    ('<node id="Dd">', '<node id="Cc">', 8, "the node 'Cc' is there twice"),
    ("<y>-4.0</y>", "", 8, "<coordinates> lacks a <y>"),
    ("<y>-4.0</y>", "<y>south</y>", 8, "<y>: 'south' is not a number"),
    ("<target>Dd</target>", "<target>De</target>", 21, "link 'L3': no node 'De'; did you mean 'Dd'?"),
    ("<target>Dd</target>", "<target></target>", 21, "<link> lacks a <target>"),
    ("<capacity>2.5<", "<capacity>-1<", 22, "<capacity> is -1; it can't be negative"),
    ("<capacity>2.5<", "<capacity>0<", 21, "link 'L3' has no capacity"),
    ("<y>-4.0</y>", "<y>-94.0</y>", 4, "coordinates are geographical, but not all are degrees"),
    ("<capacity>2.5<", "<capacity>1e30<", 21, "link 'L3' has an impossible capacity: 1e+30 of 1000000 bit/s"),
    ("<demandValue>3.0</demandValue>", "", 33, "<demand> lacks a <demandValue>"),
    ("<demandValue>3.0<", "<demandValue>inf<", 33, "<demandValue>: 'inf' is not a number"),
    ('<demand id="D2">', '<demand id="D1">', 33, "the demand 'D1' is there twice"),
]


@pytest.mark.parametrize(("old", "new", "line", "message"), XML_FAULTS)
def test_broken_xml_files(tmp_path: Path, old: str, new: str, line: int, message: str) -> None:
    assert old in XML
    file = tmp_path / "net.xml"
    file.write_text(XML.replace(old, new))
    with pytest.raises(InputError) as caught:
        sndlib.build(file, LINK)
    problem = caught.value.problems[0]
    assert problem.message.startswith(message)
    assert problem.line == line


def test_other_faults(tmp_path: Path) -> None:
    file = tmp_path / "net.txt"
    file.write_text(NATIVE)
    topology = sndlib.build(file, LINK)
    other = tmp_path / "other.txt"
    other.write_text(NATIVE.replace("Aa", "Xx"))
    with pytest.raises(InputError, match=r"demand 'D1': the topology has no node 'Xx'"):
        sndlib.demands(other, topology)
    other.write_text(NATIVE[: NATIVE.index("DEMANDS")])
    with pytest.raises(InputError, match="holds no demands"):
        sndlib.demands(other, topology)
    other.write_text(NATIVE.replace("2 3.00 4", "1e200 3e200 4"))
    with pytest.raises(InputError, match="demand 'D2' asks for inf of 1000000 bit/s; at most 1125899906842624"):
        sndlib.demands(other, topology)
    for argument in ({"modules": 0}, {"hosts_per_node": -1}):
        with pytest.raises(ValueError, match=next(iter(argument))):
            sndlib.build(file, LINK, **argument)
    with pytest.raises(InputError, match="No such file"):
        sndlib.build(tmp_path / "none.txt", LINK)
    file.write_bytes(b"?SNDlib native format; type: network; version: 1.0\nNODES ( \xff )")
    with pytest.raises(InputError, match="not UTF-8"):
        sndlib.build(file, LINK)
    file.write_bytes(b"<a>" * 20_000)
    with pytest.raises(InputError, match="broken XML"):
        sndlib.build(file, LINK)
    file.write_bytes(b"<network>" + b"<a>" * 20_000 + b"</a>" * 20_000 + b"</network>")
    with pytest.raises(InputError, match="holds no <network>"):
        sndlib.build(file, LINK)
