// The busiest links, what one link carried, and the table of all.

function showBusiest(run) {
  const links = [...data.fabrics[run.fabric].link.keys()];
  const values = links.map((link) => valueOf(run, link));
  const other = links.map((link) => valueOf(run, link, state.metric === "use" ? "queue" : "use")); // settles ties
  const top = links.sort((a, b) => values[b] - values[a] || other[b] - other[a] || a - b).slice(0, 6).filter((link) => values[link] > 0);
  const full = fullValue(run);
  byId("busiest").replaceChildren(h("h3", {}, state.metric === "use" ? "Busiest links" : "Longest queues", h("small", {},
    ` ${byId("when").textContent}`)), top.length ? h("ol", { class: "ranks" }, top.map((link) => {
      const fill = h("span", { class: "fill" });
      fill.style.width = `${Math.min(values[link] / full, 1) * 100}%`;
      fill.style.background = heatColour(values[link] / full);
      return h("li", {}, h("button", { type: "button", "data-link": linkName(link), "aria-pressed": String(link === state.link),
        onclick: () => chooseLink(link) }, h("span", { class: "track", "aria-hidden": "true" }, fill),
      h("span", { class: "name" }, linkName(link)), h("span", {}, inWords(values[link]))));
    })) : none("Nothing moves."));
}

function chooseLink(link) {
  change({ link, flow: -1 });
  reveal();
}

// the details come into view, and the keyboard is there
function reveal() {
  const heading = byId("details").querySelector("h3");
  heading?.focus({ preventScroll: true });
  const box = byId("details").getBoundingClientRect();
  if (box.top > window.innerHeight - 120 || box.top < 60) byId("details").scrollIntoView({ block: "nearest" });
}

// use and queue of a link over time, the chosen time marked
function spark(run, link) {
  const series = seriesOf(run);
  if (!series) return none(sentence(run.empty.link_series ?? "no samples"));
  const end = series.times[series.n - 1], x = (sample) => (sample < 0 ? 0 : (series.times[sample] / end) * 300);
  const strip = (metric, full, unit) => {
    let path = `M0 40`;
    for (let i = 0; i < series.n; i++) {
      const y = (40 - (series[metric](link, i) / full) * 38).toFixed(1);
      path += metric === "use" ? `L${x(i - 1).toFixed(1)} ${y}L${x(i).toFixed(1)} ${y}` : `L${x(i).toFixed(1)} ${y}`;
    }
    const now = state.time > 0 ? x(state.time - 1) : -1;
    return h("div", { class: "spark" }, h("span", {}, metric === "use" ? "use" : "queue", h("b", {}, si(full, unit))),
      h("svg:svg", { viewBox: "0 0 300 42", preserveAspectRatio: "none", "aria-hidden": "true" },
        h("svg:path", { d: `${path}L300 40Z` }), now >= 0 ? h("svg:line", { x1: now, x2: now, y1: 0, y2: 42 }) : null));
  };
  let most = 0;
  for (let i = 0; i < series.n; i++) most = Math.max(most, series.queue(link, i));
  return h("div", { class: "sparks" }, strip("use", 1, "%"), most > 0 ? strip("queue", most, "B") : null,
    h("div", { class: "ends" }, h("span", {}, "0"), h("span", {}, si(end * 1e-9, "s"))));
}

function linkDetails(run) {
  const link = state.link, fabric = data.fabrics[run.fabric], total = (name) =>
    (run.links[name] ? unpack(run.links[name])[link] : 0);
  const src = fabric.nodes[unpack(fabric.src)[link]], dst = fabric.nodes[unpack(fabric.dst)[link]];
  const facts = [["Rate", si(unpack(fabric.rate_mbps)[link] * 1e6, "bit/s")], ["Use", si(total("utilisation"), "%")],
    ["Carried", si(total("bytes"), "B", 4)], ["Longest queue", si(total("queue_max_bytes"), "B")]];
  for (const name of ["packets", "marked", "dropped", "trimmed"]) {
    if (run.links[name]) facts.push([name[0].toUpperCase() + name.slice(1), count(total(name))]);
  }
  const other = fabric.link.findIndex((_, index) => unpack(fabric.src)[index] === unpack(fabric.dst)[link]
    && unpack(fabric.dst)[index] === unpack(fabric.src)[link]);
  const alike = picture.edgeOf[link] >= 0 ? [...picture.edges[picture.edgeOf[link]].links] : [link];
  return [h("h3", { tabindex: "-1" }, linkName(link)),
    alike.length > 1 ? h("label", {}, `One of ${count(alike.length)} drawn as one `, h("select", {
      onchange: (event) => change({ link: Number(event.target.value) }) }, alike.map((index) =>
      h("option", { value: index, selected: index === link }, linkName(index))))) : null,
    h("dl", { class: "facts-grid" }, facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))),
    spark(run, link),
    other >= 0 ? h("button", { type: "button", class: "quiet small", onclick: () => chooseLink(other) },
      `Other direction: ${dst} to ${src}`) : null,
    h("h4", {}, "Flows over it"), flowsOver(run, link)];
}

function showLinks(run) {
  const body = document.querySelector("#links .body");
  if (!run.links) return body.replaceChildren(none(sentence(run.empty.links ?? "no links")));
  const fabric = data.fabrics[run.fabric];
  const column = (title, name, show) => (run.links[name] ? [{ title, key: (link) => unpack(run.links[name])[link],
    show: (link) => show(unpack(run.links[name])[link]) }] : []);
  const columns = [{ title: "link", words: true, key: linkName, show: (link) => h("button", { type: "button", class: "link",
    onclick: () => chooseLink(link) }, linkName(link)) },
  { title: "rate", key: (link) => unpack(fabric.rate_mbps)[link], show: (link) => si(unpack(fabric.rate_mbps)[link] * 1e6, "bit/s") },
  ...column("use", "utilisation", (value) => si(value, "%")), ...column("bytes", "bytes", (value) => si(value, "B", 4)),
  ...column("packets", "packets", count), ...column("longest queue", "queue_max_bytes", (value) => si(value, "B")),
  ...column("marked", "marked", count), ...column("dropped", "dropped", count), ...column("trimmed", "trimmed", count),
  ...column("paused", "paused_us", (value) => si(value * 1e-6, "s"))];
  body.replaceChildren(table({ label: "Links", columns, rows: fabric.link.keys(), page: 15, sort: 2 }));
}
