// The page: a client of the API like any other. It loads nothing from elsewhere and sends images to this server only.

const AT_ONCE = 2; // requests; the server has a thread a core
const TRIES = { busy: 6, loading: 120 }; // where the server asks to come again

const find = (selector, within = document) => within.querySelector(selector);
const status = find("#status");
const answers = find("#answers");

let model = null;
let token = "";
let running = 0;
const waiting = [];
const all = []; // every image, in the order given

class Refused extends Error {}
class TokenNeeded extends Error {}

async function ask(path, options = {}) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  for (let tried = 1; ; tried += 1) {
    let response;
    try {
      response = await fetch(path, { ...options, headers });
    } catch {
      throw new Refused("The server does not answer. Is it still running?");
    }
    if (response.ok) return response;
    const problem = await response.json().catch(() => ({ detail: `The server answered ${response.status}.` }));
    if (response.status === 401) throw new TokenNeeded(problem.detail);
    const kind = problem.type?.split(":").at(-1);
    if (tried >= (TRIES[kind] ?? 1)) throw new Refused(problem.detail);
    if (kind === "loading") status.textContent = problem.detail;
    const seconds = Number(response.headers.get("Retry-After")) || 1;
    await new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
  }
}

// --- The model -----------------------------------------------------------------------------------------------------

async function showModel() {
  const problem = find("#model-problem");
  try {
    model = await (await ask("v1/model")).json();
  } catch (error) {
    if (error instanceof TokenNeeded) askForToken("");
    problem.textContent = error.message;
    problem.hidden = false;
    return;
  }
  problem.hidden = !model.refused;
  problem.textContent = model.refused ? `Another model should be in service: ${model.refused}` : "";
  const facts = document.createElement("dl");
  const add = (name, value, note = "", isText = false) => {
    const group = document.createElement("div");
    const [term, detail, number] = ["dt", "dd", "span"].map((tag) => document.createElement(tag));
    term.textContent = name;
    number.className = isText ? "words" : "value";
    number.textContent = value;
    detail.append(number);
    if (note) detail.append(Object.assign(document.createElement("small"), { textContent: note }));
    group.append(term, detail);
    facts.append(group);
  };
  const since = model.since ? `in service since ${model.since.slice(0, 16).replace("T", " ")}` : "";
  add("Version", model.number ? String(model.number) : model.version, model.number ? `run ${model.version}; ${since}` : since);
  // Numbers, intervals and "too few lesions to judge" come as the report has them.
  for (const figure of Object.values(model.figures?.headline ?? {})) {
    add(figure.title, figure.number, figure.interval ? `95 % interval ${figure.interval}` : "", !figure.interval);
  }
  if (model.figures) {
    const { images, lesions } = model.figures;
    add("Measured on", String(images), `held-out image${images === 1 ? "" : "s"} of ${lesions} lesion${lesions === 1 ? "" : "s"}`);
  }
  find("#malignant-lesions").textContent = model.figures?.malignant_lesions ?? "";
  const items = model.warnings.map((sentence) => Object.assign(document.createElement("li"), { textContent: sentence }));
  find("#model-warnings ul").replaceChildren(...items);
  find("#model-warnings").hidden = !items.length;
  find("#model-facts").replaceChildren(facts);
  const card = find("#card");
  card.hidden = !model.card;
}

find("#card").addEventListener("click", async (event) => {
  if (!token) return; // a link carries no token: fetch the card and show that
  event.preventDefault();
  const card = await (await ask("v1/model/card.html")).blob();
  window.open(URL.createObjectURL(card), "_blank");
});

// --- The token -----------------------------------------------------------------------------------------------------

function askForToken(problem) {
  find("#token-form").hidden = false;
  find("#token-problem").textContent = problem;
  find("#token").focus();
}

find("#token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  token = find("#token").value.trim();
  find("#token-form").hidden = true;
  showModel();
  next();
});

// --- Images --------------------------------------------------------------------------------------------------------

function take(files) {
  for (const file of files) {
    find("#results").hidden = false;
    const article = find("#answer").content.firstElementChild.cloneNode(true);
    find("h3", article).textContent = file.name;
    const sent = find(".sent", article);
    sent.alt = `The image ${file.name}`;
    sent.addEventListener("error", () => { find("figure", article).hidden = true; }); // a browser shows no TIFF
    sent.src = URL.createObjectURL(file);
    find(".decision", article).textContent = "Waiting …";
    find("table", article).hidden = true;
    answers.append(article);
    const one = { file, article, said: null, refused: "" };
    all.push(one);
    waiting.push(one);
  }
  if (files.length) find("#results").scrollIntoView({ block: "nearest" });
  summarise();
  next();
}

function next() {
  while (running < AT_ONCE && waiting.length) {
    const one = waiting.shift();
    running += 1;
    predict(one).finally(() => { running -= 1; next(); });
  }
}

function form(file) {
  const body = new FormData();
  body.append("images", file, file.name);
  return { method: "POST", body };
}

async function predict(one) {
  const { file, article } = one;
  try {
    if (model && file.size > model.limits.image_bytes) {
      throw new Refused(`${file.name} is larger than the ${Math.round(model.limits.image_bytes / 2 ** 20)} MiB that are taken.`);
    }
    const answer = await (await ask("v1/predict", form(file))).json();
    if (model?.version !== answer.model.version) await showModel();
    show(one, answer);
  } catch (error) {
    if (error instanceof TokenNeeded) {
      waiting.unshift(one);
      const wasGiven = token !== "";
      token = "";
      askForToken(wasGiven ? error.message : "");
      await new Promise((resolve) => find("#token-form").addEventListener("submit", resolve, { once: true }));
      return;
    }
    const decision = find(".decision", article);
    one.refused = error.message;
    decision.textContent = "Refused";
    decision.classList.add("refused");
    summarise();
    find(".reason", article).textContent = error.message;
    status.textContent = `${file.name}: not answered. ${error.message}`;
  }
}

function summarise() {
  const counts = new Map();
  for (const one of all) {
    const what = one.said ? one.said.title : one.refused ? "Refused" : "Waiting";
    counts.set(what, (counts.get(what) ?? 0) + 1);
  }
  const named = [...counts].map(([what, count]) => `${what}: ${count}`).join("; ");
  find("#summary").textContent = `${all.length} ${all.length === 1 ? "picture" : "pictures"}. ${named}.`;
}

function show(one, answer) {
  const { file, article } = one;
  const [said] = answer.predictions;
  one.said = said;
  one.version = answer.model.version;
  summarise();
  const decision = find(".decision", article);
  decision.textContent = said.title;
  decision.classList.add(said.decision.replace(" ", "-"));
  find(".reason", article).textContent = said.reason;
  find(".meaning", article).textContent = said.meaning ?? "";
  const learnt = find(".learnt", article);
  learnt.textContent = said.learnt_because ?? "";
  learnt.hidden = !said.learnt_because;
  article.classList.toggle("withheld", said.decision === "no answer");
  const threshold = model?.version === answer.model.version ? model.decision_rule?.malignant_threshold : undefined;
  const rows = Object.entries(said.probabilities).map(([label, probability]) => row(label, probability, threshold));
  find("tbody", article).replaceChildren(...rows);
  find("table", article).hidden = false;
  find(".threshold", article).textContent =
    threshold === undefined ? "" : `The line marks the operating threshold for malignant, ${threshold.toFixed(3)}.`;
  const { number, version } = answer.model;
  find(".version", article).textContent = `Answered by version ${number ? `${number}, run ${version}` : version}`;
  status.textContent = `${file.name}: ${said.title}. ${said.reason}`;
  const gradCam = find(".grad-cam", article);
  gradCam.hidden = false;
  find("button", gradCam).addEventListener("click", () => showGradCam(file, article));
}

function row(label, probability, threshold) {
  const line = document.createElement("tr");
  const name = Object.assign(document.createElement("th"), { scope: "row", textContent: label });
  const number = Object.assign(document.createElement("td"), { textContent: probability.toFixed(3) });
  const cell = Object.assign(document.createElement("td"), { className: "bar-cell" });
  const bar = Object.assign(document.createElement("div"), { className: `bar ${label}` });
  const fill = Object.assign(document.createElement("div"), { className: "fill" });
  fill.style.width = `${100 * probability}%`;
  bar.append(fill);
  if (label === "malignant" && threshold !== undefined) {
    const mark = Object.assign(document.createElement("div"), { className: "mark" });
    mark.style.left = `${100 * threshold}%`;
    bar.append(mark);
  }
  cell.setAttribute("aria-hidden", "true");
  cell.append(bar);
  line.append(name, number, cell);
  return line;
}

async function showGradCam(file, article) {
  const button = find(".grad-cam button", article);
  const problem = find(".problem", article);
  const label = find("select", article).value;
  button.disabled = true;
  problem.textContent = "";
  status.textContent = "Grad-CAM is being computed; the first takes some seconds.";
  try {
    const answer = await (await ask(`v1/grad-cam?label=${label}`, form(file))).json();
    const figure = find(".looked", article);
    const image = find("img", figure);
    image.src = answer.image;
    const sent = find(".sent", article);
    // The model sees a square; the picture has its own aspect.
    if (sent.naturalWidth) image.style.aspectRatio = `${sent.naturalWidth} / ${sent.naturalHeight}`;
    image.alt = `Heat map over ${file.name}: what spoke for ${label}`;
    find("figcaption", figure).textContent = `What spoke for ${label} (Grad-CAM), yellow the most`;
    figure.hidden = false;
    status.textContent = `The heat map for ${label} is shown.`;
  } catch (error) {
    problem.textContent = error.message;
    status.textContent = "";
  } finally {
    button.disabled = false;
  }
}

// --- How images come -----------------------------------------------------------------------------------------------

for (const input of [find("#choose"), find("#capture")]) {
  input.addEventListener("change", () => { take(input.files); input.value = ""; });
}

const drop = find("#drop");
for (const name of ["dragenter", "dragover"]) {
  document.addEventListener(name, (event) => { event.preventDefault(); drop.classList.add("over"); });
}
document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) drop.classList.remove("over"); });
document.addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  take(event.dataTransfer.files);
});
document.addEventListener("paste", (event) => take(event.clipboardData.files));

for (const button of document.querySelectorAll("[data-example]")) {
  button.addEventListener("click", async () => {
    const name = button.dataset.example;
    const content = await (await fetch(`examples/${name}`)).blob();
    take([new File([content], name, { type: content.type })]);
  });
}

const LABELS = ["benign", "malignant", "unknown"];

function cell(value) {
  const text = String(value ?? "");
  const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text; // else a spreadsheet would compute it
  return `"${safe.replaceAll('"', '""')}"`;
}

find("#download").addEventListener("click", () => {
  const header = ["file", ...LABELS, "label", "decision", "reason", "learnt", "refused", "version"];
  const rows = all.filter((one) => one.said || one.refused).map(({ file, said, refused, version }) => [
    file.name, ...LABELS.map((label) => said?.probabilities[label]), said?.label, said?.decision, said?.reason, said?.learnt, refused, version,
  ]);
  const table = [header, ...rows].map((row) => row.map(cell).join(",")).join("\r\n");
  const link = Object.assign(document.createElement("a"), { download: "answers.csv" });
  link.href = URL.createObjectURL(new Blob([`${table}\r\n`], { type: "text/csv" }));
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
});

const curl = find("#curl");
curl.textContent = `curl -F images=@picture.jpg ${new URL("v1/predict", document.baseURI)}`;
find("#copy").addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText(curl.textContent);
    status.textContent = "The command is copied.";
  } catch { // without https there is no clipboard
    getSelection().selectAllChildren(curl);
    status.textContent = "The command is selected: copy it with the keyboard.";
  }
});

find("#clear").addEventListener("click", () => {
  waiting.length = all.length = 0;
  for (const image of document.querySelectorAll(".sent")) URL.revokeObjectURL(image.src);
  answers.replaceChildren();
  find("#results").hidden = true;
  status.textContent = "";
  find("#choose").focus();
});

const camera = find("#camera");
const video = find("#video");

find("#take-photo").addEventListener("click", async () => {
  // A phone's own camera program does better than a picture out of a film, and needs no https.
  if (matchMedia("(pointer: coarse)").matches || !navigator.mediaDevices?.getUserMedia) {
    find("#capture").click();
    return;
  }
  try {
    video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment", width: { ideal: 1920 } } });
  } catch (error) {
    status.textContent = `No camera can be used (${error.name}). Choose a file instead.`;
    return;
  }
  camera.showModal();
  await video.play();
});

find("#shoot").addEventListener("click", () => {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  canvas.getContext("2d").drawImage(video, 0, 0);
  canvas.toBlob((content) => take([new File([content], "photo.jpg", { type: "image/jpeg" })]), "image/jpeg", 0.95);
  camera.close();
});
find("#camera-close").addEventListener("click", () => camera.close());
camera.addEventListener("close", () => {
  for (const track of video.srcObject?.getTracks() ?? []) track.stop();
  video.srcObject = null;
});

showModel();
