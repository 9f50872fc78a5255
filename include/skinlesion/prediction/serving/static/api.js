// The API's own description as forms, so that each address can be tried. It asks this server only.

const find = (selector, within = document) => within.querySelector(selector);
const SHOWN = 20_000; // characters of an answer

function field(form, name, element) {
  const label = Object.assign(document.createElement("label"), { textContent: `${name} ` });
  element.name = name;
  label.append(element);
  find("p", form).prepend(label);
}

function operation(path, method, described) {
  const section = find("#operation").content.firstElementChild.cloneNode(true);
  const [form, output] = [find("form", section), find("pre", section)];
  find("h2", section).textContent = `${method.toUpperCase()} ${path}`;
  find(".summary", section).textContent = described.description ?? described.summary;
  output.setAttribute("aria-label", `Answer of ${path}`);
  for (const { name, schema } of described.parameters ?? []) {
    const select = document.createElement("select");
    const values = [...schema.enum].sort((one) => (one === schema.default ? -1 : 1));
    select.append(...values.map((value) => Object.assign(document.createElement("option"), { textContent: value })));
    field(form, name, select);
  }
  if (described.requestBody) field(form, "images", Object.assign(document.createElement("input"), { type: "file", multiple: true, required: true }));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const token = find("#token").value.trim();
    const body = new FormData();
    for (const file of form.elements.images?.files ?? []) body.append("images", file, file.name);
    const query = new URLSearchParams((described.parameters ?? []).map(({ name }) => [name, form.elements[name].value]));
    output.hidden = false;
    output.textContent = "Waiting …";
    try {
      const response = await fetch(`.${path}${query.size ? `?${query}` : ""}`, {
        method, body: described.requestBody ? body : undefined, headers: token ? { Authorization: `Bearer ${token}` } : {},
      });
      const text = await response.text();
      const isJson = response.headers.get("content-type")?.includes("json");
      output.textContent = `${response.status}\n${(isJson ? JSON.stringify(JSON.parse(text), null, 1) : text).slice(0, SHOWN)}`;
    } catch {
      output.textContent = "The server does not answer. Is it still running?";
    }
  });
  return section;
}

const described = await (await fetch("openapi.json")).json();
for (const [path, methods] of Object.entries(described.paths)) {
  for (const [method, one] of Object.entries(methods)) find("#operations").append(operation(path, method, one));
}
