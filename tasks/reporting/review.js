// Shows one pair of summaries at a time, and collects, keeps and saves the votes on them.
(() => {
  "use strict";
  const element = (id) => document.getElementById(id);
  const main = element("pairs");
  const pairs = [...document.querySelectorAll(".pair")];
  const ids = pairs.map((pair) => pair.dataset.dialogue);
  const choiceButtons = [...document.querySelectorAll("[data-choice]")];
  const choices = choiceButtons.map((button) => button.dataset.choice);
  const words = { left: "left is better", right: "right is better", tie: "tie" };
  const storageKey = `dialogsum review ${main.dataset.page}`;
  let votes = new Map(); // id of a dialogue -> choice
  let at = 0; // index of the pair that is shown; the number of pairs after the last one
  let unsaved = false;
  let stored = true; // whether this browser keeps the votes over a reload

  const announce = (text, wrong = false) => {
    element("status").textContent = text;
    element("status").classList.toggle("no", wrong);
  };
  const firstWithoutVote = () => {
    const index = ids.findIndex((id) => !votes.has(id));
    return index < 0 ? ids.length : index;
  };

  const show = () => {
    pairs.forEach((pair, i) => { pair.hidden = i !== at; });
    const choice = at < ids.length ? votes.get(ids[at]) : undefined;
    choiceButtons.forEach((button) => {
      button.disabled = at === ids.length;
      button.setAttribute("aria-pressed", button.dataset.choice === choice);
    });
    if (at < ids.length) {
      for (const side of ["left", "right"]) {
        pairs[at].querySelector(`.${side}`).classList.toggle("chosen", choice === side || choice === "tie");
      }
    }
    element("end").hidden = at < ids.length;
    const missing = ids.length - votes.size;
    element("missing").textContent = missing
      ? `${missing} of ${ids.length} dialogues have no vote. Save the votes, or go back.`
      : "Every dialogue has a vote. Save the votes with the button at the top or the key S.";
    document.querySelector("#progress progress").value = votes.size;
    document.querySelector("#progress span").textContent = `${votes.size} of ${ids.length} dialogues have a vote`;
  };
  const where = () => {
    if (at === ids.length) return "Last dialogue passed.";
    const choice = votes.get(ids[at]);
    return `Dialogue ${at + 1} of ${ids.length}${choice ? `, your vote: ${words[choice]}` : ""}.`;
  };
  const go = (index, prefix = "") => {
    at = Math.max(0, Math.min(index, ids.length));
    show();
    announce(`${prefix}${where()}`);
    if (at < ids.length) pairs[at].querySelector("pre").scrollTop = 0;
  };

  const keep = () => {
    try {
      localStorage.setItem(storageKey, JSON.stringify({ name: element("name").value, votes: [...votes] }));
    } catch {
      stored = false;
    }
  };
  const vote = (choice) => {
    if (at === ids.length) return;
    votes.set(ids[at], choice);
    unsaved = true;
    keep();
    go(at + 1, `Dialogue ${at + 1}: ${words[choice]}. `);
  };
  const replace = (entries, name) => {
    votes = new Map(entries.filter(([id, choice]) => ids.includes(id) && choices.includes(choice)));
    element("name").value = String(name);
  };
  const restore = () => {
    try {
      const kept = JSON.parse(localStorage.getItem(storageKey));
      if (kept) replace(kept.votes, kept.name);
    } catch {
      stored = false;
    }
  };

  const save = () => {
    const name = element("name").value.trim();
    element("name").setAttribute("aria-invalid", !name);
    if (!name) {
      element("name").focus();
      announce("Write your name first; then save.", true);
      return;
    }
    element("name").blur(); // so that the keys vote again
    if (!votes.size) {
      announce("There is no vote to save yet. Vote with the arrow keys or the buttons.");
      return;
    }
    const content = {
      kind: "dialogsum votes",
      version: 1,
      scores: main.dataset.scores,
      seed: Number(main.dataset.seed),
      page: main.dataset.page,
      reviewer: name,
      dialogues: ids.length,
      votes: ids.filter((id) => votes.has(id)).map((id) => ({ dialogue: id, choice: votes.get(id) })),
    };
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([JSON.stringify(content, null, 1)], { type: "application/json" }));
    const letters = name.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "");
    link.download = `votes-${main.dataset.scores}-${letters || "reviewer"}.json`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    unsaved = false;
    announce(`Saved ${votes.size} of ${ids.length} votes as ${link.download}.`);
  };
  const load = async (file) => {
    let content = null;
    try {
      content = JSON.parse(await file.text());
    } catch { /* refused below */ }
    if (content?.kind !== "dialogsum votes" || content.page !== main.dataset.page || !Array.isArray(content.votes)) {
      announce(`${file.name} has no votes of this page.`, true);
      return;
    }
    if (unsaved && !confirm(`Replace the ${votes.size} votes on this page?`)) return;
    replace(content.votes.map((each) => [each?.dialogue, each?.choice]), content.reviewer);
    unsaved = false;
    keep();
    go(firstWithoutVote(), `Loaded ${votes.size} votes. `);
  };

  element("reviewer").addEventListener("submit", (event) => { event.preventDefault(); save(); });
  element("name").addEventListener("input", keep);
  element("file").addEventListener("change", async (event) => {
    if (event.target.files.length) await load(event.target.files[0]);
    event.target.value = ""; // the same file can be chosen again
  });
  element("clear").addEventListener("click", () => {
    if (!votes.size || !confirm(`Remove the ${votes.size} votes on this page?`)) return;
    replace([], "");
    unsaved = false;
    keep();
    go(0, "All votes are removed. ");
  });
  choiceButtons.forEach((button) => button.addEventListener("click", () => vote(button.dataset.choice)));
  element("back").addEventListener("click", () => go(at - 1));
  element("next").addEventListener("click", () => go(at + 1));

  const keys = {
    ArrowLeft: () => vote("left"),
    ArrowRight: () => vote("right"),
    ArrowDown: () => vote("tie"),
    ArrowUp: () => go(at - 1),
    Backspace: () => go(at - 1),
    n: () => go(at + 1),
    s: save,
  };
  document.addEventListener("keydown", (event) => {
    const action = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!action || event.ctrlKey || event.altKey || event.metaKey || event.target.matches("input")) return;
    // the dialogue scrolls by these keys while it has the focus
    if (event.target.matches("pre") && ["ArrowUp", "ArrowDown"].includes(event.key)) return;
    event.preventDefault();
    if (!event.repeat) action(); // a key that is held votes once
  });
  addEventListener("beforeunload", (event) => { if (unsaved && !stored) event.preventDefault(); });

  restore();
  element("buttons").hidden = false;
  go(firstWithoutVote(), votes.size ? `${votes.size} votes are kept from the last visit. ` : "");
  if (!stored) announce("This browser does not keep votes over a reload: save them, then close the page.");
})();
