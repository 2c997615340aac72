// What the pages do in the browser beside htmx: the colours, and looking again when the server says that there is news.
(() => {
  "use strict";

  const root = document.documentElement;
  const isDark = () => root.dataset.theme
    ? root.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;

  document.getElementById("theme")?.addEventListener("click", () => {
    const next = isDark() ? "light" : "dark";
    root.dataset.theme = next;
    try { localStorage.setItem("romancy-theme", next); } catch { /* it holds for this page */ }
  });
})();
