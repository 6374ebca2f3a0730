// The viewer: one case at a time, its scans by NiiVue, its label map over them; keys and clicks.

import { byId, check, choice, say, showLegend, showList, showNotes, showPlace } from "./panels.js";

const { Niivue, NVImage, SLICE_TYPE, SHOW_RENDER } = globalThis.niivue ?? {};
const VIEWS = [
  { name: "All", key: "b", title: "Three planes and rendering (B)" },
  { name: "Axial", key: "a", title: "Axial (A)" },
  { name: "Coronal", key: "c", title: "Coronal (C)" },
  { name: "Sagittal", key: "s", title: "Sagittal (S)" },
  { name: "3-D", key: "r", title: "Rendering (R)" },
];
const STEPS = { Axial: [0, 0, 1], Coronal: [0, 1, 0], Sagittal: [1, 0, 0] }; // one slice towards superior, anterior, right
const LINE = { many: 0.45, one: 0.3 }; // cross-hair, in percent of a plane that is one of several, or alone; thinner lines vanish
const FIRST_TURN = { azimuth: 120, elevation: 12 };
const NIFTI_INTENT_LABEL = 1002; // of such images NiiVue draws outlines
const T1C = 1;

const state = {
  cases: [],
  sequences: [],
  masksAre: "mask",
  index: 0,
  sequence: T1C,
  view: "All",
  opacity: 0.4,
  isMaskOn: true,
  isOutlined: false,
  hidden: new Set(), // numbers of labels that are not shown
  images: new Map(), // of the case that is shown: sequence to a promise of an NVImage
  mask: null, // NVImage of the label map
  labels: null, // its voxels, those of labels that are not shown among them
  card: null, // what it holds
  visit: 0, // counts cases opened, so that what comes late is thrown away
};
let nv;

start().catch((error) => say(error.message, { isFault: true }));

async function start() {
  if (!Niivue || !document.createElement("canvas").getContext("webgl2")) {
    throw new Error("This browser has no WebGL 2. Use a current Firefox, Chrome, Edge or Safari, with its hardware acceleration on.");
  }
  const list = await askedFor("cases").then((answer) => answer.json());
  state.cases = list.cases;
  state.sequences = list.sequences;
  state.masksAre = list.masks_are;
  nv = new Niivue({
    backColor: [0, 0, 0, 1],
    crosshairColor: [0.34, 0.71, 0.91, 0.75],
    crosshairWidth: LINE.many,
    crosshairWidthUnit: "percent",
    crosshairGap: 6,
    fontColor: [0.91, 0.92, 0.93, 1],
    fontSizeScaling: 0.35,
    isRadiologicalConvention: true,
    sagittalNoseLeft: true,
    multiplanarShowRender: SHOW_RENDER?.ALWAYS ?? 1,
    multiplanarForceRender: true,
    multiplanarLayout: 2, // a grid of two by two
    multiplanarPadPixels: 12,
    isOrientCube: true,
    showAllOrientationMarkers: true,
    dragAndDropEnabled: false,
    loadingText: "",
    logLevel: "silent", // what goes wrong is said on the page
    clipPlaneHotKey: "",
    cycleClipPlaneHotKey: "",
    viewModeHotKey: "",
  });
  await nv.attachToCanvas(byId("canvas"));
  nv.setRenderAzimuthElevation(FIRST_TURN.azimuth, FIRST_TURN.elevation);
  nv.onLocationChange = (place) => showPlace(place, state.card?.labels ?? []);
  makeButtons();
  listen();
  byId("list").hidden = state.cases.length < 2;
  byId("steps").hidden = state.cases.length < 2;
  byId("mask-title").textContent = state.masksAre === "truth" ? "Truth beside the scans" : "Mask";
  const wanted = Number.parseInt(location.hash.slice(1), 10) - 1;
  await openCase(wanted >= 0 && wanted < state.cases.length ? wanted : 0);
}

// What the server has at an address; its sentence as an error where it has nothing.
async function askedFor(address) {
  let answer;
  try {
    answer = await fetch(address);
  } catch {
    throw new Error("The viewer on this machine has ended. Start htcnns view again.");
  }
  if (!answer.ok) throw new Error((await answer.text()).trim());
  return answer;
}

async function openCase(index) {
  state.index = index;
  const visit = ++state.visit;
  const entry = state.cases[index];
  state.images = new Map();
  state.mask = state.card = null;
  history.replaceState(null, "", `#${index + 1}`);
  document.title = `${entry.name} – htcnns view`;
  byId("case").textContent = byId("case").title = entry.name;
  byId("position").textContent = state.cases.length > 1 ? `${index + 1} of ${state.cases.length}` : "";
  byId("previous").disabled = index === 0;
  byId("next").disabled = index === state.cases.length - 1;
  if (!entry.sequences[state.sequence]) state.sequence = Math.max(0, entry.sequences.indexOf(true));
  showCases();
  showChoices();
  showCard();
  showPlace({ mm: [], values: [] }, []);
  show(null);
  if (entry.fault || !entry.sequences.includes(true)) {
    return say(entry.fault || `${entry.name} has no scan that can be read.`, { isFault: true });
  }
  say(`Reading ${entry.name} …`);
  const [image] = await Promise.all([imageOf(state.sequence).catch(told(visit)), readMask(visit)]);
  if (visit !== state.visit || !image) return undefined;
  show(image);
  goToCentre();
  say("");
  for (const sequence of entry.sequences.keys()) if (entry.sequences[sequence]) imageOf(sequence).catch(() => {});
  return undefined;
}

// Shows the server's sentence unless another case was opened meanwhile.
function told(visit) {
  return (error) => {
    if (visit === state.visit) say(error.message, { isFault: true });
  };
}

function imageOf(sequence) {
  if (!state.images.has(sequence)) state.images.set(sequence, readImage(sequence));
  return state.images.get(sequence);
}

async function readImage(sequence) {
  const content = await askedFor(`cases/${state.index}/${sequence}`).then((answer) => answer.arrayBuffer());
  return NVImage.loadFromUrl({ url: "scan.nii.gz", name: `${state.sequences[sequence]}.nii.gz`, buffer: content, colormap: "gray" });
}

async function readMask(visit) {
  const { index } = state;
  if (!state.cases[index].mask) return;
  try {
    const card = await askedFor(`cases/${index}/card`).then((answer) => answer.json());
    const content = await askedFor(`cases/${index}/mask`).then((answer) => answer.arrayBuffer());
    const mask = await NVImage.loadFromUrl({ url: "mask.nii.gz", name: "mask.nii.gz", buffer: content, opacity: state.opacity });
    if (visit !== state.visit) return;
    mask.hdr.intent_code = NIFTI_INTENT_LABEL;
    mask.setColormapLabel(colourTable(card.labels));
    state.card = card;
    state.mask = mask;
    state.labels = mask.img.slice();
    showCard();
  } catch (error) {
    if (visit === state.visit) showCard(error.message);
  }
}

// Draws this scan, or nothing, and the label map over it.
function show(image) {
  const overlays = image && state.mask ? [state.mask] : [];
  nv.volumes = image ? [image, ...overlays] : [];
  nv.back = image;
  nv.overlays = overlays;
  drawMask();
}

async function chooseSequence(sequence) {
  if (!state.cases[state.index].sequences[sequence]) return;
  const { visit } = state;
  state.sequence = sequence;
  showChoices();
  try {
    const image = await imageOf(sequence);
    if (visit !== state.visit || sequence !== state.sequence) return;
    say("");
    show(image);
    nv.createOnLocationChange();
  } catch (error) {
    state.images.delete(sequence);
    told(visit)(error);
  }
}

function chooseView(name) {
  state.view = name;
  const types = { All: "MULTIPLANAR", Axial: "AXIAL", Coronal: "CORONAL", Sagittal: "SAGITTAL", "3-D": "RENDER" };
  nv.setCrosshairWidth(name === "All" ? LINE.many : LINE.one);
  nv.setSliceType(SLICE_TYPE[types[name]]);
  showChoices();
}

// Draws again, with the label map as it is chosen: which labels, filled or outlined, how opaque.
function drawMask() {
  if (state.mask) {
    const opacity = state.isMaskOn ? state.opacity : 0;
    state.mask.img.set(state.labels);
    for (const hidden of state.hidden) state.labels.forEach((label, n) => label === hidden && (state.mask.img[n] = 0));
    state.mask.opacity = state.isOutlined ? 0 : opacity;
    nv.opts.atlasOutline = state.isOutlined ? opacity : 0;
  }
  nv.updateGLVolume();
}

// NiiVue's table of the labels' colours.
function colourTable(labels) {
  const rows = [{ number: 0, name: "", colour: [0, 0, 0] }, ...labels];
  return {
    I: rows.map(({ number }) => number),
    R: rows.map(({ colour }) => colour[0]),
    G: rows.map(({ colour }) => colour[1]),
    B: rows.map(({ colour }) => colour[2]),
    A: rows.map(({ number }) => (number ? 255 : 0)),
    labels: rows.map(({ name }) => name),
  };
}

function setOpacity(share) {
  state.opacity = Math.min(1, Math.max(0, share));
  state.isMaskOn = true;
  const percent = Math.round(state.opacity * 100);
  byId("opacity").value = percent;
  byId("opacity-value").textContent = `${percent} %`;
  drawMask();
}

function toggleMask() {
  state.isMaskOn = !state.isMaskOn;
  byId("opacity-value").textContent = state.isMaskOn ? `${Math.round(state.opacity * 100)} %` : "off";
  drawMask();
}

function setOutlines(isOutlined) {
  state.isOutlined = isOutlined;
  byId("outlines").checked = isOutlined;
  drawMask();
}

function goToCentre() {
  if (!nv.volumes.length) return;
  const centre = state.card?.centre_mm;
  nv.scene.crosshairPos = centre ? nv.mm2frac(centre) : [0.5, 0.5, 0.5];
  nv.drawScene();
  nv.createOnLocationChange();
}

function resetScene() {
  nv.setPan2Dxyzmm([0, 0, 0, 1]);
  nv.setScale(1);
  nv.setRenderAzimuthElevation(FIRST_TURN.azimuth, FIRST_TURN.elevation);
  if (nv.back) Object.assign(nv.back, { cal_min: nv.back.robust_min, cal_max: nv.back.robust_max });
  nv.updateGLVolume();
}

// --- what is on the page ---

function makeButtons() {
  state.sequences.forEach((name, sequence) => {
    byId("sequences").append(choice(name, `${name} (${sequence + 1})`, () => chooseSequence(sequence)));
  });
  for (const { name, title } of VIEWS) byId("views").append(choice(name, title, () => chooseView(name)));
}

function showChoices() {
  const { sequences } = state.cases[state.index];
  check(byId("sequences"), state.sequence);
  [...byId("sequences").children].forEach((button, sequence) => (button.disabled = !sequences[sequence]));
  check(byId("views"), VIEWS.findIndex(({ name }) => name === state.view));
}

function showCases() {
  showList(state.cases, { current: state.index, masksAre: state.masksAre, open: (index) => openCase(index).catch(told(state.visit)) });
}

function showCard(fault = "") {
  const { mask, sequences } = state.cases[state.index];
  const missing = state.sequences.filter((_, sequence) => !sequences[sequence]);
  const notes = [
    missing.length && `${missing.join(", ")} missing.`,
    fault,
    !mask && `No ${state.masksAre} of this case.`,
    state.card && !state.card.labels.some(({ ml }) => ml > 0) && `No tumour in this ${state.masksAre}.`,
  ];
  showNotes(notes.filter(Boolean).join(" "), { isFault: Boolean(fault || missing.length) });
  showLegend(state.card, { hidden: state.hidden, changed: drawMask });
}

// --- what a person does ---

function listen() {
  byId("previous").addEventListener("click", () => step(-1));
  byId("next").addEventListener("click", () => step(1));
  byId("opacity").addEventListener("input", (event) => setOpacity(event.target.value / 100));
  byId("outlines").addEventListener("change", (event) => setOutlines(event.target.checked));
  byId("centre").addEventListener("click", goToCentre);
  byId("filter").addEventListener("input", showCases);
  byId("filter").addEventListener("keydown", (event) => {
    if (event.key === "Enter") byId("cases").querySelector("button")?.click();
    if (event.key === "Enter" || event.key === "Escape") byId("canvas").focus();
  });
  byId("help-button").addEventListener("click", () => byId("help").showModal());
  globalThis.addEventListener("keydown", pressed, { capture: true }); // before NiiVue
}

function step(n) {
  const index = state.index + n;
  if (index >= 0 && index < state.cases.length) openCase(index).catch(told(state.visit));
}

function pressed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const isTyping = event.target === byId("filter");
  const isSliding = event.target === byId("opacity") && event.key.startsWith("Arrow");
  if (isTyping || isSliding || (byId("help").open && event.key !== "?")) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const view = VIEWS.find((each) => each.key === key);
  const act = view ? () => chooseView(view.name) : actions()[key];
  event.stopPropagation(); // NiiVue's own keys would do other things
  if (!act) return;
  event.preventDefault();
  act();
}

function actions() {
  const sequences = state.sequences.map((_, sequence) => [String(sequence + 1), () => chooseSequence(sequence)]);
  return {
    ...Object.fromEntries(sequences),
    ArrowLeft: () => step(-1),
    ArrowRight: () => step(1),
    ArrowUp: () => nv.moveCrosshairInVox(...(STEPS[state.view] ?? STEPS.Axial)),
    ArrowDown: () => nv.moveCrosshairInVox(...(STEPS[state.view] ?? STEPS.Axial).map((n) => -n)),
    m: toggleMask,
    "+": () => setOpacity(state.opacity + 0.1),
    "=": () => setOpacity(state.opacity + 0.1),
    "-": () => setOpacity(state.opacity - 0.1),
    o: () => setOutlines(!state.isOutlined),
    l: goToCentre,
    0: resetScene,
    "/": () => byId("filter").focus(),
    "?": () => (byId("help").open ? byId("help").close() : byId("help").showModal()),
  };
}
