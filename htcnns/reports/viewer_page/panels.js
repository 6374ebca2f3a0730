// What stands around the drawing: the list of cases, the legend, the cross-hair's place, sentences. Names and sentences
// of the server become text, never markup.

const MOST_LISTED = 300; // cases; the others are found by typing

export const byId = (id) => document.getElementById(id);

// A sentence over the drawing; an empty one removes it.
export function say(sentence, { isFault = false } = {}) {
  const message = byId("message");
  message.textContent = sentence;
  message.classList.toggle("fault", isFault);
  message.hidden = !sentence;
}

// A button of a group of which one is chosen.
export function choice(name, title, onClick) {
  const button = textIn("button", name);
  button.title = title;
  button.setAttribute("role", "radio");
  button.addEventListener("click", onClick);
  return button;
}

// Marks the n-th button of such a group, and no other, as the chosen one.
export function check(group, n) {
  [...group.children].forEach((button, position) => button.setAttribute("aria-checked", String(position === n)));
}

// The cases whose names hold what was typed; where these are many, those around the current one.
export function showList(cases, { current, masksAre, open }) {
  const text = byId("filter").value.trim().toLowerCase();
  const found = [...cases.keys()].filter((index) => cases[index].name.toLowerCase().includes(text));
  const from = Math.max(0, Math.min(found.indexOf(current) - MOST_LISTED / 2, found.length - MOST_LISTED));
  const lines = found.slice(from, from + MOST_LISTED).map((index) => {
    const button = caseButton(cases[index], masksAre);
    button.setAttribute("aria-current", String(index === current));
    button.addEventListener("click", () => open(index));
    const line = document.createElement("li");
    line.append(button);
    return line;
  });
  byId("cases").replaceChildren(...lines);
  byId("more").textContent = found.length > lines.length ? `${lines.length} of ${found.length} listed; type to find others` : "";
  byId("cases").querySelector("[aria-current=true]")?.scrollIntoView({ block: "nearest" });
}

function caseButton({ name, mask, fault, sequences }, masksAre) {
  const trouble = fault ? "unclear" : sequences.every(Boolean) ? "" : "incomplete";
  const button = document.createElement("button");
  const note = trouble || (mask ? "" : `no ${masksAre}`);
  button.append(textIn("span", name, "name"), textIn("span", note, trouble ? "state fault" : "state"));
  button.title = fault || name;
  return button;
}

// What there is to say on the case's label map.
export function showNotes(text, { isFault }) {
  byId("mask-note").textContent = text;
  byId("mask-note").classList.toggle("fault", isFault);
}

// The labels with colours, volumes and a box each that hides them, and the volumes of regions; nothing without a card.
export function showLegend(card, { hidden, changed }) {
  byId("mask-controls").hidden = !card;
  if (!card) return;
  const rows = card.labels.map((label) => labelRow(label, { hidden, changed }));
  const totals = card.totals.map(({ name, ml }, n) => row(textIn("span", name), ml, n ? "total" : "total first"));
  byId("legend").tBodies[0].replaceChildren(...rows, ...totals);
  byId("centre").disabled = !card.centre_mm;
}

function labelRow({ number, name, colour, ml }, { hidden, changed }) {
  const box = document.createElement("input");
  box.type = "checkbox";
  box.checked = !hidden.has(number);
  box.addEventListener("change", () => {
    if (box.checked) hidden.delete(number);
    else hidden.add(number);
    changed();
  });
  const swatch = textIn("span", "", "swatch");
  swatch.style.backgroundColor = `rgb(${colour.join(" ")})`;
  const label = document.createElement("label");
  label.append(box, swatch, textIn("span", name));
  return row(label, ml, ml > 0 ? "" : "absent");
}

function row(first, ml, kind) {
  const line = textIn("tr", "", kind);
  const cell = document.createElement("td");
  cell.append(first);
  line.append(cell, textIn("td", `${ml.toFixed(1)} ml`));
  return line;
}

// Where the cross-hair is, as NiiVue says it: the values are those of the scan and of the label map. No mm for nowhere.
export function showPlace({ mm, values }, labels) {
  const [scan, mask] = values;
  const parts = [...mm].slice(0, 3).map((part) => part.toFixed(1));
  byId("place-mm").textContent = parts.length ? `${parts.join(", ")} mm` : "–";
  byId("place-value").textContent = scan ? String(Number(scan.value.toPrecision(5))) : "–";
  byId("place-label").textContent = labels.find(({ number }) => number === mask?.value)?.name ?? "–";
}

function textIn(tag, text, kind = "") {
  const element = document.createElement(tag);
  element.textContent = text;
  element.className = kind;
  return element;
}
