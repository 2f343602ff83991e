// The topology as a picture with the heat of its links.

const WIDE = 1000;
const picture = { svg: null, fabric: -1, edges: [], edgeOf: null, marks: null };

// places, lines and labels of a fabric; drawn once for each
function drawFabric(number) {
  const fabric = data.fabrics[number], drawing = fabric.drawing;
  const rows = drawing.rows.length, tall = drawing.tiered ? 60 + Math.min(240 * Math.max(rows - 1, 1), 760) : 660;
  const top = 34, bottom = drawing.tiered ? 40 : 30;
  const place = ([x, y]) => [14 + x * (WIDE - 28), top + (1 - y) * (tall - top - bottom)];
  const points = drawing.places.map(place);
  const svg = h("svg:svg", { viewBox: `0 0 ${WIDE} ${tall}`, role: "application", tabindex: "0",
    "aria-label": "Topology: arrow keys go from link to link", "aria-describedby": "stage-hint" });
  const from = unpack(drawing.from), to = unpack(drawing.to), nth = unpack(drawing.nth);
  const start = unpack(drawing.start), links = unpack(drawing.links);
  picture.edgeOf = new Int32Array(fabric.link.length).fill(-1);
  const lines = h("svg:g", { class: "edges" });
  picture.edges = [...from.keys()].map((edge) => {
    const own = links.slice(start[edge], start[edge + 1]);
    for (const link of own) picture.edgeOf[link] = edge;
    const bent = drawing.tiered && drawing.places[from[edge]][1] === drawing.places[to[edge]][1];
    const way = wayOf(points[from[edge]], points[to[edge]], nth[edge], bent);
    const line = h("svg:path", { d: "M" + way.map((point) => point.map((value) => value.toFixed(1)).join(" ")).join("L"),
      "data-link": fabric.link[own[0]] });
    lines.append(line);
    return { way, links: own, line };
  });
  picture.marks = h("svg:g", { class: "marks" });
  svg.append(picture.marks, lines, nodesOf(drawing, points), tierNames(drawing, place));
  picture.svg = svg;
  picture.fabric = number;
  svg.addEventListener("click", (event) => {
    const edge = nearest(event);
    if (edge >= 0) chooseLink(busiestOf(picture.edges[edge].links));
  });
  svg.addEventListener("pointermove", (event) => hover(nearest(event)));
  svg.addEventListener("pointerleave", () => hover(-1));
  svg.addEventListener("keydown", step);
  const stage = byId("stage");
  stage.replaceChildren(svg, h("div", { class: "tip", id: "tip", hidden: true }));
  byId("stage-hint").textContent = "Each cable has two lines, one a direction, each on the right of its way. "
    + "Click a link, or walk through them with the arrow keys." + (drawing.note ? ` ${sentence(drawing.note)}` : "");
}

// from a to b a little to the right, so that both directions are seen; links of one tier in a bow below it
function wayOf([ax, ay], [bx, by], nth, bent) {
  const long = Math.hypot(bx - ax, by - ay) || 1, aside = 1.5 + 3 * nth;
  const [dx, dy] = [(-(by - ay) / long) * aside, ((bx - ax) / long) * aside];
  const a = [ax + dx, ay + dy], b = [bx + dx, by + dy];
  if (!bent) return [a, b];
  const deep = Math.min(26, 8 + 0.06 * long) + aside * Math.sign(bx - ax);
  return [...Array(9).keys()].map((step) => {
    const share = step / 8;
    return [a[0] + (b[0] - a[0]) * share, a[1] + 4 * share * (1 - share) * deep];
  });
}

function nodesOf(drawing, points) {
  const counts = new Map();
  drawing.places.forEach(([, y]) => counts.set(y, (counts.get(y) ?? 0) + 1));
  const labelled = drawing.tiered || drawing.labels.length <= 400;
  return h("svg:g", { class: "nodes" }, drawing.labels.map((label, index) => {
    const [x, y] = points[index], host = drawing.classes[index] === "host";
    const room = drawing.tiered ? (WIDE / counts.get(drawing.places[index][1])) * 0.82 : host ? 8 : 52;
    const wide = host ? Math.min(drawing.tiered ? 34 : 8, room) : Math.min(78, Math.max(room, 6)), tall = host ? 10 : 22;
    const text = !labelled ? "" : [label, label.match(/\d+$/)?.[0] ?? ""].find((one) => one.length * 6.8 + 4 <= wide) ?? "";
    return h("svg:g", { class: host ? "host" : "switch" }, h("svg:title", {}, label),
      h("svg:rect", { x: x - wide / 2, y: y - tall / 2, width: wide, height: tall, rx: host ? 2 : 5 }),
      text && !(host && wide < 18) ? h("svg:text", { x, y: y + 4 }, text) : null);
  }));
}

function tierNames(drawing, place) {
  return h("svg:g", { class: "tiers" }, drawing.rows.map(([name, y]) => {
    const many = drawing.places.filter((point) => point[1] === y).length;
    const below = y === 0;
    return h("svg:text", { x: 4, y: place([0, y])[1] + (below ? 26 : -17) }, many > 1 ? `${many} × ${name}` : name);
  }));
}

// the edge within reach of the pointer, -1 without
function nearest(event) {
  const matrix = picture.svg.getScreenCTM();
  const x = (event.clientX - matrix.e) / matrix.a, y = (event.clientY - matrix.f) / matrix.d;
  let found = -1, closest = (event.pointerType === "touch" ? 16 : 9) / Math.min(1, matrix.a);
  picture.edges.forEach(({ way }, edge) => {
    for (let index = 1; index < way.length; index++) {
      const [ax, ay] = way[index - 1], [bx, by] = way[index];
      const along = Math.max(0, Math.min(1, ((x - ax) * (bx - ax) + (y - ay) * (by - ay))
        / ((bx - ax) ** 2 + (by - ay) ** 2 || 1)));
      const away = Math.hypot(x - ax - along * (bx - ax), y - ay - along * (by - ay));
      if (away < closest) [closest, found] = [away, edge];
    }
  });
  return found;
}

const current = () => data.runs[state.run];
const linkName = (link) => data.fabrics[current().fabric].link[link];
const busiestOf = (links) => links.reduce((a, b) => (valueOf(current(), b) > valueOf(current(), a) ? b : a));

function hover(edge) {
  const tip = byId("tip");
  tip.hidden = edge < 0;
  picture.svg.style.cursor = edge < 0 ? "" : "pointer";
  if (edge < 0) return;
  const { way, links } = picture.edges[edge], link = busiestOf(links), matrix = picture.svg.getScreenCTM();
  const [ax, ay] = way[0], [bx, by] = way[way.length - 1], box = byId("stage").getBoundingClientRect();
  tip.textContent = `${linkName(link)}${links.length > 1 ? ` (busiest of ${links.length})` : ""}: ${inWords(valueOf(current(), link))}`;
  tip.style.left = `${((ax + bx) / 2) * matrix.a + matrix.e - box.left + byId("stage").scrollLeft}px`;
  tip.style.top = `${((ay + by) / 2) * matrix.d + matrix.f - box.top}px`;
}

function step(event) {
  const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
  if (!by) return;
  event.preventDefault();
  const at = state.link < 0 ? (by > 0 ? -1 : 0) : picture.edgeOf[state.link];
  const next = (at + by + picture.edges.length) % picture.edges.length;
  const link = busiestOf(picture.edges[next].links);
  change({ link, flow: -1 });
  byId("said").textContent = `${linkName(link)}: ${inWords(valueOf(current(), link))}`;
}

function paint(run) {
  const full = fullValue(run), thick = picture.edges.length > 800 ? 0.5 : 1;
  for (const { links, line } of picture.edges) {
    let value = 0;
    for (const link of links) value = Math.max(value, valueOf(run, link));
    const share = value / full;
    line.setAttribute("stroke", heatColour(share));
    line.setAttribute("stroke-width", (thick * (1 + 1.5 * Math.min(share, 1))).toFixed(2));
  }
}

// the chosen link, and the way of the chosen flow
function mark(ways) {
  const shown = new Set(ways.map((link) => picture.edgeOf[link]));
  const halo = (edge, kind) => h("svg:path", { class: kind, d: picture.edges[edge].line.getAttribute("d") });
  picture.marks.replaceChildren(...[...shown].filter((edge) => edge >= 0).map((edge) => halo(edge, "way")));
  if (state.link >= 0 && picture.edgeOf[state.link] >= 0) picture.marks.append(halo(picture.edgeOf[state.link], "chosen"));
}
