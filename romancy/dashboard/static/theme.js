// Runs before the page is drawn, so that it is drawn once, in the colours that were chosen last.
(() => {
  let chosen = null;
  try { chosen = localStorage.getItem("romancy-theme"); } catch { /* a browser may forbid it */ }
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
})();
