"use strict";
const get = (id) => document.getElementById(id);
const show = (id, text) => { get(id).textContent = text; };

async function summarize(model, place) {
  const started = performance.now();
  const headers = {"Content-Type": "application/json"};
  if (get("token")) headers.Authorization = `Bearer ${get("token").value}`;
  const body = {model, messages: [{role: "user", content: get("dialogue").value}]};
  if (get("prompt").value) body.prompt = get("prompt").value;
  try {
    const response = await fetch("/v1/chat/completions", {method: "POST", headers, body: JSON.stringify(body)});
    const answer = await response.json();
    if (!response.ok) throw new Error(answer.error.message);
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    const cut = answer.choices[0].finish_reason === "length" ? ", cut off at the limit" : "";
    show(`text-${place}`, answer.choices[0].message.content);
    show(`note-${place}`, `${answer.model}, ${answer.usage.completion_tokens} tokens in ${seconds} s${cut}`);
    return true;
  } catch (error) {
    show(`note-${place}`, `No summary: ${error.message}`);
    return false;
  }
}

get("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const model = get("model").value;
  show("head-model", model);
  for (const place of ["model", "base"]) { show(`text-${place}`, ""); show(`note-${place}`, ""); }
  get("send").disabled = true;
  show("state", "The models are reading …");
  const done = await Promise.all([summarize(model, "model"), summarize("base", "base")]);
  get("send").disabled = false;
  show("state", done.every(Boolean) ? "Both summaries are there." : "Not every model answered.");
  get("send").focus();
});
