"use strict";
// Every text of a user or a document is put in as text, never as markup.
const words = document.body.dataset;
const [found, state, dialog] = ["found", "status", "document"].map(id => document.getElementById(id));
let latest = 0;
// A hidden button would still be the one that Enter presses.
document.querySelectorAll("button[hidden]").forEach(button => button.remove());

async function request(url, body) {
  const settings = body && {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
  };
  const answer = await fetch(url, settings);
  const content = await answer.json();
  if (!answer.ok) throw new Error(content.error);
  return content;
}

// Text from `start` on, with a part of it marked; the positions count characters of Unicode.
function marked(text, start, [from, to]) {
  const characters = Array.from(text);
  const part = (a, b) => characters.slice(Math.max(0, a), Math.max(0, b)).join("");
  const mark = document.createElement("mark");
  mark.textContent = part(from - start, to - start);
  return [part(0, from - start), mark, part(to - start, characters.length)];
}

async function open(one) {
  const content = await request(`/api/documents/${one.document}?at=${one.sentence[0]}`);
  document.getElementById("file").textContent = content.file;
  const text = document.getElementById("text");
  text.replaceChildren(...marked(content.text, content.start, one.sentence));
  dialog.showModal();
  text.querySelector("mark").scrollIntoView({ block: "center" });
}

function item(one) {
  const place = document.createElement("button");
  place.type = "button";
  const where = [one.file, one.page && `${words.page} ${one.page}`, one.heading];
  place.textContent = where.filter(Boolean).join(" · ");
  place.addEventListener("click", () => open(one).catch(tell));
  const text = document.createElement("p");
  text.append(...marked(one.text, one.start, one.sentence));
  const entry = document.createElement("li");
  entry.append(place, text);
  return entry;
}

function plain(text) {
  const entry = document.createElement("li");
  entry.textContent = text;
  return entry;
}

function tell(error) {
  state.textContent = words.failed + error.message;
}

async function show(name, body) {
  const own = ++latest;
  state.textContent = words.wait;
  try {
    const content = await request(`/api/${name}`, body);
    if (own !== latest) return;
    const ones = content.passages || content.answers || content.translations;
    found.replaceChildren(...ones.map(content.translations ? plain : item));
    state.textContent = ones.length === 0 ? words.nothing : content.nothing ? words.unsure : "";
  } catch (error) {
    if (own === latest) tell(error);
  }
}

document.getElementById("ask").addEventListener("submit", event => {
  event.preventDefault();
  const button = event.submitter || document.querySelector("#ask button");
  show(button.name, { question: document.getElementById("question").value, top: 5 });
});
document.getElementById("translate").addEventListener("submit", event => {
  event.preventDefault();
  const lines = document.getElementById("texts").value.split("\n").filter(line => line.trim());
  show("translate", { texts: lines });
});
document.getElementById("close").addEventListener("click", () => dialog.close());
