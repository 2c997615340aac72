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

  // A box of the head of a list chooses all of the page.
  document.addEventListener("change", (event) => {
    const name = event.target.dataset?.all;
    if (!name) return;
    for (const box of event.target.form.querySelectorAll(`input[name="${name}"]`)) box.checked = event.target.checked;
  });

  // A part of a page with data-live is fetched again from data-part when its stream tells of a change.
  const say = (live, since) => {
    const shown = document.getElementById("live"); // a part that was fetched again has another one
    if (!shown) return;
    const text = live ? "live" : `nothing has come since ${new Date(since).toISOString().slice(11, 19)} UTC; trying again`;
    shown.hidden = false;
    shown.dataset.on = String(live);
    if (shown.textContent !== text) shown.textContent = text;
  };
  // The server sends a beat every 1.5 s. Without one, the page says so and opens its stream again and again.
  const PATIENCE = 4000;
  const AGAIN = 2500;

  const follow = (id) => {
    let source = null;
    let known = null;
    let asked = false;
    let heard = Date.now();
    let tried = 0;
    const hear = () => { heard = Date.now(); say(true); };
    const part = () => document.querySelector(`#${CSS.escape(id)}[data-live]`); // none once there is nothing to follow
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
      tried = Date.now();
      source.addEventListener("beat", hear);
      source.addEventListener("known", (event) => { known = event.lastEventId; hear(); });
      source.addEventListener("changed", (event) => { known = event.lastEventId; hear(); fetch(); });
      source.addEventListener("error", () => { if (source?.readyState === EventSource.CLOSED) source = null; });
    };
    const close = () => { source?.close(); source = null; };
    const look = () => {
      if (!part()) close();
      if (document.hidden || !part()) return;
      if (Date.now() - heard > PATIENCE) {
        say(false, heard);
        if (Date.now() - tried > AGAIN) close();
      }
      if (!source && Date.now() - tried > AGAIN) open();
    };
    const begin = () => { heard = Date.now(); tried = 0; open(); };
    document.addEventListener("visibilitychange", () => (document.hidden ? close() : begin()));
    addEventListener("pagehide", close);
    addEventListener("pageshow", begin);
    setInterval(look, 500);
    open();
  };

  for (const part of document.querySelectorAll("[data-live][id]")) follow(part.id);
})();
