// Filters and searches the dialogues. Without JavaScript all of them are shown.
(() => {
  "use strict";
  const form = document.getElementById("filter");
  const cards = [...document.querySelectorAll(".example")];
  const text = form.querySelector("input");
  const only = form.querySelector("select");
  const count = document.getElementById("count");
  const texts = (card) => [...card.querySelectorAll("h4, pre, li, dd")].map((part) => part.textContent);
  const contents = cards.map((card) => texts(card).join("\n").toLowerCase());
  const show = () => {
    const words = text.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    cards.forEach((card, i) => {
      const fits = words.every((word) => contents[i].includes(word))
        && (!only.value || card.dataset.flags.split(" ").includes(only.value));
      card.hidden = !fits;
      shown += fits;
    });
    document.querySelectorAll(".group").forEach((group) => {
      group.hidden = !group.querySelector(".example:not([hidden])");
    });
    count.textContent = `${shown} of ${cards.length} dialogues`;
  };
  form.hidden = false;
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", show);
  form.addEventListener("reset", () => setTimeout(show));
  show();
})();
