// How busy each link is at the chosen time, and the colour of it.

const RAMP = { // from idle to never idle: lightness runs one way, so that it can be read without colours
  light: ["#d3dce4", "#f4cf86", "#e8951f", "#c4500a", "#6b1900"],
  dark: ["#344250", "#7d5512", "#cf7f1c", "#f5b84a", "#fff4cc"],
};
const STEPS = 64;
const ramps = {};

function ramp() {
  const name = isDark() ? "dark" : "light";
  ramps[name] ??= [...Array(STEPS + 1).keys()].map((step) => {
    const place = (step / STEPS) * (RAMP[name].length - 1), low = Math.min(Math.floor(place), RAMP[name].length - 2);
    const part = (hex, from) => parseInt(hex.slice(from, from + 2), 16);
    const mixed = [1, 3, 5].map((from) => Math.round(part(RAMP[name][low], from) * (1 - (place - low))
      + part(RAMP[name][low + 1], from) * (place - low)));
    return `rgb(${mixed.join(",")})`;
  });
  return ramps[name];
}

const heatColour = (share) => ramp()[Math.round(Math.min(Math.max(share, 0), 1) * STEPS)];

// {n, times in ns, use(link, sample), queue(link, sample)} of a run, null without samples
function seriesOf(run) {
  if (!run.series || run.sampled) return run.sampled ?? null;
  const times = unpack(run.series.time_ns), use = unpack(run.series.use), queue = unpack(run.series.queue);
  const longest = queue.reduce((a, b) => Math.max(a, b), 0) * run.series.step;
  run.sampled = { n: times.length, times, longest,
    use: (link, sample) => use[link * times.length + sample] / 250,
    queue: (link, sample) => queue[link * times.length + sample] * run.series.step };
  return run.sampled;
}

// what a link shows at the chosen time: 0 is the whole run, n the n-th sample
function valueOf(run, link, metric = state.metric) {
  const series = seriesOf(run);
  if (state.time === 0 || !series) {
    if (metric === "use") return unpack(run.links.utilisation)[link];
    return run.links.queue_max_bytes ? unpack(run.links.queue_max_bytes)[link] : 0;
  }
  return series[metric](link, state.time - 1);
}

// the value that is drawn in the darkest colour
function fullValue(run) {
  if (state.metric === "use") return 1;
  if (state.time > 0) return seriesOf(run).longest || 1;
  return run.links.queue_max_bytes ? unpack(run.links.queue_max_bytes).reduce((a, b) => Math.max(a, b), 1) : 1;
}

const inWords = (value) => (state.metric === "use" ? si(value, "%") : si(value, "B"));

function showLegend(run) {
  const steps = [0, 0.25, 0.5, 0.75, 1], full = fullValue(run);
  const strip = h("span", { class: "strip", "aria-hidden": "true" });
  strip.style.background = `linear-gradient(90deg, ${RAMP[isDark() ? "dark" : "light"].join(", ")})`;
  byId("legend").replaceChildren(h("span", {}, state.metric === "use" ? "Use of the link" : "Bytes in its queue"),
    h("span", { class: "scale" }, strip, h("span", { class: "ticks" }, steps.map((step) =>
      h("span", {}, inWords(step * full))))));
}

function setUpTime(current) {
  const slider = byId("time"), play = byId("play");
  let timer = null;
  const stop = () => {
    clearInterval(timer);
    timer = null;
    play.textContent = "Play";
    play.setAttribute("aria-pressed", "false");
  };
  slider.addEventListener("input", () => change({ time: Number(slider.value) }));
  play.addEventListener("click", () => {
    if (timer) return stop();
    play.textContent = "Pause";
    play.setAttribute("aria-pressed", "true");
    timer = setInterval(() => {
      const series = seriesOf(current());
      if (state.time >= series.n) return stop();
      change({ time: state.time + 1 });
    }, 90);
  });
  document.querySelectorAll("input[name=metric]").forEach((radio) =>
    radio.addEventListener("change", () => change({ metric: radio.value })));
  return stop;
}

function showTime(run) {
  const slider = byId("time"), series = seriesOf(run);
  slider.max = series ? series.n : 0;
  slider.disabled = byId("play").disabled = !series;
  slider.value = state.time;
  const words = state.time === 0 ? (series ? "whole run" : "whole run (no samples)")
    : `at ${si(series.times[state.time - 1] * 1e-9, "s", 4)}`;
  byId("when").textContent = words;
  slider.setAttribute("aria-valuetext", words);
}
