// Flows: the table of them, those over a link, and of one its hops and where its time went.

const PARTS = [ // in the order in which they are told; colours of waiting are warm
  ["hold_ps", "held back", "by the path policy, before the network had it", "#8a8f98"],
  ["sending_ps", "sending", "its packets that went before, at the source", "#0072B2"],
  ["source_ps", "waiting at the source", "for other flows at the NIC, and for the window", "#E69F00"],
  ["recovery_ps", "recovery", "waiting for a retransmission timer", "#CC79A7"],
  ["serialisation_ps", "serialisation", "onto the wires", "#56B4E9"],
  ["propagation_ps", "propagation", "along the wires", "#009E73"],
  ["queueing_ps", "queueing", "behind other packets, hop by hop", "#D55E00"],
  ["sharing_ps", "sharing", "links shared with other flows", "#B35A9B"],
  ["reordering_ps", "reordering", "waiting for earlier packets", "#8C510A"],
  ["ack_ps", "last ACK", "on its way back", "#777777"],
];

// the flows of a run as arrays, with the flows of every link; made when first asked for
function flowsOf(run) {
  if (!run.flows || run.read) return run.read ?? null;
  const told = run.flows, read = { n: told.kept, started: told.started, words: told.status.words };
  for (const name of ["id", "src", "dst", "bytes", "start_ps", "fct_ps", "ideal_ps"]) read[name] = unpack(told[name]);
  read.status = unpack(told.status.codes);
  read.nodes = data.fabrics[run.fabric].nodes;
  read.slowdown = (flow) => (read.fct_ps[flow] < 0 || read.ideal_ps[flow] <= 0 ? null : read.fct_ps[flow] / read.ideal_ps[flow]);
  if (told.hops) {
    read.hop = {};
    for (const [name, entry] of Object.entries(told.hops)) read.hop[name] = unpack(entry);
  }
  if (told.times) {
    read.parts = PARTS.filter(([name]) => told.times.parts[name]).map((part) => [part, unpack(told.times.parts[part[0]])]);
    read.job = (flow) => told.times.job.words[unpack(told.times.job.codes)[flow]] ?? "";
    read.releasedBy = unpack(told.times.released_by);
    read.bottleneck = unpack(told.times.bottleneck);
  }
  const way = { start: unpack(told.ways.start), link: unpack(told.ways.link), sprayed: unpack(told.ways.sprayed) };
  read.sprayed = way.sprayed;
  read.hops = (flow) => (read.hop ? range(read.hop.start[flow], read.hop.start[flow + 1]) : []);
  read.ways = (flow) => {
    const given = range(way.start[flow], way.start[flow + 1]).map((at) => way.link[at]);
    return given.length ? given : read.hops(flow).map((at) => read.hop.link[at]);
  };
  read.over = Array.from({ length: data.fabrics[run.fabric].link.length }, () => []);
  for (let flow = 0; flow < read.n; flow++) {
    for (const link of new Set([...read.ways(flow), ...read.hops(flow).map((at) => read.hop.link[at])])) read.over[link].push(flow);
  }
  read.at = new Map(Array.from(read.id, (id, flow) => [id, flow]));
  run.read = read;
  return read;
}

const range = (from, to) => Array.from({ length: to - from }, (_, index) => from + index);

function chooseFlow(flow) {
  change({ flow });
  reveal();
}

const flowButton = (read, flow) => h("button", { type: "button", class: "link", "data-flow": read.id[flow],
  onclick: () => chooseFlow(flow) }, String(read.id[flow]));

function flowColumns(read) {
  return [
    { title: "flow", key: (flow) => read.id[flow], show: (flow) => flowButton(read, flow) },
    { title: "from", words: true, key: (flow) => read.nodes[read.src[flow]], show: (flow) => read.nodes[read.src[flow]] },
    { title: "to", words: true, key: (flow) => read.nodes[read.dst[flow]], show: (flow) => read.nodes[read.dst[flow]] },
    { title: "size", key: (flow) => read.bytes[flow], show: (flow) => si(read.bytes[flow], "B", 4) },
    { title: "start", key: (flow) => read.start_ps[flow], show: (flow) => time(read.start_ps[flow]) },
    { title: "FCT", key: (flow) => (read.fct_ps[flow] < 0 ? null : read.fct_ps[flow]), show: (flow) => time(read.fct_ps[flow]) },
    { title: "slowdown", key: (flow) => read.slowdown(flow), show: (flow) => read.slowdown(flow)?.toFixed(2) ?? "–" },
  ];
}

const mainPart = (read, flow) => read.parts.reduce((best, [part, values]) => (values[flow] > best[1] ? [part[1], values[flow]] : best),
  ["–", 0])[0];

function showFlows(run) {
  const body = document.querySelector("#flows .body"), read = flowsOf(run);
  if (!read) return body.replaceChildren(none(sentence(run.empty.flows ?? "no flow started")));
  const columns = flowColumns(read);
  if (read.parts) columns.push({ title: "mostly", words: true, key: (flow) => mainPart(read, flow), show: (flow) => mainPart(read, flow) },
    { title: "for", words: true, key: read.job, show: read.job });
  columns.push({ title: "status", words: true, key: (flow) => read.words[read.status[flow]],
    show: (flow) => read.words[read.status[flow]] });
  const field = h("input", { type: "search", id: "filter", placeholder: "host3, unfinished, collective:0 …" });
  const known = read.n === read.started ? `All ${count(read.n)} flows.`
    : `${count(read.n)} of ${count(read.started)} flows are in this file: the slowest, and a sample of the others.`;
  const head = h("div", { class: "tools" }, h("label", { for: "filter" }, "Only flows with "), field, h("span", { class: "note" }, known));
  const all = range(0, read.n), made = table({ label: "Flows", columns, rows: all, page: 15, sort: 6, head });
  field.addEventListener("input", () => {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    made.refill(all.filter((flow) => {
      const told = [read.nodes[read.src[flow]], read.nodes[read.dst[flow]], read.words[read.status[flow]], read.parts ? read.job(flow) : "",
        read.parts ? mainPart(read, flow) : "", String(read.id[flow])].map((word) => word.toLowerCase());
      return words.every((word) => told.some((one) => one === word || (/\D$/.test(word) && one.includes(word))));
    }));
  });
  body.replaceChildren(made);
}

// the flows that crossed a link; with hops the longest wait at it first
function flowsOver(run, link) {
  const read = flowsOf(run);
  if (!read) return none(sentence(run.empty.flows ?? "no flow started"));
  const over = read.over[link], sampled = read.n < read.started;
  const sprayed = !read.hop && read.sprayed.some((paths) => paths > 0);
  const wait = new Map();
  if (read.hop) for (const flow of over) {
    const at = read.hops(flow).find((one) => read.hop.link[one] === link);
    wait.set(flow, at === undefined ? null : read.hop.queueing_ps[at]);
  }
  const order = ["flow", "FCT", "slowdown", "from", "to", "size"], known = flowColumns(read);
  const columns = order.map((title) => known.find((column) => column.title === title));
  if (read.hop) columns.splice(1, 0, { title: "waited here", key: (flow) => wait.get(flow),
    show: (flow) => (wait.get(flow) === null ? "–" : time(wait.get(flow), 3)) });
  const why = sprayed ? "The flows are sprayed over all paths, and hops are not in these results: which packets came here is not known."
    : sampled ? `None of the ${count(read.n)} flows in this file came here.` : "No flow came here.";
  if (!over.length) return none(why);
  const note = [sampled ? "Of the flows in this file." : "", read.hop && read.sprayed.some((paths) => paths > 0)
    ? "Sprayed flows are listed where the packet that completed them went." : ""].join(" ").trim();
  return h("div", {}, note ? h("p", { class: "note" }, note) : null,
    table({ label: `Flows over ${linkName(link)}`, columns, rows: over, page: 6, sort: read.hop ? 1 : 2 }));
}

function flowDetails(run) {
  const read = flowsOf(run), flow = state.flow, given = read.ways(flow);
  const facts = [["Size", si(read.bytes[flow], "B", 4)], ["Start", time(read.start_ps[flow])], ["FCT", time(read.fct_ps[flow], 5)],
    ["Unloaded", time(read.ideal_ps[flow], 5)], ["Slowdown", read.slowdown(flow)?.toFixed(2) ?? "–"],
    ["Status", read.words[read.status[flow]]]];
  if (run.flows.retransmitted) facts.push(["Sent again", count(unpack(run.flows.retransmitted)[flow])]);
  if (read.parts && read.job(flow)) facts.push(["For", read.job(flow)]);
  if (read.sprayed[flow]) facts.push(["Paths", `sprayed over ${read.sprayed[flow]}`]);
  const back = state.link < 0 ? null : h("button", { type: "button", class: "quiet small", onclick: () => {
    change({ flow: -1 });
    reveal();
  } }, `Back to ${linkName(state.link)}`);
  const parent = read.parts && read.releasedBy[flow] >= 0 ? read.at.get(read.releasedBy[flow]) : undefined;
  return [back, h("h3", { tabindex: "-1" }, `Flow ${read.id[flow]}: ${read.nodes[read.src[flow]]} to ${read.nodes[read.dst[flow]]}`),
    h("dl", { class: "facts-grid" }, facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))),
    read.parts && read.bottleneck[flow] >= 0 ? h("p", {}, "The link that cost it most: ", h("button", { type: "button", class: "link",
      onclick: () => chooseLink(read.bottleneck[flow]) }, linkName(read.bottleneck[flow])), ".") : null,
    parent === undefined ? null : h("p", {}, "It could start when flow ", flowButton(read, parent), " arrived."),
    h("h4", {}, "Where its time went"), split(run, read, flow), h("h4", {}, "Hops"), hopTable(run, read, flow, given)];
}

function split(run, read, flow) {
  const shown = (read.parts ?? []).map(([part, values]) => [part, values[flow]]).filter(([, value]) => value > 0);
  if (!shown.length) return none(sentence(read.fct_ps[flow] < 0 ? "the flow did not finish" : run.flows.why_no_times));
  const total = shown.reduce((sum, [, value]) => sum + value, 0);
  const bar = h("div", { class: "split", "aria-hidden": "true" }, shown.map(([part, value]) => {
    const piece = h("span", { title: `${part[1]}: ${time(value)}` });
    piece.style.flexGrow = value / total;
    piece.style.background = part[3];
    return piece;
  }));
  const rows = shown.map(([part, value]) => {
    const swatch = h("span", { class: "swatch", "aria-hidden": "true" });
    swatch.style.background = part[3];
    return h("tr", {}, h("th", { scope: "row", class: "words" }, swatch, h("b", {}, part[1]), h("small", {}, ` ${part[2]}`)),
      h("td", {}, time(value, 5)), h("td", {}, si(value / total, "%")));
  });
  return h("div", { class: "parts" }, bar, h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Parts of its time" },
    h("table", {}, h("caption", { class: "hide" }, "Parts of its time"), h("thead", {}, h("tr", {}, h("th", { scope: "col",
      class: "words" }, "part"), h("th", { scope: "col" }, "time"), h("th", { scope: "col" }, "share"))), h("tbody", {}, rows),
    h("tfoot", {}, h("tr", {}, h("th", { scope: "row", class: "words" }, "total"), h("td", {}, time(total, 5)), h("td", {}, "100 %"))))));
}

function hopTable(run, read, flow, given) {
  const linkButton = (link) => h("button", { type: "button", class: "link", onclick: () => chooseLink(link) }, linkName(link));
  const hops = read.hops(flow);
  if (!hops.length) {
    const why = none(sentence(read.fct_ps[flow] < 0 ? "the flow did not finish" : run.flows.why_no_hops));
    return given.length ? h("div", {}, why, h("p", {}, "Its way:"), h("ol", { class: "plain" }, given.map((link) =>
      h("li", {}, linkButton(link))))) : why;
  }
  const arrived = [read.hop.arrived_ps[firstHops(read)[flow]]];
  hops.forEach((at) => arrived.push(arrived[arrived.length - 1] + read.hop.queueing_ps[at] + read.hop.serialisation_ps[at]
    + read.hop.propagation_ps[at]));
  const columns = [
    { title: "link", words: true, key: (hop) => linkName(read.hop.link[hops[hop]]), show: (hop) => linkButton(read.hop.link[hops[hop]]) },
    { title: "came at", key: (hop) => arrived[hop], show: (hop) => time(arrived[hop], 6) },
    ...[["queue", "queueing_ps"], ["serialise", "serialisation_ps"], ["propagate", "propagation_ps"]].map(([title, name]) =>
      ({ title, key: (hop) => read.hop[name][hops[hop]], show: (hop) => time(read.hop[name][hops[hop]]) })),
  ];
  return h("div", {}, h("p", { class: "note" }, "Of the packet whose arrival completed it."),
    table({ label: "Hops", columns, rows: range(0, hops.length), page: 30 }));
}

// number of each flow's first hop among the first hops
function firstHops(read) {
  if (!read.first) {
    let seen = 0;
    read.first = range(0, read.n).map((flow) => (read.hop.start[flow + 1] > read.hop.start[flow] ? seen++ : -1));
  }
  return read.first;
}
