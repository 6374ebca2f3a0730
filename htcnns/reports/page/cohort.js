
"use strict";
// Text from the cases is only ever set as text (append, textContent), never as markup.
const data = JSON.parse(document.getElementById("cohort").textContent);
const cases = data.cases.map((values, number) =>
  Object.assign(Object.fromEntries(data.fields.map((field, n) => [field, values[n]])), { number })
);
const [DONE, FAILED, NOT_STARTED] = [0, 1, 2];
const SIGNS = ["✓", "✕", "○"];
const N_FIRST = 12, N_FAILURES = 5, PAGE = 50, N_PRINTED = 1000, N_BARS = 20;
const names = new Intl.Collator(undefined, { numeric: true });
const whole = new Intl.NumberFormat("en");
const $ = (id) => document.getElementById(id);

// What a heading sorts by: nulls come last either way.
const columns = [
  { key: "title", title: "Case", of: (c) => c.title },
  { key: "state", title: "State", of: (c) => c.state },
  { key: "agreement", title: "Agreement", of: (c) => c.agreement, isNumber: true },
  ...data.regions.map((region, n) => ({
    key: region.name, title: `${region.name}, ml`, of: (c) => c.volumes[n] ?? null, isNumber: true, down: true,
  })),
  { key: "lesions", title: "Lesions", of: (c) => c.lesions, isNumber: true, down: true },
  { key: "axial", title: "Diameter, mm", of: (c) => c.axial, isNumber: true, down: true },
  { key: "findings", title: "Findings", of: (c) => c.kinds.length + c.texts.length / 100, down: true },
];
const START = { text: "", state: "", finding: "", region: 0, least: null, most: null, agreement: null };
let filter = { ...START };
let sort = { key: "agreement", down: false };
let page = 0;
let listed = [];
let opened = null;

function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

const decimals = (value, n) => (value === null || value === undefined ? "–" : value.toFixed(n));
const counted = (n, what) => `${whole.format(n)} ${what}${n === 1 ? "" : "s"}`;
const picture = (one) => `./${one.href}.png`;

function thumb(one) {
  const box = element("span", { className: "thumb" });
  if (one.picture) {
    const image = element("img", { alt: "", loading: "lazy", decoding: "async" });
    image.addEventListener("error", () => image.replaceWith(element("span", { className: "none" }, "no picture")));
    image.src = picture(one);
    box.append(image);
  } else box.append(element("span", { className: "none" }, "no picture"));
  return box;
}

function meter(one) {
  if (one.agreement === null) return element("span", {}, "–");
  const filled = element("b");
  filled.style.width = `${Math.round(one.agreement * 100)}%`;
  return element("span", { className: "meter" }, element("i", { ariaHidden: "true" }, filled), decimals(one.agreement, 2));
}

function state(one) {
  const name = data.states[one.state];
  const sign = element("span", { ariaHidden: "true" }, `${SIGNS[one.state]} `);
  return element("span", { className: `state ${name.replace(" ", "-")}` }, sign, name);
}

const chips = (one) => one.kinds.map((n) => element("span", { className: "chip" }, data.kinds[n]));

// Filter and sort

function fits(one, without = "") {
  const volume = one.volumes[filter.region] ?? null;
  return (
    (!filter.text || one.title.toLowerCase().includes(filter.text)) &&
    (filter.state === "" || one.state === Number(filter.state)) &&
    (filter.finding === "" || (filter.finding === "any" ? one.kinds.length > 0 : one.kinds.includes(Number(filter.finding)))) &&
    (without === "volume" || filter.least === null || (volume !== null && volume >= filter.least)) &&
    (without === "volume" || filter.most === null || (volume !== null && volume <= filter.most)) &&
    (filter.agreement === null || (one.agreement !== null && one.agreement <= filter.agreement))
  );
}

function inOrder(found, { key, down }) {
  const { of, isNumber } = columns.find((column) => column.key === key);
  const sign = down ? -1 : 1;
  return found.slice().sort((one, other) => {
    const a = of(one), b = of(other);
    if (a === null || b === null) return (a === null) - (b === null) || one.number - other.number;
    const order = isNumber || typeof a === "number" ? a - b : names.compare(a, b);
    return sign * order || one.number - other.number;
  });
}

// Parts of the page

function showSummary() {
  const seconds = cases.reduce((sum, one) => sum + one.seconds, 0);
  const n = cases.filter((one) => one.state === DONE).length;
  const each = n ? `, ${decimals(seconds / n, 1)} s for each that is done` : "";
  $("summary").textContent = `${counted(cases.length, "case")} in this folder of reports${each}`;
  if (data.not_read.length) {
    const shown = data.not_read.slice(0, 10).join(", ") + (data.not_read.length > 10 ? " …" : "");
    $("not-read").textContent = `Not listed, as they are no report of a case in this format: ${shown}`;
    $("not-read").hidden = false;
  }
}

function tiles() {
  const n = (test) => cases.filter(test).length;
  const all = [
    ["cases", n(() => true), "", { state: "", finding: "" }],
    ...data.states.map((name, at) => [name, n((one) => one.state === at), name, { state: String(at), finding: "" }]),
    ["with findings", n((one) => one.kinds.length > 0), "", { state: "", finding: "any" }],
  ];
  return all.filter(([name, count]) => count || name === "cases" || name === "failed");
}

function showTiles() {
  $("tiles").replaceChildren(
    ...tiles().map(([name, count, kind, wanted]) => {
      const isOn = filter.state === wanted.state && filter.finding === wanted.finding;
      const tile = element("button", { type: "button", className: count ? kind : "", ariaPressed: String(isOn) });
      tile.append(element("strong", {}, whole.format(count)), element("span", {}, name));
      tile.addEventListener("click", () => change(wanted, { scroll: true }));
      return tile;
    })
  );
}

function showFirst() {
  const found = inOrder(cases.filter((one) => one.agreement !== null), { key: "agreement", down: false }).slice(0, N_FIRST);
  $("first-section").hidden = !found.length;
  $("first").replaceChildren(
    ...found.map((one) => {
      const text = element("div", { className: "text" }, element("div", { className: "name" }, one.title), meter(one));
      if (one.least) text.append(element("p", {}, one.least));
      text.append(element("p", {}, ...chips(one)));
      const button = element("button", { type: "button" }, thumb(one), text);
      button.addEventListener("click", () => open(one, found));
      return element("li", {}, button);
    })
  );
}

function showFailures() {
  const failed = cases.filter((one) => one.state === FAILED);
  $("failed-section").hidden = !failed.length;
  $("failed").replaceChildren(...failed.slice(0, N_FAILURES).map((one) => element("li", {}, one.error || one.title)));
  $("failed-more").replaceChildren();
  if (failed.length > N_FAILURES) {
    const button = element("button", { type: "button" }, `List all ${whole.format(failed.length)}`);
    button.addEventListener("click", () => change({ ...START, state: String(FAILED) }, { scroll: true }));
    $("failed-more").append(button);
  }
}

function niceStep(most) {
  const rough = most / N_BARS || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  return power * [1, 2, 5, 10].find((factor) => factor * power >= rough * 0.999);
}

function showCharts() {
  const charts = data.regions.map((region, at) => chart(region, at)).filter((made) => made);
  $("volumes-section").hidden = !charts.length;
  $("charts").replaceChildren(...charts);
}

function chart(region, at) {
  const all = cases.filter((one) => (one.volumes[at] ?? null) !== null);
  if (!all.length) return null;
  const most = all.reduce((largest, one) => Math.max(largest, one.volumes[at]), 0);
  const step = niceStep(most);
  const n = Math.max(1, Math.floor(most / step) + 1);
  const bin = (one) => Math.min(n - 1, Math.floor(one.volumes[at] / step));
  const totals = Array(n).fill(0), now = Array(n).fill(0);
  for (const one of all) {
    totals[bin(one)] += 1;
    if (fits(one, filter.region === at ? "volume" : "")) now[bin(one)] += 1;
  }
  const highest = Math.max(...totals);
  const sorted = all.map((one) => one.volumes[at]).sort((a, b) => a - b);
  const middle = (sorted[Math.floor((sorted.length - 1) / 2)] + sorted[Math.ceil((sorted.length - 1) / 2)]) / 2;
  const bars = totals.map((total, number) => bar({ at, total, now: now[number], highest, step, number, isLast: number === n - 1 }));
  const colour = element("i", { ariaHidden: "true" });
  colour.style.background = region.colour;
  return element(
    "div", { className: "chart" },
    element("h3", {}, colour, region.title === region.name ? region.name : `${region.name}, ${region.title}`),
    element("p", {}, `median ${decimals(middle, 1)}, largest ${decimals(most, 1)} ml`),
    element("div", { className: "bars", role: "group", ariaLabel: `${region.title}: cases by volume` }, ...bars),
    element("div", { className: "ticks", ariaHidden: "true" },
      ...[0, n / 2, n].map((edge) => element("span", {}, whole.format(edge * step))))
  );
}

function bar({ at, total, now, highest, step, number, isLast }) {
  const round = (value) => Number(value.toPrecision(9));
  const least = round(number * step), most = round((number + 1) * step);
  const below = isLast ? most : round(most - 0.001); // volumes are given to the microlitre
  const isOn = filter.region === at && filter.least === least && filter.most === below;
  const label = `${least} to ${most} ml: ${counted(total, "case")}`;
  const button = element("button", { type: "button", title: label, ariaLabel: label, ariaPressed: String(isOn), disabled: !total });
  for (const [kind, count] of [["all", total], ["now", now]]) {
    const part = element("i", { className: kind, ariaHidden: "true" });
    part.style.height = `${count ? Math.max(2, (100 * count) / highest) : 0}%`;
    button.append(part);
  }
  button.addEventListener("click", () =>
    change(isOn ? { least: null, most: null } : { region: at, least, most: below })
  );
  return button;
}

function showHeadings() {
  $("headings").replaceChildren(
    ...columns.map((column) => {
      const isOn = column.key === sort.key;
      const button = element("button", { type: "button" }, column.title);
      button.addEventListener("click", () => {
        sort = { key: column.key, down: isOn ? !sort.down : Boolean(column.down) };
        page = 0;
        showCases();
        showHeadings();
        $("headings").children[columns.indexOf(column)].firstChild.focus();
      });
      const heading = element("th", { scope: "col", role: "columnheader", className: column.isNumber ? "number" : "" }, button);
      heading.setAttribute("aria-sort", isOn ? (sort.down ? "descending" : "ascending") : "none");
      return heading;
    })
  );
  $("by-order").value = `${sort.key} ${sort.down}`;
}

function row(one) {
  const button = element("button", { type: "button", className: "open" }, thumb(one), element("span", { className: "name" }, one.title));
  button.addEventListener("click", () => open(one, listed));
  const cell = (text, label) => element("td", { className: "number", role: "cell", "data-label": label }, text);
  const why = one.error ? [one.error] : chips(one);
  return element(
    "tr", { role: "row" },
    element("th", { scope: "row", role: "rowheader" }, button),
    element("td", { role: "cell", "data-label": "State" }, state(one)),
    element("td", { role: "cell", className: "number agreement", "data-label": "Agreement" }, meter(one)),
    ...data.regions.map((region, n) => cell(decimals(one.volumes[n], 1), `${region.name}, ml`)),
    cell(one.lesions === null ? "–" : String(one.lesions), "Lesions"),
    cell(one.axial === null ? "–" : `${decimals(one.axial, 0)} × ${decimals(one.perpendicular, 0)}`, "Diameter, mm"),
    element("td", { role: "cell", className: "why" }, ...why)
  );
}

function showCases({ n = PAGE } = {}) {
  listed = inOrder(cases.filter((one) => fits(one)), sort);
  const nPages = Math.max(1, Math.ceil(listed.length / n));
  page = Math.min(page, nPages - 1);
  $("rows").replaceChildren(...listed.slice(page * n, (page + 1) * n).map(row));
  const isAll = listed.length === cases.length;
  $("count").textContent = isAll ? counted(cases.length, "case") : `${whole.format(listed.length)} of ${counted(cases.length, "case")}`;
  $("place").textContent = `Page ${whole.format(page + 1)} of ${whole.format(nPages)}`;
  $("previous").disabled = page === 0;
  $("next").disabled = page >= nPages - 1;
}

function change(wanted, { scroll = false } = {}) {
  filter = { ...filter, ...wanted };
  page = 0;
  fillFilters();
  showTiles();
  showCharts();
  showCases();
  if (scroll) $("cases").scrollIntoView();
}

// One case

function open(one, among) {
  opened = { among, at: among.indexOf(one) };
  showCase();
  if (!$("case").open) $("case").showModal();
}

function step(by) {
  const at = opened.at + by;
  if (at < 0 || at >= opened.among.length) return;
  opened.at = at;
  showCase();
}

function showCase() {
  const { among, at } = opened;
  const one = among[at];
  $("case-title").textContent = one.title;
  $("case-previous").disabled = at === 0;
  $("case-next").disabled = at === among.length - 1;
  const facts = [
    ["State", state(one)],
    ["Agreement", meter(one)],
    ["Least agreeing", one.least || null],
    ...data.regions.map((region, n) => [region.title, one.volumes[n] === undefined || one.volumes[n] === null ? null : `${decimals(one.volumes[n], 1)} ml`]),
    ["Lesions", one.lesions],
    ["Side of the largest", one.side],
    ["Enhancing, axial", one.axial === null ? null : `${decimals(one.axial, 1)} × ${decimals(one.perpendicular, 1)} mm`],
    ["Enhancing, longest", one.largest === null ? null : `${decimals(one.largest, 1)} mm`],
    ["Time", one.seconds ? `${decimals(one.seconds, 1)} s` : null],
    ["Report", one.report ? element("a", { href: `./${one.href}.json` }, "JSON") : null],
  ].filter(([, value]) => value !== null);
  const body = [];
  if (one.picture) {
    const image = element("img", { src: picture(one), alt: `Slices of ${one.title} with outlines of what was found` });
    body.push(element("a", { className: "picture", href: picture(one) }, image));
  }
  if (one.error) body.push(element("p", { className: "error" }, one.error));
  body.push(element("dl", {}, ...facts.map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value)))));
  if (one.texts.length) body.push(element("ul", {}, ...one.texts.map((text) => element("li", {}, text))));
  $("case-body").replaceChildren(...body);
  $("case").scrollTop = 0;
}

// Controls

function fillFilters() {
  $("by-name").value = filter.text;
  $("by-state").value = filter.state;
  $("by-finding").value = filter.finding;
  $("by-region").value = String(filter.region);
  $("least").value = filter.least ?? "";
  $("most").value = filter.most ?? "";
  $("by-agreement").value = filter.agreement ?? "";
}

function readFilters() {
  const number = (id) => ($(id).value === "" ? null : Number($(id).value));
  change({
    text: $("by-name").value.toLowerCase(),
    state: $("by-state").value,
    finding: $("by-finding").value,
    region: Number($("by-region").value),
    least: number("least"),
    most: number("most"),
    agreement: number("by-agreement"),
  });
}

function makeControls() {
  const option = (value, text) => element("option", { value }, text);
  const n = (test) => whole.format(cases.filter(test).length);
  $("by-state").append(option("", "any"), ...data.states.map((name, at) => option(String(at), `${name} (${n((one) => one.state === at)})`)));
  $("by-finding").append(
    option("", "any or none"), option("any", `at least one (${n((one) => one.kinds.length)})`),
    ...data.kinds.map((kind, at) => option(String(at), `${kind} (${n((one) => one.kinds.includes(at))})`))
  );
  $("by-region").append(...data.regions.map((region, at) => option(String(at), region.name)));
  $("by-order").append(
    ...columns.flatMap(({ key, title, isNumber }) => {
      const ways = isNumber || key === "findings" ? [[true, "most first"], [false, "least first"]] : [[false, "in order"], [true, "reversed"]];
      return ways.map(([down, way]) => option(`${key} ${down}`, `${title}: ${way}`));
    })
  );
  $("by-order").addEventListener("input", (event) => {
    event.stopPropagation();
    const [key, down] = $("by-order").value.split(" ");
    sort = { key, down: down === "true" };
    page = 0;
    showHeadings();
    showCases();
  });
  $("filters").addEventListener("input", readFilters);
  $("filters").addEventListener("submit", (event) => event.preventDefault());
  $("filters").addEventListener("reset", (event) => {
    event.preventDefault();
    change(START);
  });
  const turn = (by) => {
    page += by;
    showCases();
    $("cases").scrollIntoView();
  };
  $("previous").addEventListener("click", () => turn(-1));
  $("next").addEventListener("click", () => turn(1));
  $("case-previous").addEventListener("click", () => step(-1));
  $("case-next").addEventListener("click", () => step(1));
  $("case-close").addEventListener("click", () => $("case").close());
  $("case").addEventListener("click", (event) => event.target === $("case") && $("case").close());
  $("case").addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") step(-1);
    if (event.key === "ArrowRight") step(1);
  });
  let before = 0;
  window.addEventListener("beforeprint", () => {
    before = page;
    page = 0;
    showCases({ n: N_PRINTED });
  });
  window.addEventListener("afterprint", () => {
    page = before;
    showCases();
  });
}

$("table").setAttribute("role", "table");
$("rows").setAttribute("role", "rowgroup");
makeControls();
showSummary();
showTiles();
showFirst();
showFailures();
showCharts();
showHeadings();
showCases();
