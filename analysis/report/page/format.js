// Elements, numbers in words, the theme, and the one state that all sections share.

const byId = (id) => document.getElementById(id);

// an element; texts are always text, never markup
function h(tag, attributes = {}, ...children) {
  const made = tag.startsWith("svg:") ? document.createElementNS("http://www.w3.org/2000/svg", tag.slice(4))
    : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return made;
}

const PREFIXES = [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"], [1, ""], [1e-3, "m"], [1e-6, "µ"], [1e-9, "n"],
  [1e-12, "p"]];

function si(value, unit, digits = 3) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (unit === "%") return `${Number((value * 100).toPrecision(3))} %`;
  if (value === 0) return `0 ${unit}`.trim();
  const size = Math.abs(value) / (1 - 0.5 * 10 ** -digits);
  const [factor, prefix] = PREFIXES.find(([known]) => size >= known) ?? PREFIXES[PREFIXES.length - 1];
  return `${Number((value / factor).toPrecision(digits))} ${prefix}${unit}`.trim();
}

const time = (ps, digits = 4) => (ps < 0 ? "–" : si(ps * 1e-12, "s", digits));
const count = (value) => (value === null ? "–" : value.toLocaleString("en-US"));
const none = (why) => h("p", { class: "none" }, why);
const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");

// Okabe and Ito; in the dark black turns white
const COLOURS = {
  light: ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#777777"],
  dark: ["#56B4E9", "#F0803C", "#2FC79A", "#E39AC4", "#9AD4F5", "#F2B93B", "#FFFFFF", "#A0A7AE"],
};
const DASHES = ["solid", "dash", "dot", "dashdot"];
const asked = window.matchMedia("(prefers-color-scheme: dark)");
let chosenTheme = "auto";
const isDark = () => (chosenTheme === "auto" ? asked.matches : chosenTheme === "dark");
const colour = (number) => COLOURS[isDark() ? "dark" : "light"][number % 8];

const state = { run: 0, time: 0, metric: "use", link: -1, flow: -1 };
const listeners = [];
let data = null;

// some of the state has changed: whoever shows it is told what
function change(parts) {
  const changed = Object.keys(parts).filter((name) => state[name] !== parts[name]);
  Object.assign(state, parts);
  if (changed.length) for (const listen of listeners) listen(changed);
}

function setUpTheme() {
  const button = byId("theme");
  const show = () => {
    document.documentElement.dataset.theme = isDark() ? "dark" : "light";
    button.textContent = isDark() ? "Light" : "Dark";
    button.setAttribute("aria-label", `Use ${isDark() ? "light" : "dark"} colours`);
    for (const listen of listeners) listen(["theme"]);
  };
  button.addEventListener("click", () => {
    chosenTheme = isDark() ? "light" : "dark";
    show();
  });
  asked.addEventListener("change", show);
  show();
}
