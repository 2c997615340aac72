// What the pages do in the browser beside htmx: the colours, short URLs of searches, and looking again when the server
// says that there is news. Every page works without it.
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

  // A search leaves its empty fields out of the URL.
  for (const form of document.querySelectorAll("form[data-short]")) {
    const fields = () => [...form.elements].filter((field) => field.name && field.value === "");
    form.addEventListener("submit", () => fields().forEach((field) => { field.disabled = true; }));
    addEventListener("pageshow", () => [...form.elements].forEach((field) => { field.disabled = false; }));
  }

  // A part of a page with data-live is fetched again from data-part when its stream tells of a change.
  const shown = document.getElementById("live");
  const say = (live) => { if (shown) { shown.hidden = false; shown.textContent = live ? "live" : "not live"; shown.dataset.on = String(live); } };

  const follow = (id) => {
    let source = null;
    let known = null;
    let asked = false;
    const part = () => document.getElementById(id);
    const fetch = () => {
      if (asked || !part()?.dataset.part) return;
      asked = true;
      htmx.ajax("GET", part().dataset.part, { target: `#${CSS.escape(id)}`, swap: "outerHTML" })
        .catch(() => {}).finally(() => { asked = false; });
    };
    const open = () => {
      if (source || document.hidden || !part()) return;
      const seen = known ?? part().dataset.version;
      const url = new URL(part().dataset.live, location.href);
      if (seen) url.searchParams.set("seen", seen);
      source = new EventSource(url);
      source.addEventListener("open", () => say(true));
      source.addEventListener("known", (event) => { known = event.lastEventId; });
      source.addEventListener("changed", (event) => { known = event.lastEventId; fetch(); });
      source.addEventListener("error", () => { if (source?.readyState === EventSource.CLOSED) { source = null; say(false); } });
    };
    const close = () => { source?.close(); source = null; };
    document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
    addEventListener("pagehide", close);
    addEventListener("pageshow", open);
    open();
  };

  for (const part of document.querySelectorAll("[data-live][id]")) follow(part.id);
})();
