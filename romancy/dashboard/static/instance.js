// Copies a payload whole, by its download. Without this script the buttons stay hidden, and the links remain.
(() => {
  "use strict";

  const show = (root) => root.querySelectorAll(".copier[hidden]").forEach((button) => { button.hidden = false; });
  show(document);
  document.addEventListener("htmx:load", (event) => show(event.detail.elt));
  document.addEventListener("click", async (event) => {
    const button = event.target.closest?.(".copier");
    if (!button) return;
    try {
      const answer = await fetch(button.dataset.from);
      if (!answer.ok) throw new Error(answer.statusText);
      await navigator.clipboard.writeText(await answer.text());
      button.textContent = "Copied";
    } catch {
      button.textContent = "Not copied";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
})();
