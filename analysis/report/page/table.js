// Tables that are sorted by their headings and turned page by page.

const PAGE = 25;

// A number to sort by: 1.175x, 96.4%, 12,000 and plain numbers; words sort as words, what is absent comes last.
function sortable(value) {
  if (value === null || value === undefined || value === "-" || value === "–") return null;
  if (typeof value === "number") return Number.isNaN(value) ? null : value;
  const number = Number(String(value).replace(/[,x%]/g, ""));
  return Number.isNaN(number) || value === "" ? value : number;
}

function compare(a, b, down) {
  if (a === null || b === null) return (a === null) - (b === null);
  const order = typeof a === "number" && typeof b === "number" ? a - b
    : String(a).localeCompare(String(b), "en", { numeric: true });
  return down ? -order : order;
}

// columns: {title, words: to the left, key(row) to sort by, show(row) text or element, wide}; rows: any array
function table({ label, columns, rows, page = PAGE, sort = -1, down = true, head = "" }) {
  let at = 0, order = [...rows], by = sort, falls = down;
  const body = h("tbody"), where = h("span", { class: "where" });
  const headings = columns.map((column, index) => h("th", { scope: "col", class: column.words ? "words" : null },
    h("button", { type: "button", onclick: () => sortBy(index) }, column.title)));
  const back = h("button", { type: "button", onclick: () => turn(-1) }, "Previous");
  const forth = h("button", { type: "button", onclick: () => turn(1) }, "Next");
  const pager = h("div", { class: "pager" }, back, where, forth);
  const box = h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label },
    h("table", {}, h("caption", { class: "hide" }, label), h("thead", {}, h("tr", {}, headings)), body));

  function sortBy(index) {
    falls = by === index ? !falls : !columns[index].words;
    by = index;
    at = 0;
    show();
  }

  function turn(step) {
    at += step * page;
    draw();
  }

  function show() {
    if (by >= 0) {
      const keys = new Map(order.map((row) => [row, sortable(columns[by].key(row))]));
      order.sort((a, b) => compare(keys.get(a), keys.get(b), falls));
    }
    headings.forEach((heading, index) => {
      if (index === by) heading.setAttribute("aria-sort", falls ? "descending" : "ascending");
      else heading.removeAttribute("aria-sort");
    });
    draw();
  }

  function draw() {
    body.replaceChildren(...order.slice(at, at + page).map((row) => h("tr", {}, columns.map((column, index) =>
      h(index === 0 && column.words ? "th" : "td",
        { class: column.words ? "words" : null, scope: index === 0 && column.words ? "row" : null },
        column.show(row))))));
    where.textContent = order.length ? `${count(at + 1)} to ${count(Math.min(at + page, order.length))} of ${count(order.length)}`
      : "nothing to show";
    back.disabled = at === 0;
    forth.disabled = at + page >= order.length;
    pager.hidden = order.length > 0 && order.length <= page;
  }

  show();
  const made = h("div", { class: "table" }, head, box, pager);
  made.refill = (others) => { // the same table of other rows
    order = [...others];
    at = 0;
    show();
  };
  return made;
}

// a table of texts as Python laid it out: the first `left` columns are words
function grid(told, label, page = 50) {
  const columns = told.titles.map((title, index) => ({ title, words: index < told.left, key: (row) => row[index],
    show: (row) => row[index] }));
  return table({ label, columns, rows: told.rows, page });
}

// a result table with its columns' names as in the files
function plainTable(told, label) {
  const names = Object.keys(told.columns);
  const rows = [...Array(names.length ? told.columns[names[0]].length : 0).keys()];
  const columns = names.map((name) => {
    const values = told.columns[name], words = values.some((value) => typeof value === "string");
    return { title: name, words, key: (row) => values[row],
      show: (row) => (typeof values[row] === "number" ? plainNumber(values[row]) : values[row] ?? "–") };
  });
  const made = table({ label, columns, rows });
  if (told.rows > rows.length) made.prepend(h("p", { class: "note" },
    `The first ${count(rows.length)} of ${count(told.rows)} rows.`));
  return made;
}

const plainNumber = (value) => (Number.isInteger(value) ? count(value) : String(Number(value.toPrecision(5))));
